//! A request that waited for its turn: the host keeps its frame, and is asked for it.
//!
//! Frames of several are asked for at a time, so that a host offers them in one call. That is a
//! guess of what will be bound: whose turn it is is found out when a frame is there, and if it is
//! another one's, the request goes on waiting.

use crate::engine::Engine;
use crate::frame::Frame;
use crate::ids::ServerQpId;
use crate::mail::Kind;
use crate::mux::closing::Loss;
use crate::mux::server::{ServerSlot, Servers};
use crate::mux::server_qp::{SPAN_MAX, ServerQp};
use crate::out::{Action, Out};
use crate::time::Nanos;
use crate::wire::{Classified, Layout, classify};

/// Frames that are asked for in one step, at most.
const ASKED_AT_ONCE: usize = 8;

impl Engine {
    /// Asks for the frames of the next waiting requests. `false` if none may be bound, or some have
    /// been asked for.
    pub(crate) fn recall_step(&mut self, id: ServerQpId, out: &mut Out) -> bool {
        if self.servers.get(id).is_none_or(|server| server.asked > 0) {
            return false;
        }
        let Some(slot) = self.next_waiting(id) else {
            self.stay_waiter(id);
            return false;
        };
        self.ask(id, slot, out);
        self.ask_in_turn(id, out);
        true
    }

    /// Asks for the frame of a request.
    #[inline]
    pub(crate) fn ask(&mut self, id: ServerQpId, slot: u32, out: &mut Out) {
        let Servers { states, slots, .. } = &mut self.servers;
        let (Some(record), Some(server)) = (slots.get_mut(slot), states.get_mut(id.index())) else {
            return;
        };
        record.asked = true;
        server.asked += 1;
        out.push(Action::Recall(record.token));
        self.recalls.push(slot);
    }

    /// Asks for frames of those that wait, in the order in which they came, as long as there is
    /// room for them.
    pub(crate) fn ask_in_turn(&mut self, id: ServerQpId, out: &mut Out) {
        let Some(server) = self.servers.get(id).filter(|server| self.takes_turns(server)) else {
            return;
        };
        let (mut own, mut guest) = (server.waiting_own.head(), server.waiting_guests.head());
        for _ in 0..ASKED_AT_ONCE {
            let Some(slot) = self.older(own, guest) else { return };
            let behind = self.servers.slots.next(slot);
            match own == Some(slot) {
                true => own = behind,
                false => guest = behind,
            }
            if self.is_asked(slot) {
                continue;
            }
            if !self.may_ask(id, slot) {
                return;
            }
            self.ask(id, slot, out);
        }
    }

    /// Asks for the frame of the newest of those that wait, if all before it were asked for, and
    /// there is room for it. Whether it did.
    #[inline]
    pub(crate) fn ask_newest(&mut self, id: ServerQpId, slot: u32, out: &mut Out) -> bool {
        let Some(server) = self.servers.get(id).filter(|server| self.takes_turns(server)) else {
            return false;
        };
        let tails = [server.waiting_own.tail(), server.waiting_guests.tail()];
        let before = [self.servers.slots.previous(slot), tails[0], tails[1]];
        let asked = |at: &Option<u32>| at.is_none_or(|at| at == slot || self.is_asked(at));
        let goes = out.has_more_room() && before.iter().all(asked) && self.may_ask(id, slot);
        if goes {
            self.ask(id, slot, out);
        }
        goes
    }

    /// Whether those that wait at a server queue pair are bound in the order in which they came.
    #[inline]
    fn takes_turns(&self, server: &ServerQp) -> bool {
        !self.minds && self.resumes.is_settled() && server.takes_turns()
    }

    #[inline]
    fn is_asked(&self, slot: u32) -> bool {
        self.servers.slots.get(slot).is_some_and(|record| record.asked)
    }

    /// Whether there will be room for a request when its frame is there.
    #[inline]
    fn may_ask(&self, id: ServerQpId, slot: u32) -> bool {
        let (server, record) = (self.servers.get(id), self.servers.slots.get(slot));
        let depth = self.directory.server_qp(id).map_or(1, |connection| connection.depth.max(1));
        let bounds = (u32::from(depth), self.config.server_window_max);
        let both = server.zip(record);
        both.is_some_and(|(server, record)| fits(server, record, server.asked, bounds))
    }

    /// Takes frames that the engine asked for with [`Action::Recall`], in the order in which it
    /// did. Returns how many were taken.
    pub fn handle_recalled(
        &mut self,
        now: Nanos,
        frames: &mut [Frame<'_>],
        out: &mut Out,
    ) -> usize {
        self.look_again(frames);
        for (taken, frame) in frames.iter_mut().enumerate() {
            if !self.run(now, out) {
                return taken;
            }
            let slot = self.recalls.pop();
            let record = slot.and_then(|slot| Some((slot, self.servers.slots.get(slot)?)));
            let Some((slot, record)) = record else {
                debug_assert!(false, "a frame that was not recalled");
                return taken;
            };
            let id = record.request.server_qp;
            if self.bind_recalled(now, (id, slot), frame, out).is_some() {
                continue;
            }
            match classify(frame.bytes()) {
                Ok(Classified::Rc(layout)) => {
                    self.on_recalled(now, (id, slot), frame, &layout, out);
                }
                _ => {
                    // Only a host that changed a held buffer comes here.
                    self.note_come(id, slot);
                    self.lose_server(id, Loss::Refusing);
                    out.push(Action::Hold(frame.token()));
                }
            }
        }
        self.run(now, out);
        frames.len()
    }

    /// A frame that was asked for is in hand.
    fn on_recalled(
        &mut self,
        now: Nanos,
        (id, slot): (ServerQpId, u32),
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        self.note_come(id, slot);
        self.servers.work.push(id.0);
        let Some(record) = self.servers.slots.get(slot) else { return };
        if record.unverified {
            return self.on_checked(slot, frame, layout, out);
        }
        // Anything may have happened since: then it goes on waiting.
        if record.token != frame.token() || self.next_waiting(id) != Some(slot) {
            return out.push(Action::Hold(frame.token()));
        }
        let Servers { states, slots, .. } = &mut self.servers;
        let (Some(record), Some(server)) = (slots.get(slot), states.get_mut(id.index())) else {
            return;
        };
        slots.unlink(server.waiting_queue(id, &record.request), slot);
        self.bind(now, slot, frame, layout, out);
    }

    /// A frame that was asked for has come.
    fn note_come(&mut self, id: ServerQpId, slot: u32) {
        if let Some(record) = self.servers.slots.get_mut(slot) {
            record.asked = false;
        }
        if let Some(server) = self.servers.get_mut(id) {
            server.asked = server.asked.saturating_sub(1);
        }
    }
}

/// Whether a waiting request is a message by itself that shares its server queue pair with others,
/// and there is room for it behind so many more, of at most so many READs and atomics and so many
/// packets.
#[inline]
pub(crate) fn fits(
    server: &ServerQp,
    record: &ServerSlot,
    more: u32,
    (depth, window_max): (u32, u32),
) -> bool {
    let request = &record.request;
    request.starts_message
        && request.ends_message
        && request.packets == 1
        && !request.exclusive
        && (request.kind == Kind::Plain || server.open_reads + more < depth)
        && server.open_packets + more < window_max
        && server.open_span + more < SPAN_MAX
}
