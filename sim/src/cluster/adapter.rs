//! One machine: an adapter with what its requests compete for, and the host's memory behind it.

use super::port::Port;
use crate::dice::Dice;
use crate::event::{NS, Ps, ps, whole};
use crate::memory::Memory;
use crate::nic::{Cache, HandOff, Lock, Network, Params, Pcie, Rate, Server, Slots, Words};

/// Streams of chance that adapters have.
const ADAPTERS: u64 = 16;

/// Times of an adapter that are the same for all requests, ps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) post: Ps,
    pub(crate) poll: Ps,
    pub(crate) doorbell_hold: Ps,
    pub(crate) doorbell: Ps,
    pub(crate) issue: Ps,
    pub(crate) message: Ps,
    pub(crate) inbound: Ps,
    pub(crate) tx: Ps,
    pub(crate) rx: Ps,
    pub(crate) write_ack: Ps,
    pub(crate) completion: Ps,
    pub(crate) wire: Ps,
}

impl Times {
    fn new(params: &Params) -> Self {
        Self {
            post: ps(params.post_ns),
            poll: ps(params.poll_ns),
            doorbell_hold: ps(params.doorbell_hold_ns),
            doorbell: ps(params.doorbell_latency_ns),
            issue: ps(params.qp_issue_ns),
            message: ps(params.message_ns),
            inbound: ps(params.inbound_ns),
            tx: ps(params.tx_latency_ns),
            rx: ps(params.rx_latency_ns),
            write_ack: ps(params.write_ack_ns),
            completion: ps(params.completion_ns),
            wire: ps(params.wire_ns),
        }
    }
}

/// A machine with its adapter.
pub(crate) struct Machine {
    pub(crate) memory: Memory,
    /// The memory that others reach is the adapter's own.
    pub(crate) in_device: bool,
    /// Software there sees what others write and send.
    pub(crate) has_software: bool,
    pub(crate) page_bytes: u64,
    pub(crate) times: Times,
    pub(crate) hand_off: HandOff,
    pub(crate) registers: Vec<Lock>,
    own_registers: usize,
    /// Queue pairs so far.
    opened: usize,
    pub(crate) tx: Server,
    pub(crate) rx: Server,
    pub(crate) port: Server,
    /// The switch's port towards it.
    pub(crate) egress: Port,
    ps_per_byte: f64,
    wire_extra: f64,
    contexts: Cache,
    context_fetches: Slots,
    context_bytes: u64,
    translations: Cache,
    regions: Cache,
    pub(crate) pcie: Pcie,
    /// Lines of 64 bytes that READs brought, beyond one for each: as a host's counters see them.
    pub(crate) more_lines: u64,
    pub(crate) words: Words,
    wqe_bytes: u64,
    wqe_cache: usize,
    wqe_turn: usize,
    /// Work requests that the adapter has and that are not complete.
    pub(crate) outstanding: usize,
    /// Bytes that have left it, all headers included, and packets.
    pub(crate) sent_bytes: u64,
    pub(crate) sent_packets: u64,
    /// Work requests that were fetched twice.
    pub(crate) wqe_misses: u64,
    /// Acknowledgements that were told with a later one.
    pub(crate) coalesced: u64,
}

/// Counters of an adapter's caches: hits and misses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, schemars::JsonSchema, serde::Serialize)]
pub struct CacheCounts {
    /// Lookups that found their entry.
    pub hits: u64,
    /// Lookups that had to fetch it.
    pub misses: u64,
}

