//! The program on ports of DPDK that read and write captures (`net_pcap`). DPDK starts once in a
//! process, so each run is one.
#![cfg(feature = "dpdk")]

mod passing;
mod replayed;
mod workers;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use qpmux_traces::CaptureReader;
use serde_json::Value;

/// Without hugepages, hardware and files that other processes of DPDK's may have, too.
const DPDK: &str = "[dpdk]\n\
    eal = ['--no-huge', '-m', '512', '--no-pci', '--no-telemetry', '--no-shconf']\n\
    idle_sleep_us = 100\n";

/// Runs the program with this configuration until its captures are at their end. Its report.
fn run(folder: &Path, configuration: &str) -> Value {
    let config = folder.join("live.toml");
    fs::write(&config, format!("{configuration}\n{DPDK}")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_qpmux-live"))
        .arg("--config")
        .arg(&config)
        .args(["--until-idle", "500"])
        // Where DPDK keeps what it needs while it runs.
        .env("XDG_RUNTIME_DIR", folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["broken"], 0, "{report:#}");
    report
}

/// The frames of a capture.
fn frames(path: &Path) -> Vec<Vec<u8>> {
    let mut reader = CaptureReader::open(path).unwrap();
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet().unwrap() {
        frames.push(packet.data.to_vec());
    }
    frames
}

/// A port that reads one capture and writes another.
fn port(number: u8, from: &Path, to: &Path) -> String {
    format!("net_pcap{number},rx_pcap={},tx_pcap={}", from.display(), to.display())
}

/// A sample capture.
fn sample(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces/samples").join(name)
}
