//! From a profile's text to the profile: what contradicts itself is refused, with its place.

use qpmux_engine::policy::{
    AddressKey, AtomicKey, BitField, ByteOrder, KeyField, ListForm, Profile, ReportForm, SlotGrid,
};
use qpmux_engine::wire::Opcode;
use toml::Spanned;

use super::file::{
    AddressEntry, AtomicsEntry, Bits, CompareSwap, GridEntry, KeyEntry, ListEntry, Order,
    ProfileFile, ReadKey, ReportEntry,
};

/// Bytes of the word that an atomic works on (IBTA vol. 1, 9.4.5), and that begins a slot.
const WORD: u32 = 8;
/// Shortest and longest path MTU, in bytes (IBTA vol. 1, 9.4.3).
const PATH_MTU_MIN: u32 = 256;
const PATH_MTU_MAX: u32 = 4096;
/// Longest message, in bytes (IBTA vol. 1, 9.7.7).
const MESSAGE_MAX: u32 = 1 << 31;

/// Requests whose payload may hold a key, and those whose address may be one.
const WITH_PAYLOAD: &[Opcode] = &[Opcode::WriteOnly, Opcode::WriteFirst];
const WITH_ADDRESS: &[Opcode] =
    &[Opcode::CompareSwap, Opcode::FetchAdd, Opcode::WriteOnly, Opcode::ReadRequest];

/// What is wrong.
#[derive(Debug)]
pub(super) struct Problem {
    /// Where: byte of the text.
    pub(super) at: usize,
    /// What, and what would be right.
    pub(super) text: String,
}

fn problem<T>(place: &Spanned<T>, text: String) -> Problem {
    Problem { at: place.span().start, text }
}

/// `Err` with that text unless it holds.
fn ensure<T>(
    holds: bool,
    place: &Spanned<T>,
    text: impl FnOnce() -> String,
) -> Result<(), Problem> {
    if holds { Ok(()) } else { Err(problem(place, text())) }
}

/// The profile that a file describes.
pub(super) fn profile_of(file: &ProfileFile) -> Result<Profile, Problem> {
    let mut fields: Vec<KeyField> = Vec::new();
    for entry in &file.key {
        let field = key_field(entry)?;
        let same = |f: &&KeyField| (f.opcode, f.payload_len) == (field.opcode, field.payload_len);
        ensure(!fields.iter().any(|f| same(&f)), &entry.payload_len, || {
            format!("{} of {} bytes has a key already", field.opcode.name(), field.payload_len)
        })?;
        fields.push(field);
    }
    let addresses = address_keys(&file.address, &fields)?;
    let compare_swap = compare_swap(&file.atomics, &fields, &addresses)?;
    if let Some(entry) = &file.list {
        ensure(compare_swap != AtomicKey::None, &entry.slot_lens, || {
            "nothing ever appends to a list: with [list], [atomics] compare_swap must be \
             last-written or of-address"
                .to_owned()
        })?;
        check_slots(entry, &fields, compare_swap)?;
    }
    let list = file.list.as_ref().map(|entry| list_form(entry, &fields)).transpose()?;
    let mut reads_of_address = false;
    if let Some(key) = file.reads.key.as_ref().filter(|key| *key.as_ref() == ReadKey::OfAddress) {
        ensure(!fields.is_empty() || list.is_some(), key, || {
            "of-address, but nothing ever tells what is at an address: that takes a [[key]] or a \
             [list]"
                .to_owned()
        })?;
        reads_of_address = true;
    }
    let profile = Profile::new(fields, compare_swap)
        .with_addresses(addresses)
        .with_reads_of_address(reads_of_address);
    Ok(match list {
        Some(list) => profile.with_list(list),
        None => profile,
    })
}

/// The opcode of that name, among those that make sense.
fn opcode(name: &Spanned<String>, among: &[Opcode]) -> Result<Opcode, Problem> {
    let found = among.iter().find(|opcode| opcode.name() == name.as_ref());
    found.copied().ok_or_else(|| {
        let distance = |opcode: &&Opcode| edit_distance(name.as_ref(), opcode.name());
        let nearest = among.iter().min_by_key(distance).map_or("", |opcode| opcode.name());
        let all: Vec<&str> = among.iter().map(|opcode| opcode.name()).collect();
        let text = format!(
            "opcode '{}' is none of {}: did you mean {nearest}?",
            name.as_ref(),
            all.join(", ")
        );
        problem(name, text)
    })
}

