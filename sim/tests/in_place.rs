//! Steering in place, with hand-made frames: what is steered, what is not, that nothing but an
//! address changes, and how an update is lost.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use qpmux_engine::policy::{Directory, Policy, Steer};
use qpmux_engine::wire::{
    AtomicEthRepr, Classified, Extension, Layout, Opcode, Psn, RethRepr, classify, icrc,
};
use qpmux_engine::{Config, Nanos, Side};
use qpmux_sim::host::Host;
use qpmux_sim::memory::Memory;
use qpmux_sim::rc::{Link, Packet};
use qpmux_workloads::load_profile;

const BASE: u64 = 0x5579_0000_0000;
const RKEY: u32 = 0x77;
const LEN: u32 = 1024;
const KEY: u64 = 1;

/// Address of the slot of this number.
fn slot(number: u64) -> u64 {
    BASE + number * u64::from(LEN)
}

fn client(n: u8) -> Link {
    Link::new(Ipv4Addr::new(10, 0, 0, n), 0x10, Ipv4Addr::new(10, 0, 1, 9), 0xa00 + u32::from(n))
}

fn frame_of(link: &Link, opcode: Opcode, psn: u32, ext: Extension, payload: &[u8]) -> Vec<u8> {
    let psn = Psn::new(psn);
    let packet = Packet { opcode, psn, ack_request: true, extension: ext, payload };
    let mut frame = vec![0; 2048];
    let len = link.emit(&packet, psn.value() as u16, &mut frame).unwrap();
    frame.truncate(len);
    frame
}

fn reth(address: u64, len: u32) -> Extension {
    let (virtual_address, remote_key, dma_length) = (address, RKEY, len);
    Extension::Reth(RethRepr { virtual_address, remote_key, dma_length })
}

/// A WRITE of a whole slot of so many bytes.
fn write_of(link: &Link, psn: u32, address: u64, key: u64, version: u64, len: u32) -> Vec<u8> {
    let mut payload = vec![0x41; len as usize];
    payload[..8].copy_from_slice(&(version << 11).to_le_bytes());
    payload[8..16].copy_from_slice(&key.to_le_bytes());
    frame_of(link, Opcode::WriteOnly, psn, reth(address, len), &payload)
}

fn write(link: &Link, psn: u32, number: u64) -> Vec<u8> {
    write_of(link, psn, slot(number), KEY, 1, LEN)
}

/// A COMPARE_SWAP at an address with a version, that appends a slot of this number and version.
fn append_of(link: &Link, psn: u32, at: (u64, u64), number: u64, version: u64) -> Vec<u8> {
    let (virtual_address, old) = at;
    let swap_or_add = number << 28 | version << 19 | old << 11;
    let (remote_key, compare) = (RKEY, old << 11);
    let atomic = AtomicEthRepr { virtual_address, remote_key, swap_or_add, compare };
    frame_of(link, Opcode::CompareSwap, psn, Extension::AtomicEth(atomic), &[])
}

fn append(link: &Link, psn: u32, to: u64, number: u64) -> Vec<u8> {
    append_of(link, psn, (slot(to), 1), number, 1)
}

fn read(link: &Link, psn: u32, address: u64, len: u32) -> Vec<u8> {
    frame_of(link, Opcode::ReadRequest, psn, reth(address, len), &[])
}

fn layout_of(frame: &[u8]) -> Layout {
    let Ok(Classified::Rc(layout)) = classify(frame) else { panic!("no RC packet") };
    layout
}

fn address_of(frame: &[u8], layout: &Layout) -> u64 {
    let (reth, atomic) = (layout.reth(frame), layout.atomic_eth(frame));
    reth.map(|r| r.virtual_address).or(atomic.map(|a| a.virtual_address)).unwrap()
}

/// An engine that steers in place.
struct Middlebox(Host);

