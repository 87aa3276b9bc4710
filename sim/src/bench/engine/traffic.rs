//! Clover's clients in a closed loop, and servers that do what they are asked: only as much of
//! both as it takes to have an engine see the frames that it would see.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use qpmux_engine::policy::{Connection, Grant, ListForm, Region, Rights, Start};
use qpmux_engine::wire::{
    AethRepr, AtomicAckEthRepr, AtomicEthRepr, Classified, ClientPsn, Extension, Layout, Msn,
    Opcode, Psn, RethRepr, Syndrome, classify,
};
use qpmux_engine::{DomainId, ServerQpId, Side};
use qpmux_workloads::keys::{KeyDistribution, KeyError, OperationKind, OperationStream, Ycsb};

use crate::rc::{Link, Packet};

/// Memory key of all memory.
const REMOTE_KEY: u32 = 0x1234;
/// Where the slots of versions begin, and where the keys' shortcuts do.
const SLOTS: u64 = 0x7f00_0000_0000;
const SHORTCUTS: u64 = 0x7e00_0000_0000;
/// Bytes of a shortcut.
const SHORTCUT_LEN: u32 = 8;
/// Keys, from 1 on.
const KEYS: u64 = 100_000;
/// Queue pair numbers of the first client and of its server queue pair.
const CLIENT_QPN: u32 = 0x1000;
const SERVER_QPN: u32 = 0x10_0000;
/// Client threads of one machine.
const THREADS: u32 = 64;
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PATH_MTU: u16 = 1024;
/// READs and atomics that a queue pair takes at a time, what Clover asks for.
pub(super) const DEPTH: u16 = 16;

/// What a client is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Its READs of a shortcut and of a version.
    Read,
    /// Its WRITE of a new version.
    Write,
    /// Its COMPARE_SWAP that appends it.
    Append,
}

/// A client's queue pair, and the server's queue pair of that connection.
struct Client {
    link: Link,
    answers: Link,
    psn: Psn,
    threads: Vec<Thread>,
    /// Answers that it waits for, in order, and for which of its threads.
    awaited: VecDeque<(Psn, Opcode, usize)>,
    /// The PSN and the count of messages of the server's queue pair.
    server_psn: Psn,
    server_msn: Msn,
}

/// A thread, which does one operation after the other.
struct Thread {
    operations: OperationStream,
    stage: Stage,
    /// Answers that it waits for.
    awaited: u32,
    /// The key of its operation, the slot that it writes, and the one that it appends to.
    key: u64,
    slot: u32,
    before: u32,
}

/// One of the threads of one of the clients.
#[derive(Clone, Copy)]
struct Who {
    client: usize,
    thread: usize,
}

/// All clients and servers.
pub(super) struct Traffic {
    clients: Vec<Client>,
    object: u16,
    list: ListForm,
    /// The word that each slot begins with, and the slot of each key's newest version.
    words: Vec<u64>,
    newest: Vec<u32>,
    /// The key of each slot, from 0 on.
    owners: Vec<u32>,
    /// Slots without a version, in the order in which they became that.
    free: VecDeque<u32>,
    /// Frames on their way to the middlebox.
    requests: VecDeque<Vec<u8>>,
    responses: VecDeque<Vec<u8>>,
}

