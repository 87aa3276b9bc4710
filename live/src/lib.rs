//! The engine between two Linux network interfaces.
//!
//! ```text
//!  clients ── interface ─> port ─┐                          ┌─> port ── interface ── servers
//!                                ├─> host: pool, engine, out ┤
//!                         port <─┘                          └── port <─
//! ```
//!
//! [`host`] is the loop, and reads as the simulator's: a burst in, the engine, actions out in
//! their order. It is generic over the [`driver`], which owns ports and buffers: [`copying`] is
//! that of packet sockets ([`packet`]).
//!
//! Operators do not reach into the loop. [`control`] and [`metrics`] are threads that send it
//! letters, and it answers with copies; [`ctl`] is the command at the other end of the socket.

pub mod addresses;
pub mod announcement;
pub mod beside;
pub mod cli;
pub mod config;
pub mod control;
pub mod copying;
pub mod ctl;
#[cfg(feature = "dpdk")]
#[allow(unsafe_code, reason = "a library in C")]
pub mod dpdk;
pub mod driver;
pub mod host;
pub mod journal;
pub mod log;
pub mod metrics;
pub mod operations;
pub mod packet;
pub mod port;
pub mod report;
pub mod run;
pub mod shed;
pub mod standby;
pub mod subnets;
pub mod tokens;
pub mod wait;
pub mod workers;

#[cfg(test)]
mod tests;
