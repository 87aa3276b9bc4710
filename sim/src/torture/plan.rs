//! Everything that decides a run. A plan without faults by chance can be written as a script.

use std::net::Ipv4Addr;

use qpmux_engine::policy::{
    Connection, Directory, DirectoryError, Grant, Policy, Region, Rights, Start,
};
use qpmux_engine::wire::{ClientPsn, Msn, Psn};
use qpmux_engine::{Config, DomainId, ServerQpId, ShardId, Verify};
use serde::{Deserialize, Serialize};

use super::choices::{Choices, Limits};
use super::crash::Crash;
use super::learn::{self, Learning};
use super::workload::{BASE, END, Op, is_default, rkey};
use crate::dice::Dice;
use crate::faults::{Fault, Faults, Leg, Rates, What};
use crate::rc::{
    AckRequest, DuplicateAck, DuplicateAckPsn, Ending, Link, OverDepth, Region as ServerRegion,
    RequesterConfig, ResponderConfig, ResumeForm, Wire,
};

/// A limit that is never met.
pub(super) const FOREVER: u32 = 1 << 20;
/// The default partition, with full membership (IBTA vol. 1, 10.9.1.2).
pub(super) const PARTITION: u16 = 0xffff;

/// A run, before it begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Plan {
    /// Rule that is known to be broken; none if the run is to be clean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) broken: Option<String>,
    pub(super) shards: u8,
    /// Answers arrive at another shard than requests.
    pub(super) asymmetric: bool,
    /// Actions that one call of the engine may leave behind.
    pub(super) out_capacity: usize,
    /// Clients without faults on their own legs must notice nothing.
    pub(super) innocents_notice_nothing: bool,
    /// Ends tell the senders of marked packets of them (RoCEv2 annex A17.9.3).
    #[serde(skip_serializing_if = "is_default")]
    pub(super) notifies: bool,
    /// One-way times between clients and middlebox, and between middlebox and servers, ns.
    pub(super) client_latency_ns: u64,
    pub(super) server_latency_ns: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) faults: Vec<Fault>,
    /// The engine ends, and another one goes on from its log: one after the other.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) crashes: Vec<Crash>,
    pub(super) policy: Choices,
    pub(super) engine: Limits,
    /// Connections are learnt, on one shard; else they are known from the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) learning: Option<Learning>,
    #[serde(rename = "client")]
    pub(super) clients: Vec<Client>,
    /// Faults by chance, instead of those that are listed.
    #[serde(skip)]
    pub(super) chance: Option<Chance>,
    /// Usual packets are handled step by step as well.
    #[serde(skip)]
    pub(super) step_by_step: bool,
    /// The rule that the engine breaks.
    #[cfg(feature = "mutations")]
    #[serde(skip)]
    pub(super) without: Option<qpmux_engine::Rule>,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            broken: None,
            shards: 1,
            asymmetric: false,
            out_capacity: 64,
            innocents_notice_nothing: true,
            notifies: false,
            client_latency_ns: 500,
            server_latency_ns: 500,
            faults: Vec::new(),
            crashes: Vec::new(),
            policy: Choices::default(),
            engine: Limits::default(),
            learning: None,
            clients: Vec::new(),
            chance: None,
            step_by_step: false,
            #[cfg(feature = "mutations")]
            without: None,
        }
    }
}

/// Faults by chance: by connection, and by leg in the order of [`Leg::ALL`].
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chance {
    pub(super) seed: u64,
    pub(super) rates: Vec<[Rates; 4]>,
}

/// One connection of the plan: a client, its habits and its server's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Client {
    /// Sequence number and message number before the first request.
    pub(super) psn: u32,
    pub(super) msn: u32,
    /// Path MTU, bytes.
    pub(super) pmtu: usize,
    /// Protection domain of the server queue pair.
    pub(super) domain: u16,
    /// Partition key of both its queue pairs (IBTA vol. 1, 10.9.2).
    pub(super) partition_key: u16,
    /// 802.1Q tag of its packets, in both directions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tag: Option<u16>,
    /// Requests that are posted at a time.
    pub(super) outstanding: usize,
    /// It is silent and deaf from its n-th packet on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stops_after: Option<u64>,
    /// It ends its connection through the connection manager when all is done, where connections
    /// are learnt.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) leaves: bool,
    pub(super) window: u32,
    /// READs and atomics that it has unanswered at a time.
    pub(super) depth: usize,
    pub(super) ack_request: AckRequest,
    /// Local ACK timeout t, 4.096 us * 2^t.
    pub(super) timeout: u8,
    pub(super) retries: u32,
    pub(super) rnr_retries: u32,
    pub(super) responses_acknowledge: bool,
    pub(super) restart_reads: bool,
    pub(super) waits_at_holes: bool,
    pub(super) resends_at_lower_msn: bool,
    pub(super) honours_credits: bool,
    pub(super) operations: Vec<Op>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) server: Server,
}

