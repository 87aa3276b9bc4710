//! Two hosts, of which one speaks: it forwards frames, and the other one has all that it knows and
//! goes on when it does not any more.
//!
//! ```text
//!  speaker                                        standby
//!  engine ── records ──> Writer ── file           Copy ── applied to a journal in memory
//!                          └─ Line ──> Shipper ──────┤
//!  frames go out <── settled <─────────── confirmed ─┘   a lease goes with each confirmation
//! ```
//!
//! What holds, and why two never speak:
//! - A host speaks in a **term** of a log. A term is won once: by the first host at its very first
//!   start, later by a standby that is **level** or, where there is an arbiter or an operator who
//!   says that the other host is off, by a speaker that has lost its standby. A restart wins none.
//! - Before a standby is level, its speaker keeps on disk that it is not **alone** any more: from
//!   then on either may win the next term, and the speaker says nothing without a **lease**, which
//!   lasts from the moment at which it sent a beat that was confirmed.
//! - The standby waits for half a lease longer than any lease that it has given can last. Then it
//!   wins the next term: where there is an arbiter if it is the first to ask there, otherwise since
//!   nobody else may. If so configured it has the other host cut off first: that alone helps
//!   against a speaker that is stopped in the middle of sending, for longer than this.
//! - A record is used when it is confirmed, so the standby knows what any frame is about that was
//!   ever sent. With `lag_bytes` it may lack the last bindings and values; then nobody can know
//!   what ran, and no connection of the log is gone on with ([`Journal::fence`]).
//! - A copy is in memory only, and is level during one life of its process. A speaker that begins
//!   again ships all it knows, from before it speaks.
//! - A session ends at any error, and with it the process' life: it executes itself anew, and goes
//!   on from its log as after a crash. There is no other way on.

mod arbiter;
mod door;
mod lease;
mod message;
mod speaker;
mod standing;
mod state;
mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use qpmux_engine::journal::Journal;
use tracing::{info, warn};

use crate::announcement::Address;
use crate::config::{Begins, Settings, StandbySettings};
use crate::control::crew::Crew;
use crate::journal::{Recovered, Stamp, Writer, recover};
use arbiter::Arbiter;
use door::{Caller, Sign};
use message::{Answer, Hello};
use speaker::call;
use standing::{Copy, Standing};
use state::{Role, State};

pub use lease::over;
pub use speaker::{Line, Session};
pub use state::{boot, new_log};
pub use status::{Next, Seen, Stage, Status};

/// How long a speaker that may not be alone looks for its standby before it asks the arbiter.
const LOST_AFTER: Duration = Duration::from_secs(1);
/// How soon what did not work is tried again.
const AGAIN: Duration = Duration::from_millis(50);
/// How often a speaker that is alone looks for a standby, and how soon it begins to: to take one
/// in interrupts it.
const LOOK: Duration = Duration::from_secs(1);
const ALONE_AT_LEAST: Duration = Duration::from_secs(5);
/// The same after a standby that was there did not become level: each try interrupts.
const AFTER_REFUSAL: Duration = Duration::from_secs(60);

/// This host's part of two.
pub struct Pair<'a> {
    settings: &'a Settings,
    standby: &'a StandbySettings,
    folder: PathBuf,
    state: State,
    own: Hello,
    sign: Sign,
    callers: Receiver<Caller>,
    status: Status,
    /// The other host stood by, and did not become level.
    refused: bool,
}

/// This host may speak.
pub struct Turn {
    /// What each worker goes on from, and where its records go.
    pub workers: Vec<(Journal, Writer)>,
    /// The standby, if there is one.
    pub session: Option<Session>,
    /// Where frames come from that came to another host before: switches are to learn that they
    /// come from here now.
    pub addresses: Vec<Address>,
}

