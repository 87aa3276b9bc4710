//! The second pass over a capture: the messages of each connection, what they waited for, what
//! the answers show of rights and memory.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use qpmux_engine::policy::{ByteOrder, Endpoint, Grant, PathFacts, Region, Rights};
use qpmux_engine::wire::{Ethernet, Layout, Msn, Psn};
use qpmux_engine::{DomainId, ServerQpId};
use qpmux_traces::{CaptureError, CaptureReader, CapturedPacket};

use super::first_pass::{FirstPass, Owner, believable, flow_of};
use super::messages::{Answered, Messages};
use super::script::{LeftOut, Script, ScriptedConnection, ServerMemory};
use super::{Progress, Read};
use crate::memory::Memory;
use crate::rc::Verb;

/// What is known of one connection while its packets are read.
struct Reading {
    request: Option<(PathFacts, [u8; 6])>,
    response: Option<(PathFacts, [u8; 6])>,
    messages: Messages,
}

/// Reads the workload of the capture's connections. Servers in `big_endian` keep words in that
/// order. `progress` is told how much was read.
pub(super) fn second_pass(
    path: &Path,
    first: &FirstPass,
    big_endian: &[IpAddr],
    progress: &mut dyn FnMut(Progress),
) -> Result<Script, CaptureError> {
    let mut reader = CaptureReader::open(path)?;
    let mut read = Read::new(2);
    let mut pass = SecondPass::new(first, big_endian);
    loop {
        read.tell(&reader, progress);
        let Some(packet) = reader.next_packet()? else { break };
        pass.on_packet(&packet);
    }
    Ok(Script { truncated_tail: reader.truncated_tail().is_some(), ..pass.finish() })
}

struct SecondPass<'a> {
    first: &'a FirstPass,
    readings: Vec<Reading>,
    memories: BTreeMap<IpAddr, InferredMemory>,
    rights: BTreeMap<(u32, u32), Rights>,
    hulls: BTreeMap<(DomainId, u32), (u64, u64)>,
    domains: BTreeMap<IpAddr, DomainId>,
    start_ns: Option<u64>,
    left_out: LeftOut,
}

impl<'a> SecondPass<'a> {
    fn new(first: &'a FirstPass, big_endian: &[IpAddr]) -> SecondPass<'a> {
        let reading =
            |&mtu| Reading { request: None, response: None, messages: Messages::new(mtu) };
        let memory = |ip| match big_endian.contains(&ip) {
            true => InferredMemory::with_words(ByteOrder::Big),
            false => InferredMemory::default(),
        };
        let servers: BTreeSet<IpAddr> = first.connections.iter().map(|c| c.server.ip).collect();
        SecondPass {
            first,
            readings: first.path_mtu.iter().map(reading).collect(),
            memories: servers.iter().map(|&ip| (ip, memory(ip))).collect(),
            rights: BTreeMap::new(),
            hulls: BTreeMap::new(),
            // One domain per server: nothing in a capture tells protection domains apart.
            domains: servers.iter().enumerate().map(|(i, &ip)| (ip, DomainId(i as u16))).collect(),
            start_ns: None,
            left_out: first.left_out,
        }
    }

    fn on_packet(&mut self, packet: &CapturedPacket<'_>) {
        let now = packet.timestamp_ns;
        let start = *self.start_ns.get_or_insert(now);
        let cut = packet.is_truncated();
        let Some(layout) = believable(packet.data, cut, &mut self.left_out) else { return };
        let (index, to_server) = match self.first.owner(flow_of(&layout), packet.number) {
            Owner::Connection(index, to_server) => (index, to_server),
            Owner::Former => return,
            Owner::Nobody => {
                self.left_out.unpaired_packets += 1;
                return;
            }
        };
        let reading = &mut self.readings[index];
        match (to_server, layout.opcode.is_request()) {
            (true, true) => {
                reading.request.get_or_insert_with(|| path_facts(packet.data, &layout));
                let since = now.saturating_sub(start);
                if let Some(verb) =
                    reading.messages.on_request(since, packet.data, &layout, &mut self.left_out)
                {
                    let server = self.first.connections[index].server.ip;
                    self.memories.entry(server).or_default().on_write(verb);
                }
            }
            (false, false) => {
                reading.response.get_or_insert_with(|| path_facts(packet.data, &layout));
                self.on_response(index, now.saturating_sub(start), packet.data, &layout);
            }
            (false, true) => self.left_out.reverse_requests += 1,
            (true, false) => {}
        }
    }

    fn on_response(&mut self, index: usize, since: u64, data: &[u8], layout: &Layout) {
        let server = self.first.connections[index].server.ip;
        let domain = self.domains[&server];
        let (rights, hulls) = (&mut self.rights, &mut self.hulls);
        let memory = self.memories.entry(server).or_default();
        let answered = |answered: Answered<'_>| {
            if let Some((remote_key, right, start, end)) = answered.verb.reach() {
                let granted = rights.entry((index as u32, remote_key)).or_default();
                *granted = granted.union(right);
                let hull = hulls.entry((domain, remote_key)).or_insert((start, end));
                *hull = (hull.0.min(start), hull.1.max(end));
            }
            memory.on_answer(&answered);
        };
        self.readings[index].messages.on_response(
            since,
            data,
            layout,
            &mut self.left_out,
            answered,
        );
    }

