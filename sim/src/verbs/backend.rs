//! What carries operations: verbs of RC queue pairs, or calls.

use super::VerbsOutcome;
use super::world::Asker;
use crate::calls::Calls;
use crate::cluster::{Cluster, ConnectionSetup, Happening, Machine};
use crate::event::Ps;
use crate::rc::{Region, Verb, Violations};

/// A network with machines and threads.
pub(super) enum Backend {
    Verbs(Box<Cluster<Asker, u32>>),
    Calls(Box<Calls<Asker, u32>>),
}

/// An operation, and how many places in memory a server has to look at for it.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) asker: Asker,
    pub(super) verb: Verb,
    pub(super) touches: u32,
}

impl Backend {
    pub(super) fn now(&self) -> Ps {
        match self {
            Backend::Verbs(cluster) => cluster.now(),
            Backend::Calls(calls) => calls.now(),
        }
    }

    pub(super) fn at(&mut self, time: Ps, worker: u32) {
        match self {
            Backend::Verbs(cluster) => cluster.at(time, worker),
            Backend::Calls(calls) => calls.at(time, worker),
        }
    }

    pub(super) fn next(&mut self) -> Option<Happening<Asker, u32>> {
        match self {
            Backend::Verbs(cluster) => cluster.next(),
            Backend::Calls(calls) => calls.next(),
        }
    }

    pub(super) fn add_thread(&mut self, machine: usize) -> u32 {
        match self {
            Backend::Verbs(cluster) => cluster.add_thread(machine),
            Backend::Calls(calls) => calls.add_thread(machine),
        }
    }

    /// Connects a thread's machine with the server.
    pub(super) fn connect(
        &mut self,
        thread: u32,
        machine: usize,
        setup: &ConnectionSetup,
        regions: &[Region],
    ) -> u32 {
        match self {
            Backend::Verbs(cluster) => cluster.connect([machine, 0], setup, [regions, regions]),
            Backend::Calls(calls) => calls.connect(thread),
        }
    }

    /// A thread posts these, with one doorbell where there is a list of verbs.
    pub(super) fn post(&mut self, thread: u32, pair: u32, orders: impl IntoIterator<Item = Order>) {
        let orders = orders.into_iter();
        match self {
            Backend::Verbs(cluster) => {
                cluster.post(thread, pair, orders.map(|order| (order.asker, order.verb)));
            }
            Backend::Calls(calls) => orders.for_each(|order| {
                let asked = match &order.verb {
                    Verb::Write { data, .. } => (data.len() as u64, true),
                    Verb::Read { length, .. } => (u64::from(*length), false),
                    // Plans with others are refused.
                    _ => (8, false),
                };
                calls.call(order.asker, pair, asked, order.touches);
            }),
        }
    }

    fn machines(&self) -> usize {
        match self {
            Backend::Verbs(cluster) => cluster.machines(),
            Backend::Calls(calls) => calls.machines(),
        }
    }

    fn machine(&self, number: usize) -> &Machine {
        match self {
            Backend::Verbs(cluster) => cluster.machine(number),
            Backend::Calls(calls) => calls.machine(number),
        }
    }

    /// What the run showed; machine 0 is the server.
    pub(super) fn outcome(&self, samples: &super::measure::Samples) -> VerbsOutcome {
        let machines: Vec<&Machine> = (0..self.machines()).map(|n| self.machine(n)).collect();
        let seen = super::of_machines(&machines, samples, 0..1);
        match self {
            Backend::Verbs(cluster) => super::of_cluster(cluster, seen),
            Backend::Calls(calls) => VerbsOutcome {
                network: calls.network_counts(),
                open: calls.open(),
                simulated_s: calls.now() as f64 * 1e-12,
                events: calls.events(),
                run_hash: calls.run_hash(),
                violations: Violations::new(),
                busy_s: calls.busy().map(|busy| busy as f64 * 1e-12),
                ..seen
            },
        }
    }
}
