//! The host of one engine between two ports: owns the buffers, carries out actions in their order,
//! until nothing is left to do.

use std::collections::VecDeque;

use arrayvec::ArrayVec;
use qpmux_engine::policy::{Choices, SwitchError};
use qpmux_engine::{Action, BURST_MAX, Engine, Frame, Nanos, Out, Side, Token};
use serde::Serialize;
use tracing::warn;

use crate::pool::{Life, Pool, buffer_len};
use crate::port::{Port, Received, SendFailure};

/// Actions that one call may leave behind: four for each frame of a burst.
const OUT_CAPACITY: usize = 4 * BURST_MAX;

/// Buffers that only frames from the servers may use: what they answer gives buffers back.
const RESERVE: usize = BURST_MAX;

type Burst = ArrayVec<Token, BURST_MAX>;

/// What a port did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PortCounters {
    /// Frames taken in.
    pub received: u64,
    /// Frames lost because no buffer was free.
    pub pool_exhausted: u64,
    /// Frames longer than the configured limit.
    pub receive_too_long: u64,
    /// Errors of the interface while receiving, such as going down.
    pub receive_errors: u64,
    /// Frames sent.
    pub sent: u64,
    /// Frames lost because the interface did not keep up.
    pub send_queue_full: u64,
    /// Frames lost because they are longer than the interface's MTU allows.
    pub send_too_long: u64,
    /// Frames lost because the interface is down or gone.
    pub send_link_down: u64,
    /// Frames that the interface refused for another reason.
    pub send_refused: u64,
}

/// One engine between two ports, the client's and the server's.
pub struct Host<P> {
    engine: Engine,
    out: Out,
    pool: Pool,
    ports: [P; 2],
    counters: [PortCounters; 2],
    recalls: VecDeque<Token>,
    /// Where frames go that there is no buffer for.
    scratch: Box<[u8]>,
    stalled: u64,
}

/// What a call hands to the engine.
#[derive(Clone, Copy)]
enum Input {
    Frames(Side),
    Recalled,
    Timeout,
}

const fn index(side: Side) -> usize {
    match side {
        Side::Client => 0,
        Side::Server => 1,
    }
}

impl<P: Port> Host<P> {
    /// The engine between `client` and `server`, with `buffers` for frames of up to
    /// `frame_len_max` bytes.
    pub fn new(
        engine: Engine,
        client: P,
        server: P,
        buffers: u32,
        frame_len_max: usize,
    ) -> Host<P> {
        Host {
            engine,
            out: Out::new(OUT_CAPACITY),
            pool: Pool::new(buffers, frame_len_max),
            ports: [client, server],
            counters: [PortCounters::default(); 2],
            recalls: VecDeque::with_capacity(buffers as usize),
            scratch: vec![0; buffer_len(frame_len_max)].into_boxed_slice(),
            stalled: 0,
        }
    }

