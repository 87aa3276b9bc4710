//! What is written is found again, and what is not whole is not believed.

use std::fs;

use qpmux_engine::journal::{Journal, Record};
use qpmux_engine::{ClientId, Config};
use tempfile::TempDir;

use super::chunks::HEADER;
use super::{Kind, Place, RecoverError, Recovered, Writer, recover};

fn place(folder: &TempDir) -> Place {
    let folder = folder.path().to_owned();
    Place { folder, worker: 0, configuration: 7, segment_bytes: 1 << 10 }
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
    (Writer::begin(place.clone(), &config, found.as_ref()).unwrap(), found)
}

fn write(writer: &mut Writer, clients: std::ops::Range<u32>) {
    for client in clients {
        writer.add(&stopped(client));
        writer.commit().unwrap();
    }
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
    assert!(files <= 4, "{files} files");
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
    let whole = fs::read(&path).unwrap();
    let chunk = (whole.len() - HEADER) / 3;
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
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        match recover(&place, &Config::default()) {
            Err(RecoverError::Damaged { at: told, .. }) => assert!(told <= at, "{at}: {told}"),
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
    let other = Place { configuration: 8, ..place.clone() };
    assert!(told(&other).contains("another configuration"), "{}", told(&other));
    let path = place.path(Kind::Segment, 1);
    fs::rename(&path, place.path(Kind::Segment, 2)).unwrap();
    assert!(told(&place).contains("0-0000000001.log: is not there"), "{}", told(&place));
}
