//! A worker's loop: turn after turn until it is asked to stop.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::Context;
use qpmux_engine::{ClientId, ConnectionReport, ConnectionState, Nanos};
use tracing::info;

use super::idle::Idle;
use crate::control::desk::{Desk, Onward};
use crate::control::mail::Bell;
use crate::copying::Copying;
use crate::driver::Driver;
use crate::host::Host;
use crate::packet::PacketPort;
use crate::report::Report;
use crate::wait::wait;

/// Turns without any frame after which a polling loop may sleep.
const EMPTY_TURNS: u32 = 1_000;
/// Turns of a polling loop between two looks at letters.
const LETTER_TURNS: u64 = 1_024;

/// A worker at work.
pub(super) struct Turns<D: Driver> {
    pub(super) host: Host<D>,
    pub(super) desk: Desk,
    pub(super) bell: Bell,
    pub(super) clock: Instant,
    pub(super) idle: Idle,
}

impl<D: Driver> Turns<D> {
    /// Turns without waiting, and looks at letters now and then. If `runs_out`, all that is due
    /// later is done at the end.
    #[cfg_attr(not(feature = "dpdk"), expect(dead_code, reason = "for ports that are polled"))]
    pub(super) fn poll(&mut self, idle_sleep: Duration, runs_out: bool) -> anyhow::Result<()> {
        let mut empty_turns = 0;
        for turn in 0_u64.. {
            let any = self.turn()?;
            empty_turns = if any { 0 } else { empty_turns + 1 };
            let tired = empty_turns > EMPTY_TURNS && !idle_sleep.is_zero();
            if tired {
                let sleep = self.host.pace().into_iter().chain([idle_sleep]).min();
                wait(&[], &self.bell, sleep).context("cannot wait for letters")?;
            } else if !turn.is_multiple_of(LETTER_TURNS) {
                continue;
            }
            if self.attend() == Onward::Stop || self.idle.is_over(any) {
                break;
            }
        }
        if runs_out {
            self.host.run_out();
        }
        Ok(())
    }

    /// One turn. Whether anything came in.
    fn turn(&mut self) -> anyhow::Result<bool> {
        let any = self.host.turn(self.now());
        match self.host.take_failure() {
            Some(error) => {
                Err(error).context("records cannot be kept, so nothing is sent any more")
            }
            None => Ok(any),
        }
    }

    fn now(&self) -> Nanos {
        // A u64 of nanoseconds lasts 584 years.
        Nanos(u64::try_from(self.clock.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn attend(&mut self) -> Onward {
        let now = self.now();
        self.desk.attend(&mut self.host, now)
    }

    /// A journal that nobody needs any more is removed.
    pub(super) fn end_journal(&mut self) -> anyhow::Result<()> {
        let Some(journal) = self.host.take_journal() else { return Ok(()) };
        // Of one that is out of service nothing may pass, also after a restart.
        let engine = self.host.engine();
        let over = |each: ConnectionReport| {
            matches!(each.state, ConnectionState::Watched | ConnectionState::Ended)
        };
        let translated = engine.translated();
        if engine.connections(ClientId(0)).all(over) {
            return journal.discard().context("the journal cannot be removed");
        }
        info!("the journal stays: {}", crate::control::crew::translated(translated));
        Ok(())
    }

    pub(super) fn report(&mut self) -> Report {
        let now = self.now();
        Report::of(&mut self.host, now)
    }
}

/// Turns when a frame, a deadline or a letter is there.
pub(super) fn on_sockets(turns: &mut Turns<Copying<PacketPort>>) -> anyhow::Result<()> {
    loop {
        let deadline = turns.host.next_deadline();
        let now = turns.now().0;
        let at_most = deadline.map(|at| Duration::from_nanos(at.0.saturating_sub(now)));
        let most = [turns.idle.most(), turns.host.pace()].into_iter().flatten();
        let at_most = at_most.into_iter().chain(most).min();
        let ports = turns.host.driver().ports().each_ref().map(AsFd::as_fd);
        wait(&ports, &turns.bell, at_most).context("cannot wait for frames")?;
        if turns.attend() == Onward::Stop {
            return Ok(());
        }
        let any = turns.turn()?;
        if turns.idle.is_over(any) {
            return Ok(());
        }
    }
}