impl Middlebox {
    fn of(profile: &str, steer: Steer, config: &Config) -> Middlebox {
        let profile = load_profile(profile).unwrap();
        let policy = Policy { steer, in_place: true, profile, ..Policy::default() };
        policy.check().unwrap();
        Middlebox(Host::new(config, &policy, &Directory::empty(), 1).unwrap())
    }

    fn new(steer: Steer) -> Middlebox {
        Middlebox::of("clover", steer, &Config::default())
    }

    /// What comes out on the other side.
    fn pass(&mut self, side: Side, frame: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.0.offer(0, side, Nanos(0), frame, &mut |to, frame| {
            assert_eq!(to, side.opposite());
            out.push(frame.to_vec());
        });
        assert_eq!(out.len(), 1);
        out.remove(0)
    }

    /// A client's request: the address that it goes to. Nothing else of it has changed.
    fn goes_to(&mut self, frame: &[u8]) -> u64 {
        let out = self.pass(Side::Client, frame);
        let layout = layout_of(&out);
        let (address, asked) = (address_of(&out, &layout), address_of(frame, &layout));
        if address == asked {
            assert_eq!(out, frame);
            return address;
        }
        assert!(icrc::verify(&out, &layout));
        let mut back = out.clone();
        let at = usize::from(layout.bth) + 12;
        back[at..at + 8].copy_from_slice(&asked.to_be_bytes());
        icrc::store(&mut back, &layout);
        assert_eq!(back, frame, "more than the address has changed");
        address
    }

    /// Requests that all go where they are aimed at.
    fn all_pass(&mut self, frames: &[Vec<u8>]) {
        for frame in frames {
            assert_eq!(self.goes_to(frame), address_of(frame, &layout_of(frame)));
        }
    }

    /// Atomics steered, READs steered, appends left.
    fn counts(&self) -> [u64; 3] {
        let counters = self.0.counters();
        [counters.steered_atomics, counters.steered_reads, counters.unsteered_atomics]
    }

    /// Slot 1 is opened, and slot 2 appended to it by `link`, in four PSNs from 0.
    fn begin(&mut self, link: &Link) {
        self.all_pass(&[write(link, 0, 1), write(link, 1, 2), append(link, 2, 1, 2)]);
    }
}

#[test]
fn an_append_goes_to_the_tail_and_moves_it() {
    let (x, y) = (client(1), client(2));
    let mut middlebox = Middlebox::new(Steer::Writes);
    middlebox.begin(&x);
    middlebox.all_pass(&[write(&y, 7, 3)]);
    assert_eq!(middlebox.goes_to(&append(&y, 8, 1, 3)), slot(2));
    middlebox.all_pass(&[write(&x, 3, 4)]);
    assert_eq!(middlebox.goes_to(&append(&x, 4, 2, 4)), slot(3));
    // At the tail, it passes.
    middlebox.all_pass(&[write(&y, 9, 5), append(&y, 10, 4, 5)]);
    assert_eq!(middlebox.counts(), [2, 0, 0]);
}

#[test]
fn a_repeat_goes_where_the_first_one_went() {
    let (x, y) = (client(1), client(2));
    let mut middlebox = Middlebox::new(Steer::Writes);
    middlebox.begin(&x);
    let steered = append(&y, 8, 1, 3);
    middlebox.all_pass(&[write(&y, 7, 3)]);
    assert_eq!(middlebox.goes_to(&steered), slot(2));
    middlebox.all_pass(&[write(&x, 3, 4), append(&x, 4, 3, 4)]);
    // A repeated WRITE changes nothing, nor does a repeated append that had passed.
    assert_eq!(middlebox.goes_to(&steered), slot(2));
    middlebox.all_pass(&[write(&y, 7, 3), write(&x, 3, 4), append(&x, 4, 3, 4)]);
    assert_eq!(middlebox.goes_to(&steered), slot(2));
    middlebox.all_pass(&[write(&y, 9, 5)]);
    assert_eq!(middlebox.goes_to(&append(&y, 10, 3, 5)), slot(4));
}

