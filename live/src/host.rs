//! The host of one engine: hands it what comes in, carries out its actions in their order, until
//! nothing is left to do.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use qpmux_engine::policy::{Choices, SwitchError};
use qpmux_engine::{Action, BURST_MAX, Engine, Nanos, Out, Side, Token};
use tracing::warn;

use crate::announcement::Address;
use crate::beside::Beside;
use crate::driver::{Burst, Driver, PortCounters, index};
use crate::journal::{Writer, Written};
use crate::shed::Shedder;
use crate::standby::over;
use crate::tokens::{Lent, Life, Tokens};

/// Actions that one call may leave behind: four for each frame of a burst.
const OUT_CAPACITY: usize = 4 * BURST_MAX;

/// Tokens that only frames from the servers may use: what they answer gives others back.
const RESERVE: usize = BURST_MAX;

/// One engine between the two sides of a driver.
pub struct Host<D: Driver> {
    engine: Engine,
    out: Out,
    driver: D,
    tokens: Tokens<D::Buffer>,
    /// What came in last, and is not lent yet.
    burst: Burst<D::Buffer>,
    lent: Lent<D::Buffer>,
    recalls: VecDeque<Token>,
    shed: [u64; 2],
    /// When the last frame came in, if frames tell.
    told: Option<Nanos>,
    stalled: u64,
    /// This thread's processor time at the start.
    cpu_from: u64,
    /// What frames are shown to that are not, or not only, the engine's.
    beside: Beside,
    shedder: Shedder,
    journal: Option<Writer>,
    /// Why the journal cannot be written: nothing goes out any more.
    failure: Option<io::Error>,
}

/// What a call hands to the engine.
#[derive(Clone, Copy)]
enum Input {
    Frames(Side),
    Recalled,
    Timeout,
}

impl<D: Driver> Host<D> {
    /// The engine over `driver`, with at most `frames` of its buffers at a time.
    pub fn new(engine: Engine, driver: D, frames: u32) -> Host<D> {
        Host {
            engine,
            out: Out::new(OUT_CAPACITY),
            driver,
            tokens: Tokens::new(frames),
            burst: Burst::default(),
            lent: Lent::default(),
            recalls: VecDeque::with_capacity(frames as usize),
            shed: [0; 2],
            told: None,
            stalled: 0,
            cpu_from: thread_cpu_ns(),
            beside: Beside::default(),
            shedder: Shedder::default(),
            journal: None,
            failure: None,
        }
    }

    /// Takes a round of bursts in, and acts on a deadline that has passed. Whether anything came
    /// in. Where frames tell the time, `now` does not count once one has.
    pub fn turn(&mut self, now: Nanos) -> bool {
        if self.journal.as_ref().is_some_and(|journal| !journal.turn()) {
            self.failure = Some(over());
            return false;
        }
        self.beside.begin(now);
        if self.shedder.looks(now) {
            let (_, lost) = self.driver.counters(Side::Client);
            self.shedder.look(now, lost);
        }
        let mut any = false;
        while let Some(side) = self.driver.receive(&mut self.burst) {
            any |= !self.burst.frames.is_empty();
            self.take(side, now);
            if self.failure.is_some() {
                // Not even what waits in the ports goes out.
                return any;
            }
        }
        any |= self.driver.took_more();
        // Where frames tell the time, what is due comes before the next one.
        let due = self.engine.next_deadline().is_some_and(|deadline| deadline <= now);
        if due && self.told.is_none() {
            self.expire(now);
        }
        // Those for which there was no buffer before.
        self.answer_recalls(self.told.unwrap_or(now));
        if self.failure.is_none() {
            self.driver.flush();
        }
        self.beside.end();
        any
    }

