//! The engine ends in the middle of what it does, and another one goes on from its log.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use qpmux_engine::journal::{Journal, Record};
use qpmux_engine::wire::{Layout, Opcode};
use qpmux_engine::{Nanos, Side};
use serde::{Deserialize, Serialize};

use super::campaign::Unit;
use super::choices::Limits;
use super::plan::{Client, Plan};
use super::run::execute;
use super::schedules::{self, Size};
use super::workload::is_default;
use super::world::World;
use crate::dice::Dice;
use crate::faults::{Fault, Leg, What};
use crate::host::{Host, RecordSink};
use crate::memory::digest;

/// Longest record, bytes.
const RECORD_MAX: usize = 128;

/// One end of the engine, and what is lost with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Crash {
    /// Packets and records that it still lets out, counted from the start or the crash before; the
    /// rest of what it was about to do is lost.
    pub(super) after: u64,
    /// What is on its way to servers, to clients, and to the middlebox is lost as well.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) loses_requests: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) loses_answers: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) loses_arrivals: bool,
    /// A client that says and hears nothing from then on, and for how long, ns; without a time, for
    /// good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) silent: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) silence_ns: Option<u64>,
    /// The next engine is on another host, which lacks so many bindings and values at the end of
    /// the log, and knows that it may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lacks: Option<u64>,
}

impl Crash {
    /// A crash after so many actions, with everything that can be lost in each combination.
    pub(super) fn all(after: u64) -> impl Iterator<Item = Crash> {
        (0..8).map(move |bits| Crash {
            after,
            loses_requests: bits & 1 != 0,
            loses_answers: bits & 2 != 0,
            loses_arrivals: bits & 4 != 0,
            ..Crash::default()
        })
    }

    fn loses(&self, leg: Leg) -> bool {
        match leg {
            Leg::BoxToServer => self.loses_requests,
            Leg::BoxToClient => self.loses_answers,
            Leg::ClientToBox | Leg::ServerToBox => self.loses_arrivals,
        }
    }
}

/// Makes a plan one in which the engine crashes.
pub(super) fn draw(plan: &mut Plan, dice: &mut Dice) {
    let actions = 8 * plan.requests();
    let count = dice.pick(&[1, 1, 2]);
    plan.crashes = (0..count)
        .map(|_| Crash {
            after: dice.between(1, actions / count),
            loses_requests: dice.chance(500),
            loses_answers: dice.chance(500),
            loses_arrivals: dice.chance(500),
            ..Crash::default()
        })
        .collect();
    let who = dice.below(plan.clients.len() as u64) as usize;
    // Of a message that is cut in two nothing can take the place of the rest.
    let long = |client: &Client| client.operations.iter().any(|op| op.is_long(client.pmtu));
    if dice.chance(250) && !long(&plan.clients[who]) {
        plan.crashes[0].silent = Some(who as u32);
        plan.crashes[0].silence_ns = dice.chance(500).then(|| dice.between(1, 6) * 1_000_000);
    }
    // A log knows of more than was open: what was complete, and not followed by anything.
    plan.engine.requests_max = plan.engine.requests_max.max(512);
    if count == 1 && plan.crashes[0].silent.is_none() && dice.chance(250) {
        plan.crashes[0].lacks = Some(dice.below(8));
        // Nobody is served any more: they may as well give up.
        return;
    }
    for client in &mut plan.clients {
        // Until the engine goes on, everybody loses packets.
        client.retries = 100_000;
        client.rnr_retries = 7;
        client.timeout = client.timeout.min(7);
    }
}

/// What leaves the engine, until it crashes.
#[derive(Clone, Default)]
pub(super) struct Outlet {
    /// Actions that are still let out.
    left: Rc<Cell<Option<u64>>>,
    /// Those that were.
    count: Rc<Cell<u64>>,
    log: Rc<RefCell<Vec<u8>>>,
    /// Records of server queue pairs given up that a crash has cut off: the next engine does not
    /// know, and gives them up once more.
    losses_cut: Rc<Cell<u64>>,
}

impl Outlet {
    /// Whether one more action is carried out.
    pub(super) fn pass(&self) -> bool {
        let passes = self.left.get() != Some(0);
        self.left.set(self.left.get().map(|left| left.saturating_sub(1)));
        self.count.set(self.count.get() + u64::from(passes));
        passes
    }

    pub(super) fn sink(&self) -> RecordSink {
        let outlet = self.clone();
        Box::new(move |bytes| {
            if outlet.pass() {
                outlet.log.borrow_mut().extend_from_slice(bytes);
            } else if let Ok((Record::Lost { .. }, _)) = Record::decode(bytes) {
                outlet.losses_cut.set(outlet.losses_cut.get() + 1);
            }
        })
    }

