//! The closed-loop workload of a capture, through adapters that cost something.
//!
//! Each connection of the capture has a thread of its own, which posts the same verbs in the same
//! order, waits for the same answers and thinks as long as the captured client did. How long
//! adapters and wires take is the model's.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::measure::Samples;
use super::plan::{Middlebox, VerbsError};
use super::{VerbsOutcome, outcome};
use crate::cluster::{Cluster, Conditions, ConnectionSetup, Happening, Op};
use crate::dice::Dice;
use crate::event::{NS, Ps};
use crate::nic::Params;
use crate::rc::{Outcome, Region, Status, Verb};
use crate::replay::{Script, ScriptedConnection};

/// Streams of chance that clients have.
const CLIENTS: u64 = 18;

/// A capture's workload, and what it runs on.
#[derive(Clone, Debug)]
pub struct TracePlan {
    /// Adapters of clients.
    pub client: Params,
    /// Adapters of servers.
    pub server: Params,
    /// What the network does, and how adapters take it.
    pub conditions: Conditions,
    /// What stands between.
    pub middlebox: Option<Middlebox>,
    /// Each client machine of the capture is there so many times, at least once.
    pub copies: usize,
    /// Clients think so many times as long as in the capture.
    pub think: f64,
    /// Pages of the servers' memory, bytes.
    pub page_bytes: u64,
}

/// A client's connection, and how far it is.
struct Client<'a> {
    script: &'a ScriptedConnection,
    thread: u32,
    pair: u32,
    /// The message to post next.
    next: usize,
    /// When each message was complete, in order.
    ended: Vec<Ps>,
    is_due: bool,
}

struct World<'a> {
    plan: &'a TracePlan,
    cluster: Cluster<u32, u32>,
    clients: Vec<Client<'a>>,
    samples: Samples,
    swaps: [u64; 2],
    failed: u64,
}

