//! Whether everything was done once, in order, and told as it was.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use qpmux_engine::wire::Msn;

use qpmux_engine::{DeclineReason, DropReason};

use super::choices::Mapping;
use super::connection::Connection;
use super::hosts;
use super::plan::Client;
use super::replaced;
use super::workload::{CELL, CELLS, Op, cell_address, first_cell, of_tag, tag_in};
use super::world::World;
use crate::faults::Leg;
use crate::memory::{Access, Effect, check, digest};
use crate::rc::{AckRequest, Completion, Outcome, Status, Verb};

/// A request of a client, and how it ended.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) op: Op,
    pub(super) verb: Verb,
    pub(super) end: Option<Completion>,
}

/// Looks at a run that is over, and records what is wrong.
pub(super) fn judge(world: &mut World<'_>) {
    for i in 0..world.connections.len() {
        let mut broken = world.connections[i].transport_violations();
        if world.plan.clients[i].offends() {
            // Refused as it is to be, on its own server queue pair.
            broken.forget("I-S6");
        }
        if world.crashes > 0 {
            // A question may come before anything has been sent.
            broken.forget("I-S10");
        }
        world.violations.merge(&broken);
    }
    judge_ends(world);
    judge_left_out(world);
    judge_rest(world);
    judge_words(world);
    judge_memory(world);
    judge_receives(world);
    judge_effects(world);
    judge_keys(world);
    judge_long(world);
    judge_reads(world);
    for i in 0..world.connections.len() as u32 {
        judge_own_reads(world, i);
    }
    judge_innocents(world);
}

/// Everything ended well, and nobody gave up, but for those who stopped or offended.
fn judge_ends(world: &mut World<'_>) {
    let ends = hosts::judge_ends(world);
    world.violations.merge(&ends);
    for (i, connection) in (0..).zip(&world.connections) {
        if connection.is_forsaken() || world.plan.has_ending() {
            continue;
        }
        let offends = world.plan.clients[i as usize].offends();
        let noticed = Leg::ALL.iter().any(|leg| world.plan.hits(*leg, i));
        let ended = |asked: &Asked| asked.end.as_ref().map(|end| end.status);
        let offence = connection.asked.iter().position(|a| matches!(a.op, Op::Bad(_)));
        let fits = |(n, asked): (usize, &Asked)| match (ended(asked), offence) {
            (None, _) => false,
            (Some(status), None) => status == Status::Success,
            // An answer to one before the offence may be lost, and the server says no more.
            (Some(status), Some(at)) if n < at => status == Status::Success || noticed,
            (Some(status), Some(_)) => status != Status::Success,
        };
        let mut all = connection.asked.iter().enumerate();
        if let Some((n, asked)) = all.find(|each| !fits(*each)) {
            let status = ended(asked);
            let text = || format!("client {i}: request {n} ended with {status:?}");
            world.violations.record("O7", world.now, text);
        }
        if !connection.is_done() {
            world.violations.record("O7", world.now, || format!("client {i} is not done"));
        }
        if !offends && (connection.requester.is_dead() || connection.responder.is_dead()) {
            let text = || format!("connection {i} has an end in the error state");
            world.violations.record("O5", world.now, text);
        }
    }
}

/// What READs' clients are to ask for again is no more than could not be held for them.
fn judge_left_out(world: &mut World<'_>) {
    let left_out: u64 = world.connections.iter().map(|c| c.answers.left_out()).sum();
    let full = world.counters().dropped(DropReason::HeldFull);
    if left_out > full {
        let text = || format!("{left_out} parts of responses left out, {full} could not be held");
        world.violations.record("O3", world.now, text);
    }
}