    fn finish(self) -> Script {
        let first = self.first;
        let mut script = Script {
            left_out: self.left_out,
            start_ns: self.start_ns.unwrap_or(0),
            ..Script::default()
        };
        // Connections without a single request have no index of their own in the script.
        let mut index_of = BTreeMap::new();
        for (i, reading) in self.readings.into_iter().enumerate() {
            let known = &first.connections[i];
            let Some(start_psn) = reading.messages.start_psn() else { continue };
            let Some((request, client_mac)) = reading.request else { continue };
            // A server that never answered would have answered like this.
            let (response, server_mac) = reading.response.unwrap_or((request, known.server.mac));
            // An application may use more than it announced: what is seen counts too.
            let agreed_depth = known.cm.map_or(0, |cm| cm.depth.into());
            index_of.insert(i as u32, script.connections.len() as u32);
            script.connections.push(ScriptedConnection {
                client: Endpoint { mac: client_mac, ip: known.client.ip, qpn: known.client.qpn },
                server: Endpoint { mac: server_mac, ip: known.server.ip, qpn: known.server.qpn },
                request,
                response,
                start_psn,
                start_msn: reading.messages.start_msn().unwrap_or(Msn::new(0)),
                credits: reading.messages.credits(),
                path_mtu: first.path_mtu[i],
                depth: reading.messages.depth().max(agreed_depth),
                verbs: reading.messages.into_verbs(),
            });
        }
        script.grants = self
            .rights
            .iter()
            .filter_map(|(&(index, remote_key), &rights)| {
                let server_qp = ServerQpId(*index_of.get(&index)?);
                Some(Grant { server_qp, remote_key, rights })
            })
            .collect();
        let region = |(&(domain, remote_key), &(start, end)): (&(DomainId, u32), &(u64, u64))| {
            Region { domain, remote_key, start, end }
        };
        script.regions = self.hulls.iter().map(region).collect();
        let memory = |(ip, inferred): (IpAddr, InferredMemory)| ServerMemory {
            ip,
            memory: inferred.initial,
        };
        script.memory = self.memories.into_iter().map(memory).collect();
        script
    }
}

fn path_facts(frame: &[u8], layout: &Layout) -> (PathFacts, [u8; 6]) {
    let mac = Ethernet::new_checked(frame).map_or([0; 6], |ethernet| ethernet.source());
    (PathFacts::of(frame, layout), mac)
}

/// Memory at the start of a capture, from its answers: the first answer that shows a byte shows
/// its value at the start, unless a request to write it was seen before.
#[derive(Default)]
struct InferredMemory {
    initial: Memory,
    /// First bytes known or overwritten: 0 where not.
    settled: Memory,
}

impl InferredMemory {
    fn with_words(words: ByteOrder) -> InferredMemory {
        InferredMemory { initial: Memory::with_words(words), ..InferredMemory::default() }
    }

    fn on_write(&mut self, verb: &Verb) {
        match verb {
            Verb::Write { address, data, .. } => {
                self.settled.write(*address, &vec![1; data.len()]);
            }
            Verb::CompareSwap { .. } | Verb::FetchAdd { .. } => {
                // Its answer tells the value before; what it leaves is not the start's.
            }
            Verb::Read { .. } | Verb::Send { .. } => {}
        }
    }

    fn on_answer(&mut self, answered: &Answered<'_>) {
        match answered.verb {
            Verb::Read { address, .. } => {
                let address = address.wrapping_add(answered.offset);
                self.settle(address, answered.data);
            }
            Verb::CompareSwap { address, .. } | Verb::FetchAdd { address, .. } => {
                let word = ByteOrder::Big.number(answered.data);
                self.settle(*address, &self.initial.words().bytes(word));
            }
            Verb::Write { .. } | Verb::Send { .. } => {}
        }
    }

    fn settle(&mut self, address: u64, data: &[u8]) {
        let settled = self.settled.read_vec(address, data.len());
        for (i, (&byte, _)) in data.iter().zip(&settled).enumerate().filter(|(_, (_, s))| **s == 0)
        {
            self.initial.write(address.wrapping_add(i as u64), &[byte]);
        }
        self.settled.write(address, &vec![1; data.len()]);
    }
}

/// A PSN range of a message, and what it asks for.
pub(super) fn psn_range(start: Psn, packets: u32, psn: Psn) -> Option<u32> {
    let offset = psn.offset_from(start);
    (offset < packets).then_some(offset)
}