    /// Acts on all deadlines that there still are, each at its time: nothing comes in any more.
    pub fn run_out(&mut self) {
        let mut now = self.told.unwrap_or(Nanos(0));
        while let Some(deadline) = self.engine.next_deadline() {
            now = deadline.max(now);
            self.expire(now);
        }
        self.driver.flush();
        self.beside.end();
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

    /// Keeps connections from going over into translation, or lets them again.
    pub fn hold_flips(&mut self, now: Nanos, hold: bool) {
        self.engine.hold_flips(now, hold);
    }

    /// What frames are shown to that are not, or not only, the engine's.
    pub fn beside(&mut self) -> &mut Beside {
        &mut self.beside
    }

    /// What is shed while more comes in than can be taken.
    pub fn shedder(&mut self) -> &mut Shedder {
        &mut self.shedder
    }

    /// Has the engine's records written before what they are about happens.
    pub fn set_journal(&mut self, journal: Writer) {
        self.journal = Some(journal);
    }

    /// Gives the journal back.
    pub fn take_journal(&mut self) -> Option<Writer> {
        self.journal.take()
    }

    /// What was read and written of the journal so far, if there is one.
    #[must_use]
    pub fn written(&self) -> Option<Written> {
        self.journal.as_ref().map(Writer::written)
    }

    /// Has switches learn that who is beyond is reached through this host now: another one has
    /// forwarded before, and most endpoints say nothing by themselves.
    pub fn announce(&mut self, addresses: &[Address]) {
        for address in addresses {
            self.driver.send_bytes(address.told, &address.announcement());
        }
        self.driver.flush();
    }

    /// How often it is to turn at least, if that matters.
    #[must_use]
    pub fn pace(&self) -> Option<Duration> {
        self.journal.as_ref().and_then(Writer::pace)
    }

    /// Why nothing goes out any more, if that is so. It is told once.
    pub fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The driver.
    #[must_use]
    pub fn driver(&self) -> &D {
        &self.driver
    }

    /// What the port on that side did, and the frames it missed because the loop was too slow.
    pub fn port_counters(&mut self, side: Side) -> (PortCounters, u64) {
        let (mut counters, missed) = self.driver.counters(side);
        counters.pool_exhausted += self.shed[index(side)];
        if side == Side::Client {
            counters.overload = self.shedder.shed();
        }
        (counters, missed)
    }

    /// Processor time, in nanoseconds, of the calling thread, which is the loop's, since it began.
    #[must_use]
    pub fn cpu_ns(&self) -> u64 {
        thread_cpu_ns().saturating_sub(self.cpu_from)
    }

    /// Buffers that the engine keeps: none at rest.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.tokens.kept()
    }

    /// Actions against the order of a buffer's life, and calls that led nowhere: defects.
    #[must_use]
    pub fn broken(&self) -> u64 {
        self.tokens.misused() + self.stalled
    }

    /// Hands a burst over. One that tells its time is a single frame: what is due before it comes
    /// before it, and what it causes happens before the next.
    fn take(&mut self, side: Side, now: Nanos) {
        let Burst { frames, time } = &mut self.burst;
        debug_assert!(time.is_none() || frames.len() == 1, "one time, several frames");
        if let Some(time) = time.take() {
            self.expire_before(time);
            self.beside.at(time);
        }
        let now = self.told.unwrap_or(now);
        // The first frame of each burst is enough to hear of everybody in time.
        if let (Some(journal), Some(held)) = (&mut self.journal, self.burst.frames.first()) {
            journal.heard(side, held.frame());
        }
        if side == Side::Client {
            let frames = self.burst.frames.len();
            self.shedder.took(frames, frames >= D::TAKEN_MAX);
        }
        self.admit(side, now);
        if !self.lent.is_empty() {
            self.call(now, Input::Frames(side));
            self.answer_recalls(now);
        }
    }

    /// Acts on deadlines before a frame's time. Those at its very time come after it, as in a
    /// replay.
    fn expire_before(&mut self, time: Nanos) {
        let mut now = self.told.unwrap_or(Nanos(0));
        while let Some(deadline) = self.engine.next_deadline().filter(|&due| due < time) {
            now = deadline.max(now);
            self.expire(now);
        }
        self.told = Some(time.max(now));
    }

    fn expire(&mut self, now: Nanos) {
        self.call(now, Input::Timeout);
        self.answer_recalls(now);
    }

    /// Lends a burst. What there is no token for is thrown away: better now than after work was
    /// spent on it.
    fn admit(&mut self, side: Side, now: Nanos) {
        let reserve = if side == Side::Client { RESERVE } else { 0 };
        for held in self.burst.frames.drain(..) {
            if !self.beside.came_in(side, held.frame()) {
                self.beside.goes_out(side.opposite(), held.frame());
                self.driver.send(side.opposite(), held);
                continue;
            }
            if side == Side::Client && self.shedder.sheds(now, held.frame()) {
                self.driver.release(held.buffer);
                continue;
            }
            if self.tokens.free() > reserve {
                if let Err(held) = self.tokens.lend(side, held, &mut self.lent) {
                    self.driver.release(held.buffer);
                }
                continue;
            }
            self.driver.release(held.buffer);
            let shed = &mut self.shed[index(side)];
            *shed += 1;
            if *shed == 1 {
                warn!("{side:?} side: no free buffer, frames are lost");
            }
        }
    }

