//! Options of Clover on adapters that cost something.

use qpmux_workloads::keys::Ycsb;

use super::verbs::{Common, Setting, VerbsArgs};
use crate::paper::{Era, EraParams};
use crate::store::{Caches, StorePlan};

/// Options of Clover on adapters that cost something.
#[derive(clap::Args)]
#[command(
    next_help_heading = "Clover on adapters that cost something (--era, or a middlebox that \
    costs something)"
)]
pub(super) struct StoreArgs {
    /// Times of Clover's client library, and of the prototype's box, as fitted to the experiments
    /// of a date; with it, or with a middlebox that costs something, adapters and wires cost
    /// something too. december-2021 by default.
    #[arg(long, value_enum, value_name = "DATE")]
    era: Option<Era>,
    /// Gives a time of library or box another value; may be given more than once.
    #[arg(long, value_name = "NAME=VALUE")]
    set_era: Vec<Setting>,
    /// Operations before anything counts; by default ten for each key and machine.
    #[arg(long, value_name = "N")]
    warm_up: Option<u64>,
    /// Each thread has a cache of where lists end of its own, not each machine.
    #[arg(long)]
    cache_per_thread: bool,
    /// Collectors write no shortcuts.
    #[arg(long)]
    no_shortcuts: bool,
    /// The engine of a middlebox that costs something keeps a log; what it records is counted.
    #[arg(long)]
    pub(super) records: bool,
}

impl StoreArgs {
    /// Whether Clover is to run on adapters that cost something.
    pub(super) fn is_wanted(&self, middlebox: Option<&str>) -> bool {
        let costs = middlebox.is_some_and(|name| !["none", "engine"].contains(&name));
        self.era.is_some() || costs
    }

    /// Times of library and box.
    pub(super) fn era(&self) -> anyhow::Result<EraParams> {
        let mut params = self.era.unwrap_or(Era::December2021).load()?;
        for Setting(name, value) in &self.set_era {
            params.set(name, *value)?;
        }
        Ok(params)
    }

    /// The run, without its operations.
    pub(super) fn plan(
        &self,
        workload: Ycsb,
        value_len: u16,
        common: &Common,
        verbs: &VerbsArgs,
    ) -> anyhow::Result<StorePlan> {
        anyhow::ensure!(
            common.loss == 0.0,
            "--loss: on adapters that cost something Clover loses nothing; leave out --era \
             and take --middlebox engine to see what it does then"
        );
        let params = self.era()?;
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
            ops: 0,
        })
    }
}