    /// So many actions are let out from now on.
    pub(super) fn begin(&self, crash: Option<&Crash>) {
        self.left.set(crash.map(|crash| crash.after.max(1)));
    }

    pub(super) fn losses_cut(&self) -> u64 {
        self.losses_cut.get()
    }

    fn is_shut(&self) -> bool {
        self.left.get() == Some(0)
    }

    /// Packets and records so far.
    pub(super) fn count(&self) -> u64 {
        self.count.get()
    }
}

/// What each PSN of a server queue pair was used for, zero-length WRITEs aside.
#[derive(Debug, Default)]
pub(super) struct Contents(BTreeMap<(u32, u32), u64>);

impl Contents {
    /// Whether this packet says what its PSN has said before.
    pub(super) fn fits(&mut self, i: u32, layout: &Layout, frame: &[u8]) -> bool {
        let empty = layout.reth(frame).is_some_and(|reth| reth.dma_length == 0);
        if layout.opcode == Opcode::WriteOnly && empty {
            return true;
        }
        // From behind the BTH on: whether an ACK is asked for may change.
        let said = frame.get(usize::from(layout.bth) + 12..usize::from(layout.icrc));
        let content = digest(said.unwrap_or(&[])) ^ u64::from(layout.opcode.to_byte());
        *self.0.entry((i, layout.psn.value())).or_insert(content) == content
    }
}

impl World<'_> {
    /// Lets the engine do something, as far as it comes with it.
    pub(super) fn with_host(
        &mut self,
        call: impl FnOnce(&mut Host, Nanos, &mut dyn FnMut(Side, &[u8])),
    ) -> Vec<(Side, Vec<u8>)> {
        let (mut sent, outlet) = (Vec::new(), &self.outlet);
        call(&mut self.host, Nanos(self.now), &mut |side, frame| {
            if outlet.pass() {
                sent.push((side, frame.to_vec()));
            }
        });
        sent
    }

    /// Crashes, if it is time to, and goes on with another engine.
    pub(super) fn crash_if_due(&mut self) {
        let Some(&crash) = self.plan.crashes.get(self.crashes) else { return };
        if !self.outlet.is_shut() {
            return;
        }
        self.crashes += 1;
        self.last_fault = self.now;
        self.frames.retain(|number, _| !crash.loses(Leg::ALL[(number & 3) as usize]));
        if let Some(i) = crash.silent.filter(|i| (*i as usize) < self.connections.len()) {
            self.silence(i, crash.silence_ns);
        }
        for connection in &mut self.connections {
            // From here on, both ends see more than two that never crash.
            self.violations.merge(&connection.audit_violations());
            connection.audited = false;
        }
        self.past.merge(&self.host.counters());
        match self.resume(crash.lacks) {
            Ok(host) => self.host = host,
            Err(why) => self.violations.record("resume", self.now, || why),
        }
        self.outlet.begin(self.plan.crashes.get(self.crashes));
        self.dispatch(Vec::new(), &[]);
    }

    /// An engine that goes on from the log; what is read from a log written anew is the same.
    fn resume(&mut self, lacks: Option<u64>) -> Result<Host, String> {
        let (plan, config) = (self.plan, self.plan.config());
        let mut log = self.outlet.log.borrow().clone();
        let read = |log: &[u8]| Journal::read(&config, log).map_err(|error| format!("{error:?}"));
        if let Some(records) = lacks {
            cut_off(&mut log, records)?;
        }
        let mut journal = read(&log)?;
        if lacks.is_some() {
            let all = config.connections_max.min(self.connections.len() as u32);
            journal.fence(all).map_err(|error| error.to_string())?;
            self.connections.iter_mut().for_each(|connection| connection.fenced = true);
        }
        let mut short = Vec::new();
        journal.checkpoint(|record: &Record| {
            let mut bytes = [0; RECORD_MAX];
            let len = record.encode(&mut bytes).unwrap_or(0);
            short.extend_from_slice(&bytes[..len]);
        });
        if read(&short)? != journal {
            return Err("the log written anew says something else".into());
        }
        *self.outlet.log.borrow_mut() = short;
        let directory = plan.directory().map_err(|error| error.to_string())?;
        let now = Nanos(self.now);
        let host = Host::resume(&config, &plan.policy(), &directory, self.shards, &journal, now);
        let host = host.map_err(|error| error.to_string())?.with_out_capacity(plan.out_capacity);
        Ok(host.with_records(self.outlet.sink()))
    }
}

