//! Inputs that cannot be used, and outputs that cannot be written: exit status 2, a message that
//! names the file and a remedy, nothing on standard output, nothing left behind.

use std::fs;
use std::path::{Path, PathBuf};

use qpmux_tests::capture::{self, Packet};
use qpmux_tests::sample;
use tempfile::TempDir;

use crate::support::{SAMPLE, run_in, tree};

/// Every way to read a capture, results wanted.
const READERS: [&[&str]; 3] = [
    &["inspect", "--out", "out"],
    &["replay", "--out", "out"],
    &["replay", "--responses", "captured", "--map", "none", "--out", "out"],
];

/// No file is below `folder`; an empty folder may be.
fn assert_no_files(folder: &Path) {
    let files: Vec<PathBuf> = tree(folder).into_iter().filter(|path| !path.is_dir()).collect();
    assert!(files.is_empty(), "left behind: {files:?}");
}

/// Each reader refuses `input` with a message that holds all of `mentions`.
fn assert_unusable(input: &Path, mentions: &[&str]) {
    let name = input.to_str().unwrap();
    for reader in READERS {
        let folder = TempDir::new().unwrap();
        let run = run_in(folder.path(), [reader, &[name]].concat());
        run.assert_refused(&[&[name], mentions].concat());
        assert_no_files(folder.path());
    }
}

fn some_packets() -> Vec<Packet> {
    let mut packets = capture::read(&sample(SAMPLE));
    packets.truncate(200);
    packets
}

/// A file of these bytes, in a folder of its own.
fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("input.pcap");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn a_file_that_is_not_there() {
    let folder = TempDir::new().unwrap();
    assert_unusable(&folder.path().join("missing.pcap"), &["cannot open", "check the name"]);
}

#[test]
fn a_directory() {
    let folder = TempDir::new().unwrap();
    assert_unusable(folder.path(), &["is a directory; name a capture file"]);
}

#[test]
fn an_empty_file() {
    let (_folder, path) = file(b"");
    assert_unusable(&path, &["is empty", "capture it again"]);
}

#[test]
fn a_text() {
    let (_folder, path) = file(b"No. Time Source Destination\n1 0.0 10.9.0.1 10.9.0.2\n");
    assert_unusable(&path, &["is not a packet capture", "4e 6f 2e", "give a pcap or pcapng file"]);
}

#[test]
fn a_file_cut_inside_its_header() {
    let bytes = capture::bytes_of(&some_packets());
    let (_folder, path) = file(&bytes[..capture::HEADER_BYTES - 1]);
    assert_unusable(&path, &["cut off inside its header after 23 bytes", "copy it again"]);
}

#[test]
fn a_capture_on_any_interface() {
    let mut bytes = capture::bytes_of(&some_packets());
    bytes[20] = 113;
    let (_folder, path) = file(&bytes);
    let mentions = ["packet 1", "link type LINUX_SLL (113), not ETHERNET", "not on \"any\""];
    assert_unusable(&path, &mentions);
}

#[test]
fn a_record_of_impossible_length() {
    let packets = some_packets();
    let mut bytes = capture::bytes_of(&packets);
    let record = capture::offset_of(&packets, 150);
    bytes[record + 11] = 0x7f;
    let (_folder, path) = file(&bytes);
    let place = format!("byte {record}, at packet 151");
    assert_unusable(&path, &[&place, "captured length", "editcap -r", "1-150"]);
}

/// Nothing to replay: said with the reason. To look at or to pass on it is a capture as any.
#[test]
fn a_capture_without_roce() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("other.pcap");
    let mut packets = some_packets();
    for packet in &mut packets {
        // Another UDP port than 4791: the high byte of the destination port.
        packet.data[36] ^= 0x40;
    }
    let reason = "holds no RoCEv2 traffic of reliable connections (UDP port 4791)";
    for (packets, name) in [(&packets[..], "other.pcap"), (&[], "none.pcap")] {
        capture::write(&path.with_file_name(name), packets);
        let run = run_in(folder.path(), ["replay", name, "--out", "out"]);
        run.assert_refused(&[name, "no connection to replay", reason]);
        assert!(!folder.path().join("out").exists());
        run_in(folder.path(), ["inspect", name]).assert_good();
        let captured = ["--responses", "captured", "--map", "none"];
        run_in(folder.path(), [&["replay", name], &captured[..]].concat()).assert_good();
    }
}

/// An output folder that cannot be one.
#[test]
fn an_output_directory_that_is_a_file() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("taken"), "mine").unwrap();
    let capture = sample(SAMPLE);
    for (reader, out) in READERS.into_iter().flat_map(|r| [(r, "taken"), (r, "taken/below")]) {
        let options = &reader[..reader.len() - 1];
        let run = run_in(folder.path(), [options, &[out, capture.to_str().unwrap()]].concat());
        run.assert_refused(&[&format!("cannot make the directory {out}"), "--out"]);
        assert_eq!(tree(folder.path()), [folder.path().join("taken")]);
        assert_eq!(fs::read(folder.path().join("taken")).unwrap(), b"mine");
    }
}

/// An input that the results would replace, by its own name or another.
#[test]
fn an_output_that_is_the_input() {
    let bytes = capture::bytes_of(&some_packets());
    for (reader, result) in [
        (READERS[1], "clients.pcap"),
        (READERS[1], "server.pcap"),
        (READERS[2], "clients.pcap"),
        (READERS[2], "server.pcap"),
    ] {
        let folder = TempDir::new().unwrap();
        let out = folder.path().join("out");
        fs::create_dir(&out).unwrap();
        fs::write(out.join(result), &bytes).unwrap();
        std::os::unix::fs::symlink(out.join(result), folder.path().join("link.pcap")).unwrap();
        for input in [format!("out/{result}"), "link.pcap".to_owned()] {
            let run = run_in(folder.path(), [reader, &[&input]].concat());
            run.assert_refused(&[&input, &format!("out/{result}"), "name another output"]);
            assert_eq!(tree(&out), [out.join(result)]);
            assert_eq!(fs::read(out.join(result)).unwrap(), bytes);
        }
    }
}

/// A failed run leaves earlier results as they were.
#[test]
fn earlier_results_outlive_a_failed_run() {
    let packets = some_packets();
    let mut bytes = capture::bytes_of(&packets);
    let damaged = capture::offset_of(&packets, 100);
    for reader in READERS {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("in.pcap"), capture::bytes_of(&packets)).unwrap();
        run_in(folder.path(), [reader, &["in.pcap"]].concat()).assert_good();
        let contents = || {
            let files = tree(&folder.path().join("out")).into_iter();
            files.map(|path| (fs::read(&path).unwrap(), path)).collect::<Vec<_>>()
        };
        let before = contents();
        assert!(!before.is_empty());
        bytes[damaged + 11] = 0x7f;
        fs::write(folder.path().join("in.pcap"), &bytes).unwrap();
        run_in(folder.path(), [reader, &["in.pcap"]].concat()).assert_refused(&["packet 101"]);
        assert_eq!(contents(), before);
    }
}

/// Standard input can be read once. What has to read twice says so before it begins.
#[test]
fn standard_input_where_a_file_is_needed() {
    for reader in [
        &["inspect", "-", "--out", "out"][..],
        &["replay", "-"],
        &["replay", "-", "--responses", "captured", "--map", "none", "--out", "out"],
    ] {
        let folder = TempDir::new().unwrap();
        let run = run_in(folder.path(), reader);
        run.assert_refused(&["standard input", "save the capture to a file"]);
        assert_no_files(folder.path());
    }
}
