//! Clover: clients, metadata server and memory node, and who judges them.

mod drivers;
mod garbage;
mod history;
mod judge;
mod meddler;
mod network;
mod world;

#[cfg(test)]
mod tests;

use qpmux_engine::policy::ByteOrder;
use qpmux_workloads::clover::{CloverConfig, Variant};

use super::phases::Phases;
use super::report::NEVER_ENDED;
use super::{CloverPlan, Middlebox, Outcome, Plan, PlanError};
use crate::fabric::{Fabric, Habits, Traffic, Weather};
use crate::memory::Memory;
use judge::Judge;
use meddler::Meddler;
use network::{Lanes, MEMORY_NODE, Ways, hosts, shared_regions};
pub(crate) use world::World;
use world::{Asker, Notice};

/// The network of a Clover.
fn network<'a>(
    clover: &CloverConfig,
    ways: &Ways<'_>,
    habits: Habits,
    weather: Weather,
) -> Fabric<'a, Asker, Notice> {
    let lanes = Lanes::new(clover);
    lanes.with_all(clover, ways, |all| Fabric::new(hosts(clover), all, habits, weather))
}

/// The network of a Clover on which nothing is lost: all that clients and memory node say to each
/// other passes the middle, and what goes to and from the metadata server if it is to.
pub(crate) fn faithful_network<'a>(
    clover: &CloverConfig,
    metadata: bool,
) -> Fabric<'a, Asker, Notice> {
    let ways = Ways { passes: &|_, _| true, metadata, strangers: false };
    network(clover, &ways, Habits::FAITHFUL, Weather::default())
}

/// One run.
pub(super) fn run(
    plan: &Plan,
    of_clover: &CloverPlan,
    progress: &mut dyn FnMut(u64),
) -> Result<(Outcome, Traffic), PlanError> {
    plan.check()?;
    of_clover.check()?;
    let load = &plan.load;
    let workers = load.threads_per_machine();
    let mut clover = CloverConfig::new(Variant::Fork, load.machines, workers, of_clover.value_len)?;
    clover.stamped = true;
    clover.slots_max = of_clover.slots_max;
    let passes = |machine: usize, lane: u16| {
        let thread = if lane < workers { load.thread(machine, lane) } else { 0 };
        thread >= load.threads || plan.passes(thread)
    };
    let (metadata, strangers) = (of_clover.through_metadata, plan.adversity.strangers);
    let ways = Ways { passes: &passes, metadata, strangers };
    let mut fabric = network(&clover, &ways, plan.habits(), plan.weather());
    fabric.hosts[MEMORY_NODE].watched = true;
    if plan.adversity.big_endian {
        fabric.hosts[MEMORY_NODE].memory = Memory::with_words(ByteOrder::Big);
    }
    if let Middlebox::Engine(setup) = &plan.middlebox {
        fabric = fabric.with_engine(setup, &shared_regions(&clover))?;
    }
    let mut world = World::new(&clover, load, of_clover.workload, plan.seed, fabric)?;
    world.drivers.confine(load.threads - plan.around, plan.outside_keys());
    world.judge = Some(Judge::new(&clover).with(&plan.adversity, plan.steers_in_place()));
    world.meddler = plan.meddling_ns.map(|mean_ns| Meddler::new(&clover, plan, mean_ns));
    world.phases = Phases::of(plan);
    // There is no tap that could fail.
    let _ = world.run(progress);
    let traffic = world.fabric.traffic();
    Ok((report(world), traffic))
}

fn report(mut world: World<'_>) -> Outcome {
    let now = world.fabric.now();
    let complaint = world.complaint();
    let Some(mut judge) = world.judge.take() else { return Outcome::default() };
    judge.finish(now, &world.fabric.hosts[MEMORY_NODE].memory);
    let mut broken = judge.broken.clone();
    let goes_round = world.goes_round;
    if let Some(complaint) = complaint.filter(|_| !goes_round) {
        broken.record(NEVER_ENDED, now, || complaint);
    }
    // What still waits for that is recycled as well.
    world.metadata.handle_timeout(u64::MAX);
    let mut outcome = Outcome::of_network(&world.fabric, MEMORY_NODE, broken);
    let tally = &world.tally;
    if goes_round {
        // The run was not waited for.
        outcome.forget(NEVER_ENDED);
    }
    outcome.given_up = tally.given_up;
    outcome.set_times(tally.operations(), tally.begin, tally.end);
    outcome.latency_ns = tally.latencies.report();
    outcome.set_first_tries("compare_swap", (tally.first_updates, tally.updates));
    outcome.set_first_tries("read", (tally.first_reads, tally.reads));
    outcome.phases = std::mem::take(&mut world.phases).report(tally.done(tally.end));
    outcome.garbage = Some(judge.garbage(world.recycled()));
    let mut count = |name, n| _ = outcome.application.insert(name, n);
    let stats = world.stats();
    count("keys_opened", tally.keys_opened);
    count("reads", tally.reads);
    count("updates", tally.updates);
    count("commits", stats.commits);
    count("commits_lost", stats.commits_lost);
    count("hops", stats.hops);
    count("metadata_requests", stats.requests);
    count("without_slot", tally.no_space);
    count("went_round_for_ever", u64::from(goes_round));
    outcome
}
