//! Adapters that are known by name: [`crate::nic::Params`] with the source of each value.

use std::collections::BTreeMap;

use super::named::{Loaded, Named, PresetError, text_with};
use super::params::{Kind, Params, Sourced};

/// An adapter that is known by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Preset {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is.
    pub title: String,
    /// Its parameters, and where they are from, those of the preset that it is based on included.
    pub sourced: BTreeMap<String, Sourced>,
    /// The names of those that its own file gives.
    pub own: Vec<String>,
    /// Their values.
    pub params: Params,
    /// Its own file.
    text: &'static str,
}

const FILES: [(&str, &str); 5] = [
    ("connectx-3", include_str!("../../presets/connectx-3.toml")),
    ("connect-ib", include_str!("../../presets/connect-ib.toml")),
    ("connectx-5", include_str!("../../presets/connectx-5.toml")),
    ("connectx-6", include_str!("../../presets/connectx-6.toml")),
    ("nfp6000", include_str!("../../presets/nfp6000.toml")),
];

/// Names of all presets.
pub const NAMES: [&str; FILES.len()] = {
    let mut names = [""; FILES.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = FILES[at].0;
        at += 1;
    }
    names
};

const ADAPTERS: Named = Named::new("adapter", &FILES);

impl Preset {
    /// The preset of that name.
    ///
    /// # Errors
    /// When there is none, or its file, or one that it is based on, is wrong.
    pub fn load(name: &str) -> Result<Self, PresetError> {
        let loaded = ADAPTERS.load(name)?;
        let params = loaded.params(Params::from_sourced)?;
        let Loaded { name, title, sourced, own, text, .. } = loaded;
        Ok(Self { name, title, sourced, own, params, text })
    }

    /// The parameters that measurements of this adapter fit: its own ones, not those of the preset
    /// that it is based on.
    pub fn fitted(&self) -> impl Iterator<Item = &'static str> + '_ {
        let fits = |name: &str| {
            self.own.iter().any(|own| own == name)
                && self.sourced.get(name).is_some_and(|sourced| sourced.kind == Kind::Fitted)
        };
        Params::SPECS.iter().map(|spec| spec.name).filter(move |name| fits(name))
    }

    /// The preset's own file with these values in it, and all else as it was.
    #[must_use]
    pub fn file_with(&self, params: &Params) -> String {
        let values: Vec<_> =
            self.fitted().map(|name| (name, params.get(name).unwrap_or(f64::NAN))).collect();
        text_with(self.text, &values)
    }
}

/// To four digits, or to a whole number if it has more.
pub(crate) fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let digits = (3 - value.abs().log10().floor() as i32).clamp(0, 6);
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::{NAMES, Preset, rounded};

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

    #[test]
    fn what_a_preset_does_not_give_is_that_of_its_base() {
        let base = Preset::load("connectx-5").unwrap();
        let preset = Preset::load("connectx-3").unwrap();
        assert_eq!(preset.params.wqe_bytes, base.params.wqe_bytes);
        assert_ne!(preset.params.message_ns, base.params.message_ns);
        assert!(preset.fitted().any(|name| name == "message_ns"));
        assert!(!preset.fitted().any(|name| name == "cas_host_ns"), "fitted to the other one");
    }

    #[test]
    fn a_preset_is_written_with_other_values_and_all_else_as_it_was() {
        let preset = Preset::load("nfp6000").unwrap();
        assert_eq!(preset.file_with(&preset.params), preset.text);
        let mut params = preset.params.clone();
        params.pcie_read_ns = 1234.567;
        params.pcie_gbps = 99.0;
        let text = preset.file_with(&params);
        assert!(text.contains("pcie_read_ns = { value = 1235, kind = \"fitted\", source"));
        assert!(text.contains("pcie_gbps = { value = 50, "), "cited, so calibration leaves it");
        toml::from_str::<toml::Table>(&text).unwrap();
    }

    #[test]
    fn four_digits_are_left() {
        for (value, left) in [(0.293_512, 0.2935), (54.764, 54.76), (263_680.4, 263_680.0)] {
            assert_eq!(rounded(value), left);
        }
    }
}
