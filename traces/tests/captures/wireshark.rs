//! Wireshark's tools as a second opinion; skipped, and said so, where they are missing.

use std::path::Path;
use std::process::Command;

use qpmux_traces::{CaptureReader, CaptureWriter};

use crate::blocks::{block, enhanced, interface, obsolete, option, whole_section};
use crate::samples::samples;
use crate::support::{Order, Packet, drain, three_packets};

/// Runs a tool; `None` where it is not installed.
pub(crate) fn run(tool: &str, arguments: &[&str]) -> Option<String> {
    match Command::new(tool).args(arguments).output() {
        Ok(output) => {
            assert!(output.status.success(), "{tool} {arguments:?}: {output:?}");
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Err(_) => {
            eprintln!("skipped: {tool} is not installed");
            None
        }
    }
}

/// What tshark reads: times, lengths on the wire and captured lengths, in the form of its output.
pub(crate) fn by_tshark(path: &Path) -> Option<String> {
    let mut arguments = vec!["-r", path.to_str().expect("UTF-8"), "-T", "fields"];
    for field in ["frame.time_epoch", "frame.len", "frame.cap_len"] {
        arguments.extend(["-e", field]);
    }
    run("tshark", &arguments)
}

/// The same as [`by_tshark`], of packets read by this crate.
pub(crate) fn by_us(packets: &[Packet]) -> String {
    let line = |packet: &Packet| {
        let (seconds, ns) =
            (packet.timestamp_ns / 1_000_000_000, packet.timestamp_ns % 1_000_000_000);
        format!("{seconds}.{ns:09}\t{}\t{}\n", packet.original_len, packet.data.len())
    };
    packets.iter().map(line).collect()
}

#[test]
fn tshark_reads_the_samples_as_we_do() {
    for sample in samples() {
        let Some(theirs) = by_tshark(&sample.path) else { return };
        let ours = drain(CaptureReader::open(&sample.path).expect("opens")).packets;
        assert!(by_us(&ours) == theirs, "{}", sample.path.display());
    }
}

#[test]
fn a_capture_written_here_is_the_one_editcap_writes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, theirs) = (folder.path().join("ours.pcap"), folder.path().join("theirs.pcap"));
    let sample = samples().pop().expect("a sample");
    let mut writer = CaptureWriter::create(&ours).expect("created");
    let mut reader = CaptureReader::open(&sample.path).expect("opens");
    while let Some(packet) = reader.next_packet().expect("intact") {
        // As `editcap -s 100` does.
        let data = &packet.data[..packet.data.len().min(100)];
        writer.write_packet(packet.timestamp_ns, packet.original_len, data).expect("fits");
    }
    writer.finish().expect("finished");
    let names = [&sample.path, &theirs].map(|path| path.to_str().expect("UTF-8"));
    let arguments = ["-F", "nsecpcap", "-s", "100", names[0], names[1]];
    if run("editcap", &arguments).is_none() {
        return;
    }
    let [mut ours, mut theirs] = [ours, theirs].map(|path| std::fs::read(path).expect("there"));
    // The snap length in the header may differ.
    ours[16..20].fill(0);
    theirs[16..20].fill(0);
    assert!(ours == theirs, "the records are equal byte for byte");
}

#[test]
fn a_pcapng_of_several_interfaces_is_read_as_tshark_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let merged = folder.path().join("merged.pcapng");
    let samples = samples();
    let [client, server] = ["client", "server"].map(|end| {
        let found = samples.iter().find(|sample| sample.path.to_string_lossy().contains(end));
        found.expect("a sample under loss")
    });
    let names = [&merged, &client.path, &server.path].map(|path| path.to_str().expect("UTF-8"));
    if run("mergecap", &["-I", "none", "-w", names[0], names[1], names[2]]).is_none() {
        return;
    }
    let ours = drain(CaptureReader::open(&merged).expect("opens")).packets;
    assert_eq!(ours.len(), client.packets + server.packets);
    let Some(theirs) = by_tshark(&merged) else { return };
    assert!(by_us(&ours) == theirs);
}

#[test]
fn a_pcapng_built_for_the_tests_is_read_as_tshark_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("built.pcapng");
    let mut bytes = Vec::new();
    for order in [Order::Big, Order::Little] {
        bytes.extend(whole_section(order, &three_packets()));
        let resolution = option(order, 9, &[0x80 | 20]);
        bytes.extend(interface(order, 1, 0, &[resolution]));
        bytes.extend(block(order, 0x0bad_cafe, &[1; 30]));
        bytes.extend(enhanced(order, 1, 1_234_567_890_123, &three_packets()[0]));
        bytes.extend(obsolete(order, 0, 1_700_000_000_123_456_789, &three_packets()[2]));
    }
    std::fs::write(&path, &bytes).expect("written");
    let ours = drain(CaptureReader::open(&path).expect("opens")).packets;
    assert_eq!(ours.len(), 10);
    let Some(theirs) = by_tshark(&path) else { return };
    assert_eq!(by_us(&ours), theirs);
}
