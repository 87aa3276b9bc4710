//! Everything that a seed decides.

use std::fmt;
use std::net::Ipv4Addr;

use qpmux_engine::policy::{
    AtomicKey, ByteOrder, Connection, Directory, DirectoryError, Endpoint, Grant, KeyField, KeyMap,
    Map, Order, PathFacts, Policy, Profile, Region, Rights, Start, TrustBy,
};
use qpmux_engine::wire::{ClientPsn, Msn, Opcode, Psn};
use qpmux_engine::{Config, DomainId, ServerQpId, ShardId};

use super::dice::Dice;
use super::faults::{Leg, Rates};
use super::workload::{BASE, CELL, END, Mix, RKEY};
use crate::rc::{
    AckRequest, DuplicateAck, Link, Region as ServerRegion, RequesterConfig, ResponderConfig,
    ResumeForm, Wire,
};

/// A limit that is never met.
const FOREVER: u32 = 1 << 20;

/// Where faults are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    /// On every leg.
    Everywhere,
    /// Between middlebox and servers only: no client may notice.
    Servers,
    /// Between one client and the middlebox only: no other client may notice.
    OneClient(u32),
    /// Nowhere.
    Nowhere,
}

/// One connection of the plan.
#[derive(Clone, Debug)]
pub(super) struct PlannedConnection {
    pub(super) requester: RequesterConfig,
    pub(super) responder: ResponderConfig,
    /// Requests, and how many of them may be outstanding.
    pub(super) requests: u32,
    pub(super) outstanding: usize,
    pub(super) mix: Mix,
    /// Faults by leg, in the order of [`Leg::ALL`].
    pub(super) rates: [Rates; 4],
}

/// A run, before it begins.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) focus: Focus,
    pub(super) policy: Policy,
    pub(super) engine: Config,
    pub(super) out_capacity: usize,
    /// Answers arrive at another shard than requests.
    pub(super) asymmetric: bool,
    pub(super) connections: Vec<PlannedConnection>,
    /// One-way times, ns: between client and middlebox, between middlebox and server.
    pub(super) latency: (u64, u64),
}

impl Plan {
    /// The plan of a seed.
    pub(super) fn new(seed: u64) -> Plan {
        let mut dice = Dice::new(seed, 1, 0);
        let clients = dice.between(2, 8) as u32;
        let focus = match dice.below(10) {
            0 => Focus::Nowhere,
            1 | 2 => Focus::Servers,
            3 | 4 => Focus::OneClient(dice.below(clients.into()) as u32),
            _ => Focus::Everywhere,
        };
        let requests = dice.between(8, 40) as u32;
        let severity = dice.pick(&[10, 30, 60, 120]);
        let engine = engine(&mut dice, focus);
        let general = General {
            focus,
            requests,
            severity,
            rnr: dice.chance(300),
            tight: engine.client_window_max < 256,
        };
        let connection = |i| PlannedConnection::new(&mut Dice::new(seed, 2, i), i as u32, &general);
        Plan {
            seed,
            focus,
            policy: policy(&mut dice),
            engine,
            out_capacity: dice.pick(&[16, 20, 64, 256]),
            asymmetric: dice.chance(500),
            connections: (0..u64::from(clients)).map(connection).collect(),
            latency: (dice.pick(&[100, 500, 3_000]), dice.pick(&[100, 500, 3_000])),
        }
    }

    /// The engine's view of it, for a number of shards.
    pub(super) fn directory(&self, shards: u8) -> Result<Directory, DirectoryError> {
        let domain = DomainId(0);
        let region = Region { domain, remote_key: RKEY, start: BASE, end: END };
        let connections: Vec<Connection> = (0..)
            .zip(&self.connections)
            .map(|(i, planned)| planned.connection(ShardId(shard_of(i, shards))))
            .collect();
        let grant = |i| Grant { server_qp: ServerQpId(i), remote_key: RKEY, rights: Rights::ALL };
        let grants = (0..connections.len() as u32).map(grant).collect();
        Directory::new(connections, vec![region], grants, &self.policy)
    }

    /// Whether faults can hit a leg of a connection.
    pub(super) fn hits(&self, leg: Leg, connection: u32) -> bool {
        self.focus.hits(leg, connection)
    }

    /// Whether a server queue pair may stop hosting, because of what its owner asks for.
    pub(super) fn may_move(&self) -> bool {
        self.engine.disturbances_max < FOREVER
    }

    /// Longest timeout of a client, ns.
    pub(super) fn client_timeout_max(&self) -> u64 {
        let timeouts = self.connections.iter().filter_map(|c| c.requester.timeout_ns());
        timeouts.max().unwrap_or(0)
    }
}

/// The shard that a connection belongs to.
pub(super) fn shard_of(connection: u32, shards: u8) -> u8 {
    (connection % u32::from(shards.max(1))) as u8
}

