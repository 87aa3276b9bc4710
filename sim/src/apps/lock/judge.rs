//! Judges a run of locks by what the memory node executed and what clients were told.

use std::collections::HashMap;

use super::{COUNTERS, LOCKS, WORD};
use crate::apps::{Adversity, Release};
use crate::memory::{Access, Effect, Memory};
use crate::rc::Violations;

/// Bits of a token below its owner: the number of the attempt.
const ATTEMPT_BITS: u32 = 40;

/// What a lock holds while it is taken: the owner (from 1) and the number of the owner's attempt,
/// so that each attempt can be told from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token(pub(super) u64);

impl Token {
    pub(super) fn new(owner: u64, attempt: u64) -> Self {
        Token((owner + 1) << ATTEMPT_BITS | attempt)
    }

    fn owner(self) -> u64 {
        (self.0 >> ATTEMPT_BITS).wrapping_sub(1)
    }
}

/// An attempt to take a lock, until it has failed or the lock is given back.
struct Attempt {
    token: Token,
    lock: u64,
    begun: u64,
    granted: bool,
    /// Its owner knows.
    told: bool,
    /// Its owner has asked for the release.
    releasing: bool,
    released: bool,
}

/// A lock's word as memory has it.
#[derive(Default)]
struct Word {
    value: u64,
    /// What it was, from which time on, ns.
    history: Vec<(u64, u64)>,
    /// Who believes to hold it.
    believer: Option<Token>,
    /// Acquisitions that the guarded word counts.
    counted: u64,
}

/// What has been seen so far.
pub(super) struct Judge {
    words: Vec<Word>,
    /// The present attempt of each owner.
    attempts: HashMap<u64, Attempt>,
    /// Locks, the first ones, that may be lost.
    unsound: u64,
    big_endian: bool,
    pub(super) grants: u64,
    pub(super) broken: Violations,
}

impl Judge {
    pub(super) fn new(locks: u64) -> Self {
        let words = (0..locks).map(|_| Word::default()).collect();
        let (attempts, broken) = (HashMap::new(), Violations::new());
        Self { words, attempts, unsound: 0, big_endian: false, grants: 0, broken }
    }

    /// The same judge where not all is as it should be.
    pub(super) fn with(self, adversity: &Adversity) -> Self {
        let (unsound, big_endian) = (adversity.unsound_keys, adversity.big_endian);
        Self { unsound, big_endian, ..self }
    }

    /// A rule is broken at a lock, unless that may be lost.
    fn breaks(&mut self, lock: u64, rule: &'static str, now: u64, text: impl FnOnce() -> String) {
        if lock >= self.unsound {
            self.broken.record(rule, now, text);
        }
    }

    /// An owner asks for a lock.
    pub(super) fn on_attempt(&mut self, now: u64, lock: u64, token: Token) {
        let attempt = Attempt {
            token,
            lock,
            begun: now,
            granted: false,
            told: false,
            releasing: false,
            released: false,
        };
        self.attempts.insert(token.owner(), attempt);
    }

    /// The memory node has executed something.
    pub(super) fn on_effect(&mut self, effect: &Effect) {
        let (now, address) = (effect.time, effect.address);
        let offset = address.wrapping_sub(LOCKS);
        let lock = offset / WORD;
        if lock >= self.words.len() as u64 {
            return;
        }
        let after = match &effect.access {
            Access::Write { data } => match data.first_chunk() {
                Some(word) if data.len() as u64 == WORD && offset % WORD == 0 => {
                    if self.big_endian {
                        u64::from_be_bytes(*word)
                    } else {
                        u64::from_le_bytes(*word)
                    }
                }
                None if data.is_empty() => return,
                _ => {
                    let text = || format!("{} bytes were written to {address:#x}", data.len());
                    return self.broken.record("L1", now, text);
                }
            },
            Access::CompareSwap { compare, swap, before } if compare == before => *swap,
            Access::FetchAdd { add, before } => before.wrapping_add(*add),
            Access::Read { .. } | Access::CompareSwap { .. } => return,
        };
        self.on_word(now, lock, after);
    }

    /// A lock's word was stored.
    pub(super) fn on_word(&mut self, now: u64, lock: u64, after: u64) {
        let word = &mut self.words[lock as usize];
        let before = std::mem::replace(&mut word.value, after);
        word.history.push((now, after));
        match (before, after) {
            (0, 0) => self.breaks(lock, "L3", now, || format!("lock {lock} is released, but free")),
            (0, token) => self.on_grant(now, lock, Token(token)),
            (token, 0) => self.on_release(now, lock, Token(token)),
            (holder, other) => {
                let text = || format!("lock {lock} of {holder:#x} is taken by {other:#x}");
                self.breaks(lock, "L1", now, text);
            }
        }
    }

    fn on_grant(&mut self, now: u64, lock: u64, token: Token) {
        self.grants += 1;
        let attempt = self.attempts.get_mut(&token.owner());
        let open = |a: &&mut Attempt| (a.token, a.lock) == (token, lock) && !a.granted;
        match attempt.filter(open) {
            Some(attempt) => attempt.granted = true,
            None => {
                let text = || format!("lock {lock} is granted to {token:x?}, which does not ask");
                self.breaks(lock, "L2", now, text);
            }
        }
    }

