//! A speaker's side: it ships its records, and uses them when the standby has confirmed them.

use std::collections::BTreeSet;
use std::io::{self, BufReader};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use qpmux_engine::Side;
use qpmux_engine::journal::Journal;
use tracing::warn;

use super::lease::{Lease, now, over};
use super::message::{Answer, Hello, Message};
use crate::announcement::Address;
use crate::journal::in_chunks;

/// How long the other host may take to answer a call.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it may take to look at all that is known.
const LEVEL_PATIENCE: Duration = Duration::from_secs(10);
/// How long a worker may take to begin.
const BEGIN_PATIENCE: Duration = Duration::from_secs(20);
/// How long a worker sleeps at most while it waits: it is woken before.
const NAP: Duration = Duration::from_millis(1);

/// Addresses that the standby is told, at most.
pub(super) const ADDRESSES_MAX: usize = 4_096;

/// Calls the other host. What it answers, and the connection.
///
/// # Errors
/// When it cannot be reached, or is something else.
pub(super) fn call(peer: SocketAddr, hello: &Hello) -> io::Result<(Answer, TcpStream)> {
    let mut stream = TcpStream::connect_timeout(&peer, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Message::Hello(hello.clone()).write(&mut stream)?;
    match Message::read(&mut stream)? {
        Message::Answer(answer) => Ok((answer, stream)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it answers something else")),
    }
}

/// Asks a host that stands by, which is to agree.
fn ask(stream: &mut TcpStream, question: &Message) -> io::Result<()> {
    question.write(stream)?;
    loop {
        match Message::read(stream)? {
            Message::Taken { .. } => {}
            Message::LevelAnswer(None) => return Ok(()),
            Message::LevelAnswer(Some(reason)) => return Err(io::Error::other(reason)),
            _ => return Err(io::Error::other("it answers something else")),
        }
    }
}

/// What all threads of a session know.
#[derive(Debug)]
struct Shared {
    lease: Lease,
    workers: Vec<SharedWorker>,
    /// The standby has closed the connection, having read all that it was sent.
    hung_up: AtomicBool,
}

#[derive(Debug, Default)]
struct SharedWorker {
    /// Bytes that the standby has.
    confirmed: AtomicU64,
    /// Bytes that were shipped.
    shipped: AtomicU64,
    /// Turns of its loop.
    turns: AtomicU64,
    /// Who waits.
    thread: Mutex<Option<Thread>>,
}

impl Shared {
    /// The session is over: whoever waits is told.
    fn end(&self) {
        self.lease.end();
        self.workers.iter().for_each(SharedWorker::wake);
    }
}

impl SharedWorker {
    fn wake(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.iter().for_each(Thread::unpark);
    }
}

/// What is to be shipped.
enum Order {
    Records { worker: u32, position: u64, chunk: Vec<u8> },
    Address(Address),
    Final,
}

/// A standby that is level.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    orders: Sender<Order>,
    stream: TcpStream,
    threads: Vec<JoinHandle<()>>,
    lag_bytes: u64,
    lease: Duration,
}

impl Session {
    /// Ships all that is known to a host that stands by, which is level then. From before it is
    /// told so, `level` has kept that this host may not go on alone any more.
    ///
    /// # Errors
    /// When the other host is gone, or refuses: then it is not level.
    pub fn open(
        mut stream: TcpStream,
        hello: &Hello,
        known: &[Journal],
        level: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<Session> {
        let workers: Vec<SharedWorker> = known.iter().map(|_| SharedWorker::default()).collect();
        for (worker, (journal, shared)) in known.iter().zip(&workers).enumerate() {
            let mut position = 0;
            in_chunks(journal, |chunk| {
                let (worker, chunk) = (worker as u32, chunk.to_vec());
                let len = chunk.len() as u64;
                Message::Records { worker, position, chunk }.write(&mut stream)?;
                position += len;
                Ok(())
            })?;
            shared.shipped.store(position, Ordering::Release);
            shared.confirmed.store(position, Ordering::Release);
        }
        stream.set_read_timeout(Some(LEVEL_PATIENCE))?;
        // One that could not go on must not cost this host the right to be alone.
        ask(&mut stream, &Message::Ready)?;
        level()?;
        let asked = now();
        ask(&mut stream, &Message::Level)?;
        let shared =
            Arc::new(Shared { lease: Lease::default(), workers, hung_up: AtomicBool::new(false) });
        shared.lease.extend(asked + hello.lease_ns);
        Session::start(stream, shared, hello)
    }

    fn start(stream: TcpStream, shared: Arc<Shared>, hello: &Hello) -> io::Result<Session> {
        let lease = Duration::from_nanos(hello.lease_ns);
        let (orders, taken) = channel();
        // Longer than a lease nothing is of use.
        stream.set_read_timeout(Some(lease))?;
        stream.set_write_timeout(Some(lease))?;
        let beats = Arc::new(Beats::default());
        let shipper = Shipper {
            stream: stream.try_clone()?,
            shared: Arc::clone(&shared),
            beats: Arc::clone(&beats),
            lease,
            turns: vec![0; shared.workers.len()],
            began: Instant::now(),
        };
        let (of_listener, heard) = (Arc::clone(&shared), stream.try_clone()?);
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let threads = vec![
            named("shipper").spawn(move || shipper.run(&taken))?,
            named("confirmed").spawn(move || listen(heard, &of_listener, &beats, lease))?,
        ];
        let lag_bytes = hello.lag_bytes;
        Ok(Session { shared, orders, stream, threads, lag_bytes, lease })
    }

    /// The line of a worker to the standby.
    #[must_use]
    pub fn line(&self, worker: usize) -> Line {
        let (shared, orders) = (Arc::clone(&self.shared), self.orders.clone());
        let position = shared.workers.get(worker).map_or(0, |w| w.shipped.load(Ordering::Acquire));
        let (lag_bytes, lease, told) = (self.lag_bytes, self.lease, BTreeSet::new());
        Line { worker, position, shared, orders, lag_bytes, lease, told }
    }

    /// Whether the standby confirms what is shipped.
    #[must_use]
    pub fn lasts(&self) -> bool {
        self.shared.lease.lasts()
    }

    /// What is to be seen of it from outside.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.shared))
    }

    /// This host has spoken its last: the other one goes on. Whether it has heard of it.
    #[must_use]
    pub fn finish(self) -> bool {
        let told = !self.shared.lease.is_over() && self.orders.send(Order::Final).is_ok();
        let until = Instant::now() + self.lease;
        // It confirms what comes before, and hangs up then: a connection that is closed earlier
        // takes with it what was not read yet.
        let ended = || self.threads.iter().all(JoinHandle::is_finished);
        while told && !ended() && Instant::now() < until {
            thread::sleep(NAP);
        }
        // A listener that was not answered in time ends as well.
        told && ended() && self.shared.hung_up.load(Ordering::Acquire)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.end();
        let _ = self.stream.shutdown(Shutdown::Both);
        // The shipper ends with the last line, or here.
        self.orders = channel().0;
        self.threads.drain(..).for_each(|thread| {
            let _ = thread.join();
        });
    }
}

/// A session, seen from outside.
#[derive(Clone, Debug)]
pub struct Watch(Arc<Shared>);

impl Watch {
    /// Bytes that were shipped and not confirmed yet.
    #[must_use]
    pub fn lag_bytes(&self) -> u64 {
        let lag = |worker: &SharedWorker| {
            let confirmed = worker.confirmed.load(Ordering::Acquire);
            worker.shipped.load(Ordering::Acquire).saturating_sub(confirmed)
        };
        self.0.workers.iter().map(lag).sum()
    }
}

/// When beats were sent: the last two.
#[derive(Debug, Default)]
struct Beats(Mutex<[(u64, u64); 2]>);

impl Beats {
    fn sent(&self, beat: u64, at: u64) {
        let mut beats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *beats = [beats[1], (beat, at)];
    }

    fn at(&self, beat: u64) -> Option<u64> {
        let beats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        beats.iter().find(|(sent, _)| *sent == beat && beat > 0).map(|(_, at)| *at)
    }
}

/// The thread that says everything.
struct Shipper {
    stream: TcpStream,
    shared: Arc<Shared>,
    beats: Arc<Beats>,
    lease: Duration,
    /// Turns of each worker at the last beat.
    turns: Vec<u64>,
    began: Instant,
}

impl Shipper {
    fn run(mut self, orders: &Receiver<Order>) {
        match self.ship(orders) {
            // What was said is still to be heard.
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => warn!("standby: nothing can be said any more: {error}"),
        }
        self.shared.end();
    }

    /// Until there is nothing more to be said, or nobody to hear it. Whether all was said.
    fn ship(&mut self, orders: &Receiver<Order>) -> io::Result<bool> {
        let pace = self.lease / 4;
        let (mut beat, mut next) = (0, Instant::now());
        loop {
            let left = next.saturating_duration_since(Instant::now());
            match orders.recv_timeout(left) {
                Ok(Order::Records { worker, position, chunk }) => {
                    Message::Records { worker, position, chunk }.write(&mut self.stream)?;
                }
                Ok(Order::Address(address)) => {
                    Message::Address(address).write(&mut self.stream)?;
                }
                Ok(Order::Final) => {
                    return Message::Final.write(&mut self.stream).map(|()| true);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(false),
            }
            if self.shared.lease.is_over() {
                return Ok(false);
            }
            if Instant::now() >= next {
                next = Instant::now() + pace;
                if self.all_turn() {
                    beat += 1;
                    self.beats.sent(beat, now());
                    Message::Beat(beat).write(&mut self.stream)?;
                }
            }
        }
    }

    /// Whether each worker has turned since it was asked last: a host whose loop hangs is not
    /// alive.
    fn all_turn(&mut self) -> bool {
        let starting = self.began.elapsed() < BEGIN_PATIENCE;
        let now: Vec<u64> =
            self.shared.workers.iter().map(|w| w.turns.load(Ordering::Relaxed)).collect();
        let turn = |(now, before): (&u64, &u64)| now != before || *now == 0 && starting;
        let all = now.iter().zip(&self.turns).all(turn);
        if all {
            self.turns = now;
        }
        all
    }
}

/// The thread that hears what is confirmed.
fn listen(stream: TcpStream, shared: &Shared, beats: &Beats, lease: Duration) {
    let mut stream = BufReader::new(stream);
    loop {
        match Message::read(&mut stream) {
            Ok(Message::Taken { beat, positions }) => {
                if let Some(at) = beats.at(beat) {
                    shared.lease.extend(at + lease.as_nanos() as u64);
                }
                for (worker, position) in shared.workers.iter().zip(positions) {
                    worker.confirmed.store(position, Ordering::Release);
                    worker.wake();
                }
            }
            end => {
                // With something unread it would have been reset.
                let closed = |error: &io::Error| error.kind() == io::ErrorKind::UnexpectedEof;
                shared.hung_up.store(end.is_err_and(|error| closed(&error)), Ordering::Release);
                return shared.end();
            }
        }
    }
}

/// A worker's line to the standby.
#[derive(Debug)]
pub struct Line {
    worker: usize,
    /// Bytes shipped.
    position: u64,
    shared: Arc<Shared>,
    orders: Sender<Order>,
    lag_bytes: u64,
    lease: Duration,
    /// Whose addresses the standby knows.
    told: BTreeSet<Address>,
}

impl Line {
    fn shared(&self) -> Option<&SharedWorker> {
        self.shared.workers.get(self.worker)
    }

    /// Whether the lease lasts. Once one worker has found that it does not, it is over for all: a
    /// late word does not have some of them go on.
    fn lasts(&self) -> bool {
        let lasts = self.shared.lease.lasts();
        if !lasts {
            self.shared.lease.end();
        }
        lasts
    }

    /// The loop has turned. Whether it may still speak.
    pub fn turn(&self) -> bool {
        if let Some(shared) = self.shared() {
            // Nobody else writes it.
            shared.turns.store(shared.turns.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        self.lasts()
    }

    /// How often the loop is to turn at least.
    #[must_use]
    pub fn pace(&self) -> Duration {
        self.lease / 8
    }

    /// A frame has come in on that side. The standby is to know where from: it says so to switches
    /// when it goes on, since most endpoints say nothing by themselves.
    pub fn heard(&mut self, side: Side, frame: &[u8]) {
        let address = Address::of(side, frame).filter(|address| !self.told.contains(address));
        if let Some(address) = address.filter(|_| self.told.len() < ADDRESSES_MAX) {
            self.told.insert(address);
            let _ = self.orders.send(Order::Address(address));
        }
    }

    /// Ships a chunk.
    pub fn ship(&mut self, chunk: &[u8]) {
        let (worker, position) = (self.worker as u32, self.position);
        self.position += chunk.len() as u64;
        if let Some(shared) = self.shared() {
            shared.shipped.store(self.position, Ordering::Release);
        }
        // If the thread is gone, so is the lease.
        let _ = self.orders.send(Order::Records { worker, position, chunk: chunk.to_vec() });
    }

    /// Whether everything shipped may be used: the standby has it, or, if it need not have `all`,
    /// lacks little enough.
    #[must_use]
    pub fn is_settled(&self, all: bool) -> bool {
        let confirmed = self.shared().map_or(0, |shared| shared.confirmed.load(Ordering::Acquire));
        self.position - confirmed.min(self.position) <= if all { 0 } else { self.lag_bytes }
    }

    /// Waits until that is so.
    ///
    /// # Errors
    /// If the lease is over: nothing may be said any more.
    pub fn settle(&self, all: bool) -> io::Result<()> {
        if let Some(shared) = self.shared() {
            let mut thread = shared.thread.lock().unwrap_or_else(PoisonError::into_inner);
            thread.get_or_insert_with(thread::current);
        }
        while !self.is_settled(all) && self.shared.lease.lasts() {
            thread::park_timeout(NAP);
        }
        if self.lasts() { Ok(()) } else { Err(over()) }
    }
}