#[test]
fn nothing_is_appended_to_itself() {
    let (x, y) = (client(1), client(2));
    let mut middlebox = Middlebox::new(Steer::Writes);
    middlebox.begin(&x);
    middlebox.all_pass(&[write(&y, 7, 3)]);
    assert_eq!(middlebox.goes_to(&append(&y, 8, 1, 3)), slot(2));
    // That has failed, y thinks, and follows the list. The tail is what it appends, or behind it.
    middlebox.all_pass(&[append(&y, 9, 2, 3)]);
    middlebox.all_pass(&[write(&x, 3, 4), append(&x, 4, 3, 4), append(&y, 10, 2, 3)]);
    // The tail has stayed.
    middlebox.all_pass(&[write(&x, 5, 5)]);
    assert_eq!(middlebox.goes_to(&append(&x, 6, 3, 5)), slot(4));
    assert_eq!(middlebox.counts(), [2, 0, 2]);
}

#[test]
fn a_tail_of_another_version_or_memory_key_is_no_target() {
    let (x, y) = (client(1), client(2));
    let mut middlebox = Middlebox::new(Steer::All);
    middlebox.all_pass(&[
        write(&x, 0, 1),
        write_of(&x, 1, slot(2), KEY, 2, LEN),
        append_of(&x, 2, (slot(1), 1), 2, 2),
        write(&y, 7, 3),
        append(&y, 8, 1, 3),
        read(&y, 9, slot(1), LEN),
        // It follows the list, and appends there.
        append_of(&y, 10, (slot(2), 2), 3, 1),
        write(&x, 3, 4),
    ]);
    assert_eq!(middlebox.goes_to(&append(&x, 4, 1, 4)), slot(3));
    assert_eq!(middlebox.counts(), [1, 0, 1]);
}

#[test]
fn numbers_tell_which_of_several_is_appended() {
    let (x, y) = (client(1), client(2));
    let mut middlebox = Middlebox::new(Steer::Writes);
    middlebox.begin(&x);
    // Three are written; the numbers say that it is the second one.
    middlebox.all_pass(&[write(&y, 0, 3), write(&y, 1, 4), write(&y, 2, 5)]);
    assert_eq!(middlebox.goes_to(&append(&y, 3, 1, 4)), slot(2));
    assert_eq!(middlebox.goes_to(&append(&y, 4, 1, 3)), slot(4));
    // A number of something that was not written here.
    middlebox.all_pass(&[append(&y, 5, 1, 9)]);
    assert_eq!(middlebox.goes_to(&append(&y, 6, 1, 5)), slot(3));
    assert_eq!(middlebox.counts(), [3, 0, 1]);
}

#[test]
fn what_cannot_be_told_is_not_steered() {
    let (x, y) = (client(1), client(2));
    let mut middlebox = Middlebox::new(Steer::Writes);
    // Where numbers begin is not known yet.
    middlebox.all_pass(&[write(&x, 0, 1), write(&y, 0, 2), write(&y, 1, 3), append(&y, 2, 1, 3)]);
    middlebox.all_pass(&[write(&x, 1, 4), append(&x, 2, 3, 4)]);
    // Now it is; but something at the tail that cannot be told leaves the tail unknown.
    assert_eq!(middlebox.goes_to(&append(&y, 3, 3, 2)), slot(4));
    middlebox.all_pass(&[append(&y, 4, 2, 9), write(&x, 3, 5), append(&x, 4, 4, 5)]);
    assert_eq!(middlebox.counts(), [1, 0, 0]);
}

