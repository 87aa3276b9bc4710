//! A connection before it is translated: its packets pass, and are watched until nothing is
//! outstanding. Then it flips: both halves start at its next PSN, and from then on every packet
//! is translated.

use alloc::boxed::Box;
use alloc::vec;

use super::client::{ClientSlot, State};
use crate::connections::ConnectionId;
use crate::counters::DropReason;
use crate::engine::Engine;
use crate::frame::Frame;
use crate::ids::ClientId;
use crate::mail::Kind;
use crate::out::Out;
use crate::policy::PathFacts;
use crate::rules::Rule;
use crate::time::Nanos;
use crate::wire::{ClientPsn, Ethernet, Layout, Opcode, Syndrome};

/// What is known of a connection that is only watched.
#[derive(Clone, Copy, Default)]
pub(crate) struct Watch {
    /// `expected` of the client is the PSN of its next request.
    pub(super) synced: bool,
    pub(super) request_seen: bool,
    pub(super) response_seen: bool,
    /// Payload of a packet with more to follow: the path MTU. 0 while none was seen.
    pub(super) mtu_exact: u16,
    /// Longest payload otherwise.
    pub(super) mtu_at_least: u16,
    /// READs and atomics outstanding, and the most that were.
    pub(super) reads: u16,
    pub(super) reads_max: u16,
    pub(super) answers: u32,
    /// The newest request must be answered.
    pub(super) must_answer: bool,
    /// When the connection could have flipped first, had nothing been outstanding.
    pub(super) ready_at: Option<Nanos>,
    /// Since when its requests are held for the flip.
    pub(super) draining_since: Option<Nanos>,
    /// Its server queue pair is in the error state.
    pub(super) dead: bool,
    /// The highest PSN that passed. A copy of it may still be on its way to the server.
    pub(super) passed: Option<ClientPsn>,
    /// The connection's depth is only what was seen of it: its client may ask for more.
    pub(super) depth_is_least: bool,
    /// The newest of the outstanding requests that had passed before they were watched: their
    /// client may have got the answers, and be further than what it repeats says.
    pub(super) repeated: Option<ClientPsn>,
    /// The first PSN after the flip.
    pub(super) start: Option<ClientPsn>,
    /// How many records of its start are written, while more are to come. Nothing is bound at its
    /// server queue pair, and nothing of its client anywhere, before they are.
    pub(super) starting: Option<u16>,
    /// The connection has ended, and until then packets of it may still come.
    pub(super) ended: Option<Nanos>,
    /// What the learner calls it.
    pub(super) learnt: Option<ConnectionId>,
}

/// One record per connection.
pub(crate) struct Watches {
    watches: Box<[Watch]>,
    /// Those that may say something of how packets of a translated connection are handled: it
    /// ends, begins, or is held for its flip. Most say nothing, and are not looked at.
    speaks: Box<[bool]>,
}

impl Watches {
    pub(crate) fn new(connections: usize) -> Watches {
        Watches {
            watches: vec![Watch::default(); connections].into(),
            speaks: vec![false; connections].into(),
        }
    }

    pub(super) fn get(&self, id: ClientId) -> Watch {
        self.watches.get(id.index()).copied().unwrap_or_default()
    }

    pub(super) fn get_mut(&mut self, id: ClientId) -> Option<&mut Watch> {
        *self.speaks.get_mut(id.index())? = true;
        self.watches.get_mut(id.index())
    }

    /// The record, if it may say that the connection ends, begins or is held.
    #[inline]
    fn speaking(&self, id: ClientId) -> Option<&Watch> {
        let speaks = self.speaks.get(id.index()).copied().unwrap_or(false);
        if speaks { self.watches.get(id.index()) } else { None }
    }

    /// Whether the record may say so.
    #[inline]
    pub(crate) fn may_speak(&self, id: ClientId) -> bool {
        self.speaks.get(id.index()).copied().unwrap_or(true)
    }