/// Letters to insert, leave out or replace to get from one word to the other (Levenshtein).
fn edit_distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

fn key_field(entry: &KeyEntry) -> Result<KeyField, Problem> {
    let opcode = opcode(&entry.opcode, WITH_PAYLOAD)?;
    let (payload_len, len) = (*entry.payload_len.as_ref(), *entry.len.as_ref());
    let end = u32::from(*entry.offset.as_ref()) + u32::from(len);
    ensure((1..=8).contains(&len), &entry.len, || format!("len is {len}, must be 1 to 8 bytes"))?;
    ensure(end <= payload_len, &entry.offset, || {
        format!("the key ends at byte {end} of a payload of {payload_len}")
    })?;
    if opcode == Opcode::WriteOnly {
        check_one_packet(&entry.payload_len)?;
    } else {
        ensure(payload_len > PATH_MTU_MIN, &entry.payload_len, || {
            format!("a message of {payload_len} bytes is never of several packets: WRITE_ONLY")
        })?;
        ensure(end <= PATH_MTU_MAX, &entry.offset, || {
            format!("the key ends at byte {end}, behind the first packet ({PATH_MTU_MAX} at most)")
        })?;
    }
    Ok(KeyField {
        opcode,
        payload_len,
        offset: *entry.offset.as_ref(),
        len,
        byte_order: match entry.byte_order {
            Order::Little => ByteOrder::Little,
            Order::Big => ByteOrder::Big,
        },
    })
}

fn check_one_packet(len: &Spanned<u32>) -> Result<(), Problem> {
    let bytes = *len.as_ref();
    ensure(bytes <= PATH_MTU_MAX, len, || {
        format!("WRITE_ONLY is one packet, of at most {PATH_MTU_MAX} bytes, not {bytes}")
    })
}

fn address_keys(entries: &[AddressEntry], fields: &[KeyField]) -> Result<Vec<AddressKey>, Problem> {
    let mut keys: Vec<AddressKey> = Vec::new();
    for entry in entries {
        let key = address_key(entry)?;
        let (opcode, len, unit) = (key.opcode, key.len, key.unit);
        let twice = keys.iter().any(|k| (k.opcode, k.len) == (opcode, len))
            || fields.iter().any(|f| (f.opcode, f.payload_len) == (opcode, len));
        ensure(!twice, &entry.len, || {
            format!("{} of {len} bytes has a key already", opcode.name())
        })?;
        if let Some(other) = keys.iter().find(|other| other.unit != unit) {
            let (other, of) = (other.unit, other.opcode.name());
            let text = format!(
                "unit is {unit}, but that of {of} is {other}: one address would have two keys"
            );
            return Err(problem(&entry.unit, text));
        }
        keys.push(key);
    }
    Ok(keys)
}

fn address_key(entry: &AddressEntry) -> Result<AddressKey, Problem> {
    let opcode = opcode(&entry.opcode, WITH_ADDRESS)?;
    let (len, unit) = (*entry.len.as_ref(), *entry.unit.as_ref());
    if opcode.is_atomic() {
        ensure(len == WORD, &entry.len, || {
            format!("len is {len}, but {} works on {WORD} bytes", opcode.name())
        })?;
    }
    if opcode == Opcode::WriteOnly {
        check_one_packet(&entry.len)?;
    }
    ensure((1..=MESSAGE_MAX).contains(&len), &entry.len, || {
        format!("len is {len}, must be 1 to {MESSAGE_MAX} bytes")
    })?;
    ensure(unit > 0 && unit.is_multiple_of(len), &entry.unit, || {
        format!(
            "unit is {unit}, must be a multiple of len ({len}): else what a request reaches has \
             several keys"
        )
    })?;
    Ok(AddressKey { opcode, len, unit })
}

fn compare_swap(
    atomics: &AtomicsEntry,
    fields: &[KeyField],
    addresses: &[AddressKey],
) -> Result<AtomicKey, Problem> {
    let Some(entry) = &atomics.compare_swap else { return Ok(AtomicKey::None) };
    let key = match entry.as_ref() {
        CompareSwap::None => return Ok(AtomicKey::None),
        CompareSwap::LastWritten => AtomicKey::LastWritten,
        CompareSwap::OfAddress => AtomicKey::OfAddress,
    };
    let by_address = addresses.iter().any(|address| address.opcode == Opcode::CompareSwap);
    ensure(!by_address, entry, || {
        "a COMPARE_SWAP has its address as key already, by [[address]]".to_owned()
    })?;
    ensure(key != AtomicKey::LastWritten || !fields.is_empty(), entry, || {
        "last-written, but nothing is ever written with a key: that takes a [[key]]".to_owned()
    })?;
    Ok(key)
}

