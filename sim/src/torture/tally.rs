//! What runs add up to, and how often each rule of the engine acted.

use qpmux_engine::wire::{Classified, Layout, NakCode, Opcode, Syndrome, classify};
use qpmux_engine::{Counters, DeclineReason, DropReason, GeneratedKind, KeptReason, Side};

use crate::apps::Traffic;
use crate::faults::What;
use crate::rc::{RequesterStats, ResponderStats};

/// What was seen where the middlebox's packets come and go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// One packet of a server was told to more than one client.
    several_clients: u64,
    /// Repeats that were answered at once: the engine has answered before.
    repeated_writes: u64,
    repeated_atomics: u64,
    /// Requests for the rest of a READ.
    gap_naks: u64,
    rnr_naks: u64,
    fatal_naks: u64,
    pub(super) marks_carried: u64,
    pub(super) client_psn_wraps: u64,
    pub(super) server_psn_wraps: u64,
    pub(super) msn_wraps: u64,
    /// Server queue pairs that came to their end by themselves.
    pub(super) servers_ended: u64,
}

fn layout(frame: &[u8]) -> Option<Layout> {
    match classify(frame) {
        Ok(Classified::Rc(layout)) => Some(layout),
        _ => None,
    }
}

impl Seen {
    /// A packet came in on `side`, and `sent` went out for it.
    pub(super) fn note(&mut self, side: Side, came: &[u8], sent: &[(Side, Vec<u8>)]) {
        let Some(came_layout) = layout(came) else { return };
        let mut told = None;
        let mut several = false;
        for (to, frame) in sent {
            let Some(layout) = layout(frame) else { continue };
            if *to == Side::Client {
                several |= told.is_some_and(|first| first != layout.dest_qp);
                told = Some(layout.dest_qp);
                self.note_answer(&layout, frame);
            }
            if side == Side::Client && *to == Side::Client {
                self.repeated_atomics += u64::from(layout.opcode == Opcode::AtomicAcknowledge);
                let answers = came_layout.opcode.is_write() || came_layout.opcode.is_send();
                self.repeated_writes += u64::from(answers && is_ack(&layout, frame));
            }
        }
        self.several_clients += u64::from(side == Side::Server && several);
    }

    fn note_answer(&mut self, layout: &Layout, frame: &[u8]) {
        match layout.aeth(frame).map(|aeth| aeth.syndrome) {
            Some(Syndrome::Nak(NakCode::PsnSequence)) => self.gap_naks += 1,
            Some(Syndrome::Nak(_)) => self.fatal_naks += 1,
            Some(Syndrome::RnrNak { .. }) => self.rnr_naks += 1,
            _ => {}
        }
    }

    fn add(&mut self, other: &Seen) {
        self.several_clients += other.several_clients;
        self.repeated_writes += other.repeated_writes;
        self.repeated_atomics += other.repeated_atomics;
        self.gap_naks += other.gap_naks;
        self.rnr_naks += other.rnr_naks;
        self.fatal_naks += other.fatal_naks;
        self.marks_carried += other.marks_carried;
        self.client_psn_wraps += other.client_psn_wraps;
        self.server_psn_wraps += other.server_psn_wraps;
        self.msn_wraps += other.msn_wraps;
        self.servers_ended += other.servers_ended;
    }
}

fn is_ack(layout: &Layout, frame: &[u8]) -> bool {
    layout.opcode == Opcode::Acknowledge
        && layout.aeth(frame).is_some_and(|aeth| matches!(aeth.syndrome, Syndrome::Ack { .. }))
}

/// What runs add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) requests: u64,
    /// By leg, in the order of [`super::Leg::ALL`].
    pub(super) packets: [u64; 4],
    /// By kind, in the order of [`What::ALL`].
    pub(super) faults: [u64; What::ALL.len()],
    pub(super) counters: Counters,
    pub(super) requester: RequesterStats,
    pub(super) responder: ResponderStats,
    /// Answers of servers that were asked for again because a later one came.
    pub(super) implied_repairs: u64,
    pub(super) seen: Seen,
}

impl Tally {
    /// That of an application's run.
    pub(super) fn of_application(traffic: &Traffic) -> Tally {
        Tally {
            requests: traffic.requests,
            packets: traffic.packets,
            faults: traffic.faults,
            counters: traffic.counters.clone(),
            requester: traffic.requester,
            responder: traffic.responder,
            ..Tally::default()
        }
    }

    pub(super) fn add(&mut self, other: &Tally) {
        self.requests += other.requests;
        self.packets.iter_mut().zip(other.packets).for_each(|(mine, theirs)| *mine += theirs);
        self.faults.iter_mut().zip(other.faults).for_each(|(mine, theirs)| *mine += theirs);
        self.counters.merge(&other.counters);
        self.requester.add(&other.requester);
        self.responder.add(&other.responder);
        self.implied_repairs += other.implied_repairs;
        self.seen.add(&other.seen);
    }

    /// How often each rule acted, by its name; some are still 0.
    pub(super) fn fired(&self) -> Vec<(String, u64)> {
        let Tally { counters, requester, responder, seen, .. } = self;
        let mut rows: Vec<(String, u64)> = [
            ("to clients: sequence NAK", seen.gap_naks),
            ("to clients: RNR NAK", seen.rnr_naks),
            ("to clients: fatal NAK", seen.fatal_naks),
            ("to clients: repeated WRITE or SEND acknowledged", seen.repeated_writes),
            ("to clients: repeated atomic answered from the record", seen.repeated_atomics),
            ("to clients: repeated READ taken again", counters.read_repeats),
            ("to clients: one answer told to several", seen.several_clients),
            ("clients: timeout", requester.timeouts),
            ("clients: implied NAK", requester.implied_naks),
            ("clients: READ asked for from the middle", requester.resumed_reads),
            ("clients: hole in a READ waited out", requester.holes_waited),
            ("clients: sent again for a lower MSN", requester.lower_msns),
            ("clients: SEND waited for credits", requester.credit_waits),
            ("clients: PSN wrapped", seen.client_psn_wraps),
            ("to servers: repair", counters.generated(GeneratedKind::Repair)),
            ("to servers: implied NAK repaired", self.implied_repairs),
            ("servers: sequence NAK", responder.sequence_naks),
            ("servers: RNR NAK", responder.rnr_naks),
            ("servers: repeat seen", responder.duplicates),
            ("servers: repeat without a record", responder.forgotten),
            ("servers: PSN wrapped", seen.server_psn_wraps),
            ("servers: MSN wrapped", seen.msn_wraps),
            ("servers: came to their end", seen.servers_ended),
            ("congestion mark carried on", seen.marks_carried),
        ]
        .map(|(name, count)| (name.to_owned(), count))
        .into();
        rows.extend(counters.totals().map(|(name, count)| (format!("engine: {name}"), count)));
        let drops = DropReason::ALL.iter();
        rows.extend(drops.map(|r| (format!("dropped: {}", r.name()), counters.dropped(*r))));
        let made = GeneratedKind::ALL.iter();
        rows.extend(made.map(|k| (format!("made: {}", k.name()), counters.generated(*k))));
        let kept = KeptReason::ALL.iter();
        rows.extend(kept.map(|k| (format!("atomics kept: {}", k.name()), counters.kept(*k))));
        let declined = DeclineReason::ALL.iter();
        rows.extend(declined.map(|r| (format!("declined: {}", r.name()), counters.declined(*r))));
        rows
    }
}
