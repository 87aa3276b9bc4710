//! What is kept of a log.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::fmt;

use super::codec::RecordError;
use super::record::{Binding, ClientPoint, PAST_READS, PastRead, Record, ServerPoint};
use crate::Config;
use crate::connections::CmFacts;
use crate::ids::{ClientId, DomainId, ServerQpId};
use crate::mail::Kind;
use crate::policy::Connection;
use crate::wire::{ClientPsn, Msn, Opcode, ServerPsn};

/// Why a log cannot be read on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JournalError {
    /// Bytes are no record.
    Record(RecordError),
    /// A connection's number is not below [`Config::connections_max`].
    Connection(u32),
    /// A client or a server queue pair has more open than [`Config::client_window_max`] or
    /// [`Config::server_window_max`] allow: the log is another configuration's, or has a hole.
    Open(u32),
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JournalError::Record(error) => error.fmt(f),
            JournalError::Connection(id) => write!(f, "connection {id} is beyond the limit"),
            JournalError::Open(id) => write!(f, "connection {id} has too much open"),
        }
    }
}

impl core::error::Error for JournalError {}

/// The result of an atomic, kept for a repeat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Value {
    pub(crate) psn: ClientPsn,
    pub(crate) opcode: Opcode,
    pub(crate) original: u64,
}

/// A binding at or beyond its client's floor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Open {
    pub(crate) binding: Binding,
    /// The value of an atomic that has been answered.
    pub(crate) value: Option<u64>,
}

/// A binding that no client waits for, not known to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stray {
    pub(crate) binding: Binding,
    /// A zero-length WRITE has its place.
    pub(crate) filled: bool,
}

/// What is known of a client.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct KnownClient {
    /// One that was learnt, if it is translated.
    pub(crate) connection: Option<Connection>,
    pub(crate) cm: Option<CmFacts>,
    /// The connection has ended; whether packets of it may still come.
    pub(crate) ended: Option<bool>,
    /// Everything before it is done; `None`: as the connection began.
    pub(crate) floor: Option<ClientPsn>,
    /// Messages before the floor; `None`: as the connection began.
    pub(crate) msn: Option<Msn>,
    pub(crate) last_plain: Option<ClientPsn>,
    pub(crate) key: Option<u64>,
    pub(crate) in_message: bool,
    /// By PSN, from the floor on; there may be holes.
    pub(crate) open: VecDeque<Open>,
    /// Results of atomics before the floor, oldest first.
    pub(crate) values: VecDeque<Value>,
    pub(crate) stopped: bool,
}

impl KnownClient {
    /// Everything before `floor` is done. `values_max` results are kept. The READs among that:
    /// their client may have been left to ask for them again, so that their servers need not have
    /// done them.
    fn advance(&mut self, floor: ClientPsn, values_max: usize) -> Vec<Binding> {
        let mut reads = Vec::new();
        let known = *self.floor.get_or_insert(floor);
        if !floor.is_after(known) {
            return reads;
        }
        self.floor = Some(floor);
        while let Some(open) = self.open.pop_front_if(|open| open.binding.psn.is_before(floor)) {
            self.close(&open, values_max);
            reads.extend(Some(open.binding).filter(|b| b.kind() == Kind::Read));
        }
        reads
    }

    /// Whether nobody waits for a binding: it is before the floor.
    fn is_behind(&self, binding: &Binding) -> bool {
        binding.is_repeat() || self.floor.is_some_and(|floor| binding.psn.is_before(floor))
    }

    fn close(&mut self, open: &Open, values_max: usize) {
        let binding = &open.binding;
        self.msn = Some(binding.msn);
        self.key = binding.key;
        self.in_message = !binding.opcode.ends_message();
        match (binding.kind(), open.value) {
            (Kind::Plain, _) => self.last_plain = Some(binding.psn),
            (Kind::Atomic, Some(original)) => {
                let (psn, opcode) = (binding.psn, binding.opcode);
                self.keep(Value { psn, opcode, original }, values_max);
            }
            _ => {}
        }
    }

    fn keep(&mut self, value: Value, values_max: usize) {
        if self.values.iter().any(|known| known.psn == value.psn) {
            return;
        }
        if self.values.len() >= values_max {
            self.values.pop_front();
        }
        self.values.push_back(value);
    }

    /// Takes a binding in at its place. What was bound with its PSN before came back.
    fn insert(&mut self, binding: Binding) {
        let floor = self.floor.unwrap_or(binding.floor);
        let place = |psn: ClientPsn| psn.offset_from(floor);
        let at = self.open.partition_point(|o| place(o.binding.psn) < place(binding.psn));
        let open = Open { binding, value: None };
        match self.open.get_mut(at) {
            Some(known) if known.binding.psn == binding.psn => *known = open,
            _ => self.open.insert(at, open),
        }
    }
}

