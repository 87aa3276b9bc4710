//! Evidence by sequence numbers alone.

use super::*;
use crate::connections::Evidence;

/// Ports that differ by direction and fit nothing.
const NO_PORTS: [u16; 2] = [0xc001, 0xc002];

/// Queue pairs of one client that all start at one PSN.
fn in_step(count: u32) -> Vec<Pair> {
    (0..count).map(|i| Pair::new(2, 0x100 + i, 0x200 + i, 3185).with_ports(NO_PORTS)).collect()
}

/// All request, then all are answered, `rounds` times; `hidden` frames are not seen.
fn rounds_in_step(
    watch: &mut Watch,
    pairs: &mut [Pair],
    rounds: u32,
    mut hidden: impl FnMut() -> bool,
) {
    for round in 0..rounds {
        let verb = if round % 2 == 0 { Verb::Write } else { Verb::Cas };
        for pair in pairs.iter() {
            if !hidden() {
                watch.see(&pair.request(pair.psn, verb));
            }
        }
        for pair in pairs.iter_mut() {
            if !hidden() {
                watch.see(&pair.answer(pair.psn, verb));
            }
            pair.psn = (pair.psn + 1) % Psn::MODULUS;
        }
    }
}

/// True once in `every` calls, the same for the same seed.
fn once_in(every: u64, seed: u64) -> impl FnMut() -> bool {
    let mut state = seed;
    move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33).is_multiple_of(every)
    }
}

#[test]
fn it_takes_the_configured_number_of_round_trips() {
    let mut watch = Watch::by_psn(8);
    let mut pair = in_step(1).remove(0);
    for trip in 1..=8 {
        assert_eq!(watch.learnt(), [], "before round trip {trip}");
        watch.round_trip(&mut pair, Verb::Write);
    }
    assert_eq!(watch.learnt(), [pair.names()]);
    let connection = watch.learner.connections().next().unwrap();
    assert_eq!((connection.evidence, connection.evidence.name()), (Evidence::Psn, "psn"));
    assert_eq!([connection.source_port_request, connection.source_port_response], NO_PORTS);
}

#[test]
fn queue_pairs_in_perfect_step_are_not_paired() {
    let mut watch = Watch::by_psn(1);
    let mut pairs = in_step(8);
    rounds_in_step(&mut watch, &mut pairs, 100, || false);
    assert_eq!(watch.learnt(), []);
    assert!(watch.learner.counters().psn_ambiguous > 0);
}

#[test]
fn they_are_once_they_fall_out_of_step() {
    let mut watch = Watch::by_psn(8);
    let mut pairs = in_step(8);
    rounds_in_step(&mut watch, &mut pairs, 10, || false);
    // Each waits for its own answer before the next one goes on.
    for _ in 0..20 {
        pairs.iter_mut().for_each(|pair| watch.round_trip(pair, Verb::Write));
    }
    assert_eq!((watch.learnt().len(), watch.wrong(&pairs)), (8, 0));
}

#[test]
fn different_kinds_tell_flows_apart() {
    let mut watch = Watch::by_psn(8);
    let mut pairs = in_step(3);
    let verbs = [Verb::Write, Verb::Read(64), Verb::Cas];
    for _ in 0..10 {
        for (pair, verb) in pairs.iter().zip(verbs) {
            watch.see(&pair.request(pair.psn, verb));
        }
        for (pair, verb) in pairs.iter_mut().zip(verbs).rev() {
            watch.see(&pair.answer(pair.psn, verb));
            pair.psn += 1;
        }
    }
    assert_eq!((watch.learnt().len(), watch.wrong(&pairs)), (3, 0));
}

/// Of `trials`, each with a number of queue pairs in perfect step and one frame hidden in
/// `every`: how many paired something wrongly.
fn misled(queue_pairs: u32, every: u64, psn_matches: u8, trials: u64) -> usize {
    let trial = |seed: &u64| {
        let mut watch = Watch::by_psn(psn_matches);
        let mut pairs = in_step(queue_pairs);
        rounds_in_step(&mut watch, &mut pairs, 2000, once_in(every, *seed));
        watch.wrong(&pairs) > 0
    };
    (0..trials).filter(trial).count()
}

