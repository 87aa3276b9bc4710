//! What is chosen of the engine's policy and limits.

use qpmux_engine::policy::{
    AddressKey, AtomicKey, Atomics, ByteOrder, KeyField, KeyMap, Map, Order, Policy, Profile,
    TrustBy,
};
use qpmux_engine::wire::Opcode;
use serde::{Deserialize, Serialize};

use super::plan::FOREVER;
use super::workload::{CELL, CELLS, is_default};

/// What is chosen of the engine's policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Choices {
    /// Server queue pairs in use; 0 is all.
    pub(super) server_qps: u32,
    /// One client's requests keep their order across server queue pairs.
    pub(super) fenced: bool,
    pub(super) key_map: Mapping,
    /// Longest message, in packets, that leaves its client's own server queue pair.
    pub(super) message_packets_max: u32,
    /// WRITEs of several packets carry their key, too.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) long_keys: bool,
    /// The key of an atomic is its address, not the key last written.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) words_are_keys: bool,
    /// READs go to the server queue pair of the key of what is at their address.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) map_all: bool,
    /// WRITEs take the place of atomics.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) replace: bool,
}

impl Default for Choices {
    fn default() -> Self {
        Choices {
            server_qps: 1,
            fenced: true,
            key_map: Mapping::Modulo,
            message_packets_max: 4,
            long_keys: false,
            words_are_keys: false,
            map_all: false,
            replace: false,
        }
    }
}

/// Which place a key belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Mapping {
    Modulo,
    Hash,
    ByConnection,
}

/// The engine's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    pub(super) client_window_max: u32,
    pub(super) requests_max: u32,
    pub(super) held_responses_max: u32,
    pub(super) atomic_results: u32,
    pub(super) server_window_max: u32,
    pub(super) server_timeout_ns: u64,
    pub(super) server_retries_max: u32,
    pub(super) disturbances_max: u32,
    pub(super) message_wait_ns: u64,
    /// Addresses, and words, that are remembered.
    pub(super) addresses_max: u32,
    pub(super) words_max: u32,
    /// Data is not verified when it comes.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub(super) trusts_link: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            client_window_max: 128,
            requests_max: 256,
            held_responses_max: 64,
            atomic_results: 4,
            server_window_max: 128,
            server_timeout_ns: 40_000,
            server_retries_max: FOREVER,
            disturbances_max: FOREVER,
            message_wait_ns: 2_000_000,
            addresses_max: 64,
            words_max: 64,
            trusts_link: false,
        }
    }
}

impl Choices {
    /// The same as the engine takes it.
    pub(super) fn to_policy(self) -> Policy {
        let field = |opcode, cells| KeyField {
            opcode,
            payload_len: (cells * CELL) as u32,
            offset: 0,
            len: 8,
            byte_order: ByteOrder::Little,
        };
        let mut keys = vec![field(Opcode::WriteOnly, 1)];
        if self.long_keys {
            keys.extend((2..=CELLS as usize).map(|cells| field(Opcode::WriteFirst, cells)));
        }
        let atomic = |opcode| AddressKey { opcode, len: 8, unit: 8 };
        let words = match self.words_are_keys {
            true => vec![atomic(Opcode::CompareSwap), atomic(Opcode::FetchAdd)],
            false => Vec::new(),
        };
        Policy {
            map: if self.map_all { Map::All } else { Map::Writes },
            atomics: if self.replace { Atomics::Replace } else { Atomics::Keep },
            key_map: match self.key_map {
                Mapping::Modulo => KeyMap::Modulo,
                Mapping::Hash => KeyMap::Hash,
                Mapping::ByConnection => KeyMap::ByConnection,
            },
            server_qps: self.server_qps,
            order: if self.fenced { Order::Fenced } else { Order::Keyed },
            profile: Profile::new(keys, AtomicKey::LastWritten)
                .with_addresses(words)
                .with_reads_of_address(self.map_all),
            message_packets_max: self.message_packets_max,
            trust: TrustBy::Directory,
            ..Policy::default()
        }
    }
}
