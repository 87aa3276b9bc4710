//! A hash table that clients look up by READs: chained associative hopscotch hashing, as FaRM has
//! it (Dragojevic et al., NSDI 2014, section 4).
//!
//! A key belongs to a bucket, and is in it or in the next one: a neighbourhood of H slots, half of
//! them in each, which one READ brings. Where both are full, the nearest free slot is brought
//! closer by moving keys that may move; where none may, the key goes into a block of H/2 slots that
//! is chained to its bucket, and costs a READ more. The table is filled key by key, and where each
//! key has come to lie is what its lookups cost.

use crate::dice::Dice;

/// Streams of chance that tables have.
const TABLES: u64 = 22;
/// Buckets that are looked at for a free slot.
const PROBES: usize = 256;

/// A hash table that is looked up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TablePlan {
    /// Slots of a neighbourhood, H: an even number, `2..=64`.
    pub neighbourhood: u32,
    /// Share of its slots that are used, above 0 and at most 0.98.
    pub occupancy: f64,
    /// Bytes of a slot, `8..=65536`.
    pub slot_bytes: u64,
    /// Slots have values as well; if not, a lookup reads the value after its slot.
    pub is_inline: bool,
}

impl Default for TablePlan {
    /// FaRM's: neighbourhoods of 8, 90 % full; slots with a key and where its value is.
    fn default() -> Self {
        Self { neighbourhood: 8, occupancy: 0.9, slot_bytes: 16, is_inline: false }
    }
}

/// A table as it is filled.
#[derive(Clone, Debug)]
pub(super) struct Table {
    plan: TablePlan,
    buckets: usize,
    /// By key, its bucket, and which block of its chain it is in; 0: none, it is in its
    /// neighbourhood.
    keys: Vec<(u32, u32)>,
    /// By bucket, where its chain begins among all blocks, and keys in it.
    chains: Vec<u32>,
    blocks: u64,
}

/// Slots while a table is filled: the key in each.
struct Filling {
    half: usize,
    slots: Vec<Option<u32>>,
    homes: Vec<u32>,
}

impl Filling {
    fn bucket(&self, number: usize) -> std::ops::Range<usize> {
        number * self.half..(number + 1) * self.half
    }

    fn buckets(&self) -> usize {
        self.slots.len() / self.half
    }

    fn free_in(&self, bucket: usize) -> Option<usize> {
        self.bucket(bucket).find(|slot| self.slots[*slot].is_none())
    }

    /// A free slot for a key of this bucket, if there is one or one can be made.
    fn find(&mut self, home: usize) -> Option<usize> {
        let buckets = self.buckets();
        let near = (0..PROBES.min(buckets)).find_map(|distance| {
            let free = self.free_in((home + distance) % buckets)?;
            Some((distance, free))
        });
        let (mut distance, mut free) = near?;
        while distance > 1 {
            // A key of the bucket before that belongs there may as well be in this one.
            let before = (home + distance - 1) % buckets;
            let moved = self.bucket(before).find(|slot| {
                self.slots[*slot].is_some_and(|key| self.homes[key as usize] as usize == before)
            })?;
            self.slots[free] = self.slots[moved].take();
            (distance, free) = (distance - 1, moved);
        }
        Some(free)
    }
}

impl Table {
    /// A table with so many keys.
    pub(super) fn new(plan: TablePlan, keys: u64, seed: u64) -> Self {
        let half = (plan.neighbourhood / 2).max(1) as usize;
        let slots = (keys as f64 / plan.occupancy).ceil() as usize;
        let buckets = slots.div_ceil(half).max(2);
        let mut dice = Dice::new(seed, TABLES, 0);
        let homes = (0..keys).map(|_| dice.below(buckets as u64) as u32).collect();
        let mut filling = Filling { half, slots: vec![None; buckets * half], homes };
        let mut chains = vec![0u32; buckets];
        let mut places = Vec::with_capacity(keys as usize);
        for key in 0..keys as u32 {
            let home = filling.homes[key as usize];
            let depth = match filling.find(home as usize) {
                Some(slot) => {
                    filling.slots[slot] = Some(key);
                    0
                }
                None => {
                    let chained = &mut chains[home as usize];
                    *chained += 1;
                    (*chained).div_ceil(half as u32)
                }
            };
            places.push((home, depth));
        }
        let mut blocks = 0;
        for chain in &mut chains {
            let length = u64::from(chain.div_ceil(half as u32));
            *chain = blocks as u32;
            blocks += length;
        }
        Self { plan, buckets, keys: places, chains, blocks }
    }

    fn bucket_bytes(&self) -> u64 {
        u64::from(self.plan.neighbourhood / 2).max(1) * self.plan.slot_bytes
    }

    /// Bytes of the table with its chains.
    pub(super) fn bytes(&self) -> u64 {
        // The last bucket's neighbourhood goes on behind it.
        (self.buckets as u64 + 1 + self.blocks) * self.bucket_bytes()
    }

    /// READs of slots that a key's lookup takes.
    pub(super) fn reads(&self, key: u64) -> u32 {
        1 + self.keys[key as usize].1
    }

    /// Places that a lookup looks at one after the other.
    pub(super) fn touches(&self, key: u64) -> u32 {
        self.reads(key) + u32::from(!self.plan.is_inline)
    }

    /// Where the slots are that a lookup's READ `number` brings, from the table's beginning, and
    /// how many bytes; `None` for the value's.
    pub(super) fn read(&self, key: u64, number: u32) -> Option<(u64, u64)> {
        let (home, depth) = self.keys[key as usize];
        let bytes = self.bucket_bytes();
        match number {
            0 => Some((u64::from(home) * bytes, 2 * bytes)),
            number if number <= depth => {
                let chain = u64::from(self.chains[home as usize]) + u64::from(number - 1);
                Some(((self.buckets as u64 + 1 + chain) * bytes, bytes))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Table, TablePlan};

    fn mean_reads(neighbourhood: u32, occupancy: f64) -> f64 {
        let plan = TablePlan { neighbourhood, occupancy, ..TablePlan::default() };
        let keys = 100_000;
        let table = Table::new(plan, keys, 1);
        (0..keys).map(|key| f64::from(table.reads(key))).sum::<f64>() / keys as f64
    }

    #[test]
    fn larger_neighbourhoods_and_emptier_tables_chain_less() {
        assert_eq!(mean_reads(8, 0.2), 1.0);
        for neighbourhood in [4, 6, 8, 16] {
            assert!(mean_reads(neighbourhood, 0.95) >= mean_reads(neighbourhood, 0.8));
        }
        assert!(mean_reads(4, 0.9) > mean_reads(8, 0.9));
        assert!(mean_reads(8, 0.9) > 1.0 && mean_reads(8, 0.9) < 1.2, "{}", mean_reads(8, 0.9));
        assert!(mean_reads(32, 0.9) < 1.01, "{}", mean_reads(32, 0.9));
    }

    #[test]
    fn a_lookup_reads_within_the_table_and_ends_with_its_value() {
        let plan = TablePlan { neighbourhood: 4, occupancy: 0.98, ..TablePlan::default() };
        let table = Table::new(plan, 10_000, 1);
        let mut most = 0;
        for key in 0..10_000 {
            let reads = table.reads(key);
            most = most.max(reads);
            for number in 0..reads {
                let (at, bytes) = table.read(key, number).unwrap();
                assert!(at + bytes <= table.bytes());
            }
            assert_eq!(table.read(key, reads), None);
            assert_eq!(table.touches(key), reads + 1);
        }
        assert!(most > 1);
    }
}
