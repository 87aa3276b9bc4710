//! The command line: exit status 0 for a clean stop, 2 for a wrong use, file or interface. Of `ctl`
//! also 1: refused.

use std::env;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use nix::sched::{sched_getaffinity, sched_setaffinity};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Pid;

use crate::config::Settings;
use crate::ctl::{self, CtlArgs};
use crate::log;
use crate::report::Report;
use crate::run::{End, Run};

/// Multiplex RDMA queue pairs between two network interfaces.
///
/// Runs until SIGINT or SIGTERM, then prints what it has counted as one JSON document on standard
/// output; the names are those of `qpmux replay --json`. SIGHUP has it read the configuration again
/// and switch to the policy there: see [policy.most] in live/README.md. While connections are
/// translated, which would break, it stops at a second signal only: see [control] there.
#[derive(Parser)]
#[command(name = "qpmux-live", version)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "Example:\n  qpmux-live --config live.toml\n\nwith live.toml:\n  \
    [client]\n  interface = \"eth1\"\n\n  [server]\n  interface = \"eth2\"\n\n\
    Exit status: 0 clean stop, 2 wrong use, configuration or interface.\n\
    Logs go to standard error: set QPMUX_LOG=debug for more.")]
struct Args {
    /// Configuration: the two interfaces, what the engine does, limits.
    #[arg(long, value_name = "FILE", required = true)]
    config: Option<PathBuf>,
    /// Only say whether the configuration can be used.
    #[arg(long)]
    check: bool,
    /// Stop when nothing has come in for so many milliseconds.
    #[arg(long, value_name = "MS")]
    until_idle: Option<u64>,
    /// Take over from the program that runs with this configuration, if there is one: it stops,
    /// and this one goes on with its connections. Needs [control] socket and [journal] folder.
    #[arg(long)]
    take_over: bool,
    #[command(subcommand)]
    command: Option<Subcommand>,
}

#[derive(clap::Subcommand)]
enum Subcommand {
    Ctl(CtlArgs),
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    let ran = match (&args.command, &args.config) {
        (Some(Subcommand::Ctl(args)), _) => return ctl::run(args),
        (None, config) => run(&args, config.as_deref().unwrap_or(Path::new(""))),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("qpmux-live: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args, config: &Path) -> anyhow::Result<()> {
    let named = || config.display().to_string();
    let settings = Settings::load(config).with_context(named)?;
    settings.engine().with_context(named)?;
    if args.check {
        println!("{}: good", config.display());
        return Ok(());
    }
    log::start(settings.log.format);
    // Captures have in them what clients write and read.
    umask(Mode::from_bits_truncate(0o077));
    let until_idle = args.until_idle.map(Duration::from_millis);
    // DPDK moves the thread that starts it.
    let processors = sched_getaffinity(Pid::from_raw(0)).context("sched_getaffinity")?;
    let run = Run { settings: &settings, path: config, until_idle, take_over: args.take_over };
    match run.run()? {
        End::Counted(report) => print(&report),
        End::Again => {
            sched_setaffinity(Pid::from_raw(0), &processors).context("sched_setaffinity")?;
            Err(begin_anew()).context("cannot begin anew")
        }
    }
}

/// Executes this program once more, as the same process: nothing is left of what was. Who takes
/// over was asked for once.
fn begin_anew() -> io::Error {
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_default();
    let arguments = arguments.filter(|argument| argument != "--take-over");
    // What runs, also if another version has its place by now.
    Command::new("/proc/self/exe").arg0(name).args(arguments).exec()
}

fn print(report: &Report) -> anyhow::Result<()> {
    let document = serde_json::to_string_pretty(report)?;
    let mut out = io::stdout().lock();
    match writeln!(out, "{document}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
