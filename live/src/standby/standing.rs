//! A standby's side: it takes a speaker's records, and goes on when the speaker does not.

use std::collections::BTreeSet;
use std::io;
use std::net::TcpStream;
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use qpmux_engine::journal::Journal;
use tracing::{error, info, warn};

use super::arbiter::Arbiter;
use super::door::{Caller, Sign};
use super::lease::now;
use super::message::{Hello, Message};
use super::speaker::ADDRESSES_MAX;
use super::state::{Role, State};
use super::status::{Stage, Status};
use crate::announcement::Address;
use crate::config::Settings;
use crate::journal::apply_chunk;

/// How long a speaker that is not level may say nothing.
const PATIENCE: Duration = Duration::from_secs(2);
/// How soon what did not work is tried again, in nanoseconds.
const AGAIN: u64 = 200_000_000;
/// What a lease can be, as far as it makes sense to wait for its end.
const LEASE_MIN: Duration = Duration::from_millis(1);
const LEASE_MAX: Duration = Duration::from_secs(600);

/// All that a speaker has said.
#[derive(Debug)]
pub(super) struct Copy {
    /// What each worker's records say.
    pub journals: Vec<Journal>,
    /// Records taken.
    pub records: u64,
    /// The speaker may have used records that are not here.
    pub may_lack_the_end: bool,
    positions: Vec<u64>,
    /// When the speaker can surely speak no more, if nothing else is heard of it.
    pub free_at: u64,
}

/// A host that stands by.
pub(super) struct Standing<'a> {
    /// The configuration.
    pub settings: &'a Settings,
    /// What is kept of the host's part.
    pub state: &'a mut State,
    /// What callers are told of it.
    pub sign: &'a Sign,
    /// Who calls.
    pub callers: &'a Receiver<Caller>,
    /// What others see.
    pub status: &'a Status,
    /// Where frames came from, whoever has told.
    pub addresses: &'a mut BTreeSet<Address>,
}

/// Why no more is taken from a speaker.
#[derive(Debug)]
pub(super) enum End {
    /// It has said that it speaks no more.
    Final,
    /// It is gone, or says what cannot be.
    Lost(io::Error),
}

