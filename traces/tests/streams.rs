//! `-` as input and output: this program starts itself again as a filter from one to the other.

use std::env;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use qpmux_traces::{CaptureReader, CaptureWriter};

/// Set in the process which is the filter.
const FILTER: &str = "QPMUX_TRACES_FILTER";

fn main() {
    if env::var_os(FILTER).is_some() {
        filter();
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/rdmacm-write-send.pcap");
    let sample = fs::read(path).expect("the sample");
    let (output, errors) = run(&sample);
    assert!(output == sample, "the filter gives back what it takes");
    assert!(errors.contains("425 packets"), "{errors}");

    let (output, errors) = run(b"no capture");
    assert!(output.is_empty() && errors.contains("standard input is not"), "{errors}");
    println!("standard input and output: ok");
}

fn run(input: &[u8]) -> (Vec<u8>, String) {
    let mut child = Command::new(env::current_exe().expect("this program"))
        .env(FILTER, "yes")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut stdin = child.stdin.take().expect("piped");
    let bytes = input.to_vec();
    // On its own thread: the filter writes while it reads. It may also end before it read all.
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&bytes)));
    let output = child.wait_with_output().expect("ended");
    feeder.join().expect("fed");
    (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn filter() {
    let mut reader = match CaptureReader::open("-") {
        Ok(reader) => reader,
        Err(error) => return eprintln!("{error}"),
    };
    assert_eq!(reader.len_hint(), None);
    let mut writer = CaptureWriter::create("-").expect("created");
    while let Some(packet) = reader.next_packet().expect("intact") {
        writer.write_packet(packet.timestamp_ns, packet.original_len, packet.data).expect("fits");
    }
    eprintln!("{} packets", writer.finish().expect("finished"));
}
