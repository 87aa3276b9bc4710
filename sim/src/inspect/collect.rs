//! Takes packets in, gives the report at the end.

use std::collections::BTreeMap;
use std::net::IpAddr;

use qpmux_engine::connections::{Config, Connection, Event, Learner};
use qpmux_engine::wire::packet::{CNP, UD_SEND_ONLY};
use qpmux_engine::wire::{Classified, CmLayout, CmMad, Layout, NotRc, classify, icrc};

use super::InspectOptions;
use super::flows::{Flow, FlowKey, Flows, path_mtu};
use super::keys::Keys;
use super::report::{
    CmReport, ConnectionReport, InspectReport, LimitsReport, UnpairedReport, Verbs,
};
use crate::connections_file::ConnectionsError;

/// Counts as packets go by.
pub(super) struct Collector {
    packets: u64,
    roce_packets: u64,
    icrc_bad: u64,
    truncated_packets: u64,
    first_ns: Option<u64>,
    last_ns: u64,
    /// The latest time so far: captures can step back a little.
    clock_ns: u64,
    opcodes: BTreeMap<u8, u64>,
    cm_messages: BTreeMap<&'static str, u64>,
    malformed: BTreeMap<String, u64>,
    not_roce: BTreeMap<&'static str, u64>,
    retransmitted: u64,
    operations: Verbs,
    keys: Keys,
    flows: Flows,
    learner: Learner,
    /// Connections that have ended.
    ended: Vec<ConnectionReport>,
    ended_max: usize,
    connections_not_kept: u64,
}

impl Collector {
    pub(super) fn new(options: &InspectOptions) -> Result<Self, ConnectionsError> {
        let mut learner = Learner::new(Config {
            flows_max: options.flows_max,
            connections_max: options.flows_max.div_ceil(2),
            cm: options.learn_by_cm,
            source_port: options.learn_by_source_port,
            psn: options.learn_by_psn,
            ..Config::default()
        });
        options.connections.configure(0, &mut learner)?;
        Ok(Self {
            packets: 0,
            roce_packets: 0,
            icrc_bad: 0,
            truncated_packets: 0,
            first_ns: None,
            last_ns: 0,
            clock_ns: 0,
            opcodes: BTreeMap::new(),
            cm_messages: BTreeMap::new(),
            malformed: BTreeMap::new(),
            not_roce: BTreeMap::new(),
            retransmitted: 0,
            operations: Verbs::default(),
            keys: Keys::new(options.profile.clone(), options.keys_max),
            flows: Flows::new(options.flows_max),
            learner,
            ended: Vec::new(),
            ended_max: options.flows_max as usize,
            connections_not_kept: 0,
        })
    }

    /// Takes a packet in. `wire_len` is its length before the capture cut it, in bytes.
    pub(super) fn take(&mut self, timestamp_ns: u64, wire_len: u32, frame: &[u8]) {
        self.packets += 1;
        self.first_ns.get_or_insert(timestamp_ns);
        self.last_ns = timestamp_ns;
        self.clock_ns = self.clock_ns.max(timestamp_ns);
        if frame.len() < wire_len as usize {
            self.truncated_packets += 1;
            return;
        }
        match classify(frame) {
            Ok(Classified::Rc(layout)) => {
                self.count_roce(layout.opcode.to_byte());
                self.take_rc(&layout, wire_len, frame);
            }
            Ok(Classified::Other(
                NotRc::OtherTransport { opcode } | NotRc::UnknownRcOpcode { opcode, .. },
            )) => self.count_roce(opcode),
            Ok(Classified::Other(NotRc::Cm(layout))) => {
                self.count_roce(UD_SEND_ONLY);
                self.take_cm(&layout, frame);
            }
            Ok(Classified::Other(NotRc::Cnp(_))) => self.count_roce(CNP),
            Ok(Classified::Other(other)) => {
                *self.not_roce.entry(reason(other)).or_default() += 1;
            }
            Err(error) => {
                // Header and field are fixed texts: there are not many of them.
                let what = format!("{}.{}", error.header, error.field);
                *self.malformed.entry(what).or_default() += 1;
            }
        }
    }

    fn count_roce(&mut self, opcode: u8) {
        self.roce_packets += 1;
        *self.opcodes.entry(opcode).or_default() += 1;
    }

    fn take_rc(&mut self, layout: &Layout, wire_len: u32, frame: &[u8]) {
        if !icrc::verify(frame, layout) {
            self.icrc_bad += 1;
            return;
        }
        self.learner.observe(self.clock_ns, layout, frame);
        // The packet that shows that a connection has ended belongs to the next one.
        self.close_ended();
        self.keys.take(layout, frame);
        let (retransmitted, verbs) = self.flows.take(layout, frame, wire_len);
        self.retransmitted += retransmitted;
        self.operations = self.operations.plus(&verbs);
    }

