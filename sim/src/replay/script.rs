//! A capture's closed-loop workload: what each client asked for, and what each request waited for.

use qpmux_engine::policy::{Endpoint, Grant, PathFacts, Region, Rights};
use qpmux_engine::wire::{Msn, Psn};

use crate::memory::Memory;
use crate::rc::Verb;

/// One message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptedVerb {
    /// What it asks for.
    pub verb: Verb,
    /// Number of the connection's earlier messages that were complete when it was posted. They
    /// complete in order, so this says which.
    pub after: usize,
    /// Time from the completion of the last of these (or from the start of the capture, if
    /// there is none) until it was posted, in nanoseconds.
    pub think_ns: u64,
    /// When it was posted in the capture, in nanoseconds after its start.
    pub posted_ns: u64,
}

/// One connection of a capture.
#[derive(Clone, Debug)]
pub struct ScriptedConnection {
    /// The requester.
    pub client: Endpoint,
    /// The responder.
    pub server: Endpoint,
    /// Packets towards the server.
    pub request: PathFacts,
    /// Packets towards the client.
    pub response: PathFacts,
    /// PSN of its first request.
    pub start_psn: Psn,
    /// Messages that the server had completed before that.
    pub start_msn: Msn,
    /// Credit code that the server advertised last.
    pub credits: u8,
    /// Path MTU in bytes.
    pub path_mtu: u16,
    /// READs and atomics that the server takes at a time: as agreed upon through the connection
    /// manager, or as many as were seen outstanding, whichever is more.
    pub depth: u16,
    /// Its messages, in order.
    pub verbs: Vec<ScriptedVerb>,
}

/// A whole capture as a workload.
#[derive(Default)]
pub struct Script {
    /// Connections by client address and queue pair number.
    pub connections: Vec<ScriptedConnection>,
    /// Memory that was reached with a positive answer: hull by memory key.
    pub regions: Vec<Region>,
    /// What each server queue pair answered positively.
    pub grants: Vec<Grant>,
    /// Memory of each server at the start, as far as answers showed it; else zero.
    pub memory: Vec<ServerMemory>,
    /// Time of the first packet, nanoseconds since 1970.
    pub start_ns: u64,
    /// What the capture has and the workload has not.
    pub left_out: LeftOut,
    /// The capture breaks off in the middle of its last record.
    pub truncated_tail: bool,
}

/// The memory of one server.
pub struct ServerMemory {
    /// The server.
    pub ip: std::net::IpAddr,
    /// Its memory.
    pub memory: Memory,
}

/// What of a capture is not in its workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, schemars::JsonSchema, serde::Serialize)]
pub struct LeftOut {
    /// Packets of flows that could not be paired into connections.
    pub unpaired_packets: u64,
    /// Packets with a wrong ICRC.
    pub icrc_bad: u64,
    /// Packets cut by the capture's snap length.
    pub cut_packets: u64,
    /// Repeated requests.
    pub repeated_requests: u64,
    /// Requests that an endpoint known as server sent to its client.
    pub reverse_requests: u64,
    /// Requests of kinds that cannot be re-driven (with invalidation).
    pub unsupported_requests: u64,
    /// Connections that ended because their queue pair numbers were used again.
    pub former_connections: u64,
    /// Places where the capture misses requests.
    pub holes: u64,
}

impl Verb {
    /// Memory key, right, first address and the address after the last of what the verb reaches;
    /// `None` if it reaches nothing. (A request of length zero is accepted with any memory key.)
    pub(crate) fn reach(&self) -> Option<(u32, Rights, u64, u64)> {
        let (remote_key, right, start, len) = match self {
            Verb::Write { address, rkey, data, .. } => (*rkey, Rights::WRITE, *address, data.len()),
            Verb::Read { address, rkey, length } => {
                (*rkey, Rights::READ, *address, *length as usize)
            }
            Verb::CompareSwap { address, rkey, .. } | Verb::FetchAdd { address, rkey, .. } => {
                (*rkey, Rights::ATOMIC, *address, 8)
            }
            Verb::Send { .. } => return None,
        };
        (len > 0).then(|| (remote_key, right, start, start.saturating_add(len as u64)))
    }
}
