//! What is counted for each flow: everything from one host to one queue pair of another.

use std::collections::HashMap;
use std::net::IpAddr;

use qpmux_engine::wire::{Layout, Opcode, Psn, Qpn, Syndrome};

use super::report::Verbs;

/// The path MTUs that a queue pair can have, in bytes (IBTA vol. 1, table 23).
const PATH_MTUS: [u32; 5] = [256, 512, 1024, 2048, 4096];

/// Source, destination, destination queue pair.
pub(super) type FlowKey = (IpAddr, IpAddr, Qpn);

/// Which of the last 128 PSNs were sent. Older ones count as sent.
#[derive(Clone, Copy, Default)]
struct SentPsns {
    newest: Option<Psn>,
    /// Bit n stands for the n-th PSN before the newest.
    bits: u128,
}

impl SentPsns {
    /// Whether `psn` is not beyond the newest one.
    fn is_behind(&self, psn: Psn) -> bool {
        self.newest.is_some_and(|newest| !psn.is_after(newest))
    }

    fn contains(&self, psn: Psn) -> bool {
        let Some(newest) = self.newest else {
            return false;
        };
        match newest.signed_offset_from(psn) {
            ..0 => false,
            distance @ 0..128 => self.bits >> distance & 1 == 1,
            _ => true,
        }
    }

    /// Marks the `count` PSNs from `first` on.
    fn mark(&mut self, first: Psn, count: u32) {
        let last = first.add(count - 1);
        let newest = *self.newest.get_or_insert(last);
        let ahead = last.signed_offset_from(newest).max(0) as u32;
        self.bits = self.bits.checked_shl(ahead).unwrap_or(0);
        let newest = newest.add(ahead);
        self.newest = Some(newest);
        // Only what the window still holds needs marking.
        let from = newest.offset_from(last);
        for distance in from..from.saturating_add(count).min(128) {
            self.bits |= 1 << distance;
        }
    }
}

/// Counts of one flow.
#[derive(Clone, Default)]
pub(super) struct Flow {
    pub(super) source_port: u16,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) requests: u64,
    pub(super) responses: u64,
    pub(super) retransmitted: u64,
    pub(super) verbs: Verbs,
    /// NAKs except RNR NAKs, among the responses of this flow.
    pub(super) naks: u64,
    pub(super) rnr_naks: u64,
    pub(super) first_psn: Option<Psn>,
    /// Payload of a packet that must be full, in bytes; 0 where there was none.
    full_payload: u32,
    largest_payload: u32,
    sent: SentPsns,
    /// The last READ and its length: how many PSNs it takes is known once the path MTU is.
    open_read: Option<(Psn, u32)>,
}

impl Flow {
    /// Counts a packet. `path_mtu` is that of the two hosts, if known.
    pub(super) fn take(&mut self, layout: &Layout, frame: &[u8], wire_len: u32, mtu: Option<u32>) {
        self.source_port = layout.source_port;
        self.packets += 1;
        self.bytes += u64::from(wire_len);
        let payload = u32::from(layout.payload_len);
        self.largest_payload = self.largest_payload.max(payload);
        if must_be_full(layout.opcode) {
            self.full_payload = self.full_payload.max(payload);
        }
        if layout.opcode.is_response() {
            self.responses += 1;
            match layout.aeth(frame).map(|aeth| aeth.syndrome) {
                Some(Syndrome::Nak(_)) => self.naks += 1,
                Some(Syndrome::RnrNak { .. }) => self.rnr_naks += 1,
                _ => {}
            }
        } else {
            let length = layout.reth(frame).map_or(0, |reth| reth.dma_length);
            self.take_request(layout, length, mtu);
        }
    }

    fn take_request(&mut self, layout: &Layout, length: u32, mtu: Option<u32>) {
        self.settle(mtu);
        let psn = layout.psn;
        self.requests += 1;
        self.first_psn.get_or_insert(psn);
        self.retransmitted += u64::from(self.sent.is_behind(psn));
        if !self.sent.contains(psn) {
            self.verbs.count(layout.opcode);
        }
        self.sent.mark(psn, 1);
        if layout.opcode == Opcode::ReadRequest {
            self.open_read = Some((psn, length));
        }
    }

