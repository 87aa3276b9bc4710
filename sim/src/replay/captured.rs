//! A capture's own packets through the engine, unchanged: for policies that translate nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use qpmux_engine::connections::{Config, Event, Familiar, Learner};
use qpmux_engine::policy::{Directory, Map};
use qpmux_engine::wire::{Classified, CmLayout, CmMad, CmMessage, NotRc, classify, icrc};
use qpmux_engine::{Action, Engine, Frame, HEADROOM, Nanos, Out, ShardId, Side, Token};
use qpmux_traces::{CaptureReader, HeldPacket};

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
    let reader = CaptureReader::open(capture)?;
    let writers = Writers::create(&outputs.into(), capture)?;
    let mut replay = Replay { reader, writers, line: Line::new(setup)?, sides: Sides::new() };
    setup.connections.configure(0, &mut replay.sides.learner)?;
    let seen = replay.run(progress)?;
    let Replay { reader, writers, line, sides } = replay;
    writers.finish()?;
    let mut report = ReplayReport::of_counters(line.engine.counters());
    report.client_connections = sides.learnt;
    report.truncated_tail = reader.truncated_tail().is_some();
    report.events = seen.packets;
    report.duration_ns = seen.last_ns.saturating_sub(seen.first_ns.unwrap_or(0));
    Ok(report)
}

struct Replay {
    reader: CaptureReader,
    writers: Writers,
    line: Line,
    sides: Sides,
}

/// What was in a capture.
#[derive(Default)]
struct Seen {
    packets: u64,
    first_ns: Option<u64>,
    last_ns: u64,
}

impl Seen {
    #[inline]
    fn add(&mut self, timestamp_ns: u64) {
        self.packets += 1;
        self.last_ns = timestamp_ns;
        self.first_ns.get_or_insert(timestamp_ns);
    }
}

impl Replay {
    fn run(&mut self, progress: &mut dyn FnMut(Progress)) -> anyhow::Result<Seen> {
        let Replay { reader, writers, line, sides } = self;
        let mut seen = Seen::default();
        let mut read = Read::new(1);
        loop {
            read.tell(reader, progress);
            if reader.hold()? {
                // Frames stay where they are, and go out from there.
                while let Some(packet) = reader.next_held() {
                    seen.add(packet.timestamp_ns);
                    let now = packet.timestamp_ns;
                    let side = sides.side_of(now, packet.data(), packet.is_truncated());
                    writers.write_held(Passing::In(side), &packet)?;
                    let to = line.pass(side, Nanos(now), packet.around);
                    writers.write_held(Passing::Out(to), &packet)?;
                }
                writers.write_records(&reader.records())?;
                continue;
            }
            let Some(packet) = reader.next_packet()? else { return Ok(seen) };
            let (now, len) = (packet.timestamp_ns, packet.original_len);
            seen.add(now);
            let side = sides.side_of(now, packet.data, packet.is_truncated());
            writers.write(Passing::In(side), now, len, packet.data)?;
            let (to, frame) = line.pass_copy(side, Nanos(now), packet.data);
            writers.write(Passing::Out(to), now, len, frame)?;
        }
    }
}

/// An engine that translates nothing, with the one buffer that it takes: every frame goes out as it
/// comes in, at most with another address. [`crate::host::Host`] would do the same with several
/// engines, with frames that are kept and with letters, of which there are none here.
struct Line {
    engine: Engine,
    out: Out,
    buffer: Vec<u8>,
}

/// Frames for whose change of the ICRC there are tables.
const FRAME_LEN_MAX: usize = 128;

const _: () = assert!(HeldPacket::ROOM >= HEADROOM);

impl Line {
    fn new(setup: &Setup) -> anyhow::Result<Line> {
        // Room without what only connections that are translated need.
        let config = qpmux_engine::Config {
            requests_max: 1_024,
            held_responses_max: 1_024,
            declined_keys_max: 1_024,
            grants_max: 1_024,
            // Those whose ICRC changes are short: longer ones take more steps.
            frame_len_max: setup.engine.frame_len_max.min(FRAME_LEN_MAX),
            ..setup.engine
        };
        let directory = Directory::new(Vec::new(), Vec::new(), Vec::new(), &setup.policy)?;
        let engine = Engine::new(config, setup.policy.clone(), directory, ShardId(0), 1)?;
        Ok(Line { engine, out: Out::new(0), buffer: Vec::new() })
    }

