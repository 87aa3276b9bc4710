//! One client process: its threads, and what they share.

use std::collections::{HashMap, VecDeque};

use super::collector::{Collector, Garbage};
use super::config::{COLLECTORS, CloverConfig};
use super::message::{Content, MESSAGE_BYTES, Message, MessageHeader, ReplyBuffer, message_kind};
use super::pointer::Entry;
use super::task::{Task, Worker};
use super::verb::{Outcome, Peer, Post, Ticket, Verb};
use crate::Mixed;

/// What an application asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Makes a key known, with a first value.
    Insert {
        /// The key.
        key: u64,
    },
    /// Reads a key's value.
    Read {
        /// The key.
        key: u64,
    },
    /// Gives a key a new value.
    Update {
        /// The key.
        key: u64,
    },
}

impl Request {
    /// Its key.
    #[must_use]
    pub const fn key(self) -> u64 {
        match self {
            Self::Insert { key } | Self::Read { key } | Self::Update { key } => key,
        }
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishedHow {
    /// As asked.
    Done,
    /// There is no such key.
    Missing,
    /// The metadata server has no more slots.
    NoSpace,
    /// A work request failed, or memory held what Clover never puts there.
    Failed,
}

/// An operation that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Worker that had it.
    pub worker: u16,
    /// What was asked for.
    pub request: Request,
    /// How it ended.
    pub how: FinishedHow,
    /// What follows a slot's header: the value found or written, and zeros up to the slot's end.
    pub value: Vec<u8>,
    /// COMPARE_SWAPs that an update took, or slots that a read looked at.
    pub tries: u32,
}

/// What a machine has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MachineStats {
    /// COMPARE_SWAPs that appended a slot.
    pub commits: u64,
    /// COMPARE_SWAPs that found another value.
    pub commits_lost: u64,
    /// Slots looked at because the one before was superseded.
    pub hops: u64,
    /// Requests to the metadata server.
    pub requests: u64,
}

/// What is known of a key: where its list is believed to end, and its shortcut's number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) tail: Entry,
    pub(super) shortcut: u32,
}

/// What the threads of a machine share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) config: CloverConfig,
    /// The machine's id, from 1.
    pub(super) id: u16,
    pub(super) known: HashMap<u64, Known, Mixed>,
    pub(super) posts: VecDeque<Post>,
    pub(super) finished: VecDeque<Finished>,
    /// What each collector has still to do.
    pub(super) garbage: [VecDeque<Garbage>; COLLECTORS as usize],
    pub(super) stats: MachineStats,
}

impl Shared {
    pub(super) fn post(&mut self, ticket: Ticket, to: Peer, lane: u16, verb: Verb) {
        self.posts.push_back(Post { ticket, to, lane, verb });
    }

    /// Sends a request to the metadata server.
    pub(super) fn call(&mut self, ticket: Ticket, lane: u16, thread: u16, content: Content) {
        let kind = match content {
            Content::Allocation { .. } => message_kind::ALLOCATE,
            Content::Entry { .. } => message_kind::ENTRY,
            Content::Collection(_) => message_kind::COLLECT,
            Content::Epoch(_) => message_kind::EPOCH,
        };
        let header = MessageHeader {
            kind,
            source: i32::from(self.id),
            destination: 0,
            thread: u32::from(thread),
            reply: ReplyBuffer {
                address: self.reply_address(ticket.context),
                rkey: self.config.reply_rkey,
                machine: self.id.cast_signed(),
            },
        };
        let data = Message { header, content }.encode(false);
        self.stats.requests += 1;
        self.post(ticket, Peer::Metadata, lane, Verb::Send { data });
    }

    const fn reply_address(&self, context: u16) -> u64 {
        self.config.reply_buffers.wrapping_add(context as u64 * MESSAGE_BYTES as u64)
    }
}

