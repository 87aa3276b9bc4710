//! What becomes of frames between adapters, and what adapters tell each other of it.

use qpmux_engine::wire::{Classified, Ecn, Layout, NotRc, classify, icrc};
use schemars::JsonSchema;
use serde::Serialize;

use super::frames::FrameId;
use super::op::Part;
use super::port::PortCounts;
use super::{Cluster, ConnectionSetup, Event};
use crate::dice::Dice;
use crate::event::{Ps, ps};
use crate::nic::Network;

/// Streams of chance that losses have.
const LOSSES: u64 = 20;

/// What the network does, and how adapters are set up for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditions {
    /// The switch between machines, and congestion control.
    pub network: Network,
    /// Share of frames that is lost on each way from one machine, or middlebox, to the next.
    pub loss: f64,
    /// Adapters take part in congestion control (DCQCN).
    pub dcqcn: bool,
    /// Local ACK timeout, code (4.096 us * 2^t).
    pub timeout: u8,
    /// Retries before a queue pair gives up.
    pub retries: u32,
}

/// Why there is no such network.
#[derive(Debug, thiserror::Error)]
#[error("the loss must be a number from 0 to 0.5")]
pub struct ConditionsError;

impl Default for Conditions {
    /// Nothing is lost, and nobody is held back.
    fn default() -> Self {
        let ConnectionSetup { timeout, retries, dcqcn, .. } = ConnectionSetup::default();
        Self { network: Network::default(), loss: 0.0, dcqcn, timeout, retries }
    }
}

impl Conditions {
    /// Whether there can be such a network.
    ///
    /// # Errors
    /// When there cannot.
    pub fn check(&self) -> Result<(), ConditionsError> {
        (0.0..=0.5).contains(&self.loss).then_some(()).ok_or(ConditionsError)
    }
}

/// Chance, and what it did.
pub(super) struct Losses {
    dice: Dice,
    share: f64,
    /// Frames that were lost by chance.
    lost: u64,
    /// Both ends know that the network may lose.
    is_known: bool,
}

impl Losses {
    pub(super) fn new(seed: u64) -> Self {
        Self { dice: Dice::new(seed, LOSSES, 0), share: 0.0, lost: 0, is_known: false }
    }
}

/// What became of frames, and what adapters did about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize)]
pub struct NetworkCounts {
    /// Frames that adapters and middlebox sent.
    pub sent: u64,
    /// Frames that left the switch's ports.
    pub passed: u64,
    /// Frames that found the queue of their port full.
    pub dropped: u64,
    /// Frames that were lost by chance.
    pub lost: u64,
    /// Frames that ports marked.
    pub marked: u64,
    /// Notifications of congestion that adapters sent.
    pub notices: u64,
    /// The longest queue of any port, bytes.
    pub queue_most_bytes: u64,
    /// Sum over all frames of the queue that each found, bytes.
    pub queue_found_bytes: u64,
    /// Requests that were sent again.
    pub sent_again: u64,
    /// Timeouts of queue pairs.
    pub timeouts: u64,
    /// NAKs for a gap.
    pub sequence_naks: u64,
    /// NAKs of a receiver that was not ready.
    pub rnr_naks: u64,
}

impl NetworkCounts {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.passed += other.passed;
        self.dropped += other.dropped;
        self.lost += other.lost;
        self.marked += other.marked;
        self.notices += other.notices;
        self.queue_most_bytes = self.queue_most_bytes.max(other.queue_most_bytes);
        self.queue_found_bytes += other.queue_found_bytes;
        self.sent_again += other.sent_again;
        self.timeouts += other.timeouts;
        self.sequence_naks += other.sequence_naks;
        self.rnr_naks += other.rnr_naks;
    }

    /// Adds what a port of the switch has seen.
    pub(crate) fn add_port(&mut self, port: &PortCounts) {
        self.passed += port.passed;
        self.dropped += port.dropped;
        self.marked += port.marked;
        self.queue_found_bytes += port.queue_found_bytes;
        self.queue_most_bytes = self.queue_most_bytes.max(port.queue_most_bytes);
    }

    /// Mean over all frames of the queue that each found, bytes.
    #[must_use]
    pub fn queue_mean_bytes(&self) -> f64 {
        self.queue_found_bytes as f64 / self.passed.max(1) as f64
    }

    /// Whether anything got lost, or was marked or refused.
    #[must_use]
    pub fn is_eventful(&self) -> bool {
        self.dropped + self.lost + self.marked + self.sent_again + self.rnr_naks > 0
    }
}

impl<A: Copy, N: Copy> Cluster<A, N> {
    /// What the network does, and how adapters take it. Before anything is connected.
    pub(crate) fn set_conditions(&mut self, conditions: &Conditions) {
        let Conditions { network, loss, .. } = conditions;
        self.network = network.clone();
        self.losses.share = *loss;
        self.machines.iter_mut().for_each(|machine| machine.egress.set_network(network));
    }

