//! The runs: each load in a world of its own, and one world in which load rises and falls.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use serde::Serialize;

use crate::Args;
use crate::ends::Mix;
use crate::pace::{Pace, Reference};
use crate::tally::{Span, measure};
use crate::world::{Shape, Source, World};

/// Operations on their way, all clients together, while capacity is measured: enough to keep the
/// loop busy, too few to fill a ring.
pub(crate) const BUSY: usize = 384;
/// The same where servers are far, and hold most of them.
const BUSY_FAR: usize = 900;
/// Frames that wait at a port where it has room for all that clients may send.
const DEEP: usize = 32_768;
/// Time for which it is measured, ns.
pub(crate) const CAPACITY_NS: u64 = 100_000_000;

/// Load, as multiples of capacity, in the parts of the run in which it rises and falls: the last
/// goes on for as long as there are parts.
pub(crate) const RISES: [f64; 4] = [0.5, 2.5, 2.5, 2.5];
pub(crate) const FALLS: f64 = 0.5;
/// Intervals of a part.
const INTERVALS: u64 = 5;

/// What is in the way.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
}

impl Case {
    pub(crate) fn many_clients(ring: usize) -> Case {
        let shape = Shape {
            clients: 2_000,
            window: 16,
            ring,
            server_delay: 0,
            limits: "",
            server_qps: 4,
            map: "writes",
            order: "fenced",
            verify: "full",
            mix: Mix::All,
            journal: false,
        };
        Case { name: "many-clients", shape }
    }

    fn all(ring: usize) -> Vec<Case> {
        let many = || Case::many_clients(ring).shape;
        let few = Shape { clients: 64, ..many() };
        let keyed = Shape { order: "keyed", ..many() };
        let unshed = Shape { limits: "shed_overload = false", ..many() };
        let buffers = Shape { limits: "frames = 512", ..many() };
        let slow = Shape { server_delay: 2_000_000, ..many() };
        let deep = Shape { ring: ring.max(DEEP), ..many() };
        vec![
            Case { name: "few-clients", shape: few },
            Case::many_clients(ring),
            Case { name: "keyed", shape: keyed },
            Case { name: "unshed", shape: unshed },
            Case { name: "few-buffers", shape: buffers },
            Case { name: "slow-servers", shape: slow },
            Case { name: "deep-rings", shape: deep },
        ]
    }

    pub(crate) fn named(names: &[String], ring: usize) -> anyhow::Result<Vec<Case>> {
        ensure!(ring > BUSY_FAR, "--ring is {ring}, must be more than {BUSY_FAR}");
        let mut all = Case::all(ring);
        let known: Vec<_> = all.iter().map(|case| case.name).collect();
        if let Some(name) = names.iter().find(|name| *name != "all" && !known.contains(&&***name)) {
            bail!("--cases has {name}, must be all or of {}", known.join(", "));
        }
        all.retain(|case| names.iter().any(|name| name == "all" || name == case.name));
        Ok(all)
    }
}

/// A load and what came of it.
#[derive(Serialize)]
pub(crate) struct Point {
    pub(crate) case: &'static str,
    pub(crate) clients: u32,
    pub(crate) load: f64,
    /// Operations in a second that can be done.
    pub(crate) capacity: f64,
    /// Goodput of the worst and the best repetition; all else is of the one in the middle.
    pub(crate) goodputs: (f64, f64),
    pub(crate) span: Span,
}

impl Point {
    /// Completed operations, as a multiple of capacity.
    pub(crate) fn goodput(&self) -> f64 {
        self.span.rate() / self.capacity
    }
}

/// A case in which load rises and falls.
#[derive(Serialize)]
pub(crate) struct Falling {
    pub(crate) case: &'static str,
    pub(crate) clients: u32,
    pub(crate) capacity: f64,
    /// Of a quiet loop, ns.
    pub(crate) quiet_ns: u64,
    /// Load, and what came of it, interval by interval.
    pub(crate) intervals: Vec<(f64, Span)>,
}

#[derive(Serialize)]
pub(crate) struct Results {
    pub(crate) loads: Vec<Point>,
    pub(crate) falling: Vec<Falling>,
}

/// Says what is being done once that takes longer.
pub(crate) struct Progress(Instant);

impl Default for Progress {
    fn default() -> Progress {
        Progress(Instant::now())
    }
}

impl Progress {
    pub(crate) fn tell(&mut self, what: &str) {
        if self.0.elapsed() > Duration::from_secs(2) {
            eprintln!("overload: {what}");
        }
    }
}