/// Cuts the last bindings and values off, so many at most: what else there is in a log is never
/// missing, nor what precedes it.
fn cut_off(log: &mut Vec<u8>, records: u64) -> Result<(), String> {
    let (mut at, mut ends) = (0, vec![0]);
    while at < log.len() {
        let (record, len) = Record::decode(&log[at..]).map_err(|error| format!("{error:?}"))?;
        at += len;
        if !matches!(record, Record::Binding(_) | Record::Value { .. }) {
            ends.clear();
        }
        ends.push(at);
    }
    let kept = ends.len().saturating_sub(1 + records as usize);
    log.truncate(ends[kept]);
    Ok(())
}

/// Actions after the last of a calm run after which crashes are tried as well: a crash makes more
/// of them.
pub(super) const BEYOND: u64 = 10;

/// A small run whose engine crashes after every action.
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    requests: schedules::Sequence,
    turn: usize,
}

/// Two clients' requests, all of a size: of quick ones, two of one and one of the other.
pub(super) fn sequences(size: Size) -> Vec<Sequence> {
    let all = schedules::of_lengths(match size {
        Size::Quick => &[(2, 1)],
        Size::Full => &[(2, 1), (1, 2), (2, 2)],
    });
    all.into_iter().enumerate().map(|(turn, requests)| Sequence { requests, turn }).collect()
}

impl Sequence {
    pub(super) fn name(&self) -> String {
        format!("crashes in {}", self.requests.name())
    }

    /// What takes turns beside the requests: shards, a second crash, a client that does not come
    /// back or too late, a small window, a loss.
    fn plan(&self) -> Plan {
        let (turn, plan) = (self.turn, self.requests.plan());
        let client = |client: Client| Client { timeout: 5, ..client };
        let drop = |packet| Fault {
            leg: Leg::ALL[turn % 4],
            connection: (turn / 4 % 2) as u32,
            packet,
            what: What::Drop,
            by: 0,
        };
        Plan {
            shards: [1, 1, 2][turn % 3],
            faults: (turn % 7 == 3).then(|| drop(turn as u64 / 7 % 3)).into_iter().collect(),
            engine: Limits {
                server_window_max: [128, 1, 2][turn % 11 % 3],
                server_timeout_ns: 20_000,
                ..plan.engine
            },
            clients: plan.clients.into_iter().map(client).collect(),
            ..plan
        }
    }

    /// Runs it without a crash, and with one after each action.
    pub(super) fn run(&self) -> Unit {
        self.run_as(self.plan())
    }

    /// The same with an engine that breaks a rule.
    #[cfg(feature = "mutations")]
    pub(super) fn run_without(&self, rule: qpmux_engine::Rule) -> Unit {
        self.run_as(Plan { without: Some(rule), ..self.plan() })
    }

    fn run_as(&self, mut plan: Plan) -> Unit {
        let mut sum = Unit::empty();
        // Records are made where a crash is planned, though it never comes.
        plan.crashes = vec![Crash { after: u64::MAX >> 1, ..Crash::default() }];
        let Some(base) = sum.take(execute(&plan)) else { return sum };
        // Behind a client that is given up: none, or about when what it has left is filled.
        let behind = 4 + self.turn as u64 % 11;
        let seconds = match self.turn % 5 {
            0 => vec![None],
            1 => vec![Some(1)],
            2 => vec![None, Some(behind)],
            3 => vec![Some(4)],
            _ => vec![Some(9)],
        };
        for first in (1..=base.actions + BEYOND).flat_map(Crash::all) {
            let silent = (self.turn % 5 == 2).then_some((self.turn / 5 % 2) as u32);
            let silence_ns = self.turn.is_multiple_of(3).then_some(3_000_000);
            let first = Crash { silent, silence_ns: silent.and(silence_ns), ..first };
            for second in &seconds {
                let second = second.map(|after| Crash { after, silent: None, ..first });
                plan.crashes = [Some(first), second].into_iter().flatten().collect();
                sum.take(execute(&plan));
            }
        }
        for after in 1..=base.actions + BEYOND {
            // Nothing is on its way any more, or all is.
            let loses = after % 2 == 0;
            let lacks = Some((self.turn as u64 + after) % 4);
            let [loses_requests, loses_answers, loses_arrivals] = [loses; 3];
            let crash = Crash {
                after,
                lacks,
                loses_requests,
                loses_answers,
                loses_arrivals,
                ..Crash::default()
            };
            plan.crashes = vec![crash];
            sum.take(execute(&plan));
        }
        sum
    }
}
