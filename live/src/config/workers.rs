//! Tables `[[worker]]`: the cores that frames are worked on, and whose servers are whose.

use serde::Deserialize;

use super::{ConfigError, Places, Settings, wrong_value};
use crate::subnets::Subnets;
use crate::workers::Shares;

/// Most workers: each has rings to each other.
const WORKERS_MAX: usize = 16;

/// A worker.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerSettings {
    /// The number of the processor that it stays on; without it the kernel chooses.
    pub core: Option<usize>,
    /// Servers that are this worker's. Those that are no worker's are spread by their addresses.
    pub servers: Subnets,
}

impl Settings {
    /// The processor of each worker, if it is to stay on one.
    #[must_use]
    pub fn cores(&self) -> Vec<Option<usize>> {
        match self.worker.is_empty() {
            true => vec![None],
            false => self.worker.iter().map(|worker| worker.core).collect(),
        }
    }

    /// Which worker has which servers.
    #[must_use]
    pub fn shares(&self) -> Shares {
        let named = match self.worker.is_empty() {
            true => vec![Subnets::default()],
            false => self.worker.iter().map(|worker| worker.servers.clone()).collect(),
        };
        Shares::new(self.servers.clone(), named)
    }

    pub(super) fn check_workers(&self) -> Result<(), ConfigError> {
        let count = self.worker.len();
        if count > WORKERS_MAX {
            return wrong_value(
                "worker",
                &format!("there {count} times"),
                "there 16 times at most",
            );
        }
        if count > 1 && matches!(self.places()?, Places::Interfaces(..)) {
            let expected = "there once at most: several workers need ports of DPDK";
            return wrong_value("worker", &format!("there {count} times"), expected);
        }
        let mut cores: Vec<usize> = self.worker.iter().filter_map(|worker| worker.core).collect();
        cores.sort_unstable();
        if let Some(twice) = cores.windows(2).find(|pair| pair[0] == pair[1]) {
            return wrong_value("worker.core", &twice[0], "another one for each worker");
        }
        for (at, worker) in self.worker.iter().enumerate() {
            let others = self.worker.iter().take(at);
            if others.filter(|other| other.servers.meet(&worker.servers)).count() > 0 {
                let expected = "in one [[worker]] only";
                return wrong_value("worker.servers", &worker.servers, expected);
            }
            if !self.servers.is_empty() && !worker.servers.are_among(&self.servers) {
                let expected = "among servers: others are not learnt";
                return wrong_value("worker.servers", &worker.servers, expected);
            }
        }
        Ok(())
    }
}