/// What is known of a server queue pair.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct KnownServer {
    /// The PSN of the next request, and one before which everything is done; `None`: as its
    /// connection began.
    pub(crate) span: Option<(ServerPsn, ServerPsn)>,
    pub(crate) in_message: Option<ClientId>,
    pub(crate) strays: Vec<Stray>,
    /// The last READs and atomics, by PSN.
    pub(crate) past_reads: VecDeque<PastRead>,
    /// It was given up: everything before the PSN is done; whether nothing else is.
    pub(crate) lost: Option<(ServerPsn, bool)>,
    pub(crate) gone: bool,
}

impl KnownServer {
    fn note(&mut self, binding: &Binding) {
        let end = binding.server_end();
        let floor = binding.server_floor;
        let (next, known) = self.span.get_or_insert((binding.server_psn, floor));
        if end.is_after(*next) {
            *next = end;
            self.in_message = (!binding.opcode.ends_message()).then_some(binding.client);
        }
        if floor.is_after(*known) {
            *known = floor;
        }
        if let Some(past) = PastRead::of(binding) {
            self.remember(past);
        }
        self.purge();
    }

    /// Takes a READ or an atomic in at its place: what is open is written anew by client.
    fn remember(&mut self, past: PastRead) {
        let newer = |known: &&PastRead| known.server_psn.is_after(past.server_psn);
        let at = self.past_reads.len() - self.past_reads.iter().rev().take_while(newer).count();
        match at.checked_sub(1).and_then(|before| self.past_reads.get_mut(before)) {
            Some(known) if known.server_psn == past.server_psn => *known = past,
            _ => self.past_reads.insert(at, past),
        }
        if self.past_reads.len() > PAST_READS {
            self.past_reads.pop_front();
        }
    }

    fn purge(&mut self) {
        let Some((_, floor)) = self.span else { return };
        self.strays.retain(|stray| !stray.binding.server_psn.is_before(floor));
    }
}

/// What [`crate::Engine::resume`] needs of a log. What it holds is bounded by the limits of the
/// configuration: about 100 bytes for each open request and 24 for each result kept. Places that
/// are found as they are needed take 8 each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Journal {
    connections_max: u32,
    client_window_max: usize,
    server_window_max: usize,
    values_max: usize,
    declined_max: usize,
    clients: BTreeMap<u32, KnownClient>,
    servers: BTreeMap<u32, KnownServer>,
    declined: BTreeSet<(DomainId, u64)>,
    /// Who holds a place that was given out when it was needed.
    hosts: BTreeMap<u32, ServerQpId>,
}

impl Journal {
    /// An empty one, for the log of an engine with this configuration.
    #[must_use]
    pub fn new(config: &Config) -> Journal {
        Journal {
            connections_max: config.connections_max,
            client_window_max: config.client_window_max as usize,
            server_window_max: config.server_window_max as usize,
            values_max: config.atomic_results as usize,
            declined_max: config.declined_keys_max as usize,
            clients: BTreeMap::new(),
            servers: BTreeMap::new(),
            declined: BTreeSet::new(),
            hosts: BTreeMap::new(),
        }
    }

    /// Reads a whole log: records one behind the other.
    ///
    /// # Errors
    /// See [`JournalError`]; offsets count from the start of the record.
    pub fn read(config: &Config, mut log: &[u8]) -> Result<Journal, JournalError> {
        let mut journal = Journal::new(config);
        while !log.is_empty() {
            let (record, len) = Record::decode(log).map_err(JournalError::Record)?;
            journal.apply(&record)?;
            log = log.get(len..).unwrap_or(&[]);
        }
        Ok(journal)
    }

