//! `qpmux synth` against real packets of Clover, and through the rest of the program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use qpmux_engine::wire::{Classified, Layout, Opcode, classify};
use qpmux_tests::checkers::check;
use qpmux_tests::extra_captures;
use qpmux_traces::CaptureReader;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{run_in, tree};

/// The real capture: two threads on one key, what a middlebox between clients and memory node saw.
const REAL: &str = "clover-1key-2threads-ingress.pcap";
/// Queue pairs of the two threads in it: the memory node's, then the client's.
const THREADS: [u32; 4] = [0x5434, 0x5435, 0x8d7c, 0x8d7d];

/// Synthesizes `out.pcap` in a folder, and gives the report.
fn synth(folder: &Path, options: &str) -> Value {
    let arguments = format!("synth --json {options} out.pcap");
    let run = run_in(folder, arguments.split_whitespace()).assert_good();
    serde_json::from_str(&run.stdout).unwrap()
}

/// The frames of a capture with their layouts.
fn frames(path: &Path) -> Vec<(Layout, Vec<u8>)> {
    let mut reader = CaptureReader::open(path).unwrap();
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet().unwrap() {
        let Ok(Classified::Rc(layout)) = classify(packet.data) else { panic!("not RoCE") };
        frames.push((layout, packet.data.to_vec()));
    }
    frames
}

fn word(payload: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*payload[at..].first_chunk().unwrap())
}

/// What a capture shows of the two threads.
#[derive(Default)]
struct Facts {
    /// Kind, size and every header field that does not number something.
    shapes: BTreeSet<String>,
    /// UDP source port, first PSN, and what MSNs are behind PSNs, by destination queue pair.
    connections: BTreeMap<u32, (u16, u32, Option<u32>)>,
    /// Addresses of slots in the order written, by destination queue pair.
    slots: BTreeMap<u32, Vec<u64>>,
    /// Words stored by compare-and-swaps, and the words expected.
    swaps: BTreeSet<(u64, u64)>,
    /// Address and memory key of shortcuts; memory key of slots.
    shortcuts: BTreeSet<(u64, u32)>,
    slot_keys: BTreeSet<u32>,
    /// First words of slots as written, key, fill byte, and where the fill ends.
    values: BTreeSet<(u32, u64, u64, u8, usize)>,
}

impl Facts {
    fn of(frames: &[(Layout, Vec<u8>)]) -> Facts {
        let mut facts = Facts::default();
        for (layout, frame) in frames {
            let queue_pair = layout.dest_qp.value();
            if THREADS.contains(&queue_pair) {
                facts.take(queue_pair, layout, frame);
            }
        }
        facts
    }

    fn take(&mut self, queue_pair: u32, layout: &Layout, frame: &[u8]) {
        let payload = layout.payload(frame);
        let aeth = layout.aeth(frame);
        let connection = self.connections.entry(queue_pair).or_insert((
            layout.source_port,
            layout.psn.value(),
            None,
        ));
        assert_eq!(connection.0, layout.source_port, "a queue pair has one source port");
        connection.2 = aeth.map(|aeth| layout.psn.value() - aeth.msn.value());
        self.shapes.insert(shape(layout, frame));
        match (layout.opcode, layout.reth(frame), layout.atomic_eth(frame)) {
            (Opcode::WriteOnly, Some(reth), _) if payload.len() == 1024 => {
                self.slots.entry(queue_pair).or_default().push(reth.virtual_address);
                self.slot_keys.insert(reth.remote_key);
                let fill = payload[16];
                let end = payload.iter().rposition(|byte| *byte == fill).unwrap() + 1;
                let (header, key) = (word(payload, 0), word(payload, 8));
                self.values.insert((queue_pair, header, key, fill, end));
            }
            (Opcode::ReadRequest, Some(reth), _) if reth.dma_length == 1024 => {
                self.slot_keys.insert(reth.remote_key);
            }
            // Writers look at 8 bytes of a slot as well.
            (Opcode::ReadRequest, Some(reth), _) if !self.slot_keys.contains(&reth.remote_key) => {
                self.shortcuts.insert((reth.virtual_address, reth.remote_key));
            }
            (Opcode::CompareSwap, _, Some(atomic)) => {
                self.swaps.insert((atomic.swap_or_add, atomic.compare));
            }
            _ => {}
        }
    }
}

