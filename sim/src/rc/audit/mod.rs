//! Judges of what is sent, at the place where it is sent.
//!
//! An endpoint behind a real wire cannot tell a hole from a loss, or a late answer from one that
//! goes back. These see every frame in the order of sending, and so can.

mod answers;
mod requests;

pub use answers::{AnswerAudit, AnswerAuditConfig};
pub use requests::{RequestAudit, RequestAuditConfig};
