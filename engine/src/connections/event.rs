//! What the learner says about connections.

use core::fmt;
use core::net::IpAddr;

use crate::wire::{Psn, Qpn};

/// One end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Endpoint {
    /// IP address.
    pub ip: IpAddr,
    /// Queue pair number.
    pub qpn: Qpn,
    /// Source MAC address of its frames as they pass here: the host's, or a router's. Zeros until
    /// a frame was seen.
    pub mac: [u8; 6],
}

/// What shows that two flows are the directions of one connection, from the weakest to the
/// strongest; see the [module](super)'s description.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Evidence {
    /// PSN and kind of several answers fit one flow only.
    Psn,
    /// The UDP source port is the hash of both queue pair numbers, and PSNs confirm it.
    SourcePort,
    /// The connection manager set it up before our eyes.
    Cm,
    /// The operator says so ([`super::Learner::configure`]).
    Configured,
}

impl Evidence {
    /// The name in reports: `psn`, `source-port`, `cm` or `configured`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Psn => "psn",
            Self::SourcePort => "source-port",
            Self::Cm => "cm",
            Self::Configured => "configured",
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Names a connection for as long as it lives, and no later one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct ConnectionId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl ConnectionId {
    /// The connection's place, below [`super::Config::connections_max`]. A later connection may
    /// have the same one.
    pub const fn index(self) -> u32 {
        self.index
    }
}

/// What the two ends agreed upon through the connection manager (CM). An application may set its
/// queue pair to other values than it announced, though few do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CmFacts {
    /// The client's name for the connection.
    pub client_comm_id: u32,
    /// The server's name for it.
    pub server_comm_id: u32,
    /// PSN of the client's first request: the starting PSN of the server's REP.
    pub client_psn: Psn,
    /// PSN of the server's first request: the starting PSN of the client's REQ.
    pub server_psn: Psn,
    /// Path MTU in bytes, `256..=4096`.
    pub path_mtu: u16,
    /// READs and atomics of the client that the server takes at a time; 0 is none.
    pub depth: u8,
    /// READs and atomics of the server that the client takes at a time; 0 is none.
    pub client_depth: u8,
    /// Partition key.
    pub partition_key: u16,
    /// How often a request is repeated without an answer, `0..=7`.
    pub retry_count: u8,
    /// How often the client repeats a request after an RNR NAK, `0..=7`; 7 is for ever.
    pub rnr_retry_count: u8,
    /// Code of the time to wait for an answer, `0..=31`; see [`CmFacts::ack_timeout_ns`].
    pub local_ack_timeout: u8,
}

impl CmFacts {
    /// Nanoseconds after which a request without an answer is repeated (4.096 us times two to the
    /// power of the code); `None` if it never is. Adapters may wait up to four times as long
    /// (IBTA vol. 1, 9.9.2.1.1).
    pub const fn ack_timeout_ns(&self) -> Option<u64> {
        match self.local_ack_timeout {
            0 => None,
            code => Some(4096 << (code & 0x1f)),
        }
    }

    /// The same facts where the other end is called the client.
    pub(super) const fn reversed(self) -> Self {
        Self {
            client_comm_id: self.server_comm_id,
            server_comm_id: self.client_comm_id,
            client_psn: self.server_psn,
            server_psn: self.client_psn,
            depth: self.client_depth,
            client_depth: self.depth,
            ..self
        }
    }
}

/// A connection that has been learnt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connection {
    /// Its name.
    pub id: ConnectionId,
    /// The end that sent the first request seen, or the connection manager's REQ, or that was
    /// configured as such.
    pub client: Endpoint,
    /// The other end.
    pub server: Endpoint,
    /// UDP source port of what the client sends; 0 until a packet was seen.
    pub source_port_request: u16,
    /// UDP source port of what the server sends; 0 until a packet was seen.
    pub source_port_response: u16,
    /// How it was found out.
    pub evidence: Evidence,
    /// What the connection manager said, if it was heard. Of a configured connection it may be
    /// heard later than the connection is learnt.
    pub cm: Option<CmFacts>,
    /// How many connections with one of these queue pair numbers ended before, as far as they
    /// were seen.
    pub epoch: u32,
    /// When it was learnt, in the caller's nanoseconds.
    pub learnt_at_ns: u64,
    /// Never given up for want of space ([`super::Learner::pin`]).
    pub pinned: bool,
}

/// Why a connection is no longer known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum EndReason {
    /// One of its queue pair numbers is in use for another connection.
    NewEpoch,
    /// One end took it down through the connection manager (DREQ, DREP, or REJ).
    Teardown,
    /// It had been idle and its place was needed.
    Idle,
}

/// Something that the learner found out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// Two flows are the directions of this connection.
    ConnectionLearnt(Connection),
    /// This connection is no longer known.
    ConnectionEnded {
        /// The connection as it was.
        connection: Connection,
        /// Why.
        reason: EndReason,
    },
}

/// Counts of what happened, for the operator. They only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Frames observed.
    pub frames: u64,
    /// Messages of the connection manager observed.
    pub cm_messages: u64,
    /// Messages of the connection manager that said nothing usable: malformed, or about a
    /// transport or path that is not handled.
    pub cm_ignored: u64,
    /// Handshakes that the connection manager's REJ ended.
    pub handshakes_rejected: u64,
    /// Handshakes that were not finished in time.
    pub handshakes_expired: u64,
    /// Handshakes given up, the longest quiet one first, because there were too many.
    pub handshakes_evicted: u64,
    /// Connections learnt from the connection manager.
    pub learnt_by_cm: u64,
    /// Connections configured.
    pub configured: u64,
    /// Connections that the connection manager took down.
    pub teardowns: u64,
    /// Connections learnt by source port.
    pub learnt_by_source_port: u64,
    /// Connections learnt by PSN.
    pub learnt_by_psn: u64,
    /// Connections that ended because a queue pair number was used again.
    pub epochs_ended: u64,
    /// Answers that fitted more than one flow.
    pub psn_ambiguous: u64,
    /// Candidate pairs given up because an answer did not fit the requests.
    pub psn_contradictions: u64,
    /// Candidate pairs given up because two flows answered the same requester.
    pub psn_conflicts: u64,
    /// Answers not weighed because there were more unpaired flows than the limit.
    pub candidates_overflow: u64,
    /// Frames of flows for which there was no place. For a while nothing is paired by PSN then:
    /// an unknown flow may be the true one.
    pub flows_overflow: u64,
    /// Idle unpaired flows that made place.
    pub flows_evicted: u64,
    /// Pairs found for which there was no place, or no place for the event.
    pub connections_overflow: u64,
    /// Idle connections that made place.
    pub connections_evicted: u64,
}
