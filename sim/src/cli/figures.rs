//! Writes figures into a folder.

use std::path::Path;

use anyhow::Context;

use crate::figure::{Figure, Scores, draw, errors, rows};
use crate::files::write_whole;

/// Writes a figure's numbers, drawings and errors; says the names of the files.
pub(super) fn write(dir: &Path, figure: &Figure, scores: &Scores) -> anyhow::Result<Vec<String>> {
    let (svg, png) = draw(figure, scores).with_context(|| format!("figure {}", figure.name))?;
    let mut contents =
        vec![("csv", rows(figure, scores).into_bytes()), ("svg", svg.into_bytes()), ("png", png)];
    contents.extend(errors(figure, scores).map(|text| ("md", text.into_bytes())));
    let mut written = Vec::new();
    for (extension, bytes) in contents {
        let name = format!("{}.{extension}", figure.name);
        write_whole(&dir.join(&name), &bytes)?;
        written.push(name);
    }
    Ok(written)
}
