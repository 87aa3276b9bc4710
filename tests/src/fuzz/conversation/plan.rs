//! What the first bytes decide: the engine's limits, the ends' habits, and what a request asks for.

use std::net::IpAddr;

use qpmux_engine::policy::{
    AtomicKey, ByteOrder, Connection, Directory, Grant, KeyField, KeyMap, Map, Order, Policy,
    Profile, Region, Rights, Start, TrustBy,
};
use qpmux_engine::wire::{ClientPsn, Msn, Opcode, Psn};
use qpmux_engine::{Config, DomainId, ServerQpId, ShardId};
use qpmux_sim::rc::{
    AckRequest, DuplicateAck, Link, Region as ServerRegion, RequesterConfig, ResponderConfig,
    ResumeForm, Verb, Wire,
};

use super::super::bytes::Bytes;
use super::super::traffic::{CLIENTS, REMOTE_KEY, SERVER, host_of, qpns_of, source_port_of};

pub(super) const PATH_MTU: usize = 256;
/// Bytes of a WRITE that carries a key, in its first byte; the grain of all WRITEs.
pub(super) const CELL: usize = 16;
/// Bytes that each client has for itself, one client after the other.
const OWN: u64 = 0x1000;
/// Where the bytes begin that all share, and the words for atomics.
const SHARED: u64 = CLIENTS as u64 * OWN;
const WORDS: u64 = SHARED + OWN;
const END: u64 = WORDS + OWN;
/// A limit that is never met.
const FOREVER: u32 = 1 << 20;

/// A conversation before it begins.
pub(super) struct Plan {
    /// The engine starts empty, and learns.
    pub(super) learns: bool,
    /// What nobody sent may arrive; then only the engine's own promises are judged.
    pub(super) hostile: bool,
    /// Servers refuse some of what is asked for.
    refuses: bool,
    /// The engine drops what a client has outstanding beyond a few packets.
    tight: bool,
    pub(super) shards: u8,
    pub(super) policy: Policy,
    pub(super) engine: Config,
    pub(super) directory: Directory,
    pub(super) out_capacity: usize,
    pub(super) ends: Vec<(RequesterConfig, ResponderConfig)>,
}

impl Plan {
    pub(super) fn new(choice: u8, more: u8, bytes: &mut Bytes<'_>) -> Option<Self> {
        let learns = choice & 1 != 0;
        let shards = if learns { 1 } else { [1, 2, 4, 3][usize::from(choice >> 1 & 3)] };
        let limits = bytes.byte();
        let (hostile, tight, refuses) = (limits & 3 == 3, limits & 0xc == 0xc, limits & 0x80 != 0);
        let policy = policy(choice, more, learns);
        let engine = engine(limits, learns, tight);
        let ends: Vec<_> =
            (0..CLIENTS).map(|client| ends(client, learns, tight, refuses, bytes)).collect();
        let directory = match learns {
            true => Directory::empty(),
            false => directory(&ends, &policy, shards)?,
        };
        let out_capacity = [64, 40, 48, 256][usize::from(choice >> 6)];
        Some(Self {
            learns,
            hostile,
            refuses,
            tight,
            shards,
            policy,
            engine,
            directory,
            out_capacity,
            ends,
        })
    }

