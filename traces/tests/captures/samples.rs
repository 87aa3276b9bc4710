//! The sample captures are those of the table in `traces/README.md`.

use std::fs;
use std::path::{Path, PathBuf};

use qpmux_traces::CaptureReader;
use sha2::{Digest, Sha256};

use crate::support::drain;

/// One row of the table.
pub(crate) struct Sample {
    pub(crate) path: PathBuf,
    pub(crate) packets: usize,
    sha256: String,
}

/// The rows of the table: those whose first cell names a capture.
pub(crate) fn samples() -> Vec<Sample> {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(crate_folder.join("README.md")).expect("README.md");
    let rows = readme.lines().filter(|line| line.starts_with("| `samples/"));
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let [_, name, packets, sha256, ..] = cells[..] else { panic!("too few cells: {line}") };
        let packets = packets.parse().expect("a number of packets");
        Sample { path: crate_folder.join(name), packets, sha256: sha256.to_owned() }
    };
    rows.map(row).collect()
}

#[test]
fn the_table_lists_every_sample() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let mut found: Vec<_> = fs::read_dir(folder)
        .expect("samples")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    let mut listed: Vec<_> = samples().into_iter().map(|sample| sample.path).collect();
    found.sort();
    listed.sort();
    assert_eq!(found, listed);
    assert!(!found.is_empty());
}

#[test]
fn checksums_and_packet_counts_are_those_of_the_table() {
    for sample in samples() {
        let name = sample.path.display();
        let digest = Sha256::digest(fs::read(&sample.path).expect("readable"));
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, sample.sha256, "{name}");
        let reading = drain(CaptureReader::open(&sample.path).expect("opens"));
        assert!(reading.error.is_none() && reading.tail.is_none(), "{name}");
        assert_eq!(reading.packets.len(), sample.packets, "{name}");
        let ordered = reading.packets.is_sorted_by_key(|packet| packet.timestamp_ns);
        assert!(ordered, "{name}: time never goes back");
    }
}