/// A client that tries again, with another version of the same key written meanwhile.
#[test]
fn what_is_appended_again_is_not_taken_for_another() {
    let (x, y) = (client(1), client(2));
    let mut middlebox = Middlebox::new(Steer::Writes);
    middlebox.begin(&x);
    middlebox.all_pass(&[write(&y, 7, 3), write(&y, 8, 4)]);
    assert_eq!(middlebox.goes_to(&append(&y, 9, 1, 3)), slot(2));
    // However often: that would else speak against where numbers begin.
    (10..20).for_each(|psn| middlebox.all_pass(&[append(&y, psn, 2, 3)]));
    assert_eq!(middlebox.goes_to(&append(&y, 20, 1, 4)), slot(3));
}

#[test]
fn memory_that_moves_is_found_again() {
    let x = client(1);
    let moved = |number: u64| slot(number) + 0x10_0000;
    let mut middlebox = Middlebox::new(Steer::Writes);
    middlebox.begin(&x);
    middlebox.all_pass(&[write(&x, 3, 3)]);
    assert_eq!(middlebox.goes_to(&append(&x, 4, 1, 3)), slot(2));
    let mut psn = 5;
    for number in 4..20 {
        // Each time a list of its own, so that it leaves no choice.
        let key = 100 + number;
        let written = |psn, at: u64| write_of(&x, psn, moved(at), key, 1, LEN);
        let begin = 10 * number;
        middlebox.all_pass(&[
            written(psn, begin),
            written(psn + 1, begin + 1),
            append_of(&x, psn + 2, (moved(begin), 1), begin + 1, 1),
            written(psn + 3, begin + 2),
        ]);
        let to = middlebox.goes_to(&append_of(&x, psn + 4, (moved(begin), 1), begin + 2, 1));
        psn += 5;
        // Until it gives way, nothing is taken for appended.
        assert_eq!(to, moved(if number < 9 { begin } else { begin + 1 }), "{number}");
    }
}

#[test]
fn keys_are_exact() {
    let (x, y) = (client(1), client(2));
    let mut middlebox = Middlebox::new(Steer::Writes);
    for (i, key) in [0, 256, 1 << 32, u64::MAX, 1024].into_iter().enumerate() {
        let (n, psn) = (10 * i as u64, 10 * i as u32);
        let written = |link: &Link, psn, number| write_of(link, psn, slot(number), key, 1, LEN);
        middlebox.all_pass(&[
            written(&x, psn, n + 1),
            written(&x, psn + 1, n + 2),
            append(&x, psn + 2, n + 1, n + 2),
            written(&y, psn, n + 3),
        ]);
        assert_eq!(middlebox.goes_to(&append(&y, psn + 1, n + 1, n + 3)), slot(n + 2), "{key:#x}");
    }
}

#[test]
fn servers_are_told_apart() {
    let x = client(1);
    let mut other = x.clone();
    other.path.destination = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 10));
    let mut middlebox = Middlebox::new(Steer::Writes);
    middlebox.begin(&x);
    // The same queue pair number, addresses and key at another server.
    middlebox.all_pass(&[write(&other, 0, 1), write(&other, 1, 3), append(&other, 2, 1, 3)]);
    middlebox.all_pass(&[write(&x, 3, 4), write(&other, 3, 5)]);
    assert_eq!(middlebox.goes_to(&append(&x, 4, 1, 4)), slot(2));
    assert_eq!(middlebox.goes_to(&append(&other, 4, 1, 5)), slot(3));
}

#[test]
fn lists_without_keys_are_named_by_an_address() {
    let (x, y) = (client(1), client(2));
    let mut middlebox = Middlebox::of("clover-upstream", Steer::Writes, &Config::default());
    // Nothing of the list was seen written but what is appended.
    middlebox.all_pass(&[write(&x, 1, 2), append(&x, 2, 1, 2), write(&y, 7, 3)]);
    assert_eq!(middlebox.goes_to(&append(&y, 8, 1, 3)), slot(2));
    middlebox.all_pass(&[write(&x, 3, 4)]);
    assert_eq!(middlebox.goes_to(&append(&x, 4, 2, 4)), slot(3));
    // Another list, whatever is in the values.
    middlebox.all_pass(&[write(&x, 5, 12), append(&x, 6, 11, 12)]);
}

