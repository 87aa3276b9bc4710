//! Learning connections from their traffic alone.
//!
//! A packet names only the queue pair that it is for. Which queue pair it comes *from* is agreed
//! upon out of band, so a middlebox has to find out which flow towards the server and which flow
//! towards the client are the two directions of one connection. The [`Learner`] watches, changes
//! nothing, and pairs flows by evidence, strongest first:
//!
//! 1. [`Evidence::Configured`]: the operator says so ([`Learner::configure`]).
//! 2. [`Evidence::Cm`]: the connection manager's handshake (REQ, REP, then RTU or the first packet
//!    that fits) passed here ([`Learner::observe_mad`]).
//! 3. [`Evidence::SourcePort`]: both directions use one UDP source port, and that port is the
//!    symmetric hash of the two queue pair numbers that drivers use ([`symmetric_port`]). Equal
//!    ports alone prove nothing: crossed queue pairs, (0x61, 0x62) and (0x62, 0x61), share one.
//! 4. [`Evidence::Psn`]: of all unpaired flows between the two hosts exactly one has sent the
//!    request that was answered, [`Config::psn_matches`] times, and nothing contradicts it.
//!
//! The last two need several round trips; a single coincidence pairs nothing. What cannot be told
//! is not paired. A handshake is proof of a *new* connection: it ends what was known of its queue
//! pair numbers before, by whatever evidence.
//!
//! A flow here is a direction: source, destination and destination queue pair. Both directions of
//! a connection may carry requests.
//!
//! The way of a frame: `learner` finds its flow, `flow` keeps what the flow asked and was
//! answered, `epoch` notices that a known queue pair number belongs to a new connection,
//! `pairing` weighs the evidence. A message of the connection manager: `cm` reads it,
//! `handshakes` keeps what is under way, `told` makes connections of handshakes that are complete,
//! and of what is configured. A shorter way for frames that are like those before: `familiar`.

mod cm;
mod config;
mod epoch;
mod event;
mod familiar;
mod flow;
mod handshakes;
mod learner;
mod list;
mod pairing;
mod port;
mod store;
mod table;
mod told;

#[cfg(test)]
mod tests;

pub use config::Config;
pub use event::{
    CmFacts, Connection, ConnectionId, Counters, EndReason, Endpoint, Event, Evidence,
};
pub use familiar::Familiar;
pub use learner::{Learner, Sighting, UnpairedFlow};
pub use port::symmetric_port;
pub use told::ConfigureError;