impl Machine {
    pub(crate) fn new(params: &Params, seed: u64, number: u64) -> Self {
        let cache = |bytes, entry| Cache::new(bytes, entry, params.cache_ways_count);
        let own = params.doorbells_own_count as usize;
        let shared = (params.doorbells_shared_count as usize).max(1);
        Self {
            memory: Memory::new(),
            in_device: false,
            has_software: false,
            page_bytes: 2 << 20,
            times: Times::new(params),
            hand_off: HandOff::new(params),
            registers: vec![Lock::default(); own + shared],
            own_registers: own,
            opened: 0,
            tx: Server::default(),
            rx: Server::default(),
            port: Server::default(),
            egress: Port::new(params.link_gbps, &Network::default(), seed, number),
            ps_per_byte: 8.0 * NS as f64 / params.link_gbps,
            wire_extra: params.wire_extra_bytes,
            contexts: cache(params.context_cache_bytes, params.context_bytes),
            context_fetches: Slots::new(params.context_fetches_count as usize),
            context_bytes: params.context_bytes as u64,
            translations: cache(params.mtt_cache_bytes, params.mtt_entry_bytes),
            regions: cache(params.mpt_cache_bytes, params.mpt_entry_bytes),
            pcie: Pcie::new(params, Dice::new(seed, ADAPTERS, number)),
            more_lines: 0,
            words: Words::new(params),
            wqe_bytes: params.wqe_bytes as u64,
            wqe_cache: params.wqe_cache_count as usize,
            wqe_turn: 0,
            outstanding: 0,
            sent_bytes: 0,
            sent_packets: 0,
            wqe_misses: 0,
            coalesced: 0,
        }
    }

    /// The doorbell register of the next queue pair.
    pub(crate) fn next_register(&mut self) -> usize {
        let opened = self.opened;
        self.opened += 1;
        let shared = self.registers.len() - self.own_registers;
        match opened.checked_sub(self.own_registers) {
            None => opened,
            Some(beyond) => self.own_registers + beyond % shared,
        }
    }

    /// When the context of a queue pair is there.
    pub(crate) fn context(&mut self, now: Ps, pair: u32) -> Ps {
        if self.contexts.touch(u64::from(pair)) {
            return now;
        }
        let latency = self.pcie.read(now, self.context_bytes) - now;
        self.context_fetches.reserve(now, latency)
    }

    /// When the region and the page of an address are known.
    pub(crate) fn translate(&mut self, now: Ps, rkey: u32, address: u64) -> Ps {
        let mut known = now;
        if !self.regions.touch(u64::from(rkey)) {
            known = self.pcie.read(now, 64);
        }
        if !self.translations.touch(address / self.page_bytes.max(1)) {
            known = known.max(self.pcie.read(now, 64));
        }
        known
    }

    /// When `count` work requests that one doorbell announced are there. A single one comes with
    /// the doorbell (BlueFlame: rdma-core providers/mlx5, `nreq == 1`), others are fetched.
    pub(crate) fn fetch_wqes(&mut self, now: Ps, count: u64) -> Ps {
        match count {
            0 | 1 => now,
            _ => self.pcie.read(now, count * self.wqe_bytes),
        }
    }

    /// When a work request that is to be sent is there. Of those outstanding, the share that has no
    /// room is fetched again.
    pub(crate) fn wqe(&mut self, now: Ps) -> Ps {
        self.wqe_turn += 1;
        if self.outstanding == 0 || self.wqe_turn % self.outstanding < self.wqe_cache {
            return now;
        }
        self.wqe_misses += 1;
        self.pcie.read(now, self.wqe_bytes)
    }

    /// The rate of a queue pair under congestion control.
    pub(crate) fn rate(&self, network: &Network) -> Rate {
        Rate::new(network, 8.0 * NS as f64 / self.ps_per_byte)
    }

    /// Bytes that a frame takes on the wire.
    pub(crate) fn wire_bytes(&self, frame_bytes: usize) -> f64 {
        (frame_bytes as f64 + self.wire_extra).max(1.0)
    }

    /// When a frame that is ready to be sent has left, and is at the other end of the wire.
    pub(crate) fn send(&mut self, now: Ps, frame_bytes: usize) -> (Ps, Ps) {
        let bytes = self.wire_bytes(frame_bytes);
        self.sent_bytes += bytes as u64;
        self.sent_packets += 1;
        let taken = self.tx.reserve(now, self.times.message);
        let left = self.port.reserve(taken, whole(bytes * self.ps_per_byte));
        (left, left + self.times.wire)
    }

    /// Counters of contexts, translations and regions.
    pub(crate) fn caches(&self) -> [CacheCounts; 3] {
        [&self.contexts, &self.translations, &self.regions]
            .map(|cache| CacheCounts { hits: cache.hits, misses: cache.misses })
    }
}