impl Focus {
    fn hits(self, leg: Leg, connection: u32) -> bool {
        match self {
            Focus::Everywhere => true,
            Focus::Servers => !leg.is_client_side(),
            Focus::OneClient(victim) => leg.is_client_side() && connection == victim,
            Focus::Nowhere => false,
        }
    }
}

fn policy(dice: &mut Dice) -> Policy {
    let key = KeyField {
        opcode: Opcode::WriteOnly,
        payload_len: CELL as u32,
        offset: 0,
        len: 8,
        byte_order: ByteOrder::Little,
    };
    Policy {
        map: Map::Writes,
        key_map: dice.pick(&[KeyMap::Modulo, KeyMap::Hash, KeyMap::ByConnection]),
        server_qps: dice.between(1, 3) as u32,
        order: dice.pick(&[Order::Fenced, Order::Keyed]),
        profile: Profile::new(vec![key], AtomicKey::LastWritten),
        message_packets_max: dice.pick(&[1, 4]),
        trust: TrustBy::Directory,
    }
}

fn engine(dice: &mut Dice, focus: Focus) -> Config {
    // What does not fit the limits is dropped, and then a client notices.
    let tight = focus == Focus::Everywhere && dice.chance(400);
    Config {
        client_window_max: if tight { dice.pick(&[1, 3, 8]) } else { 256 },
        requests_max: if tight { dice.pick(&[8, 64]) } else { 512 },
        held_responses_max: 512,
        atomic_results: 4,
        server_window_max: dice.pick(&[1, 2, 8, 256]),
        server_timeout_ns: dice.pick(&[20_000, 40_000]),
        server_timeout_max_ns: 2_560_000,
        server_retries_max: 100_000,
        frame_len_max: 1024,
        disturbances_max: dice.pick(&[2, FOREVER, FOREVER, FOREVER]),
        ..Config::default()
    }
}

/// What all connections of a plan have in common.
struct General {
    focus: Focus,
    requests: u32,
    severity: u64,
    rnr: bool,
    /// The engine drops what a client has outstanding beyond a few requests.
    tight: bool,
}

impl PlannedConnection {
    fn new(dice: &mut Dice, i: u32, general: &General) -> PlannedConnection {
        let focus = general.focus;
        let wire = |leg| if focus.hits(leg, i) { Wire::ANY } else { Wire::FAITHFUL };
        let pmtu = if dice.chance(100) { 512 } else { 256 };
        let client = Ipv4Addr::new(10, 0, 1, i as u8 + 1);
        let server = Ipv4Addr::new(10, 0, 0, 9);
        let link = Link::new(client, 0x11 + i, server, 0x100 + (i * 5) % 8);
        let link = Link { pmtu, wire: wire(Leg::BoxToClient), ..link };
        let psn = Psn::new(dice.pick(&[0, 0xff_fffe, 0x7f_ffff, 0xff_ffe0, 1000]));
        let msn = Msn::new(dice.pick(&[0, 0xff_fffe, 0x7f_ffff, 5]));
        let depth = dice.between(1, 4) as usize;
        let server_link = Link { wire: wire(Leg::BoxToServer), ..link.reversed() };
        // A message of several packets that a client's own losses cut in two keeps the others
        // from that server queue pair until the client has repeated the rest.
        let mix = match focus {
            Focus::OneClient(_) => Mix { long: false, sends: true },
            _ => Mix { long: !general.tight && dice.chance(700), sends: dice.chance(700) },
        };
        let mut responder = ResponderConfig::new(server_link, psn, regions());
        responder.msn_start = msn;
        // A code of its own, so that it is seen whom an answer's credits belong to.
        responder.credits = i as u8 + 1;
        responder.max_dest_rd_atomic = depth;
        vary_responder(&mut responder, dice, general);
        let mut requester = RequesterConfig::new(link, psn);
        requester.msn_start = msn;
        requester.max_rd_atomic = dice.between(1, depth as u64) as usize;
        vary_requester(&mut requester, dice, focus);
        if mix.long {
            // A READ that is repeated while a message of several packets is half sent waits for
            // its end, which the client must be able to send.
            requester.window = 128;
        }
        let mut rates = [Rates::default(); 4];
        for (leg, rates) in Leg::ALL.into_iter().zip(&mut rates) {
            if focus.hits(leg, i) {
                *rates = draw_rates(dice, general.severity);
            }
        }
        PlannedConnection {
            requester,
            responder,
            requests: general.requests,
            outstanding: dice.between(1, 8) as usize,
            mix,
            rates,
        }
    }

