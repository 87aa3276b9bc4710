//! Clover's machines and connections.

use std::collections::HashMap;

use qpmux_workloads::Mixed;
use qpmux_workloads::clover::{COLLECTORS, CloverConfig, Layout, MESSAGE_BYTES, Peer};

use super::plan::{Caches, StoreError, StorePlan};
use super::world::{Asker, Notice};
use crate::cluster::{Cluster, ConnectionSetup};
use crate::rc::Region;
use crate::verbs::Middlebox;

/// The memory node's machine.
pub(super) const MEMORY_NODE: usize = 0;
/// The metadata server's.
const METADATA_SERVER: usize = 1;
/// The first client's.
pub(super) const FIRST_CLIENT: usize = 2;
/// READs and atomics in flight per queue pair (clover source: max_dest_rd_atomic).
const DEPTH: usize = 10;
/// Threads of the metadata server (clover source).
pub(super) const METADATA_THREADS: usize = 8;

/// A client process's end of what a lane of it needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    /// Its thread.
    pub(super) thread: u32,
    /// Queue pairs to the memory node and to the metadata server.
    memory: u32,
    metadata: u32,
}

/// Who is where.
pub(super) struct Network {
    lanes: HashMap<(usize, u16), Lane, Mixed>,
    /// Process and lane by queue pair to the metadata server.
    owners: HashMap<u32, (usize, u16), Mixed>,
    /// The metadata server's queue pair to the memory node, and its threads.
    pub(super) metadata: u32,
    pub(super) metadata_threads: [u32; METADATA_THREADS],
}

impl Network {
    /// Connects everybody, and puts the middlebox between clients and memory node.
    pub(super) fn new(
        plan: &StorePlan,
        clover: &CloverConfig,
        cluster: &mut Cluster<Asker, Notice>,
    ) -> Result<Self, StoreError> {
        let layout = &clover.layout;
        let shared = [
            Region::new(layout.values_rkey, layout.values, Layout::VALUES_BYTES),
            Region::new(layout.shortcuts_rkey, layout.shortcuts, layout.shortcuts_bytes()),
        ];
        let buffers = u64::from(u16::MAX) * MESSAGE_BYTES as u64;
        let replies = [Region::new(clover.reply_rkey, clover.reply_buffers, buffers)];
        let through = ConnectionSetup { depth: DEPTH, ..ConnectionSetup::default() };
        let past = ConnectionSetup { passes_middlebox: false, ..through };
        let mut network = Self {
            lanes: HashMap::default(),
            owners: HashMap::default(),
            metadata: cluster.connect([METADATA_SERVER, MEMORY_NODE], &past, [&[], &shared]),
            metadata_threads: [(); METADATA_THREADS].map(|()| cluster.add_thread(METADATA_SERVER)),
        };
        for process in 0..plan.processes() {
            let client = FIRST_CLIENT + plan.machine(process);
            for lane in lanes(plan, clover, process) {
                let memory = cluster.connect([client, MEMORY_NODE], &through, [&[], &shared]);
                let to_metadata = [client, METADATA_SERVER];
                let metadata = cluster.connect(to_metadata, &past, [&replies, &replies]);
                let thread = cluster.add_thread(client);
                network.lanes.insert((process, lane), Lane { thread, memory, metadata });
                network.owners.insert(metadata, (process, lane));
            }
        }
        (METADATA_SERVER..cluster.machines()).for_each(|machine| cluster.listen(machine));
        if let Some(Middlebox { costs, engine }) = &plan.middlebox {
            // Where it steers in place it has to know that a READ of a slot is answered by one
            // packet, on queue pairs, too, that have never written one.
            let mut engine = engine.clone();
            engine.config.path_mtu = Some(through.path_mtu as u16);
            cluster.put_between(costs, &engine, &[shared.to_vec()], DEPTH)?;
        }
        Ok(network)
    }

    /// Thread and queue pair of a post of a process.
    pub(super) fn of_client(&self, process: usize, to: Peer, lane: u16) -> Option<(u32, u32)> {
        let lane = self.lanes.get(&(process, lane))?;
        let pair = match to {
            Peer::Memory => lane.memory,
            Peer::Metadata => lane.metadata,
        };
        Some((lane.thread, pair))
    }

    /// The process and lane that one end of a connection to the metadata server belongs to.
    pub(super) fn owner(&self, pair: u32) -> Option<(usize, u16)> {
        self.owners.get(&(pair & !1)).copied()
    }
}

/// Lanes that a process uses: those of workers, collectors and epochs.
fn lanes(plan: &StorePlan, clover: &CloverConfig, process: usize) -> Vec<u16> {
    let workers = match plan.caches {
        Caches::PerMachine => plan.threads_of(process) as u16,
        Caches::PerThread => 1,
    };
    let workers = (0..workers).map(|worker| clover.worker_lane(worker));
    let collectors = (0..COLLECTORS).map(|collector| clover.collector_lane(collector));
    workers.chain(collectors).chain([clover.epoch_lane()]).collect()
}

/// Whether a queue pair is a server's end of its connection.
pub(super) fn is_server_end(pair: u32) -> bool {
    pair % 2 == 1
}
