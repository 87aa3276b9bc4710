//! An engine that knows nothing at first: it learns connections from the packets that pass, and
//! each goes over into translation in mid-stream.

use qpmux_engine::Config;
use qpmux_engine::policy::{ConfiguredRegion, Directory, Policy, Rights, TrustBy};
use serde::{Deserialize, Serialize};

use super::plan::{FOREVER, Plan, Server};
use super::workload::{BASE, END, WORD_BASE, cell_address, is_default, rkey};
use crate::dice::Dice;
use crate::rc::{DuplicateAckPsn, Link, Wire};

/// How connections are learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Learning {
    /// Packets that come to the middlebox and pass before the engine sees any.
    pub(super) unseen: u64,
    /// Time after which requests are held for the flip, and that they are held at most, ns.
    pub(super) flip_wait_ns: u64,
    /// The operator says what the path MTU is, the first client's.
    pub(super) path_mtu_known: bool,
    /// The operator says that servers' memory can be reached below this cell, and where the words
    /// for atomics are; without, it is known from what servers have answered.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) cells_known: Option<u64>,
    /// Connections that there is room for.
    pub(super) connections_max: u32,
}

impl Default for Learning {
    fn default() -> Self {
        Learning {
            unseen: 0,
            flip_wait_ns: 20_000,
            path_mtu_known: true,
            cells_known: None,
            connections_max: 32,
        }
    }
}

impl Learning {
    pub(super) fn trust(self) -> TrustBy {
        match self.cells_known {
            Some(_) => TrustBy::Configuration,
            None => TrustBy::Observation,
        }
    }

    /// What the engine knows before the first packet.
    pub(super) fn directory(self, plan: &Plan) -> Directory {
        let (Some(cells), true) = (self.cells_known, !plan.clients.is_empty()) else {
            return Directory::empty();
        };
        let region = |start, end| ConfiguredRegion {
            server: plan.link(0).path.destination,
            remote_key: rkey(0),
            start,
            end,
            rights: Rights::ALL,
        };
        let cells = cell_address(cells).min(WORD_BASE);
        Directory::empty().with_regions(vec![region(BASE, cells), region(WORD_BASE, END)])
    }

    pub(super) fn config(self, plan: &Plan, config: Config) -> Config {
        let path_mtu = plan.clients.first().map(|client| client.pmtu as u16);
        Config {
            path_mtu: path_mtu.filter(|_| self.path_mtu_known),
            flip_wait_ns: self.flip_wait_ns,
            connections_max: self.connections_max,
            grants_max: 64,
            ..config
        }
    }

    pub(super) fn policy(self, policy: Policy) -> Policy {
        Policy { trust: self.trust(), ..policy }
    }
}

/// Before the flip each end sees what the other one does, and both legs between them.
pub(super) fn open_wire(link: Link) -> Link {
    Link { wire: Wire::ANY, ..link }
}

/// Makes a plan one whose connections are learnt.
pub(super) fn draw(plan: &mut Plan, dice: &mut Dice) {
    let learning = Learning {
        unseen: dice.pick(&[0, 0, 1, 2, 3]) * dice.below(40),
        flip_wait_ns: dice.pick(&[2_000, 20_000, 100_000]),
        path_mtu_known: dice.chance(800),
        cells_known: dice.chance(300).then(|| dice.between(64, 320)),
        connections_max: 32,
    };
    plan.shards = 1;
    for client in &mut plan.clients {
        // Traffic shows neither domains nor, by itself, the path MTU of each.
        client.domain = 0;
        client.pmtu = 256;
        client.server = native(&client.server);
        // Faults of all legs are faults between the two ends as long as packets pass.
        client.retries = 100_000;
        client.rnr_retries = 7;
    }
    plan.engine.disturbances_max = dice.pick(&[2, FOREVER]);
    plan.learning = Some(learning);
}

/// What no client that is judged strictly may see of its server itself.
fn native(server: &Server) -> Server {
    Server { duplicate_ack_psn: DuplicateAckPsn::NewestWrite, ..server.clone() }
}
