//! Tells the program which sources it is made of, so that it does not take another's results for
//! its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

/// All that results depend on, from the workspace's folder. Plans are not among it: results say
/// which runs they are of.
const SOURCES: [&str; 10] = [
    "Cargo.lock",
    "engine/src",
    "traces/src",
    "workloads/src",
    "workloads/profiles",
    "plots/src",
    "plots/reference",
    "sim/Cargo.toml",
    "sim/presets",
    "sim/src",
];

fn main() {
    let root = Path::new("..");
    let mut files = Vec::new();
    for source in SOURCES {
        let path = root.join(source);
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
            list(&path, &mut files);
        }
    }
    // The order in which a folder lists its files is the file system's own.
    files.sort();
    let mut hash = Sha256::new();
    for path in &files {
        let bytes = std::fs::read(path).expect("a file that was just listed can be read");
        hash.update(path.to_string_lossy().as_bytes());
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(&bytes);
    }
    let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
    let version = Command::new(rustc).arg("--version").output().map(|output| output.stdout);
    hash.update(version.unwrap_or_default());
    hash.update(std::env::var("TARGET").unwrap_or_default());
    let digest: String = hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    println!("cargo::rustc-env=QPMUX_SOURCES={digest}");
}

fn list(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.for_each(|entry| list(&entry.path(), files));
    } else {
        files.push(path.to_owned());
    }
}
