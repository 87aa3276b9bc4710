//! Built-in profiles, and what is refused.

use qpmux_engine::policy::{AtomicKey, SlotGrid};
use qpmux_engine::wire::Opcode;

use super::*;

#[test]
fn every_built_in_profile_loads() {
    for name in built_in_profiles() {
        load_profile(name).unwrap();
    }
}

#[test]
fn kv_finds_the_key_of_a_record() {
    let profile = load_profile("kv").unwrap();
    let mut record = vec![0; 1024];
    record[..8].copy_from_slice(&0x6b65_7900_0000_002a_u64.to_le_bytes());
    assert_eq!(profile.written_key(Opcode::WriteOnly, &record), Some(0x6b65_7900_0000_002a));
    assert_eq!(profile.written_key(Opcode::WriteOnly, &record[..512]), None);
}

#[test]
fn clover_finds_the_key_behind_the_version_word() {
    let profile = load_profile("clover").unwrap();
    let upstream = load_profile("clover-upstream").unwrap();
    for slot in [128, 256, 512, 1024] {
        let mut bytes = vec![0x41; slot];
        bytes[..8].copy_from_slice(&0x800_u64.to_le_bytes());
        bytes[8..16].copy_from_slice(&42_u64.to_le_bytes());
        assert_eq!(profile.written_key(Opcode::WriteOnly, &bytes), Some(42));
        assert_eq!(profile.written_key(Opcode::SendOnly, &bytes), None);
        assert_eq!(upstream.written_key(Opcode::WriteOnly, &bytes), None);
    }
    // Shortcuts, and messages of the metadata server.
    for other in [8, 192, 560] {
        assert_eq!(profile.written_key(Opcode::WriteOnly, &vec![1; other]), None);
    }
}

/// Every form that there is.
const EXAMPLE: &str = include_str!("../../profiles/example.toml");

/// The example with one line changed, which there is once, is refused: in that line, saying this.
fn assert_refused(old: &str, new: &str, problem: &str) {
    let (before, after) = EXAMPLE.split_once(old).unwrap();
    assert!(!after.contains(old), "'{old}' is there twice");
    let line = 1 + before.matches('\n').count() + old.matches('\n').count();
    let text = EXAMPLE.replace(old, new);
    let expected = format!("profile x, line {line}: {problem}");
    assert_eq!(parse_profile("x", &text).unwrap_err().to_string(), expected);
}

#[test]
fn the_example_has_every_form() {
    let profile = parse_profile("x", EXAMPLE).unwrap();
    let mut payload = [0; 512];
    payload[16..20].copy_from_slice(&[1, 2, 3, 4]);
    assert_eq!(profile.written_key(Opcode::WriteOnly, &payload), Some(0x0102_0304));
    assert!(profile.is_slot(6144));
    let list = profile.list().unwrap();
    assert_eq!(list.next.get(0x1234_5678_0009_0007), 0x1234_5678);
    assert_eq!(profile.compare_swap(), AtomicKey::LastWritten);
    let grid = SlotGrid { len: 512, number: 1, address: 0x7f00_0000_0200 };
    assert_eq!(list.grids, [grid]);
}

#[test]
fn built_in_profiles_say_how_versions_are_linked() {
    for name in ["clover", "clover-upstream"] {
        let profile = load_profile(name).unwrap();
        // Slot 0x8f491, version 1, appended to a slot of version 1 (a real packet's).
        let list = profile.list().unwrap();
        let parts = [list.next, list.next_version, list.version].map(|f| f.get(0x8f49_1008_0800));
        assert_eq!(parts, [0x8_f491, 1, 1]);
        assert!([128, 256, 512, 1024].into_iter().all(|len| profile.is_slot(len)));
    }
    for name in ["kv", "lock-table", "none"] {
        assert!(load_profile(name).unwrap().list().is_none());
    }
}

#[test]
fn keys_that_cannot_be_are_refused() {
    let first = "payload_len = 512\noffset = 16\nlen = 4";
    let with = |offset: u32, len: u32| format!("payload_len = 512\noffset = {offset}\nlen = {len}");
    assert_refused(first, &with(16, 9), "len is 9, must be 1 to 8 bytes");
    assert_refused(first, &with(16, 0), "len is 0, must be 1 to 8 bytes");
    let ends = parse_profile("x", &EXAMPLE.replace(first, &with(509, 4))).unwrap_err();
    assert_eq!(
        ends.to_string(),
        "profile x, line 11: the key ends at byte 513 of a payload of 512"
    );
    assert_refused(
        "payload_len = 512",
        "payload_len = 5120",
        "WRITE_ONLY is one packet, of at most 4096 bytes, not 5120",
    );
    assert_refused(
        "payload_len = 6144",
        "payload_len = 256",
        "a message of 256 bytes is never of several packets: WRITE_ONLY",
    );
    assert_refused(
        "payload_len = 6144\noffset = 16",
        "payload_len = 6144\noffset = 4093",
        "the key ends at byte 4097, behind the first packet (4096 at most)",
    );
    let by_address = "opcode = \"WRITE_ONLY\"\nlen = 512\nunit = 512";
    let both = EXAMPLE.replace("opcode = \"FETCH_ADD\"\nlen = 8\nunit = 64", by_address);
    assert_eq!(
        parse_profile("x", &both).unwrap_err().to_string(),
        "profile x, line 26: WRITE_ONLY of 512 bytes has a key already"
    );
    let twice =
        EXAMPLE.replace("\"WRITE_FIRST\"\npayload_len = 6144", "\"WRITE_ONLY\"\npayload_len = 512");
    assert_eq!(
        parse_profile("x", &twice).unwrap_err().to_string(),
        "profile x, line 17: WRITE_ONLY of 512 bytes has a key already"
    );
}

