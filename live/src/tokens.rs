//! What the engine has of the host: frames by token, each with the stage of its buffer's life.

use arrayvec::ArrayVec;
use qpmux_engine::{BURST_MAX, Frame, Side, Token};

use crate::driver::{Buffer, Held};

/// Where a buffer is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// The host has none under this token.
    Free,
    /// It is lent, and the engine has not said yet what becomes of it.
    Offered,
    /// The engine wants it kept.
    Kept,
}

#[derive(Debug)]
struct Slot<B> {
    /// A frame that is kept.
    held: Option<Held<B>>,
    came_in: Side,
    life: Life,
    /// The place among those lent, of a frame that is.
    lent: u8,
}

/// Frames that are lent for the length of a call, each under its token. Most of them go out at the
/// end of it: they lie here, and nowhere else.
#[derive(Debug)]
pub struct Lent<B> {
    tokens: ArrayVec<Token, BURST_MAX>,
    frames: ArrayVec<Option<Held<B>>, BURST_MAX>,
}

impl<B> Default for Lent<B> {
    fn default() -> Self {
        Lent { tokens: ArrayVec::new(), frames: ArrayVec::new() }
    }
}

impl<B: Buffer> Lent<B> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Whether there is no place for another one.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.tokens.is_full()
    }

    /// Makes a call with those from `first` on.
    ///
    /// # Panics
    /// If there is no room around one of them: drivers and engine leave some.
    pub fn call(&mut self, first: usize, call: impl FnOnce(&mut [Frame<'_>]) -> usize) -> usize {
        let lent = self.tokens.iter().zip(&mut self.frames).skip(first);
        let mut frames: ArrayVec<Frame<'_>, BURST_MAX> = lent
            .filter_map(|(token, held)| {
                let held = held.as_mut()?;
                let (start, len) = held.span();
                let frame = Frame::new(held.buffer.bytes_mut(), start, len, *token);
                Some(frame.expect("a buffer has room around its frame"))
            })
            .collect();
        let taken = call(&mut frames);
        let spans: ArrayVec<_, BURST_MAX> = frames.iter().map(Frame::span).collect();
        drop(frames);
        for (held, span) in self.frames.iter_mut().skip(first).flatten().zip(spans) {
            held.set_span(span);
        }
        taken
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
        let slot = |_| Slot { held: None, came_in: Side::Client, life: Life::Free, lent: 0 };
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

    /// Lends a frame that came in on `side`.
    ///
    /// # Errors
    /// The frame again, if there is no token for it.
    pub fn lend(&mut self, side: Side, held: Held<B>, lent: &mut Lent<B>) -> Result<(), Held<B>> {
        let Some(index) = self.free.pop() else { return Err(held) };
        let Some(slot) = self.slots.get_mut(index as usize) else { return Err(held) };
        (slot.came_in, slot.life, slot.lent) = (side, Life::Offered, lent.len() as u8);
        lent.tokens.push(Token(index));
        lent.frames.push(Some(held));
        Ok(())
    }

    /// Lends a frame that was kept.
    pub fn lend_again(&mut self, token: Token, lent: &mut Lent<B>) {
        if !self.step(token, Life::Kept, Life::Offered) {
            return;
        }
        let at = lent.len();
        if let Some(slot) = self.slots.get_mut(token.0 as usize) {
            slot.lent = at as u8;
            lent.tokens.push(token);
            lent.frames.push(slot.held.take());
        }
    }

    /// The engine wants a lent frame kept. Whether it is.
    pub fn keep(&mut self, token: Token, lent: &mut Lent<B>) -> bool {
        self.step(token, Life::Offered, Life::Kept)
            && self.slots.get_mut(token.0 as usize).is_some_and(|slot| {
                slot.held = lent.frames.get_mut(usize::from(slot.lent)).and_then(Option::take);
                slot.held.is_some()
            })
    }

    /// The call is over, and the engine has said what becomes of each. Those of which it has not
    /// are defects, and given up.
    pub fn close(&mut self, lent: &mut Lent<B>, mut release: impl FnMut(Held<B>)) {
        for (token, held) in lent.tokens.drain(..).zip(lent.frames.drain(..)) {
            if let Some(held) = held {
                self.step(token, Life::Offered, Life::Free);
                self.misused += 1;
                self.free.push(token.0);
                release(held);
            }
        }
    }

    /// The side where a frame came in.
    #[must_use]
    pub fn came_in(&self, token: Token) -> Side {
        self.slots.get(token.0 as usize).map_or(Side::Client, |slot| slot.came_in)
    }

    /// A frame that is kept.
    pub fn get_mut(&mut self, token: Token) -> Option<&mut Held<B>> {
        self.slots.get_mut(token.0 as usize)?.held.as_mut()
    }

    /// A lent frame that the engine gives up; its token is free.
    pub fn give_up_lent(&mut self, token: Token, lent: &mut Lent<B>) -> Option<Held<B>> {
        if !self.step(token, Life::Offered, Life::Free) {
            return None;
        }
        self.free.push(token.0);
        let at = usize::from(self.slots.get(token.0 as usize)?.lent);
        lent.frames.get_mut(at).and_then(Option::take)
    }

    /// A kept frame that the engine gives up; its token is free.
    pub fn give_up_kept(&mut self, token: Token) -> Option<Held<B>> {
        if !self.step(token, Life::Kept, Life::Free) {
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
