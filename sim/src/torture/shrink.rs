//! Makes a run that breaks a rule shorter, while it still breaks the same rule.

use toml::{Table, Value};

use super::hosts;
use super::plan::{Client, Plan};
use super::run::{Bad, execute};
use super::script;
use super::workload::{Op, Span};
use crate::faults::What;

/// Runs of up to so many packets that are tried at most; longer ones count as several.
const TRIES: u64 = 1_500;
const PACKETS: u64 = 200;
/// Rounds of all steps: one may make room for another.
const ROUNDS: u32 = 6;

/// A run that breaks `rule`, and how often is still tried.
struct Shrink {
    rule: &'static str,
    best: Box<Bad>,
    tries: u64,
}

/// The shortest run that was found to break the same rule as `bad` does first.
pub(super) fn shrink(bad: Box<Bad>) -> Box<Bad> {
    let rule = bad.rule();
    let mut shrink = Shrink { rule, best: bad, tries: TRIES };
    // The faults that happened may not be all that matters: a packet that chance would have hit.
    let plan = shrink.best.plan.clone();
    if !shrink.accept(plan) {
        return shrink.best;
    }
    for _ in 0..ROUNDS {
        let before = shrink.best.plan.clone();
        shrink.drop_clients();
        shrink.see_earlier();
        shrink.drop_crashes();
        shrink.drop_faults();
        shrink.drop_operations();
        shrink.simplify_operations();
        shrink.simplify_faults();
        shrink.drop_keys();
        if shrink.best.plan == before || shrink.tries == 0 {
            break;
        }
    }
    shrink.best
}

impl Shrink {
    /// Whether `plan` breaks the rule, too: then it is the best from now on.
    fn accept(&mut self, plan: Plan) -> bool {
        // A client that asks for more at a time than its server takes is refused for that.
        let greedy = |client: &Client| client.depth > client.server.depth;
        if self.tries == 0 || !hosts::has_time(&plan) || plan.clients.iter().any(greedy) {
            return false;
        }
        let result = execute(&plan);
        let tally = result.as_ref().map_or_else(|bad| &bad.tally, |good| &good.tally);
        let packets: u64 = tally.packets.iter().sum();
        self.tries = self.tries.saturating_sub(1 + packets / PACKETS);
        match result {
            Err(bad) if bad.violations.count(self.rule) > 0 => {
                self.best = bad;
                true
            }
            _ => false,
        }
    }

    fn with(&mut self, change: impl FnOnce(&mut Plan)) -> bool {
        let mut plan = self.best.plan.clone();
        change(&mut plan);
        plan != self.best.plan && self.accept(plan)
    }

    fn drop_clients(&mut self) {
        for gone in (0..self.best.plan.clients.len() as u32).rev() {
            if self.best.plan.clients.len() == 1 {
                return;
            }
            self.with(|plan| {
                plan.clients.remove(gone as usize);
                plan.faults.retain(|fault| fault.connection != gone);
                for fault in &mut plan.faults {
                    fault.connection -= u32::from(fault.connection > gone);
                }
            });
        }
    }

    /// Tries to do without learning, and to let the engine see more of it.
    fn see_earlier(&mut self) {
        if self.best.plan.learning.is_none() || self.with(|plan| plan.learning = None) {
            return;
        }
        let mut less = self.best.plan.learning.map_or(0, |learning| learning.unseen);
        while less > 0 {
            self.with(|plan| {
                if let Some(learning) = &mut plan.learning {
                    learning.unseen = learning.unseen.saturating_sub(less);
                }
            });
            less /= 2;
        }
    }

    fn drop_crashes(&mut self) {
        let all = self.best.plan.crashes.len();
        self.drop_parts(all, |plan, from, to| {
            let to = to.min(plan.crashes.len());
            plan.crashes.drain(from.min(to)..to);
        });
    }

    fn drop_faults(&mut self) {
        let all = self.best.plan.faults.len();
        self.drop_parts(all, |plan, from, to| {
            let to = to.min(plan.faults.len());
            plan.faults.drain(from.min(to)..to);
        });
    }

    fn drop_operations(&mut self) {
        for i in 0..self.best.plan.clients.len() {
            let all = self.best.plan.clients[i].operations.len();
            self.drop_parts(all, |plan, from, to| {
                let operations = &mut plan.clients[i].operations;
                let to = to.min(operations.len());
                operations.drain(from.min(to)..to);
            });
        }
    }

    /// Tries to do without parts of a list, large ones first, from its end.
    fn drop_parts(&mut self, all: usize, drop: impl Fn(&mut Plan, usize, usize)) {
        let mut size = all;
        while size > 0 {
            for from in (0..all.div_ceil(size)).rev().map(|part| part * size) {
                self.with(|plan| drop(plan, from, from + size));
            }
            size /= 2;
        }
    }

