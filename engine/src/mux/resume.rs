//! Going on where another engine was. What was bound stands in its slots again, without its bytes:
//! READs and atomics are made anew from the log, what has a payload comes from its client again.
//! First each server queue pair is asked how far it is; see `resume_server.rs` and
//! `resume_client.rs`.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::client::{Client, ClientSlot, Service, State, Way};
use super::closing::{Hosting, Loss};
use super::results::AtomicResult;
use super::server::{ServerSlot, Source};
use super::slab::Queue;
use crate::Config;
use crate::build_error::BuildError;
use crate::config::Verify;
use crate::engine::Engine;
use crate::frame::Token;
use crate::ids::{ClientId, ServerQpId, ShardId};
use crate::journal::{Binding, Journal, KnownClient, KnownServer};
use crate::mail::{Kind, Origin, Request, SlotRef};
use crate::policy::{Directory, Map, Policy};
use crate::rules::Rule;
use crate::time::Nanos;
use crate::wire::{ClientPsn, ServerPsn};

/// The name of no slot: its client does not wait for it.
const NOBODY: SlotRef = SlotRef { index: u32::MAX, generation: 0 };

/// How far asking a server queue pair is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Nothing is to be asked.
    Over,
    Asking,
    /// Everything before `end` is done. Whether what is from there on surely is not.
    Settling {
        end: ServerPsn,
        exact: bool,
    },
}

/// One server queue pair that goes on.
#[derive(Clone, Copy)]
pub(crate) struct ResumedServer {
    pub(crate) phase: Phase,
    /// Everything before it is done.
    pub(crate) done: ServerPsn,
    /// It has acknowledged something since it was asked what it has.
    pub(crate) heard: bool,
    pub(crate) rounds: u32,
    /// The next question is due.
    pub(crate) due: bool,
    /// When it is asked no longer.
    pub(crate) until: Nanos,
    /// What is settled and stays open.
    pub(crate) kept: Queue,
    /// Requests whose place a zero-length WRITE is to take.
    pub(crate) voids: u32,
    /// What comes from then on was said when nothing was on its way any more that an engine before
    /// had sent.
    pub(crate) quiet_from: Nanos,
    pub(crate) cut: Cut,
}

/// Whether it is known how far a server queue pair is inside a message whose rest nobody has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cut {
    No,
    /// It is asked.
    Asked,
    /// Everything before `end` is done. Whether nothing from there on ever will be.
    Found {
        end: ServerPsn,
        exact: bool,
    },
}

/// One client that goes on.
#[derive(Clone, Copy)]
pub(crate) struct ResumedClient {
    /// Requests of which it is not known whether they ran.
    pub(crate) unsettled: u32,
    /// Requests that were bound before an earlier one of the same client, in PSN order.
    pub(crate) orphans: Queue,
    /// The PSN that it was asked to repeat from.
    pub(crate) asked: Option<ClientPsn>,
    /// When it must have done so.
    pub(crate) deadline: Nanos,
}

/// Time between two looks at all connections, ns.
const LOOK_NS: u64 = 1_000_000;

/// What only an engine has that goes on where another was, or that may find requests damaged that
/// it has bound. Empty in all others.
pub(crate) struct Resumes {
    pub(crate) clients: Box<[ResumedClient]>,
    pub(crate) servers: Box<[ResumedServer]>,
    /// What restored requests were, by [`Source`].
    pub(crate) bindings: Box<[Binding]>,
    /// Nobody has changed any of it since it was as it is in an engine that begins.
    settled: bool,
    /// Whether it is so again is looked for after this.
    looked_until: Nanos,
}

impl Resumes {
    /// Of an engine that begins.
    pub(crate) fn of(config: &Config, connections_max: usize) -> Resumes {
        match config.verify {
            Verify::Headers => Resumes::new(connections_max, Nanos(0), Nanos(0)),
            Verify::Full => Resumes::new(0, Nanos(0), Nanos(0)),
        }
    }

