//! A run of one of two hosts.

use std::process::exit;
use std::thread;

use anyhow::Context;
use tracing::{error, info, warn};

use super::idle::Idle;
use super::start::starts;
use super::{End, Ended, Run};
use crate::config::Places;
use crate::control::crew::Crew;
use crate::control::mail::Bell;
use crate::operations::Operations;
use crate::standby::{Next, Pair, Status, Turn};
use crate::wait::{Signals, Wake};

impl Run<'_> {
    /// Waits until it is this host's turn, and forwards as long as that lasts.
    pub(super) fn as_one_of_two(
        &self,
        mut pair: Pair<'_>,
        status: &Status,
        signals: &Signals,
    ) -> anyhow::Result<End> {
        let Turn { workers, session, addresses } = self.turn(&mut pair, status, signals)?;
        let begun = workers.into_iter().map(Some).collect();
        let (mut starts, crew) = starts(self.settings, &Idle::new(self.until_idle), begun)?;
        // One says it for all. On a port for both sides they are not this host's to say.
        let speaks = usize::from(!matches!(self.settings.places()?, Places::OnePort(_)));
        starts.iter_mut().take(speaks).for_each(|start| start.addresses.clone_from(&addresses));
        let crew = crew.of_two(status);
        if session.is_none() {
            pair.look_for_standby(&crew).context("cannot start a thread")?;
        }
        let ran = self.forward(starts, crew, signals);
        let report = match (ran, &session) {
            (Ok(report), _) => report,
            // What was used was confirmed: it is as if the program was killed.
            (Err(why), Some(session)) if !session.lasts() => {
                warn!("standby: beginning anew: {why:#}");
                return Ok(End::Again);
            }
            (Err(why), _) => return Err(why),
        };
        let next = status.next();
        if let Some(session) = session
            && next != Next::Successor
        {
            pair.finish(session)?;
        }
        Ok(match next {
            Next::Exit | Next::Successor => End::Counted(Box::new(report)),
            Next::Again | Next::Pairing => End::Again,
        })
    }

    /// What this host begins with when it is its turn. Asked to stop before, the process ends here.
    fn turn(
        &self,
        pair: &mut Pair<'_>,
        status: &Status,
        signals: &Signals,
    ) -> anyhow::Result<Turn> {
        let nobody = Crew::new(Vec::new(), self.settings.control.stop).of_two(status);
        let mut operations = Some(Operations::start(self.settings, &nobody)?);
        let ended = Bell::new().context("cannot make a bell")?;
        thread::scope(|scope| {
            let rings = Ended(ended.clone());
            let named = thread::Builder::new().name("standby".to_owned());
            let wait = move || {
                let _ends = rings;
                pair.until_turn()
            };
            let waits = named.spawn_scoped(scope, wait).context("cannot start a thread")?;
            loop {
                match signals.wait(&ended).context("cannot wait for signals")? {
                    Wake::Bell => {
                        let panicked = |_| Err(anyhow::anyhow!("it has panicked"));
                        return waits.join().unwrap_or_else(panicked);
                    }
                    Wake::Reload => error!("nothing is forwarded here now: no policy is changed"),
                    Wake::Stop(signal) => {
                        info!("{signal}: stopping: nothing was forwarded");
                        // The thread waits for the other host, which may never say anything; what
                        // it keeps is there whole or not at all.
                        drop(operations.take());
                        exit(0);
                    }
                }
            }
        })
    }
}