/// What a context has asked for and not got yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Wait {
    pub(super) completions: u8,
    pub(super) reply_due: bool,
    /// What READs brought, by part of the ticket.
    pub(super) read: [Vec<u8>; 2],
    /// What an atomic brought.
    pub(super) original: u64,
    pub(super) reply: Option<Content>,
    pub(super) failed: bool,
}

impl Wait {
    /// Waits for so many completions, and for a reply or not.
    pub(super) fn set(&mut self, completions: u8, reply_due: bool) {
        *self = Self { completions, reply_due, ..Self::default() };
    }

    pub(super) const fn is_over(&self) -> bool {
        self.completions == 0 && (!self.reply_due || self.reply.is_some())
    }

    /// Takes a completion; whether it was waited for, and was the last thing.
    fn on_completion(&mut self, part: u8, outcome: Outcome) -> bool {
        if self.completions == 0 {
            return false;
        }
        self.completions -= 1;
        match outcome {
            Outcome::Done => {}
            Outcome::Read(data) => self.read[usize::from(part) % 2] = data,
            Outcome::Atomic(original) => self.original = original,
            Outcome::Failed => self.failed = true,
        }
        self.is_over()
    }

    fn on_reply(&mut self, content: Content) -> bool {
        if !self.reply_due || self.reply.is_some() {
            return false;
        }
        self.reply = Some(content);
        self.is_over()
    }
}

/// One client process of Clover.
///
/// Give it requests with [`Machine::submit`], carry out what [`Machine::poll_post`] says, and hand
/// back what comes: completions of its own work requests ([`Machine::handle_completion`]), what
/// others write into its memory ([`Machine::handle_write`]) and send to it
/// ([`Machine::handle_message`]).
#[derive(Clone, Debug)]
pub struct Machine {
    shared: Shared,
    workers: Vec<Worker>,
    tasks: Vec<Task>,
    collectors: Vec<Collector>,
    /// An epoch that was announced and not acknowledged: header and number.
    epoch: Option<(MessageHeader, i32)>,
}

impl Machine {
    /// The machine of this id, from 1, with nothing known.
    #[must_use]
    pub fn new(config: &CloverConfig, id: u16) -> Self {
        let shared = Shared {
            config: config.clone(),
            id,
            known: HashMap::default(),
            posts: VecDeque::new(),
            finished: VecDeque::new(),
            garbage: Default::default(),
            stats: MachineStats::default(),
        };
        let workers = 0..config.workers;
        let per_worker = config.tasks_per_worker();
        let tasks = config.workers * per_worker;
        let collector = |number| Collector::new(number, tasks + number, config);
        Self {
            workers: workers.map(|number| Worker::new(number, config)).collect(),
            tasks: (0..tasks).map(|context| Task::new(context, context / per_worker)).collect(),
            collectors: (0..COLLECTORS).map(collector).collect(),
            epoch: None,
            shared,
        }
    }

    /// Operations that the worker could begin now.
    #[must_use]
    pub fn idle(&self, worker: u16) -> usize {
        self.tasks.iter().filter(|task| task.worker == worker && task.is_idle()).count()
    }

    /// Gives the worker an operation; `false` if it is busy, or there is no such worker.
    pub fn submit(&mut self, worker: u16, request: Request) -> bool {
        let per_worker = usize::from(self.shared.config.tasks_per_worker());
        let first = usize::from(worker) * per_worker;
        let own = self.tasks.get(first..first + per_worker).unwrap_or_default();
        let Some(index) = own.iter().position(Task::is_idle) else { return false };
        let index = first + index;
        let (task, worker) = (&mut self.tasks[index], &mut self.workers[usize::from(worker)]);
        task.park(request);
        if self.epoch.is_none() {
            task.begin(&mut self.shared, worker);
        }
        true
    }

    /// The next work request.
    pub fn poll_post(&mut self) -> Option<Post> {
        self.shared.posts.pop_front()
    }

