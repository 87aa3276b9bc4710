//! Clover, the disaggregated key-value store (Tsai et al., USENIX ATC 2020), as state machines.
//!
//! A memory node holds values and knows nothing; clients work on it with one-sided verbs alone. A
//! key's versions are a linked list of slots: each slot begins with a [`Pointer`] word that says
//! its version and, once it is superseded, where the next one is. An update WRITEs a fresh slot
//! and appends it with a COMPARE_SWAP of the tail's word; whoever loses that race walks on to the
//! new tail. A read READs the slot believed to be the tail and the key's *shortcut*, a word that
//! is updated later and points near the tail, and walks from there if it was superseded.
//!
//! * [`Machine`] is one client process: worker threads that share a cache of tails, threads that
//!   update shortcuts and report garbage, and one for epochs. It emits [`Post`]s, takes
//!   completions, and never waits.
//! * [`MetadataServer`] hands out slots, keeps the list of keys, and recycles superseded slots.
//! * The memory node needs no model here: whatever executes the verbs on real memory is one.
//!
//! Sources: `clover/` of the authors' repository pDPM ("clover source" below), and packets of the
//! fork that rewrites Clover's traffic in a middlebox (Grant et al.; "trace" below). Replication
//! is 1, and values fit a packet, as in both.

mod collector;
mod config;
mod layout;
mod machine;
mod message;
mod metadata;
mod pointer;
mod task;
mod verb;

#[cfg(test)]
mod tests;

pub use config::{COLLECTORS, CloverConfig, ConfigError, Variant, value_bytes};
pub use layout::{Layout, SHORTCUT_BYTES, SHORTCUT_FIRST, SlotClass};
pub use machine::{Finished, FinishedHow, Machine, MachineStats, Request};
pub use message::{
    Collected, Content, LARGE_MESSAGE_BYTES, MESSAGE_BYTES, Message, MessageHeader, ReplyBuffer,
    message_kind,
};
pub use metadata::{MetadataPeer, MetadataPost, MetadataServer, MetadataStats};
pub use pointer::{Entry, Pointer, SLOT_NUMBER_MAX, VERSION_MAX};
pub use verb::{Outcome, Peer, Post, Ticket, Verb};
