//! A wire that delivers everything: no rule at all may be broken then.

use super::*;
use crate::rc::{AckRequest, Status, Wire};

fn faithful(start_psn: u32) -> (RequesterConfig, ResponderConfig) {
    let (mut client, mut server) = configs(start_psn);
    client.link.wire = Wire::FAITHFUL;
    server.link.wire = Wire::FAITHFUL;
    server.require_ack_request = client.ack_request == AckRequest::EveryMessage;
    (client, server)
}

fn run(client: RequesterConfig, server: ResponderConfig, verbs: &[Verb]) -> u64 {
    let mut pair = Pair::new(client, server, |_, _| Fate::Deliver);
    for verb in verbs {
        pair.client.post(verb.clone());
    }
    pair.run(100_000);
    pair.assert_right(verbs);
    pair.assert_results(verbs, true);
    assert_eq!(pair.client.stats().sent_again, 0);
    pair.server.stats().sent
}

fn sizes() -> Vec<Verb> {
    let mut verbs = Vec::new();
    for pmtus in 0..4_usize {
        for length in (pmtus * 1024).saturating_sub(2)..pmtus * 1024 + 3 {
            verbs.push(write(3 + length as u64, length, length as u8));
            verbs.push(read(length as u64, length as u32));
            verbs.push(send(length));
            verbs.push(add(64, length as u64));
        }
    }
    verbs
}

#[test]
fn all_verbs_of_all_sizes_around_the_mtu() {
    for start in [0, 5, 0x7f_fff0, 0xff_fff0] {
        let (client, server) = faithful(start);
        run(client, server, &sizes());
    }
}

#[test]
fn swaps_return_the_word_before() {
    let word = 0x1122_3344_5566_7788;
    let mut verbs = vec![Verb::write(BASE, RKEY, &u64::to_le_bytes(word))];
    verbs.push(swap(0, word, 0xa1a2_a3a4_a5a6_a7a8));
    verbs.push(swap(0, word, 1));
    verbs.push(read(0, 8));
    let (client, server) = faithful(0);
    run(client, server, &verbs);
}

#[test]
fn a_window_smaller_than_a_message() {
    let (mut client, server) = faithful(0xff_fffe);
    client.window = 4;
    run(client, server, &[write(0, 20_000, 3), read(0, 20_000), send(9000), write(9, 1, 1)]);
}

#[test]
fn coalesced_and_swallowed_acks_leave_nothing_waiting() {
    let verbs: Vec<Verb> = (0..50).map(|n| write(n * 8, 8, n as u8)).collect();
    let mut mixed = verbs.clone();
    mixed.extend([add(8, 1), read(0, 3000)]);
    for swallow_acks in [false, true] {
        let (client, mut server) = faithful(77);
        (server.ack_every, server.swallow_acks) = (16, swallow_acks);
        assert!(run(client.clone(), server.clone(), &verbs) < 10);
        run(client, server, &mixed);
    }
}

#[test]
fn few_ack_requests_are_enough() {
    let verbs: Vec<Verb> = (0..300).map(|n| write(n * 8, 8, n as u8)).collect();
    for ack_request in [AckRequest::LastOfBatch, AckRequest::EveryPackets(64)] {
        let (mut client, mut server) = faithful(1);
        client.ack_request = ack_request;
        server.require_ack_request = false;
        run(client, server, &verbs);
    }
}

#[test]
fn explicit_acks_precede_responses_for_those_who_want_them() {
    let verbs = [write(0, 8, 1), read(0, 3000), write(8, 8, 1), add(0, 1), write(0, 4000, 1)];
    let (mut client, server) = faithful(1);
    client.responses_acknowledge = false;
    run(client.clone(), server.clone(), &verbs);

    let rude = ResponderConfig { swallow_acks: true, ack_every: 8, ..server };
    let mut pair = Pair::new(client, rude, |_, _| Fate::Deliver);
    verbs.iter().for_each(|verb| {
        pair.client.post(verb.clone());
    });
    pair.run(10_000);
    assert_eq!(pair.completions.len(), verbs.len());
    assert!(pair.client.violations().count("I-C6") > 0);
}

#[test]
fn depth_is_kept_and_exceeding_it_is_refused() {
    let verbs: Vec<Verb> = (0..40).map(|n| add(n % 3 * 8, n)).collect();
    let (mut client, mut server) = faithful(0);
    (client.max_rd_atomic, server.max_dest_rd_atomic) = (4, 4);
    run(client.clone(), server.clone(), &verbs);

    client.max_rd_atomic = 5;
    let mut pair = Pair::new(client, server, |_, _| Fate::Deliver);
    verbs.iter().for_each(|verb| {
        pair.client.post(verb.clone());
    });
    pair.run(10_000);
    assert_eq!(pair.server.violations().count("I-S7"), 1);
    assert_eq!(pair.completions[4].status, Status::RemoteInvalidRequest);
    assert_eq!(pair.completions[5].status, Status::Flushed);
}

#[test]
fn refusals_end_the_connection_at_the_right_verb() {
    let far = Verb::write(BASE + LENGTH - 4, RKEY, &[0; 8]);
    let key = Verb::write(BASE, RKEY + 1, &[0; 8]);
    let odd = add(4, 1);
    let cases = [
        (far, Status::RemoteAccess),
        (key, Status::RemoteAccess),
        (odd, Status::RemoteInvalidRequest),
        (read(LENGTH - 4, 5), Status::RemoteAccess),
    ];
    for (verb, status) in cases {
        let (client, server) = faithful(0);
        let mut pair = Pair::new(client, server, |_, _| Fate::Deliver);
        let verbs = [write(0, 8, 1), read(0, 8), verb, write(8, 8, 1)];
        verbs.iter().for_each(|verb| {
            pair.client.post(verb.clone());
        });
        pair.run(10_000);
        let found: Vec<Status> = pair.completions.iter().map(|c| c.status).collect();
        assert_eq!(found, [Status::Success, Status::Success, status, Status::Flushed]);
        assert_eq!(pair.server.violations().count("I-S6"), 1);
        assert!(pair.server.is_dead() && pair.client.violations().is_empty());
        assert_eq!(check(&pair.initial, &pair.log, &pair.memory), Ok(()));
    }
}

#[test]
fn an_empty_write_needs_no_key() {
    let (client, server) = faithful(0);
    run(client, server, &[Verb::write(0, 0, &[]), read(0, 0), write(0, 8, 1)]);
}

#[test]
fn receivers_that_are_not_ready_are_waited_for() {
    let (client, mut server) = faithful(0);
    (server.rnr_every, server.nak_during_rnr) = (3, false);
    server.link.wire = Wire::ANY;
    let verbs = sizes();
    let mut pair = Pair::new(client, server, |_, _| Fate::Deliver);
    verbs.iter().for_each(|verb| {
        pair.client.post(verb.clone());
    });
    pair.run(100_000);
    pair.assert_right(&verbs);
    pair.assert_results(&verbs, true);
    assert!(pair.client.stats().rnr_naks > 10);
}