fn list_form(entry: &ListEntry, fields: &[KeyField]) -> Result<ListForm, Problem> {
    let all =
        [("next", &entry.next), ("next_version", &entry.next_version), ("version", &entry.version)];
    for (i, (name, place)) in all.iter().enumerate() {
        let field = *place.as_ref();
        let end = u32::from(field.shift) + u32::from(field.bits);
        ensure(field.bits > 0 && end <= 64, place, || {
            format!("{name} has bits {} to {end}, must have some of 0 to 64", field.shift)
        })?;
        let overlaps = |(_, other): &&(&str, &Spanned<Bits>)| {
            bit_field(other).mask() & bit_field(place).mask() != 0
        };
        if let Some((other, _)) = all[..i].iter().find(overlaps) {
            return Err(problem(place, format!("{name} overlaps {other}")));
        }
    }
    let slot_lens: Vec<u32> = entry.slot_lens.as_ref().iter().map(|len| *len.as_ref()).collect();
    let in_word =
        fields.iter().any(|f| slot_lens.contains(&f.payload_len) && u32::from(f.offset) < WORD);
    ensure(!in_word, &entry.slot_lens, || {
        format!("a [[key]] lies in the first {WORD} bytes of a slot, which link it")
    })?;
    Ok(ListForm {
        slot_lens,
        next: bit_field(&entry.next),
        next_version: bit_field(&entry.next_version),
        version: bit_field(&entry.version),
        grids: grids(entry)?,
        report: entry.report.as_ref().map(report).transpose()?,
    })
}

/// How superseded slots are reported.
fn report(place: &Spanned<ReportEntry>) -> Result<ReportForm, Problem> {
    let ReportEntry { payload_len, first, entry_len, entries, old, new } = *place.as_ref();
    for (name, offset) in [("old", old), ("new", new)] {
        ensure(u32::from(offset) + WORD <= u32::from(entry_len), place, || {
            format!("{name} is {offset}: {WORD} bytes from there do not fit {entry_len}")
        })?;
    }
    let end = u32::from(first) + u32::from(entries) * u32::from(entry_len);
    ensure(end <= u32::from(payload_len), place, || {
        format!("the entries end at byte {end} of a payload of {payload_len}")
    })?;
    Ok(ReportForm { payload_len, first, entry_len, entries, old, new })
}

/// Where slots are, as far as the operator knows.
fn grids(entry: &ListEntry) -> Result<Vec<SlotGrid>, Problem> {
    let mut grids: Vec<SlotGrid> = Vec::new();
    for GridEntry { len: place, number, address } in &entry.grid {
        let len = *place.as_ref();
        let known = entry.slot_lens.as_ref().iter().any(|slot| *slot.as_ref() == len);
        ensure(known, place, || format!("len is {len}, which is none of slot_lens"))?;
        ensure(!grids.iter().any(|grid| grid.len == len), place, || {
            format!("slots of {len} bytes have a grid already")
        })?;
        grids.push(SlotGrid { len, number: *number, address: *address });
    }
    Ok(grids)
}

fn bit_field(place: &Spanned<Bits>) -> BitField {
    let Bits { shift, bits } = *place.as_ref();
    BitField { shift, bits }
}

fn check_slots(
    entry: &ListEntry,
    fields: &[KeyField],
    compare_swap: AtomicKey,
) -> Result<(), Problem> {
    let lens = entry.slot_lens.as_ref();
    ensure(!lens.is_empty(), &entry.slot_lens, || "slot_lens names no length".to_owned())?;
    for (i, place) in lens.iter().enumerate() {
        let len = *place.as_ref();
        ensure(len >= WORD && len.is_multiple_of(WORD), place, || {
            format!("slot_lens has {len}: a slot begins with a word, so a multiple of {WORD}")
        })?;
        ensure(!lens[..i].iter().any(|other| *other.as_ref() == len), place, || {
            format!("slot_lens has {len} twice")
        })?;
        let keyed = fields.iter().any(|field| field.payload_len == len);
        ensure(keyed || compare_swap == AtomicKey::OfAddress, place, || {
            format!("no [[key]] has payload_len {len}: whose version such a slot is, nobody knows")
        })?;
    }
    Ok(())
}
