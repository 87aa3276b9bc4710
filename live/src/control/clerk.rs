//! What becomes of a request on the control socket: letters to the workers, and what is kept
//! between them, a measurement and a capture.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use tracing::{error, info};

use qpmux_engine::policy::Choices;

use super::capture::{Capture, CaptureSide, SNAP_MAX};
use super::crew::{Crew, CrewError, Stop, translated};
use super::measure::Measurement;
use super::protocol::{Answer, Command, DrainAnswer, Page, PolicyAnswer, Row};
use crate::standby::{Next, Stage};

/// Longest capture.
const SECONDS_MAX: f64 = 86_400.0;

/// Who asks: the number of a connection to the socket.
pub type Caller = u64;

#[derive(Debug)]
struct Running {
    capture: Capture,
    caller: Caller,
    until: Option<Instant>,
    /// The loop copies no more.
    ended: bool,
}

/// Carries requests out.
#[derive(Debug)]
pub struct Clerk {
    crew: Crew,
    /// The report when the measurement began, and when that was.
    measured: Option<(Value, Instant)>,
    capture: Option<Running>,
}

/// An answer without its wrapping: the reason is why it is not done.
type Done = Result<Value, String>;

fn value(of: impl Serialize) -> Done {
    serde_json::to_value(of).map_err(|error| error.to_string())
}

impl Clerk {
    /// A clerk who writes to these workers.
    #[must_use]
    pub fn new(crew: Crew) -> Clerk {
        Clerk { crew, measured: None, capture: None }
    }

    /// What is answered to a line.
    pub fn answer(&mut self, caller: Caller, line: &[u8]) -> Answer {
        let command = match serde_json::from_slice(line) {
            Ok(command) => command,
            Err(error) => return Answer::Wrong(error.to_string()),
        };
        match self.carry_out(caller, command) {
            Ok(done) => Answer::Done(done),
            Err(reason) => Answer::Refused(reason),
        }
    }

    fn carry_out(&mut self, caller: Caller, command: Command) -> Done {
        match command {
            Command::Report => self.report(),
            Command::PolicyShow => self.policy(),
            Command::PolicySet { map, steer, atomics } => {
                let (before, _) = self.crew.policy().map_err(told)?;
                self.switch(Choices {
                    map: map.map_or(before.map, Into::into),
                    steer: steer.map_or(before.steer, Into::into),
                    atomics: atomics.map_or(before.atomics, Into::into),
                })
            }
            Command::Connections { from } => self.connections(from),
            Command::Drain { hold } => self.drain(hold),
            Command::Stop { force } => self.stop(force),
            Command::HandOver { successor } => self.hand_over(successor),
            Command::Standby => value(self.crew.status().seen()),
            Command::GoOnAlone => match self.crew.status().declare_off() {
                true => Ok(json!({})),
                false => Err("this host does not wait for the other one".to_owned()),
            },
            Command::MeasureStart => self.measure_start(),
            Command::MeasureStop => self.measure_stop(),
            Command::CaptureStart { file, side, snap, packets, seconds } => {
                self.capture_start(caller, file, side, snap, packets, seconds)
            }
            Command::CaptureStatus => match &self.capture {
                Some(running) => value(running.capture.status()),
                None => Err("there is no capture".to_owned()),
            },
            Command::CaptureStop => {
                self.capture_end()?;
                match &self.capture {
                    Some(running) => value(running.capture.status()),
                    None => Err("there is no capture".to_owned()),
                }
            }
        }
    }

    fn report(&mut self) -> Done {
        value(self.crew.report().map_err(told)?)
    }

    fn policy(&mut self) -> Done {
        let (now, most) = self.crew.policy().map_err(told)?;
        value(PolicyAnswer { now: now.into(), most: most.into() })
    }

    fn switch(&mut self, to: Choices) -> Done {
        let (before, _) = self.crew.policy().map_err(told)?;
        match self.crew.switch(to) {
            Ok(()) => info!("control: {to}, before: {before}"),
            Err(error) => {
                error!("control: {error}; the policy is still {before}");
                return Err(told(error));
            }
        }
        self.policy()
    }

    fn connections(&mut self, from: u64) -> Done {
        let found = self.crew.connections(from).map_err(told)?;
        value(Page { connections: found.page.iter().map(Row::from).collect(), next: found.next })
    }

    fn drain(&mut self, hold: Option<bool>) -> Done {
        let (draining, translated) = self.crew.drain(hold).map_err(told)?;
        if let Some(hold) = hold {
            let text = if hold { "no connection is" } else { "connections are" };
            info!("control: {text} translated anew from now on");
        }
        value(DrainAnswer { draining, translated })
    }

