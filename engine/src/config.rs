//! Limits and times of one engine, with what they cost.

use core::fmt;

use crate::policy::{Atomics, Map, Policy, Steer};

/// Of which frames the ICRC is verified when they come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Verify {
    /// Of all.
    #[default]
    Full,
    /// Not of those of translated connections that carry what is written or was read, unless the
    /// policy looks at that ([`Policy`] steers, maps READs or replaces atomics). This trusts the
    /// links' own checks: a header that is damaged all the same is believed. Damaged data is not
    /// made good: an end drops it, since what the ICRC lacks is kept. A request that would be sent
    /// again is verified first; if it is damaged, its client has to send it again.
    Headers,
}

/// Limits and times. All tables are made by the constructor; nothing is allocated afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// Open requests of one client, in packets. A request beyond is dropped on arrival, its
    /// client repeats it. Default 256: Linux rxe stops 128 packets beyond the last
    /// acknowledgement (rxe_param.h).
    pub client_window_max: u32,
    /// Open requests on one shard, all clients together, in packets. A client begins no message
    /// while it has as many open as are free. 192 bytes each for the client's half and, times the
    /// number of shards, 192 for the server's; 88 more where READs are mapped, requests steered or
    /// atomics replaced. Default 65,536.
    pub requests_max: u32,
    /// READ response packets held on one shard because an earlier answer is missing. 8 bytes
    /// each, and a buffer of the host's. Default 16,384.
    pub held_responses_max: u32,
    /// Atomic results kept per client for repeats: at least the client's max_rd_atomic.
    /// 28 bytes each. Default 16, what Clover asks for and mlx5 typically allows.
    pub atomic_results: u32,
    /// Requests bound on one server queue pair at a time, in packets. Default 256.
    pub server_window_max: u32,
    /// Time without progress after which a server queue pair's oldest open request is sent
    /// again, at least, in nanoseconds. More where its answers take longer. Must be well under
    /// the clients' own timeout. Default 4 ms: rxe and mlx5 applications commonly use 67 ms
    /// (timeout 14).
    pub server_timeout_ns: u64,
    /// The same, at most, however long answers take and however often it was sent again, in
    /// nanoseconds. Equal to `server_timeout_ns`: a fixed time. Default 256 ms.
    pub server_timeout_max_ns: u64,
    /// Timeouts in a row without any progress after which a server queue pair is given up. Each
    /// waits twice as long as the one before, up to `server_timeout_max_ns`. Default 60,
    /// some 14 s: to give up earlier than the clients would harms all guests, and a busy
    /// software responder was seen silent for 50 ms.
    pub server_retries_max: u32,
    /// Connections at a time, those known from the start included. Some 3 kB each. Default
    /// 4,096.
    pub connections_max: u32,
    /// Servers (and protection domains) met later. Default 64.
    pub domains_max: u32,
    /// Path MTU of connections whose packets do not show it, in bytes; `None`: such connections
    /// are not translated. Default `None`.
    pub path_mtu: Option<u16>,
    /// READs and atomics that learnt server queue pairs take at a time (max_dest_rd_atomic);
    /// `None`: the most that were seen outstanding. Default `None`.
    pub depth: Option<u16>,
    /// Time that a connection is given to pause by itself before its requests are held for the
    /// flip into translation, and that they are then held at most, in nanoseconds. Default 10 ms.
    pub flip_wait_ns: u64,
    /// Time that guests wait for a request of a server queue pair's owner which they cannot share
    /// it with, in nanoseconds. Then their keys move to another one. Well under the retry budget
    /// of the guests' clients. Default 20 ms.
    pub guest_wait_ns: u64,
    /// Time that a packet can be on its way at most, in nanoseconds: so long after the last
    /// packet to a server queue pair that does not answer, its keys move to another one; and so
    /// long after the end of a connection its packets are not forwarded, unless its queue pair
    /// numbers are used again, and its place is kept. Default 500 ms.
    pub packet_lifetime_ns: u64,
    /// Time that the packets of a message of several, which is to be handed over whole, are kept
    /// while the last one is missing, in nanoseconds. Then its client has to repeat them. Default
    /// 1 s.
    pub message_wait_ns: u64,
    /// Times that a server queue pair is emptied of guests for a request of its owner before it
    /// hosts no more. Default 3.
    pub disturbances_max: u32,
    /// Memory keys, and server queue pairs times memory keys, whose rights are remembered. 32 and
    /// 28 to 44 bytes each. Default 16,384.
    pub grants_max: u32,
    /// Keys that are declined for good because configured regions do not cover a request of
    /// theirs. 16 bytes each; when there are more, every key is declined. Default 65,536.
    pub declined_keys_max: u32,
    /// Addresses of servers' memory whose key is remembered, so that READs find it
    /// ([`crate::policy::Map::All`]). 22 to 43 bytes each; what is not used is forgotten first.
    /// Default 65,536.
    pub addresses_max: u32,
    /// Words of servers' memory of which it is remembered what they hold
    /// ([`crate::policy::Atomics::Replace`]). 56 bytes each, and 80 to 160 for finding out what is
    /// written beside them. Default 65,536.
    pub words_max: u32,
    /// Keys whose lists are remembered ([`crate::policy::Steer`]): with fewer than there are, those
    /// in use. 72 bytes each; in place 72, and 680 for each of `connections_max` queue pairs.
    /// Default 16,384.
    pub lists_max: u32,
    /// Nodes of lists that are remembered. 96 bytes each; in place 64. Default 65,536.
    pub nodes_max: u32,
    /// Of which frames the ICRC is verified. Default: of all.
    pub verify: Verify,
    /// The rule that this engine breaks.
    #[cfg(feature = "mutations")]
    pub without: Option<crate::Rule>,
    /// Whether the engine hands out records from which another one can be made that goes on where
    /// it was: see [`crate::journal`]. Default `false`.
    pub records: bool,
    /// Time that a resumed engine waits for a client to send a request again whose bytes are gone,
    /// after it has asked for it, in nanoseconds. Then a zero-length WRITE takes the request's
    /// place at the server, and the client is served no longer. Those who wait behind it wait as
    /// long, so less than the clients' patience: 8 timeouts of 67 ms (timeout 14, 7 retries) are
    /// 536 ms; more than the longest single timeout among them, should the asking be lost.
    /// Default 300 ms.
    pub resume_wait_ns: u64,
    /// Whether usual packets are handled step by step as all others are, which takes longer and
    /// does the same: to show just that. Default `false`.
    pub step_by_step: bool,
    /// Longest frame, in bytes. 128 bytes of tables per byte. Default 9,216.
    pub frame_len_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            client_window_max: 256,
            requests_max: 65_536,
            held_responses_max: 16_384,
            atomic_results: 16,
            server_window_max: 256,
            server_timeout_ns: 4_000_000,
            server_timeout_max_ns: 256_000_000,
            server_retries_max: 60,
            connections_max: 4_096,
            domains_max: 64,
            path_mtu: None,
            depth: None,
            flip_wait_ns: 10_000_000,
            guest_wait_ns: 20_000_000,
            packet_lifetime_ns: 500_000_000,
            message_wait_ns: 1_000_000_000,
            disturbances_max: 3,
            grants_max: 16_384,
            declined_keys_max: 65_536,
            addresses_max: 65_536,
            words_max: 65_536,
            lists_max: 16_384,
            nodes_max: 65_536,
            verify: Verify::Full,
            #[cfg(feature = "mutations")]
            without: None,
            records: false,
            resume_wait_ns: 300_000_000,
            step_by_step: false,
            frame_len_max: 9_216,
        }
    }
}

