//! A capture's own packets through the engine, unchanged: for policies that translate nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use qpmux_engine::connections::{Config, Event, Learner};
use qpmux_engine::policy::{Directory, Map, Policy};
use qpmux_engine::wire::{Classified, CmLayout, CmMad, CmMessage, NotRc, classify, icrc};
use qpmux_engine::{Nanos, Side};
use qpmux_traces::CaptureReader;

use super::report::ReplayReport;
use super::world::Passing;
use super::{Progress, Setup, Writers};
use crate::host::Host;

/// Passes every frame of a capture through the engine, in constant memory. Both sides of the
/// middlebox are written to the directory `out`, if there is one.
///
/// # Errors
/// When the capture cannot be read, the policy translates (then the captured answers would not
/// fit the translated requests), or results cannot be written.
pub fn replay_captured(
    capture: &Path,
    out: Option<&Path>,
    setup: &Setup,
    progress: &mut dyn FnMut(Progress),
) -> anyhow::Result<ReplayReport> {
    if setup.policy.map != Map::None {
        anyhow::bail!(
            "--responses captured goes with --map none only: a mapped request gets other sequence \
             numbers and another queue pair, so the captured answers would not fit. \
             Use --responses model"
        );
    }
    if setup.losses.any() {
        anyhow::bail!(
            "captured packets are never sent again, so none can be lost: \
             --loss and --losses-of go with --responses model only"
        );
    }
    if !setup.big_endian.is_empty() {
        anyhow::bail!(
            "--big-endian goes with --responses model only: captured packets stay as they are"
        );
    }
    let mut reader = CaptureReader::open(capture)?;
    let mut writers = out.map(|dir| Writers::create(dir, capture)).transpose()?;
    let mut host = Host::new(&setup.engine, &setup.policy, &no_connections(&setup.policy)?, 1)?;
    let mut sides = Sides::new();
    setup.connections.configure(0, &mut sides.learner)?;
    let (mut packets, mut first_ns, mut last_ns) = (0, None, 0);
    loop {
        progress(Progress::Read(1, reader.bytes_read()));
        let Some(packet) = reader.next_packet()? else { break };
        packets += 1;
        last_ns = packet.timestamp_ns;
        first_ns.get_or_insert(last_ns);
        let side = sides.side_of(last_ns, packet.data, packet.is_truncated());
        let mut result = Ok(());
        let mut write = |passing, frame: &[u8]| {
            if let (Some(writers), true) = (writers.as_mut(), result.is_ok()) {
                result = writers.write(passing, last_ns, packet.original_len, frame);
            }
        };
        write(Passing::In(side), packet.data);
        host.offer(0, side, Nanos(last_ns), packet.data, &mut |side, frame| {
            write(Passing::Out(side), frame);
        });
        result?;
    }
    if let Some(writers) = writers {
        writers.finish()?;
    }
    let mut report = ReplayReport::of_counters(&host.counters());
    report.client_connections = sides.learnt;
    report.truncated_tail = reader.truncated_tail().is_some();
    report.events = packets;
    report.duration_ns = last_ns.saturating_sub(first_ns.unwrap_or(0));
    Ok(report)
}

fn no_connections(policy: &Policy) -> anyhow::Result<Directory> {
    Ok(Directory::new(Vec::new(), Vec::new(), Vec::new(), policy)?)
}

/// On which side of the middlebox a captured packet came in: the capture does not say, so it is
/// told from who asks and who answers.
struct Sides {
    learner: Learner,
    /// Connections learnt so far.
    learnt: usize,
    servers: BTreeSet<IpAddr>,
}

/// Servers told apart by address; beyond that packets count as the clients'.
const SERVERS_MAX: usize = 65_536;

impl Sides {
    fn new() -> Sides {
        Sides { learner: Learner::new(Config::default()), learnt: 0, servers: BTreeSet::new() }
    }

    fn side_of(&mut self, now_ns: u64, frame: &[u8], cut: bool) -> Side {
        let layout = match classify(frame) {
            Ok(Classified::Rc(layout)) => layout,
            Ok(Classified::Other(NotRc::Cm(layout))) => {
                return self.side_of_message(now_ns, frame, cut, &layout);
            }
            _ => return Side::Client,
        };
        if !cut && icrc::verify(frame, &layout) {
            self.learner.observe(now_ns, &layout, frame);
            self.count_learnt();
        }
        if layout.opcode.is_request() {
            self.note_request(layout.source, layout.destination);
        }
        self.side_of_source(layout.source)
    }

    /// The same for a message of the connection manager.
    fn side_of_message(&mut self, now: u64, frame: &[u8], cut: bool, layout: &CmLayout) -> Side {
        if !cut && icrc::verify_cm(frame, layout) {
            self.learner.observe_mad(now, layout, frame);
            self.count_learnt();
            let mad = CmMad::parse(layout.mad(frame));
            if mad.is_ok_and(|mad| matches!(mad.message, CmMessage::Req(_))) {
                self.note_request(layout.source, layout.destination);
            }
        }
        self.side_of_source(layout.source)
    }

    fn count_learnt(&mut self) {
        while let Some(event) = self.learner.poll_event() {
            self.learnt += usize::from(matches!(event, Event::ConnectionLearnt(_)));
        }
    }

    fn note_request(&mut self, source: IpAddr, destination: IpAddr) {
        if !self.servers.contains(&source) && self.servers.len() < SERVERS_MAX {
            self.servers.insert(destination);
        }
    }

    fn side_of_source(&self, source: IpAddr) -> Side {
        if self.servers.contains(&source) { Side::Server } else { Side::Client }
    }
}
