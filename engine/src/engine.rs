//! One shard of the middlebox: takes what comes in to the half that it concerns.

use crate::build_error::{BuildError, check};
use crate::config::Config;
use crate::connections::{self, Learner};
use crate::contents::lists::Lists;
use crate::contents::words::Words;
use crate::counters::{Counters, DropReason};
use crate::express::Burst;
use crate::frame::{Frame, Side};
use crate::ids::{ClientId, ServerQpId, ShardId};
use crate::mail::{Completion, Mail, Outcome};
use crate::mux::client::{Clients, Gap, Service};
use crate::mux::closing::Loss;
use crate::mux::in_place::InPlace;
use crate::mux::lookup::FlowTable;
use crate::mux::resume::Resumes;
use crate::mux::server::Servers;
use crate::mux::turn::Turns;
use crate::mux::watch::Watches;
use crate::mux::work::WorkRing;
use crate::out::{Action, Out};
use crate::policy::{Addresses, Choices, DeclinedKeys, Directory, DirectoryError, Map, Policy};
use crate::recovery::deadlines::Deadlines;
use crate::rules::Rule;
use crate::time::Nanos;
use crate::wire::{Classified, ClientPsn, Layout, PatchTables, classify};

/// Places per server where all server queue pairs may host and their number changes.
const PLACES_ALL: u32 = 64;

/// Frames that one call takes at most.
pub const BURST_MAX: usize = 64;

/// A message from another shard, with the frame that it carries.
#[derive(Debug)]
pub struct Letter<'a> {
    /// What it says.
    pub mail: Mail,
    /// The frame, if the message carries one.
    pub frame: Option<Frame<'a>>,
}

/// What became of one server queue pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerQpReport {
    /// Which.
    pub id: ServerQpId,
    /// It carried a request.
    pub carried: bool,
    /// It carried a request of another client than its owner.
    pub hosted: bool,
    /// It was given up.
    pub lost: bool,
}

/// One shard. It is driven: every call takes the time and a list for what is to be done, first
/// finishes what the last call had no room for, and returns how much of its input it took.
pub struct Engine {
    pub(crate) shard: ShardId,
    pub(crate) shards: u8,
    /// It is the only shard, and usual packets take the short way.
    pub(crate) goes_short: bool,
    /// Something may depend on what memory holds.
    pub(crate) minds: bool,
    pub(crate) config: Config,
    /// What it is built for.
    pub(crate) policy: Policy,
    /// What of that it does now.
    pub(crate) choices: Choices,
    pub(crate) directory: Directory,
    pub(crate) counters: Counters,
    pub(crate) icrc: PatchTables,
    pub(crate) clients: Clients,
    pub(crate) servers: Servers,
    pub(crate) watches: Watches,
    /// Clients whose oldest request waits for its place.
    pub(crate) parked: WorkRing,
    /// Clients that began a message that is not whole yet, or was not.
    pub(crate) assembling: WorkRing,
    pub(crate) declined: DeclinedKeys,
    /// Which key is at an address of a server's.
    pub(crate) addresses: Addresses,
    /// What is known of servers' memory.
    pub(crate) words: Words,
    pub(crate) lists: Lists,
    /// What became of bound requests.
    pub(crate) turns: Turns,
    /// Server queue pairs where something waits, while atomics are replaced.
    pub(crate) word_waiters: WorkRing,
    /// Steers frames that pass, if the engine is to.
    pub(crate) in_place: Option<InPlace>,
    /// The server queue pair whose connection just ended.
    pub(crate) dismissed: Option<ServerQpId>,
    /// Learns connections, if the engine is to.
    pub(crate) learner: Option<Learner>,
    /// Server queue pairs whose next waiting frame was recalled, in the order of the recalls.
    pub(crate) recalls: WorkRing,
    pub(crate) deadlines: Deadlines,
    /// What was bound before it went on where another engine was.
    pub(crate) resumes: Resumes,
    /// No connection goes over into translation before.
    pub(crate) flips_from: Nanos,
    pub(crate) requests: FlowTable,
    pub(crate) responses: FlowTable,
    /// The burst that is being taken.
    pub(crate) burst: Burst,
}

