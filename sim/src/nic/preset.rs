//! Adapters that are known by name: [`crate::nic::Params`] with the source of each value.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::params::{ParamError, Params, Sourced};

/// An adapter that is known by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Preset {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is.
    pub title: String,
    /// Its parameters, and where they are from.
    pub sourced: BTreeMap<String, Sourced>,
    /// Their values.
    pub params: Params,
}

/// Why there is no such preset.
#[derive(Debug, thiserror::Error)]
pub enum PresetError {
    /// No preset has this name.
    #[error("no adapter `{0}`; there are {list}", list = NAMES.join(", "))]
    Unknown(String),
    /// It cannot be read.
    #[error("preset {0}: {1}")]
    Syntax(&'static str, #[source] toml::de::Error),
    /// Its parameters are none.
    #[error("preset {0}: {1}")]
    Params(&'static str, #[source] ParamError),
}

const FILES: [(&str, &str); 4] = [
    ("connectx-3", include_str!("../../presets/connectx-3.toml")),
    ("connect-ib", include_str!("../../presets/connect-ib.toml")),
    ("connectx-5", include_str!("../../presets/connectx-5.toml")),
    ("connectx-6", include_str!("../../presets/connectx-6.toml")),
];

/// Names of all presets.
pub const NAMES: [&str; 4] = ["connectx-3", "connect-ib", "connectx-5", "connectx-6"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    title: String,
    parameters: BTreeMap<String, Sourced>,
}

impl Preset {
    /// The preset of that name.
    ///
    /// # Errors
    /// When there is none, or its file is wrong.
    pub fn load(name: &str) -> Result<Self, PresetError> {
        let found = FILES.iter().find(|(known, _)| *known == name);
        let &(name, text) = found.ok_or_else(|| PresetError::Unknown(name.to_owned()))?;
        let File { title, parameters } =
            toml::from_str(text).map_err(|error| PresetError::Syntax(name, error))?;
        let params =
            Params::from_sourced(&parameters).map_err(|error| PresetError::Params(name, error))?;
        Ok(Self { name, title, sourced: parameters, params })
    }
}

#[cfg(test)]
mod tests {
    use super::{NAMES, Preset};

    #[test]
    fn all_presets_can_be_read() {
        for name in NAMES {
            let preset = Preset::load(name).unwrap();
            assert!(preset.sourced.values().all(|sourced| !sourced.source.is_empty()), "{name}");
        }
    }

    #[test]
    fn an_unknown_name_is_told_what_there_is() {
        let error = Preset::load("connectx-4").unwrap_err();
        assert!(error.to_string().contains("connectx-5"));
    }
}
