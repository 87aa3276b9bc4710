//! Models of the two ends of a reliable connection, and judges of what they are told.
//!
//! [`Responder`] is the server's end of one queue pair, [`Requester`] the client's. Both follow the
//! transport rules of the InfiniBand architecture (IBTA vol. 1, chapter 9) with the freedoms real
//! adapters take as switches, and both write down in [`Violations`] every rule their peer breaks.
//! [`RequestAudit`] and [`AnswerAudit`] judge requests and answers where they are sent, before any
//! loss.
//!
//! All of them are sans-IO: frames and the time in ns come as arguments, answers are polled for,
//! and nothing depends on a clock or on chance.
//!
//! The rules are named by these ids. Towards a client:
//!
//! | id | rule |
//! |---|---|
//! | I-C1 | answers come in PSN order |
//! | I-C2 | an ACK at n claims everything before n, so no answer may overtake a READ or atomic |
//! | I-C3 | so does a NAK |
//! | I-C4 | no plain ACK inside the PSNs of a READ or atomic |
//! | I-C5 | only what was sent is answered |
//! | I-C6 | an explicit ACK precedes a READ or atomic response that follows WRITEs |
//! | I-C7 | the answer's opcode and length fit the request and the place in it |
//! | I-C10 | a repeated atomic answers the value of its one execution |
//! | I-C13 | one sequence NAK per gap |
//! | I-C15 | MSN counts messages completed in order |
//! | A5 | addresses, UDP source port, P_Key, M, A and SE are those of the connection |
//! | O9 | every frame parses and has a right ICRC |
//! | I-X1 | no frame for another queue pair |
//!
//! Towards a server:
//!
//! | id | rule |
//! |---|---|
//! | I-S1 | PSNs are sent without holes |
//! | I-S2 | a PSN keeps its content when sent again |
//! | I-S3 | a READ resumed further on is never resumed further back |
//! | I-S5 | nothing between FIRST and LAST of a message |
//! | I-S6 | only requests that are certain to be accepted |
//! | I-S7 | READs and atomics in flight within max_dest_rd_atomic |
//! | I-S8 | no READ or atomic sent again after its record is gone |
//! | I-S9 | every message's last packet asks for an ACK |
//! | I-S10 | the window stays below 2^23 PSNs |
//! | I-S11 | what a later answer shows to be lost is sent again at once |
//! | I-S13 | after a receiver-not-ready NAK, its time is waited out |
//! | I-S15 | one path: addresses, UDP source port, P_Key, M |

mod audit;
mod known;
mod link;
mod requester;
mod responder;
mod verb;
mod violations;

#[cfg(test)]
mod tests;

pub use audit::{AnswerAudit, AnswerAuditConfig, RequestAudit, RequestAuditConfig};
pub use link::{Link, Packet, Wire};
pub use requester::{AckRequest, Requester, RequesterConfig, RequesterStats};
pub use responder::{
    DuplicateAck, DuplicateAckPsn, End, Ending, OverDepth, Region, Responder, ResponderConfig,
    ResponderStats, ResumeForm,
};
pub use verb::{Completion, Outcome, Status, Verb, VerbId};
pub use violations::{Violation, Violations};
