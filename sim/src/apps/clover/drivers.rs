//! What each thread is to do: open the keys, then its share of the operations.

use std::collections::VecDeque;

use qpmux_workloads::clover::{Request, Variant};
use qpmux_workloads::keys::{KeyError, OperationKind, OperationStream, Ycsb};

use crate::apps::Load;

/// A worker thread's work.
struct Driver {
    stream: OperationStream,
    left: u64,
    /// Requests to make before those: keys to open, and what has to be tried again.
    first: VecDeque<Request>,
}

/// The work of all worker threads. Threads go round the machines, so that these have equally many.
pub(super) struct Drivers {
    drivers: Vec<Driver>,
    load: Load,
    /// Keys that are not open yet.
    unopened: u64,
    /// Threads from this number on use only so many keys, the first ones.
    confined: (u16, u64),
}

impl Drivers {
    pub(super) fn new(
        load: &Load,
        workload: Ycsb,
        variant: Variant,
        seed: u64,
    ) -> Result<Self, KeyError> {
        let threads = u64::from(load.threads);
        let driver = |thread: u64| {
            let share = load.operations / threads;
            let left = share + u64::from(thread < load.operations % threads);
            let (mix, keys) = (workload.mix(), load.distribution);
            // Stream 0 is the network's.
            let stream = OperationStream::new(mix, keys, load.keys, seed, thread + 1)?;
            Ok(Driver { stream, left, first: VecDeque::new() })
        };
        let mut drivers = (0..threads).map(driver).collect::<Result<Vec<_>, KeyError>>()?;
        // One thread opens all keys; the fork opens key 0 as well, and never uses it (trace).
        let lowest = match variant {
            Variant::Fork => 0,
            Variant::Upstream => 1,
        };
        drivers[0].first = (lowest..=load.keys).map(|key| Request::Insert { key }).collect();
        Ok(Self {
            drivers,
            load: *load,
            unopened: load.keys + 1 - lowest,
            confined: (load.threads, 1),
        })
    }

    /// Threads from this number on use only so many keys, the first ones; at least 1.
    pub(super) fn confine(&mut self, first_thread: u16, keys: u64) {
        self.confined = (first_thread, keys.max(1));
    }

    /// Machine (from 0) and worker of every thread.
    pub(super) fn places(&self) -> Vec<(usize, u16)> {
        (0..self.load.threads).map(|thread| self.load.place(thread)).collect()
    }

    /// Whether all keys are open.
    pub(super) fn is_open(&self) -> bool {
        self.unopened == 0
    }

    /// A key is open; whether that was the last.
    pub(super) fn on_opened(&mut self) -> bool {
        self.unopened = self.unopened.saturating_sub(1);
        self.is_open()
    }

    /// What the thread is to do next, if anything.
    pub(super) fn next(&mut self, machine: usize, worker: u16) -> Option<Request> {
        let keys = self.load.keys;
        let (first, confined) = self.confined;
        let is_confined = self.load.thread(machine, worker) >= first;
        let driver = self.driver(machine, worker)?;
        if let Some(request) = driver.first.pop_front() {
            return Some(request);
        }
        driver.left = driver.left.checked_sub(1)?;
        let operation = driver.stream.next_operation(keys);
        // Key 0 means "none" to those who look for keys.
        let key = 1 + if is_confined { operation.record % confined } else { operation.record };
        Some(match operation.kind {
            OperationKind::Read | OperationKind::Scan { .. } => Request::Read { key },
            _ => Request::Update { key },
        })
    }

    /// The thread has to make this request again.
    pub(super) fn again(&mut self, machine: usize, worker: u16, request: Request) {
        if let Some(driver) = self.driver(machine, worker) {
            driver.first.push_front(request);
        }
    }

    /// The thread does nothing more. How many operations stay undone.
    pub(super) fn retire(&mut self, machine: usize, worker: u16) -> u64 {
        let Some(driver) = self.driver(machine, worker) else { return 0 };
        let requests = driver.first.drain(..).count() as u64;
        requests + std::mem::take(&mut driver.left)
    }

    fn driver(&mut self, machine: usize, worker: u16) -> Option<&mut Driver> {
        self.drivers.get_mut(usize::from(self.load.thread(machine, worker)))
    }
}
