//! What an engine is given and what it answers, written down once, so that it can be given to
//! another engine without anything in between.

use std::collections::VecDeque;

use arrayvec::ArrayVec;
use qpmux_engine::{Action, BURST_MAX, Counters, Engine, Frame, HEADROOM, Nanos, Out, Side, Token};

use super::traffic::Traffic;

/// Bytes from the start of one frame's buffer to the next, as DPDK has them with data rooms of
/// 2 KB, and where the frame starts in it: at a cache line of its own.
pub(super) const STRIDE: usize = 2368;
pub(super) const START: usize = 128;
/// Room for actions: more than a burst can leave behind.
pub(super) const OUT_CAPACITY: usize = 2048;
/// Time between two calls, as long as a burst takes on a line that is busy.
const TURN_NS: u64 = 2_000;

/// What a call gives an engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Input {
    Burst(Side),
    Recalled,
    Timeout,
}

/// One call, with the frames from `first` on, and what the engine answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) input: Input,
    pub(super) now: Nanos,
    pub(super) first: usize,
    pub(super) count: usize,
    /// Its actions end here, and its generated packets.
    actions_end: usize,
    generated_end: usize,
}

/// A frame that is lent to the engine in a call.
#[derive(Clone, Copy, Debug)]
struct Lent {
    token: Token,
    at: usize,
    len: usize,
    after: After,
}

/// Where its bytes are after the call: in its buffer from `start` on, and among all from `at` on.
#[derive(Clone, Copy, Debug, Default)]
struct After {
    start: usize,
    at: usize,
    len: usize,
}

/// All calls, in order.
#[derive(Default)]
pub(super) struct Recording {
    pub(super) calls: Vec<Call>,
    /// Calls that come before what is measured.
    pub(super) warm_up: usize,
    frames: Vec<Lent>,
    /// The bytes of all frames, before and after their calls.
    before: Vec<u8>,
    after: Vec<u8>,
    actions: Vec<Action>,
    generated: Vec<Vec<u8>>,
    /// What was counted until the end.
    pub(super) counters: Counters,
}

/// What a host has to look at of each action.
pub(super) fn token_of(action: &Action) -> u32 {
    match *action {
        Action::Forward(token, _)
        | Action::ForwardAndRetain(token, _)
        | Action::Hold(token)
        | Action::Pass(token)
        | Action::Drop(token, _)
        | Action::Send(token, _)
        | Action::Release(token)
        | Action::Recall(token) => token.0,
        Action::Generated(index, _) | Action::Record(index) | Action::Mail(_, index, _) => {
            index.into()
        }
    }
}

/// Calls an engine.
#[inline]
pub(super) fn call(
    engine: &mut Engine,
    call: &Call,
    frames: &mut [Frame<'_>],
    out: &mut Out,
) -> usize {
    match call.input {
        Input::Burst(side) => engine.handle_burst(side, call.now, frames, out),
        Input::Recalled => engine.handle_recalled(call.now, frames, out),
        Input::Timeout => {
            engine.handle_timeout(call.now, out);
            0
        }
    }
}

/// Lends the buffers that begin `slots` to an engine.
#[inline]
pub(super) fn lend<'a>(
    slots: &'a mut [u8],
    recording: &Recording,
    call: &Call,
) -> ArrayVec<Frame<'a>, BURST_MAX> {
    let lent = recording.frames.get(call.first..call.first + call.count).unwrap_or_default();
    let slots = slots.chunks_exact_mut(STRIDE);
    slots.zip(lent).filter_map(|(slot, l)| Frame::new(slot, START, l.len, l.token)).collect()
}

impl Recording {
    /// Frames of some calls.
    pub(super) fn frames_of(&self, calls: &[Call]) -> usize {
        calls.iter().map(|call| call.count).sum()
    }

    /// Bytes of the frames of some calls.
    pub(super) fn bytes_of(&self, calls: &[Call]) -> usize {
        let frames = |call: &Call| self.frames.get(call.first..call.first + call.count);
        calls.iter().filter_map(frames).flatten().map(|lent| lent.len).sum()
    }

    /// Puts the frames of some calls into buffers.
    pub(super) fn fill(&self, calls: &[Call], slots: &mut [u8]) {
        let first = calls.first().map_or(0, |call| call.first);
        let count = self.frames_of(calls);
        let lent = self.frames.iter().skip(first).take(count);
        for (slot, lent) in slots.chunks_exact_mut(STRIDE).zip(lent) {
            slot[START..START + lent.len]
                .copy_from_slice(&self.before[lent.at..lent.at + lent.len]);
        }
    }

