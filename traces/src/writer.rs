//! Writing a capture packet by packet.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use pcap_file::pcap::PcapHeader;
use pcap_file::{DataLink, Endianness, PcapError, TsResolution};

use crate::FRAME_BYTES_MAX;
use crate::classic::record_header;
use crate::error::CaptureError;
use crate::output::Packed;
use crate::paths::is_standard;
use crate::reader::Records;

/// Bytes that are written at a time, from a multiple of as many on: file systems have such pieces
/// in few large parts of memory. Pieces of half as much that end where records do take a fifth
/// more processor time (ext4 of Linux 6.18, with what it takes to reach the disk).
const BUFFER_BYTES: usize = 512 * 1024;
const NS_PER_S: u64 = 1_000_000_000;

/// Writes a classic pcap: nanoseconds, Ethernet, little endian, snap length 262144.
///
/// The same packets give the same bytes. The capture is written beside its place under another
/// name; [`CaptureWriter::finish`] puts it there. Dropped before that, it leaves nothing behind,
/// and what stood in its place still stands. A name which ends in `.gz` or `.zst` gives a
/// compressed capture. Standard output, devices and pipes take the bytes at once.
///
/// The file's header is written by `pcap-file`, records are written here: its writer puts each
/// together from five writes. A loop through its reader and its writer takes 1.4 to 1.5 times as
/// long as one without (`qpmux bench replay`).
pub struct CaptureWriter {
    file: String,
    output: Packed,
    /// What is not yet written.
    buffer: Vec<u8>,
    written: u64,
    /// A write failed, perhaps in the middle of a record: the file can no longer become whole.
    broken: bool,
}

impl CaptureWriter {
    /// Begins a capture which is to stand at `path`; `-` is standard output.
    ///
    /// # Errors
    /// [`CaptureError::Write`] where no file can be made there.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, CaptureError> {
        let path = path.as_ref();
        let file = match is_standard(path) {
            true => "standard output".to_owned(),
            false => path.display().to_string(),
        };
        let header = PcapHeader {
            snaplen: FRAME_BYTES_MAX,
            datalink: DataLink::ETHERNET,
            ts_resolution: TsResolution::NanoSecond,
            endianness: Endianness::Little,
            ..PcapHeader::default()
        };
        let failed = |source| CaptureError::Write { file: file.clone(), source };
        let output = Packed::create(path).map_err(failed)?;
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        header.write_to(&mut buffer).map_err(|error| failed(io_error(error)))?;
        Ok(Self { file, output, buffer, written: 0, broken: false })
    }

    /// Appends a whole frame (from its Ethernet header on) captured at `timestamp_ns`, in
    /// nanoseconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// [`CaptureError::Unwritable`] for a time beyond the year 2106 or a frame longer than
    /// [`FRAME_BYTES_MAX`], nothing is written then; [`CaptureError::Write`] where writing fails.
    pub fn write(&mut self, timestamp_ns: u64, data: &[u8]) -> Result<(), CaptureError> {
        self.write_packet(timestamp_ns, 0, data)
    }

    /// Appends a frame of which a snap length may have cut the end: it was `original_len` bytes
    /// long (raised to the length of `data` where it is below).
    ///
    /// # Errors
    /// As [`CaptureWriter::write`].
    pub fn write_packet(
        &mut self,
        timestamp_ns: u64,
        original_len: u32,
        data: &[u8],
    ) -> Result<(), CaptureError> {
        let Ok(ts_sec) = u32::try_from(timestamp_ns / NS_PER_S) else {
            let limit = (u64::from(u32::MAX) + 1) * NS_PER_S - 1;
            return Err(self.unwritable("time in nanoseconds", timestamp_ns, limit));
        };
        let incl_len = match u32::try_from(data.len()) {
            Ok(len) if len <= FRAME_BYTES_MAX => len,
            _ => {
                let limit = u64::from(FRAME_BYTES_MAX);
                return Err(self.unwritable("length in bytes", data.len() as u64, limit));
            }
        };
        // Below 1e9, so it fits.
        let fraction = (timestamp_ns % NS_PER_S) as u32;
        let numbers = [ts_sec, fraction, incl_len, original_len.max(incl_len)];
        let header = record_header(numbers);
        self.append(&header)?;
        self.append(data)?;
        self.written += 1;
        Ok(())
    }

    /// Appends packets from where they were read: see [`Records`].
    ///
    /// # Errors
    /// [`CaptureError::Write`] where writing fails.
    pub fn write_records(&mut self, records: &Records<'_>) -> Result<(), CaptureError> {
        self.append(records.bytes)?;
        self.written += records.count;
        Ok(())
    }

    /// Puts the capture in its place and returns how many packets it holds.
    ///
    /// # Errors
    /// [`CaptureError::Write`]; nothing stands in the place then but what stood there before.
    pub fn finish(mut self) -> Result<u64, CaptureError> {
        if self.broken {
            let source = io::Error::other("an earlier write failed");
            return Err(CaptureError::Write { file: self.file, source });
        }
        self.empty_buffer()?;
        match self.output.commit() {
            Ok(()) => Ok(self.written),
            Err(source) => Err(CaptureError::Write { file: self.file, source }),
        }
    }

    /// Adds bytes to the buffer, and writes it whenever it is full.
    #[inline]
    fn append(&mut self, mut bytes: &[u8]) -> Result<(), CaptureError> {
        while let Some((first, rest)) = bytes.split_at_checked(BUFFER_BYTES - self.buffer.len()) {
            self.buffer.extend_from_slice(first);
            self.empty_buffer()?;
            bytes = rest;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn empty_buffer(&mut self) -> Result<(), CaptureError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let written = self.output.write_all(&buffer).map_err(|source| {
            self.broken = true;
            CaptureError::Write { file: self.file.clone(), source }
        });
        // Also what was not written: there is nothing that could be done with it.
        buffer.clear();
        self.buffer = buffer;
        written
    }

    fn unwritable(&self, field: &'static str, value: u64, limit: u64) -> CaptureError {
        let packet = self.written + 1;
        CaptureError::Unwritable { file: self.file.clone(), packet, field, value, limit }
    }
}

impl fmt::Debug for CaptureWriter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("CaptureWriter")
            .field("file", &self.file)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

/// What stands behind an error in writing the header: it only ever fails to write.
fn io_error(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(source) => source,
        other => io::Error::other(other),
    }
}
