//! The first pass over a capture: which connections there are, and their path MTU.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::Path;

use qpmux_engine::connections::{Config, Connection, ConnectionId, EndReason, Event, Learner};
use qpmux_engine::wire::{Classified, Layout, NotRc, Opcode, Qpn, classify, icrc};
use qpmux_traces::CaptureReader;

use super::script::LeftOut;
use super::{Progress, Read};
use crate::connections_file::KnownConnections;

/// One direction: source, destination and destination queue pair.
pub(super) type Flow = (IpAddr, IpAddr, Qpn);

/// What the first pass found.
pub(super) struct FirstPass {
    /// Connections in the order of client address, then queue pair number. No two have one flow.
    pub(super) connections: Vec<Connection>,
    /// Whose the packets of each flow are, from the capture's start on.
    flows: BTreeMap<Flow, Vec<Span>>,
    /// Path MTU of each connection, in bytes.
    pub(super) path_mtu: Vec<u16>,
    pub(super) left_out: LeftOut,
}

/// Packets of one flow.
#[derive(Clone, Copy)]
struct Span {
    /// Number of the last packet.
    until: u64,
    /// The connection that they belong to; `None` if it is left out.
    connection: Option<usize>,
    to_server: bool,
}

/// To whom a packet belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// This connection; and whether the packet goes to the server.
    Connection(usize, bool),
    /// A connection that is left out.
    Former,
    /// Nobody knows.
    Nobody,
}

impl FirstPass {
    /// To whom the packet with this number belongs.
    pub(super) fn owner(&self, flow: Flow, number: u64) -> Owner {
        let spans = self.flows.get(&flow).map_or(&[][..], Vec::as_slice);
        match spans.iter().find(|span| number <= span.until) {
            Some(&Span { connection: Some(index), to_server, .. }) => {
                Owner::Connection(index, to_server)
            }
            Some(_) => Owner::Former,
            None => Owner::Nobody,
        }
    }
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

/// Learns the connections of a capture, beside those that are `known`. `progress` is told how
/// much was read.
pub(super) fn first_pass(
    path: &Path,
    config: Config,
    known: &KnownConnections,
    progress: &mut dyn FnMut(Progress),
) -> anyhow::Result<FirstPass> {
    let mut reader = CaptureReader::open(path)?;
    let mut read = Read::new(1);
    let mut learner = Learner::new(config);
    known.configure(0, &mut learner)?;
    let mut payloads: BTreeMap<Flow, MtuEvidence> = BTreeMap::new();
    // Connections that have ended, with the number of the last packet before that.
    let mut ended: Vec<(Connection, EndReason, u64)> = Vec::new();
    loop {
        read.tell(&reader, progress);
        let Some(packet) = reader.next_packet()? else { break };
        let (now, frame) = (packet.timestamp_ns, packet.data);
        // The second pass counts what is left out.
        let uncounted = &mut LeftOut::default();
        if let Some(layout) = believable(frame, packet.is_truncated(), uncounted) {
            learner.observe(now, &layout, frame);
            note_payload(payloads.entry(flow_of(&layout)).or_default(), &layout);
        } else if let Ok(Classified::Other(NotRc::Cm(layout))) = classify(frame)
            && !packet.is_truncated()
            && icrc::verify_cm(frame, &layout)
        {
            learner.observe_mad(now, &layout, frame);
        }
        while let Some(event) = learner.poll_event() {
            if let Event::ConnectionEnded { connection, reason } = event {
                ended.push((connection, reason, packet.number.saturating_sub(1)));
            }
        }
    }
    let living: Vec<Connection> = learner.connections().copied().collect();
    Ok(found(living, &ended, &payloads))
}

/// Puts together what the first pass saw. One connection of each queue pair is replayed, as the
/// engine knows but one at a time: the last one that was alive to the end or was taken down, so
/// that its packets can be told from those of the next one.
fn found(
    living: Vec<Connection>,
    ended: &[(Connection, EndReason, u64)],
    payloads: &BTreeMap<Flow, MtuEvidence>,
) -> FirstPass {
    let mut connections = living.clone();
    let mut taken: BTreeSet<Flow> = connections.iter().flat_map(flows_of).collect();
    for (connection, reason, _) in ended.iter().rev() {
        let flows = flows_of(connection);
        let free = flows.iter().all(|flow| !taken.contains(flow));
        if *reason == EndReason::Teardown && free {
            taken.extend(flows);
            connections.push(*connection);
        }
    }
    connections.sort_by_key(|c| (c.client.ip, c.client.qpn, c.server.ip, c.server.qpn));
    let places: HashMap<ConnectionId, usize> =
        connections.iter().enumerate().map(|(place, c)| (c.id, place)).collect();
    let mut flows: BTreeMap<Flow, Vec<Span>> = BTreeMap::new();
    let to_the_end = living.iter().map(|c| (c, u64::MAX));
    for (connection, until) in ended.iter().map(|(c, _, until)| (c, *until)).chain(to_the_end) {
        let place = places.get(&connection.id).copied();
        for (flow, to_server) in flows_of(connection).into_iter().zip([true, false]) {
            let spans = flows.entry(flow).or_default();
            spans.push(Span { until, connection: place, to_server });
        }
    }
    let former = ended.iter().filter(|(former, ..)| !places.contains_key(&former.id)).count();
    let left_out = LeftOut { former_connections: former as u64, ..LeftOut::default() };
    let path_mtu = path_mtus(&connections, payloads);
    FirstPass { connections, flows, path_mtu, left_out }
}

/// A connection's flows, to the server and back.
fn flows_of(c: &Connection) -> [Flow; 2] {
    [(c.client.ip, c.server.ip, c.server.qpn), (c.server.ip, c.client.ip, c.client.qpn)]
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

/// The path MTU of each connection: what the connection manager says; else what its own
/// multi-packet messages show; else what others of the same server show; else the smallest that
/// the longest payload to or from that server fits into.
fn path_mtus(connections: &[Connection], payloads: &BTreeMap<Flow, MtuEvidence>) -> Vec<u16> {
    let evidence = |c: &Connection| {
        flows_of(c).iter().filter_map(|flow| payloads.get(flow)).fold(
            MtuEvidence::default(),
            |all, e| MtuEvidence {
                exact: all.exact.max(e.exact),
                longest: all.longest.max(e.longest),
            },
        )
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
            let shown = if own > 0 { own } else { fits };
            let known = c.cm.map_or(shown, |cm| cm.path_mtu);
            known.clamp(256, 4096).next_power_of_two()
        })
        .collect()
}
