//! The configuration file: TOML, every key known, every limit checked before anything starts.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use qpmux_engine::journal::Journal;
use qpmux_engine::policy::{ConfiguredRegion, Directory, PolicyError, Rights, SwitchError};
use qpmux_engine::{BURST_MAX, BuildError, Config, Engine, Nanos, ShardId, Verify};
use qpmux_workloads::ProfileError;
use serde::Deserialize;

use crate::subnets::Subnets;

mod journal;
mod operations;
mod policy;
mod ports;
mod reload;
mod standby;
mod workers;

pub use journal::JournalSettings;
pub use operations::{ControlSettings, LogFormat, LogSettings, MetricsSettings, StopRule, Version};
pub use policy::{Atomics, Map, PolicySettings, Steer};
pub use ports::{ClockSettings, DpdkSettings, Neighbour, Places, PortSettings};
pub use reload::Reload;
pub use standby::{Begins, StandbySettings};
pub use workers::WorkerSettings;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] std::io::Error),
    /// Not TOML, or with keys or values that there are not. Says the line.
    #[error(transparent)]
    Syntax(#[from] toml::de::Error),
    /// A value that cannot be.
    #[error("{key} is {found}, must be {expected}")]
    Value {
        /// Table and key.
        key: &'static str,
        /// Its value.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// Choices that contradict each other.
    #[error("{key}: {error}")]
    Contradiction {
        /// Table and key of one of them.
        key: &'static str,
        /// What does not go together, and what would.
        error: PolicyError,
    },
    /// What the policy may be switched to, or is to begin with, cannot be.
    #[error("policy.most")]
    Most(#[source] SwitchError),
    /// The application profile cannot be used.
    #[error("policy.profile")]
    Profile(#[from] ProfileError),
    /// No engine can be built with these limits.
    #[error("limits")]
    Engine(#[from] BuildError),
}

/// The whole file.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The format of the file.
    #[serde(default)]
    pub version: Version,
    /// Connections to other servers than these pass, and are not looked at; none: all are meant.
    #[serde(default)]
    pub servers: Subnets,
    /// Towards the clients.
    pub client: PortSettings,
    /// Towards the servers.
    pub server: PortSettings,
    /// What the engine does.
    #[serde(default)]
    pub policy: PolicySettings,
    /// Server memory that may be reached through other queue pairs than a client's own.
    #[serde(default)]
    pub region: Vec<RegionSettings>,
    /// What memory is like at a server, if not as usual.
    #[serde(default)]
    pub server_memory: Vec<ServerMemory>,
    /// What traffic does not show.
    #[serde(default)]
    pub network: Network,
    /// How much of everything.
    #[serde(default)]
    pub limits: Limits,
    /// The workers; without any there is one.
    #[serde(default)]
    pub worker: Vec<WorkerSettings>,
    /// What DPDK is started with, if sides are its ports.
    pub dpdk: Option<DpdkSettings>,
    /// Where frames go next, if both sides share a port.
    #[serde(default)]
    pub neighbour: Vec<Neighbour>,
    /// Which time it is.
    #[serde(default)]
    pub clock: ClockSettings,
    /// What outlives the program.
    #[serde(default)]
    pub journal: JournalSettings,
    /// Another host that goes on when this one fails.
    pub standby: Option<StandbySettings>,
    /// How the running program is asked.
    #[serde(default)]
    pub control: ControlSettings,
    /// Where Prometheus finds what is counted.
    #[serde(default)]
    pub metrics: MetricsSettings,
    /// What the log looks like.
    #[serde(default)]
    pub log: LogSettings,
    /// What the file says that records depend on.
    #[serde(skip)]
    meaning: String,
}

/// A range of a server's memory that all its queue pairs, of one protection domain, may reach.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct RegionSettings {
    server: IpAddr,
    rkey: u32,
    start: u64,
    len: u64,
    rights: Vec<Right>,
}

/// A remote access right.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Right {
    Read,
    Write,
    Atomic,
}

impl RegionSettings {
    fn region(&self) -> Result<ConfiguredRegion, ConfigError> {
        let Some(end) = self.start.checked_add(self.len) else {
            return Err(ConfigError::Value {
                key: "region.len",
                found: self.len.to_string(),
                expected: "a length that ends within the address space".to_owned(),
            });
        };
        let right = |right: &Right| match right {
            Right::Read => Rights::READ,
            Right::Write => Rights::WRITE,
            Right::Atomic => Rights::ATOMIC,
        };
        Ok(ConfiguredRegion {
            server: self.server,
            remote_key: self.rkey,
            start: self.start,
            end,
            rights: self.rights.iter().map(right).fold(Rights::NONE, Rights::union),
        })
    }
}

/// What memory is like at one server.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ServerMemory {
    server: IpAddr,
    byte_order: ByteOrder,
}