#[test]
fn unknown_opcodes_are_refused_with_the_nearest_one() {
    assert_refused(
        "opcode = \"FETCH_ADD\"",
        "opcode = \"FETCH_AND_ADD\"",
        "opcode 'FETCH_AND_ADD' is none of COMPARE_SWAP, FETCH_ADD, WRITE_ONLY, READ_REQUEST: did \
         you mean FETCH_ADD?",
    );
    assert_refused(
        "opcode = \"WRITE_FIRST\"",
        "opcode = \"READ_REQUEST\"",
        "opcode 'READ_REQUEST' is none of WRITE_ONLY, WRITE_FIRST: did you mean WRITE_FIRST?",
    );
}

#[test]
fn address_keys_that_cannot_be_are_refused() {
    let fetch_add = "opcode = \"FETCH_ADD\"\nlen = 8";
    let with = |more: &str| format!("opcode = \"FETCH_ADD\"\n{more}");
    assert_refused(fetch_add, &with("len = 4"), "len is 4, but FETCH_ADD works on 8 bytes");
    let several = "else what a request reaches has several keys";
    for (unit, len) in [(0, 8), (12, 8), (4, 8)] {
        assert_refused(
            "len = 8\nunit = 64",
            &format!("len = 8\nunit = {unit}"),
            &format!("unit is {unit}, must be a multiple of len ({len}): {several}"),
        );
    }
    assert_refused(
        "len = 64\nunit = 64",
        "len = 64\nunit = 128",
        "unit is 128, but that of FETCH_ADD is 64: one address would have two keys",
    );
    let read = "\"READ_REQUEST\"\nlen = 64";
    assert_refused(read, "\"FETCH_ADD\"\nlen = 8", "FETCH_ADD of 8 bytes has a key already");
    assert_refused(read, "\"READ_REQUEST\"\nlen = 0", "len is 0, must be 1 to 2147483648 bytes");
    assert_refused(
        read,
        "\"WRITE_ONLY\"\nlen = 8192",
        "WRITE_ONLY is one packet, of at most 4096 bytes, not 8192",
    );
}

#[test]
fn keys_that_nothing_could_tell_are_refused() {
    let without_keys = "name = 'x'\n[atomics]\ncompare_swap = 'last-written'\n";
    let refused = |text: &str| parse_profile("x", text).unwrap_err().to_string();
    assert_eq!(
        refused(without_keys),
        "profile x, line 3: last-written, but nothing is ever written with a key: that takes a \
         [[key]]"
    );
    assert_eq!(
        refused("name = 'x'\n[reads]\nkey = 'of-address'\n"),
        "profile x, line 3: of-address, but nothing ever tells what is at an address: that takes a \
         [[key]] or a [list]"
    );
    let table = EXAMPLE.replace("FETCH_ADD", "COMPARE_SWAP");
    assert!(refused(&table).ends_with("has its address as key already, by [[address]]"));
    assert!(refused("nam = 'x'").contains("line 1"));
    assert!(refused("no/such/file = ").contains("profile x"));
    assert!(refused("name = 'x'\n[reads]\nkey = 'of-adress'").contains("of-address"));
    assert!(refused("name = 'x'\n[reads]\nkeys = 'none'").contains("line 3"));
}

#[test]
fn lists_that_cannot_be_are_refused() {
    assert_refused("shift = 16, bits = 16", "shift = 16, bits = 17", "next_version overlaps next");
    assert_refused("shift = 0, bits = 16", "shift = 0, bits = 17", "version overlaps next_version");
    assert_refused(
        "shift = 32, bits = 32",
        "shift = 32, bits = 33",
        "next has bits 32 to 65, must have some of 0 to 64",
    );
    assert_refused(
        "shift = 32, bits = 32",
        "shift = 32, bits = 0",
        "next has bits 32 to 32, must have some of 0 to 64",
    );
    let slots = "slot_lens = [512, 6144]";
    assert_refused(slots, "slot_lens = []", "slot_lens names no length");
    for len in [0, 4, 516] {
        assert_refused(
            slots,
            &format!("slot_lens = [512, {len}]"),
            &format!("slot_lens has {len}: a slot begins with a word, so a multiple of 8"),
        );
    }
    assert_refused(
        "[[list.grid]]\nlen = 512",
        "[[list.grid]]\nlen = 8",
        "len is 8, which is none of slot_lens",
    );
    assert_refused(slots, "slot_lens = [512, 512]", "slot_lens has 512 twice");
    assert_refused(
        slots,
        "slot_lens = [512, 1024]",
        "no [[key]] has payload_len 1024: whose version such a slot is, nobody knows",
    );
    let in_word = EXAMPLE.replace("offset = 16", "offset = 7");
    let error = parse_profile("x", &in_word).unwrap_err().to_string();
    assert!(
        error.ends_with("a [[key]] lies in the first 8 bytes of a slot, which link it"),
        "{error}"
    );
    let unlinked = EXAMPLE.replace("compare_swap = \"last-written\"", "compare_swap = \"none\"");
    let error = parse_profile("x", &unlinked).unwrap_err().to_string();
    assert!(error.contains("line 49: nothing ever appends to a list"), "{error}");
}

#[test]
fn a_missing_file_names_the_built_in_ones() {
    let error = load_profile("no-such-profile").unwrap_err().to_string();
    assert!(error.contains("clover, clover-upstream, kv, lock-table, none"), "{error}");
}
