//! Application profiles: which operations carry a key, and where.

use alloc::vec::Vec;

use crate::wire::Opcode;

/// Order of the bytes of a number in a payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ByteOrder {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

impl ByteOrder {
    /// The number that up to 8 bytes stand for.
    #[must_use]
    pub fn number(self, bytes: &[u8]) -> u64 {
        let fold = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        match self {
            ByteOrder::Big => bytes.iter().fold(0, fold),
            ByteOrder::Little => bytes.iter().rev().fold(0, fold),
        }
    }

    /// The 8 bytes of a number.
    #[must_use]
    pub fn bytes(self, number: u64) -> [u8; 8] {
        match self {
            ByteOrder::Big => number.to_be_bytes(),
            ByteOrder::Little => number.to_le_bytes(),
        }
    }
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

/// Requests of one kind whose key is the address that they aim at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddressKey {
    /// The request's opcode.
    pub opcode: Opcode,
    /// Bytes that it reaches (DMA length; 8 for an atomic); others carry no key.
    pub len: u32,
    /// The key is the address divided by this many bytes, at least 1.
    pub unit: u32,
}

/// Which key an atomic belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtomicKey {
    /// None.
    None,
    /// The key last written on the same queue pair: a store that writes a record and then
    /// commits it with a compare-and-swap. If it is known what is at the address, that decides.
    LastWritten,
    /// The key of what is at the address. An address of which nothing is known is a key by itself;
    /// what is appended to it has the same key, if it is known where that is ([`ListForm::grids`]).
    OfAddress,
}

/// Bits of a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BitField {
    /// Number of bits below it, 0 to 63.
    pub shift: u8,
    /// Number of bits, 1 to 64; with `shift` at most 64.
    pub bits: u8,
}

impl BitField {
    /// Its bits, in place.
    #[must_use]
    pub const fn mask(self) -> u64 {
        let ones = if self.bits >= 64 { u64::MAX } else { (1 << self.bits) - 1 };
        ones << self.shift
    }

    /// What a number has there.
    #[must_use]
    pub const fn get(self, number: u64) -> u64 {
        (number & self.mask()) >> self.shift
    }

    /// The number with `value` there; what does not fit is cut off.
    #[must_use]
    pub const fn with(self, number: u64, value: u64) -> u64 {
        number & !self.mask() | value << self.shift & self.mask()
    }
}

/// Where the slots of one length are: all their addresses follow from that of one of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotGrid {
    /// Their length in bytes.
    pub len: u32,
    /// Number of one of them.
    pub number: u64,
    /// Its address.
    pub address: u64,
}

/// How clients report which slots are superseded: messages with entries that each name a slot and
/// its successor. A client whose compare-and-swap was steered names the slot that it had aimed at;
/// the engine puts the one in that its version was really appended to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReportForm {
    /// Length of the SEND that carries a report, in bytes.
    pub payload_len: u16,
    /// Offset of the first entry.
    pub first: u16,
    /// Length of an entry.
    pub entry_len: u16,
    /// Number of entries.
    pub entries: u16,
    /// Offset in an entry of the superseded slot's pointer, 8 bytes.
    pub old: u16,
    /// The same of its successor's.
    pub new: u16,
}

/// How a store links the versions of a record: each is a slot that begins with a word of 8 bytes.
/// A new version is written to a slot of its own, then appended by a compare-and-swap of the
/// newest slot's word, which until then names no successor (Clover, USENIX ATC'20).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListForm {
    /// Lengths of slots in bytes: a WRITE of so many bytes writes one.
    pub slot_lens: Vec<u32>,
    /// Where slots are, as far as the operator says so; else it is learnt from lists whose records
    /// carry their keys.
    pub grids: Vec<SlotGrid>,
    /// How superseded slots are reported, if they are.
    pub report: Option<ReportForm>,
    /// Number of the next slot; 0 for none. Slots of one length are numbered in the order of their
    /// addresses.
    pub next: BitField,
    /// The next slot's version.
    pub next_version: BitField,
    /// The slot's own version.
    pub version: BitField,
}

