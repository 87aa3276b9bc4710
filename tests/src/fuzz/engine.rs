//! The bytes are what happens to an engine that maps writes: requests, answers, noise, time.
//!
//! Half of all inputs are conversations of two good ends. In the others the bytes make up the
//! packets: most requests continue their client's sequence and most answers fit what the engine
//! sent, so that what follows is reached; the rest is off by a little or by much.

use std::collections::{HashSet, VecDeque};

use qpmux_engine::policy::{
    AtomicKey, ByteOrder, Connection, Directory, Endpoint, Grant, KeyField, KeyMap, Map, Order,
    PathFacts, Policy, Profile, Region, Rights, Start, TrustBy,
};
use qpmux_engine::wire::{Classified, ClientPsn, Layout, Msn, Opcode, Psn, classify, icrc};
use qpmux_engine::{Config, Counters, DomainId, Nanos, ServerQpId, ShardId, Side};
use qpmux_sim::host::{Guard, Host};

use super::bytes::Bytes;
use super::conversation::conversation;
use super::traffic::{CLIENTS, Packet, REMOTE_KEY, SERVER, host_of, qpns_of, source_port_of};

/// Things that happen in one input.
const STEPS_MAX: usize = 300;
/// Time that passes after the last one: some retries, in timeouts.
const TIMEOUTS_MAX: usize = 40;
/// Requests at the server that may yet be answered.
const OPEN_MAX: usize = 32;
/// Bytes of a WRITE that carries a key, in its first byte.
const RECORD: usize = 16;
const PATH_MTU: u16 = 256;
/// PSN of each client's first request; the second client soon wraps.
const FIRST_PSN: [u32; CLIENTS] = [100, 0xff_fffc, 0x7f_fffe, 0];

/// Drives an engine.
pub fn engine(data: &[u8]) {
    guarded_engine(data, |call| call());
}

/// The same, where each call of an engine goes through a guard; what the engine has counted.
pub fn guarded_engine(data: &[u8], guard: Guard) -> Counters {
    let mut bytes = Bytes::new(data);
    let (choice, more) = (bytes.byte(), bytes.byte());
    if more & 0x80 != 0 {
        return conversation(choice, more, &mut bytes, guard);
    }
    let Some(mut world) = World::new(choice, more, guard) else { return Counters::default() };
    for _ in 0..STEPS_MAX {
        if bytes.is_empty() {
            break;
        }
        world.step(&mut bytes);
    }
    world.finish();
    world.host.counters()
}

struct World {
    host: Host,
    shards: u8,
    now: u64,
    /// Next PSN of each client.
    next: [u32; CLIENTS],
    messages: u32,
    /// Requests that reached the server: whose queue pair, what, where.
    open: VecDeque<(usize, Opcode, Psn, u32)>,
    /// Every frame that came in: such a one may go out as it is, no other without a right ICRC.
    came_in: HashSet<Vec<u8>>,
}

