//! Threads: what they post, one after the other, and when they see what became of it.

use std::collections::VecDeque;

use super::op::{Op, Part};
use super::{Cluster, Count, Event, Happened};
use crate::event::Ps;
use crate::rc::Verb;

/// What a thread is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    /// Post so many work requests on a queue pair, with one doorbell.
    Post(u32, u32),
    /// Take the completion of an operation.
    Poll(u32),
}

/// What it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    /// For its own work on a task to be over, or to be let on.
    Busy,
}

/// A thread.
#[derive(Debug)]
pub(super) struct Thread {
    machine: usize,
    tasks: VecDeque<Task>,
    state: State,
}

impl Thread {
    pub(super) fn new(machine: usize) -> Self {
        Self { machine, tasks: VecDeque::new(), state: State::Idle }
    }
}

/// How far a thread is with posting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It may begin its next task.
    Begin,
    /// It has the queue pair's lock.
    Locked,
    /// It has written the work requests.
    Written,
    /// It had the doorbell's register, and has rung.
    Rung,
    /// It has taken a completion.
    Polled,
}

impl<A: Copy, N: Copy> Cluster<A, N> {
    /// A thread is to post these on a queue pair, with one doorbell for all, when it has done what
    /// it was asked for before. Each comes with who is told of its end.
    pub(crate) fn post(
        &mut self,
        thread: u32,
        pair: u32,
        verbs: impl IntoIterator<Item = (A, Verb)>,
    ) {
        let now = self.queue.now();
        let mut count = 0;
        for (asker, verb) in verbs {
            let op = self.ops.insert(Op::new(asker, thread, now));
            self.to_post[thread as usize].push_back((verb, op));
            count += 1;
        }
        self.posted += u64::from(count);
        self.give(thread, Task::Post(pair, count));
    }

    /// The adapter has told of an operation's end; its thread will see it.
    pub(super) fn tell(&mut self, op: u32) {
        self.give(self.ops.thread(op), Task::Poll(op));
    }

    fn give(&mut self, thread: u32, task: Task) {
        let worker = &mut self.threads[thread as usize];
        worker.tasks.push_back(task);
        if worker.state == State::Idle {
            worker.state = State::Busy;
            self.queue.after(0, Event::Thread(thread, Step::Begin));
        }
    }

    pub(super) fn on_thread(&mut self, thread: u32, step: Step) {
        let now = self.queue.now();
        let Some(&task) = self.threads[thread as usize].tasks.front() else {
            self.threads[thread as usize].state = State::Idle;
            return;
        };
        let machine = self.threads[thread as usize].machine;
        let times = self.machines[machine].times;
        match (task, step) {
            (Task::Poll(_), Step::Begin) => {
                self.queue.after(times.poll, Event::Thread(thread, Step::Polled));
            }
            (Task::Poll(op), _) => {
                self.threads[thread as usize].tasks.pop_front();
                self.end(op);
                self.queue.after(0, Event::Thread(thread, Step::Begin));
            }
            (Task::Post(pair, count), Step::Begin) => {
                for place in 0..count as usize {
                    let op = self.to_post[thread as usize].get(place).map(|(_, op)| *op);
                    self.ops.mark(op, Part::Posting, now);
                }
                if self.pairs[pair as usize].lock.acquire(thread) {
                    self.on_thread(thread, Step::Locked);
                }
            }
            (Task::Post(_, count), Step::Locked) => {
                self.mark_posted(thread, count, Part::Lock);
                let work = (times.post * Ps::from(count)).saturating_sub(times.doorbell_hold);
                self.queue.after(work, Event::Thread(thread, Step::Written));
            }
            (Task::Post(pair, count), Step::Written) => {
                self.mark_posted(thread, count, Part::Posting);
                let register = self.pairs[pair as usize].doorbell_register;
                if self.machines[machine].registers[register].acquire(thread) {
                    self.queue.after(times.doorbell_hold, Event::Thread(thread, Step::Rung));
                }
            }
            (Task::Post(pair, count), Step::Rung | Step::Polled) => {
                self.ring(thread, machine, pair, count);
            }
        }
    }

    fn mark_posted(&mut self, thread: u32, count: u32, part: Part) {
        let now = self.queue.now();
        for place in 0..count as usize {
            let op = self.to_post[thread as usize].get(place).map(|(_, op)| *op);
            self.ops.mark(op, part, now);
        }
    }

    /// A thread has written a doorbell, and gives its locks back.
    fn ring(&mut self, thread: u32, machine: usize, pair: u32, count: u32) {
        let now = self.queue.now();
        self.mark_posted(thread, count, Part::Posting);
        let hand_off = self.machines[machine].hand_off;
        let register = self.pairs[pair as usize].doorbell_register;
        for _ in 0..count {
            let Some((verb, op)) = self.to_post[thread as usize].pop_front() else { break };
            self.pairs[pair as usize].write_wqe(verb, op);
        }
        let doorbell = self.machines[machine].times.doorbell;
        self.queue.after(doorbell, Event::Doorbell(pair, Count::new(count)));
        self.threads[thread as usize].tasks.pop_front();
        self.queue.at(now, Event::Thread(thread, Step::Begin));
        let hold = self.machines[machine].times.doorbell_hold;
        if let Some((next, cost)) = self.machines[machine].registers[register].release(hand_off) {
            self.ops.mark(
                self.to_post[next as usize].front().map(|(_, op)| *op),
                Part::Lock,
                now + cost,
            );
            self.queue.after(cost + hold, Event::Thread(next, Step::Rung));
        }
        if let Some((next, cost)) = self.pairs[pair as usize].lock.release(hand_off) {
            self.queue.after(cost, Event::Thread(next, Step::Locked));
        }
    }

    /// A thread has seen that an operation has ended.
    fn end(&mut self, id: u32) {
        let now = self.queue.now();
        let Some(op) = self.ops.get_mut(id) else { return };
        op.mark(Part::Completion, now);
        self.completed += 1;
        self.happened.push_back(Happened::Completed(id));
    }
}
