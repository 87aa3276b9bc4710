//! Waiting: for a frame, for a deadline, for a signal, for a letter.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;

use crate::control::mail::Bell;

/// SIGINT, SIGTERM and SIGHUP as something to wait for, so that none comes between two looks at a
/// flag.
#[derive(Debug)]
pub struct Waiter {
    signals: SignalFd,
    bell: Bell,
}

/// Why the wait is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wake {
    /// A frame or a letter may wait, or the time has passed.
    Work,
    /// The configuration is to be read again.
    Reload,
    /// The process is asked to stop.
    Stop(&'static str),
}

impl Waiter {
    /// Takes the signals over. Threads that are started later must not unblock them.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn new() -> io::Result<Waiter> {
        let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
        signals.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Waiter { signals: SignalFd::with_flags(&signals, flags)?, bell: Bell::new()? })
    }

    /// What ends the wait if it rings: for who writes letters to the loop.
    #[must_use]
    pub fn bell(&self) -> Bell {
        self.bell.clone()
    }

    /// Waits until a port has a frame, `at_most` has passed (`None`: for ever), the bell rings, or
    /// a signal comes.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn wait(&self, ports: &[BorrowedFd<'_>], at_most: Option<Duration>) -> io::Result<Wake> {
        let files = ports.iter().copied().chain([self.signals.as_fd(), self.bell.as_fd()]);
        let mut files: Vec<_> = files.map(|file| PollFd::new(file, PollFlags::POLLIN)).collect();
        match ppoll(&mut files, at_most.map(TimeSpec::from_duration), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        if files.last().is_some_and(|bell| bell.any() == Some(true)) {
            // Before the letters are read: who writes another one then rings again.
            self.bell.hear();
        }
        let told = self.signals.read_signal()?.map(|signal| signal.ssi_signo as i32);
        let signal = told.and_then(|number| Signal::try_from(number).ok());
        Ok(match signal {
            None => Wake::Work,
            Some(Signal::SIGHUP) => Wake::Reload,
            Some(signal) => Wake::Stop(signal.as_str()),
        })
    }
}