    fn new(connections_max: usize, until: Nanos, quiet_from: Nanos) -> Resumes {
        let client = ResumedClient {
            unsettled: 0,
            orphans: Queue::EMPTY,
            asked: None,
            deadline: Nanos::NEVER,
        };
        let server = ResumedServer {
            phase: Phase::Over,
            done: ServerPsn::new(0),
            heard: false,
            rounds: 0,
            due: true,
            until,
            kept: Queue::EMPTY,
            voids: 0,
            quiet_from,
            cut: Cut::No,
        };
        Resumes {
            clients: vec![client; connections_max].into(),
            servers: vec![server; connections_max].into(),
            bindings: Box::new([]),
            settled: true,
            looked_until: Nanos(0),
        }
    }

    /// Whether nothing is left of another engine's, and nothing is as if it were: then none of it
    /// needs to be looked at.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Finds out whether that is so again: now and then, since all connections are looked at.
    pub(crate) fn settle(&mut self, now: Nanos) {
        if self.settled || now < self.looked_until {
            return;
        }
        self.looked_until = now.after(LOOK_NS);
        let server = |server: &ResumedServer| {
            server.phase == Phase::Over && server.voids == 0 && server.kept.is_empty()
        };
        let client = |client: &ResumedClient| client.unsettled == 0 && client.orphans.is_empty();
        self.settled = self.servers.iter().all(server) && self.clients.iter().all(client);
    }

    /// The number is another connection's now.
    pub(crate) fn reset(&mut self, id: ClientId) {
        if let Some(server) = self.server_mut(id.own_server_qp()) {
            (server.phase, server.cut, server.voids) = (Phase::Over, Cut::No, 0);
        }
        if let Some(client) = self.client_mut(id) {
            (client.asked, client.deadline) = (None, Nanos::NEVER);
        }
    }

    pub(crate) fn server(&self, id: ServerQpId) -> Option<&ResumedServer> {
        self.servers.get(id.index())
    }

    pub(crate) fn server_mut(&mut self, id: ServerQpId) -> Option<&mut ResumedServer> {
        self.settled = false;
        self.servers.get_mut(id.index())
    }

    pub(crate) fn client(&self, id: ClientId) -> Option<&ResumedClient> {
        self.clients.get(id.index())
    }

    pub(crate) fn client_mut(&mut self, id: ClientId) -> Option<&mut ResumedClient> {
        self.settled = false;
        self.clients.get_mut(id.index())
    }

    pub(crate) fn binding(&self, source: Source) -> Option<&Binding> {
        match source {
            Source::Made(index) | Source::Missing(index) | Source::Void(index) => {
                self.bindings.get(index as usize)
            }
            Source::Frame | Source::Filler | Source::Again { .. } => None,
        }
    }
}

/// A binding to be put back at its server queue pair.
struct Restored {
    binding: Binding,
    slot: SlotRef,
    source: fn(u32) -> Source,
    /// The atomic's value is known.
    answered: bool,
}

