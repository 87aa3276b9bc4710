//! Experiments `016`, `017` and `020`, November and December 2021: what each step of the ladder
//! from Clover to replaced atomics gains.

use qpmux_workloads::keys::Ycsb;

use super::Stage;
use crate::paper::era::Era;
use crate::paper::figure::{Axis, Curve, Figure, Panel};
use crate::paper::jobs::Metric;
use crate::paper::scene::{Scene, SceneError};
use crate::store::{Caches, Mode};

pub(super) const THREADS: [usize; 7] = [2, 4, 8, 16, 32, 48, 64];
pub(super) const X: Axis = Axis::log("client threads", "");
pub(super) const KOPS: Axis = Axis::linear("throughput", "kops/s");

/// The curve of one mode by number of threads.
fn curve(
    stage: &mut Stage,
    scene: &Scene,
    (mode, workload): (Mode, Ycsb),
    metric: Metric,
) -> Result<Curve, SceneError> {
    let mut points = Vec::new();
    for threads in stage.effort.pick(&THREADS) {
        let job = scene.job(mode, workload, threads)?;
        points.push((threads as f64, stage.jobs.add(job)));
    }
    Ok(Curve { series: mode.name().to_owned(), slot: mode as usize, metric, points })
}

/// A panel with a curve for each mode.
fn panel(
    stage: &mut Stage,
    mut panel: Panel,
    modes: &[Mode],
    workload: Ycsb,
    metric: Metric,
) -> Result<Panel, SceneError> {
    let scene = Scene::of(Era::December2021, stage.effort)?;
    for mode in modes {
        panel.curves.push(curve(stage, &scene, (*mode, workload), metric)?);
    }
    Ok(panel)
}

pub(super) fn bytes(stage: &mut Stage) -> Result<Figure, SceneError> {
    let y = Axis::linear("bytes per operation", "bytes");
    let empty = Panel::new("016", "IP packets between clients and memory node", X, y);
    Ok(Figure {
        name: "016",
        title: "Bytes per operation, half updates",
        about: "Steering saves bytes: nobody reads versions that are superseded. Without it \
                they grow with the threads, as the most popular key's list is chased.",
        wrong: "Write steering is high from 32 threads on, by up to a quarter: readers chase \
                further than they did.",
        columns: 1,
        panels: vec![panel(stage, empty, &Mode::LADDER[..3], Ycsb::A, Metric::Bytes)?],
    })
}

pub(super) fn latencies(stage: &mut Stage) -> Result<Figure, SceneError> {
    let mut panels = Vec::new();
    for (experiment, heading, kind) in
        [("017-reads", "reads", "read"), ("017-writes", "updates", "update")]
    {
        let empty = Panel::new(experiment, heading, X, Axis::log("p99 latency", "us"));
        panels.push(panel(stage, empty, &Mode::LADDER, Ycsb::A, Metric::P99(kind))?);
    }
    Ok(Figure {
        name: "017",
        title: "99th percentiles of latency, half updates",
        about: "Clover's updates wait for each other for milliseconds, where those that are \
                steered take tens of microseconds.",
        wrong: "Percentiles follow what is not modelled: scheduling, interrupts, the spread of \
                the library's times.",
        columns: 2,
        panels,
    })
}

pub(super) fn throughput(stage: &mut Stage) -> Result<Figure, SceneError> {
    let mut panels = Vec::new();
    for (experiment, heading, workload) in
        [("020-5", "5 % updates", Ycsb::B), ("020-50", "50 % updates", Ycsb::A)]
    {
        let empty = Panel::new(experiment, heading, X, KOPS);
        panels.push(panel(stage, empty, &Mode::LADDER, workload, Metric::Kops)?);
    }
    Ok(Figure {
        name: "020",
        title: "Throughput of the five modes, December 2021 (Zipf 0.99, 1,024 keys)",
        about: "With half updates Clover stops growing at 32 threads; with both kinds of \
                requests steered it does not. The prototype's mapping costs more than it \
                gains.",
        wrong: "With both kinds steered the model is too fast with many threads, by a third \
                with 64: something that updates share is missing, which also 018 says. A lock \
                around steering of half a microsecond for each WRITE and compare-and-swap \
                would explain it; what is known of that lock (68 ns under it) does not.",
        columns: 2,
        panels,
    })
}

/// What the result depends on: the same with other conditions.
pub(super) fn conditions(stage: &mut Stage) -> Result<Figure, SceneError> {
    let scene = Scene::of(Era::December2021, stage.effort)?;
    let scenes = [
        ("as predicted", scene.clone()),
        ("Zipf 0.75", Scene { theta: Some(0.75), ..scene.clone() }),
        ("no shortcut written", Scene { shortcuts: false, ..scene.clone() }),
        ("a cache per thread", Scene { caches: Caches::PerThread, ..scene.clone() }),
    ];
    let mut panels = Vec::new();
    for (experiment, heading, mode) in [
        ("020-50-conditions-clover", "Clover, 50 % updates", Mode::Clover),
        ("020-50-conditions-steering", "write + read steering, 50 % updates", Mode::ReadSteering),
    ] {
        let mut panel = Panel::new(experiment, heading, X, KOPS);
        for (slot, (series, scene)) in scenes.iter().enumerate() {
            let curve = curve(stage, scene, (mode, Ycsb::A), Metric::Kops)?;
            panel.curves.push(Curve { series: (*series).to_owned(), slot, ..curve });
        }
        panels.push(panel);
    }
    Ok(Figure {
        name: "020-conditions",
        title: "What the prediction of 020 depends on",
        about: "The collapse needs a popular key: with Zipf 0.75 Clover goes on growing. \
                Without shortcuts lists are walked from where a machine saw them last.",
        wrong: "Published points belong to none of these conditions for certain; the exponent \
                0.99 was taken before anything was compared.",
        columns: 2,
        panels,
    })
}