impl Traffic {
    /// So many clients, each with a connection of its own and so many threads that use it, about
    /// to begin their first operations.
    pub(super) fn new(
        workload: Ycsb,
        (clients, threads): (u32, u32),
        object: u16,
        list: &ListForm,
    ) -> Result<Traffic, KeyError> {
        let slots = KEYS as u32 + 4 * clients * threads + 1024;
        let thread = |seed: u32| {
            let keys = KeyDistribution::Zipf { theta: 0.99 };
            Ok(Thread {
                operations: OperationStream::new(workload.mix(), keys, KEYS, 1, seed.into())?,
                stage: Stage::Read,
                awaited: 0,
                key: 0,
                slot: 0,
                before: 0,
            })
        };
        let client = |index: u32| {
            let host =
                Ipv4Addr::from_bits(Ipv4Addr::new(10, 1, 0, 0).to_bits() + 1 + index / THREADS);
            let mut link = Link::new(host, CLIENT_QPN + index, SERVER, SERVER_QPN + index);
            link.pmtu = PATH_MTU.into();
            let psn = Psn::new(index.wrapping_mul(0x0001_3579));
            let seeds = index * threads..(index + 1) * threads;
            Ok(Client {
                answers: link.reversed(),
                link,
                psn,
                threads: seeds.map(thread).collect::<Result<_, _>>()?,
                awaited: VecDeque::new(),
                server_psn: psn,
                server_msn: Msn::new(0),
            })
        };
        let mut traffic = Traffic {
            clients: (0..clients).map(client).collect::<Result<_, _>>()?,
            object,
            list: list.clone(),
            words: vec![list.last(1); slots as usize],
            newest: (0..KEYS as u32).collect(),
            owners: (0..slots).collect(),
            free: (KEYS as u32..slots).collect(),
            requests: VecDeque::new(),
            responses: VecDeque::new(),
        };
        for client in 0..clients as usize {
            for thread in 0..threads as usize {
                traffic.begin(Who { client, thread });
            }
        }
        Ok(traffic)
    }

    /// The connections, as an engine is told of them.
    pub(super) fn connections(&self) -> Vec<Connection> {
        let connection = |client: &Client| {
            let psn = ClientPsn::from_wire(client.server_psn);
            client.link.known(Start { psn, msn: client.server_msn, credits: 31 }, DEPTH.into())
        };
        self.clients.iter().map(connection).collect()
    }

    /// Memory that all queue pairs may use.
    pub(super) fn memory(&self) -> (Vec<Region>, Vec<Grant>) {
        let end = SLOTS + self.words.len() as u64 * u64::from(self.object);
        let (domain, start) = (DomainId(0), SHORTCUTS);
        let region = Region { domain, remote_key: REMOTE_KEY, start, end };
        let grant = |at: u32| Grant {
            server_qp: ServerQpId(at),
            remote_key: REMOTE_KEY,
            rights: Rights::ALL,
        };
        (vec![region], (0..self.clients.len() as u32).map(grant).collect())
    }

    /// The next frame that comes in on `side`.
    pub(super) fn next(&mut self, side: Side) -> Option<Vec<u8>> {
        match side {
            Side::Client => self.requests.pop_front(),
            Side::Server => self.responses.pop_front(),
        }
    }

    /// A frame has left the middlebox on `side`.
    pub(super) fn deliver(&mut self, side: Side, frame: &[u8]) -> Result<(), String> {
        let Ok(Classified::Rc(layout)) = classify(frame) else {
            return Err("something came that is no packet".to_owned());
        };
        let to = layout.dest_qp.value();
        match side {
            Side::Server => self.serve(to.wrapping_sub(SERVER_QPN), frame, &layout),
            Side::Client => self.take_answer(to.wrapping_sub(CLIENT_QPN), &layout),
        }
    }

    fn slot_address(&self, slot: u32) -> u64 {
        SLOTS + u64::from(slot) * u64::from(self.object)
    }

    fn slot_of(&self, address: u64) -> Option<usize> {
        let offset = address.checked_sub(SLOTS)?;
        let slot = usize::try_from(offset / u64::from(self.object)).ok()?;
        (slot < self.words.len()).then_some(slot)
    }

    fn thread(&mut self, who: Who) -> Option<&mut Thread> {
        self.clients.get_mut(who.client)?.threads.get_mut(who.thread)
    }

