//! Messages between clients and metadata server: C structs, little-endian, as the compiler of the
//! clover source lays them out.

use super::pointer::Pointer;

/// Bytes of all messages but reports of garbage (`mitsume_msg`).
pub const MESSAGE_BYTES: usize = 192;
/// Bytes of a report of garbage (`mitsume_large_msg`).
pub const LARGE_MESSAGE_BYTES: usize = 560;

/// Pointers in an allocation, and superseded slots in a report.
pub(super) const ENTRIES_MAX: usize = 16;
/// Last word of a reply; the client polls for it.
const REPLY_END: u64 = 0xcafe_babe;

const CONTENT_AT: usize = 32;
const END_AT: usize = 184;
const COLLECTED_BYTES: usize = 32;
const COLLECTED_COUNT_AT: usize = CONTENT_AT + ENTRIES_MAX * COLLECTED_BYTES;

/// Kinds of messages; each one's reply has the next number (clover source).
pub mod message_kind {
    /// Asks for slots.
    pub const ALLOCATE: i32 = 3;
    /// Asks for, or announces, a key.
    pub const ENTRY: i32 = 5;
    /// Reports superseded slots.
    pub const COLLECT: i32 = 7;
    /// A new epoch: no operation is to go on.
    pub const EPOCH: i32 = 9;
}

/// What an entry message is for.
pub(super) const OPEN: u32 = 1;
pub(super) const QUERY: u32 = 2;

/// Where the reply is to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplyBuffer {
    /// First address.
    pub address: u64,
    /// Remote key.
    pub rkey: u32,
    /// Machine it is on.
    pub machine: i16,
}

/// The first 32 bytes of every message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageHeader {
    /// See [`message_kind`].
    pub kind: i32,
    /// Machine that sends it.
    pub source: i32,
    /// Machine it is for.
    pub destination: i32,
    /// Thread that sends it.
    pub thread: u32,
    /// Where the reply goes.
    pub reply: ReplyBuffer,
}

/// A superseded slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Entry form of the slot.
    pub old: Pointer,
    /// Entry form of its successor.
    pub new: Pointer,
    /// Key they belong to.
    pub key: u64,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Asks for 16 slots of a size, or hands them out.
    Allocation {
        /// Entry forms of the slots.
        slots: Vec<Pointer>,
        /// Bytes of a slot.
        slot_bytes: u32,
        /// Slots asked for, or handed out.
        number: u32,
    },
    /// About a key.
    Entry {
        /// 1 opens a key, 2 asks for one.
        request: u32,
        /// The key.
        key: u64,
        /// Entry form of its newest slot as far as known; 0 if the key is not known.
        pointer: Pointer,
        /// Entry form of its shortcut's number.
        shortcut: Pointer,
    },
    /// Superseded slots, at most 16.
    Collection(Vec<Collected>),
    /// Number of the epoch.
    Epoch(i32),
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its first 32 bytes.
    pub header: MessageHeader,
    /// The rest.
    pub content: Content,
}

impl Message {
    /// Its bytes; `reply` puts the mark that clients poll for behind it.
    #[must_use]
    pub fn encode(&self, reply: bool) -> Vec<u8> {
        let large = matches!(self.content, Content::Collection(_)) && !reply;
        let mut out = Writer(vec![0; if large { LARGE_MESSAGE_BYTES } else { MESSAGE_BYTES }]);
        let header = &self.header;
        out.put(0, &header.kind.to_le_bytes());
        out.put(4, &header.source.to_le_bytes());
        out.put(8, &header.destination.to_le_bytes());
        out.put(12, &header.thread.to_le_bytes());
        out.put(16, &header.reply.address.to_le_bytes());
        out.put(24, &header.reply.rkey.to_le_bytes());
        out.put(28, &header.reply.machine.to_le_bytes());
        match &self.content {
            Content::Allocation { slots, slot_bytes, number } => {
                for (index, slot) in slots.iter().take(ENTRIES_MAX).enumerate() {
                    out.word(CONTENT_AT + 8 * index, slot.0);
                }
                out.put(CONTENT_AT + 128, &slot_bytes.to_le_bytes());
                out.put(CONTENT_AT + 132, &number.to_le_bytes());
            }
            Content::Entry { request, key, pointer, shortcut } => {
                out.put(CONTENT_AT, &request.to_le_bytes());
                out.word(CONTENT_AT + 8, *key);
                out.word(CONTENT_AT + 16, pointer.0);
                out.word(CONTENT_AT + 24, shortcut.0);
                // Replication factor.
                out.put(CONTENT_AT + 32, &1_i32.to_le_bytes());
            }
            // A reply says no more than that the report has come.
            Content::Collection(_) if !large => {}
            Content::Collection(entries) => out.collection(entries),
            Content::Epoch(number) => out.put(CONTENT_AT, &number.to_le_bytes()),
        }
        if reply {
            out.word(END_AT, REPLY_END);
        }
        out.0
    }

