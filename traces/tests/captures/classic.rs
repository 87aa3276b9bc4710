//! Classic pcap: byte orders, resolutions, snap lengths, cut and damaged files.

use std::fs;
use std::io::Cursor;

use qpmux_traces::{CaptureError, CaptureReader, FRAME_BYTES_MAX, TruncatedTail};

use crate::support::{
    Order, Packet, classic, classic_header, classic_record, open_error, read, three_packets,
};

#[test]
fn reads_both_byte_orders_and_resolutions() {
    for order in [Order::Little, Order::Big] {
        for nanoseconds in [false, true] {
            let reading = read(&classic(order, nanoseconds, &three_packets()));
            assert_eq!(reading.packets, three_packets(), "{order:?} {nanoseconds}");
            assert!(reading.error.is_none() && reading.tail.is_none());
        }
    }
}

#[test]
fn keeps_nanoseconds_and_knows_frames_cut_by_a_snap_length() {
    let packets = [
        Packet::whole(u64::from(u32::MAX) * 1_000_000_000 + 999_999_999, &[7; 14]),
        Packet { timestamp_ns: 1, original_len: 15, data: vec![7; 14] },
    ];
    let bytes = classic(Order::Little, true, &packets);
    assert_eq!(read(&bytes).packets, packets);
    let mut reader = CaptureReader::from_reader("x", Cursor::new(bytes)).expect("opens");
    for truncated in [false, true] {
        let packet = reader.next_packet().expect("intact").expect("there");
        assert_eq!(packet.is_truncated(), truncated);
    }
}

#[test]
fn an_original_length_below_the_captured_one_is_raised() {
    let mut bytes = classic_header(Order::Little, true, 1);
    bytes.extend(classic_record(Order::Little, [0, 0, 14, 0], &[0; 14]));
    assert_eq!(read(&bytes).packets, [Packet::whole(0, &[0; 14])]);
}

#[test]
fn a_capture_cut_anywhere_gives_all_whole_packets() {
    let bytes = classic(Order::Little, true, &three_packets());
    let ends = [24, 24 + 76, 24 + 76 + 1_114, bytes.len()];
    for cut in 24..=bytes.len() {
        let whole = ends.iter().rposition(|&end| end <= cut).expect("the header is whole");
        let reading = read(&bytes[..cut]);
        assert_eq!(reading.packets, three_packets()[..whole], "cut at {cut}");
        assert!(reading.error.is_none(), "cut at {cut}");
        let tail = TruncatedTail { after_packet: whole as u64, offset: ends[whole] as u64 };
        assert_eq!(reading.tail, (cut != ends[whole]).then_some(tail), "cut at {cut}");
    }
}

#[test]
fn offsets_count_from_the_start_of_a_long_capture() {
    let packets: Vec<_> = (0..2_000).map(|time| Packet::whole(time, &[5; 1_000])).collect();
    let bytes = classic(Order::Little, true, &packets);
    let reading = read(&bytes[..bytes.len() - 1]);
    assert_eq!(reading.packets, packets[..1_999]);
    let tail = TruncatedTail { after_packet: 1_999, offset: bytes.len() as u64 - 1_016 };
    assert_eq!(reading.tail, Some(tail));
}

#[test]
fn a_capture_cut_in_its_header_says_so() {
    let bytes = classic(Order::Big, false, &[]);
    for cut in 4..24 {
        let error = open_error(&bytes[..cut]);
        assert!(matches!(error, CaptureError::HeaderCut { bytes, .. } if bytes == cut as u64));
    }
    assert!(read(&bytes).packets.is_empty());
}