    /// What became of frames.
    pub(crate) fn network_counts(&self) -> NetworkCounts {
        let mut all = NetworkCounts { lost: self.losses.lost, ..NetworkCounts::default() };
        all.sent = self.machines.iter().map(|machine| machine.sent_packets).sum();
        all.sent += self.box_counts().map_or(0, |counts| counts.sent);
        let ingress = self.middle.iter().flat_map(|middle| &middle.ingress);
        for port in self.machines.iter().map(|machine| &machine.egress).chain(ingress) {
            all.add_port(&port.counts);
        }
        for pair in &self.pairs {
            let asked = pair.requester.stats();
            all.notices += pair.notices;
            all.sent_again += asked.sent_again;
            all.timeouts += asked.timeouts;
            all.sequence_naks += asked.sequence_naks;
            all.rnr_naks += asked.rnr_naks;
        }
        all
    }

    /// A frame is at the switch's port towards a machine: its last bit would arrive now.
    pub(super) fn on_egress(&mut self, id: FrameId) {
        match self.pass(id, false) {
            Some(leaves) if leaves == self.queue.now() => self.on_arrive(id),
            Some(leaves) => self.queue.at(leaves, Event::Arrive(id)),
            None => {}
        }
    }

    /// A frame is at the switch's port towards the middlebox.
    pub(super) fn on_box_egress(&mut self, id: FrameId) {
        match self.pass(id, true) {
            Some(leaves) if leaves == self.queue.now() => self.on_middle(id),
            Some(leaves) => self.queue.at(leaves, Event::Middle(id)),
            None => {}
        }
    }

    /// A frame passes a port of the switch. When it leaves it, if it does.
    fn pass(&mut self, id: FrameId, to_box: bool) -> Option<Ps> {
        if self.loses(id) {
            return None;
        }
        let now = self.queue.now();
        let frame = self.frames.get(id);
        let (to, op, len) = (frame.to, frame.op, frame.bytes().len());
        let takes_part =
            frame.layout.as_ref().is_some_and(|it| matches!(it.ecn, Ecn::Ect0 | Ecn::Ect1));
        let machine = &mut self.machines[self.pairs[to as usize].machine];
        let bytes = machine.wire_bytes(len);
        let port = match &mut self.middle {
            Some(middle) if to_box => &mut middle.ingress[usize::from(to % 2 == 0)],
            _ => &mut machine.egress,
        };
        let Some(passage) = port.pass(now, bytes, takes_part) else {
            self.lose(id);
            return None;
        };
        if passage.is_marked {
            self.frames.mark(id);
        }
        self.ops.mark(op, Part::Wire, passage.leaves);
        Some(passage.leaves)
    }

    /// Whether a frame is lost by chance.
    pub(super) fn loses(&mut self, id: FrameId) -> bool {
        let losses = &mut self.losses;
        if losses.share <= 0.0 || !losses.dice.has_share(losses.share) {
            return false;
        }
        losses.lost += 1;
        self.lose(id);
        true
    }

    /// A frame does not arrive. From then on a gap is no fault of the other end's.
    pub(super) fn lose(&mut self, id: FrameId) {
        self.frames.give_back(id);
        if !std::mem::replace(&mut self.losses.is_known, true) {
            for pair in &mut self.pairs {
                pair.requester.expect_loss();
                pair.responder.expect_loss();
            }
        }
    }

    /// Data that has been marked has come: the sender is told, unless that was just done. (DCQCN's
    /// notification point.)
    pub(super) fn notify(&mut self, pair: u32, layout: &Layout) {
        let now = self.queue.now();
        let here = &mut self.pairs[pair as usize];
        if here.rate.is_none() || layout.ecn != Ecn::Ce || layout.payload_len == 0 {
            return;
        }
        let interval = ps(self.network.cnp_interval_ns);
        if here.notices > 0 && now - here.noticed < interval {
            return;
        }
        let link = &here.link;
        let Some(id) = self.frames.write(pair ^ 1, None, |out| link.emit_notice(out)) else {
            return;
        };
        here.notices += 1;
        here.noticed = now;
        let ready = now + self.machines[here.machine].times.tx;
        self.queue.at(ready, Event::Ready(id));
    }

    /// What is no packet of a connection has come: if it is a notification, its queue pair is to
    /// send more slowly.
    pub(super) fn take_notice(&mut self, id: FrameId) {
        let now = self.queue.now();
        let frame = self.frames.get(id);
        let bytes = frame.bytes();
        if let Ok(Classified::Other(NotRc::Cnp(layout))) = classify(bytes)
            && icrc::verify_cnp(bytes, &layout)
            && let Some(rate) = &mut self.pairs[frame.to as usize].rate
        {
            rate.notify(now);
        }
        self.frames.give_back(id);
    }
}
