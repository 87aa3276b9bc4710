//! What a run is, without a seed.

use super::params::RecoveryParams;

/// How state is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Keep {
    /// Not at all.
    Nothing,
    /// Records are in memory that is a file's before their frames go out: they outlive the process.
    Mapped,
    /// The same by a system call.
    Write,
    /// Records are on the disk before their frames go out, burst by burst.
    Sync,
    /// The same, but at intervals, all that came meanwhile at once (group commit).
    Group,
    /// Frames go out at once; their records go to the disk at intervals (write-behind).
    Behind,
    /// Frames wait until another host has their records (primary and backup).
    Standby,
    /// Frames wait only while too much is not confirmed by the other host.
    Lag,
}

/// Everything that a run depends on, without a seed.
#[derive(Clone, Debug)]
pub struct RecoveryPlan {
    /// How state is kept.
    pub keep: Keep,
    /// Frames per second, at random times.
    pub offered_per_s: f64,
    /// Connections that have state; frames are of each of them alike.
    pub connections: u64,
    /// From one flush to the next, ns.
    pub flush_ns: f64,
    /// Bytes that need not be confirmed.
    pub lag_bytes: u64,
    /// From the end of a checkpoint to the beginning of the next, ns.
    pub checkpoint_ns: f64,
    /// Checkpoints are made beside, and stop nothing.
    pub beside: bool,
    /// What everything costs.
    pub costs: RecoveryParams,
    /// Frames that count.
    pub ops: u64,
    /// Crashes of the long run.
    pub crashes: u64,
}

/// Why there is no such run.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// A number out of range.
    #[error("--{what} is {value}, must be {least} to {most}")]
    Range {
        /// The option.
        what: &'static str,
        /// What it is.
        value: f64,
        /// The least it may be.
        least: f64,
        /// The most it may be.
        most: f64,
    },
}

impl RecoveryPlan {
    /// Whether there can be such a run.
    ///
    /// # Errors
    /// When there cannot.
    pub fn check(&self) -> Result<(), RecoveryError> {
        let ranges = [
            ("offered-kops", self.offered_per_s / 1e3, 1e-3, 1e6),
            ("kept-connections", self.connections as f64, 1.0, 1e7),
            ("flush-us", self.flush_ns / 1e3, 1e-3, 1e9),
            ("lag-bytes", self.lag_bytes as f64, 0.0, 1e12),
            ("checkpoint-s", self.checkpoint_ns / 1e9, 1e-6, 1e9),
            ("ops", self.ops as f64, 1.0, 1e9),
            ("crashes", self.crashes as f64, 1.0, 1e8),
        ];
        for (what, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err(RecoveryError::Range { what, value, least, most });
            }
        }
        Ok(())
    }

    /// Bytes of the state as a checkpoint.
    pub(super) fn state_bytes(&self) -> f64 {
        self.connections as f64 * self.costs.state_bytes
    }

    /// Time in which nothing is done for a checkpoint, ns.
    pub(super) fn checkpoint_cost_ns(&self) -> f64 {
        if self.beside { 0.0 } else { self.state_bytes() * self.costs.checkpoint_byte_ns }
    }

    /// Time to do again, from the log, what was done in one unit of time.
    pub(super) fn replay_share(&self) -> f64 {
        let costs = &self.costs;
        let frame_ns =
            costs.record_bytes * costs.read_byte_ns + costs.records_count * costs.apply_ns;
        self.offered_per_s * frame_ns / 1e9
    }
}