/// Kind, size and every header field that does not number something.
fn shape(layout: &Layout, frame: &[u8]) -> String {
    let at = usize::from(layout.ip);
    let bth = layout.bth(frame);
    format!(
        "{} {} bytes, TOS {:#x}, flags {:#x}, TTL {}, port {}, checksum {}, M {}, SE {}, pad {}, \
         P_Key {:#x}, A {}, {:?} bytes asked, syndrome {:?}",
        layout.opcode.name(),
        u16::from_be_bytes([frame[at + 2], frame[at + 3]]),
        frame[at + 1],
        frame[at + 6],
        frame[at + 8],
        u16::from_be_bytes([frame[at + 22], frame[at + 23]]),
        u16::from_be_bytes([frame[at + 26], frame[at + 27]]),
        bth.migration_request,
        bth.solicited,
        bth.pad_count,
        bth.partition_key,
        bth.ack_request,
        layout.reth(frame).map(|reth| reth.dma_length),
        layout.aeth(frame).map(|aeth| aeth.syndrome),
    )
}

/// The ICRCs of the real capture's first four packets: two keys are opened and each WRITE is
/// acknowledged. They cover every byte but the Ethernet addresses and what routers change.
#[test]
fn the_first_packets_are_those_of_the_trace() {
    let folder = TempDir::new().unwrap();
    synth(folder.path(), "--threads 2 --keys 1 --ops 10");
    let frames = frames(&folder.path().join("out.pcap"));
    let ends: Vec<&[u8]> = frames[..4].iter().map(|(_, frame)| &frame[frame.len() - 4..]).collect();
    let expected: [[u8; 4]; 4] = [
        [0x47, 0x56, 0x17, 0xa0],
        [0x04, 0x57, 0x5c, 0x2d],
        [0xfb, 0xc1, 0xcd, 0xac],
        [0xd9, 0x43, 0xb2, 0x8f],
    ];
    assert_eq!(ends, expected);
    // What routers change: TOS and TTL.
    assert!(frames.iter().all(|(_, frame)| (frame[15], frame[22]) == (2, 64)));
}

#[test]
fn two_threads_on_one_key_look_like_the_real_ones() {
    let Some(extra) = extra_captures("two_threads_on_one_key_look_like_the_real_ones") else {
        return;
    };
    let real = extra.join(REAL);
    if !real.is_file() {
        eprintln!("SKIPPED: two_threads_on_one_key_look_like_the_real_ones: no {REAL}");
        return;
    }
    let folder = TempDir::new().unwrap();
    synth(folder.path(), "--threads 2 --keys 1 --ops 400 --workload A");
    let (real, ours) = (frames(&real), frames(&folder.path().join("out.pcap")));
    for (real, ours) in real.iter().zip(&ours).take(4) {
        assert_eq!(real.1[12..], ours.1[12..], "all but the Ethernet addresses");
    }
    let (real, ours) = (Facts::of(&real), Facts::of(&ours));
    assert_eq!(real.shapes, ours.shapes);
    assert_eq!(real.connections, ours.connections);
    for (queue_pair, slots) in &real.slots {
        assert_eq!(slots[..], ours.slots[queue_pair][..slots.len()], "{queue_pair:#x}");
    }
    assert_eq!(real.values, ours.values);
    assert_eq!((&real.slot_keys, &real.shortcuts), (&ours.slot_keys, &ours.shortcuts));
    assert!(real.swaps.is_subset(&ours.swaps), "{:x?}", real.swaps.difference(&ours.swaps));
}

#[test]
fn same_seed_same_bytes() {
    let folder = TempDir::new().unwrap();
    let bytes = |options: &str| {
        let report = synth(folder.path(), options);
        (report, fs::read(folder.path().join("out.pcap")).unwrap())
    };
    let one = bytes("--threads 5 --machines 2 --ops 200 --keys 10");
    assert!(one == bytes("--threads 5 --machines 2 --ops 200 --keys 10"));
    assert!(one.1 != bytes("--threads 5 --machines 2 --ops 200 --keys 10 --seed 2").1);
    assert_eq!(one.0["operations"], 200);
    assert_eq!(one.0["keys_opened"], 11);
}