    fn stop(&mut self, force: bool) -> Done {
        match self.crew.stop(force).map_err(told)? {
            Stop::Stops(breaks) => {
                info!(breaks, "control: stopping, {}", translated(breaks));
                Ok(json!({ "breaks": breaks }))
            }
            Stop::Refused(breaks) => {
                Err(format!("{} and would break: drain first, or force it", translated(breaks)))
            }
        }
    }

    fn hand_over(&mut self, successor: bool) -> Done {
        if self.crew.report().map_err(told)?.journal.is_none() {
            let text = "there is no [journal], from which another program could go on: drain first";
            return Err(text.to_owned());
        }
        let status = self.crew.status().clone();
        let before = status.next();
        let paired = status.seen().stage == Stage::Paired;
        status.set_next(match successor {
            true => Next::Successor,
            false if paired => Next::Again,
            false => Next::Exit,
        });
        let stopped = self.crew.stop(true).map_err(|error| {
            // It goes on, and ends as if nobody had asked.
            status.set_next(before);
            told(error)
        })?;
        match stopped {
            Stop::Stops(waiting) | Stop::Refused(waiting) => {
                info!(waiting, "control: stopping for a successor, {}", translated(waiting));
                Ok(json!({ "waiting": waiting }))
            }
        }
    }

    fn measure_start(&mut self) -> Done {
        if let Some((_, since)) = &self.measured {
            let seconds = since.elapsed().as_secs();
            return Err(format!("a measurement runs already, since {seconds} s"));
        }
        let before = self.report()?;
        self.measured = Some((before, Instant::now()));
        Ok(json!({}))
    }

    fn measure_stop(&mut self) -> Done {
        let after = self.report()?;
        match self.measured.take() {
            Some((before, _)) => value(Measurement::between(&before, &after)),
            None => Err("no measurement runs".to_owned()),
        }
    }

    fn capture_start(
        &mut self,
        caller: Caller,
        file: PathBuf,
        side: CaptureSide,
        snap: u32,
        packets: Option<u64>,
        seconds: Option<f64>,
    ) -> Done {
        self.attend();
        if self.capture.as_ref().is_some_and(|running| running.capture.status().running) {
            return Err("a capture runs already".to_owned());
        }
        if !file.is_absolute() {
            return Err(format!("{}: must be an absolute path", file.display()));
        }
        if !(1..=SNAP_MAX).contains(&snap) {
            return Err(format!("snap is {snap}, must be 1 to {SNAP_MAX}"));
        }
        if packets == Some(0) || packets.is_none() && seconds.is_none() {
            return Err("it must end: after a number of packets or of seconds".to_owned());
        }
        if seconds.is_some_and(|seconds| !(seconds > 0.0 && seconds <= SECONDS_MAX)) {
            return Err(format!("seconds must be above 0, and at most {SECONDS_MAX}"));
        }
        let (frames, workers) = (packets.unwrap_or(u64::MAX), self.crew.workers());
        let (capture, taps) = Capture::begin(&file, side, snap, frames, workers)?;
        self.crew.capture(Some(taps)).map_err(told)?;
        info!("control: capture into {}", file.display());
        let until = seconds.map(|seconds| Instant::now() + Duration::from_secs_f64(seconds));
        let status = capture.status();
        self.capture = Some(Running { capture, caller, until, ended: false });
        value(status)
    }

    fn capture_end(&mut self) -> Result<(), String> {
        if self.capture.as_ref().is_some_and(|running| !running.ended) {
            self.crew.capture(None).map_err(told)?;
        }
        if let Some(running) = &mut self.capture {
            running.ended = true;
        }
        Ok(())
    }

    /// Ends a capture whose time is over, or that writes no longer.
    pub fn attend(&mut self) {
        let Some(running) = self.capture.as_ref().filter(|running| !running.ended) else { return };
        let late = running.until.is_some_and(|until| until <= Instant::now());
        let status = running.capture.status();
        if late || !status.running || status.error.is_some() {
            // If the loop is gone, so is the capture.
            let _ = self.capture_end();
        }
    }

    /// Whether it has something to look after.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.capture.as_ref().is_some_and(|running| !running.ended)
    }

    /// Waits until a capture that has ended is written, for so long at most.
    pub fn finish(&self, at_most: Duration) {
        let until = Instant::now() + at_most;
        while self.capture.as_ref().is_some_and(|running| running.capture.status().running)
            && Instant::now() < until
        {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// A caller is gone: so is its capture.
    pub fn forget(&mut self, caller: Caller) {
        if self.capture.as_ref().is_some_and(|running| running.caller == caller) {
            let _ = self.capture_end();
        }
    }
}

fn told(error: CrewError) -> String {
    error.to_string()
}
