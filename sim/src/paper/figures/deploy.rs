//! For who decides whether to deploy: our own box, where mapping wins and where it does not.

use qpmux_engine::policy::{KeyMap, Map, Policy};
use qpmux_workloads::keys::Ycsb;
use qpmux_workloads::load_profile;

use super::hero::{KOPS, THREADS, X};
use super::{Effort, Stage};
use crate::cluster::BoxParams;
use crate::nic::Preset;
use crate::paper::era::{EraError, clover_profile};
use crate::paper::figure::{Axis, Curve, Figure, Panel};
use crate::paper::jobs::{Job, Metric};
use crate::paper::scene::{Scene, SceneError};
use crate::store::Mode;
use crate::verbs::{Middlebox, RawOp, Sharing, VerbsPlan};

const PRESETS: [&str; 3] = ["connectx-3", "connectx-5", "connectx-6"];
const CONNECTIONS: [usize; 6] = [64, 256, 1_024, 2_048, 4_096, 8_192];
/// Server queue pairs of Clover, and those that many connections are folded on.
const SERVER_QPS: [u32; 4] = [1, 4, 16, 64];
const FOLDED: [u32; 3] = [1, 16, 256];
/// Client machines of raw verbs, and threads of each.
const MACHINES: usize = 8;
const THREADS_EACH: usize = 8;

/// Our box in a mode.
pub(super) fn own_box(mode: Mode) -> Result<Middlebox, SceneError> {
    let costs = BoxParams::load("qpmux").map_err(EraError::from)?;
    Ok(Middlebox { costs, engine: mode.engine(clover_profile()?) })
}

/// Clover through our box.
pub(super) fn clover(stage: &mut Stage) -> Result<Figure, SceneError> {
    let scene = Scene::beyond(stage.effort)?;
    let mut panels = Vec::new();
    for (experiment, heading, workload) in [
        ("own-box-5", "5 % updates", Ycsb::B),
        ("own-box-50", "50 % updates", Ycsb::A),
        ("own-box-100", "updates only", Ycsb::W),
    ] {
        let mut panel = Panel::new(experiment, heading, X, KOPS);
        for mode in Mode::LADDER {
            let mut points = Vec::new();
            for threads in stage.effort.pick(&THREADS) {
                let job = scene.through(Some(own_box(mode)?), workload, threads);
                points.push((threads as f64, stage.jobs.add(job)));
            }
            let series = mode.name().to_owned();
            panel.curves.push(Curve { series, slot: mode as usize, metric: Metric::Kops, points });
        }
        panels.push(panel);
    }
    Ok(Figure {
        name: "own-box",
        title: "Clover through qpmux on one core (Zipf 0.99, 1,024 keys)",
        about: "What the five modes would have brought on a box that costs 85 ns for each \
                packet, and whose core sends what it has mapped.",
        wrong: "A prediction; nobody has measured it.",
        columns: 3,
        panels,
    })
}

/// Latencies of Clover through our box.
pub(super) fn latency(stage: &mut Stage) -> Result<Figure, SceneError> {
    let scene = Scene::beyond(stage.effort)?;
    let mut panels = Vec::new();
    for (experiment, heading, kind) in [
        ("own-box-latency-reads", "reads, 50 % updates", "read"),
        ("own-box-latency-updates", "updates, 50 % updates", "update"),
    ] {
        let mut panel = Panel::new(experiment, heading, X, Axis::log("p99 latency", "us"));
        for mode in Mode::LADDER {
            let mut points = Vec::new();
            for threads in stage.effort.pick(&THREADS) {
                let job = scene.through(Some(own_box(mode)?), Ycsb::A, threads);
                points.push((threads as f64, stage.jobs.add(job)));
            }
            let (series, metric) = (mode.name().to_owned(), Metric::P99(kind));
            panel.curves.push(Curve { series, slot: mode as usize, metric, points });
        }
        panels.push(panel);
    }
    Ok(Figure {
        name: "own-box-latency",
        title: "99th percentiles of Clover's latency through qpmux on one core",
        about: "What a client waits for at worst, in the five modes.",
        wrong: "A prediction; nobody has measured it.",
        columns: 2,
        panels,
    })
}

