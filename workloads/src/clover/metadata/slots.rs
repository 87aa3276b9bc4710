//! Slots that may be handed out: fresh ones first, then recycled ones in the order they came back.

use std::collections::VecDeque;

use super::super::layout::SlotClass;
use super::super::pointer::{Entry, VERSION_MAX};

/// Threads of the metadata server; each owns the slots whose number leaves its own modulo 8.
pub(super) const THREADS: u32 = 8;

/// Version of a slot's first use.
const VERSION_FIRST: u8 = 1;

/// One thread's slots of one class.
#[derive(Clone, Debug)]
struct List {
    /// Next slot never handed out.
    fresh: u32,
    end: u32,
    recycled: VecDeque<Entry>,
}

/// All slots of the values' class.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    lists: Vec<List>,
    /// Slots with no version left.
    exhausted: Vec<u32>,
}

impl Slots {
    /// All slots of a class, or the first `slots_max`. Slot 0 is none.
    pub(super) fn new(class: SlotClass, slots_max: Option<u32>) -> Self {
        let (first, end) = class.slots();
        let end = slots_max.map_or(end, |most| end.min(first.saturating_add(most)));
        let list = |thread: u32| {
            let first = first.max(1);
            let fresh = first + (thread + THREADS - first % THREADS) % THREADS;
            List { fresh, end, recycled: VecDeque::new() }
        };
        Self { lists: (0..THREADS).map(list).collect(), exhausted: Vec::new() }
    }

    /// A slot of this thread, if it has one.
    pub(super) fn take(&mut self, thread: u32) -> Option<Entry> {
        let list = &mut self.lists[(thread % THREADS) as usize];
        if list.fresh < list.end {
            let slot = list.fresh;
            list.fresh += THREADS;
            return Some(Entry { slot, version: VERSION_FIRST });
        }
        list.recycled.pop_front()
    }

    /// Takes back a slot that is superseded, for its next version.
    pub(super) fn recycle(&mut self, used: Entry) {
        if used.version >= VERSION_MAX {
            return self.exhausted.push(used.slot);
        }
        self.put(Entry { version: used.version + 1, ..used });
    }

    /// Slots that wait for an epoch.
    pub(super) fn exhausted(&self) -> usize {
        self.exhausted.len()
    }

    /// Nobody knows any former use of a slot: versions begin again.
    pub(super) fn begin_epoch(&mut self) {
        for slot in std::mem::take(&mut self.exhausted) {
            self.put(Entry { slot, version: VERSION_FIRST });
        }
    }

    fn put(&mut self, entry: Entry) {
        self.lists[(entry.slot % THREADS) as usize].recycled.push_back(entry);
    }
}
