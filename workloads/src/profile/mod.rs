//! Application profiles as TOML: the built-in ones and those of a user's own.

mod check;
mod file;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;

use qpmux_engine::policy::Profile;

use file::ProfileFile;

/// Profiles that come with the program: name and text.
const BUILT_IN: &[(&str, &str)] = &[
    ("clover", include_str!("../../profiles/clover.toml")),
    ("clover-upstream", include_str!("../../profiles/clover-upstream.toml")),
    ("kv", include_str!("../../profiles/kv.toml")),
    ("lock-table", include_str!("../../profiles/lock-table.toml")),
    ("none", include_str!("../../profiles/none.toml")),
];

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Neither a built-in profile nor a file.
    #[error(
        "profile '{name}' is not built in ({}) and no such file can be read: {source}",
        built_in_profiles().collect::<Vec<_>>().join(", ")
    )]
    Unknown {
        /// As the user gave it.
        name: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Not TOML, or with fields that a profile does not have.
    #[error("profile {name}: {source}")]
    Syntax {
        /// Name or file.
        name: String,
        /// Where and why, from the TOML parser.
        source: Box<toml::de::Error>,
    },
    /// Something that contradicts itself, or something else in the file.
    #[error("profile {name}, line {line}: {problem}")]
    Contradiction {
        /// Name or file.
        name: String,
        /// Where, from 1.
        line: usize,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

/// Names of the built-in profiles.
pub fn built_in_profiles() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

/// The built-in profile of that name, else the one in the file of that name.
///
/// # Errors
/// See [`ProfileError`].
pub fn load_profile(name: &str) -> Result<Profile, ProfileError> {
    if let Some((_, text)) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
        return parse_profile(name, text);
    }
    let text = fs::read_to_string(Path::new(name))
        .map_err(|source| ProfileError::Unknown { name: name.into(), source })?;
    parse_profile(name, &text)
}

/// A profile from its text; `name` is what errors call it.
///
/// # Errors
/// See [`ProfileError`].
pub fn parse_profile(name: &str, text: &str) -> Result<Profile, ProfileError> {
    let file: ProfileFile = toml::from_str(text)
        .map_err(|source| ProfileError::Syntax { name: name.into(), source: Box::new(source) })?;
    check::profile_of(&file).map_err(|problem| ProfileError::Contradiction {
        name: name.into(),
        line: 1 + text.bytes().take(problem.at).filter(|byte| *byte == b'\n').count(),
        problem: problem.text,
    })
}
