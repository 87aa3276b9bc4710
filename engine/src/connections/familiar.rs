//! A short way to watch frames of connections that are known.
//!
//! Nearly every frame is like many before it: of a connection that was learnt, from its port, near
//! the PSNs that it had last. [`Familiar`] knows such frames by what they have in common, and lets
//! the learner note them without looking for their flow, to the same end as
//! [`Learner::observe`]. Whatever is not like that is left to the learner.

use alloc::boxed::Box;
use alloc::vec;

use super::flow::{Flow, Requests};
use super::learner::Learner;
use super::table::NONE;
use crate::wire::common::{Common, Shapes, is_usual, mix, next_word, opcode_and_psn};
use crate::wire::{Layout, Opcode, Psn, Syndrome, usual};

/// Directions that are remembered; where two fall on one place, the last one is.
const PLACES: usize = 4_096;

/// Directions whose frames are known by what they have in common, each with something of its host's
/// that is [`Default`] at first.
pub struct Familiar<T> {
    places: Box<[Place<T>]>,
    shapes: Shapes,
}

#[derive(Clone, Copy)]
struct Place<T> {
    common: Common,
    flow: Known,
    note: T,
}

/// A flow that belongs to a connection.
#[derive(Clone, Copy)]
struct Known {
    index: u32,
    /// The flow the other way.
    other: u32,
    /// As it was when this was noted: the flow is the same, and in the same connection, as long as
    /// this is.
    generation: u32,
}

/// What a packet says.
#[derive(Clone, Copy)]
enum Says {
    /// It asks for something that takes so many PSNs at most.
    Asks(u32),
    /// It answers, positively and at its PSN.
    Answers,
    /// It answers otherwise.
    Other,
}

impl<T: Copy + Default> Default for Familiar<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Copy + Default> Familiar<T> {
    /// No direction is known yet. This is the only place that allocates.
    #[must_use]
    pub fn new() -> Self {
        let flow = Known { index: NONE, other: NONE, generation: 0 };
        let free = Place { common: Common::NONE, flow, note: T::default() };
        Self { places: vec![free; PLACES].into_boxed_slice(), shapes: Shapes::NONE }
    }

    /// Does what [`Learner::observe`] does with a whole frame that is a good RC packet with a right
    /// ICRC, if its direction is known and this is no news. Gives the direction's note, and
    /// whether the packet is a request. `None`, and nothing is done, of any other frame.
    #[inline]
    pub fn observe(
        &mut self,
        learner: &mut Learner,
        now_ns: u64,
        frame: &[u8],
    ) -> Option<(&mut T, bool)> {
        let head = frame.first_chunk()?;
        let place = &mut self.places[mix(head) as usize % PLACES];
        if !place.common.is_of(head) || !is_usual(head) {
            return None;
        }
        let (opcode, psn) = opcode_and_psn(head);
        let (common, flow, port) = (&place.common, place.flow, place.common.source_port);
        // What most packets are, apart from each other: in each place the processor learns what
        // comes next.
        let mut note = |says| learner.observe_usual(now_ns, flow, (port, psn), says);
        let (known, asks) = match Opcode::from_byte(opcode)? {
            opcode @ Opcode::Acknowledge => {
                let says = says_of_ack(next_word(head)[0]);
                (common.verify_short::<2>(frame, head, opcode) && note(says), false)
            }
            opcode @ Opcode::AtomicAcknowledge => {
                let right = common.verify_short::<4>(frame, head, opcode);
                (right && note(Says::Answers), false)
            }
            opcode @ Opcode::ReadRequest => {
                let right = common.verify_short::<5>(frame, head, opcode);
                let len = frame.get(LENGTH_AT..).and_then(<[u8]>::first_chunk)?;
                let span = Requests::span_of(u32::from_be_bytes(*len));
                (right && note(Says::Asks(span)), true)
            }
            opcode @ (Opcode::CompareSwap | Opcode::FetchAdd) => {
                let right = common.verify_short::<8>(frame, head, opcode);
                (right && note(Says::Asks(1)), true)
            }
            opcode => {
                let layout = usual::layout(frame)?;
                let right = common.verify(&mut self.shapes, frame, &layout);
                (right && note(says_of_payload(opcode)), opcode.is_request())
            }
        };
        known.then_some((&mut place.note, asks))
    }

    /// Remembers the direction of a packet that the learner has just observed, if it is one of a
    /// connection.
    pub fn note(&mut self, learner: &Learner, layout: &Layout, frame: &[u8]) {
        let Some(head) = frame.first_chunk().filter(|_| layout.is_usual()) else { return };
        if let Some(flow) = learner.known_flow(layout) {
            let place = Place { common: Common::of(head), flow, note: T::default() };
            self.places[mix(head) as usize % PLACES] = place;
        }
    }
}

/// Where the length is in a READ request of the usual shape.
const LENGTH_AT: usize = usual::HEADERS + 12;

/// What an acknowledgement with this syndrome says.
#[inline]
fn says_of_ack(syndrome: u8) -> Says {
    match Syndrome::from_byte(syndrome) {
        Syndrome::Ack { .. } => Says::Answers,
        _ => Says::Other,
    }
}

/// What a packet says that may have a payload.
#[inline]
fn says_of_payload(opcode: Opcode) -> Says {
    match opcode {
        Opcode::ReadResponseFirst | Opcode::ReadResponseOnly => Says::Answers,
        _ if opcode.is_response() => Says::Other,
        _ => Says::Asks(1),
    }
}

impl Learner {
    /// The flow of a packet, if it belongs to a connection.
    fn known_flow(&self, layout: &Layout) -> Option<Known> {
        let index = self.store.find(layout.source, layout.destination, layout.dest_qp)?;
        let [client, server] = self.slot_of(index)?.flows;
        let other = if index == client { server } else { client };
        let generation = self.store.flows.get(index as usize)?.generation;
        Some(Known { index, other, generation })
    }

    /// [`Learner::observe`] of a packet of that flow, if the flow is still what it was, and the
    /// packet raises no question. `false` if not: nothing has been done then.
    #[inline(always)]
    fn observe_usual(
        &mut self,
        now_ns: u64,
        known: Known,
        (port, psn): (u16, Psn),
        says: Says,
    ) -> bool {
        let (far, number) = (self.config.far_psns, self.counters.frames + 1);
        if self.any_waits() {
            return false;
        }
        let asked = self.store.flows.get(known.other as usize);
        let answers = matches!(says, Says::Answers);
        let unasked = |asked: &Flow| asked.suspicion.exists() || asked.requests.is_far(psn, far);
        if answers && asked.is_none_or(unasked) {
            return false;
        }
        let Some(flow) = self.store.flows.get_mut(known.index as usize) else { return false };
        if flow.generation != known.generation || flow.source_port != port || port == 0 {
            return false;
        }
        match says {
            Says::Asks(_) if flow.requests.is_far(psn, far) => return false,
            Says::Asks(span) => {
                flow.requests.advance(psn, span);
                flow.first_request = flow.first_request.min(number);
            }
            Says::Answers if flow.suspicion.exists() => return false,
            Says::Answers => {
                flow.answers.advance(psn, far);
            }
            Says::Other => {}
        }
        flow.last_seen_ns = now_ns;
        self.counters.frames = number;
        true
    }
}
