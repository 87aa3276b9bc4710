//! The host of one or more engines in one thread: owns the buffers, carries out actions, carries
//! mail and recalled frames until nothing is left to do.

use std::collections::VecDeque;

use qpmux_engine::journal::Journal;
use qpmux_engine::policy::{Choices, Directory, Policy, SwitchError};
use qpmux_engine::{
    Action, BuildError, Config, Counters, Engine, Frame, HEADROOM, Letter, Mail, Nanos, Out,
    ServerQpReport, ShardId, Side, Token,
};

/// Actions that one call may leave behind. Small enough that a full list occurs in every test.
const OUT_CAPACITY: usize = 64;

/// Calls that one frame may cause. An engine that goes beyond turns in a circle.
const CALLS_MAX: u32 = 1 << 14;

/// Where a buffer is in its life. An engine that breaks the order is broken: the host panics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    Free,
    /// Lent to the engine in the present call, or on its way to another shard.
    Offered,
    Kept,
}

struct Buffer {
    /// As long as its longest frame needed so far.
    bytes: Vec<u8>,
    /// Bytes of it that this frame has, with what is free around it.
    room: usize,
    start: usize,
    len: usize,
    came_in: Side,
    life: Life,
}

/// Runs a call of an engine, once. Whoever gives one can look at what the call costs.
pub type Guard = fn(&mut dyn FnMut());

/// Several shards in one thread: one frame at a time, all mail and recalls drained before the
/// next, so that the result is the same for any number of shards.
pub struct Host {
    shards: Vec<Engine>,
    out: Out,
    buffers: Vec<Buffer>,
    free: Vec<u32>,
    kept: usize,
    mail: VecDeque<(ShardId, Mail, Option<Token>)>,
    recalls: VecDeque<(usize, Token)>,
    guard: Guard,
    records: Option<RecordSink>,
}

/// Takes the records of a log, in order.
pub type RecordSink = Box<dyn FnMut(&[u8])>;

/// What a call hands to an engine.
enum Input {
    Frame(Side, Token),
    Mail(Mail, Token),
    /// Messages without a frame, one after the other for the same shard.
    News(Vec<Mail>),
    Recalled(Token),
    Timeout,
    /// Nothing: finish what the last call had no room for.
    Rest,
}

impl Host {
    /// Engines for all shards of the directory.
    ///
    /// # Errors
    /// When an engine cannot be built: see [`BuildError`].
    pub fn new(
        config: &Config,
        policy: &Policy,
        directory: &Directory,
        shards: u8,
    ) -> Result<Host, BuildError> {
        let engine =
            |shard| Engine::new(*config, policy.clone(), directory.clone(), ShardId(shard), shards);
        Ok(Host::of((0..shards.max(1)).map(engine).collect::<Result<_, _>>()?))
    }

    /// Engines that go on where those were whose log ended as the journal says.
    ///
    /// # Errors
    /// When an engine cannot be built: see [`BuildError`].
    pub fn resume(
        config: &Config,
        policy: &Policy,
        directory: &Directory,
        shards: u8,
        journal: &Journal,
        now: Nanos,
    ) -> Result<Host, BuildError> {
        let engine = |shard| {
            let shard = (ShardId(shard), shards);
            Engine::resume(*config, policy.clone(), directory.clone(), shard, journal, now)
        };
        Ok(Host::of((0..shards.max(1)).map(engine).collect::<Result<_, _>>()?))
    }

    fn of(shards: Vec<Engine>) -> Host {
        Host {
            shards,
            out: Out::new(OUT_CAPACITY),
            buffers: Vec::new(),
            free: Vec::new(),
            kept: 0,
            mail: VecDeque::new(),
            recalls: VecDeque::new(),
            guard: |call| call(),
            records: None,
        }
    }

    /// Switches every engine to another policy.
    ///
    /// # Errors
    /// What the first engine that refuses says.
    pub fn switch(&mut self, to: Choices) -> Result<(), SwitchError> {
        self.shards.iter_mut().try_for_each(|shard| shard.switch(to))
    }

    /// The same host with another way to call its engines.
    #[must_use]
    pub fn with_guard(mut self, guard: Guard) -> Host {
        self.guard = guard;
        self
    }

    /// The same host with another number of actions that one call may leave behind.
    #[must_use]
    pub fn with_out_capacity(mut self, actions: usize) -> Host {
        self.out = Out::new(actions);
        self
    }

    /// The same host with somebody who takes the records, one per call.
    #[must_use]
    pub fn with_records(mut self, sink: RecordSink) -> Host {
        self.records = Some(sink);
        self
    }