#[test]
fn reads_of_whole_slots_of_any_length_are_steered() {
    let (x, y) = (client(1), client(2));
    for len in [128, 256, 512, 1024] {
        let at = |n: u64| BASE + n * u64::from(len);
        let written = |link: &Link, psn, n| write_of(link, psn, at(n), KEY, 1, len);
        let begin = [
            written(&x, 0, 1),
            written(&x, 1, 2),
            append_of(&x, 2, (at(1), 1), 2, 1),
            written(&y, 7, 3),
        ];
        let mut middlebox = Middlebox::new(Steer::All);
        middlebox.all_pass(&begin);
        assert_eq!(middlebox.goes_to(&read(&y, 8, at(1), len)), at(2));
        // A part, a shortcut, the tail itself, and what is not appended yet.
        middlebox.all_pass(&[
            read(&y, 9, at(1), 8),
            read(&y, 10, at(1), len * 2),
            read(&y, 11, at(2), len),
            read(&y, 12, at(3), len),
        ]);
        // Where it has gone when it came first; one that was not steered then is not steered now.
        middlebox.all_pass(&[append_of(&y, 13, (at(2), 1), 3, 1), read(&y, 11, at(2), len)]);
        assert_eq!(middlebox.goes_to(&read(&y, 8, at(1), len)), at(2));
        // Of a queue pair that has not shown its path MTU.
        middlebox.all_pass(&[read(&client(3), 0, at(1), len)]);
        assert_eq!(middlebox.counts(), [0, 2, 0]);
        let mut writes_only = Middlebox::new(Steer::Writes);
        writes_only.all_pass(&begin);
        writes_only.all_pass(&[read(&y, 8, at(1), len)]);
    }
    let known = Config { path_mtu: Some(1024), ..Config::default() };
    let mut middlebox = Middlebox::of("clover", Steer::All, &known);
    middlebox.begin(&x);
    assert_eq!(middlebox.goes_to(&read(&client(3), 0, slot(1), LEN)), slot(2));
}

#[test]
fn a_slot_that_is_used_again_is_no_longer_what_it_was() {
    let (x, y) = (client(1), client(2));
    let mut middlebox = Middlebox::new(Steer::All);
    middlebox.begin(&x);
    // Slot 1 becomes a version of another key, then the tail does.
    middlebox.all_pass(&[write_of(&y, 5, slot(1), 9, 2, LEN), read(&y, 6, slot(1), LEN)]);
    middlebox.all_pass(&[write(&x, 3, 3), append(&x, 4, 2, 3)]);
    middlebox.all_pass(&[write_of(&y, 7, slot(3), 9, 2, LEN), write(&y, 8, 4)]);
    // The first append after that passes.
    middlebox.all_pass(&[append(&y, 9, 2, 4)]);
    assert_eq!(middlebox.counts(), [0, 0, 0]);
}

#[test]
fn a_damaged_frame_passes_and_is_not_believed() {
    let (x, y) = (client(1), client(2));
    let damaged = |mut frame: Vec<u8>| {
        let last = frame.len() - 1;
        frame[last] ^= 1;
        frame
    };
    let mut middlebox = Middlebox::new(Steer::All);
    middlebox.begin(&x);
    middlebox.all_pass(&[
        damaged(write(&y, 0, 9)),
        write(&y, 7, 3),
        damaged(append(&y, 8, 1, 3)),
        damaged(read(&y, 9, slot(1), LEN)),
    ]);
    assert_eq!(middlebox.goes_to(&append(&y, 8, 1, 3)), slot(2));
}