    /// Finds out whether the record says so, once it may have changed.
    #[inline]
    pub(crate) fn settle(&mut self, id: ClientId) {
        if let Some(watch) = self.speaking(id)
            && watch.ended.is_none()
            && watch.starting.is_none()
            && watch.draining_since.is_none()
            && let Some(speaks) = self.speaks.get_mut(id.index())
        {
            *speaks = false;
        }
    }

    /// The path MTU is known from elsewhere, in bytes.
    pub(crate) fn tell_path_mtu(&mut self, id: ClientId, path_mtu: u16) {
        if let Some(watch) = self.get_mut(id) {
            watch.mtu_exact = path_mtu;
        }
    }

    /// What the learner calls it, and the newest request that has passed so far, if any did.
    pub(crate) fn tell_learnt(
        &mut self,
        id: ClientId,
        name: ConnectionId,
        passed: Option<ClientPsn>,
    ) {
        if let Some(watch) = self.get_mut(id) {
            (watch.learnt, watch.passed) = (Some(name), passed);
        }
    }

    pub(crate) fn learnt(&self, id: ClientId) -> Option<ConnectionId> {
        self.get(id).learnt
    }

    /// The connection has ended, though packets of it may still come until then.
    pub(crate) fn end(&mut self, id: ClientId, until: Nanos) {
        if let Some(watch) = self.get_mut(id) {
            watch.ended = Some(until);
        }
    }

    pub(crate) fn has_ended(&self, id: ClientId) -> bool {
        self.speaking(id).is_some_and(|watch| watch.ended.is_some())
    }

    /// Whether the connection has ended so long ago that no packet of it can come any more.
    pub(crate) fn is_over(&self, id: ClientId, now: Nanos) -> bool {
        self.speaking(id).and_then(|watch| watch.ended).is_some_and(|until| until <= now)
    }

    /// Whether the log does not know yet that it is translated.
    pub(crate) fn is_starting(&self, id: ClientId) -> bool {
        self.speaking(id).is_some_and(|watch| watch.starting.is_some())
    }

    /// It was translated already by an engine before.
    pub(super) fn tell_restored(
        &mut self,
        id: ClientId,
        start: ClientPsn,
        name: Option<ConnectionId>,
    ) {
        if let Some(watch) = self.get_mut(id) {
            (watch.start, watch.learnt) = (Some(start), name);
        }
    }

    pub(crate) fn depth_is_least(&self, id: ClientId) -> bool {
        self.watches.get(id.index()).is_some_and(|watch| watch.depth_is_least)
    }

    pub(crate) fn reset(&mut self, id: ClientId) {
        if let Some(watch) = self.get_mut(id) {
            *watch = Watch::default();
        }
    }

    /// When the requests that are held for a flip are let go.
    pub(crate) fn drain_deadline(&self, id: ClientId, wait_ns: u64) -> Option<Nanos> {
        self.speaking(id)?.draining_since.map(|since| since.after(wait_ns))
    }

    pub(crate) fn is_draining(&self, id: ClientId) -> bool {
        self.speaking(id).is_some_and(|watch| watch.draining_since.is_some())
    }
}

impl Engine {
    /// A client's request on a connection that is not translated yet.
    pub(crate) fn on_watched_request(
        &mut self,
        now: Nanos,
        id: ClientId,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        self.note_request_facts(id, frame.bytes(), layout);
        self.note_passing(now, frame, layout);
        let psn = ClientPsn::from_wire(layout.psn);
        if !self.watches.get(id).synced && layout.opcode.starts_message() {
            self.sync(id, psn);
        }
        let expected = self.clients.get(id).map_or(psn, |client| client.expected);
        let draining = self.watches.is_draining(id).then_some(expected);
        if psn != expected
            && self.first_held_psn(id).or(draining).is_some_and(|first| !psn.is_before(first))
        {
            // What is held is not overtaken.
            return self.drop_frame(frame, DropReason::DuplicateInProgress, out);
        }
        if psn != expected || !self.watches.get(id).synced {
            // A repeat, or beyond a gap: the two ends settle that between them.
            self.note_passed_again(id, frame, layout);
            return self.pass_request(id, frame, layout, out);
        }
        if self.watches.is_draining(id) {
            return self.on_next(now, id, frame, layout, out);
        }
        if self.may_flip(now, id, layout) {
            self.flip(id);
            return self.on_next(now, id, frame, layout, out);
        }
        if self.should_drain(now, id, layout)
            && let Some(watch) = self.watches.get_mut(id)
        {
            watch.draining_since = Some(now);
            self.deadlines.note(id.0, now.after(self.config.flip_wait_ns));
            return self.on_next(now, id, frame, layout, out);
        }
        self.watch_request(id, frame, layout);
        self.pass_request(id, frame, layout, out);
    }

