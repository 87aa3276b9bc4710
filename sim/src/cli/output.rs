//! What a command prints.

use std::io::{self, Write};

use anyhow::Context;
use schemars::JsonSchema;
use serde::Serialize;

/// Prints a report on standard output: one JSON document, or text for people.
///
/// What can be printed as JSON has a schema, which belongs into the list of `qpmux schema`.
pub(super) fn print<R>(json: bool, report: &R, text: &str) -> anyhow::Result<()>
where
    R: Serialize + JsonSchema,
{
    if json { print_bytes(json_text(report)?.as_bytes()) } else { print_bytes(text.as_bytes()) }
}

/// A JSON document for people's eyes and programs, with the end of its last line.
pub(super) fn json_text(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// Prints this, and nothing else, on standard output.
///
/// A reader that has closed the pipe has seen enough: that is no error.
pub(super) fn print_bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}
