//! Options of commands that run the engine: what it does.

use std::str::FromStr;

use clap::ValueEnum;
use qpmux_engine::policy::{self, Choices, Policy, Profile};

use crate::apps::Switch;

/// What the engine does.
#[derive(clap::Args, serde::Serialize)]
pub(crate) struct PolicyArgs {
    /// Which requests leave their client's own server queue pair.
    #[arg(long, value_enum, default_value_t = Map::Writes)]
    map: Map,
    /// Which server queue pair a key belongs to.
    #[arg(long, value_enum, default_value_t = KeyMap::Modulo)]
    key_map: KeyMap,
    /// Number of server queue pairs to use per server, or all.
    #[arg(long, default_value = "all", value_name = "N|all")]
    server_qps: ServerQps,
    /// Which requests that aim at a superseded version of a record go to the present one.
    #[arg(long, value_enum, default_value_t = Steer::None)]
    steer: Steer,
    /// Steer frames that pass untranslated (with --map none): only their address changes. Two
    /// clients that race can lose an update so.
    #[arg(long)]
    in_place: bool,
    /// How atomics reach the server.
    #[arg(long, value_enum, default_value_t = Atomics::Keep)]
    atomics: Atomics,
    /// Order of one client's requests on different server queue pairs.
    #[arg(long, value_enum, default_value_t = Order::Fenced)]
    order: Order,
}

#[derive(Clone, Copy, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
enum Map {
    /// None: learn and count only, every frame passes untouched.
    None,
    /// WRITEs with a key, and the atomics that belong to them.
    Writes,
    /// READs as well, once it is known which key they are for.
    All,
}

#[derive(Clone, Copy, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
enum Steer {
    /// None.
    None,
    /// Compare-and-swaps that append a version.
    Writes,
    /// READs of a version as well.
    All,
}

#[derive(Clone, Copy, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
enum Atomics {
    /// As atomics.
    Keep,
    /// As WRITEs where it is known what the word holds: sound only if nobody writes it except
    /// through the engine.
    Replace,
}

#[derive(Clone, Copy, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
enum KeyMap {
    /// Key modulo number of server queue pairs.
    Modulo,
    /// A mixed key modulo their number.
    Hash,
    /// The server queue pair that fits the key best: stable when they come and go.
    Rendezvous,
    /// Everything of one client to one server queue pair; no order per key.
    ByConnection,
}

#[derive(Clone, Copy, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
enum Order {
    /// As on one queue pair: a request for another waits for all before it.
    Fenced,
    /// Per client and key only.
    Keyed,
}

/// How many server queue pairs; 0 stands for all.
#[derive(Clone, Copy, serde::Serialize)]
struct ServerQps(u32);

impl FromStr for ServerQps {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(ServerQps(0));
        }
        match text.parse() {
            Ok(n) if n > 0 => Ok(ServerQps(n)),
            _ => Err("must be a number from 1 on, or 'all'".to_owned()),
        }
    }
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

/// A switch to another policy: what it does not name stays as it is.
#[derive(Clone, Copy)]
pub(crate) struct SwitchArg {
    after: u64,
    map: Option<Map>,
    steer: Option<Steer>,
    atomics: Option<Atomics>,
}

impl FromStr for SwitchArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || "must be as 5000:steer=all,atomics=replace".to_owned();
        let (after, choices) = text.split_once(':').ok_or_else(form)?;
        let after = after.parse().map_err(|_| form())?;
        let mut switch = SwitchArg { after, map: None, steer: None, atomics: None };
        for choice in choices.split(',') {
            let (name, value) = choice.split_once('=').ok_or_else(form)?;
            let unknown = |_| format!("there is no {name} '{value}'");
            match name {
                "map" => switch.map = Some(Map::from_str(value, false).map_err(unknown)?),
                "steer" => switch.steer = Some(Steer::from_str(value, false).map_err(unknown)?),
                "atomics" => {
                    switch.atomics = Some(Atomics::from_str(value, false).map_err(unknown)?);
                }
                _ => return Err(format!("'{name}' is not map, steer or atomics")),
            }
        }
        Ok(switch)
    }
}

impl PolicyArgs {
    /// The policy to build the engine for, and its switches: first, if there are any, to what it
    /// begins with.
    pub(crate) fn switched(&self, profile: Profile, args: &[SwitchArg]) -> (Policy, Vec<Switch>) {
        let policy = self.policy(profile);
        let mut now = policy.choices();
        let mut switches = vec![Switch { after: 0, to: now }];
        let mut args = args.to_vec();
        args.sort_by_key(|arg| arg.after);
        for SwitchArg { after, map, steer, atomics } in args {
            now = Choices {
                map: map.map_or(now.map, Into::into),
                steer: steer.map_or(now.steer, Into::into),
                atomics: atomics.map_or(now.atomics, Into::into),
            };
            switches.push(Switch { after, to: now });
        }
        if switches.len() == 1 {
            return (policy, Vec::new());
        }
        let most = switches.iter().fold(now, |most, switch| most.most(switch.to));
        (policy.with(most), switches)
    }

    /// The policy, with connections that are known.
    pub(crate) fn policy(&self, profile: Profile) -> Policy {
        Policy {
            map: self.map.into(),
            key_map: match self.key_map {
                KeyMap::Modulo => policy::KeyMap::Modulo,
                KeyMap::Hash => policy::KeyMap::Hash,
                KeyMap::Rendezvous => policy::KeyMap::Rendezvous,
                KeyMap::ByConnection => policy::KeyMap::ByConnection,
            },
            server_qps: self.server_qps.0,
            order: match self.order {
                Order::Fenced => policy::Order::Fenced,
                Order::Keyed => policy::Order::Keyed,
            },
            profile,
            steer: self.steer.into(),
            in_place: self.in_place,
            atomics: self.atomics.into(),
            ..Policy::default()
        }
    }
}

/// A probability of loss.
pub(crate) fn parse_fraction(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(fraction) if (0.0..=0.5).contains(&fraction) => Ok(fraction),
        _ => Err("must be a number from 0 to 0.5".to_owned()),
    }
}
