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

/// What is compared: map, verification.
const WAYS: [(&str, &str); 5] = [
    ("none", "full"),
    ("writes", "headers"),
    ("writes", "full"),
    ("all", "headers"),
    ("all", "full"),
];

/// The costs of one way, and what they are made of.
#[derive(Serialize)]
pub(crate) struct Cost {
    pub(crate) frames: &'static str,
    pub(crate) map: &'static str,
    pub(crate) verify: &'static str,
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
            for (way, (map, verify)) in WAYS.into_iter().enumerate() {
                let of = args.repeat;
                progress.tell(&format!("map {map}, {verify}, {} of {of}", repetition + 1));
                let seed = args.seed + u64::from(repetition);
                found[at * WAYS.len() + way].push(one(mix, map, verify, args.ring, seed)?);
            }
        }
    }
    let middles = |mut each: Vec<f64>| {
        each.sort_by(f64::total_cmp);
        [each[each.len() / 2], each[0], each[each.len() - 1]]
    };
    let all: Vec<[f64; 3]> = found.into_iter().map(middles).collect();
    let named = ["up to 142 bytes", "62 and 1,098 bytes"].into_iter().zip(all.chunks(WAYS.len()));
    let cost = |frames, none: f64, ((map, verify), ns): (_, &[f64; 3])| Cost {
        frames,
        map,
        verify,
        ns_per_frame: *ns,
        added_ns: ns[0] - none,
    };
    let costs = named.flat_map(|(frames, of)| {
        let none = of[0][0];
        WAYS.into_iter().zip(of).map(move |each| cost(frames, none, each))
    });
    Ok(costs.collect())
}

/// Processor time of a frame, ns, in a closed loop that keeps the host busy.
fn one(
    mix: Mix,
    map: &'static str,
    verify: &'static str,
    ring: usize,
    seed: u64,
) -> anyhow::Result<f64> {
    let (clients, limits) = (CLIENTS, "");
    let shape = Shape { clients, window: 16, ring, server_delay: 0, limits, map, verify, mix };
    let mut world = World::new(&shape, seed)?;
    world.translate_all()?;
    world.set_source(Source::Closed, BUSY);
    world.run_for(CAPACITY_NS / 2);
    let span = measure(&mut world, CAPACITY_NS);
    for name in ["violations", "broken", "client.missed"] {
        ensure!(span.count(name) == 0, "map {map}: {} {name}", span.count(name));
    }
    let frames = span.count("client.received") + span.count("server.received");
    ensure!(frames > 0, "map {map}: no frame came in");
    Ok((span.ns - span.idle_ns) as f64 / frames as f64)
}

pub(crate) fn text(costs: &[Cost]) -> String {
    let mut text = format!(
        "{:<20}{:<8}{:<10}{:>9}{:>8}{:>8}{:>8}\n",
        "frames", "map", "verify", "ns/frame", "least", "most", "added"
    );
    for Cost { frames, map, verify, ns_per_frame: [middle, least, most], added_ns } in costs {
        let verify = if *map == "none" { "" } else { verify };
        let _ = writeln!(
            text,
            "{frames:<20}{map:<8}{verify:<10}{middle:>9.1}{least:>8.1}{most:>8.1}{added_ns:>8.1}"
        );
    }
    text
}
