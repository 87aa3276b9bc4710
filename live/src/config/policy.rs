//! Table `[policy]`: what the engine does, under the names of the options of `qpmux replay`.

use std::num::NonZeroU32;

use qpmux_engine::policy::{self, Choices, Policy, PolicyError, SwitchError, TrustBy};
use qpmux_workloads::load_profile;
use serde::{Deserialize, Serialize};

use super::{ConfigError, Limits, wrong_value};

/// What the engine does. The defaults pass everything untouched.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct PolicySettings {
    map: Map,
    key_map: KeyMap,
    server_qps: ServerQps,
    trust: Trust,
    order: Order,
    profile: String,
    steer: Steer,
    in_place: bool,
    atomics: Atomics,
    /// The most that the policy may be switched to while the engine runs.
    most: Most,
    /// Longest message that is mapped, in packets: a WRITE up to 8, a READ by its response.
    message_packets_max: u32,
}

impl Default for PolicySettings {
    fn default() -> Self {
        PolicySettings {
            map: Map::None,
            key_map: KeyMap::Modulo,
            server_qps: ServerQps::All(All::All),
            trust: Trust::Configured,
            order: Order::Fenced,
            profile: "kv".to_owned(),
            steer: Steer::None,
            in_place: false,
            atomics: Atomics::Keep,
            most: Most::default(),
            message_packets_max: 1,
        }
    }
}

/// Table `[policy.most]`: what the engine is built for. What it does not name is as the policy has
/// it.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
struct Most {
    map: Option<Map>,
    steer: Option<Steer>,
    atomics: Option<Atomics>,
}

/// As `--map` of `qpmux replay`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Map {
    /// Nothing is mapped, and everything passes.
    None,
    /// WRITEs with a key, and what goes with them.
    Writes,
    /// READs as well.
    All,
}

/// As `--key-map` of `qpmux replay`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum KeyMap {
    Modulo,
    Hash,
    Rendezvous,
    ByConnection,
}

/// How it becomes certain that a server queue pair accepts a request.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Trust {
    /// From the `[[region]]` tables.
    Configured,
    /// From what was answered positively so far.
    Observed,
}

/// As `--order` of `qpmux replay`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Order {
    Fenced,
    Keyed,
}

/// As `--steer` of `qpmux replay`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Steer {
    /// Nothing is steered.
    None,
    /// Appends to superseded versions.
    Writes,
    /// READs of them as well.
    All,
}

/// As `--atomics` of `qpmux replay`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Atomics {
    /// They stay atomics.
    Keep,
    /// WRITEs go in their place where the word is known.
    Replace,
}

impl From<Map> for policy::Map {
    fn from(map: Map) -> Self {
        match map {
            Map::None => policy::Map::None,
            Map::Writes => policy::Map::Writes,
            Map::All => policy::Map::All,
        }
    }
}

impl From<Steer> for policy::Steer {
    fn from(steer: Steer) -> Self {
        match steer {
            Steer::None => policy::Steer::None,
            Steer::Writes => policy::Steer::Writes,
            Steer::All => policy::Steer::All,
        }
    }
}

