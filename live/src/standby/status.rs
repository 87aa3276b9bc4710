//! What operators see of two hosts.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::speaker::Watch;

/// How far a host is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// It finds out what it may do.
    #[default]
    Beginning,
    /// It would speak, and may not before the standby is there.
    Silent,
    /// It speaks, and there is no standby.
    Alone,
    /// It speaks, and a standby has all that it uses.
    Paired,
    /// It stands by, and has nothing to go on with.
    Empty,
    /// It stands by, and takes what the speaker knows.
    Copying,
    /// It stands by, and could go on.
    Level,
    /// It could go on, and waits until the speaker can surely speak no more.
    Waiting,
    /// It asks the arbiter, or cuts the other host off.
    TakingOver,
}

impl Stage {
    /// All of them.
    pub const ALL: [Stage; 9] = [
        Stage::Beginning,
        Stage::Silent,
        Stage::Alone,
        Stage::Paired,
        Stage::Empty,
        Stage::Copying,
        Stage::Level,
        Stage::Waiting,
        Stage::TakingOver,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Beginning => "beginning",
            Stage::Silent => "silent",
            Stage::Alone => "alone",
            Stage::Paired => "paired",
            Stage::Empty => "empty",
            Stage::Copying => "copying",
            Stage::Level => "level",
            Stage::Waiting => "waiting",
            Stage::TakingOver => "taking-over",
        }
    }
}

/// What is seen of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// How far it is.
    pub stage: Stage,
    /// How many hosts have spoken, one after the other.
    pub term: u64,
    /// Records taken from the speaker.
    pub records_taken: u64,
    /// Bytes of records that the standby has not confirmed.
    pub lag_bytes: u64,
}

/// What follows when the workers have stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Next {
    /// The process ends. A standby that is level goes on at once.
    #[default]
    Exit,
    /// The process ends, and another one on this host goes on.
    Successor,
    /// The process begins anew. A standby that is level goes on at once.
    Again,
    /// The process begins anew, to take in a standby.
    Pairing,
}

/// Where it is seen.
#[derive(Clone, Debug, Default)]
pub struct Status(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    seen: Seen,
    watch: Option<Watch>,
    next: Next,
    /// The operator says that the other host is off.
    other_is_off: bool,
}

impl Status {
    fn with<T>(&self, with: impl FnOnce(&mut Inner) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// It is so far.
    pub fn set(&self, stage: Stage) {
        self.with(|inner| inner.seen.stage = stage);
    }

    /// It is in that term.
    pub fn set_term(&self, term: u64) {
        self.with(|inner| inner.seen.term = term);
    }

    /// It has all that the speaker knows.
    pub fn level(&self, term: u64) {
        self.set(Stage::Level);
        self.set_term(term);
    }

    /// So many records were taken.
    pub fn taken(&self, records: u64) {
        self.with(|inner| inner.seen.records_taken = records);
    }

    /// A standby is level.
    pub fn paired(&self, watch: Watch) {
        self.with(|inner| {
            (inner.seen.stage, inner.watch) = (Stage::Paired, Some(watch));
        });
    }

    /// What is to follow when the workers stop.
    pub fn set_next(&self, next: Next) {
        self.with(|inner| inner.next = next);
    }

    /// What follows.
    #[must_use]
    pub fn next(&self) -> Next {
        self.with(|inner| inner.next)
    }

    /// The operator says that the other host is off. Whether that is of any use now.
    #[must_use]
    pub fn declare_off(&self) -> bool {
        self.with(|inner| {
            inner.other_is_off = inner.seen.stage == Stage::Silent;
            inner.other_is_off
        })
    }

    /// Whether the operator has said so.
    #[must_use]
    pub fn other_is_off(&self) -> bool {
        self.with(|inner| inner.other_is_off)
    }

    /// What is seen now.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.with(|inner| Seen {
            lag_bytes: inner.watch.as_ref().map_or(0, Watch::lag_bytes),
            ..inner.seen
        })
    }
}
