//! `qpmux replay`: a capture through the engine.
//!
//! With modelled responses the capture is read twice: the first pass finds the connections, the
//! second their messages; then clients that ask for the same things in the same order, with the
//! same waits, are driven against modelled servers with real memory, with the engine between.
//! With captured responses every frame passes the engine as it stands in the capture.

mod answers;
mod captured;
mod first_pass;
mod losses;
mod messages;
mod outputs;
mod placement;
mod recorded;
mod report;
mod script;
mod second_pass;
mod setup;
mod world;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::Path;

use qpmux_engine::connections;
use qpmux_engine::policy::{Directory, TrustBy};
use qpmux_traces::CaptureReader;

use crate::connections_file::KnownConnections;
use crate::host::Host;
pub use captured::replay_captured;
use losses::Wires;
pub use losses::{Losses, RecordedReport};
pub use outputs::Outputs;
use outputs::Writers;
use placement::PlacementWatch;
use recorded::RecordedLosses;
pub use report::ReplayReport;
pub use script::{LeftOut, Script, ScriptedConnection, ScriptedVerb, ServerMemory};
pub use setup::{Latency, Setup};
use world::{Passing, World};

/// File names in the directory of results.
pub const CLIENTS_PCAP: &str = "clients.pcap";
/// The middlebox's server side.
pub const SERVER_PCAP: &str = "server.pcap";
/// All frames that the engine took, of both sides, in the order in which it took them.
pub const INGRESS_PCAP: &str = "ingress.pcap";

/// Progress of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Bytes of the capture read, in the pass of this number, from 1.
    Read(u8, u64),
    /// Messages completed, of so many.
    Completed(u64, u64),
}

/// How far a capture is read, which is told when it is news: somebody looks at the clock then.
struct Read {
    pass: u8,
    bytes: u64,
}

impl Read {
    fn new(pass: u8) -> Read {
        Read { pass, bytes: 0 }
    }

    fn tell(&mut self, reader: &CaptureReader, progress: &mut dyn FnMut(Progress)) {
        let bytes = reader.bytes_read();
        if bytes != self.bytes {
            self.bytes = bytes;
            progress(Progress::Read(self.pass, bytes));
        }
    }
}

/// Replays with modelled responses, and writes what `outputs` names.
///
/// # Errors
/// When the capture cannot be read, nothing in it can be replayed, the options contradict each
/// other, or results cannot be written.
pub fn replay_modelled<'a>(
    capture: &Path,
    outputs: impl Into<Outputs<'a>>,
    setup: &Setup,
    progress: &mut dyn FnMut(Progress),
) -> anyhow::Result<ReplayReport> {
    if setup.policy.in_place {
        anyhow::bail!(
            "--in-place goes with --responses captured only: requests go elsewhere than their \
             clients are told, so whether answers are right cannot be checked"
        );
    }
    let outputs = outputs.into();
    let script = read_script(capture, &setup.connections, &setup.big_endian, progress)?;
    let directory = directory(setup, &script)?;
    let hosts = directory.hosts().count();
    let other = setup.losses.of.as_deref();
    let recorded = other.map(|o| RecordedLosses::between(&script, capture, o)).transpose()?;
    let wires = Wires::new(&setup.losses, recorded);
    let host = Host::new(&setup.engine, &setup.policy, &directory, setup.shards)?;
    let mut writers = Writers::create(&outputs, capture)?;
    let mut watch = PlacementWatch::new(&script, &setup.policy.profile);
    let start_ns = script.start_ns;
    let (left_out, truncated_tail) = (script.left_out, script.truncated_tail);
    let total: usize = script.connections.iter().map(|c| c.verbs.len()).sum();
    let connections = script.connections.len();
    let mut failure = None;
    let mut tap = |passing: Passing, time: u64, frame: &[u8]| {
        watch.on_frame(passing.side(), time, frame);
        if failure.is_none() {
            failure = writers.write(passing, start_ns.saturating_add(time), 0, frame).err();
        }
    };
    let world = World::new(script, setup, wires, host, &mut tap);
    let done = world.run(&mut |completed| progress(Progress::Completed(completed, total as u64)));
    if let Some(failure) = failure {
        return Err(failure.into());
    }
    writers.finish()?;
    if let Some(dir) = outputs.dir {
        watch.write(dir, &title(capture, setup))?;
    }
    let report = ReplayReport::of_model(&done, &left_out, connections, hosts, total as u64);
    Ok(ReplayReport { truncated_tail, ..report })
}

/// Reads the closed-loop workload of a capture.
///
/// # Errors
/// When it cannot be read, or has no connection that can be run again.
pub fn read_script(
    capture: &Path,
    known: &KnownConnections,
    big_endian: &[IpAddr],
    progress: &mut dyn FnMut(Progress),
) -> anyhow::Result<Script> {
    let learner = connections::Config::default();
    let first = first_pass::first_pass(capture, learner, known, progress)?;
    let script = second_pass::second_pass(capture, &first, big_endian, progress)?;
    if script.connections.is_empty() {
        anyhow::bail!(
            "{}: no connection to replay: {}",
            capture.display(),
            report::why_nothing(&script.left_out)
        );
    }
    Ok(script)
}

/// What the engine knows at the start.
fn directory(setup: &Setup, script: &Script) -> anyhow::Result<Directory> {
    let is_server = |ip: &&IpAddr| script.memory.iter().any(|server| server.ip == **ip);
    if let Some(ip) = setup.big_endian.iter().find(|ip| !is_server(ip)) {
        anyhow::bail!("--big-endian {ip}: no server has this address");
    }
    let directory = match setup.policy.trust {
        TrustBy::Directory => setup.directory(script)?,
        TrustBy::Configuration | TrustBy::Observation => Directory::empty(),
    };
    Ok(directory.with_big_endian(setup.big_endian.clone()))
}

fn title(capture: &Path, setup: &Setup) -> String {
    let name = capture.file_name().unwrap_or(capture.as_os_str()).to_string_lossy();
    let qps = match setup.policy.server_qps {
        0 => "all server queue pairs".to_owned(),
        1 => "1 server queue pair".to_owned(),
        n => format!("{n} server queue pairs"),
    };
    format!("{name}, keys on {qps}")
}
