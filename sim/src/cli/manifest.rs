//! `manifest.json`: what made the results beside it, so that they can be made again.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context;
use qpmux_traces::refuse_same_file;
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::output::json_text;
use crate::files::write_whole;

/// What made the results beside it. It is written last: where it stands, they are complete.
#[derive(JsonSchema, Serialize)]
#[schemars(bound = "")]
pub(super) struct Manifest<'a, C: Serialize> {
    /// The command of `qpmux`.
    command: &'a str,
    /// Version of `qpmux`.
    version: &'a str,
    /// The options that held, by name; which there are is up to the command.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    configuration: &'a C,
    /// The files that were read.
    inputs: Vec<Input>,
}

/// A file that was read.
#[derive(JsonSchema, Serialize)]
struct Input {
    /// Its name, as it was given.
    path: String,
    /// Its length.
    bytes: u64,
    /// Its SHA-256, in hexadecimal digits.
    sha256: String,
}

/// Writes the report of a command, then the manifest.
pub(super) fn write(
    dir: &Path,
    command: &str,
    configuration: &impl Serialize,
    inputs_paths: &[&Path],
    report: &impl Serialize,
) -> anyhow::Result<()> {
    let inputs = inputs_paths.iter().map(|path| input(path)).collect::<anyhow::Result<_>>()?;
    let version = env!("CARGO_PKG_VERSION");
    let manifest = Manifest { command, version, configuration, inputs };
    for name in ["report.json", "manifest.json"] {
        refuse_same_file(dir.join(name), inputs_paths)?;
    }
    write_json(&dir.join("report.json"), report)?;
    write_json(&dir.join("manifest.json"), &manifest)
}

/// Refuses standard input where the capture has to be read more than once.
pub(super) fn refuse_standard_input(capture: &Path) -> anyhow::Result<()> {
    if capture.as_os_str() == "-" {
        anyhow::bail!(
            "standard input can be read only once, and this has to read the capture again; \
             save the capture to a file"
        );
    }
    Ok(())
}

fn write_json(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    write_whole(path, json_text(value)?.as_bytes())
}

fn input(path: &Path) -> anyhow::Result<Input> {
    let read = || -> std::io::Result<Input> {
        let mut file = File::open(path)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        let mut bytes = 0;
        loop {
            let n = file.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            hash.update(&buffer[..n]);
            bytes += n as u64;
        }
        let sha256 = crate::text::hex(&hash.finalize());
        Ok(Input { path: path.display().to_string(), bytes, sha256 })
    };
    read().with_context(|| format!("cannot read {} again", path.display()))
}
