//! All figures on one page of Markdown, beside their files.

use std::fmt::Write;

use crate::figure::{Check, Figure, Scores, errors, figure_error};

const HEAD: &str = "# The published experiments, predicted

Each figure has its numbers beside it as a table (`.csv`), and where something was published, its
errors (`.md`). Filled markers are the model's, hollow ones published. `qpmux paper --out DIR` makes
all of this again, the same bytes; `qpmux paper --only NAME --out DIR` one figure. What may be
fitted, and to what, stands in `sim/presets/paper`; what is not scored, and why, in
`plots/reference/README.md`.
";

/// The page.
#[must_use]
pub fn gallery(figures: &[Figure], scores: &Scores, checks: &[Check]) -> String {
    let mut text = HEAD.to_owned();
    // Writing to a string cannot fail.
    if !checks.is_empty() {
        let met = checks.iter().filter(|check| check.is_met()).count();
        let _ = write!(
            text,
            "\n## Limits that were set before: {met} of {} are met\n\n\
             | | value | limit | of what |\n|---|---|---|---|\n",
            checks.len()
        );
        for check in checks {
            let mark = if check.is_met() { "met" } else { "**missed**" };
            let _ = writeln!(
                text,
                "| {mark} | {:.3} | {} to {} | {} |",
                check.value, check.least, check.most, check.what
            );
        }
    }
    for figure in figures {
        let name = &figure.name;
        let _ = write!(
            text,
            "\n## {name}: {}\n\n![{}]({name}.svg)\n\n{}\n\n",
            figure.title, figure.title, figure.about
        );
        let error = match figure_error(figure, scores) {
            Some(error) => format!("Median error of scored points: {:.1} %. ", 100.0 * error),
            None => String::new(),
        };
        let table = match errors(figure, scores) {
            Some(_) => format!(", [errors]({name}.md)"),
            None => String::new(),
        };
        let _ = writeln!(
            text,
            "{error}Where the model is wrong: {}\n\n[Numbers]({name}.csv){table}; \
             `qpmux paper --only {name}`, plan `sim/plans/{name}.toml`.",
            figure.wrong
        );
    }
    text
}
