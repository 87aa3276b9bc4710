//! The metadata server: slots, keys, and what has been superseded.

mod slots;

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::config::CloverConfig;
use super::layout::SHORTCUT_FIRST;
use super::message::{
    Collected, Content, ENTRIES_MAX, MESSAGE_BYTES, Message, MessageHeader, OPEN, QUERY,
    ReplyBuffer, message_kind,
};
use super::pointer::{Entry, Pointer};
use super::verb::Verb;
use crate::Mixed;
use slots::Slots;

/// Where a work request of the metadata server goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataPeer {
    /// To the memory node.
    Memory,
    /// To a client machine.
    Client {
        /// Its id, from 1.
        machine: u16,
        /// Queue pair between the two.
        lane: u16,
    },
}

/// A work request of the metadata server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataPost {
    /// To be given back with the completion.
    pub ticket: u64,
    /// Where it goes.
    pub to: MetadataPeer,
    /// What to do.
    pub verb: Verb,
}

/// What the metadata server has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetadataStats {
    /// Slots handed out.
    pub allocated: u64,
    /// Slots taken back for another use.
    pub recycled: u64,
    /// Keys opened.
    pub opened: u64,
    /// Keys asked for.
    pub queries: u64,
    /// Epochs begun.
    pub epochs: u64,
    /// Messages it did not understand.
    pub ignored: u64,
}

/// What is known of a key.
#[derive(Clone, Debug)]
struct KeyState {
    /// Newest slot of which all before are reported.
    tail: Entry,
    shortcut: u32,
    /// Reported successors of slots that are not reported yet themselves.
    ahead: BTreeMap<Entry, Entry>,
}

/// Who is to be answered, and what, when the key's shortcut is written.
type Opening = (u16, u16, Message);

/// The metadata server of Clover.
///
/// Give it what clients send ([`MetadataServer::handle_message`]), carry out what
/// [`MetadataServer::poll_post`] says, and hand back the completions.
#[derive(Clone, Debug)]
pub struct MetadataServer {
    config: CloverConfig,
    slots: Slots,
    keys: HashMap<u64, KeyState, Mixed>,
    shortcut_next: u32,
    openings: BTreeMap<u64, Opening>,
    tickets: u64,
    /// Superseded slots, and when they may be used again, ns.
    retiring: VecDeque<(u64, Entry)>,
    /// Machines that have not acknowledged the present epoch.
    unsettled: Vec<bool>,
    posts: VecDeque<MetadataPost>,
    stats: MetadataStats,
}

impl MetadataServer {
    /// A metadata server that knows no key.
    #[must_use]
    pub fn new(config: &CloverConfig) -> Self {
        Self {
            slots: Slots::new(config.class(), config.slots_max),
            keys: HashMap::default(),
            shortcut_next: SHORTCUT_FIRST,
            openings: BTreeMap::new(),
            tickets: 0,
            retiring: VecDeque::new(),
            unsettled: vec![false; usize::from(config.machines)],
            posts: VecDeque::new(),
            stats: MetadataStats::default(),
            config: config.clone(),
        }
    }

    /// Takes what a machine has sent on one of its queue pairs.
    pub fn handle_message(&mut self, now_ns: u64, machine: u16, lane: u16, data: &[u8]) {
        self.handle_timeout(now_ns);
        let Some(Message { header, content }) = Message::parse(data) else {
            self.stats.ignored += 1;
            return;
        };
        let to = (machine, lane);
        match content {
            Content::Allocation { number, slot_bytes, .. } => {
                let count = (number as usize).min(ENTRIES_MAX);
                let slots = self.allocate(&header, count);
                let number = slots.len() as u32;
                self.reply(to, &header, Content::Allocation { slots, slot_bytes, number });
            }
            Content::Entry { request: OPEN, key, pointer, .. } => {
                self.open(to, &header, key, pointer);
            }
            Content::Entry { request, key, .. } => {
                self.stats.queries += u64::from(request == QUERY);
                self.answer(to, &header, request, key);
            }
            Content::Collection(entries) => {
                for entry in entries {
                    self.supersede(now_ns, &entry);
                }
                self.reply(to, &header, Content::Collection(Vec::new()));
            }
            Content::Epoch(_) => self.stats.ignored += 1,
        }
    }

    /// Takes what a machine has written to this one's memory: that it is ready for the epoch.
    pub fn handle_write(&mut self, address: u64, data: &[u8]) {
        let Some(message) = Message::parse(data) else { return };
        let machine = address.wrapping_sub(self.config.reply_buffers) / MESSAGE_BYTES as u64;
        let settled = usize::try_from(machine).ok().and_then(|i| self.unsettled.get_mut(i));
        let (Content::Epoch(_), Some(unsettled)) = (message.content, settled) else { return };
        if std::mem::take(unsettled) && !self.unsettled.contains(&true) {
            self.slots.begin_epoch();
        }
    }

    /// Takes the completion of a work request.
    pub fn handle_completion(&mut self, ticket: u64) {
        if let Some((machine, lane, reply)) = self.openings.remove(&ticket) {
            self.send_reply((machine, lane), &reply);
        }
    }

    /// The next work request.
    pub fn poll_post(&mut self) -> Option<MetadataPost> {
        self.posts.pop_front()
    }

