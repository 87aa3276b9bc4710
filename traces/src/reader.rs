//! Reading a capture packet by packet.

use std::fmt;
use std::io::Read;
use std::path::Path;

use crate::classic::{self, Classic, RECORD_HEADER_BYTES};
use crate::error::CaptureError;
use crate::input::{self, Opened, Source, SourceError};
use crate::pcapng::{self, Pcapng};
use crate::record::Step;
use crate::window::Window;

/// Reads the Ethernet frames of a capture one by one, in constant memory.
///
/// The content decides the format, not the file's name: classic pcap of both byte orders with
/// microseconds or nanoseconds, or pcapng; either plain or compressed by gzip or zstd. A simple
/// packet block of pcapng, which has no time, takes that of the packet before it (0 at first).
pub struct CaptureReader {
    file: String,
    window: Window,
    format: Format,
    len: Option<u64>,
    delivered: u64,
    /// Where the records begin in the window, and how many packets came before, that
    /// [`CaptureReader::records`] gives.
    records_from: (usize, u64),
    ended: bool,
    tail: Option<TruncatedTail>,
}

enum Format {
    Classic(Classic),
    Pcapng(Pcapng),
}

/// One frame of a capture. It borrows from the reader until the next one is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapturedPacket<'a> {
    /// Place in the capture, counted from 1 as Wireshark does.
    pub number: u64,
    /// Time of capture in nanoseconds since 1970-01-01 UTC, as the capture gives it.
    pub timestamp_ns: u64,
    /// Length of the frame on the wire in bytes; never below the length of `data`.
    pub original_len: u32,
    /// The frame from its Ethernet header on, at most [`crate::FRAME_BYTES_MAX`] bytes.
    pub data: &'a [u8],
}

impl CapturedPacket<'_> {
    /// Whether the capture holds only the first bytes of the frame (a snap length cut the rest).
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.data.len() < self.original_len as usize
    }
}

/// One frame of a capture where the reader has it, to be changed there.
#[derive(Debug)]
pub struct HeldPacket<'a> {
    /// Time of capture in nanoseconds since 1970-01-01 UTC, as the capture gives it.
    pub timestamp_ns: u64,
    /// Length of the frame on the wire in bytes; never below the length of the frame here.
    pub original_len: u32,
    /// The frame, and [`HeldPacket::ROOM`] bytes before and behind it which are not its own: they
    /// must stay as they are.
    pub around: &'a mut [u8],
}

impl HeldPacket<'_> {
    /// Bytes before and behind the frame.
    pub const ROOM: usize = RECORD_HEADER_BYTES;

    /// The frame from its Ethernet header on.
    #[must_use]
    #[inline]
    pub fn data(&self) -> &[u8] {
        self.around.get(Self::ROOM..self.around.len() - Self::ROOM).unwrap_or_default()
    }

    /// Whether the capture holds only the first bytes of the frame.
    #[must_use]
    #[inline]
    pub fn is_truncated(&self) -> bool {
        self.around.len() - 2 * Self::ROOM < self.original_len as usize
    }
}

/// Packets that lie one behind the other as [`crate::CaptureWriter`] writes them.
#[derive(Debug, Clone, Copy)]
pub struct Records<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) count: u64,
}

/// Says where a capture breaks off in the middle of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TruncatedTail {
    /// Number of the last whole packet; 0 where there is none.
    pub after_packet: u64,
    /// Where the record begins which is not whole, in bytes from the start of the capture after
    /// decompression.
    pub offset: u64,
}

