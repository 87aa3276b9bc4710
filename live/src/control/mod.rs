//! How a running program is asked, and told what to do.
//!
//! ```text
//!  qpmux-live ctl ── socket ── server, clerk ──┐       ┌── letter, bell ──> desk ── host
//!  Prometheus ────── HTTP ──── metrics ────────┼─ crew ┼── letter, bell ──> desk ── host
//!  signals ─────────────────── foreman ────────┘       └──    <── reply ──┘
//! ```
//!
//! Whoever asks has a thread of its own ([`server`], [`crate::metrics`]) and writes a letter
//! to each worker ([`crew`]); a worker's loop looks into its box once a turn and replies with
//! copies ([`desk`]). It shares nothing else with anybody, takes no lock and waits for nobody. The
//! threads bound what they take from outside, and how often they write ([`mail`]). Signals are for
//! the main thread, which writes letters, too ([`foreman`]).

pub mod capture;
pub mod clerk;
pub mod crew;
pub mod desk;
pub mod foreman;
pub mod mail;
pub mod measure;
pub mod protocol;
pub mod server;
pub mod socket;