    fn on_release(&mut self, now: u64, lock: u64, token: Token) {
        let attempt = self.attempts.get_mut(&token.owner());
        match attempt.filter(|attempt| attempt.token == token && attempt.releasing) {
            Some(attempt) => attempt.released = true,
            None => {
                let text = || format!("lock {lock} of {token:x?} is released, unasked");
                self.breaks(lock, "L3", now, text);
            }
        }
    }

    /// An owner is told what its attempt found; whether it has the lock now.
    pub(super) fn on_told(&mut self, now: u64, token: Token, original: u64) -> bool {
        let Some(attempt) = self.attempts.get_mut(&token.owner()) else { return false };
        let (lock, begun, granted) = (attempt.lock, attempt.begun, attempt.granted);
        let word = &mut self.words[lock as usize];
        if original == 0 {
            attempt.told = true;
            let other = word.believer.replace(token);
            if !granted {
                let text = || format!("{token:x?} is told to have lock {lock}, it has not");
                self.breaks(lock, "L2", now, text);
            }
            if let Some(other) = other {
                let text = || format!("lock {lock}: {token:x?} and {other:x?} believe to hold it");
                self.breaks(lock, "L1", now, text);
            }
            return true;
        }
        let was = held(word, original, (begun, now));
        if granted {
            let text = || format!("{token:x?} has lock {lock}, it is told that it has not");
            self.breaks(lock, "L2", now, text);
        } else if !was {
            let text = || format!("lock {lock} was never {original:#x} while {token:x?} asked");
            self.breaks(lock, "L4", now, text);
        }
        self.attempts.remove(&token.owner());
        false
    }

    /// The holder has read the guarded word.
    pub(super) fn on_counted(&mut self, now: u64, lock: u64, found: u64) {
        // What is wrong once is told once.
        let counted = std::mem::replace(&mut self.words[lock as usize].counted, found);
        if found != counted {
            let text = || format!("lock {lock} guards {found}, after {counted} acquisitions");
            self.breaks(lock, "L6", now, text);
        }
    }

    /// The holder asks for the release, after it has counted its acquisition or not.
    pub(super) fn on_releasing(&mut self, token: Token, counts: bool) {
        let Some(attempt) = self.attempts.get_mut(&token.owner()) else { return };
        attempt.releasing = true;
        let word = &mut self.words[attempt.lock as usize];
        word.counted += u64::from(counts);
        if word.believer == Some(token) {
            word.believer = None;
        }
    }

    /// The holder is told that it has released; `original` is what a COMPARE_SWAP found.
    pub(super) fn on_released(&mut self, now: u64, token: Token, how: Release, original: u64) {
        let Some(attempt) = self.attempts.remove(&token.owner()) else { return };
        let lock = attempt.lock;
        if how == Release::CompareSwap && original != token.0 {
            let text = || format!("{token:x?} is told that lock {lock} was {original:#x}");
            self.breaks(lock, "L4", now, text);
        }
        if attempt.told && !attempt.released {
            let text = || format!("{token:x?} is told to have released lock {lock}, it has not");
            self.breaks(lock, "L3", now, text);
        }
    }

    /// The lock's present value.
    pub(super) fn value(&self, lock: u64) -> u64 {
        self.words[lock as usize].value
    }

    /// The run is over; `memory` is the memory node's. Who gave up may have left anything behind.
    pub(super) fn finish(&mut self, now: u64, memory: &Memory, given_up: bool) {
        for (lock, word) in (0_u64..).zip(&self.words) {
            let left = memory.read_u64(LOCKS + lock * WORD);
            if left != word.value || (left != 0 && !given_up) {
                let text = || format!("lock {lock} is left as {left:#x}");
                self.broken.record("L5", now, text);
            }
            let mut counted = [0; WORD as usize];
            memory.read(COUNTERS + lock * WORD, &mut counted);
            let counted = u64::from_le_bytes(counted);
            if counted != word.counted && !given_up && lock >= self.unsound {
                let text = || format!("lock {lock} guards {counted}, not {}", word.counted);
                self.broken.record("L6", now, text);
            }
        }
        for attempt in self.attempts.values().filter(|a| a.granted && !a.released) {
            if !given_up && attempt.lock >= self.unsound {
                let (token, lock) = (attempt.token, attempt.lock);
                let text = || format!("{token:x?} has lock {lock} at the end");
                self.broken.record("L2", now, text);
            }
        }
    }
}

/// Whether the word was `value` at some time of the span.
fn held(word: &Word, value: u64, (first, last): (u64, u64)) -> bool {
    let mut end = u64::MAX;
    for &(begin, held) in word.history.iter().rev() {
        if held == value && begin <= last && end >= first {
            return true;
        }
        if begin < first {
            return false;
        }
        end = begin;
    }
    value == 0
}