impl Engine {
    /// The engine of shard `shard` of `shards` that goes on where others, of as many shards, were
    /// when their log ended: `journal` is what is to be known of it. Configuration, policy and
    /// directory are those of the engine before. The log is continued; if `config` asks for
    /// records, the new ones go behind the old.
    ///
    /// The engine before must be cut off from the network: two of them would give one PSN to two
    /// requests. Of connections that were learnt, those go on that were translated; the others
    /// pass, and are learnt again.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn resume(
        config: Config,
        policy: Policy,
        directory: Directory,
        (shard, shards): (ShardId, u8),
        journal: &Journal,
        now: Nanos,
    ) -> Result<Engine, BuildError> {
        if policy.changes_requests() {
            return Err(BuildError::KeysRecords);
        }
        let mut engine = Engine::new(config, policy, directory, shard, shards)?;
        if engine.policy.trust.learns() {
            engine.restore_learnt(now, journal)?;
        }
        let connections = engine.directory.len();
        let until = now.after(engine.config.resume_wait_ns);
        // Until then what was sent before may arrive, and be answered as late.
        let quiet_from = now.after(engine.config.packet_lifetime_ns.saturating_mul(2));
        let room = connections.max(engine.resumes.clients.len());
        engine.resumes = Resumes::new(room, until, quiet_from);
        let strangers = journal.clients().any(|(id, _)| id.index() >= connections)
            || journal.servers().any(|(id, _)| id.index() >= connections);
        if strangers && !engine.policy.trust.learns() {
            return Err(BuildError::ResumeDirectory);
        }
        let restored = engine.restore_clients(journal)?;
        engine.restore_servers(now, journal, restored)?;
        engine.close_ended();
        engine.deadlines.note_all(now);
        Ok(engine)
    }

    /// Puts the clients of this shard back; for each server queue pair what is bound there. Every
    /// shard gives the same names to the slots of all others.
    fn restore_clients(&mut self, journal: &Journal) -> Result<Vec<Vec<Restored>>, BuildError> {
        let mut bound: Vec<Vec<Restored>> = Vec::new();
        bound.resize_with(self.directory.len(), Vec::new);
        let mut used = vec![0; usize::from(self.shards)];
        for (id, known) in journal.clients() {
            let Some(shard) = self.shard_of(id).filter(|_| self.goes_on(id)) else {
                continue;
            };
            if shard == self.shard {
                self.restore_client(id, known)?;
                let begun = server_inside_message(journal, id, known);
                if let (Some(server), Some(client)) = (begun, self.clients.get_mut(id)) {
                    client.released.1 = server;
                }
            }
            let Some(used) = used.get_mut(usize::from(shard.0)) else { continue };
            for open in &known.open {
                let slot = SlotRef { index: *used, generation: 0 };
                *used += 1;
                let Some(list) = bound.get_mut(open.binding.server_qp.index()) else {
                    return Err(BuildError::ResumeDirectory);
                };
                let plain = open.binding.kind() == Kind::Plain;
                list.push(Restored {
                    binding: open.binding,
                    slot,
                    source: if plain { Source::Missing } else { Source::Made },
                    answered: open.value.is_some(),
                });
            }
        }
        for (id, known) in journal.servers() {
            let Some(list) = bound.get_mut(id.index()) else { continue };
            list.extend(known.strays.iter().map(|stray| Restored {
                binding: stray.binding,
                slot: NOBODY,
                source: match (stray.filled, stray.binding.kind()) {
                    (true, _) => |_| Source::Filler,
                    (false, Kind::Plain) => Source::Void,
                    // What it followed is filled, and the engine ended before it was as well.
                    (false, Kind::Atomic)
                        if follows_filled(known, &stray.binding)
                            && self.config.keeps(Rule::FillTakesTheRest) =>
                    {
                        Source::Void
                    }
                    (false, _) => Source::Made,
                },
                answered: false,
            }));
        }
        Ok(bound)
    }

    fn restore_client(&mut self, id: ClientId, known: &KnownClient) -> Result<(), BuildError> {
        let Some(&connection) = self.directory.client(id) else { return Ok(()) };
        let floor = known.floor.filter(|_| self.config.keeps(Rule::FloorIsRestored));
        let floor = floor.unwrap_or(connection.start.psn);
        let msn = known.msn.filter(|_| self.config.keeps(Rule::MsnIsRestored));
        let msn = msn.unwrap_or(connection.start.msn);
        if let Some(client) = self.clients.get_mut(id) {
            (client.expected, client.completed_end) = (floor, floor);
            (client.accepted_msn, client.completed_msn) = (msn, msn);
            client.last_plain = known.last_plain;
            client.last_key = known.key;
            client.in_message = known.in_message;
            client.service = match (known.stopped, known.open.is_empty()) {
                (true, _) => Service::Stopped,
                (_, false) if self.config.keeps(Rule::SilentUntilSettled) => Service::Resuming,
                _ => Service::Active,
            };
            client.stop_recorded = known.stopped;
        }
        for value in &known.values {
            let (psn, opcode, original) = (value.psn, value.opcode, value.original);
            self.clients.results.keep(id, AtomicResult { psn, opcode, original });
        }
        for open in &known.open {
            let slot = self.clients.slots.insert(ClientSlot {
                reads_mapped: self.choices.map == Map::All,
                ..restored_slot(&open.binding, open.value)
            });
            let slot = slot.ok_or(BuildError::ResumeLimits)?;
            self.enter_again(open.binding.steer.into());
            let Some(resumed) = self.resumes.client_mut(id) else { continue };
            resumed.unsettled += 1;
            let Some(client) = self.clients.states.get_mut(id.index()) else { continue };
            client.open += 1;
            if open.binding.psn == client.expected {
                follow(client, &open.binding);
                self.clients.slots.push_back(&mut client.queue, slot);
            } else {
                self.clients.slots.push_back(&mut resumed.orphans, slot);
            }
        }
        Ok(())
    }

    fn restore_servers(
        &mut self,
        now: Nanos,
        journal: &Journal,
        bound: Vec<Vec<Restored>>,
    ) -> Result<(), BuildError> {
        let mut bindings = Vec::new();
        for (id, known) in journal.servers() {
            // Every shard gives a gone host's places to the same others.
            if !self.goes_on(id.owner()) {
                continue;
            }
            if known.gone {
                self.directory.give_up_host(id, &self.policy);
            }
            if self.shard_of(id.owner()) == Some(self.shard) {
                self.restore_server(now, id, known);
            }
        }
        for (i, mut list) in bound.into_iter().enumerate() {
            let id = ServerQpId(i as u32);
            let mine = self.shard_of(id.owner()) == Some(self.shard);
            let Some(server) = self.servers.get(id).filter(|_| mine && !list.is_empty()) else {
                continue;
            };
            let next = server.next;
            list.sort_by_key(|one| core::cmp::Reverse(next.offset_from(one.binding.server_psn)));
            for one in &list {
                let index = bindings.len() as u32;
                bindings.push(one.binding);
                self.restore_request(id, one, index).ok_or(BuildError::ResumeLimits)?;
            }
            let lost = journal.servers().find(|(known, _)| *known == id).and_then(|(_, k)| k.lost);
            // An answer says that everything before it is done as well.
            let answered = list.iter().rev().find(|one| one.answered);
            let answered = answered.map(|one| one.binding.server_end());
            if let Some(resumed) = self.resumes.server_mut(id) {
                if let Some(end) = answered.filter(|end| end.is_after(resumed.done)) {
                    resumed.done = end;
                }
                resumed.phase = match lost {
                    Some((end, _)) => Phase::Settling { end, exact: false },
                    None => Phase::Asking,
                };
            }
            if let Some(server) = self.servers.get_mut(id) {
                server.deadline = now.after(self.config.server_timeout_ns);
            }
            self.servers.work.push(id.0);
        }
        self.resumes.bindings = bindings.into();
        Ok(())
    }

    fn restore_server(&mut self, now: Nanos, id: ServerQpId, known: &KnownServer) {
        let learns = self.policy.trust.learns();
        let until = now.after(self.config.packet_lifetime_ns);
        let Some(server) = self.servers.get_mut(id) else { return };
        if let Some((next, floor)) = known.span {
            (server.next, server.acknowledged) = (next, floor);
            server.carried = true;
        }
        server.in_message = known.in_message;
        for past in &known.past_reads {
            let end = past.read.map(|read| read.psn.add(read.packets));
            self.servers.past_reads.note(id, *past, end);
        }
        let Some(server) = self.servers.get_mut(id) else { return };
        // Where places are given out as they are needed, one that was only busy hosts again.
        if known.gone && (!learns || known.lost.is_some()) {
            server.hosting = Hosting::Gone;
        }
        let done = server.acknowledged;
        if let Some((_, refusing)) = known.lost {
            // Whatever was sent to it may still be on its way.
            server.loss = Some(match refusing {
                true => Loss::Refusing,
                false => Loss::Silent { until },
            });
            server.loss_recorded = true;
            self.close_host(id);
        }
        if let Some(resumed) = self.resumes.server_mut(id) {
            resumed.done = done;
        }
    }

    fn restore_request(&mut self, id: ServerQpId, one: &Restored, index: u32) -> Option<()> {
        let binding = &one.binding;
        let way = Way::from(binding.steer);
        let source = (one.source)(index);
        // A plain acknowledgement completes what a zero-length WRITE has the place of.
        let kind = if source == Source::Filler { Kind::Plain } else { binding.kind() };
        let request = Request {
            client: binding.client,
            slot: one.slot,
            server_qp: id,
            kind,
            packets: binding.packets,
            starts_message: binding.opcode.starts_message(),
            ends_message: binding.opcode.ends_message(),
            exclusive: binding.exclusive,
            alone: matches!(way, Way::Alone(_)),
            mapped: matches!(way, Way::Place(_)),
            parts: 0,
            access: binding.access().filter(|_| source != Source::Filler),
            operands: binding.operands,
            key: None,
            origin: Origin {
                psn: binding.psn,
                msn: binding.msn,
                opcode: binding.opcode,
                floor: binding.floor,
                way,
                key: binding.key,
                again: false,
            },
        };
        let slot = self.servers.slots.insert(ServerSlot {
            request,
            psn: binding.server_psn,
            token: Token(0),
            source,
            unverified: false,
            payload_len: binding.payload_len,
            parts: 0,
            done: one.answered,
            arrival: 0,
        })?;
        let server = self.servers.states.get_mut(id.index())?;
        self.servers.slots.push_back(&mut server.open, slot);
        server.count_open(id, &request);
        server.exclusive |= request.exclusive;
        server.hosted |= request.client != id.owner();
        if let Source::Void(_) = source {
            self.resumes.server_mut(id)?.voids += 1;
        }
        Some(())
    }
}

