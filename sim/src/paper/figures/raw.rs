//! Experiment `023` and the paper's `rdma_concur`: raw verbs without a middlebox.

use super::Effort;
use crate::calibrate;
use crate::nic::Preset;
use crate::paper::figure::{Axis, Curve, Figure, Panel};
use crate::paper::jobs::{Job, Jobs, Metric};
use crate::paper::published::{Published, raw};
use crate::paper::scene::SceneError;

/// With little effort, one of so many points.
const QUICK: usize = 7;

pub(super) fn figures(
    effort: Effort,
    _published: &Published,
    jobs: &mut Jobs,
) -> Result<Vec<Figure>, SceneError> {
    let params = Preset::load("connectx-5")?.params;
    let y = Axis::linear("throughput", "Mops/s");
    let heading = "8-byte WRITEs, a thread for each queue pair";
    let by_qps = Panel::new("023", heading, Axis::linear("queue pairs", ""), y);
    let heading = "independent addresses, 24 queue pairs";
    let x = Axis::linear("requests outstanding", "");
    let by_requests = Panel::new("rdma-concur", heading, x, y);
    let mut panels = [by_qps, by_requests];
    for (number, (row, setup)) in calibrate::predictions()?.iter().enumerate() {
        if effort == Effort::Quick && number % QUICK != 0 {
            continue;
        }
        let (experiment, series) = raw(row, setup);
        let panel = &mut panels[usize::from(experiment == "rdma-concur")];
        let slot = panel.curves.len();
        let job = jobs.add(Job::Verbs(Box::new(calibrate::verbs::plan(&params, setup))));
        let Ok(x) = row.x.parse() else { continue };
        match panel.curves.iter_mut().find(|curve| curve.series == series) {
            Some(curve) => curve.points.push((x, job)),
            None => panel.curves.push(Curve {
                series: series.to_owned(),
                slot,
                metric: Metric::Mops,
                points: vec![(x, job)],
            }),
        }
    }
    let [by_qps, by_requests] = panels;
    let figure = |name, title, about, wrong, panel| Figure {
        name,
        title,
        about,
        wrong,
        columns: 1,
        panels: vec![panel],
    };
    Ok(vec![
        figure(
            "023",
            "WRITEs by number of queue pairs, ConnectX-5",
            "A queue pair issues 18 M/s, so six fill the port: 106 bytes on the wire for each \
             WRITE of 8.",
            "Nothing that the points show.",
            by_qps,
        ),
        figure(
            "rdma-concur",
            "Verbs by requests outstanding, ConnectX-5",
            "WRITEs and READs grow with what is outstanding; compare-and-swaps stop at what the \
             atomic unit does.",
            "The dent between 96 and 144 requests, which all three verbs have, has no mechanism \
             here; it makes the model's compare-and-swaps too fast beyond.",
            by_requests,
        ),
    ])
}
