//! What is written is found again, and what is not whole is not believed.

use std::fs;
use std::path::Path;

use qpmux_engine::journal::{Journal, Record};
use qpmux_engine::{ClientId, Config};
use tempfile::TempDir;

use super::{Form, Kind, Place, RecoverError, Recovered, Stamp, Sums, Writer, recover};

/// Bytes of a header.
const HEADER: usize = Form::Two.header_len();

fn place(folder: &TempDir) -> Place {
    let folder = folder.path().to_owned();
    let configuration = Sums { one: 6, two: 7 };
    Place { folder, worker: 0, configuration, form: Form::Two, segment_bytes: 1 << 10 }
}

fn stopped(client: u32) -> Vec<u8> {
    let record = Record::Stopped { client: ClientId(client) };
    let mut bytes = vec![0; record.len()];
    record.encode(&mut bytes).unwrap();
    bytes
}

/// A journal in which these clients have stopped.
fn with(clients: impl Iterator<Item = u32>) -> Journal {
    let mut journal = Journal::new(&Config::default());
    clients.for_each(|client| {
        journal.apply(&Record::Stopped { client: ClientId(client) }).unwrap();
    });
    journal
}

fn begin(place: &Place) -> (Writer, Option<Recovered>) {
    let config = Config::default();
    let found = recover(place, &config).unwrap();
    let stamp = Stamp { log: 3, term: 1, boot: 5 };
    (Writer::begin(place.clone(), &config, stamp, found.as_ref()).unwrap(), found)
}

fn write(writer: &mut Writer, clients: std::ops::Range<u32>) {
    for client in clients {
        writer.add(&stopped(client));
        writer.commit().unwrap();
    }
}

/// Bytes of a chunk with one record: length, the same inverted, sum, record.
fn chunk() -> usize {
    12 + stopped(0).len()
}

/// A segment up to the end of its chunks, each with one record.
fn written(path: &Path, chunks: usize) -> Vec<u8> {
    let mut bytes = fs::read(path).unwrap();
    let rest = bytes.split_off(HEADER + chunks * chunk());
    assert!(rest.iter().all(|byte| *byte == 0), "more is written");
    bytes
}

fn found(place: &Place) -> Recovered {
    recover(place, &Config::default()).unwrap().unwrap()
}

#[test]
fn a_log_is_found_again_however_often_it_was_packed() {
    let folder = TempDir::new().unwrap();
    let place = place(&folder);
    assert!(recover(&place, &Config::default()).unwrap().is_none());
    let mut all = 0;
    for run in 0..5 {
        let (mut writer, before) = begin(&place);
        assert_eq!(before.is_some(), run > 0);
        assert_eq!(before.map(|found| found.journal == with(0..all)), (run > 0).then_some(true));
        write(&mut writer, all..all + 300);
        all += 300;
        // As if it was killed: nothing is ended, nothing written any more.
        drop(writer);
        assert_eq!(found(&place).journal, with(0..all), "run {run}");
    }
    let files = fs::read_dir(folder.path()).unwrap().count();
    assert!(files <= 5, "{files} files");
    begin(&place).0.discard().unwrap();
    assert!(recover(&place, &Config::default()).unwrap().is_none());
}

#[test]
fn what_is_cut_off_anywhere_is_as_if_it_was_not_written() {
    let folder = TempDir::new().unwrap();
    let place = Place { segment_bytes: 1 << 20, ..place(&folder) };
    let (mut writer, _) = begin(&place);
    write(&mut writer, 0..3);
    drop(writer);
    let path = place.path(Kind::Segment, 1);
    let (whole, chunk) = (written(&path, 3), chunk());
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let found = found(&place);
        let left = len.saturating_sub(HEADER) / chunk;
        assert_eq!(found.journal, with(0..left as u32), "{len} bytes");
        let rest = if len < HEADER { len } else { (len - HEADER) % chunk };
        assert_eq!(found.torn, rest, "{len} bytes");
    }
}