    fn pass_request(
        &mut self,
        id: ClientId,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        let psn = ClientPsn::from_wire(layout.psn);
        if let Some(watch) = self.watches.get_mut(id) {
            let fresh = watch.passed.is_none_or(|passed| psn.is_after(passed));
            if fresh {
                watch.passed = Some(psn);
            }
            if layout.opcode.is_atomic() && self.config.keeps(Rule::PassedAtomicIsKnown) {
                self.clients.results.expect(id, psn, layout.opcode, fresh);
            }
        }
        self.pass(frame, out);
    }

    /// A server's answer on a connection that is not translated yet.
    pub(crate) fn on_watched_response(
        &mut self,
        id: ClientId,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        self.note_response_facts(id, frame.bytes(), layout);
        let psn = ClientPsn::from_wire(layout.psn);
        let expected = self.clients.get(id).map(|client| client.expected);
        if self.watches.get(id).synced
            && !self.watches.is_draining(id)
            && expected.is_some_and(|expected| !psn.is_before(expected))
        {
            // It answers a request that did not pass here.
            self.unsync(id);
        }
        if let Some(ack) = layout.atomic_ack(frame.bytes()) {
            self.clients.results.fulfil(id, psn, ack.original);
        }
        if self.watches.get(id).synced {
            self.watch_answer(id, frame.bytes(), layout, psn);
        }
        self.pass(frame, out);
        let watch = self.watches.get(id);
        if watch.draining_since.is_some() && !watch.dead && self.has_settled(id) {
            self.flip(id);
            self.clients.work.push(id.0);
        }
    }

    /// The PSN of the oldest request that is held for the flip.
    fn first_held_psn(&self, id: ClientId) -> Option<ClientPsn> {
        let slot = self.clients.get(id)?.first_held?;
        self.clients.slots.get(slot).map(|record| record.psn)
    }

    /// The PSN of the oldest request that passed and is not answered.
    fn oldest_psn(&self, id: ClientId) -> Option<ClientPsn> {
        let slot = self.passed_head(id)?;
        self.clients.slots.get(slot).map(|record| record.psn)
    }

