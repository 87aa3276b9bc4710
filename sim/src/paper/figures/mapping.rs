//! Experiments `018` and `022`: one server queue pair, and what replacing atomics gains there.

use qpmux_engine::policy::{Atomics, KeyMap, Map, Policy};
use qpmux_workloads::keys::Ycsb;
use qpmux_workloads::load_profile;

use super::Stage;
use crate::apps::EngineSetup;
use crate::paper::era::{Era, EraError};
use crate::paper::figure::{Axis, Curve, Figure, Panel};
use crate::paper::jobs::{Job, Metric};
use crate::paper::scene::{Scene, SceneError};
use crate::store::Mode;
use crate::verbs::{Middlebox, Pace, RawOp, Sharing, VerbsPlan};

/// Threads of experiment 018.
const THREADS: usize = 40;
const SERVER_QPS: [u32; 4] = [1, 2, 4, 8];
/// Requests that are outstanding on each queue pair of experiment 022.
const PER_QP: usize = 16;
const QPS: [usize; 23] =
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23];

pub(super) fn destinations(stage: &mut Stage) -> Result<Figure, SceneError> {
    let scene = Scene::of(Era::December2021, stage.effort)?;
    let x = Axis::log("server queue pairs", "");
    let mut panel =
        Panel::new("018", "updates only, 40 threads", x, Axis::linear("throughput", "kops/s"));
    let mut points = Vec::new();
    for server_qps in stage.effort.pick(&SERVER_QPS) {
        let mut middlebox = scene.params.prototype(Mode::Replacement)?;
        middlebox.engine.policy.server_qps = server_qps;
        let job = scene.through(Some(middlebox), Ycsb::W, THREADS);
        points.push((f64::from(server_qps), stage.jobs.add(job)));
    }
    let series = Mode::Replacement.name().to_owned();
    let slot = Mode::Replacement as usize;
    panel.curves.push(Curve { series, slot, metric: Metric::Kops, points });
    Ok(Figure {
        name: "018",
        title: "Updates by number of server queue pairs",
        about: "With one server queue pair all is sent by one core of the prototype.",
        wrong: "Too fast by 35 to 52 %: with updates only, something that updates share is \
                missing, as in 020.",
        columns: 1,
        panels: vec![panel],
    })
}

pub(super) fn one_word(stage: &mut Stage) -> Result<Figure, SceneError> {
    let scene = Scene::of(Era::December2021, stage.effort)?;
    let x = Axis::linear("requests outstanding", "");
    let y = Axis::linear("throughput", "Mops/s");
    let mut panel = Panel::new("022", "compare-and-swaps of one word", x, y);
    for (slot, (series, replaces)) in
        [("compare-and-swap", false), ("atomics replaced", true)].into_iter().enumerate()
    {
        let mut points = Vec::new();
        for qps in stage.effort.pick(&QPS) {
            let middlebox = Middlebox {
                engine: lock_engine(replaces)?,
                ..scene.params.prototype(Mode::Clover)?
            };
            let plan = VerbsPlan {
                op: RawOp::Cas,
                keys: 1,
                outstanding: PER_QP * qps,
                sharing: Sharing::Many(qps),
                pace: Pace::Batch,
                middlebox: Some(middlebox),
                ops: (500 * PER_QP * qps) as u64,
                ..VerbsPlan::new(&scene.adapter)
            };
            points.push(((PER_QP * qps) as f64, stage.jobs.add(Job::Verbs(Box::new(plan)))));
        }
        panel.curves.push(Curve { series: series.to_owned(), slot, metric: Metric::Mops, points });
    }
    Ok(Figure {
        name: "022",
        title: "Compare-and-swaps of one word through the prototype",
        about: "An adapter does atomics on one word one after the other; WRITEs in their place \
                are bound by the core that sends to their queue pair.",
        wrong: "How requests were spread is not published; here one thread posts sixteen for \
                each queue pair, on one of them at random, and waits for all, which is what \
                the form of the published curve, n / (a + b n), says. Taking queue pairs in \
                turn changes nothing. The plateau is 14 % high: the same word took 2.93 M/s \
                without a box (SwordBox 024), which calibrated the adapter, and 2.46 here. \
                Replaced atomics are a quarter low: what failed before stays a \
                compare-and-swap in our engine, which the prototype replaced as well.",
        columns: 1,
        panels: vec![panel],
    })
}

/// An engine that passes compare-and-swaps of words, or replaces them on one server queue pair.
fn lock_engine(replaces: bool) -> Result<EngineSetup, EraError> {
    let profile =
        load_profile("lock-table").map_err(|error| EraError::Profile(error.to_string()))?;
    let passing = Mode::Clover.engine(profile);
    let policy = match replaces {
        false => passing.policy.clone(),
        true => Policy {
            map: Map::Writes,
            key_map: KeyMap::Modulo,
            server_qps: 1,
            atomics: Atomics::Replace,
            ..passing.policy.clone()
        },
    };
    Ok(EngineSetup { policy, ..passing })
}