    /// Takes the next record of the log.
    ///
    /// # Errors
    /// When it says more than the configuration allows: the journal is of no use then.
    pub fn apply(&mut self, record: &Record) -> Result<(), JournalError> {
        match record {
            Record::Start { client, connection, cm } => {
                let known = self.client(*client)?;
                (known.connection, known.cm) = (Some(*connection), *cm);
            }
            Record::Vacant { client } => self.vacate(*client)?,
            Record::Ended { client, late } => self.client(*client)?.ended = Some(*late),
            Record::Host { place, server_qp } => {
                self.server(*server_qp)?.gone = false;
                self.hosts.insert(*place, *server_qp);
            }
            Record::Binding(binding) => self.bind(binding)?,
            Record::Value { client, psn, opcode, original } => {
                let values_max = self.values_max;
                let known = self.client(*client)?;
                let open = known.open.iter_mut().find(|open| open.binding.psn == *psn);
                match open {
                    Some(open) => open.value = Some(*original),
                    None => {
                        let value = Value { psn: *psn, opcode: *opcode, original: *original };
                        known.keep(value, values_max);
                    }
                }
            }
            Record::Fill { server_qp, psn } => self.fill(*server_qp, *psn)?,
            Record::Stopped { client } => self.stop(*client)?,
            Record::Lost { server_qp, done, refusing } => {
                let known = self.server(*server_qp)?;
                known.lost = Some((*done, *refusing));
                known.strays.clear();
            }
            Record::Gone { server_qp } => {
                self.server(*server_qp)?.gone = true;
                self.hosts.retain(|_, host| host != server_qp);
            }
            Record::Declined { domain, key } => {
                // One more than the engine's set holds, which then holds every key.
                if self.declined.len() <= self.declined_max {
                    self.declined.insert((*domain, *key));
                }
            }
            Record::ClientPoint(point) => {
                let values_max = self.values_max;
                let known = self.client(point.client)?;
                let reads = known.advance(point.floor, values_max);
                known.msn = Some(point.msn);
                known.last_plain = point.last_plain;
                (known.key, known.in_message) = (point.key, point.in_message);
                reads.into_iter().try_for_each(|read| self.stray(read, false))?;
            }
            Record::PastRead { server_qp, past } => self.server(*server_qp)?.remember(*past),
            Record::ServerPoint(point) => {
                let known = self.server(point.server_qp)?;
                known.span = Some((point.next, point.floor));
                known.in_message = point.in_message;
                known.purge();
            }
        }
        Ok(())
    }

    fn client(&mut self, id: ClientId) -> Result<&mut KnownClient, JournalError> {
        if id.0 >= self.connections_max {
            return Err(JournalError::Connection(id.0));
        }
        Ok(self.clients.entry(id.0).or_default())
    }

    fn server(&mut self, id: ServerQpId) -> Result<&mut KnownServer, JournalError> {
        if id.0 >= self.connections_max {
            return Err(JournalError::Connection(id.0));
        }
        Ok(self.servers.entry(id.0).or_default())
    }

    fn bind(&mut self, binding: &Binding) -> Result<(), JournalError> {
        let (values_max, window) = (self.values_max, self.client_window_max);
        self.server(binding.server_qp)?.note(binding);
        let known = self.client(binding.client)?;
        if known.stopped {
            return self.stray(*binding, false);
        }
        let reads = known.advance(binding.floor, values_max);
        if known.is_behind(binding) {
            self.stray(*binding, false)?;
        } else {
            known.insert(*binding);
            if known.open.len() > window {
                return Err(JournalError::Open(binding.client.0));
            }
        }
        reads.into_iter().try_for_each(|read| self.stray(read, false))
    }

    /// Nobody waits for the binding any more. It is kept until it is known to be done.
    fn stray(&mut self, binding: Binding, filled: bool) -> Result<(), JournalError> {
        let window = self.server_window_max;
        let known = self.server(binding.server_qp)?;
        if known.lost.is_none() {
            known.strays.push(Stray { binding, filled });
            known.purge();
        }
        if known.strays.len() > window {
            return Err(JournalError::Open(binding.server_qp.0));
        }
        Ok(())
    }

    fn stop(&mut self, id: ClientId) -> Result<(), JournalError> {
        let known = self.client(id)?;
        known.stopped = true;
        if known.msn.is_none() {
            // Nothing is known to be done: it is as its connection began.
            known.floor = None;
        }
        let open = core::mem::take(&mut known.open);
        open.iter().try_for_each(|open| self.stray(open.binding, false))
    }

    /// Forgets a connection. Whatever it was bound to do, or was bound at its server queue pair, is
    /// done; whose that was has the answers, and, since answers are given in order, those to all
    /// that it had asked for before.
    fn vacate(&mut self, id: ClientId) -> Result<(), JournalError> {
        let (server_qp, values_max) = (id.own_server_qp(), self.values_max);
        self.clients.remove(&id.0);
        self.servers.remove(&id.0);
        self.hosts.retain(|_, host| *host != server_qp);
        for known in self.servers.values_mut() {
            known.strays.retain(|stray| stray.binding.client != id);
        }
        let mut reads = Vec::new();
        for known in self.clients.values_mut() {
            let newest = known.open.iter().rev().find(|o| o.binding.server_qp == server_qp);
            if let Some(Open { binding, .. }) = newest.copied() {
                reads.extend(known.advance(binding.psn.add(binding.packets), values_max));
            }
        }
        reads.retain(|read| read.server_qp != server_qp);
        reads.into_iter().try_for_each(|read| self.stray(read, false))
    }

