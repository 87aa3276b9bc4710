//! pcapng: a sequence of blocks, in sections with interfaces.
//!
//! Taken apart here and not by the parser of `pcap-file`: that one counts every timestamp in
//! nanoseconds whatever the interface says, refuses comments which are not UTF-8, and keeps all
//! options of all interfaces in memory. The numbers of the blocks are taken from it.

use pcap_file::pcapng::blocks::{
    ENHANCED_PACKET_BLOCK, INTERFACE_DESCRIPTION_BLOCK, PACKET_BLOCK, SECTION_HEADER_BLOCK,
    SIMPLE_PACKET_BLOCK,
};

use crate::FRAME_BYTES_MAX;
use crate::interface::{Interface, OptionFault};
use crate::record::{ByteOrder, ETHERNET, Fault, Record, Step};
use crate::window::Window;

/// Length of the shortest section header, with which every file begins, in bytes.
pub(crate) const HEADER_BYTES: usize = 28;
/// Type and length of a block, and its length once more at its end.
const BLOCK_START_BYTES: usize = 8;
const BLOCK_END_BYTES: usize = 4;
/// Longest block, in bytes: the limit of Wireshark. A longer one is a damaged length.
const BLOCK_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// What a packet block holds in front of the frame, in bytes.
const PACKET_FIELDS_BYTES: usize = 20;
const SIMPLE_FIELDS_BYTES: usize = 4;
/// Most interfaces of a section: what can be counted in the oldest kind of packet block. It keeps
/// the memory bounded.
const INTERFACES_MAX: usize = 65_536;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

/// The state of a section.
pub(crate) struct Pcapng {
    order: ByteOrder,
    interfaces: Vec<Interface>,
    /// Time of the last packet which had one, in nanoseconds.
    last_ns: u64,
}

/// The block in front of the window.
#[derive(Clone, Copy)]
struct Block {
    kind: u32,
    offset: u64,
    bytes: usize,
}

impl Block {
    fn damaged(self, field: &'static str, value: u64, expected: &'static str) -> Fault {
        Fault::Field { offset: self.offset, field, value, expected }
    }

    /// What lies between the two lengths of the block, of which `window` holds all bytes.
    fn body(self, window: &Window) -> &[u8] {
        let end = self.bytes - BLOCK_END_BYTES;
        window.data().get(BLOCK_START_BYTES..end).unwrap_or_default()
    }
}

impl Pcapng {
    /// Whether a capture which begins with `data` is a pcapng.
    pub(crate) fn recognises(data: &[u8]) -> bool {
        data.starts_with(&SECTION_HEADER_BLOCK.to_be_bytes())
    }

    /// Before the first section header.
    pub(crate) fn new() -> Self {
        Self { order: ByteOrder::Little, interfaces: Vec::new(), last_ns: 0 }
    }

    /// Finds the next packet; other blocks are taken note of or stepped over.
    pub(crate) fn next(&mut self, window: &mut Window) -> Result<Step, Fault> {
        loop {
            let offset = window.offset();
            if !window.fill(BLOCK_START_BYTES + BLOCK_END_BYTES)? {
                return Ok(if window.ended_cleanly() { Step::End } else { Step::Cut { offset } });
            }
            let block = self.block_in_front(window)?;
            let whole = match block.kind {
                SECTION_HEADER_BLOCK
                | INTERFACE_DESCRIPTION_BLOCK
                | ENHANCED_PACKET_BLOCK
                | PACKET_BLOCK
                | SIMPLE_PACKET_BLOCK => window.fill(block.bytes)?,
                _ => window.skip(block.bytes - BLOCK_END_BYTES)? && window.fill(BLOCK_END_BYTES)?,
            };
            if !whole {
                return Ok(Step::Cut { offset });
            }
            if let Some(record) = self.take(block, window)? {
                return Ok(Step::Packet(record));
            }
        }
    }

    /// Reads type and length of the block in front; of a section header also the byte order.
    fn block_in_front(&mut self, window: &Window) -> Result<Block, Fault> {
        let data = window.data();
        // A section header's type reads the same in both byte orders.
        let kind = self.order.u32(data, 0);
        let mut block = Block { kind, offset: window.offset(), bytes: 0 };
        if kind == SECTION_HEADER_BLOCK {
            let magic = ByteOrder::Little.u32(data, BLOCK_START_BYTES);
            self.order = match magic {
                BYTE_ORDER_MAGIC => ByteOrder::Little,
                _ if magic.swap_bytes() == BYTE_ORDER_MAGIC => ByteOrder::Big,
                _ => {
                    let found = u64::from(magic);
                    return Err(block.damaged("byte-order magic", found, "neither byte order"));
                }
            };
        }
        let bytes = self.order.u32(data, 4);
        let damaged = |expected| Err(block.damaged("block length", u64::from(bytes), expected));
        if !bytes.is_multiple_of(4) {
            return damaged("not a multiple of 4");
        }
        if bytes < 12 {
            return damaged("less than a block has");
        }
        if bytes > BLOCK_BYTES_MAX {
            return damaged("more than the longest block (16 MiB)");
        }
        block.bytes = bytes as usize;
        Ok(block)
    }

