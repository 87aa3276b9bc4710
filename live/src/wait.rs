//! Waiting: for a frame, for a deadline, for a letter, for a signal.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;

use crate::control::mail::Bell;

/// Waits until one of `files` has something, `at_most` has passed (`None`: for ever), or the bell
/// rings, which is silent then.
///
/// # Errors
/// What the operating system says.
pub fn wait(files: &[BorrowedFd<'_>], bell: &Bell, at_most: Option<Duration>) -> io::Result<()> {
    if wait_deaf(files, bell, at_most)? {
        // Before the letters are read: who writes another one then rings again.
        bell.hear();
    }
    Ok(())
}

/// The same, but the bell rings on. Whether it does.
fn wait_deaf(files: &[BorrowedFd<'_>], bell: &Bell, at_most: Option<Duration>) -> io::Result<bool> {
    let all = files.iter().copied().chain([bell.as_fd()]);
    let mut all: Vec<_> = all.map(|file| PollFd::new(file, PollFlags::POLLIN)).collect();
    match ppoll(&mut all, at_most.map(TimeSpec::from_duration), None) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(all.last().is_some_and(|bell| bell.any() == Some(true)))
}

/// SIGINT, SIGTERM and SIGHUP as something to wait for, so that none comes between two looks at a
/// flag.
#[derive(Debug)]
pub struct Signals(SignalFd);

/// Why the wait is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wake {
    /// The bell rang.
    Bell,
    /// The configuration is to be read again.
    Reload,
    /// The process is asked to stop.
    Stop(&'static str),
}

impl Signals {
    /// Takes the signals over, also in threads that are started later.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn new() -> io::Result<Signals> {
        let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
        signals.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Signals(SignalFd::with_flags(&signals, flags)?))
    }

    /// Waits for a signal, or until the bell rings.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn wait(&self, bell: &Bell) -> io::Result<Wake> {
        // A signal that comes with the bell must not silence it: nobody rings again.
        wait_deaf(&[self.0.as_fd()], bell, None)?;
        let told = self.0.read_signal()?.map(|signal| signal.ssi_signo as i32);
        Ok(match told.and_then(|number| Signal::try_from(number).ok()) {
            None => {
                bell.hear();
                Wake::Bell
            }
            Some(Signal::SIGHUP) => Wake::Reload,
            Some(signal) => Wake::Stop(signal.as_str()),
        })
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::raise;

    use super::*;

    #[test]
    fn a_signal_does_not_silence_the_bell() {
        let (signals, bell) = (Signals::new().unwrap(), Bell::new().unwrap());
        bell.ring();
        raise(Signal::SIGHUP).unwrap();
        assert_eq!(signals.wait(&bell).unwrap(), Wake::Reload);
        assert_eq!(signals.wait(&bell).unwrap(), Wake::Bell);
    }
}