    /// When there will be something to do, ns; `None` if nothing waits.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        self.retiring.front().map(|(due, _)| *due)
    }

    /// Takes back the slots whose time has come, and begins an epoch if many have no version left.
    pub fn handle_timeout(&mut self, now_ns: u64) {
        while self.retiring.front().is_some_and(|(due, _)| *due <= now_ns) {
            if let Some((_, entry)) = self.retiring.pop_front() {
                self.slots.recycle(entry);
                self.stats.recycled += 1;
            }
        }
        let waits = self.slots.exhausted();
        if waits > 0 && waits >= self.config.epoch_slots && !self.unsettled.contains(&true) {
            self.announce_epoch();
        }
    }

    /// What it has done.
    #[must_use]
    pub fn stats(&self) -> MetadataStats {
        self.stats
    }

    /// Slots of the thread that takes the request. In the original all eight poll one queue, and
    /// which of them is first is a race; here it depends on who asks, such that the first two
    /// threads get what they have in the trace.
    fn allocate(&mut self, header: &MessageHeader, count: usize) -> Vec<Pointer> {
        let machine = header.source.cast_unsigned().wrapping_sub(1);
        let thread = (header.thread ^ 1).wrapping_add(machine);
        let slots: Vec<Pointer> =
            (0..count).map_while(|_| self.slots.take(thread)).map(Pointer::entry).collect();
        if !slots.is_empty() {
            self.stats.allocated += slots.len() as u64;
            return slots;
        }
        // One that has none left asks the others.
        let mut others = (0..slots::THREADS).map(|other| thread.wrapping_add(other));
        let slot = others.find_map(|other| self.slots.take(other));
        self.stats.allocated += u64::from(slot.is_some());
        slot.map(Pointer::entry).into_iter().collect()
    }

    /// Makes a key known, and writes its shortcut before that is answered. A key that is known
    /// already stays as it is.
    fn open(&mut self, to: (u16, u16), header: &MessageHeader, key: u64, pointer: Pointer) {
        let full =
            u64::from(self.shortcut_next - SHORTCUT_FIRST) >= self.config.layout.shortcuts_max();
        let Some(tail) = pointer.named().filter(|_| !full && !self.keys.contains_key(&key)) else {
            return self.answer(to, header, OPEN, key);
        };
        let shortcut = self.shortcut_next;
        self.shortcut_next += 1;
        self.keys.insert(key, KeyState { tail, shortcut, ahead: BTreeMap::new() });
        self.stats.opened += 1;
        self.tickets += 1;
        let layout = &self.config.layout;
        let (address, rkey) = (layout.shortcut(shortcut), layout.shortcuts_rkey);
        let verb = Verb::Write { address, rkey, data: pointer.0.to_le_bytes().to_vec() };
        let post = MetadataPost { ticket: self.tickets, to: MetadataPeer::Memory, verb };
        self.posts.push_back(post);
        let reply = reply_to(header, self.entry(OPEN, key));
        self.openings.insert(self.tickets, (to.0, to.1, reply));
    }

    /// Says what is known of a key.
    fn answer(&mut self, to: (u16, u16), header: &MessageHeader, request: u32, key: u64) {
        let content = self.entry(request, key);
        self.reply(to, header, content);
    }

    fn entry(&self, request: u32, key: u64) -> Content {
        let state = self.keys.get(&key);
        let pointer = state.map_or(Pointer::default(), |state| Pointer::entry(state.tail));
        let place = |state: &KeyState| Entry { slot: state.shortcut, version: 0 };
        let shortcut = state.map(place).map_or(Pointer::default(), Pointer::entry);
        Content::Entry { request, key, pointer, shortcut }
    }

    /// Links a key's versions: reports of different machines come in any order, so a slot goes
    /// when all before it have gone.
    fn supersede(&mut self, now_ns: u64, entry: &Collected) {
        let (Some(old), Some(new)) = (entry.old.named(), entry.new.named()) else { return };
        let Some(state) = self.keys.get_mut(&entry.key) else { return };
        state.ahead.insert(old, new);
        while let Some(next) = state.ahead.remove(&state.tail) {
            let due = now_ns.saturating_add(self.config.recycle_delay_ns);
            self.retiring.push_back((due, state.tail));
            state.tail = next;
        }
    }

    fn reply(&mut self, to: (u16, u16), header: &MessageHeader, content: Content) {
        self.send_reply(to, &reply_to(header, content));
    }

    fn send_reply(&mut self, (machine, lane): (u16, u16), reply: &Message) {
        let ReplyBuffer { address, rkey, .. } = reply.header.reply;
        let verb = Verb::Write { address, rkey, data: reply.encode(true) };
        let to = MetadataPeer::Client { machine, lane };
        self.posts.push_back(MetadataPost { ticket: 0, to, verb });
    }

    fn announce_epoch(&mut self) {
        self.unsettled.fill(true);
        self.stats.epochs += 1;
        let lane = self.config.epoch_lane();
        for index in 0..self.config.machines {
            let header = MessageHeader {
                kind: message_kind::EPOCH,
                source: 0,
                destination: i32::from(index) + 1,
                thread: 0,
                reply: ReplyBuffer {
                    address: self
                        .config
                        .reply_buffers
                        .wrapping_add(u64::from(index) * MESSAGE_BYTES as u64),
                    rkey: self.config.reply_rkey,
                    machine: 0,
                },
            };
            let number = i32::try_from(self.stats.epochs).unwrap_or(i32::MAX);
            let data = Message { header, content: Content::Epoch(number) }.encode(false);
            let to = MetadataPeer::Client { machine: index + 1, lane };
            self.posts.push_back(MetadataPost { ticket: 0, to, verb: Verb::Send { data } });
        }
    }
}

/// The reply to a message: kinds of replies follow those of requests.
fn reply_to(header: &MessageHeader, content: Content) -> Message {
    let header = MessageHeader {
        kind: header.kind.wrapping_add(1),
        source: header.destination,
        destination: header.source,
        ..*header
    };
    Message { header, content }
}
