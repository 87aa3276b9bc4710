//! The `qpmux` program under test.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A run of `qpmux` without any input on standard input.
pub fn qpmux() -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let mut command = Command::new(PROGRAM.get_or_init(up_to_date_program));
    command.stdin(Stdio::null()).env_remove("QPMUX_LOG");
    command
}

/// The program beside this test's own executable. `cargo test --workspace` has built it by then;
/// for this package alone Cargo does not, so it is built here where it is missing or old.
fn up_to_date_program() -> PathBuf {
    let test = env::current_exe().expect("a test knows its executable");
    // target/[TRIPLE/]PROFILE/deps/TEST
    let folder = test.parent().and_then(Path::parent).expect("executables are in PROFILE/deps");
    let program = folder.join(format!("qpmux{}", env::consts::EXE_SUFFIX));
    if !is_up_to_date(&program) {
        build(folder);
    }
    assert!(program.is_file(), "cargo did not make {}", program.display());
    program
}

/// What the program is made of, but for what is there for unit tests only.
const SOURCES: [&str; 13] = [
    "Cargo.lock",
    "Cargo.toml",
    "engine/src",
    "plots/reference",
    "plots/src",
    "sim/Cargo.toml",
    "sim/build.rs",
    "sim/plans",
    "sim/presets",
    "sim/src",
    "traces/src",
    "workloads/profiles",
    "workloads/src",
];

/// Whether the program is newer than all that it is made of. Cargo writes a list of that, but not
/// when it builds a program for tests.
fn is_up_to_date(program: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|found| found.modified());
    let Ok(built) = changed(program) else { return false };
    let mut left: Vec<_> = SOURCES.iter().map(|source| crate::root().join(source)).collect();
    while let Some(path) = left.pop() {
        if path.ends_with("tests") || path.ends_with("tests.rs") {
            continue;
        }
        match fs::read_dir(&path) {
            Ok(entries) => left.extend(entries.flatten().map(|entry| entry.path())),
            Err(_) if changed(&path).is_ok_and(|time| time <= built) => {}
            Err(_) => return false,
        }
    }
    true
}

/// Builds the program into `folder`, which is `target/PROFILE` or `target/TRIPLE/PROFILE`.
fn build(folder: &Path) {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let profile = match name(folder).expect("the folder of a profile has a name").as_str() {
        "debug" => "dev".to_owned(),
        other => other.to_owned(),
    };
    let mut above = folder.parent().expect("the folder of a profile is in another");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(crate::root()).args(["build", "--locked", "--package", "qpmux"]);
    cargo.args(["--profile", &profile]);
    // The target folder has such a file, whoever made the folder; that of a target triple has not.
    if !above.join(".rustc_info.json").exists() {
        cargo.args(["--target", &name(above).expect("the folder of a target has a name")]);
        above = above.parent().expect("the folder of a target is in another");
    }
    let status = cargo.arg("--target-dir").arg(above).stdin(Stdio::null()).status();
    let status = status.unwrap_or_else(|error| panic!("cargo cannot be run: {error}"));
    assert!(status.success(), "qpmux cannot be built: {status}");
}
