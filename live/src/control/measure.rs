//! What was counted between two reports, and how fast.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What of a report does not only grow: there the last value is told. The rest are counters.
const LEVELS: [&str; 4] = ["connections.", "open.", "server_qps_used", "server_qps_hosting"];
/// The time of a report.
const TIME: &str = "duration_ns";

/// A counter's growth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Growth {
    /// By so much.
    pub count: u64,
    /// That is so much a second.
    pub per_second: f64,
}

/// The difference of two reports. Names are those of the report, joined by dots.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Time between them, in nanoseconds.
    pub duration_ns: u64,
    /// Every counter.
    pub counters: BTreeMap<String, Growth>,
    /// What is not a counter, at the end.
    pub levels: BTreeMap<String, u64>,
}

/// All numbers of a document, under the names that lead to them.
fn numbers(document: &Value, name: &str, found: &mut BTreeMap<String, u64>) {
    match document {
        Value::Object(fields) => {
            for (field, each) in fields {
                let dot = if name.is_empty() { "" } else { "." };
                numbers(each, &format!("{name}{dot}{field}"), found);
            }
        }
        Value::Number(number) => {
            found.insert(name.to_owned(), number.as_u64().unwrap_or(0));
        }
        _ => {}
    }
}

impl Measurement {
    /// What was counted between two reports of one run.
    #[must_use]
    pub fn between(before: &Value, after: &Value) -> Measurement {
        let (mut first, mut last) = (BTreeMap::new(), BTreeMap::new());
        numbers(before, "", &mut first);
        numbers(after, "", &mut last);
        // Reasons that nothing was counted for are in no report.
        let mut names: Vec<&String> = first.keys().chain(last.keys()).collect();
        names.sort_unstable();
        names.dedup();
        let at = |report: &BTreeMap<String, u64>, name: &str| report.get(name).copied();
        let grown = |name: &str| {
            let before = at(&first, name).unwrap_or(0);
            at(&last, name).unwrap_or(0).saturating_sub(before)
        };
        let mut measured = Measurement { duration_ns: grown(TIME), ..Measurement::default() };
        let seconds = measured.duration_ns as f64 / 1e9;
        for name in names {
            if name == TIME {
                continue;
            }
            if LEVELS.iter().any(|level| name.starts_with(level)) {
                measured.levels.insert(name.clone(), at(&last, name).unwrap_or(0));
                continue;
            }
            let count = grown(name);
            let per_second = if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
            measured.counters.insert(name.clone(), Growth { count, per_second });
        }
        measured
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn counters_differ_and_levels_are_the_last() {
        let before = json!({
            "requests": 10, "drops": {}, "open": {"buffers": 7}, "server_qps_used": 3,
            "ports": {"client": {"received": 100}}, "duration_ns": 1_000_000_000,
        });
        let after = json!({
            "requests": 30, "drops": {"ended": 4}, "open": {"buffers": 2}, "server_qps_used": 3,
            "ports": {"client": {"received": 100}}, "duration_ns": 3_000_000_000_u64,
        });
        let measured = Measurement::between(&before, &after);
        assert_eq!(measured.duration_ns, 2_000_000_000);
        let of = |name: &str| (measured.counters[name].count, measured.counters[name].per_second);
        assert_eq!(of("requests"), (20, 10.0));
        assert_eq!(of("drops.ended"), (4, 2.0));
        assert_eq!(of("ports.client.received"), (0, 0.0));
        assert_eq!(measured.levels["open.buffers"], 2);
        assert_eq!((measured.levels.len(), measured.counters.len()), (2, 3));
        assert_eq!(Measurement::between(&after, &after).counters["requests"].per_second, 0.0);
    }
}
