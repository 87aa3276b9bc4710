//! All workers' boxes: what is asked of the program is asked of each of them, and their replies
//! are one.

use std::sync::{Arc, Mutex, PoisonError};

use qpmux_engine::policy::{Choices, SwitchError};
use qpmux_engine::{ClientId, ConnectionReport};

use super::capture::Tap;
use super::mail::{Awaited, PAGE, Post, PostError, Question, Reply};
use crate::config::StopRule;
use crate::report::Report;
use crate::standby::Status;

/// The workers, as they are written to. Each thread has its own.
#[derive(Clone, Debug)]
pub struct Crew {
    posts: Vec<Post>,
    stop: StopRule,
    /// This host's part of two.
    status: Status,
    /// Held by whoever changes something, so that all workers hear of changes in one order.
    changes: Arc<Mutex<()>>,
}

/// Why something is not done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CrewError {
    /// A worker cannot be asked.
    #[error(transparent)]
    Post(#[from] PostError),
    /// They were not built for that policy.
    #[error("{0}: that needs a restart")]
    Switch(SwitchError),
    /// There are none: this host stands by, or may not speak yet.
    #[error("nothing is forwarded here now: `ctl standby` says why")]
    Silent,
    /// A worker says something else than what it was asked.
    #[error("the packet loop answered something else")]
    Unexpected,
}

/// Connections from one place in the table of all.
#[derive(Debug)]
pub struct Connections {
    /// A page of them.
    pub page: Vec<ConnectionReport>,
    /// Where the next one is, if there may be more.
    pub next: Option<u64>,
}

/// What became of the wish that it stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// It stops, and so many connections break.
    Stops(usize),
    /// It does not: so many connections would break.
    Refused(usize),
}

/// A worker's number and a connection's there, as one.
const WORKER_BITS: u32 = 32;

impl Crew {
    /// The workers behind these posts, and what a stop does while connections are translated.
    #[must_use]
    pub fn new(posts: Vec<Post>, stop: StopRule) -> Crew {
        Crew { posts, stop, status: Status::default(), changes: Arc::default() }
    }

    /// The same on one of two hosts.
    #[must_use]
    pub fn of_two(mut self, status: &Status) -> Crew {
        self.status = status.clone();
        self
    }

