//! What the engine has of the host: frames by token, each with the stage of its buffer's life.

use qpmux_engine::{Frame, Side, Token};

use crate::driver::{Buffer, Held};

/// Where a buffer is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// The host has none under this token.
    Free,
    /// It came in, and the engine has not said yet what becomes of it.
    Offered,
    /// The engine wants it kept.
    Kept,
}

#[derive(Debug)]
struct Slot<B> {
    /// `None` while it is free or lent.
    held: Option<Held<B>>,
    came_in: Side,
    life: Life,
}

/// A frame taken out of the table for the length of one call.
#[derive(Debug)]
pub struct Lent<B> {
    token: Token,
    held: Held<B>,
}

impl<B: Buffer> Lent<B> {
    /// The frame in the buffer.
    ///
    /// # Panics
    /// If there is no room around it: drivers and engine leave some.
    pub fn frame(&mut self) -> Frame<'_> {
        let Held { buffer, start, len } = &mut self.held;
        Frame::new(buffer.bytes_mut(), *start, *len, self.token)
            .expect("a buffer has room around its frame")
    }

    /// The same frame after the engine has moved it.
    #[must_use]
    pub fn at(mut self, (start, len): (usize, usize)) -> Lent<B> {
        (self.held.start, self.held.len) = (start, len);
        self
    }
}

/// As many tokens as there may be frames with the engine. A token that the engine uses against the
/// order of a buffer's life is a defect of the engine: it is asserted in debug, else counted and
/// ignored.
#[derive(Debug)]
pub struct Tokens<B> {
    slots: Box<[Slot<B>]>,
    free: Vec<u32>,
    kept: usize,
    misused: u64,
}

impl<B: Buffer> Tokens<B> {
    /// A table of `count` tokens.
    #[must_use]
    pub fn new(count: u32) -> Tokens<B> {
        let slot = |_| Slot { held: None, came_in: Side::Client, life: Life::Free };
        let slots = (0..count).map(slot).collect();
        // The last one in is the first one out: what is in use stays in the caches.
        Tokens { slots, free: (0..count).rev().collect(), kept: 0, misused: 0 }
    }

    /// Tokens without a frame.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Frames that the engine wants kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// Times that a token was used against the order of its buffer's life.
    #[must_use]
    pub fn misused(&self) -> u64 {
        self.misused
    }

    /// A token for a frame that came in on `side`.
    ///
    /// # Errors
    /// The frame again, if there is none.
    pub fn offer(&mut self, side: Side, held: Held<B>) -> Result<Token, Held<B>> {
        let Some(index) = self.free.pop() else { return Err(held) };
        let Some(slot) = self.slots.get_mut(index as usize) else { return Err(held) };
        *slot = Slot { held: Some(held), came_in: side, life: Life::Offered };
        Ok(Token(index))
    }

    /// Takes a frame out; [`Tokens::put_back`] follows.
    pub fn lend(&mut self, token: Token) -> Option<Lent<B>> {
        let held = self.slots.get_mut(token.0 as usize)?.held.take()?;
        Some(Lent { token, held })
    }

    /// Puts a frame back.
    pub fn put_back(&mut self, lent: Lent<B>) {
        if let Some(slot) = self.slots.get_mut(lent.token.0 as usize) {
            slot.held = Some(lent.held);
        }
    }

    /// The side where a frame came in.
    #[must_use]
    pub fn came_in(&self, token: Token) -> Side {
        self.slots.get(token.0 as usize).map_or(Side::Client, |slot| slot.came_in)
    }

    /// A frame that the host has.
    pub fn get_mut(&mut self, token: Token) -> Option<&mut Held<B>> {
        self.slots.get_mut(token.0 as usize)?.held.as_mut()
    }

    /// A frame that the engine gives up in this stage of its life; its token is free.
    pub fn give_up(&mut self, token: Token, expected: Life) -> Option<Held<B>> {
        if !self.step(token, expected, Life::Free) {
            return None;
        }
        self.free.push(token.0);
        self.slots.get_mut(token.0 as usize)?.held.take()
    }

    /// Moves a buffer on in its life, from `expected` to `next`. Whether it was where expected.
    pub fn step(&mut self, token: Token, expected: Life, next: Life) -> bool {
        let Some(slot) = self.slots.get_mut(token.0 as usize).filter(|b| b.life == expected) else {
            debug_assert!(false, "{token:?} is not {expected:?}");
            self.misused += 1;
            return false;
        };
        slot.life = next;
        self.kept -= usize::from(expected == Life::Kept);
        self.kept += usize::from(next == Life::Kept);
        true
    }
}