/// A world whose connections are translated, and what its loop can do.
fn start(shape: &Shape, seed: u64, pace: Pace) -> anyhow::Result<(World, f64)> {
    let mut world = World::new(shape, seed)?;
    // Capacity is that of what is slower: the loop, or the servers' queue pairs.
    let delay = world.set_server_delay(0);
    world.translate_all()?;
    world.set_server_delay(delay);
    world.set_pace(pace);
    world.set_source(Source::Closed, if delay == 0 { BUSY } else { BUSY_FAR });
    world.run_for(CAPACITY_NS / 2 + 4 * delay);
    let busy = measure(&mut world, CAPACITY_NS);
    ensure!(busy.count("client.missed") == 0, "a ring of {} frames is too small", shape.ring);
    let idle = delay == 0 && busy.idle_ns * 20 > busy.ns;
    ensure!(!idle, "the loop is idle for {} of {} ns", busy.idle_ns, busy.ns);
    world.settle();
    Ok((world, busy.rate()))
}

fn offer(world: &mut World, load: f64, capacity: f64) {
    world.set_source(Source::Open(1e9 / (load * capacity)), 0);
}

/// Whether client and server have seen only what is allowed.
fn check(span: &Span, case: &Case) -> anyhow::Result<()> {
    for name in ["violations", "broken"] {
        ensure!(span.count(name) == 0, "{}: {} {name}", case.name, span.count(name));
    }
    Ok(())
}

/// Each case under each load. Repetitions are far apart in time, so that what disturbs the machine
/// for a while does not meet all of one load.
pub(crate) fn sweep(
    cases: &[Case],
    args: &Args,
    reference: &Rc<RefCell<Reference>>,
    progress: &mut Progress,
) -> anyhow::Result<Vec<Point>> {
    let mut repeated = Vec::new();
    for repetition in 0..args.repeat {
        let seed = args.seed + u64::from(repetition);
        for case in cases {
            for &load in &args.loads {
                progress.tell(&format!(
                    "{}, load {load}, {} of {}",
                    case.name,
                    repetition + 1,
                    args.repeat
                ));
                repeated.push(point(case, load, args, seed, Pace::new(reference))?);
            }
        }
    }
    let each = cases.len() * args.loads.len();
    let mut points: Vec<Vec<Point>> = (0..each).map(|_| Vec::new()).collect();
    for (at, point) in repeated.into_iter().enumerate() {
        points[at % each].push(point);
    }
    Ok(points.into_iter().map(middle).collect())
}

fn point(case: &Case, load: f64, args: &Args, seed: u64, pace: Pace) -> anyhow::Result<Point> {
    let (mut world, capacity) = start(&case.shape, seed, pace)?;
    offer(&mut world, load, capacity);
    world.run_for(args.span * 500_000);
    let span = measure(&mut world, args.span * 1_000_000);
    check(&span, case)?;
    let goodput = span.rate() / capacity;
    let (name, clients) = (case.name, case.shape.clients);
    Ok(Point { case: name, clients, load, capacity, goodputs: (goodput, goodput), span })
}

/// The repetition with the middle goodput, which is told those of all.
fn middle(mut repetitions: Vec<Point>) -> Point {
    repetitions.sort_by(|a, b| a.goodput().total_cmp(&b.goodput()));
    let (low, high) = (repetitions[0].goodput(), repetitions[repetitions.len() - 1].goodput());
    let middle = repetitions.swap_remove(repetitions.len() / 2);
    Point { goodputs: (low, high), ..middle }
}

/// Each case while load rises and falls.
pub(crate) fn falling(
    cases: &[Case],
    args: &Args,
    reference: &Rc<RefCell<Reference>>,
    progress: &mut Progress,
) -> anyhow::Result<Vec<Falling>> {
    let cases = cases.iter().filter(|_| args.parts > 0);
    let run = |case: &Case| {
        progress.tell(&format!("{}, load that falls", case.name));
        let (mut world, capacity) = start(&case.shape, args.seed, Pace::new(reference))?;
        offer(&mut world, 0.1, capacity);
        let quiet_ns = measure(&mut world, 50_000_000).whole.p50;
        let mut intervals = Vec::new();
        let loads = RISES.into_iter().chain(std::iter::repeat(FALLS));
        for load in loads.take(args.parts) {
            offer(&mut world, load, capacity);
            for _ in 0..INTERVALS {
                let span = measure(&mut world, args.part * 1_000_000 / INTERVALS);
                check(&span, case)?;
                intervals.push((load, span));
            }
        }
        let (name, clients) = (case.name, case.shape.clients);
        Ok(Falling { case: name, clients, capacity, quiet_ns, intervals })
    };
    cases.map(run).collect()
}
