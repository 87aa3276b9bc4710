//! What is shed when more comes in than the loop can take: requests of clients in turn, before any
//! work is spent on them.
//!
//! A port that overflows loses what comes last, whosever it is. So the clients that are being
//! served, which send again as soon as they are answered, leave no room for those that are not:
//! these lose whole windows until they give up, and what arrives behind a lost frame costs work for
//! nothing. So when frames were lost and more wait, each client is served for some requests in a
//! row and then not at all, until it has been silent for a while: it waits for its timeout, as it
//! does when frames are lost, and others find room meanwhile. How many requests that are follows
//! from what is lost all the same.

use qpmux_engine::Nanos;
use qpmux_engine::wire::{Classified, classify};
use tracing::warn;

/// Time for which nothing is taken of a client that had its turn, ns, at least.
const REST_LEAST: u64 = 5_000_000;
/// The same at most: shorter than the usual timeout after which it sends again, 67 ms.
const REST_LONGEST: u64 = 40_000_000;
/// The same as a multiple of what a frame waits at a full port: what a client has sent already
/// comes out of there while it rests, or its next turn begins with what cannot be taken.
const RESTS: u64 = 2;
/// Frames that wait at a port, unless said otherwise.
const ROOM: u64 = 1_024;
/// Time between two looks at what was lost, ns.
const PERIOD: u64 = 20_000_000;
/// Full bursts in a row from which on more waits than the loop takes at once.
const BACKLOG: u32 = 4;
/// Requests of a turn, at first and at least.
const TURN_FIRST: f64 = 64.0;
const TURN_LEAST: f64 = 1.0;
/// With longer turns nothing is shed any more.
const TURN_LONGEST: f64 = 1_024.0;
/// By how much a turn gets shorter if half of the frames are lost, and longer if none is: a share
/// of it.
const SHORTER: f64 = 0.5;
const LONGER: f64 = 1.0 / 64.0;
/// The same in a period in which the loop kept up.
const MUCH_LONGER: f64 = 1.0 / 8.0;
/// Clients are told apart by so many bits. Those that are not share their turns.
const SLOT_BITS: u32 = 13;

/// What a client had of its turn.
#[derive(Clone, Copy, Default, Debug)]
struct Slot {
    seen: u64,
    rests_until: u64,
    taken: u32,
}

/// Which clients are having their turn.
#[derive(Debug)]
pub struct Shedder {
    enabled: bool,
    /// Requests of a turn, while there are any.
    turn: Option<f64>,
    slots: Box<[Slot]>,
    /// Frames that wait at the clients' port, at most.
    room: u64,
    /// Time for which a client rests, ns.
    rest: u64,
    shed: u64,
    /// Full bursts in a row until now.
    full: u32,
    period: Period,
}

/// What is counted until the next look at what was lost.
#[derive(Clone, Copy, Default, Debug)]
struct Period {
    /// Its begin and its end, ns.
    from: u64,
    until: u64,
    /// Frames lost by the port before it.
    lost_before: u64,
    taken: u64,
    /// More waited at some time than the loop took at once.
    behind: bool,
}

impl Default for Shedder {
    fn default() -> Shedder {
        Shedder {
            enabled: true,
            turn: None,
            slots: vec![Slot::default(); 1 << SLOT_BITS].into(),
            room: ROOM,
            rest: REST_LEAST,
            shed: 0,
            full: 0,
            period: Period::default(),
        }
    }
}

impl Shedder {
    /// Whether anything may be shed at all.
    pub fn enable(&mut self, enabled: bool) {
        self.enabled = enabled;
        self.turn = None;
    }

    /// So many frames wait at the clients' port, at most.
    pub fn set_room(&mut self, frames: usize) {
        self.room = frames as u64;
    }

    /// Requests shed so far.
    #[must_use]
    pub fn shed(&self) -> u64 {
        self.shed
    }

    /// Whether it is time to look at what was lost.
    #[must_use]
    pub fn looks(&self, now: Nanos) -> bool {
        self.enabled && now.0 >= self.period.until
    }

