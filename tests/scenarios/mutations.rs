//! Property: whatever happens to a capture, `inspect` and `replay` end, with a report or an error.
//!
//! Packets are changed, cut, repeated, left out, swapped. Often the ICRC of a changed packet is
//! made right again, so that the change gets beyond that check.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::OnceLock;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use qpmux_engine::policy::Map;
use qpmux_engine::wire::{Classified, classify, icrc};
use qpmux_sim::inspect::{self, InspectOptions};
use qpmux_sim::replay::{Setup, replay_captured, replay_modelled};
use qpmux_tests::capture::{self, Packet};
use qpmux_tests::{full_tier, sample};
use tempfile::TempDir;

use crate::support::{run_in, setup};

/// Samples of different traffic: single packets, long messages, losses.
const SAMPLES: [&str; 3] =
    ["kv-ycsb-a-2clients-16qp.pcap", "perftest-odd-sizes.pcap", "kv-ycsb-a-8qp-loss5-server.pcap"];
/// Packets in a slice of a sample.
const SLICE: usize = 150;
/// Captures tried in the quick tier.
const CASES: u32 = 150;
const CASES_FULL: u32 = 5_000;
/// Captures that the program itself is tried with.
const CASES_OF_THE_PROGRAM: u32 = 10;

/// Where the lengths are in a frame over IPv4 without options.
const IPV4_LENGTH: usize = 14 + 2;
const UDP_LENGTH: usize = 14 + 20 + 4;

/// What happens to one packet.
#[derive(Clone, Debug)]
enum Change {
    /// Bytes are overwritten; if asked for, the ICRC is made right again.
    Overwrite { at: prop::sample::Index, bytes: Vec<u8>, seal: bool },
    /// A field of the headers from the UDP destination port on, likewise.
    Header { at: usize, bytes: Vec<u8>, seal: bool },
    /// A snap length cut it.
    Cut(prop::sample::Index),
    /// It ends earlier, as if it had been sent like this.
    Shorten(prop::sample::Index),
    /// It was sent with so many bytes more, with lengths and ICRC to match.
    Lengthen(usize),
    /// It was captured twice.
    Repeat,
    /// It was not captured.
    Leave,
    /// It came later.
    Later(usize),
    /// Its time is another.
    Time(u64),
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<prop::sample::Index>;
    let number = prop_oneof![Just(0_u32), Just(u32::MAX), any::<u32>(), 0_u32..5_000];
    let bytes = prop_oneof![
        vec(any::<u8>(), 1..5),
        number.prop_map(|number| number.to_be_bytes().to_vec()),
    ];
    let time =
        prop_oneof![Just(0), any::<u32>().prop_map(u64::from), 0..4_000_000_000_000_000_000_u64,];
    prop_oneof![
        2 => (index(), bytes.clone(), any::<bool>())
            .prop_map(|(at, bytes, seal)| Change::Overwrite { at, bytes, seal }),
        6 => (36_usize..82, bytes, prop::bool::weighted(0.9))
            .prop_map(|(at, bytes, seal)| Change::Header { at, bytes, seal }),
        1 => index().prop_map(Change::Cut),
        1 => index().prop_map(Change::Shorten),
        1 => prop_oneof![1_usize..64, 1_usize..64_000].prop_map(Change::Lengthen),
        1 => Just(Change::Repeat),
        2 => Just(Change::Leave),
        1 => (1_usize..20).prop_map(Change::Later),
        1 => time.prop_map(Change::Time),
    ]
}

/// A slice of a sample, and what happens to it.
#[derive(Clone, Debug)]
struct Damage {
    sample: usize,
    start: prop::sample::Index,
    changes: Vec<(prop::sample::Index, Change)>,
    /// Bytes of the file that are overwritten.
    bytes: Vec<(prop::sample::Index, u8)>,
    /// Where the file ends early.
    end: Option<prop::sample::Index>,
}

fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<prop::sample::Index>;
    (
        0..SAMPLES.len(),
        index(),
        vec((index(), change()), 0..12),
        prop_oneof![3 => Just(Vec::new()), 1 => vec((index(), any::<u8>()), 1..4)],
        prop::option::weighted(0.2, index()),
    )
        .prop_map(|(sample, start, changes, bytes, end)| Damage {
            sample,
            start,
            changes,
            bytes,
            end,
        })
}

impl Damage {
    /// The bytes of the damaged capture.
    fn capture(&self) -> Vec<u8> {
        static WHOLE: OnceLock<Vec<Vec<Packet>>> = OnceLock::new();
        let whole =
            WHOLE.get_or_init(|| SAMPLES.iter().map(|name| capture::read(&sample(name))).collect());
        let whole = &whole[self.sample];
        // Half of the slices begin where the sample does, with whole connections.
        let start = self.start.index(2 * (whole.len() - SLICE)).saturating_sub(whole.len() - SLICE);
        let mut packets = whole[start..start + SLICE].to_vec();
        for (index, change) in &self.changes {
            apply(&mut packets, index, change);
        }
        let mut bytes = capture::bytes_of(&packets);
        for (index, byte) in &self.bytes {
            let at = index.index(bytes.len());
            bytes[at] = *byte;
        }
        if let Some(end) = &self.end {
            bytes.truncate(end.index(bytes.len()));
        }
        bytes
    }
}