/// Nothing is left in the middlebox, and its counts agree with what was asked for.
fn judge_rest(world: &mut World<'_>) {
    let counters = world.counters();
    let learns = world.plan.learning.is_some();
    let stopped = world.connections.iter().any(Connection::is_forsaken);
    let mut open = world.open();
    if learns && (counters.flips < world.connections.len() as u64 || world.crashes > 0) {
        // What only passed, and nobody answered, is not the engine's to finish. (After a crash a
        // connection may have flipped twice, and another one never.)
        open.1 = 0;
    }
    // The rest of a message that its client has left cannot come, and what that client repeats
    // waits for it, on a server queue pair that is of use to nobody else.
    let left = world.connections.iter().zip(&world.plan.clients);
    let is_cut = |(c, planned): (&Connection, &Client)| {
        c.asked.iter().any(|asked| asked.end.is_none() && asked.op.is_long(planned.pmtu))
    };
    let mut left = left.filter(|(c, _)| c.has_stopped());
    // A READ that an owner repeated before it left is asked for until its server queue pair, which
    // is gone, is given up; in these runs that is never.
    let gone = world.connections.iter().any(|connection| connection.gone);
    if open != (0, 0, 0) && !gone && !left.any(is_cut) {
        let text = || format!("at rest: buffers, requests, bound requests {open:?}");
        world.violations.record("O10", world.now, text);
    }
    if counters.passed != world.passed && !learns && world.crashes == 0 {
        let text = || format!("{} packets passed, {} damaged", counters.passed, world.passed);
        world.violations.record("O10", world.now, text);
    }
    let asked: usize = world.connections.iter().map(|c| c.asked.len()).sum();
    let counts = (counters.requests, counters.completed, asked as u64);
    if let Some(text) = hosts::lost_too_many(world) {
        world.violations.record("O5", world.now, || text);
    }
    if stopped || world.plan.has_offender() || world.plan.has_ending() {
        // What they left behind is neither completed nor all taken.
        return;
    }
    // What passed before was neither taken nor completed, and what was held for a flip and let go
    // was taken only.
    // What an engine had taken when it crashed may be counted again by the next.
    let fits = match learns {
        _ if world.crashes > 0 => true,
        true => counts.1 <= counts.0 && counts.0 <= counts.2,
        false => counts.0 == counts.2 && counts.1 == counts.2,
    };
    if !fits {
        let text = || format!("taken, completed, asked for: {counts:?}");
        world.violations.record("O10", world.now, text);
    }
    let lost = (counters.server_qps_lost, counters.out_of_service);
    if lost != (0, 0) {
        let text = || format!("queue pairs lost, connections out of service: {lost:?}");
        world.violations.record("O5", world.now, text);
    }
    let starts = world.plan.clients.iter().map(|client| Msn::new(client.msn));
    let ran: u64 = world
        .connections
        .iter()
        .zip(starts)
        .map(|(c, start)| u64::from(c.responder.msn().offset_from(start)))
        .sum();
    let again = counters.read_repeats - counters.reads_inside_messages - counters.repeats_returned;
    let wanted = asked as u64 + again;
    // Holes are filled, and READs made anew, for an engine that has crashed.
    let unread = gone && (asked as u64..wanted).contains(&ran);
    if ran != wanted && !unread && world.crashes == 0 {
        let text = || format!("servers ran {ran} messages, {wanted} were asked for");
        world.violations.record("O10", world.now, text);
    }
}

/// Nobody writes past the engine: no answer contradicts what it knows of a word.
fn judge_words(world: &mut World<'_>) {
    let contradicted = world.counters().words_contradicted;
    if contradicted > 0 {
        let text = || format!("{contradicted} words contradict what is known of them");
        world.violations.record("A6", world.now, text);
    }
}

fn judge_memory(world: &mut World<'_>) {
    if let Err(mismatch) = check(&world.initial, &world.log, &world.memory) {
        world.violations.record("memory", world.now, || mismatch.to_string());
    }
}

