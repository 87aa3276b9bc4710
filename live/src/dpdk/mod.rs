//! Ports of DPDK: the driver without a copy.
//!
//! ```text
//!  eal (once)  ──> ports ──> port: set up, rules, end
//!                        ──> driver, of each worker: queues, sides, what waits to be sent
//!                        ──> mbuf: pool, buffers
//! ```
//!
//! All `unsafe` of the program is in this folder.

mod devices;
mod driver;
mod eal;
mod error;
mod mbuf;
mod port;
mod ports;
mod queue;
mod stick;

pub use devices::with_defaults;
pub use driver::{Dpdk, PacketClock};
pub use eal::{Eal, EnteredThread};
pub use error::DpdkError;
pub use mbuf::{Mbuf, Pool};
pub use port::{EthPort, PortPlan};
pub use ports::{DpdkPlan, Ports};
pub use queue::Queue;
