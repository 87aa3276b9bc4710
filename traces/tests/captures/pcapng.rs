//! pcapng: sections, interfaces, clocks, the kinds of packet blocks, cut and damaged files.

use qpmux_traces::{CaptureError, TruncatedTail};

use crate::blocks::{
    block, enhanced, interface, ns_interface, obsolete, option, section, simple, whole_section,
};
use crate::support::{Order, Packet, open_error, read, three_packets};

const ORDERS: [Order; 2] = [Order::Little, Order::Big];

#[test]
fn reads_sections_of_both_byte_orders_in_one_file() {
    for order in ORDERS {
        let reading = read(&whole_section(order, &three_packets()));
        assert_eq!(reading.packets, three_packets(), "{order:?}");
        assert!(reading.error.is_none() && reading.tail.is_none());
    }
    let both = ORDERS.map(|order| whole_section(order, &three_packets())).concat();
    assert_eq!(read(&both).packets, [three_packets(), three_packets()].concat());
}

#[test]
fn every_interface_has_its_own_clock() {
    for order in ORDERS {
        let packet = Packet::whole(0, &[5; 61]);
        let offset = match order {
            Order::Little => 3_i64.to_le_bytes(),
            Order::Big => 3_i64.to_be_bytes(),
        };
        let bytes = [
            section(order),
            interface(order, 1, 0, &[]),
            interface(order, 1, 0, &[option(order, 9, &[9])]),
            interface(order, 1, 0, &[option(order, 9, &[0x80 | 32])]),
            interface(order, 1, 0, &[option(order, 14, &offset), option(order, 9, &[0])]),
            enhanced(order, 3, 7, &packet),
            enhanced(order, 2, 11 << 31, &packet),
            enhanced(order, 1, 6_000_000_000, &packet),
            enhanced(order, 0, 7_000_000, &packet),
        ];
        let reading = read(&bytes.concat());
        let times: Vec<_> = reading.packets.iter().map(|packet| packet.timestamp_ns).collect();
        assert_eq!(times, [10_000_000_000, 5_500_000_000, 6_000_000_000, 7_000_000_000]);
        assert!(reading.packets.iter().all(|read| read.data == packet.data));
    }
}

#[test]
fn reads_all_kinds_of_packet_blocks_and_skips_others() {
    for order in ORDERS {
        let packet =
            Packet { timestamp_ns: 9_000_000_000_123, original_len: 99, data: vec![4; 63] };
        let bytes = [
            section(order),
            interface(order, 1, 70, &[option(order, 9, &[9])]),
            block(order, 0x0bad_cafe, &vec![1; 700_000]),
            simple(order, 62, &[8; 62]),
            obsolete(order, 0, packet.timestamp_ns, &packet),
            block(order, 5, &[0; 12]),
            simple(order, 1_000, &[9; 70]),
        ];
        let cut =
            Packet { timestamp_ns: packet.timestamp_ns, original_len: 1_000, data: vec![9; 70] };
        let reading = read(&bytes.concat());
        assert_eq!(reading.packets, [Packet::whole(0, &[8; 62]), packet, cut], "{order:?}");
        assert!(reading.error.is_none() && reading.tail.is_none());
    }
}

#[test]
fn a_capture_cut_anywhere_gives_all_whole_packets() {
    let order = Order::Big;
    let unknown = block(order, 77, &[0; 40]);
    let mut bytes = [section(order), ns_interface(order)].concat();
    // Where each block ends, and how many packets there are up to that.
    let mut ends = vec![(section(order).len(), 0), (bytes.len(), 0)];
    for (index, packet) in three_packets().iter().enumerate() {
        bytes.extend(enhanced(order, 0, packet.timestamp_ns, packet));
        ends.push((bytes.len(), index + 1));
        bytes.extend(&unknown);
        ends.push((bytes.len(), index + 1));
    }
    for cut in 4..28 {
        let error = open_error(&bytes[..cut]);
        assert!(matches!(error, CaptureError::HeaderCut { bytes, .. } if bytes == cut as u64));
    }
    for cut in 28..=bytes.len() {
        let (end, packets) =
            ends.iter().rev().find(|(end, _)| *end <= cut).copied().unwrap_or((0, 0));
        let reading = read(&bytes[..cut]);
        assert_eq!(reading.packets, three_packets()[..packets], "cut at {cut}");
        assert!(reading.error.is_none(), "cut at {cut}");
        let tail = TruncatedTail { after_packet: packets as u64, offset: end as u64 };
        assert_eq!(reading.tail, (cut != end).then_some(tail), "cut at {cut}");
    }
}

