//! The rules that the engine keeps, by name, where one decision in the code keeps it.
//!
//! With the feature `mutations` an engine can be built that breaks one of them
//! ([`Config::without`](crate::Config)): a test that nobody then fails tests nothing. Without the
//! feature every rule holds, and asking costs nothing.

macro_rules! rules {
    ($($(#[$meta:meta])* $variant:ident => $text:literal,)*) => {
        /// One rule.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
        pub enum Rule { $($(#[$meta])* $variant,)* }

        impl Rule {
            /// Every rule, in the order of declaration.
            pub const ALL: &'static [Rule] = &[$(Rule::$variant,)*];

            /// The name used in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Rule::$variant => $text,)* }
            }
        }
    };
}

rules! {
    /// A request beyond the next expected PSN is not taken (IBTA vol. 1, 9.7.5.1.1).
    GapIsNotTaken => "gap-is-not-taken",
    /// Answers leave in the client's PSN order.
    AnswersInOrder => "answers-in-order",
    /// A sequence NAK goes out only when everything before it is complete: it says so.
    NakSaysDone => "nak-says-done",
    /// One NAK for a gap (IBTA vol. 1, 9.7.5.1.3).
    OneNakPerGap => "one-nak-per-gap",
    /// No plain acknowledgement carries the PSN of a READ or an atomic: rxe would complete it.
    NoPlainAckOnData => "no-plain-ack-on-data",
    /// WRITEs are acknowledged before the answer of a READ or atomic behind them goes out
    /// (qib_rc.c, rvt_rc_rcv_resp).
    AckBeforeData => "ack-before-data",
    /// A repeated WRITE is acknowledged again (IBTA vol. 1, C9-105).
    RepeatedWriteIsAcknowledged => "repeated-write-is-acknowledged",
    /// A repeated atomic is answered from the record (IBTA vol. 1, 9.7.5.1.1).
    RepeatedAtomicIsRemembered => "repeated-atomic-is-remembered",
    /// A repeated READ is answered again.
    RepeatedReadIsAnswered => "repeated-read-is-answered",
    /// A repeat of what is under way is not taken again.
    DuplicateIsAbsorbed => "duplicate-is-absorbed",
    /// The MSN counts messages, not packets (IBTA vol. 1, 9.7.7.1).
    MsnCountsMessages => "msn-counts-messages",
    /// A client is told the credits of its own server queue pair.
    CreditsOfOwnQueuePair => "credits-of-own-queue-pair",
    /// A request for another server queue pair waits for all before it.
    FenceBetweenQueuePairs => "fence-between-queue-pairs",
    /// Nothing of a client that stands behind a refused request, or one of unknown outcome, is
    /// handed over.
    RefusalHalts => "refusal-halts",
    /// An unknown outcome is not told as success.
    UnknownIsNotSuccess => "unknown-is-not-success",
    /// All requests of a key go to one place.
    KeyHasOnePlace => "key-has-one-place",
    /// A message that is mapped is handed over whole.
    MessageIsWhole => "message-is-whole",
    /// A message that is not whole is not given up while an answer before it is owed: the client's
    /// window may keep its last packet back.
    WindowMayKeepBack => "window-may-keep-back",
    /// Messages do not interleave on a server queue pair (IBTA vol. 1, 9.7.4.1.2).
    NoInterleaving => "no-interleaving",
    /// A request leaves its own server queue pair only where it is certain to be accepted.
    CertainAcceptance => "certain-acceptance",
    /// No more READs and atomics are outstanding than the responder remembers.
    DepthOfResponder => "depth-of-responder",
    /// Each packet to a server asks for an acknowledgement.
    AckIsRequested => "ack-is-requested",
    /// A plain acknowledgement does not complete a READ or an atomic: it implies that their
    /// answer was lost.
    PlainAckIsNoData => "plain-ack-is-no-data",
    /// Parts of a READ's response are taken in order.
    PartsInOrder => "parts-in-order",
    /// What is not answered is sent again.
    TimerRepairs => "timer-repairs",
    /// A server that is not ready is given the time that it asked for (IBTA vol. 1, 9.7.5.2.8).
    NotReadyIsWaitedFor => "not-ready-is-waited-for",
    /// No guest is bound while a request of the owner must be alone on its queue pair.
    GuestsMakeRoom => "guests-make-room",
    /// Guests leave an owner that keeps them waiting.
    GuestsLeave => "guests-leave",
    /// What a place brought to a host and did not run there goes elsewhere when the host goes.
    UnrunIsReturned => "unrun-is-returned",
    /// What may have run is not run again elsewhere.
    MaybeRunIsNotReturned => "maybe-run-is-not-returned",
    /// A place gets another host only when nothing of it is left on the old one.
    PlaceMovesEmpty => "place-moves-empty",
    /// A READ that is repeated inside its client's own message does not wait for its end.
    ReadsPassMessages => "reads-pass-messages",
    /// A compare-and-swap that would fail stays one: its answer is the server's.
    FailingSwapIsAsked => "failing-swap-is-asked",
    /// A word that is written on another server queue pair is not replaced any more.
    StrayWriteEndsWord => "stray-write-ends-word",
    /// A request for a word waits for WRITEs in the place of atomics that are on their way to it
    /// by another server queue pair.
    StrayWriteWaits => "stray-write-waits",
    /// An answer that contradicts what is known of a word ends that.
    ContradictionEndsWord => "contradiction-ends-word",
    /// What a steered request finds is told as if it were where its client had aimed.
    SteeredAnswerIsTranslated => "steered-answer-is-translated",
    /// A request for a list waits for all appends that are on their way to it.
    AppendsAreAwaited => "appends-are-awaited",
    /// What is known of memory is kept up whatever the engine is switched to.
    MemoryIsFollowed => "memory-is-followed",
    /// What comes late of a translated connection that has ended is not forwarded.
    LateIsNotForwarded => "late-is-not-forwarded",
    /// A message of which not all has come begins when nothing of its client is elsewhere.
    MessageBeginsAlone => "message-begins-alone",
    /// A late copy of a READ does not keep its client from ending its message.
    LateReadIsGivenUp => "late-read-is-given-up",
    /// A message that a crash cut for good is given up once nothing can end it.
    CutMessageIsGivenUp => "cut-message-is-given-up",
    /// What comes in where its receiver is teaches nothing about connections.
    OneSideTeachesNothing => "one-side-teaches-nothing",
    /// A translated connection's packet has a VLAN tag if its connection has.
    TagsAreTheConnections => "tags-are-the-connections",
    /// A frame with a wrong ICRC is not taken.
    CorruptIsDropped => "corrupt-is-dropped",
    /// A frame that was not verified when it came is before it is sent again.
    CheckedBeforeRepair => "checked-before-repair",
    /// PSNs towards a server queue pair follow each other without holes (IBTA vol. 1, 9.7.2).
    PsnsAreDense => "psns-are-dense",
    /// What is sent again under a PSN is what was sent under it.
    ResendsAreTheSame => "resends-are-the-same",
    /// A READ is asked for again from its start (rxe_resp.c forgets what was before a tail).
    ReadsFromTheirStart => "reads-from-their-start",
    /// The PSNs open at a server queue pair are less than half of all (IBTA vol. 1, 9.7.2).
    SpanBelowHalf => "span-below-half",
    /// What a server asks of its client, and the client's answers to that, pass as they are.
    ServerRequestsPass => "server-requests-pass",
    /// A server's sequence NAK is repaired, and told to nobody.
    SequenceNakEndsHere => "sequence-nak-ends-here",
    /// What is bound of a client that is served no longer stays until it is finished.
    BoundIsFinished => "bound-is-finished",
    /// A frame is given up when its request is complete.
    FramesAreGivenUp => "frames-are-given-up",
    /// A congestion mark stays on the packet (RFC 3168).
    MarksAreCarried => "marks-are-carried",
    /// A congestion notification reaches those whose packets were marked.
    MarkedAreNotified => "marked-are-notified",
    /// A binding is recorded.
    BindingIsRecorded => "binding-is-recorded",
    /// It is recorded before its packet leaves.
    BindingBeforePacket => "binding-before-packet",
    /// An atomic's value is recorded before it is told.
    ValueIsRecorded => "value-is-recorded",
    /// It is recorded that a server queue pair was given up.
    LossIsRecorded => "loss-is-recorded",
    /// It is recorded that nothing mapped is left on a server queue pair.
    GoneIsRecorded => "gone-is-recorded",
    /// It is recorded that a connection goes over into translation, before anything of it does.
    StartIsRecorded => "start-is-recorded",
    /// So is what passed before and may be asked for again.
    PastIsRecorded => "past-is-recorded",
    /// It is recorded that a translated connection has ended, before its server hears of it.
    EndIsRecorded => "end-is-recorded",
    /// It is recorded who holds a place.
    HostIsRecorded => "host-is-recorded",
    /// What ran alone in its place when an engine crashed still does for the next.
    AloneIsRestored => "alone-is-restored",
    /// No connection flips while what passed an engine before may still be on its way.
    FlipAfterCrash => "flip-after-crash",
    /// Another engine knows up to where a client's requests are complete.
    FloorIsRestored => "floor-is-restored",
    /// It goes on with the client's message count.
    MsnIsRestored => "msn-is-restored",
    /// It asks a server queue pair how far it is before it decides what ran.
    ServerIsAsked => "server-is-asked",
    /// It tells a client nothing before it knows how far that is.
    SilentUntilSettled => "silent-until-settled",
    /// What was bound ahead of an earlier request is not bound once more.
    BoundAheadIsFound => "bound-ahead-is-found",
    /// Bytes that a client sends again take the place only of the same WRITE.
    ReturnedBytesMatch => "returned-bytes-match",
    /// A hole whose bytes are gone is filled.
    HolesAreFilled => "holes-are-filled",
    /// It is recorded that it is filled, and that its client is served no longer: each says so.
    FillIsRecorded => "fill-is-recorded",
    /// What its client asked for behind it is filled as well.
    FillTakesTheRest => "fill-takes-the-rest",
    /// A connection flips when nothing is outstanding.
    FlipWaitsForQuiet => "flip-waits-for-quiet",
    /// It flips with a PSN that has not passed before.
    FlipBehindWhatPassed => "flip-behind-what-passed",
    /// It flips once some answers have been seen.
    FlipAfterAnswers => "flip-after-answers",
    /// What an atomic found that passed before the flip is known after it.
    PassedAtomicIsKnown => "passed-atomic-is-known",
    /// It flips when every atomic that passed has been seen answered.
    FlipAfterAtomics => "flip-after-atomics",
    /// The end of a host's connection is let through when its guests have left.
    TeardownWaits => "teardown-waits",
    /// A request goes where partition, tag and, if it matters, path MTU are its own's.
    PathFits => "path-fits",
    /// A long message stays on its client's own server queue pair.
    LongStaysHome => "long-stays-home",
    /// A packet of unknown size does not pass on a translated connection.
    UnknownOpcodeStops => "unknown-opcode-stops",
    /// A server queue pair that never answers is given up.
    SilentIsGivenUp => "silent-is-given-up",
    /// A translated connection's packets do not pass, also when its client is served no longer.
    AllIsTranslated => "all-is-translated",
    /// An answer to what is not open any more answers nothing else.
    LateAnswerFindsNothing => "late-answer-finds-nothing",
}
