//! The command line: exit status 0 for success, 1 for a failed check, 2 for a wrong use or input.

mod bench;
mod calibrate;
mod compare;
mod completions;
mod figures;
mod inspect;
mod man;
mod manifest;
mod merge;
mod output;
mod paper;
mod plan;
mod plot;
mod progress;
mod replay;
mod results;
mod runs;
mod scenarios;
mod schema;
mod sim;
mod sweep;
mod synth;
mod torture;

use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::connections_file::KnownConnections;

/// A command's success, or why it failed after it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Good,
    CheckFailed,
}

#[derive(Parser)]
#[command(name = "qpmux", version, about, arg_required_else_help = true)]
#[command(
    about = "Multiplexes RDMA queue pairs: all requests for one key through one server-side \
                   queue pair."
)]
#[command(
    after_help = "Exit status: 0 success, 1 a check failed, 2 wrong use or unusable input.\n\
                        Logs: set QPMUX_LOG=debug."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Bench(bench::Args),
    Calibrate(calibrate::Args),
    Compare(compare::Args),
    Completions(completions::Args),
    Inspect(inspect::Args),
    Man(man::Args),
    Merge(merge::Args),
    Paper(paper::Args),
    Plot(plot::Args),
    Replay(replay::Args),
    Scenarios(scenarios::Args),
    Schema(schema::Args),
    Sim(Box<sim::Args>),
    Sweep(sweep::Args),
    Synth(synth::Args),
    Torture(torture::Args),
}

/// The list of connections in a file, if one is given; else none.
fn load_connections(path: Option<&Path>) -> anyhow::Result<KnownConnections> {
    Ok(path.map(KnownConnections::load).transpose()?.unwrap_or_default())
}

/// The command line, with a file's options in the place of `sim --config FILE`.
fn arguments() -> anyhow::Result<Vec<std::ffi::OsString>> {
    let mut cli = Cli::command();
    cli.build();
    let args = std::env::args_os().collect();
    match cli.find_subcommand("sim") {
        Some(sim) => crate::options::file::expand(args, "sim", sim),
        None => Ok(args),
    }
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("QPMUX_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let args = match arguments() {
        Ok(args) => args,
        Err(error) => {
            eprintln!("qpmux: {error:#}");
            return ExitCode::from(2);
        }
    };
    let matches = Cli::command().get_matches_from(args);
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let result = match cli.command {
        Command::Bench(args) => bench::run(&args),
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Paper(args) => paper::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Merge(args) => merge::run(&args),
        Command::Plot(args) => plot::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Scenarios(args) => scenarios::run(&args),
        Command::Sim(args) => sim::run(&args, matches.subcommand_matches("sim")),
        Command::Sweep(args) => sweep::run(&args),
        Command::Synth(args) => synth::run(&args),
        Command::Torture(args) => torture::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    };
    match result {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::CheckFailed) => ExitCode::from(1),
        Err(error) => {
            eprintln!("qpmux: {error:#}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{} has no example", command.get_name());
        }
    }
}
