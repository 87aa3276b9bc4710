//! Steering in place on whole captures: a published middlebox's own packets, and Clover's traffic
//! as `qpmux synth` makes it.

use std::collections::HashMap;
use std::path::Path;

use qpmux_engine::wire::{Classified, Layout, Opcode, classify, icrc};
use qpmux_sim::replay::{CLIENTS_PCAP, SERVER_PCAP};
use qpmux_tests::capture::{self, Packet};
use qpmux_tests::{extra_captures, sample};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{SAMPLE, run_in, tree};

/// What went into a middlebox that steers writes, and what came out (of its author, with one key
/// and two client threads).
const INGRESS: &str = "clover-1key-2threads-ingress.pcap";
const EGRESS: &str = "clover-1key-2threads-egress.pcap";
/// Bytes before the IP header: a middlebox has Ethernet addresses of its own.
const ETHERNET: usize = 14;

/// Replays a capture in place into `out`; the report.
fn replay(folder: &Path, input: &Path, profile: &str, steer: &str) -> Value {
    let options = format!(
        "--json --map none --steer {steer} --in-place --profile {profile} --responses captured \
         --out out"
    );
    let arguments = ["replay", input.to_str().unwrap()].into_iter();
    let run = run_in(folder, arguments.chain(options.split_whitespace())).assert_good();
    serde_json::from_str(&run.stdout).unwrap()
}

#[test]
fn every_packet_comes_out_as_of_the_published_middlebox() {
    let test = "every_packet_comes_out_as_of_the_published_middlebox";
    let Some(extra) = extra_captures(test) else { return };
    let (ingress, egress) = (extra.join(INGRESS), extra.join(EGRESS));
    if !ingress.is_file() || !egress.is_file() {
        eprintln!("SKIPPED: {test}: no {INGRESS} and {EGRESS}");
        return;
    }
    let folder = TempDir::new().unwrap();
    let report = replay(folder.path(), &ingress, "clover", "writes");
    let read = |name: &str| capture::read(&folder.path().join("out").join(name));
    let (ours, theirs) = (read(SERVER_PCAP), capture::read(&egress));
    assert_eq!(ours.len(), theirs.len());
    for (n, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(ours.data[ETHERNET..], theirs.data[ETHERNET..], "packet {n}");
    }
    let came_in = capture::read(&ingress);
    assert_eq!(read(CLIENTS_PCAP), came_in);
    let changed =
        came_in.iter().zip(&theirs).filter(|(a, b)| a.data[ETHERNET..] != b.data[ETHERNET..]);
    let changed = changed.count() as u64;
    assert!(changed > 0);
    assert_eq!(
        (&report["steered_atomics"], &report["steered_reads"]),
        (&changed.into(), &0.into())
    );
    assert_eq!(report["passed"], ours.len() as u64 - changed);
}

/// What the WRITEs of a capture tell of slots, by the reckoning of this test alone.
#[derive(Default)]
struct Slots {
    /// Key and first word of what is at an address.
    written: HashMap<u64, (u64, u64)>,
    /// Length of slots, and where their numbers begin.
    base: (u64, u64),
    atomics: u64,
    reads: u64,
}

/// The slot that a swap value names.
fn slot_of(swap: u64, (len, base): (u64, u64)) -> u64 {
    (swap >> 28).wrapping_mul(len).wrapping_add(base)
}

/// Where the numbers of slots begin: most appends are of what was last written on their queue pair.
fn base_of(packets: &[Packet]) -> (u64, u64) {
    let (mut last, mut votes) = (HashMap::new(), HashMap::new());
    for Packet { data, .. } in packets {
        let Ok(Classified::Rc(layout)) = classify(data) else { panic!("not RoCE") };
        let len = u64::from(layout.payload_len);
        if let (Some(reth), 128 | 1024, Opcode::WriteOnly) = (layout.reth(data), len, layout.opcode)
        {
            last.insert(layout.dest_qp, (len, reth.virtual_address));
        }
        if let (Some(atomic), Some((len, address))) =
            (layout.atomic_eth(data), last.get(&layout.dest_qp))
        {
            let base = address.wrapping_sub(slot_of(atomic.swap_or_add, (*len, 0)));
            *votes.entry((*len, base)).or_insert(0) += 1;
        }
    }
    votes.into_iter().max_by_key(|(_, votes)| *votes).unwrap().0
}

