//! Hosts, queue pairs and what a frame of theirs looks like on the wire.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};

use qpmux_engine::connections::symmetric_port;
use qpmux_engine::wire::{Classified, Ipv4, Msn, Opcode, Path, Psn, Qpn, classify, icrc, ipv4};

use crate::memory::{Effect, EffectLog, Memory};
use crate::rc::{
    Completion, Link, Region, Requester, RequesterConfig, Responder, ResponderConfig, Verb, Wire,
};

/// First PSN of both directions of every queue pair (clover source).
pub(super) const START_PSN: u32 = 3_185;
/// DSCP 0, ECN-capable (trace).
pub(super) const TRAFFIC_CLASS: u8 = 2;
/// Time to live (trace).
pub(super) const HOP_LIMIT: u8 = 64;
/// READs and atomics in flight per queue pair (clover source: max_dest_rd_atomic).
pub(super) const DEPTH: usize = 10;

/// A machine on the network.
pub(crate) struct Host {
    address: Ipv4Addr,
    /// Identification of its next packet: one counter for all its queue pairs (trace).
    identification: u16,
    pub(crate) memory: Memory,
    /// Whether anyone wants to know what is done to its memory.
    pub(crate) watched: bool,
}

impl Host {
    /// The machine 192.168.1.`last`, with empty memory.
    pub(crate) fn new(last: u8, identification: u16) -> Self {
        let address = Ipv4Addr::new(192, 168, 1, last);
        Self { address, identification, memory: Memory::new(), watched: false }
    }

    /// Puts the host's identification into a frame it is about to send.
    fn stamp(&mut self, frame: &mut [u8]) {
        let Ok(Classified::Rc(layout)) = classify(frame) else { return };
        let header =
            usize::from(layout.ip)..usize::from(layout.ip) + qpmux_engine::wire::Ipv4Repr::LEN;
        let Some(header) = frame.get_mut(header) else { return };
        if let Ok(mut view) = Ipv4::new_checked(&mut *header) {
            view.set_identification(self.identification);
        }
        ipv4::fill_checksum(header);
        icrc::store(frame, &layout);
        self.identification = self.identification.wrapping_add(1);
    }
}

/// One end of a connection. Both ends can ask and answer.
pub(super) struct End<A> {
    pub(super) host: usize,
    pub(super) requester: Requester,
    pub(super) responder: Responder,
    /// Who posted the verbs that are not complete, in order.
    asked: VecDeque<A>,
    /// When it is woken next, ns.
    pub(super) wake: u64,
}

/// What makes a connection.
#[derive(Clone, Copy)]
pub(crate) struct Between<'a> {
    /// Numbers of the hosts; the first is the client.
    pub(crate) hosts: [usize; 2],
    /// Their queue pair numbers.
    pub(crate) qpns: [u32; 2],
    /// Their memory that the other end may reach.
    pub(crate) regions: [&'a [Region]; 2],
    /// Its packets pass what is in the middle; else they go past it.
    pub(crate) through: bool,
    /// What is in the middle knows it from the start.
    pub(crate) known: bool,
}

/// How all adapters behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// What may happen to packets.
    pub(crate) wire: Wire,
    /// Local ACK timeout, code (4.096 us * 2^t).
    pub(crate) timeout: u8,
    /// Retries before a queue pair gives up.
    pub(crate) retries: u32,
    /// PSNs whose content a responder remembers for I-S2; `None` for the usual number.
    pub(crate) content_window: Option<u32>,
}

impl Habits {
    /// As Clover sets its adapters (clover source), on a network that loses nothing.
    pub(crate) const FAITHFUL: Self =
        Self { wire: Wire::FAITHFUL, timeout: 14, retries: 7, content_window: None };
}

/// Two queue pairs that belong together.
pub(super) struct Connection<A> {
    pub(super) ends: [End<A>; 2],
    pub(super) through: bool,
    pub(super) known: bool,
    /// As its client sees it.
    pub(super) link: Link,
}

/// What a frame did where it arrived, as software there can tell.
pub(crate) enum Arrived {
    /// It wrote to memory.
    Write { address: u64, data: Vec<u8> },
    /// It was a message.
    Message(Vec<u8>),
}

