//! What losses, refusals and congestion do to operations.

use super::{Cluster, Conditions, ConnectionSetup, Happening, Op, Ps};
use crate::event::NS;
use crate::nic::Preset;
use crate::rc::{Outcome, Region, Status, Verb};

const RKEY: u32 = 7;
const BYTES: usize = 32_768;

/// Machine 0 and so many others, each with a queue pair to it and a thread.
fn star(others: usize, setup: &ConnectionSetup, loss: f64) -> (Cluster<u32, u32>, Vec<[u32; 2]>) {
    let params = Preset::load("connectx-5").unwrap().params;
    let mut cluster = Cluster::new(&vec![&params; others + 1], 1);
    cluster.set_conditions(&Conditions { loss, ..Conditions::default() });
    let region = Region::new(RKEY, 0, 1 << 24);
    let ends = (1..=others).map(|machine| {
        let pair = cluster.connect([machine, 0], setup, [&[], &[region]]);
        [cluster.add_thread(machine), pair]
    });
    let ends = ends.collect();
    (cluster, ends)
}

fn status<A>(op: &Op<A>) -> Status {
    op.completion.as_ref().unwrap().status
}

#[test]
fn nothing_is_lost_of_what_was_sent_again() {
    let setup = ConnectionSetup { timeout: 6, retries: 100, ..ConnectionSetup::default() };
    let (mut cluster, ends) = star(2, &setup, 0.01);
    // Each other machine fills its own half, one WRITE of several packets after the other, and
    // both count in the same word.
    let address = |asker: u32| 4_096 + u64::from(asker) * 3_000;
    let data = |asker: u32| vec![asker as u8 ^ 0x5a; 3_000];
    for asker in 0..1_000u32 {
        let [thread, pair] = ends[asker as usize % 2];
        let write = Verb::write(address(asker), RKEY, &data(asker));
        let add = Verb::FetchAdd { address: 8, rkey: RKEY, add: 1 };
        cluster.post(thread, pair, [(asker, write), (u32::MAX, add)]);
    }
    let (mut ended, mut seen) = (0, vec![false; 1_000]);
    while let Some(happening) = cluster.next() {
        if let Happening::Completed(op) = happening {
            assert_eq!(status(&op), Status::Success);
            ended += 1;
            if let Outcome::Atomic(original) = op.completion.unwrap().outcome {
                assert!(!std::mem::replace(&mut seen[original as usize], true), "added twice");
            }
        }
    }
    assert_eq!((ended, seen.iter().all(|seen| *seen)), (2_000, true));
    let counts = cluster.network_counts();
    assert!(counts.lost > 20 && counts.sent_again > counts.lost / 4, "{counts:?}");
    assert!(counts.sequence_naks > 0, "{counts:?}");
    assert_eq!(counts.sent, counts.passed + counts.lost);
    assert_eq!(cluster.memory(0).read_u64(8), 1_000);
    for asker in 0..1_000 {
        let byte = u64::from(data(asker)[0]) * 0x0101_0101_0101_0101;
        for offset in (0..3_000).step_by(8) {
            assert_eq!(cluster.memory(0).read_u64(address(asker) + offset), byte);
        }
    }
    assert!(cluster.violations().is_empty());
}

#[test]
fn who_has_no_receive_buffer_makes_the_sender_wait() {
    let latency = |receives, posted: Ps| {
        let setup = ConnectionSetup { receives, ..ConnectionSetup::default() };
        let (mut cluster, ends) = star(1, &setup, 0.0);
        let [thread, pair] = ends[0];
        let send = Verb::Send { data: vec![1; 8], immediate: None };
        cluster.post(thread, pair, [(0, send)]);
        cluster.at(posted, 0);
        let mut ended = None;
        while let Some(happening) = cluster.next() {
            match happening {
                Happening::Completed(op) => {
                    assert_eq!(status(&op), Status::Success);
                    ended = Some(cluster.now());
                }
                Happening::Arrived(..) => {}
                Happening::Due(_) => cluster.pairs[pair as usize ^ 1].responder.post_receives(1),
            }
        }
        assert!(cluster.violations().is_empty());
        (ended.unwrap(), cluster.network_counts().rnr_naks)
    };
    let (ready, none) = latency(None, 0);
    assert_eq!(none, 0);
    // The buffer comes after 25 us; the sender tries again every 10 us (code 1) and a round trip.
    let (late, refused) = latency(Some(0), 25_000 * NS);
    assert!((2..=3).contains(&refused), "{refused}");
    assert!(late >= ready + refused * 10_000 * NS, "{late} {ready}");
    assert!(late < 45_000 * NS, "{late}");
}

/// Bytes that each of two senders gets through one port with congestion control, while both send.
#[test]
fn two_senders_share_a_port_fairly() {
    let setup = ConnectionSetup { dcqcn: true, ..ConnectionSetup::default() };
    let (mut cluster, ends) = star(2, &setup, 0.0);
    let write = || Verb::write(0, RKEY, &[1; BYTES]);
    let end = 40_000_000 * NS;
    // The second one comes when the first has had the port alone.
    cluster.at(0, 0);
    cluster.at(2_000_000 * NS, 1);
    let mut done = [0.0f64; 2];
    while let Some(happening) = cluster.next() {
        let who = match happening {
            Happening::Due(who) => {
                let [thread, pair] = ends[who as usize];
                cluster.post(thread, pair, (0..3).map(|_| (who, write())));
                who
            }
            Happening::Completed(op) => op.asker,
            Happening::Arrived(..) => continue,
        };
        if cluster.now() > 4_000_000 * NS {
            done[who as usize] += 1.0;
        }
        if cluster.now() < end {
            let [thread, pair] = ends[who as usize];
            cluster.post(thread, pair, [(who, write())]);
        }
    }
    let jain = done.iter().sum::<f64>().powi(2) / (2.0 * done.iter().map(|n| n * n).sum::<f64>());
    let gbps = done.iter().sum::<f64>() * BYTES as f64 * 8.0 / 36e6;
    assert!(jain > 0.9, "{done:?}");
    assert!(gbps > 85.0, "{gbps}");
    assert!(cluster.violations().is_empty());
}

/// Answers slow down as well: READs from two servers meet at the one who asks.
#[test]
fn answers_are_held_back_too() {
    let queue = |dcqcn| {
        let setup = ConnectionSetup { dcqcn, ..ConnectionSetup::default() };
        let params = Preset::load("connectx-5").unwrap().params;
        let mut cluster: Cluster<u32, u32> = Cluster::new(&[&params; 5], 1);
        let region = Region::new(RKEY, 0, 1 << 24);
        let read = || Verb::Read { address: 0, rkey: RKEY, length: 16_384 };
        let mut ends = Vec::new();
        for server in 1..5 {
            let pair = cluster.connect([0, server], &setup, [&[], &[region]]);
            ends.push([cluster.add_thread(0), pair]);
        }
        for (who, &[thread, pair]) in (0..).zip(&ends) {
            cluster.post(thread, pair, (0..4).map(|_| (who, read())));
        }
        while let Some(happening) = cluster.next() {
            if let Happening::Completed(op) = happening
                && cluster.now() < 10_000_000 * NS
            {
                let [thread, pair] = ends[op.asker as usize];
                cluster.post(thread, pair, [(op.asker, read())]);
            }
        }
        cluster.network_counts().queue_mean_bytes()
    };
    assert!(queue(true) < 0.5 * queue(false));
}
