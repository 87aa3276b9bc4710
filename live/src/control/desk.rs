//! The loop's side: it reads its letters and replies, and knows when to stop.

use std::time::{SystemTime, UNIX_EPOCH};

use qpmux_engine::Nanos;
use qpmux_engine::policy::Choices;
use tracing::{error, info, warn};

use super::mail::{LETTERS_MAX, Letter, Mailbox, PAGE, Question, Reply};
use crate::config::StopRule;
use crate::driver::Driver;
use crate::host::Host;
use crate::report::Report;

/// How soon a second signal has to follow to be meant.
const MEANT_WITHIN_NS: u64 = 10_000_000_000;

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
    mail: Option<Mailbox>,
    stop: StopRule,
    /// When a signal was refused that asked it to stop.
    refused: Option<Nanos>,
}

impl Desk {
    /// A desk with this box, if anybody can write to it.
    #[must_use]
    pub fn new(mail: Option<Mailbox>, stop: StopRule) -> Desk {
        Desk { mail, stop, refused: None }
    }

    /// Reads what has come, a few letters at most, and replies. To be called each turn.
    pub fn attend<D: Driver>(&mut self, host: &mut Host<D>, now: Nanos) -> Onward {
        for _ in 0..LETTERS_MAX {
            let Some(letter) = self.mail.as_ref().and_then(Mailbox::take) else {
                return Onward::Continue;
            };
            if self.answer(host, now, letter) == Onward::Stop {
                return Onward::Stop;
            }
        }
        Onward::Continue
    }

    /// A signal asks the program to stop. It does if nothing breaks, if it is told to do so anyway,
    /// or if it is the second one within a short time.
    pub fn on_signal<D: Driver>(&mut self, host: &Host<D>, now: Nanos, signal: &str) -> Onward {
        let breaks = host.engine().translated();
        let meant = self.refused.is_some_and(|refused| now <= refused.after(MEANT_WITHIN_NS));
        if breaks == 0 || meant || self.stop == StopRule::Force {
            info!(breaks, "{signal}: stopping, {}", translated(breaks));
            return Onward::Stop;
        }
        self.refused = Some(now);
        warn!(
            breaks,
            "{signal}: not stopping: {} and would break; a second signal within 10 s stops all the \
            same, and so does `ctl stop --force`; `ctl drain --wait` waits for their end",
            translated(breaks)
        );
        Onward::Continue
    }

    fn answer<D: Driver>(&mut self, host: &mut Host<D>, now: Nanos, letter: Letter) -> Onward {
        let mut onward = Onward::Continue;
        let reply = match letter.question {
            Question::Report => Reply::Report(Box::new(Report::of(host, now))),
            Question::Policy => policy(host),
            Question::Switch { map, steer, atomics } => {
                let before = host.engine().choices();
                let to = Choices {
                    map: map.map_or(before.map, Into::into),
                    steer: steer.map_or(before.steer, Into::into),
                    atomics: atomics.map_or(before.atomics, Into::into),
                };
                match host.switch(to) {
                    Err(error) => {
                        error!("control: {error}; the policy is still {before}");
                        Reply::NotSwitched(error)
                    }
                    Ok(()) => {
                        info!("control: {to}, before: {before}");
                        policy(host)
                    }
                }
            }
            Question::Connections(from) => {
                Reply::Connections(host.engine().connections(from).take(PAGE).collect())
            }
            Question::Drain(hold) => {
                if let Some(hold) = hold {
                    host.hold_flips(now, hold);
                    let text = if hold { "no connection is" } else { "connections are" };
                    info!("control: {text} translated anew from now on");
                }
                Reply::Drain(host.engine().holds_flips(), host.engine().translated())
            }
            Question::Stop { force } => {
                let breaks = host.engine().translated();
                let stops = breaks == 0 || force || self.stop == StopRule::Force;
                if stops {
                    info!(breaks, "control: stopping, {}", translated(breaks));
                    onward = Onward::Stop;
                }
                Reply::Stop(stops, breaks)
            }
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
}

fn policy<D: Driver>(host: &Host<D>) -> Reply {
    Reply::Policy(host.engine().choices(), host.engine().most())
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