    /// A client's next request; `number` is its own. Whether its server queue pair takes it.
    pub(super) fn verb(&self, client: usize, number: u32, kind: u8, what: u8) -> (Verb, bool) {
        let rkey = REMOTE_KEY;
        let place = |length: usize| {
            let base = if what & 0x40 == 0 { client as u64 * OWN } else { SHARED };
            base + u64::from(what & 0x3f) * CELL as u64 % (OWN - length as u64)
        };
        let word = WORDS + u64::from(what & 3) * 8;
        let tag = tag(client, number);
        let long = if self.tight { CELL } else { [2, 3, 4, 7][usize::from(what >> 4 & 3)] * 144 };
        let cells = |key: u8, length: usize| content(client, number, key, length);
        let write = |data: Vec<u8>, immediate| Verb::Write {
            address: place(data.len()),
            rkey,
            data,
            immediate,
        };
        let kind = if kind % 16 == 15 && !self.refuses { 0 } else { kind % 16 };
        let verb = match kind {
            0..=4 => write(cells(what & 7, CELL), None),
            5 => Verb::Read { address: place(CELL), rkey, length: CELL as u32 },
            6 | 7 => Verb::Read { address: place(1024), rkey, length: 200 * u32::from(what >> 5) },
            8 => {
                Verb::CompareSwap { address: word, rkey, compare: u64::from(what >> 4), swap: tag }
            }
            9 => Verb::FetchAdd { address: word, rkey, add: tag },
            10 | 11 => write(cells(0, long), None),
            12 => write(cells(what & 7, CELL), Some(7)),
            13 => Verb::Send { data: vec![what; long * usize::from(what & 1)], immediate: None },
            14 => write(Vec::new(), None),
            // Beyond the end of the region, or with a memory key that nobody knows.
            _ if what & 1 == 0 => Verb::write(END - 8, rkey, &cells(what & 7, CELL)),
            _ => Verb::write(place(CELL), rkey + 1, &cells(what & 7, CELL)),
        };
        let rights = &self.ends[client].1;
        let allowed = match verb {
            Verb::Write { .. } => rights.allow_write,
            Verb::Read { .. } => rights.allow_read,
            Verb::CompareSwap { .. } | Verb::FetchAdd { .. } => rights.allow_atomic,
            Verb::Send { .. } => true,
        };
        (verb, allowed && kind != 15)
    }
}

/// The tag of a client's request: also what its atomic stores or adds.
fn tag(client: usize, number: u32) -> u64 {
    (client as u64 + 1) << 32 | u64::from(number + 1)
}

/// Client and number of a tag; `None` if it is none.
pub(super) fn of_tag(tag: u64) -> Option<(usize, usize)> {
    let (client, number) = ((tag >> 32) as usize, (tag & 0xffff_ffff) as usize);
    (client > 0 && number > 0).then(|| (client - 1, number - 1))
}

/// Cells that say the key, who wrote them with which request, and where in it they are.
fn content(client: usize, number: u32, key: u8, length: usize) -> Vec<u8> {
    let cell = |index: usize| {
        let mut cell = [0; CELL];
        cell[..2].copy_from_slice(&[key, index as u8]);
        cell[8..].copy_from_slice(&tag(client, number).to_le_bytes());
        cell
    };
    (0..length / CELL).flat_map(cell).collect()
}

fn policy(choice: u8, more: u8, learns: bool) -> Policy {
    let key_maps = [KeyMap::Modulo, KeyMap::Hash, KeyMap::Rendezvous, KeyMap::ByConnection];
    let field = KeyField {
        opcode: Opcode::WriteOnly,
        payload_len: CELL as u32,
        offset: 0,
        len: 1,
        byte_order: ByteOrder::Little,
    };
    Policy {
        map: Map::Writes,
        key_map: key_maps[usize::from(choice >> 3 & 3)],
        server_qps: u32::from(more & 3),
        trust: if learns { TrustBy::Observation } else { TrustBy::Directory },
        order: if choice & 0x20 == 0 { Order::Fenced } else { Order::Keyed },
        profile: Profile::new(vec![field], AtomicKey::LastWritten),
        message_packets_max: [1, 4][usize::from(more >> 2 & 1)],
        ..Policy::default()
    }
}

fn engine(limits: u8, learns: bool, tight: bool) -> Config {
    Config {
        client_window_max: if tight { 4 } else { 256 },
        requests_max: if tight { 16 } else { 512 },
        // What does not fit here can stall a client that repeats a READ behind which others wait.
        held_responses_max: 256,
        atomic_results: 4,
        server_window_max: [256, 1, 2, 8][usize::from(limits >> 4 & 3)],
        server_timeout_ns: 40_000,
        server_retries_max: FOREVER,
        connections_max: 8,
        domains_max: 4,
        // What shows the path MTU are messages of several packets.
        path_mtu: (!learns || limits & 0x40 == 0).then_some(PATH_MTU as u16),
        flip_wait_ns: 20_000,
        disturbances_max: if limits & 0x10 == 0 { FOREVER } else { 2 },
        grants_max: 32,
        declined_keys_max: 4,
        frame_len_max: 512,
        ..Config::default()
    }
}