impl Standing<'_> {
    /// Stands by until it is this host's turn; its state says so then. What is known then.
    ///
    /// # Errors
    /// If the state cannot be kept.
    pub(super) fn stand(&mut self) -> io::Result<Copy> {
        let mut level: Option<Copy> = None;
        loop {
            self.status.set(if level.is_some() { Stage::Waiting } else { Stage::Empty });
            let caller = match &level {
                None => self.callers.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(copy) => {
                    let left = Duration::from_nanos(copy.free_at.saturating_sub(now()));
                    self.callers.recv_timeout(left)
                }
            };
            match caller {
                Ok(caller) => match self.take(caller, &mut level) {
                    End::Final => {
                        info!("standby: the speaker hands over");
                        // Nothing of it is on its way to the network any more.
                        level.iter_mut().for_each(|copy| {
                            (copy.free_at, copy.may_lack_the_end) = (0, false);
                        });
                    }
                    End::Lost(why) => warn!("standby: the speaker is lost: {why}"),
                },
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(io::Error::other("nobody listens for the other host any more"));
                }
                // A machine that was suspended may have been woken too early.
                Err(RecvTimeoutError::Timeout) => match level.take() {
                    Some(copy) if copy.free_at > now() => level = Some(copy),
                    Some(mut copy) => match self.wins(&copy) {
                        Ok(true) => return Ok(copy),
                        Ok(false) => {}
                        // Meanwhile the other host may come back.
                        Err(why) => {
                            error!("standby: {why}; that is tried again");
                            copy.free_at = now() + AGAIN;
                            level = Some(copy);
                        }
                    },
                    None => {}
                },
            }
        }
    }

    /// Takes what a speaker says. When it has said all, that is what is known from then on; until
    /// then what is known stays, since a speaker speaks only while its standby is level.
    pub(super) fn take(&mut self, caller: Caller, level: &mut Option<Copy>) -> End {
        let Caller { mut stream, hello } = caller;
        // It may have been let in before this was known.
        if let Some(reason) = outdated(&hello, self.state) {
            return End::Lost(io::Error::other(reason));
        }
        if hello.term > self.state.term {
            // It has won since.
            *level = None;
        }
        info!("standby: taking records of term {}", hello.term);
        if let Err(error) = stream.set_read_timeout(Some(PATIENCE)) {
            return End::Lost(error);
        }
        self.status.set(Stage::Copying);
        let mut copy = Copy {
            journals: vec![Journal::new(&self.settings.engine_config()); hello.workers],
            records: 0,
            may_lack_the_end: hello.lag_bytes > 0,
            positions: vec![0; hello.workers],
            free_at: u64::MAX,
        };
        loop {
            // Until it is level, what is known is that of before.
            let message = match Message::read(&mut stream) {
                Ok(Message::Ready) => {
                    let refused = self.refuses(&hello, &copy);
                    let answered = Message::LevelAnswer(refused.clone()).write(&mut stream);
                    let refused = refused.map(io::Error::other);
                    match refused.map_or(answered, Err) {
                        Ok(()) => continue,
                        Err(why) => return End::Lost(why),
                    }
                }
                Ok(Message::Level) => {
                    let refused = self.refuses(&hello, &copy);
                    let answered = Message::LevelAnswer(refused.clone()).write(&mut stream);
                    if let Some(reason) = refused {
                        return End::Lost(io::Error::other(reason));
                    }
                    self.status.level(hello.term);
                    let took = self.follow(&mut stream, &hello, &mut copy, answered);
                    *level = Some(copy);
                    return took;
                }
                other => other,
            };
            let taken = message.and_then(|message| take_in(&message, &mut copy).map(|_| message));
            match taken.and_then(|message| confirm(&mut stream, &message, &copy)) {
                Ok(false) => {}
                Ok(true) => {
                    let text = "the speaker ended before all was here";
                    return End::Lost(io::Error::new(io::ErrorKind::InvalidData, text));
                }
                Err(why) => return End::Lost(why),
            }
        }
    }

    /// Takes what a speaker says while it speaks. From `answered` on it may.
    fn follow(
        &mut self,
        stream: &mut TcpStream,
        hello: &Hello,
        copy: &mut Copy,
        answered: io::Result<()>,
    ) -> End {
        // Its clock may be slower, and it may have looked at it before it was held up.
        let lease = Duration::from_nanos(hello.lease_ns);
        let patience = lease + lease / 2;
        let free = || now() + patience.as_nanos() as u64;
        copy.free_at = free();
        if let Err(error) = answered.and_then(|()| stream.set_read_timeout(Some(patience))) {
            return End::Lost(error);
        }
        let mut step = || -> io::Result<bool> {
            let message = Message::read(stream)?;
            if let Message::Address(address) = message {
                if self.addresses.len() < ADDRESSES_MAX {
                    self.addresses.insert(address);
                }
                return Ok(false);
            }
            take_in(&message, copy)?;
            let ends = confirm(stream, &message, copy)?;
            copy.free_at = free();
            self.status.taken(copy.records);
            Ok(ends)
        };
        loop {
            match step() {
                Ok(false) => {}
                Ok(true) => return End::Final,
                Err(why) => return End::Lost(why),
            }
        }
    }

    /// Why this host could not go on with that, if so. If it could, it is kept that it may have to.
    fn refuses(&mut self, hello: &Hello, copy: &Copy) -> Option<String> {
        for journal in &copy.journals {
            if let Err(error) = self.settings.engine_after(Some(journal)) {
                return Some(format!("the standby could not go on: {error}"));
            }
        }
        let State { host, .. } = &*self.state;
        let (log, term) = (hello.log, hello.term);
        let next = State { host: host.clone(), log, term, role: Role::Standby, alone: false };
        match self.settings.journal.folder.as_deref().map(|folder| next.save(folder)) {
            Some(Ok(())) => {
                *self.state = next;
                self.sign.show(self.state);
            }
            Some(Err(error)) => return Some(format!("the standby cannot keep its part: {error}")),
            None => return Some("the standby has no journal".to_owned()),
        }
        None
    }

    /// Whether it is this host's turn, and the other one is cut off. That is not asked when the
    /// other one has said so itself.
    fn wins(&mut self, copy: &Copy) -> Result<bool, String> {
        let standby = self.settings.standby.as_ref().filter(|_| copy.free_at > 0);
        let Some(standby) = standby else { return Ok(true) };
        self.status.set(Stage::TakingOver);
        if let Some(folder) = &standby.arbiter {
            let named = |error| format!("{}: {error}", folder.display());
            if !Arbiter::at(folder).claim(self.state).map_err(named)? {
                warn!("standby: {}: the other host goes on", folder.display());
                return Ok(false);
            }
        }
        cut_off(&standby.fence).map(|()| true)
    }
}

