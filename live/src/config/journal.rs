//! Table `[journal]`: what outlives the program.

use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, Settings, wrong_value};
use crate::journal::Place;

/// Where records are kept, so that another run goes on where one was killed.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct JournalSettings {
    /// The folder; without it nothing is kept.
    pub folder: Option<PathBuf>,
    /// Bytes of a segment after which another one is begun. There are three of them and a
    /// checkpoint at most, as long as checkpoints are made as fast as segments fill.
    pub segment_bytes: u64,
}

impl Default for JournalSettings {
    fn default() -> Self {
        JournalSettings { folder: None, segment_bytes: 16 << 20 }
    }
}

impl Settings {
    pub(super) fn check_journal(&self) -> Result<(), ConfigError> {
        let JournalSettings { folder, segment_bytes } = &self.journal;
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
        let meaning =
            format!("{servers:?}{policy:?}{region:?}{server_memory:?}{network:?}{limits:?}{all:?}");
        let configuration = crc32fast::hash(meaning.as_bytes());
        Some(Place { folder, worker, configuration, segment_bytes: self.journal.segment_bytes })
    }
}