    /// This host's part of two.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.status
    }

    fn ask_each<T>(
        &mut self,
        question: impl Fn() -> Question,
        reply: impl Fn(Reply) -> Option<T>,
    ) -> Result<Vec<T>, CrewError> {
        // All are asked before any is waited for.
        let awaited: Vec<_> = self.posts.iter_mut().map(|post| post.send(question())).collect();
        let told = |awaited: Result<Awaited, PostError>| {
            reply(awaited?.wait()?).ok_or(CrewError::Unexpected)
        };
        awaited.into_iter().map(told).collect()
    }

    /// What all have counted.
    ///
    /// # Errors
    /// See [`CrewError`].
    pub fn report(&mut self) -> Result<Report, CrewError> {
        let reports = self.ask_each(
            || Question::Report,
            |reply| match reply {
                Reply::Report(report) => Some(*report),
                _ => None,
            },
        )?;
        let sum = reports.into_iter().reduce(|mut sum, report| {
            sum.merge(report);
            sum
        });
        sum.ok_or(CrewError::Silent)
    }

    /// What they do, and the most that they were built for: all the same.
    ///
    /// # Errors
    /// See [`CrewError`].
    pub fn policy(&mut self) -> Result<(Choices, Choices), CrewError> {
        let first = self.posts.first_mut().ok_or(CrewError::Silent)?;
        match first.ask(Question::Policy)? {
            Reply::Policy(now, most) => Ok((now, most)),
            _ => Err(CrewError::Unexpected),
        }
    }

    /// Switches all of them. They are built alike: one refuses if all do, and the first is asked
    /// before any other has switched.
    ///
    /// # Errors
    /// See [`CrewError`].
    pub fn switch(&mut self, to: Choices) -> Result<(), CrewError> {
        let changes = Arc::clone(&self.changes);
        let _changes = changes.lock().unwrap_or_else(PoisonError::into_inner);
        for post in &mut self.posts {
            match post.ask(Question::Switch(to))? {
                Reply::Policy(..) => {}
                Reply::NotSwitched(error) => return Err(CrewError::Switch(error)),
                _ => return Err(CrewError::Unexpected),
            }
        }
        Ok(())
    }

    /// Connections from a place on: 0, or where a page said that the next one is.
    ///
    /// # Errors
    /// See [`CrewError`].
    pub fn connections(&mut self, from: u64) -> Result<Connections, CrewError> {
        let worker = usize::try_from(from >> WORKER_BITS).unwrap_or(usize::MAX);
        let Some(post) = self.posts.get_mut(worker) else {
            return Ok(Connections { page: Vec::new(), next: None });
        };
        match post.ask(Question::Connections(ClientId(from as u32)))? {
            Reply::Connections(page) => {
                let last = page.last().filter(|_| page.len() == PAGE);
                let here = last.and_then(|last| last.id.0.checked_add(1));
                let here = here.map(|id| (worker as u64) << WORKER_BITS | u64::from(id));
                let more = worker + 1 < self.posts.len();
                let other = more.then_some((worker as u64 + 1) << WORKER_BITS);
                Ok(Connections { page, next: here.or(other) })
            }
            _ => Err(CrewError::Unexpected),
        }
    }

    /// Keeps connections from translation, or lets them again; `None` leaves it. Whether any are
    /// kept from it, and how many are translated.
    ///
    /// # Errors
    /// See [`CrewError`].
    pub fn drain(&mut self, hold: Option<bool>) -> Result<(bool, usize), CrewError> {
        let changes = Arc::clone(&self.changes);
        let _changes = changes.lock().unwrap_or_else(PoisonError::into_inner);
        let each = self.ask_each(
            || Question::Drain(hold),
            |reply| match reply {
                Reply::Drain(holds, translated) => Some((holds, translated)),
                _ => None,
            },
        )?;
        let add = |(a, b): (bool, usize), (c, d): (bool, usize)| (a || c, b + d);
        Ok(each.into_iter().fold((false, 0), add))
    }

    /// Stops all, if no connection breaks or that is meant. While they are counted, all stand
    /// still.
    ///
    /// # Errors
    /// See [`CrewError`].
    pub fn stop(&mut self, force: bool) -> Result<Stop, CrewError> {
        let changes = Arc::clone(&self.changes);
        let _changes = changes.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = self.ask_each(
            || Question::Freeze,
            |reply| match reply {
                Reply::Frozen(translated) => Some(translated),
                _ => None,
            },
        );
        let breaks = counted.as_ref().map_or(0, |counted| counted.iter().sum());
        let may = breaks == 0 || force || self.stop == StopRule::Force;
        if may && counted.is_ok() {
            self.end();
            return Ok(Stop::Stops(breaks));
        }
        // Who cannot be told thaws by itself.
        let _ = self.ask_each(|| Question::Thaw, |_| Some(()));
        counted.map(|_| Stop::Refused(breaks))
    }

    /// Stops all that still run, whatever breaks.
    pub fn end(&mut self) {
        // Who cannot be asked has stopped.
        let _ = self.ask_each(|| Question::Stop, |_| Some(()));
    }

    /// Gives each worker a tap of a capture, or takes them away.
    ///
    /// # Errors
    /// See [`CrewError`].
    pub fn capture(&mut self, taps: Option<Vec<Box<Tap>>>) -> Result<(), CrewError> {
        let mut taps = taps.into_iter().flatten();
        for post in &mut self.posts {
            match post.ask(Question::Capture(taps.next()))? {
                Reply::Capture => {}
                _ => return Err(CrewError::Unexpected),
            }
        }
        Ok(())
    }

    /// Number of workers.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.posts.len()
    }
}

/// So many connections, as words.
#[must_use]
pub fn translated(connections: usize) -> String {
    match connections {
        0 => "no connection is translated".to_owned(),
        1 => "1 connection is translated".to_owned(),
        many => format!("{many} connections are translated"),
    }
}
