//! Verb for verb, word for word: what the trace of two threads and one key shows.

use super::super::{
    Content, FinishedHow, MESSAGE_BYTES, Message, MessageHeader, Peer, ReplyBuffer, Request,
    Variant, Verb, message_kind,
};
use super::{Outcome, Rig, config};

/// The first slots of the first two threads (trace).
const SLOTS_0: [u64; 4] = [0x557a_46b7_8500, 0x557a_46b7_a500, 0x557a_46b7_c500, 0x557a_46b7_e500];
const SLOTS_1: [u64; 2] = [0x557a_46b7_8100, 0x557a_46b7_a100];
/// The shortcut of key 1, if key 0 was opened before (trace).
const SHORTCUT: u64 = 0x557a_3ed9_b0f8;

/// What was executed since the last time, by one line each.
fn lines(rig: &mut Rig) -> Vec<String> {
    let line = |(source, peer, verb, outcome): (Option<usize>, Peer, Verb, Outcome)| {
        let source = source.map_or("ms".to_owned(), |index| format!("c{index}"));
        let to = match peer {
            Peer::Memory => "mn",
            Peer::Metadata if source == "ms" => "c",
            Peer::Metadata => "ms",
        };
        let what = match verb {
            Verb::Write { address, data, .. } if data.len() == 8 => {
                let word = u64::from_le_bytes(data.try_into().expect("eight bytes"));
                format!("write 8 {address:x} {word:x}")
            }
            Verb::Write { data, .. } if data.len() == MESSAGE_BYTES => "reply".to_owned(),
            Verb::Write { address, data, .. } => format!("write {} {address:x}", data.len()),
            Verb::Read { address, length, .. } => format!("read {length} {address:x}"),
            Verb::CompareSwap { address, compare, swap, .. } => {
                format!("swap {address:x} {compare:x} {swap:x}: {outcome:x?}")
            }
            Verb::Send { data } => format!("send {}", data.len()),
        };
        format!("{source}>{to} {what}")
    };
    rig.log.drain(..).map(line).collect()
}

/// A rig with keys 0 and 1 opened by thread 0, like the fork.
fn opened() -> Rig {
    let mut rig = Rig::new(config(Variant::Fork, 1, 2), 1);
    for key in 0..=1 {
        assert_eq!(rig.alone(0, 0, Request::Insert { key }).how, FinishedHow::Done);
    }
    rig
}

#[test]
fn opening_keys() {
    let mut rig = opened();
    assert_eq!(
        lines(&mut rig),
        [
            "c0>ms send 192".to_owned(),
            "ms>c reply".to_owned(),
            format!("c0>mn write 1024 {:x}", SLOTS_0[0]),
            "c0>ms send 192".to_owned(),
            format!("ms>mn write 8 {:x} {:x}", SHORTCUT - 8, 0x8f48_1000_0800_u64),
            "ms>c reply".to_owned(),
            format!("c0>mn write 1024 {:x}", SLOTS_0[1]),
            "c0>ms send 192".to_owned(),
            format!("ms>mn write 8 {SHORTCUT:x} 8f4890000800"),
            "ms>c reply".to_owned(),
        ]
    );
}

#[test]
fn an_update_and_a_read() {
    let mut rig = opened();
    lines(&mut rig);
    rig.alone(0, 0, Request::Update { key: 1 });
    let swap = "800 8f4910080800: Atomic(800)";
    assert_eq!(
        lines(&mut rig),
        [
            format!("c0>mn write 1024 {:x}", SLOTS_0[2]),
            format!("c0>mn swap {:x} {swap}", SLOTS_0[1]),
            format!("c0>mn write 8 {SHORTCUT:x} 8f4910000800"),
            "c0>ms send 560".to_owned(),
            "ms>c reply".to_owned(),
        ]
    );
    rig.alone(0, 0, Request::Read { key: 1 });
    let [slot, shortcut] =
        [format!("c0>mn read 1024 {:x}", SLOTS_0[2]), format!("c0>mn read 8 {SHORTCUT:x}")];
    assert_eq!(lines(&mut rig), [slot, shortcut]);
}

#[test]
fn who_loses_the_race_walks_to_the_tail() {
    let mut rig = opened();
    rig.alone(0, 1, Request::Update { key: 1 });
    lines(&mut rig);
    // Another machine's stale knowledge: this one forgets that the key moved on.
    let known = rig.machines[0].clone();
    rig.alone(0, 0, Request::Update { key: 1 });
    let ahead = std::mem::replace(&mut rig.machines[0], known);
    lines(&mut rig);
    rig.alone(0, 1, Request::Update { key: 1 });
    assert_eq!(
        lines(&mut rig)[..6],
        [
            format!("c0>mn write 1024 {:x}", SLOTS_1[1]),
            // The word holds the link to the other's slot: the swap fails for its value.
            format!("c0>mn swap {:x} 800 8f4880080800: Atomic(8f4910080800)", SLOTS_1[0]),
            format!("c0>mn read 8 {:x}", SLOTS_1[0]),
            format!("c0>mn read 8 {SHORTCUT:x}"),
            // The shortcut was already right.
            format!("c0>mn read 8 {:x}", SLOTS_0[2]),
            format!("c0>mn swap {:x} 800 8f4880080800: Atomic(800)", SLOTS_0[2]),
        ]
    );
    assert_eq!(rig.machines[0].stats().commits_lost, 1);
    assert_eq!(ahead.stats().commits_lost, 0);
}

