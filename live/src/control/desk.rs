//! A loop's side: it reads its letters and replies.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use qpmux_engine::Nanos;

use super::mail::{LETTERS_MAX, Letter, Mailbox, PAGE, Question, Reply};
use crate::driver::Driver;
use crate::host::Host;
use crate::report::Report;

/// How long a loop stands still without a word.
const FROZEN_MAX: Duration = Duration::from_secs(1);

/// Whether the loop goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Onward {
    /// It does.
    Continue,
    /// It does not.
    Stop,
}

/// What the loop does for its operator.
#[derive(Debug)]
pub struct Desk {
    mail: Mailbox,
}

impl Desk {
    /// A desk with this box.
    #[must_use]
    pub fn new(mail: Mailbox) -> Desk {
        Desk { mail }
    }

    /// Reads what has come, a few letters at most, and replies. To be called each turn.
    pub fn attend<D: Driver>(&mut self, host: &mut Host<D>, now: Nanos) -> Onward {
        for _ in 0..LETTERS_MAX {
            let Some(letter) = self.mail.take() else {
                return Onward::Continue;
            };
            let freezes = matches!(letter.question, Question::Freeze);
            if answer(host, now, letter) == Onward::Stop
                || freezes && self.stand_still(host, now) == Onward::Stop
            {
                return Onward::Stop;
            }
        }
        Onward::Continue
    }

    /// Nothing is taken in, so nothing changes, until the next word.
    fn stand_still<D: Driver>(&mut self, host: &mut Host<D>, now: Nanos) -> Onward {
        let until = Instant::now() + FROZEN_MAX;
        while let left = until.saturating_duration_since(Instant::now())
            && let Some(letter) = self.mail.wait(left)
        {
            let thaws = matches!(letter.question, Question::Thaw);
            if answer(host, now, letter) == Onward::Stop {
                return Onward::Stop;
            }
            if thaws {
                break;
            }
        }
        Onward::Continue
    }
}

fn answer<D: Driver>(host: &mut Host<D>, now: Nanos, letter: Letter) -> Onward {
    let mut onward = Onward::Continue;
    if letter.until <= Instant::now() {
        return onward;
    }
    let reply = match letter.question {
        Question::Report => Reply::Report(Box::new(Report::of(host, now))),
        Question::Policy => policy(host),
        Question::Switch(to) => match host.switch(to) {
            Err(error) => Reply::NotSwitched(error),
            Ok(()) => policy(host),
        },
        Question::Connections(from) => {
            Reply::Connections(host.engine().connections(from).take(PAGE).collect())
        }
        Question::Drain(hold) => {
            if let Some(hold) = hold {
                host.hold_flips(now, hold);
            }
            Reply::Drain(host.engine().holds_flips(), host.engine().translated())
        }
        Question::Stop => {
            onward = Onward::Stop;
            Reply::Heard
        }
        Question::Freeze => Reply::Frozen(host.engine().translated()),
        Question::Thaw => Reply::Heard,
        Question::Capture(tap) => {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let wall_ns = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
            host.beside().set_tap(tap, wall_ns.saturating_sub(now.0));
            Reply::Capture
        }
    };
    // Whoever asked may be gone; its place for the reply is free.
    let _ = letter.reply.try_send(reply);
    onward
}

fn policy<D: Driver>(host: &Host<D>) -> Reply {
    Reply::Policy(host.engine().choices(), host.engine().most())
}