/// Path MTUs that InfiniBand has, in bytes (IBTA vol. 1, 9.4.3).
const PATH_MTUS: [u16; 5] = [256, 512, 1024, 2048, 4096];

/// A configuration that no engine can be built for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// The field.
    pub field: &'static str,
    /// Its value.
    pub found: u64,
    /// What it must be.
    pub expected: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, must be {}", self.field, self.found, self.expected)
    }
}

impl core::error::Error for ConfigError {}

impl Config {
    /// Whether the engine keeps a rule.
    #[cfg(feature = "mutations")]
    pub(crate) fn keeps(&self, rule: crate::Rule) -> bool {
        self.without != Some(rule)
    }

    /// Whether usual packets may take the short way: the engine keeps every rule.
    pub(crate) fn goes_short(&self) -> bool {
        !self.step_by_step && crate::Rule::ALL.iter().all(|rule| self.keeps(*rule))
    }

    /// Whether the engine keeps a rule: it keeps all.
    #[cfg(not(feature = "mutations"))]
    #[inline(always)]
    pub(crate) const fn keeps(&self, _rule: crate::Rule) -> bool {
        true
    }

    /// Addresses to remember under a policy.
    pub(crate) fn addresses_room(&self, policy: &Policy) -> u32 {
        if policy.map == Map::None { 0 } else { self.addresses_max }
    }