    /// Whether the frames of some calls are as they were after them.
    pub(super) fn is_as_recorded(&self, calls: &[Call], slots: &[u8]) -> bool {
        let first = calls.first().map_or(0, |call| call.first);
        let count = self.frames_of(calls);
        let lent = self.frames.iter().skip(first).take(count);
        slots.chunks_exact(STRIDE).zip(lent).all(|(slot, lent)| {
            let After { start, at, len } = lent.after;
            slot[start..start + len] == self.after[at..at + len]
        })
    }

    /// The sum of what a host looks at in the actions of some calls.
    pub(super) fn sum_of(&self, calls: std::ops::Range<usize>) -> u64 {
        let end = |call: usize| match call.checked_sub(1) {
            Some(last) => self.calls.get(last).map_or(0, |call| call.actions_end),
            None => 0,
        };
        let actions = self.actions.get(end(calls.start)..end(calls.end)).unwrap_or_default();
        actions.iter().map(|action| u64::from(token_of(action)) + 1).sum()
    }

    /// A number that stands for all that the engine did: every action, and every byte that it left
    /// in a frame or made. Engines that do the same have the same.
    pub(super) fn digest(&self) -> u64 {
        // FNV-1a, eight bytes at a time.
        let add = |sum: u64, word: u64| (sum ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        let add_bytes = |sum: u64, bytes: &[u8]| {
            bytes.chunks(8).fold(sum, |sum, chunk| {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                add(sum, u64::from_le_bytes(word)).rotate_left(29)
            })
        };
        let mut sum = 0xcbf2_9ce4_8422_2325;
        for action in &self.actions {
            sum = add_bytes(sum, format!("{action:?}").as_bytes());
        }
        sum = self.generated.iter().fold(sum, |sum, packet| add_bytes(sum, packet));
        add_bytes(sum, &self.after)
    }

    /// Gives all calls to another engine, and compares every action and every byte.
    pub(super) fn verify(&self, engine: &mut Engine) -> Result<(), String> {
        let mut slots = vec![0; STRIDE * BURST_MAX];
        let mut out = Out::new(OUT_CAPACITY);
        let (mut actions, mut generated) = (0, 0);
        for (at, one) in self.calls.iter().enumerate() {
            let calls = &self.calls[at..=at];
            self.fill(calls, &mut slots);
            call(engine, one, &mut lend(&mut slots, self, one), &mut out);
            let packets = self.generated.get(generated..one.generated_end).unwrap_or_default();
            let same = out.actions() == &self.actions[actions..one.actions_end]
                && packets.iter().zip(0..).all(|(packet, index)| out.generated(index) == packet)
                && self.is_as_recorded(calls, &slots);
            if !same {
                return Err(format!("call {at} ({:?}) had another result", one.input));
            }
            (actions, generated) = (one.actions_end, one.generated_end);
            out.clear();
        }
        match *engine.counters() == self.counters {
            true => Ok(()),
            false => Err("the same calls were counted otherwise".to_owned()),
        }
    }
}

/// Runs an engine between clients and servers, and writes down what passes.
pub(super) struct Recorder<'a> {
    pub(super) engine: &'a mut Engine,
    pub(super) traffic: &'a mut Traffic,
    pub(super) burst: usize,
    recording: Recording,
    out: Out,
    slots: Vec<u8>,
    /// The newest use of each frame that has come in, and where it came in.
    tokens: Vec<(usize, Side)>,
    recalls: VecDeque<Token>,
    now: Nanos,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(engine: &'a mut Engine, traffic: &'a mut Traffic, burst: usize) -> Self {
        Recorder {
            engine,
            traffic,
            burst,
            recording: Recording::default(),
            out: Out::new(OUT_CAPACITY),
            slots: vec![0; STRIDE * BURST_MAX],
            tokens: Vec::new(),
            recalls: VecDeque::new(),
            now: Nanos(1_000_000_000),
        }
    }

    /// Goes on until so many frames have come in. `Err` if anybody sees what must not be.
    pub(super) fn run(&mut self, packets: u64) -> Result<(), String> {
        while (self.tokens.len() as u64) < packets {
            let before = self.tokens.len();
            self.burst(Side::Client)?;
            self.burst(Side::Server)?;
            if self.tokens.len() == before {
                return Err("nothing comes in any more".to_owned());
            }
        }
        Ok(())
    }

