//! One connection of a run.

use qpmux_engine::wire::{Layout, Opcode, Psn};

use super::hosts::Witness;
use super::judge::Asked;
use super::plan::Plan;
use super::workload::{Op, Workload};
use crate::faults::{Faults, Leg};
use crate::memory::DIGEST_START;
use crate::rc::{
    AnswerAudit, AnswerAuditConfig, RequestAudit, RequestAuditConfig, Requester, Responder,
    ResponderConfig, Violations,
};

/// One connection: both ends, those who judge its packets, and the faults on its legs.
pub(super) struct Connection {
    pub(super) requester: Requester,
    pub(super) responder: Responder,
    pub(super) workload: Workload,
    pub(super) operations: Vec<Op>,
    pub(super) outstanding: usize,
    /// Packets that the client still sends before it stops.
    pub(super) life: Option<u64>,
    /// The client has asked for the end, the middlebox has let that through, and the server queue
    /// pair is gone; the client was told so.
    pub(super) left: bool,
    pub(super) released: bool,
    pub(super) gone: bool,
    pub(super) answered: bool,
    /// Until then it says and hears nothing.
    pub(super) deaf_until: u64,
    /// The engine has been followed by one that may not know all, and so serves nobody.
    pub(super) fenced: bool,
    /// What was posted, and how it ended.
    pub(super) asked: Vec<Asked>,
    /// Whether what goes to its ends is held against the rules of a stream that nobody else has
    /// served: a learnt connection's is from its flip on, any one's until the engine crashes.
    pub(super) audited: bool,
    pub(super) learnt: bool,
    /// The first PSN after that.
    pub(super) start: Psn,
    /// Requests before that which did not pass.
    pub(super) held: Vec<Vec<u8>>,
    pub(super) requests: RequestAudit,
    pub(super) answers: AnswerAudit,
    pub(super) credits: u8,
    pub(super) faults: [Faults; 4],
    /// Digest of time and bytes of everything sent on each leg.
    pub(super) streams: [u64; 4],
    pub(super) wake: [u64; 2],
    /// What its server queue pair has left open, if it comes to its end.
    pub(super) witness: Option<Witness>,
}

/// A judge of what a server queue pair is asked from `start` on.
pub(super) fn request_audit(plan: &Plan, responder: &ResponderConfig, start: Psn) -> RequestAudit {
    RequestAudit::new(RequestAuditConfig {
        max_rd_atomic: responder.max_dest_rd_atomic,
        may_refuse_parts: plan.holds_few(),
        ..RequestAuditConfig::new(responder.link.clone(), start)
    })
}

impl Connection {
    pub(super) fn new(plan: &Plan, i: u32) -> Connection {
        let (requester, responder) = (plan.requester(i), plan.responder(i));
        let planned = &plan.clients[i as usize];
        let requests = request_audit(plan, &responder, responder.start_psn);
        let answers = AnswerAuditConfig {
            msn_start: requester.msn_start,
            explicit_acks: true,
            may_leave_out: plan.holds_few(),
            ..AnswerAuditConfig::new(requester.link.clone(), requester.start_psn)
        };
        Connection {
            credits: responder.credits,
            requester: Requester::new(requester),
            responder: Responder::new(responder),
            workload: Workload::new(i, planned.domain),
            operations: planned.operations.clone(),
            outstanding: planned.outstanding,
            life: planned.stops_after,
            left: false,
            released: false,
            gone: false,
            answered: false,
            deaf_until: 0,
            fenced: false,
            asked: Vec::new(),
            audited: plan.learning.is_none(),
            learnt: plan.learning.is_some(),
            start: Psn::new(planned.psn),
            held: Vec::new(),
            requests,
            answers: AnswerAudit::new(answers),
            faults: Leg::ALL.map(|leg| plan.faults(leg, i)),
            streams: [DIGEST_START; 4],
            wake: [u64::MAX; 2],
            witness: planned.server.ending.map(|_| Witness::new(planned.psn, planned.pmtu)),
        }
    }

    /// Whether a request to the server is held against the rules. A READ that was asked for before
    /// the flip, or an atomic whose answer nobody has seen, may be asked for again as it was: the
    /// server knows whether it is.
    pub(super) fn is_judged(&self, layout: &Layout) -> bool {
        let old = self.learnt && layout.psn.is_before(self.start);
        let again = layout.opcode == Opcode::ReadRequest || layout.opcode.is_atomic();
        self.audited && !(old && again)
    }

    /// Whether the client has fallen silent for good.
    pub(super) fn has_stopped(&self) -> bool {
        self.life == Some(0)
    }

    /// Whether what became of its requests is open: it stopped, or was away for so long that it
    /// may have been given up, or
    /// another host goes on that must not guess.
    pub(super) fn is_forsaken(&self) -> bool {
        self.has_stopped() || self.deaf_until > 0 || self.fenced
    }

    /// Whether all was posted.
    pub(super) fn is_done(&self) -> bool {
        self.asked.len() == self.operations.len()
    }

    pub(super) fn take_completions(&mut self) {
        while let Some(completion) = self.requester.poll_completion() {
            let Some(asked) = self.asked.get_mut(completion.id.0 as usize) else { continue };
            self.workload.learn(&asked.verb, completion.status, &completion.outcome);
            asked.end = Some(completion);
        }
    }

    pub(super) fn post(&mut self) {
        while self.requester.pending() < self.outstanding {
            let Some(&op) = self.operations.get(self.asked.len()) else { return };
            let verb = self.workload.make(op);
            self.requester.post(verb.clone());
            self.asked.push(Asked { op, verb, end: None });
            if self.requester.is_dead() {
                self.take_completions();
            }
        }
    }

    /// Rules that what went to its ends breaks, as far as it is judged.
    pub(super) fn audit_violations(&self) -> Violations {
        let mut all = Violations::new();
        if self.audited {
            all.merge(self.requests.violations());
            all.merge(self.answers.violations());
        }
        all
    }

    /// All rules of transport that were broken on this connection.
    pub(super) fn transport_violations(&self) -> Violations {
        let mut all = self.requester.violations().clone();
        all.merge(self.responder.violations());
        all.merge(&self.audit_violations());
        all
    }
}
