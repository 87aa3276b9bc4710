//! Requests and answers of one flow, and the question whether they still belong to the connection
//! that the flow is known for.
//!
//! Queue pair numbers are used again. A request far from all PSNs of the connection known so far,
//! or with another UDP source port, raises a suspicion; an answer that goes on at the old place
//! clears it, several such requests without that end the connection. Answers are watched in the
//! same way, as the client's queue pair number may be the one that is used again.

use super::event::EndReason;
use super::flow::{Flow, Kind, Suspicion, Vote};
use super::learner::Learner;
use super::table::NONE;
use crate::wire::Layout;

impl Learner {
    /// Takes in a request of at most `span` PSNs.
    pub(super) fn on_request(&mut self, index: u32, layout: &Layout, span: u32) {
        let (frame, far) = (self.counters.frames, self.config.far_psns);
        let flow = self.flow(index);
        let is_far = flow.requests.is_far(layout.psn, far);
        if flow.is_unpaired() {
            follow_port(flow, layout.source_port);
            if is_far {
                // Another connection than before, or a long gap: old requests tell nothing.
                flow.restart();
            }
        } else if is_far || layout.source_port != flow.source_port {
            // In the middle of a message nothing new begins.
            if !layout.opcode.starts_message() || !self.suspect(index, layout) {
                return;
            }
        } else {
            flow.requests.advance(layout.psn, span);
            flow.first_request = flow.first_request.min(frame);
            return;
        }
        let flow = self.flow(index);
        flow.first_request = flow.first_request.min(frame);
        self.store.record(index, layout.psn, Kind::of_request(layout.opcode), span);
    }

    /// Takes in a positive answer.
    pub(super) fn on_answer(&mut self, now_ns: u64, index: u32, layout: &Layout, kind: Kind) {
        let far = self.config.far_psns;
        let Some(&[client, server]) = self.slot_of(index).map(|slot| &slot.flows) else {
            let flow = self.flow(index);
            follow_port(flow, layout.source_port);
            if flow.answers.advance(layout.psn, far) {
                self.weigh(now_ns, index, layout.psn, kind);
            }
            return;
        };
        let requester = if index == client { server } else { client };
        let is_far = self.flow(requester).requests.is_far(layout.psn, far);
        let port = self.flow(index).source_port;
        if is_far || layout.source_port != port {
            if self.suspect(index, layout) {
                self.flow(index).answers.advance(layout.psn, far);
            }
            return;
        }
        if self.flow(index).answers.advance(layout.psn, far) {
            // The connection goes on at its old place.
            self.flow(index).suspicion = Suspicion::NONE;
            self.clear_suspicion(requester);
        }
    }

    /// Notes that a frame of a paired flow seems to belong to another connection. If it is one
    /// too many, the connection ends, and this says so.
    fn suspect(&mut self, index: u32, layout: &Layout) -> bool {
        let (far, enough) = (self.config.far_psns, self.config.epoch_requests);
        let flow = self.flow(index);
        if flow.suspicion.add(layout.psn, layout.source_port, far) < enough {
            return false;
        }
        let connection = flow.connection;
        self.end_epoch(connection, EndReason::NewEpoch);
        self.flow(index).source_port = layout.source_port;
        true
    }

    /// Ends a connection whose queue pair numbers may be used again.
    pub(super) fn end_epoch(&mut self, connection: u32, reason: EndReason) {
        if let Some(&slot) = self.slot_at(connection) {
            for flow in slot.flows {
                self.flow(flow).epoch = self.flow(flow).epoch.wrapping_add(1);
            }
        }
        match reason {
            EndReason::Teardown => self.counters.teardowns += 1,
            _ => self.counters.epochs_ended += 1,
        }
        self.end(connection, reason);
    }

    /// An answer went on at the old place. If only the requests' source port had changed, then
    /// that is the connection's port now.
    fn clear_suspicion(&mut self, index: u32) {
        let flow = self.flow(index);
        if flow.suspicion.exists() {
            flow.source_port = flow.suspicion.source_port;
            flow.suspicion = Suspicion::NONE;
        }
    }
}

/// Notes an unpaired flow's source port. Evidence for another port no longer counts.
fn follow_port(flow: &mut Flow, source_port: u16) {
    if flow.source_port != source_port {
        flow.source_port = source_port;
        flow.by_port = Vote::NONE;
        flow.claimant = NONE;
    }
}