    fn fill(&mut self, id: ServerQpId, psn: ServerPsn) -> Result<(), JournalError> {
        let is_it = |b: &Binding| b.server_qp == id && b.server_psn == psn;
        let clients = self.clients.iter();
        let owner = clients.filter(|(_, c)| c.open.iter().any(|o| is_it(&o.binding)));
        if let Some(client) = owner.map(|(client, _)| ClientId(*client)).next() {
            self.stop(client)?;
        }
        let strays = &mut self.server(id)?.strays;
        strays.iter_mut().filter(|stray| is_it(&stray.binding)).for_each(|s| s.filled = true);
        Ok(())
    }

    /// The end of the log may be missing, so what is known is not to be gone on with: every client
    /// that it knows of, and each of the first `connections`, is served no longer, and what was
    /// bound may have run or may still. They are to know it from silence, and nothing is guessed.
    ///
    /// # Errors
    /// As of [`Journal::apply`].
    pub fn fence(&mut self, connections: u32) -> Result<(), JournalError> {
        let known = self.clients.keys().chain(self.servers.keys()).copied();
        let all: BTreeSet<u32> = known.chain(0..connections).collect();
        for id in &all {
            self.apply(&Record::Stopped { client: ClientId(*id) })?;
        }
        for id in all {
            let server_qp = ServerQpId(id);
            let span = self.servers.get(&id).and_then(|known| known.span);
            let done = span.map_or(ServerPsn::new(0), |(_, floor)| floor);
            self.apply(&Record::Lost { server_qp, done, refusing: false })?;
        }
        Ok(())
    }

    /// The same in as few records as can be: a log that may replace the one that was read. What
    /// is recorded later goes behind it.
    pub fn checkpoint(&self, mut emit: impl FnMut(&Record)) {
        for (id, known) in &self.servers {
            let server_qp = ServerQpId(*id);
            let past_reads = known.past_reads.iter();
            past_reads.for_each(|past| emit(&Record::PastRead { server_qp, past: *past }));
        }
        for (id, known) in &self.clients {
            let client = ClientId(*id);
            if let Some(connection) = known.connection {
                emit(&Record::Start { client, connection, cm: known.cm });
            }
            if let Some(late) = known.ended {
                emit(&Record::Ended { client, late });
            }
            if let (Some(floor), Some(msn)) = (known.floor, known.msn) {
                let KnownClient { last_plain, key, in_message, .. } = *known;
                let point = ClientPoint { client, floor, msn, last_plain, key, in_message };
                emit(&Record::ClientPoint(point));
            }
            for Value { psn, opcode, original } in known.values.iter().copied() {
                emit(&Record::Value { client, psn, opcode, original });
            }
            for open in &known.open {
                emit(&Record::Binding(open.binding));
                if let Some(original) = open.value {
                    let Binding { psn, opcode, .. } = open.binding;
                    emit(&Record::Value { client, psn, opcode, original });
                }
            }
            if known.stopped {
                emit(&Record::Stopped { client });
            }
        }
        for (id, known) in &self.servers {
            let server_qp = ServerQpId(*id);
            for stray in &known.strays {
                emit(&Record::Binding(stray.binding));
                if stray.filled {
                    emit(&Record::Fill { server_qp, psn: stray.binding.server_psn });
                }
            }
            if let Some((next, floor)) = known.span {
                let in_message = known.in_message;
                emit(&Record::ServerPoint(ServerPoint { server_qp, next, floor, in_message }));
            }
            if let Some((done, refusing)) = known.lost {
                emit(&Record::Lost { server_qp, done, refusing });
            }
            if known.gone {
                emit(&Record::Gone { server_qp });
            }
        }
        self.hosts.iter().for_each(|(place, host)| {
            emit(&Record::Host { place: *place, server_qp: *host });
        });
        self.declined.iter().for_each(|(domain, key)| {
            emit(&Record::Declined { domain: *domain, key: *key });
        });
    }

    /// Who holds which place.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = (u32, ServerQpId)> {
        self.hosts.iter().map(|(place, host)| (*place, *host))
    }

    pub(crate) fn clients(&self) -> impl Iterator<Item = (ClientId, &KnownClient)> {
        self.clients.iter().map(|(id, known)| (ClientId(*id), known))
    }

    pub(crate) fn servers(&self) -> impl Iterator<Item = (ServerQpId, &KnownServer)> {
        self.servers.iter().map(|(id, known)| (ServerQpId(*id), known))
    }
}
