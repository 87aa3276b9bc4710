//! Table `[standby]`: two hosts, of which one forwards frames and the other can go on at once.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, Settings, wrong_value};
use crate::journal::Form;

/// The other host, and how it is found out which of both may speak. Both have the same table, with
/// `listen` and `peer` the other way round, and `begins` different.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct StandbySettings {
    /// Where this host listens: an address that only the other one reaches. What comes there is
    /// believed.
    pub listen: SocketAddr,
    /// Where the other one listens.
    pub peer: SocketAddr,
    /// What this host is before either of both has ever run.
    pub begins: Begins,
    /// Bytes of records that may be used before the standby has them.
    #[serde(default)]
    pub lag_bytes: u64,
    /// For how long the speaker may go on after a word that the standby has confirmed, in
    /// milliseconds. The standby takes over after half as much again.
    #[serde(default = "lease_ms")]
    pub lease_ms: u64,
    /// A folder that both hosts reach: a host that does not hear the other one goes on if it is the
    /// first to say so there.
    #[serde(default)]
    pub arbiter: Option<PathBuf>,
    /// A program and its arguments that cut the other host off. The standby speaks when it has
    /// ended well.
    #[serde(default)]
    pub fence: Vec<String>,
}

/// What a host is at the very first start.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Begins {
    /// It forwards frames.
    Speaking,
    /// It waits for the other one's records.
    StandingBy,
}

fn lease_ms() -> u64 {
    300
}

impl StandbySettings {
    /// How long the speaker may go on.
    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }
}

impl Settings {
    pub(super) fn check_standby(&self) -> Result<(), ConfigError> {
        let Some(standby) = &self.standby else { return Ok(()) };
        if self.journal.folder.is_none() {
            let expected = "with a [journal] folder: what this host may do is kept there";
            return wrong_value("standby", &"there", expected);
        }
        if self.journal.form != Form::Two.number() {
            return wrong_value("journal.form", &self.journal.form, "2 with a [standby]");
        }
        if standby.listen == standby.peer {
            return wrong_value("standby.peer", &standby.peer, "the other host's address");
        }
        if !(20..=60_000).contains(&standby.lease_ms) {
            return wrong_value("standby.lease_ms", &standby.lease_ms, "20 to 60,000");
        }
        if standby.lag_bytes > 1 << 30 {
            return wrong_value("standby.lag_bytes", &standby.lag_bytes, "0 to 1,073,741,824");
        }
        let arbiter = standby.arbiter.as_deref();
        match arbiter
            .into_iter()
            .chain(standby.fence.first().map(AsRef::as_ref))
            .find(|path| !path.is_absolute())
        {
            Some(path) => {
                wrong_value("standby.arbiter or fence", &path.display(), "an absolute path")
            }
            None => Ok(()),
        }
    }
}
