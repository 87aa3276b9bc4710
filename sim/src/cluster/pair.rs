//! Queue pairs.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use qpmux_engine::wire::Psn;

use super::frames::FrameId;
use super::network::Conditions;
use crate::event::Ps;
use crate::nic::{Lock, Rate, Server};
use crate::rc::{Link, Region, Requester, RequesterConfig, Responder, ResponderConfig, Verb, Wire};

/// Number of the first queue pair: 0 and 1 are taken (IBTA vol. 1, 10.2.4.5).
pub(super) const FIRST_QPN: u32 = 2;
/// First PSN of both directions.
pub(super) const START_PSN: u32 = 0;

/// How all connections of a cluster are set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionSetup {
    /// Path MTU, bytes of payload: 256, 512, 1024, 2048 or 4096.
    pub path_mtu: usize,
    /// READs and atomics in flight per queue pair (max_rd_atomic).
    pub depth: usize,
    /// PSNs that may be unanswered per queue pair.
    pub window: u32,
    /// Local ACK timeout, code (4.096 us * 2^t).
    pub timeout: u8,
    /// Retries before a queue pair gives up.
    pub retries: u32,
    /// It takes part in congestion control (DCQCN).
    pub dcqcn: bool,
    /// Receive buffers that there are for SENDs; `None` for any number.
    pub receives: Option<u64>,
    /// It goes through the middlebox, if there is one.
    pub passes_middlebox: bool,
}

impl Default for ConnectionSetup {
    fn default() -> Self {
        Self {
            path_mtu: 1024,
            depth: 16,
            window: 128,
            timeout: 14,
            retries: 7,
            dcqcn: false,
            receives: None,
            passes_middlebox: true,
        }
    }
}

/// An operation on its way, and the PSNs that it takes.
#[derive(Clone, Copy, Debug)]
struct Flight {
    op: u32,
    psn: u32,
    psns: u32,
}

/// One end of a connection. What nearly every frame needs stands together at its end, where small
/// fields are laid out in this order: there may be thousands of ends, each with kilobytes of state.
pub(crate) struct Pair {
    pub(crate) requester: Requester,
    pub(crate) responder: Responder,
    /// The connection as this end sees it.
    pub(crate) link: Link,
    /// How fast it may send; `None` without congestion control.
    pub(crate) rate: Option<Rate>,
    /// Notifications of congestion that it has sent, and when the last one was.
    pub(crate) notices: u64,
    pub(crate) noticed: Ps,
    next_psn: u32,
    /// Posted, but not with the adapter yet.
    posted: VecDeque<(Verb, u32)>,
    flights: VecDeque<Flight>,
    /// Requests that have come and are not executed, in order.
    pub(crate) inbox: VecDeque<FrameId>,
    /// The doorbell register that it rings.
    pub(crate) doorbell_register: usize,
    /// Threads that share it take turns to post.
    pub(crate) lock: Lock,
    pub(crate) machine: usize,
    /// When it is woken next.
    pub(crate) wake: Ps,
    /// Its pipelines: requests that it sends, and answers.
    pub(crate) issue: Server,
    pub(crate) answers: Server,
    /// Requests and answers leave the adapter in their order, no sooner than this.
    pub(crate) request_order: Ps,
    pub(crate) answer_order: Ps,
    /// What arrives is accepted in its order, no sooner than this.
    pub(crate) arrival_order: Ps,
    /// An acknowledgement that is the last answer and has not left.
    pub(crate) last_ack: Option<FrameId>,
    /// Whether an event is on its way that sends the next request.
    pub(crate) is_sending: bool,
    /// Whether the first request of the inbox is being executed.
    pub(crate) is_executing: bool,
    pub(crate) passes_middlebox: bool,
}

/// The address of a machine.
pub(crate) fn address(machine: usize) -> Ipv4Addr {
    let [.., high, low] = (machine as u32 + 1).to_be_bytes();
    Ipv4Addr::new(10, 0, high, low)
}

impl ConnectionSetup {
    /// As adapters are set up for such a network.
    pub(crate) fn under(conditions: &Conditions) -> Self {
        let Conditions { timeout, retries, dcqcn, .. } = *conditions;
        Self { timeout, retries, dcqcn, ..Self::default() }
    }
}

impl Pair {
    /// An end, with number `qpn`, of a connection to `peer_qpn`.
    pub(crate) fn new(
        machines: [usize; 2],
        qpns: [u32; 2],
        setup: &ConnectionSetup,
        regions: &[Region],
    ) -> Self {
        let [own, peer] = machines.map(address);
        let mut link = Link {
            pmtu: setup.path_mtu,
            wire: Wire::FAITHFUL,
            ..Link::new(own, qpns[0], peer, qpns[1])
        };
        if setup.dcqcn {
            // ECN-capable transport (0), RFC 3168.
            link.path.traffic_class = 2;
        }
        let mut asks = RequesterConfig::new(link.clone(), Psn::new(START_PSN));
        (asks.window, asks.max_rd_atomic) = (setup.window, setup.depth);
        (asks.timeout, asks.retry_count) = (setup.timeout, setup.retries);
        let mut answers = ResponderConfig::new(link.clone(), Psn::new(START_PSN), regions.to_vec());
        answers.max_dest_rd_atomic = setup.depth;
        answers.receives = setup.receives;
        answers.answer_delay = 0;
        answers.require_ack_request = true;
        // Judges of torture keep what repeats have to look like; here it would be time and memory.
        answers.content_window = 0;
        Self {
            machine: machines[0],
            passes_middlebox: setup.passes_middlebox,
            requester: Requester::new(asks),
            responder: Responder::new(answers),
            link,
            posted: VecDeque::new(),
            flights: VecDeque::new(),
            next_psn: START_PSN,
            doorbell_register: 0,
            lock: Lock::default(),
            rate: None,
            notices: 0,
            noticed: 0,
            issue: Server::default(),
            answers: Server::default(),
            is_sending: false,
            request_order: 0,
            answer_order: 0,
            arrival_order: 0,
            inbox: VecDeque::new(),
            is_executing: false,
            last_ack: None,
            wake: Ps::MAX,
        }
    }

    /// A thread has written a work request.
    pub(crate) fn write_wqe(&mut self, verb: Verb, op: u32) {
        self.posted.push_back((verb, op));
    }

    /// The adapter has the next work request. Which operation it is.
    pub(crate) fn take_wqe(&mut self) -> Option<u32> {
        let (verb, op) = self.posted.pop_front()?;
        let psns = verb.psns(self.link.pmtu);
        self.flights.push_back(Flight { op, psn: self.next_psn, psns });
        self.next_psn = self.next_psn.wrapping_add(psns) & 0xff_ffff;
        self.requester.post(verb);
        Some(op)
    }

    /// The operation that a request packet is part of.
    pub(crate) fn op_of(&self, psn: Psn) -> Option<u32> {
        let is_in =
            |flight: &&Flight| (psn.value().wrapping_sub(flight.psn) & 0xff_ffff) < flight.psns;
        self.flights.iter().find(is_in).map(|flight| flight.op)
    }

    /// The oldest operation on its way has ended.
    pub(crate) fn end_flight(&mut self) -> Option<u32> {
        self.flights.pop_front().map(|flight| flight.op)
    }

    /// When it has something to do by itself, ns.
    pub(crate) fn poll_timeout(&self) -> Option<u64> {
        let timers = [self.requester.poll_timeout(), self.responder.poll_timeout()];
        timers.into_iter().flatten().min()
    }
}