/// Each SEND used one receive buffer of its own server queue pair.
fn judge_receives(world: &mut World<'_>) {
    for (i, connection) in world.connections.iter().enumerate() {
        let uses = |asked: &&Asked| {
            matches!(asked.verb, Verb::Send { .. } | Verb::Write { immediate: Some(_), .. })
        };
        let wanted = connection.asked.iter().filter(uses).count() as u64;
        let used = connection.responder.stats().receives;
        let done = !connection.is_forsaken() && !connection.requester.is_dead();
        if used > wanted || (done && used != wanted) {
            let text = || format!("server queue pair {i}: {used} receives, {wanted} SENDs");
            world.violations.record("O2", world.now, text);
        }
    }
}

/// A packet's place among all that clients asked for: client, request, packet.
pub(super) type Mark = (u32, u32, u32);

/// Whose doing a WRITE or an atomic was.
fn mark(effect: &Effect) -> Option<Mark> {
    match &effect.access {
        Access::Write { data } => {
            let (client, number) = of_tag(tag_in(data))?;
            let index = data.get(16..24)?.try_into().ok().map(u64::from_le_bytes)?;
            Some((client, number, index as u32 - 1))
        }
        Access::CompareSwap { swap: tag, .. } | Access::FetchAdd { add: tag, .. } => {
            of_tag(*tag).map(|(client, number)| (client, number, 0))
        }
        Access::Read { .. } => None,
    }
}

/// Kind and key of requests that keep their order.
type Strand = (u8, u64);

/// What has an order of its own where requests are not fenced: a key's records, other WRITEs,
/// those with immediate data, and atomics. Their places may come to one server queue pair at
/// different times.
fn strand(effect: &Effect, verb: &Verb, words_are_keys: bool) -> Strand {
    match &effect.access {
        _ if matches!(verb, Verb::Write { immediate: Some(_), .. }) => (3, 0),
        Access::Write { data } if data.len() == CELL => {
            (0, data.first_chunk().map_or(0, |key| u64::from_le_bytes(*key)))
        }
        Access::Write { .. } => (1, 0),
        _ if words_are_keys => (2, effect.address),
        _ => (2, 0),
    }
}

/// Each WRITE packet and each atomic ran once, within the time of its request, after what its
/// client had asked for before, and an atomic found what the client was told.
fn judge_effects(world: &mut World<'_>) {
    let mut runs: BTreeMap<Mark, u64> = BTreeMap::new();
    let mut newest: BTreeMap<(u32, Option<(u32, Strand)>), Mark> = BTreeMap::new();
    let fenced = world.plan.policy.fenced;
    // An engine that goes on has not seen yet which hosts take what, and leaves requests at home.
    let at_home = world.plan.learning.is_some() && !world.plan.crashes.is_empty();
    let counters = world.counters();
    let moved = at_home || counters.hosts_closed > 0;
    let taken_over = counters.places_taken_over > 0;
    let effects: Vec<Effect> = replaced::effects(world).into_iter().map(Cow::into_owned).collect();
    for effect in &effects {
        if matches!(effect.access, Access::Read { .. }) {
            continue;
        }
        let asked = mark(effect).and_then(|(client, number, _)| {
            world.connections.get(client as usize)?.asked.get(number as usize)
        });
        let asked = asked.filter(|asked| !matches!(asked.op, Op::Bad(_)));
        let (Some(mark), Some(asked)) = (mark(effect), asked) else {
            world.violations.record("O8", effect.time, || format!("nobody asked for {effect:?}"));
            continue;
        };
        *runs.entry(mark).or_default() += 1;
        judge_effect(&mut world.violations, effect, asked, mark);
        let words = world.plan.policy.words_are_keys;
        let queue = (!fenced).then(|| (effect.server_qp, strand(effect, &asked.verb, words)));
        let last = newest.entry((mark.0, queue)).or_insert(mark);
        // Order is that of each key, and a place that moves may meet another one of the client. One
        // that is taken over has nothing on its way: order of a key stays at each of its hosts.
        let of_key = queue.is_some_and(|(_, (kind, _))| kind == 0);
        let comparable = fenced || !moved && (!taken_over || of_key);
        if *last > mark && comparable {
            let text = || format!("{mark:?} ran after {last:?} (client, request, packet)");
            world.violations.record("O4", effect.time, text);
        }
        *last = mark;
    }
    judge_counts(world, &runs);
    let ran = |mark: &Mark| runs.contains_key(mark);
    let gaps = hosts::judge_gaps(world, ran);
    world.violations.merge(&gaps);
}

