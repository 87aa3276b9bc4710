//! What the operator runs it with: tables `[control]`, `[metrics]` and `[log]`, and the version.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, wrong_value};

/// The version of this format of configurations.
const VERSION: u32 = 1;

/// The format that a file is written in; files that do not say it are of the only one.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(try_from = "u32")]
pub struct Version;

impl TryFrom<u32> for Version {
    type Error = String;

    fn try_from(found: u32) -> Result<Version, String> {
        let wrong =
            || format!("version is {found}, must be {VERSION}: this program reads no other format");
        (found == VERSION).then_some(Version).ok_or_else(wrong)
    }
}

/// Table `[control]`: how a running program is asked.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct ControlSettings {
    /// The socket that `qpmux-live ctl` talks to; without it there is none.
    pub socket: Option<PathBuf>,
    /// What a stop does while connections are translated.
    pub stop: StopRule,
}

/// What a stop does while connections are translated, which would break.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum StopRule {
    /// It is refused, unless it is meant: a second signal soon, or `--force`.
    #[default]
    Ask,
    /// It stops.
    Force,
}

/// Table `[metrics]`: where Prometheus finds what is counted.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsSettings {
    listen: Option<Listen>,
}

/// An address, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
enum Listen {
    Off,
    At(SocketAddr),
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Listen, String> {
        if text == "off" {
            return Ok(Listen::Off);
        }
        let wrong = |_| format!("\"{text}\" must be an address with a port, or \"off\"");
        text.parse().map(Listen::At).map_err(wrong)
    }
}

impl MetricsSettings {
    /// Where to listen; `None` if nowhere.
    #[must_use]
    pub fn listen(&self) -> Option<SocketAddr> {
        match self.listen {
            Some(Listen::Off) => None,
            Some(Listen::At(address)) => Some(address),
            None => Some(SocketAddr::from(([127, 0, 0, 1], 9_477))),
        }
    }

    /// Whether the operator has named the address: then it must be free.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.listen.is_some()
    }
}

/// Table `[log]`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// What lines on standard error look like.
    pub format: LogFormat,
}

/// What lines of the log look like.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl ControlSettings {
    /// Checks that the socket can have this name. Where the program is started from must not
    /// matter.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        /// The longest path of a Unix socket on Linux, without the byte that ends it.
        const PATH_MAX: usize = 107;
        let Some(socket) = &self.socket else { return Ok(()) };
        if !socket.is_absolute() || socket.as_os_str().len() > PATH_MAX {
            let expected = "an absolute path of at most 107 bytes";
            return wrong_value("control.socket", &socket.display(), expected);
        }
        Ok(())
    }
}

impl fmt::Display for StopRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StopRule::Ask => "ask",
            StopRule::Force => "force",
        })
    }
}
