//! Classic pcap: a header of 24 bytes, then records of 16 bytes and a frame each.
//!
//! `pcap-file` reads the header of the file. Records are taken apart here: all that its parser
//! could still do, after their lengths have been checked, is to read four numbers, and that takes
//! longer than the check. Its own reader would not do: it takes a cut file and an absurd length for
//! the same error, and refuses frames which the snap length cut short.

use pcap_file::pcap::PcapHeader;
use pcap_file::{Endianness, TsResolution};

use crate::FRAME_BYTES_MAX;
use crate::reader::HeldPacket;
use crate::record::{ByteOrder, ETHERNET, Fault, Record, Step};
use crate::window::Window;

/// Length of the header of the file, in bytes.
pub(crate) const HEADER_BYTES: usize = 24;
pub(crate) const RECORD_HEADER_BYTES: usize = 16;
/// The upper bits of the header's link type hold the length of the frame check sequence.
const LINK_TYPE_MASK: u32 = 0xffff;

/// The header of a record as it is written here, from its four numbers.
#[inline]
pub(crate) fn record_header(numbers: [u32; 4]) -> [u8; RECORD_HEADER_BYTES] {
    let mut header = [0; RECORD_HEADER_BYTES];
    for (place, number) in header.chunks_exact_mut(4).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    header
}

/// A classic pcap whose header was read.
pub(crate) struct Classic {
    order: ByteOrder,
    /// Length of one unit of the records' fraction of a second, in nanoseconds.
    fraction_ns: u32,
}

impl Classic {
    /// Whether a capture which begins with `data` is a classic pcap.
    pub(crate) fn recognises(data: &[u8]) -> bool {
        const MAGICS: [u32; 4] = [0xa1b2_c3d4, 0xa1b2_3c4d, 0xd4c3_b2a1, 0x4d3c_b2a1];
        data.len() >= 4 && MAGICS.contains(&ByteOrder::Big.u32(data, 0))
    }

    /// Reads the header, of which `window` holds all bytes.
    pub(crate) fn new(window: &mut Window) -> Result<Self, Fault> {
        let damaged = |field, value, expected| Fault::Field { offset: 0, field, value, expected };
        let (_, header) = PcapHeader::from_slice(window.data())
            .map_err(|_| damaged("header", 0, "not that of a classic pcap"))?;
        // Before version 2.3 the two lengths of a record were the other way round.
        if header.version_major != 2 || header.version_minor < 3 {
            let version = u64::from(header.version_major) * 100 + u64::from(header.version_minor);
            return Err(damaged("format version (hundredfold)", version, "not 203 or 204"));
        }
        let link_type = u32::from(header.datalink);
        if link_type & LINK_TYPE_MASK != ETHERNET {
            return Err(Fault::LinkType(link_type));
        }
        window.consume(HEADER_BYTES);
        let order = match header.endianness {
            Endianness::Big => ByteOrder::Big,
            Endianness::Little => ByteOrder::Little,
        };
        let fraction_ns = match header.ts_resolution {
            TsResolution::MicroSecond => 1_000,
            TsResolution::NanoSecond => 1,
        };
        Ok(Self { order, fraction_ns })
    }

    /// The next record, if all of it is available and sound. It becomes one as they are written
    /// here: little endian, with nanoseconds, and no frame longer than it was.
    #[inline]
    pub(crate) fn next_held<'a>(&self, window: &'a mut Window) -> Option<HeldPacket<'a>> {
        let [seconds, fraction, captured, original] = self.held(window)?;
        let bytes = RECORD_HEADER_BYTES + captured as usize;
        let around = window.take(bytes, RECORD_HEADER_BYTES)?;
        // Below a second: see `check_header`.
        let fraction = fraction * self.fraction_ns;
        let original_len = original.max(captured);
        if self.order == ByteOrder::Big || self.fraction_ns != 1 || original_len != original {
            let header: &mut [u8; RECORD_HEADER_BYTES] = around.first_chunk_mut()?;
            *header = record_header([seconds, fraction, captured, original_len]);
        }
        let timestamp_ns = u64::from(seconds) * 1_000_000_000 + u64::from(fraction);
        Some(HeldPacket { timestamp_ns, original_len, around })
    }

    /// The header of the next record, if it is sound and all of the record is available.
    #[inline]
    fn held(&self, window: &Window) -> Option<[u32; 4]> {
        let available = window.data();
        let header: &[u8; RECORD_HEADER_BYTES] = available.first_chunk()?;
        let numbers = [0, 4, 8, 12].map(|at| self.order.u32(header, at));
        let [_, fraction, captured, _] = numbers;
        let whole = captured as usize <= available.len() - RECORD_HEADER_BYTES;
        (whole && self.check_header(0, fraction, captured).is_ok()).then_some(numbers)
    }

    /// Makes the next record available if there is one. `false` if it is not, for whatever reason
    /// that [`Self::next`] knows.
    pub(crate) fn hold(&self, window: &mut Window) -> Result<bool, Fault> {
        if !window.fill(RECORD_HEADER_BYTES)? {
            return Ok(false);
        }
        let [fraction, captured] = [4, 8].map(|at| self.order.u32(window.data(), at));
        if self.check_header(0, fraction, captured).is_err() {
            return Ok(false);
        }
        let bytes = RECORD_HEADER_BYTES + captured as usize;
        Ok(window.fill(bytes)? && bytes + RECORD_HEADER_BYTES <= window.room())
    }

    /// Finds the next record. Its header is judged before its end is looked for: a false length
    /// shall not pass for a cut file.
    #[inline]
    pub(crate) fn next(&self, window: &mut Window) -> Result<Step, Fault> {
        let offset = window.offset();
        if !window.fill(RECORD_HEADER_BYTES)? {
            return Ok(if window.ended_cleanly() { Step::End } else { Step::Cut { offset } });
        }
        let header: &[u8; RECORD_HEADER_BYTES] =
            window.data().first_chunk().unwrap_or(&[0; RECORD_HEADER_BYTES]);
        let [seconds, fraction, captured, original] =
            [0, 4, 8, 12].map(|at| self.order.u32(header, at));
        self.check_header(offset, fraction, captured)?;
        let bytes = RECORD_HEADER_BYTES + captured as usize;
        if !window.fill(bytes)? {
            return Ok(Step::Cut { offset });
        }
        let fraction_ns = u64::from(fraction) * u64::from(self.fraction_ns);
        let record = Record {
            timestamp_ns: u64::from(seconds) * 1_000_000_000 + fraction_ns,
            original_len: original.max(captured),
            place: window.place(RECORD_HEADER_BYTES, bytes),
        };
        window.consume(bytes);
        Ok(Step::Packet(record))
    }

    /// Checks the header of the record that begins at `offset`.
    #[inline]
    fn check_header(&self, offset: u64, fraction: u32, captured: u32) -> Result<(), Fault> {
        let damaged = |field, value, expected| {
            Err(Fault::Field { offset, field, value: u64::from(value), expected })
        };
        if fraction >= 1_000_000_000 / self.fraction_ns {
            return damaged("fraction of a second in the timestamp", fraction, "a second or more");
        }
        if captured > FRAME_BYTES_MAX {
            return damaged("captured length", captured, "more than the largest frame (262144)");
        }
        Ok(())
    }
}
