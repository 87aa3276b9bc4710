//! Predictions for single verbs: queue pairs, sharing, requests outstanding, memory.

use super::{Effort, Stage};
use crate::nic::Preset;
use crate::paper::figure::{Axis, Curve, Figure, Panel};
use crate::paper::jobs::{Job, Metric};
use crate::paper::scene::SceneError;
use crate::verbs::{Pace, RawOp, Sharing, VerbsPlan};

const PRESETS: [&str; 4] = ["connectx-3", "connect-ib", "connectx-5", "connectx-6"];
const QPS: [usize; 8] = [8, 32, 128, 512, 1_024, 2_048, 4_096, 16_384];
const WINDOWS: [usize; 3] = [1, 4, 16];
const THREADS: [usize; 9] = [1, 2, 4, 8, 16, 32, 48, 64, 96];
const OUTSTANDING: [usize; 6] = [1, 2, 4, 8, 16, 32];
/// Threads of a benchmark whose queue pairs are many.
const WORKERS: usize = 8;
const MOPS: Axis = Axis::linear("throughput", "Mops/s");
/// Operations of a run, at least so many for each that is outstanding.
const OPS: u64 = 12_000;

fn job(plan: VerbsPlan, effort: Effort) -> Job {
    let outstanding = (plan.threads * plan.outstanding) as u64;
    let ops = match effort {
        Effort::Quick => 2 * outstanding.max(500),
        Effort::Full => OPS.max(8 * outstanding),
    };
    Job::Verbs(Box::new(VerbsPlan { ops, ..plan }))
}

fn curve(series: String, slot: usize) -> Curve {
    Curve { series, slot, metric: Metric::Mops, points: Vec::new() }
}

/// Panels: WRITE and READ of each preset; curves: requests outstanding per thread.
pub(super) fn queue_pairs(stage: &mut Stage) -> Result<Figure, SceneError> {
    let mut panels = Vec::new();
    for preset in PRESETS {
        let params = Preset::load(preset)?.params;
        for (name, op) in [("read", RawOp::Read), ("write", RawOp::Write)] {
            let experiment = format!("queue-pairs-{preset}-{name}");
            let heading = format!("{preset}, {}s of 32 bytes", name.to_uppercase());
            let x = Axis::log("queue pairs", "");
            let mut panel = Panel::new(&experiment, &heading, x, MOPS);
            for (slot, window) in WINDOWS.into_iter().enumerate() {
                let mut curve = curve(format!("{window} outstanding per thread"), slot);
                for qps in stage.effort.pick(&QPS) {
                    let plan = VerbsPlan {
                        op,
                        size: 32,
                        threads: WORKERS,
                        outstanding: window,
                        sharing: Sharing::Many(qps / WORKERS),
                        // Doorbells that threads share would be what the figure shows.
                        own_doorbells: true,
                        ..VerbsPlan::new(&params)
                    };
                    curve.points.push((qps as f64, stage.jobs.add(job(plan, stage.effort))));
                }
                panel.curves.push(curve);
            }
            panels.push(panel);
        }
    }
    Ok(Figure {
        name: "queue-pairs",
        title: "READs and WRITEs by number of queue pairs",
        about: "Where contexts no longer fit the adapter's cache, each request waits for one: \
                old adapters lose most of their rate, new ones a part.",
        wrong: "Connect-IB and ConnectX-6 were measured with few numbers of queue pairs; their \
                caches are the least certain.",
        columns: 2,
        panels,
    })
}