/// In which order a server's adapter keeps the bytes of an atomic's word.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum ByteOrder {
    Little,
    Big,
}

/// What the operator knows of the network, and traffic does not show.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Path MTU in bytes of connections whose packets do not show it. Without it they are not
    /// translated.
    path_mtu: Option<u16>,
    /// READs and atomics that a server queue pair takes at a time (max_dest_rd_atomic). Without
    /// it, the most that were seen outstanding.
    depth: Option<u16>,
    /// Of which packets the ICRC is verified.
    verify: Verified,
}

/// Of which packets the ICRC is verified when they come in.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Verified {
    /// Of all.
    #[default]
    Full,
    /// Of those without data: see [`Verify::Headers`].
    Headers,
}

/// How much of everything. Memory: `frames` times `frame_len_max`, and what the engine's limits
/// cost (see [`Config`]).
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Buffers for frames. By default as many as requests and responses can be kept, and a burst
    /// from each side: they cannot run out.
    frames: Option<u32>,
    /// Longest frame in bytes, with a VLAN tag, without frame check sequence.
    frame_len_max: usize,
    /// Buffer in the kernel, of each interface and direction, in bytes.
    socket_buffer_bytes: usize,
    connections_max: u32,
    requests_max: u32,
    held_responses_max: u32,
    client_window_max: u32,
    server_window_max: u32,
    atomic_results: u32,
    addresses_max: u32,
    words_max: u32,
    lists_max: u32,
    nodes_max: u32,
    grants_max: u32,
    declined_keys_max: u32,
    server_timeout_ns: u64,
    server_timeout_max_ns: u64,
    server_retries_max: u32,
    guest_wait_ns: u64,
    packet_lifetime_ns: u64,
    message_wait_ns: u64,
    resume_wait_ns: u64,
    /// Clients are shed in turn while more comes in than the loop can take.
    shed_overload: bool,
}

impl Default for Limits {
    fn default() -> Self {
        let engine = Config::default();
        Limits {
            frames: None,
            frame_len_max: engine.frame_len_max,
            socket_buffer_bytes: 16 << 20,
            connections_max: engine.connections_max,
            // 10,368 frames of 9,216 bytes: 96 MB.
            requests_max: 8_192,
            held_responses_max: 2_048,
            client_window_max: engine.client_window_max,
            server_window_max: engine.server_window_max,
            atomic_results: engine.atomic_results,
            addresses_max: engine.addresses_max,
            words_max: engine.words_max,
            lists_max: engine.lists_max,
            nodes_max: engine.nodes_max,
            grants_max: engine.grants_max,
            declined_keys_max: engine.declined_keys_max,
            server_timeout_ns: engine.server_timeout_ns,
            server_timeout_max_ns: engine.server_timeout_max_ns,
            server_retries_max: engine.server_retries_max,
            guest_wait_ns: engine.guest_wait_ns,
            packet_lifetime_ns: engine.packet_lifetime_ns,
            message_wait_ns: engine.message_wait_ns,
            resume_wait_ns: engine.resume_wait_ns,
            shed_overload: true,
        }
    }
}

/// Longest frame that anything is made for: a jumbo frame of common network cards.
const FRAME_LEN_MAX: usize = 9_216;
/// Most buffers.
const FRAMES_MAX: u32 = 1 << 24;

/// The error of a key whose value cannot be.
fn wrong_value(key: &'static str, found: &dyn ToString, expected: &str) -> Result<(), ConfigError> {
    Err(ConfigError::Value { key, found: found.to_string(), expected: expected.to_owned() })
}

