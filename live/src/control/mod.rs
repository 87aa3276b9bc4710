//! How a running program is asked, and told what to do.
//!
//! ```text
//!  qpmux-live ctl ── socket ── server, clerk ── letter, bell ──> desk ── host
//!  Prometheus ────── HTTP ──── metrics ────────     <── reply ──┘
//! ```
//!
//! Whoever asks has a thread of its own ([`server`], [`crate::metrics`]) and writes a letter
//! ([`mail`]); the packet loop looks into its box once a turn and replies with copies ([`desk`]).
//! It shares nothing else with anybody, takes no lock and waits for nobody. The threads bound what
//! they take from outside, and how often they write.

pub mod capture;
pub mod clerk;
pub mod desk;
pub mod mail;
pub mod measure;
pub mod protocol;
pub mod server;
pub mod socket;
