//! Progress on standard error, for work of more than two seconds, on a terminal only.

use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Work shorter than this shows nothing.
const QUIET: Duration = Duration::from_secs(2);

/// One bar after another, as the work goes on.
pub(super) struct Progress {
    started: Instant,
    bar: Option<(String, ProgressBar)>,
}

impl Progress {
    pub(super) fn new() -> Progress {
        Progress { started: Instant::now(), bar: None }
    }

    /// `done` of `total` bytes.
    pub(super) fn bytes(&mut self, what: &str, done: u64, total: Option<u64>) {
        let template = "{msg} {bar:30} {binary_bytes}/{binary_total_bytes} \
                        {binary_bytes_per_sec}, {eta} left";
        self.show(what, template, done, total);
    }

    /// `done` of `total` things.
    pub(super) fn count(&mut self, what: &str, done: u64, total: u64) {
        let template = "{msg} {bar:30} {human_pos}/{human_len} {per_sec}, {eta} left";
        self.show(what, template, done, Some(total));
    }

    /// A share of all work, with how many things of how many are done.
    pub(super) fn share(&mut self, what: &str, share: f64, (done, total): (usize, usize)) {
        let template = "{msg} {bar:30} {percent:>3} %, {eta} left";
        self.show(what, template, (share * 1e4) as u64, Some(10_000));
        if let Some((_, bar)) = &self.bar {
            bar.set_message(format!("{what} {done}/{total}"));
        }
    }

    fn show(&mut self, what: &str, template: &str, done: u64, total: Option<u64>) {
        if self.started.elapsed() < QUIET {
            return;
        }
        if self.bar.as_ref().is_none_or(|(shown, _)| shown != what) {
            self.finish();
            // A length of zero would show as complete.
            let bar = ProgressBar::new(total.unwrap_or(done).max(1));
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_message(what.to_owned());
            self.bar = Some((what.to_owned(), bar));
        }
        if let Some((_, bar)) = &self.bar {
            // More may turn out to be left than was known.
            bar.set_length(total.unwrap_or(done).max(1));
            bar.set_position(done);
        }
    }

    pub(super) fn finish(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// Size of a file in bytes, if it has one.
pub(super) fn file_len(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len())
}