#[test]
fn other_frames_pass() {
    let (x, y) = (client(1), client(2));
    let mut middlebox = Middlebox::new(Steer::All);
    middlebox.begin(&x);
    middlebox.all_pass(&[write(&y, 7, 3)]);
    // A lock, a counter, a store that links otherwise, half a frame, a request of the server's.
    let lock =
        AtomicEthRepr { virtual_address: slot(1), remote_key: RKEY, swap_or_add: 1, compare: 0 };
    let tagged =
        AtomicEthRepr { swap_or_add: 3 << 28 | 1 << 19 | 1 << 11 | 1, compare: 0x800, ..lock };
    for (opcode, atomic) in [
        (Opcode::CompareSwap, lock),
        (Opcode::FetchAdd, AtomicEthRepr { compare: 0x800, ..lock }),
        (Opcode::CompareSwap, tagged),
    ] {
        middlebox.all_pass(&[frame_of(&y, opcode, 8, Extension::AtomicEth(atomic), &[])]);
    }
    let steered = append(&y, 9, 1, 3);
    assert_eq!(middlebox.pass(Side::Client, &steered[..70]), steered[..70]);
    assert_eq!(middlebox.pass(Side::Server, &steered), steered);
    assert_eq!(middlebox.goes_to(&steered), slot(2));
}

#[test]
fn tags_and_either_ip_are_understood() {
    for tagged in [false, true] {
        let link = |n: u8| {
            let mut link = client(n);
            let ip = |n| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n));
            link.path.source = ip(n.into());
            link.path.destination = ip(9);
            link.tag = tagged.then_some(0x2005);
            link
        };
        let mut middlebox = Middlebox::new(Steer::Writes);
        middlebox.begin(&link(1));
        middlebox.all_pass(&[write(&link(2), 7, 3)]);
        assert_eq!(middlebox.goes_to(&append(&link(2), 8, 1, 3)), slot(2));
    }
}

#[test]
fn a_udp_checksum_becomes_none() {
    let (x, y) = (client(1), client(2));
    let mut middlebox = Middlebox::new(Steer::Writes);
    middlebox.begin(&x);
    middlebox.all_pass(&[write(&y, 7, 3)]);
    let mut frame = append(&y, 8, 1, 3);
    let at = usize::from(layout_of(&frame).udp) + 6;
    frame[at..at + 2].copy_from_slice(&[0x12, 0x34]);
    let out = middlebox.pass(Side::Client, &frame);
    let layout = layout_of(&out);
    assert!(icrc::verify(&out, &layout));
    assert_eq!((address_of(&out, &layout), &out[at..at + 2]), (slot(2), &[0, 0][..]));
}

/// What a full table forgets is not steered; everything passes.
#[test]
fn tables_are_bounded() {
    let few = Config {
        nodes_max: 8,
        lists_max: 4,
        connections_max: 4,
        domains_max: 1,
        ..Config::default()
    };
    let none = Config { nodes_max: 0, lists_max: 0, connections_max: 0, domains_max: 0, ..few };
    for (config, steers) in [(few, true), (none, false)] {
        let mut middlebox = Middlebox::of("clover", Steer::All, &config);
        for round in 0..200_u64 {
            let (x, y, n) = (client(round as u8), client(round as u8 + 1), 10 * round);
            let written =
                |link: &Link, psn, number| write_of(link, psn, slot(number), round, 1, LEN);
            let psn = 100 * round as u32;
            middlebox.all_pass(&[
                written(&x, psn + 50, n + 1),
                written(&x, psn + 51, n + 2),
                append(&x, psn + 52, n + 1, n + 2),
                written(&y, psn, n + 3),
            ]);
            let expected = slot(if steers { n + 2 } else { n + 1 });
            assert_eq!(middlebox.goes_to(&append(&y, psn + 1, n + 1, n + 3)), expected);
            // All of the list from twenty rounds ago is forgotten.
            if let Some(before) = round.checked_sub(20) {
                let stale = append(&x, psn + 53, 10 * before + 1, n + 2);
                middlebox.all_pass(&[stale, read(&x, psn + 54, slot(10 * before + 1), LEN)]);
            }
        }
    }
}

