//! Small runs, all of them: every short sequence of requests of two clients, with every single
//! fault, and with every pair of faults.
//!
//! Sequence numbers, message numbers and habits are not multiplied with that, they take turns.

use super::campaign::{Failed, Unit};
use super::choices::{Choices, Mapping};
use super::plan::{Client, Plan, Server};
use super::run::{Bad, Good, execute};
use super::workload::{Op, Span};
use crate::faults::{Fault, What};
use crate::memory::{DIGEST_START, digest_more};

/// How many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// Up to two requests with all faults and pairs of faults, and a part of those of three with
    /// single faults.
    Quick,
    /// Up to four requests with all single faults, up to three with all pairs.
    Full,
}

/// Of the sequences of three requests, quick takes every so many-th.
const QUICK_SHARE: usize = 8;
/// How late a packet is, or comes again: behind everything that was sent with it, before any
/// timer, ns.
const LATE: u64 = 20_000;
const FAULTS: [What; 3] = [What::Drop, What::Double, What::Delay];

/// Two clients' requests, as letters of an alphabet.
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    /// Two keys on two server queue pairs; else one on one.
    two: bool,
    letters: [Vec<u8>; 2],
    pairs: bool,
    turn: usize,
}

/// One letter more with two keys.
fn alphabet(two: bool) -> u8 {
    if two { 8 } else { 7 }
}

pub(super) fn op(letter: u8, own: bool) -> Op {
    let record = |key| Op::Write { key, at: Span::default(), immediate: false };
    let cells = |cells| Span { cells, ..Span::default() };
    match letter {
        0 => record(0),
        // A client's own key is on its own server queue pair, so that clients are alike.
        7 => record(1),
        1 => Op::Write { key: 0, at: cells(5), immediate: false },
        2 => Op::Read { at: cells(1) },
        3 => Op::Read { at: cells(9) },
        4 => Op::CompareSwap { word: None, fails: false },
        5 => Op::CompareSwap { word: None, fails: true },
        _ if own => Op::FetchAdd { word: None },
        _ => Op::FetchAdd { word: Some(0) },
    }
}

/// All words of a length.
pub(super) fn words(alphabet: u8, length: u32) -> Vec<Vec<u8>> {
    let count = u32::from(alphabet).pow(length);
    let word = |mut number: u32| {
        let mut letter = || {
            let letter = number % u32::from(alphabet);
            number /= u32::from(alphabet);
            letter as u8
        };
        (0..length).map(|_| letter()).collect()
    };
    (0..count).map(word).collect()
}

/// The same requests seen from the other client: keys change places.
fn mirrored(letters: &[u8]) -> Vec<u8> {
    let swap = |letter: &u8| match letter {
        0 => 7,
        7 => 0,
        other => *other,
    };
    letters.iter().map(swap).collect()
}

/// All sequences of a size. With two keys clients are alike, but for the names of the keys: of two
/// sequences that are each other's mirror image, one is taken. With one key they are not: one owns
/// the server queue pair.
pub(super) fn sequences(size: Size) -> Vec<Sequence> {
    let (most, most_pairs) = match size {
        Size::Quick => (3, 2),
        Size::Full => (4, 3),
    };
    let mut all = Vec::new();
    for two in [false, true] {
        for (length, first) in (1..=most).flat_map(|n| (0..=n).map(move |first| (n, first))) {
            for one in words(alphabet(two), first) {
                for other in words(alphabet(two), length - first) {
                    let image = (mirrored(&other), mirrored(&one));
                    if two && (&image.0, &image.1) < (&one, &other) {
                        continue;
                    }
                    let (letters, turn) = ([one.clone(), other], all.len());
                    let pairs = length <= most_pairs;
                    all.push(Sequence { two, letters, pairs, turn });
                }
            }
        }
    }
    let kept = |s: &Sequence| size == Size::Full || s.pairs || s.turn.is_multiple_of(QUICK_SHARE);
    all.retain(kept);
    all
}

/// All sequences with so many requests of each client.
pub(super) fn of_lengths(lengths: &[(u32, u32)]) -> Vec<Sequence> {
    let mut all = Vec::new();
    for two in [false, true] {
        for (first, second) in lengths {
            for one in words(alphabet(two), *first) {
                for other in words(alphabet(two), *second) {
                    let (letters, turn) = ([one.clone(), other], all.len());
                    all.push(Sequence { two, letters, pairs: false, turn });
                }
            }
        }
    }
    all
}

