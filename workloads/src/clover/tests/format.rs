//! Layout of memory, words and messages.

use rand::RngExt;

use super::super::{
    CloverConfig, Collected, ConfigError, Content, Entry, LARGE_MESSAGE_BYTES, Layout,
    MESSAGE_BYTES, Machine, Message, MessageHeader, MetadataServer, Outcome, Pointer, ReplyBuffer,
    Request, SlotClass, Ticket, Variant, message_kind,
};
use super::config;
use crate::keys::generator;

#[test]
fn slots_lie_where_the_trace_has_them() {
    let layout = Layout::default();
    let address = |slot| layout.slot(SlotClass::B1024, Entry { slot, version: 1 });
    assert_eq!(address(0x8f480), Some(0x557a_46b7_8100));
    assert_eq!(address(0x8f4a9), Some(0x557a_46b8_2500));
    assert_eq!(address(0x8f47f), None);
    let slots: Vec<(u32, u32)> = SlotClass::ALL.iter().map(|class| class.slots()).collect();
    assert_eq!(slots, [(0, 335_360), (335_360, 503_040), (503_040, 586_880), (586_880, 4_569_280)]);
    let slot = |class, slot| layout.slot(class, Entry { slot, version: 1 });
    assert_eq!(slot(SlotClass::B128, 0), None);
    assert_eq!(slot(SlotClass::B128, 1), Some(layout.values + 128));
    // A class begins where the one before ends.
    for pair in SlotClass::ALL.windows(2) {
        let (_, end) = pair[0].slots();
        let last = slot(pair[0], end - 1).unwrap() + pair[0].bytes() as u64;
        assert_eq!(slot(pair[1], end), Some(last));
    }
}

#[test]
fn a_value_takes_the_smallest_slot() {
    for (value, bytes) in [(8, 128), (120, 128), (121, 256), (500, 512), (1_000, 1_024)] {
        let config = CloverConfig::new(Variant::Fork, 1, 1, value).unwrap();
        assert_eq!(config.class().bytes(), bytes);
    }
    let refused = |variant, value| CloverConfig::new(variant, 1, 1, value).unwrap_err();
    assert!(matches!(refused(Variant::Fork, 7), ConfigError::ValueLen { value_len: 7, .. }));
    assert_eq!(
        refused(Variant::Upstream, 1_017).to_string(),
        "values of 1017 bytes: must be 1 to 1016"
    );
    assert!(CloverConfig::new(Variant::Fork, 0, 1, 8).is_err());
}

#[test]
fn words_of_the_trace() {
    let next = Entry { slot: 0x8f491, version: 1 };
    assert_eq!(Pointer::last(1), Pointer(0x800));
    assert_eq!(Pointer::link(next, 1), Pointer(0x0000_8f49_1008_0800));
    assert_eq!(Pointer::entry(next), Pointer(0x0000_8f49_1000_0800));
    assert_eq!(Pointer(0x0000_8f49_1008_0800).next(), Some(next));
    assert_eq!(Pointer(0x0000_8f49_1000_0800).named(), Some(next));
    assert_eq!(Pointer::last(2), Pointer(0x1000));
    let extreme = Entry { slot: u32::MAX, version: 254 };
    let word = Pointer::link(extreme, 253);
    assert_eq!((word.next(), word.version(), word.0 >> 60), (Some(extreme), 253, 0));
}

fn header(kind: i32) -> MessageHeader {
    let reply = ReplyBuffer { address: 0x1122_3344_5566_7788, rkey: 0x99aa_bbcc, machine: 3 };
    MessageHeader { kind, source: 3, destination: 0, thread: 2, reply }
}