    /// The next operation that has ended.
    pub fn poll_finished(&mut self) -> Option<Finished> {
        self.shared.finished.pop_front()
    }

    /// Takes the completion of a work request.
    pub fn handle_completion(&mut self, ticket: Ticket, outcome: Outcome) {
        let over =
            self.wait(ticket.context).is_some_and(|wait| wait.on_completion(ticket.part, outcome));
        if over {
            self.advance(ticket.context);
        }
    }

    /// Takes what the other end has written to this machine's memory.
    pub fn handle_write(&mut self, address: u64, data: &[u8]) {
        let Some(message) = Message::parse(data) else { return };
        let start = self.shared.config.reply_buffers;
        let Some(offset) = address.checked_sub(start) else { return };
        let Ok(context) = u16::try_from(offset / MESSAGE_BYTES as u64) else { return };
        if self.wait(context).is_some_and(|wait| wait.on_reply(message.content)) {
            self.advance(context);
        }
    }

    /// Takes a message that the other end has sent: an epoch begins. No operation is begun until
    /// those under way, and the reports of what they superseded, are done.
    pub fn handle_message(&mut self, data: &[u8]) {
        let Some(message) = Message::parse(data) else { return };
        if let (message_kind::EPOCH, Content::Epoch(number)) =
            (message.header.kind, message.content)
        {
            self.epoch = Some((message.header, number));
            self.settle_epoch();
        }
    }

    /// What it has done.
    #[must_use]
    pub fn stats(&self) -> MachineStats {
        self.shared.stats
    }

    /// Whether nothing is under way, garbage included.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.tasks.iter().all(Task::is_idle) && self.is_collected()
    }

    fn is_collected(&self) -> bool {
        let idle = self.collectors.iter().all(Collector::is_idle);
        idle && self.shared.garbage.iter().all(VecDeque::is_empty)
    }

    fn wait(&mut self, context: u16) -> Option<&mut Wait> {
        let index = usize::from(context);
        let tasks = self.tasks.len();
        match self.tasks.get_mut(index) {
            Some(task) => Some(&mut task.wait),
            None => self.collectors.get_mut(index - tasks).map(|collector| &mut collector.wait),
        }
    }

    /// A context has got what it waited for.
    fn advance(&mut self, context: u16) {
        let index = usize::from(context);
        if let Some(task) = self.tasks.get_mut(index) {
            task.advance(&mut self.shared, &mut self.workers[usize::from(task.worker)]);
        } else if let Some(collector) = self.collectors.get_mut(index - self.tasks.len()) {
            collector.advance(&mut self.shared);
        }
        for collector in &mut self.collectors {
            collector.poke(&mut self.shared);
        }
        self.settle_epoch();
    }

    /// Acknowledges an epoch once everything is at rest. What was known is then forgotten: the
    /// versions of recycled slots begin again, so a stale tail could look fresh.
    fn settle_epoch(&mut self) {
        let Some((header, number)) = self.epoch else { return };
        if !(self.tasks.iter().all(Task::is_at_rest) && self.is_collected()) {
            return;
        }
        self.epoch = None;
        self.shared.known.clear();
        let context = (self.tasks.len() + self.collectors.len()) as u16;
        let reply = MessageHeader {
            kind: message_kind::EPOCH + 1,
            source: i32::from(self.shared.id),
            destination: header.source,
            thread: u32::from(context),
            reply: header.reply,
        };
        let data = Message { header: reply, content: Content::Epoch(number) }.encode(true);
        let ReplyBuffer { address, rkey, .. } = header.reply;
        let lane = self.shared.config.epoch_lane();
        let verb = Verb::Write { address, rkey, data };
        self.shared.post(Ticket { context, part: 0 }, Peer::Metadata, lane, verb);
        for task in self.tasks.iter_mut().filter(|task| !task.is_idle()) {
            task.begin(&mut self.shared, &mut self.workers[usize::from(task.worker)]);
        }
    }
}