impl Default for Client {
    fn default() -> Self {
        Client {
            psn: 0,
            msn: 0,
            pmtu: 256,
            domain: 0,
            partition_key: PARTITION,
            tag: None,
            outstanding: 4,
            stops_after: None,
            leaves: false,
            window: 128,
            depth: 4,
            ack_request: AckRequest::EveryMessage,
            timeout: 8,
            retries: FOREVER,
            rnr_retries: 7,
            responses_acknowledge: true,
            restart_reads: false,
            waits_at_holes: false,
            resends_at_lower_msn: false,
            honours_credits: false,
            operations: Vec::new(),
            server: Server::default(),
        }
    }
}

/// Habits of a server queue pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Server {
    /// Code of its credits; unless given, one of its own, so that it is seen whom it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) credits: Option<u8>,
    /// READs and atomics that it takes at a time.
    pub(super) depth: usize,
    pub(super) over_depth: OverDepth,
    pub(super) answer_delay_ns: u64,
    pub(super) ack_every: u32,
    pub(super) ack_delay_ns: u64,
    pub(super) swallow_acks: bool,
    pub(super) duplicate_ack: DuplicateAck,
    pub(super) duplicate_ack_psn: DuplicateAckPsn,
    pub(super) resume: ResumeForm,
    pub(super) narrow_reads: bool,
    pub(super) nak_during_rnr: bool,
    /// Every n-th message is first refused as "receiver not ready"; 0 is none.
    pub(super) rnr_every: u64,
    pub(super) rnr_timer: u8,
    /// How it comes to its end, and when, though its clients do nothing wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ending: Option<Ending>,
}

impl Default for Server {
    fn default() -> Self {
        Server {
            credits: None,
            depth: 4,
            over_depth: OverDepth::Refuse,
            answer_delay_ns: 500,
            ack_every: 1,
            ack_delay_ns: 2_000,
            swallow_acks: false,
            duplicate_ack: DuplicateAck::Always,
            duplicate_ack_psn: DuplicateAckPsn::NewestWrite,
            resume: ResumeForm::First,
            narrow_reads: false,
            nak_during_rnr: false,
            rnr_every: 0,
            rnr_timer: 1,
            ending: None,
        }
    }
}

impl Server {
    /// The same with the habits of Linux' rxe, measured on kernel 6.1.
    pub(super) fn like_rxe(self) -> Server {
        Server {
            over_depth: OverDepth::Evict,
            swallow_acks: true,
            duplicate_ack_psn: DuplicateAckPsn::NewestNonRead,
            resume: ResumeForm::Middle,
            narrow_reads: true,
            nak_during_rnr: true,
            ..self
        }
    }
}

impl Plan {
    /// The engine's view of it.
    pub(super) fn directory(&self) -> Result<Directory, DirectoryError> {
        if let Some(learning) = self.learning {
            return Ok(learning.directory(self));
        }
        let shards = self.shards;
        let connections = (0..self.clients.len() as u32)
            .map(|i| self.connection(i, ShardId(shard_of(i, shards))))
            .collect();
        let mut domains: Vec<u16> = self.clients.iter().map(|client| client.domain).collect();
        domains.sort_unstable();
        domains.dedup();
        let region = |&domain: &u16| Region {
            domain: DomainId(domain),
            remote_key: rkey(domain),
            start: BASE,
            end: END,
        };
        let grant = |(i, client): (u32, &Client)| Grant {
            server_qp: ServerQpId(i),
            remote_key: rkey(client.domain),
            rights: Rights::ALL,
        };
        let regions = domains.iter().map(region).collect();
        let grants = (0..).zip(&self.clients).map(grant).collect();
        Directory::new(connections, regions, grants, &self.policy())
    }

    /// The engine's configuration.
    pub(super) fn config(&self) -> Config {
        let limits = self.engine;
        let config = Config {
            client_window_max: limits.client_window_max,
            requests_max: limits.requests_max,
            held_responses_max: limits.held_responses_max,
            atomic_results: limits.atomic_results,
            server_window_max: limits.server_window_max,
            server_timeout_ns: limits.server_timeout_ns,
            server_timeout_max_ns: 64 * limits.server_timeout_ns,
            server_retries_max: limits.server_retries_max,
            disturbances_max: limits.disturbances_max,
            // Longer than any packet is late.
            packet_lifetime_ns: 500_000,
            guest_wait_ns: 5 * limits.server_timeout_ns,
            message_wait_ns: limits.message_wait_ns,
            addresses_max: limits.addresses_max,
            words_max: limits.words_max,
            verify: if self.trusts_link() { Verify::Headers } else { Verify::Full },
            // Longer packets are patched as well, in several steps.
            frame_len_max: 128,
            declined_keys_max: 64,
            grants_max: 64,
            domains_max: 4,
            connections_max: 64,
            records: !self.crashes.is_empty(),
            step_by_step: self.step_by_step,
            // More than any client's timeout. What is learnt loses more in a row: its clients and
            // servers settle losses between them for a time.
            resume_wait_ns: self.client_timeout_max()
                * if self.learning.is_some() { 16 } else { 4 },
            #[cfg(feature = "mutations")]
            without: self.without,
            ..Config::default()
        };
        self.learning.map_or(config, |learning| learning.config(self, config))
    }

