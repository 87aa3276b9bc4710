//! The short way to watch frames: that it ends as the long one does.

use proptest::prelude::*;

use super::*;
use crate::connections::Familiar;
use crate::wire::{Classified, Layout, icrc};

/// Watches frames on the short way, where there is one.
struct Short {
    watch: Watch,
    familiar: Familiar<u32>,
    taken: usize,
}

impl Short {
    fn new(config: Config) -> Self {
        Self { watch: Watch::new(config), familiar: Familiar::new(), taken: 0 }
    }

    fn see(&mut self, frame: &[u8]) {
        let now_ns = self.watch.now_ns + 1000;
        let known = self.familiar.observe(&mut self.watch.learner, now_ns, frame);
        if let Some((seen, is_request)) = known {
            *seen += 1;
            assert_eq!(layout_of(frame).map(|layout| layout.opcode.is_request()), Some(is_request));
            self.watch.now_ns = now_ns;
            self.taken += 1;
            return;
        }
        if let Some(layout) = good_layout_of(frame) {
            self.watch.see(frame);
            self.familiar.note(&self.watch.learner, &layout, frame);
        }
    }
}

fn layout_of(frame: &[u8]) -> Option<Layout> {
    match classify(frame) {
        Ok(Classified::Rc(layout)) => Some(layout),
        _ => None,
    }
}

fn good_layout_of(frame: &[u8]) -> Option<Layout> {
    layout_of(frame).filter(|layout| icrc::verify(frame, layout))
}

/// All that a learner knows of a flow that can be asked for, and all else.
fn assert_same(one: &Learner, other: &Learner) {
    assert_eq!(one.counters(), other.counters());
    assert!(one.connections().eq(other.connections()));
    assert!(one.unpaired_flows().eq(other.unpaired_flows()));
    for (one, other) in one.store.flows.iter().zip(&other.store.flows) {
        assert_eq!(std::format!("{one:?}"), std::format!("{other:?}"));
    }
}

fn verb() -> impl Strategy<Value = Verb> {
    prop_oneof![Just(Verb::Write), Just(Verb::Read(64)), Just(Verb::Read(5_000)), Just(Verb::Cas)]
}

#[derive(Clone, Debug)]
struct Sight {
    who: usize,
    verb: Verb,
    is_request: bool,
    /// Where its PSN is.
    leap: i32,
    damaged: Option<usize>,
    port: bool,
    nak: bool,
}

fn sights() -> impl Strategy<Value = Vec<Sight>> {
    let leap = prop_oneof![30 => Just(0), 4 => -3..3, 1 => -70_000..70_000];
    let damaged = prop_oneof![12 => Just(None), 1 => (0_usize..8 * 60).prop_map(Some)];
    let rare = || prop_oneof![30 => Just(false), 1 => Just(true)];
    let parts = (0_usize..5, verb(), any::<bool>(), leap, damaged, rare(), rare());
    let sight = parts.prop_map(|(who, verb, is_request, leap, damaged, port, nak)| Sight {
        who,
        verb,
        is_request,
        leap,
        damaged,
        port,
        nak,
    });
    prop::collection::vec(sight, 1..400)
}

/// Requests and answers of five connections, two of which have the other's queue pairs.
fn frames(sights: &[Sight]) -> Vec<Vec<u8>> {
    let mut pairs: Vec<Pair> = (0..4).map(|i| Pair::new(2, 0x60 + i, 0x67 - i, 100)).collect();
    pairs.push(Pair::new(2, 0x60, 0x66, 500_000));
    let frame = |sight: &Sight| {
        let pair = &mut pairs[sight.who];
        pair.psn = pair.psn.wrapping_add(u32::from(sight.is_request)) % Psn::MODULUS;
        let psn = Psn::new(pair.psn.wrapping_add_signed(sight.leap)).value();
        let pair = if sight.port { pair.with_ports([0xc00f, 0xc00e]) } else { *pair };
        let mut frame = match sight.is_request {
            true => pair.request(psn, sight.verb),
            false if sight.nak => nak(&pair, psn),
            false => pair.answer(psn, sight.verb),
        };
        if let Some(bit) = sight.damaged {
            let at = bit / 8 % frame.len();
            frame[at] ^= 1 << (bit % 8);
        }
        frame
    };
    sights.iter().map(frame).collect()
}

fn nak(pair: &Pair, psn: u32) -> Vec<u8> {
    let syndrome = Syndrome::RnrNak { timer: 1 };
    let aeth = Extension::Aeth(AethRepr { syndrome, msn: Msn::new(1) });
    frame(pair.path(false), Opcode::Acknowledge, pair.client_qpn, psn, &aeth, &[])
}

proptest! {
    #[test]
    fn the_short_way_ends_as_the_long_one(sights in sights(), tight in any::<bool>()) {
        let config = match tight {
            true => Config { flows_max: 7, connections_max: 2, epoch_requests: 2, ..small() },
            false => small(),
        };
        let mut long = Watch::new(config);
        let mut short = Short::new(config);
        for frame in frames(&sights) {
            if good_layout_of(&frame).is_some() {
                long.see(&frame);
            }
            short.see(&frame);
            prop_assert_eq!(long.learner.counters(), short.watch.learner.counters());
            prop_assert_eq!(&long.events, &short.watch.events);
        }
        assert_same(&long.learner, &short.watch.learner);
    }
}

#[test]
fn what_is_known_takes_the_short_way() {
    let mut pair = Pair::new(2, 0x61, 0x62, 7);
    let mut short = Short::new(small());
    for _ in 0..100 {
        for verb in [Verb::Write, Verb::Read(64), Verb::Cas] {
            short.see(&pair.request(pair.psn, verb));
            short.see(&pair.answer(pair.psn, verb));
            pair.psn += 1;
        }
    }
    assert_eq!(short.watch.learnt(), [pair.names()]);
    assert!(short.taken > 580, "{} of 600", short.taken);
}
