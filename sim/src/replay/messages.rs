//! The messages of one captured connection: put together from packets, completed by answers.

use qpmux_engine::wire::{Layout, Msn, Opcode, Psn, Syndrome};

use super::script::{LeftOut, ScriptedVerb};
use super::second_pass::psn_range;
use crate::rc::Verb;

/// A verb that was answered, wholly or in part.
pub(super) struct Answered<'a> {
    pub(super) verb: &'a Verb,
    /// Bytes of a READ's response before these.
    pub(super) offset: u64,
    /// Bytes that a READ brought; for an atomic the word before, big-endian.
    pub(super) data: &'a [u8],
}

struct Message {
    scripted: ScriptedVerb,
    psn: Psn,
    packets: u32,
    /// Response packets of a READ that have come, in order.
    parts: u32,
    completed_at: Option<u64>,
}

/// The messages of one connection, in order.
pub(super) struct Messages {
    path_mtu: u16,
    all: Vec<Message>,
    /// Complete messages at the front.
    completed: usize,
    /// PSN of the next request that was not seen before.
    next: Option<Psn>,
    start_psn: Option<Psn>,
    start_msn: Option<Msn>,
    credits: u8,
    depth: u16,
    /// A message of several packets without its last one: when it began, and its bytes.
    partial: Option<(u64, Psn, Verb)>,
}

impl Messages {
    pub(super) fn new(path_mtu: u16) -> Messages {
        Messages {
            path_mtu,
            all: Vec::new(),
            completed: 0,
            next: None,
            start_psn: None,
            start_msn: None,
            credits: 31,
            depth: 0,
            partial: None,
        }
    }

    pub(super) fn start_psn(&self) -> Option<Psn> {
        self.start_psn
    }

    pub(super) fn start_msn(&self) -> Option<Msn> {
        self.start_msn
    }

    pub(super) fn credits(&self) -> u8 {
        self.credits
    }

    pub(super) fn depth(&self) -> u16 {
        self.depth
    }

    pub(super) fn into_verbs(self) -> Vec<ScriptedVerb> {
        self.all.into_iter().map(|message| message.scripted).collect()
    }

    /// A request packet, `since` nanoseconds after the start. Returns the verb that it completes.
    pub(super) fn on_request(
        &mut self,
        since: u64,
        frame: &[u8],
        layout: &Layout,
        left_out: &mut LeftOut,
    ) -> Option<&Verb> {
        let psn = layout.psn;
        let next = *self.next.get_or_insert(psn);
        if psn.is_before(next) {
            left_out.repeated_requests += 1;
            return None;
        }
        // After a gap the client goes back and repeats: what is beyond the gap comes again.
        if psn != next {
            return None;
        }
        if self.start_psn.is_none() {
            if !layout.opcode.starts_message() {
                // The capture began inside a message.
                self.next = None;
                return None;
            }
            self.start_psn = Some(psn);
        }
        let Some((verb, packets)) = self.packet_verb(frame, layout) else {
            self.next = Some(psn.add(1));
            left_out.unsupported_requests += u64::from(is_unsupported(layout.opcode));
            return None;
        };
        self.next = Some(psn.add(packets));
        let (posted_at, first_psn, verb) = match self.partial.take() {
            Some(begun) if !layout.opcode.starts_message() => begun,
            _ => (since, psn, verb),
        };
        if !layout.opcode.ends_message() {
            self.partial = Some((posted_at, first_psn, verb));
            return None;
        }
        let packets = psn.offset_from(first_psn) + packets;
        self.push(posted_at, first_psn, packets, verb);
        self.all.last().map(|message| &message.scripted.verb)
    }

    /// The verb that a packet begins, or continues (then `partial` grows), and the PSNs it takes.
    fn packet_verb(&mut self, frame: &[u8], layout: &Layout) -> Option<(Verb, u32)> {
        let payload = layout.payload(frame);
        let immediate = layout.immediate(frame).map(|immediate| immediate.immediate);
        if !layout.opcode.starts_message() {
            let (_, _, verb) = self.partial.as_mut()?;
            match verb {
                Verb::Write { data, immediate: last, .. }
                | Verb::Send { data, immediate: last } => {
                    data.extend_from_slice(payload);
                    *last = immediate;
                }
                Verb::Read { .. } | Verb::CompareSwap { .. } | Verb::FetchAdd { .. } => {
                    return None;
                }
            }
            return Some((Verb::Send { data: Vec::new(), immediate: None }, 1));
        }
        let verb = match layout.opcode {
            Opcode::ReadRequest => {
                let reth = layout.reth(frame)?;
                let (address, rkey) = (reth.virtual_address, reth.remote_key);
                let verb = Verb::Read { address, rkey, length: reth.dma_length };
                return Some((verb.clone(), verb.psns(usize::from(self.path_mtu))));
            }
            Opcode::CompareSwap | Opcode::FetchAdd => {
                let atomic = layout.atomic_eth(frame)?;
                let (address, rkey) = (atomic.virtual_address, atomic.remote_key);
                if layout.opcode == Opcode::CompareSwap {
                    let (compare, swap) = (atomic.compare, atomic.swap_or_add);
                    Verb::CompareSwap { address, rkey, compare, swap }
                } else {
                    Verb::FetchAdd { address, rkey, add: atomic.swap_or_add }
                }
            }
            opcode if opcode.is_write() => {
                let reth = layout.reth(frame)?;
                let (address, rkey) = (reth.virtual_address, reth.remote_key);
                Verb::Write { address, rkey, data: payload.to_vec(), immediate }
            }
            opcode if opcode.is_send() && !is_unsupported(opcode) => {
                Verb::Send { data: payload.to_vec(), immediate }
            }
            _ => return None,
        };
        Some((verb, 1))
    }