impl Engine {
    /// The engine of shard `shard` of `shards`. All of them are given the same directory.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn new(
        config: Config,
        policy: Policy,
        directory: Directory,
        shard: ShardId,
        shards: u8,
    ) -> Result<Engine, BuildError> {
        check(&config, &policy, &directory, shards)?;
        let learns = policy.trust.learns();
        let spare = if learns { config.connections_max as usize } else { 0 };
        let connections_max = directory.len().max(spare);
        let mut directory = directory;
        directory.reserve(connections_max);
        if learns {
            directory.trust.reserve(config.grants_max as usize, connections_max);
            let per_domain = if policy.server_qps == 0 { PLACES_ALL } else { policy.server_qps };
            directory.places.reserve(config.domains_max as usize, per_domain);
        }
        let connections = directory.connections();
        let declined = DeclinedKeys::new(config.declined_keys_max);
        let flows = |made: Result<FlowTable, DirectoryError>| made.map_err(BuildError::Directory);
        let requests = flows(FlowTable::requests(connections, connections_max))?;
        let responses = flows(FlowTable::responses(connections, connections_max))?;
        let learner = learns.then(|| {
            Learner::new(connections::Config {
                connections_max: config.connections_max,
                flows_max: config.connections_max.saturating_mul(2).max(256),
                handshakes_max: config.connections_max.clamp(64, 1024),
                ..connections::Config::default()
            })
        });
        Ok(Engine {
            shard,
            shards: shards.max(1),
            goes_short: shards <= 1 && config.goes_short(),
            minds: policy.knows_memory(),
            counters: Counters::default(),
            icrc: PatchTables::new(config.frame_len_max),
            clients: Clients::new(&config, connections, connections_max),
            servers: Servers::new(&config, connections, connections_max, u32::from(shards.max(1))),
            watches: Watches::new(connections_max),
            word_waiters: WorkRing::new(connections_max),
            parked: WorkRing::new(connections_max),
            recalls: WorkRing::new(connections_max),
            assembling: WorkRing::new(connections_max),
            declined,
            words: Words::new(config.words_room(&policy), connections_max),
            lists: Lists::new(
                config.lists_room(&policy),
                config.nodes_max,
                connections_max,
                policy.profile.list().map_or(&[], |list| &list.grids),
            ),
            turns: Turns::new(if policy.knows_memory() { config.requests_max } else { 0 }),
            addresses: Addresses::new(config.addresses_room(&policy)),
            in_place: InPlace::new(&config, &policy),
            dismissed: None,
            learner,
            deadlines: Deadlines::new(connections_max),
            resumes: Resumes::of(&config, connections_max),
            flips_from: Nanos(0),
            requests,
            responses,
            burst: Burst::new(),
            config,
            choices: policy.choices(),
            policy,
            directory,
        })
    }

    /// What the engine has counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What was counted while learning connections: also what there was no place for. `None` if
    /// the engine does not learn.
    #[must_use]
    pub fn learning(&self) -> Option<&connections::Counters> {
        self.learner.as_ref().map(Learner::counters)
    }

    /// The server queue pairs of this shard.
    pub fn server_qps(&self) -> impl Iterator<Item = ServerQpReport> {
        let mine = |id: &ServerQpId| self.shard_of(id.owner()) == Some(self.shard);
        let ids = (0..self.servers.states.len()).map(|i| ServerQpId(i as u32)).filter(mine);
        ids.filter_map(|id| {
            let state = self.servers.get(id)?;
            let (carried, hosted, lost) = (state.carried, state.hosted, state.loss.is_some());
            Some(ServerQpReport { id, carried, hosted, lost })
        })
    }

    /// Requests of this shard's clients, and requests to its server queue pairs, that are open.
    #[must_use]
    pub fn open_requests(&self) -> (usize, usize) {
        (self.clients.slots.used(), self.servers.slots.used())
    }

    /// Takes frames that came in on `side`, at most [`BURST_MAX`].
    ///
    /// A response is only legal in a later call than its request. Returns how many frames were
    /// taken; the host offers the rest again after it has carried `out` out.
    pub fn handle_burst(
        &mut self,
        side: Side,
        now: Nanos,
        frames: &mut [Frame<'_>],
        out: &mut Out,
    ) -> usize {
        debug_assert!(frames.len() <= BURST_MAX, "a burst of more than BURST_MAX frames");
        if self.policy.map == Map::None {
            return self.pass_burst(side, now, frames, out);
        }
        let mut usual = self.has_usual();
        self.look(side, usual, frames);
        for (taken, frame) in frames.iter_mut().enumerate() {
            match self.is_done() {
                true if out.has_room() => {}
                true => return taken,
                false if self.work_off(now, out) => usual = usual && self.stays_usual(),
                false => return taken,
            }
            if !(usual && self.take_usual((side, now), taken, frame, out)) {
                self.on_frame(side, now, frame, out);
                usual = usual && self.stays_usual();
            }
        }
        self.run(now, out);
        frames.len()
    }

    /// The same where nothing is translated.
    // A function by itself: its short loop has the registers to itself.
    #[inline(never)]
    fn pass_burst(
        &mut self,
        side: Side,
        now: Nanos,
        frames: &mut [Frame<'_>],
        out: &mut Out,
    ) -> usize {
        for (taken, frame) in frames.iter_mut().enumerate() {
            if !self.run(now, out) {
                return taken;
            }
            match self.in_place {
                None => self.pass(frame, out),
                Some(_) => self.pass_in_place(side, frame, out),
            }
        }
        self.run(now, out);
        frames.len()
    }

    /// Takes messages of other shards, in the order in which each of them was sent. Returns how
    /// many were taken.
    pub fn handle_mail(&mut self, now: Nanos, letters: &mut [Letter<'_>], out: &mut Out) -> usize {
        for (taken, letter) in letters.iter_mut().enumerate() {
            // News without a frame say nothing by themselves: several of one client are told
            // together, as they are where the server's half is on the same shard.
            if letter.frame.is_some() && !self.run(now, out) {
                return taken;
            }
            self.on_letter(now, letter, out);
        }
        self.run(now, out);
        letters.len()
    }

    /// Takes frames that the engine asked for with [`Action::Recall`], in the order in which it
    /// did. Returns how many were taken.
    pub fn handle_recalled(
        &mut self,
        now: Nanos,
        frames: &mut [Frame<'_>],
        out: &mut Out,
    ) -> usize {
        for (taken, frame) in frames.iter_mut().enumerate() {
            if !self.run(now, out) {
                return taken;
            }
            let Some(id) = self.recalls.pop() else {
                debug_assert!(false, "a frame that was not recalled");
                return taken;
            };
            if self.bind_recalled(now, ServerQpId(id), frame, out).is_some() {
                continue;
            }
            match classify(frame.bytes()) {
                Ok(Classified::Rc(layout)) => {
                    self.on_recalled(now, ServerQpId(id), frame, &layout, out);
                }
                _ => {
                    // Only a host that changed a held buffer comes here.
                    if let Some(server) = self.servers.get_mut(ServerQpId(id)) {
                        server.recalled = None;
                    }
                    self.lose_server(ServerQpId(id), Loss::Refusing);
                    out.push(Action::Hold(frame.token()));
                }
            }
        }
        self.run(now, out);
        frames.len()
    }

    /// Acts on deadlines that have passed. Returns the next one; it may be early, never late.
    /// `None` if there is nothing to wait for.
    pub fn handle_timeout(&mut self, now: Nanos, out: &mut Out) -> Option<Nanos> {
        if self.run(now, out) {
            self.run_timers(now);
            self.run(now, out);
        }
        if self.is_done() { self.next_deadline() } else { Some(now) }
    }

    /// The next deadline; it may be early, never late. `None` if there is nothing to wait for.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        let earliest = self.deadlines.earliest();
        (earliest != Nanos::NEVER).then_some(earliest)
    }

    /// Does what is left to do. `false` if `out` has no room left.
    #[inline(always)]
    fn run(&mut self, now: Nanos, out: &mut Out) -> bool {
        match self.is_done() {
            true => out.has_room(),
            false => self.work_off(now, out),
        }
    }

    /// Whether nothing is left to do.
    #[inline(always)]
    fn is_done(&self) -> bool {
        self.servers.work.is_empty() && self.clients.work.is_empty()
    }

    #[inline(never)]
    fn work_off(&mut self, now: Nanos, out: &mut Out) -> bool {
        while out.has_room() {
            // An index that is taken out before its work may be put in again by it.
            if let Some(server) = self.servers.work.pop() {
                if !self.run_server(now, ServerQpId(server), out) {
                    self.servers.work.push(server);
                }
            } else if let Some(client) = self.clients.work.pop() {
                if !self.run_client(now, ClientId(client), out) {
                    self.clients.work.push(client);
                }
            } else {
                return true;
            }
        }
        false
    }

    fn on_frame(&mut self, side: Side, now: Nanos, frame: &mut Frame<'_>, out: &mut Out) {
        if self.policy.map == Map::None {
            return self.pass_in_place(side, frame, out);
        }
        let classified = classify(frame.bytes());
        let layout = match &classified {
            Ok(Classified::Rc(layout)) => layout,
            Ok(Classified::Other(other)) => return self.on_other(side, now, frame, other, out),
            Err(_) => return self.pass(frame, out),
        };
        // Nothing is learnt of what comes back from where it went, or from who only says to be both
        // ends.
        let own_way = layout.opcode.is_request() == (side == Side::Client);
        let teaches = own_way || !self.config.keeps(Rule::OneSideTeachesNothing);
        if teaches {
            self.confirm(now, frame, layout, out);
        }
        // What a server asks of a client on the same connection has PSNs of its own: no
        // translation there.
        let found = match (side, layout.opcode.is_request()) {
            (Side::Client, true) => self.requests.get(layout),
            (Side::Server, false) => self.responses.get(layout),
            (Side::Client, false) if !self.config.keeps(Rule::ServerRequestsPass) => {
                self.requests.get(layout)
            }
            (Side::Server, true) if !self.config.keeps(Rule::ServerRequestsPass) => {
                self.responses.get(layout)
            }
            (Side::Client, false) | (Side::Server, true) => None,
        };
        let found = found.filter(|id| !self.is_past(now, ClientId(*id), out));
        let Some(connection) = found else {
            if teaches {
                self.learn(now, frame, layout, out);
            }
            self.note_passing(now, frame, layout);
            return self.pass(frame, out);
        };
        let id = ClientId(connection);
        match self.shard_of(id) {
            Some(shard) if shard != self.shard => {
                out.push_mail(shard, Mail::Foreign { side }, Some(frame.token()));
            }
            _ => self.on_packet(side, now, id, frame, layout, out),
        }
    }

    /// A packet of a connection owned here. Nothing is believed before its ICRC has been
    /// verified: a corrupt request would be sent again for ever.
    fn on_packet(
        &mut self,
        side: Side,
        now: Nanos,
        id: ClientId,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        self.watches.settle(id);
        if side == Side::Client && self.is_beyond_gap(id, layout) {
            return self.drop_frame(frame, DropReason::RequestGap, out);
        }
        if !self.is_sound(id, frame, layout) && self.config.keeps(Rule::CorruptIsDropped) {
            return self.drop_frame(frame, DropReason::IcrcBad, out);
        }
        if self.tag_is_unlike(side, id, layout) && self.config.keeps(Rule::TagsAreTheConnections) {
            return self.drop_frame(frame, DropReason::TagUnlike, out);
        }
        match side {
            Side::Client if self.watches.has_ended(id) => {
                self.drop_frame(frame, DropReason::Ended, out);
            }
            Side::Client => self.on_client_packet(now, id, frame, layout, out),
            Side::Server => self.on_server_packet(now, id.own_server_qp(), frame, layout, out),
        }
    }

    /// Whether a request is beyond a gap that its client is told of, or will be: nothing it says
    /// can change anything, so no work is spent on whether it is intact. While more comes in than
    /// can be taken, many are.
    fn is_beyond_gap(&self, id: ClientId, layout: &Layout) -> bool {
        self.clients.get(id).is_some_and(|client| {
            client.service == Service::Active
                && client.gap != Gap::None
                && ClientPsn::from_wire(layout.psn).is_after(client.expected)
        }) && self.config.keeps(Rule::GapIsNotTaken)
            && self.config.keeps(Rule::OneNakPerGap)
    }

    /// Whether a translated connection's packet has a VLAN tag though the connection has none, or
    /// the other way round: no rewriting makes it the connection's. The ICRC does not cover it.
    fn tag_is_unlike(&self, side: Side, id: ClientId, layout: &Layout) -> bool {
        let watched = self.clients.get(id).is_none_or(|c| c.service == Service::Watching);
        let connection = self.directory.connections().get(id.index()).filter(|_| !watched);
        let Some(connection) = connection else { return false };
        let path = match side {
            Side::Client => &connection.request,
            Side::Server => &connection.response,
        };
        path.tag.is_some() != layout.is_tagged()
    }

    fn on_letter(&mut self, now: Nanos, letter: &mut Letter<'_>, out: &mut Out) {
        let Some(frame) = letter.frame.as_mut() else {
            match &letter.mail {
                Mail::Void(request) => self.on_void(request),
                Mail::Completion(completion) => self.on_completion(completion),
                Mail::Gone(id) => self.on_gone(*id),
                Mail::Foreign { .. } | Mail::Request(_) => {}
            }
            return;
        };
        if let Mail::Foreign { side } = letter.mail {
            return self.on_frame(side, now, frame, out);
        }
        let Ok(Classified::Rc(layout)) = classify(frame.bytes()) else {
            debug_assert!(false, "a shard mailed a frame that is no RC packet");
            return self.drop_frame(frame, DropReason::Malformed, out);
        };
        match letter.mail {
            Mail::Request(request) => self.on_request(now, request, frame, &layout, out),
            Mail::Completion(Completion { outcome: Outcome::ReadPart { index }, .. }) => {
                if let Mail::Completion(completion) = &letter.mail {
                    self.on_read_part(now, completion, index, frame, &layout, out);
                }
            }
            Mail::Completion(Completion { client, slot, outcome: Outcome::Returned }) => {
                out.push(Action::Hold(frame.token()));
                self.on_returned(client, slot, frame.token(), out);
            }
            Mail::Completion(_) | Mail::Foreign { .. } | Mail::Gone(_) | Mail::Void(_) => {
                self.drop_frame(frame, DropReason::Malformed, out);
            }
        }
    }

    /// The shard that owns both halves of a connection.
    #[inline]
    pub(crate) fn shard_of(&self, id: ClientId) -> Option<ShardId> {
        if self.shards == 1 {
            return Some(self.shard);
        }
        self.directory.client(id).map(|connection| connection.shard)
    }
}