#[test]
fn a_stale_reader_jumps_to_the_shortcut_then_follows_the_list() {
    let mut rig = opened();
    lines(&mut rig);
    let known = rig.machines[0].clone();
    for _ in 0..2 {
        rig.alone(0, 0, Request::Update { key: 1 });
    }
    rig.machines[0] = known;
    // The shortcut as it was after the open, before any collector got to it.
    rig.words.insert(SHORTCUT, 0x8f48_9000_0800);
    lines(&mut rig);
    assert_eq!(rig.alone(0, 0, Request::Read { key: 1 }).how, FinishedHow::Done);
    assert_eq!(
        lines(&mut rig),
        [
            format!("c0>mn read 1024 {:x}", SLOTS_0[1]),
            format!("c0>mn read 8 {SHORTCUT:x}"),
            format!("c0>mn read 1024 {:x}", SLOTS_0[1]),
            format!("c0>mn read 1024 {:x}", SLOTS_0[2]),
            format!("c0>mn read 1024 {:x}", SLOTS_0[3]),
        ]
    );
    // Now the machine knows the tail.
    rig.alone(0, 1, Request::Read { key: 1 });
    assert_eq!(lines(&mut rig)[0], format!("c0>mn read 1024 {:x}", SLOTS_0[3]));
}

#[test]
fn the_first_touch_of_a_key_asks_the_metadata_server() {
    let mut rig = Rig::new(config(Variant::Fork, 2, 1), 1);
    rig.alone(0, 0, Request::Insert { key: 7 });
    lines(&mut rig);
    rig.alone(1, 0, Request::Read { key: 7 });
    let told = lines(&mut rig);
    assert_eq!(told[..2], ["c1>ms send 192", "ms>c reply"]);
    assert!(told[2].starts_with("c1>mn read 1024") && told.len() == 4, "{told:?}");
    assert_eq!(rig.alone(1, 0, Request::Read { key: 8 }).how, FinishedHow::Missing);
    assert_eq!(rig.alone(1, 0, Request::Update { key: 8 }).how, FinishedHow::Missing);
}

#[test]
fn slots_come_sixteen_at_a_time() {
    let mut rig = opened();
    for _ in 0..40 {
        rig.alone(0, 1, Request::Update { key: 1 });
    }
    let told = lines(&mut rig);
    // Of thread 0: one for slots, two for keys; of thread 1: one per 16 updates.
    assert_eq!(told.iter().filter(|line| *line == "c0>ms send 192").count(), 3 + 3);
    assert_eq!(told.iter().filter(|line| *line == "c0>ms send 560").count(), 40);
}

#[test]
fn values_say_their_key_in_the_fork_only() {
    for (variant, start) in
        [(Variant::Fork, [3, 0, 0, 0, 0, 0, 0, 0]), (Variant::Upstream, [0x34; 8])]
    {
        let mut rig = Rig::new(config(variant, 1, 1), 1);
        rig.alone(0, 0, Request::Insert { key: 3 });
        let slot = rig.log.iter().find_map(|(.., verb, _)| match verb {
            Verb::Write { data, .. } if data.len() == 1024 => Some(data.clone()),
            _ => None,
        });
        let slot = slot.expect("the value was written");
        assert_eq!(slot[..8], 0x800_u64.to_le_bytes());
        assert_eq!(slot[8..16], start);
        assert!(slot[16..1008].iter().all(|byte| *byte == 0x34));
        assert!(slot[1008..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn a_thread_that_opened_no_key_fills_the_first_128_bytes() {
    let mut rig = opened();
    rig.log.clear();
    rig.alone(0, 1, Request::Update { key: 1 });
    let slot = rig.log.iter().find_map(|(.., verb, _)| match verb {
        Verb::Write { data, .. } if data.len() == 1024 => Some(data.clone()),
        _ => None,
    });
    let slot = slot.expect("the value was written");
    assert!(slot[16..128].iter().all(|byte| *byte == 0x41));
    assert!(slot[128..].iter().all(|byte| *byte == 0));
}

#[test]
fn an_epoch_waits_for_what_is_under_way_and_forgets_all_tails() {
    let mut rig = opened();
    lines(&mut rig);
    let reply = ReplyBuffer { address: rig.config.reply_buffers, rkey: 5, machine: 0 };
    let header = MessageHeader { kind: message_kind::EPOCH, reply, ..MessageHeader::default() };
    let announcement = Message { header, content: Content::Epoch(1) }.encode(false);
    assert!(rig.machines[0].submit(0, Request::Update { key: 1 }));
    rig.machines[0].handle_message(&announcement);
    assert!(rig.machines[0].submit(1, Request::Read { key: 1 }));
    rig.run();
    let told = lines(&mut rig);
    let order = ["mn write 1024", "mn swap", "mn write 8", "ms send 560", "ms>c reply"];
    for (line, part) in told.iter().zip(order) {
        assert!(line.contains(part), "{told:?}");
    }
    // On different queue pairs, so in any order: the reply, and the read that asks for its key.
    for line in ["c0>ms reply", "c0>ms send 192"] {
        assert!(told[5..].iter().any(|told| told == line), "{told:?}");
    }
    assert_eq!(rig.finished.len(), 2);
}
