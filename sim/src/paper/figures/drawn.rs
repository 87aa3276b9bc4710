//! What of the prototype is drawn, but not predicted: where it died, and what it put out of order.

use qpmux_workloads::keys::Ycsb;

use super::Stage;
use super::deploy::own_box;
use crate::paper::figure::{Axis, Curve, Drawn, Figure, Panel};
use crate::paper::jobs::Metric;
use crate::paper::published::Published;
use crate::paper::scene::{Scene, SceneError};
use crate::store::Mode;

/// Client threads of the run whose order is measured.
const THREADS: usize = 64;
/// Where the packet that follows the one before is on the published axis: the middle of its bin.
const NEXT: f64 = 1.5;
/// Server queue pairs of experiment 012.
const SERVER_QPS: [usize; 12] = [64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1];

pub(super) fn prototype_limits(stage: &mut Stage) -> Result<Figure, SceneError> {
    let published = stage.published;
    let mut panels = Vec::new();
    for (experiment, heading) in [("012.2", "bursts of 32"), ("012.3", "bursts of 4")] {
        let x = Axis::linear("client threads", "");
        let mut panel = Panel::new(experiment, heading, x, Axis::linear("throughput", "kops/s"));
        let longest = SERVER_QPS.iter().filter_map(|qps| last(published, experiment, *qps));
        let longest = longest.fold(0.0, f64::max);
        for (slot, qps) in SERVER_QPS.into_iter().enumerate() {
            let series = format!("{qps} server queue pairs");
            let Some(points) = published.curve(experiment, &series) else { continue };
            let ended = points.last().map_or(0.0, |(x, _)| *x);
            if ended < longest {
                panel.marks.push((ended, format!("{qps}: died")));
            }
            panel.drawn.push(Drawn { series, slot, points: points.to_vec() });
        }
        panels.push(panel);
    }
    Ok(Figure {
        name: "012",
        title: "Where the prototype died, by number of server queue pairs (September 2021)",
        about: "With bursts of 32 the prototype died when there were more client threads than \
                server queue pairs, up to 24 of these. Our engine folds any number of clients \
                onto one queue pair; this is not predicted, because a crash has no cost to \
                model.",
        wrong: "Nothing is predicted.",
        columns: 2,
        panels,
    })
}

fn last(published: &Published, experiment: &str, qps: usize) -> Option<f64> {
    let curve = published.curve(experiment, &format!("{qps} server queue pairs"))?;
    curve.last().map(|(x, _)| *x)
}

pub(super) fn reordering(stage: &mut Stage) -> Result<Figure, SceneError> {
    let x = Axis::linear("distance in sequence numbers from the packet before", "");
    let mut panel =
        Panel::new("008", "packets to one server queue pair", x, Axis::log("share", ""));
    if let Some(points) = stage.published.curve("008", "prototype") {
        panel.drawn.push(Drawn {
            series: "prototype".to_owned(),
            slot: 1,
            points: points.to_vec(),
        });
    }
    let scene = Scene::beyond(stage.effort)?;
    let job = stage.jobs.add(scene.through(Some(own_box(Mode::Mapping)?), Ycsb::A, THREADS));
    panel.curves.push(Curve {
        series: "qpmux".to_owned(),
        slot: 0,
        metric: Metric::InSequence,
        points: vec![(NEXT, job)],
    });
    Ok(Figure {
        name: "008",
        title: "Packets out of order behind the middlebox",
        about: "3 % of the prototype's packets were not the next of their server queue pair, as \
                its cores raced. The engine gives a packet its number when it sends it: of \
                64 threads through mapping, all are the next.",
        wrong: "The prototype's order is not predicted; ours is what the model's memory node saw.",
        columns: 1,
        panels: vec![panel],
    })
}
