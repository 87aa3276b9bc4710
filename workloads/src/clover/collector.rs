//! The threads that bring shortcuts up to date and report superseded slots.

use std::collections::HashSet;

use super::config::{COLLECTORS, CloverConfig};
use super::machine::{Shared, Wait};
use super::message::{Collected, Content, ENTRIES_MAX};
use super::pointer::Pointer;
use super::verb::{Peer, Ticket, Verb};

/// Commits taken at a time (clover source).
const ROUND: usize = 32;
/// Number of the first collector among a machine's threads (clover source).
const FIRST_THREAD: u16 = 32;

const _: () = assert!(ROUND <= u8::MAX as usize && COLLECTORS > 0);

/// What a commit leaves to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Garbage {
    pub(super) collected: Collected,
    /// Number of the key's shortcut.
    pub(super) shortcut: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Idle,
    /// Shortcuts are being written.
    Updating,
    /// So many of the round are reported or being reported.
    Reporting(usize),
}

/// A collector thread.
#[derive(Clone, Debug)]
pub(super) struct Collector {
    number: u16,
    context: u16,
    lane: u16,
    pub(super) wait: Wait,
    step: Step,
    round: Vec<Collected>,
}

impl Collector {
    pub(super) fn new(number: u16, context: u16, config: &CloverConfig) -> Self {
        Self {
            number,
            context,
            lane: config.collector_lane(number),
            wait: Wait::default(),
            step: Step::Idle,
            round: Vec::new(),
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.step == Step::Idle
    }

    /// Begins a round if there is something to do: one WRITE of each key's shortcut. Of several
    /// commits of a key the oldest wins (clover source), so a shortcut can stay behind.
    pub(super) fn poke(&mut self, shared: &mut Shared) {
        let waiting = &mut shared.garbage[usize::from(self.number)];
        if !self.is_idle() || waiting.is_empty() {
            return;
        }
        let count = waiting.len().min(ROUND);
        let round: Vec<Garbage> = waiting.drain(..count).collect();
        let mut keys = HashSet::new();
        let mut part = 0;
        for Garbage { collected, shortcut } in &round {
            if shared.config.shortcuts && keys.insert(collected.key) {
                self.update(shared, part, *shortcut, collected.new);
                part += 1;
            }
        }
        self.round = round.into_iter().map(|garbage| garbage.collected).collect();
        self.step = Step::Updating;
        self.wait.set(part, false);
        if part == 0 {
            self.advance(shared);
        }
    }

    fn update(&self, shared: &mut Shared, part: u8, shortcut: u32, new: Pointer) {
        let layout = shared.config.layout;
        let verb = Verb::Write {
            address: layout.shortcut(shortcut),
            rkey: layout.shortcuts_rkey,
            data: new.0.to_le_bytes().to_vec(),
        };
        shared.post(Ticket { context: self.context, part }, Peer::Memory, self.lane, verb);
    }

    /// Everything waited for is here.
    pub(super) fn advance(&mut self, shared: &mut Shared) {
        let begin = match self.step {
            Step::Idle => return,
            Step::Updating => 0,
            Step::Reporting(end) => end,
        };
        if begin >= self.round.len() {
            self.step = Step::Idle;
            return;
        }
        let end = (begin + ENTRIES_MAX).min(self.round.len());
        let content = Content::Collection(self.round[begin..end].to_vec());
        let ticket = Ticket { context: self.context, part: 0 };
        shared.call(ticket, self.lane, FIRST_THREAD + self.number, content);
        self.step = Step::Reporting(end);
        self.wait.set(1, true);
    }
}