impl Slots {
    /// A frame before and after.
    fn check(&mut self, before: &[u8], after: &[u8]) {
        let Ok(Classified::Rc(layout)) = classify(before) else { panic!("not RoCE") };
        if before == after {
            return self.note(&layout, before);
        }
        let at = usize::from(layout.bth) + 12;
        let address = |frame: &[u8]| u64::from_be_bytes(frame[at..at + 8].try_into().unwrap());
        let (from, to) = (address(before), address(after));
        let mut back = after.to_vec();
        back[at..at + 8].copy_from_slice(&from.to_be_bytes());
        icrc::store(&mut back, &layout);
        assert!(back == before, "more than the address has changed");
        assert!(icrc::verify(after, &layout));
        let (key, word) = self.written[&from];
        assert_eq!(self.written[&to], (key, word), "a version of the same key");
        match layout.atomic_eth(before) {
            Some(atomic) => {
                assert_eq!(atomic.compare, word);
                assert_ne!(to, slot_of(atomic.swap_or_add, self.base), "itself");
                self.atomics += 1;
            }
            None => self.reads += 1,
        }
    }

    fn note(&mut self, layout: &Layout, frame: &[u8]) {
        let payload = layout.payload(frame);
        if layout.opcode != Opcode::WriteOnly || ![128, 1024].contains(&payload.len()) {
            return;
        }
        let word = |at: usize| u64::from_le_bytes(payload[at..at + 8].try_into().unwrap());
        let address = layout.reth(frame).unwrap().virtual_address;
        self.written.insert(address, (word(8), word(0)));
    }
}

#[test]
fn synthesized_traffic_goes_to_versions_of_the_same_key() {
    for (options, profile, steer) in [
        ("--threads 8 --machines 4 --keys 16", "clover", "writes"),
        ("--threads 8 --machines 4 --keys 16 --value-size 100", "clover", "all"),
        ("--threads 8 --machines 2 --keys 4 --coroutines", "clover", "all"),
        ("--threads 8 --machines 4 --keys 16", "clover-upstream", "all"),
    ] {
        let folder = TempDir::new().unwrap();
        let arguments = format!("synth {options} --ops 2000 in.pcap");
        run_in(folder.path(), arguments.split_whitespace()).assert_good();
        let input = folder.path().join("in.pcap");
        let report = replay(folder.path(), &input, profile, steer);
        let out = capture::read(&folder.path().join("out").join(SERVER_PCAP));
        let packets = capture::read(&input);
        let mut slots = Slots { base: base_of(&packets), ..Slots::default() };
        assert_eq!(packets.len(), out.len());
        for (before, after) in packets.iter().zip(&out) {
            slots.check(&before.data, &after.data);
        }
        assert_eq!(report["steered_atomics"], slots.atomics, "{options}");
        assert!(slots.atomics > 50, "{options}: {}", slots.atomics);
        assert_eq!(report["steered_reads"], slots.reads, "{options}");
        assert_eq!(slots.reads > 50, steer == "all", "{options}: {}", slots.reads);
        assert_eq!(report["passed"], packets.len() as u64 - slots.atomics - slots.reads);
    }
}

#[test]
fn what_does_not_go_together_is_refused() {
    let refused = |options: &str, mentions: &[&str]| {
        let folder = TempDir::new().unwrap();
        let capture = sample(SAMPLE);
        let arguments = ["replay", capture.to_str().unwrap(), "--out", "out"].into_iter();
        let all = arguments.chain(options.split_whitespace());
        run_in(folder.path(), all).assert_refused(mentions);
        assert!(tree(folder.path()).is_empty(), "{options}");
    };
    let clover = "--profile clover --in-place --steer";
    refused(&format!("{clover} all --map writes"), &["in place", "map none only"]);
    refused(&format!("{clover} none --map none"), &["in-place", "steer writes or all"]);
    refused(&format!("{clover} all --map none"), &["--responses captured only"]);
    refused("--in-place --steer all --map none", &["no [list]"]);
}
