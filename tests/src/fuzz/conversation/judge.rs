//! Whether everything was done once, in order, and told as it was.

use std::collections::BTreeMap;

use qpmux_engine::policy::Order;
use qpmux_sim::memory::{Access, Effect, Memory, check};
use qpmux_sim::rc::{Outcome, Status, Verb, Violations};

use super::plan::{CELL, PATH_MTU, of_tag};
use super::{Asked, Conversation, Ends};

/// A packet's place among all that clients asked for: client, request, packet.
type Mark = (usize, usize, u8);

/// Looks at a conversation that is over. `done`: everybody came to rest.
pub(super) fn judge(talk: &Conversation<'_>, done: bool) {
    if talk.plan.hostile {
        return;
    }
    for (client, ends) in talk.ends.iter().enumerate() {
        judge_packets(talk, client, ends);
    }
    if let Err(mismatch) = check(&Memory::new(), &talk.log, &talk.memory) {
        panic!("memory: {mismatch}");
    }
    let runs = judge_effects(talk);
    if talk.ends.iter().any(|ends| is_half_said(ends) || ends.responder.is_dead()) {
        // Guests of that server queue pair wait for the rest of the message, or are lost with it.
        return;
    }
    assert!(done, "not everybody comes to rest: {:?}", talk.host.counters());
    for (client, ends) in talk.ends.iter().enumerate() {
        judge_ends(talk, client, ends, &runs);
    }
    if talk.ends.iter().all(|ends| !ends.gone && ends.asked.iter().all(|asked| asked.good)) {
        assert_eq!(talk.host.open(), (0, 0, 0), "buffers, requests and bound requests at rest");
    }
}

/// A client went away with a message of several packets outstanding.
fn is_half_said(ends: &Ends) -> bool {
    let is_long = |verb: &Verb| match verb {
        Verb::Write { data, .. } | Verb::Send { data, .. } => data.len() > PATH_MTU,
        _ => false,
    };
    ends.gone && ends.asked.iter().any(|asked| asked.end.is_none() && is_long(&asked.verb))
}

/// The rules of transport. What passes untouched is between the two ends alone.
fn judge_packets(talk: &Conversation<'_>, client: usize, ends: &Ends) {
    let mut broken = ends.requester.violations().clone();
    broken.merge(ends.responder.violations());
    if !talk.plan.learns {
        broken.merge(ends.requests.violations());
        broken.merge(ends.answers.violations());
    }
    let refused = ends.asked.iter().any(|asked| !asked.good);
    let mut left = Violations::new();
    for (rule, violation) in broken.iter().filter(|(rule, _)| !(refused && *rule == "I-S6")) {
        left.record(rule, violation.first_time, || violation.first.clone());
    }
    assert!(left.is_empty(), "connection {client}: {left}");
}

/// The tag in a cell.
fn tag_in(cell: &[u8]) -> u64 {
    cell.last_chunk().map_or(0, |tag| u64::from_le_bytes(*tag))
}

/// Whose doing a WRITE or an atomic was.
fn mark(effect: &Effect) -> Option<Mark> {
    let (tag, index) = match &effect.access {
        Access::Write { data } => {
            let cell: &[u8; CELL] = data.first_chunk()?;
            (tag_in(cell), cell[1])
        }
        Access::CompareSwap { swap: tag, .. } | Access::FetchAdd { add: tag, .. } => (*tag, 0),
        Access::Read { .. } => return None,
    };
    of_tag(tag).map(|(client, number)| (client, number, index))
}

/// Kind and key of requests that keep their order.
type Strand = (u8, Option<u8>);

/// What has an order of its own where requests are not fenced: a key's records, other WRITEs,
/// those with immediate data, fetch-and-adds, and the compare-and-swaps that follow a record of
/// one key: they belong to it. Their places may come to one server queue pair at different times.
fn strand(asked: &[Asked], number: usize) -> Strand {
    match &asked[number].verb {
        Verb::Write { immediate: Some(_), .. } => (3, None),
        verb @ Verb::Write { .. } => match key_of(verb) {
            Some(key) => (0, Some(key)),
            None => (1, None),
        },
        Verb::FetchAdd { .. } => (4, None),
        _ => (2, asked[..number].iter().rev().find_map(|before| key_of(&before.verb))),
    }
}

/// The key of a record.
fn key_of(verb: &Verb) -> Option<u8> {
    match verb {
        Verb::Write { data, immediate: None, .. } if data.len() == CELL => data.first().copied(),
        _ => None,
    }
}

/// Each WRITE packet and each atomic ran at most once, after what its client had asked for
/// before, and an atomic found what the client was told. What ran.
fn judge_effects(talk: &Conversation<'_>) -> BTreeMap<Mark, u32> {
    let mut runs = BTreeMap::new();
    let mut newest: BTreeMap<(usize, Option<(u32, Strand)>), Mark> = BTreeMap::new();
    let fenced = talk.plan.policy.order == Order::Fenced;
    for effect in talk.log.effects() {
        if matches!(&effect.access, Access::Write { data } if data.is_empty()) {
            continue;
        }
        let Some(mark) = mark(effect) else { continue };
        let all = talk.ends.get(mark.0).map_or(&[][..], |ends| &ends.asked);
        let asked = all.get(mark.1).unwrap_or_else(|| panic!("nobody asked for {effect:?}"));
        let count = runs.entry(mark).or_insert(0);
        *count += 1;
        assert_eq!(*count, 1, "{mark:?} ran again");
        let queue = (!fenced).then(|| (effect.server_qp, strand(all, mark.1)));
        let last = newest.insert((mark.0, queue), mark);
        assert!(
            last < Some(mark),
            "{mark:?} ran after {last:?} (client, request, packet): {:?}",
            asked.verb
        );
        if let (
            Access::CompareSwap { before, .. } | Access::FetchAdd { before, .. },
            Some(Outcome::Atomic(told)),
        ) = (&effect.access, asked.end.as_ref().map(|end| &end.outcome))
        {
            assert_eq!(before, told, "{mark:?} found the first, and was told the other");
        }
    }
    runs
}

/// Everything that a client asked for is done, up to what its server refused.
fn judge_ends(talk: &Conversation<'_>, client: usize, ends: &Ends, runs: &BTreeMap<Mark, u32>) {
    for (number, asked) in ends.asked.iter().enumerate() {
        let status = asked.end.as_ref().map(|end| end.status);
        if !asked.good {
            assert!(ends.gone || status.is_some(), "client {client}, {number}: {status:?}");
            return;
        }
        if ends.gone && status.is_none() {
            return;
        }
        assert_eq!(status, Some(Status::Success), "client {client}, request {number}");
        if let Verb::Write { data, .. } = &asked.verb {
            for at in (0..data.len()).step_by(PATH_MTU) {
                let mark = (client, number, (at / CELL) as u8);
                assert!(runs.contains_key(&mark), "{mark:?} never ran");
            }
        }
        let found = asked.end.as_ref().map(|end| &end.outcome);
        if let (Some(expected), Some(Outcome::Read(found))) = (&asked.expected, found)
            && talk.plan.policy.order == Order::Fenced
        {
            // A READ that is repeated may see what its client wrote later.
            let newest =
                |bytes: &[u8]| -> Vec<u64> { bytes.chunks_exact(CELL).map(tag_in).collect() };
            let (seen, written) = (newest(found), newest(expected));
            let old = seen.iter().zip(&written).any(|(seen, written)| seen < written);
            assert!(!old, "client {client}, request {number} read {seen:x?}, wrote {written:x?}");
            assert_eq!(found.len(), expected.len(), "client {client}, request {number}");
        }
    }
}
