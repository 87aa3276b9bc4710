//! What of a policy may change while an engine runs.

use core::fmt;

use super::{Atomics, KeyMap, Map, Policy, PolicyError, Steer};

/// The choices of a policy that a running engine can be switched between: see
/// [`Engine::switch`](crate::Engine::switch).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Choices {
    /// Which requests leave their client's own server queue pair.
    pub map: Map,
    /// Which requests go to the present version of what they aim at.
    pub steer: Steer,
    /// How atomics reach a server.
    pub atomics: Atomics,
}

impl Choices {
    /// The more of both in each choice: what an engine has to be built for that is to be switched
    /// between them.
    #[must_use]
    pub fn most(self, other: Choices) -> Choices {
        Choices {
            map: self.map.max(other.map),
            steer: self.steer.max(other.steer),
            atomics: self.atomics.max(other.atomics),
        }
    }

    /// Whether what the engine does depends on what it knows of servers' memory.
    pub(crate) fn know_memory(self) -> bool {
        let steers = self.steer != Steer::None && self.map != Map::None;
        self.map == Map::All || steers || self.atomics == Atomics::Replace
    }
}

impl fmt::Display for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let map = match self.map {
            Map::None => "none",
            Map::Writes => "writes",
            Map::All => "all",
        };
        let steer = match self.steer {
            Steer::None => "none",
            Steer::Writes => "writes",
            Steer::All => "all",
        };
        let atomics = match self.atomics {
            Atomics::Keep => "keep",
            Atomics::Replace => "replace",
        };
        write!(f, "map {map}, steer {steer}, atomics {atomics}")
    }
}

/// Why an engine goes on as it does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SwitchError {
    /// The choices contradict each other, or the rest of the policy.
    Policy(PolicyError),
    /// What is translated stays so, and what passes is not taken over by a switch.
    Untranslated,
    /// With [`KeyMap::ByConnection`] there is nothing to switch.
    ByConnection,
    /// The log does not say when a policy changed.
    Records,
    /// What is known of servers' memory is known on one shard.
    Shards,
    /// More is to be mapped than the engine was built for.
    Map,
    /// More is to be steered than it was built for.
    Steer,
    /// Atomics are to be replaced, and it was not built for that.
    Atomics,
}

impl fmt::Display for SwitchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SwitchError::Policy(error) => return error.fmt(f),
            SwitchError::Untranslated => {
                "map none cannot be switched to or from: what is translated stays so"
            }
            SwitchError::ByConnection => "with key map by-connection nothing can be switched",
            SwitchError::Records => "where a log is kept nothing can be switched",
            SwitchError::Shards => "policies are switched on one shard only",
            SwitchError::Map => "the engine was not built to map so much",
            SwitchError::Steer => "the engine was not built to steer so much",
            SwitchError::Atomics => "the engine was not built to replace atomics",
        })
    }
}

impl core::error::Error for SwitchError {}

impl Policy {
    /// Those of its choices that may change while an engine runs.
    #[must_use]
    pub fn choices(&self) -> Choices {
        Choices { map: self.map, steer: self.steer, atomics: self.atomics }
    }

    /// The same policy with other choices.
    #[must_use]
    pub fn with(self, choices: Choices) -> Policy {
        let Choices { map, steer, atomics } = choices;
        Policy { map, steer, atomics, ..self }
    }

    /// Checks that an engine built for this policy can be switched to these choices: each must go
    /// together with the others, and be no more than what the engine was built for.
    ///
    /// # Errors
    /// See [`SwitchError`].
    pub fn check_switch(&self, to: Choices) -> Result<(), SwitchError> {
        let most = self.choices();
        let wrong = [
            (self.map == Map::None || to.map == Map::None, SwitchError::Untranslated),
            (self.key_map == KeyMap::ByConnection, SwitchError::ByConnection),
            (to.map > most.map, SwitchError::Map),
            (to.steer > most.steer, SwitchError::Steer),
            (to.atomics > most.atomics, SwitchError::Atomics),
        ];
        match wrong.into_iter().find(|(wrong, _)| *wrong) {
            Some((_, error)) => Err(error),
            None => self.check_choices(to).map_err(SwitchError::Policy),
        }
    }
}