    /// A frame comes in on `side` at `shard`. What goes out is handed to `emit`, in order.
    pub fn offer(
        &mut self,
        shard: u8,
        side: Side,
        now: Nanos,
        frame: &[u8],
        emit: &mut dyn FnMut(Side, &[u8]),
    ) {
        let token = self.take_buffer(side, frame);
        let shard = usize::from(shard) % self.shards.len();
        self.call(shard, now, Input::Frame(side, token), emit);
        self.drain(now, emit);
    }

    /// Lets every shard act on deadlines that have passed. Returns the next one.
    pub fn timeout(&mut self, now: Nanos, emit: &mut dyn FnMut(Side, &[u8])) -> Option<Nanos> {
        for shard in 0..self.shards.len() {
            self.call(shard, now, Input::Timeout, emit);
        }
        self.drain(now, emit);
        self.next_deadline(now)
    }

    /// The next deadline of any shard.
    pub fn next_deadline(&self, now: Nanos) -> Option<Nanos> {
        let next = self.shards.iter().filter_map(Engine::next_deadline).min();
        next.map(|deadline| deadline.max(now))
    }

    /// The counters of all shards together.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.shards.iter().for_each(|shard| sum.merge(shard.counters()));
        sum
    }

    /// What the first shard counted while it learnt connections, if it learns.
    #[must_use]
    pub fn learning(&self) -> Option<&qpmux_engine::connections::Counters> {
        self.shards.first().and_then(Engine::learning)
    }

    /// All server queue pairs.
    pub fn server_qps(&self) -> impl Iterator<Item = ServerQpReport> {
        self.shards.iter().flat_map(Engine::server_qps)
    }

    /// Buffers, client requests and server requests that are still open: none at rest.
    #[must_use]
    pub fn open(&self) -> (usize, usize, usize) {
        let add = |(a, b): (usize, usize), (c, d): (usize, usize)| (a + c, b + d);
        let (clients, servers) = self.shards.iter().map(Engine::open_requests).fold((0, 0), add);
        (self.kept, clients, servers)
    }

    fn drain(&mut self, now: Nanos, emit: &mut dyn FnMut(Side, &[u8])) {
        let mut calls = 0;
        loop {
            calls += 1;
            assert!(calls < CALLS_MAX, "mail and recalls without end");
            if let Some((shard, token)) = self.recalls.pop_front() {
                self.buffers[token.0 as usize].life = Life::Offered;
                self.kept -= 1;
                self.call(shard, now, Input::Recalled(token), emit);
            } else if let Some((shard, mail, token)) = self.mail.pop_front() {
                let input = match token {
                    Some(token) => Input::Mail(mail, token),
                    None => Input::News(self.take_news(shard, mail)),
                };
                self.call(usize::from(shard.0), now, input, emit);
            } else {
                return;
            }
        }
    }

    /// The messages without a frame that follow `first` in the queue of mail for its shard.
    fn take_news(&mut self, shard: ShardId, first: Mail) -> Vec<Mail> {
        let mut news = vec![first];
        while let Some((_, mail, _)) =
            self.mail.pop_front_if(|(to, _, token)| *to == shard && token.is_none())
        {
            news.push(mail);
        }
        news
    }

    /// One input to one shard, and all that it says is to be done.
    fn call(
        &mut self,
        shard: usize,
        now: Nanos,
        mut input: Input,
        emit: &mut dyn FnMut(Side, &[u8]),
    ) {
        let mut calls = 0;
        loop {
            calls += 1;
            assert!(calls < CALLS_MAX, "an input that the engine never takes");
            let taken = self.call_once(shard, now, &input);
            // Where the list has room left, so has nothing been left for a later call.
            let rest = !self.out.has_room();
            self.carry_out(shard, emit);
            if taken {
                input = Input::Rest;
            }
            if taken && !rest {
                return;
            }
        }
    }

    /// Whether the input was taken.
    fn call_once(&mut self, shard: usize, now: Nanos, input: &Input) -> bool {
        let engine = &mut self.shards[shard];
        let out = &mut self.out;
        let guard = self.guard;
        match *input {
            Input::Frame(side, token) => {
                let mut frames = [lend(&mut self.buffers, token)];
                let taken = run(guard, || engine.handle_burst(side, now, &mut frames, out));
                let span = frames[0].span();
                take_back(&mut self.buffers, token, span);
                taken == 1
            }
            Input::Recalled(token) => {
                let mut frames = [lend(&mut self.buffers, token)];
                let taken = run(guard, || engine.handle_recalled(now, &mut frames, out));
                let span = frames[0].span();
                take_back(&mut self.buffers, token, span);
                taken == 1
            }
            Input::Mail(mail, token) => {
                let frame = Some(lend(&mut self.buffers, token));
                let mut letters = [Letter { mail, frame }];
                let taken = run(guard, || engine.handle_mail(now, &mut letters, out));
                let span = letters[0].frame.as_ref().map_or((0, 0), Frame::span);
                take_back(&mut self.buffers, token, span);
                taken == 1
            }
            Input::News(ref news) => {
                let letter = |mail: &Mail| Letter { mail: *mail, frame: None };
                let mut letters: Vec<_> = news.iter().map(letter).collect();
                run(guard, || engine.handle_mail(now, &mut letters, out)) == letters.len()
            }
            Input::Timeout => {
                run(guard, || engine.handle_timeout(now, out));
                true
            }
            Input::Rest => {
                run(guard, || engine.handle_burst(Side::Client, now, &mut [], out));
                true
            }
        }
    }

    fn carry_out(&mut self, shard: usize, emit: &mut dyn FnMut(Side, &[u8])) {
        for at in 0..self.out.actions().len() {
            match self.out.actions()[at] {
                Action::Forward(token, side) => {
                    emit(side, self.frame(token));
                    self.give_up(token, Life::Offered);
                }
                Action::ForwardAndRetain(token, side) => {
                    emit(side, self.frame(token));
                    self.keep(token);
                }
                Action::Hold(token) => self.keep(token),
                Action::Pass(token) => {
                    let side = self.buffers[token.0 as usize].came_in.opposite();
                    emit(side, self.frame(token));
                    self.give_up(token, Life::Offered);
                }
                Action::Drop(token, _) => self.give_up(token, Life::Offered),
                Action::Send(token, side) => {
                    assert_eq!(self.buffers[token.0 as usize].life, Life::Kept, "{token:?}");
                    emit(side, self.frame(token));
                }
                Action::Release(token) => self.give_up(token, Life::Kept),
                Action::Recall(token) => {
                    assert_eq!(self.buffers[token.0 as usize].life, Life::Kept, "{token:?}");
                    self.recalls.push_back((shard, token));
                }
                Action::Generated(index, side) => emit(side, self.out.generated(index)),
                Action::Record(index) => {
                    if let Some(sink) = &mut self.records {
                        sink(self.out.generated(index));
                    }
                }
                Action::Mail(to, mail, token) => {
                    let mail = self.out.mail(mail).expect("a message that is in the list");
                    if let Some(token) = token {
                        let life = &mut self.buffers[token.0 as usize].life;
                        assert_ne!(*life, Life::Free, "{token:?}");
                        if core::mem::replace(life, Life::Offered) == Life::Kept {
                            self.kept -= 1;
                        }
                    }
                    self.mail.push_back((to, mail, token));
                }
            }
        }
        self.out.clear();
    }

    fn take_buffer(&mut self, side: Side, frame: &[u8]) -> Token {
        let index = self.free.pop().unwrap_or_else(|| {
            self.buffers.push(Buffer {
                bytes: Vec::new(),
                room: 0,
                start: 0,
                len: 0,
                came_in: side,
                life: Life::Free,
            });
            (self.buffers.len() - 1) as u32
        });
        let buffer = &mut self.buffers[index as usize];
        let (start, len) = (HEADROOM, frame.len());
        buffer.room = len + 2 * HEADROOM;
        if buffer.bytes.len() < buffer.room {
            buffer.bytes.resize(buffer.room, 0);
        }
        buffer.bytes[start..start + len].copy_from_slice(frame);
        (buffer.start, buffer.len) = (start, len);
        buffer.came_in = side;
        buffer.life = Life::Offered;
        Token(index)
    }

    fn frame(&self, token: Token) -> &[u8] {
        let buffer = &self.buffers[token.0 as usize];
        &buffer.bytes[buffer.start..buffer.start + buffer.len]
    }

    fn keep(&mut self, token: Token) {
        let life = core::mem::replace(&mut self.buffers[token.0 as usize].life, Life::Kept);
        assert_eq!(life, Life::Offered, "{token:?} is kept, but was not offered");
        self.kept += 1;
    }

    fn give_up(&mut self, token: Token, expected: Life) {
        let life = core::mem::replace(&mut self.buffers[token.0 as usize].life, Life::Free);
        assert_eq!(life, expected, "{token:?} is given up");
        if life == Life::Kept {
            self.kept -= 1;
        }
        self.free.push(token.0);
    }
}

/// Makes a call through a guard.
fn run<T>(guard: Guard, mut call: impl FnMut() -> T) -> T {
    let mut result = None;
    guard(&mut || result = Some(call()));
    result.expect("a guard runs the call")
}

fn lend(buffers: &mut [Buffer], token: Token) -> Frame<'_> {
    let buffer = &mut buffers[token.0 as usize];
    let (start, len) = (buffer.start, buffer.len);
    let bytes = &mut buffer.bytes[..buffer.room];
    Frame::new(bytes, start, len, token).expect("a buffer has room around its frame")
}

fn take_back(buffers: &mut [Buffer], token: Token, (start, len): (usize, usize)) {
    let buffer = &mut buffers[token.0 as usize];
    (buffer.start, buffer.len) = (start, len);
}
