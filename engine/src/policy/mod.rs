//! Third on the data path: which requests carry a key, and which server queue pair a key belongs
//! to.

use core::fmt;

mod addresses;
mod cache;
mod card;
mod choices;
mod declined;
mod directory;
mod grants;
mod key_map;
mod places;
mod profile;
mod trust;

pub(crate) use addresses::{Addresses, Spot};
pub(crate) use cache::{Cache, Put};
pub(crate) use card::Card;
pub use choices::{Choices, SwitchError};
pub(crate) use declined::DeclinedKeys;
pub(crate) use directory::Fit;
pub use directory::{Connection, Directory, DirectoryError, Endpoint, PathFacts, Start};
pub use key_map::KeyMap;
pub(crate) use key_map::mix;
pub use profile::{
    AddressKey, AtomicKey, BitField, ByteOrder, KeyField, ListForm, Profile, ReportForm, SlotGrid,
};
pub use trust::{ConfiguredRegion, Grant, Region, Rights};

pub(crate) use places::PlaceId;
pub(crate) use profile::KeyOf;
pub(crate) use trust::Access;

/// Which requests leave their client's own server queue pair.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Map {
    /// None: connections are not translated, every frame passes byte for byte.
    None,
    /// WRITEs that carry a key, and the atomics that belong to them.
    Writes,
    /// READs as well, once it is known which key they are for.
    All,
}

/// Which requests that aim at a superseded version of a record go to the present one instead.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Steer {
    /// None.
    None,
    /// Compare-and-swaps that append to a list.
    Writes,
    /// READs of a record as well.
    All,
}

/// How atomics reach a server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Atomics {
    /// As atomics.
    Keep,
    /// As WRITEs, where the engine knows what the word holds. That is sound only if nobody writes
    /// the word except through this engine: neither another client nor the server itself.
    Replace,
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

/// What the engine does; everything else follows from the connections. It is the most that the
/// engine does if it is switched to less while it runs ([`Choices`]).
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
    /// Which requests go to the present version of what they aim at.
    pub steer: Steer,
    /// Steer frames that pass untranslated, by changing nothing but their address. Two clients
    /// that race can lose an update so: see `mux/in_place.rs`. Only with [`Map::None`].
    pub in_place: bool,
    /// How atomics reach a server.
    pub atomics: Atomics,
}

impl Default for Policy {
    /// Everything passes.
    fn default() -> Policy {
        Policy {
            map: Map::None,
            key_map: KeyMap::Modulo,
            server_qps: 0,
            trust: TrustBy::Directory,
            order: Order::Fenced,
            profile: Profile::keyless(),
            message_packets_max: 1,
            steer: Steer::None,
            in_place: false,
            atomics: Atomics::Keep,
        }
    }
}

/// Choices of a policy that contradict each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PolicyError {
    /// Steering in place goes with connections that are not translated.
    InPlaceTranslated,
    /// In-place steering without anything to steer.
    InPlaceSteersNothing,
    /// Steering, unless in place, needs all requests of a key on one server queue pair.
    SteerUnmapped,
    /// READs are steered only where they go to the server queue pair of their key.
    SteerReadsUnmapped,
    /// With [`KeyMap::ByConnection`] the requests of a key are on several server queue pairs.
    ByConnection,
    /// The profile does not say what a list looks like.
    NoList,
    /// Replacing needs all requests of a key on one server queue pair.
    ReplaceUnmapped,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PolicyError::InPlaceTranslated => {
                "steering in place changes frames that pass: it goes with map none only"
            }
            PolicyError::InPlaceSteersNothing => {
                "in-place is a way to steer: it needs steer writes or all"
            }
            PolicyError::SteerUnmapped => {
                "steering needs all requests of a key on one server queue pair: map writes or \
                 all, or steer in place"
            }
            PolicyError::SteerReadsUnmapped => {
                "READs are steered on the server queue pair of their key: steer all needs map all"
            }
            PolicyError::ByConnection => {
                "with key map by-connection the requests of a key are on several server queue \
                 pairs: nothing can be steered or replaced"
            }
            PolicyError::NoList => {
                "the profile has no [list]: it does not say how versions are linked, so nothing \
                 can be steered"
            }
            PolicyError::ReplaceUnmapped => {
                "replacing atomics needs all requests of a key on one server queue pair: map \
                 writes or all"
            }
        })
    }
}

impl core::error::Error for PolicyError {}

impl Policy {
    /// Whether requests become others on their way.
    pub(crate) fn changes_requests(&self) -> bool {
        let steers = self.steer != Steer::None && !self.in_place;
        steers || self.atomics == Atomics::Replace
    }

    /// Whether what the engine does depends on what it knows of servers' memory.
    pub(crate) fn knows_memory(&self) -> bool {
        self.choices().know_memory()
    }

    /// Checks that the choices go together.
    ///
    /// # Errors
    /// See [`PolicyError`].
    pub fn check(&self) -> Result<(), PolicyError> {
        self.check_choices(self.choices())
    }

    /// Checks that these choices go together, with each other and with the rest of the policy.
    fn check_choices(&self, choices: Choices) -> Result<(), PolicyError> {
        let Choices { map, steer, atomics } = choices;
        let steers = steer != Steer::None;
        let mapped = map != Map::None;
        let replaces = atomics == Atomics::Replace;
        let wrong = [
            (self.in_place && mapped, PolicyError::InPlaceTranslated),
            (self.in_place && !steers, PolicyError::InPlaceSteersNothing),
            (steers && !mapped && !self.in_place, PolicyError::SteerUnmapped),
            (steer == Steer::All && map == Map::Writes, PolicyError::SteerReadsUnmapped),
            (
                (steers || replaces) && self.key_map == KeyMap::ByConnection && mapped,
                PolicyError::ByConnection,
            ),
            (steers && self.profile.list().is_none(), PolicyError::NoList),
            (replaces && !mapped, PolicyError::ReplaceUnmapped),
        ];
        wrong.into_iter().find(|(wrong, _)| *wrong).map_or(Ok(()), |(_, error)| Err(error))
    }
}
