//! Server queue pairs that come to their end by themselves, and what it may do to whom.
//!
//! What was sent to such a queue pair and not answered has an unknown outcome: its client may end
//! in its retry limit. Everything else must go on as if nothing had been: what waited for it, and
//! what it refused to execute because it had failed at an earlier request.

use qpmux_engine::wire::{Classified, Layout, NakCode, Opcode, Psn, Syndrome, classify, icrc};

use super::connection::Connection;
use super::judge::{Mark, packets};
use super::plan::{Client, Plan};
use super::workload::{BASE, CELL, CELLS, CLIENTS_MAX, Op, of_tag, tag_in};
use super::world::World;
use crate::faults::Leg;
use crate::rc::{Status, Verb, Violations};

/// Whose request it is: the client, and if that can be told, which of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// It carries a tag.
    Request(u32, u32),
    /// It reads from, or writes nothing to, memory of this client.
    Client(u32),
    /// It is in the place of an atomic on this word, of whomever.
    Word(u64),
    /// It reads what all share, or is a SEND.
    Unknown,
}

/// A packet that was sent to a server queue pair.
#[derive(Clone, Copy, Debug)]
struct Sent {
    psn: Psn,
    psns: u32,
    opcode: Opcode,
    whose: Whose,
}

/// What was sent to a server queue pair that comes to its end, and what of it was answered, as far
/// as the middlebox can know.
#[derive(Clone, Debug)]
pub(super) struct Witness {
    pmtu: usize,
    next: Psn,
    sent: Vec<Sent>,
    /// All before it is said to be done.
    acknowledged: Psn,
    /// What it has failed at.
    refused: Option<Psn>,
}

/// What may have become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is the one that the server queue pair failed at.
    Refused,
    /// It may have been executed or not.
    Unknown,
}

impl Witness {
    pub(super) fn new(psn: u32, pmtu: usize) -> Witness {
        let psn = Psn::new(psn);
        Witness { pmtu, next: psn, sent: Vec::new(), acknowledged: psn, refused: None }
    }

    /// The middlebox has sent a request; repeats say nothing new.
    pub(super) fn note_request(&mut self, frame: &[u8], layout: &Layout) {
        if layout.psn.signed_offset_from(self.next) < 0 {
            return;
        }
        let psns = match layout.reth(frame) {
            Some(reth) if layout.opcode == Opcode::ReadRequest => {
                reth.dma_length.div_ceil(self.pmtu as u32).max(1)
            }
            _ => 1,
        };
        let (psn, opcode, whose) = (layout.psn, layout.opcode, whose(frame, layout));
        self.sent.push(Sent { psn, psns, opcode, whose });
        self.next = psn.add(psns);
    }

    /// An answer has come to the middlebox.
    pub(super) fn note_answer(&mut self, frame: &[u8]) {
        let Ok(Classified::Rc(layout)) = classify(frame) else { return };
        let holds = |sent: &&Sent| layout.psn.offset_from(sent.psn) < sent.psns;
        let Some(&sent) = self.sent.iter().rev().find(holds) else { return };
        if !icrc::verify(frame, &layout) {
            return;
        }
        let mut end = sent.psn;
        if layout.opcode == Opcode::Acknowledge {
            match layout.aeth(frame).map(|aeth| aeth.syndrome) {
                Some(Syndrome::Ack { .. }) => end = layout.psn.add(1),
                Some(Syndrome::Nak(code)) if code != NakCode::PsnSequence => {
                    self.refused.get_or_insert(layout.psn);
                }
                _ => {}
            }
        }
        if end.signed_offset_from(self.acknowledged) > 0 {
            self.acknowledged = end;
        }
    }

    /// What may have become of a request that was sent here. `None` if it is certain that it was
    /// executed and that the middlebox knows, or that it was not and never will be.
    fn fate(&self, client: u32, number: u32, verb: &Verb) -> Option<Fate> {
        let tagless = packets(verb, self.pmtu).is_empty();
        let mine = self.sent.iter().filter(|sent| match sent.whose {
            Whose::Request(c, n) => (c, n) == (client, number),
            Whose::Client(c) => c == client && tagless,
            Whose::Word(word) => match *verb {
                Verb::CompareSwap { address, .. } | Verb::FetchAdd { address, .. } => {
                    address == word
                }
                _ => false,
            },
            Whose::Unknown => matches!(verb, Verb::Read { .. }),
        });
        mine.filter_map(|sent| self.fate_of(sent)).next()
    }