    /// Marks the PSNs of the last READ. Without any full packet seen so far the largest path MTU
    /// is assumed, so that nothing new is taken for a retransmission.
    pub(super) fn settle(&mut self, mtu: Option<u32>) {
        if let Some((psn, length)) = self.open_read.take() {
            let mtu = mtu.filter(|&mtu| mtu > 0).unwrap_or(PATH_MTUS[4]);
            // No READ takes more than 2^31 / 256 PSNs.
            self.sent.mark(psn, length.div_ceil(mtu).clamp(1, 1 << 22));
        }
    }

    /// The newest PSN sent.
    pub(super) fn last_psn(&self) -> Option<Psn> {
        self.sent.newest
    }
}

/// Whether a packet of this opcode carries exactly one path MTU (IBTA vol. 1, 9.7.4.1.4).
fn must_be_full(opcode: Opcode) -> bool {
    matches!(
        opcode,
        Opcode::SendFirst
            | Opcode::SendMiddle
            | Opcode::WriteFirst
            | Opcode::WriteMiddle
            | Opcode::ReadResponseFirst
            | Opcode::ReadResponseMiddle
    )
}

/// The path MTU of a connection's two flows, in bytes, and whether a full packet proves it.
/// `None` where no payload was seen.
pub(super) fn path_mtu(flows: [&Flow; 2]) -> Option<(u32, bool)> {
    let full = flows.map(|flow| flow.full_payload).into_iter().max().filter(|&full| full > 0);
    let largest = flows.map(|flow| flow.largest_payload).into_iter().max().unwrap_or(0);
    match full {
        Some(full) => Some((full, true)),
        None if largest == 0 => None,
        None => PATH_MTUS.into_iter().find(|&mtu| mtu >= largest).map(|mtu| (mtu, false)),
    }
}

/// All flows, up to a limit.
pub(super) struct Flows {
    limit: usize,
    pub(super) by_key: HashMap<FlowKey, Flow>,
    /// Size of a packet that must be full, by pair of hosts; never more entries than flows.
    path_mtus: HashMap<(IpAddr, IpAddr), u32>,
    /// Packets of flows beyond the limit.
    pub(super) overflow_packets: u64,
}

impl Flows {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            limit: limit as usize,
            by_key: HashMap::new(),
            path_mtus: HashMap::new(),
            overflow_packets: 0,
        }
    }

    /// Counts a packet in its flow. Gives what it adds to retransmissions and verbs.
    pub(super) fn take(&mut self, layout: &Layout, frame: &[u8], wire_len: u32) -> (u64, Verbs) {
        let key = (layout.source, layout.destination, layout.dest_qp);
        if !self.by_key.contains_key(&key) && self.by_key.len() >= self.limit {
            self.overflow_packets += 1;
            return (0, Verbs::default());
        }
        let hosts = hosts_of(key);
        if must_be_full(layout.opcode) && self.path_mtus.len() <= self.limit {
            let mtu = self.path_mtus.entry(hosts).or_default();
            *mtu = (*mtu).max(layout.payload_len.into());
        }
        let mtu = self.path_mtus.get(&hosts).copied();
        let flow = self.by_key.entry(key).or_default();
        let before = (flow.retransmitted, flow.verbs);
        flow.take(layout, frame, wire_len, mtu);
        (flow.retransmitted - before.0, flow.verbs.minus(&before.1))
    }

    /// Takes a flow out, with its last READ settled.
    pub(super) fn remove(&mut self, key: FlowKey) -> Flow {
        let mut flow = self.by_key.remove(&key).unwrap_or_default();
        flow.settle(self.path_mtus.get(&hosts_of(key)).copied());
        flow
    }
}

fn hosts_of((source, destination, _): FlowKey) -> (IpAddr, IpAddr) {
    (source.min(destination), source.max(destination))
}