impl Settings {
    /// Reads a file.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(path: &Path) -> Result<Settings, ConfigError> {
        Settings::parse(&fs::read_to_string(path)?)
    }

    /// From the text of a file.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn parse(text: &str) -> Result<Settings, ConfigError> {
        let mut settings: Settings = toml::from_str(text)?;
        settings.meaning = journal::meaning(text)?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.check_ports()?;
        self.check_workers()?;
        let limits = &self.limits;
        if !(1_518..=FRAME_LEN_MAX).contains(&limits.frame_len_max) {
            return wrong_value("limits.frame_len_max", &limits.frame_len_max, "1,518 to 9,216");
        }
        if !(1 << 16..=1 << 30).contains(&limits.socket_buffer_bytes) {
            let (key, expected) = ("limits.socket_buffer_bytes", "65,536 to 1,073,741,824");
            return wrong_value(key, &limits.socket_buffer_bytes, expected);
        }
        if !(4 * BURST_MAX as u32..=FRAMES_MAX).contains(&self.frames()) {
            return wrong_value("limits.frames", &self.frames(), "256 to 16,777,216");
        }
        let mut servers: Vec<IpAddr> = self.server_memory.iter().map(|each| each.server).collect();
        servers.sort_unstable();
        if let Some(twice) = servers.windows(2).find(|pair| pair[0] == pair[1]) {
            let expected = "in one [[server_memory]] only";
            return wrong_value("server_memory.server", &twice[0], expected);
        }
        let regions = self.region.iter().map(|each| ("region.server", each.server));
        let memories = servers.iter().map(|server| ("server_memory.server", *server));
        let learnt = |server: IpAddr| self.servers.is_empty() || self.servers.contain(server);
        if let Some((key, server)) = regions.chain(memories).find(|(_, server)| !learnt(*server)) {
            return wrong_value(key, &server, "one of servers: others are not learnt");
        }
        self.check_journal()?;
        self.check_standby()?;
        self.control.check()?;
        self.policy.check(limits, self.region.len())
    }

    /// Number of buffers.
    #[must_use]
    pub fn frames(&self) -> u32 {
        let limits = &self.limits;
        let kept = limits.requests_max.saturating_add(limits.held_responses_max);
        limits.frames.unwrap_or(kept.saturating_add(2 * BURST_MAX as u32))
    }

    /// Longest frame, in bytes.
    #[must_use]
    pub fn frame_len_max(&self) -> usize {
        self.limits.frame_len_max
    }

    /// Whether clients are shed in turn while more comes in than the loop can take.
    #[must_use]
    pub fn sheds_overload(&self) -> bool {
        self.limits.shed_overload
    }

    /// Frames that wait at a port, at most. Of interfaces nobody knows: what ports have by default.
    #[must_use]
    pub fn frames_waiting_max(&self) -> usize {
        self.dpdk.clone().unwrap_or_default().receive_descriptors.into()
    }

    /// Buffer in the kernel, of each interface and direction, in bytes.
    #[must_use]
    pub fn socket_buffer_bytes(&self) -> usize {
        self.limits.socket_buffer_bytes
    }

    /// Floor and cap of the time to wait for a server's answer before a request is sent again.
    #[must_use]
    pub fn server_timeouts(&self) -> (Duration, Duration) {
        let engine = self.engine_config();
        let (floor, cap) = (engine.server_timeout_ns, engine.server_timeout_max_ns);
        (Duration::from_nanos(floor), Duration::from_nanos(cap.max(floor)))
    }

    /// The limits and times of the engine.
    #[must_use]
    pub fn engine_config(&self) -> Config {
        let limits = &self.limits;
        Config {
            client_window_max: limits.client_window_max,
            requests_max: limits.requests_max,
            held_responses_max: limits.held_responses_max,
            atomic_results: limits.atomic_results,
            addresses_max: limits.addresses_max,
            words_max: limits.words_max,
            lists_max: limits.lists_max,
            nodes_max: limits.nodes_max,
            grants_max: limits.grants_max,
            declined_keys_max: limits.declined_keys_max,
            server_window_max: limits.server_window_max,
            server_timeout_ns: limits.server_timeout_ns,
            server_timeout_max_ns: limits.server_timeout_max_ns,
            server_retries_max: limits.server_retries_max,
            guest_wait_ns: limits.guest_wait_ns,
            packet_lifetime_ns: limits.packet_lifetime_ns,
            message_wait_ns: limits.message_wait_ns,
            resume_wait_ns: limits.resume_wait_ns,
            frame_len_max: limits.frame_len_max,
            connections_max: limits.connections_max,
            records: self.journal.folder.is_some(),
            path_mtu: self.network.path_mtu,
            depth: self.network.depth,
            verify: match self.network.verify {
                Verified::Full => Verify::Full,
                Verified::Headers => Verify::Headers,
            },
            ..Config::default()
        }
    }

    /// The engine of this configuration. It knows no connection: it learns.
    ///
    /// # Errors
    /// When choices contradict each other, the profile cannot be read, or a limit is out of its
    /// range.
    pub fn engine(&self) -> Result<Engine, ConfigError> {
        self.engine_after(None)
    }

    /// The engine that goes on where another one was, as its journal says.
    ///
    /// # Errors
    /// As of [`Settings::engine`], or when the journal does not fit.
    pub fn engine_after(&self, journal: Option<&Journal>) -> Result<Engine, ConfigError> {
        let (policy, first) = self.policy.policies()?;
        let regions = self.region.iter().map(RegionSettings::region);
        let big = self.server_memory.iter().filter(|each| each.byte_order == ByteOrder::Big);
        let directory = Directory::empty()
            .with_regions(regions.collect::<Result<_, _>>()?)
            .with_big_endian(big.map(|each| each.server).collect());
        let config = self.engine_config();
        let mut engine = match journal {
            None => Engine::new(config, policy, directory, ShardId(0), 1)?,
            Some(journal) => {
                let only = (ShardId(0), 1);
                Engine::resume(config, policy, directory, only, journal, Nanos(0))?
            }
        };
        engine.switch(first).map_err(ConfigError::Most)?;
        Ok(engine)
    }
}