    /// Hands recalled frames over, strictly in the order in which the engine asked for them.
    fn answer_recalls(&mut self, now: Nanos) {
        while !self.recalls.is_empty() {
            while let Some(&token) = self.recalls.front()
                && !self.lent.is_full()
                && self.make_exclusive(token)
            {
                self.recalls.pop_front();
                self.tokens.lend_again(token, &mut self.lent);
            }
            if self.lent.is_empty() {
                return;
            }
            self.call(now, Input::Recalled);
        }
    }

    fn make_exclusive(&mut self, token: Token) -> bool {
        let held = self.tokens.get_mut(token);
        held.is_none_or(|held| self.driver.make_exclusive(held))
    }

    /// One input to the engine, with what is lent, and all that it says is to be done.
    fn call(&mut self, now: Nanos, mut input: Input) {
        let mut first = 0;
        while self.failure.is_none() {
            let taken = self.call_once(now, input, first);
            let done = self.out.actions().is_empty();
            self.carry_out();
            first += taken;
            match (first >= self.lent.len(), done) {
                _ if self.failure.is_some() => {}
                (true, true) => break,
                // Nothing to take any more: finish what the call had no room for.
                (true, false) => input = Input::Frames(Side::Client),
                (false, false) => {}
                (false, true) => {
                    debug_assert!(taken > 0, "the engine takes nothing and does nothing");
                    if taken == 0 {
                        self.stalled += 1;
                        break;
                    }
                }
            }
        }
        self.tokens.close(&mut self.lent, |held| self.driver.release(held.buffer));
    }

    /// How many frames were taken.
    fn call_once(&mut self, now: Nanos, input: Input, first: usize) -> usize {
        let (engine, out) = (&mut self.engine, &mut self.out);
        match input {
            Input::Frames(side) => {
                self.lent.call(first, |frames| engine.handle_burst(side, now, frames, out))
            }
            Input::Recalled => {
                self.lent.call(first, |frames| engine.handle_recalled(now, frames, out))
            }
            Input::Timeout => {
                engine.handle_timeout(now, out);
                0
            }
        }
    }

    /// Writes the records of a call, all at once: earlier than in their turn is never too early.
    fn write_records(&mut self) -> io::Result<()> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        for action in self.out.actions() {
            if let Action::Record(index) = action {
                journal.add(self.out.generated(*index));
            }
        }
        journal.commit()?;
        if !journal.is_settled() {
            // What may go out already does not wait with it.
            self.driver.flush();
            journal.settle()?;
        }
        Ok(())
    }

    fn carry_out(&mut self) {
        if let Err(error) = self.write_records() {
            self.failure = Some(error);
            return self.out.clear();
        }
        for at in 0..self.out.actions().len() {
            match self.out.actions()[at] {
                Action::Forward(token, side) => self.forward(token, side),
                Action::Pass(token) => {
                    self.forward(token, self.tokens.came_in(token).opposite());
                }
                Action::ForwardAndRetain(token, side) => {
                    if self.tokens.keep(token, &mut self.lent) {
                        self.send_kept(token, side);
                    }
                }
                Action::Hold(token) => {
                    self.tokens.keep(token, &mut self.lent);
                }
                Action::Drop(token, _) => {
                    if let Some(held) = self.tokens.give_up_lent(token, &mut self.lent) {
                        self.driver.release(held.buffer);
                    }
                }
                Action::Send(token, side) => {
                    if self.tokens.step(token, Life::Kept, Life::Kept) {
                        self.send_kept(token, side);
                    }
                }
                Action::Release(token) => {
                    if let Some(held) = self.tokens.give_up_kept(token) {
                        self.driver.release(held.buffer);
                    }
                }
                Action::Recall(token) => {
                    if self.tokens.step(token, Life::Kept, Life::Kept) {
                        self.recalls.push_back(token);
                    }
                }
                Action::Generated(index, side) => {
                    let frame = self.out.generated(index);
                    self.beside.goes_out(side, frame);
                    self.driver.send_bytes(side, frame);
                }
                // It is written.
                Action::Record(_) => {}
                // There is one shard, and nobody to write to.
                Action::Mail(..) => {
                    debug_assert!(false, "mail from the only shard");
                    self.stalled += 1;
                }
            }
        }
        self.out.clear();
    }

    fn forward(&mut self, token: Token, side: Side) {
        if let Some(held) = self.tokens.give_up_lent(token, &mut self.lent) {
            self.beside.goes_out(side, held.frame());
            self.driver.send(side, held);
        }
    }

    fn send_kept(&mut self, token: Token, side: Side) {
        if let Some(held) = self.tokens.get_mut(token) {
            self.beside.goes_out(side, held.frame());
            self.driver.send_kept(side, held);
        }
    }
}

fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
    time.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}
