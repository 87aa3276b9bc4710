//! What clients report of superseded slots, compared with what is true.
//!
//! The metadata server takes a slot back when it has heard of the successors of all before it. A
//! client whose COMPARE_SWAP was steered believes to have superseded another slot than it did, and
//! reports that.

use std::collections::HashMap;

use qpmux_workloads::clover::{Collected, Entry};

use super::judge::Judge;
use crate::apps::Garbage;

/// All reports so far.
#[derive(Default)]
pub(super) struct Reports {
    /// By the slot reported: its successors, in the order of reports.
    pairs: HashMap<Entry, Vec<Entry>>,
}

impl Reports {
    /// A report comes to the metadata server.
    pub(super) fn note(&mut self, pairs: &[Collected]) {
        for pair in pairs {
            if let (Some(old), Some(new)) = (pair.old.named(), pair.new.named()) {
                self.pairs.entry(old).or_default().push(new);
            }
        }
    }

    /// Compares all reports with the lists. Uses of a slot that an epoch separates count as one.
    pub(super) fn compare(&self, judge: &Judge, recycled: u64) -> Garbage {
        let mut true_pairs: HashMap<Entry, Vec<Entry>> = HashMap::new();
        let entry = |stamp: &u64| judge.versions.get(stamp).map(|version| version.entry);
        for pair in judge.lists.values().flat_map(|list| list.windows(2)) {
            if let (Some(old), Some(new)) = (entry(&pair[0]), entry(&pair[1])) {
                true_pairs.entry(old).or_default().push(new);
            }
        }
        let mut garbage = Garbage { recycled, ..Garbage::default() };
        for (old, news) in &true_pairs {
            let reported = self.pairs.get(old).map_or(0, Vec::len);
            garbage.superseded += news.len() as u64;
            garbage.unreported += news.len().saturating_sub(reported) as u64;
        }
        for (old, news) in &self.pairs {
            let truth = true_pairs.get(old).map_or(&[][..], Vec::as_slice);
            garbage.reported += news.len() as u64;
            garbage.untrue += news.iter().filter(|new| !truth.contains(new)).count() as u64;
            garbage.repeated += news.len().saturating_sub(truth.len().max(1)) as u64;
        }
        garbage.leaked = garbage.superseded.saturating_sub(recycled);
        garbage
    }
}
