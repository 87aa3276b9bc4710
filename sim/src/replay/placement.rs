//! Which key's WRITEs ran on which server queue pair: in the capture, and through the engine.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use anyhow::Context;
use qpmux_engine::Side;
use qpmux_engine::policy::Profile;
use qpmux_engine::wire::{Classified, Opcode, classify};
use qpmux_plots::{Dot, Placement, draw_placement};

use super::script::Script;
use crate::files::write_whole;
use crate::rc::Verb;

/// Keys shown by name in the figure.
const KEYS_SHOWN: usize = 8;

/// One keyed WRITE.
#[derive(Clone, Copy)]
struct Sight {
    time_ns: u64,
    server_qp: usize,
    key: u64,
}

/// Collects keyed WRITEs for the figure.
pub(super) struct PlacementWatch {
    profile: Profile,
    rows: BTreeMap<(IpAddr, u32), usize>,
    labels: Vec<String>,
    captured: Vec<Sight>,
    multiplexed: Vec<Sight>,
}

impl PlacementWatch {
    /// Of a workload about to be driven.
    pub(super) fn new(script: &Script, profile: &Profile) -> PlacementWatch {
        let mut server_qps: Vec<(IpAddr, u32)> =
            script.connections.iter().map(|c| (c.server.ip, c.server.qpn.value())).collect();
        server_qps.sort_unstable();
        let rows: BTreeMap<_, _> = server_qps.iter().enumerate().map(|(i, &qp)| (qp, i)).collect();
        let mut captured = Vec::new();
        for connection in &script.connections {
            let server_qp = rows[&(connection.server.ip, connection.server.qpn.value())];
            for scripted in &connection.verbs {
                let Verb::Write { data, .. } = &scripted.verb else { continue };
                if let Some(key) = profile.written_key(Opcode::WriteOnly, data) {
                    captured.push(Sight { time_ns: scripted.posted_ns, server_qp, key });
                }
            }
        }
        captured.sort_by_key(|sight| (sight.time_ns, sight.server_qp));
        PlacementWatch {
            profile: profile.clone(),
            labels: server_qps.iter().map(|(_, qpn)| format!("{qpn:#x}")).collect(),
            rows,
            captured,
            multiplexed: Vec::new(),
        }
    }

    /// A frame passes the middlebox.
    pub(super) fn on_frame(&mut self, side: Side, time_ns: u64, frame: &[u8]) {
        if side != Side::Server {
            return;
        }
        let Ok(Classified::Rc(layout)) = classify(frame) else { return };
        let row = self.rows.get(&(layout.destination, layout.dest_qp.value()));
        let key = self.profile.written_key(layout.opcode, layout.payload(frame));
        if let (Some(&server_qp), Some(key)) = (row, key) {
            self.multiplexed.push(Sight { time_ns, server_qp, key });
        }
    }

    /// Writes the figure, if any WRITE carried a key.
    pub(super) fn write(&self, dir: &Path, title: &str) -> anyhow::Result<()> {
        if self.captured.is_empty() {
            return Ok(());
        }
        let svg = draw_placement(&self.placement(title)).context("drawing placement.svg")?;
        write_whole(&dir.join("placement.svg"), svg.as_bytes())
    }

    fn placement(&self, title: &str) -> Placement {
        let mut uses: BTreeMap<u64, u64> = BTreeMap::new();
        self.captured.iter().for_each(|sight| *uses.entry(sight.key).or_default() += 1);
        let mut keys: Vec<(u64, u64)> = uses.into_iter().map(|(key, n)| (n, key)).collect();
        keys.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        keys.truncate(KEYS_SHOWN);
        let dot = |sight: &Sight| Dot {
            time_ms: sight.time_ns as f64 / 1e6,
            server_qp: sight.server_qp,
            key: keys.iter().position(|(_, key)| *key == sight.key),
        };
        Placement {
            title: title.to_owned(),
            server_qps: self.labels.clone(),
            keys: keys.iter().map(|(_, key)| format!("{key:#x}")).collect(),
            captured: self.captured.iter().map(dot).collect(),
            multiplexed: self.multiplexed.iter().map(dot).collect(),
        }
    }
}
