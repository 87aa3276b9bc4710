//! What fuzzing does with a few bytes: one function for each way into qpmux.
//!
//! `tests/fuzz` lets libFuzzer make up the bytes; `tests/fuzz_corpus` runs the same functions on
//! the committed ones. A function returns, whatever its bytes are, and panics where qpmux breaks
//! a promise.

mod bytes;
mod conversation;
mod engine;
mod handshakes;
mod learner;
mod traffic;
mod wire;

use std::io::Cursor;

use qpmux_engine::connections::{Config, Learner};
use qpmux_engine::wire::Opcode;
use qpmux_sim::connections_file::KnownConnections;
use qpmux_traces::CaptureReader;
use qpmux_workloads::parse_profile;

pub use engine::{engine, guarded_engine};
pub use handshakes::handshakes;
pub use learner::learner;
pub use wire::wire;

/// A function that takes any bytes.
pub type Target = fn(&[u8]);

/// All of them, by the name of their folder in `tests/fuzz/corpus`.
pub const TARGETS: [(&str, Target); 7] = [
    ("wire", wire),
    ("handshakes", handshakes),
    ("learner", learner),
    ("capture", capture),
    ("profile", profile),
    ("connections", connections),
    ("engine", engine),
];

/// Packets of a capture that are read: a small compressed file can hold any number.
const PACKETS_MAX: u64 = 4096;

/// The bytes are a capture: classic or pcapng, plain, gzip or zstd.
pub fn capture(data: &[u8]) {
    let Ok(mut reader) = CaptureReader::from_reader("fuzz", Cursor::new(data.to_vec())) else {
        return;
    };
    let mut packets = 0;
    while packets < PACKETS_MAX {
        match reader.next_packet() {
            Ok(Some(packet)) => {
                packets += 1;
                assert_eq!(packet.number, packets);
                assert!(packet.original_len as usize >= packet.data.len());
                assert_eq!(packet.is_truncated(), packet.data.len() < packet.original_len as usize);
            }
            Ok(None) => break,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                break;
            }
        }
    }
    if packets < PACKETS_MAX {
        assert!(matches!(reader.next_packet(), Ok(None)), "after the end there is nothing");
        let tail = reader.truncated_tail();
        assert!(tail.is_none_or(|tail| tail.after_packet == packets));
    }
    assert!(reader.bytes_read() <= data.len() as u64);
}

/// The bytes are an application profile.
pub fn profile(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse_profile("fuzz", text) {
        Ok(profile) => {
            let payload = [0x5a; 1100];
            for len in [0, 1, 7, 8, 64, 1024, 1100] {
                let _ = profile.is_slot(len as u32);
                for opcode in [Opcode::WriteOnly, Opcode::WriteFirst, Opcode::SendOnly] {
                    let _ = profile.written_key(opcode, &payload[..len]);
                }
            }
        }
        Err(error) => assert!(error.to_string().contains("fuzz"), "{error}"),
    }
}

/// The bytes are an operator's list of connections.
pub fn connections(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match KnownConnections::parse("fuzz", text) {
        Ok(known) => {
            let config = Config { flows_max: 16, connections_max: 8, ..Config::default() };
            let mut learner = Learner::new(config);
            match known.configure(0, &mut learner) {
                Ok(()) => assert!(learner.connections().count() <= known.len()),
                Err(error) => assert!(error.to_string().contains("line"), "{error}"),
            }
        }
        Err(error) => assert!(error.to_string().contains("fuzz"), "{error}"),
    }
}