    /// A thread begins its next operation.
    fn begin(&mut self, who: Who) {
        let Some(thread) = self.thread(who) else { return };
        let operation = thread.operations.next_operation(KEYS);
        let key = operation.record + 1;
        thread.key = key;
        let Some(&newest) = self.newest.get(operation.record as usize) else { return };
        let is_read = operation.kind == OperationKind::Read;
        let slot = if is_read { None } else { self.free.pop_front() };
        let Some(thread) = self.thread(who) else { return };
        thread.before = newest;
        if is_read {
            thread.stage = Stage::Read;
            let shortcut = SHORTCUTS + operation.record * u64::from(SHORTCUT_LEN);
            self.read(who, shortcut, SHORTCUT_LEN);
            self.read(who, self.slot_address(newest), self.object.into());
            return;
        }
        let Some(slot) = slot else { return };
        (thread.stage, thread.slot) = (Stage::Write, slot);
        let version =
            self.words.get(newest as usize).map_or(0, |word| self.list.version.get(*word));
        let mut payload = vec![0x5a; self.object.into()];
        payload[..8].copy_from_slice(&self.list.last(version + 1).to_le_bytes());
        payload[8..16].copy_from_slice(&key.to_le_bytes());
        let (virtual_address, dma_length) = (self.slot_address(slot), self.object.into());
        let reth = RethRepr { virtual_address, remote_key: REMOTE_KEY, dma_length };
        self.ask(who, Opcode::WriteOnly, Extension::Reth(reth), &payload, Opcode::Acknowledge);
    }

    fn read(&mut self, who: Who, virtual_address: u64, dma_length: u32) {
        let reth = RethRepr { virtual_address, remote_key: REMOTE_KEY, dma_length };
        let (asked, answer) = (Opcode::ReadRequest, Opcode::ReadResponseOnly);
        self.ask(who, asked, Extension::Reth(reth), &[], answer);
    }

    /// A thread appends its version to the one that was the newest.
    fn append(&mut self, who: Who) {
        let Some(thread) = self.thread(who) else { return };
        thread.stage = Stage::Append;
        let (slot, before) = (thread.slot, thread.before);
        let version = self.words.get(slot as usize).map_or(0, |w| self.list.version.get(*w));
        let compare = self.list.last(version.wrapping_sub(1));
        let swap = self.list.next.with(compare, u64::from(slot) + 1);
        let eth = AtomicEthRepr {
            virtual_address: SLOTS + u64::from(before) * u64::from(self.object),
            remote_key: REMOTE_KEY,
            swap_or_add: self.list.next_version.with(swap, version),
            compare,
        };
        let (asked, answer) = (Opcode::CompareSwap, Opcode::AtomicAcknowledge);
        self.ask(who, asked, Extension::AtomicEth(eth), &[], answer);
    }

    fn ask(
        &mut self,
        who: Who,
        opcode: Opcode,
        extension: Extension,
        payload: &[u8],
        answer: Opcode,
    ) {
        let Some(client) = self.clients.get_mut(who.client) else { return };
        let Some(thread) = client.threads.get_mut(who.thread) else { return };
        let packet = Packet { opcode, psn: client.psn, ack_request: true, extension, payload };
        self.requests.extend(client.link.frame(&packet));
        client.awaited.push_back((client.psn, answer, who.thread));
        client.psn = client.psn.add(1);
        thread.awaited += 1;
    }

    /// A client's adapter gets an answer. An acknowledgement is that of all WRITEs before it as
    /// well.
    fn take_answer(&mut self, at: u32, layout: &Layout) -> Result<(), String> {
        loop {
            let client = self.clients.get_mut(at as usize).ok_or("an answer is for nobody")?;
            let (psn, opcode) = (layout.psn, layout.opcode);
            let expected = client.awaited.pop_front();
            let Some((own, _, thread)) = expected.filter(|(_, answer, _)| *answer == opcode) else {
                return Err(format!(
                    "client {at} got {opcode:?} {psn} in the place of {expected:?}"
                ));
            };
            let acknowledged = opcode == Opcode::Acknowledge && psn.offset_from(own) < 1 << 23;
            if own != psn && !acknowledged {
                return Err(format!("client {at} got {opcode:?} {psn} in the place of {own}"));
            }
            self.finish(Who { client: at as usize, thread });
            if own == psn {
                return Ok(());
            }
        }
    }