    /// The engine's policy.
    pub(super) fn policy(&self) -> Policy {
        let policy = self.policy.to_policy();
        match self.learning {
            Some(learning) => learning.policy(policy),
            None => policy,
        }
    }

    /// Shards that the engine has.
    pub(super) fn shards(&self) -> u8 {
        if self.learning.is_some() { 1 } else { self.shards }
    }

    /// Whether the plan lets this happen on a leg of a connection.
    fn may(&self, leg: Leg, i: u32, what: &[What]) -> bool {
        let listed =
            |fault: &Fault| fault.leg == leg && fault.connection == i && what.contains(&fault.what);
        let rates = self.chance.as_ref().and_then(|chance| chance.rates.get(i as usize));
        rates.is_some_and(|rates| rates[leg as usize].can_harm()) || self.faults.iter().any(listed)
    }

    /// Whether faults can hit a leg of a connection and be noticed.
    pub(super) fn hits(&self, leg: Leg, i: u32) -> bool {
        self.may(leg, i, &[What::Drop, What::Double, What::Delay, What::Corrupt])
    }

    /// Whether anyone's end, once it comes, is none of the engine's doing.
    pub(super) fn has_offender(&self) -> bool {
        self.clients.iter().any(Client::offends)
    }

    /// Whether a server queue pair comes to its end by itself.
    pub(super) fn has_ending(&self) -> bool {
        self.clients.iter().any(|client| client.server.ending.is_some())
    }

    /// Connections whose server queue pairs may host others: in each domain those with the
    /// lowest numbers.
    pub(super) fn hosts(&self) -> Vec<u32> {
        let mut all: Vec<u32> = (0..self.clients.len() as u32).collect();
        all.sort_by_key(|i| (self.clients[*i as usize].domain, server_qpn(*i)));
        let mut counts = std::collections::BTreeMap::new();
        let max = if self.policy.server_qps == 0 { u32::MAX } else { self.policy.server_qps };
        all.retain(|i| {
            let count: &mut u32 = counts.entry(self.clients[*i as usize].domain).or_default();
            *count += 1;
            *count <= max
        });
        all
    }

    /// Whether data that is damaged on its way to the middlebox goes on from there.
    pub(super) fn trusts_link(&self) -> bool {
        self.engine.trusts_link && self.learning.is_none()
    }

    /// Whether a server may be asked how far it is, and be given something else in the place of
    /// what it never took: after a crash, or for what was damaged and is not sent again.
    pub(super) fn may_fill(&self) -> bool {
        let damages = |i| self.may(Leg::ClientToBox, i, &[What::Corrupt]);
        let damaged = self.trusts_link() && (0..self.clients.len() as u32).any(damages);
        damaged || !self.crashes.is_empty()
    }

    fn wire(&self, leg: Leg, i: u32) -> Wire {
        let passed = self.trusts_link() && self.passes_damage(leg);
        Wire {
            may_lose: passed || self.may(leg, i, &[What::Drop, What::Corrupt]),
            may_reorder: self.may(leg, i, &[What::Double, What::Delay]),
            may_corrupt: passed || self.may(leg, i, &[What::Corrupt]),
        }
    }

    /// Whether what comes out on a leg may have been damaged before the middlebox, by anyone.
    fn passes_damage(&self, leg: Leg) -> bool {
        let before = match leg {
            Leg::BoxToServer => Leg::ClientToBox,
            Leg::BoxToClient => Leg::ServerToBox,
            Leg::ClientToBox | Leg::ServerToBox => return false,
        };
        (0..self.clients.len() as u32).any(|i| self.may(before, i, &[What::Corrupt]))
    }

    pub(super) fn faults(&self, leg: Leg, i: u32) -> Faults {
        match &self.chance {
            None => Faults::listed(&self.faults, leg, i),
            Some(chance) => {
                let rates =
                    chance.rates.get(i as usize).map_or(Rates::default(), |r| r[leg as usize]);
                Faults::drawn(rates, Dice::new(chance.seed, 10 + leg as u64, u64::from(i)))
            }
        }
    }

    /// Whether a place may get another server queue pair.
    pub(super) fn may_move(&self) -> bool {
        let leaves = self.clients.iter().any(|client| client.leaves);
        self.engine.disturbances_max < FOREVER || self.has_offender() || self.has_ending() || leaves
    }