    fn fate_of(&self, sent: &Sent) -> Option<Fate> {
        // Reading again changes nothing: it is done elsewhere.
        let is_read = sent.opcode == Opcode::ReadRequest;
        let acknowledged = sent.psn.signed_offset_from(self.acknowledged) < 0;
        match self.refused {
            Some(psn) if psn.offset_from(sent.psn) < sent.psns => Some(Fate::Refused),
            Some(psn) if psn.signed_offset_from(sent.psn) < 0 => None,
            _ if is_read => None,
            // Its value may not have come, or not in its turn.
            _ if sent.opcode.is_atomic() => Some(Fate::Unknown),
            _ => (!acknowledged).then_some(Fate::Unknown),
        }
    }
}

/// Whose request a packet is, by its tag or by the memory that it is for.
pub(super) fn whose(frame: &[u8], layout: &Layout) -> Whose {
    let tag = match layout.atomic_eth(frame) {
        Some(eth) => eth.swap_or_add,
        None if layout.opcode.is_write() => tag_in(layout.payload(frame)),
        None => 0,
    };
    if let Some((client, number)) = of_tag(tag) {
        return Whose::Request(client, number);
    }
    let Some(reth) = layout.reth(frame) else { return Whose::Unknown };
    if layout.opcode == Opcode::WriteOnly && layout.payload_len == 8 {
        return Whose::Word(reth.virtual_address);
    }
    let cell = reth.virtual_address.wrapping_sub(BASE) / CELL as u64;
    match (cell / CELLS).checked_sub(1) {
        Some(client) if client < CLIENTS_MAX as u64 => Whose::Client(client as u32),
        _ => Whose::Unknown,
    }
}

/// Time within which everything is done after the last fault, ns.
pub(super) fn patience(plan: &Plan) -> u64 {
    let limits = plan.engine;
    let retries = plan.clients.iter().map(|client| client.retries.min(RETRIES_MAX)).max();
    // A server that has fallen silent is given up after so long, and then its clients give up.
    let silence = match (plan.has_ending(), plan.has_offender()) {
        (true, _) => {
            silence(plan) + u64::from(retries.unwrap_or(0) + 2) * plan.client_timeout_max()
        }
        (_, true) => 64 * limits.server_timeout_ns * u64::from(limits.server_retries_max.min(64)),
        _ => 0,
    };
    let resumed = plan.crashes.len() as u64 * 20 * plan.config().resume_wait_ns;
    20 * plan.client_timeout_max() + plan.requests() * 50_000 + silence + resumed
}

/// Most retries of who is to give up in time.
const RETRIES_MAX: u32 = 64;

/// Longest time until all server queue pairs that end are given up, one after the other, ns.
fn silence(plan: &Plan) -> u64 {
    let limits = plan.engine;
    let endings = plan.clients.iter().filter(|client| client.server.ending.is_some()).count();
    let retries = u64::from(limits.server_retries_max.min(RETRIES_MAX));
    endings as u64 * 64 * limits.server_timeout_ns * retries
}

/// Whether, if server queue pairs end, the engine gives them up before any client does so with what
/// waits for them, and both do so in time. Else rules are broken by the plan itself.
pub(super) fn has_time(plan: &Plan) -> bool {
    let patient = |client: &Client| {
        let times = if plan.innocents_notice_nothing { 1 } else { client.retries + 1 };
        let until = (4096 << client.timeout.min(31)) * u64::from(times);
        client.retries <= RETRIES_MAX && until > silence(plan)
    };
    !plan.has_ending()
        || plan.engine.server_retries_max <= RETRIES_MAX && plan.clients.iter().all(patient)
}

