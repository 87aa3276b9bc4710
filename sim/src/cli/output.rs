//! What a command prints.

use std::io::{self, Write};

use anyhow::Context;
use serde::Serialize;

/// Prints a report on standard output: one JSON document, or text for people.
///
/// A reader that has closed the pipe has seen enough: that is no error.
pub(super) fn print(json: bool, report: &impl Serialize, text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let written = if json {
        serde_json::to_string_pretty(report)
            .map_err(io::Error::other)
            .and_then(|document| writeln!(out, "{document}"))
    } else {
        out.write_all(text.as_bytes())
    };
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}
