//! What the engine counts, by name.

macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident => $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
        pub enum $name { $($(#[$vmeta])* $variant,)* }

        impl $name {
            /// Every variant, in the order of their declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The name used in reports and metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }
    };
}

named! {
    /// Why the engine did not pass a frame on.
    DropReason {
        /// Its work is done: what it said goes on in a packet of the engine's own.
        Consumed => "consumed",
        /// Invariant CRC does not match (RoCEv2 annex A17).
        IcrcBad => "icrc_bad",
        /// A header of a translated connection's frame contradicts another.
        Malformed => "malformed",
        /// With a VLAN tag on a translated connection that has none, or without on one that has.
        TagUnlike => "tag_unlike",
        /// A request beyond the next expected PSN: one before it was lost.
        RequestGap => "request_gap",
        /// A request that is already on its way.
        DuplicateInProgress => "duplicate_in_progress",
        /// A repeated request, answered from the engine's own state.
        DuplicateAnswered => "duplicate_answered",
        /// A repeated atomic whose result is no longer kept; the client stays without answer.
        DuplicateUnknown => "duplicate_unknown",
        /// The client has more open requests than the configured window.
        ClientWindow => "client_window",
        /// A table is full, or has as little room as its client has much in it: the request was
        /// not accepted, its client will repeat it.
        TableFull => "table_full",
        /// No room to hold a READ response that came early; it will be asked for again, by the
        /// engine or by the client.
        HeldFull => "held_full",
        /// A response whose PSN is not open.
        ResponseNotOpen => "response_not_open",
        /// A READ response that is not the next part of its READ, or of the wrong size.
        ResponseUnfit => "response_unfit",
        /// An opcode of which nobody can tell how many PSNs it takes, on a translated connection.
        UnknownOpcode => "unknown_opcode",
        /// The connection is out of service.
        OutOfService => "out_of_service",
        /// A request of a translated connection that came after its end was announced.
        Ended => "ended",
    }
}

named! {
    /// What the engine made by itself.
    GeneratedKind {
        /// Positive acknowledgement to a client.
        Ack => "ack",
        /// Atomic acknowledgement to a client.
        AtomicAck => "atomic_ack",
        /// Negative acknowledgement to a client.
        Nak => "nak",
        /// Congestion notification.
        Cnp => "cnp",
        /// A request sent again to a server, from the retained frame.
        Repair => "repair",
        /// Zero-length WRITE to a server: a question how far it is, or in the place of a request
        /// whose bytes are gone.
        Filler => "filler",
    }
}

named! {
    /// Why a request that carries a key stayed on its client's own server queue pair.
    DeclineReason {
        /// Memory key or right not known for both queue pairs, or outside the known range.
        NotTrusted => "not_trusted",
        /// Longer than the configured number of packets.
        TooLong => "too_long",
        /// Its packets are not the message that its first one announces, or the last one consumes
        /// a receive buffer.
        NotWhole => "not_whole",
        /// Path MTU or partition key of the two queue pairs differ.
        PathDiffers => "path_differs",
        /// The key is not known (a compare-and-swap before any keyed WRITE).
        NoKey => "no_key",
        /// An earlier request of the key was not covered by the configured regions.
        KeyDeclined => "key_declined",
        /// No server queue pair of the server may host.
        NoPlace => "no_place",
    }
}

named! {
    /// Why an atomic reached a server as an atomic, though atomics are replaced.
    KeptReason {
        /// It goes to its client's own server queue pair: it has no key, or it runs alone.
        OwnQueuePair => "own_queue_pair",
        /// It is not known what its word holds.
        ValueUnknown => "value_unknown",
        /// The word holds something else than the compare-and-swap expects.
        ValueDiffers => "value_differs",
        /// It is not certain that its server queue pair takes a WRITE of the word.
        NotTrusted => "not_trusted",
        /// Its server keeps words in another byte order than it is said to.
        ByteOrder => "byte_order",
        /// Requests that passed untranslated may be on their way: of connections that are learnt.
        OthersPass => "others_pass",
        /// The word was written past its key's server queue pair, or past the engine.
        WordOff => "word_off",
    }
}

/// Counters of one engine. All only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages that clients asked for (accepted in order, repeats not counted).
    pub requests: u64,
    /// Messages whose answer went to the client.
    pub completed: u64,
    /// Messages that carry a key.
    pub keyed: u64,
    /// Messages completed through the server queue pair of their place.
    pub mapped: u64,
    /// Keyed messages that ran alone on their client's own server queue pair, because it was not
    /// certain that the server queue pair of their place accepts them.
    pub alone: u64,
    /// Frames passed untouched.
    pub passed: u64,
    /// Connections learnt from their traffic.
    pub learnt: u64,
    /// Connections learnt that there was no room for: they pass.
    pub not_adopted: u64,
    /// Connections that went over into translation.
    pub flips: u64,
    /// Times that a server queue pair was emptied of guests for a request of its owner.
    pub emptied: u64,
    /// Requests that waited for the client's earlier ones ([`crate::policy::Order::Fenced`]).
    pub fence_waits: u64,
    /// Requests that waited for room on their server queue pair.
    pub server_waits: u64,
    /// Requests taken a second time because their READ was repeated.
    pub read_repeats: u64,
    /// Repeated READs that went out under their old PSN, inside a message of their client.
    pub reads_inside_messages: u64,
    /// Repeated READs that came back from a server queue pair that hosts no more, unanswered: their
    /// clients ask again. Also those that were given up as late copies, inside a message of their
    /// client.
    pub repeats_returned: u64,
    /// Messages that were not whole yet, given up because the table of requests was full
    /// or the last packet did not come.
    pub shed: u64,
    /// Times that a timer towards a server ran out.
    pub timeouts: u64,
    /// Negative acknowledgements from servers (sequence errors and receiver not ready).
    pub server_naks: u64,
    /// Requests that came back from a server queue pair without having run.
    pub returned: u64,
    /// Requests that were damaged when they came, which was found when they were to be sent again.
    pub damaged_kept: u64,
    /// Server queue pairs that stopped hosting.
    pub hosts_closed: u64,
    /// Places that another server queue pair took over while nothing of them was on its way.
    pub places_taken_over: u64,
    /// Ends of connections that were kept back until the guests had left.
    pub teardowns_held: u64,
    /// Server queue pairs given up.
    pub server_qps_lost: u64,
    /// Connections taken out of service.
    pub out_of_service: u64,
    /// Requests whose key was found by what is at their address.
    pub address_hits: u64,
    /// Requests at whose address nothing is known to be.
    pub address_misses: u64,
    /// Addresses forgotten to make room for others.
    pub address_evictions: u64,
    /// Compare-and-swaps that went on to the end of their list.
    pub steered_atomics: u64,
    /// READs that went on to the end of their list.
    pub steered_reads: u64,
    /// READs that went on to a node that was overwritten, and were asked for again where their
    /// clients had aimed.
    pub steered_back: u64,
    /// Entries of reports of superseded slots in which the slot was put in that was really
    /// superseded.
    pub reports_mended: u64,
    /// Switches to another policy, from what the engine was built for on.
    pub switches: u64,
    /// Requests that waited until it was known where their list ends.
    pub list_waits: u64,
    /// Atomics in whose place a WRITE went.
    pub replaced_atomics: u64,
    /// Words that are not replaced any more because they were written on another server queue
    /// pair.
    pub words_off: u64,
    /// Words that are not replaced any more because an answer contradicted what was known: they
    /// were written past the engine.
    pub words_contradicted: u64,
    /// Requests that waited for WRITEs in the place of atomics, on another server queue pair.
    pub word_waits: u64,
    /// Servers found to keep words in another byte order than they are said to.
    pub byte_orders_wrong: u64,
    /// Compare-and-swaps that clients were told have succeeded, and that have failed.
    pub swaps_succeeded: u64,
    /// See `swaps_succeeded`.
    pub swaps_failed: u64,
    /// Appends aimed elsewhere than at the presumed tail that passed all the same: it was not told
    /// what they append, or they would not fit there.
    pub unsteered_atomics: u64,
    /// Frames not passed on, by [`DropReason`].
    pub drops: Tally<{ DropReason::ALL.len() }>,
    /// Packets made by the engine, by [`GeneratedKind`].
    pub generated: Tally<{ GeneratedKind::ALL.len() }>,
    /// Atomics that stayed atomics, by [`KeptReason`].
    pub kept: Tally<{ KeptReason::ALL.len() }>,
    /// Keyed messages not mapped, by [`DeclineReason`].
    pub declined: Tally<{ DeclineReason::ALL.len() }>,
}

/// One counter per variant of an enumeration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally<const N: usize>([u64; N]);

impl<const N: usize> Default for Tally<N> {
    fn default() -> Self {
        Tally([0; N])
    }
}

impl Counters {
    /// Counts a compare-and-swap that a client is told of.
    #[inline]
    pub(crate) fn count_swap(&mut self, succeeded: bool) {
        self.swaps_succeeded += u64::from(succeeded);
        self.swaps_failed += u64::from(!succeeded);
    }
}

impl<const N: usize> Tally<N> {
    pub(crate) fn count(&mut self, index: usize) {
        if let Some(cell) = self.0.get_mut(index) {
            *cell += 1;
        }
    }

    fn get(&self, index: usize) -> u64 {
        self.0.get(index).copied().unwrap_or(0)
    }

    fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine += theirs;
        }
    }
}