fn apply(packets: &mut Vec<Packet>, index: &prop::sample::Index, change: &Change) {
    let i = index.index(packets.len());
    let packet = &mut packets[i];
    match change {
        Change::Overwrite { at, bytes, seal } if !packet.data.is_empty() => {
            overwrite(packet, at.index(packet.data.len()), bytes, *seal);
        }
        Change::Header { at, bytes, seal } => overwrite(packet, *at, bytes, *seal),
        Change::Overwrite { .. } => {}
        Change::Cut(at) => packet.data.truncate(at.index(packet.data.len() + 1)),
        Change::Shorten(at) => {
            packet.data.truncate(at.index(packet.data.len() + 1));
            packet.original_len = packet.data.len() as u32;
        }
        Change::Lengthen(by) => lengthen(packet, *by),
        Change::Repeat => {
            let packet = packet.clone();
            packets.insert(i, packet);
        }
        Change::Leave => {
            packets.remove(i);
        }
        Change::Later(by) => {
            let packet = packets.remove(i);
            packets.insert((i + by).min(packets.len()), packet);
        }
        Change::Time(time) => packet.timestamp_ns = *time,
    }
}

fn overwrite(packet: &mut Packet, at: usize, bytes: &[u8], seal: bool) {
    let data = &mut packet.data;
    for (place, byte) in data.iter_mut().skip(at).zip(bytes) {
        *place = *byte;
    }
    if seal && let Ok(Classified::Rc(layout)) = classify(data) {
        icrc::store(data, &layout);
    }
}

/// Puts bytes before the ICRC, and corrects the lengths of IPv4 and UDP.
fn lengthen(packet: &mut Packet, by: usize) {
    let data = &mut packet.data;
    let (Some(icrc), true) = (data.len().checked_sub(4), data.len() + by < 65_535) else { return };
    if icrc < UDP_LENGTH + 2 {
        return;
    }
    data.splice(icrc..icrc, std::iter::repeat_n(0x5a, by));
    for at in [IPV4_LENGTH, UDP_LENGTH] {
        let length = u16::from_be_bytes([data[at], data[at + 1]]).wrapping_add(by as u16);
        data[at..at + 2].copy_from_slice(&length.to_be_bytes());
    }
    packet.original_len = packet.data.len() as u32;
    overwrite(packet, 0, &[], true);
}

/// Reads a capture in every way; what each way says.
fn survive(path: &Path, server_qps: u32, shards: u8) -> Result<(), String> {
    let way = |what: &str, run: &dyn Fn() -> Option<String>| {
        catch_unwind(AssertUnwindSafe(run)).map_err(|_| format!("{what} panicked")).and_then(
            |message| match message {
                Some(message) if !message.contains(path.to_str().unwrap()) => {
                    Err(format!("{what}: the message does not name the file: {message}"))
                }
                _ => Ok(()),
            },
        )
    };
    way("inspect", &|| {
        let report = inspect::run(path, &InspectOptions::default(), &mut |_| {});
        report.map(|report| report.render_text()).err().map(|error| error.to_string())
    })?;
    let modelled = Setup { shards, ..setup(server_qps) };
    way("replay", &|| {
        let report = replay_modelled(path, None, &modelled, &mut |_| {});
        report.map(|report| report.render_text()).err().map(|error| format!("{error:#}"))
    })?;
    let mut captured = setup(server_qps);
    captured.policy.map = Map::None;
    way("replay --responses captured", &|| {
        let report = replay_captured(path, None, &captured, &mut |_| {});
        report.map(|report| report.render_text()).err().map(|error| format!("{error:#}"))
    })
}

fn runner(cases: u32) -> TestRunner {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    // The same captures each time in the quick tier; others each time in the full one.
    match full_tier() {
        false => {
            let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
            TestRunner::new_with_rng(config, rng)
        }
        true => TestRunner::new(config),
    }
}

#[test]
fn damaged_captures_end_in_a_report_or_an_error() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("damaged.pcap");
    let cases = if full_tier() { CASES_FULL } else { CASES };
    let found =
        runner(cases).run(&(damage(), 0_u32..4, 1_u8..4), |(damage, server_qps, shards)| {
            std::fs::write(&path, damage.capture()).unwrap();
            survive(&path, server_qps, shards).map_err(TestCaseError::fail)
        });
    if let Err(found) = found {
        panic!("{found}");
    }
}

/// The same with the program: a panic there would be another exit status.
#[test]
fn the_program_ends_with_a_status_of_its_own() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("damaged.pcap");
    let found = runner(CASES_OF_THE_PROGRAM).run(&damage(), |damage| {
        std::fs::write(&path, damage.capture()).unwrap();
        for command in [&["inspect"][..], &["replay", "--server-qps", "2", "--json"]] {
            let run = run_in(folder.path(), [command, &["damaged.pcap"]].concat());
            prop_assert!(matches!(run.status, Some(0..=2)), "{run:#?}");
            prop_assert_eq!(run.status == Some(2), run.stdout.is_empty(), "{:#?}", run);
        }
        Ok(())
    });
    if let Err(found) = found {
        panic!("{found}");
    }
}
