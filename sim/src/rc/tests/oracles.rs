//! Wrong answers are told by the right rule.

use qpmux_engine::wire::{
    AethRepr, AtomicAckEthRepr, Extension, Msn, NakCode, Opcode, Psn, Qpn, Syndrome,
};

use super::*;
use crate::rc::{Packet, Violations, Wire};

pub(super) const ACK: Syndrome = Syndrome::Ack { credits: 31 };
const GAP: Syndrome = Syndrome::Nak(NakCode::PsnSequence);
pub(super) const ACCESS: Syndrome = Syndrome::Nak(NakCode::RemoteAccess);
pub(super) const START: u32 = 0xff_ffff;

/// An answer by hand: PSN from the start, opcode, syndrome, MSN, payload bytes or atomic value.
pub(super) struct Answer(
    pub(super) u32,
    pub(super) Opcode,
    pub(super) Syndrome,
    pub(super) u32,
    pub(super) usize,
);

impl Answer {
    pub(super) fn frame(&self, link: &Link) -> Vec<u8> {
        let Answer(psn, opcode, syndrome, msn, length) = *self;
        let aeth = AethRepr { syndrome, msn: Msn::new(msn) };
        let extension = match opcode {
            Opcode::AtomicAcknowledge => {
                Extension::AtomicAck(aeth, AtomicAckEthRepr { original: length as u64 })
            }
            Opcode::ReadResponseMiddle => Extension::None,
            _ => Extension::Aeth(aeth),
        };
        let read = opcode.is_read_response();
        let payload = vec![1; if read { length } else { 0 }];
        let psn = Psn::new(START).add(psn);
        frame(link, Packet { opcode, psn, ack_request: false, extension, payload: &payload })
    }
}

pub(super) fn frame(link: &Link, packet: Packet<'_>) -> Vec<u8> {
    link.frame(&packet).unwrap()
}

/// A requester that has sent the verbs, and the link of its server.
fn requester(wire: Wire, verbs: &[Verb]) -> (Requester, Link) {
    let (requester, _, link) = requester_and_audit(wire, verbs);
    (requester, link)
}

/// The same with a judge of its answers.
fn requester_and_audit(wire: Wire, verbs: &[Verb]) -> (Requester, AnswerAudit, Link) {
    let (mut config, server) = configs(START);
    config.link.wire = wire;
    let audit = AnswerAuditConfig::new(config.link.clone(), config.start_psn);
    let mut audit = AnswerAudit::new(audit);
    let mut requester = Requester::new(config);
    for verb in verbs {
        requester.post(verb.clone());
    }
    let mut out = [0; 5000];
    while let Some(length) = requester.poll_transmit(0, &mut out) {
        audit.observe_request(0, &out[..length]);
    }
    (requester, audit, server.link)
}

/// Gives the answers; exactly the rule `id` must be broken by the last of them, or none if empty,
/// for requester and judge alike, and `completed` verbs be complete.
fn expect(verbs: &[Verb], answers: &[Answer], id: &str, completed: usize) {
    let (mut requester, mut audit, link) = requester_and_audit(Wire::FAITHFUL, verbs);
    for (index, answer) in answers.iter().enumerate() {
        let text = || format!("{:?} to {verbs:?}", (answer.0, answer.1));
        assert!(requester.violations().is_empty(), "{}: {}", text(), requester.violations());
        requester.handle_frame(1, &answer.frame(&link));
        audit.observe_answer(1, &answer.frame(&link));
        if index + 1 == answers.len() {
            assert_only(requester.violations(), id);
            assert_only(audit.violations(), id);
        }
    }
    let done: Vec<_> = std::iter::from_fn(|| requester.poll_completion()).collect();
    let good = done.iter().filter(|c| c.status == crate::rc::Status::Success).count();
    assert_eq!(good, completed, "{id}: {done:?}");
}

pub(super) fn assert_only(violations: &Violations, id: &str) {
    let found: Vec<&str> = violations.iter().map(|(id, _)| id).collect();
    let expected: Vec<&str> = id.split_whitespace().collect();
    assert_eq!(found, expected, "{violations}");
}

use Opcode::{
    Acknowledge as Ack, AtomicAcknowledge as Atomic, ReadResponseFirst as First,
    ReadResponseLast as Last, ReadResponseMiddle as Middle, ReadResponseOnly as Only,
};

#[test]
fn right_answers_break_nothing() {
    let verbs = [write(0, 8, 1), read(0, 2500), add(0, 1), write(0, 2048, 1)];
    let answers = [
        Answer(0, Ack, ACK, 1, 0),
        Answer(1, First, ACK, 2, 1024),
        Answer(2, Middle, ACK, 2, 1024),
        Answer(3, Last, ACK, 2, 452),
        Answer(4, Atomic, ACK, 3, 7),
        Answer(5, Ack, ACK, 3, 0),
        Answer(6, Ack, ACK, 4, 0),
    ];
    expect(&verbs, &answers, "", 4);
}

