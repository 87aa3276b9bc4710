//! `qpmux sim` with Clover on adapters that cost something.

use qpmux_workloads::keys::Ycsb;

use super::Outcome;
use super::output::print;
use super::progress::Progress;
use super::verbs::{Common, VerbsArgs};
use crate::paper::Era;
use crate::store::{self, Caches, StorePlan, StoreReport};

/// Options of Clover on adapters that cost something.
#[derive(clap::Args)]
#[command(next_help_heading = "Clover on adapters that cost something (--library, or a middlebox \
    that costs something)")]
pub(super) struct StoreArgs {
    /// Times of Clover's client library, as fitted to the experiments of a date; with it, or with a
    /// middlebox that costs something, adapters, wires and library do. december-2021 by default.
    #[arg(long, value_enum, value_name = "DATE")]
    library: Option<Era>,
    /// Operations before anything counts; by default ten for each key and machine.
    #[arg(long, value_name = "N")]
    warm_up: Option<u64>,
    /// Each thread has a cache of where lists end of its own, not each machine.
    #[arg(long)]
    cache_per_thread: bool,
    /// Collectors write no shortcuts.
    #[arg(long)]
    no_shortcuts: bool,
}

impl StoreArgs {
    /// Whether Clover is to run on adapters that cost something.
    pub(super) fn is_wanted(&self, middlebox: Option<&str>) -> bool {
        let costs = middlebox.is_some_and(|name| !["none", "engine"].contains(&name));
        self.library.is_some() || costs
    }

    /// The run without its seed.
    pub(super) fn plan(
        &self,
        workload: Ycsb,
        value_len: u16,
        common: &Common,
        verbs: &VerbsArgs,
    ) -> anyhow::Result<StorePlan> {
        anyhow::ensure!(
            common.loss == 0.0,
            "--loss: on adapters that cost something Clover loses nothing; leave out --library \
             and take --middlebox engine to see what it does then"
        );
        let params = self.library.unwrap_or(Era::December2021).load()?;
        Ok(StorePlan {
            workload,
            threads: common.threads,
            machines: common.machines,
            keys: common.keys,
            distribution: common.distribution,
            value_len,
            library: params.library(),
            metadata_ns: params.metadata_ns,
            caches: if self.cache_per_thread { Caches::PerThread } else { Caches::PerMachine },
            shortcuts: !self.no_shortcuts,
            adapter: verbs.one_adapter()?,
            middlebox: common.middlebox.clone(),
            warm_up: self.warm_up.unwrap_or(10 * common.keys * common.machines as u64),
            ops: common.ops,
        })
    }

    /// Makes a run for each seed and says what they showed.
    pub(super) fn run(
        &self,
        plan: &StorePlan,
        common: &Common,
        runs: u64,
    ) -> anyhow::Result<Outcome> {
        let mut progress = Progress::new();
        let seeds: Vec<u64> = (common.seed..common.seed.saturating_add(runs)).collect();
        let ops = plan.warm_up + plan.ops;
        let mut outcomes = Vec::new();
        for (number, seed) in (0..).zip(&seeds) {
            let mut show = |done| progress.count("running", number * ops + done, ops * runs);
            outcomes.push(store::run(plan, *seed, &mut show)?);
        }
        progress.finish();
        let report = StoreReport::new(seeds, &outcomes);
        print(common.json, &report, &report.render_text())?;
        Ok(if report.violations == 0 { Outcome::Good } else { Outcome::CheckFailed })
    }
}
