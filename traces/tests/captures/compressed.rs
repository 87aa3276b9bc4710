//! gzip and zstd: reading by content, writing by name, cut and damaged files.

use std::fs;
use std::io::{Read, Write};

use qpmux_traces::{CaptureError, CaptureReader, CaptureWriter};

use crate::blocks::whole_section;
use crate::support::{Order, Packet, classic, drain, open_error, read, three_packets};

/// Packs by gzip.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("packed");
    encoder.finish().expect("packed")
}

/// Packs by zstd.
pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("packed");
    // Without it, damage can pass unseen.
    encoder.include_checksum(true).expect("packed");
    encoder.write_all(bytes).expect("packed");
    encoder.finish().expect("packed")
}

type Packer = fn(&[u8]) -> Vec<u8>;
const PACKERS: [Packer; 2] = [gzip, zstd];

#[test]
fn reads_compressed_captures_of_both_formats() {
    for pack in PACKERS {
        for plain in [
            classic(Order::Big, true, &three_packets()),
            whole_section(Order::Little, &three_packets()),
        ] {
            let reading = read(&pack(&plain));
            assert_eq!(reading.packets, three_packets());
            assert!(reading.error.is_none() && reading.tail.is_none());
            // In several members, as parallel compressors and `cat` make them.
            let (first, second) = plain.split_at(100);
            assert_eq!(read(&[pack(first), pack(second)].concat()).packets, three_packets());
        }
        assert!(matches!(open_error(&pack(b"")), CaptureError::Empty { .. }));
        assert!(matches!(open_error(&pack(b"text")), CaptureError::NotACapture { .. }));
    }
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4][..]];
    let frame = zstd(&classic(Order::Big, true, &three_packets()));
    assert_eq!(read(&[skippable[0], &frame].concat()).packets, three_packets());
}

#[test]
fn a_compressed_capture_cut_anywhere_gives_a_part_and_says_so() {
    for pack in PACKERS {
        let packed = pack(&classic(Order::Little, true, &three_packets()));
        for cut in 4..packed.len() {
            let bytes = std::io::Cursor::new(packed[..cut].to_vec());
            let reading = match CaptureReader::from_reader("x", bytes) {
                Err(CaptureError::HeaderCut { .. }) => continue,
                other => drain(other.expect("opens")),
            };
            assert!(reading.error.is_none(), "cut at {cut}: {:?}", reading.error);
            assert!(reading.tail.is_some(), "cut at {cut}");
            assert_eq!(reading.packets, three_packets()[..reading.packets.len()]);
        }
    }
}

#[test]
fn damaged_compressed_data_is_named_as_such() {
    for pack in PACKERS {
        let packets: Vec<_> = (0..20_000).map(|n| Packet::whole(n, &[n as u8; 60])).collect();
        let mut packed = pack(&classic(Order::Little, true, &packets));
        let middle = packed.len() / 2;
        for byte in &mut packed[middle..middle + 64] {
            *byte ^= 0xa5;
        }
        let error = read(&packed).error.expect("damaged");
        // Also what is unpacked wrongly may be found first, where the format has no check before.
        assert!(
            matches!(error, CaptureError::Compression { .. } | CaptureError::Damaged { .. }),
            "{error}"
        );
        let mut packed = pack(&classic(Order::Little, true, &packets[..3]));
        packed.extend(b"trailing bytes which are no member");
        let reading = read(&packed);
        assert_eq!(reading.packets, packets[..3]);
        assert!(matches!(reading.error, Some(CaptureError::Compression { .. })));
    }
}

#[test]
fn the_name_of_an_output_decides_on_its_compression() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut plain = None;
    for name in ["out.pcap", "out.pcap.gz", "out.zst"] {
        let path = folder.path().join(name);
        let write = || {
            let mut writer = CaptureWriter::create(&path).expect("created");
            for packet in three_packets() {
                writer
                    .write_packet(packet.timestamp_ns, packet.original_len, &packet.data)
                    .expect("fits");
            }
            writer.finish().expect("finished");
            fs::read(&path).expect("there")
        };
        let bytes = write();
        assert_eq!(bytes, write(), "{name}: the same bytes each time");
        let mut unpacked = Vec::new();
        match name {
            "out.pcap" => unpacked.clone_from(&bytes),
            "out.zst" => unpacked = zstd::decode_all(&bytes[..]).expect("whole"),
            _ => drop(flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut unpacked)),
        }
        assert_eq!(&unpacked, plain.get_or_insert(bytes.clone()), "{name}");
        let mut reader = CaptureReader::open(&path).expect("opens");
        assert_eq!(reader.len_hint(), Some(bytes.len() as u64));
        while reader.next_packet().expect("intact").is_some() {}
        assert_eq!(reader.bytes_read(), bytes.len() as u64, "{name}");
        assert_eq!(drain(CaptureReader::open(&path).expect("opens")).packets, three_packets());
        drop(CaptureWriter::create(folder.path().join("dropped.gz")).expect("created"));
    }
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 3);
}
