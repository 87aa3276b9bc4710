//! Predictions that nothing published is compared with: Clover beyond the published runs.

use qpmux_workloads::keys::Ycsb;

use super::Stage;
use crate::paper::figure::{Axis, Curve, Figure, Panel};
use crate::paper::jobs::{Job, Metric};
use crate::paper::scene::{Scene, SceneError};
use crate::store::Mode;

const THREADS: [usize; 5] = [8, 32, 64, 200, 400];
/// Client machines of the large runs: 50 threads on each at most.
const MACHINES: usize = 8;
/// Mixes by share of updates.
const MIXES: [(&str, &str, Ycsb); 4] = [
    ("threads-0", "reads only", Ycsb::C),
    ("threads-5", "5 % updates", Ycsb::B),
    ("threads-50", "50 % updates", Ycsb::A),
    ("threads-100", "updates only", Ycsb::W),
];
const THETAS: [f64; 7] = [0.0, 0.25, 0.5, 0.75, 0.99, 1.25, 1.5];
/// Bytes of a value, and of the slot that it takes.
const VALUES: [(u16, f64); 4] = [(100, 128.0), (200, 256.0), (500, 512.0), (1_000, 1_024.0)];
/// Lists that are remembered. With 16 or fewer, lists that are forgotten while clients append to
/// them become rings, and clients walk in circles.
const STEERED: [u32; 4] = [64, 256, 512, 1_024];
/// Threads where only one thing is varied.
const FIXED_THREADS: usize = 64;

/// A job for each mode and each x.
fn curves<T: Copy>(
    modes: &[Mode],
    xs: &[T],
    stage: &mut Stage,
    run: &dyn Fn(Mode, T) -> Result<(f64, Job), SceneError>,
) -> Result<Vec<Curve>, SceneError> {
    let mut curves = Vec::new();
    for mode in modes {
        let mut points = Vec::new();
        for x in stage.effort.pick(xs) {
            let (x, job) = run(*mode, x)?;
            points.push((x, stage.jobs.add(job)));
        }
        let series = mode.name().to_owned();
        curves.push(Curve { series, slot: *mode as usize, metric: Metric::Kops, points });
    }
    Ok(curves)
}

pub(super) fn threads(stage: &mut Stage) -> Result<Figure, SceneError> {
    let scene = Scene::beyond(stage.effort)?;
    let scene = Scene { machines: MACHINES, value_len: 100, ..scene };
    let mut panels = Vec::new();
    for (experiment, heading, workload) in MIXES {
        let x = Axis::log("client threads", "");
        let mut panel = Panel::new(experiment, heading, x, Axis::linear("throughput", "kops/s"));
        panel.curves = curves(&Mode::LADDER, &THREADS, stage, &|mode, threads| {
            Ok((threads as f64, scene.job(mode, workload, threads)?))
        })?;
        panels.push(panel);
    }
    Ok(Figure {
        name: "threads",
        title: "Throughput up to 400 threads (128-byte objects, Zipf 0.99, 8 machines)",
        about: "What the published experiments would have shown with more clients, in the five \
                modes and four mixes.",
        wrong: "The library's slow-down is extrapolated from 32 threads per machine to 50; \
                slots of 128 bytes are used again, so readers meet versions that are gone.",
        columns: 2,
        panels,
    })
}

pub(super) fn popularity(stage: &mut Stage) -> Result<Figure, SceneError> {
    let scene = Scene::beyond(stage.effort)?;
    let x = Axis::linear("Zipf exponent", "");
    let mut panel =
        Panel::new("zipf", "50 % updates, 64 threads", x, Axis::linear("throughput", "kops/s"));
    panel.curves = curves(&Mode::LADDER, &THETAS, stage, &|mode, theta| {
        let theta = Some(theta).filter(|theta| *theta > 0.0);
        let scene = Scene { theta, ..scene.clone() };
        Ok((theta.unwrap_or(0.0), scene.job(mode, Ycsb::A, FIXED_THREADS)?))
    })?;
    Ok(Figure {
        name: "zipf",
        title: "Throughput by how popular popular keys are",
        about: "Without steering a popular key's list is what everything waits for; with it \
                the throughput hardly depends on popularity.",
        wrong: "Mapping sends a popular key through one core of the prototype, which is its \
                bound; a box whose cores share a queue pair's work would differ.",
        columns: 1,
        panels: vec![panel],
    })
}

pub(super) fn object_size(stage: &mut Stage) -> Result<Figure, SceneError> {
    let scene = Scene::beyond(stage.effort)?;
    let x = Axis::log("bytes of an object", "");
    let mut panel = Panel::new(
        "object-size",
        "50 % updates, 64 threads",
        x,
        Axis::linear("throughput", "kops/s"),
    );
    panel.curves = curves(&Mode::LADDER, &VALUES, stage, &|mode, (len, slot)| {
        let scene = Scene { value_len: len, ..scene.clone() };
        Ok((slot, scene.job(mode, Ycsb::A, FIXED_THREADS)?))
    })?;
    Ok(Figure {
        name: "object-size",
        title: "Throughput by size of objects",
        about: "What bounds these runs is rounds, not bytes: only the check sum over mapped \
                frames depends on their length.",
        wrong: "Nothing published to compare with.",
        columns: 1,
        panels: vec![panel],
    })
}

pub(super) fn steered_keys(stage: &mut Stage) -> Result<Figure, SceneError> {
    let scene = Scene::beyond(stage.effort)?;
    let x = Axis::log("keys whose lists the middlebox remembers", "");
    let mut panel = Panel::new(
        "steered-keys",
        "50 % updates, 64 threads",
        x,
        Axis::linear("throughput", "kops/s"),
    );
    let modes = [Mode::WriteSteering, Mode::ReadSteering];
    panel.curves = curves(&modes, &STEERED, stage, &|mode, lists| {
        let mut middlebox = scene.params.prototype(mode)?;
        middlebox.engine.config.lists_max = lists;
        Ok((f64::from(lists), scene.through(Some(middlebox), Ycsb::A, FIXED_THREADS)))
    })?;
    Ok(Figure {
        name: "steered-keys",
        title: "Throughput by number of keys that are steered",
        about: "How much of the gain a small table brings, when it remembers the keys in use. With \
                16 or fewer, steering in place lost updates and clients walked in circles.",
        wrong: "The prototype steered the first keys of a list, not those in use.",
        columns: 1,
        panels: vec![panel],
    })
}