fn judge_effect(
    violations: &mut crate::rc::Violations,
    effect: &Effect,
    asked: &Asked,
    mark: Mark,
) {
    let Some(end) = &asked.end else { return };
    let from = end.sent_at.unwrap_or(u64::MAX);
    // What its client has given up may run later.
    let late = effect.time > end.completed_at && end.status == Status::Success;
    if effect.time < from || late {
        let text = || format!("{mark:?} ran outside of {from}..={}", end.completed_at);
        violations.record("O3", effect.time, text);
    }
    if let (
        Access::CompareSwap { before, .. } | Access::FetchAdd { before, .. },
        Outcome::Atomic(told),
    ) = (&effect.access, &end.outcome)
        && told != before
    {
        let text = || format!("{mark:?} found {before:#x}, was told {told:#x}");
        violations.record("O3", effect.time, text);
    }
}

/// Packets of a verb that have an effect on memory.
pub(super) fn packets(verb: &Verb, pmtu: usize) -> Vec<u32> {
    match verb {
        Verb::Write { data, .. } => {
            (0..data.len()).step_by(pmtu).map(|at| (at / CELL) as u32).collect()
        }
        Verb::CompareSwap { .. } | Verb::FetchAdd { .. } => vec![0],
        Verb::Read { .. } | Verb::Send { .. } => Vec::new(),
    }
}

fn judge_counts(world: &mut World<'_>, runs: &BTreeMap<Mark, u64>) {
    for (mark, count) in runs.iter().filter(|(_, count)| **count > 1) {
        world.violations.record("O2", world.now, || format!("{mark:?} ran {count} times"));
    }
    for (client, connection) in (0..).zip(&world.connections) {
        let pmtu = world.plan.clients[client as usize].pmtu;
        for (number, asked) in (0..).zip(&connection.asked) {
            let done = asked.end.as_ref().is_some_and(|end| end.status == Status::Success);
            let missing = packets(&asked.verb, pmtu)
                .into_iter()
                .find(|part| !runs.contains_key(&(client, number, *part)));
            if let Some(part) = missing.filter(|_| done) {
                let text = || format!("{:?} never ran", (client, number, part));
                world.violations.record("O2", world.now, text);
            }
        }
    }
}

/// Every record of one key was written through one server queue pair.
fn judge_keys(world: &mut World<'_>) {
    // Of a server queue pair that hosts no more, keys move to another one, for good; when none is
    // left that may host, each client's requests go their own way.
    let counters = world.counters();
    let moved = counters.hosts_closed > 0;
    let declined = [DeclineReason::NoPlace, DeclineReason::KeyDeclined];
    let declined: u64 = declined.into_iter().map(|reason| counters.declined(reason)).sum();
    // A connection that is not translated yet has its requests on its own server queue pair.
    if declined + counters.alone > 0 || world.plan.learning.is_some() {
        return;
    }
    let hosts = world.plan.hosts();
    let mut left = BTreeSet::new();
    let mut queue_pairs: BTreeMap<(u16, u64), u32> = BTreeMap::new();
    for effect in world.log.effects() {
        let Some((client, number, 0)) = mark(effect) else { continue };
        let Some(planned) = world.plan.clients.get(client as usize) else { continue };
        let asked = world.connections[client as usize].asked.get(number as usize);
        let Some(Op::Write { key, at, immediate: false }) = asked.map(|asked| asked.op) else {
            continue;
        };
        if at.cells != 1 || world.plan.policy.key_map == Mapping::ByConnection {
            continue;
        }
        let found = effect.server_qp;
        if is_elsewhere(world, &hosts, client) {
            // No host takes its packets: they stay on its own server queue pair.
            // Once hosts are gone, one like it may have come to host.
            if found != world.plan.link(client).peer_qpn.value()
                && !(moved && is_like(world, client, found))
            {
                let text = || format!("key {key} of client {client} was written on {found:#x}");
                world.violations.record("I-X3", effect.time, text);
            }
            continue;
        }
        let expected = queue_pairs.entry((planned.domain, key)).or_insert(found);
        if moved && *expected != found && !left.contains(&(planned.domain, key, found)) {
            left.insert((planned.domain, key, *expected));
            *expected = found;
        }
        let expected = *expected;
        if expected != found {
            let text = || format!("key {key} was written on {expected:#x} and on {found:#x}");
            world.violations.record("I-X3", effect.time, text);
        }
    }
}