/// How many server queue pairs Clover needs.
pub(super) fn server_qps(stage: &mut Stage) -> Result<Figure, SceneError> {
    let scene = Scene::beyond(stage.effort)?;
    let x = Axis::log("server queue pairs", "");
    let mut panel = Panel::new("own-box-server-qps", "50 % updates, 64 threads", x, KOPS);
    for mode in [Mode::Mapping, Mode::Replacement] {
        let mut points = Vec::new();
        for server_qps in stage.effort.pick(&SERVER_QPS) {
            let mut middlebox = own_box(mode)?;
            middlebox.engine.policy.server_qps = server_qps;
            let job = scene.through(Some(middlebox), Ycsb::A, 64);
            points.push((f64::from(server_qps), stage.jobs.add(job)));
        }
        let series = mode.name().to_owned();
        panel.curves.push(Curve { series, slot: mode as usize, metric: Metric::Kops, points });
    }
    Ok(Figure {
        name: "own-box-server-qps",
        title: "How many server queue pairs Clover needs behind qpmux (ConnectX-5)",
        about: "One server queue pair orders everything behind everything; a few are enough.",
        wrong: "A prediction; nobody has measured it.",
        columns: 1,
        panels: vec![panel],
    })
}

/// READs of many connections: folded or not.
pub(super) fn connections(stage: &mut Stage) -> Result<Figure, SceneError> {
    let mut panels = Vec::new();
    for preset in PRESETS {
        let params = Preset::load(preset)?.params;
        let x = Axis::log("connections", "");
        let y = Axis::linear("throughput", "Mops/s");
        let mut panel = Panel::new(
            &format!("own-box-connections-{preset}"),
            &format!("{preset}, READs of 32 bytes"),
            x,
            y,
        );
        let ways = [None].into_iter().chain(FOLDED.map(Some));
        for (slot, server_qps) in ways.enumerate() {
            let series = match server_qps {
                None => "not folded, no middlebox".to_owned(),
                Some(qps) => format!("folded on {qps}"),
            };
            let mut points = Vec::new();
            for connections in stage.effort.pick(&CONNECTIONS) {
                let plan = VerbsPlan {
                    op: RawOp::Read,
                    size: 32,
                    threads: MACHINES * THREADS_EACH,
                    machines: MACHINES,
                    outstanding: 8,
                    sharing: Sharing::Many(connections / (MACHINES * THREADS_EACH)),
                    // Else clients would wait for doorbells, not servers for contexts.
                    own_doorbells: true,
                    middlebox: server_qps.map(folding).transpose()?,
                    ops: if stage.effort == Effort::Quick { 1_500 } else { 20_000 },
                    ..VerbsPlan::new(&params)
                };
                points.push((connections as f64, stage.jobs.add(Job::Verbs(Box::new(plan)))));
            }
            panel.curves.push(Curve { series, slot, metric: Metric::Mops, points });
        }
        panels.push(panel);
    }
    Ok(Figure {
        name: "own-box-connections",
        title: "At which number of connections folding pays (qpmux on one core)",
        about: "Folding spares the server's adapter its contexts; the one core's packet rate \
                is the price.",
        wrong: "A prediction; nobody has measured it.",
        columns: 3,
        panels,
    })
}

/// Our box, which sends all of a client to one of so many server queue pairs.
fn folding(server_qps: u32) -> Result<Middlebox, SceneError> {
    let profile =
        load_profile("lock-table").map_err(|error| EraError::Profile(error.to_string()))?;
    let mut engine = Mode::Clover.engine(profile);
    engine.policy =
        Policy { map: Map::All, key_map: KeyMap::ByConnection, server_qps, ..engine.policy };
    engine.config.connections_max = 16_384;
    let costs = BoxParams::load("qpmux").map_err(EraError::from)?;
    Ok(Middlebox { costs, engine })
}