/// Runs a capture's workload. `progress` is told messages done.
///
/// # Errors
/// When there is no such run.
pub fn run_trace(
    script: &Script,
    plan: &TracePlan,
    seed: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<VerbsOutcome, VerbsError> {
    if plan.copies == 0 {
        return Err(VerbsError::Zero("trace-clients"));
    }
    plan.conditions.check()?;
    let servers = script.memory.len();
    let mut world = World::new(script, plan, seed)?;
    world.run(seed, progress);
    Ok(VerbsOutcome {
        swaps: world.swaps,
        failed: world.failed,
        ..outcome(&world.cluster, &world.samples, 0..servers)
    })
}

impl<'a> World<'a> {
    fn new(script: &'a Script, plan: &'a TracePlan, seed: u64) -> Result<Self, VerbsError> {
        let servers: Vec<IpAddr> = script.memory.iter().map(|server| server.ip).collect();
        let client_ips: BTreeMap<IpAddr, usize> = {
            let mut ips: Vec<IpAddr> = script.connections.iter().map(|c| c.client.ip).collect();
            ips.sort_unstable();
            ips.dedup();
            ips.into_iter().zip(0..).collect()
        };
        let machines = (0..servers.len()).map(|_| &plan.server);
        let clients = (0..client_ips.len() * plan.copies).map(|_| &plan.client);
        let adapters: Vec<&Params> = machines.chain(clients).collect();
        let mut cluster = Cluster::new(&adapters, seed);
        cluster.set_conditions(&plan.conditions);
        let regions = regions(script, &servers);
        for (number, server) in script.memory.iter().enumerate() {
            *cluster.memory(number) = server.memory.clone();
            cluster.set_page_bytes(number, plan.page_bytes);
        }
        let mut all = Vec::new();
        let mut depth = 1;
        for copy in 0..plan.copies {
            for connection in &script.connections {
                let Some(server) = servers.iter().position(|ip| *ip == connection.server.ip) else {
                    continue;
                };
                let place = client_ips.get(&connection.client.ip).copied().unwrap_or(0);
                let machine = servers.len() + copy * client_ips.len() + place;
                let setup = ConnectionSetup {
                    path_mtu: usize::from(connection.path_mtu),
                    depth: usize::from(connection.depth.max(1)),
                    ..ConnectionSetup::under(&plan.conditions)
                };
                depth = depth.max(setup.depth);
                let reach = &regions[server];
                let pair = cluster.connect([machine, server], &setup, [&[], reach]);
                let thread = cluster.add_thread(machine);
                let ended = Vec::with_capacity(connection.verbs.len());
                let script = connection;
                all.push(Client { script, thread, pair, next: 0, ended, is_due: false });
            }
        }
        if let Some(Middlebox { costs, engine }) = &plan.middlebox {
            cluster.put_between(costs, engine, &regions, depth)?;
        }
        let messages: usize = all.iter().map(|client| client.script.verbs.len()).sum();
        Ok(Self {
            plan,
            cluster,
            clients: all,
            samples: Samples::new(messages as u64),
            swaps: [0; 2],
            failed: 0,
        })
    }

    fn run(&mut self, seed: u64, progress: &mut dyn FnMut(u64)) {
        for number in 0..self.clients.len() {
            // Copies do not run in step.
            let mut dice = Dice::new(seed, CLIENTS, number as u64);
            let offset = dice.below(10_000 * NS);
            self.clients[number].is_due = true;
            self.cluster.at(offset, number as u32);
        }
        while let Some(happening) = self.cluster.next() {
            match happening {
                Happening::Due(client) => self.post(client),
                Happening::Completed(op) => self.on_completed(&op),
                // Nobody listens.
                Happening::Arrived(..) => {}
            }
            if self.samples.len().is_multiple_of(1_024) {
                progress(self.samples.len());
            }
        }
    }

    /// A client posts its next message.
    fn post(&mut self, number: u32) {
        let client = &mut self.clients[number as usize];
        client.is_due = false;
        let Some(message) = client.script.verbs.get(client.next) else { return };
        client.next += 1;
        self.cluster.post(client.thread, client.pair, [(number, message.verb.clone())]);
        self.advance(number);
    }

    /// The next message is due when what it waited for has ended and its client has thought.
    fn advance(&mut self, number: u32) {
        let client = &mut self.clients[number as usize];
        let Some(message) = client.script.verbs.get(client.next) else { return };
        if client.is_due || message.after > client.ended.len() {
            return;
        }
        let since = match message.after.checked_sub(1) {
            Some(last) => client.ended[last],
            None => 0,
        };
        client.is_due = true;
        let think = (message.think_ns as f64 * self.plan.think * NS as f64) as Ps;
        self.cluster.at(since + think, number);
    }

    fn on_completed(&mut self, op: &Op<u32>) {
        let now = self.cluster.now();
        let client = &mut self.clients[op.asker as usize];
        let message = client.script.verbs.get(client.ended.len());
        client.ended.push(now);
        if let Some(told) = &op.completion {
            self.failed += u64::from(told.status != Status::Success);
            if let (Some(Verb::CompareSwap { compare, .. }), Outcome::Atomic(original)) =
                (message.map(|message| &message.verb), &told.outcome)
            {
                self.swaps[usize::from(compare == original)] += 1;
            }
        }
        self.samples.add(now, now - op.begun, &op.parts());
        self.advance(op.asker);
    }
}

/// What the capture's clients reached of each server.
fn regions(script: &Script, servers: &[IpAddr]) -> Vec<Vec<Region>> {
    let mut hulls: Vec<BTreeMap<u32, (u64, u64)>> = vec![BTreeMap::new(); servers.len()];
    for connection in &script.connections {
        let Some(server) = servers.iter().position(|ip| *ip == connection.server.ip) else {
            continue;
        };
        let reached = connection.verbs.iter().filter_map(|message| message.verb.reach());
        for (rkey, _, start, end) in reached {
            let hull = hulls[server].entry(rkey).or_insert((start, end));
            *hull = (hull.0.min(start), hull.1.max(end));
        }
    }
    let region = |(rkey, (start, end)): (u32, (u64, u64))| Region::new(rkey, start, end - start);
    hulls.into_iter().map(|hull| hull.into_iter().map(region).collect()).collect()
}