    /// A thread has one more of its answers.
    fn finish(&mut self, who: Who) {
        let Some(thread) = self.thread(who) else { return };
        thread.awaited -= 1;
        match thread.stage {
            _ if thread.awaited > 0 => {}
            Stage::Write => self.append(who),
            Stage::Read | Stage::Append => self.begin(who),
        }
    }

    /// A server's queue pair gets a request, and answers it.
    fn serve(&mut self, at: u32, frame: &[u8], layout: &Layout) -> Result<(), String> {
        let server = self.clients.get_mut(at as usize).ok_or("a request is for nobody")?;
        if layout.psn != server.server_psn {
            let (found, expected) = (layout.psn, server.server_psn);
            return Err(format!("server queue pair {at} got PSN {found} instead of {expected}"));
        }
        server.server_psn = server.server_psn.add(1);
        server.server_msn = server.server_msn.add(1);
        let aeth = AethRepr { syndrome: Syndrome::Ack { credits: 31 }, msn: server.server_msn };
        let reth = layout.reth(frame);
        let (opcode, extension, length) = match layout.opcode {
            Opcode::WriteOnly => {
                self.store(frame, layout);
                (Opcode::Acknowledge, Extension::Aeth(aeth), 0)
            }
            Opcode::ReadRequest => {
                let length = reth.map_or(0, |reth| reth.dma_length);
                (Opcode::ReadResponseOnly, Extension::Aeth(aeth), length)
            }
            _ => {
                let original = self.swap(frame, layout);
                let extension = Extension::AtomicAck(aeth, AtomicAckEthRepr { original });
                (Opcode::AtomicAcknowledge, extension, 0)
            }
        };
        let mut payload = vec![0xa5; length as usize];
        let slot = reth.and_then(|reth| self.slot_of(reth.virtual_address));
        if let (Some(word), Some(slot)) = (payload.get_mut(..8), slot) {
            word.copy_from_slice(&self.words[slot].to_le_bytes());
        }
        let psn = layout.psn;
        let packet = Packet { opcode, psn, ack_request: false, extension, payload: &payload };
        let server = self.clients.get(at as usize).ok_or("a request is for nobody")?;
        self.responses.extend(server.answers.frame(&packet));
        Ok(())
    }

    fn store(&mut self, frame: &[u8], layout: &Layout) {
        let address = layout.reth(frame).map(|reth| reth.virtual_address);
        let payload = layout.payload(frame);
        let number = |at: usize| {
            payload
                .get(at..)
                .and_then(<[u8]>::first_chunk)
                .map_or(0, |raw| u64::from_le_bytes(*raw))
        };
        let Some(slot) = address.and_then(|address| self.slot_of(address)) else { return };
        // A word alone is what an atomic became on its way.
        if payload.len() == 8 {
            return self.link(slot, number(0));
        }
        self.words[slot] = number(0);
        self.owners[slot] = number(8).saturating_sub(1) as u32;
    }

    /// A slot's version has a successor: it is the newest, and the slot is free.
    fn link(&mut self, slot: usize, word: u64) {
        let next = (self.list.next.get(word) as u32).saturating_sub(1);
        self.words[slot] = word;
        if let Some(newest) = self.newest.get_mut(self.owners[slot] as usize) {
            *newest = next;
        }
        self.free.push_back(slot as u32);
    }

    /// Executes a COMPARE_SWAP. Afterwards a slot is free: the superseded one, or the one that
    /// another client's was appended before.
    fn swap(&mut self, frame: &[u8], layout: &Layout) -> u64 {
        let Some(eth) = layout.atomic_eth(frame) else { return 0 };
        let Some(slot) = self.slot_of(eth.virtual_address) else { return 0 };
        let original = self.words[slot];
        if original == eth.compare {
            self.link(slot, eth.swap_or_add);
        } else {
            self.free.push_back((self.list.next.get(eth.swap_or_add) as u32).saturating_sub(1));
        }
        original
    }
}
