//! Replays with captured responses: every frame passes the engine as it stands in the capture.

use std::path::{Path, PathBuf};

use qpmux_sim::replay::{CLIENTS_PCAP, SERVER_PCAP};
use qpmux_tests::capture::{self, Packet};
use qpmux_tests::{root, sample};
use tempfile::TempDir;

use crate::support::{SAMPLE, run_in, tree};

const CAPTURED: [&str; 6] = ["--responses", "captured", "--map", "none", "--out", "out"];

fn samples() -> Vec<PathBuf> {
    let files = std::fs::read_dir(root().join("traces/samples")).unwrap();
    let mut found: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "pcap"));
    found.sort();
    assert!(found.len() >= 6, "the samples are missing");
    found
}

/// Both outputs hold what the input holds: frames, lengths on the wire, times, in order.
fn assert_passes(input: &Path, expected: &[Packet]) {
    let folder = TempDir::new().unwrap();
    let arguments = [&["replay", input.to_str().unwrap()], CAPTURED.as_slice()].concat();
    run_in(folder.path(), arguments).assert_good();
    for file in [CLIENTS_PCAP, SERVER_PCAP] {
        let found = capture::read(&folder.path().join("out").join(file));
        let first = found.iter().zip(expected).position(|(found, expected)| found != expected);
        assert_eq!(first, None, "{file} of {}: the first other packet", input.display());
        assert_eq!(found.len(), expected.len(), "{file} of {}", input.display());
    }
}

#[test]
fn every_sample_passes_untouched() {
    for input in samples() {
        let expected = capture::read(&input);
        assert!(!expected.is_empty());
        assert_passes(&input, &expected);
    }
}

/// Other traffic, damaged packets, packets cut by a snap length and odd times pass as well.
#[test]
fn foreign_and_damaged_packets_pass_untouched() {
    let mut packets = capture::read(&sample(SAMPLE));
    packets.truncate(60);
    packets[3].data[60] ^= 0x10;
    packets[5].data.truncate(50);
    packets[7].data.truncate(3);
    packets[9].data = vec![0xff; 64];
    packets[9].original_len = 64;
    packets[11].data.clear();
    packets[20].timestamp_ns -= 5_000_000_001;
    packets[21].timestamp_ns = 1;
    packets.swap(30, 40);
    let folder = TempDir::new().unwrap();
    let input = folder.path().join("in.pcap");
    capture::write(&input, &packets);
    assert_passes(&input, &packets);
}

#[test]
fn translation_is_refused() {
    for more in [&["--map", "writes"][..], &[]] {
        let folder = TempDir::new().unwrap();
        let capture = sample(SAMPLE);
        let options = ["--responses", "captured", "--out", "out"];
        let arguments = [&["replay", capture.to_str().unwrap()], &options[..], more].concat();
        run_in(folder.path(), arguments).assert_refused(&[
            "--responses captured goes with --map none only",
            "the captured answers would not fit",
            "Use --responses model",
        ]);
        assert_eq!(tree(folder.path()), [""; 0].map(PathBuf::from));
    }
}