impl<'a> Pair<'a> {
    /// The part of this host, as its configuration and its past say; `None` if it is alone for
    /// good. From now on it listens to the other one.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn begin(settings: &'a Settings, status: &Status) -> anyhow::Result<Option<Pair<'a>>> {
        let (Some(standby), Some(folder)) = (&settings.standby, &settings.journal.folder) else {
            return Ok(None);
        };
        let state = match State::load(folder).context("journal.folder: pair.json")? {
            Some(state) => state,
            None => first(settings, standby)?,
        };
        state.save(folder).context("journal.folder: pair.json")?;
        let own = Hello {
            version: message::VERSION,
            log: state.log,
            term: state.term,
            meaning: settings.journal_place(0).map_or(0, |place| place.configuration.two),
            workers: settings.cores().len(),
            lease_ns: standby.lease().as_nanos() as u64,
            lag_bytes: standby.lag_bytes,
            probe: false,
        };
        let (sign, callers) = door::open(standby.listen, &state, own.clone())
            .with_context(|| format!("standby.listen: {}", standby.listen))?;
        status.set_term(state.term);
        let (folder, status) = (folder.clone(), status.clone());
        let refused = false;
        Ok(Some(Pair { settings, standby, folder, state, own, sign, callers, status, refused }))
    }

    /// Waits until this host may speak.
    ///
    /// # Errors
    /// When it cannot be kept what it may do, or its log cannot be gone on with.
    pub fn until_turn(&mut self) -> anyhow::Result<Turn> {
        loop {
            let turn = match self.state.role {
                Role::Speaker => self.speak()?,
                Role::Standby => Some(self.stand()?),
            };
            self.sign.show(&self.state);
            self.status.set_term(self.state.term);
            if let Some(turn) = turn {
                return Ok(turn);
            }
        }
    }

    fn keep(&mut self, state: State) -> anyhow::Result<()> {
        state.save(&self.folder).with_context(|| format!("{}", self.folder.display()))?;
        self.state = state;
        self.sign.show(&self.state);
        Ok(())
    }

    fn hello(&self) -> Hello {
        Hello { log: self.state.log, term: self.state.term, ..self.own.clone() }
    }

    /// A speaker's way: to its standby, or to a term of its own. `None`: it is a standby now.
    fn speak(&mut self) -> anyhow::Result<Option<Turn>> {
        let Some(found) = self.recover()? else { return Ok(None) };
        let known: Vec<Journal> = found.iter().map(|found| found.journal.clone()).collect();
        let from = Instant::now();
        let mut told = String::new();
        loop {
            let (tried, hello) = (call(self.standby.peer, &self.hello()), self.hello());
            let why = match tried {
                Ok((Answer::StandingBy, stream)) => {
                    let (state, folder) = (&mut self.state, &self.folder);
                    let not_alone = || {
                        state.alone = false;
                        state.save(folder)
                    };
                    match Session::open(stream, &hello, &known, not_alone) {
                        Ok(session) => {
                            info!("standby: {} is level", self.standby.peer);
                            self.status.paired(session.watch());
                            return Ok(Some(self.turn(found, Some(session))?));
                        }
                        Err(error) => {
                            self.refused = true;
                            error.to_string()
                        }
                    }
                }
                Ok((Answer::Speaking { log, .. }, _)) if log != self.state.log => {
                    bail!(
                        "standby.peer: {} speaks for another log: one of both hosts must begin \
                         anew, without pair.json and its journal",
                        self.standby.peer
                    );
                }
                Ok((Answer::Speaking { term, .. }, _)) if term > self.state.term => {
                    warn!("standby: {} speaks: this host stands by", self.standby.peer);
                    self.stand_by()?;
                    return Ok(None);
                }
                Ok((Answer::Speaking { .. }, _)) => "it has not heard of this term yet".to_owned(),
                Ok((Answer::Refused(reason), _)) => reason,
                Err(error) => error.to_string(),
            };
            if why != told {
                warn!("standby: {}: {why}", self.standby.peer);
                told = why;
            }
            match self.may_be_alone(from)? {
                Some(true) => {
                    self.status.set(Stage::Alone);
                    return Ok(Some(self.turn(found, None)?));
                }
                Some(false) => return Ok(None),
                None => sleep(AGAIN),
            }
        }
    }

    /// Whether a speaker that does not find its standby may go on; `None`: not yet.
    fn may_be_alone(&mut self, from: Instant) -> anyhow::Result<Option<bool>> {
        if self.state.alone {
            return Ok(Some(true));
        }
        if self.status.other_is_off() {
            warn!("standby: going on alone: the operator says that the other host is off");
            self.win()?;
            return Ok(Some(true));
        }
        let silent = from.elapsed();
        if self.status.seen().stage != Stage::Silent && silent > AGAIN {
            self.status.set(Stage::Silent);
            warn!(
                "standby: nothing is forwarded until {} stands by; if it is off for good: \
                 `qpmux-live ctl go-on-alone --the-other-host-is-off`",
                self.standby.peer
            );
        }
        let Some(folder) = self.standby.arbiter.as_ref().filter(|_| silent > LOST_AFTER) else {
            return Ok(None);
        };
        match Arbiter::at(folder).claim(&self.state) {
            Ok(true) => {
                warn!("standby: {}: going on alone", folder.display());
                self.win()?;
                Ok(Some(true))
            }
            Ok(false) => {
                warn!("standby: {}: the other host goes on", folder.display());
                self.stand_by()?;
                Ok(Some(false))
            }
            Err(_) => Ok(None),
        }
    }

    /// The next term is this host's.
    fn win(&mut self) -> anyhow::Result<()> {
        let state = State { term: self.state.term + 1, alone: true, ..self.state.clone() };
        self.keep(state)
    }

    fn stand_by(&mut self) -> anyhow::Result<()> {
        let state = State { role: Role::Standby, alone: false, ..self.state.clone() };
        self.keep(state)
    }

    /// What this host's log says. `None`: it may lack its end, and a standby may know it.
    fn recover(&mut self) -> anyhow::Result<Option<Vec<Recovered>>> {
        let (mut all, stamp) = (Vec::new(), self.state.stamp()?);
        for worker in 0..self.own.workers {
            let place = self.settings.journal_place(worker).context("journal.folder is needed")?;
            let config = self.settings.engine_config();
            let found = recover(&place, &config).context("journal.folder")?;
            let mut found = found.unwrap_or_else(|| Recovered::nothing(&config));
            let of = found.stamp.unwrap_or(stamp);
            if of.log != stamp.log || of.term > stamp.term {
                bail!(
                    "{}: is not the log that pair.json there is about: folders were mixed",
                    self.folder.display()
                );
            }
            if of.boot != stamp.boot && !self.state.alone {
                warn!("standby: this machine was off: the other one may know more, and goes on");
                self.stand_by()?;
                return Ok(None);
            }
            fence_if_off(&mut found, stamp)?;
            all.push(found);
        }
        Ok(Some(all))
    }

    fn turn(&self, found: Vec<Recovered>, session: Option<Session>) -> anyhow::Result<Turn> {
        let stamp = self.state.stamp()?;
        let mut workers = Vec::new();
        for (worker, found) in found.into_iter().enumerate() {
            let mut writer = self.writer(worker, stamp, &found)?;
            if let Some(session) = &session {
                writer.set_line(session.line(worker));
            }
            workers.push((found.journal, writer));
        }
        Ok(Turn { workers, session, addresses: Vec::new() })
    }

    fn writer(&self, worker: usize, stamp: Stamp, found: &Recovered) -> anyhow::Result<Writer> {
        let place = self.settings.journal_place(worker).context("journal.folder is needed")?;
        let config = self.settings.engine_config();
        Writer::begin(place, &config, stamp, Some(found)).context("journal.folder")
    }

    /// A standby's way: until the speaker surely speaks no more.
    fn stand(&mut self) -> anyhow::Result<Turn> {
        let Pair { settings, state, sign, callers, status, .. } = self;
        let mut addresses = BTreeSet::new();
        let addresses_here = &mut addresses;
        let mut standing =
            Standing { settings, state, sign, callers, status, addresses: addresses_here };
        let Copy { journals, records, may_lack_the_end, .. } = standing.stand()?;
        let term = self.state.term + 1;
        let state = State { term, role: Role::Speaker, alone: true, ..self.state.clone() };
        let stamp = state.stamp()?;
        let mut workers = Vec::new();
        for (worker, mut journal) in journals.into_iter().enumerate() {
            if may_lack_the_end {
                journal.fence(0).map_err(io::Error::other)?;
            }
            let place = self.settings.journal_place(worker).context("journal.folder is needed")?;
            place.clear().context("journal.folder")?;
            let config = self.settings.engine_config();
            let found = Recovered { journal, records, ..Recovered::nothing(&config) };
            let writer = self.writer(worker, stamp, &found)?;
            workers.push((found.journal, writer));
        }
        if may_lack_the_end {
            warn!("standby: the end of the log may be missing: no connection is gone on with");
        }
        // The log is there before it is this host's.
        self.keep(state)?;
        // Whoever was let in meanwhile is to call again, and hear of it.
        self.callers.try_iter().for_each(drop);
        info!("standby: this host speaks, in term {term}");
        self.status.set(Stage::Alone);
        Ok(Turn { workers, session: None, addresses: addresses.into_iter().collect() })
    }

    /// This host has spoken its last: all ports are closed. The other one goes on at once.
    ///
    /// # Errors
    /// If it cannot be kept that this host stands by: then it is not told.
    pub fn finish(&mut self, session: Session) -> anyhow::Result<()> {
        self.stand_by()?;
        if !session.finish() {
            warn!("standby: the other host could not be told: it goes on after the lease");
        }
        Ok(())
    }

    /// Has the crew stopped, while this host speaks alone, when the other one stands by. If that
    /// has refused, it is asked again later.
    ///
    /// # Errors
    /// If there can be no thread.
    pub fn look_for_standby(&self, crew: &Crew) -> io::Result<()> {
        let (peer, probe) = (self.standby.peer, Hello { probe: true, ..self.hello() });
        let alone_at_least = if self.refused { AFTER_REFUSAL } else { ALONE_AT_LEAST };
        let mut crew = crew.clone();
        let look = move || {
            sleep(alone_at_least);
            loop {
                if matches!(call(peer, &probe), Ok((Answer::StandingBy, _))) {
                    info!("standby: {peer} stands by: beginning anew, with it");
                    let before = crew.status().next();
                    crew.status().set_next(Next::Pairing);
                    if crew.stop(true).is_ok() {
                        return;
                    }
                    // They stop already, for another reason, which counts.
                    crew.status().set_next(before);
                }
                sleep(LOOK);
            }
        };
        thread::Builder::new().name("look".to_owned()).spawn(look)?;
        Ok(())
    }
}

