//! A capture's own packets through the engine, unchanged: for policies that translate nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use qpmux_engine::connections::{Config, Event, Learner};
use qpmux_engine::policy::{Directory, Map};
use qpmux_engine::wire::{Classified, CmLayout, CmMad, CmMessage, NotRc, classify, icrc};
use qpmux_engine::{Action, Engine, Frame, HEADROOM, Nanos, Out, ShardId, Side, Token};
use qpmux_traces::CaptureReader;

use super::outputs::{Outputs, Writers};
use super::report::ReplayReport;
use super::world::Passing;
use super::{Progress, Read, Setup};

/// Passes every frame of a capture through the engine, in constant memory, and writes what
/// `outputs` names.
///
/// # Errors
/// When the capture cannot be read, the policy translates (then the captured answers would not
/// fit the translated requests), or results cannot be written.
pub fn replay_captured<'a>(
    capture: &Path,
    outputs: impl Into<Outputs<'a>>,
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
    let mut writers = Writers::create(&outputs.into(), capture)?;
    let mut line = Line::new(setup)?;
    let mut sides = Sides::new();
    setup.connections.configure(0, &mut sides.learner)?;
    let mut read = Read::new(1);
    let (mut packets, mut first_ns, mut last_ns) = (0, None, 0);
    loop {
        read.tell(&reader, progress);
        let Some(packet) = reader.next_packet()? else { break };
        packets += 1;
        last_ns = packet.timestamp_ns;
        first_ns.get_or_insert(last_ns);
        let side = sides.side_of(last_ns, packet.data, packet.is_truncated());
        writers.write(Passing::In(side), last_ns, packet.original_len, packet.data)?;
        let (side, frame) = line.pass(side, Nanos(last_ns), packet.data);
        writers.write(Passing::Out(side), last_ns, packet.original_len, frame)?;
    }
    writers.finish()?;
    let mut report = ReplayReport::of_counters(line.engine.counters());
    report.client_connections = sides.learnt;
    report.truncated_tail = reader.truncated_tail().is_some();
    report.events = packets;
    report.duration_ns = last_ns.saturating_sub(first_ns.unwrap_or(0));
    Ok(report)
}

/// An engine that translates nothing, with the one buffer that it takes: every frame goes out as it
/// comes in, at most with another address. [`crate::host::Host`] would do the same with several
/// engines, with frames that are kept and with letters, of which there are none here.
struct Line {
    engine: Engine,
    out: Out,
    buffer: Vec<u8>,
}

impl Line {
    fn new(setup: &Setup) -> anyhow::Result<Line> {
        // Room without what only connections that are translated need.
        let config = qpmux_engine::Config {
            requests_max: 1_024,
            held_responses_max: 1_024,
            declined_keys_max: 1_024,
            grants_max: 1_024,
            ..setup.engine
        };
        let directory = Directory::new(Vec::new(), Vec::new(), Vec::new(), &setup.policy)?;
        let engine = Engine::new(config, setup.policy.clone(), directory, ShardId(0), 1)?;
        Ok(Line { engine, out: Out::new(0), buffer: Vec::new() })
    }

    /// A frame that comes in on a side: where it goes out, and as what.
    fn pass(&mut self, side: Side, now: Nanos, frame: &[u8]) -> (Side, &[u8]) {
        let room = frame.len() + 2 * HEADROOM;
        if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        let buffer = &mut self.buffer[..room];
        buffer[HEADROOM..HEADROOM + frame.len()].copy_from_slice(frame);
        let lent = Frame::new(buffer, HEADROOM, frame.len(), Token(0));
        let mut frames = [lent.expect("a buffer has room around its frame")];
        let taken = self.engine.handle_burst(side, now, &mut frames, &mut self.out);
        let (start, len) = frames[0].span();
        let to = match self.out.actions() {
            [Action::Pass(_)] => side.opposite(),
            [Action::Forward(_, to)] => *to,
            other => panic!("what is not translated goes out as it comes: {other:?}"),
        };
        assert_eq!(taken, 1, "a list that is empty has room for a frame");
        self.out.clear();
        (to, &self.buffer[start..start + len])
    }
}

/// On which side of the middlebox a captured packet came in: the capture does not say, so it is
/// told from who asks and who answers.
struct Sides {
    learner: Learner,
    /// Connections learnt so far.
    learnt: usize,
    servers: BTreeSet<IpAddr>,
    /// The one of them that was asked last.
    asked: Option<IpAddr>,
    /// The last source that is none of them.
    client: Option<IpAddr>,
}

/// Servers told apart by address; beyond that packets count as the clients'.
const SERVERS_MAX: usize = 65_536;

impl Sides {
    fn new() -> Sides {
        Sides {
            learner: Learner::new(Config::default()),
            learnt: 0,
            servers: BTreeSet::new(),
            asked: None,
            client: None,
        }
    }

    fn side_of(&mut self, now_ns: u64, frame: &[u8], cut: bool) -> Side {
        // Not moved: layouts are long.
        let classified = classify(frame);
        let layout = match &classified {
            Ok(Classified::Rc(layout)) => layout,
            Ok(Classified::Other(NotRc::Cm(layout))) => {
                return self.side_of_message(now_ns, frame, cut, layout);
            }
            _ => return Side::Client,
        };
        if !cut && icrc::verify(frame, layout) {
            self.learner.observe(now_ns, layout, frame);
            self.count_learnt();
        }
        self.side_of_ends(layout.source, layout.destination, layout.opcode.is_request())
    }

    /// The same for a message of the connection manager.
    fn side_of_message(&mut self, now: u64, frame: &[u8], cut: bool, layout: &CmLayout) -> Side {
        let mut asks = false;
        if !cut && icrc::verify_cm(frame, layout) {
            self.learner.observe_mad(now, layout, frame);
            self.count_learnt();
            let mad = CmMad::parse(layout.mad(frame));
            asks = mad.is_ok_and(|mad| matches!(mad.message, CmMessage::Req(_)));
        }
        self.side_of_ends(layout.source, layout.destination, asks)
    }

    fn count_learnt(&mut self) {
        while let Some(event) = self.learner.poll_event() {
            self.learnt += usize::from(matches!(event, Event::ConnectionLearnt(_)));
        }
    }

    /// Who is asked is a server, unless the one who asks is known as one.
    fn side_of_ends(&mut self, source: IpAddr, destination: IpAddr, asks: bool) -> Side {
        if self.asked == Some(source) {
            return Side::Server;
        }
        if self.client != Some(source) {
            if self.servers.contains(&source) {
                return Side::Server;
            }
            self.client = Some(source);
        }
        if asks && self.asked != Some(destination) && self.servers.len() < SERVERS_MAX {
            if self.servers.insert(destination) {
                self.client = None;
            }
            self.asked = Some(destination);
        }
        match asks && source == destination && self.servers.contains(&source) {
            true => Side::Server,
            false => Side::Client,
        }
    }
}
