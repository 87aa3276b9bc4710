//! A request that waited for its turn: the host keeps its frame, and is asked for it.

use crate::engine::Engine;
use crate::frame::Frame;
use crate::ids::ServerQpId;
use crate::mux::server::Servers;
use crate::out::{Action, Out};
use crate::time::Nanos;
use crate::wire::Layout;

impl Engine {
    /// Asks for the frame of the next waiting request. `false` if none may be bound.
    pub(super) fn recall_step(&mut self, id: ServerQpId, out: &mut Out) -> bool {
        if self.servers.get(id).is_none_or(|server| server.recalled.is_some()) {
            return false;
        }
        let Some(slot) = self.next_waiting(id) else {
            self.stay_waiter(id);
            return false;
        };
        let Some(record) = self.servers.slots.get(slot) else { return false };
        out.push(Action::Recall(record.token));
        self.recalls.push(id.0);
        if let Some(server) = self.servers.get_mut(id) {
            server.recalled = Some(slot);
        }
        true
    }

    /// The frame of the recalled request is in hand.
    pub(crate) fn on_recalled(
        &mut self,
        now: Nanos,
        id: ServerQpId,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        let recalled = self.servers.get_mut(id).and_then(|server| server.recalled.take());
        self.servers.work.push(id.0);
        if let Some(slot) = recalled
            && self.servers.slots.get(slot).is_some_and(|record| record.unverified)
        {
            return self.on_checked(slot, frame, layout, out);
        }
        let slot = recalled.filter(|slot| {
            let token = self.servers.slots.get(*slot).map(|record| record.token);
            token == Some(frame.token()) && self.next_waiting(id) == Some(*slot)
        });
        // Anything may have happened since: then it goes on waiting.
        let Some(slot) = slot else { return out.push(Action::Hold(frame.token())) };
        let Servers { states, slots, .. } = &mut self.servers;
        let (Some(record), Some(server)) = (slots.get(slot), states.get_mut(id.index())) else {
            return;
        };
        slots.unlink(server.waiting_queue(id, &record.request), slot);
        self.bind(now, slot, frame, layout, out);
    }
}
