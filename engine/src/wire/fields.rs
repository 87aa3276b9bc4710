//! Reading and writing big-endian fields, and the macro that makes a header's view from a list
//! of them.
//!
//! A view is only made after its length was checked, so no access here can miss. Should a
//! caller's `AsRef` ever return less than it did at the check, a read gives zeros and a write
//! does nothing: the data path must not panic.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::psn::{Msn, Psn, Qpn};

/// A value that sits in a header at a fixed offset, in network byte order.
pub(super) trait Field: Copy {
    /// Reads the value that starts `at` bytes into `bytes`.
    fn get(bytes: &[u8], at: usize) -> Self;
    /// Writes the value from `at` bytes into `bytes` on.
    fn put(self, bytes: &mut [u8], at: usize);
}

impl<const N: usize> Field for [u8; N] {
    #[inline]
    fn get(bytes: &[u8], at: usize) -> Self {
        bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
    }

    #[inline]
    fn put(self, bytes: &mut [u8], at: usize) {
        if let Some(place) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
            *place = self;
        }
    }
}

/// Implements [`Field`] by way of the byte array `$bytes`.
macro_rules! field_as_bytes {
    ($($ty:ty, $bytes:ty: $from:expr, $to:expr;)*) => {$(
        impl Field for $ty {
            #[inline]
            fn get(bytes: &[u8], at: usize) -> Self {
                $from(<$bytes>::get(bytes, at))
            }

            #[inline]
            fn put(self, bytes: &mut [u8], at: usize) {
                let raw: $bytes = $to(self);
                raw.put(bytes, at);
            }
        }
    )*};
}

field_as_bytes! {
    u8, [u8; 1]: |[byte]: [u8; 1]| byte, |value| [value];
    u16, [u8; 2]: u16::from_be_bytes, u16::to_be_bytes;
    u32, [u8; 4]: u32::from_be_bytes, u32::to_be_bytes;
    u64, [u8; 8]: u64::from_be_bytes, u64::to_be_bytes;
    Ipv4Addr, [u8; 4]: Ipv4Addr::from, |address: Ipv4Addr| address.octets();
    Ipv6Addr, [u8; 16]: Ipv6Addr::from, |address: Ipv6Addr| address.octets();
    Psn, [u8; 3]: |raw| Psn::new(from_u24(raw)), |psn: Psn| to_u24(psn.value());
    Msn, [u8; 3]: |raw| Msn::new(from_u24(raw)), |msn: Msn| to_u24(msn.value());
    Qpn, [u8; 3]: |raw| Qpn::new(from_u24(raw)), |qpn: Qpn| to_u24(qpn.value());
}

const fn from_u24([high, middle, low]: [u8; 3]) -> u32 {
    u32::from_be_bytes([0, high, middle, low])
}

const fn to_u24(value: u32) -> [u8; 3] {
    let [_, high, middle, low] = value.to_be_bytes();
    [high, middle, low]
}

/// Replaces the bits of `mask` in the byte `at`; the others stay as they are.
#[inline]
pub(super) fn put_bits(bytes: &mut [u8], at: usize, mask: u8, value: u8) {
    let old = u8::get(bytes, at);
    ((old & !mask) | (value & mask)).put(bytes, at);
}

