//! Frames whose ICRC was not verified when they came in: they are before they are sent again, since
//! what is damaged would be sent for ever.

use crate::config::Verify;
use crate::counters::DropReason;
use crate::engine::Engine;
use crate::frame::Frame;
use crate::ids::{ClientId, ServerQpId};
use crate::mail::{Outcome, Resumed};
use crate::mux::server::{DAMAGED, Source};
use crate::out::{Action, Out};
use crate::rules::Rule;
use crate::wire::{Layout, icrc};

impl Engine {
    /// Whether frames with data need not be verified: nothing here looks at the data.
    pub(crate) fn trusts_data(&self) -> bool {
        self.config.verify == Verify::Headers && !self.policy.knows_memory()
    }

    /// Whether a packet of a translated connection is believed as it is.
    pub(crate) fn trusts_link(&self, layout: &Layout) -> bool {
        layout.payload_len > 0 && self.trusts_data()
    }

    /// Whether a packet is right, or taken to be.
    pub(crate) fn is_sound(&self, id: ClientId, frame: &Frame<'_>, layout: &Layout) -> bool {
        self.trusts_link(layout) && self.clients.is_active(id)
            || icrc::verify(frame.bytes(), layout)
    }

    /// Asks for the frame that is to be sent again next, if it has not been verified. `false` if
    /// there is none, or if it was asked for.
    pub(crate) fn check_step(&mut self, id: ServerQpId, out: &mut Out) -> bool {
        let Some(server) = self.servers.states.get_mut(id.index()) else { return false };
        let Some(slot) = server.repair.filter(|_| server.recalled.is_none()) else { return false };
        let Some(record) = self.servers.slots.get(slot) else { return false };
        let waits = record.source == Source::Frame && record.unverified;
        if !waits || !self.config.keeps(Rule::CheckedBeforeRepair) {
            return false;
        }
        out.push(Action::Recall(record.token));
        self.recalls.push(id.0);
        server.recalled = Some(slot);
        true
    }

    /// Whether a bound request's frame is on its way here to be verified.
    pub(crate) fn is_checked(&self, id: ServerQpId, slot: u32) -> bool {
        let recalled = self.servers.get(id).and_then(|server| server.recalled);
        let bound = self.servers.slots.get(slot).is_some_and(|record| record.unverified);
        recalled == Some(slot) && bound
    }

    /// The frame of a bound request is in hand. One that is damaged is given up: nothing that the
    /// server takes was ever sent for the request, and its client is to send it again.
    pub(crate) fn on_checked(
        &mut self,
        slot: u32,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        let sound = icrc::verify(frame.bytes(), layout);
        let Some(record) = self.servers.slots.get_mut(slot) else { return };
        record.unverified = false;
        if sound {
            return out.push(Action::Hold(frame.token()));
        }
        record.source = Source::Missing(DAMAGED);
        let request = record.request;
        self.counters.damaged_kept += 1;
        self.drop_frame(frame, DropReason::IcrcBad, out);
        self.complete(&request, Outcome::Resumed(Resumed::Wanted), out);
    }
}
