//! Third on the data path: which requests carry a key, and which server queue pair a key belongs
//! to.

mod declined;
mod directory;
mod key_map;
mod places;
mod profile;
mod trust;

pub(crate) use declined::DeclinedKeys;
pub(crate) use directory::Fit;
pub use directory::{Connection, Directory, DirectoryError, Endpoint, PathFacts, Start};
pub use key_map::KeyMap;
pub use profile::{AtomicKey, ByteOrder, KeyField, Profile};
pub use trust::{ConfiguredRegion, Grant, Region, Rights};

pub(crate) use places::PlaceId;
pub(crate) use profile::KeyOf;
pub(crate) use trust::Access;

/// Which requests leave their client's own server queue pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Map {
    /// None: connections are not translated, every frame passes byte for byte.
    None,
    /// WRITEs that carry a key, and the atomics that belong to them.
    Writes,
}

/// What order one client's requests keep across server queue pairs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// A request for another server queue pair than the one before it waits until all earlier
    /// requests of its client are complete: what one queue pair promises (IBTA vol. 1, 10.8.3.3).
    Fenced,
    /// Order only per client and key. Faster, and weaker than what a queue pair promises.
    Keyed,
}

/// How it becomes certain that a server queue pair accepts a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrustBy {
    /// From the regions and grants that the directory was made with.
    Directory,
    /// From the regions that the operator has configured. A key with a request that they do not
    /// cover is declined for good: its requests stay on their clients' own server queue pairs.
    /// Connections are learnt. On one shard only.
    Configuration,
    /// From what was answered positively so far. What is not known yet runs alone on its
    /// client's own server queue pair, and so becomes known. On one shard only.
    Observation,
}

impl TrustBy {
    /// Whether connections are learnt while the engine runs.
    #[must_use]
    pub fn learns(self) -> bool {
        self != TrustBy::Directory
    }
}

/// What the engine does; everything else follows from the connections.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Which requests leave their client's own server queue pair.
    pub map: Map,
    /// Which place a key belongs to.
    pub key_map: KeyMap,
    /// Number of server queue pairs used per server and protection domain; 0 means all.
    pub server_qps: u32,
    /// How it becomes certain that a server queue pair accepts a request.
    pub trust: TrustBy,
    /// What order a client's requests keep.
    pub order: Order,
    /// Which requests carry a key, and where.
    pub profile: Profile,
    /// Longest message, in packets, that leaves its client's own server queue pair. A requester
    /// stops some 64 packets after the last acknowledgement, so a long message cannot be held
    /// back until it is whole.
    pub message_packets_max: u32,
}
