//! The command line: exit status 0 for a clean stop, 2 for a wrong use, file or interface.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use qpmux_engine::Nanos;
use tracing::info;

use crate::config::Settings;
use crate::copying::Copying;
use crate::host::Host;
use crate::packet::PacketPort;
use crate::reload::reload;
use crate::report::Report;
use crate::wait::{Waiter, Wake};

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
    let waiter = Waiter::new().context("cannot wait for signals")?;
    let open = |name: &str| {
        PacketPort::open(name, settings.socket_buffer_bytes())
            .with_context(|| format!("interface '{name}'"))
    };
    let client = open(&settings.client.interface)?;
    let server = open(&settings.server.interface)?;
    let frames = settings.frames();
    let driver = Copying::new(client, server, frames, settings.frame_len_max());
    let mut host = Host::new(engine, driver, frames);
    info!(
        "between clients on {} and servers on {}, {frames} buffers",
        settings.client.interface, settings.server.interface
    );
    let (floor, cap) = settings.server_timeouts();
    info!("server timeouts: adaptive between {floor:?} and {cap:?}");
    let clock = Instant::now();
    serve(&mut host, &waiter, clock, &|host| reload(host, &settings, &args.config))?;
    print(&Report::of(&mut host, time(clock)))
}

/// Nanoseconds since the start; a u64 of them lasts 584 years.
fn time(clock: Instant) -> Nanos {
    Nanos(u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// The loop: wait, take a burst from each side, until asked to stop.
fn serve(
    host: &mut Host<Copying<PacketPort>>,
    waiter: &Waiter,
    clock: Instant,
    reload: &dyn Fn(&mut Host<Copying<PacketPort>>),
) -> anyhow::Result<()> {
    loop {
        let at_most = host
            .next_deadline()
            .map(|deadline| Duration::from_nanos(deadline.0.saturating_sub(time(clock).0)));
        let ports = host.driver().ports().each_ref().map(AsFd::as_fd);
        match waiter.wait(ports, at_most).context("cannot wait for frames")? {
            Wake::Work => {
                host.turn(time(clock));
            }
            Wake::Reload => reload(host),
            Wake::Stop(signal) => {
                info!("{signal}: stopping");
                return Ok(());
            }
        }
    }
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
