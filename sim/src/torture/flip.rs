//! Small runs in which two clients' connections are learnt, and flip at every step: the engine
//! sees nothing before the n-th packet that comes to it, for each n. Also with engines that crash.

use super::campaign::Unit;
use super::choices::{Choices, Limits};
use super::crash::{BEYOND, Crash};
use super::learn::Learning;
use super::plan::{Client, Plan, Server};
use super::run::{Good, execute};
use super::schedules::{Size, faults, op, words};
use super::workload::{Op, Span};
use crate::faults::Fault;

/// Packets sent before the first flip and after the last one that faults may hit.
const BEFORE: usize = 12;
const AFTER: usize = 24;
/// Of the single faults in such a run, quick takes every so many-th.
const QUICK_SHARE: usize = 8;
/// Of the numbers of unseen packets, quick lets the engine crash with every so many-th.
const QUICK_CRASHES: usize = 4;
/// Requests with which a connection is learnt, before those of the sequence.
const LEARNT_WITH: usize = 10;

/// What two clients ask for once they are about to flip, and in which way they flip.
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    letters: [Vec<u8>; 2],
    turn: usize,
    size: Size,
}

/// All sequences of a size: two requests of one client each, among what keeps the other one busy.
pub(super) fn sequences(size: Size) -> Vec<Sequence> {
    let sequence = |(turn, first): (usize, Vec<u8>)| {
        let second = vec![(turn % 7) as u8, (turn / 7 % 7) as u8];
        Sequence { letters: [first, second], turn, size }
    };
    let mut all: Vec<Sequence> = words(7, 2).into_iter().enumerate().map(sequence).collect();
    if size == Size::Full {
        let more = words(7, 3).into_iter().enumerate();
        all.extend(more.map(|(turn, first)| sequence((turn + 1, first))));
    }
    all
}

impl Sequence {
    pub(super) fn name(&self) -> String {
        format!("flips in {:?}, turn {}", self.letters, self.turn)
    }

    fn plan(&self) -> Plan {
        let turn = self.turn;
        let client = |letters: &Vec<u8>| {
            let record = Op::Write { key: 0, at: Span::default(), immediate: false };
            let before = (0..LEARNT_WITH).map(|n| if n % 4 == 2 { op(4, false) } else { record });
            let asked = letters.iter().map(|letter| op(*letter, turn.is_multiple_of(2)));
            Client {
                psn: [0, 0xff_fffa, 0x7f_fffa][turn % 3],
                depth: 2,
                outstanding: 1 + turn % 3,
                restart_reads: turn % 5 == 1,
                operations: before.chain(asked).chain([record]).collect(),
                server: Server { ack_every: [1, 1, 2][turn % 3], ..Server::default() },
                ..Client::default()
            }
        };
        Plan {
            policy: Choices { fenced: turn % 4 < 2, ..Choices::default() },
            learning: Some(Learning {
                flip_wait_ns: [500, 5_000, 50_000][turn / 3 % 3],
                ..Learning::default()
            }),
            clients: self.letters.iter().map(client).collect(),
            ..Plan::default()
        }
    }

    /// Runs it with each number of packets that the engine does not see, until it is too late for
    /// a flip, with each fault near the flips, and with crashes.
    pub(super) fn run(&self) -> Unit {
        let mut sum = Unit::empty();
        let mut plan = self.plan();
        for unseen in 0.. {
            plan.faults = Vec::new();
            plan.learning = plan.learning.map(|learning| Learning { unseen, ..learning });
            let Some(base) = sum.take(execute(&plan)) else { return sum };
            if base.flipped_at.is_empty() {
                return sum;
            }
            for fault in self.faults(&base, unseen as usize) {
                plan.faults = vec![fault];
                sum.take(execute(&plan));
            }
            self.crash(&plan, unseen as usize, &mut sum);
        }
        sum
    }

    /// Runs it with a crash after each action: what is lost with it takes turns.
    fn crash(&self, plan: &Plan, unseen: usize, sum: &mut Unit) {
        let share = if self.size == Size::Quick { QUICK_CRASHES } else { 1 };
        if !(self.turn + unseen).is_multiple_of(share) {
            return;
        }
        let mut plan = Plan { faults: Vec::new(), ..plan.clone() };
        plan.engine = Limits { server_timeout_ns: 20_000, ..plan.engine };
        plan.clients.iter_mut().for_each(|client| client.timeout = 5);
        // Records are made where a crash is planned, though it never comes.
        plan.crashes = vec![Crash { after: u64::MAX >> 1, ..Crash::default() }];
        let Some(base) = sum.take(execute(&plan)) else { return };
        for after in 1..=base.actions + BEYOND {
            let lost = (after as usize + self.turn + unseen) % 8;
            plan.crashes = Crash::all(after).skip(lost).take(1).collect();
            sum.take(execute(&plan));
        }
    }

    /// The faults of packets that were sent near the flips of a run; of a quick one, a share that
    /// differs from one number of unseen packets to the next.
    fn faults(&self, run: &Good, unseen: usize) -> Vec<Fault> {
        let first = run.flipped_at.first().map_or(0, |at| at.saturating_sub(BEFORE));
        let last = run.flipped_at.last().map_or(0, |at| at + AFTER);
        let near = faults(run, first).into_iter().filter(|(at, _)| *at < last);
        let share = if self.size == Size::Quick { QUICK_SHARE } else { 1 };
        let taken = |n: usize| (n + unseen + self.turn).is_multiple_of(share);
        near.enumerate().filter(|(n, _)| taken(*n)).map(|(_, (_, fault))| fault).collect()
    }
}