/// Each WRITE of more packets than may leave its client's own server queue pair ran there.
fn judge_long(world: &mut World<'_>) {
    for effect in world.log.effects() {
        let Some((client, number, _)) = mark(effect) else { continue };
        let Some(planned) = world.plan.clients.get(client as usize) else { continue };
        let asked = world.connections[client as usize].asked.get(number as usize);
        let Some(Verb::Write { data, .. }) = asked.map(|asked| &asked.verb) else { continue };
        let parts = data.len().div_ceil(planned.pmtu) as u32;
        let own = world.plan.link(client).peer_qpn.value();
        if parts > 1 && parts > world.plan.policy.message_packets_max && effect.server_qp != own {
            let found = effect.server_qp;
            let text = || format!("{parts} packets of client {client} were written on {found:#x}");
            world.violations.record("F32", effect.time, text);
        }
    }
}

/// Whether a client is in another partition than those who may host its requests, all of whom are
/// in one, or its packets have a tag and theirs have none.
fn is_elsewhere(world: &World<'_>, hosts: &[u32], client: u32) -> bool {
    let clients = &world.plan.clients;
    let Client { domain, partition_key, tag, .. } = clients[client as usize];
    let mut hosts = hosts.iter().map(|host| &clients[*host as usize]);
    hosts.any(|host| {
        let differs = host.partition_key != partition_key || host.tag.is_some() != tag.is_some();
        host.domain == domain && differs
    })
}

/// Whether the server queue pair with this number takes a client's packets as its own does.
fn is_like(world: &World<'_>, client: u32, server_qp: u32) -> bool {
    let clients = &world.plan.clients;
    let own = &clients[client as usize];
    (0..).zip(clients).any(|(i, other)| {
        world.plan.link(i).peer_qpn.value() == server_qp
            && other.domain == own.domain
            && other.partition_key == own.partition_key
            && other.tag.is_some() == own.tag.is_some()
    })
}

/// What a cell held, each content with the time from which it did.
type History = BTreeMap<u64, Vec<(u64, u64)>>;

fn history(world: &World<'_>) -> History {
    let mut history = History::new();
    for effect in world.log.effects() {
        let Access::Write { data } = &effect.access else { continue };
        for (i, cell) in data.chunks(CELL).enumerate() {
            let address = effect.address + (i * CELL) as u64;
            history.entry(address).or_default().push((effect.time, digest(cell)));
        }
    }
    history
}

/// Each cell of a READ was there at some time between its first packet and its completion.
fn judge_reads(world: &mut World<'_>) {
    let history = history(world);
    let empty = digest(&[0; CELL]);
    for (i, connection) in (0..).zip(&world.connections) {
        for (n, asked) in connection.asked.iter().enumerate() {
            let (Verb::Read { address, length, .. }, Some(end)) = (&asked.verb, &asked.end) else {
                continue;
            };
            let Outcome::Read(data) = &end.outcome else { continue };
            if data.len() != *length as usize {
                let text = || format!("client {i}, request {n}: {} of {length} bytes", data.len());
                world.violations.record("O3", world.now, text);
            }
            let (from, until) = (end.sent_at.unwrap_or(0), end.completed_at);
            let wrong = (0..).zip(data.chunks(CELL)).find(|(c, cell)| {
                let contents = history.get(&(address + c * CELL as u64));
                !was_held(contents.map_or(&[], Vec::as_slice), digest(cell), empty, from, until)
            });
            if let Some((c, cell)) = wrong {
                let whose = of_tag(tag_in(cell));
                let text = || format!("client {i}, request {n}: cell {c} is of {whose:?}");
                world.violations.record("O3", end.completed_at, text);
            }
        }
    }
}

