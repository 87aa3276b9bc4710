//! Writing: the bytes, the refusal of what does not fit, all or nothing.

use std::fs;
use std::path::Path;

use qpmux_traces::{
    CaptureError, CaptureReader, CaptureWriter, FRAME_BYTES_MAX, refuse_same_file, same_file,
};

use crate::support::{Order, Packet, classic, drain, three_packets};

fn write_all(path: &Path, packets: &[Packet]) {
    let mut writer = CaptureWriter::create(path).expect("created");
    for packet in packets {
        writer.write_packet(packet.timestamp_ns, packet.original_len, &packet.data).expect("fits");
    }
    assert_eq!(writer.finish().expect("finished"), packets.len() as u64);
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn writes_exactly_these_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.pcap");
    write_all(&path, &three_packets());
    let mut expected = classic(Order::Little, true, &three_packets());
    expected[16..20].copy_from_slice(&FRAME_BYTES_MAX.to_le_bytes());
    assert_eq!(fs::read(&path).expect("there"), expected);
    assert_eq!(drain(CaptureReader::open(&path).expect("opens")).packets, three_packets());
    assert_eq!(names_in(folder.path()), ["out.pcap"]);
}

#[test]
fn a_dropped_writer_leaves_everything_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.pcap");
    for before in [None, Some("what stood there")] {
        if let Some(text) = before {
            fs::write(&path, text).expect("written");
        }
        let mut writer = CaptureWriter::create(&path).expect("created");
        for _ in 0..1_000 {
            writer.write(1, &[0; 1_000]).expect("fits");
        }
        assert_eq!(path.exists(), before.is_some(), "nothing appears before the end");
        drop(writer);
        assert_eq!(fs::read_to_string(&path).ok().as_deref(), before);
        assert_eq!(names_in(folder.path()).len(), usize::from(before.is_some()));
    }
}

#[test]
fn refuses_what_does_not_fit_and_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.pcap");
    let mut writer = CaptureWriter::create(&path).expect("created");
    let latest_ns = (1 << 32) * 1_000_000_000 - 1;
    writer.write(latest_ns, &vec![1; FRAME_BYTES_MAX as usize]).expect("fits");
    let late = writer.write(latest_ns + 1, &[0; 14]).expect_err("too late");
    assert!(
        matches!(late, CaptureError::Unwritable { packet: 2, limit, .. } if limit == latest_ns)
    );
    let long = writer.write(0, &vec![1; FRAME_BYTES_MAX as usize + 1]).expect_err("too long");
    let message = long.to_string();
    for part in ["out.pcap", "packet 2", "262145", "262144"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(writer.finish().expect("finished"), 1);
    let reading = drain(CaptureReader::open(&path).expect("opens"));
    assert_eq!(reading.packets[0].timestamp_ns, latest_ns);
}

#[test]
fn an_output_which_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    for path in [folder.path().to_owned(), folder.path().join("missing/out.pcap")] {
        let error = CaptureWriter::create(&path).expect_err("cannot be made");
        assert!(matches!(error, CaptureError::Write { .. }));
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}

/// A pipe stands for all that is no file. Never try this on a real device: where the code is
/// wrong and the tests run as root, it would be replaced by a file.
#[cfg(unix)]
#[test]
fn a_pipe_stays_one_and_a_failed_write_cannot_be_finished() {
    use std::io::Read;
    use std::os::unix::fs::FileTypeExt;
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe.pcap");
    if !std::process::Command::new("mkfifo").arg(&pipe).status().is_ok_and(|made| made.success()) {
        eprintln!("skipped: mkfifo is not installed");
        return;
    }
    for sound in [true, false] {
        let source = pipe.clone();
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let most = if sound { u64::MAX } else { 24 };
            let opened = fs::File::open(source).expect("opens");
            opened.take(most).read_to_end(&mut bytes).expect("read");
            bytes
        });
        let mut writer = CaptureWriter::create(&pipe).expect("opens");
        let wrote = (0..3_000).try_for_each(|_| writer.write(1, &[0; 1_000]));
        assert_eq!(wrote.is_ok(), sound);
        // Even where writing works again, a record in the middle is lost.
        let again = (!sound).then(|| fs::File::open(&pipe).expect("opens"));
        let drain = again.map(|mut pipe| {
            std::thread::spawn(move || pipe.read_to_end(&mut Vec::new()).expect("read"))
        });
        assert_eq!(writer.finish().is_ok(), sound);
        drain.map(|thread| thread.join().expect("read"));
        let is_pipe = fs::metadata(&pipe).expect("there").file_type().is_fifo();
        assert!(is_pipe, "the pipe was replaced by a file");
        let bytes = reader.join().expect("read");
        assert_eq!(bytes.len(), if sound { 24 + 3_000 * 1_016 } else { 24 });
    }
}

#[test]
fn a_failed_write_leaves_what_stood_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.pcap");
    fs::write(&path, "old").expect("written");
    let writer = CaptureWriter::create(&path).expect("created");
    // Takes the file away from under the writer, as a cleaner of temporary files would.
    let part = names_in(folder.path()).into_iter().find(|name| name.ends_with(".part"));
    fs::remove_file(folder.path().join(part.expect("the part"))).expect("removed");
    assert!(matches!(writer.finish(), Err(CaptureError::Write { .. })));
    assert_eq!(fs::read_to_string(&path).expect("there"), "old");
}

#[cfg(unix)]
#[test]
fn a_link_is_followed_and_the_file_is_as_open_as_any() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().expect("a folder");
    let (target, link) = (folder.path().join("target.pcap"), folder.path().join("link.pcap"));
    fs::write(&target, "old").expect("written");
    symlink(&target, &link).expect("linked");
    write_all(&link, &three_packets());
    assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
    assert_eq!(drain(CaptureReader::open(&target).expect("opens")).packets, three_packets());
    let plain = folder.path().join("plain");
    fs::write(&plain, "").expect("written");
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode();
    assert_eq!(mode(&target), mode(&plain));
}

#[test]
fn knows_the_same_file_under_other_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("a"), "same").expect("written");
    fs::write(at("b"), "same").expect("written");
    fs::create_dir(at("sub")).expect("made");
    fs::hard_link(at("a"), at("hard")).expect("linked");
    assert!(same_file(at("a"), at("a")) && same_file(at("a"), at("sub/../a")));
    assert!(cfg!(not(unix)) || same_file(at("a"), at("hard")));
    assert!(same_file(at("new"), at("sub/../new")));
    assert!(!same_file(at("a"), at("b")) && !same_file(at("a"), at("new")));
    assert!(!same_file(at("new"), at("newer")) && !same_file("-", "-"));
    assert!(!same_file("/dev/null", "/dev/null"));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(at("a"), at("soft")).expect("linked");
        assert!(same_file(at("soft"), at("a")));
    }
    assert!(refuse_same_file(at("new"), &[at("a"), at("b")]).is_ok());
    let error = refuse_same_file(at("b"), &[at("a"), at("b")]).expect_err("the second input");
    assert!(matches!(&error, CaptureError::SameFile { input, .. } if input.ends_with('b')));
}
