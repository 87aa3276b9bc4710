//! The application's keys: where they are, and how many different ones there are.

use std::collections::HashSet;

use qpmux_engine::policy::Profile;
use qpmux_engine::wire::Layout;
use qpmux_workloads::{ProfileError, load_profile};

/// Where requests carry a key, and what to call that in reports.
#[derive(Clone, Debug)]
pub struct NamedProfile {
    /// The profile's name.
    pub name: String,
    /// Where the key is.
    pub profile: Profile,
}

impl NamedProfile {
    /// The built-in profile of that name, else the one in the file of that name.
    ///
    /// # Errors
    /// See [`ProfileError`].
    pub fn load(name: &str) -> Result<NamedProfile, ProfileError> {
        Ok(NamedProfile { name: name.to_owned(), profile: load_profile(name)? })
    }
}

/// The distinct keys seen, exact up to a limit.
pub(super) struct Keys {
    profile: Option<NamedProfile>,
    limit: usize,
    seen: HashSet<u64>,
    pub(super) requests: u64,
    pub(super) overflowed: bool,
}

impl Keys {
    pub(super) fn new(profile: Option<NamedProfile>, limit: usize) -> Self {
        Self { profile, limit, seen: HashSet::new(), requests: 0, overflowed: false }
    }

    pub(super) fn take(&mut self, layout: &Layout, frame: &[u8]) {
        let Some(key) = self
            .profile
            .as_ref()
            .and_then(|named| named.profile.written_key(layout.opcode, layout.payload(frame)))
        else {
            return;
        };
        self.requests += 1;
        if self.seen.len() < self.limit {
            self.seen.insert(key);
        } else if !self.seen.contains(&key) {
            self.overflowed = true;
        }
    }

    pub(super) fn report(&self) -> Option<super::KeysReport> {
        self.profile.as_ref().map(|named| super::KeysReport {
            profile: named.name.clone(),
            distinct: self.seen.len() as u64,
            overflowed: self.overflowed,
            requests: self.requests,
        })
    }
}
