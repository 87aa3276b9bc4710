//! The same file, read again while the engine runs.

use std::path::Path;

use qpmux_engine::policy::Choices;

use super::{ConfigError, Settings};

/// What a file says that was read again.
#[derive(Clone, Debug, PartialEq)]
pub struct Reload {
    /// What the engine is to do from now on.
    pub choices: Choices,
    /// Tables and lists that differ from what the engine was started with, apart from these
    /// choices: they count when it is started again.
    pub restart: Vec<&'static str>,
}

impl Settings {
    /// Reads the file again that these settings, with which the engine was started, are from.
    ///
    /// # Errors
    /// See [`ConfigError`]: it must be a file with which the engine could be started.
    pub fn reload(&self, path: &Path) -> Result<Reload, ConfigError> {
        let new = Settings::load(path)?;
        new.policy.policies()?;
        Ok(Reload { choices: new.policy.choices(), restart: self.differ(&new) })
    }

    /// Tables and lists that differ.
    fn differ(&self, new: &Settings) -> Vec<&'static str> {
        let policy = new.policy.with_choices_of(&self.policy);
        let tables = [
            ("servers", self.servers == new.servers),
            ("neighbour", self.neighbour == new.neighbour),
            ("client", self.client == new.client),
            ("server", self.server == new.server),
            ("policy", self.policy == policy),
            ("region", self.region == new.region),
            ("server_memory", self.server_memory == new.server_memory),
            ("network", self.network == new.network),
            ("limits", self.limits == new.limits),
            ("worker", self.worker == new.worker),
            ("dpdk", self.dpdk == new.dpdk),
            ("clock", self.clock == new.clock),
            ("journal", self.journal == new.journal),
            ("control", self.control == new.control),
            ("metrics", self.metrics == new.metrics),
            ("log", self.log == new.log),
        ];
        tables.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
    }
}