#[test]
fn hidden_frames_mislead_few_matches_but_not_eight() {
    // Two queue pairs are the hardest: the more there are, the more of them have to be hidden.
    for (queue_pairs, every) in [(2, 2), (2, 5), (3, 3), (8, 2)] {
        let wrong = |psn_matches| misled(queue_pairs, every, psn_matches, 50);
        let what = std::format!("{queue_pairs} queue pairs, one frame in {every} hidden");
        assert!(wrong(1) > 10, "{what}: one match is a coincidence sooner or later");
        assert_eq!(wrong(Config::default().psn_matches), 0, "{what}");
    }
}

#[test]
fn what_was_under_way_at_the_start_is_one_match_at_most() {
    // B's requests 0..100 went by before we looked. A sends the same numbers just now, so B's
    // answers all seem to be A's.
    let mut watch = Watch::by_psn(2);
    let pairs = in_step(2);
    for i in 0..100 {
        watch.see(&pairs[0].request(3185 + i, Verb::Write));
    }
    for i in 0..100 {
        watch.see(&pairs[1].answer(3185 + i, Verb::Write));
    }
    assert_eq!(watch.learnt(), []);
    for i in 0..100 {
        watch.see(&pairs[0].answer(3185 + i, Verb::Write));
    }
    assert_eq!(watch.learnt(), []);
    assert!(watch.learner.counters().psn_conflicts > 0);
}

#[test]
fn one_requester_is_answered_by_one_flow_only() {
    // Two flows take turns in answering A; B's requests are hidden. One of them is A's, but which?
    let mut watch = Watch::by_psn(2);
    let pairs = in_step(2);
    for psn in 0..100 {
        watch.see(&pairs[0].request(psn, Verb::Write));
        watch.see(&pairs[psn as usize % 2].answer(psn, Verb::Write));
    }
    assert_eq!(watch.learnt(), []);
    assert!(watch.learner.counters().psn_conflicts > 10);
}

#[test]
fn an_answer_that_was_not_asked_for_is_a_counterexample() {
    let mut watch = Watch::by_psn(8);
    let mut pair = in_step(1).remove(0);
    (0..7).for_each(|_| watch.round_trip(&mut pair, Verb::Write));
    watch.see(&pair.answer(pair.psn + 3, Verb::Write));
    assert_eq!(watch.learner.counters().psn_contradictions, 1);
    pair.psn += 4;
    (0..7).for_each(|_| watch.round_trip(&mut pair, Verb::Write));
    assert_eq!(watch.learnt(), [], "seven before and seven after do not add up");
    watch.round_trip(&mut pair, Verb::Write);
    assert_eq!(watch.learnt(), [pair.names()]);
}

#[test]
fn the_psn_wraps() {
    let mut watch = Watch::by_psn(8);
    let mut pair = Pair { psn: 0xff_fffc, ..in_step(1)[0] };
    (0..8).for_each(|_| watch.round_trip(&mut pair, Verb::Write));
    assert_eq!(pair.psn, 4);
    assert_eq!(watch.learnt(), [pair.names()]);
}

#[test]
fn reads_take_several_psns() {
    let mut watch = Watch::by_psn(8);
    let mut pair = in_step(1).remove(0);
    for _ in 0..8 {
        watch.round_trip(&mut pair, Verb::Read(2500));
        // The rest of the response; with an MTU of 1,024 bytes the next request is 3 on.
        pair.psn += 2;
    }
    assert_eq!(watch.learnt(), [pair.names()]);
    assert_eq!(watch.learner.counters().psn_contradictions, 0);
}

#[test]
fn other_hosts_do_not_count() {
    // The same PSNs from two clients: each answers go to its own host only.
    let mut watch = Watch::by_psn(8);
    let mut pairs = in_step(2);
    pairs[1].client_ip = 3;
    rounds_in_step(&mut watch, &mut pairs, 10, || false);
    assert_eq!((watch.learnt().len(), watch.wrong(&pairs)), (2, 0));
}
