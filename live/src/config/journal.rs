//! Table `[journal]`: what outlives the program.

use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, Settings, wrong_value};
use crate::journal::{Form, Place, Sums};

/// Where records are kept, so that another run goes on where one was killed.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct JournalSettings {
    /// The folder; without it nothing is kept.
    pub folder: Option<PathBuf>,
    /// Bytes of a segment after which another one is begun. There are three of them and a
    /// checkpoint at most, as long as checkpoints are made as fast as segments fill.
    pub segment_bytes: u64,
    /// The form of the files: 2, or 1, which the version before this one reads.
    pub form: u16,
}

impl Default for JournalSettings {
    fn default() -> Self {
        JournalSettings { folder: None, segment_bytes: 16 << 20, form: Form::Two.number() }
    }
}

impl Settings {
    pub(super) fn check_journal(&self) -> Result<(), ConfigError> {
        let JournalSettings { folder, segment_bytes, form } = &self.journal;
        if Form::of(*form).is_none() {
            return wrong_value("journal.form", form, "1 or 2");
        }
        if !(1 << 16..=1 << 32).contains(segment_bytes) {
            let expected = "65,536 to 4,294,967,296";
            return wrong_value("journal.segment_bytes", segment_bytes, expected);
        }
        match folder {
            Some(folder) if !folder.is_absolute() => {
                wrong_value("journal.folder", &folder.display(), "an absolute path")
            }
            _ => Ok(()),
        }
    }

    /// Where the journal of a worker is, if there is one.
    #[must_use]
    pub fn journal_place(&self, worker: usize) -> Option<Place> {
        let folder = self.journal.folder.clone()?;
        // What records mean depends on all of this; where frames come in does not matter.
        let Settings {
            servers, policy, region, server_memory, network, limits, worker: all, ..
        } = self;
        let every =
            format!("{servers:?}{policy:?}{region:?}{server_memory:?}{network:?}{limits:?}{all:?}");
        let [one, two] = [&every, &self.meaning].map(|text| crc32fast::hash(text.as_bytes()));
        let JournalSettings { segment_bytes, form, .. } = self.journal;
        let form = Form::of(form)?;
        Some(Place { folder, worker, configuration: Sums { one, two }, form, segment_bytes })
    }
}

/// What a configuration says of the tables that the meaning of records depends on.
pub(super) fn meaning(text: &str) -> Result<String, ConfigError> {
    const TABLES: [&str; 7] =
        ["servers", "policy", "region", "server_memory", "network", "limits", "worker"];
    let mut table: toml::Table = toml::from_str(text)?;
    table.retain(|name, _| TABLES.contains(&name));
    // Which core does the work does not matter.
    let workers = table.get_mut("worker").and_then(toml::Value::as_array_mut);
    for worker in workers.into_iter().flatten() {
        worker.as_table_mut().and_then(|worker| worker.remove("core"));
    }
    Ok(table.to_string())
}
