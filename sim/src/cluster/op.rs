//! Operations, and where the time of each went.

use serde::Serialize;

use crate::event::Ps;
use crate::rc::Completion;

/// Where an operation can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Its thread has other things to do first, or posts it.
    Posting,
    /// Its thread waits for a lock: the queue pair's or a doorbell register's.
    Lock,
    /// From the doorbell until the adapter has the work request.
    Doorbell,
    /// It waits for its queue pair's pipeline, window, context or payload.
    QueuePair,
    /// It waits for the sending adapter's message rate and its port.
    Port,
    /// On the wire, there and back.
    Wire,
    /// In the middlebox.
    Middlebox,
    /// In the other adapter: its message rate, contexts and translations.
    Responder,
    /// It waits for its word, or the word is read and written.
    Word,
    /// The other host's memory is read.
    Memory,
    /// Software of the server takes a request, works and answers.
    Server,
    /// Software has waited for what was lost, until a timeout.
    Repair,
    /// From the answer's arrival until its thread has seen it.
    Completion,
}

/// Number of [`Part`]s.
pub(crate) const PARTS: usize = 13;

impl Part {
    /// All, in the order in which an operation meets them.
    pub const ALL: [Part; PARTS] = [
        Part::Posting,
        Part::Lock,
        Part::Doorbell,
        Part::QueuePair,
        Part::Port,
        Part::Wire,
        Part::Middlebox,
        Part::Responder,
        Part::Word,
        Part::Memory,
        Part::Server,
        Part::Repair,
        Part::Completion,
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Part::Posting => "posting",
            Part::Lock => "lock",
            Part::Doorbell => "doorbell",
            Part::QueuePair => "queue_pair",
            Part::Port => "port",
            Part::Wire => "wire",
            Part::Middlebox => "middlebox",
            Part::Responder => "responder",
            Part::Word => "word",
            Part::Memory => "memory",
            Part::Server => "server",
            Part::Repair => "repair",
            Part::Completion => "completion",
        }
    }
}

/// An operation that a thread has asked for.
#[derive(Clone, Debug)]
pub(crate) struct Op<A> {
    pub(crate) asker: A,
    pub(crate) thread: u32,
    pub(crate) begun: Ps,
    /// What its thread is going to see.
    pub(crate) completion: Option<Completion>,
    /// Until when it is known where the time went.
    last: Ps,
    parts: [Ps; PARTS],
}

impl<A> Op<A> {
    pub(crate) fn new(asker: A, thread: u32, now: Ps) -> Self {
        Self { asker, thread, begun: now, completion: None, last: now, parts: [0; PARTS] }
    }

    /// All time since the last mark was spent there. Marks may look ahead.
    pub(crate) fn mark(&mut self, part: Part, now: Ps) {
        self.parts[part as usize] += now.saturating_sub(self.last);
        self.last = self.last.max(now);
    }

    /// Where its time went; the sum is the time from its beginning to the last mark.
    pub(crate) fn parts(&self) -> [Ps; PARTS] {
        self.parts
    }
}

/// Operations under way. Places are used again and again.
#[derive(Debug)]
pub(crate) struct Ops<A> {
    slots: Vec<Option<Op<A>>>,
    free: Vec<u32>,
}

impl<A> Default for Ops<A> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<A> Ops<A> {
    pub(crate) fn insert(&mut self, op: Op<A>) -> u32 {
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[id as usize] = Some(op);
        id
    }

    /// Marks an operation, unless it is over: a frame that was sent twice may be late.
    pub(crate) fn mark(&mut self, id: Option<u32>, part: Part, now: Ps) {
        if let Some(op) = id.and_then(|id| self.slots[id as usize].as_mut()) {
            op.mark(part, now);
        }
    }

    pub(crate) fn thread(&self, id: u32) -> u32 {
        self.slots[id as usize].as_ref().map_or(0, |op| op.thread)
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Op<A>> {
        self.slots[id as usize].as_mut()
    }

    pub(crate) fn remove(&mut self, id: u32) -> Option<Op<A>> {
        let op = self.slots[id as usize].take()?;
        self.free.push(id);
        Some(op)
    }

    /// Operations under way.
    pub(crate) fn open(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}
