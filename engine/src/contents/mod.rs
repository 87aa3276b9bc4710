//! What is known of servers' memory: what single words hold, and how versions of records are
//! linked.
//!
//! It is known on the shard of the server queue pair that a key's requests run on, in the order in
//! which they are bound there. All of it may be forgotten at any time: then requests go out as
//! their clients asked for them, and what their answers say is learnt anew.

pub(crate) mod lists;
pub(crate) mod words;