    /// The clients' port has lost so many frames so far.
    pub fn look(&mut self, now: Nanos, lost: u64) {
        let Period { from, lost_before, taken, behind, .. } = self.period;
        let lost_now = lost.saturating_sub(lost_before);
        let until = now.0.saturating_add(PERIOD);
        self.period = Period { from: now.0, until, lost_before: lost, ..Period::default() };
        if behind {
            let waits = now.0.saturating_sub(from).saturating_mul(self.room) / taken.max(1);
            self.rest = waits.saturating_mul(RESTS).clamp(REST_LEAST, REST_LONGEST);
        }
        self.turn = match self.turn {
            None => (lost_now > 0 && behind).then_some(TURN_FIRST),
            Some(turn) => {
                let share = lost_now as f64 / (lost_now + taken).max(1) as f64;
                let grown = if behind { LONGER } else { MUCH_LONGER };
                let turn = turn * (1.0 + grown - share * 2.0 * SHORTER);
                Some(turn.max(TURN_LEAST)).filter(|turn| *turn <= TURN_LONGEST)
            }
        };
    }

    /// So many frames were taken from the clients' port at once; if they were as many as can be,
    /// more may wait.
    pub fn took(&mut self, frames: usize, full: bool) {
        self.period.taken += frames as u64;
        self.full = if full { self.full.saturating_add(1) } else { 0 };
        self.period.behind |= self.is_behind();
    }

    fn is_behind(&self) -> bool {
        self.full >= BACKLOG
    }

