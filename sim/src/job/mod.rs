//! A run of the simulator: what it is, and what it shows by name.

mod capture;
mod metric;
mod report;
mod shown;

pub use capture::Capture;
pub use metric::{Metric, MetricError};
pub use report::JobReport;
pub use shown::Shown;

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::apps::{self, Plan, PlanError};
use crate::receive_path::{self, ReceiveError, ReceivePlan};
use crate::recovery::{self, RecoveryError, RecoveryPlan};
use crate::store::{self, StoreError, StorePlan};
use crate::text::hex;
use crate::verbs::{self, TracePlan, VerbsError, VerbsPlan};

/// A run without its seed, with every number that it depends on.
#[derive(Clone, Debug)]
pub enum Job {
    /// Clover on adapters and wires that cost something.
    Store(Box<StorePlan>),
    /// Raw verbs.
    Verbs(Box<VerbsPlan>),
    /// The workload of a capture.
    Trace(Arc<Capture>, Box<TracePlan>),
    /// An application on an ideal network.
    App(Box<Plan>),
    /// Packets on their way through a host.
    Receive(Box<ReceivePlan>),
    /// A middlebox that keeps its state, and fails.
    Recovery(Box<RecoveryPlan>),
}

/// Why a run was not made.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Of Clover.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Of raw verbs, or a capture.
    #[error(transparent)]
    Verbs(#[from] VerbsError),
    /// Of an application.
    #[error(transparent)]
    App(#[from] PlanError),
    /// Of a host.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// Of a middlebox that fails.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
}

impl Job {
    /// Makes the run. `progress` is told operations done.
    ///
    /// # Errors
    /// When there is no such run.
    pub fn run(&self, seed: u64, progress: &mut dyn FnMut(u64)) -> Result<Shown, JobError> {
        Ok(match self {
            Job::Store(plan) => Shown::of_store(&store::run(plan, seed, progress)?),
            Job::Verbs(plan) => {
                Shown::of_verbs(&verbs::run(plan, seed, progress)?, plan.moved_bytes())
            }
            Job::Trace(capture, plan) => {
                Shown::of_verbs(&verbs::run_trace(&capture.script, plan, seed, progress)?, 0)
            }
            Job::App(plan) => {
                let plan = Plan { seed, ..Plan::clone(plan) };
                Shown::of_app(&apps::run(&plan, progress)?)
            }
            Job::Receive(plan) => Shown::of_receive(&receive_path::run(plan, seed, progress)?),
            Job::Recovery(plan) => Shown::of_recovery(&recovery::run(plan, seed, progress)?),
        })
    }

    /// Whether there can be such a run, as far as that is known before it is made.
    ///
    /// # Errors
    /// When there cannot.
    pub fn check(&self) -> Result<(), JobError> {
        match self {
            Job::Store(plan) => plan.check()?,
            Job::Verbs(plan) => plan.check()?,
            Job::Receive(plan) => plan.check()?,
            Job::Recovery(plan) => plan.check()?,
            Job::Trace(..) | Job::App(_) => {}
        }
        Ok(())
    }

    /// Its name among all runs, with a seed: equal for two that are the same in every number.
    #[must_use]
    pub fn id(&self, seed: u64) -> String {
        // Its text has every field of the plan and of all that this contains.
        let digest = Sha256::digest(format!("{self:?}, seed {seed}"));
        hex(&digest[..16])
    }

    /// About how long it takes, in packets; only good for comparing.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            // An operation of Clover has several verbs, and more the longer its lists are.
            Job::Store(plan) => (plan.warm_up + plan.ops) * 8,
            Job::Verbs(plan) => plan.ops * (1 + plan.size.div_ceil(plan.path_mtu) as u64),
            Job::Trace(capture, plan) => (capture.messages() * plan.copies) as u64 * 2,
            Job::App(plan) => plan.load.operations * 8,
            // An event of a host takes a tenth of the time that a packet takes here.
            Job::Receive(plan) => plan.ops.div_ceil(4),
            Job::Recovery(plan) => plan.ops.div_ceil(16),
        }
    }

    /// The same with at most so many operations: to see how long it takes.
    #[must_use]
    pub fn shortened(&self, ops: u64) -> Self {
        let mut short = self.clone();
        match &mut short {
            Job::Store(plan) => {
                plan.warm_up = plan.warm_up.min(ops / 2).max(1);
                plan.ops = plan.ops.min(ops / 2).max(1);
            }
            Job::Verbs(plan) => plan.ops = plan.ops.min(ops).max(1),
            Job::Trace(..) => {}
            Job::App(plan) => plan.load.operations = plan.load.operations.min(ops).max(1),
            Job::Receive(plan) => plan.ops = plan.ops.min(ops).max(1),
            Job::Recovery(plan) => plan.ops = plan.ops.min(ops).max(1),
        }
        short
    }
}

#[cfg(test)]
mod tests {
    use super::Job;
    use crate::nic::Preset;
    use crate::verbs::VerbsPlan;

    fn job(change: impl FnOnce(&mut VerbsPlan)) -> Job {
        let params = Preset::load("connectx-5").unwrap().params;
        let mut plan = VerbsPlan { ops: 500, ..VerbsPlan::new(&params) };
        change(&mut plan);
        Job::Verbs(Box::new(plan))
    }

    #[test]
    fn every_number_is_in_the_name() {
        let id = job(|_| {}).id(1);
        assert_eq!(id, job(|_| {}).id(1));
        assert_ne!(id, job(|_| {}).id(2));
        assert_ne!(id, job(|plan| plan.server.post_ns += 0.5).id(1));
        assert_ne!(id, job(|plan| plan.conditions.network.queue_bytes += 1.0).id(1));
    }

    #[test]
    fn runs_show_what_figures_ask_for() {
        let shown = job(|_| {}).run(1, &mut |_| {}).unwrap();
        let get = |name: &str| shown.metric(name).unwrap_or_else(|| panic!("{name}"));
        assert!(get("mops") > 0.1 && get("p99_us") >= get("p50_us"));
        assert!((get("kops") / get("mops") - 1e3).abs() < 1e-9);
        assert_eq!(get("violations"), 0.0);
        assert!(shown.histograms().contains_key("all"));
    }
}
