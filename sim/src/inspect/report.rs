//! The report, as it is serialized.

use std::collections::BTreeMap;
use std::net::IpAddr;

use qpmux_engine::connections::CmFacts;
use qpmux_engine::wire::Opcode;
use schemars::JsonSchema;
use serde::Serialize;

/// Messages by verb; a retransmission of a message does not count again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, JsonSchema, Serialize)]
pub struct Verbs {
    /// SENDs.
    pub sends: u64,
    /// RDMA WRITEs.
    pub writes: u64,
    /// RDMA READs.
    pub reads: u64,
    /// Compare and swap.
    pub compare_swaps: u64,
    /// Fetch and add.
    pub fetch_adds: u64,
}

impl Verbs {
    /// Counts the message that a packet with this opcode starts, if it does.
    pub(super) fn count(&mut self, opcode: Opcode) {
        if !opcode.starts_message() {
            return;
        }
        match opcode {
            Opcode::ReadRequest => self.reads += 1,
            Opcode::CompareSwap => self.compare_swaps += 1,
            Opcode::FetchAdd => self.fetch_adds += 1,
            _ if opcode.is_write() => self.writes += 1,
            _ if opcode.is_send() => self.sends += 1,
            _ => {}
        }
    }

    fn combine(&self, other: &Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            sends: with(self.sends, other.sends),
            writes: with(self.writes, other.writes),
            reads: with(self.reads, other.reads),
            compare_swaps: with(self.compare_swaps, other.compare_swaps),
            fetch_adds: with(self.fetch_adds, other.fetch_adds),
        }
    }

    /// What there is more than in `earlier` counts of the same things.
    pub(super) fn minus(&self, earlier: &Self) -> Self {
        self.combine(earlier, u64::saturating_sub)
    }

    /// The sum.
    pub(super) fn plus(&self, other: &Self) -> Self {
        self.combine(other, u64::saturating_add)
    }

    /// All messages.
    pub fn total(&self) -> u64 {
        self.sends + self.writes + self.reads + self.compare_swaps + self.fetch_adds
    }
}

/// What is in a capture.
#[derive(Clone, PartialEq, Debug, JsonSchema, Serialize)]
pub struct InspectReport {
    /// Packets in the capture.
    pub packets: u64,
    /// Well-formed RoCEv2 packets: all transports, bad ICRCs included.
    pub roce_packets: u64,
    /// Packets of RC and of the connection manager whose ICRC is wrong. They count under
    /// `opcodes`, and nowhere else.
    pub icrc_bad: u64,
    /// Packets of which the capture holds only the first bytes; they are not looked into.
    pub truncated_packets: u64,
    /// The capture breaks off in the middle of its last record.
    pub truncated_tail: bool,
    /// From the first packet to the last, in nanoseconds.
    pub duration_ns: u64,
    /// Packets by opcode; those that are not RC by number.
    pub opcodes: BTreeMap<String, u64>,
    /// Messages of the connection manager by name, such as `REQ`.
    pub cm_messages: BTreeMap<&'static str, u64>,
    /// Malformed packets by header and field.
    pub malformed: BTreeMap<String, u64>,
    /// Packets that are not RoCEv2, by reason.
    pub not_roce: BTreeMap<&'static str, u64>,
    /// Request packets whose PSN is not beyond the newest already sent, on all flows.
    pub retransmitted: u64,
    /// Messages of all flows.
    pub operations: Verbs,
    /// The application's keys; `None` without a profile.
    pub keys: Option<KeysReport>,
    /// Connections, by addresses and numbers.
    pub connections: Vec<ConnectionReport>,
    /// Flows that belong to no connection as far as is known.
    pub unpaired: Vec<UnpairedReport>,
    /// What did not fit into the tables.
    pub limits: LimitsReport,
    /// What a reader of this report should know, in sentences.
    pub warnings: Vec<String>,
}

/// The application's keys.
#[derive(Clone, PartialEq, Eq, Debug, JsonSchema, Serialize)]
pub struct KeysReport {
    /// Name of the profile that says where the keys are.
    pub profile: String,
    /// Different keys, exact unless overflowed.
    pub distinct: u64,
    /// There are more different keys than the limit.
    pub overflowed: bool,
    /// Request packets with a key, retransmissions included.
    pub requests: u64,
}