    /// Takes the block off the window. Of a skipped one only the length at its end is left there.
    fn take(&mut self, block: Block, window: &mut Window) -> Result<Option<Record>, Fault> {
        let mut left = block.bytes;
        let record = match block.kind {
            SECTION_HEADER_BLOCK => self.begin_section(block, window).map(|()| None),
            INTERFACE_DESCRIPTION_BLOCK => self.add_interface(block, window).map(|()| None),
            ENHANCED_PACKET_BLOCK | PACKET_BLOCK => self.packet(block, window).map(Some),
            SIMPLE_PACKET_BLOCK => self.simple_packet(block, window).map(Some),
            _ => {
                left = BLOCK_END_BYTES;
                Ok(None)
            }
        };
        // First this: where the lengths differ, the body is not to be trusted.
        let at_end = self.order.u32(window.data(), left - BLOCK_END_BYTES) as usize;
        if at_end != block.bytes {
            let expected = "not the length at its start";
            return Err(block.damaged("length at the end of the block", at_end as u64, expected));
        }
        let record = record?;
        window.consume(left);
        Ok(record)
    }

    fn begin_section(&mut self, block: Block, window: &Window) -> Result<(), Fault> {
        let body = block.body(window);
        if body.len() < HEADER_BYTES - BLOCK_START_BYTES - BLOCK_END_BYTES {
            let bytes = block.bytes as u64;
            return Err(block.damaged("block length", bytes, "less than a section header has"));
        }
        let version = self.order.u16(body, 4);
        if version != 1 {
            return Err(block.damaged("format version", u64::from(version), "not 1"));
        }
        self.interfaces.clear();
        Ok(())
    }

    fn add_interface(&mut self, block: Block, window: &Window) -> Result<(), Fault> {
        if self.interfaces.len() == INTERFACES_MAX {
            let next = INTERFACES_MAX as u64 + 1;
            return Err(block.damaged("number of interfaces", next, "more than 65536"));
        }
        let described = Interface::parse(self.order, block.body(window));
        let interface = described.map_err(|fault| match fault {
            OptionFault::Short => {
                let bytes = block.bytes as u64;
                block.damaged("block length", bytes, "less than an interface description has")
            }
            OptionFault::Length { code, len } => {
                let field = match code {
                    9 => "length of the option if_tsresol",
                    14 => "length of the option if_tsoffset",
                    _ => "length of an interface's option",
                };
                block.damaged(field, u64::from(len), "not what fits there")
            }
        })?;
        self.interfaces.push(interface);
        Ok(())
    }

    /// An enhanced packet block, or the obsolete packet block (which has a counter of lost packets
    /// in one half of the interface's number).
    fn packet(&mut self, block: Block, window: &Window) -> Result<Record, Fault> {
        let body = block.body(window);
        if body.len() < PACKET_FIELDS_BYTES {
            let bytes = block.bytes as u64;
            return Err(block.damaged("block length", bytes, "less than a packet block has"));
        }
        let number = match block.kind {
            PACKET_BLOCK => u32::from(self.order.u16(body, 0)),
            _ => self.order.u32(body, 0),
        };
        let interface = self.interface(block, number)?;
        let time = u64::from(self.order.u32(body, 4)) << 32 | u64::from(self.order.u32(body, 8));
        let Some(timestamp_ns) = interface.to_ns(time) else {
            return Err(block.damaged("timestamp", time, "out of the years 1970 to 2554"));
        };
        let captured = self.order.u32(body, 12);
        let held = body.len() - PACKET_FIELDS_BYTES;
        let captured_bytes = checked_frame(block, captured, held)?;
        self.last_ns = timestamp_ns;
        let from = BLOCK_START_BYTES + PACKET_FIELDS_BYTES;
        Ok(Record {
            timestamp_ns,
            original_len: self.order.u32(body, 16).max(captured),
            place: window.place(from, from + captured_bytes),
        })
    }

    /// A simple packet block: of the first interface, and without a time, so that it takes that of
    /// the packet before it.
    fn simple_packet(&mut self, block: Block, window: &Window) -> Result<Record, Fault> {
        let body = block.body(window);
        let Some(held) = body.len().checked_sub(SIMPLE_FIELDS_BYTES) else {
            let bytes = block.bytes as u64;
            return Err(block.damaged(
                "block length",
                bytes,
                "less than a simple packet block has",
            ));
        };
        let interface = self.interface(block, 0)?;
        let original_len = self.order.u32(body, 0);
        let captured = match interface.snap_len {
            0 => original_len,
            snap_len => original_len.min(snap_len),
        };
        let captured_bytes = checked_frame(block, captured, held)?;
        let from = BLOCK_START_BYTES + SIMPLE_FIELDS_BYTES;
        Ok(Record {
            timestamp_ns: self.last_ns,
            original_len,
            place: window.place(from, from + captured_bytes),
        })
    }

    fn interface(&self, block: Block, number: u32) -> Result<&Interface, Fault> {
        let Some(interface) = self.interfaces.get(number as usize) else {
            let value = u64::from(number);
            return Err(block.damaged("interface", value, "not described before this packet"));
        };
        match u32::from(interface.link_type) {
            ETHERNET => Ok(interface),
            other => Err(Fault::LinkType(other)),
        }
    }
}

/// The captured length as the length of a frame, of which the block holds up to `held` bytes.
fn checked_frame(block: Block, captured: u32, held: usize) -> Result<usize, Fault> {
    let damaged = |expected| Err(block.damaged("captured length", u64::from(captured), expected));
    match captured as usize {
        bytes if bytes > held => damaged("more than its block holds"),
        _ if captured > FRAME_BYTES_MAX => damaged("more than the largest frame (262144)"),
        bytes => Ok(bytes),
    }
}
