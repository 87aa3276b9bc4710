//! Experiments `016`, `017` and `020`, November and December 2021: what each step of the ladder
//! from Clover to replaced atomics gains.

use qpmux_workloads::keys::Ycsb;

use super::Effort;
use crate::paper::era::Era;
use crate::paper::figure::{Axis, Curve, Figure, Panel};
use crate::paper::jobs::{JobId, Jobs, Metric};
use crate::paper::published::Published;
use crate::paper::scene::{Scene, SceneError};
use crate::store::{Caches, Mode};

pub(super) const THREADS: [usize; 7] = [2, 4, 8, 16, 32, 48, 64];
const X: Axis = Axis::log("client threads", "");

/// Runs of one mode by number of threads.
type Runs = Vec<(f64, JobId)>;

fn runs(
    scene: &Scene,
    mode: Mode,
    workload: Ycsb,
    effort: Effort,
    jobs: &mut Jobs,
) -> Result<Runs, SceneError> {
    let mut runs = Vec::new();
    for threads in effort.pick(&THREADS) {
        runs.push((threads as f64, jobs.add(scene.job(mode, workload, threads)?)));
    }
    Ok(runs)
}

fn curve(mode: Mode, metric: Metric, points: &Runs) -> Curve {
    Curve { series: mode.name().to_owned(), slot: mode as usize, metric, points: points.clone() }
}

pub(super) fn figures(
    effort: Effort,
    _published: &Published,
    jobs: &mut Jobs,
) -> Result<Vec<Figure>, SceneError> {
    let scene = Scene::of(Era::December2021, effort.store_ops())?;
    let mut half = Vec::new();
    let mut few = Vec::new();
    for mode in Mode::LADDER {
        half.push((mode, runs(&scene, mode, Ycsb::A, effort, jobs)?));
        few.push((mode, runs(&scene, mode, Ycsb::B, effort, jobs)?));
    }
    let throughput = Axis::linear("throughput", "kops/s");
    let panel = |experiment, heading, y, metric, runs: &[(Mode, Runs)]| {
        let mut panel = Panel::new(experiment, heading, X, y);
        panel.curves = runs.iter().map(|(mode, runs)| curve(*mode, metric, runs)).collect();
        panel
    };
    let latency = Axis::log("p99 latency", "us");
    Ok(vec![
        Figure {
            name: "016",
            title: "Bytes per operation, half updates",
            about: "Steering saves bytes: nobody reads versions that are superseded. Without it \
                    they grow with the threads, as the most popular key's list is chased.",
            wrong: "Write steering is high from 48 threads on: readers chase further than they did.",
            columns: 1,
            panels: vec![panel(
                "016",
                "IP packets between clients and memory node",
                Axis::linear("bytes per operation", "bytes"),
                Metric::Bytes,
                &half[..3],
            )],
        },
        Figure {
            name: "017",
            title: "99th percentiles of latency, half updates",
            about: "Clover's updates wait for each other for milliseconds, where those that are \
                    steered take tens of microseconds.",
            wrong: "See the table; within a factor of two is what can be asked for.",
            columns: 2,
            panels: vec![
                panel("017-reads", "reads", latency, Metric::P99("read"), &half),
                panel("017-writes", "updates", latency, Metric::P99("update"), &half),
            ],
        },
        Figure {
            name: "020",
            title: "Throughput of the five modes, December 2021 (Zipf 0.99, 1,024 keys)",
            about: "With half updates Clover stops growing at 32 threads; with both kinds of \
                    requests steered it does not. The prototype's mapping costs more than it gains.",
            wrong: "See the table.",
            columns: 2,
            panels: vec![
                panel("020-5", "5 % updates", throughput, Metric::Kops, &few),
                panel("020-50", "50 % updates", throughput, Metric::Kops, &half),
            ],
        },
        conditions(effort, &scene, jobs)?,
    ])
}

/// What the result depends on: the same with other conditions.
fn conditions(effort: Effort, scene: &Scene, jobs: &mut Jobs) -> Result<Figure, SceneError> {
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
        let mut panel = Panel::new(experiment, heading, X, Axis::linear("throughput", "kops/s"));
        for (slot, (series, scene)) in scenes.iter().enumerate() {
            let points = runs(scene, mode, Ycsb::A, effort, jobs)?;
            let series = (*series).to_owned();
            panel.curves.push(Curve { series, slot, metric: Metric::Kops, points });
        }
        panels.push(panel);
    }
    Ok(Figure {
        name: "020-conditions",
        title: "What the prediction of 020 depends on",
        about: "The collapse needs a popular key: with Zipf 0.75 Clover goes on growing. Without \
                shortcuts lists are walked from where a machine saw them last.",
        wrong: "Published points belong to none of these conditions for certain; the exponent 0.99 \
                was taken before anything was compared.",
        columns: 2,
        panels,
    })
}