fn was_held(contents: &[(u64, u64)], found: u64, empty: u64, from: u64, until: u64) -> bool {
    let starts = std::iter::once((0, empty)).chain(contents.iter().copied());
    let ends = contents.iter().map(|(time, _)| *time).chain([u64::MAX]);
    starts
        .zip(ends)
        .any(|((start, content), end)| content == found && start <= until && from <= end)
}

/// A READ sees what its own client wrote before it, if one client's requests keep their order.
fn judge_own_reads(world: &mut World<'_>, i: u32) {
    if !world.plan.policy.fenced {
        return;
    }
    let own = cell_address(first_cell(i))..cell_address(first_cell(i) + CELLS);
    let mut written: BTreeMap<u64, u32> = BTreeMap::new();
    for (number, asked) in (0..).zip(&world.connections[i as usize].asked) {
        match (&asked.verb, asked.end.as_ref().map(|end| &end.outcome)) {
            (Verb::Write { address, data, .. }, _) if own.contains(address) => {
                let cells = (*address..).step_by(CELL).take(data.len() / CELL);
                written.extend(cells.map(|address| (address, number)));
            }
            (Verb::Read { address, .. }, Some(Outcome::Read(data))) if own.contains(address) => {
                for (address, cell) in (*address..).step_by(CELL).zip(data.chunks(CELL)) {
                    let before = written.get(&address).copied();
                    let seen = of_tag(tag_in(cell)).map(|(_, number)| number);
                    if seen < before {
                        let text =
                            || format!("client {i}, READ {number} saw {seen:?}, wrote {before:?}");
                        world.violations.record("O4", world.now, text);
                    }
                }
            }
            _ => {}
        }
    }
}

/// A client whose own legs had no faults saw no NAK and sent nothing again.
fn judge_innocents(world: &mut World<'_>) {
    let plan = world.plan;
    // Where the engine is to crash, timeouts are short: nobody is looked at for them. A response
    // that cannot be held may be given up, and its client asks again though it lost nothing.
    if plan.holds_few() || !plan.innocents_notice_nothing || !plan.crashes.is_empty() {
        return;
    }
    for (i, connection) in (0..).zip(&world.connections) {
        let client = &plan.clients[i as usize];
        // As long as packets pass, nobody adds the acknowledgements that such a client waits for
        // without asking for them.
        let waits = !client.responses_acknowledge
            || client.honours_credits
            || client.ack_request != AckRequest::EveryMessage;
        let natively = plan.learning.is_some() && waits;
        // Its own server queue pair, or what it had asked of another's, came to an end.
        let ended = connection.responder.has_ended() || connection.requester.is_dead();
        let itself = client.offends() || connection.is_forsaken() || natively || ended;
        let mut legs = vec![Leg::ClientToBox, Leg::BoxToClient];
        if plan.learning.is_some() {
            // As long as packets pass, faults of the other legs are the client's own.
            legs.extend([Leg::BoxToServer, Leg::ServerToBox]);
        }
        if itself || legs.iter().any(|leg| plan.hits(*leg, i)) {
            continue;
        }
        let stats = connection.requester.stats();
        let naks = stats.sequence_naks + stats.implied_naks + stats.rnr_naks;
        if naks + stats.sent_again + stats.timeouts != 0 {
            let text = || format!("client {i} lost nothing: {stats:?}");
            world.violations.record("O6", world.now, text);
        }
    }
}
