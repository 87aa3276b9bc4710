//! Packet captures: streaming reading and writing in constant memory.
//!
//! * [`CaptureReader`] hands out the Ethernet frames of a capture one by one.
//! * [`CaptureWriter`] writes a capture, whole or not at all.
//! * [`same_file`] and [`refuse_same_file`] keep an output from replacing its own input.
//!
//! ```no_run
//! use qpmux_traces::{CaptureReader, CaptureWriter};
//!
//! # fn main() -> Result<(), qpmux_traces::CaptureError> {
//! let mut reader = CaptureReader::open("in.pcap")?;
//! let mut writer = CaptureWriter::create("out.pcap")?;
//! while let Some(packet) = reader.next_packet()? {
//!     writer.write_packet(packet.timestamp_ns, packet.original_len, packet.data)?;
//! }
//! writer.finish()?;
//! # Ok(())
//! # }
//! ```
//!
//! The way of a byte: `input` opens the file and decompresses it, `window` buffers a bounded part
//! of it, `classic` and `pcapng` find the records in there, `reader` numbers them and names the
//! file in every error.

mod classic;
mod error;
mod input;
mod interface;
mod output;
mod paths;
mod pcapng;
mod reader;
mod record;
mod window;
mod writer;

pub use error::CaptureError;
pub use paths::{refuse_same_file, same_file};
pub use reader::{CaptureReader, CapturedPacket, HeldPacket, Records, TruncatedTail};
pub use writer::CaptureWriter;

/// Largest frame read or written, in bytes: the largest snap length of libpcap and Wireshark for
/// Ethernet. A record which claims more is damaged, and no other tool would read it either.
pub const FRAME_BYTES_MAX: u32 = 262_144;