impl World {
    fn new(choice: u8, more: u8, guard: Guard) -> Option<Self> {
        let learns = choice & 1 != 0;
        let shards = if learns { 1 } else { [1, 2, 4, 3][usize::from(choice >> 1 & 3)] };
        let key_maps = [KeyMap::Modulo, KeyMap::Hash, KeyMap::Rendezvous, KeyMap::ByConnection];
        let field = KeyField {
            opcode: Opcode::WriteOnly,
            payload_len: RECORD as u32,
            offset: 0,
            len: 1,
            byte_order: ByteOrder::Little,
        };
        let policy = Policy {
            map: Map::Writes,
            key_map: key_maps[usize::from(choice >> 3 & 3)],
            server_qps: u32::from(more & 3),
            trust: if learns { TrustBy::Observation } else { TrustBy::Directory },
            order: if choice & 0x20 == 0 { Order::Fenced } else { Order::Keyed },
            profile: Profile::new(vec![field], AtomicKey::LastWritten),
            message_packets_max: 1 + u32::from(more >> 2 & 3),
            ..Policy::default()
        };
        let config = Config {
            client_window_max: 16,
            requests_max: 48,
            held_responses_max: 8,
            atomic_results: 2,
            server_window_max: 8,
            server_retries_max: 3,
            connections_max: 8,
            domains_max: 4,
            path_mtu: Some(PATH_MTU),
            depth: (more & 0x10 != 0).then_some(2),
            grants_max: 16,
            declined_keys_max: 4,
            frame_len_max: 512,
            ..Config::default()
        };
        let directory = match learns {
            true => Directory::empty(),
            false => directory(&policy, shards)?,
        };
        let host = Host::new(&config, &policy, &directory, shards).ok()?;
        let room = [64, 40, 48, 256][usize::from(choice >> 6)];
        Some(Self {
            host: host.with_out_capacity(room).with_guard(guard),
            shards,
            now: 1_000_000,
            next: FIRST_PSN,
            messages: 0,
            open: VecDeque::new(),
            came_in: HashSet::new(),
        })
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let (what, who) = (bytes.byte(), bytes.byte());
        let client = usize::from(who) % CLIENTS;
        match what % 8 {
            0..=2 => {
                let frame = self.request(client, who >> 2, bytes);
                self.offer(client, Side::Client, frame, what, bytes);
            }
            3 | 4 => {
                let at = usize::from(who >> 2) % self.open.len().max(1);
                let Some((server, opcode, psn, length)) = self.open.remove(at) else { return };
                let answer = self.fitting_answer(opcode, psn, length, bytes.byte());
                let frame = answer.frame(server, false);
                self.offer(server, Side::Server, frame, what, bytes);
            }
            5 => {
                let frame = self.any_answer(client, bytes);
                self.offer(client, Side::Server, frame, what, bytes);
            }
            6 => {
                let length = usize::from(bytes.byte());
                let side = if who & 0x80 == 0 { Side::Client } else { Side::Server };
                self.offer(client, side, bytes.take(length).to_vec(), what, bytes);
            }
            _ => self.pass_time(bytes.pause_ns()),
        }
    }

    /// A client's request, mostly the next one.
    fn request(&mut self, client: usize, kind: u8, bytes: &mut Bytes<'_>) -> Vec<u8> {
        const KINDS: [Opcode; 16] = [
            Opcode::WriteOnly,
            Opcode::WriteOnly,
            Opcode::CompareSwap,
            Opcode::ReadRequest,
            Opcode::WriteOnly,
            Opcode::FetchAdd,
            Opcode::ReadRequest,
            Opcode::SendOnly,
            Opcode::WriteFirst,
            Opcode::WriteMiddle,
            Opcode::WriteLast,
            Opcode::WriteOnlyImm,
            Opcode::SendOnlyInv,
            Opcode::SendFirst,
            Opcode::SendLast,
            Opcode::Acknowledge,
        ];
        let (key, delta) = (bytes.byte(), bytes.byte());
        let opcode = KINDS[usize::from(kind & 15)];
        let mut payload = [0; PATH_MTU as usize];
        payload[0] = key & 7;
        let full = matches!(opcode, Opcode::WriteFirst | Opcode::WriteMiddle | Opcode::SendFirst);
        let len = if full { payload.len() } else { RECORD - usize::from(key >> 7) };
        // READs of one to four packets.
        let span = if opcode == Opcode::ReadRequest { 1 + u32::from(key >> 5 & 3) } else { 1 };
        let next = self.next[client];
        // Half of all are the next one, the others are before or beyond it.
        let psn = match delta {
            0..=127 => next,
            _ => next.wrapping_add(u32::from(delta & 15)).wrapping_sub(8) % Psn::MODULUS,
        };
        if psn == next {
            self.next[client] = (next + span) % Psn::MODULUS;
        }
        let length = match opcode {
            Opcode::ReadRequest => span * u32::from(PATH_MTU) - u32::from(key & 1),
            Opcode::WriteFirst => 2 * u32::from(PATH_MTU) + RECORD as u32,
            _ => len as u32,
        };
        let packet = Packet {
            opcode,
            psn,
            ack_request: delta & 1 == 0,
            address: u64::from(key) * 64 + u64::from(delta == 1),
            length,
            remote_key: REMOTE_KEY + u32::from(delta == 3),
            syndrome: 0x1f,
            msn: 0,
            payload: &payload[..len],
        };
        packet.frame(client, true)
    }

