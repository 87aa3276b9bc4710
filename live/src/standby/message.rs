//! What two hosts say to each other: a kind, a length, a body.

use std::io::{self, Read, Write};

use crate::announcement::Address;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version of all this.
pub(super) const VERSION: u32 = 1;
/// Longest body: a chunk of records, and what is around it.
const BODY_MAX: usize = (1 << 24) + 64;
/// Bytes in front of a body.
const FRONT: usize = 5;

/// Who calls, and with which log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`] of the caller.
    pub version: u32,
    /// The log.
    pub log: u64,
    /// Its term.
    pub term: u64,
    /// What records mean to the caller: forms, limits, policy.
    pub meaning: u32,
    /// Its workers.
    pub workers: usize,
    /// Its lease, in nanoseconds.
    pub lease_ns: u64,
    /// Records that it may use before they are confirmed, in bytes: if any, the end of the log may
    /// be missing.
    pub lag_bytes: u64,
    /// It only asks what the other host is.
    pub probe: bool,
}

/// What is said to a caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    /// Go on: records are taken.
    StandingBy,
    /// This host speaks, in that term of that log.
    Speaking {
        /// The log.
        log: u64,
        /// Its term.
        term: u64,
    },
    /// No: why.
    Refused(String),
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// The first one.
    Hello(Hello),
    /// The answer to it.
    Answer(Answer),
    /// Records of a worker.
    Records {
        /// The worker's number.
        worker: u32,
        /// Bytes of that worker before these.
        position: u64,
        /// A chunk, as files have it.
        chunk: Vec<u8>,
    },
    /// The other host has all that is known: from the answer on it may go on by itself.
    Level,
    /// Could the other host go on with all that was said?
    Ready,
    /// It could, or has; or it cannot be: why.
    LevelAnswer(Option<String>),
    /// The caller is alive.
    Beat(u64),
    /// Frames come from there.
    Address(Address),
    /// What was taken.
    Taken {
        /// The last beat.
        beat: u64,
        /// Bytes of each worker.
        positions: Vec<u64>,
    },
    /// The caller speaks no more, and this is all.
    Final,
}

impl Message {
    fn kind(&self) -> u8 {
        match self {
            Message::Hello(_) => 1,
            Message::Answer(_) => 2,
            Message::Records { .. } => 3,
            Message::Level => 4,
            Message::LevelAnswer(_) => 5,
            Message::Beat(_) => 6,
            Message::Taken { .. } => 7,
            Message::Final => 8,
            Message::Address(_) => 9,
            Message::Ready => 10,
        }
    }

    /// Says it.
    ///
    /// # Errors
    /// What the other end or the network says.
    pub(super) fn write(&self, stream: &mut impl Write) -> io::Result<()> {
        let mut bytes = vec![0; FRONT];
        match self {
            Message::Hello(hello) => serde_json::to_writer(&mut bytes, hello)?,
            Message::Answer(answer) => serde_json::to_writer(&mut bytes, answer)?,
            Message::LevelAnswer(reason) => serde_json::to_writer(&mut bytes, reason)?,
            Message::Records { worker, position, chunk } => {
                bytes.extend(worker.to_le_bytes());
                bytes.extend(position.to_le_bytes());
                bytes.extend(chunk);
            }
            Message::Beat(beat) => bytes.extend(beat.to_le_bytes()),
            Message::Taken { beat, positions } => {
                bytes.extend(beat.to_le_bytes());
                bytes.extend(positions.iter().flat_map(|position| position.to_le_bytes()));
            }
            Message::Address(address) => bytes.extend(address.bytes()),
            Message::Ready | Message::Level | Message::Final => {}
        }
        let len = (bytes.len() - FRONT) as u32;
        if let Some((front, _)) = bytes.split_first_chunk_mut::<FRONT>() {
            front[0] = self.kind();
            front[1..].copy_from_slice(&len.to_le_bytes());
        }
        // In one piece: half of it would wait for the other end's word.
        stream.write_all(&bytes)
    }

    /// Hears one.
    ///
    /// # Errors
    /// When the other end is gone, or says what nobody says.
    pub(super) fn read(stream: &mut impl Read) -> io::Result<Message> {
        let mut front = [0; FRONT];
        stream.read_exact(&mut front)?;
        let [kind, len @ ..] = front;
        let len = u32::from_le_bytes(len) as usize;
        if len > BODY_MAX {
            return Err(wrong("a message of more than a chunk"));
        }
        let mut body = vec![0; len];
        stream.read_exact(&mut body)?;
        Message::of(kind, &body).ok_or_else(|| wrong("a message that nobody says"))
    }

    fn of(kind: u8, body: &[u8]) -> Option<Message> {
        fn json<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
            serde_json::from_slice(body).ok()
        }
        Some(match kind {
            1 => Message::Hello(json(body)?),
            2 => Message::Answer(json(body)?),
            3 => {
                let (worker, rest) = body.split_first_chunk::<4>()?;
                let (position, chunk) = rest.split_first_chunk::<8>()?;
                let worker = u32::from_le_bytes(*worker);
                let position = u64::from_le_bytes(*position);
                Message::Records { worker, position, chunk: chunk.to_vec() }
            }
            4 if body.is_empty() => Message::Level,
            5 => Message::LevelAnswer(json(body)?),
            6 => Message::Beat(u64::from_le_bytes(body.try_into().ok()?)),
            7 => {
                let (words, rest) = body.as_chunks::<8>();
                let (beat, positions) = words.split_first().filter(|_| rest.is_empty())?;
                let positions = positions.iter().map(|word| u64::from_le_bytes(*word)).collect();
                Message::Taken { beat: u64::from_le_bytes(*beat), positions }
            }
            8 if body.is_empty() => Message::Final,
            9 => Message::Address(Address::read(body)?),
            10 if body.is_empty() => Message::Ready,
            _ => return None,
        })
    }
}

fn wrong(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