impl Sequence {
    pub(super) fn name(&self) -> String {
        format!("schedule {:?} on {}", self.letters, if self.two { "two" } else { "one" })
    }

    pub(super) fn plan(&self) -> Plan {
        let turn = self.turn;
        let take = |choices: &[u32], slow: usize| choices[(turn / slow) % choices.len()];
        let server = Server { depth: 2 + turn % 3, ..Server::default() };
        let server = if turn.is_multiple_of(2) { server.like_rxe() } else { server };
        let server = Server { ack_every: take(&[1, 1, 3], 5), ..server };
        let client = |letters: &Vec<u8>| Client {
            psn: take(&[0, 0xff_fffe, 0x7f_ffff], 1),
            msn: take(&[0xff_fffe, 0, 0x7f_ffff], 3),
            responses_acknowledge: take(&[0, 1], 2) == 0,
            restart_reads: take(&[0, 1], 7) == 1,
            depth: 2,
            operations: letters.iter().map(|letter| op(*letter, turn.is_multiple_of(2))).collect(),
            server: server.clone(),
            ..Client::default()
        };
        Plan {
            policy: Choices {
                server_qps: if self.two { 2 } else { 1 },
                fenced: turn % 4 < 2,
                // There, messages of several packets leave their own server queue pair as well.
                key_map: match take(&[0, 0, 1], 5) {
                    0 => Mapping::Modulo,
                    _ => Mapping::ByConnection,
                },
                message_packets_max: take(&[4, 1], 3),
                ..Choices::default()
            },
            // A message that its client's losses cut in two may keep others waiting.
            innocents_notice_nothing: !self.letters.iter().flatten().any(|letter| *letter == 1),
            clients: self.letters.iter().map(client).collect(),
            ..Plan::default()
        }
    }

    /// Runs it without faults, with each, and with each pair.
    pub(super) fn run(&self) -> Unit {
        let mut sum = Unit::empty();
        let mut plan = self.plan();
        let Some(base) = sum.take(execute(&plan)) else { return sum };
        for (at, first) in faults(&base, 0) {
            plan.faults = vec![first];
            let Some(good) = sum.take(execute(&plan)) else { continue };
            if !self.pairs {
                continue;
            }
            // What was sent before is as it was without this fault: such pairs come the other way
            // round.
            for (_, second) in faults(&good, at + 1) {
                plan.faults = vec![first, second];
                sum.take(execute(&plan));
            }
        }
        sum
    }
}

/// All faults of the packets of a run, from the `from`-th on, with the packet's place in the run.
pub(super) fn faults(run: &Good, from: usize) -> Vec<(usize, Fault)> {
    let mut counts = std::collections::BTreeMap::new();
    let mut all = Vec::new();
    for (at, &(leg, connection)) in run.sent.iter().enumerate() {
        let count: &mut u64 = counts.entry((leg, connection)).or_default();
        let packet = *count;
        *count += 1;
        if at < from {
            continue;
        }
        all.extend(FAULTS.map(|what| {
            let by = if what == What::Drop { 0 } else { LATE };
            (at, Fault { leg, connection, packet, what, by })
        }));
    }
    all
}

impl Unit {
    pub(super) fn empty() -> Unit {
        let tally = super::tally::Tally::default();
        Unit { runs: 0, tally, digest: DIGEST_START, failed: 0, bad: None }
    }

    /// Counts a run in; the run, if it was good.
    pub(super) fn take(&mut self, result: Result<Good, Box<Bad>>) -> Option<Good> {
        self.runs += 1;
        let digest = result.as_ref().map_or_else(|bad| bad.digest(), Good::digest);
        self.digest = digest_more(self.digest, &digest.to_le_bytes());
        match result {
            Ok(good) => {
                self.tally.add(&good.tally);
                Some(good)
            }
            Err(bad) => {
                self.tally.add(&bad.tally);
                self.failed += 1;
                self.bad.get_or_insert(Failed::Packets(bad));
                None
            }
        }
    }
}
