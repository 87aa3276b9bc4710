//! What `ctl` prints.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

use super::CtlError;
use crate::control::measure::Measurement;
use crate::control::protocol::{End, PolicyAnswer, Row, Words};
use crate::standby::Seen;

pub(super) fn json(out: &mut dyn Write, of: &impl Serialize) -> Result<(), CtlError> {
    let text = serde_json::to_string_pretty(of).map_err(io::Error::other)?;
    Ok(writeln!(out, "{text}")?)
}

/// The word that stands for a choice in configurations.
fn word(of: &impl Serialize) -> String {
    match serde_json::to_value(of) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

pub(super) fn policy(out: &mut dyn Write, answer: &PolicyAnswer) -> Result<(), CtlError> {
    let line = |words: &Words| {
        let (map, steer, atomics) = (word(&words.map), word(&words.steer), word(&words.atomics));
        format!("map={map} steer={steer} atomics={atomics}")
    };
    Ok(writeln!(out, "now   {}\nmost  {}", line(&answer.now), line(&answer.most))?)
}

pub(super) fn standby(out: &mut dyn Write, seen: &Seen) -> Result<(), CtlError> {
    let Seen { stage, term, records_taken, lag_bytes } = seen;
    let rows = [
        ("stage", stage.name().to_owned()),
        ("term", term.to_string()),
        ("records taken", records_taken.to_string()),
        ("lag, bytes", lag_bytes.to_string()),
    ];
    let cells: Vec<_> = rows.map(|(name, value)| vec![name.to_owned(), value]).into();
    table(out, &[], &cells)
}

/// Columns, each as wide as its widest cell; those of `right` (by number) end at their right side.
fn table(out: &mut dyn Write, right: &[usize], rows: &[Vec<String>]) -> Result<(), CtlError> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell: &String| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if right.contains(&column) {
                format!("{cell:>width$}")
            } else {
                format!("{cell:width$}")
            }
        });
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

fn cells<const N: usize>(row: [&dyn Display; N]) -> Vec<String> {
    row.iter().map(ToString::to_string).collect()
}

pub(super) fn connections(out: &mut dyn Write, rows: &[Row]) -> Result<(), CtlError> {
    let end = |end: &End| format!("{} {:#08x}", end.ip, end.qpn);
    let mut all = vec![cells([&"client", &"server", &"state", &"open"])];
    for row in rows {
        let (client, server) = (end(&row.client), end(&row.server));
        all.push(cells([&client, &server, &row.state, &row.open]));
    }
    table(out, &[3], &all)
}

/// What was not counted at all is left out.
pub(super) fn measurement(out: &mut dyn Write, measured: &Measurement) -> Result<(), CtlError> {
    writeln!(out, "{:.3} s", measured.duration_ns as f64 / 1e9)?;
    let mut rows = vec![cells([&"counter", &"count", &"per second"])];
    for (name, growth) in measured.counters.iter().filter(|(_, growth)| growth.count > 0) {
        let per_second = format!("{:.1}", growth.per_second);
        rows.push(cells([name, &growth.count, &per_second]));
    }
    rows.push(cells([&"", &"", &""]));
    rows.push(cells([&"at the end", &"", &""]));
    rows.extend(measured.levels.iter().map(|(name, level)| cells([name, level, &""])));
    table(out, &[1, 2], &rows)
}
