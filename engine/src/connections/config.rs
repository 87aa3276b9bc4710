//! Limits and thresholds of the learner.

/// What the learner may use and how sure it has to be. [`Config::default`] suits a middlebox in
/// front of one server; zeros are taken as one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// Flows (directions) that can be known at a time. A connection is two. Memory per flow is
    /// about 300 bytes and four times [`Config::recent_requests`].
    pub flows_max: u32,
    /// Connections that can be known at a time; about 150 bytes each.
    pub connections_max: u32,
    /// Request packets that are remembered per flow, to be matched with answers.
    ///
    /// The default of 128 is how far Linux' soft-RoCE sends ahead of the last ACK
    /// (`RXE_MAX_UNACKED_PSNS`). What has been forgotten is no evidence, for or against.
    pub recent_requests: u32,
    /// Unpaired flows that are compared with one answer. Where there are more, the answer is no
    /// evidence ([`super::Counters::candidates_overflow`]): uniqueness cannot be established.
    pub candidates_max: u32,
    /// Whether the connection manager is listened to.
    pub cm: bool,
    /// Handshakes of the connection manager that can be under way at a time; about 350 bytes
    /// each. One more, and the one that has been quiet for longest is given up
    /// ([`super::Counters::handshakes_evicted`]): its connection is then learnt from its traffic.
    pub handshakes_max: u32,
    /// Time in nanoseconds after the last message of a handshake when it is given up.
    ///
    /// The default of 70 s is above what Linux' rdma_cm asks for at most, in its MRA: 4.096 us
    /// times 2^24 (`CMA_CM_MRA_SETTING`), 68.7 s.
    pub handshake_timeout_ns: u64,
    /// Whether the UDP source port counts as evidence.
    pub source_port: bool,
    /// Whether PSN and kind of answers count as evidence by themselves.
    ///
    /// Switch it off where requests of some clients, and answers to others, never pass here
    /// (asymmetric routes): two such halves in perfect step cannot be told from one connection.
    pub psn: bool,
    /// Round trips that confirm a pair whose source ports fit, `1..=255`.
    ///
    /// Two flows of one port fit by accident once in 16,384 pairs (the hash has 14 bits). The
    /// default of 2 is there so that one stray answer of a former connection is not enough.
    pub source_port_matches: u8,
    /// Round trips that confirm a pair by PSN alone, `1..=255`.
    ///
    /// A lone match is wrong where the true request was not seen and another queue pair happens
    /// to be at the same PSN: common where all start at one PSN and run in step. A match counts
    /// only if its request was sent after the previous match was seen, so matches are separate
    /// round trips, and what was under way when we began to look misleads at most once. Any
    /// answer that does not fit, and any second flow that answers the same requests, sets the
    /// count back to 0.
    ///
    /// With all frames seen a single match is never wrong. Measured with frames hidden, in 200
    /// runs of 2,000 round trips by two queue pairs in perfect step, the hardest case: with one
    /// frame in ten hidden, 94 runs pair wrongly at a threshold of 1, 35 at 3, 4 at 4, none at 6;
    /// with every second frame hidden, 98 at 1, 102 at 3, 77 at 4, 1 at 6, none at 8. The default
    /// of 8 costs some round trips more and nothing else.
    pub psn_matches: u8,
    /// Distance in PSNs beyond which a request cannot belong to the connection known so far,
    /// `1..2^23`. PSNs that large READs take come on top.
    ///
    /// Requesters keep at most some hundred packets unacknowledged; the default of 1,024 is
    /// clear of that. A queue pair number that is used again closer than this to its former PSN
    /// is recognised only if the source port differs.
    pub far_psns: u32,
    /// Requests at such a distance, without progress at the old place, that end an epoch,
    /// `1..=255`. One or two may be strays; the default is 3.
    pub epoch_requests: u8,
    /// Time in nanoseconds without a frame after which an unpaired flow may give its place to a
    /// new one, if there is no other.
    pub flow_idle_ns: u64,
    /// The same for a connection; never one that is pinned ([`super::Learner::pin`]).
    pub connection_idle_ns: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            flows_max: 8192,
            connections_max: 4096,
            recent_requests: 128,
            candidates_max: 1024,
            cm: true,
            handshakes_max: 1024,
            handshake_timeout_ns: 70_000_000_000,
            source_port: true,
            psn: true,
            source_port_matches: 2,
            psn_matches: 8,
            far_psns: 1024,
            epoch_requests: 3,
            flow_idle_ns: 1_000_000_000,
            connection_idle_ns: 60_000_000_000,
        }
    }
}

impl Config {
    /// The same with every value in its range.
    pub(super) fn checked(self) -> Self {
        Self {
            flows_max: self.flows_max.clamp(1, 1 << 24),
            connections_max: self.connections_max.clamp(1, 1 << 23),
            recent_requests: self.recent_requests.clamp(1, 1 << 12),
            candidates_max: self.candidates_max.max(1),
            handshakes_max: self.handshakes_max.clamp(1, 1 << 22),
            source_port_matches: self.source_port_matches.max(1),
            psn_matches: self.psn_matches.max(1),
            far_psns: self.far_psns.clamp(1, (1 << 23) - 1),
            epoch_requests: self.epoch_requests.max(1),
            ..self
        }
    }
}