#[test]
fn what_is_damaged_is_told_and_not_gone_on_with() {
    let folder = TempDir::new().unwrap();
    let place = Place { segment_bytes: 1 << 20, ..place(&folder) };
    let (mut writer, _) = begin(&place);
    write(&mut writer, 0..3);
    drop(writer);
    let path = place.path(Kind::Segment, 1);
    let whole = written(&path, 3);
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        match recover(&place, &Config::default()) {
            Err(RecoverError::Damaged { at: told, .. }) => assert!(told <= at, "{at}: {told}"),
            // Not a damaged form, as far as anybody can know.
            Err(RecoverError::Another { what, .. }) if (6..8).contains(&at) => {
                assert!(what.contains("a later program"), "{at}: {what}");
            }
            other => panic!("{at}: {other:?}"),
        }
    }
}

#[test]
fn another_configuration_another_version_and_a_gap_are_told() {
    let folder = TempDir::new().unwrap();
    let place = Place { segment_bytes: 1 << 20, ..place(&folder) };
    let (mut writer, _) = begin(&place);
    write(&mut writer, 0..3);
    drop(writer);
    let told = |place: &Place| recover(place, &Config::default()).unwrap_err().to_string();
    let other = Place { configuration: Sums { one: 7, two: 8 }, ..place.clone() };
    assert!(told(&other).contains("another configuration"), "{}", told(&other));
    let path = place.path(Kind::Segment, 1);
    fs::rename(&path, place.path(Kind::Segment, 2)).unwrap();
    assert!(told(&place).contains("0-0000000001.log: is not there"), "{}", told(&place));
}

#[test]
fn what_the_form_before_says_is_gone_on_with_in_either_form() {
    let folder = TempDir::new().unwrap();
    let new = place(&folder);
    let old = Place { form: Form::One, ..new.clone() };
    let mut all = 0;
    for (run, place) in [&old, &old, &new, &new, &old, &new].into_iter().enumerate() {
        let (mut writer, _) = begin(place);
        write(&mut writer, all..all + 100);
        all += 100;
        drop(writer);
        let found = found(place);
        assert_eq!(found.journal, with(0..all), "run {run}");
        assert_eq!(found.stamp.is_some(), place.form == Form::Two, "run {run}");
    }
}

#[test]
fn files_of_another_log_are_not_mixed_in() {
    let (one, two) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let [one, two] = [&one, &two].map(|f| Place { segment_bytes: 1 << 20, ..place(f) });
    let stamp = Stamp { log: 3, term: 1, boot: 5 };
    let others =
        [Stamp { log: 4, ..stamp }, Stamp { term: 2, ..stamp }, Stamp { boot: 6, ..stamp }];
    for (stamp, mixes) in others.map(|other| (other, true)).into_iter().chain([(stamp, false)]) {
        write(&mut begin(&one).0, 0..3);
        let mut writer = Writer::begin(two.clone(), &Config::default(), stamp, None).unwrap();
        write(&mut writer, 3..6);
        let next = found(&one).next;
        fs::copy(two.path(Kind::Segment, 1), one.path(Kind::Segment, next)).unwrap();
        let told = recover(&one, &Config::default()).err().map(|error| error.to_string());
        assert_eq!(told.is_some_and(|told| told.contains("folders were mixed")), mixes);
        begin_anew(&one);
    }
}

/// Nothing is there any more.
fn begin_anew(place: &Place) {
    for entry in fs::read_dir(&place.folder).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

#[test]
fn what_is_stored_without_its_length_was_never_written() {
    let folder = TempDir::new().unwrap();
    let place = Place { segment_bytes: 1 << 20, ..place(&folder) };
    write(&mut begin(&place).0, 0..3);
    let path = place.path(Kind::Segment, 1);
    let mut bytes = fs::read(&path).unwrap();
    // As if the process was killed before the last store of the second chunk.
    let at = HEADER + chunk();
    bytes[at..at + 4].fill(0);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(found(&place).journal, with(0..1));
}
