//! Clover on a memory that is real and a network that delivers in any order it likes.

mod contention;
mod format;
mod sequence;

use std::collections::{BTreeMap, HashMap, VecDeque};

use rand::RngExt;
use rand_pcg::Pcg64;

use super::{
    CloverConfig, Entry, Finished, Machine, MetadataPeer, MetadataServer, Outcome, Peer, Pointer,
    Request, Ticket, Variant, Verb,
};
use crate::keys::generator;

/// Who asked for a verb, so who is told of its end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Asker {
    /// Index of the machine.
    Machine(usize, Ticket),
    Metadata(u64),
}

/// A queue pair: machine or metadata server, peer, lane. Its verbs stay in order.
type Lane = (usize, Peer, u16, bool);

enum Stage {
    /// Executes at the other end next.
    Asked(Asker, Verb),
    /// Is complete, and its asker does not know yet.
    Executed(Asker, Outcome),
}

/// Machines, metadata server and memory.
struct Rig {
    config: CloverConfig,
    machines: Vec<Machine>,
    metadata: MetadataServer,
    words: HashMap<u64, u64>,
    lanes: BTreeMap<Lane, VecDeque<Stage>>,
    rng: Pcg64,
    now: u64,
    finished: Vec<Finished>,
    /// What was executed, in order: machine (or `None`), peer, verb, outcome.
    log: Vec<(Option<usize>, Peer, Verb, Outcome)>,
}

impl Rig {
    fn new(config: CloverConfig, seed: u64) -> Self {
        let machines = 1..=config.machines;
        Self {
            machines: machines.map(|id| Machine::new(&config, id)).collect(),
            metadata: MetadataServer::new(&config),
            words: HashMap::new(),
            lanes: BTreeMap::new(),
            rng: generator(seed, 0),
            now: 0,
            finished: Vec::new(),
            log: Vec::new(),
            config,
        }
    }

    /// Does one operation alone, to its end and that of its garbage.
    fn alone(&mut self, machine: usize, worker: u16, request: Request) -> Finished {
        assert!(self.machines[machine].submit(worker, request));
        self.run();
        self.finished.pop().expect("it has ended")
    }

    fn run(&mut self) {
        while self.step() {}
    }

    /// One thing happens somewhere; `false` if nothing is left to happen.
    fn step(&mut self) -> bool {
        self.now += 100;
        self.collect();
        let busy: Vec<Lane> = self.lanes.keys().copied().collect();
        if busy.is_empty() {
            return false;
        }
        let lane = busy[self.rng.random_range(0..busy.len())];
        // Executions happen in the lane's order, and so do completions, so that its first verb
        // that is not executed yet may go before its completions.
        let queue = self.lanes.get_mut(&lane).expect("a busy lane");
        let next = queue.iter().position(|stage| matches!(stage, Stage::Asked(..)));
        match next {
            Some(index) if index == 0 || self.rng.random() => {
                let Stage::Asked(asker, verb) = &queue[index] else { unreachable!() };
                let (asker, verb) = (*asker, verb.clone());
                let outcome = self.execute(lane, &asker, &verb);
                let source = match asker {
                    Asker::Machine(machine, _) => Some(machine),
                    Asker::Metadata(_) => None,
                };
                self.log.push((source, lane.1, verb, outcome.clone()));
                let queue = self.lanes.get_mut(&lane).expect("a busy lane");
                queue[index] = Stage::Executed(asker, outcome);
            }
            _ => {
                let Some(Stage::Executed(asker, outcome)) = queue.pop_front() else {
                    unreachable!()
                };
                if queue.is_empty() {
                    self.lanes.remove(&lane);
                }
                match asker {
                    Asker::Machine(index, ticket) => {
                        self.machines[index].handle_completion(ticket, outcome);
                    }
                    Asker::Metadata(ticket) => self.metadata.handle_completion(ticket),
                }
            }
        }
        self.collect();
        true
    }

    /// Takes what all want.
    fn collect(&mut self) {
        self.metadata.handle_timeout(self.now);
        for (index, machine) in self.machines.iter_mut().enumerate() {
            while let Some(post) = machine.poll_post() {
                assert!(post.lane < self.config.lanes());
                let stage = Stage::Asked(Asker::Machine(index, post.ticket), post.verb);
                self.lanes.entry((index, post.to, post.lane, false)).or_default().push_back(stage);
            }
            while let Some(finished) = machine.poll_finished() {
                self.finished.push(finished);
            }
        }
        while let Some(post) = self.metadata.poll_post() {
            let lane = match post.to {
                MetadataPeer::Memory => (usize::MAX, Peer::Memory, 0, true),
                MetadataPeer::Client { machine, lane } => {
                    (usize::from(machine) - 1, Peer::Metadata, lane, true)
                }
            };
            let stage = Stage::Asked(Asker::Metadata(post.ticket), post.verb);
            self.lanes.entry(lane).or_default().push_back(stage);
        }
    }

    fn execute(&mut self, lane: Lane, asker: &Asker, verb: &Verb) -> Outcome {
        let (machine, peer, number, from_metadata) = lane;
        if peer == Peer::Memory {
            return self.access(verb);
        }
        match (asker, verb) {
            (Asker::Machine(..), Verb::Send { data }) => {
                let id = machine as u16 + 1;
                self.metadata.handle_message(self.now, id, number, data);
            }
            (Asker::Machine(..), Verb::Write { address, data, .. }) => {
                self.metadata.handle_write(*address, data);
            }
            (_, Verb::Write { address, data, .. }) => {
                assert!(from_metadata);
                self.machines[machine].handle_write(*address, data);
            }
            (_, Verb::Send { data }) => self.machines[machine].handle_message(data),
            other => panic!("{other:?} between machines"),
        }
        Outcome::Done
    }

    /// Real memory, in words.
    fn access(&mut self, verb: &Verb) -> Outcome {
        match verb {
            Verb::Write { address, data, .. } => {
                for (index, word) in data.chunks_exact(8).enumerate() {
                    let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
                    self.words.insert(address + 8 * index as u64, word);
                }
                Outcome::Done
            }
            Verb::Read { address, length, .. } => {
                let words = (0..u64::from(*length)).step_by(8).map(|at| self.word(address + at));
                Outcome::Read(words.flat_map(u64::to_le_bytes).collect())
            }
            Verb::CompareSwap { address, compare, swap, .. } => {
                let before = self.word(*address);
                if before == *compare {
                    self.words.insert(*address, *swap);
                }
                Outcome::Atomic(before)
            }
            Verb::Send { .. } => panic!("the memory node takes no messages"),
        }
    }

    fn word(&self, address: u64) -> u64 {
        self.words.get(&address).copied().unwrap_or(0)
    }

    fn slot(&self, entry: Entry) -> u64 {
        self.config.layout.slot(self.config.class(), entry).expect("a slot of the class")
    }

    /// The slots of a key's list from `first` on.
    fn list(&self, first: Entry) -> Vec<Entry> {
        let mut list = vec![first];
        while let Some(next) =
            list.last().and_then(|last| Pointer(self.word(self.slot(*last))).next())
        {
            list.push(next);
            assert!(list.len() < 100_000, "a loop");
        }
        list
    }
}

fn config(variant: Variant, machines: u16, workers: u16) -> CloverConfig {
    CloverConfig::new(variant, machines, workers, 1_000).expect("a valid configuration")
}
