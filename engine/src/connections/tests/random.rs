//! Random traffic: whatever happens to frames on the way, nothing is paired wrongly.

use proptest::prelude::*;

use super::*;

/// One frame's fate.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Seen,
    Hidden,
    Twice,
    /// Swapped with the next frame of the traffic.
    Late,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        12 => Just(Fate::Seen),
        1 => Just(Fate::Hidden),
        1 => Just(Fate::Twice),
        1 => Just(Fate::Late),
    ]
}

fn verb() -> impl Strategy<Value = Verb> {
    prop_oneof![Just(Verb::Write), Just(Verb::Read(64)), Just(Verb::Cas)]
}

/// A step of the traffic: which queue pair moves, what it sends, what happens to both frames.
type Step = (usize, Verb, Fate, Fate);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0_usize..8, verb(), fate(), fate()), 100..600)
}

/// Eight closed-loop clients that start at one PSN. A client whose turn it is sends if it has
/// nothing outstanding, and is answered if it has.
fn traffic(pairs: &mut [Pair], steps: &[Step]) -> Vec<Vec<u8>> {
    let mut outstanding = [None; 8];
    let mut frames: Vec<Vec<u8>> = Vec::new();
    let mut late: Option<Vec<u8>> = None;
    for &(who, verb, of_request, of_answer) in steps {
        let pair = &mut pairs[who];
        let (frame, fate) = match outstanding[who].take() {
            None => {
                outstanding[who] = Some(verb);
                (pair.request(pair.psn, verb), of_request)
            }
            Some(verb) => {
                let frame = pair.answer(pair.psn, verb);
                pair.psn = (pair.psn + 1) % Psn::MODULUS;
                (frame, of_answer)
            }
        };
        let before = late.take();
        match fate {
            Fate::Seen => frames.push(frame),
            Fate::Hidden => {}
            Fate::Twice => frames.extend([frame.clone(), frame]),
            Fate::Late => late = Some(frame),
        }
        frames.extend(before);
    }
    frames
}

fn pairs(start: u32, ports_fit: bool) -> Vec<Pair> {
    // Crossed numbers among them: client queue pairs 0x60..0x68, server ones the other way round.
    let pair = |i: u32| Pair::new(2, 0x60 + i, 0x67 - i, start);
    let all = (0..8).map(pair);
    match ports_fit {
        true => all.collect(),
        false => all.map(|pair| pair.with_ports([0xc001, 0xc001])).collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn never_wrong(steps in steps(), wraps: bool, ports: bool) {
        let start = if wraps { 0xff_fff0 } else { 0 };
        let mut pairs = pairs(start, ports);
        let frames = traffic(&mut pairs, &steps);
        let mut watch = Watch::new(small());
        for frame in &frames {
            watch.see(frame);
        }
        prop_assert_eq!(watch.wrong(&pairs), 0, "learnt {:?}", watch.learnt());
        // The same once more gives the same.
        let mut again = Watch::new(small());
        for frame in &frames {
            again.see(frame);
        }
        prop_assert_eq!(watch.events, again.events);
    }

    /// With all frames seen a single match by PSN is already right: the true requester is always
    /// among the candidates.
    #[test]
    fn seeing_all_one_match_is_enough(steps in steps(), start in any::<u32>()) {
        let mut pairs = pairs(start % Psn::MODULUS, false);
        let all_seen: Vec<Step> =
            steps.iter().map(|&(who, verb, ..)| (who, verb, Fate::Seen, Fate::Seen)).collect();
        let mut watch = Watch::by_psn(1);
        for frame in traffic(&mut pairs, &all_seen) {
            watch.see(&frame);
        }
        prop_assert_eq!(watch.wrong(&pairs), 0);
    }

    /// With ports that fit, every pair is found once it has had enough round trips.
    #[test]
    fn all_are_found_by_port(turns in prop::collection::vec(0_usize..8, 0..100)) {
        let mut pairs = pairs(3185, true);
        let turns = turns.into_iter().chain((0..8).chain(0..8));
        let mut watch = Watch::new(small());
        for who in turns {
            watch.round_trip(&mut pairs[who], Verb::Write);
        }
        prop_assert_eq!((watch.learnt().len(), watch.wrong(&pairs)), (8, 0));
    }

    /// Any frames in any order: no panic, and every table keeps its limit.
    #[test]
    fn anything_is_survived(frames in prop::collection::vec(
        (0_u8..4, 0_u32..6, 0_u32..6, any::<u32>(), verb(), any::<bool>(), 0_u64..2_000_000_000),
        1..300,
    )) {
        let config = Config {
            flows_max: 6,
            connections_max: 2,
            connection_idle_ns: 3_000_000_000,
            source_port_matches: 1,
            psn_matches: 1,
            epoch_requests: 1,
            ..Config::default()
        };
        let mut watch = Watch::new(config);
        for (host, client, server, psn, verb, is_request, pause_ns) in frames {
            watch.now_ns += pause_ns;
            let pair = Pair::new(host, client, server, 0);
            // Mostly close together, at times far away.
            let psn = if psn % 8 == 0 { psn % Psn::MODULUS } else { psn % 16 };
            watch.see(&if is_request { pair.request(psn, verb) } else { pair.answer(psn, verb) });
            let paired = watch.learner.connections().count();
            prop_assert!(paired <= 2);
            prop_assert!(2 * paired + watch.learner.unpaired_flows().count() <= 6);
        }
    }
}
