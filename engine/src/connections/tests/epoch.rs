//! Queue pair numbers that are used again.

use super::*;
use crate::connections::EndReason;

/// A pair that has been learnt.
fn known(psn: u32) -> (Watch, Pair) {
    let mut watch = Watch::new(small());
    let mut pair = Pair::new(2, 0x11, 0x12, psn);
    (0..2).for_each(|_| watch.round_trip(&mut pair, Verb::Write));
    assert_eq!(watch.learnt().len(), 1);
    watch.events.clear();
    (watch, pair)
}

fn endings(watch: &Watch) -> Vec<EndReason> {
    let ended = watch.events.iter().filter_map(|event| match event {
        Event::ConnectionEnded { reason, .. } => Some(*reason),
        Event::ConnectionLearnt(_) => None,
    });
    ended.collect()
}

#[test]
fn far_numbers_begin_a_new_epoch() {
    let (mut watch, mut pair) = known(100);
    pair.psn = 5_000_000;
    (0..2).for_each(|_| watch.round_trip(&mut pair, Verb::Write));
    assert_eq!(watch.events, [], "two may be strays");
    (0..3).for_each(|_| watch.round_trip(&mut pair, Verb::Write));
    assert_eq!(endings(&watch), [EndReason::NewEpoch]);
    assert_eq!(watch.learnt(), [pair.names()]);
    let connection = watch.learner.connections().next().unwrap();
    assert_eq!((connection.epoch, watch.learner.connections().count()), (1, 1));
}

#[test]
fn strays_do_not_if_the_connection_goes_on() {
    let (mut watch, mut pair) = known(100);
    let stray = Pair { psn: 5_000_000, ..pair };
    for i in 0..20 {
        watch.see(&stray.request(stray.psn + i, Verb::Write));
        watch.round_trip(&mut pair, Verb::Write);
    }
    assert_eq!(watch.events, []);
}

#[test]
fn retransmissions_and_wrapping_do_not() {
    let (mut watch, mut pair) = known(0xff_ff80);
    for _ in 0..40 {
        let start = pair.psn;
        for i in 0..64 {
            watch.see(&pair.request((start + i) % Psn::MODULUS, Verb::Write));
        }
        // All again, go-back-N.
        for _ in 0..64 {
            watch.round_trip(&mut pair, Verb::Write);
        }
    }
    assert_eq!(watch.events, []);
}

#[test]
fn large_reads_do_not() {
    let (mut watch, mut pair) = known(100);
    // Eight at a time, all asked for again from the first one on.
    for _ in 0..2 {
        for i in 0..8 {
            watch.see(&pair.request(pair.psn + 512 * i, Verb::Read(1 << 17)));
        }
    }
    assert_eq!(watch.events, []);
    for _ in 0..40 {
        // 1 MiB at an MTU of 256 bytes: 4,096 PSNs each.
        watch.round_trip(&mut pair, Verb::Read(1 << 20));
        pair.psn += 4095;
    }
    assert_eq!(watch.events, []);
}

#[test]
fn the_servers_number_with_another_client_is_another_connection() {
    let (mut watch, old) = known(100);
    // The port shows it, the PSNs are close.
    let mut new = Pair::new(2, 0x77, old.server_qpn, 110);
    assert_ne!(new.ports, old.ports);
    (0..6).for_each(|_| watch.round_trip(&mut new, Verb::Write));
    assert_eq!(endings(&watch), [EndReason::NewEpoch]);
    assert_eq!(watch.learnt(), [new.names()]);
}

#[test]
fn the_clients_number_with_another_server_queue_pair_is_another_connection() {
    let (mut watch, old) = known(100);
    let mut new = Pair::new(2, old.client_qpn, 0x99, 900_000);
    (0..8).for_each(|_| watch.round_trip(&mut new, Verb::Write));
    assert_eq!(endings(&watch), [EndReason::NewEpoch]);
    assert_eq!(watch.learnt(), [new.names()]);
}

#[test]
fn names_of_ended_connections_are_not_used_again() {
    let (mut watch, mut pair) = known(100);
    let old = *watch.learner.connections().next().unwrap();
    watch.learner.pin(old.id, true);
    assert!(watch.learner.connection(old.id).unwrap().pinned);
    pair.psn = 5_000_000;
    (0..8).for_each(|_| watch.round_trip(&mut pair, Verb::Write));
    let new = *watch.learner.connections().next().unwrap();
    assert_eq!(old.id.index(), new.id.index());
    assert_ne!(old.id, new.id);
    assert_eq!(watch.learner.connection(old.id), None);
    watch.learner.pin(old.id, true);
    assert!(!watch.learner.connection(new.id).unwrap().pinned);
}
