//! What the loop costs a frame while it is busy: with each map, and with each kind of verification.

use std::fmt::Write;

use anyhow::ensure;
use serde::Serialize;

use crate::Args;
use crate::ends::Mix;
use crate::runs::{BUSY, CAPACITY_NS, Progress};
use crate::tally::measure;
use crate::world::{Shape, Source, World};

/// What comes in.
struct Traffic {
    name: &'static str,
    mix: Mix,
    clients: u32,
    /// Requests that one client has on their way, at most.
    window: usize,
    /// Operations of all clients that are on their way, or wait for one that is.
    operations: usize,
}

impl Traffic {
    /// One request at a time for each client. They are so many that the loop takes dozens of frames
    /// in a turn also where each costs it little, and too few to fill a ring.
    const fn single(name: &'static str, mix: Mix) -> Traffic {
        let clients = 512;
        // Operations come to clients at random. This many leave few clients without any.
        Traffic { name, mix, clients, window: 1, operations: 16 * clients as usize }
    }

    fn shape(&self, ring: usize) -> Shape {
        let Traffic { mix, clients, window, .. } = *self;
        // So many have the depth for all READs and swaps: few wait for one that is done.
        let (server_qps, server_delay, limits) = (64, 0, "");
        let (map, verify, journal) = WAYS[0];
        Shape {
            clients,
            window,
            ring,
            server_delay,
            limits,
            server_qps,
            map,
            order: "fenced",
            verify,
            mix,
            journal,
        }
    }
}

const TRAFFIC: [Traffic; 3] = [
    Traffic::single("READs and swaps, 70 to 126 bytes, one at a time for each client", Mix::Small),
    Traffic::single("WRITEs, 62 and 1,098 bytes, one at a time for each client", Mix::Large),
    // A client's WRITEs wait until those before them are done at other server queue pairs.
    Traffic {
        name: "WRITEs, 62 and 1,098 bytes, several at a time, which wait as keys are random",
        mix: Mix::Large,
        clients: 64,
        window: 16,
        operations: BUSY,
    },
];

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
    pub(crate) traffic: &'static str,
    pub(crate) map: &'static str,
    pub(crate) verify: &'static str,
    pub(crate) journal: bool,
    /// Processor time of a frame, ns: the middle, the least and the most of all repetitions.
    pub(crate) ns_per_frame: [f64; 3],
    /// The middle less that of map none with the same traffic.
    pub(crate) added_ns: f64,
}

/// Each way with each traffic; repetitions are far apart in time.
pub(crate) fn measure_all(args: &Args, progress: &mut Progress) -> anyhow::Result<Vec<Cost>> {
    let mut found: Vec<Vec<f64>> = (0..TRAFFIC.len() * WAYS.len()).map(|_| Vec::new()).collect();
    for repetition in 0..args.repeat {
        let cases = TRAFFIC.iter().flat_map(|traffic| WAYS.map(|way| (traffic, way)));
        for ((traffic, (map, verify, journal)), found) in cases.zip(&mut found) {
            let of = args.repeat;
            progress.tell(&format!("map {map}, {verify}, {} of {of}", repetition + 1));
            let shape = Shape { map, verify, journal, ..traffic.shape(args.ring) };
            found.push(one(&shape, traffic.operations, args.seed + u64::from(repetition))?);
        }
    }
    let middles = |mut each: Vec<f64>| {
        each.sort_by(f64::total_cmp);
        [each[each.len() / 2], each[0], each[each.len() - 1]]
    };
    let all: Vec<[f64; 3]> = found.into_iter().map(middles).collect();
    let cost = |traffic, none: f64, (way, ns): ((_, _, _), &[f64; 3])| {
        let (map, verify, journal) = way;
        Cost { traffic, map, verify, journal, ns_per_frame: *ns, added_ns: ns[0] - none }
    };
    let costs = TRAFFIC.iter().zip(all.chunks(WAYS.len())).flat_map(|(traffic, of)| {
        let none = of[0][0];
        WAYS.into_iter().zip(of).map(move |each| cost(traffic.name, none, each))
    });
    Ok(costs.collect())
}

/// Processor time of a frame, ns, in a closed loop that keeps the host busy.
fn one(shape: &Shape, operations: usize, seed: u64) -> anyhow::Result<f64> {
    // A key is given a server queue pair when it comes up first. Without WRITEs none does until all
    // server queue pairs are there.
    let mut world = World::new(&Shape { mix: Mix::Small, ..shape.clone() }, seed)?;
    world.translate_all()?;
    world.set_source(Source::Closed, operations);
    // READs and swaps have a key once their client's records are written.
    for mix in [Mix::Large, shape.mix] {
        world.clients.iter_mut().for_each(|client| client.mix = mix);
        world.run_for(CAPACITY_NS / 2);
    }
    let span = measure(&mut world, CAPACITY_NS);
    for name in ["violations", "broken", "client.missed"] {
        ensure!(span.count(name) == 0, "map {}: {} {name}", shape.map, span.count(name));
    }
    let mapped = shape.map == "none" || span.count("mapped") > 0;
    ensure!(mapped, "map {}: nothing is mapped", shape.map);
    let frames = span.count("client.received") + span.count("server.received");
    ensure!(frames > 0, "map {}: no frame came in", shape.map);
    Ok((span.ns - span.idle_ns) as f64 / frames as f64)
}

/// A part for each traffic.
pub(crate) fn text(costs: &[Cost]) -> String {
    let mut text = String::new();
    for part in costs.chunk_by(|a, b| a.traffic == b.traffic) {
        let gap = if text.is_empty() { "" } else { "\n" };
        let _ = writeln!(
            text,
            "{gap}{}\n{:<8}{:<17}{:>9}{:>8}{:>8}{:>8}",
            part[0].traffic, "map", "verify", "ns/frame", "least", "most", "added"
        );
        for Cost { map, verify, journal, ns_per_frame, added_ns, .. } in part {
            let [middle, least, most] = ns_per_frame;
            let verify = match (*map, journal) {
                ("none", _) => String::new(),
                (_, true) => format!("{verify}, journal"),
                (_, false) => (*verify).to_owned(),
            };
            let _ = writeln!(
                text,
                "{map:<8}{verify:<17}{middle:>9.1}{least:>8.1}{most:>8.1}{added_ns:>8.1}"
            );
        }
    }
    text
}
