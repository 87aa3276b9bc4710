//! What an engine was found to cost.

use std::fmt::Write;

use schemars::JsonSchema;
use serde::Serialize;

use super::passes::Floor;
use super::recording::{Call, Recording};
use super::{EnginePlan, FrameHome, Trust};
use crate::bench::{FloorCost, median};

/// What the engine costs for each packet, and what it cannot cost less than.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct EngineReport {
    /// Clover's mix of operations.
    pub workload: String,
    /// Bytes of a version.
    pub object: u16,
    /// Connections.
    pub connections: u32,
    /// Threads that share a connection.
    pub threads: u32,
    /// Server queue pairs in use; 0 means all.
    pub server_qps: u32,
    /// Which requests leave their client's own server queue pair.
    pub map: String,
    /// Which server queue pair a key belongs to.
    pub key_map: String,
    /// What order one client's requests keep.
    pub order: String,
    /// Which requests go to the present version of what they aim at.
    pub steer: String,
    /// Whether frames are steered that pass untranslated.
    pub in_place: bool,
    /// How atomics reach the server.
    pub atomics: String,
    /// Of which frames the ICRC is verified.
    pub verify: String,
    /// Who tells the engine of connections.
    pub trust: Trust,
    /// Frames of one call.
    pub burst: u32,
    /// Frames of one pass.
    pub packets: u64,
    /// Frames of one call, on average.
    pub mean_burst: f64,
    /// Bytes of a frame, on average.
    pub mean_bytes: f64,
    /// Requests that the engine had mapped at the end, warming up included.
    pub mapped: u64,
    /// Requests that had waited: for others of their client, and for their server queue pair.
    pub waits: [u64; 2],
    /// Stands for all actions and bytes of the engine: equal if it has done the same.
    pub digest: String,
    /// What it costs, by where frames are.
    pub costs: Vec<EngineCost>,
}

/// The cost with frames in one place.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct EngineCost {
    /// Where frames are.
    pub frames: FrameHome,
    /// Nanoseconds per packet.
    pub ns: f64,
    /// Least and most over that.
    pub spread: [f64; 2],
    /// The floors.
    pub floors: Vec<FloorCost>,
}

impl EngineReport {
    pub(super) fn new(plan: &EnginePlan, recording: &Recording, calls: &[Call]) -> EngineReport {
        let frames = recording.frames_of(calls);
        let bursts = calls.iter().filter(|call| call.count > 0).count();
        let policy = &plan.policy;
        EngineReport {
            workload: plan.workload.to_string(),
            object: plan.object,
            connections: plan.connections,
            threads: plan.threads,
            server_qps: policy.server_qps,
            map: name(&policy.map),
            key_map: name(&policy.key_map),
            order: name(&policy.order),
            steer: name(&policy.steer),
            in_place: policy.in_place,
            atomics: name(&policy.atomics),
            verify: name(&plan.verify),
            trust: plan.trust,
            burst: plan.burst,
            packets: frames as u64,
            mean_burst: frames as f64 / bursts.max(1) as f64,
            mean_bytes: recording.bytes_of(calls) as f64 / frames.max(1) as f64,
            mapped: recording.counters.mapped,
            waits: [recording.counters.fence_waits, recording.counters.server_waits],
            digest: format!("{:016x}", recording.digest()),
            costs: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, frames: FrameHome, own: Vec<f64>, floors: Vec<Vec<f64>>) {
        let (ns, spread) = median(own);
        let floor = |(floor, costs): (Floor, Vec<f64>)| {
            let (ns, spread) = median(costs);
            FloorCost { what: floor.name(), ns, spread }
        };
        let floors = Floor::ALL.into_iter().zip(floors).map(floor).collect();
        self.costs.push(EngineCost { frames, ns, spread, floors });
    }
}

fn name(value: &dyn std::fmt::Debug) -> String {
    format!("{value:?}").to_lowercase()
}

/// For people.
#[must_use]
pub fn render_text(report: &EngineReport) -> String {
    let all = || "all".to_owned();
    let server_qps = if report.server_qps == 0 { all() } else { report.server_qps.to_string() };
    let mut text = format!(
        "Clover {}, {} bytes; {} connections, {server_qps} server queue pairs, map {}, verify {}, \
         {:?}\n{} frames of {:.1} bytes in bursts of {:.1}; {} requests mapped, waits {} and {}; \
         digest {}\n\n",
        report.workload,
        report.object,
        report.connections,
        report.map,
        report.verify,
        report.trust,
        report.packets,
        report.mean_bytes,
        report.mean_burst,
        report.mapped,
        report.waits[0],
        report.waits[1],
        report.digest,
    );
    text.push_str("frames    what                     ns/packet   spread         engine / this\n");
    for cost in &report.costs {
        let frames = cost.frames.name();
        let mut line = |what: &str, ns: f64, spread: [f64; 2]| {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{frames:<10}{what:<25}{ns:>9.1}   {:.2} to {:.2}   {:>8.1}",
                spread[0],
                spread[1],
                cost.ns / ns
            );
        };
        for floor in &cost.floors {
            line(floor.what, floor.ns, floor.spread);
        }
        line("engine", cost.ns, cost.spread);
    }
    text
}
