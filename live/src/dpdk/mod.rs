//! Ports of DPDK: the driver without a copy.
//!
//! ```text
//!  eal (once)  ──> port: queues, counters ──> driver: sides, what waits to be sent
//!                  mbuf: pool, buffers    ──>
//! ```
//!
//! All `unsafe` of the program is in this folder.

mod driver;
mod eal;
mod error;
mod mbuf;
mod port;

pub use driver::{Dpdk, PacketClock};
pub use eal::Eal;
pub use error::DpdkError;
pub use mbuf::{Mbuf, Pool};
pub use port::{EthPort, PortPlan};
