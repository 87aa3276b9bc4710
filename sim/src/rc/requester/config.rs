//! What kind of requester it is.

use qpmux_engine::wire::{Msn, Psn};
use serde::{Deserialize, Serialize};

use super::super::link::Link;

/// Which packets ask for an ACK. Whatever is sent again does so at the end of each message, and
/// so does the last packet that the window allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AckRequest {
    /// The last of every message.
    EveryMessage,
    /// The last of every message, and each n-th packet (rxe_req.c: 64; hfi1: 16).
    EveryPackets(u32),
    /// The last packet of what has been posted, and every READ and atomic.
    LastOfBatch,
}

/// Everything a requester's behaviour depends on.
#[derive(Clone, Debug)]
pub struct RequesterConfig {
    /// Addresses and numbers, seen from the client.
    pub link: Link,
    /// PSN of the first request.
    pub start_psn: Psn,
    /// MSN of the responder before the first message.
    pub msn_start: Msn,
    /// PSNs that may be unanswered; rxe_param.h has 128. A longer READ is sent on its own.
    pub window: u32,
    /// READs and atomics that may be unanswered.
    pub max_rd_atomic: usize,
    /// Which packets ask for an ACK.
    pub ack_request: AckRequest,
    /// Local ACK timeout `t`, 4.096 us * 2^t; 0 never times out (IBTA vol. 1, 9.7.6).
    pub timeout: u8,
    /// Timeouts, sequence NAKs and implied NAKs without progress before the queue pair gives up.
    /// An adapter has three bits for it; tests of heavy loss want more.
    pub retry_count: u32,
    /// Receiver-not-ready NAKs without progress before it gives up; 7 is any number.
    pub rnr_retry: u32,
    /// A READ or atomic response completes the WRITEs before it. Some adapters wait for an
    /// explicit ACK (qib_rc.c).
    pub responses_acknowledge: bool,
    /// Asks for a whole READ again, not only for what is missing.
    pub restart_reads: bool,
    /// Drops what comes of a READ behind a hole and waits for its timeout, like rxe_comp.c;
    /// otherwise asks again at once.
    pub waits_at_holes: bool,
    /// Sends everything unanswered again when an answer's MSN is lower than one before, as some
    /// adapters are reported to.
    pub resends_at_lower_msn: bool,
    /// Sends what uses up a receive buffer only within the credits of the newest ACK (IBTA
    /// vol. 1, 9.7.7.2), or when nothing else is unanswered.
    pub honours_credits: bool,
}

impl RequesterConfig {
    /// A requester with the limits of rxe, a timeout of 67 ms (t = 14) and 7 retries.
    pub fn new(link: Link, start_psn: Psn) -> Self {
        Self {
            link,
            start_psn,
            msn_start: Msn::new(0),
            window: 128,
            max_rd_atomic: 16,
            ack_request: AckRequest::EveryMessage,
            timeout: 14,
            retry_count: 7,
            rnr_retry: 7,
            responses_acknowledge: true,
            restart_reads: false,
            waits_at_holes: false,
            resends_at_lower_msn: false,
            honours_credits: false,
        }
    }

    /// Time without progress after which requests are sent again, ns.
    pub fn timeout_ns(&self) -> Option<u64> {
        (self.timeout != 0).then(|| 4096 << self.timeout.min(31))
    }
}
