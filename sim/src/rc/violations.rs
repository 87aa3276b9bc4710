//! Rules that were broken, counted by their id.

use std::collections::BTreeMap;
use std::fmt;

/// How often one rule was broken, and how the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Number of times.
    pub count: u64,
    /// Virtual time of the first, ns.
    pub first_time: u64,
    /// What happened at the first.
    pub first: String,
}

/// Broken rules by id, such as `I-S2`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations {
    by_id: BTreeMap<&'static str, Violation>,
}

impl Violations {
    /// None so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one violation of rule `id` at `time` ns; `text` is only asked for the first.
    pub fn record(&mut self, id: &'static str, time: u64, text: impl FnOnce() -> String) {
        let entry = self.by_id.entry(id).or_insert_with(|| Violation {
            count: 0,
            first_time: time,
            first: text(),
        });
        entry.count += 1;
    }

    /// Takes back all violations of rule `id`: they were to be expected.
    pub fn forget(&mut self, id: &str) {
        self.by_id.remove(id);
    }

    /// How often rule `id` was broken.
    pub fn count(&self, id: &str) -> u64 {
        self.by_id.get(id).map_or(0, |violation| violation.count)
    }

    /// Violations of all rules.
    pub fn total(&self) -> u64 {
        self.by_id.values().map(|violation| violation.count).sum()
    }

    /// Whether no rule was broken.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// All broken rules, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Violation)> {
        self.by_id.iter().map(|(id, violation)| (*id, violation))
    }

    /// Adds the counts of `other`; the earlier first example of each rule stays.
    pub fn merge(&mut self, other: &Violations) {
        for (id, theirs) in other.iter() {
            match self.by_id.get_mut(id) {
                None => {
                    self.by_id.insert(id, theirs.clone());
                }
                Some(mine) => {
                    let count = mine.count + theirs.count;
                    if theirs.first_time < mine.first_time {
                        *mine = theirs.clone();
                    }
                    mine.count = count;
                }
            }
        }
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, violation) in self.iter() {
            let Violation { count, first_time, first } = violation;
            writeln!(f, "{id}: {count}, first at {first_time} ns: {first}")?;
        }
        Ok(())
    }
}