/// Whether a request of the same client before this one was filled.
fn follows_filled(known: &KnownServer, binding: &Binding) -> bool {
    known.strays.iter().any(|stray| {
        let same = stray.binding.client == binding.client;
        stray.filled && same && stray.binding.psn.is_before(binding.psn)
    })
}

/// The server queue pair that is inside a message of this client whose packets so far are all
/// complete.
fn server_inside_message(
    journal: &Journal,
    id: ClientId,
    known: &KnownClient,
) -> Option<ServerQpId> {
    let open = |server: ServerQpId| known.open.iter().any(|o| o.binding.server_qp == server);
    let mut servers = journal.servers();
    let inside = servers.find(|(server, s)| s.in_message == Some(id) && !open(*server));
    inside.map(|(server, _)| server)
}

/// The client goes on behind this request.
pub(super) fn follow(client: &mut Client, binding: &Binding) {
    client.expected = binding.psn.add(binding.packets);
    client.accepted_msn = binding.msn;
    client.last_key = binding.key;
    client.in_message = !binding.opcode.ends_message();
    client.target = binding.server_qp;
}

fn restored_slot(binding: &Binding, value: Option<u64>) -> ClientSlot {
    ClientSlot {
        psn: binding.psn,
        packets: binding.packets,
        msn: binding.msn,
        kind: binding.kind(),
        opcode: binding.opcode,
        ends_message: binding.opcode.ends_message(),
        way: binding.steer.into(),
        target: binding.server_qp,
        exclusive: binding.exclusive,
        access: binding.access(),
        operands: binding.operands,
        of_key: None,
        reads_mapped: false,
        state: State::Unsettled,
        key: binding.key,
        original: value.unwrap_or(0),
        parts: 0,
        held: Queue::EMPTY,
    }
}