    fn simplify_operations(&mut self) {
        for i in 0..self.best.plan.clients.len() {
            for n in 0..self.best.plan.clients[i].operations.len() {
                let Some(op) = self.best.plan.clients[i].operations.get(n).copied() else { break };
                for simpler in simpler(op) {
                    if self.with(|plan| plan.clients[i].operations[n] = simpler) {
                        break;
                    }
                }
            }
        }
    }

    fn simplify_faults(&mut self) {
        for n in 0..self.best.plan.faults.len() {
            let drop = |plan: &mut Plan| {
                if let Some(fault) = plan.faults.get_mut(n) {
                    (fault.what, fault.by) = (What::Drop, 0);
                }
            };
            let round = |plan: &mut Plan| {
                let fault = plan.faults.get_mut(n).filter(|fault| fault.by > 0);
                if let Some(fault) = fault {
                    fault.by = 10_000;
                }
            };
            let _ = self.with(drop) || self.with(round);
        }
    }

    /// Tries every key's default.
    fn drop_keys(&mut self) {
        let tree = script::tree(&self.best.plan);
        for path in paths(&tree) {
            let mut tree = script::tree(&self.best.plan);
            remove(&mut tree, &path);
            if let Ok(plan) = tree.try_into::<Plan>() {
                self.accept(plan);
            }
        }
    }
}

/// What may stand in for a request, the simplest first.
fn simpler(op: Op) -> Vec<Op> {
    let write = Op::Write { key: 0, at: Span::default(), immediate: false };
    let one = |at: Span| Span { cell: 0, cells: at.cells.min(1), shared: false };
    let few = |at: Span| Span { cell: 0, cells: at.cells.min(5), shared: false };
    let read = |at| Op::Read { at };
    let mut all = vec![write];
    match op {
        Op::Write { key, at, immediate } => {
            all.push(Op::Write { key, at: one(at), immediate });
            all.push(Op::Write { key: 0, at: few(at), immediate: false });
            all.push(Op::Write { key, at: few(at), immediate: false });
        }
        Op::Read { at } => all.extend([read(one(at)), read(few(at))]),
        Op::CompareSwap { .. } => all.push(Op::CompareSwap { word: None, fails: false }),
        Op::FetchAdd { .. } => all.push(Op::FetchAdd { word: None }),
        Op::Send { bytes, .. } => {
            all.push(Op::Send { bytes: 0, immediate: false });
            all.push(Op::Send { bytes, immediate: false });
        }
        Op::Bad(_) => all.clear(),
    }
    all.retain(|simpler| *simpler != op);
    all
}

/// A way into a tree: keys of tables and places in arrays.
type Way = Vec<Result<String, usize>>;

/// The ways to all keys whose default may do.
fn paths(tree: &Table) -> Vec<Way> {
    let mut all = Vec::new();
    for (key, value) in tree {
        let top: Way = vec![Ok(key.clone())];
        match (key.as_str(), value) {
            ("faults" | "crashes", _) => {}
            ("client", Value::Array(clients)) => {
                for (i, client) in clients.iter().enumerate() {
                    let way: Way = top.iter().cloned().chain([Err(i)]).collect();
                    all.extend(client.as_table().into_iter().flat_map(|c| keys(c, &way)));
                }
            }
            (_, Value::Table(inner)) => all.extend(keys(inner, &top)),
            _ => all.push(top),
        }
    }
    all
}

fn keys(table: &Table, way: &Way) -> Vec<Way> {
    let below = |key: &String| -> Way { way.iter().cloned().chain([Ok(key.clone())]).collect() };
    let mut all: Vec<Way> = table.keys().filter(|key| *key != "operations").map(below).collect();
    for (key, value) in table {
        if let (Value::Table(inner), "server") = (value, key.as_str()) {
            all.extend(keys(inner, &below(key)));
        }
    }
    all
}

fn remove(tree: &mut Table, way: &[Result<String, usize>]) {
    match way {
        [Ok(key)] => {
            tree.remove(key);
        }
        [Ok(key), Err(place), rest @ ..] => {
            let entry = tree.get_mut(key).and_then(Value::as_array_mut);
            let entry = entry.and_then(|entries| entries.get_mut(*place));
            if let Some(inner) = entry.and_then(Value::as_table_mut) {
                remove(inner, rest);
            }
        }
        [Ok(key), rest @ ..] => {
            if let Some(inner) = tree.get_mut(key).and_then(Value::as_table_mut) {
                remove(inner, rest);
            }
        }
        _ => {}
    }
}