/// Defines a zero-copy view of one header: its type, the length check, and a getter and a
/// setter for every field that fills whole bytes.
macro_rules! header_view {
    (
        $(#[$attr:meta])*
        $view:ident, $header:ident, $len:expr;
        $($(#[$doc:meta])* $get:ident, $set:ident: $ty:ty = $at:expr;)*
    ) => {
        $(#[$attr])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $view<T> {
            bytes: T,
        }

        impl<T: AsRef<[u8]>> $view<T> {
            /// Takes the bytes from the header's first one on; more may follow the header.
            ///
            /// Only the length is checked here, so that a header can be written over any
            /// bytes; what the fields hold is checked when it is parsed.
            #[inline]
            pub fn new_checked(bytes: T) -> Result<Self, $crate::wire::error::Error> {
                let have = bytes.as_ref().len();
                if have < $len {
                    let header = $crate::wire::error::Header::$header;
                    return Err($crate::wire::error::Error::truncated(header, "header", $len, have));
                }
                Ok(Self { bytes })
            }

            /// Gives the bytes back.
            pub fn into_inner(self) -> T {
                self.bytes
            }

            $(
                $(#[$doc])*
                #[inline]
                pub fn $get(&self) -> $ty {
                    $crate::wire::fields::Field::get(self.bytes.as_ref(), $at)
                }
            )*
        }

        impl<T: AsRef<[u8]> + AsMut<[u8]>> $view<T> {
            $(
                #[doc = concat!("Writes what [`Self::", stringify!($get), "`] reads.")]
                #[inline]
                pub fn $set(&mut self, value: $ty) {
                    $crate::wire::fields::Field::put(value, self.bytes.as_mut(), $at);
                }
            )*
        }
    };
}

/// Defines the view and the owned content of a header that is nothing but whole-byte fields.
macro_rules! header_repr {
    (
        $(#[$view_attr:meta])*
        $view:ident,
        $(#[$repr_attr:meta])*
        $repr:ident, $header:ident, $len:expr;
        $($(#[$doc:meta])* $get:ident, $set:ident: $ty:ty = $at:expr;)*
    ) => {
        $crate::wire::fields::header_view! {
            $(#[$view_attr])*
            $view, $header, $len;
            $($(#[$doc])* $get, $set: $ty = $at;)*
        }

        $(#[$repr_attr])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct $repr {
            $($(#[$doc])* pub $get: $ty,)*
        }

        impl $repr {
            /// Bytes of the header.
            pub const LEN: usize = $len;

            /// Reads the header. It never fails: every value of every field is allowed.
            #[inline]
            pub fn parse<T: AsRef<[u8]>>(
                view: &$view<T>,
            ) -> Result<Self, $crate::wire::error::Error> {
                Ok(Self { $($get: view.$get(),)* })
            }

            /// Writes the header.
            #[inline]
            pub fn emit<T: AsRef<[u8]> + AsMut<[u8]>>(&self, view: &mut $view<T>) {
                $(view.$set(self.$get);)*
            }
        }
    };
}

/// Defines the view and the owned content of a header in which some values fill only a part of a
/// byte: these follow after `@bits`, with the byte's offset and the mask of their bits.
macro_rules! packed_repr {
    (
        $(#[$view_attr:meta])*
        $view:ident,
        $(#[$repr_attr:meta])*
        $repr:ident, $header:ident, $len:expr;
        $($(#[$doc:meta])* $get:ident, $set:ident: $ty:ty = $at:expr;)*
        @bits
        $($(#[$bits_doc:meta])* $bits_get:ident, $bits_set:ident = $byte:expr, $mask:expr;)*
    ) => {
        $crate::wire::fields::header_view! {
            $(#[$view_attr])*
            $view, $header, $len;
            $($(#[$doc])* $get, $set: $ty = $at;)*
        }

        impl<T: AsRef<[u8]>> $view<T> {
            $(
                $(#[$bits_doc])*
                pub fn $bits_get(&self) -> u8 {
                    let mask: u8 = $mask;
                    let byte: u8 = $crate::wire::fields::Field::get(self.bytes.as_ref(), $byte);
                    (byte & mask) >> mask.trailing_zeros()
                }
            )*
        }

        impl<T: AsRef<[u8]> + AsMut<[u8]>> $view<T> {
            $(
                #[doc = concat!("Writes what [`Self::", stringify!($bits_get), "`] reads, ")]
                #[doc = "of `value` as many bits as the field has."]
                pub fn $bits_set(&mut self, value: u8) {
                    let mask: u8 = $mask;
                    let bits = value << mask.trailing_zeros();
                    $crate::wire::fields::put_bits(self.bytes.as_mut(), $byte, mask, bits);
                }
            )*
        }

        $(#[$repr_attr])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct $repr {
            $($(#[$doc])* pub $get: $ty,)*
            $($(#[$bits_doc])* pub $bits_get: u8,)*
        }

        impl $repr {
            /// Bytes of the header.
            pub const LEN: usize = $len;

            /// Reads the header. It never fails: every value of every field is allowed.
            pub fn parse<T: AsRef<[u8]>>(
                view: &$view<T>,
            ) -> Result<Self, $crate::wire::error::Error> {
                Ok(Self { $($get: view.$get(),)* $($bits_get: view.$bits_get(),)* })
            }

            /// Writes the header; bits that belong to none of the fields stay as they are.
            pub fn emit<T: AsRef<[u8]> + AsMut<[u8]>>(&self, view: &mut $view<T>) {
                $(view.$set(self.$get);)*
                $(view.$bits_set(self.$bits_get);)*
            }
        }
    };
}

pub(super) use {header_repr, header_view, packed_repr};
