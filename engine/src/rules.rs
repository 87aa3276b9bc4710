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
    /// A request waits until it is known where its list ends.
    EndIsConfirmed => "end-is-confirmed",
    /// A request is only steered from a node of the version that its client means.
    SteeredVersionFits => "steered-version-fits",
    /// What a steered request finds is told as if it were where its client had aimed.
    SteeredAnswerIsTranslated => "steered-answer-is-translated",
    /// Nothing is appended to itself.
    NotOntoItself => "not-onto-itself",
    /// What comes late of a translated connection that has ended is not forwarded.
    LateIsNotForwarded => "late-is-not-forwarded",
    /// A frame with a wrong ICRC is not taken.
    CorruptIsDropped => "corrupt-is-dropped",
}
