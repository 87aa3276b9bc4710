//! Letters to a worker's loop, and its replies. The sender of a letter waits, the loop never.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};
use qpmux_engine::policy::{Choices, SwitchError};
use qpmux_engine::{ClientId, ConnectionReport};

use super::capture::Tap;
use crate::report::Report;

/// Letters that may wait: they are all read in one turn.
pub(super) const LETTERS_MAX: usize = 8;
/// How long a sender waits for the reply.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections in one reply: the loop is not kept for longer.
pub const PAGE: usize = 256;

/// What the loop is asked.
#[derive(Debug)]
pub enum Question {
    /// What was counted.
    Report,
    /// What the engine does.
    Policy,
    /// To do something else.
    Switch(Choices),
    /// At most [`PAGE`] connections, from this one on.
    Connections(ClientId),
    /// Whether connections are to be kept from translation; `None` leaves it as it is.
    Drain(Option<bool>),
    /// To stand still until it is told to stop or to thaw, and to say how many connections are
    /// translated. It thaws by itself if it is told neither.
    Freeze,
    /// To go on.
    Thaw,
    /// To stop.
    Stop,
    /// To copy frames, or to end that.
    Capture(Option<Box<Tap>>),
}

impl Question {
    /// How long its sender is quiet before the letter: the loop is not to be busy with letters.
    fn pace(&self) -> Duration {
        let ms = match self {
            // They look at every connection.
            Question::Report | Question::Drain(_) => 50,
            Question::Policy | Question::Switch(_) | Question::Connections(_) => 2,
            Question::Capture(_) => 10,
            Question::Freeze | Question::Thaw | Question::Stop => 0,
        };
        Duration::from_millis(ms)
    }
}

/// What the loop says.
#[derive(Debug)]
pub enum Reply {
    /// What was counted.
    Report(Box<Report>),
    /// What the engine does, and the most that it was built for.
    Policy(Choices, Choices),
    /// It was not switched.
    NotSwitched(SwitchError),
    /// Connections.
    Connections(Vec<ConnectionReport>),
    /// Whether connections are kept from translation, and how many are translated.
    Drain(bool, usize),
    /// It stands still, and so many connections are translated.
    Frozen(usize),
    /// It goes on, or stops, as it was told.
    Heard,
    /// It copies, or does no longer.
    Capture,
}

/// A question, and where its reply goes.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) question: Question,
    /// Nobody waits for the reply any longer: it is too late to do what it asks.
    pub(super) until: Instant,
    pub(super) reply: SyncSender<Reply>,
}

/// What wakes the loop when it sleeps.
#[derive(Clone, Debug)]
pub struct Bell(Arc<EventFd>);

impl Bell {
    /// A bell.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn new() -> io::Result<Bell> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        Ok(Bell(Arc::new(EventFd::from_value_and_flags(0, flags)?)))
    }

    /// It rings until it is heard.
    pub fn ring(&self) {
        // It cannot ring louder than it does.
        let _ = self.0.write(1);
    }

    /// It is silent now.
    pub fn hear(&self) {
        let _ = self.0.read();
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The loop's box.
#[derive(Debug)]
pub struct Mailbox {
    letters: Receiver<Letter>,
}

impl Mailbox {
    /// The next letter, if there is one. Costs nothing worth mentioning if there is none.
    pub(super) fn take(&self) -> Option<Letter> {
        self.letters.try_recv().ok()
    }

    /// The next letter, waited for at most so long.
    pub(super) fn wait(&self, at_most: Duration) -> Option<Letter> {
        self.letters.recv_timeout(at_most).ok()
    }
}

/// Why there is no reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PostError {
    /// The loop is gone.
    #[error("the packet loop has stopped")]
    Stopped,
    /// It does not take letters, or does not reply.
    #[error("the packet loop does not answer")]
    Silent,
}

/// Where letters are sent from. Each thread has its own.
#[derive(Debug)]
pub struct Post {
    letters: SyncSender<Letter>,
    bell: Bell,
    last: Option<Instant>,
}

impl Clone for Post {
    fn clone(&self) -> Post {
        Post { letters: self.letters.clone(), bell: self.bell.clone(), last: None }
    }
}

/// A post and the box that its letters go to; `bell` rings with each of them.
#[must_use]
pub fn post(bell: Bell) -> (Post, Mailbox) {
    let (send, letters) = sync_channel(LETTERS_MAX);
    (Post { letters: send, bell, last: None }, Mailbox { letters })
}

impl Post {
    /// Asks the loop, and waits for its reply.
    ///
    /// # Errors
    /// See [`PostError`].
    pub fn ask(&mut self, question: Question) -> Result<Reply, PostError> {
        self.send(question)?.wait()
    }

    /// Asks the loop.
    ///
    /// # Errors
    /// See [`PostError`].
    pub fn send(&mut self, question: Question) -> Result<Awaited, PostError> {
        if let Some(last) = self.last {
            thread::sleep(question.pace().saturating_sub(last.elapsed()));
        }
        let (reply, replies) = sync_channel(1);
        let until = Instant::now() + PATIENCE;
        self.letters.try_send(Letter { question, until, reply }).map_err(|error| match error {
            TrySendError::Full(_) => PostError::Silent,
            TrySendError::Disconnected(_) => PostError::Stopped,
        })?;
        self.bell.ring();
        self.last = Some(Instant::now());
        Ok(Awaited { replies, until })
    }
}

/// A reply that is to come.
#[derive(Debug)]
#[must_use]
pub struct Awaited {
    replies: Receiver<Reply>,
    until: Instant,
}

impl Awaited {
    /// Waits for it.
    ///
    /// # Errors
    /// See [`PostError`].
    pub fn wait(self) -> Result<Reply, PostError> {
        let left = self.until.saturating_duration_since(Instant::now());
        self.replies.recv_timeout(left).map_err(|error| match error {
            RecvTimeoutError::Timeout => PostError::Silent,
            RecvTimeoutError::Disconnected => PostError::Stopped,
        })
    }
}
