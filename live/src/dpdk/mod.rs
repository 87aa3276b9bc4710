//! Ports of DPDK: the driver without a copy.
//!
//! ```text
//!  eal (once)  ──> port: queues, counters ──> driver: sides, what waits to be sent
//!                  mbuf: pool, buffers    ──>
//! ```
//!
//! All `unsafe` of the program is in this folder.

mod devices;
mod driver;
mod eal;
mod error;
mod mbuf;
mod port;
mod stick;

pub use devices::with_defaults;
pub use driver::{Dpdk, DpdkPlan, PacketClock};
pub use eal::Eal;
pub use error::DpdkError;
pub use mbuf::{Mbuf, Pool};
pub use port::{EthPort, PortPlan};