    /// A frame, with room around it, that comes in on a side and goes out from where it is: on
    /// which side.
    #[inline]
    fn pass(&mut self, side: Side, now: Nanos, around: &mut [u8]) -> Side {
        let (start, len) = (HeldPacket::ROOM, around.len() - 2 * HeldPacket::ROOM);
        let lent = Frame::new(around, start, len, Token(0));
        let mut frames = [lent.expect("a buffer has room around its frame")];
        let taken = self.engine.handle_burst(side, now, &mut frames, &mut self.out);
        let to = match self.out.actions() {
            [Action::Pass(_)] => side.opposite(),
            [Action::Forward(_, to)] => *to,
            other => panic!("what is not translated goes out as it comes: {other:?}"),
        };
        assert!(taken == 1, "a list that is empty has room for a frame");
        assert!(frames[0].span() == (start, len), "what is not translated stays where it is");
        self.out.clear();
        to
    }

    /// The same with a frame that is copied first: the one that goes out, too.
    fn pass_copy(&mut self, side: Side, now: Nanos, frame: &[u8]) -> (Side, &[u8]) {
        let room = frame.len() + 2 * HeldPacket::ROOM;
        if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        let place = HeldPacket::ROOM..HeldPacket::ROOM + frame.len();
        self.buffer[place.clone()].copy_from_slice(frame);
        let mut buffer = std::mem::take(&mut self.buffer);
        let to = self.pass(side, now, &mut buffer[..room]);
        self.buffer = buffer;
        (to, &self.buffer[place])
    }
}

/// On which side of the middlebox a captured packet came in: the capture does not say, so it is
/// told from who asks and who answers.
struct Sides {
    learner: Learner,
    familiar: Familiar<Ends>,
    /// Connections learnt so far.
    learnt: usize,
    servers: Servers,
}

impl Sides {
    fn new() -> Sides {
        Sides {
            learner: Learner::new(Config::default()),
            familiar: Familiar::new(),
            learnt: 0,
            servers: Servers::default(),
        }
    }

    #[inline]
    fn side_of(&mut self, now_ns: u64, frame: &[u8], cut: bool) -> Side {
        if !cut && let Some((ends, asks)) = self.familiar.observe(&mut self.learner, now_ns, frame)
        {
            return self.servers.side_of_familiar(ends, asks, frame);
        }
        self.side_of_any(now_ns, frame, cut)
    }

    fn side_of_any(&mut self, now_ns: u64, frame: &[u8], cut: bool) -> Side {
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
            let known = self.learner.observe(now_ns, layout, frame).is_some();
            self.count_learnt();
            if known {
                self.familiar.note(&self.learner, layout, frame);
            }
        }
        self.servers.side_of(layout.source, layout.destination, layout.opcode.is_request())
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
        self.servers.side_of(layout.source, layout.destination, asks)
    }

    fn count_learnt(&mut self) {
        while let Some(event) = self.learner.poll_event() {
            self.learnt += usize::from(matches!(event, Event::ConnectionLearnt(_)));
        }
    }
}

/// Who is known as a server.
#[derive(Default)]
struct Servers {
    known: BTreeSet<IpAddr>,
    /// The one of them that was asked last.
    asked: Option<IpAddr>,
    /// The last source that is none of them.
    client: Option<IpAddr>,
}

/// Servers told apart by address; beyond that packets count as the clients'.
const SERVERS_MAX: usize = 65_536;

/// Which ends of a direction were known as servers when so many were.
#[derive(Clone, Copy, Default)]
struct Ends {
    source: bool,
    destination: bool,
    known: usize,
}

impl Servers {
    /// Who is asked is a server, unless the one who asks is known as one.
    fn side_of(&mut self, source: IpAddr, destination: IpAddr, asks: bool) -> Side {
        if self.asked == Some(source) {
            return Side::Server;
        }
        if self.client != Some(source) {
            if self.known.contains(&source) {
                return Side::Server;
            }
            self.client = Some(source);
        }
        if asks && self.asked != Some(destination) && self.known.len() < SERVERS_MAX {
            if self.known.insert(destination) {
                self.client = None;
            }
            self.asked = Some(destination);
        }
        match asks && source == destination && self.known.contains(&source) {
            true => Side::Server,
            false => Side::Client,
        }
    }

    /// The same of a packet of a direction whose ends have been looked at. Who is a server stays
    /// one.
    #[inline]
    fn side_of_familiar(&mut self, ends: &mut Ends, asks: bool, frame: &[u8]) -> Side {
        if ends.source {
            return Side::Server;
        }
        if ends.known == self.known.len() && (ends.destination || !asks) {
            return Side::Client;
        }
        self.look_at(ends, frame)
    }

    /// The same, and looks at the ends.
    fn look_at(&mut self, ends: &mut Ends, frame: &[u8]) -> Side {
        let Ok(Classified::Rc(layout)) = classify(frame) else { return Side::Client };
        let side = self.side_of(layout.source, layout.destination, layout.opcode.is_request());
        *ends = Ends {
            source: self.known.contains(&layout.source),
            destination: self.known.contains(&layout.destination),
            known: self.known.len(),
        };
        side
    }
}
