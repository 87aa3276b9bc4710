//! Many threads on few keys, in thousands of orders: no update is lost, whatever slots are reused.

use std::collections::BTreeMap;

use rand::RngExt;

use super::super::{
    CloverConfig, Content, Entry, FinishedHow, Message, Peer, Pointer, Request, Variant, Verb,
};
use super::{Outcome, Rig, config};

const KEYS: u64 = 3;

/// Opens the keys, then keeps all workers busy until each has done `each` operations.
fn run(config: CloverConfig, seed: u64, each: usize, updates: f64) -> Rig {
    let mut rig = Rig::new(config, seed);
    for key in 1..=KEYS {
        assert_eq!(rig.alone(0, 0, Request::Insert { key }).how, FinishedHow::Done);
    }
    let workers = rig.config.workers;
    let mut left: BTreeMap<(usize, u16), usize> =
        (0..rig.machines.len()).flat_map(|m| (0..workers).map(move |w| ((m, w), each))).collect();
    loop {
        for ((machine, worker), left) in &mut left {
            while *left > 0 && rig.machines[*machine].idle(*worker) > 0 {
                let key = rig.rng.random_range(1..=KEYS);
                let update = rig.rng.random::<f64>() < updates;
                let request = if update { Request::Update { key } } else { Request::Read { key } };
                assert!(rig.machines[*machine].submit(*worker, request));
                *left -= 1;
            }
        }
        if !rig.step() {
            break;
        }
    }
    assert!(left.values().all(|left| *left == 0) && rig.machines.iter().all(|m| m.is_idle()));
    rig
}

/// Follows the log: each append must be at the tail of its key's list. Returns appends and tails by
/// key.
fn audit(rig: &Rig) -> (usize, BTreeMap<u64, u64>) {
    let mut key_of: BTreeMap<u64, u64> = BTreeMap::new();
    let mut tails = BTreeMap::new();
    let mut appends = 0;
    for (_, peer, verb, outcome) in &rig.log {
        match (verb, outcome) {
            (Verb::Write { address, data, .. }, _) if data.len() == rig.config.class().bytes() => {
                let key = u64::from_le_bytes(*data[8..].first_chunk().unwrap());
                assert!(!tails.values().any(|tail| tail == address), "a live slot is reused");
                key_of.insert(*address, key);
            }
            (Verb::Send { data }, _) if *peer == Peer::Metadata => {
                if let Some(Message {
                    content: Content::Entry { request: 1, key, pointer, .. },
                    ..
                }) = Message::parse(data)
                {
                    tails.insert(key, rig.slot(pointer.named().unwrap()));
                }
            }
            (Verb::CompareSwap { address, compare, swap, .. }, Outcome::Atomic(before))
                if before == compare =>
            {
                let key = key_of[address];
                let next = rig.slot(Pointer(*swap).next().unwrap());
                assert_eq!(tails.insert(key, next), Some(*address), "an append off the tail");
                assert_eq!(key_of[&next], key, "an append to another key");
                appends += 1;
            }
            _ => {}
        }
    }
    (appends, tails)
}

fn updates_done(rig: &Rig) -> usize {
    let done = rig.finished.iter().filter(|f| f.how == FinishedHow::Done);
    done.filter(|f| matches!(f.request, Request::Update { .. })).count()
}

#[test]
fn every_update_is_in_its_list_exactly_once() {
    let mut lost = 0;
    for seed in 0..20 {
        let machines = 1 + (seed % 3) as u16;
        let mut config = config(Variant::Fork, machines, 4);
        config.coroutines = seed % 2 == 1;
        let mut rig = run(config, seed, 30, 0.5);
        assert!(rig.finished.iter().all(|f| f.how == FinishedHow::Done));
        let (appends, tails) = audit(&rig);
        assert_eq!(appends, updates_done(&rig));
        rig.metadata.handle_timeout(u64::MAX);
        assert_eq!(rig.metadata.stats().recycled, appends as u64, "each superseded slot once");
        let first = |key: u32| Entry { slot: 0x8f481 + 8 * (key - 1), version: 1 };
        let lists: Vec<Vec<Entry>> = (1..=KEYS as u32).map(|key| rig.list(first(key))).collect();
        assert_eq!(lists.iter().map(|list| list.len() - 1).sum::<usize>(), appends);
        for (key, list) in (1..).zip(&lists) {
            assert_eq!(rig.slot(*list.last().unwrap()), tails[&key]);
            let shortcut = rig.word(rig.config.layout.shortcut(127 + key as u32));
            assert!(list.contains(&Pointer(shortcut).named().unwrap()));
        }
        lost += rig.machines.iter().map(|m| m.stats().commits_lost).sum::<u64>();
    }
    assert!(lost > 100, "there was contention: {lost}");
}

#[test]
fn recycled_slots_come_back_with_the_next_version() {
    for seed in 0..4 {
        let mut config = config(Variant::Fork, 2, 2);
        config.slots_max = Some(160);
        let rig = run(config, seed, 400, 0.7);
        assert!(rig.finished.iter().all(|f| f.how == FinishedHow::Done));
        assert_eq!(audit(&rig).0, updates_done(&rig));
        let second_use = |(.., verb, _): &(_, _, Verb, _)| {
            matches!(verb, Verb::CompareSwap { compare: 0x1000, .. })
        };
        assert!(rig.log.iter().any(second_use));
        assert!(rig.metadata.stats().recycled > 500);
        assert!(rig.metadata.stats().queries > 0, "a stale tail was recycled under its reader");
    }
}

#[test]
fn versions_begin_again_with_an_epoch() {
    let mut config = config(Variant::Fork, 2, 2);
    config.slots_max = Some(160);
    config.epoch_slots = 40;
    let rig = run(config, 9, 13_000, 1.0);
    assert!(rig.finished.iter().all(|f| f.how == FinishedHow::Done));
    assert_eq!(audit(&rig).0, updates_done(&rig));
    assert!(rig.metadata.stats().epochs > 0);
    let swaps = rig.log.iter().filter_map(|(.., verb, _)| match verb {
        Verb::CompareSwap { compare, .. } => Some(Pointer(*compare).version()),
        _ => None,
    });
    let versions: Vec<u8> = swaps.collect();
    assert_eq!(versions.iter().max(), Some(&254));
    let last = versions.iter().rposition(|version| *version == 254).unwrap();
    assert!(versions[..last].contains(&1) && versions.contains(&2));
}

#[test]
fn no_slots_left_ends_an_update() {
    let mut config = config(Variant::Fork, 1, 1);
    config.slots_max = Some(20);
    config.recycle_delay_ns = u64::MAX;
    let rig = run(config, 1, 30, 1.0);
    let no_space = rig.finished.iter().filter(|f| f.how == FinishedHow::NoSpace).count();
    // Three keys took a slot each.
    assert_eq!(updates_done(&rig), 17);
    assert_eq!(no_space, 13);
}

#[test]
fn upstream_threads_share_eight_lanes() {
    let config = config(Variant::Upstream, 1, 12);
    assert_eq!((config.lanes(), config.epoch_lane()), (8, 5));
    let lanes: Vec<u16> = (0..12).map(|worker| config.worker_lane(worker)).collect();
    assert_eq!(lanes, [1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4]);
    let rig = run(config, 5, 20, 0.5);
    assert!(rig.finished.iter().all(|f| f.how == FinishedHow::Done));
}