impl ReportForm {
    fn is_sound(&self) -> bool {
        let end = u32::from(self.first) + u32::from(self.entries) * u32::from(self.entry_len);
        let inside = |offset: u16| u32::from(offset) + 8 <= u32::from(self.entry_len);
        inside(self.old) && inside(self.new) && end <= u32::from(self.payload_len)
    }
}

impl ListForm {
    /// The word of a slot without a successor.
    #[must_use]
    pub fn last(&self, version: u64) -> u64 {
        self.version.with(0, version)
    }

    /// The version of a slot without a successor, if that is what the word says and no more.
    #[must_use]
    pub fn as_last(&self, word: u64) -> Option<u64> {
        let version = self.version.get(word);
        (word == self.last(version)).then_some(version)
    }

    /// The pointer to a slot of this number and version.
    #[must_use]
    pub fn pointer(&self, number: u64, version: u64) -> u64 {
        self.next.with(self.version.with(0, version), number)
    }

    fn is_sound(&self) -> bool {
        let fields = [self.next, self.next_version, self.version];
        let fits = |f: &BitField| f.bits > 0 && u32::from(f.shift) + u32::from(f.bits) <= 64;
        let all = fields.iter().fold(0, |all, f| all | f.mask());
        let bits: u32 = fields.iter().map(|f| u32::from(f.bits)).sum();
        fields.iter().all(fits)
            && all.count_ones() == bits
            && self.slot_lens.iter().all(|len| *len >= 8)
            && self.report.is_none_or(|report| report.is_sound())
    }
}

/// Which operations of an application carry a key, and where. Data, not code.
#[derive(Clone, Debug)]
pub struct Profile {
    fields: Vec<KeyField>,
    addresses: Vec<AddressKey>,
    compare_swap: AtomicKey,
    reads_of_address: bool,
    list: Option<ListForm>,
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
    /// That of what is at the address that it aims at; else the other one.
    OfAddress {
        /// Its key if nothing is known of the address.
        otherwise: Option<u64>,
        /// Then the address is a key by itself.
        named: bool,
    },
}

impl KeyOf {
    pub(crate) fn known(self) -> Option<u64> {
        match self {
            KeyOf::Known(key) => Some(key),
            KeyOf::Keyless | KeyOf::Unknown | KeyOf::OfAddress { .. } => None,
        }
    }
}

impl Profile {
    /// A profile of these fields. Fields whose key does not lie in their payload are ignored.
    #[must_use]
    pub fn new(fields: Vec<KeyField>, compare_swap: AtomicKey) -> Profile {
        let fits = |f: &KeyField| {
            (1..=8).contains(&f.len) && u32::from(f.offset) + u32::from(f.len) <= f.payload_len
        };
        let fields = fields.into_iter().filter(fits).collect();
        Profile { fields, compare_swap, ..Profile::keyless() }
    }

    /// The profile under which nothing carries a key.
    #[must_use]
    pub fn keyless() -> Profile {
        Profile {
            fields: Vec::new(),
            addresses: Vec::new(),
            compare_swap: AtomicKey::None,
            reads_of_address: false,
            list: None,
        }
    }

    /// Requests whose key is their address. Those with a unit of zero are ignored.
    #[must_use]
    pub fn with_addresses(mut self, addresses: Vec<AddressKey>) -> Profile {
        self.addresses = addresses;
        self.addresses.retain(|address| address.unit > 0);
        self
    }

    /// READs belong to the key of what is at their address, as far as that is known.
    #[must_use]
    pub fn with_reads_of_address(mut self, reads: bool) -> Profile {
        self.reads_of_address = reads;
        self
    }

    /// Versions are linked in this form. One whose bits overlap or lie outside is ignored.
    #[must_use]
    pub fn with_list(mut self, list: ListForm) -> Profile {
        self.list = Some(list).filter(ListForm::is_sound);
        self
    }

    /// How versions are linked, if they are.
    #[must_use]
    pub fn list(&self) -> Option<&ListForm> {
        self.list.as_ref()
    }

    /// Which key a compare-and-swap belongs to.
    #[must_use]
    pub fn compare_swap(&self) -> AtomicKey {
        self.compare_swap
    }

    /// Whether a WRITE of so many bytes writes a whole slot.
    #[must_use]
    pub fn is_slot(&self, len: u32) -> bool {
        self.list.as_ref().is_some_and(|list| list.slot_lens.contains(&len))
    }

