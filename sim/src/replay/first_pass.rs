//! The first pass over a capture: which connections there are, and their path MTU.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use qpmux_engine::connections::{Config, Connection, Event, Learner};
use qpmux_engine::wire::{Classified, Layout, Opcode, Qpn, classify, icrc};
use qpmux_traces::{CaptureError, CaptureReader};

use super::script::LeftOut;

/// One direction: source, destination and destination queue pair.
pub(super) type Flow = (IpAddr, IpAddr, Qpn);

/// What the first pass found.
pub(super) struct FirstPass {
    /// Connections in the order of client address, then queue pair number.
    pub(super) connections: Vec<Connection>,
    /// From flow to connection, and whether the flow is the one towards the server.
    pub(super) flows: BTreeMap<Flow, (usize, bool)>,
    /// Path MTU of each connection, in bytes.
    pub(super) path_mtu: Vec<u16>,
    pub(super) left_out: LeftOut,
}

/// What payload lengths say about a path MTU.
#[derive(Clone, Copy, Default)]
struct MtuEvidence {
    /// Payload of a packet with more to follow: exactly the path MTU.
    exact: u16,
    /// Longest payload otherwise: at most the path MTU.
    longest: u16,
}

/// A packet that the replay believes: a checked RC packet, whole and with the right ICRC.
pub(super) fn believable(data: &[u8], cut: bool, left_out: &mut LeftOut) -> Option<Layout> {
    if cut {
        left_out.cut_packets += 1;
        return None;
    }
    let Ok(Classified::Rc(layout)) = classify(data) else { return None };
    if !icrc::verify(data, &layout) {
        left_out.icrc_bad += 1;
        return None;
    }
    Some(layout)
}

/// Learns the connections of a capture. `progress` is told bytes read.
pub(super) fn first_pass(
    path: &Path,
    learner: Config,
    progress: &mut dyn FnMut(u64),
) -> Result<FirstPass, CaptureError> {
    let mut reader = CaptureReader::open(path)?;
    let mut learner = Learner::new(learner);
    let mut payloads: BTreeMap<Flow, MtuEvidence> = BTreeMap::new();
    let mut left_out = LeftOut::default();
    loop {
        progress(reader.bytes_read());
        let Some(packet) = reader.next_packet()? else { break };
        let Some(layout) = believable(packet.data, packet.is_truncated(), &mut left_out) else {
            continue;
        };
        learner.observe(packet.timestamp_ns, &layout, packet.data);
        while let Some(event) = learner.poll_event() {
            left_out.former_connections +=
                u64::from(matches!(event, Event::ConnectionEnded { .. }));
        }
        note_payload(payloads.entry(flow_of(&layout)).or_default(), &layout);
    }
    let mut connections: Vec<Connection> = learner.connections().copied().collect();
    connections.sort_by_key(|c| (c.client.ip, c.client.qpn, c.server.ip, c.server.qpn));
    let mut flows = BTreeMap::new();
    for (i, c) in connections.iter().enumerate() {
        flows.insert((c.client.ip, c.server.ip, c.server.qpn), (i, true));
        flows.insert((c.server.ip, c.client.ip, c.client.qpn), (i, false));
    }
    let path_mtu = path_mtus(&connections, &payloads);
    // The second pass counts these again.
    left_out = LeftOut { former_connections: left_out.former_connections, ..LeftOut::default() };
    Ok(FirstPass { connections, flows, path_mtu, left_out })
}

pub(super) fn flow_of(layout: &Layout) -> Flow {
    (layout.source, layout.destination, layout.dest_qp)
}

fn note_payload(evidence: &mut MtuEvidence, layout: &Layout) {
    use Opcode::{
        ReadResponseFirst, ReadResponseMiddle, SendFirst, SendMiddle, WriteFirst, WriteMiddle,
    };
    let more_follow = matches!(
        layout.opcode,
        SendFirst | SendMiddle | WriteFirst | WriteMiddle | ReadResponseFirst | ReadResponseMiddle
    );
    if more_follow {
        evidence.exact = layout.payload_len;
    }
    evidence.longest = evidence.longest.max(layout.payload_len);
}

/// The path MTU of each connection: what its own multi-packet messages show; else what others
/// of the same server show; else the smallest that the longest payload to or from that server
/// fits into.
fn path_mtus(connections: &[Connection], payloads: &BTreeMap<Flow, MtuEvidence>) -> Vec<u16> {
    let evidence = |c: &Connection| {
        let flows =
            [(c.client.ip, c.server.ip, c.server.qpn), (c.server.ip, c.client.ip, c.client.qpn)];
        flows.iter().filter_map(|flow| payloads.get(flow)).fold(MtuEvidence::default(), |all, e| {
            MtuEvidence { exact: all.exact.max(e.exact), longest: all.longest.max(e.longest) }
        })
    };
    let mut by_server: BTreeMap<IpAddr, MtuEvidence> = BTreeMap::new();
    for c in connections {
        let all = by_server.entry(c.server.ip).or_default();
        let own = evidence(c);
        *all =
            MtuEvidence { exact: all.exact.max(own.exact), longest: all.longest.max(own.longest) };
    }
    connections
        .iter()
        .map(|c| {
            let own = evidence(c).exact;
            let server = by_server.get(&c.server.ip).copied().unwrap_or_default();
            let fits = if server.exact > 0 { server.exact } else { server.longest };
            let known = if own > 0 { own } else { fits };
            known.clamp(256, 4096).next_power_of_two()
        })
        .collect()
}
