//! The frame that a host lends to the engine for the length of one call.

use core::fmt;

/// Room, in bytes, that a host leaves before and after the bytes of every frame.
pub const HEADROOM: usize = 16;

/// A host's name for a buffer: opaque to the engine, valid on all shards.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Token(pub u32);

/// Which side of the middlebox: where a frame came in, or where it goes out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Side {
    /// Towards the clients (requesters).
    Client,
    /// Towards the servers (responders).
    Server,
}

impl Side {
    /// The other side.
    #[must_use]
    pub const fn opposite(self) -> Side {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }
}

/// An Ethernet frame (without its frame check sequence) inside a larger buffer of the host.
///
/// The engine may change the bytes and move start and length; it keeps no reference to a frame
/// beyond the call.
pub struct Frame<'a> {
    /// The buffer from the frame's first byte on.
    rest: &'a mut [u8],
    len: usize,
    start: usize,
    token: Token,
}

impl<'a> Frame<'a> {
    /// The frame `buffer[start..start + len]`.
    ///
    /// `None` if that does not lie inside the buffer, or if there is less than [`HEADROOM`]
    /// before or after it.
    #[must_use]
    pub fn new(buffer: &'a mut [u8], start: usize, len: usize, token: Token) -> Option<Frame<'a>> {
        let end = start.checked_add(len)?;
        let fits = start >= HEADROOM && end.checked_add(HEADROOM)? <= buffer.len();
        let rest = buffer.get_mut(start..)?;
        fits.then_some(Frame { rest, len, start, token })
    }

    /// The host's name for the buffer.
    #[must_use]
    pub fn token(&self) -> Token {
        self.token
    }

    /// Where the frame starts in its buffer, and how many bytes it has.
    #[must_use]
    pub fn span(&self) -> (usize, usize) {
        (self.start, self.len)
    }

    /// The frame's bytes, from the Ethernet header on.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.rest.get(..self.len).unwrap_or(&[])
    }

    /// Makes the frame longer or shorter at its end. `false`, and nothing is done, if its buffer
    /// ends before.
    #[must_use]
    pub(crate) fn set_len(&mut self, len: usize) -> bool {
        let fits = len <= self.rest.len();
        if fits {
            self.len = len;
        }
        fits
    }

    /// The frame's bytes, to be rewritten in place.
    #[must_use]
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.rest.get_mut(..self.len).unwrap_or(&mut [])
    }
}

impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, len) = self.span();
        write!(f, "Frame({:?}, {len} bytes at {start})", self.token)
    }
}
