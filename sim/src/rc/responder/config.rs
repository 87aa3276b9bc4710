//! What kind of responder it is.

use qpmux_engine::wire::{Msn, Psn};
use serde::{Deserialize, Serialize};

use super::super::link::Link;

/// Memory that requests may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Remote key.
    pub rkey: u32,
    /// First address.
    pub address: u64,
    /// Length in bytes.
    pub length: u64,
    /// Allows WRITE.
    pub write: bool,
    /// Allows READ.
    pub read: bool,
    /// Allows atomics.
    pub atomic: bool,
}

impl Region {
    /// A region that allows everything.
    pub fn new(rkey: u32, address: u64, length: u64) -> Self {
        Self { rkey, address, length, write: true, read: true, atomic: true }
    }

    /// Whether `length` bytes from `address` on lie inside.
    pub(super) fn contains(&self, address: u64, length: u64) -> bool {
        match address.checked_sub(self.address) {
            Some(start) => start <= self.length && length <= self.length - start,
            None => false,
        }
    }
}

/// Which duplicate WRITEs and SENDs are answered; all of it is legal (IBTA vol. 1, C9-105).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DuplicateAck {
    /// All, like rxe_resp.c.
    Always,
    /// Those that ask for it, like qib_rc.c.
    IfRequested,
}

/// The PSN of the ACK for a duplicate WRITE or SEND.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DuplicateAckPsn {
    /// That of the newest WRITE or SEND packet, so the ACK is never inside a READ or atomic.
    NewestWrite,
    /// That of the newest packet that is no READ, even if it is an atomic, like rxe_resp.c.
    NewestNonRead,
}

/// How a READ answer starts in the middle of the original one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResumeForm {
    /// With FIRST or ONLY, like an answer of its own (qib_rc.c).
    First,
    /// With MIDDLE or LAST, like the rest of the original (rxe_resp.c).
    Middle,
}

/// What happens to one READ or atomic in flight too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OverDepth {
    /// NAK, invalid request (qib_rc.c, and adapters in the field).
    Refuse,
    /// It is executed; only the oldest record goes (rxe_resp.c).
    Evict,
}

/// How a queue pair comes to its end though nobody has asked for anything wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// It refuses the next request: it fails at it (NAK 63), and is in the error state.
    Refuses,
    /// It executes nothing more and says nothing more; what it was about to say is lost.
    FallsSilent,
    /// It executes what comes, but what it says is not heard any more.
    IsUnheard,
}

/// The end of a queue pair, and when it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ending {
    /// How it ends.
    pub how: End,
    /// After so many requests that were in sequence.
    pub after: u64,
}

/// Everything a responder's behaviour depends on.
#[derive(Clone, Debug)]
pub struct ResponderConfig {
    /// Addresses and numbers, seen from the server.
    pub link: Link,
    /// PSN of the first request.
    pub start_psn: Psn,
    /// MSN before the first message, 0 on a fresh queue pair.
    pub msn_start: Msn,
    /// Credit code of every ACK, `0..=31`; 31 says "no limit", as rxe always does.
    pub credits: u8,
    /// READs and atomics that may be in flight, and records kept for replay; at most 255.
    pub max_dest_rd_atomic: usize,
    /// What happens beyond that.
    pub over_depth: OverDepth,
    /// Memory of the queue pair's protection domain.
    pub regions: Vec<Region>,
    /// The queue pair allows WRITE.
    pub allow_write: bool,
    /// The queue pair allows READ.
    pub allow_read: bool,
    /// The queue pair allows atomics.
    pub allow_atomic: bool,
    /// Longest message in bytes. The architecture allows 2^31; less bounds the memory of answers.
    pub max_message: u32,
    /// Time from a request to its answer, ns. A READ or atomic is in flight for as long.
    pub answer_delay: u64,
    /// ACK requests per ACK: 1 answers each at once.
    pub ack_every: u32,
    /// Longest time an ACK is held back for that, ns.
    pub ack_delay: u64,
    /// A READ or atomic response stands for the ACKs held back (rxe); otherwise they go first.
    pub swallow_acks: bool,
    /// Which duplicates are acknowledged.
    pub duplicate_ack: DuplicateAck,
    /// With which PSN.
    pub duplicate_ack_psn: DuplicateAckPsn,
    /// How resumed READ answers begin.
    pub resume: ResumeForm,
    /// After a READ was resumed, nothing before that point is found any more (rxe_resp.c).
    pub narrow_reads: bool,
    /// A gap is NAKed even while a receiver-not-ready NAK is outstanding (rxe_resp.c).
    pub nak_during_rnr: bool,
    /// Receive buffers posted for SEND and immediate data; `None` is any number.
    pub receives: Option<u64>,
    /// Every n-th message is first refused as "receiver not ready", whatever it is; 0 is none.
    pub rnr_every: u64,
    /// Timer code of these refusals, `0..=31` (IBTA vol. 1, table 45).
    pub rnr_timer: u8,
    /// Every message's last packet must ask for an ACK (I-S9); a native client need not.
    pub require_ack_request: bool,
    /// The end of the queue pair; `None` if none comes.
    pub ending: Option<Ending>,
    /// PSNs whose content is remembered for I-S2.
    pub content_window: u32,
}

impl ResponderConfig {
    /// A strict responder with no freedoms used: acknowledges at once, keeps 16 records, refuses
    /// what goes beyond.
    pub fn new(link: Link, start_psn: Psn, regions: Vec<Region>) -> Self {
        Self {
            link,
            start_psn,
            msn_start: Msn::new(0),
            credits: 31,
            max_dest_rd_atomic: 16,
            over_depth: OverDepth::Refuse,
            regions,
            allow_write: true,
            allow_read: true,
            allow_atomic: true,
            max_message: 1 << 24,
            answer_delay: 500,
            ack_every: 1,
            ack_delay: 2_000,
            swallow_acks: false,
            duplicate_ack: DuplicateAck::Always,
            duplicate_ack_psn: DuplicateAckPsn::NewestWrite,
            resume: ResumeForm::First,
            narrow_reads: false,
            nak_during_rnr: false,
            receives: None,
            rnr_every: 0,
            rnr_timer: 1,
            require_ack_request: false,
            ending: None,
            content_window: 4096,
        }
    }

    /// The same with the habits of Linux' rxe, measured on kernel 6.1.
    pub fn like_rxe(self) -> Self {
        Self {
            max_dest_rd_atomic: 4,
            over_depth: OverDepth::Evict,
            swallow_acks: true,
            duplicate_ack_psn: DuplicateAckPsn::NewestNonRead,
            resume: ResumeForm::Middle,
            narrow_reads: true,
            nak_during_rnr: true,
            ..self
        }
    }
}
