//! A bounded view on the decompressed bytes: all that is held of a capture at any time.

use crate::input::{Source, SourceError};
use crate::record::Fault;

/// Size at the start, in bytes: many frames for each system call.
const START_BYTES: usize = 256 * 1024;

/// The buffer between the source and the formats. It grows only as far as `fill` asks *and* bytes
/// arrive, so that a false length in a short file costs no memory.
pub(crate) struct Window {
    source: Source,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Where `buffer[0]` lies in the capture, in bytes.
    base: u64,
    ended: bool,
}

impl Window {
    pub(crate) fn new(source: Source) -> Self {
        Self { source, buffer: vec![0; START_BYTES], start: 0, end: 0, base: 0, ended: false }
    }

    /// Makes at least `wanted` bytes available; false where the capture ends before that.
    #[inline]
    pub(crate) fn fill(&mut self, wanted: usize) -> Result<bool, Fault> {
        match self.end - self.start >= wanted {
            true => Ok(true),
            false => self.fill_up(wanted),
        }
    }

    fn fill_up(&mut self, wanted: usize) -> Result<bool, Fault> {
        if self.start + wanted > self.buffer.len() {
            self.move_to_front();
        }
        while self.end - self.start < wanted {
            if self.ended {
                return Ok(false);
            }
            if self.end == self.buffer.len() {
                let grown = (self.buffer.len() * 2).min(wanted.max(START_BYTES));
                self.buffer.resize(grown, 0);
            }
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.ended = true,
                Ok(bytes) => self.end += bytes,
                Err(error) => {
                    self.ended = true;
                    return Err(self.fault(error));
                }
            }
        }
        Ok(true)
    }

    /// The bytes available.
    #[inline]
    pub(crate) fn data(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Steps over `bytes` of the available ones (no further than those).
    #[inline]
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.start = self.end.min(self.start.saturating_add(bytes));
    }

    /// Steps over `bytes`, available or not, without holding them; false where the capture ends
    /// before that.
    pub(crate) fn skip(&mut self, mut bytes: usize) -> Result<bool, Fault> {
        while bytes > 0 {
            let piece = bytes.min(START_BYTES);
            if !self.fill(piece)? {
                return Ok(false);
            }
            self.consume(piece);
            bytes -= piece;
        }
        Ok(true)
    }

    /// Where the available bytes `from..to` lie in the buffer, for [`Self::at`].
    pub(crate) fn place(&self, from: usize, to: usize) -> std::ops::Range<usize> {
        self.start + from..self.start + to
    }

    /// Bytes found by [`Self::place`]; they stay, consumed or not, until the next `fill`.
    pub(crate) fn at(&self, place: std::ops::Range<usize>) -> &[u8] {
        self.buffer.get(place).unwrap_or_default()
    }

    /// Bytes of the buffer from the first available one on, available or not.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Consumes some of the available bytes, and gives them with so many of the buffer behind them;
    /// `None` if there is not that much room.
    #[inline]
    pub(crate) fn take(&mut self, bytes: usize, behind: usize) -> Option<&mut [u8]> {
        let from = self.start;
        let taken = self.buffer.get_mut(from..from + bytes + behind)?;
        self.start += bytes;
        Some(taken)
    }

    /// Where the next available byte lies in the buffer; that changes with `fill`.
    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.start
    }

    /// The bytes that were consumed since the position was this one.
    pub(crate) fn consumed_from(&self, position: usize) -> &[u8] {
        self.buffer.get(position..self.start).unwrap_or_default()
    }

    /// Where the available bytes begin in the capture, in bytes after decompression.
    pub(crate) fn offset(&self) -> u64 {
        self.base + self.start as u64
    }

    /// Whether the capture ended with the last byte of a record: nothing left over, and no
    /// compressed data missing.
    pub(crate) fn ended_cleanly(&self) -> bool {
        self.ended && self.start == self.end && !self.source.was_cut()
    }

    /// Whether compressed data ended too early.
    pub(crate) fn was_cut(&self) -> bool {
        self.source.was_cut()
    }

    /// Bytes taken from the file so far, before decompression.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.source.bytes_read()
    }

    fn move_to_front(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        self.base += self.start as u64;
        self.end -= self.start;
        self.start = 0;
    }

    fn fault(&self, error: SourceError) -> Fault {
        let offset = self.base + self.end as u64;
        match error {
            SourceError::Read(source) => Fault::Read { offset, source },
            SourceError::Compression(source) => Fault::Compression { offset, source },
        }
    }
}
