//! Changes that the memory node makes by itself, behind everybody's back.

use qpmux_workloads::clover::{CloverConfig, Entry, Layout, Pointer, SlotClass};
use qpmux_workloads::keys::generator;
use rand::RngExt;
use rand_pcg::Pcg64;

use super::judge::Judge;
use super::network::MEMORY_NODE;
use super::world::{Asker, Notice, turn_word};
use crate::apps::Plan;
use crate::fabric::Fabric;

/// Stream of chance: no thread has it.
const STREAM: u64 = 1 << 41;
/// The machine in the stamps of what it writes: no client has it.
const MACHINE: u64 = 0xffff << 48;

/// Appends versions to random lists, each at once as far as others can tell.
pub(super) struct Meddler {
    layout: Layout,
    class: SlotClass,
    keys: u64,
    mean_ns: u64,
    /// Versions that it appends at most: where clients wait for lost packets, lists would grow
    /// faster than anybody can walk.
    most: u64,
    rng: Pcg64,
    written: u64,
}

impl Meddler {
    pub(super) fn new(clover: &CloverConfig, plan: &Plan, mean_ns: u64) -> Self {
        Self {
            layout: clover.layout,
            class: clover.class(),
            keys: plan.outside_keys(),
            mean_ns,
            most: plan.load.operations / 2,
            rng: generator(plan.seed, STREAM),
            written: 0,
        }
    }

    /// Time until the next change, ns.
    pub(super) fn pause(&mut self) -> u64 {
        self.rng.random_range(1..=2 * self.mean_ns.max(1))
    }

    /// Appends a version to a list, if it finds its end.
    pub(super) fn append(
        &mut self,
        fabric: &mut Fabric<'_, Asker, Notice>,
        judge: &mut Judge,
    ) -> Option<()> {
        if self.written == self.most {
            return None;
        }
        let key = self.rng.random_range(1..=self.keys);
        let tail = judge.versions.get(judge.lists.get(&key)?.last()?)?.entry;
        // The metadata server hands slots out from the other end.
        let (first, end) = self.class.slots();
        let slot = u32::try_from(u64::from(end) - 1 - self.written).ok().filter(|s| *s > first)?;
        self.written += 1;
        let (fresh, stamp) = (Entry { slot, version: 1 }, MACHINE | self.written);
        let now = fabric.now();
        let memory = fabric.memory(MEMORY_NODE);
        let mut data = vec![0; self.class.bytes()];
        for (at, word) in [Pointer::last(fresh.version).0, key, stamp].into_iter().enumerate() {
            data[8 * at..8 * at + 8].copy_from_slice(&word.to_le_bytes());
        }
        let mut stored = data.clone();
        turn_word(memory, &mut stored);
        memory.write(self.layout.slot(self.class, fresh)?, &stored);
        let link = Pointer::link(fresh, tail.version).0;
        memory.write_u64(self.layout.slot(self.class, tail)?, link);
        judge.on_own_append(now, tail, slot, &data);
        Some(())
    }
}
