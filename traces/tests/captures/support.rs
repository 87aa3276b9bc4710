//! Captures built byte by byte, and short ways to read them.

use std::io::Cursor;

use qpmux_traces::{CaptureError, CaptureReader, TruncatedTail};

/// Byte order of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Little,
    Big,
}

impl Order {
    pub(crate) fn u16(self, value: u16) -> [u8; 2] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }

    pub(crate) fn u32(self, value: u32) -> [u8; 4] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }
}

/// A packet in the hand of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) timestamp_ns: u64,
    pub(crate) original_len: u32,
    pub(crate) data: Vec<u8>,
}

impl Packet {
    pub(crate) fn whole(timestamp_ns: u64, data: &[u8]) -> Self {
        Self { timestamp_ns, original_len: data.len() as u32, data: data.to_vec() }
    }
}

/// A classic pcap's header.
pub(crate) fn classic_header(order: Order, nanoseconds: bool, link_type: u32) -> Vec<u8> {
    let magic = if nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
    let mut bytes = order.u32(magic).to_vec();
    bytes.extend(order.u16(2));
    bytes.extend(order.u16(4));
    for field in [0, 0, 65_535, link_type] {
        bytes.extend(order.u32(field));
    }
    bytes
}

/// A classic record with the fields as given, true or false.
pub(crate) fn classic_record(order: Order, fields: [u32; 4], data: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = fields.into_iter().flat_map(|field| order.u32(field)).collect();
    bytes.extend(data);
    bytes
}

/// A whole classic pcap.
pub(crate) fn classic(order: Order, nanoseconds: bool, packets: &[Packet]) -> Vec<u8> {
    let mut bytes = classic_header(order, nanoseconds, 1);
    for packet in packets {
        let unit_ns = if nanoseconds { 1 } else { 1_000 };
        let seconds = (packet.timestamp_ns / 1_000_000_000) as u32;
        let fraction = (packet.timestamp_ns % 1_000_000_000 / unit_ns) as u32;
        let fields = [seconds, fraction, packet.data.len() as u32, packet.original_len];
        bytes.extend(classic_record(order, fields, &packet.data));
    }
    bytes
}

/// Three packets, whole microseconds, the last one cut by a snap length.
pub(crate) fn three_packets() -> Vec<Packet> {
    vec![
        Packet::whole(1_700_000_000_000_001_000, &[1; 60]),
        Packet::whole(1_700_000_000_999_999_000, &[2; 1098]),
        Packet { timestamp_ns: 1_700_000_001_000_000_000, original_len: 90_000, data: vec![3; 96] },
    ]
}

/// Everything one reading gives.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) packets: Vec<Packet>,
    pub(crate) tail: Option<TruncatedTail>,
    pub(crate) error: Option<CaptureError>,
}

/// Reads all of `reader` and checks the numbering and the end on the way.
pub(crate) fn drain(mut reader: CaptureReader) -> Reading {
    let mut packets = Vec::new();
    let mut error = None;
    loop {
        match reader.next_packet() {
            Ok(None) => break,
            Err(found) => {
                error = Some(found);
                break;
            }
            Ok(Some(packet)) => {
                assert_eq!(packet.number, packets.len() as u64 + 1);
                packets.push(Packet {
                    timestamp_ns: packet.timestamp_ns,
                    original_len: packet.original_len,
                    data: packet.data.to_vec(),
                });
            }
        }
    }
    assert!(matches!(reader.next_packet(), Ok(None)), "nothing comes after the end");
    Reading { packets, tail: reader.truncated_tail(), error }
}

/// Reads a capture which opens.
pub(crate) fn read(bytes: &[u8]) -> Reading {
    drain(CaptureReader::from_reader("x.pcap", Cursor::new(bytes.to_vec())).expect("opens"))
}

/// The error of opening a capture.
pub(crate) fn open_error(bytes: &[u8]) -> CaptureError {
    CaptureReader::from_reader("x.pcap", Cursor::new(bytes.to_vec())).expect_err("must not open")
}
