//! Captures as the tests see them: read and written here without any code of qpmux.

use std::fs;
use std::path::Path;

/// One record of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Nanoseconds since 1970-01-01 UTC.
    pub timestamp_ns: u64,
    /// Length on the wire in bytes.
    pub original_len: u32,
    /// What the capture holds of it.
    pub data: Vec<u8>,
}

/// Bytes of the header of a capture, and of a record.
pub const HEADER_BYTES: usize = 24;
const RECORD_BYTES: usize = 16;
const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
const NS_PER_S: u64 = 1_000_000_000;

/// The packets of a classic pcap, little endian, with microseconds or nanoseconds.
///
/// # Panics
///
/// If the file is anything else, or not whole.
pub fn read(path: &Path) -> Vec<Packet> {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let scale = match word(0) {
        MICROSECONDS => 1000,
        NANOSECONDS => 1,
        other => panic!("{}: magic number {other:#x}", path.display()),
    };
    assert_eq!(word(20), 1, "{}: the link type is Ethernet", path.display());
    let mut packets = Vec::new();
    let mut at = HEADER_BYTES;
    while at < bytes.len() {
        let data = at + RECORD_BYTES..at + RECORD_BYTES + word(at + 8) as usize;
        packets.push(Packet {
            timestamp_ns: u64::from(word(at)) * NS_PER_S + u64::from(word(at + 4)) * scale,
            original_len: word(at + 12),
            data: bytes[data.clone()].to_vec(),
        });
        at = data.end;
    }
    packets
}

/// The bytes of a classic pcap, little endian, with nanoseconds.
pub fn bytes_of(packets: &[Packet]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [NANOSECONDS, 0x0004_0002, 0, 0, 262_144, 1] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    for packet in packets {
        let seconds = u32::try_from(packet.timestamp_ns / NS_PER_S).expect("before 2106");
        let fraction = (packet.timestamp_ns % NS_PER_S) as u32;
        for word in [seconds, fraction, packet.data.len() as u32, packet.original_len] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&packet.data);
    }
    bytes
}

/// Writes a capture.
///
/// # Panics
///
/// If the file cannot be written.
pub fn write(path: &Path, packets: &[Packet]) {
    fs::write(path, bytes_of(packets)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// Where the record of a packet begins, in bytes, in what [`bytes_of`] makes.
pub fn offset_of(packets: &[Packet], index: usize) -> usize {
    packets[..index].iter().fold(HEADER_BYTES, |at, packet| at + RECORD_BYTES + packet.data.len())
}