pub(super) fn sharing(stage: &mut Stage) -> Result<Figure, SceneError> {
    let params = Preset::load("connectx-6")?.params;
    let ways = [
        ("one for all", Sharing::All, false),
        ("one for 4 threads", Sharing::Threads(4), false),
        ("one for 2 threads", Sharing::Threads(2), false),
        ("own, shared doorbells", Sharing::Own, false),
        ("own, own doorbells", Sharing::Own, true),
    ];
    let x = Axis::linear("threads", "");
    let mut panel = Panel::new("sharing", "8-byte READs, 8 outstanding per thread", x, MOPS);
    for (slot, (series, sharing, own_doorbells)) in ways.into_iter().enumerate() {
        let mut curve = curve(series.to_owned(), slot);
        for threads in stage.effort.pick(&THREADS) {
            let plan = VerbsPlan {
                threads,
                outstanding: 8,
                pace: Pace::Batch,
                sharing,
                own_doorbells,
                ..VerbsPlan::new(&params)
            };
            curve.points.push((threads as f64, stage.jobs.add(job(plan, stage.effort))));
        }
        panel.curves.push(curve);
    }
    Ok(Figure {
        name: "sharing",
        title: "READs by number of threads and who shares a queue pair, ConnectX-6",
        about: "A shared queue pair's lock costs more than anything else; shared doorbell \
                registers come next.",
        wrong: "The preset was fitted to SMART's figures of this very kind: this is a check of \
                the fit, not a prediction.",
        columns: 1,
        panels: vec![panel],
    })
}

pub(super) fn depth(stage: &mut Stage) -> Result<Figure, SceneError> {
    let params = Preset::load("connectx-6")?.params;
    let mut panels = Vec::new();
    for (name, op) in [("READ", RawOp::Read), ("WRITE", RawOp::Write)] {
        let experiment = format!("depth-{}", name.to_lowercase());
        let heading = format!("8-byte {name}s");
        let x = Axis::log("requests outstanding per thread", "");
        let mut panel = Panel::new(&experiment, &heading, x, MOPS);
        for (slot, threads) in [1, 4, 16, 48, 96].into_iter().enumerate() {
            let mut curve = curve(format!("{threads} threads"), slot);
            for outstanding in stage.effort.pick(&OUTSTANDING) {
                let plan = VerbsPlan {
                    op,
                    threads,
                    outstanding,
                    pace: Pace::Batch,
                    own_doorbells: true,
                    ..VerbsPlan::new(&params)
                };
                curve.points.push((outstanding as f64, stage.jobs.add(job(plan, stage.effort))));
            }
            panel.curves.push(curve);
        }
        panels.push(panel);
    }
    Ok(Figure {
        name: "depth",
        title: "READs and WRITEs by threads and requests outstanding, ConnectX-6",
        about: "More outstanding helps until the adapter's cache of work requests is full: \
                then each is fetched twice.",
        wrong: "Fitted to SMART's READs with 24 threads; WRITEs are predicted.",
        columns: 2,
        panels,
    })
}

pub(super) fn memory(stage: &mut Stage) -> Result<Figure, SceneError> {
    let params = Preset::load("connectx-5")?.params;
    const KEYS: [u64; 2] = [1, 1_024];
    let mut panels = Vec::new();
    for (name, op) in [("CAS", RawOp::Cas), ("READ", RawOp::Read), ("WRITE", RawOp::Write)] {
        let experiment = format!("memory-{}", name.to_lowercase());
        let x = Axis::log("requests outstanding, 24 queue pairs", "");
        let mut panel = Panel::new(&experiment, &format!("8-byte {name}"), x, MOPS);
        for device_memory in [false, true] {
            for keys in KEYS {
                let place = if device_memory { "device" } else { "host" };
                let slot = panel.curves.len();
                let mut curve = curve(format!("{place} memory, {keys} keys"), slot);
                for outstanding in stage.effort.pick(&[1_usize, 2, 4, 8, 16]) {
                    let plan = VerbsPlan {
                        op,
                        threads: 24,
                        outstanding,
                        keys,
                        device_memory,
                        ..VerbsPlan::new(&params)
                    };
                    let job = job(plan, stage.effort);
                    curve.points.push(((24 * outstanding) as f64, stage.jobs.add(job)));
                }
                panel.curves.push(curve);
            }
        }
        panels.push(panel);
    }
    Ok(Figure {
        name: "memory",
        title: "Verbs in host and device memory, on one address and many, ConnectX-5",
        about: "Compare-and-swaps of one word go one by one, in the adapter's own memory three \
                times as fast; so do READs of one, and WRITEs in the adapter's memory, at a \
                higher rate. On many words all grow with what is outstanding.",
        wrong: "Only compare-and-swaps of one word were measured in both memories.",
        columns: 3,
        panels,
    })
}
