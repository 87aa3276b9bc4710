//! Packets where the reader has them: the same ones, and what is written of them as well.

use std::fs;
use std::io::{Cursor, Read};

use proptest::prelude::*;
use qpmux_traces::{CaptureReader, CaptureWriter, HeldPacket};

use crate::arbitrary::{Pieces, apply, changes, intact, packets};
use crate::support::{Order, Packet, Reading, classic, drain, read};

/// Reads all that can be held so, and the rest one by one; gives how many were held, and writes
/// all to `writer`.
fn drain_held(mut reader: CaptureReader, writer: &mut CaptureWriter) -> (Reading, usize) {
    let (mut packets, mut held) = (Vec::new(), 0);
    let error = loop {
        match reader.hold() {
            Err(error) => break Some(error),
            Ok(true) => {
                let before = held;
                while let Some(HeldPacket { timestamp_ns, original_len, around }) =
                    reader.next_held()
                {
                    held += 1;
                    let data = around[HeldPacket::ROOM..around.len() - HeldPacket::ROOM].to_vec();
                    packets.push(Packet { timestamp_ns, original_len, data });
                }
                assert!(held > before, "what is held can be had");
                writer.write_records(&reader.records()).expect("fits");
            }
            Ok(false) => match reader.next_packet() {
                Err(error) => break Some(error),
                Ok(None) => break None,
                Ok(Some(packet)) => {
                    assert_eq!(packet.number, packets.len() as u64 + 1);
                    let (timestamp_ns, original_len) = (packet.timestamp_ns, packet.original_len);
                    let data = packet.data.to_vec();
                    // Of a damaged capture, times need not fit.
                    let _ = writer.write_packet(timestamp_ns, original_len, &data);
                    packets.push(Packet { timestamp_ns, original_len, data });
                }
            },
        }
    };
    assert!(matches!(reader.hold(), Ok(false)) && reader.next_held().is_none());
    assert!(matches!(reader.next_packet(), Ok(None)), "nothing comes after the end");
    (Reading { packets, tail: reader.truncated_tail(), error }, held)
}

/// That reading what is held gives what reading one by one does; how many packets were held.
fn check(bytes: &[u8], source: impl Read + Send + 'static) -> usize {
    let folder = tempfile::tempdir().expect("a folder");
    let [one, other] = ["one.pcap", "other.pcap"].map(|name| folder.path().join(name));
    let Ok(reader) = CaptureReader::from_reader("x.pcap", source) else { return 0 };
    let mut writer = CaptureWriter::create(&one).expect("created");
    let (found, held) = drain_held(reader, &mut writer);
    let expected = read(bytes);
    assert_eq!((&found.packets, found.tail), (&expected.packets, expected.tail));
    assert_eq!(format!("{:?}", found.error), format!("{:?}", expected.error));
    let written = writer.finish().expect("finished");
    let mut writer = CaptureWriter::create(&other).expect("created");
    for packet in &expected.packets {
        let Packet { timestamp_ns, original_len, data } = packet;
        let _ = writer.write_packet(*timestamp_ns, *original_len, data);
    }
    assert_eq!(writer.finish().expect("finished"), written);
    assert_eq!(fs::read(&one).expect("there"), fs::read(&other).expect("there"));
    held
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_held_is_what_is_read(packets in packets(), big: bool, ns: bool) {
        let order = if big { Order::Big } else { Order::Little };
        let bytes = classic(order, ns, &packets);
        prop_assert_eq!(check(&bytes, Cursor::new(bytes.clone())), packets.len());
    }

    #[test]
    fn so_it_is_with_damaged_captures(kind in 0_usize..14, changes in changes(),
                                      cut in proptest::option::of(any::<prop::sample::Index>())) {
        let mut bytes = intact(kind);
        for (at, change) in changes {
            let at = at.index(bytes.len() + 1);
            apply(&mut bytes, at, change);
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        check(&bytes, Cursor::new(bytes.clone()));
    }

    #[test]
    fn so_it_is_with_slow_sources(kind in 0_usize..14, lengths in
                                  proptest::collection::vec(1_usize..40, 1..10)) {
        let bytes = intact(kind);
        let bytes_again = Cursor::new(bytes.clone());
        check(&bytes, Pieces { bytes: bytes_again, lengths, calls: 0 });
    }
}

/// Many times what a reader has at a time, with frames of all lengths up to the largest.
#[test]
fn long_captures_are_held_piece_by_piece() {
    let lengths = (0..4_000_u32).map(|i| match i % 500 {
        499 => 262_144 - i % 7,
        _ => i * i % 1_800,
    });
    let packets: Vec<Packet> = (0_u64..)
        .zip(lengths)
        .map(|(i, len)| Packet::whole(i * 1_000_003, &vec![i as u8; len as usize]))
        .collect();
    let bytes = classic(Order::Little, true, &packets);
    assert_eq!(drain(open(&bytes)).packets.len(), 4_000);
    let held = check(&bytes, Cursor::new(bytes.clone()));
    assert!(held > 3_900, "{held} held");
}

fn open(bytes: &[u8]) -> CaptureReader {
    CaptureReader::from_reader("x.pcap", Cursor::new(bytes.to_vec())).expect("opens")
}

/// What is changed where it is held is written so.
#[test]
fn changes_are_written() {
    let packets: Vec<Packet> = (0..50).map(|i| Packet::whole(i, &[i as u8; 70])).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.pcap");
    let mut reader = open(&classic(Order::Big, true, &packets));
    let mut writer = CaptureWriter::create(&path).expect("created");
    while reader.hold().expect("is sound") {
        while let Some(packet) = reader.next_held() {
            packet.around[HeldPacket::ROOM + 3] ^= 0xff;
        }
        writer.write_records(&reader.records()).expect("fits");
    }
    assert_eq!(writer.finish().expect("finished"), 50);
    let found = drain(CaptureReader::open(&path).expect("opens")).packets;
    for (mut packet, found) in packets.into_iter().zip(found) {
        packet.data[3] ^= 0xff;
        assert_eq!(packet, found);
    }
}