/// More server queue pairs were given up than have ended or were asked for what they refuse.
pub(super) fn lost_too_many(world: &World<'_>) -> Option<String> {
    let lost = world.counters().server_qps_lost;
    let offends = |(i, _): &(usize, &Connection)| world.plan.clients[*i].offends();
    // A message whose rest went with an engine, or was damaged, and never comes again cannot be
    // ended by another.
    let cut = |(i, connection): &(usize, &Connection)| {
        let client = &world.plan.clients[*i];
        let long = client.operations.iter().any(|op| op.is_long(client.pmtu));
        world.plan.may_fill() && connection.is_forsaken() && long
    };
    let ended =
        |each: &(usize, &Connection)| each.1.responder.has_ended() || offends(each) || cut(each);
    let may = world.connections.iter().enumerate().filter(ended).count() as u64;
    let may = may + world.outlet.losses_cut();
    (lost > may).then(|| format!("{lost} server queue pairs were given up, {may} have ended"))
}

/// In a run in which a server queue pair ends: who ends badly without having had anything there.
pub(super) fn judge_ends(world: &World<'_>) -> Violations {
    let mut broken = Violations::new();
    if !world.plan.has_ending() {
        return broken;
    }
    for (i, connection) in (0..).zip(&world.connections) {
        if connection.has_stopped() {
            continue;
        }
        if !connection.is_done() {
            broken.record("O7", world.now, || format!("client {i} is not done"));
        }
        if let Some(text) = judge_end(world, i, connection) {
            broken.record("O7", world.now, || text);
        }
        let offends = world.plan.clients[i as usize].offends();
        if connection.responder.is_dead() && !connection.responder.has_ended() && !offends {
            let text = || format!("connection {i} has a server queue pair in the error state");
            broken.record("O5", world.now, text);
        }
    }
    broken
}

fn judge_end(world: &World<'_>, i: u32, connection: &Connection) -> Option<String> {
    let status = |n: usize| connection.asked[n].end.as_ref().map(|end| end.status);
    let all = 0..connection.asked.len();
    let first = all.clone().find(|n| status(*n) != Some(Status::Success))?;
    let told = status(first);
    let Some(ended) = told else { return Some(format!("client {i}: request {first} never ended")) };
    if let Some(n) = all.clone().find(|n| *n > first && status(*n) != Some(Status::Flushed)) {
        return Some(format!("client {i}: request {n} ended with {:?} after {told:?}", status(n)));
    }
    let noticed = [Leg::ClientToBox, Leg::BoxToClient].iter().any(|leg| world.plan.hits(*leg, i));
    // Its own queue pair: what is not mapped has nowhere to go.
    if connection.responder.has_ended() {
        return None;
    }
    let offence = |n: &usize| matches!(connection.asked[*n].op, Op::Bad(_));
    // An answer to an earlier one may have been lost, and its client is told nothing any more.
    let guilty = all.filter(|n| *n == first || *n > first && noticed).any(|n| {
        let fits = |fate| match fate {
            Fate::Refused => ended == Status::RemoteOperational || noticed,
            Fate::Unknown => ended == Status::RetryExceeded,
        };
        let verb = &connection.asked[n].verb;
        let mut witnesses = world.connections.iter().filter(|c| c.responder.has_ended());
        offence(&n)
            || witnesses.any(|c| {
                let witness = c.witness.as_ref();
                witness.and_then(|w| w.fate(i, n as u32, verb)).is_some_and(fits)
            })
    });
    let text = || format!("client {i}: request {first} ended with {told:?}, though it is certain");
    (!guilty).then(text)
}

/// What ran of a client though something that it had asked for before never did. Where requests are
/// fenced, each runs only behind the one before; nothing runs behind a refusal.
pub(super) fn judge_gaps(world: &World<'_>, ran: impl Fn(&Mark) -> bool) -> Violations {
    let mut broken = Violations::new();
    if !world.plan.policy.fenced {
        return broken;
    }
    for (client, connection) in (0..).zip(&world.connections) {
        let pmtu = world.plan.clients[client as usize].pmtu;
        let mut missing = None;
        for (number, asked) in (0..).zip(&connection.asked) {
            if matches!(asked.op, Op::Bad(_)) {
                missing.get_or_insert((client, number, 0));
                continue;
            }
            for part in packets(&asked.verb, pmtu) {
                let mark = (client, number, part);
                match (ran(&mark), missing) {
                    (true, Some(before)) => {
                        let text = || format!("{mark:?} ran, {before:?} did not");
                        broken.record("O4", world.now, text);
                    }
                    (false, None) => missing = Some(mark),
                    _ => {}
                }
            }
        }
    }
    broken
}