/// One connection. Requests are the client's.
#[derive(Clone, PartialEq, Debug, JsonSchema, Serialize)]
pub struct ConnectionReport {
    /// Address of the end that asked for the connection, or that sent the first request.
    pub client_ip: IpAddr,
    /// Queue pair number of that end.
    pub client_qpn: u32,
    /// Address of the other end.
    pub server_ip: IpAddr,
    /// Queue pair number of the other end.
    pub server_qpn: u32,
    /// How the pair of numbers was found out: `configured`, `cm`, `source-port` or `psn`.
    pub learnt_by: &'static str,
    /// Earlier connections with one of the numbers.
    pub epoch: u32,
    /// UDP source port of the client's packets.
    pub source_port_request: u16,
    /// UDP source port of the server's packets.
    pub source_port_response: u16,
    /// Request packets.
    pub requests: u64,
    /// Messages by verb.
    #[serde(flatten)]
    pub verbs: Verbs,
    /// Request packets whose PSN is not beyond the newest already sent.
    pub retransmitted: u64,
    /// Response packets.
    pub responses: u64,
    /// Negative acknowledgements except RNR.
    pub naks: u64,
    /// Receiver-not-ready NAKs.
    pub rnr_naks: u64,
    /// Request packets that the server sent on its own account.
    pub server_requests: u64,
    /// PSN of the first request.
    pub first_psn: Option<u32>,
    /// Newest PSN of the requests.
    pub last_psn: Option<u32>,
    /// What was agreed upon through the connection manager, if that was seen.
    pub cm: Option<CmReport>,
    /// Path MTU in bytes, as far as the connection manager or packets show it.
    pub path_mtu: Option<u32>,
    /// Whether the connection manager or a packet that must be full proves the path MTU; else it
    /// is the smallest possible.
    pub path_mtu_certain: bool,
    /// Bytes on the wire both ways, from the Ethernet header on.
    pub bytes: u64,
}

/// What the ends of a connection agreed upon through the connection manager.
#[derive(Clone, PartialEq, Eq, Debug, JsonSchema, Serialize)]
pub struct CmReport {
    /// PSN of the client's first request.
    pub client_start_psn: u32,
    /// PSN of the server's first request.
    pub server_start_psn: u32,
    /// Path MTU in bytes.
    pub path_mtu: u16,
    /// READs and atomics of the client that the server takes at a time.
    pub depth: u8,
    /// READs and atomics of the server that the client takes at a time.
    pub client_depth: u8,
    /// Partition key.
    pub partition_key: u16,
    /// How often a request is repeated without an answer.
    pub retry_count: u8,
    /// How often a request is repeated after an RNR NAK; 7 is for ever.
    pub rnr_retry_count: u8,
    /// Time without an answer after which a request is repeated, in nanoseconds, if it ever is.
    pub ack_timeout_ns: Option<u64>,
}

impl From<CmFacts> for CmReport {
    fn from(facts: CmFacts) -> Self {
        Self {
            client_start_psn: facts.client_psn.value(),
            server_start_psn: facts.server_psn.value(),
            path_mtu: facts.path_mtu,
            depth: facts.depth,
            client_depth: facts.client_depth,
            partition_key: facts.partition_key,
            retry_count: facts.retry_count,
            rnr_retry_count: facts.rnr_retry_count,
            ack_timeout_ns: facts.ack_timeout_ns(),
        }
    }
}

/// A flow that belongs to no connection as far as is known.
#[derive(Clone, PartialEq, Eq, Debug, JsonSchema, Serialize)]
pub struct UnpairedReport {
    /// Where it comes from.
    pub source_ip: IpAddr,
    /// Where it goes.
    pub destination_ip: IpAddr,
    /// The queue pair that it is for.
    pub destination_qpn: u32,
    /// UDP source port of its last packet.
    pub source_port: u16,
    /// All packets.
    pub packets: u64,
    /// Request packets.
    pub requests: u64,
    /// Response packets.
    pub responses: u64,
}

/// What did not fit into the tables.
#[derive(Clone, PartialEq, Eq, Debug, Default, JsonSchema, Serialize)]
pub struct LimitsReport {
    /// Packets of flows beyond the limit of flows.
    pub flow_overflow_packets: u64,
    /// Connections that ended and were not kept.
    pub connections_not_kept: u64,
    /// Answers that could not be compared with all unpaired flows.
    pub candidates_overflow: u64,
}
