//! Replays with captured responses: every frame passes the engine as it stands in the capture.

use std::path::{Path, PathBuf};

use qpmux_sim::replay::{CLIENTS_PCAP, INGRESS_PCAP, SERVER_PCAP};
use qpmux_tests::capture::{self, Packet};
use qpmux_tests::{root, sample};
use tempfile::TempDir;

use crate::support::{SAMPLE, run_in, tree};

const CAPTURED: [&str; 8] =
    ["--responses", "captured", "--map", "none", "--out", "out", "--egress", "out/egress.pcap"];

fn samples() -> Vec<PathBuf> {
    let files = std::fs::read_dir(root().join("traces/samples")).unwrap();
    let mut found: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "pcap"));
    found.sort();
    assert!(found.len() >= 6, "the samples are missing");
    found
}

/// All outputs hold what the input holds: frames, lengths on the wire, times, in order.
fn assert_passes(input: &Path, expected: &[Packet]) {
    let folder = TempDir::new().unwrap();
    let arguments = [&["replay", input.to_str().unwrap()], CAPTURED.as_slice()].concat();
    run_in(folder.path(), arguments).assert_good();
    for file in [CLIENTS_PCAP, SERVER_PCAP, INGRESS_PCAP, "egress.pcap"] {
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

/// With modelled responses, too: what leaves is what each side gets, in one capture.
#[test]
fn egress_is_what_both_sides_get() {
    let folder = TempDir::new().unwrap();
    let input = sample(SAMPLE);
    let options = ["--server-qps", "4", "--out", "out", "--egress", "egress.pcap"];
    run_in(folder.path(), [&["replay", input.to_str().unwrap()], &options[..]].concat())
        .assert_good();
    let read = |file: &str| capture::read(&folder.path().join(file));
    let egress = read("egress.pcap");
    let [clients, server, ingress] =
        [CLIENTS_PCAP, SERVER_PCAP, INGRESS_PCAP].map(|file| read(&format!("out/{file}")));
    assert_eq!(egress.len() + ingress.len(), clients.len() + server.len());
    let sides = [clients, server].concat();
    assert!(egress.iter().take(500).all(|packet| sides.contains(packet)));
}

#[test]
fn an_input_is_not_written_over() {
    let folder = TempDir::new().unwrap();
    std::fs::copy(sample(SAMPLE), folder.path().join("in.pcap")).unwrap();
    let before = std::fs::read(folder.path().join("in.pcap")).unwrap();
    for options in [&CAPTURED[..4], &["--server-qps", "4"]] {
        let arguments = [&["replay", "in.pcap", "--egress", "./in.pcap"], options].concat();
        run_in(folder.path(), arguments).assert_refused(&["the same file as the input"]);
    }
    assert_eq!(std::fs::read(folder.path().join("in.pcap")).unwrap(), before);
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
