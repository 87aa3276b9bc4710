//! What threads do: YCSB's operations, as requests that Clover has.

use std::collections::{BTreeSet, VecDeque};

use qpmux_workloads::clover::Request;
use qpmux_workloads::keys::{KeyError, OperationKind, OperationStream};

use super::plan::StorePlan;
use crate::event::Ps;

/// Kinds of operations, as reports name them.
pub(super) const KINDS: [&str; 5] = ["read", "update", "insert", "scan", "read_modify_write"];

/// An operation that a thread is at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Current {
    /// Index into [`KINDS`].
    pub(super) kind: usize,
    pub(super) began: Ps,
    /// It took more than one try.
    pub(super) again: bool,
}

/// A thread.
struct Worker {
    stream: OperationStream,
    /// What is left of its operation.
    requests: VecDeque<Request>,
    current: Option<Current>,
}

/// All threads, and the keys that there are.
pub(super) struct Load {
    workers: Vec<Worker>,
    /// Keys that are there or are being made known.
    keys: u64,
    /// All keys up to this one are there.
    known: u64,
    /// Keys beyond that are.
    ahead: BTreeSet<u64>,
}

impl Load {
    pub(super) fn new(plan: &StorePlan, seed: u64) -> Result<Self, KeyError> {
        let (mix, keys) = (plan.workload.mix(), plan.distribution);
        let worker = |thread: u64| {
            let stream = OperationStream::new(mix, keys, plan.keys, seed, thread + 1)?;
            Ok(Worker { stream, requests: VecDeque::new(), current: None })
        };
        let workers = (0..plan.threads as u64).map(worker).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { workers, keys: plan.keys, known: 0, ahead: BTreeSet::new() })
    }

    /// The first thread is to make all keys known.
    pub(super) fn open_all(&mut self, keys: u64) {
        self.workers[0].requests = (1..=keys).map(|key| Request::Insert { key }).collect();
    }

    /// A key is known now. How many are.
    pub(super) fn on_opened(&mut self, key: u64) -> u64 {
        self.ahead.insert(key);
        while self.ahead.remove(&(self.known + 1)) {
            self.known += 1;
        }
        self.known
    }

    /// How many keys are known, up to the first that is not.
    pub(super) fn known(&self) -> u64 {
        self.known
    }

    /// What is left of a thread's operation.
    pub(super) fn rest(&mut self, thread: usize) -> Option<Request> {
        self.workers[thread].requests.pop_front()
    }

    /// A thread has to make this request again.
    pub(super) fn again(&mut self, thread: usize, request: Request) {
        self.workers[thread].requests.push_front(request);
    }

    /// A thread begins its next operation. Scans read one key after the other, as Clover has no
    /// order of keys.
    pub(super) fn begin(&mut self, thread: usize, now: Ps) -> Option<Request> {
        let worker = &mut self.workers[thread];
        let known = self.known.max(1);
        let operation = worker.stream.next_operation(known);
        let key = 1 + operation.record;
        let requests = &mut worker.requests;
        let kind = match operation.kind {
            OperationKind::Read => {
                requests.push_back(Request::Read { key });
                0
            }
            OperationKind::Update => {
                requests.push_back(Request::Update { key });
                1
            }
            OperationKind::Insert => {
                self.keys += 1;
                requests.push_back(Request::Insert { key: self.keys });
                2
            }
            OperationKind::Scan { records } => {
                let last = (operation.record + u64::from(records)).min(known);
                requests.extend((key..=last.max(key)).map(|key| Request::Read { key }));
                3
            }
            OperationKind::ReadModifyWrite => {
                requests.extend([Request::Read { key }, Request::Update { key }]);
                4
            }
        };
        worker.current = Some(Current { kind, began: now, again: false });
        worker.requests.pop_front()
    }

    /// A request of a thread has taken so many tries.
    pub(super) fn tried(&mut self, thread: usize, tries: u32) {
        if let Some(current) = &mut self.workers[thread].current {
            current.again |= tries > 1;
        }
    }

    /// A thread's operation is over, if nothing is left of it.
    pub(super) fn end(&mut self, thread: usize) -> Option<Current> {
        let worker = &mut self.workers[thread];
        if worker.requests.is_empty() { worker.current.take() } else { None }
    }
}
