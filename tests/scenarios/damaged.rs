//! Captures that are partly damaged: what is whole counts, what is not is counted and told.

use std::fs;
use std::path::Path;

use qpmux_tests::capture::{self, Packet};
use qpmux_tests::checkers::check;
use qpmux_tests::sample;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{SAMPLE, run_in};

/// Where the payload begins in a WRITE ONLY over IPv4: Ethernet, IPv4, UDP, BTH, RETH.
const WRITE_PAYLOAD: usize = 14 + 20 + 8 + 12 + 16;
const WRITE_ONLY: u8 = 10;

fn packets() -> Vec<Packet> {
    let mut packets = capture::read(&sample(SAMPLE));
    packets.truncate(1_000);
    packets
}

fn is_write(packet: &Packet) -> bool {
    packet.data.get(42) == Some(&WRITE_ONLY)
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    let run = run_in(folder, [arguments, &["--json"]].concat()).assert_good();
    serde_json::from_str(&run.stdout).unwrap()
}

/// The whole packets of a capture that breaks off in a record are read, and it is told.
#[test]
fn a_capture_cut_in_mid_record() {
    let packets = packets();
    let bytes = capture::bytes_of(&packets);
    let last = capture::offset_of(&packets, packets.len() - 1);
    let folder = TempDir::new().unwrap();
    capture::write(&folder.path().join("whole.pcap"), &packets[..packets.len() - 1]);
    for end in [last + 1, last + 15, last + 16, bytes.len() - 1] {
        fs::write(folder.path().join("cut.pcap"), &bytes[..end]).unwrap();
        for command in
            [&["inspect"][..], &["replay"], &["replay", "--responses", "captured", "--map", "none"]]
        {
            let of = |file| json(folder.path(), &[command, &[file]].concat());
            let (mut cut, mut whole) = (of("cut.pcap"), of("whole.pcap"));
            assert_eq!(cut["truncated_tail"], true, "{command:?}");
            assert_eq!(whole["truncated_tail"], false, "{command:?}");
            for report in [&mut cut, &mut whole] {
                let fields = report.as_object_mut().unwrap();
                fields.remove("truncated_tail");
                fields.remove("warnings");
            }
            assert_eq!(cut, whole, "{command:?}");
            let run = run_in(folder.path(), [command, &["cut.pcap"]].concat()).assert_good();
            assert!(run.stdout.contains("warning: the capture breaks off"), "{run:#?}");
        }
    }
}

/// Packets with a flipped bit are counted, and their bytes are never taken for data.
#[test]
fn flipped_bits_are_not_replayed() {
    let mut packets = packets();
    let writes: Vec<usize> = (100..packets.len()).filter(|&i| is_write(&packets[i])).collect();
    let flipped: Vec<usize> = writes.iter().copied().step_by(writes.len() / 5).collect();
    let mark = *b"\xde\xad flipped";
    for &i in &flipped {
        let at = WRITE_PAYLOAD + 100;
        packets[i].data[at..at + mark.len()].copy_from_slice(&mark);
    }
    let folder = TempDir::new().unwrap();
    capture::write(&folder.path().join("in.pcap"), &packets);
    let report = json(folder.path(), &["inspect", "in.pcap"]);
    assert_eq!(report["icrc_bad"], flipped.len());
    assert_eq!(report["packets"], packets.len());
    let report = json(folder.path(), &["replay", "in.pcap", "--out", "out"]);
    assert_eq!(report["left_out"]["icrc_bad"], flipped.len());
    assert!(report["requests"].as_u64().unwrap() > 300, "{report:#}");
    assert_eq!(report["requests"], report["completed"]);
    let marked = |packet: &Packet| packet.data.windows(mark.len()).any(|bytes| bytes == mark);
    assert!(capture::read(&folder.path().join("in.pcap")).iter().any(marked));
    for file in ["clients.pcap", "server.pcap"] {
        let path = folder.path().join("out").join(file);
        assert!(!capture::read(&path).iter().any(marked), "{file}");
        check("check_icrc.py", ["--scapy".as_ref(), "0".as_ref(), path.as_os_str()]).assert_good();
    }
    let run = run_in(folder.path(), ["replay", "in.pcap"]).assert_good();
    let told = format!("{} packets with a wrong ICRC", flipped.len());
    assert!(run.stdout.contains(&told), "{run:#?}");
}

/// One bit anywhere in a packet's transport part makes its ICRC wrong, whatever the bit.
#[test]
fn any_flipped_bit_is_counted() {
    let whole = packets();
    let folder = TempDir::new().unwrap();
    let victim = (100..whole.len()).find(|&i| is_write(&whole[i])).unwrap();
    for (at, bit) in [(45, 0), (47, 3), (53, 7), (54, 6), (69, 1), (70, 2), (1_093, 0), (1_097, 5)]
    {
        let mut packets = whole.clone();
        packets[victim].data[at] ^= 1 << bit;
        capture::write(&folder.path().join("in.pcap"), &packets);
        let report = json(folder.path(), &["inspect", "in.pcap"]);
        assert_eq!(report["icrc_bad"], 1, "bit {bit} of byte {at}");
        let report = json(folder.path(), &["replay", "in.pcap"]);
        assert_eq!(report["left_out"]["icrc_bad"], 1, "bit {bit} of byte {at}");
    }
}

/// Packets cut by a snap length cannot be checked, so they are not replayed.
#[test]
fn packets_cut_by_a_snap_length_are_left_out() {
    let mut packets = packets();
    for packet in &mut packets {
        packet.data.truncate(96);
    }
    let cut = packets.iter().filter(|p| p.data.len() < p.original_len as usize).count();
    let folder = TempDir::new().unwrap();
    capture::write(&folder.path().join("in.pcap"), &packets);
    let report = json(folder.path(), &["inspect", "in.pcap"]);
    assert_eq!(report["truncated_packets"], cut);
    let run = run_in(folder.path(), ["replay", "in.pcap", "--json"]);
    let report: Value = serde_json::from_str(&run.stdout).unwrap_or_default();
    assert_eq!(report["left_out"]["cut_packets"], cut, "{run:#?}");
}
