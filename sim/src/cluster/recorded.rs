//! The log that a middlebox's engine keeps, if it does: its size, and that of what has to be known.

use std::cell::RefCell;
use std::rc::Rc;

use qpmux_engine::Config;
use qpmux_engine::journal::{Journal, Record};
use schemars::JsonSchema;
use serde::Serialize;

use crate::host::{Host, RecordSink};

/// What an engine has recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize)]
pub struct RecordCounts {
    /// Records.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of what has to be known of them to go on: those of a checkpoint.
    pub state_bytes: u64,
    /// Records that are none, or that the journal refuses.
    pub wrong: u64,
}

/// Reads what an engine records, as a host would that goes on from it.
pub(super) struct Recorder {
    journal: Journal,
    counts: RecordCounts,
}

/// A recorder that a host tells of its records.
pub(super) type SharedRecorder = Rc<RefCell<Recorder>>;

impl Recorder {
    /// Has a host's records read, if its engine makes any.
    pub(super) fn of(host: Host, config: &Config) -> (Host, Option<SharedRecorder>) {
        if !config.records {
            return (host, None);
        }
        let recorder = Self { journal: Journal::new(config), counts: RecordCounts::default() };
        let recorder = Rc::new(RefCell::new(recorder));
        let sink: RecordSink = Box::new({
            let recorder = recorder.clone();
            move |bytes| recorder.borrow_mut().take(bytes)
        });
        (host.with_records(sink), Some(recorder))
    }

    fn take(&mut self, bytes: &[u8]) {
        self.counts.records += 1;
        self.counts.bytes += bytes.len() as u64;
        let is_right = Record::decode(bytes)
            .is_ok_and(|(record, len)| len == bytes.len() && self.journal.apply(&record).is_ok());
        self.counts.wrong += u64::from(!is_right);
    }

    pub(super) fn counts(&self) -> RecordCounts {
        let mut state_bytes = 0;
        self.journal.checkpoint(|record| state_bytes += record.len() as u64);
        RecordCounts { state_bytes, ..self.counts }
    }
}
