//! The application's keys: where they are, and how many different ones there are.

use std::collections::HashSet;

use qpmux_engine::wire::{Layout, Opcode};

/// Where requests carry a key: 8 bytes, least significant first, in one-packet WRITEs of one
/// size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyProfile {
    /// The profile's name in reports.
    pub name: &'static str,
    /// Bytes of payload of a WRITE that carries a key.
    pub payload_len: u16,
    /// The key's place in the payload, in bytes.
    pub offset: u16,
}

impl KeyProfile {
    /// A plain store: 1,024-byte values that begin with their key.
    pub const KV: Self = Self { name: "kv", payload_len: 1024, offset: 0 };
    /// Clover with the key in the value, behind the 8-byte version header.
    pub const CLOVER: Self = Self { name: "clover", payload_len: 1024, offset: 8 };

    /// The built-in profile of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::KV, Self::CLOVER].into_iter().find(|profile| profile.name == name)
    }

    /// The key that this packet carries, if it carries one.
    fn key_of(&self, layout: &Layout, frame: &[u8]) -> Option<u64> {
        let is_value = layout.opcode == Opcode::WriteOnly && layout.payload_len == self.payload_len;
        let bytes = layout.payload(frame).get(usize::from(self.offset)..)?.first_chunk()?;
        is_value.then(|| u64::from_le_bytes(*bytes))
    }
}

/// The distinct keys seen, exact up to a limit.
pub(super) struct Keys {
    profile: Option<KeyProfile>,
    limit: usize,
    seen: HashSet<u64>,
    pub(super) requests: u64,
    pub(super) overflowed: bool,
}

impl Keys {
    pub(super) fn new(profile: Option<KeyProfile>, limit: usize) -> Self {
        Self { profile, limit, seen: HashSet::new(), requests: 0, overflowed: false }
    }

    pub(super) fn take(&mut self, layout: &Layout, frame: &[u8]) {
        let Some(key) = self.profile.and_then(|profile| profile.key_of(layout, frame)) else {
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
        self.profile.map(|profile| super::KeysReport {
            profile: profile.name,
            distinct: self.seen.len() as u64,
            overflowed: self.overflowed,
            requests: self.requests,
        })
    }
}