impl Counters {
    /// Frames dropped for `reason`.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops.get(reason as usize)
    }

    /// Packets made of `kind`.
    #[must_use]
    pub fn generated(&self, kind: GeneratedKind) -> u64 {
        self.generated.get(kind as usize)
    }

    /// Keyed messages declined for `reason`.
    #[must_use]
    pub fn declined(&self, reason: DeclineReason) -> u64 {
        self.declined.get(reason as usize)
    }

    /// Atomics kept for `reason`.
    #[must_use]
    pub fn kept(&self, reason: KeptReason) -> u64 {
        self.kept.get(reason as usize)
    }

    /// Adds another shard's counters to these.
    pub fn merge(&mut self, other: &Counters) {
        self.requests += other.requests;
        self.completed += other.completed;
        self.keyed += other.keyed;
        self.mapped += other.mapped;
        self.alone += other.alone;
        self.passed += other.passed;
        self.learnt += other.learnt;
        self.not_adopted += other.not_adopted;
        self.flips += other.flips;
        self.emptied += other.emptied;
        self.fence_waits += other.fence_waits;
        self.server_waits += other.server_waits;
        self.read_repeats += other.read_repeats;
        self.reads_inside_messages += other.reads_inside_messages;
        self.repeats_returned += other.repeats_returned;
        self.shed += other.shed;
        self.timeouts += other.timeouts;
        self.server_naks += other.server_naks;
        self.returned += other.returned;
        self.damaged_kept += other.damaged_kept;
        self.hosts_closed += other.hosts_closed;
        self.places_taken_over += other.places_taken_over;
        self.teardowns_held += other.teardowns_held;
        self.server_qps_lost += other.server_qps_lost;
        self.out_of_service += other.out_of_service;
        self.address_hits += other.address_hits;
        self.address_misses += other.address_misses;
        self.address_evictions += other.address_evictions;
        self.switches += other.switches;
        self.steered_atomics += other.steered_atomics;
        self.steered_reads += other.steered_reads;
        self.steered_back += other.steered_back;
        self.reports_mended += other.reports_mended;
        self.list_waits += other.list_waits;
        self.replaced_atomics += other.replaced_atomics;
        self.words_off += other.words_off;
        self.words_contradicted += other.words_contradicted;
        self.word_waits += other.word_waits;
        self.byte_orders_wrong += other.byte_orders_wrong;
        self.swaps_succeeded += other.swaps_succeeded;
        self.swaps_failed += other.swaps_failed;
        self.kept.add(&other.kept);
        self.unsteered_atomics += other.unsteered_atomics;
        self.drops.add(&other.drops);
        self.generated.add(&other.generated);
        self.declined.add(&other.declined);
    }
}