    /// Whether a frame from the clients' port is shed: a request, and its client had its turn.
    pub fn sheds(&mut self, now: Nanos, frame: &[u8]) -> bool {
        let Some(turn) = self.turn.filter(|_| self.is_behind()) else { return false };
        let Ok(Classified::Rc(layout)) = classify(frame) else { return false };
        if !layout.opcode.is_request() {
            return false;
        }
        // Fibonacci hashing: numbers of queue pairs are often in a row, or differ in high bits.
        let index = layout.dest_qp.value().wrapping_mul(0x9e37_79b9) >> (32 - SLOT_BITS);
        let Some(slot) = self.slots.get_mut(index as usize) else { return false };
        if slot.rests_until <= now.0 {
            if now.0.saturating_sub(slot.seen) > self.rest {
                slot.taken = 0;
            }
            slot.seen = now.0;
            slot.taken += 1;
            // A message that was begun is ended.
            if f64::from(slot.taken) <= turn.ceil() || !layout.opcode.starts_message() {
                return false;
            }
            (slot.taken, slot.rests_until) = (0, now.0.saturating_add(self.rest));
        }
        self.shed += 1;
        if self.shed == 1 {
            warn!("Client side: more comes in than can be taken, clients are shed in turn");
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use qpmux_engine::BURST_MAX;
    use qpmux_engine::wire::Psn;
    use qpmux_sim::rc::{Link, Requester, RequesterConfig, Verb};

    use super::*;

    const MS: u64 = 1_000_000;

    /// A request to the queue pair of this number.
    fn request(qpn: u32) -> Vec<u8> {
        let (client, server) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let link = Link::new(client, 1, server, qpn);
        let mut requester = Requester::new(RequesterConfig::new(link, Psn::new(0)));
        requester.post(Verb::Read { address: 0, rkey: 1, length: 8 });
        let mut frame = vec![0; 256];
        let len = requester.poll_transmit(0, &mut frame).unwrap();
        frame.truncate(len);
        frame
    }

    /// Takes more than one burst at once, and says so.
    fn fall_behind(shedder: &mut Shedder) {
        (0..BACKLOG).for_each(|_| shedder.took(BURST_MAX, true));
    }

    /// One that has lost half of what came.
    fn overloaded() -> Shedder {
        let mut shedder = Shedder::default();
        fall_behind(&mut shedder);
        shedder.look(Nanos(0), 1);
        assert!(shedder.turn.is_some());
        fall_behind(&mut shedder);
        shedder
    }

    #[test]
    fn nothing_is_shed_while_nothing_is_lost() {
        let (mut shedder, frame) = (Shedder::default(), request(7));
        for period in 0..10 {
            fall_behind(&mut shedder);
            shedder.look(Nanos(20 * MS * period), 0);
            fall_behind(&mut shedder);
            assert!((0..2_000).all(|_| !shedder.sheds(Nanos(20 * MS * period), &frame)));
        }
        assert_eq!(shedder.shed(), 0);
    }

    #[test]
    fn who_had_its_turn_rests_and_then_has_another() {
        let (mut shedder, one, other) = (overloaded(), request(7), request(8));
        let taken = (0..1_000).take_while(|_| !shedder.sheds(Nanos(MS), &one)).count();
        assert_eq!(taken, TURN_FIRST as usize);
        assert!(shedder.sheds(Nanos(MS + REST_LEAST - 1), &one));
        assert!(!shedder.sheds(Nanos(MS + REST_LEAST - 1), &other), "others have their own turns");
        assert!(!shedder.sheds(Nanos(MS + REST_LEAST), &one));
        assert_eq!(shedder.shed(), 2);
    }

    #[test]
    fn clients_rest_until_what_they_have_sent_has_come_out_of_the_port() {
        let rest = |room, taken, ms| {
            let mut shedder = overloaded();
            shedder.set_room(room);
            shedder.took(taken, true);
            shedder.look(Nanos(ms * MS), 2);
            shedder.rest
        };
        let bursts = BACKLOG as usize * BURST_MAX;
        // A thousand frames in a millisecond: a full port is empty after 16 ms.
        assert_eq!(rest(16_000, 20_000 - bursts, 20), 32 * MS);
        assert_eq!(rest(1_024, 20_000 - bursts, 20), REST_LEAST);
        assert_eq!(rest(32_000, 1, 20), REST_LONGEST);
        assert_eq!(rest(16_000, 40_000 - bursts, 40), 32 * MS);
    }

    #[test]
    fn what_is_no_request_is_never_shed() {
        let mut shedder = overloaded();
        let mut answer = request(7);
        // ACK, of a client to what its server asks for.
        answer[42] = 0x11;
        let strange = vec![0; 60];
        for frame in [answer, strange] {
            assert!((0..1_000).all(|_| !shedder.sheds(Nanos(MS), &frame)));
        }
    }

    #[test]
    fn nothing_is_shed_while_nothing_waits() {
        let (mut shedder, frame) = (overloaded(), request(7));
        shedder.took(BURST_MAX - 1, false);
        assert!((0..1_000).all(|_| !shedder.sheds(Nanos(MS), &frame)));
    }

    #[test]
    fn turns_get_shorter_while_frames_are_lost_and_end_when_none_are() {
        let mut shedder = overloaded();
        let mut now = 0;
        let mut look = |shedder: &mut Shedder, frames, lost| {
            now += PERIOD;
            shedder.took(frames, frames == BURST_MAX);
            shedder.look(Nanos(now), lost);
            shedder.turn
        };
        let turns: Vec<_> =
            (1..200).filter_map(|n| look(&mut shedder, BURST_MAX, 1 + 1_000 * n)).collect();
        assert!(turns.is_sorted_by(|a, b| a >= b), "{turns:?}");
        assert_eq!(turns.last(), Some(&TURN_LEAST));
        let kept_up = (0..200).take_while(|_| look(&mut shedder, 1, 199_001).is_some()).count();
        assert!((20..100).contains(&kept_up), "{kept_up} periods");
    }

    #[test]
    fn what_is_switched_off_sheds_nothing() {
        let (mut shedder, frame) = (overloaded(), request(7));
        shedder.enable(false);
        assert!((0..1_000).all(|_| !shedder.sheds(Nanos(MS), &frame)));
        assert!(!shedder.looks(Nanos(u64::MAX)));
    }
}
