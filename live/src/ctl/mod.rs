//! `qpmux-live ctl`: asks a running program, and tells it what to do.

mod client;
mod show;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::control::capture::{CaptureSide, CaptureStatus};
use crate::control::crew::translated;
use crate::control::measure::Measurement;
use crate::control::protocol::{Command, DrainAnswer, Page, PolicyAnswer, Row};
use crate::standby::Seen;
use client::Link;

/// How often is looked whether something has ended.
const LOOK: Duration = Duration::from_millis(100);

/// Ask a running qpmux-live, or tell it what to do.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 done, 1 refused, 2 wrong use, or nobody answers.")]
pub struct CtlArgs {
    /// Its control socket: [control] socket of its configuration.
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    #[command(subcommand)]
    command: CtlCommand,
}

#[derive(Debug, Subcommand)]
enum CtlCommand {
    /// Print what was counted so far, as JSON.
    Report,
    /// Show the policy, or switch to another one.
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// List the connections.
    Connections {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Translate no further connections, and say how many are.
    Drain {
        /// Wait until none is.
        #[arg(long)]
        wait: bool,
        /// Wait so many seconds at most; if some are translated then, the exit status is 1.
        #[arg(long, value_name = "SECONDS", requires = "wait", value_parser = seconds)]
        at_most: Option<f64>,
        /// Translate connections again.
        #[arg(long, conflicts_with = "wait")]
        off: bool,
    },
    /// Stop. While connections are translated, which would break, this is refused.
    Stop {
        /// Stop all the same.
        #[arg(long)]
        force: bool,
    },
    /// Stop, and have another program go on with the connections: on the other host if that stands
    /// by, else here, from the journal: it should start at once. `qpmux-live --take-over` is such a
    /// program, and asks for this itself.
    HandOver,
    /// Show this host's part of two.
    Standby {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Go on without the other host, which this one waits for. If that one is not off, both forward
    /// frames, and data is lost.
    GoOnAlone {
        /// It is off, and stays so until it stands by for this one.
        #[arg(long, required = true)]
        the_other_host_is_off: bool,
    },
    /// Say what is counted over some time, and how fast.
    #[command(group = clap::ArgGroup::new("when").required(true))]
    Measure {
        /// Begin, or end and print.
        #[arg(group = "when")]
        action: Option<MeasureAction>,
        /// Begin, end and print after so many seconds.
        #[arg(long = "for", value_name = "SECONDS", group = "when", value_parser = seconds)]
        seconds: Option<f64>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write frames to a pcap with nanoseconds. Ends with this command, however that ends.
    #[command(group = clap::ArgGroup::new("end").required(true).multiple(true))]
    Capture {
        /// Where to, on the machine where the program runs and as its user; nothing may be there.
        file: PathBuf,
        /// At which interfaces.
        #[arg(long, value_enum, default_value = "both")]
        side: CaptureSide,
        /// So many bytes of each frame, at most.
        #[arg(long, value_name = "BYTES", default_value_t = 256,
              value_parser = clap::value_parser!(u32).range(1..=9216))]
        snap: u32,
        /// So many frames.
        #[arg(long, value_name = "N", group = "end",
              value_parser = clap::value_parser!(u64).range(1..))]
        packets: Option<u64>,
        /// For so many seconds.
        #[arg(long = "for", value_name = "SECONDS", group = "end", value_parser = seconds)]
        seconds: Option<f64>,
    },
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// What the engine does, and the most that it can be switched to.
    Show {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Switch, for example: set map=all atomics=replace. What is not named stays.
    Set {
        /// map=writes|all, steer=none|writes|all, atomics=keep|replace.
        #[arg(required = true, value_name = "KEY=VALUE")]
        choices: Vec<String>,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum MeasureAction {
    Start,
    Stop,
}

fn seconds(text: &str) -> Result<f64, String> {
    let good = |seconds: &f64| *seconds > 0.0 && *seconds <= 86_400.0;
    text.parse().ok().filter(good).ok_or_else(|| "must be above 0, and at most 86400".to_owned())
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    /// The program refuses.
    #[error("refused: {0}")]
    Refused(String),
    /// What is asked for cannot be.
    #[error("{0}")]
    Wrong(String),
    /// Nobody answers, or something else than this program.
    #[error("{}: {error}", path.display())]
    Link {
        /// The socket.
        path: PathBuf,
        /// What is wrong.
        error: io::Error,
    },
    /// Standard output is gone.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

/// Carries a command out.
#[must_use]
pub fn run(args: &CtlArgs) -> ExitCode {
    let mut out = io::stdout().lock();
    match carry_out(args, &mut out).and_then(|()| Ok(out.flush()?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(CtlError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("qpmux-live ctl: {error}");
            let refused = matches!(error, CtlError::Refused(_));
            ExitCode::from(if refused { 1 } else { 2 })
        }
    }
}

/// Carries a command out, and writes what it prints to `out`.
///
/// # Errors
/// See [`CtlError`].
pub fn carry_out(args: &CtlArgs, out: &mut dyn Write) -> Result<(), CtlError> {
    let mut link = Link::open(&args.socket)?;
    match &args.command {
        CtlCommand::Report => {
            let report: Value = link.ask(&Command::Report)?;
            show::json(out, &report)
        }
        CtlCommand::Policy { command } => policy(&mut link, command, out),
        CtlCommand::Connections { json } => {
            let rows = connections(&mut link)?;
            if *json { show::json(out, &rows) } else { show::connections(out, &rows) }
        }
        CtlCommand::Drain { wait, at_most, off } => {
            let at_most = at_most.map(Duration::from_secs_f64);
            drain(&mut link, !off, wait.then_some(at_most), out)
        }
        CtlCommand::Stop { force } => {
            let answer: Value = link.ask(&Command::Stop { force: *force })?;
            let breaks = answer.get("breaks").and_then(Value::as_u64).unwrap_or(0);
            let words = match breaks {
                0 => "no connection breaks".to_owned(),
                1 => "1 connection breaks".to_owned(),
                many => format!("{many} connections break"),
            };
            Ok(writeln!(out, "stopping: {words}")?)
        }
        CtlCommand::HandOver => {
            let waiting = hand_over(&args.socket, false)?;
            Ok(writeln!(out, "handing over: {}", translated(waiting))?)
        }
        CtlCommand::Standby { json } => {
            let seen: Seen = link.ask(&Command::Standby)?;
            if *json { show::json(out, &seen) } else { show::standby(out, &seen) }
        }
        CtlCommand::GoOnAlone { .. } => {
            let _: Value = link.ask(&Command::GoOnAlone)?;
            Ok(writeln!(out, "going on alone")?)
        }
        CtlCommand::Measure { action, seconds, json } => {
            let measured: Measurement = match (action, seconds) {
                (Some(MeasureAction::Start), _) => {
                    let _: Value = link.ask(&Command::MeasureStart)?;
                    return Ok(());
                }
                (Some(MeasureAction::Stop), _) => link.ask(&Command::MeasureStop)?,
                (None, seconds) => measure(&mut link, seconds.unwrap_or(1.0))?,
            };
            if *json { show::json(out, &measured) } else { show::measurement(out, &measured) }
        }
        CtlCommand::Capture { file, side, snap, packets, seconds } => {
            let file = std::path::absolute(file)?;
            let (side, snap, packets, seconds) = (*side, *snap, *packets, *seconds);
            let start = Command::CaptureStart { file, side, snap, packets, seconds };
            capture(&mut link, &start, out)
        }
    }
}

/// Stops the program that listens at `socket`; a successor goes on, on this host if `here`. How
/// many connections wait for that.
///
/// # Errors
/// See [`CtlError`].
pub fn hand_over(socket: &Path, here: bool) -> Result<usize, CtlError> {
    let answer: Value = Link::open(socket)?.ask(&Command::HandOver { successor: here })?;
    let waiting = answer.get("waiting").and_then(Value::as_u64).unwrap_or(0);
    Ok(usize::try_from(waiting).unwrap_or(usize::MAX))
}

/// A measurement of this command's own: others may run at the same time.
fn measure(link: &mut Link, seconds: f64) -> Result<Measurement, CtlError> {
    let before: Value = link.ask(&Command::Report)?;
    sleep(Duration::from_secs_f64(seconds));
    // The program hangs up on who is silent for long.
    let after: Value = link.reopen()?.ask(&Command::Report)?;
    Ok(Measurement::between(&before, &after))
}

fn policy(link: &mut Link, command: &PolicyCommand, out: &mut dyn Write) -> Result<(), CtlError> {
    let (answer, json) = match command {
        PolicyCommand::Show { json } => (link.ask::<PolicyAnswer>(&Command::PolicyShow)?, *json),
        PolicyCommand::Set { choices } => (link.ask(&policy_set(choices)?)?, false),
    };
    if json { show::json(out, &answer) } else { show::policy(out, &answer) }
}

/// The request of words such as `map=all`.
fn policy_set(choices: &[String]) -> Result<Command, CtlError> {
    let mut request = Map::from_iter([("command".to_owned(), json!("policy-set"))]);
    for choice in choices {
        let Some((key, value)) = choice.split_once('=') else {
            return Err(CtlError::Wrong(format!("'{choice}' must be as map=all")));
        };
        if request.insert(key.to_owned(), json!(value)).is_some() {
            return Err(CtlError::Wrong(format!("'{choice}': {key} is there twice, or is no key")));
        }
    }
    serde_json::from_value(Value::Object(request))
        .map_err(|error| CtlError::Wrong(error.to_string()))
}

fn connections(link: &mut Link) -> Result<Vec<Row>, CtlError> {
    let mut rows = Vec::new();
    let mut from = Some(0);
    while let Some(first) = from {
        let page: Page = link.ask(&Command::Connections { from: first })?;
        rows.extend(page.connections);
        // Whatever is answered, this ends.
        from = page.next.filter(|next| *next > first);
    }
    Ok(rows)
}

/// `wait`: whether to wait until none is translated, and for how long.
fn drain(
    link: &mut Link,
    hold: bool,
    wait: Option<Option<Duration>>,
    out: &mut dyn Write,
) -> Result<(), CtlError> {
    let begin = std::time::Instant::now();
    let mut answer: DrainAnswer = link.ask(&Command::Drain { hold: Some(hold) })?;
    let words = if answer.draining { "draining" } else { "not draining" };
    writeln!(out, "{words}: {}", translated(answer.translated))?;
    let Some(at_most) = wait else { return Ok(()) };
    out.flush()?;
    while answer.translated > 0 {
        if at_most.is_some_and(|at_most| begin.elapsed() >= at_most) {
            return Err(CtlError::Refused(format!("{} still", translated(answer.translated))));
        }
        sleep(LOOK);
        answer = link.ask(&Command::Drain { hold: None })?;
        if !answer.draining {
            return Err(CtlError::Refused("somebody has ended the drain".to_owned()));
        }
    }
    Ok(writeln!(out, "{}", translated(0))?)
}

fn capture(link: &mut Link, start: &Command, out: &mut dyn Write) -> Result<(), CtlError> {
    let mut status: CaptureStatus = link.ask(start)?;
    while status.running {
        sleep(LOOK);
        status = link.ask(&Command::CaptureStatus)?;
    }
    if let Some(error) = status.error {
        return Err(CtlError::Refused(error));
    }
    writeln!(out, "{}: {} frames", status.file.display(), status.frames)?;
    if status.missed > 0 {
        writeln!(out, "{} more could not be kept: writing did not keep up", status.missed)?;
    }
    Ok(())
}