/// What a host is before it has ever been anything.
fn first(settings: &Settings, standby: &StandbySettings) -> anyhow::Result<State> {
    let role = match standby.begins {
        Begins::Speaking => Role::Speaker,
        Begins::StandingBy => Role::Standby,
    };
    let mut state = State::fresh(role)?;
    // A log from before there was another host goes on.
    let config = settings.engine_config();
    let place = settings.journal_place(0).context("journal.folder is needed")?;
    let found = recover(&place, &config).context("journal.folder")?;
    let stamp = found.and_then(|found| found.stamp);
    if let Some(stamp) = stamp.filter(|_| role == Role::Speaker) {
        (state.log, state.term) = (stamp.log, stamp.term);
    }
    Ok(state)
}

/// What was written before the machine was started may have lost its end: then nothing of it is
/// gone on with.
///
/// # Errors
/// If the journal is not what it seems to be.
pub fn fence_if_off(found: &mut Recovered, now: Stamp) -> anyhow::Result<()> {
    if found.stamp.is_some_and(|stamp| stamp.boot != now.boot) {
        warn!(
            "this machine was off since the journal was written: its end may be missing, and no \
             connection of it is gone on with"
        );
        found.journal.fence(0).map_err(io::Error::other)?;
    }
    Ok(())
}