#[test]
fn an_absurd_length_is_an_error_and_not_a_cut_file() {
    for length in [FRAME_BYTES_MAX + 1, u32::MAX] {
        let mut bytes = classic(Order::Little, true, &three_packets());
        let offset = bytes.len() as u64;
        bytes.extend(classic_record(Order::Little, [0, 0, length, 60], &[0; 60]));
        let reading = read(&bytes);
        assert_eq!(reading.packets, three_packets());
        assert!(reading.tail.is_none());
        let error = reading.error.expect("damaged");
        let CaptureError::Damaged { packet: 4, offset: at, field, value, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!((*at, *field, *value), (offset, "captured length", u64::from(length)));
        let message = error.to_string();
        for part in ["x.pcap", "byte 1326", "packet 4", "editcap -r x.pcap intact.pcap 1-3"] {
            assert!(message.contains(part), "{message}");
        }
    }
}

#[test]
fn the_longest_frame_is_read() {
    let packet = Packet::whole(5, &vec![9; FRAME_BYTES_MAX as usize]);
    let packets = [packet.clone(), Packet::whole(6, &[1; 60]), packet];
    assert_eq!(read(&classic(Order::Big, true, &packets)).packets, packets);
}

#[test]
fn a_fraction_of_a_second_or_more_is_an_error() {
    for (nanoseconds, fraction) in [(true, 1_000_000_000), (false, 1_000_000)] {
        for (fraction, sound) in [(fraction - 1, true), (fraction, false)] {
            let mut bytes = classic_header(Order::Big, nanoseconds, 1);
            bytes.extend(classic_record(Order::Big, [1, fraction, 14, 14], &[0; 14]));
            assert_eq!(read(&bytes).error.is_none(), sound, "{nanoseconds} {fraction}");
        }
    }
}

#[test]
fn other_link_types_are_named_with_a_remedy() {
    for (number, name, remedy) in [
        (113, "LINUX_SLL (113)", "not on \"any\""),
        (276, "LINUX_SLL2 (276)", "not on \"any\""),
        (0, "NULL (0)", "Ethernet interface"),
        (60_000, "60000", "Ethernet interface"),
    ] {
        let error = open_error(&classic_header(Order::Little, true, number));
        assert!(matches!(error, CaptureError::LinkType { packet: 1, .. }));
        let message = error.to_string();
        for part in ["x.pcap", name, remedy] {
            assert!(message.contains(part), "{message}");
        }
    }
    // Ethernet whose frames end with a check sequence of four bytes.
    assert!(read(&classic_header(Order::Little, true, 0x4400_0001)).error.is_none());
}

#[test]
fn an_unknown_version_is_refused() {
    for (major, minor, known) in [(2, 4, true), (2, 3, true), (2, 2, false), (3, 0, false)] {
        let mut bytes = classic_header(Order::Big, true, 1);
        bytes[5] = major;
        bytes[7] = minor;
        let opened = CaptureReader::from_reader("x", Cursor::new(bytes));
        assert_eq!(opened.is_ok(), known, "{major}.{minor}");
    }
}

#[test]
fn what_is_no_capture_is_named() {
    assert!(matches!(open_error(b""), CaptureError::Empty { .. }));
    let text = open_error(b"No.,Time,Source,Destination\n").to_string();
    assert!(text.contains("x.pcap") && text.contains("4e 6f 2e 2c"), "{text}");
    assert!(matches!(open_error(b"\x4d\x3c"), CaptureError::NotACapture { .. }));
}

#[test]
fn files_which_do_not_open_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing.pcap");
    let error = CaptureReader::open(&missing).expect_err("missing");
    assert!(matches!(error, CaptureError::Open { .. }));
    assert!(error.to_string().contains("missing.pcap"), "{error}");
    let error = CaptureReader::open(folder.path()).expect_err("a directory");
    assert!(matches!(error, CaptureError::Directory { .. }));
    let empty = folder.path().join("empty.pcap");
    fs::write(&empty, b"").expect("written");
    let error = CaptureReader::open(&empty).expect_err("empty");
    assert!(error.to_string().contains("empty.pcap is empty"), "{error}");
}

#[test]
fn progress_ends_at_the_length_of_the_file() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let bytes = classic(Order::Little, true, &three_packets());
    fs::write(file.path(), &bytes).expect("written");
    let mut reader = CaptureReader::open(file.path()).expect("opens");
    assert_eq!(reader.len_hint(), Some(bytes.len() as u64));
    while reader.next_packet().expect("intact").is_some() {
        assert!(reader.bytes_read() <= bytes.len() as u64);
    }
    assert_eq!(reader.bytes_read(), bytes.len() as u64);
}

#[test]
fn a_read_error_in_the_middle_is_reported_once() {
    struct Failing(Cursor<Vec<u8>>);
    impl std::io::Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(std::io::Error::other("the disk is gone")),
                bytes => Ok(bytes),
            }
        }
    }
    let bytes = classic(Order::Little, true, &three_packets());
    let reader = CaptureReader::from_reader("x", Failing(Cursor::new(bytes))).expect("opens");
    let reading = crate::support::drain(reader);
    assert_eq!(reading.packets, three_packets());
    assert!(matches!(reading.error, Some(CaptureError::Read { offset: 1_326, .. })));
}