    /// What was called so far is not measured.
    pub(super) fn end_warm_up(&mut self) {
        self.recording.warm_up = self.recording.calls.len();
    }

    /// The engine's counters so far.
    pub(super) fn counters(&self) -> &Counters {
        self.engine.counters()
    }

    pub(super) fn finish(mut self) -> Recording {
        self.recording.counters = self.engine.counters().clone();
        self.recording
    }

    fn burst(&mut self, side: Side) -> Result<(), String> {
        let first = self.recording.frames.len();
        while self.recording.frames.len() - first < self.burst
            && let Some(frame) = self.traffic.next(side)
        {
            let token = Token(self.tokens.len() as u32);
            self.tokens.push((self.recording.frames.len(), side));
            self.lend(token, &frame)?;
        }
        self.call(Input::Burst(side), first)?;
        while !self.recalls.is_empty() {
            let first = self.recording.frames.len();
            while self.recording.frames.len() - first < self.burst
                && let Some(token) = self.recalls.pop_front()
            {
                let bytes = self.bytes(token).to_vec();
                self.tokens[token.0 as usize].0 = self.recording.frames.len();
                self.lend(token, &bytes)?;
            }
            self.call(Input::Recalled, first)?;
        }
        if self.engine.next_deadline().is_some_and(|deadline| deadline <= self.now) {
            self.call(Input::Timeout, self.recording.frames.len())?;
        }
        self.now = self.now.after(TURN_NS);
        Ok(())
    }

    fn lend(&mut self, token: Token, bytes: &[u8]) -> Result<(), String> {
        if bytes.len() + START + HEADROOM > STRIDE {
            return Err(format!("a frame of {} bytes does not fit a buffer", bytes.len()));
        }
        let recording = &mut self.recording;
        let (at, len) = (recording.before.len(), bytes.len());
        recording.frames.push(Lent { token, at, len, after: After::default() });
        recording.before.extend_from_slice(bytes);
        Ok(())
    }

    /// The bytes of a frame after the last call that it was lent to.
    fn bytes(&self, token: Token) -> &[u8] {
        let lent = self.recording.frames[self.tokens[token.0 as usize].0];
        &self.recording.after[lent.after.at..lent.after.at + lent.after.len]
    }

    fn call(&mut self, input: Input, first: usize) -> Result<(), String> {
        let count = self.recording.frames.len() - first;
        let now = self.now;
        let one = Call { input, now, first, count, actions_end: 0, generated_end: 0 };
        self.recording.fill(&[one], &mut self.slots);
        let mut frames = lend(&mut self.slots, &self.recording, &one);
        let taken = call(self.engine, &one, &mut frames, &mut self.out);
        let spans: Vec<(usize, usize)> = frames.iter().map(Frame::span).collect();
        drop(frames);
        if input != Input::Timeout && taken != count || !self.out.has_room() {
            return Err("the engine did not take a burst as it was".to_owned());
        }
        let lent = self.recording.frames[first..].iter_mut();
        for ((slot, (start, len)), lent) in self.slots.chunks_exact(STRIDE).zip(spans).zip(lent) {
            lent.after = After { start, at: self.recording.after.len(), len };
            self.recording.after.extend_from_slice(&slot[start..start + len]);
        }
        let end = self.recording.actions.len() + self.out.actions().len();
        self.carry_out()?;
        let generated_end = self.recording.generated.len();
        self.recording.calls.push(Call { actions_end: end, generated_end, ..one });
        self.out.clear();
        Ok(())
    }

    fn carry_out(&mut self) -> Result<(), String> {
        for at in 0..self.out.actions().len() {
            let action = self.out.actions()[at];
            self.recording.actions.push(action);
            let (side, frame) = match action {
                Action::Forward(token, side)
                | Action::ForwardAndRetain(token, side)
                | Action::Send(token, side) => (side, self.bytes(token).to_vec()),
                Action::Pass(token) => {
                    (self.tokens[token.0 as usize].1.opposite(), self.bytes(token).to_vec())
                }
                Action::Generated(index, side) => {
                    let packet = self.out.generated(index).to_vec();
                    self.recording.generated.push(packet.clone());
                    (side, packet)
                }
                Action::Recall(token) => {
                    self.recalls.push_back(token);
                    continue;
                }
                Action::Record(_) | Action::Mail(..) => {
                    return Err(format!("an engine of one shard without a log said {action:?}"));
                }
                Action::Hold(_) | Action::Drop(..) | Action::Release(_) => continue,
            };
            self.traffic.deliver(side, &frame)?;
        }
        Ok(())
    }
}