    /// What a server would say to a request that it got.
    fn fitting_answer(
        &mut self,
        opcode: Opcode,
        psn: Psn,
        length: u32,
        choice: u8,
    ) -> Packet<'static> {
        const DATA: [u8; PATH_MTU as usize] = [0x77; PATH_MTU as usize];
        self.messages += 1;
        let packets = length.div_ceil(PATH_MTU.into()).max(1);
        let part = u32::from(choice & 3) % packets;
        let answers = match opcode {
            Opcode::ReadRequest if packets == 1 => Opcode::ReadResponseOnly,
            Opcode::ReadRequest if part == 0 => Opcode::ReadResponseFirst,
            Opcode::ReadRequest if part + 1 == packets => Opcode::ReadResponseLast,
            Opcode::ReadRequest => Opcode::ReadResponseMiddle,
            Opcode::CompareSwap | Opcode::FetchAdd => Opcode::AtomicAcknowledge,
            _ => Opcode::Acknowledge,
        };
        let syndrome = match choice {
            0..=191 => 0x1f,
            192..=207 => 0x60,
            208..=223 => 0x2c,
            _ => choice,
        };
        let opcode = if syndrome == 0x1f { answers } else { Opcode::Acknowledge };
        let left = length.saturating_sub(part * u32::from(PATH_MTU)).min(PATH_MTU.into());
        Packet {
            opcode,
            psn: psn.add(if opcode == Opcode::Acknowledge { 0 } else { part }).value(),
            ack_request: false,
            address: 0,
            length: 0,
            remote_key: 0,
            syndrome,
            msn: self.messages,
            payload: &DATA[..left as usize],
        }
    }

    /// An answer to nothing in particular.
    fn any_answer(&mut self, server: usize, bytes: &mut Bytes<'_>) -> Vec<u8> {
        const KINDS: [Opcode; 8] = [
            Opcode::Acknowledge,
            Opcode::AtomicAcknowledge,
            Opcode::ReadResponseFirst,
            Opcode::ReadResponseMiddle,
            Opcode::ReadResponseLast,
            Opcode::ReadResponseOnly,
            Opcode::Acknowledge,
            Opcode::SendOnly,
        ];
        let (kind, offset, syndrome) = (bytes.byte(), bytes.byte(), bytes.byte());
        let opcode = KINDS[usize::from(kind & 7)];
        let full = matches!(opcode, Opcode::ReadResponseFirst | Opcode::ReadResponseMiddle);
        let packet = Packet {
            opcode,
            psn: FIRST_PSN[server].wrapping_add(u32::from(offset)).wrapping_sub(8) % Psn::MODULUS,
            ack_request: false,
            address: u64::from(kind),
            length: 0,
            remote_key: 0,
            syndrome,
            msn: u32::from(offset),
            payload: if full { &[1; PATH_MTU as usize] } else { &[1; 8] },
        };
        packet.frame(server, false)
    }

    /// Hands a frame to the engine; one in sixteen is damaged first.
    fn offer(
        &mut self,
        client: usize,
        side: Side,
        mut frame: Vec<u8>,
        what: u8,
        bytes: &mut Bytes<'_>,
    ) {
        if what >= 0xf0 {
            let (at, change) = (usize::from(bytes.number()), bytes.byte());
            let at = at % frame.len().max(1);
            if let Some(byte) = frame.get_mut(at) {
                *byte ^= change;
            }
        }
        self.now += 1000;
        // Requests and answers of one connection may arrive at different shards.
        let shard = (client as u8 + u8::from(what & 0x08 != 0)) % self.shards;
        self.came_in.insert(frame.clone());
        let mut sent = Vec::new();
        let emit = &mut |side: Side, frame: &[u8]| sent.push((side, frame.to_vec()));
        self.host.offer(shard, side, Nanos(self.now), &frame, emit);
        self.note(&sent);
    }

    fn pass_time(&mut self, pause_ns: u64) {
        self.now += pause_ns;
        let mut sent = Vec::new();
        let emit = &mut |side: Side, frame: &[u8]| sent.push((side, frame.to_vec()));
        self.host.timeout(Nanos(self.now), emit);
        self.note(&sent);
    }

    /// Checks what the engine sent, and remembers what the server may answer.
    fn note(&mut self, sent: &[(Side, Vec<u8>)]) {
        for (side, frame) in sent {
            let layout = match classify(frame) {
                Ok(Classified::Rc(layout)) => layout,
                other => {
                    assert!(self.came_in.contains(frame), "made {other:?}");
                    continue;
                }
            };
            let right = icrc::verify(frame, &layout);
            assert!(right || self.came_in.contains(frame), "a wrong ICRC was made");
            if *side == Side::Server && right {
                self.note_request(frame, &layout);
            }
        }
    }

    fn note_request(&mut self, frame: &[u8], layout: &Layout) {
        let server = (0..CLIENTS).find(|&client| qpns_of(client)[1] == layout.dest_qp);
        let Some(server) = server.filter(|_| layout.opcode.is_request()) else { return };
        if self.open.len() == OPEN_MAX {
            self.open.pop_front();
        }
        let length = layout.reth(frame).map_or(0, |reth| reth.dma_length.min(1024));
        self.open.push_back((server, layout.opcode, layout.psn, length));
    }

    /// Nobody says anything any more: the engine gives up what is left, in bounded time.
    fn finish(&mut self) {
        for _ in 0..TIMEOUTS_MAX {
            let Some(deadline) = self.host.next_deadline(Nanos(self.now)) else { break };
            assert!(deadline != Nanos::NEVER);
            self.pass_time(deadline.0.saturating_sub(self.now));
        }
        let _ = (self.host.counters(), self.host.open(), self.host.server_qps().count());
    }
}

