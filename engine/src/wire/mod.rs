//! RoCEv2 on the wire: headers, whole packets, serial numbers and the invariant CRC.
//!
//! Nothing here keeps state and nothing panics: every frame is either understood
//! ([`packet::classify`]) or refused with an [`Error`] that names the header and the field.
//! Only [`PatchTables::new`] allocates.

mod classify;
mod fields;

pub mod aeth;
mod answers;
pub mod atomic;
pub mod bth;
pub mod build;
pub mod cm;
pub(crate) mod common;
pub mod deth;
pub mod error;
pub mod ethernet;
pub(crate) mod facts;
pub mod icrc;
pub mod immediate;
pub mod ipv4;
pub mod ipv6;
pub mod opcode;
pub mod packet;
pub mod psn;
pub(crate) mod reform;
pub mod reth;
pub mod udp;
pub(crate) mod usual;

#[cfg(test)]
mod tests;

pub use aeth::{Aeth, AethRepr, NakCode, Syndrome, rnr_delay_ns};
pub use atomic::{AtomicAckEth, AtomicAckEthRepr, AtomicEth, AtomicEthRepr};
pub use bth::{Bth, BthRepr};
pub use build::{Extension, Path, build, build_cm, build_cnp, frame_len};
pub use cm::{CmMad, CmMessage};
pub use deth::{Deth, DethRepr};
pub use error::{Error, Header, Problem};
pub use ethernet::{Ethernet, EthernetRepr, insert_tag, set_tag};
pub use icrc::PatchTables;
pub use immediate::{Ieth, IethRepr, ImmDt, ImmDtRepr};
pub use ipv4::{Ipv4, Ipv4Repr};
pub use ipv6::{Ipv6, Ipv6Repr};
pub use opcode::Opcode;
pub use packet::{Classified, CmLayout, CnpLayout, Ecn, Layout, NotRc, Target, classify};
pub use psn::{ClientPsn, Msn, Psn, Qpn, ServerPsn};
pub use reth::{Reth, RethRepr};
pub use udp::{Udp, UdpRepr};