    fn connection(&self, shard: ShardId) -> Connection {
        let link = &self.requester.link;
        let path = &link.path;
        let facts = PathFacts {
            source_port: path.source_port,
            traffic_class: path.traffic_class,
            hop_limit: path.hop_limit,
            migration_request: link.migration_request,
            partition_key: link.partition_key,
        };
        Connection {
            client: Endpoint { mac: path.source_mac, ip: path.source, qpn: link.qpn },
            server: Endpoint {
                mac: path.destination_mac,
                ip: path.destination,
                qpn: link.peer_qpn,
            },
            request: facts,
            response: facts,
            start: Start {
                psn: ClientPsn::from_wire(self.requester.start_psn),
                msn: self.requester.msn_start,
                credits: self.responder.credits,
            },
            path_mtu: link.pmtu as u16,
            depth: self.responder.max_dest_rd_atomic as u16,
            domain: DomainId(0),
            shard,
        }
    }
}

fn regions() -> Vec<ServerRegion> {
    vec![ServerRegion::new(RKEY, BASE, END - BASE)]
}

fn vary_responder(config: &mut ResponderConfig, dice: &mut Dice, general: &General) {
    config.require_ack_request = true;
    config.answer_delay = dice.pick(&[50, 500, 2_000]);
    if dice.chance(400) {
        let depth = config.max_dest_rd_atomic;
        *config = config.clone().like_rxe();
        config.max_dest_rd_atomic = depth;
        return;
    }
    config.ack_every = dice.pick(&[1, 1, 2, 4, 16]);
    config.ack_delay = dice.pick(&[500, 5_000]);
    config.swallow_acks = dice.chance(500);
    config.duplicate_ack = dice.pick(&[DuplicateAck::Always, DuplicateAck::IfRequested]);
    config.resume = dice.pick(&[ResumeForm::First, ResumeForm::Middle]);
    config.narrow_reads = dice.chance(300);
    config.nak_during_rnr = dice.chance(300);
    if general.rnr && matches!(general.focus, Focus::Everywhere) {
        config.rnr_every = dice.pick(&[0, 2, 5]);
        config.rnr_timer = dice.pick(&[1, 3, 5]);
    }
}

fn vary_requester(config: &mut RequesterConfig, dice: &mut Dice, focus: Focus) {
    config.window = dice.pick(&[8, 16, 128]);
    config.ack_request = dice.pick(&[
        AckRequest::EveryMessage,
        AckRequest::EveryPackets(4),
        AckRequest::LastOfBatch,
    ]);
    // Where a client must not notice anything, its timeout must not be what is looked at.
    config.timeout = if focus == Focus::Everywhere { dice.between(5, 7) as u8 } else { 13 };
    config.retry_count = 100_000;
    config.responses_acknowledge = dice.chance(700);
    config.restart_reads = dice.chance(300);
}

fn draw_rates(dice: &mut Dice, severity: u64) -> Rates {
    let mut rate = || dice.pick(&[0, 1, 1, 2]) * severity / 2;
    let (drop, double, delay, corrupt) = (rate(), rate(), rate(), rate() / 2);
    Rates {
        drop,
        double,
        delay,
        corrupt,
        burst: dice.pick(&[0, 0, 2, 5]),
        delay_max: dice.pick(&[2_000, 20_000, 200_000]),
        budget: dice.between(1, 12),
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { focus, policy, engine, out_capacity, asymmetric, latency, .. } = self;
        writeln!(f, "faults {focus:?}, {:?}, {:?}", policy.order, policy.key_map)?;
        writeln!(f, "{} server queue pairs in use", policy.server_qps)?;
        writeln!(f, "messages of up to {} packets are mapped", policy.message_packets_max)?;
        writeln!(f, "{engine:?}, out {out_capacity}, asymmetric {asymmetric}, {latency:?} ns")?;
        for (i, planned) in self.connections.iter().enumerate() {
            let PlannedConnection { requester: c, responder: s, outstanding, mix, .. } = planned;
            writeln!(
                f,
                "{i}: QP {} to {}, {outstanding} outstanding, window {}, depth {}, {:?}, {mix:?}, \
                 PMTU {}, start {} {}, timeout {}, acks {} restart {}",
                c.link.qpn,
                c.link.peer_qpn,
                c.window,
                c.max_rd_atomic,
                c.ack_request,
                c.link.pmtu,
                c.start_psn,
                c.msn_start.value(),
                c.timeout,
                c.responses_acknowledge,
                c.restart_reads
            )?;
            writeln!(
                f,
                "   server: depth {} {:?}, acks every {} within {} swallow {}, duplicates {:?} \
                 {:?}, {:?} narrow {}, RNR every {} timer {} NAK {}, delay {}",
                s.max_dest_rd_atomic,
                s.over_depth,
                s.ack_every,
                s.ack_delay,
                s.swallow_acks,
                s.duplicate_ack,
                s.duplicate_ack_psn,
                s.resume,
                s.narrow_reads,
                s.rnr_every,
                s.rnr_timer,
                s.nak_during_rnr,
                s.answer_delay
            )?;
        }
        Ok(())
    }
}
