//! The command line: exit status 0 for a clean stop, 2 for a wrong use, file or interface.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;

use crate::config::Settings;
use crate::report::Report;
use crate::run::Run;

/// Multiplex RDMA queue pairs between two network interfaces.
///
/// Runs until SIGINT or SIGTERM, then prints what it has counted as one JSON document on standard
/// output; the names are those of `qpmux replay --json`. SIGHUP has it read the configuration again
/// and switch to the policy there: see [policy.most] in live/README.md.
#[derive(Parser)]
#[command(name = "qpmux-live", version)]
#[command(after_help = "Example:\n  qpmux-live --config live.toml\n\nwith live.toml:\n  \
    [client]\n  interface = \"eth1\"\n\n  [server]\n  interface = \"eth2\"\n\n\
    Exit status: 0 clean stop, 2 wrong use, configuration or interface.\n\
    Logs go to standard error: set QPMUX_LOG=debug for more.")]
struct Args {
    /// Configuration: the two interfaces, what the engine does, limits.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Only say whether the configuration can be used.
    #[arg(long)]
    check: bool,
    /// Stop when nothing has come in for so many milliseconds.
    #[arg(long, value_name = "MS")]
    until_idle: Option<u64>,
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("QPMUX_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("qpmux-live: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let named = || args.config.display().to_string();
    let settings = Settings::load(&args.config).with_context(named)?;
    let engine = settings.engine().with_context(named)?;
    if args.check {
        println!("{}: good", args.config.display());
        return Ok(());
    }
    let until_idle = args.until_idle.map(Duration::from_millis);
    let run = Run { settings: &settings, path: &args.config, until_idle };
    print(&run.run(engine)?)
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
