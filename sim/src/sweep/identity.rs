//! Which program made a result: results of two are not put together.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A program, known by its sources.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Version.
    pub version: String,
    /// Digest of all sources, presets, dependencies and the compiler's version (`build.rs`).
    pub sources: String,
}

impl Identity {
    /// This program's.
    #[must_use]
    pub fn own() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sources: env!("QPMUX_SOURCES").to_owned(),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "qpmux {}, sources {}", self.version, self.sources)
    }
}