    fn push(&mut self, posted_at: u64, psn: Psn, packets: u32, verb: Verb) {
        let completed_at = match self.completed {
            0 => 0,
            n => self.all[n - 1].completed_at.unwrap_or(0),
        };
        self.all.push(Message {
            scripted: ScriptedVerb {
                verb,
                after: self.completed,
                think_ns: posted_at.saturating_sub(completed_at),
                posted_ns: posted_at,
            },
            psn,
            packets,
            parts: 0,
            completed_at: None,
        });
        let open = &self.all[self.completed..];
        let reads = open.iter().filter(|m| m.scripted.verb.is_read_or_atomic()).count();
        self.depth = self.depth.max(reads.min(usize::from(u16::MAX)) as u16);
    }

    /// A response packet. `answered` is told of each verb that it answers.
    pub(super) fn on_response(
        &mut self,
        since: u64,
        frame: &[u8],
        layout: &Layout,
        left_out: &mut LeftOut,
        mut answered: impl FnMut(Answered<'_>),
    ) {
        let aeth = layout.aeth(frame);
        match aeth.map(|aeth| aeth.syndrome) {
            Some(Syndrome::Ack { credits }) => self.credits = credits,
            Some(_) => return,
            None => {}
        }
        let Some(next) = self.next else { return };
        if !layout.psn.is_before(next) {
            // The server has accepted a request that the capture does not hold.
            left_out.holes += 1;
            self.next = None;
            self.partial = None;
            return;
        }
        let open = &mut self.all[self.completed..];
        let Some(at) = open.iter().position(|m| psn_range(m.psn, m.packets, layout.psn).is_some())
        else {
            return;
        };
        // All WRITEs and SENDs before it are done; a READ or an atomic needs its own answer.
        let plain = |m: &Message| !m.scripted.verb.is_read_or_atomic();
        for message in open[..at].iter_mut().filter(|m| plain(m)) {
            complete(message, since, 0, &[], &mut answered);
        }
        let message = &mut open[at];
        let part = layout.psn.offset_from(message.psn);
        match message.scripted.verb {
            Verb::Read { .. } if layout.opcode.is_read_response() && part == message.parts => {
                message.parts += 1;
                let data = layout.payload(frame);
                let offset = u64::from(part) * u64::from(self.path_mtu);
                answered(Answered { verb: &message.scripted.verb, offset, data });
                if message.parts == message.packets {
                    message.completed_at.get_or_insert(since);
                }
            }
            Verb::CompareSwap { .. } | Verb::FetchAdd { .. } => {
                if let Some(ack) = layout.atomic_ack(frame) {
                    complete(message, since, 0, &ack.original.to_be_bytes(), &mut answered);
                }
            }
            Verb::Write { .. } | Verb::Send { .. } if part + 1 == message.packets => {
                complete(message, since, 0, &[], &mut answered);
            }
            _ => {}
        }
        self.note_completed(aeth.map(|aeth| aeth.msn));
    }

    fn note_completed(&mut self, msn: Option<Msn>) {
        while self.all.get(self.completed).is_some_and(|m| m.completed_at.is_some()) {
            self.completed += 1;
        }
        if let (None, Some(msn), true) = (self.start_msn, msn, self.completed > 0) {
            self.start_msn = Some(msn.sub(self.completed as u32));
        }
    }
}

fn complete(
    message: &mut Message,
    since: u64,
    offset: u64,
    data: &[u8],
    answered: &mut impl FnMut(Answered<'_>),
) {
    if message.completed_at.is_none() {
        message.completed_at = Some(since);
        answered(Answered { verb: &message.scripted.verb, offset, data });
    }
}

/// Requests that the endpoint model does not make.
fn is_unsupported(opcode: Opcode) -> bool {
    matches!(opcode, Opcode::SendLastInv | Opcode::SendOnlyInv)
}