/// Every packet is understood, and every connection paired.
#[test]
fn inspect_understands_it() {
    let folder = TempDir::new().unwrap();
    for (options, keys) in [
        ("--threads 16 --ops 500", 65),
        ("--threads 16 --ops 500 --value-size 100", 65),
        ("--threads 16 --ops 500 --variant upstream", 0),
        // Enough for every thread to come back to the metadata server: of a queue pair that was
        // used once there is too little to learn from.
        ("--threads 4 --ops 1000 --metadata", 65),
    ] {
        let all = format!("--keys 64 {options}");
        let report = synth(folder.path(), &all);
        let arguments = ["inspect", "--profile", "clover", "--json", "out.pcap"];
        let run = run_in(folder.path(), arguments).assert_good();
        let seen: Value = serde_json::from_str(&run.stdout).unwrap();
        for field in ["packets", "connections"] {
            let found = seen[field].as_array().map(|list| list.len() as u64);
            assert_eq!(found.or_else(|| seen[field].as_u64()), report[field].as_u64(), "{field}");
        }
        assert_eq!((&seen["icrc_bad"], &seen["retransmitted"]), (&0.into(), &0.into()));
        let compare_swaps = report["commits"].as_u64().zip(report["commits_lost"].as_u64());
        assert_eq!(
            seen["operations"]["compare_swaps"].as_u64(),
            compare_swaps.map(|(won, lost)| won + lost)
        );
        // Upstream's values have none: what stands in that place is any byte, eight times.
        assert!(keys == 0 || seen["keys"]["distinct"] == keys);
    }
    synth(folder.path(), "--threads 4 --machines 2 --keys 8 --ops 100 --metadata");
    check("check_icrc.py", [folder.path().join("out.pcap")]).assert_good();
}

/// Replays `out.pcap`, which must be clean; the report.
fn replay(folder: &Path, options: &str) -> Value {
    let arguments = format!("replay --json out.pcap {options}");
    let run = run_in(folder, arguments.split_whitespace()).assert_good();
    serde_json::from_str(&run.stdout).unwrap()
}

#[test]
fn replay_of_64_threads_is_clean() {
    let folder = TempDir::new().unwrap();
    for workload in ["A", "W"] {
        let options = "--threads 64 --keys 1024 --zipf 0.99 --ops 3000";
        let made = synth(folder.path(), &format!("{options} --workload {workload}"));
        assert!(made["commits_lost"].as_u64() > Some(0), "no contention: {made}");
        for server_qps in [1, 8, 64] {
            let options = format!("--profile clover --server-qps {server_qps}");
            let report = replay(folder.path(), &options);
            assert_eq!(report["client_connections"], made["connections"]);
            assert_eq!(report["server_qps_hosting"], server_qps);
            assert_eq!(report["memory_ok"], true);
            assert!(report["mapped"].as_u64() > made["commits"].as_u64());
        }
    }
}

#[test]
fn replay_of_every_kind_is_clean() {
    let folder = TempDir::new().unwrap();
    for options in [
        "--machines 4 --metadata",
        "--coroutines --machines 2",
        "--variant upstream --coroutines",
        "--value-size 200 --uniform --workload B",
        "--workload C --zipf 1.5",
    ] {
        let all = format!("--threads 16 --keys 64 --ops 1000 {options}");
        synth(folder.path(), &all);
        for profile in ["clover", "clover-upstream"] {
            let report = replay(folder.path(), &format!("--profile {profile} --server-qps 4"));
            assert_eq!(report["memory_ok"], true, "{options}");
            // Of upstream's requests the COMPARE_SWAPs have a key. Where there are none, nothing is
            // known to take any, so nothing hosts others'.
            assert_eq!(report["mapped"] == 0, options.contains("workload C"), "{options}");
        }
    }
}

#[test]
fn what_cannot_be_is_refused_and_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    for (options, mention) in [
        ("--workload D", "reads and updates"),
        ("--workload X", "A to F, or W"),
        ("--zipf -1", "Zipf exponent -1"),
        ("--zipf nan", "Zipf exponent"),
        ("--zipf 1 --uniform", "cannot be used with"),
        ("--threads 0", "threads is 0"),
        ("--threads 3 --machines 4", "threads is 3, must be 4"),
        ("--machines 201 --threads 300", "machines is 201"),
        ("--keys 0", "keys is 0"),
        ("--keys 500000", "keys is 500000"),
        ("--ops 0", "ops is 0"),
        ("--value-size 7", "values of 7 bytes"),
        ("--value-size 1017", "values of 1017 bytes"),
    ] {
        let arguments = format!("synth {options} out.pcap");
        run_in(folder.path(), arguments.split_whitespace()).assert_refused(&[mention]);
    }
    run_in(folder.path(), ["synth", "--json", "-"]).assert_refused(&["standard output"]);
    run_in(folder.path(), ["synth", "no/such/folder.pcap"]).assert_refused(&["no/such"]);
    assert_eq!(tree(folder.path()), Vec::<PathBuf>::new());
}