    /// Reads a message of one of the two lengths; `None` for anything else.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != MESSAGE_BYTES && bytes.len() != LARGE_MESSAGE_BYTES {
            return None;
        }
        let header = MessageHeader {
            kind: i32::from_le_bytes(take(bytes, 0)?),
            source: i32::from_le_bytes(take(bytes, 4)?),
            destination: i32::from_le_bytes(take(bytes, 8)?),
            thread: u32::from_le_bytes(take(bytes, 12)?),
            reply: ReplyBuffer {
                address: word(bytes, 16)?,
                rkey: u32::from_le_bytes(take(bytes, 24)?),
                machine: i16::from_le_bytes(take(bytes, 28)?),
            },
        };
        // A reply's number is one above that of what it answers.
        let kind = header.kind.wrapping_sub(i32::from(header.kind % 2 == 0));
        let content = match (kind, bytes.len()) {
            (message_kind::ALLOCATE, MESSAGE_BYTES) => allocation(bytes)?,
            (message_kind::ENTRY, MESSAGE_BYTES) => Content::Entry {
                request: u32::from_le_bytes(take(bytes, CONTENT_AT)?),
                key: word(bytes, CONTENT_AT + 8)?,
                pointer: Pointer(word(bytes, CONTENT_AT + 16)?),
                shortcut: Pointer(word(bytes, CONTENT_AT + 24)?),
            },
            (message_kind::COLLECT, MESSAGE_BYTES) => Content::Collection(Vec::new()),
            (message_kind::COLLECT, LARGE_MESSAGE_BYTES) => collection(bytes)?,
            (message_kind::EPOCH, MESSAGE_BYTES) => {
                Content::Epoch(i32::from_le_bytes(take(bytes, CONTENT_AT)?))
            }
            _ => return None,
        };
        Some(Self { header, content })
    }
}

fn allocation(bytes: &[u8]) -> Option<Content> {
    let number = u32::from_le_bytes(take(bytes, CONTENT_AT + 132)?);
    let slots = (0..ENTRIES_MAX.min(number as usize))
        .map(|index| word(bytes, CONTENT_AT + 8 * index).map(Pointer))
        .collect::<Option<_>>()?;
    let slot_bytes = u32::from_le_bytes(take(bytes, CONTENT_AT + 128)?);
    Some(Content::Allocation { slots, slot_bytes, number })
}

fn collection(bytes: &[u8]) -> Option<Content> {
    let count = u32::from_le_bytes(take(bytes, COLLECTED_COUNT_AT)?);
    let entries = (0..ENTRIES_MAX.min(count as usize)).map(|index| {
        let at = CONTENT_AT + index * COLLECTED_BYTES;
        Some(Collected {
            old: Pointer(word(bytes, at)?),
            new: Pointer(word(bytes, at + 8)?),
            key: word(bytes, at + 16)?,
        })
    });
    entries.collect::<Option<_>>().map(Content::Collection)
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    take(bytes, at).map(u64::from_le_bytes)
}

struct Writer(Vec<u8>);

impl Writer {
    /// Stores bytes where there is room for them.
    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.0.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    fn word(&mut self, at: usize, value: u64) {
        self.put(at, &value.to_le_bytes());
    }

    fn collection(&mut self, entries: &[Collected]) {
        let count = entries.len().min(ENTRIES_MAX);
        for (index, entry) in entries.iter().take(count).enumerate() {
            let at = CONTENT_AT + index * COLLECTED_BYTES;
            self.word(at, entry.old.0);
            self.word(at + 8, entry.new.0);
            self.word(at + 16, entry.key);
            // Replication factor.
            self.put(at + 24, &1_u32.to_le_bytes());
        }
        self.put(COLLECTED_COUNT_AT, &(count as u32).to_le_bytes());
    }
}
