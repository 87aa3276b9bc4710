//! What becomes of a request on the control socket: letters to the loop, and what is kept between
//! them, a measurement and a capture.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use tracing::info;

use qpmux_engine::ClientId;

use super::capture::{Capture, CaptureSide, SNAP_MAX};
use super::desk::translated;
use super::mail::{PAGE, Post, PostError, Question, Reply};
use super::measure::Measurement;
use super::protocol::{Answer, Command, DrainAnswer, Page, PolicyAnswer, Row};

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
    post: Post,
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
    /// A clerk who writes to the loop by this post.
    #[must_use]
    pub fn new(post: Post) -> Clerk {
        Clerk { post, measured: None, capture: None }
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

    fn ask(&mut self, question: Question) -> Result<Reply, String> {
        self.post.ask(question).map_err(|error: PostError| error.to_string())
    }

    fn carry_out(&mut self, caller: Caller, command: Command) -> Done {
        match command {
            Command::Report => self.report(),
            Command::PolicyShow => self.policy(Question::Policy),
            Command::PolicySet { map, steer, atomics } => {
                self.policy(Question::Switch { map, steer, atomics })
            }
            Command::Connections { from } => self.connections(from),
            Command::Drain { hold } => match self.ask(Question::Drain(hold))? {
                Reply::Drain(draining, translated) => value(DrainAnswer { draining, translated }),
                other => unexpected(&other),
            },
            Command::Stop { force } => match self.ask(Question::Stop { force })? {
                Reply::Stop(true, breaks) => Ok(json!({ "breaks": breaks })),
                Reply::Stop(false, breaks) => {
                    Err(format!("{} and would break: drain first, or force it", translated(breaks)))
                }
                other => unexpected(&other),
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
        match self.ask(Question::Report)? {
            Reply::Report(report) => value(report),
            other => unexpected(&other),
        }
    }

    fn policy(&mut self, question: Question) -> Done {
        match self.ask(question)? {
            Reply::Policy(now, most) => value(PolicyAnswer { now: now.into(), most: most.into() }),
            Reply::NotSwitched(error) => Err(format!("{error}: that needs a restart")),
            other => unexpected(&other),
        }
    }

    fn connections(&mut self, from: u32) -> Done {
        match self.ask(Question::Connections(ClientId(from)))? {
            Reply::Connections(page) => {
                let last = page.last().filter(|_| page.len() == PAGE);
                let next = last.and_then(|last| last.id.0.checked_add(1));
                value(Page { connections: page.iter().map(Row::from).collect(), next })
            }
            other => unexpected(&other),
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
        let (capture, tap) = Capture::begin(&file, side, snap, packets.unwrap_or(u64::MAX))?;
        self.ask(Question::Capture(Some(tap)))?;
        info!("control: capture into {}", file.display());
        let until = seconds.map(|seconds| Instant::now() + Duration::from_secs_f64(seconds));
        let status = capture.status();
        self.capture = Some(Running { capture, caller, until, ended: false });
        value(status)
    }

    fn capture_end(&mut self) -> Result<(), String> {
        if self.capture.as_ref().is_some_and(|running| !running.ended) {
            self.ask(Question::Capture(None))?;
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

fn unexpected(reply: &Reply) -> Done {
    Err(format!("the packet loop answered something else: {reply:?}"))
}