/// Expects the damage of `field` in the last block, behind one packet.
#[track_caller]
fn assert_damaged(last: &[u8], field: &str, value: u64) {
    let order = Order::Little;
    let mut bytes = whole_section(order, &three_packets()[..1]);
    let offset = bytes.len() as u64;
    bytes.extend(last);
    let reading = read(&bytes);
    assert_eq!(reading.packets.len(), 1);
    let error = reading.error.expect("damaged");
    let CaptureError::Damaged { packet: 2, offset: at, field: found, value: is, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((at, found, is), (offset, field, value));
}

#[test]
fn damaged_blocks_are_errors_which_name_the_field() {
    let order = Order::Little;
    let packet = Packet::whole(0, &[1; 60]);
    let with = |at: usize, value: u32| {
        let mut bytes = enhanced(order, 0, 5, &packet);
        bytes[at..at + 4].copy_from_slice(&order.u32(value));
        bytes
    };
    for length in [0, 8, 13, 0xffff_fffc, 16 * 1024 * 1024 + 4] {
        assert_damaged(&with(4, length), "block length", u64::from(length));
    }
    let length = with(0, 6).len();
    assert_damaged(&with(length - 4, 20), "length at the end of the block", 20);
    assert_damaged(&with(8, 1), "interface", 1);
    assert_damaged(&with(20, 85), "captured length", 85);
    assert_damaged(&block(order, 6, &[0; 16]), "block length", 28);
    assert_damaged(&simple(order, 61, &[1; 60]), "captured length", 61);
    assert_damaged(&block(order, 3, &[]), "block length", 12);
    let long = Packet::whole(0, &vec![1; 262_145]);
    assert_damaged(&enhanced(order, 0, 5, &long), "captured length", 262_145);
}

#[test]
fn damaged_sections_and_interfaces_are_errors_which_name_the_field() {
    let order = Order::Little;
    assert_damaged(&block(order, 1, &[0; 4]), "block length", 16);
    let resolution = interface(order, 1, 0, &[option(order, 9, &[9, 9])]);
    assert_damaged(&resolution, "length of the option if_tsresol", 2);
    let offset = interface(order, 1, 0, &[option(order, 14, &[9])]);
    assert_damaged(&offset, "length of the option if_tsoffset", 1);
    let mut beyond = interface(order, 1, 0, &[option(order, 2, b"eth0")]);
    beyond[18] = 200;
    assert_damaged(&beyond, "length of an interface's option", 200);
    let mut bytes = section(order);
    bytes[8] = 0;
    assert_damaged(&bytes, "byte-order magic", 0x1a2b_3c00);
    let mut bytes = section(order);
    bytes[12] = 2;
    assert_damaged(&bytes, "format version", 2);
    assert_damaged(&block(order, 0x0a0d_0d0a, &order.u32(0x1a2b_3c4d)), "block length", 16);
}

#[test]
fn a_section_forgets_the_interfaces_of_the_one_before() {
    let order = Order::Big;
    let mut bytes = whole_section(order, &three_packets());
    bytes.extend(section(order));
    bytes.extend(enhanced(order, 0, 1, &three_packets()[0]));
    let reading = read(&bytes);
    assert_eq!(reading.packets, three_packets());
    let error = reading.error.expect("no interface");
    assert!(matches!(error, CaptureError::Damaged { field: "interface", packet: 4, .. }));
}

#[test]
fn a_time_which_nanoseconds_cannot_hold_is_an_error() {
    let order = Order::Big;
    // Microseconds.
    let start = [section(order), interface(order, 1, 0, &[])].concat();
    for (ticks, sound) in [(u64::MAX / 1_000, true), (u64::MAX / 1_000 + 1, false)] {
        let last = enhanced(order, 0, ticks, &three_packets()[0]);
        let error = read(&[start.clone(), last].concat()).error;
        assert_eq!(error.is_none(), sound, "{error:?}");
        let named = error.is_none_or(|error| error.to_string().contains("timestamp is 1844674"));
        assert!(named);
    }
}

#[test]
fn the_number_of_interfaces_is_bounded() {
    let order = Order::Little;
    let mut bytes = section(order);
    bytes.extend(ns_interface(order).repeat(65_536));
    assert!(read(&bytes).error.is_none());
    bytes.extend(ns_interface(order));
    let error = read(&bytes).error.expect("too many");
    assert!(error.to_string().contains("number of interfaces is 65537"), "{error}");
}

#[test]
fn another_link_type_matters_only_with_a_packet() {
    let order = Order::Little;
    let packet = &three_packets()[0];
    let mut bytes = [section(order), interface(order, 113, 0, &[]), ns_interface(order)].concat();
    bytes.extend(enhanced(order, 1, packet.timestamp_ns, packet));
    assert_eq!(read(&bytes).packets, three_packets()[..1]);
    for last in [enhanced(order, 0, 1, packet), simple(order, 60, &[1; 60])] {
        let reading = read(&[bytes.clone(), last].concat());
        let error = reading.error.expect("a cooked frame");
        assert!(matches!(error, CaptureError::LinkType { packet: 2, .. }), "{error}");
    }
}