    /// Whether READs' responses may come that there is no room to hold: to their clients they are
    /// lost.
    pub(super) fn holds_few(&self) -> bool {
        self.engine.held_responses_max < Limits::default().held_responses_max
    }

    /// Longest timeout of a client, ns.
    pub(super) fn client_timeout_max(&self) -> u64 {
        self.clients.iter().map(|client| 4096 << client.timeout.min(31)).max().unwrap_or(0)
    }

    /// Requests of all clients.
    pub(super) fn requests(&self) -> u64 {
        self.clients.iter().map(|client| client.operations.len() as u64).sum()
    }

    /// Both ends of a connection, seen from the client.
    pub(super) fn link(&self, i: u32) -> Link {
        let client = Ipv4Addr::new(10, 0, 1, i as u8 + 1);
        let server = Ipv4Addr::new(10, 0, 0, 9);
        let link = Link::new(client, 0x11 + i, server, server_qpn(i));
        let mut wire = self.wire(Leg::BoxToClient, i);
        wire.may_lose |= self.holds_few();
        let Client { pmtu, partition_key, tag, .. } = self.clients[i as usize];
        Link { pmtu, partition_key, tag, peer_tag: tag, wire, ..link }
    }

    /// The same as an end takes it that also sees what the other one does, as long as packets
    /// pass.
    fn end(&self, link: Link) -> Link {
        let open = self.learning.is_some() || !self.crashes.is_empty();
        if open { learn::open_wire(link) } else { link }
    }

    pub(super) fn requester(&self, i: u32) -> RequesterConfig {
        let client = &self.clients[i as usize];
        RequesterConfig {
            link: self.end(self.link(i)),
            start_psn: Psn::new(client.psn),
            msn_start: Msn::new(client.msn),
            window: client.window,
            max_rd_atomic: client.depth,
            ack_request: client.ack_request,
            timeout: client.timeout,
            retry_count: client.retries,
            rnr_retry: client.rnr_retries,
            responses_acknowledge: client.responses_acknowledge,
            restart_reads: client.restart_reads,
            waits_at_holes: client.waits_at_holes,
            resends_at_lower_msn: client.resends_at_lower_msn,
            honours_credits: client.honours_credits,
        }
    }

    pub(super) fn responder(&self, i: u32) -> ResponderConfig {
        let client = &self.clients[i as usize];
        let server = &client.server;
        let link = Link { wire: self.wire(Leg::BoxToServer, i), ..self.link(i).reversed() };
        let region = ServerRegion::new(rkey(client.domain), BASE, END - BASE);
        let config = ResponderConfig::new(self.end(link), Psn::new(client.psn), vec![region]);
        ResponderConfig {
            msn_start: Msn::new(client.msn),
            credits: self.credits(i),
            max_dest_rd_atomic: server.depth,
            over_depth: server.over_depth,
            answer_delay: server.answer_delay_ns,
            ack_every: server.ack_every,
            ack_delay: server.ack_delay_ns,
            swallow_acks: server.swallow_acks,
            duplicate_ack: server.duplicate_ack,
            duplicate_ack_psn: server.duplicate_ack_psn,
            resume: server.resume,
            narrow_reads: server.narrow_reads,
            nak_during_rnr: server.nak_during_rnr,
            rnr_every: server.rnr_every,
            rnr_timer: server.rnr_timer,
            require_ack_request: self.learning.is_none(),
            ending: server.ending,
            // A question far ahead, and what fills a hole, are not what was there before.
            content_window: if self.may_fill() { 0 } else { config.content_window },
            ..config
        }
    }

    /// Code of the credits of a connection's server queue pair.
    pub(super) fn credits(&self, i: u32) -> u8 {
        self.clients[i as usize].server.credits.unwrap_or((i % 30) as u8 + 1)
    }

    fn connection(&self, i: u32, shard: ShardId) -> Connection {
        let client = &self.clients[i as usize];
        let start = Start {
            psn: ClientPsn::new(client.psn),
            msn: Msn::new(client.msn),
            credits: self.credits(i),
        };
        let known = self.link(i).known(start, client.server.depth);
        Connection { domain: DomainId(client.domain), shard, ..known }
    }
}

/// Number of a connection's server queue pair: their order is not that of the clients.
fn server_qpn(i: u32) -> u32 {
    0x100 + (i / 8) * 8 + (i * 5) % 8
}

/// The shard that a connection belongs to.
pub(super) fn shard_of(connection: u32, shards: u8) -> u8 {
    (connection % u32::from(shards.max(1))) as u8
}

impl Client {
    /// Whether it asks for something that its server refuses.
    pub(super) fn offends(&self) -> bool {
        self.operations.iter().any(|op| matches!(op, Op::Bad(_)))
    }
}
