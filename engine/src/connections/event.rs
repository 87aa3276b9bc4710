//! What the learner says about connections.

use core::fmt;
use core::net::IpAddr;

use crate::wire::Qpn;

/// One end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Endpoint {
    /// IP address.
    pub ip: IpAddr,
    /// Queue pair number.
    pub qpn: Qpn,
    /// Source MAC address of its frames as they pass here: the host's, or a router's.
    pub mac: [u8; 6],
}

/// What shows that two flows are the directions of one connection; see the
/// [module](super)'s description.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Evidence {
    /// The UDP source port is the hash of both queue pair numbers, and PSNs confirm it.
    SourcePort,
    /// PSN and kind of several answers fit one flow only.
    Psn,
}

impl Evidence {
    /// The name in reports: `source-port` or `psn`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SourcePort => "source-port",
            Self::Psn => "psn",
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

/// A connection that has been learnt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connection {
    /// Its name.
    pub id: ConnectionId,
    /// The end that sent the first request seen.
    pub client: Endpoint,
    /// The other end.
    pub server: Endpoint,
    /// UDP source port of what the client sends.
    pub source_port_request: u16,
    /// UDP source port of what the server sends.
    pub source_port_response: u16,
    /// How it was found out.
    pub evidence: Evidence,
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