#[test]
fn a_plain_ack_never_completes_a_read_or_an_atomic() {
    expect(&[swap(0, 1, 2)], &[Answer(0, Ack, ACK, 1, 0)], "I-C4", 0);
    expect(&[read(0, 8)], &[Answer(0, Ack, ACK, 1, 0)], "I-C4", 0);
    expect(&[read(0, 3000)], &[Answer(1, Ack, ACK, 1, 0)], "I-C4", 0);
    let done = [Answer(0, Atomic, ACK, 1, 3), Answer(0, Ack, ACK, 1, 0)];
    expect(&[add(0, 2)], &done, "I-C4", 1);
}

#[test]
fn msn_counts_messages() {
    let writes = [write(0, 8, 1), write(0, 2048, 1), write(8, 8, 1)];
    let back = [Answer(0, Ack, ACK, 3, 0), Answer(2, Ack, ACK, 2, 0)];
    expect(&writes, &back, "I-C15", 1);
    expect(&writes, &[Answer(0, Ack, ACK, 0, 0)], "I-C15", 0);
    expect(&writes, &[Answer(0, Ack, ACK, 4, 0)], "I-C15", 0);
    expect(&writes, &[Answer(0, Ack, ACK, 0xff_ffff, 0)], "I-C15", 0);
    expect(&writes, &[Answer(1, Ack, ACK, 1, 0)], "", 1);
    expect(&writes, &[Answer(2, Ack, ACK, 1, 0)], "I-C15", 0);
    expect(&writes, &[Answer(1, Ack, GAP, 2, 0)], "I-C15", 0);
    expect(&writes, &[Answer(2, Ack, ACCESS, 2, 0)], "I-C15", 0);
    expect(&writes, &[Answer(2, Ack, ACCESS, 1, 0)], "", 1);
    expect(&[read(0, 3000)], &[Answer(0, First, ACK, 0, 1024)], "I-C15", 0);
    expect(&[add(0, 1)], &[Answer(0, Atomic, ACK, 0, 0)], "I-C15", 0);
}

#[test]
fn answers_have_the_form_of_their_request() {
    let read_of = |length| [read(0, length)];
    expect(&[write(0, 8, 1)], &[Answer(0, Only, ACK, 1, 8)], "I-C7", 0);
    expect(&[write(0, 8, 1)], &[Answer(0, Atomic, ACK, 1, 8)], "I-C7", 0);
    expect(&[add(0, 8)], &[Answer(0, Only, ACK, 1, 8)], "I-C7", 0);
    expect(&read_of(8), &[Answer(0, Atomic, ACK, 1, 8)], "I-C7", 0);
    expect(&read_of(8), &[Answer(0, Only, ACK, 1, 7)], "I-C7", 0);
    expect(&read_of(8), &[Answer(0, Only, GAP, 0, 8)], "I-C7", 0);
    expect(&read_of(2500), &[Answer(0, Only, ACK, 1, 1024)], "I-C7", 0);
    expect(&read_of(2500), &[Answer(0, Middle, ACK, 1, 1024)], "I-C7", 0);
    expect(&read_of(2500), &[Answer(0, First, ACK, 1, 1023)], "I-C7", 0);
    let first = || Answer(0, First, ACK, 1, 1024);
    expect(&read_of(2500), &[first(), Answer(1, First, ACK, 1, 1024)], "I-C7", 0);
    expect(&read_of(2500), &[first(), Answer(1, Last, ACK, 1, 1024)], "I-C7", 0);
    expect(&read_of(2500), &[first(), Answer(2, Last, ACK, 1, 452)], "I-C1", 0);
}

#[test]
fn a_read_may_begin_again_only_where_it_was_asked_for() {
    let (mut requester, link) = requester(Wire::LOSSY, &[read(0, 2500)]);
    let give = |requester: &mut Requester, answer: Answer| {
        requester.handle_frame(1, &answer.frame(&link));
        requester.violations().count("I-C7")
    };
    assert_eq!(give(&mut requester, Answer(0, First, ACK, 1, 1024)), 0);
    assert_eq!(give(&mut requester, Answer(2, Last, ACK, 1, 452)), 0);
    assert!(requester.poll_transmit(2, &mut [0; 200]).is_some());
    assert_eq!(give(&mut requester, Answer(1, First, ACK, 1, 1024)), 0);
    assert_eq!(give(&mut requester, Answer(2, Only, ACK, 1, 452)), 1);
    assert_eq!(give(&mut requester, Answer(2, Last, ACK, 1, 452)), 1);
    assert!(requester.poll_completion().is_some());
}