/// Takes a message into account.
fn take_in(message: &Message, copy: &mut Copy) -> io::Result<()> {
    let Message::Records { worker, position, chunk } = message else { return Ok(()) };
    let worker = *worker as usize;
    let wrong = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let (Some(known), Some(journal)) =
        (copy.positions.get_mut(worker), copy.journals.get_mut(worker))
    else {
        return Err(wrong(format!("records of worker {worker}, which there is not")));
    };
    if position != known {
        let text = format!("records of worker {worker} from byte {position}, not from {known}");
        return Err(wrong(text));
    }
    let records = apply_chunk(chunk, journal)
        .map_err(|error| wrong(format!("records of worker {worker} at byte {known}: {error}")))?;
    *known += chunk.len() as u64;
    copy.records += records;
    Ok(())
}

/// Says that a message was taken into account. Whether it was the last one.
fn confirm(stream: &mut TcpStream, message: &Message, copy: &Copy) -> io::Result<bool> {
    let beat = match message {
        Message::Final => return Ok(true),
        Message::Beat(beat) => *beat,
        Message::Records { .. } => 0,
        _ => {
            let text = "the speaker says what no speaker says";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
    };
    Message::Taken { beat, positions: copy.positions.clone() }.write(stream)?;
    Ok(false)
}

/// Has the program run that cuts the other host off, if there is one.
fn cut_off(fence: &[String]) -> Result<(), String> {
    let [program, arguments @ ..] = fence else { return Ok(()) };
    let named = |error| format!("{program}: {error}");
    let status = Command::new(program).args(arguments).status().map_err(named)?;
    if !status.success() {
        return Err(format!("{program}: {status}"));
    }
    info!("standby: {program}: the other host is cut off");
    Ok(())
}

/// What a caller is refused for, if it is.
#[must_use]
pub(super) fn refusal(own: &Hello, caller: &Hello, state: &State) -> Option<String> {
    let differ = |what: &str| Some(format!("the two hosts' {what} differ"));
    if caller.version != own.version {
        return differ("versions");
    }
    if caller.meaning != own.meaning || caller.workers != own.workers {
        return differ("servers, policy, regions, network, limits or workers");
    }
    let lease = Duration::from_nanos(caller.lease_ns);
    if !(LEASE_MIN..=LEASE_MAX).contains(&lease) {
        return Some(format!("the other host's lease is {lease:?}, which no lease is"));
    }
    outdated(caller, state)
}

/// What a caller is refused for that says another log or term than this host knows.
fn outdated(caller: &Hello, state: &State) -> Option<String> {
    if state.term > 0 && caller.log != state.log {
        return Some(
            "the other host stands by for another log: remove its pair.json, if that is \
            not needed any more"
                .to_owned(),
        );
    }
    if caller.term < state.term {
        let (theirs, ours) = (caller.term, state.term);
        return Some(format!("term {theirs} is over: the other host has heard of {ours}"));
    }
    None
}
