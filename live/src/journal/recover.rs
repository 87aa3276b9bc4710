//! What files say, of which the last may have been cut off in the middle of a word.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use qpmux_engine::Config;
use qpmux_engine::journal::{Journal, JournalError, Record};

use super::chunks::{Begin, Form, Next, Stamp, next, read_header};
use super::{Kind, Place, RecoverError};

/// Bytes that are read at a time.
const READ: usize = 1 << 20;

/// What was found.
#[derive(Debug)]
pub struct Recovered {
    /// What is known.
    pub journal: Journal,
    /// The number of the first segment that may be begun.
    pub next: u64,
    /// Which log it is, if its form says.
    pub stamp: Option<Stamp>,
    /// Records read.
    pub records: u64,
    /// Bytes of a chunk that was cut off, at the end: never acted on.
    pub torn: usize,
    /// How long it took.
    pub took: Duration,
}

impl Recovered {
    /// Of a worker that has no files.
    #[must_use]
    pub fn nothing(config: &Config) -> Recovered {
        Recovered {
            journal: Journal::new(config),
            next: 1,
            stamp: None,
            records: 0,
            torn: 0,
            took: Duration::ZERO,
        }
    }
}

/// Reads a worker's files: its last checkpoint, and all segments behind it. `None` if it has none.
///
/// # Errors
/// See [`RecoverError`]: nothing is guessed.
pub fn recover(place: &Place, config: &Config) -> Result<Option<Recovered>, RecoverError> {
    recover_up_to(place, config, u64::MAX)
}

/// The same of segments up to that number only: all of them are whole then.
pub(super) fn recover_up_to(
    place: &Place,
    config: &Config,
    most: u64,
) -> Result<Option<Recovered>, RecoverError> {
    let from = Instant::now();
    let checkpoint = place.numbers(Kind::Checkpoint)?.pop();
    let mut segments = place.numbers(Kind::Segment)?;
    segments.retain(|number| *number <= most && checkpoint.is_none_or(|covered| *number > covered));
    if checkpoint.is_none() && segments.is_empty() {
        return Ok(None);
    }
    let next = segments.last().copied().or(checkpoint).unwrap_or(0) + 1;
    let mut found = Recovered { next, ..Recovered::nothing(config) };
    if let Some(number) = checkpoint {
        read(&place.path(Kind::Checkpoint, number), place, false, &mut found)?;
    }
    let first = checkpoint.map_or(1, |covered| covered + 1);
    let last = segments.last().copied().unwrap_or(0);
    for number in first..=last {
        let path = place.path(Kind::Segment, number);
        if segments.binary_search(&number).is_err() {
            return Err(RecoverError::Missing { path });
        }
        read(&path, place, number == last && most == u64::MAX, &mut found)?;
    }
    found.took = from.elapsed();
    Ok(Some(found))
}

/// Reads a file into `found`. The end of the last one may be torn.
fn read(
    path: &Path,
    place: &Place,
    may_be_torn: bool,
    found: &mut Recovered,
) -> Result<(), RecoverError> {
    let error = |error| RecoverError::io(path, error);
    let mut file = File::open(path).map_err(error)?;
    let mut bytes = Vec::new();
    more(&mut file, &mut bytes).map_err(error)?;
    let damaged = |at: usize, what: &'static str| {
        Err(RecoverError::Damaged { path: path.to_owned(), at, what })
    };
    let another = |what: String| Err(RecoverError::Another { path: path.to_owned(), what });
    let (form, mut at) = match read_header(&bytes) {
        Begin::Torn if may_be_torn => {
            found.torn = bytes.len();
            return Ok(());
        }
        Begin::Torn | Begin::Damaged => return damaged(0, "it has no header"),
        Begin::Later(form) => {
            return another(format!("is of form {form}: a later program has written it"));
        }
        Begin::Whole(header, _) if header.configuration != place.configuration.of(header.form) => {
            let what = "is of another configuration: go on with that one, or drain with it first";
            return another(what.to_owned());
        }
        Begin::Whole(header, rest) => match (found.stamp, header.stamp) {
            (Some(before), stamp) if stamp != Some(before) => {
                let what = "is not of the same log as what it follows: folders were mixed";
                return another(what.to_owned());
            }
            (_, stamp) => {
                found.stamp = stamp;
                (header.form, bytes.len() - rest.len())
            }
        },
    };
    loop {
        let rest = bytes.get(at..).unwrap_or(&[]);
        let end = match next(rest, form) {
            Next::Records(records, behind) => {
                apply(records, path, found)?;
                at = bytes.len() - behind.len();
                continue;
            }
            Next::Damaged(what) => return damaged(at, what),
            Next::End if !rest.is_empty() => return Ok(()),
            other => other,
        };
        // What a segment has room for, and nothing is in, is not read.
        let torn = matches!(end, Next::Torn);
        if more(&mut file, &mut bytes).map_err(error)? > 0 {
            continue;
        }
        if torn && !may_be_torn {
            return damaged(at, "it ends in the middle of a chunk");
        }
        found.torn = bytes.len() - at;
        return Ok(());
    }
}

/// Reads on. How many bytes; 0: that is all.
fn more(file: &mut File, bytes: &mut Vec<u8>) -> io::Result<usize> {
    file.take(READ as u64).read_to_end(bytes)
}

fn apply(records: &[u8], path: &Path, found: &mut Recovered) -> Result<(), RecoverError> {
    let wrong = |error| RecoverError::Records { path: path.to_owned(), error };
    found.records += apply_all(records, &mut found.journal).map_err(wrong)?;
    Ok(())
}

/// How many records these bytes are, all of which are taken into account.
fn apply_all(mut records: &[u8], journal: &mut Journal) -> Result<u64, JournalError> {
    let mut count = 0;
    while !records.is_empty() {
        let (record, len) = Record::decode(records).map_err(JournalError::Record)?;
        journal.apply(&record)?;
        count += 1;
        records = records.get(len..).unwrap_or(&[]);
    }
    Ok(count)
}

/// Takes a chunk into account that another host has sent. How many records it has.
///
/// # Errors
/// If it is not a whole chunk, or its records cannot be.
pub fn apply_chunk(chunk: &[u8], journal: &mut Journal) -> Result<u64, String> {
    match next(chunk, Form::One) {
        Next::Records(records, []) => {
            apply_all(records, journal).map_err(|error| error.to_string())
        }
        Next::Damaged(what) => Err(what.to_owned()),
        Next::Records(..) | Next::End | Next::Torn => Err("it is not one whole chunk".to_owned()),
    }
}

/// Removes a file that may not be there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
