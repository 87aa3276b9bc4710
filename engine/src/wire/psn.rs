//! The 24-bit numbers of RC transport: packet and message sequence numbers, queue pair numbers.
//!
//! Sequence numbers wrap, so they have no order, only distances (serial arithmetic, IBTA
//! vol. 1, 9.7.2). The client's and the server's numbering of one packet differ once queue pairs
//! are shared, so each has a type of its own, and mixing them does not compile:
//!
//! ```compile_fail
//! use qpmux_engine::wire::{ClientPsn, Psn, ServerPsn};
//! let client = ClientPsn::from_wire(Psn::new(1));
//! let server = ServerPsn::from_wire(Psn::new(1));
//! assert_eq!(client.offset_from(server), 0);
//! ```

use core::fmt;

/// How many different values 24 bits hold.
const MODULUS: u32 = 1 << 24;

/// Defines a 24-bit serial number.
macro_rules! serial_number {
    ($($(#[$attr:meta])* $name:ident;)*) => {$(
        $(#[$attr])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
        pub struct $name(u32);

        impl $name {
            /// The numbers wrap to 0 here: 2^24.
            pub const MODULUS: u32 = MODULUS;

            /// Takes the low 24 bits of `value`.
            #[inline]
            pub const fn new(value: u32) -> Self {
                Self(value % MODULUS)
            }

            /// The number, below 2^24.
            #[inline]
            pub const fn value(self) -> u32 {
                self.0
            }

            /// The number `count` steps later, modulo 2^24.
            #[inline]
            pub const fn add(self, count: u32) -> Self {
                Self::new(self.0.wrapping_add(count))
            }

            /// The number `count` steps earlier, modulo 2^24.
            #[inline]
            pub const fn sub(self, count: u32) -> Self {
                Self::new(self.0.wrapping_sub(count))
            }

            /// Steps forward from `base` to this number, `0..2^24`.
            #[inline]
            pub const fn offset_from(self, base: Self) -> u32 {
                self.0.wrapping_sub(base.0) % MODULUS
            }

            /// Steps from `base` to this number the shorter way round, `-2^23..2^23`.
            #[inline]
            pub const fn signed_offset_from(self, base: Self) -> i32 {
                // The 24-bit distance's sign bit, moved to the top, is spread back down.
                ((self.0.wrapping_sub(base.0) << 8) as i32) >> 8
            }

            /// Whether this number is up to 2^23 steps earlier than `other`. At a distance of
            /// exactly 2^23 each of the two is before the other.
            #[inline]
            pub const fn is_before(self, other: Self) -> bool {
                self.signed_offset_from(other) < 0
            }

            /// Whether this number is less than 2^23 steps later than `other`.
            #[inline]
            pub const fn is_after(self, other: Self) -> bool {
                self.signed_offset_from(other) > 0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}

serial_number! {
    /// A packet sequence number as a packet carries it, whoever numbered it.
    Psn;
    /// A packet sequence number on the connection between a client and us.
    ClientPsn;
    /// A packet sequence number on a queue pair between us and a server.
    ServerPsn;
    /// A message sequence number: how many requests a responder has completed (IBTA vol. 1,
    /// 9.7.5.1.2).
    Msn;
}

/// Lets a PSN's owner be named, or forgotten, by explicit calls only.
macro_rules! wire_conversion {
    ($($name:ident),*) => {$(
        impl $name {
            /// Reads a packet's number as one of this side.
            #[inline]
            pub const fn from_wire(psn: Psn) -> Self {
                Self(psn.0)
            }

            /// The number to put into a packet of this side.
            #[inline]
            pub const fn to_wire(self) -> Psn {
                Psn(self.0)
            }
        }
    )*};
}

wire_conversion!(ClientPsn, ServerPsn);

/// A queue pair number, 24 bits. It names a queue pair of the adapter it is sent to, and only
/// together with that adapter's address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Qpn(u32);

impl Qpn {
    /// Takes the low 24 bits of `value`.
    #[inline]
    pub const fn new(value: u32) -> Self {
        Self(value % MODULUS)
    }

    /// The number, below 2^24.
    #[inline]
    pub const fn value(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Qpn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:06x}", self.0)
    }
}
