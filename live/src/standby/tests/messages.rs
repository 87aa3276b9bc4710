//! What is said is heard, and bytes that nobody says do no harm.

use std::io::{self, ErrorKind, Read};

use qpmux_engine::Side;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::super::message::{Answer, Message};
use super::*;
use crate::announcement::Address;

fn all() -> Vec<Message> {
    let address = Address { told: Side::Server, mac: [2, 0, 0, 0, 0, 7], tag: Some(5) };
    vec![
        Message::Hello(hello(Duration::from_millis(300))),
        Message::Answer(Answer::StandingBy),
        Message::Answer(Answer::Speaking { log: 1 << 59, term: u64::MAX }),
        Message::Answer(Answer::Refused("no".to_owned())),
        Message::Records { worker: 3, position: 1 << 40, chunk: chunk(0..9) },
        Message::Records { worker: 0, position: 0, chunk: Vec::new() },
        Message::Ready,
        Message::Level,
        Message::LevelAnswer(None),
        Message::LevelAnswer(Some("it cannot".to_owned())),
        Message::Beat(u64::MAX),
        Message::Address(address),
        Message::Address(Address { told: Side::Client, tag: None, ..address }),
        Message::Taken { beat: 4, positions: vec![1, 2, u64::MAX] },
        Message::Taken { beat: 4, positions: Vec::new() },
        Message::Final,
    ]
}

fn written(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.write(&mut bytes).unwrap();
    bytes
}

#[test]
fn what_is_said_is_heard_one_after_the_other() {
    let bytes: Vec<u8> = all().iter().flat_map(written).collect();
    let mut rest = &bytes[..];
    for message in all() {
        assert_eq!(Message::read(&mut rest).unwrap(), message);
    }
    assert!(rest.is_empty());
}

#[test]
fn what_is_cut_off_is_not_heard() {
    for message in all() {
        let bytes = written(&message);
        for len in 0..bytes.len() {
            let error = Message::read(&mut &bytes[..len]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{message:?}: {len} bytes");
        }
    }
}

/// A front, behind which nothing may be read.
struct Front<'a>(&'a [u8]);

impl Read for Front<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        assert!(!self.0.is_empty(), "{} bytes of a body are wanted", into.len());
        self.0.read(into)
    }
}

#[test]
fn a_body_that_is_too_long_is_not_waited_for() {
    for (kind, len) in [(3, u32::MAX), (1, u32::MAX), (200, 1 << 31), (3, (1 << 24) + 65)] {
        let bytes = [&[kind][..], &len.to_le_bytes()].concat();
        let error = Message::read(&mut Front(&bytes)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{kind} {len}");
    }
}

#[test]
fn bodies_that_nobody_says_are_no_messages() {
    let wrong: [(u8, &[u8]); 14] = [
        (0, &[]),
        (10, &[0]),
        (11, &[]),
        (255, &[1; 8]),
        (1, b"{}"),
        (1, b"\xff\xfe"),
        (2, b"\"standing\""),
        (3, &[0; 11]),
        (4, &[0]),
        (6, &[0; 7]),
        (6, &[0; 9]),
        (7, &[0; 15]),
        (8, &[0]),
        (9, &[0; 9]),
    ];
    for (kind, body) in wrong {
        let bytes = [&[kind][..], &(body.len() as u32).to_le_bytes(), body].concat();
        let error = Message::read(&mut &bytes[..]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{kind} {body:?}");
    }
    // As deep as a body can be.
    let deep = vec![b'['; 1 << 16];
    for kind in [1, 2, 5] {
        let bytes = [&[kind][..], &(deep.len() as u32).to_le_bytes(), &deep].concat();
        assert!(Message::read(&mut &bytes[..]).is_err(), "{kind}");
    }
}

#[test]
fn any_bytes_are_survived() {
    let mut random = Pcg64Mcg::seed_from_u64(1);
    let said = all();
    for _ in 0..20_000 {
        let mut bytes = if random.random() {
            written(&said[random.random_range(0..said.len())])
        } else {
            // No length that is long by chance.
            let mut bytes: Vec<u8> =
                (0..random.random_range(0..64)).map(|_| random.random()).collect();
            bytes.iter_mut().skip(2).take(3).for_each(|byte| *byte = 0);
            bytes
        };
        for _ in 0..random.random_range(0..4) {
            let len = bytes.len();
            if let Some(byte) = bytes.get_mut(random.random_range(0..len.max(1))) {
                *byte = random.random();
            }
        }
        if let Ok(message) = Message::read(&mut &bytes[..]) {
            // What is heard can be said.
            assert_eq!(Message::read(&mut &written(&message)[..]).unwrap(), message);
        }
    }
}
