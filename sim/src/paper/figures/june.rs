//! Experiment `003`, June 2021: mapping on and off, one client machine.

use qpmux_workloads::keys::Ycsb;

use super::Stage;
use crate::paper::era::Era;
use crate::paper::figure::{Axis, Curve, Figure, Panel};
use crate::paper::jobs::Metric;
use crate::paper::scene::{Scene, SceneError};
use crate::store::Mode;

const THREADS: [usize; 5] = [1, 2, 4, 8, 16];
const PANELS: [(&str, &str, Option<f64>, Ycsb); 7] = [
    ("003-uniform-a", "uniform, A: half updates", None, Ycsb::A),
    ("003-uniform-b", "uniform, B: 5 % updates", None, Ycsb::B),
    ("003-uniform-c", "uniform, C: reads", None, Ycsb::C),
    ("003-zipf-a", "Zipf 0.75, A: half updates", Some(0.75), Ycsb::A),
    ("003-zipf-b", "Zipf 0.75, B: 5 % updates", Some(0.75), Ycsb::B),
    ("003-zipf-c", "Zipf 0.75, C: reads", Some(0.75), Ycsb::C),
    ("003-zipf-w", "Zipf 0.75, W: updates", Some(0.75), Ycsb::W),
];

pub(super) fn figure(stage: &mut Stage) -> Result<Figure, SceneError> {
    let scene = Scene::of(Era::June2021, stage.effort)?;
    let mut panels = Vec::new();
    for (experiment, heading, theta, workload) in PANELS {
        let scene = Scene { theta, ..scene.clone() };
        let x = Axis::log("client threads", "");
        let mut panel = Panel::new(experiment, heading, x, Axis::linear("throughput", "kops/s"));
        for (slot, (series, mode)) in
            [("mapping off", Mode::Clover), ("mapping on", Mode::MappingOnly)]
                .into_iter()
                .enumerate()
        {
            let mut points = Vec::new();
            for threads in stage.effort.pick(&THREADS) {
                let job = scene.job(mode, workload, threads)?;
                points.push((threads as f64, stage.jobs.add(job)));
            }
            panel.curves.push(Curve {
                series: series.to_owned(),
                slot,
                metric: Metric::Kops,
                points,
            });
        }
        panels.push(panel);
    }
    Ok(Figure {
        name: "003",
        title: "Clover with mapping on and off, June 2021 (1,024 keys, one client machine)",
        about: "Sending all requests for a key through one server queue pair costs nothing \
                that these runs can show, and gains nothing either: with at most 16 threads \
                nobody waits for queue pairs.",
        wrong: "Uniform A is published below zipf A, which no mechanism explains; updates only \
                with 16 threads are published above A.",
        columns: 3,
        panels,
    })
}
