//! Experiment `023` and the paper's `rdma_concur`: raw verbs without a middlebox.

use super::{Effort, Stage};
use crate::calibrate;
use crate::nic::Preset;
use crate::paper::figure::{Axis, Curve, Figure, Panel};
use crate::paper::jobs::{Job, Metric};
use crate::paper::published::raw;
use crate::paper::scene::SceneError;

/// With little effort, one of so many points.
const QUICK: usize = 7;
const Y: Axis = Axis::linear("throughput", "Mops/s");

/// The panel of an experiment, with its curves.
fn panel(stage: &mut Stage, mut panel: Panel) -> Result<Vec<Panel>, SceneError> {
    let params = Preset::load("connectx-5")?.params;
    for (number, (row, setup)) in calibrate::predictions()?.iter().enumerate() {
        let (experiment, series) = raw(row, setup);
        let is_left_out = stage.effort == Effort::Quick && !number.is_multiple_of(QUICK);
        if experiment != panel.experiment || is_left_out {
            continue;
        }
        let slot = panel.curves.len();
        let job = Job::Verbs(Box::new(calibrate::verbs::plan(&params, setup)));
        let job = stage.jobs.add(job);
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
    Ok(vec![panel])
}

pub(super) fn by_queue_pairs(stage: &mut Stage) -> Result<Figure, SceneError> {
    let heading = "8-byte WRITEs, a thread for each queue pair";
    let empty = Panel::new("023", heading, Axis::linear("queue pairs", ""), Y);
    Ok(Figure {
        name: "023",
        title: "WRITEs by number of queue pairs, ConnectX-5",
        about: "A queue pair issues 18 M/s, so six fill the port: 106 bytes on the wire for \
                each WRITE of 8.",
        wrong: "Nothing that the points show.",
        columns: 1,
        panels: panel(stage, empty)?,
    })
}

pub(super) fn by_requests(stage: &mut Stage) -> Result<Figure, SceneError> {
    let heading = "independent addresses, 24 queue pairs";
    let x = Axis::linear("requests outstanding", "");
    Ok(Figure {
        name: "rdma-concur",
        title: "Verbs by requests outstanding, ConnectX-5",
        about: "WRITEs and READs grow with what is outstanding; compare-and-swaps stop at what \
                the atomic unit does.",
        wrong: "The dent between 96 and 144 requests, which all three verbs have, has no \
                mechanism here. Compare-and-swaps grow too slowly, by up to a third: as many \
                as were published from 168 requests on need more outstanding here.",
        columns: 1,
        panels: panel(stage, Panel::new("rdma-concur", heading, x, Y))?,
    })
}