    fn take_cm(&mut self, layout: &CmLayout, frame: &[u8]) {
        if !icrc::verify_cm(frame, layout) {
            self.icrc_bad += 1;
            return;
        }
        if let Ok(mad) = CmMad::parse(layout.mad(frame)) {
            *self.cm_messages.entry(mad.message.name()).or_default() += 1;
        }
        self.learner.observe_mad(self.clock_ns, layout, frame);
        self.close_ended();
    }

    /// Reports the connections that have ended.
    fn close_ended(&mut self) {
        while let Some(event) = self.learner.poll_event() {
            if let Event::ConnectionEnded { connection, .. } = event {
                let report = self.close(&connection);
                if self.ended.len() < self.ended_max {
                    self.ended.push(report);
                } else {
                    self.connections_not_kept += 1;
                }
            }
        }
    }

    /// Takes a connection's two flows out and reports them.
    fn close(&mut self, connection: &Connection) -> ConnectionReport {
        let (client, server) = (connection.client, connection.server);
        let from_client = self.flows.remove((client.ip, server.ip, server.qpn));
        let from_server = self.flows.remove((server.ip, client.ip, client.qpn));
        report_connection(connection, &from_client, &from_server)
    }

    /// The report on all packets taken.
    pub(super) fn finish(mut self, truncated_tail: bool) -> InspectReport {
        let mut connections = std::mem::take(&mut self.ended);
        let known: Vec<Connection> = self.learner.connections().copied().collect();
        connections.extend(known.iter().map(|connection| self.close(connection)));
        connections
            .sort_by_key(|c| (c.client_ip, c.client_qpn, c.server_ip, c.server_qpn, c.epoch));
        let mut unpaired: Vec<_> = self.flows.by_key.iter().map(report_unpaired).collect();
        unpaired.sort_by_key(|flow| (flow.source_ip, flow.destination_ip, flow.destination_qpn));
        let mut report = InspectReport {
            packets: self.packets,
            roce_packets: self.roce_packets,
            icrc_bad: self.icrc_bad,
            truncated_packets: self.truncated_packets,
            truncated_tail,
            duration_ns: self.last_ns.saturating_sub(self.first_ns.unwrap_or(0)),
            opcodes: self.opcodes.into_iter().map(|(byte, count)| (name_of(byte), count)).collect(),
            cm_messages: self.cm_messages,
            malformed: self.malformed,
            not_roce: self.not_roce,
            retransmitted: self.retransmitted,
            operations: self.operations,
            keys: self.keys.report(),
            connections,
            unpaired,
            limits: LimitsReport {
                flow_overflow_packets: self.flows.overflow_packets,
                connections_not_kept: self.connections_not_kept,
                candidates_overflow: self.learner.counters().candidates_overflow,
            },
            warnings: Vec::new(),
        };
        report.warnings = super::text::warnings(&report);
        report
    }
}

fn report_connection(c: &Connection, client: &Flow, server: &Flow) -> ConnectionReport {
    let agreed = c.cm.map(|cm| (u32::from(cm.path_mtu), true));
    let mtu = agreed.or_else(|| path_mtu([client, server]));
    ConnectionReport {
        client_ip: c.client.ip,
        client_qpn: c.client.qpn.value(),
        server_ip: c.server.ip,
        server_qpn: c.server.qpn.value(),
        learnt_by: c.evidence.name(),
        epoch: c.epoch,
        source_port_request: c.source_port_request,
        source_port_response: c.source_port_response,
        requests: client.requests,
        verbs: client.verbs,
        retransmitted: client.retransmitted,
        responses: server.responses,
        naks: server.naks,
        rnr_naks: server.rnr_naks,
        server_requests: server.requests,
        first_psn: client.first_psn.map(|psn| psn.value()),
        last_psn: client.last_psn().map(|psn| psn.value()),
        cm: c.cm.map(CmReport::from),
        path_mtu: mtu.map(|(mtu, _)| mtu),
        path_mtu_certain: mtu.is_some_and(|(_, certain)| certain),
        bytes: client.bytes + server.bytes,
    }
}

fn report_unpaired((key, flow): (&FlowKey, &Flow)) -> UnpairedReport {
    let (source_ip, destination_ip, qpn): (IpAddr, IpAddr, _) = *key;
    UnpairedReport {
        source_ip,
        destination_ip,
        destination_qpn: qpn.value(),
        source_port: flow.source_port,
        packets: flow.packets,
        requests: flow.requests,
        responses: flow.responses,
    }
}

/// An opcode's name, or its number where it is not RC.
fn name_of(byte: u8) -> String {
    qpmux_engine::wire::Opcode::from_byte(byte)
        .map_or_else(|| format!("{byte:#04x}"), |opcode| opcode.name().to_owned())
}

fn reason(other: NotRc) -> &'static str {
    match other {
        NotRc::NotIp => "not_ip",
        NotRc::NotUdp => "not_udp",
        NotRc::Fragment => "fragment",
        NotRc::OtherPort => "other_port",
        NotRc::Cm(_)
        | NotRc::Cnp(_)
        | NotRc::OtherTransport { .. }
        | NotRc::UnknownRcOpcode { .. } => "other_roce",
    }
}