    /// Words to remember under a policy.
    pub(crate) fn words_room(&self, policy: &Policy) -> u32 {
        if policy.atomics == Atomics::Replace { self.words_max } else { 0 }
    }

    /// Lists to remember under a policy: READs find by them what pointers point to. Requests that
    /// are steered in place have their own.
    pub(crate) fn lists_room(&self, policy: &Policy) -> u32 {
        let follows = policy.steer != Steer::None && policy.map == Map::Writes;
        if follows || policy.map == Map::All { self.lists_max } else { 0 }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let range = |field, found: u64, low: u64, high: u64, expected| {
            if (low..=high).contains(&found) {
                Ok(())
            } else {
                Err(ConfigError { field, found, expected })
            }
        };
        let half = 1 << 22;
        range("client_window_max", self.client_window_max.into(), 1, half, "1 to 4,194,304")?;
        range("server_window_max", self.server_window_max.into(), 1, half, "1 to 4,194,304")?;
        range("requests_max", self.requests_max.into(), 1, 1 << 26, "1 to 67,108,864")?;
        range("held_responses_max", self.held_responses_max.into(), 1, 1 << 26, "1 to 67,108,864")?;
        range("atomic_results", self.atomic_results.into(), 1, 255, "1 to 255")?;
        let minutes = "1 ns to 18 minutes";
        range("server_timeout_ns", self.server_timeout_ns, 1, 1 << 40, minutes)?;
        range("server_timeout_max_ns", self.server_timeout_max_ns, 1, 1 << 40, minutes)?;
        range(
            "server_retries_max",
            self.server_retries_max.into(),
            0,
            1 << 20,
            "at most 1,048,576",
        )?;
        range("resume_wait_ns", self.resume_wait_ns, 1, 1 << 40, "1 ns to 18 minutes")?;
        range("connections_max", self.connections_max.into(), 0, 1 << 24, "at most 16,777,216")?;
        range("domains_max", self.domains_max.into(), 0, 1 << 16, "at most 65,536")?;
        let keys = self.declined_keys_max.into();
        range("declined_keys_max", keys, 0, 1 << 26, "at most 67,108,864")?;
        let addresses = self.addresses_max.into();
        range("addresses_max", addresses, 0, 1 << 26, "at most 67,108,864")?;
        for (field, found) in [
            ("words_max", self.words_max),
            ("lists_max", self.lists_max),
            ("nodes_max", self.nodes_max),
        ] {
            range(field, found.into(), 0, 1 << 24, "at most 16,777,216")?;
        }
        range("grants_max", self.grants_max.into(), 0, 1 << 26, "at most 67,108,864")?;
        if let Some(path_mtu) = self.path_mtu.filter(|mtu| !PATH_MTUS.contains(mtu)) {
            let found = path_mtu.into();
            let expected = "256, 512, 1024, 2048 or 4096";
            return Err(ConfigError { field: "path_mtu", found, expected });
        }
        range("frame_len_max", self.frame_len_max as u64, 128, 65_535, "128 to 65,535")
    }
}