/// Executes a COMPARE_SWAP as it came out; whether it succeeded.
fn execute(memory: &mut Memory, frame: &[u8]) -> bool {
    let layout = layout_of(frame);
    let atomic = layout.atomic_eth(frame).unwrap();
    let (address, compare) = (atomic.virtual_address, atomic.compare);
    memory.compare_swap(address, compare, atomic.swap_or_add) == compare
}

/// Numbers of the slots that are found from slot 1 on.
fn follow(memory: &Memory) -> Vec<u64> {
    let mut found = vec![1];
    loop {
        let next = memory.read_u64(slot(*found.last().unwrap())) >> 28;
        if next == 0 {
            return found;
        }
        found.push(next);
    }
}

/// Two clients append to a list whose tail is slot 2, while this middlebox has seen nothing of it.
/// `x` believes that it is slot 1.
fn race() -> (Middlebox, Memory, [Vec<u8>; 2]) {
    let mut memory = Memory::new();
    memory.write_u64(slot(1), 2 << 28 | 1 << 19 | 1 << 11);
    for number in 2..6 {
        memory.write_u64(slot(number), 1 << 11);
    }
    let (x, y) = (client(1), client(2));
    let mut middlebox = Middlebox::new(Steer::Writes);
    middlebox.all_pass(&[write(&x, 0, 3), write(&y, 0, 4)]);
    let stale = middlebox.pass(Side::Client, &append(&x, 1, 1, 3));
    let steered = middlebox.pass(Side::Client, &append(&y, 1, 2, 4));
    assert_eq!(address_of(&stale, &layout_of(&stale)), slot(1));
    // y was right, and is sent to what x has not appended yet.
    assert_eq!(address_of(&steered, &layout_of(&steered)), slot(3));
    (middlebox, memory, [stale, steered])
}

/// The weakness that the module's text tells of: y is told of success, and its version is in no
/// list. It is there again once x, which was told of failure, has tried again.
#[test]
fn a_race_loses_an_update() {
    let (mut middlebox, mut memory, [stale, steered]) = race();
    assert!(!execute(&mut memory, &stale));
    assert!(execute(&mut memory, &steered), "y is told of success");
    assert_eq!(follow(&memory), [1, 2], "y's version, 4, is not found");
    // Whoever comes later follows it into nowhere.
    let z = client(3);
    middlebox.all_pass(&[write(&z, 0, 5)]);
    let later = middlebox.pass(Side::Client, &append(&z, 1, 2, 5));
    assert!(execute(&mut memory, &later));
    assert_eq!(follow(&memory), [1, 2]);
    let again = middlebox.pass(Side::Client, &append(&client(1), 2, 2, 3));
    assert!(execute(&mut memory, &again));
    assert_eq!(follow(&memory), [1, 2, 3, 4, 5]);
}

/// Two appends of which each is steered right: the one behind executes first. Between the two its
/// client has been told of success, and nobody finds it.
#[test]
fn an_update_is_not_found_before_the_one_that_it_hangs_from() {
    let (x, y) = (client(1), client(2));
    let mut memory = Memory::new();
    (1..5).for_each(|number| memory.write_u64(slot(number), 1 << 11));
    let mut middlebox = Middlebox::new(Steer::Writes);
    middlebox.begin(&x);
    assert!(execute(&mut memory, &append(&x, 2, 1, 2)));
    middlebox.all_pass(&[write(&x, 3, 3), write(&y, 0, 4)]);
    let first = middlebox.pass(Side::Client, &append(&x, 4, 1, 3));
    let second = middlebox.pass(Side::Client, &append(&y, 1, 1, 4));
    assert!(execute(&mut memory, &second));
    assert_eq!(follow(&memory), [1, 2]);
    assert!(execute(&mut memory, &first));
    assert_eq!(follow(&memory), [1, 2, 3, 4]);
}
