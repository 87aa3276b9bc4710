//! Application profiles: which operations carry a key, and where.

use alloc::vec::Vec;

use crate::wire::{Layout, Opcode};

/// Order of the bytes of a number in a payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ByteOrder {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

/// Where the payload of one kind of request has its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyField {
    /// The request's opcode.
    pub opcode: Opcode,
    /// The payload's length in bytes, for [`Opcode::WriteFirst`] that of the whole message; other
    /// lengths carry no key.
    pub payload_len: u32,
    /// Offset of the key in the payload, in bytes. In a message of several packets it must lie in
    /// the first one.
    pub offset: u16,
    /// Length of the key, 1 to 8 bytes.
    pub len: u8,
    /// Its byte order.
    pub byte_order: ByteOrder,
}

/// Which key an atomic belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtomicKey {
    /// None.
    None,
    /// The key last written on the same queue pair: a store that writes a record and then
    /// commits it with a compare-and-swap.
    LastWritten,
}

/// Which operations of an application carry a key, and where. Data, not code.
#[derive(Clone, Debug)]
pub struct Profile {
    fields: Vec<KeyField>,
    compare_swap: AtomicKey,
}

/// Whether a request carries a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum KeyOf {
    /// It does not.
    Keyless,
    /// It belongs to a key that is not known yet.
    Unknown,
    /// This one.
    Known(u64),
}

impl Profile {
    /// A profile of these fields. Fields whose key does not lie in their payload are ignored.
    #[must_use]
    pub fn new(fields: Vec<KeyField>, compare_swap: AtomicKey) -> Profile {
        let fits = |f: &KeyField| {
            (1..=8).contains(&f.len) && u32::from(f.offset) + u32::from(f.len) <= f.payload_len
        };
        Profile { fields: fields.into_iter().filter(fits).collect(), compare_swap }
    }

    /// The profile under which nothing carries a key.
    #[must_use]
    pub fn keyless() -> Profile {
        Profile { fields: Vec::new(), compare_swap: AtomicKey::None }
    }

    /// The key that a WRITE of one packet carries in its payload.
    #[must_use]
    pub fn written_key(&self, opcode: Opcode, payload: &[u8]) -> Option<u64> {
        self.key_in(opcode, payload.len() as u32, payload)
    }

    /// The key of a message of so many bytes, given the payload of its first packet.
    fn key_in(&self, opcode: Opcode, message_len: u32, payload: &[u8]) -> Option<u64> {
        let field =
            self.fields.iter().find(|f| f.opcode == opcode && f.payload_len == message_len)?;
        let start = usize::from(field.offset);
        let bytes = payload.get(start..start + usize::from(field.len))?;
        let fold = |key: u64, byte: &u8| key << 8 | u64::from(*byte);
        Some(match field.byte_order {
            ByteOrder::Big => bytes.iter().fold(0, fold),
            ByteOrder::Little => bytes.iter().rev().fold(0, fold),
        })
    }

    /// The key of a request, given the key last written on its queue pair.
    pub(crate) fn key_of(&self, layout: &Layout, frame: &[u8], last_written: Option<u64>) -> KeyOf {
        if layout.opcode == Opcode::CompareSwap {
            return match (self.compare_swap, last_written) {
                (AtomicKey::None, _) => KeyOf::Keyless,
                (AtomicKey::LastWritten, Some(key)) => KeyOf::Known(key),
                (AtomicKey::LastWritten, None) => KeyOf::Unknown,
            };
        }
        let payload = layout.payload(frame);
        let message_len = match layout.opcode {
            Opcode::WriteFirst => layout.reth(frame).map_or(0, |reth| reth.dma_length),
            _ => payload.len() as u32,
        };
        match self.key_in(layout.opcode, message_len, payload) {
            Some(key) => KeyOf::Known(key),
            None => KeyOf::Keyless,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn field(offset: u16, len: u8, byte_order: ByteOrder) -> KeyField {
        KeyField { opcode: Opcode::WriteOnly, payload_len: 16, offset, len, byte_order }
    }

    #[test]
    fn key_is_read_in_its_byte_order() {
        let payload: Vec<u8> = (0..16).collect();
        for (order, expected) in [(ByteOrder::Big, 0x02_03_04), (ByteOrder::Little, 0x04_03_02)] {
            let profile = Profile::new(vec![field(2, 3, order)], AtomicKey::None);
            assert_eq!(profile.written_key(Opcode::WriteOnly, &payload), Some(expected));
            assert_eq!(profile.written_key(Opcode::WriteOnly, &payload[1..]), None);
            assert_eq!(profile.written_key(Opcode::SendOnly, &payload), None);
        }
    }

    #[test]
    fn a_field_outside_its_payload_is_ignored() {
        for bad in
            [field(9, 8, ByteOrder::Big), field(0, 0, ByteOrder::Big), field(0, 9, ByteOrder::Big)]
        {
            let profile = Profile::new(vec![bad], AtomicKey::None);
            assert_eq!(profile.written_key(Opcode::WriteOnly, &[0; 16]), None);
        }
    }
}
