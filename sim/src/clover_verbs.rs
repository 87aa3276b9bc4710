//! Between Clover's verbs and those of adapters.

use qpmux_workloads::clover;

use crate::rc::{Outcome, Status, Verb};

impl From<clover::Verb> for Verb {
    fn from(verb: clover::Verb) -> Self {
        match verb {
            clover::Verb::Write { address, rkey, data } => {
                Self::Write { address, rkey, data, immediate: None }
            }
            clover::Verb::Read { address, rkey, length } => Self::Read { address, rkey, length },
            clover::Verb::CompareSwap { address, rkey, compare, swap } => {
                Self::CompareSwap { address, rkey, compare, swap }
            }
            clover::Verb::Send { data } => Self::Send { data, immediate: None },
        }
    }
}

/// What Clover is told of a work request that has ended.
pub(crate) fn told(status: Status, outcome: Outcome) -> clover::Outcome {
    match outcome {
        _ if status != Status::Success => clover::Outcome::Failed,
        Outcome::None => clover::Outcome::Done,
        Outcome::Read(data) => clover::Outcome::Read(data),
        Outcome::Atomic(before) => clover::Outcome::Atomic(before),
    }
}
