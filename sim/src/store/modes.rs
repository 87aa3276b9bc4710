//! What the published experiments let the middlebox do.

use qpmux_engine::policy::{Atomics, Map, Order, Policy, Profile, Steer};

use crate::apps::{EngineSetup, engine_config};

/// Timeout of adapters, as a code (clover source).
const TIMEOUT: u8 = 14;

/// A mode of the published middlebox; each has what the one before has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Everything passes.
    Clover,
    /// Appends go to the end of their list.
    WriteSteering,
    /// And READs to the newest version.
    ReadSteering,
    /// And all requests for a key through one server queue pair.
    Mapping,
    /// And WRITEs go in the place of compare-and-swaps.
    Replacement,
    /// Mapping alone, without steering: the experiments of June 2021.
    MappingOnly,
}

impl Mode {
    /// The five of the experiments of November and December 2021.
    pub const LADDER: [Mode; 5] =
        [Mode::Clover, Mode::WriteSteering, Mode::ReadSteering, Mode::Mapping, Mode::Replacement];

    /// Its name in figures.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mode::Clover => "clover",
            Mode::WriteSteering => "write steering",
            Mode::ReadSteering => "write + read steering",
            Mode::Mapping => "mapping",
            Mode::Replacement => "atomics replaced",
            Mode::MappingOnly => "mapping on",
        }
    }

    /// What an engine does in this mode. Without mapping it steers in place, as the prototype did.
    #[must_use]
    pub fn policy(self, profile: Profile) -> Policy {
        let (map, steer, atomics) = match self {
            Mode::Clover => (Map::None, Steer::None, Atomics::Keep),
            Mode::WriteSteering => (Map::None, Steer::Writes, Atomics::Keep),
            Mode::ReadSteering => (Map::None, Steer::All, Atomics::Keep),
            Mode::Mapping => (Map::All, Steer::All, Atomics::Keep),
            Mode::Replacement => (Map::All, Steer::All, Atomics::Replace),
            Mode::MappingOnly => (Map::All, Steer::None, Atomics::Keep),
        };
        Policy {
            map,
            steer,
            atomics,
            in_place: map == Map::None && steer != Steer::None,
            // A client that waits for its answers needs no fence between queue pairs.
            order: Order::Keyed,
            profile,
            ..Policy::default()
        }
    }

    /// An engine in this mode.
    #[must_use]
    pub fn engine(self, profile: Profile) -> EngineSetup {
        EngineSetup {
            policy: self.policy(profile),
            config: engine_config(TIMEOUT),
            shards: 1,
            big_endian: false,
            withheld: false,
            switches: Vec::new(),
        }
    }
}
