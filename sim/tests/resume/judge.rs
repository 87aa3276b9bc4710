//! Whether a run was right.

use std::collections::BTreeMap;

use qpmux_engine::policy::Order;
use qpmux_sim::memory::{Access, check};
use qpmux_sim::rc::{Outcome, Status, Verb};

use crate::clients::PATH_MTU;
use crate::world::World;

/// Numbers that name a packet of a request of a client, stored where it is written.
pub(crate) fn tag(client: usize, number: usize, part: usize) -> u64 {
    0x5a00_0000_0000_0000 | (client as u64) << 32 | (number as u64) << 16 | part as u64
}

/// What was executed, by tag: how often, and what it found.
fn runs(world: &World) -> BTreeMap<u64, (u32, u64)> {
    let mut runs = BTreeMap::new();
    for effect in world.effects.effects().iter().filter(|effect| !effect.again) {
        let (tag, before) = match &effect.access {
            Access::Write { data } => {
                let at = data.len().saturating_sub(8);
                (u64::from_le_bytes(data[at..].try_into().unwrap()), 0)
            }
            Access::CompareSwap { swap, before, .. } => (*swap, *before),
            Access::FetchAdd { add, before } => (*add, *before),
            Access::Read { .. } => continue,
        };
        let run = runs.entry(tag).or_insert((0, before));
        run.0 += 1;
    }
    runs
}

/// All that is wrong with a run that has come to its end.
pub(crate) fn judge(world: &World) -> Vec<String> {
    let mut wrong = world.problems.clone();
    let runs = runs(world);
    for (tag, (count, _)) in runs.iter().filter(|(_, (count, _))| *count > 1) {
        wrong.push(format!("{tag:#x} ran {count} times"));
    }
    for (c, script) in world.setup.scripts.iter().enumerate() {
        let dead = world.crashes > 0 && world.setup.dead.contains(&c);
        let completions = &world.completions[c];
        if completions.len() != script.len() && !dead {
            wrong.push(format!("client {c}: {} of {} done", completions.len(), script.len()));
        }
        for (n, (verb, completion)) in script.iter().zip(completions).enumerate() {
            if completion.status != Status::Success && dead {
                continue;
            }
            if completion.status != Status::Success {
                wrong.push(format!("client {c}, request {n}: {:?}", completion.status));
                continue;
            }
            let parts = match verb {
                Verb::Write { data, .. } => data.len().div_ceil(PATH_MTU),
                Verb::CompareSwap { .. } | Verb::FetchAdd { .. } => 1,
                _ => 0,
            };
            for part in 0..parts {
                let Some((_, before)) = runs.get(&tag(c, n, part)) else {
                    wrong.push(format!("client {c}, request {n}, part {part} never ran"));
                    continue;
                };
                if let Outcome::Atomic(told) = completion.outcome
                    && told != *before
                {
                    wrong.push(format!("client {c}, request {n}: told {told:#x}, was {before:#x}"));
                }
            }
        }
        wrong.extend(reads(world, c));
        let broken = world.clients[c].violations();
        if !broken.is_empty() {
            wrong.push(format!("client {c}: {broken}"));
        }
    }
    for (s, server) in world.servers.iter().enumerate() {
        // A question may come before anything has been sent.
        let rules = server.violations().iter().filter(|(rule, _)| *rule != "I-S10");
        wrong.extend(rules.map(|(rule, why)| format!("server {s}: {rule}: {}", why.first)));
        if !server.is_idle() {
            wrong.push(format!("server {s} is in the middle of something"));
        }
    }
    if world.open() != (0, 0, 0) {
        wrong.push(format!("left open: {:?}", world.open()));
    }
    if let Err(mismatch) = check(&world.initial, &world.effects, &world.memory) {
        wrong.push(mismatch.to_string());
    }
    wrong.extend(order(world));
    if world.setup.order == Order::Fenced {
        wrong.extend((0..world.setup.scripts.len()).filter_map(|c| gap(world, &runs, c)));
    }
    wrong
}

/// What ran of a client although something before it did not: also of one that never returned.
fn gap(world: &World, runs: &BTreeMap<u64, (u32, u64)>, c: usize) -> Option<String> {
    let mut missing = None;
    for (n, verb) in world.setup.scripts[c].iter().enumerate() {
        let parts = match verb {
            Verb::Write { data, .. } => data.len().div_ceil(PATH_MTU),
            Verb::CompareSwap { .. } | Verb::FetchAdd { .. } => 1,
            _ => 0,
        };
        for part in 0..parts {
            match (runs.contains_key(&tag(c, n, part)), missing) {
                (true, Some(before)) => {
                    return Some(format!("client {c}, request {n} ran, and {before} did not"));
                }
                (false, None) => missing = Some(n),
                _ => {}
            }
        }
    }
    None
}

/// A READ finds what its client wrote there before, or later.
fn reads(world: &World, c: usize) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut written: BTreeMap<u64, u64> = BTreeMap::new();
    for (n, (verb, completion)) in
        world.setup.scripts[c].iter().zip(&world.completions[c]).enumerate()
    {
        match (verb, &completion.outcome) {
            (Verb::Write { address, data, .. }, _) => {
                let end = address + data.len() as u64 - 8;
                written.insert(end, tag(c, n, data.len().div_ceil(PATH_MTU) - 1));
            }
            (Verb::Read { address, .. }, Outcome::Read(found)) => {
                let at = address + found.len() as u64 - 8;
                let tail = u64::from_le_bytes(found[found.len() - 8..].try_into().unwrap());
                let fenced = world.setup.order == Order::Fenced;
                if fenced && written.get(&at).is_some_and(|tag| tail < *tag) {
                    wrong.push(format!("client {c}, READ {n} found {tail:#x}"));
                }
            }
            _ => {}
        }
    }
    wrong
}

/// With fences, each client's requests ran in its order.
fn order(world: &World) -> Option<String> {
    if world.setup.order != Order::Fenced {
        return None;
    }
    let mut newest: BTreeMap<u64, u64> = BTreeMap::new();
    for effect in world.effects.effects() {
        let tag = match &effect.access {
            Access::Write { data } => {
                u64::from_le_bytes(data[data.len() - 8..].try_into().unwrap())
            }
            Access::CompareSwap { swap, .. } => *swap,
            Access::FetchAdd { add, .. } => *add,
            Access::Read { .. } => continue,
        };
        let last = newest.entry(tag >> 32).or_insert(tag);
        if *last > tag {
            return Some(format!("{tag:#x} ran after {last:#x}"));
        }
        *last = tag;
    }
    None
}