/// All may do all, but the last client has no right to write and the third none to atomics.
fn directory(policy: &Policy, shards: u8) -> Option<Directory> {
    let connection = |client: usize| {
        let facts = PathFacts {
            source_port: source_port_of(client),
            traffic_class: 0,
            hop_limit: 64,
            migration_request: false,
            partition_key: 0xffff,
            tag: None,
        };
        let [client_qpn, server_qpn] = qpns_of(client);
        Connection {
            client: Endpoint { mac: [2; 6], ip: host_of(client), qpn: client_qpn },
            server: Endpoint { mac: [4; 6], ip: SERVER, qpn: server_qpn },
            request: facts,
            response: facts,
            start: Start {
                psn: ClientPsn::from_wire(Psn::new(FIRST_PSN[client])),
                msn: Msn::new(0xff_fffe),
                credits: 31,
            },
            path_mtu: PATH_MTU,
            depth: 2,
            domain: DomainId(0),
            shard: ShardId(client as u8 % shards),
        }
    };
    let rights = [Rights::ALL, Rights::ALL, Rights::READ.union(Rights::WRITE), Rights::READ];
    let grants = (0..).zip(rights).map(|(client, rights)| Grant {
        server_qp: ServerQpId(client),
        remote_key: REMOTE_KEY,
        rights,
    });
    let region = Region { domain: DomainId(0), remote_key: REMOTE_KEY, start: 0, end: 1 << 14 };
    let connections = (0..CLIENTS).map(connection).collect();
    Directory::new(connections, vec![region], grants.collect(), policy).ok()
}
