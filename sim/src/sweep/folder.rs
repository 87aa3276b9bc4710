//! The folder of a sweep's runs: a file for each that has ended, there whole or not at all.
//!
//! Whoever wants a run looks for its file first. So a sweep that was killed goes on where it was,
//! several can work in one folder, and folders can be put together by copying.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::identity::Identity;
use super::record::Ended;
use super::runs::Run;
use crate::files;

/// A folder of runs.
#[derive(Clone, Debug)]
pub struct RunFolder {
    dir: PathBuf,
    program: Identity,
}

impl RunFolder {
    /// The folder of runs in a folder of results; makes it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(results: &Path) -> anyhow::Result<Self> {
        let folder = Self::of(results);
        files::make_results_dir(&folder.dir)?;
        Ok(folder)
    }

    /// The folder of runs in a folder of results.
    #[must_use]
    pub fn of(results: &Path) -> Self {
        Self { dir: results.join("runs"), program: Identity::own() }
    }

    fn path(&self, run: &Run) -> PathBuf {
        self.dir.join(format!("{}.json", run.id))
    }

    /// A run's file, if it is there.
    ///
    /// # Errors
    /// When it cannot be read, with what to do.
    pub fn text(&self, run: &Run) -> anyhow::Result<Option<String>> {
        let path = self.path(run);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// How a run ended, if it has.
    ///
    /// # Errors
    /// When its file cannot be read, is damaged, or is another program's, with what to do.
    pub fn get(&self, run: &Run) -> anyhow::Result<Option<Ended>> {
        let ended = self.text(run).and_then(|text| {
            text.map(|text| Ended::from_json(&text, run, &self.program)).transpose()
        });
        ended.with_context(|| {
            format!(
                "{}: remove it, and the run is made again, or name another folder",
                self.path(run).display()
            )
        })
    }

    /// Keeps how a run ended.
    ///
    /// # Errors
    /// When it cannot be written; there is then nothing.
    pub fn put(&self, run: &Run, ended: &Ended) -> anyhow::Result<()> {
        self.put_text(run, &ended.to_json(run, &self.program)?)
    }

    /// Keeps a run's file.
    ///
    /// # Errors
    /// When it cannot be written; there is then nothing.
    pub fn put_text(&self, run: &Run, text: &str) -> anyhow::Result<()> {
        files::write_whole(&self.path(run), text.as_bytes())
    }

    /// Removes what a process left half written that was killed; for who works here alone.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn tidy(&self, results: &Path) -> anyhow::Result<()> {
        files::remove_leftovers(results)?;
        files::remove_leftovers(&self.dir)
    }

    /// Forgets a run.
    ///
    /// # Errors
    /// When its file is there and cannot be removed.
    pub fn remove(&self, run: &Run) -> anyhow::Result<()> {
        let path = self.path(run);
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
    }
}
