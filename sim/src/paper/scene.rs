//! The scene of the published experiments: machines, keys, library and box of a date.

use qpmux_workloads::keys::{KeyDistribution, Ycsb};

use super::era::{Era, EraError, EraParams};
use super::figures::Effort;
use super::jobs::Job;
use crate::nic::{Params, Preset, PresetError};
use crate::store::{Caches, Mode, StorePlan};
use crate::verbs::Middlebox;

/// What all runs of an era share.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Its date's costs.
    pub params: EraParams,
    /// Client machines.
    pub machines: usize,
    /// Exponent of the keys' popularity; `None`: all alike.
    pub theta: Option<f64>,
    /// Keys.
    pub keys: u64,
    /// Bytes of a value.
    pub value_len: u16,
    /// Operations for each key and machine before anything counts.
    pub warm_up: u64,
    /// Operations that count.
    pub ops: u64,
    /// Adapters.
    pub adapter: Params,
    /// Who shares a cache.
    pub caches: Caches,
    /// Collectors write shortcuts.
    pub shortcuts: bool,
}

/// Why there is no scene.
#[derive(Debug, thiserror::Error)]
pub enum SceneError {
    /// An era cannot be loaded.
    #[error(transparent)]
    Era(#[from] EraError),
    /// A published table cannot be read.
    #[error(transparent)]
    Rows(#[from] qpmux_plots::table::TableError),
    /// There is no such adapter.
    #[error(transparent)]
    Adapter(#[from] PresetError),
}

impl Scene {
    /// The scene of a date.
    ///
    /// # Errors
    /// When a preset cannot be read.
    pub fn of(era: Era, effort: Effort) -> Result<Self, SceneError> {
        let (machines, theta) = match era {
            Era::June2021 => (1, 0.75),
            Era::December2021 => (2, 0.99),
        };
        Ok(Self {
            params: era.load()?,
            machines,
            theta: Some(theta),
            keys: 1_024,
            value_len: 1_000,
            warm_up: effort.warm_up(),
            ops: effort.store_ops(),
            adapter: Preset::load("connectx-5")?.params,
            caches: Caches::PerMachine,
            shortcuts: true,
        })
    }

    /// The scene of December 2021 for what nothing published is compared with: a third of the
    /// operations count.
    ///
    /// # Errors
    /// When a preset cannot be read.
    pub fn beyond(effort: Effort) -> Result<Self, SceneError> {
        let scene = Self::of(Era::December2021, effort)?;
        Ok(Self { ops: scene.ops / 3, ..scene })
    }

    /// A run through the prototype's box.
    ///
    /// # Errors
    /// When its preset cannot be read.
    pub fn job(&self, mode: Mode, workload: Ycsb, threads: usize) -> Result<Job, SceneError> {
        Ok(self.through(Some(self.params.prototype(mode)?), workload, threads))
    }

    /// A run through some middlebox, or none.
    #[must_use]
    pub fn through(&self, middlebox: Option<Middlebox>, workload: Ycsb, threads: usize) -> Job {
        Job::Store(Box::new(StorePlan {
            workload,
            threads,
            machines: self.machines.min(threads),
            keys: self.keys,
            distribution: match self.theta {
                Some(theta) => KeyDistribution::Zipf { theta },
                None => KeyDistribution::Uniform,
            },
            value_len: self.value_len,
            library: self.params.library(),
            metadata_ns: self.params.metadata_ns,
            caches: self.caches,
            shortcuts: self.shortcuts,
            adapter: self.adapter.clone(),
            middlebox,
            warm_up: self.warm_up * self.keys * self.machines as u64,
            ops: self.ops,
        }))
    }
}
