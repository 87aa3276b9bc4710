//! What the formats hand to the reader: one step through the capture, or a fault in it.

use std::io;

/// One packet record.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) timestamp_ns: u64,
    pub(crate) original_len: u32,
    /// Where the frame lies in the window's buffer; holds until the window is filled again.
    pub(crate) place: std::ops::Range<usize>,
}

/// Result of looking for the next packet.
#[derive(Debug)]
pub(crate) enum Step {
    /// A whole packet.
    Packet(Record),
    /// The capture ends after a whole record.
    End,
    /// The capture ends inside the record which begins at this byte.
    Cut { offset: u64 },
}

/// A reason to stop reading; the file's name and the packet's number are added by the reader.
#[derive(Debug)]
pub(crate) enum Fault {
    Read { offset: u64, source: io::Error },
    Compression { offset: u64, source: io::Error },
    LinkType(u32),
    Field { offset: u64, field: &'static str, value: u64, expected: &'static str },
}

/// Number of the link type Ethernet, in both formats.
pub(crate) const ETHERNET: u32 = 1;

/// Byte order of the numbers in a capture or a section of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    /// The 16-bit number at `at`, 0 where `bytes` is too short.
    #[inline]
    pub(crate) fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let found = bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
        match self {
            Self::Little => u16::from_le_bytes(found),
            Self::Big => u16::from_be_bytes(found),
        }
    }

    /// The 32-bit number at `at`, 0 where `bytes` is too short.
    #[inline]
    pub(crate) fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let found = bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
        match self {
            Self::Little => u32::from_le_bytes(found),
            Self::Big => u32::from_be_bytes(found),
        }
    }

    /// The signed 64-bit number at `at`, 0 where `bytes` is too short.
    pub(crate) fn i64(self, bytes: &[u8], at: usize) -> i64 {
        let found = bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
        match self {
            Self::Little => i64::from_le_bytes(found),
            Self::Big => i64::from_be_bytes(found),
        }
    }
}
