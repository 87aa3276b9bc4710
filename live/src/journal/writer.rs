//! The end of a log: segments that grow, one after the other.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use qpmux_engine::Config;
use serde::Serialize;

use super::chunks::{Header, begin, end};
use super::packer::{Packer, write_checkpoint};
use super::recover::{Recovered, remove};
use super::{Kind, Place};

/// Writes a worker's records.
#[derive(Debug)]
pub struct Writer {
    place: Place,
    file: File,
    number: u64,
    term: u64,
    /// Bytes of the segment.
    len: u64,
    chunk: Vec<u8>,
    packer: Packer,
    written: Written,
}

/// What was read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    /// How many programs have gone on with this log, this one among them.
    pub term: u64,
    /// Records written.
    pub records: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Records read when it was begun.
    pub recovered_records: u64,
    /// Bytes that were cut off at the end of what was read.
    pub torn_bytes: u64,
    /// Time that reading took, in nanoseconds.
    pub recovery_ns: u64,
}

impl Written {
    /// Adds what another worker read and wrote.
    pub fn merge(&mut self, other: &Written) {
        let Written { term, records, bytes, recovered_records, torn_bytes, recovery_ns } = *other;
        self.term = self.term.max(term);
        self.records += records;
        self.bytes += bytes;
        self.recovered_records += recovered_records;
        self.torn_bytes += torn_bytes;
        self.recovery_ns += recovery_ns;
    }
}

impl Writer {
    /// Begins a log in a folder that is there, behind what was found.
    ///
    /// # Errors
    /// What the file system says.
    pub fn begin(place: Place, config: &Config, found: Option<&Recovered>) -> io::Result<Writer> {
        let (mut number, mut written) = (1, Written { term: 1, ..Written::default() });
        if let Some(found) = found {
            number = found.next;
            written.term = found.term + 1;
            written.recovered_records = found.records;
            written.torn_bytes = found.torn as u64;
            written.recovery_ns = u64::try_from(found.took.as_nanos()).unwrap_or(u64::MAX);
            // What is torn or long is of no use any more.
            write_checkpoint(&place, found, number - 1)?;
        }
        let packer = Packer::start(place.clone(), *config)?;
        let term = written.term;
        let file = open(&place.path(Kind::Segment, number), &place.header(term))?;
        let chunk = Vec::with_capacity(1 << 16);
        Ok(Writer { place, file, number, term, len: 0, chunk, packer, written })
    }

    /// Adds a record to what is written next.
    pub fn add(&mut self, record: &[u8]) {
        if self.chunk.is_empty() {
            begin(&mut self.chunk);
        }
        self.chunk.extend_from_slice(record);
        self.written.records += 1;
    }

    /// Writes what was added. Then what it is about may happen.
    ///
    /// # Errors
    /// What the file system says: nothing may happen then.
    pub fn commit(&mut self) -> io::Result<()> {
        if !end(&mut self.chunk) {
            return Ok(());
        }
        self.file.write_all(&self.chunk)?;
        let len = self.chunk.len() as u64;
        self.chunk.clear();
        self.len += len;
        self.written.bytes += len;
        // While the segments before are packed, this one grows.
        if self.len >= self.place.segment_bytes && self.packer.is_idle() {
            let header = self.place.header(self.term);
            let next = open(&self.place.path(Kind::Segment, self.number + 1), &header)?;
            (self.file, self.len) = (next, 0);
            self.packer.pack(self.number);
            self.number += 1;
        }
        Ok(())
    }

    /// What was read and written so far.
    #[must_use]
    pub fn written(&self) -> Written {
        self.written
    }

    /// Nothing is to be gone on with: the files are removed.
    ///
    /// # Errors
    /// What the file system says.
    pub fn discard(self) -> io::Result<()> {
        let Writer { place, packer, .. } = self;
        drop(packer);
        for kind in [Kind::Segment, Kind::Checkpoint] {
            let numbers = place.numbers(kind).map_err(io::Error::other)?;
            numbers.into_iter().try_for_each(|number| remove(&place.path(kind, number)))?;
        }
        Ok(())
    }
}

/// A new file with its header. One of the same name was never finished.
pub(super) fn open(path: &Path, header: &Header) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).open(path)?;
    file.write_all(&header.bytes())?;
    Ok(file)
}