/// Both ends of a connection: what they are allowed, and their habits.
fn ends(
    client: usize,
    learns: bool,
    tight: bool,
    few_rights: bool,
    bytes: &mut Bytes<'_>,
) -> (RequesterConfig, ResponderConfig) {
    let (habits, more) = (bytes.byte(), bytes.byte());
    let (IpAddr::V4(host), IpAddr::V4(server)) = (host_of(client), SERVER) else {
        unreachable!("the world has IPv4 addresses")
    };
    let [qpn, peer] = qpns_of(client).map(|qpn| qpn.value());
    let mut link = Link::new(host, qpn, server, peer);
    link.path.source_port = source_port_of(client);
    link.pmtu = PATH_MTU;
    link.wire = Wire::ANY;
    let psn = Psn::new([100, 0xff_fffc, 0x7f_fffe, 0][client]);
    let mut responder =
        ResponderConfig::new(link.reversed(), psn, vec![ServerRegion::new(REMOTE_KEY, 0, END)]);
    responder.max_dest_rd_atomic = 4;
    responder.require_ack_request = !learns;
    responder.credits = client as u8 + 1;
    responder.answer_delay = 100;
    responder.ack_every = [1, 1, 2, 4][usize::from(habits & 3)];
    responder.ack_delay = 1_000;
    responder.swallow_acks = habits & 4 != 0;
    responder.duplicate_ack =
        [DuplicateAck::Always, DuplicateAck::IfRequested][usize::from(habits >> 3 & 1)];
    responder.resume = [ResumeForm::First, ResumeForm::Middle][usize::from(habits >> 4 & 1)];
    // Where packets pass, a client that asks for the rest of a READ, and then for all of it again,
    // would wait for it for ever.
    responder.narrow_reads = habits & 0x20 != 0 && !learns;
    responder.nak_during_rnr = habits & 0x40 != 0;
    responder.rnr_every = if habits & 0x80 != 0 { 3 } else { 0 };
    // As long as packets pass, a client would see what rxe acknowledges a repeat with.
    if habits == 0x7f && !learns {
        responder = responder.like_rxe();
    }
    responder.allow_write = !few_rights || client != 3;
    responder.allow_atomic = !few_rights || client < 2;
    let mut requester = RequesterConfig::new(link, psn);
    requester.msn_start = Msn::new([0, 0xff_fffe, 5, 0][client]);
    responder.msn_start = requester.msn_start;
    // A READ that is repeated while a message of several packets is half sent waits for its end,
    // which the client must be able to send.
    requester.window = if tight { [128, 16, 8, 4][usize::from(more & 3)] } else { 128 };
    requester.ack_request = [
        AckRequest::EveryMessage,
        AckRequest::EveryPackets(4),
        AckRequest::LastOfBatch,
        AckRequest::EveryMessage,
    ][usize::from(more >> 2 & 3)];
    requester.max_rd_atomic = [4, 1, 2, 3][usize::from(more >> 4 & 3)];
    requester.responses_acknowledge = more & 0x40 == 0;
    requester.restart_reads = more & 0x80 != 0;
    requester.timeout = 8;
    requester.retry_count = FOREVER;
    (requester, responder)
}

fn directory(
    ends: &[(RequesterConfig, ResponderConfig)],
    policy: &Policy,
    shards: u8,
) -> Option<Directory> {
    let region = Region { domain: DomainId(0), remote_key: REMOTE_KEY, start: 0, end: END };
    let connection = |(client, (requester, responder)): (u8, &(_, _))| {
        connection(ShardId(client % shards), requester, responder)
    };
    let grant = |(server_qp, (_, responder)): (u32, &(_, ResponderConfig))| {
        let mut rights = Rights::READ;
        for (allowed, right) in
            [(responder.allow_write, Rights::WRITE), (responder.allow_atomic, Rights::ATOMIC)]
        {
            rights = if allowed { rights.union(right) } else { rights };
        }
        Grant { server_qp: ServerQpId(server_qp), remote_key: REMOTE_KEY, rights }
    };
    let connections = (0..).zip(ends).map(connection).collect();
    let grants = (0..).zip(ends).map(grant).collect();
    Directory::new(connections, vec![region], grants, policy).ok()
}

fn connection(
    shard: ShardId,
    requester: &RequesterConfig,
    responder: &ResponderConfig,
) -> Connection {
    let start = Start {
        psn: ClientPsn::from_wire(requester.start_psn),
        msn: requester.msn_start,
        credits: responder.credits,
    };
    Connection { shard, ..requester.link.known(start, responder.max_dest_rd_atomic) }
}

/// Whether all of these bytes are a client's own.
pub(super) fn is_own(client: usize, address: u64) -> bool {
    address / OWN == client as u64
}