#[test]
fn messages_have_their_places() {
    let slots = (1..=16).map(Pointer).collect();
    let content = Content::Allocation { slots, slot_bytes: 1024, number: 16 };
    let bytes = Message { header: header(message_kind::ALLOCATE), content }.encode(true);
    let word = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().unwrap());
    assert_eq!(bytes.len(), MESSAGE_BYTES);
    assert_eq!((word(0), word(8)), (3 << 32 | 3, 2 << 32));
    assert_eq!((word(16), word(24)), (0x1122_3344_5566_7788, 0x3_99aa_bbcc));
    assert_eq!((word(32), word(152), word(160)), (1, 16, 16 << 32 | 1024));
    assert_eq!((word(176), word(184)), (0, 0xcafe_babe));

    let entry = Collected { old: Pointer(0x11), new: Pointer(0x22), key: 0x33 };
    let content = Content::Collection(vec![entry; 2]);
    let bytes = Message { header: header(message_kind::COLLECT), content }.encode(false);
    let word = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().unwrap());
    assert_eq!(bytes.len(), LARGE_MESSAGE_BYTES);
    assert_eq!((word(64), word(72), word(80), word(88)), (0x11, 0x22, 0x33, 1));
    assert_eq!((word(96), word(544)), (0, 2));
}

#[test]
fn messages_come_back_as_they_were() {
    let entry = Content::Entry {
        request: 2,
        key: u64::MAX,
        pointer: Pointer(0x8f48_9000_0800),
        shortcut: Pointer(128 << 28),
    };
    let collected = Collected { old: Pointer(1), new: Pointer(2), key: 3 };
    for (kind, content) in [
        (message_kind::ALLOCATE, {
            Content::Allocation { slots: vec![Pointer(5)], slot_bytes: 128, number: 1 }
        }),
        (message_kind::ENTRY, entry),
        (message_kind::COLLECT, Content::Collection(vec![collected; 16])),
        (message_kind::EPOCH, Content::Epoch(7)),
    ] {
        let message = Message { header: header(kind), content };
        assert_eq!(Message::parse(&message.encode(false)), Some(message));
    }
}

#[test]
fn nothing_that_arrives_makes_anyone_panic() {
    let mut rng = generator(4, 0);
    let mut config = config(Variant::Fork, 2, 3);
    config.epoch_slots = 0;
    let mut metadata = MetadataServer::new(&config);
    let mut machine = Machine::new(&config, 1);
    for _ in 0..50_000 {
        let length = [0, 8, MESSAGE_BYTES, LARGE_MESSAGE_BYTES][rng.random_range(0..4)];
        let mut bytes: Vec<u8> = (0..length).map(|_| rng.random()).collect();
        if let Some(kind) = bytes.first_chunk_mut() {
            *kind = rng.random_range(-1..12_i32).to_le_bytes();
        }
        if let Some(request) = bytes.get_mut(32..).and_then(<[u8]>::first_chunk_mut) {
            *request = rng.random_range(0..4_u32).to_le_bytes();
        }
        let address = config.reply_buffers.wrapping_add(rng.random_range(0..16) * 192);
        let part = rng.random();
        let ticket = Ticket { context: rng.random_range(0..12), part };
        machine.submit(rng.random_range(0..5), Request::Update { key: rng.random_range(0..3) });
        machine.handle_write(address, &bytes);
        machine.handle_message(&bytes);
        let outcome = match rng.random_range(0..4) {
            0 => Outcome::Done,
            1 => Outcome::Failed,
            2 => Outcome::Atomic(0x800),
            _ => Outcome::Read(bytes.clone()),
        };
        machine.handle_completion(ticket, outcome);
        metadata.handle_message(rng.random(), rng.random(), rng.random(), &bytes);
        metadata.handle_write(address, &bytes);
        metadata.handle_completion(rng.random_range(0..1_000));
        while machine.poll_post().is_some() || metadata.poll_post().is_some() {}
        while machine.poll_finished().is_some() {}
    }
    let tick = Message::parse(&[0; MESSAGE_BYTES]);
    assert_eq!(tick, None);
    assert_eq!(Message::parse(&[0xff; MESSAGE_BYTES - 1]), None);
    metadata.handle_timeout(u64::MAX);
}