#[test]
fn only_what_was_sent_is_answered() {
    expect(&[write(0, 8, 1)], &[Answer(1, Ack, ACK, 1, 0)], "I-C5", 0);
    expect(&[write(0, 8, 1)], &[Answer(5, Ack, ACK, 1, 0)], "I-C5", 0);
    expect(&[write(0, 8, 1)], &[Answer(0xff_ffff, Ack, ACK, 0, 0)], "I-C5", 0);
    expect(&[write(0, 8, 1)], &[Answer(1, Ack, GAP, 1, 0)], "I-C5", 0);
    let late = [Answer(0, Ack, ACK, 1, 0), Answer(0, Ack, ACK, 1, 0)];
    expect(&[write(0, 8, 1)], &late, "", 1);
}

#[test]
fn nothing_passes_over_an_unanswered_read_or_atomic() {
    let verbs = [write(0, 8, 1), add(0, 1), write(8, 8, 1), read(0, 8)];
    expect(&verbs, &[Answer(2, Ack, ACK, 3, 0)], "I-C2", 1);
    expect(&verbs, &[Answer(3, Only, ACK, 4, 8)], "I-C2", 1);
    expect(&verbs, &[Answer(2, Ack, GAP, 2, 0)], "I-C3", 1);
    expect(&verbs, &[Answer(2, Ack, ACCESS, 2, 0)], "I-C3", 1);
    expect(&verbs, &[Answer(2, Ack, Syndrome::RnrNak { timer: 1 }, 2, 0)], "I-C3", 1);
    let twice = [Answer(0, Ack, GAP, 0, 0), Answer(0, Ack, GAP, 0, 0)];
    expect(&verbs, &twice, "I-C13", 0);
    expect(&verbs, &[Answer(0, Ack, Syndrome::Reserved(0x45), 1, 0)], "O9", 0);
}

#[test]
fn answers_keep_to_the_path() {
    let good = |psn| Answer(psn, Ack, ACK, psn + 1, 0);
    type Change = fn(&mut Link);
    let changes: [(Change, &str, usize); 5] = [
        (|link| link.path.source_port ^= 1, "A5", 2),
        (|link| link.migration_request = true, "A5", 2),
        (|link| link.partition_key = 0x8001, "A5", 1),
        (|link| link.path.source = Ipv4Addr::new(10, 0, 0, 8).into(), "A5", 1),
        (|link| link.peer_qpn = Qpn::new(0x99), "I-X1", 1),
    ];
    for (change, id, completed) in changes {
        let (mut requester, link) = requester(Wire::FAITHFUL, &[write(0, 8, 1), write(8, 8, 1)]);
        requester.handle_frame(1, &good(0).frame(&link));
        let mut other = link;
        change(&mut other);
        requester.handle_frame(1, &good(1).frame(&other));
        assert_only(requester.violations(), id);
        let done = std::iter::from_fn(|| requester.poll_completion()).count();
        assert_eq!(done, completed);
    }
    let (mut requester, link) = requester(Wire::FAITHFUL, &[write(0, 8, 1)]);
    let mut damaged = good(0).frame(&link);
    *damaged.last_mut().unwrap() ^= 1;
    requester.handle_frame(1, &damaged);
    assert_only(requester.violations(), "O9");
    let extension = Extension::Aeth(AethRepr { syndrome: ACK, msn: Msn::new(1) });
    let psn = Psn::new(START);
    let asking = Packet { opcode: Ack, psn, ack_request: true, extension, payload: &[] };
    requester.handle_frame(1, &frame(&link, asking));
    assert_only(requester.violations(), "A5 O9");
}

#[test]
fn the_judge_knows_changed_values_and_silent_acks() {
    let verbs = [write(0, 8, 1), add(0, 1)];
    let (_, mut audit, link) = requester_and_audit(Wire::FAITHFUL, &verbs);
    [5, 5].iter().for_each(|value| {
        audit.observe_answer(1, &Answer(1, Atomic, ACK, 2, *value).frame(&link));
    });
    assert_only(audit.violations(), "");
    audit.observe_answer(1, &Answer(1, Atomic, ACK, 2, 6).frame(&link));
    assert_only(audit.violations(), "I-C10");

    let (config, _) = configs(START);
    let config = AnswerAuditConfig::new(config.link, config.start_psn);
    let mut strict = AnswerAudit::new(AnswerAuditConfig { explicit_acks: true, ..config });
    let mut out = [0; 500];
    let mut client = Requester::new(configs(START).0);
    verbs.iter().for_each(|verb| {
        client.post(verb.clone());
    });
    while let Some(length) = client.poll_transmit(0, &mut out) {
        strict.observe_request(0, &out[..length]);
    }
    strict.observe_answer(1, &Answer(1, Atomic, ACK, 2, 5).frame(&link));
    assert_only(strict.violations(), "I-C6");
}
