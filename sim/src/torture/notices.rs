//! Congestion notifications, as both ends send them for packets that are marked (RoCEv2 annex
//! A17.9.3), and whom the middlebox tells of them.
//!
//! A server's goes to those whose marked packets it was sent since its last one, or else to who may
//! have packets there; a client's goes to the server queue pair that answers it.

use std::collections::{BTreeMap, BTreeSet};

use qpmux_engine::Side;
use qpmux_engine::wire::{BthRepr, Classified, CnpLayout, Layout, NotRc, classify, icrc};

use super::plan::shard_of;
use super::world::World;
use crate::faults::Leg;
use crate::faults::ip_header_at;
use crate::memory::digest;

/// Clients that the middlebox passes one notification on to, at most.
const TOLD_MAX: usize = 8;

/// What has been marked, and who uses which server queue pair, as it is seen at the middlebox.
#[derive(Debug, Default)]
pub(super) struct Notices {
    /// Clients that have asked for this content.
    asked: BTreeMap<u64, BTreeSet<u32>>,
    /// Clients whose requests a server queue pair may have got.
    carried: BTreeMap<u32, BTreeSet<u32>>,
    /// Packets that went out.
    sent: BTreeSet<(u32, u32)>,
    /// Of each marked packet to a server queue pair since its last notification: whose it may be.
    marked: BTreeMap<u32, Vec<BTreeSet<u32>>>,
}

/// Whether an IPv4 packet says "congestion experienced" (RFC 3168).
pub(super) fn is_marked(frame: &[u8]) -> bool {
    let ip = ip_header_at(frame);
    frame.get(ip + 1).is_some_and(|class| class & 3 == 3)
}

/// What a packet asks for: all from behind its BTH on.
pub(super) fn content(layout: &Layout, frame: &[u8]) -> u64 {
    let said = frame.get(usize::from(layout.bth) + BthRepr::LEN..usize::from(layout.icrc));
    digest(said.unwrap_or(&[])) ^ u64::from(layout.opcode.to_byte())
}

fn notification(frame: &[u8]) -> Option<CnpLayout> {
    match classify(frame) {
        Ok(Classified::Other(NotRc::Cnp(layout))) => Some(layout),
        _ => None,
    }
}

impl Notices {
    /// A client's packet has come to the middlebox.
    pub(super) fn note_asked(&mut self, i: u32, frame: &[u8]) {
        let Ok(Classified::Rc(layout)) = classify(frame) else { return };
        if layout.opcode.is_request() && icrc::verify(frame, &layout) {
            self.asked.entry(content(&layout, frame)).or_default().insert(i);
        }
    }

    /// The middlebox has sent a packet to a server queue pair; only the first time it may say that
    /// it was marked.
    pub(super) fn note_sent(&mut self, i: u32, layout: &Layout, frame: &[u8]) {
        let whose = self.asked.get(&content(layout, frame)).cloned().unwrap_or_default();
        self.carried.entry(i).or_default().extend(whose.iter());
        if self.sent.insert((i, layout.psn.value())) && is_marked(frame) {
            self.marked.entry(i).or_default().push(whose);
        }
    }

    /// What is wrong with whom a notification from a server queue pair was told to.
    fn judge_server(&mut self, i: u32, told: &BTreeSet<u32>) -> Option<String> {
        let marked = self.marked.remove(&i).unwrap_or_default();
        let mut may: BTreeSet<u32> = marked.iter().flatten().copied().collect();
        let must: BTreeSet<u32> =
            marked.iter().filter(|w| w.len() == 1).flatten().copied().collect();
        if marked.is_empty() {
            may = self.carried.get(&i).cloned().unwrap_or_default();
            may.insert(i);
        }
        let missed = must.len() <= TOLD_MAX && !must.is_subset(told);
        let wrong = told.is_empty() || missed || !told.is_subset(&may);
        wrong.then(|| format!("of server queue pair {i} to {told:?}, marked were {marked:?}"))
    }
}

impl World<'_> {
    /// An end has got a packet; of a marked one it tells the sender.
    pub(super) fn notify(&mut self, leg: Leg, i: u32, frame: &[u8]) {
        let Ok(Classified::Rc(layout)) = classify(frame) else { return };
        if !self.plan.notifies || !is_marked(frame) || !icrc::verify(frame, &layout) {
            return;
        }
        let link = self.plan.link(i);
        let (back, link) = match leg {
            Leg::BoxToServer => (Leg::ServerToBox, link.reversed()),
            _ => (Leg::ClientToBox, link),
        };
        let mut buffer = [0; 128];
        if let Some(len) = link.emit_notice(&mut buffer) {
            self.send(back, i, buffer[..len].to_vec());
        }
    }

    /// Offers a frame to the middlebox if it is an undamaged notification, and judges whom it is
    /// told to. `false` if it is something else.
    pub(super) fn offer_notice(&mut self, i: u32, side: Side, frame: &[u8]) -> bool {
        let Some(layout) = notification(frame) else { return false };
        if !icrc::verify_cnp(frame, &layout) {
            return false;
        }
        let elsewhere = u8::from(self.plan.asymmetric && side == Side::Server);
        let shard = shard_of(i, self.shards) + elsewhere;
        let before = self.host.counters().passed;
        let sent = self.with_host(|host, now, emit| host.offer(shard, side, now, frame, emit));
        // One for the client's own server queue pair passes as it came.
        self.passed += self.host.counters().passed - before;
        let strays = sent.iter().filter(|(to, _)| *to == side).count();
        let told: Vec<Option<u32>> =
            sent.iter().map(|(to, frame)| self.told_to(*to, frame)).collect();
        let all: BTreeSet<u32> = told.iter().copied().flatten().collect();
        let wrong = if strays > 0 || told.contains(&None) || all.len() != told.len() {
            Some(format!("of connection {i} to {told:?}"))
        } else if side == Side::Server {
            self.notices.judge_server(i, &all)
        } else {
            self.judge_client(i, &all)
        };
        if let Some(text) = wrong {
            self.violations.record("F23", self.now, || format!("told a notification {text}"));
        }
        true
    }

    /// Whose a notification is that the middlebox sends.
    fn told_to(&self, to: Side, frame: &[u8]) -> Option<u32> {
        let layout = notification(frame).filter(|layout| icrc::verify_cnp(frame, layout))?;
        self.end_of(to, (layout.target.destination, layout.target.dest_qp.value()))
    }

    /// What is wrong with which server queue pair a client's notification was told to: one that has
    /// got something of this client, or may be about to.
    fn judge_client(&self, i: u32, told: &BTreeSet<u32>) -> Option<String> {
        let clients = &self.plan.clients;
        let domain = |i: u32| clients.get(i as usize).map(|client| client.domain);
        let has_carried =
            |host: &u32| self.notices.carried.get(host).is_some_and(|clients| clients.contains(&i));
        let waits = |host: &u32| self.plan.may_move() || self.plan.hosts().contains(host);
        let fits = |host: &u32| {
            *host == i || domain(*host) == domain(i) && (has_carried(host) || waits(host))
        };
        let good = told.len() == 1 && told.iter().all(fits);
        (!good).then(|| format!("of client {i} to server queue pairs {told:?}"))
    }
}
