//! Properties: whatever the bytes, reading ends without a panic; whatever the packets, they come
//! back as they were written.

use std::io::{Cursor, Read};

use proptest::collection::vec;
use proptest::prelude::*;
use qpmux_traces::{CaptureReader, CaptureWriter, FRAME_BYTES_MAX};

use crate::blocks::{block, interface, obsolete, option, simple, whole_section};
use crate::compressed::{gzip, zstd};
use crate::support::{Order, Packet, classic, drain, three_packets};

/// Reads to the end, or to more packets than `bytes` can hold, which would be a loop.
fn survive(bytes: &[u8]) -> usize {
    let Ok(mut reader) = CaptureReader::from_reader("x", Cursor::new(bytes.to_vec())) else {
        return 0;
    };
    // The shortest record has 16 bytes; deflate and zstd unpack few bytes into very many.
    let most = 1_000_000 + bytes.len();
    let mut packets = 0;
    while let Ok(Some(packet)) = reader.next_packet() {
        assert!(packet.data.len() <= FRAME_BYTES_MAX as usize);
        assert!(packet.original_len as usize >= packet.data.len());
        packets += 1;
        assert!(packets <= most, "it never ends");
    }
    assert!(matches!(reader.next_packet(), Ok(None)));
    if let Some(tail) = reader.truncated_tail() {
        assert_eq!(tail.after_packet, packets as u64);
    }
    packets
}

/// One intact capture of each kind.
pub(crate) fn intact(kind: usize) -> Vec<u8> {
    let order = if kind.is_multiple_of(2) { Order::Little } else { Order::Big };
    let packets = three_packets();
    let mut sections = whole_section(order, &packets[..1]);
    sections.extend(interface(order, 1, 70, &[option(order, 14, &[0; 8])]));
    sections.extend(obsolete(order, 1, 5, &packets[0]));
    sections.extend(simple(order, 50, &[1; 50]));
    sections.extend(block(order, 99, &[1; 50]));
    sections.extend(whole_section(order, &packets[..1]));
    match kind / 2 {
        0 => classic(order, true, &packets),
        1 => classic(order, false, &packets),
        2 => sections,
        3 => gzip(&sections),
        4 => gzip(&classic(order, true, &packets)),
        5 => zstd(&sections),
        _ => zstd(&classic(order, true, &packets)),
    }
}

/// What happens to a file: bytes overwritten, left out, or put in.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Overwrite(Vec<u8>),
    Remove(usize),
    Insert(Vec<u8>),
}

pub(crate) fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, Change)>> {
    let number = prop_oneof![Just(0_u32), Just(u32::MAX), Just(FRAME_BYTES_MAX), 0_u32..200];
    let change = prop_oneof![
        vec(any::<u8>(), 1..5).prop_map(Change::Overwrite),
        number.clone().prop_map(|number| Change::Overwrite(number.to_le_bytes().to_vec())),
        number.prop_map(|number| Change::Overwrite(number.to_be_bytes().to_vec())),
        (1_usize..40).prop_map(Change::Remove),
        vec(any::<u8>(), 1..40).prop_map(Change::Insert),
    ];
    vec((any::<prop::sample::Index>(), change), 0..4)
}

pub(crate) fn apply(bytes: &mut Vec<u8>, at: usize, change: Change) {
    let (removed, inserted) = match change {
        Change::Overwrite(inserted) => (inserted.len(), inserted),
        Change::Remove(removed) => (removed, Vec::new()),
        Change::Insert(inserted) => (0, inserted),
    };
    let end = bytes.len().min(at + removed);
    bytes.splice(at..end, inserted);
}

/// Gives its bytes in pieces of the lengths in turn, and is interrupted before each.
pub(crate) struct Pieces {
    pub(crate) bytes: Cursor<Vec<u8>>,
    pub(crate) lengths: Vec<usize>,
    pub(crate) calls: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.calls += 1;
        if self.calls.is_multiple_of(2) {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        let length = self.lengths[self.calls / 2 % self.lengths.len()].min(buffer.len());
        self.bytes.read(&mut buffer[..length])
    }
}

pub(crate) fn packets() -> impl Strategy<Value = Vec<Packet>> {
    let packet = (0..(1_u64 << 32) * 1_000_000_000, 0_u32..3_000, vec(any::<u8>(), 0..2_000));
    let packet = packet.prop_map(|(timestamp_ns, more, data)| Packet {
        timestamp_ns,
        original_len: data.len() as u32 + more,
        data,
    });
    vec(packet, 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_survived(kind in 0_usize..15, head in 4_usize..64,
                                    bytes in vec(any::<u8>(), 0..2_000)) {
        let mut start = if kind < 14 { intact(kind) } else { Vec::new() };
        start.truncate(head);
        survive(&[start, bytes].concat());
    }

    #[test]
    fn changed_captures_are_survived(kind in 0_usize..14, changes in changes(),
                                     cut in proptest::option::of(any::<prop::sample::Index>())) {
        let mut bytes = intact(kind);
        prop_assert!(survive(&bytes) >= 3);
        for (at, change) in changes {
            let at = at.index(bytes.len() + 1);
            apply(&mut bytes, at, change);
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        survive(&bytes);
    }

    #[test]
    fn a_slow_source_gives_the_same(kind in 0_usize..14, lengths in vec(1_usize..40, 1..10)) {
        let whole = CaptureReader::from_reader("x", Cursor::new(intact(kind)));
        let pieces = Pieces { bytes: Cursor::new(intact(kind)), lengths, calls: 0 };
        let slow = drain(CaptureReader::from_reader("x", pieces).expect("opens"));
        prop_assert_eq!(slow.packets, drain(whole.expect("opens")).packets);
        prop_assert!(slow.error.is_none() && slow.tail.is_none());
    }

    #[test]
    fn what_is_written_is_read_back(packets in packets(), ending in 0_usize..3) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(["a.pcap", "a.gz", "a.zst"][ending]);
        let mut writer = CaptureWriter::create(&path).expect("created");
        for packet in &packets {
            writer
                .write_packet(packet.timestamp_ns, packet.original_len, &packet.data)
                .expect("fits");
        }
        writer.finish().expect("finished");
        let reading = drain(CaptureReader::open(&path).expect("opens"));
        prop_assert_eq!(reading.packets, packets);
        prop_assert!(reading.error.is_none() && reading.tail.is_none());
    }
}
