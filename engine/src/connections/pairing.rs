//! Weighing evidence that two flows are the directions of one connection.
//!
//! An answer is compared with every unpaired flow between the same hosts the other way. A flow
//! whose request it can answer is *open* unless another flow is already answering it: then the
//! request is *claimed*, and so is everything before it, as answers come in PSN order.

use super::event::{Connection, Endpoint, Evidence};
use super::flow::{Flow, Kind, Verdict, Vote};
use super::learner::Learner;
use super::port::symmetric_port;
use super::table::NONE;
use crate::wire::Psn;

/// Counts matches, and remembers one of them.
#[derive(Clone, Copy)]
struct Matches {
    count: u32,
    one: u32,
}

impl Matches {
    const NONE: Self = Self { count: 0, one: NONE };

    fn add(&mut self, flow: u32) {
        self.count += 1;
        self.one = flow;
    }

    fn unique(&self) -> Option<u32> {
        (self.count == 1).then_some(self.one)
    }
}

/// What the unpaired flows the other way say to an answer.
struct Scan {
    /// Flows whose source port and queue pair number fit, and whose request this answers.
    by_port: Matches,
    /// Flows whose request this answers, which nobody else is answering.
    open: Matches,
    /// Flows whose request this answers, which another flow is already answering.
    claimed: Matches,
}

impl Learner {
    /// Weighs a positive answer of the unpaired flow `index` that is newer than all before.
    pub(super) fn weigh(&mut self, now_ns: u64, index: u32, psn: Psn, kind: Kind) {
        let use_psn = self.config.psn && now_ns >= self.blind_until_ns;
        if use_psn {
            self.check_candidate(index, psn, kind);
        } else {
            self.withdraw(index);
        }
        let Some(scan) = self.scan(index, psn, kind, use_psn) else {
            self.counters.candidates_overflow += 1;
            self.withdraw(index);
            return;
        };
        if let Some(requester) = scan.by_port.unique() {
            let asked = self.flow(requester);
            let (generation, newest) = (asked.generation, asked.requests.newest);
            let round_trips = self.flow(index).by_port.cast(requester, generation, psn, newest);
            if round_trips >= self.config.source_port_matches {
                self.pair(now_ns, requester, index, Evidence::SourcePort);
                return;
            }
        }
        if use_psn {
            self.weigh_psn(now_ns, index, psn, &scan);
        }
    }

    /// Compares an answer with all unpaired flows the other way; `None` if they are too many.
    fn scan(&self, index: u32, psn: Psn, kind: Kind, use_psn: bool) -> Option<Scan> {
        let answering = &self.store.flows[index as usize];
        let mut scan = Scan { by_port: Matches::NONE, open: Matches::NONE, claimed: Matches::NONE };
        for (seen, at) in self.store.opposite(index).enumerate() {
            if seen >= self.config.candidates_max as usize {
                return None;
            }
            let asking = &self.store.flows[at as usize];
            let port_fits = self.config.source_port && ports_fit(asking, answering);
            // Two open flows are as ambiguous as more.
            let psn_counts = use_psn && scan.open.count < 2;
            if !(port_fits || psn_counts) || self.store.judge(at, psn, kind) != Verdict::Fits {
                continue;
            }
            if port_fits {
                scan.by_port.add(at);
            }
            match self.claimant_of(at) {
                Some(other) if other != index && !psn.is_after(asking.claimed_to) => {
                    scan.claimed.add(at);
                }
                _ => scan.open.add(at),
            }
        }
        Some(scan)
    }

    /// Evidence by PSN alone.
    fn weigh_psn(&mut self, now_ns: u64, index: u32, psn: Psn, scan: &Scan) {
        if scan.open.count > 1 {
            self.counters.psn_ambiguous += 1;
            return;
        }
        let Some(requester) = scan.open.unique() else {
            if scan.claimed.count > 0 {
                // Somebody else is answering what this answers: one of the two is wrong.
                self.conflict(index, scan.claimed.unique());
            }
            return;
        };
        let candidate = self.flow(index).by_psn.flow;
        if candidate != NONE && candidate != requester {
            self.counters.psn_contradictions += 1;
            self.withdraw(index);
        }
        if self.claimant_of(requester).is_some_and(|other| other != index) {
            self.conflict(index, Some(requester));
            return;
        }
        let asked = self.flow(requester);
        (asked.claimant, asked.claimed_to) = (index, psn);
        let (generation, newest) = (asked.generation, asked.requests.newest);
        let round_trips = self.flow(index).by_psn.cast(requester, generation, psn, newest);
        if round_trips >= self.config.psn_matches {
            self.pair(now_ns, requester, index, Evidence::Psn);
        }
    }

    /// The flow that seems to answer this one, if that still stands.
    fn claimant_of(&self, requester: u32) -> Option<u32> {
        let asked = &self.store.flows[requester as usize];
        let claimant = self.store.flows.get(asked.claimant as usize)?;
        let stands = claimant.is_unpaired() && claimant.by_psn.is_for(requester, asked.generation);
        stands.then_some(asked.claimant)
    }

    /// Drops a flow's candidate if this answer cannot be one to the candidate's requests.
    fn check_candidate(&mut self, index: u32, psn: Psn, kind: Kind) {
        let vote = self.flow(index).by_psn;
        let Some(candidate) = self.store.flows.get(vote.flow as usize) else {
            return;
        };
        let stands = vote.is_for(vote.flow, candidate.generation) && candidate.is_unpaired();
        if !stands {
            self.withdraw(index);
        } else if self.store.judge(vote.flow, psn, kind) == Verdict::Contradicts {
            self.counters.psn_contradictions += 1;
            self.withdraw(index);
        }
    }

    /// Forgets what PSNs said about a flow's answers.
    fn withdraw(&mut self, index: u32) {
        self.flow(index).by_psn = Vote::NONE;
    }

    /// Two flows answer one requester, if it is known which: neither counts any more.
    fn conflict(&mut self, index: u32, requester: Option<u32>) {
        self.counters.psn_conflicts += 1;
        self.withdraw(index);
        if let Some(other) = requester.and_then(|requester| self.claimant_of(requester)) {
            self.withdraw(other);
        }
    }

    /// Makes a connection of a flow with requests and the flow with the answers.
    fn pair(&mut self, now_ns: u64, requester: u32, responder: u32, evidence: Evidence) {
        let (asking, answering) = (*self.flow(requester), *self.flow(responder));
        // Both may send requests; who began is the client.
        let swapped = answering.first_request < asking.first_request;
        let (client, server, flows) = match swapped {
            false => (asking, answering, [requester, responder]),
            true => (answering, asking, [responder, requester]),
        };
        let learnt = self.begin(now_ns, flows, |id| Connection {
            id,
            client: Endpoint { ip: client.source, qpn: server.dest_qp, mac: client.source_mac },
            server: Endpoint { ip: server.source, qpn: client.dest_qp, mac: server.source_mac },
            source_port_request: client.source_port,
            source_port_response: server.source_port,
            evidence,
            cm: None,
            epoch: client.epoch.max(server.epoch),
            learnt_at_ns: now_ns,
            pinned: false,
        });
        if learnt {
            self.count_learnt(evidence);
        }
    }
}

/// Whether two flows have the one source port that follows from their queue pair numbers.
fn ports_fit(one: &Flow, other: &Flow) -> bool {
    one.source_port == other.source_port
        && one.source_port == symmetric_port(one.dest_qp, other.dest_qp)
}