impl From<Atomics> for policy::Atomics {
    fn from(atomics: Atomics) -> Self {
        match atomics {
            Atomics::Keep => policy::Atomics::Keep,
            Atomics::Replace => policy::Atomics::Replace,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(untagged, expecting = "must be a number from 1 on, or \"all\"")]
enum ServerQps {
    All(All),
    Number(NonZeroU32),
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum All {
    All,
}

impl PolicySettings {
    /// The policy that the engine is built for, and what it begins with.
    pub(super) fn policies(&self) -> Result<(Policy, Choices), ConfigError> {
        let policy = self.policy()?;
        let first = policy.choices();
        let most = self.most_choices();
        if most == first {
            return Ok((policy, first));
        }
        let policy = policy.with(most);
        policy.check().map_err(SwitchError::Policy).map_err(ConfigError::Most)?;
        policy.check_switch(first).map_err(ConfigError::Most)?;
        Ok((policy, first))
    }

    /// The most that the engine is to do.
    fn most_choices(&self) -> Choices {
        let Most { map, steer, atomics } = self.most;
        let first = self.choices();
        let most = Choices {
            map: map.map_or(first.map, Into::into),
            steer: steer.map_or(first.steer, Into::into),
            atomics: atomics.map_or(first.atomics, Into::into),
        };
        most.most(first)
    }

    /// What the engine is to do, of what may change while it runs.
    pub(super) fn choices(&self) -> Choices {
        Choices { map: self.map.into(), steer: self.steer.into(), atomics: self.atomics.into() }
    }

    /// The same settings with these choices of others.
    pub(super) fn with_choices_of(&self, other: &Self) -> Self {
        let (map, steer, atomics) = (other.map, other.steer, other.atomics);
        Self { map, steer, atomics, ..self.clone() }
    }

    /// The policy, if its choices go together.
    pub(super) fn policy(&self) -> Result<Policy, ConfigError> {
        let policy = Policy {
            map: self.map.into(),
            key_map: match self.key_map {
                KeyMap::Modulo => policy::KeyMap::Modulo,
                KeyMap::Hash => policy::KeyMap::Hash,
                KeyMap::Rendezvous => policy::KeyMap::Rendezvous,
                KeyMap::ByConnection => policy::KeyMap::ByConnection,
            },
            server_qps: match self.server_qps {
                ServerQps::All(All::All) => 0,
                ServerQps::Number(number) => number.get(),
            },
            order: match self.order {
                Order::Fenced => policy::Order::Fenced,
                Order::Keyed => policy::Order::Keyed,
            },
            profile: load_profile(&self.profile)?,
            trust: match self.trust {
                Trust::Configured => TrustBy::Configuration,
                Trust::Observed => TrustBy::Observation,
            },
            message_packets_max: self.message_packets_max,
            steer: self.steer.into(),
            in_place: self.in_place,
            atomics: self.atomics.into(),
        };
        let named = |error| ConfigError::Contradiction { key: key_of(error), error };
        policy.check().map(|()| policy).map_err(named)
    }

    /// Checks that what the engine is to know has room, and that it can become certain of anything.
    pub(super) fn check(&self, limits: &Limits, regions: usize) -> Result<(), ConfigError> {
        let most = self.most_choices();
        let steers = most.steer != policy::Steer::None;
        let needs = [
            (
                most.map == policy::Map::All,
                "limits.addresses_max",
                limits.addresses_max,
                "map = \"all\"",
            ),
            (steers, "limits.lists_max", limits.lists_max, "steer"),
            (steers, "limits.nodes_max", limits.nodes_max, "steer"),
            (
                most.atomics == policy::Atomics::Replace,
                "limits.words_max",
                limits.words_max,
                "atomics = \"replace\"",
            ),
        ];
        if let Some((_, key, _, by)) = needs.iter().find(|(used, _, room, _)| *used && *room == 0) {
            return wrong_value(key, &0, &format!("1 or more: policy.{by} needs this table"));
        }
        if self.map != Map::None && self.trust == Trust::Configured && regions == 0 {
            let expected = "\"observed\", or there must be a [[region]]: with neither, it is never \
                certain that a server queue pair takes another client's request, and nothing is \
                mapped";
            return wrong_value("policy.trust", &"configured", expected);
        }
        Ok(())
    }
}

/// The key to change, of choices that contradict each other.
fn key_of(error: PolicyError) -> &'static str {
    match error {
        PolicyError::InPlaceTranslated | PolicyError::InPlaceSteersNothing => "policy.in_place",
        PolicyError::SteerUnmapped | PolicyError::SteerReadsUnmapped => "policy.steer",
        PolicyError::ByConnection => "policy.key_map",
        PolicyError::NoList => "policy.profile",
        PolicyError::ReplaceUnmapped => "policy.atomics",
    }
}
