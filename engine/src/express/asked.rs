//! What a usual request asks for, and whether it is the next one of its client.

use super::{Asks, Seen};
use crate::frame::{Frame, Token};
use crate::journal::Operands;
use crate::mail::Kind;
use crate::mux::client::Client;
use crate::policy::{Access, Addresses, Card, KeyOf, Map, Policy, Rights, Spot};
use crate::wire::{ClientPsn, Ecn, Opcode, usual};

/// What a request asks for, and what else is to be kept of it.
pub(super) struct Asked {
    pub(super) kind: Kind,
    pub(super) access: Access,
    pub(super) operands: Operands,
    pub(super) psn: ClientPsn,
    pub(super) opcode: Opcode,
    pub(super) payload_len: u16,
    pub(super) ecn: Ecn,
    pub(super) token: Token,
}

/// The key that a request is for.
#[derive(Clone, Copy)]
pub(super) struct Found {
    /// `None` if it is for none.
    pub(super) key: Option<u64>,
    /// Where its address is remembered, if it was looked for there.
    pub(super) spot: Option<Spot>,
    /// Nothing is known of its address: a READ that is for no key, as far as is known.
    pub(super) missed: bool,
}

impl Asked {
    #[inline(always)]
    pub(super) fn read<K: Asks>(frame: &[u8], seen: &Seen, token: Token) -> Option<Asked> {
        const AT: usize = usual::HEADERS;
        let head: &[u8; AT + 16] = frame.first_chunk()?;
        let (words, _) = head[AT..].as_chunks::<4>();
        let [first, second, remote_key, len] = words else { return None };
        let [first, second, remote_key, len] =
            [first, second, remote_key, len].map(|word| u32::from_be_bytes(*word));
        let start = u64::from(first) << 32 | u64::from(second);
        let (right, len, operands) = match K::KIND {
            Kind::Plain => (Rights::WRITE, len, Operands::default()),
            Kind::Read => (Rights::READ, len, Operands::default()),
            Kind::Atomic => {
                let (longs, _) = frame.get(AT + 12..)?.as_chunks::<8>();
                let [swap_or_add, compare, ..] = longs else { return None };
                let swap_or_add = u64::from_be_bytes(*swap_or_add);
                let compare = u64::from_be_bytes(*compare);
                (Rights::ATOMIC, 8, Operands { swap_or_add, compare })
            }
        };
        Some(Asked {
            kind: K::KIND,
            access: Access { remote_key, right, start, len },
            operands,
            psn: ClientPsn::from_wire(seen.shape.psn),
            opcode: match K::KIND {
                Kind::Plain => Opcode::WriteOnly,
                Kind::Read => Opcode::ReadRequest,
                Kind::Atomic => seen.shape.opcode,
            },
            payload_len: if K::KIND == Kind::Plain { seen.shape.payload_len } else { 0 },
            ecn: Ecn::from_traffic_class(seen.shape.traffic_class),
            token,
        })
    }

    /// The payload of a WRITE.
    #[inline(always)]
    fn payload<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let start = usual::HEADERS + self.opcode.headers_len();
        bytes.get(start..start + usize::from(self.payload_len)).unwrap_or_default()
    }

    /// Whether headers and payload agree, as every responder checks (rxe_resp.c).
    #[inline(always)]
    fn is_sound(&self) -> bool {
        match self.kind {
            Kind::Plain => self.access.len == u32::from(self.payload_len),
            Kind::Atomic => self.access.start.is_multiple_of(8),
            Kind::Read => true,
        }
    }

    /// Whether it is the next one of its client, which may have fewer than `room` open, and takes
    /// one packet each way.
    #[inline(always)]
    pub(super) fn is_next_of(&self, client: &Client, own: &Card, room: usize) -> bool {
        self.is_sound()
            && client.expected == self.psn
            && (client.open as usize) < room
            && (self.kind != Kind::Read || self.access.len <= own.path_mtu)
    }

    /// Its key, if it has one. `None` if it belongs to a key that is not known.
    #[inline(always)]
    pub(super) fn find_key(
        &self,
        (policy, map): (&Policy, Map),
        addresses: &Addresses,
        (client, own): (&Client, &Card),
        frame: &Frame<'_>,
    ) -> Option<Found> {
        let of = |key| Found { key, spot: None, missed: false };
        if self.kind == Kind::Read && map != Map::All {
            return Some(of(None));
        }
        let extent = Some((self.access.start, self.access.len));
        let payload = self.payload(frame.bytes());
        match policy.profile.key_of(self.opcode, payload, extent, client.last_key) {
            KeyOf::Keyless => Some(of(None)),
            KeyOf::Known(key) => Some(of(Some(key))),
            KeyOf::Unknown => None,
            KeyOf::OfAddress { otherwise, named } => {
                match (addresses.find(own.domain, self.access.start), otherwise) {
                    (Some((spot, key)), _) => Some(Found { spot: Some(spot), ..of(Some(key)) }),
                    (None, Some(key)) => Some(of(Some(key))),
                    (None, None) if self.kind == Kind::Read && !named => {
                        Some(Found { missed: true, ..of(None) })
                    }
                    (None, None) => None,
                }
            }
        }
    }
}
