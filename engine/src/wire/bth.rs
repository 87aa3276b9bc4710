//! The base transport header, 12 bytes, which every RoCEv2 packet has (IBTA vol. 1, 9.2).

use super::error::{Error, Header};
use super::fields::{header_view, put_bits};
use super::opcode::Opcode;
use super::psn::{Psn, Qpn};

const SOLICITED: u8 = 0x80;
const MIGRATION_REQUEST: u8 = 0x40;
const PAD_COUNT: u8 = 0x30;
const VERSION: u8 = 0x0f;
const FECN: u8 = 0x80;
const BECN: u8 = 0x40;
const ACK_REQUEST: u8 = 0x80;

/// The offset of the byte with SE, M, pad count and transport version.
const FLAGS_AT: usize = 1;
/// The offset of the byte with FECN and BECN, which the ICRC leaves out.
pub(super) const CONGESTION_AT: usize = 4;
/// The offset of the byte with the ACK request; its other bits are reserved.
const ACK_REQUEST_AT: usize = 8;

header_view! {
    /// View of a base transport header.
    Bth, Bth, BthRepr::LEN;
    /// Opcode: transport (3 bits, 000 is RC) and operation (5 bits).
    opcode, set_opcode: u8 = 0;
    /// Solicited event, migration request, pad count and transport version.
    flags, set_flags: u8 = FLAGS_AT;
    /// Partition key.
    partition_key, set_partition_key: u16 = 2;
    /// FECN, BECN and six reserved bits.
    congestion, set_congestion: u8 = CONGESTION_AT;
    /// The queue pair that the packet is for.
    dest_qp, set_dest_qp: Qpn = 5;
    /// The ACK request and seven reserved bits, which the ICRC does cover.
    ack_byte, set_ack_byte: u8 = ACK_REQUEST_AT;
    /// Packet sequence number.
    psn, set_psn: Psn = 9;
}

/// Defines a getter and a setter for each flag; the byte's other bits are left as they are.
macro_rules! flags {
    ($($(#[$doc:meta])* $get:ident, $set:ident = $byte:ident, $at:expr, $mask:expr;)*) => {
        impl<T: AsRef<[u8]>> Bth<T> {
            $(
                $(#[$doc])*
                #[inline]
                pub fn $get(&self) -> bool {
                    self.$byte() & $mask != 0
                }
            )*
        }

        impl<T: AsRef<[u8]> + AsMut<[u8]>> Bth<T> {
            $(
                #[doc = concat!("Writes what [`Self::", stringify!($get), "`] reads.")]
                #[inline]
                pub fn $set(&mut self, value: bool) {
                    put_bits(self.bytes.as_mut(), $at, $mask, if value { $mask } else { 0 });
                }
            )*
        }
    };
}

flags! {
    /// The receiver is to raise an event (SE).
    solicited, set_solicited = flags, FLAGS_AT, SOLICITED;
    /// Migration state of the connection (M).
    migration_request, set_migration_request = flags, FLAGS_AT, MIGRATION_REQUEST;
    /// The packet met congestion on its way (FECN).
    fecn, set_fecn = congestion, CONGESTION_AT, FECN;
    /// Packets the other way met congestion (BECN).
    becn, set_becn = congestion, CONGESTION_AT, BECN;
    /// The requester asks for an acknowledgement (A).
    ack_request, set_ack_request = ack_byte, ACK_REQUEST_AT, ACK_REQUEST;
}

impl<T: AsRef<[u8]>> Bth<T> {
    /// Bytes between the payload and the ICRC that fill the last word, `0..=3`.
    #[inline]
    pub fn pad_count(&self) -> u8 {
        (self.flags() & PAD_COUNT) >> 4
    }

    /// Transport header version, `0..=15`; only 0 exists.
    #[inline]
    pub fn version(&self) -> u8 {
        self.flags() & VERSION
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Bth<T> {
    /// Writes what [`Self::pad_count`] reads; the low two bits count.
    #[inline]
    pub fn set_pad_count(&mut self, value: u8) {
        put_bits(self.bytes.as_mut(), FLAGS_AT, PAD_COUNT, value << 4);
    }
}

/// A base transport header's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BthRepr {
    /// What the packet does.
    pub opcode: Opcode,
    /// The receiver is to raise an event (SE).
    pub solicited: bool,
    /// Migration state of the connection (M).
    pub migration_request: bool,
    /// Bytes that fill the payload's last word, `0..=3`.
    pub pad_count: u8,
    /// Partition key; 0xffff is the default partition, full member.
    pub partition_key: u16,
    /// The packet met congestion on its way.
    pub fecn: bool,
    /// Packets the other way met congestion.
    pub becn: bool,
    /// The queue pair that the packet is for.
    pub dest_qp: Qpn,
    /// The requester asks for an acknowledgement (A).
    pub ack_request: bool,
    /// Packet sequence number.
    pub psn: Psn,
}

impl BthRepr {
    /// Bytes of the header.
    pub const LEN: usize = 12;

    /// Reads the header; refuses opcodes that are not RC and versions other than 0.
    pub fn parse<T: AsRef<[u8]>>(view: &Bth<T>) -> Result<Self, Error> {
        if view.version() != 0 {
            let found = u64::from(view.version());
            return Err(Error::unexpected(Header::Bth, "version", found, "0"));
        }
        let Some(opcode) = Opcode::from_byte(view.opcode()) else {
            let found = u64::from(view.opcode());
            return Err(Error::unexpected(Header::Bth, "opcode", found, "an opcode of RC"));
        };
        Ok(Self {
            opcode,
            solicited: view.solicited(),
            migration_request: view.migration_request(),
            pad_count: view.pad_count(),
            partition_key: view.partition_key(),
            fecn: view.fecn(),
            becn: view.becn(),
            dest_qp: view.dest_qp(),
            ack_request: view.ack_request(),
            psn: view.psn(),
        })
    }

    /// Writes the header; reserved bits become 0.
    pub fn emit<T: AsRef<[u8]> + AsMut<[u8]>>(&self, view: &mut Bth<T>) {
        view.set_opcode(self.opcode.to_byte());
        view.set_flags(0);
        view.set_solicited(self.solicited);
        view.set_migration_request(self.migration_request);
        view.set_pad_count(self.pad_count);
        view.set_partition_key(self.partition_key);
        view.set_congestion(0);
        view.set_fecn(self.fecn);
        view.set_becn(self.becn);
        view.set_dest_qp(self.dest_qp);
        view.set_ack_byte(0);
        view.set_ack_request(self.ack_request);
        view.set_psn(self.psn);
    }
}