impl<A: Copy> Connection<A> {
    pub(super) fn new(hosts: &[Host], between: &Between<'_>, habits: Habits) -> Self {
        let Between { hosts: of, qpns, regions, through, known } = *between;
        let link = |own: usize| {
            let peer = 1 - own;
            Link {
                path: path(&hosts[of[own]], &hosts[of[peer]], qpns),
                migration_request: true,
                wire: habits.wire,
                ..Link::new(hosts[of[own]].address, qpns[own], hosts[of[peer]].address, qpns[peer])
            }
        };
        let end = |own: usize| {
            let mut asks = RequesterConfig::new(link(own), Psn::new(START_PSN));
            asks.max_rd_atomic = DEPTH;
            asks.timeout = habits.timeout;
            asks.retry_count = habits.retries;
            let mut answers =
                ResponderConfig::new(link(own), Psn::new(START_PSN), regions[own].to_vec());
            answers.msn_start = Msn::new(0);
            answers.credits = 0;
            answers.max_dest_rd_atomic = DEPTH;
            answers.answer_delay = 0;
            answers.require_ack_request = true;
            answers.content_window = habits.content_window.unwrap_or(answers.content_window);
            End {
                host: of[own],
                requester: Requester::new(asks),
                responder: Responder::new(answers),
                asked: VecDeque::new(),
                wake: u64::MAX,
            }
        };
        Self { ends: [end(0), end(1)], through, known, link: link(0) }
    }
}

impl<A: Copy> End<A> {
    /// Posts a verb; `asker` is told of its end.
    pub(super) fn post(&mut self, asker: A, verb: Verb) {
        self.requester.post(verb);
        self.asked.push_back(asker);
    }

    /// The next frame to send, and whether it is an answer.
    pub(super) fn poll_transmit(
        &mut self,
        now: u64,
        host: &mut Host,
        buffer: &mut [u8],
    ) -> Option<(Vec<u8>, bool)> {
        let answer = self.responder.poll_transmit(now, buffer);
        let is_answer = answer.is_some();
        let len = answer.or_else(|| self.requester.poll_transmit(now, buffer))?;
        let frame = buffer.get_mut(..len)?;
        host.stamp(frame);
        Some((frame.to_vec(), is_answer))
    }

    /// Takes a frame that has arrived: what it did to memory, and what software sees of it.
    pub(super) fn handle_frame(
        &mut self,
        now: u64,
        frame: &[u8],
        memory: &mut Memory,
    ) -> (Vec<Effect>, Option<Arrived>) {
        let Ok(Classified::Rc(layout)) = classify(frame) else { return (Vec::new(), None) };
        if layout.opcode.is_response() {
            self.requester.handle_frame(now, frame);
            return (Vec::new(), None);
        }
        let expected = self.responder.expected_psn();
        let mut log = EffectLog::new();
        self.responder.handle_frame(now, frame, memory, &mut log);
        let effects = log.into_effects();
        if self.responder.expected_psn() == expected {
            return (effects, None);
        }
        let arrived = match (layout.opcode, layout.reth(frame)) {
            (Opcode::WriteOnly, Some(reth)) => {
                let (address, data) = (reth.virtual_address, layout.payload(frame).to_vec());
                Some(Arrived::Write { address, data })
            }
            (Opcode::SendOnly, _) => Some(Arrived::Message(layout.payload(frame).to_vec())),
            _ => None,
        };
        (effects, arrived)
    }

    /// The next verb that is complete, and who had asked.
    pub(super) fn poll_completion(&mut self) -> Option<(A, Completion)> {
        let completion = self.requester.poll_completion()?;
        Some((self.asked.pop_front()?, completion))
    }

    /// When it has something to do by itself, ns.
    pub(super) fn poll_timeout(&self) -> Option<u64> {
        let timers = [self.requester.poll_timeout(), self.responder.poll_timeout()];
        timers.into_iter().flatten().min()
    }
}

fn path(from: &Host, to: &Host, qpns: [u32; 2]) -> Path {
    let mac = |host: &Host| {
        let [a, b, c, d] = host.address.octets();
        [2, 0, a, b, c, d]
    };
    Path {
        source_mac: mac(from),
        destination_mac: mac(to),
        source: IpAddr::V4(from.address),
        destination: IpAddr::V4(to.address),
        // The trace's ports are what this gives for its queue pair numbers.
        source_port: symmetric_port(Qpn::new(qpns[0]), Qpn::new(qpns[1])),
        traffic_class: TRAFFIC_CLASS,
        hop_limit: HOP_LIMIT,
        identification: 0,
    }
}