    fn sync(&mut self, id: ClientId, psn: ClientPsn) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.expected = psn;
        client.completed_end = psn;
        client.in_message = false;
        if let Some(watch) = self.watches.get_mut(id) {
            watch.synced = true;
        }
    }

    /// Forgets what is outstanding: it is no longer known. READs that passed may be outstanding
    /// when the connection flips, and their client may repeat them then: they are remembered.
    fn unsync(&mut self, id: ClientId) {
        while let Some(slot) = self.passed_head(id) {
            self.remove_passed(id, slot);
        }
        if let Some(watch) = self.watches.get_mut(id) {
            (watch.synced, watch.must_answer) = (false, false);
            (watch.reads, watch.answers) = (0, 0);
            (watch.ready_at, watch.draining_since) = (None, None);
            watch.start = None;
        }
    }

    /// The oldest request that passed and is not answered.
    pub(super) fn passed_head(&self, id: ClientId) -> Option<u32> {
        let slot = self.clients.get(id)?.queue.head()?;
        let passed = matches!(self.clients.slots.get(slot)?.state, State::Passed | State::Ready);
        passed.then_some(slot)
    }

    fn remove_passed(&mut self, id: ClientId, slot: u32) {
        let Some(client) = self.clients.states.get_mut(id.index()) else { return };
        self.clients.slots.pop_front(&mut client.queue);
        self.clients.slots.remove(slot);
        client.open = client.open.saturating_sub(1);
    }

    /// Remembers a request that passes.
    fn watch_request(&mut self, id: ClientId, frame: &Frame<'_>, layout: &Layout) {
        let watch = self.watches.get(id);
        let path_mtu = self.known_mtu(&watch).next_power_of_two().clamp(256, 4096);
        if let Some(connection) = self.directory.client_mut(id) {
            connection.path_mtu = path_mtu;
        }
        let Some(shape) = self.shape(id, frame, layout) else { return self.unsync(id) };
        let psn = ClientPsn::from_wire(layout.psn);
        self.note_passed_read(id, psn, shape.kind, shape.access);
        let bound = u32::from(self.known_mtu(&watch)).max(256);
        let long = self.exact_mtu(&watch).is_none()
            && shape.access.is_some_and(|access| access.len > bound);
        if shape.kind == Kind::Read && long {
            // How many PSNs it takes depends on the path MTU, which is not known.
            return self.unsync(id);
        }
        let Some(slot) = self.open_slot(id, layout, &shape, super::client::Way::Own) else {
            return self.unsync(id);
        };
        if let Some(record) = self.clients.slots.get_mut(slot) {
            record.state = State::Passed;
        }
        let Some(client) = self.clients.states.get_mut(id.index()) else { return };
        client.expected = client.expected.add(shape.packets);
        client.in_message = !layout.opcode.ends_message();
        client.open += 1;
        let overflow = client.open > self.config.client_window_max;
        self.clients.slots.push_back(&mut client.queue, slot);
        let oldest = self.oldest_psn(id).unwrap_or(psn);
        if let Some(watch) = self.watches.get_mut(id) {
            watch.must_answer = layout.ack_request || shape.kind != Kind::Plain;
            watch.reads += u16::from(shape.kind != Kind::Plain);
            if watch.passed.is_some_and(|passed| !psn.is_after(passed)) {
                watch.repeated = Some(psn);
            }
            if watch.repeated.is_none_or(|repeated| oldest.is_after(repeated)) {
                watch.reads_max = watch.reads_max.max(watch.reads);
            }
        }
        if overflow {
            self.unsync(id);
        }
    }

    /// Takes an answer to what passed into account.
    fn watch_answer(&mut self, id: ClientId, bytes: &[u8], layout: &Layout, psn: ClientPsn) {
        let syndrome = layout.aeth(bytes).map(|aeth| aeth.syndrome);
        let end = match syndrome {
            Some(Syndrome::Ack { .. }) | None => psn.add(1),
            Some(Syndrome::Nak(crate::wire::NakCode::PsnSequence) | Syndrome::RnrNak { .. }) => psn,
            Some(Syndrome::Nak(_) | Syndrome::Reserved(_)) => {
                if let Some(watch) = self.watches.get_mut(id) {
                    watch.dead = true;
                }
                // What is held for the flip is let go when its time is over.
                if !self.watches.is_draining(id) {
                    self.unsync(id);
                }
                return;
            }
        };
        let answers_atomic = layout.opcode == Opcode::AtomicAcknowledge;
        while let Some(slot) = self.passed_head(id) {
            let Some(record) = self.clients.slots.get_mut(slot) else { return };
            let record_end = record.psn.add(record.packets);
            match record.kind {
                Kind::Plain if !record_end.is_after(end) => record.state = State::Ready,
                Kind::Read
                    if layout.opcode.is_read_response() && psn == record.psn.add(record.parts) =>
                {
                    record.parts += 1;
                    if record.parts == record.packets {
                        record.state = State::Ready;
                    }
                }
                Kind::Atomic if psn == record.psn && answers_atomic => {
                    record.state = State::Ready;
                }
                // An answer was not seen here: what is outstanding is no longer known.
                Kind::Read | Kind::Atomic if psn.is_after(record.psn.add(record.parts)) => {
                    if !self.watches.is_draining(id) {
                        self.unsync(id);
                    }
                    return;
                }
                _ => return,
            }
            let record = *record;
            if record.state != State::Ready {
                return;
            }
            self.close_passed(id, slot, &record);
        }
    }

    fn close_passed(&mut self, id: ClientId, slot: u32, record: &ClientSlot) {
        self.remove_passed(id, slot);
        self.observe_access(id, id.own_server_qp(), record.access);
        if let Some(client) = self.clients.get_mut(id) {
            client.completed_end = record.psn.add(record.packets);
            if record.kind == Kind::Plain {
                client.last_plain = Some(record.psn);
            }
        }
        if let Some(watch) = self.watches.get_mut(id) {
            watch.answers = watch.answers.saturating_add(1);
            watch.reads = watch.reads.saturating_sub(u16::from(record.kind != Kind::Plain));
        }
    }

    /// The path MTU as far as it is known: from packets, else as configured, else a bound.
    pub(super) fn known_mtu(&self, watch: &Watch) -> u16 {
        match (watch.mtu_exact, self.config.path_mtu) {
            (0, None) => watch.mtu_at_least,
            (0, Some(configured)) => configured.max(watch.mtu_at_least),
            (exact, _) => exact,
        }
    }

    /// The path MTU, unless only a bound is known.
    pub(super) fn exact_mtu(&self, watch: &Watch) -> Option<u16> {
        let known = watch.mtu_exact > 0 || self.config.path_mtu.is_some();
        known.then(|| self.known_mtu(watch).next_power_of_two().clamp(256, 4096))
    }

    fn note_request_facts(&mut self, id: ClientId, bytes: &[u8], layout: &Layout) {
        note_mtu(self.watches.get_mut(id), layout);
        let Some(watch) = self.watches.get_mut(id).filter(|watch| !watch.request_seen) else {
            return;
        };
        watch.request_seen = true;
        if let Some(connection) = self.directory.client_mut(id) {
            connection.request = PathFacts::of(bytes, layout);
            if let Ok(ethernet) = Ethernet::new_checked(bytes) {
                connection.client.mac = ethernet.source();
            }
        }
    }

    fn note_response_facts(&mut self, id: ClientId, bytes: &[u8], layout: &Layout) {
        note_mtu(self.watches.get_mut(id), layout);
        let Some(client) = self.clients.get_mut(id) else { return };
        let Some(watch) = self.watches.get_mut(id) else { return };
        if let Some(aeth) = layout.aeth(bytes) {
            // A repeated answer may carry an older count.
            if !watch.response_seen || aeth.msn.is_after(client.completed_msn) {
                client.completed_msn = aeth.msn;
            }
            if let Syndrome::Ack { credits } = aeth.syndrome {
                client.credits = credits;
            }
            if !watch.response_seen
                && let Some(connection) = self.directory.client_mut(id)
            {
                connection.response = PathFacts::of(bytes, layout);
                if let Ok(ethernet) = Ethernet::new_checked(bytes) {
                    connection.server.mac = ethernet.source();
                }
                watch.response_seen = true;
            }
        }
    }
}

fn note_mtu(watch: Option<&mut Watch>, layout: &Layout) {
    use Opcode::{
        ReadResponseFirst, ReadResponseMiddle, SendFirst, SendMiddle, WriteFirst, WriteMiddle,
    };
    let Some(watch) = watch else { return };
    let more_follow = matches!(
        layout.opcode,
        SendFirst | SendMiddle | WriteFirst | WriteMiddle | ReadResponseFirst | ReadResponseMiddle
    );
    if more_follow {
        watch.mtu_exact = layout.payload_len;
    }
    watch.mtu_at_least = watch.mtu_at_least.max(layout.payload_len);
}
