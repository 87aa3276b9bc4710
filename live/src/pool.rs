//! The buffers: allocated at the start, named by token, lent to the engine for one call at a time.

use qpmux_engine::{Frame, Side, Token};

use crate::port::{ROOM_AFTER, ROOM_BEFORE};

/// Where a buffer is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// Nobody has it.
    Free,
    /// It came in, and the engine has not said yet what becomes of it.
    Offered,
    /// The engine wants it kept.
    Kept,
}

#[derive(Debug)]
struct Buffer {
    /// Empty while it is lent.
    bytes: Box<[u8]>,
    start: usize,
    len: usize,
    came_in: Side,
    life: Life,
}

/// A buffer taken out of the pool for the length of one call.
#[derive(Debug)]
pub struct Lent {
    token: Token,
    /// The whole buffer.
    pub bytes: Box<[u8]>,
    /// Where the frame starts in it.
    pub start: usize,
    /// The frame's bytes.
    pub len: usize,
}

impl Lent {
    /// The frame in the buffer.
    ///
    /// # Panics
    /// If there is no room around it: ports and engine leave some.
    pub fn frame(&mut self) -> Frame<'_> {
        Frame::new(&mut self.bytes, self.start, self.len, self.token)
            .expect("a buffer has room around its frame")
    }
}

/// A fixed number of buffers. A token that the engine uses against the order of a buffer's life
/// is a defect of the engine: it is asserted in debug, else counted and ignored.
#[derive(Debug)]
pub struct Pool {
    buffers: Box<[Buffer]>,
    free: Vec<u32>,
    kept: usize,
    misused: u64,
}

impl Pool {
    /// A pool of `count` buffers for frames of up to `frame_len_max` bytes.
    #[must_use]
    pub fn new(count: u32, frame_len_max: usize) -> Pool {
        let buffer = |_| Buffer {
            bytes: vec![0; buffer_len(frame_len_max)].into_boxed_slice(),
            start: ROOM_BEFORE,
            len: 0,
            came_in: Side::Client,
            life: Life::Free,
        };
        let buffers = (0..count).map(buffer).collect();
        // The last one in is the first one out: the buffers in use stay in the caches.
        Pool { buffers, free: (0..count).rev().collect(), kept: 0, misused: 0 }
    }

    /// Buffers that nobody has.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Buffers that the engine wants kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// Times that a token was used against the order of its buffer's life.
    #[must_use]
    pub fn misused(&self) -> u64 {
        self.misused
    }

    /// A free buffer for a frame that comes in on `side`, if there is one.
    pub fn take(&mut self, side: Side) -> Option<Token> {
        let token = Token(self.free.pop()?);
        let buffer = self.buffers.get_mut(token.0 as usize)?;
        (buffer.came_in, buffer.life) = (side, Life::Offered);
        Some(token)
    }

    /// Takes a buffer's bytes out; [`Pool::put_back`] follows.
    pub fn lend(&mut self, token: Token) -> Option<Lent> {
        let buffer = self.buffers.get_mut(token.0 as usize)?;
        let bytes = core::mem::take(&mut buffer.bytes);
        Some(Lent { token, bytes, start: buffer.start, len: buffer.len })
    }

    /// Puts the bytes back, with the frame where it is now.
    pub fn put_back(&mut self, lent: Lent) {
        if let Some(buffer) = self.buffers.get_mut(lent.token.0 as usize) {
            (buffer.bytes, buffer.start, buffer.len) = (lent.bytes, lent.start, lent.len);
        }
    }

    /// The frame in a buffer, and the side where it came in.
    #[must_use]
    pub fn frame(&self, token: Token) -> (&[u8], Side) {
        let Some(buffer) = self.buffers.get(token.0 as usize) else { return (&[], Side::Client) };
        let end = buffer.start + buffer.len;
        (buffer.bytes.get(buffer.start..end).unwrap_or(&[]), buffer.came_in)
    }

    /// Moves a buffer on in its life, from `expected` to `next`. Whether it was where expected.
    pub fn step(&mut self, token: Token, expected: Life, next: Life) -> bool {
        let Some(buffer) = self.buffers.get_mut(token.0 as usize).filter(|b| b.life == expected)
        else {
            debug_assert!(false, "{token:?} is not {expected:?}");
            self.misused += 1;
            return false;
        };
        buffer.life = next;
        self.kept -= usize::from(expected == Life::Kept);
        self.kept += usize::from(next == Life::Kept);
        if next == Life::Free {
            self.free.push(token.0);
        }
        true
    }
}

/// Bytes of one buffer for frames of up to `frame_len_max`.
#[must_use]
pub const fn buffer_len(frame_len_max: usize) -> usize {
    ROOM_BEFORE + frame_len_max + ROOM_AFTER
}
