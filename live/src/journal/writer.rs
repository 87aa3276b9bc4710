//! The end of a log: segments that grow, one after the other.

use std::fs;
use std::io;
use std::time::Duration;

use qpmux_engine::journal::Record;
use qpmux_engine::{Config, Side};
use serde::Serialize;

use super::chunks::{Stamp, begin, end};
use super::packer::{Packer, write_checkpoint};
use super::recover::{Recovered, remove};
use super::segment::Segment;
use super::{Kind, Place};
use crate::standby::Line;

/// Writes a worker's records.
#[derive(Debug)]
pub struct Writer {
    place: Place,
    segment: Segment,
    number: u64,
    stamp: Stamp,
    chunk: Vec<u8>,
    packer: Packer,
    written: Written,
    /// To a standby, which has to have what is written before it may be used.
    line: Option<Line>,
    /// Not only bindings and values were written since all was confirmed.
    rare: bool,
}

/// What was read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    /// How many hosts have written this log, one after the other.
    pub term: u64,
    /// Records written.
    pub records: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Bytes that the log takes now.
    pub log_bytes: u64,
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
        let Written { term, records, bytes, log_bytes, .. } = *other;
        let Written { recovered_records, torn_bytes, recovery_ns, .. } = *other;
        self.term = self.term.max(term);
        self.records += records;
        self.bytes += bytes;
        self.log_bytes += log_bytes;
        self.recovered_records += recovered_records;
        self.torn_bytes += torn_bytes;
        self.recovery_ns += recovery_ns;
    }
}

impl Writer {
    /// Begins a log in a folder that is there, behind what was found, with this stamp.
    ///
    /// # Errors
    /// What the file system says.
    pub fn begin(
        place: Place,
        config: &Config,
        stamp: Stamp,
        found: Option<&Recovered>,
    ) -> io::Result<Writer> {
        let mut checkpoint = 0;
        let (mut number, mut written) = (1, Written { term: stamp.term, ..Written::default() });
        if let Some(found) = found {
            number = found.next;
            written.recovered_records = found.records;
            written.torn_bytes = found.torn as u64;
            written.recovery_ns = u64::try_from(found.took.as_nanos()).unwrap_or(u64::MAX);
            // What is torn or long is of no use any more.
            checkpoint = write_checkpoint(&place, &found.journal, stamp, number - 1)?;
        }
        remove(&place.path(Kind::Spare, 0))?;
        let packer = Packer::start(place.clone(), *config, stamp)?;
        packer.begin_at(number - 1, checkpoint);
        let segment = begin_segment(&place, number, stamp)?;
        let chunk = Vec::with_capacity(1 << 16);
        Ok(Writer {
            place,
            segment,
            number,
            stamp,
            chunk,
            packer,
            written,
            line: None,
            rare: false,
        })
    }

    /// Adds a record to what is written next.
    pub fn add(&mut self, record: &[u8]) {
        if self.chunk.is_empty() {
            begin(&mut self.chunk);
        }
        self.chunk.extend_from_slice(record);
        if self.line.is_some() && !self.rare {
            self.rare = !may_lag(record);
        }
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
        if !self.segment.has_room(self.chunk.len()) {
            self.begin_another()?;
        }
        self.segment.append(&self.chunk)?;
        if let Some(line) = &mut self.line {
            line.ship(&self.chunk);
        }
        self.written.bytes += self.chunk.len() as u64;
        self.chunk.clear();
        Ok(())
    }

    fn begin_another(&mut self) -> io::Result<()> {
        self.segment = match self.packer.spare() {
            Some(spare) => {
                let next = self.place.path(Kind::Segment, self.number + 1);
                fs::rename(self.place.path(Kind::Spare, 0), next)?;
                spare
            }
            None => begin_segment(&self.place, self.number + 1, self.stamp)?,
        };
        self.packer.pack(self.number);
        self.number += 1;
        Ok(())
    }

    /// A standby is to have all that is written, from here on.
    pub fn set_line(&mut self, line: Line) {
        self.line = Some(line);
    }

    /// The loop turns. Whether it may say anything.
    pub fn turn(&self) -> bool {
        self.line.as_ref().is_none_or(Line::turn)
    }

    /// A frame has come in on that side.
    pub fn heard(&mut self, side: Side, frame: &[u8]) {
        if let Some(line) = &mut self.line {
            line.heard(side, frame);
        }
    }

    /// How often the loop is to turn at least, if it matters.
    #[must_use]
    pub fn pace(&self) -> Option<Duration> {
        self.line.as_ref().map(Line::pace)
    }

    /// Whether what was written may be used now.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.line.as_ref().is_none_or(|line| line.is_settled(self.rare))
    }

    /// Waits until what was written may be used.
    ///
    /// # Errors
    /// If that can no longer be: nothing may be said any more.
    pub fn settle(&mut self) -> io::Result<()> {
        if let Some(line) = &self.line {
            line.settle(self.rare)?;
        }
        self.rare = false;
        Ok(())
    }

    /// What was read and written so far.
    #[must_use]
    pub fn written(&self) -> Written {
        let (checkpoint, covered) = self.packer.packed();
        let segments = (self.number - covered.min(self.number)) * self.place.segment_bytes;
        Written { log_bytes: checkpoint + segments, ..self.written }
    }

    /// Nothing is to be gone on with: the files are removed.
    ///
    /// # Errors
    /// What the file system says.
    pub fn discard(self) -> io::Result<()> {
        let Writer { place, packer, .. } = self;
        drop(packer);
        place.clear()
    }
}

/// Whether a standby may lack a record for a while. Without a binding or a value it is not known
/// what ran; without anything else it would not be known which connections that is true of.
fn may_lag(record: &[u8]) -> bool {
    matches!(Record::decode(record), Ok((Record::Binding(_) | Record::Value { .. }, _)))
}

fn begin_segment(place: &Place, number: u64, stamp: Stamp) -> io::Result<Segment> {
    Segment::begin(&place.path(Kind::Segment, number), &place.header(stamp), place.segment_bytes)
}
