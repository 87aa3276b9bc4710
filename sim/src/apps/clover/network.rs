//! Clover's hosts and connections.

use qpmux_workloads::clover::{COLLECTORS, CloverConfig, Layout, MESSAGE_BYTES, Peer};

use crate::fabric::{Between, Host};
use crate::rc::Region;

/// First queue pair numbers of the memory node and of clients (trace), and of the metadata server.
const MEMORY_QPN: u32 = 0x5434;
const CLIENT_QPN: u32 = 0x8d7c;
const METADATA_QPN: u32 = 0x1c40;

/// Hosts by number: the memory node, the metadata server, then clients.
pub(crate) const MEMORY_NODE: usize = 0;
/// See [`MEMORY_NODE`].
pub(super) const METADATA_SERVER: usize = 1;
/// The first client's number.
pub(super) const FIRST_CLIENT: usize = 2;

/// All hosts. Addresses and first identifications are as in the trace, where it has them.
pub(super) fn hosts(clover: &CloverConfig) -> Vec<Host> {
    let client = |machine: u16| Host::new(17 + machine as u8, 0x5331);
    let servers = [Host::new(13, 0xe62b), Host::new(12, 0x1000)];
    servers.into_iter().chain((0..clover.machines).map(client)).collect()
}

/// What of the memory node all may reach.
pub(super) fn shared_regions(clover: &CloverConfig) -> [Region; 2] {
    let layout = &clover.layout;
    [
        Region::new(layout.values_rkey, layout.values, Layout::VALUES_BYTES),
        Region::new(layout.shortcuts_rkey, layout.shortcuts, layout.shortcuts_bytes()),
    ]
}

/// Which connections pass the middle.
pub(super) struct Ways<'a> {
    /// Whether that of a machine's lane to the memory node does.
    pub(super) passes: &'a dyn Fn(usize, u16) -> bool,
    /// Whether those with the metadata server do.
    pub(super) metadata: bool,
    /// Whether those to the memory node that do not, do so all the same, unknown.
    pub(super) strangers: bool,
}

/// All connections: every client has `lanes` to the memory node and as many to the metadata
/// server, which has one to the memory node.
pub(super) struct Lanes {
    lanes: usize,
    machines: usize,
}

impl Lanes {
    pub(super) fn new(clover: &CloverConfig) -> Self {
        Self { lanes: usize::from(clover.lanes()), machines: usize::from(clover.machines) }
    }

    /// Calls `make` with what makes the connections, in their order.
    pub(super) fn with_all<T>(
        &self,
        clover: &CloverConfig,
        ways: &Ways<'_>,
        make: impl FnOnce(&[Between<'_>]) -> T,
    ) -> T {
        let shared = shared_regions(clover);
        let buffers = u64::from(u16::MAX) * MESSAGE_BYTES as u64;
        let replies = [Region::new(clover.reply_rkey, clover.reply_buffers, buffers)];
        let mut all = Vec::with_capacity(2 * self.machines * self.lanes + 1);
        for index in 0..self.machines * self.lanes {
            let (machine, lane) = (index / self.lanes, (index % self.lanes) as u32);
            let client = FIRST_CLIENT + machine;
            let passes = (ways.passes)(machine, lane as u16);
            all.push(Between {
                hosts: [client, MEMORY_NODE],
                qpns: [CLIENT_QPN + lane, MEMORY_QPN + index as u32],
                regions: [&[], &shared],
                through: passes || ways.strangers,
                known: passes && is_used(clover, lane as u16),
            });
            all.push(Between {
                hosts: [client, METADATA_SERVER],
                qpns: [CLIENT_QPN + self.lanes as u32 + lane, METADATA_QPN + index as u32],
                regions: [&replies, &replies],
                through: ways.metadata,
                known: true,
            });
        }
        let last = (self.machines * self.lanes) as u32;
        all.push(Between {
            hosts: [METADATA_SERVER, MEMORY_NODE],
            qpns: [METADATA_QPN + last, MEMORY_QPN + last],
            regions: [&[], &shared],
            through: ways.metadata,
            known: true,
        });
        make(&all)
    }

    /// The connection of a client's lane; the client is its end 0. `machine` counts from 0.
    pub(super) fn of_client(&self, machine: usize, to: Peer, lane: u16) -> usize {
        let index = machine * self.lanes + usize::from(lane) % self.lanes;
        2 * index + usize::from(to == Peer::Metadata)
    }

    /// The connection from metadata server (end 0) to memory node.
    pub(super) fn of_metadata(&self) -> usize {
        2 * self.machines * self.lanes
    }

    /// Machine, from 0, and lane of a client's connection.
    pub(super) fn client_of(&self, connection: usize) -> (usize, u16) {
        let index = connection / 2;
        (index / self.lanes, (index % self.lanes) as u16)
    }
}

/// Whether anything is ever sent to the memory node on a lane.
fn is_used(clover: &CloverConfig, lane: u16) -> bool {
    let workers = (0..clover.workers).map(|worker| clover.worker_lane(worker));
    let collectors = (0..COLLECTORS).map(|collector| clover.collector_lane(collector));
    workers.chain(collectors).any(|used| used == lane)
}
