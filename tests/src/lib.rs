//! Whole-system tests, and what they share: where things are, and the independent checkers.

pub mod binary;
pub mod browser;
pub mod capture;
pub mod checkers;
pub mod fuzz;

use std::path::{Path, PathBuf};

/// The top folder of the repository.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("the package is in a folder of the repository").to_owned()
}

/// A capture that comes with the repository.
pub fn sample(name: &str) -> PathBuf {
    root().join("traces/samples").join(name)
}

/// Whether the long tests are wanted too (`tests/run.sh full`).
pub fn full_tier() -> bool {
    std::env::var("QPMUX_TEST_TIER").is_ok_and(|tier| tier == "full")
}

/// The folder with more captures that `QPMUX_EXTRA_CAPTURES` names. Without it, says on standard
/// error that `test` was skipped.
///
/// # Panics
///
/// If the variable names no folder: a test that was asked for is not to be skipped silently.
pub fn extra_captures(test: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("QPMUX_EXTRA_CAPTURES").filter(|name| !name.is_empty())
    else {
        eprintln!("SKIPPED: {test}: QPMUX_EXTRA_CAPTURES is not set");
        return None;
    };
    let folder = PathBuf::from(folder);
    assert!(folder.is_dir(), "QPMUX_EXTRA_CAPTURES: {} is no folder", folder.display());
    Some(folder)
}
