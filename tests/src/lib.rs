//! Whole-system tests, and what they share: where things are, and the independent checkers.

pub mod binary;
pub mod browser;
pub mod capture;
pub mod checkers;
pub mod fuzz;

use std::io::Write;
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

/// A program of the system's, if it is installed; daemons are where users do not look for programs.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// Says on standard error that `test` is skipped, also where what tests say is not shown.
///
/// # Panics
///
/// In continuous integration (`CI` is set, as by `tests/run.sh`): there nothing may be missing.
pub fn skip(test: &str, why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{test}: {why}");
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {why}");
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
