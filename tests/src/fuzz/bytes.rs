//! Taking decisions from bytes. Where they have run out, everything is 0.

/// What is left of the input.
pub(super) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next `count` bytes, or as many as there are.
    pub(super) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, left) = self.0.split_at(count.min(self.0.len()));
        self.0 = left;
        taken
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    pub(super) fn number(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// A time that passes, in nanoseconds: mostly little.
    pub(super) fn pause_ns(&mut self) -> u64 {
        match self.byte() {
            short @ 0..=199 => u64::from(short) * 100,
            long => 1 << (long - 199).min(40),
        }
    }
}