impl CaptureReader {
    /// Opens the capture at `path` and reads its header; `-` is standard input.
    ///
    /// # Errors
    /// [`CaptureError`] where the file cannot be opened or read, is empty or no capture, or is of
    /// another link type than Ethernet.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CaptureError> {
        Self::start(input::open(path.as_ref())?)
    }

    /// Reads a capture from anything that gives bytes; errors call it `name`.
    ///
    /// # Errors
    /// As [`CaptureReader::open`].
    pub fn from_reader(
        name: impl Into<String>,
        reader: impl Read + Send + 'static,
    ) -> Result<Self, CaptureError> {
        Self::start(Opened { name: name.into(), reader: Box::new(reader), len: None })
    }

    fn start(opened: Opened) -> Result<Self, CaptureError> {
        let Opened { name: file, reader, len } = opened;
        let source = Source::new(reader).map_err(|error| match error {
            SourceError::Read(source) => {
                CaptureError::Read { file: file.clone(), offset: 0, source }
            }
            SourceError::Compression(source) => {
                CaptureError::Compression { file: file.clone(), offset: 0, source }
            }
        })?;
        let mut window = Window::new(source);
        let format = read_header(&mut window, &file)?;
        let records_from = (window.position(), 0);
        let delivered = 0;
        Ok(Self { file, window, format, len, delivered, records_from, ended: false, tail: None })
    }

    /// Reads on if less than a packet is held, and says whether [`CaptureReader::next_held`] has
    /// the next one. If not, [`CaptureReader::next_packet`] has it, or knows why there is none.
    ///
    /// # Errors
    /// [`CaptureError`] where reading fails.
    pub fn hold(&mut self) -> Result<bool, CaptureError> {
        let Format::Classic(classic) = &self.format else { return Ok(false) };
        if self.ended {
            return Ok(false);
        }
        let held = classic.hold(&mut self.window);
        self.records_from = (self.window.position(), self.delivered);
        held.map_err(|fault| {
            self.ended = true;
            CaptureError::from_fault(fault, &self.file, self.delivered + 1)
        })
    }

    /// The next packet where it is, if it is there already; `None` does not mean that there is
    /// none.
    #[inline]
    pub fn next_held(&mut self) -> Option<HeldPacket<'_>> {
        let Format::Classic(classic) = &self.format else { return None };
        if self.ended {
            return None;
        }
        let packet = classic.next_held(&mut self.window)?;
        self.delivered += 1;
        Some(packet)
    }

    /// The packets that [`CaptureReader::next_held`] gave since [`CaptureReader::hold`], or since
    /// the last one of [`CaptureReader::next_packet`], as they are now.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        let (position, before) = self.records_from;
        Records { bytes: self.window.consumed_from(position), count: self.delivered - before }
    }

    /// The next packet; `None` at the end of the capture, also after an error.
    ///
    /// A capture which breaks off inside a record ends there; [`CaptureReader::truncated_tail`]
    /// then says so.
    ///
    /// # Errors
    /// [`CaptureError`] where reading fails or the capture is damaged at this packet.
    pub fn next_packet(&mut self) -> Result<Option<CapturedPacket<'_>>, CaptureError> {
        if self.ended {
            return Ok(None);
        }
        let step = match &mut self.format {
            Format::Classic(classic) => classic.next(&mut self.window),
            Format::Pcapng(pcapng) => pcapng.next(&mut self.window),
        };
        let packets = self.delivered + u64::from(matches!(step, Ok(Step::Packet(_))));
        self.records_from = (self.window.position(), packets);
        match step {
            Ok(Step::Packet(record)) => {
                self.delivered += 1;
                Ok(Some(CapturedPacket {
                    number: self.delivered,
                    timestamp_ns: record.timestamp_ns,
                    original_len: record.original_len,
                    data: self.window.at(record.place),
                }))
            }
            Ok(Step::End) => {
                self.ended = true;
                Ok(None)
            }
            Ok(Step::Cut { offset }) => {
                self.ended = true;
                self.tail = Some(TruncatedTail { after_packet: self.delivered, offset });
                Ok(None)
            }
            Err(fault) => {
                self.ended = true;
                Err(CaptureError::from_fault(fault, &self.file, self.delivered + 1))
            }
        }
    }

    /// Set once `next_packet` returned `None` because the capture breaks off inside a record.
    #[must_use]
    pub fn truncated_tail(&self) -> Option<TruncatedTail> {
        self.tail
    }

    /// Bytes taken from the file so far, before decompression: how far the reader is on the way
    /// to [`CaptureReader::len_hint`]. It runs ahead of the packets by the size of the buffer.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.window.bytes_read()
    }

    /// Length of the file in bytes when it was opened; `None` for standard input and devices.
    #[must_use]
    pub fn len_hint(&self) -> Option<u64> {
        self.len
    }
}

impl fmt::Debug for CaptureReader {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("CaptureReader")
            .field("file", &self.file)
            .field("delivered", &self.delivered)
            .field("ended", &self.ended)
            .field("tail", &self.tail)
            .finish_non_exhaustive()
    }
}

/// Tells the format by the first bytes and reads the header.
fn read_header(window: &mut Window, file: &str) -> Result<Format, CaptureError> {
    let fault = |fault| CaptureError::from_fault(fault, file, 1);
    // What is there decides, also where it is less than this.
    window.fill(classic::HEADER_BYTES).map_err(fault)?;
    let file_name = || file.to_owned();
    let header_bytes = match window.data() {
        // Compressed data which ends too early may not even show what it was.
        data if window.was_cut() && data.len() < classic::HEADER_BYTES => classic::HEADER_BYTES,
        [] => return Err(CaptureError::Empty { file: file_name() }),
        data if Classic::recognises(data) => classic::HEADER_BYTES,
        data if Pcapng::recognises(data) => pcapng::HEADER_BYTES,
        data => {
            let found: Vec<_> = data.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            return Err(CaptureError::NotACapture { file: file_name(), found: found.join(" ") });
        }
    };
    if !window.fill(header_bytes).map_err(fault)? {
        let bytes = window.data().len() as u64;
        return Err(CaptureError::HeaderCut { file: file_name(), bytes });
    }
    if Pcapng::recognises(window.data()) {
        return Ok(Format::Pcapng(Pcapng::new()));
    }
    Classic::new(window).map(Format::Classic).map_err(fault)
}
