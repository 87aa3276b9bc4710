//! Writes figures into a folder, and says what there is of each.

use std::path::Path;

use anyhow::Context;
use schemars::JsonSchema;
use serde::Serialize;

use crate::figure::{Figure, Scores, draw, errors, figure_error, rows};
use crate::files::write_whole;

/// What is known of a figure.
#[derive(JsonSchema, Serialize)]
pub(super) struct Entry {
    /// Its name.
    pub(super) name: String,
    /// What it shows.
    pub(super) title: String,
    /// Median absolute relative error of its scored points.
    pub(super) error: Option<f64>,
    /// Its files, in the folder of all; none if nothing is written.
    files: Vec<String>,
}

/// Writes all figures, if there is a folder to do so, and says what there is of each.
pub(super) fn write_all(
    dir: Option<&Path>,
    figures: &[Figure],
    scores: &Scores,
) -> anyhow::Result<Vec<Entry>> {
    let entry = |figure: &Figure| {
        Ok(Entry {
            name: figure.name.clone(),
            title: figure.title.clone(),
            error: figure_error(figure, scores),
            files: dir.map_or(Ok(Vec::new()), |dir| write(dir, figure, scores))?,
        })
    };
    figures.iter().map(entry).collect()
}

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
