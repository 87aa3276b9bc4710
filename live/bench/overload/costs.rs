//! What the loop costs a frame while it is busy: with each map, and with each kind of verification.

use std::fmt::Write;

use anyhow::ensure;
use serde::Serialize;

use crate::Args;
use crate::ends::Mix;
use crate::runs::{BUSY, CAPACITY_NS, Progress};
use crate::tally::measure;
use crate::world::{Shape, Source, World};

const CLIENTS: u32 = 64;

/// What is compared: map, verification, and whether a journal is kept.
const WAYS: [(&str, &str, bool); 6] = [
    ("none", "full", false),
    ("writes", "headers", false),
    ("writes", "full", false),
    ("writes", "full", true),
    ("all", "headers", false),
    ("all", "full", false),
];

/// The costs of one way, and what they are made of.
#[derive(Serialize)]
pub(crate) struct Cost {
    pub(crate) frames: &'static str,
    pub(crate) map: &'static str,
    pub(crate) verify: &'static str,
    pub(crate) journal: bool,
    /// Processor time of a frame, ns: the middle, the least and the most of all repetitions.
    pub(crate) ns_per_frame: [f64; 3],
    /// The middle less that of map none with the same frames.
    pub(crate) added_ns: f64,
}

/// Each way with small and with large frames; repetitions are far apart in time.
pub(crate) fn measure_all(args: &Args, progress: &mut Progress) -> anyhow::Result<Vec<Cost>> {
    let mut found: Vec<Vec<f64>> = (0..2 * WAYS.len()).map(|_| Vec::new()).collect();
    for repetition in 0..args.repeat {
        for (at, mix) in [Mix::Small, Mix::Large].into_iter().enumerate() {
            for (way, (map, verify, journal)) in WAYS.into_iter().enumerate() {
                let of = args.repeat;
                progress.tell(&format!("map {map}, {verify}, {} of {of}", repetition + 1));
                let seed = args.seed + u64::from(repetition);
                let shape = shape(mix, args.ring, (map, verify, journal));
                found[at * WAYS.len() + way].push(one(&shape, seed)?);
            }
        }
    }
    let middles = |mut each: Vec<f64>| {
        each.sort_by(f64::total_cmp);
        [each[each.len() / 2], each[0], each[each.len() - 1]]
    };
    let all: Vec<[f64; 3]> = found.into_iter().map(middles).collect();
    let named = ["up to 142 bytes", "62 and 1,098 bytes"].into_iter().zip(all.chunks(WAYS.len()));
    let cost = |frames, none: f64, (way, ns): ((_, _, _), &[f64; 3])| {
        let (map, verify, journal) = way;
        Cost { frames, map, verify, journal, ns_per_frame: *ns, added_ns: ns[0] - none }
    };
    let costs = named.flat_map(|(frames, of)| {
        let none = of[0][0];
        WAYS.into_iter().zip(of).map(move |each| cost(frames, none, each))
    });
    Ok(costs.collect())
}

fn shape(mix: Mix, ring: usize, way: (&'static str, &'static str, bool)) -> Shape {
    let (map, verify, journal) = way;
    let (clients, limits) = (CLIENTS, "");
    Shape { clients, window: 16, ring, server_delay: 0, limits, map, verify, mix, journal }
}

/// Processor time of a frame, ns, in a closed loop that keeps the host busy.
fn one(shape: &Shape, seed: u64) -> anyhow::Result<f64> {
    let mut world = World::new(shape, seed)?;
    world.translate_all()?;
    world.set_source(Source::Closed, BUSY);
    world.run_for(CAPACITY_NS / 2);
    let span = measure(&mut world, CAPACITY_NS);
    for name in ["violations", "broken", "client.missed"] {
        ensure!(span.count(name) == 0, "map {}: {} {name}", shape.map, span.count(name));
    }
    let frames = span.count("client.received") + span.count("server.received");
    ensure!(frames > 0, "map {}: no frame came in", shape.map);
    Ok((span.ns - span.idle_ns) as f64 / frames as f64)
}

pub(crate) fn text(costs: &[Cost]) -> String {
    let mut text = format!(
        "{:<20}{:<8}{:<17}{:>9}{:>8}{:>8}{:>8}\n",
        "frames", "map", "verify", "ns/frame", "least", "most", "added"
    );
    for Cost { frames, map, verify, journal, ns_per_frame, added_ns } in costs {
        let [middle, least, most] = ns_per_frame;
        let verify = match (*map, journal) {
            ("none", _) => String::new(),
            (_, true) => format!("{verify}, journal"),
            (_, false) => (*verify).to_owned(),
        };
        let _ = writeln!(
            text,
            "{frames:<20}{map:<8}{verify:<17}{middle:>9.1}{least:>8.1}{most:>8.1}{added_ns:>8.1}"
        );
    }
    text
}
