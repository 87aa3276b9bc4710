//! The queue-pair multiplexing engine of qpmux.
//!
//! Many clients each own a reliable connection to a memory server. The engine stands in the
//! path, sends all requests for one key through one server-side queue pair, and answers each
//! client in its own sequence numbers: a full responder to every client, a full requester to
//! every server queue pair.
//!
//! ```text
//!  frame ─> wire ─> connections ─> policy ──────────> mux ────────────────> frame
//!           parse,  whose is it    key, place,        client half, server
//!           ICRC                   is it certain      half, in flight
//!                                                       └─ recovery: repair, timers
//! ```
//!
//! The engine is driven, it never drives: no clock, no I/O, no allocation after construction,
//! no panic on any input. The host's loop:
//!
//! 1. offer what came in: [`Engine::handle_burst`], [`Engine::handle_mail`],
//!    [`Engine::handle_recalled`]; or [`Engine::handle_timeout`] when a deadline has passed;
//! 2. carry out [`Out::actions`] in their order, clear the list;
//! 3. offer again what was not taken.
#![no_std]

extern crate alloc;

pub mod connections;
pub mod journal;
pub mod policy;
pub mod wire;

mod adopt;
mod build_error;
mod config;
mod connections_report;
mod contents;
mod counters;
mod engine;
mod express;
mod frame;
mod ids;
mod mail;
mod mux;
mod names;
mod out;
mod recovery;
mod rules;
mod switch;
mod time;

pub use build_error::BuildError;
pub use config::{Config, ConfigError, Verify};
pub use connections_report::{ConnectionReport, ConnectionState};
pub use counters::{Counters, DeclineReason, DropReason, GeneratedKind, KeptReason, Tally};
pub use engine::{BURST_MAX, Engine, Letter, ServerQpReport};
pub use frame::{Frame, HEADROOM, Side, Token};
pub use ids::{ClientId, DomainId, ServerQpId, ShardId};
pub use mail::{Completion, Kind, Mail, Outcome, Request, Resumed, SlotRef};
pub use out::{Action, GENERATED_MAX, Out, STEP_ROOM};
pub use rules::Rule;
pub use time::Nanos;