    /// The key that a WRITE of one packet carries in its payload.
    #[must_use]
    pub fn written_key(&self, opcode: Opcode, payload: &[u8]) -> Option<u64> {
        self.key_in(opcode, payload.len() as u32, payload)
    }

    /// The key of a message of so many bytes, given the payload of its first packet.
    #[inline]
    fn key_in(&self, opcode: Opcode, message_len: u32, payload: &[u8]) -> Option<u64> {
        let field =
            self.fields.iter().find(|f| f.opcode == opcode && f.payload_len == message_len)?;
        let start = usize::from(field.offset);
        let bytes = payload.get(start..start + usize::from(field.len))?;
        Some(field.byte_order.number(bytes))
    }

    /// The key of a request with this payload, in its first packet, for `len` bytes at `address`
    /// (`None` for what names no memory), given the key last written on its queue pair.
    #[inline]
    pub(crate) fn key_of(
        &self,
        opcode: Opcode,
        payload: &[u8],
        extent: Option<(u64, u32)>,
        last_written: Option<u64>,
    ) -> KeyOf {
        if let Some(key) = self.key_by_address(opcode, extent) {
            return KeyOf::Known(key);
        }
        match opcode {
            Opcode::CompareSwap => match (self.compare_swap, last_written) {
                (AtomicKey::None, _) => KeyOf::Keyless,
                (AtomicKey::LastWritten, otherwise) => KeyOf::OfAddress { otherwise, named: false },
                (AtomicKey::OfAddress, _) => KeyOf::OfAddress { otherwise: None, named: true },
            },
            Opcode::ReadRequest if self.reads_of_address => {
                KeyOf::OfAddress { otherwise: None, named: false }
            }
            _ => {
                let message_len = match (opcode, extent) {
                    (Opcode::WriteFirst, extent) => extent.map_or(0, |(_, len)| len),
                    _ => payload.len() as u32,
                };
                self.key_in(opcode, message_len, payload).map_or(KeyOf::Keyless, KeyOf::Known)
            }
        }
    }

    #[inline]
    fn key_by_address(&self, opcode: Opcode, extent: Option<(u64, u32)>) -> Option<u64> {
        let (address, len) = extent?;
        let found = self.addresses.iter().find(|a| a.opcode == opcode && a.len == len)?;
        Some(address / u64::from(found.unit))
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

    #[test]
    fn an_address_can_be_a_key() {
        let lock = AddressKey { opcode: Opcode::CompareSwap, len: 8, unit: 8 };
        let profile = Profile::keyless().with_addresses(vec![lock]);
        assert_eq!(profile.key_by_address(Opcode::CompareSwap, Some((0x1008, 8))), Some(0x201));
        assert_eq!(profile.key_by_address(Opcode::FetchAdd, Some((0x1008, 8))), None);
        assert_eq!(profile.key_by_address(Opcode::CompareSwap, None), None);
    }

    fn clover() -> ListForm {
        let field = |shift, bits| BitField { shift, bits };
        ListForm {
            slot_lens: vec![128, 1024],
            grids: Vec::new(),
            report: None,
            next: field(28, 32),
            next_version: field(19, 8),
            version: field(11, 8),
        }
    }

    #[test]
    fn a_word_of_a_list_is_taken_apart() {
        let list = clover();
        // Slot 0x8f491, version 1, appended to a slot of version 1 (a real packet's).
        let word = 0x0000_8f49_1008_0800;
        let parts = [list.next, list.next_version, list.version].map(|f| f.get(word));
        assert_eq!(parts, [0x8_f491, 1, 1]);
        assert_eq!(list.as_last(word), None);
        assert_eq!(list.as_last(0x1000), Some(2));
        assert_eq!(list.version.with(word, 3), 0x0000_8f49_1008_1800);
    }

    #[test]
    fn a_list_whose_fields_overlap_is_ignored() {
        let overlapping = ListForm { version: BitField { shift: 18, bits: 8 }, ..clover() };
        assert!(Profile::keyless().with_list(overlapping).list().is_none());
        assert!(Profile::keyless().with_list(clover()).is_slot(1024));
    }
}
