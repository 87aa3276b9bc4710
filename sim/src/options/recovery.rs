//! Options of a middlebox that keeps its state, and fails.

use super::file::Given;
use super::verbs::{Setting, settings};
use crate::recovery::{Keep, RecoveryParams, RecoveryPlan};

/// Frames of a run, unless more or fewer are asked for.
const OPS: u64 = 200_000;

/// Options of a middlebox that keeps its state, and fails.
#[derive(clap::Args)]
#[command(next_help_heading = "State that survives (--workload recovery)")]
pub(super) struct RecoveryArgs {
    /// How state is kept.
    #[arg(long, value_enum, default_value_t = Keep::Mapped)]
    keep: Keep,
    /// Connections that have state.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    kept_connections: u64,
    /// Microseconds from one flush to the next, with --keep group or behind.
    #[arg(long, default_value_t = 1_000.0, value_name = "US")]
    flush_us: f64,
    /// Bytes that the other host need not have confirmed, with --keep lag.
    #[arg(long, default_value_t = 65_536, value_name = "BYTES")]
    lag_bytes: u64,
    /// Seconds from the end of a checkpoint to the beginning of the next.
    #[arg(long, default_value_t = 1.0, value_name = "S")]
    checkpoint_s: f64,
    /// Checkpoints are made beside, and stop nothing.
    #[arg(long)]
    beside: bool,
    /// Crashes of the long run.
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    crashes: u64,
    /// Gives a number of what it costs another value; may be given more than once.
    #[arg(long, value_name = "NAME=VALUE")]
    set_recovery: Vec<Setting>,
}

impl RecoveryArgs {
    fn costs(&self) -> anyhow::Result<RecoveryParams> {
        let mut costs = RecoveryParams::load("qpmux")?;
        for Setting(name, value) in &self.set_recovery {
            costs.set(name, *value)?;
        }
        Ok(costs)
    }

    /// Each number of what it costs, as options.
    pub(super) fn numbers(&self) -> anyhow::Result<Vec<Given>> {
        let costs = self.costs()?;
        let settings = settings(RecoveryParams::SPECS, |name| costs.get(name));
        Ok(vec![("set-recovery".to_owned(), settings)])
    }

    /// Frames of a run.
    pub(super) fn ops(wanted: Option<u64>) -> u64 {
        wanted.unwrap_or(OPS)
    }

    pub(super) fn plan(
        &self,
        ops: Option<u64>,
        offered_per_s: f64,
    ) -> anyhow::Result<RecoveryPlan> {
        Ok(RecoveryPlan {
            keep: self.keep,
            offered_per_s,
            connections: self.kept_connections,
            flush_ns: self.flush_us * 1e3,
            lag_bytes: self.lag_bytes,
            checkpoint_ns: self.checkpoint_s * 1e9,
            beside: self.beside,
            costs: self.costs()?,
            ops: Self::ops(ops),
            crashes: self.crashes,
        })
    }
}