    /// Takes a burst from each side, and acts on a deadline that has passed.
    pub fn turn(&mut self, now: Nanos) {
        // Answers first: they give buffers back.
        for side in [Side::Server, Side::Client] {
            let burst = self.receive(side);
            if !burst.is_empty() {
                self.call(now, Input::Frames(side), &burst);
                self.answer_recalls(now);
            }
        }
        if self.engine.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.call(now, Input::Timeout, &[]);
            self.answer_recalls(now);
        }
    }

    /// The next deadline, if there is one.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.engine.next_deadline()
    }

    /// Switches the engine to another policy.
    ///
    /// # Errors
    /// See [`SwitchError`]; then nothing has changed.
    pub fn switch(&mut self, to: Choices) -> Result<(), SwitchError> {
        self.engine.switch(to)
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The ports: the client's, then the server's.
    #[must_use]
    pub fn ports(&self) -> &[P; 2] {
        &self.ports
    }

    /// What the port on that side did, and the frames it missed because the loop was too slow.
    pub fn port_counters(&mut self, side: Side) -> (PortCounters, u64) {
        (self.counters[index(side)], self.ports[index(side)].missed())
    }

    /// Buffers that the engine keeps: none at rest.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.pool.kept()
    }

    /// Actions against the order of a buffer's life, and calls that led nowhere: defects.
    #[must_use]
    pub fn broken(&self) -> u64 {
        self.pool.misused() + self.stalled
    }

    fn receive(&mut self, side: Side) -> Burst {
        let mut burst = Burst::new();
        let reserve = if side == Side::Client { RESERVE } else { 0 };
        for _ in 0..BURST_MAX {
            if self.pool.free() <= reserve {
                self.shed(side, BURST_MAX - burst.len());
                break;
            }
            let Some(token) = self.pool.take(side) else { break };
            let received = self.receive_into(side, token);
            if received == Received::Nothing || received == Received::TooLong {
                self.pool.step(token, Life::Offered, Life::Free);
            }
            match received {
                Received::Nothing => break,
                Received::TooLong => {}
                Received::Frame { .. } => burst.push(token),
            }
        }
        burst
    }

    fn receive_into(&mut self, side: Side, token: Token) -> Received {
        let Some(mut lent) = self.pool.lend(token) else { return Received::Nothing };
        let received = self.ports[index(side)].receive(&mut lent.bytes);
        if let Ok(Received::Frame { start, len }) = received {
            (lent.start, lent.len) = (start, len);
        }
        self.pool.put_back(lent);
        self.count_received(side, received)
    }

    /// Throws away up to `most` frames that wait: better now than after work was spent on them.
    fn shed(&mut self, side: Side, most: usize) {
        for _ in 0..most {
            let received = self.ports[index(side)].receive(&mut self.scratch);
            if self.count_received(side, received) == Received::Nothing {
                return;
            }
            let counters = &mut self.counters[index(side)];
            counters.pool_exhausted += 1;
            if counters.pool_exhausted == 1 {
                warn!("{side:?} side: no free buffer, frames are lost");
            }
        }
    }

    fn count_received(&mut self, side: Side, received: std::io::Result<Received>) -> Received {
        let counters = &mut self.counters[index(side)];
        match received {
            Ok(Received::Frame { .. }) => counters.received += 1,
            Ok(Received::TooLong) => {
                counters.receive_too_long += 1;
                if counters.receive_too_long == 1 {
                    warn!("{side:?} side: a frame is longer than limits.frame_len_max");
                }
            }
            Ok(Received::Nothing) => {}
            Err(ref error) => {
                counters.receive_errors += 1;
                warn!("{side:?} side: cannot receive: {error}");
            }
        }
        received.unwrap_or(Received::Nothing)
    }

    fn answer_recalls(&mut self, now: Nanos) {
        while !self.recalls.is_empty() {
            let many = self.recalls.len().min(BURST_MAX);
            let burst: Burst = self.recalls.drain(..many).collect();
            burst.iter().for_each(|token| {
                self.pool.step(*token, Life::Kept, Life::Offered);
            });
            self.call(now, Input::Recalled, &burst);
        }
    }

    /// One input to the engine, and all that it says is to be done.
    fn call(&mut self, now: Nanos, mut input: Input, burst: &[Token]) {
        let mut rest = burst;
        loop {
            let taken = self.call_once(now, input, rest);
            let done = self.out.actions().is_empty();
            self.carry_out();
            rest = rest.get(taken..).unwrap_or(&[]);
            match (rest.is_empty(), done) {
                (true, true) => return,
                // Nothing to take any more: finish what the call had no room for.
                (true, false) => input = Input::Frames(Side::Client),
                (false, false) => {}
                (false, true) => {
                    debug_assert!(taken > 0, "the engine takes nothing and does nothing");
                    if taken == 0 {
                        self.stalled += 1;
                        rest.iter().for_each(|token| {
                            self.pool.step(*token, Life::Offered, Life::Free);
                        });
                        return;
                    }
                }
            }
        }
    }

    /// How many frames were taken.
    fn call_once(&mut self, now: Nanos, input: Input, burst: &[Token]) -> usize {
        let mut lent: ArrayVec<_, BURST_MAX> =
            burst.iter().filter_map(|token| self.pool.lend(*token)).collect();
        let mut frames: ArrayVec<_, BURST_MAX> = lent.iter_mut().map(|lent| lent.frame()).collect();
        let out = &mut self.out;
        let taken = match input {
            Input::Frames(side) => self.engine.handle_burst(side, now, &mut frames, out),
            Input::Recalled => self.engine.handle_recalled(now, &mut frames, out),
            Input::Timeout => {
                self.engine.handle_timeout(now, out);
                0
            }
        };
        let spans: ArrayVec<_, BURST_MAX> = frames.iter().map(Frame::span).collect();
        drop(frames);
        for (mut lent, span) in lent.into_iter().zip(spans) {
            (lent.start, lent.len) = span;
            self.pool.put_back(lent);
        }
        taken
    }

    fn carry_out(&mut self) {
        for at in 0..self.out.actions().len() {
            match self.out.actions()[at] {
                Action::Forward(token, side) => {
                    self.send(side, token);
                    self.pool.step(token, Life::Offered, Life::Free);
                }
                Action::ForwardAndRetain(token, side) => {
                    self.send(side, token);
                    self.pool.step(token, Life::Offered, Life::Kept);
                }
                Action::Hold(token) => {
                    self.pool.step(token, Life::Offered, Life::Kept);
                }
                Action::Pass(token) => {
                    let side = self.pool.frame(token).1.opposite();
                    self.send(side, token);
                    self.pool.step(token, Life::Offered, Life::Free);
                }
                Action::Drop(token, _) => {
                    self.pool.step(token, Life::Offered, Life::Free);
                }
                Action::Send(token, side) => {
                    if self.pool.step(token, Life::Kept, Life::Kept) {
                        self.send(side, token);
                    }
                }
                Action::Release(token) => {
                    self.pool.step(token, Life::Kept, Life::Free);
                }
                Action::Recall(token) => {
                    if self.pool.step(token, Life::Kept, Life::Kept) {
                        self.recalls.push_back(token);
                    }
                }
                Action::Generated(index_, side) => {
                    let sent = self.ports[index(side)].send(self.out.generated(index_));
                    self.count_sent(side, sent);
                }
                // Nothing keeps a log here, and the engine is told so.
                Action::Record(_) => debug_assert!(false, "a record nobody asked for"),
                // There is one shard, and nobody to write to.
                Action::Mail(..) => {
                    debug_assert!(false, "mail from the only shard");
                    self.stalled += 1;
                }
            }
        }
        self.out.clear();
    }

    fn send(&mut self, side: Side, token: Token) {
        let sent = self.ports[index(side)].send(self.pool.frame(token).0);
        self.count_sent(side, sent);
    }

    fn count_sent(&mut self, side: Side, sent: Result<(), SendFailure>) {
        let counters = &mut self.counters[index(side)];
        let Err(failure) = sent else {
            counters.sent += 1;
            return;
        };
        let count = match failure {
            SendFailure::QueueFull => &mut counters.send_queue_full,
            SendFailure::TooLong => &mut counters.send_too_long,
            SendFailure::LinkDown => &mut counters.send_link_down,
            SendFailure::Other => &mut counters.send_refused,
        };
        *count += 1;
        if *count == 1 {
            warn!("{side:?} side: frames are lost: {}", failure.name());
        }
    }
}
