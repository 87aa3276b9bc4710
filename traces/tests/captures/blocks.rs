//! The blocks of pcapng, built byte by byte.

use crate::support::{Order, Packet};

/// A block of any type.
pub(crate) fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let length = order.u32(padded as u32 + 12);
    let mut bytes = order.u32(kind).to_vec();
    bytes.extend(length);
    bytes.extend(body);
    bytes.resize(8 + padded, 0);
    bytes.extend(length);
    bytes
}

/// A section header.
pub(crate) fn section(order: Order) -> Vec<u8> {
    let mut body = order.u32(0x1a2b_3c4d).to_vec();
    body.extend(order.u16(1));
    body.extend(order.u16(0));
    // The section's length is unknown.
    body.extend([0xff; 8]);
    // A comment which is not UTF-8.
    body.extend(option(order, 1, &[0xff, 0xfe, 0xfd]));
    block(order, 0x0a0d_0d0a, &body)
}

/// An option of a block, padded.
pub(crate) fn option(order: Order, code: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = order.u16(code).to_vec();
    bytes.extend(order.u16(value.len() as u16));
    bytes.extend(value);
    bytes.resize(4 + value.len().next_multiple_of(4), 0);
    bytes
}

/// An interface description with some options.
pub(crate) fn interface(order: Order, link: u16, snap_len: u32, options: &[Vec<u8>]) -> Vec<u8> {
    let mut body = order.u16(link).to_vec();
    body.extend([0; 2]);
    body.extend(order.u32(snap_len));
    body.extend(options.concat());
    if !options.is_empty() {
        body.extend([0; 4]);
    }
    block(order, 1, &body)
}

/// An interface with nanoseconds.
pub(crate) fn ns_interface(order: Order) -> Vec<u8> {
    let name = option(order, 2, b"eth0");
    interface(order, 1, 0, &[name, option(order, 9, &[9])])
}

fn packet_fields(order: Order, ticks: u64, packet: &Packet) -> Vec<u8> {
    let lengths = [packet.data.len() as u32, packet.original_len];
    let fields = [(ticks >> 32) as u32, ticks as u32, lengths[0], lengths[1]];
    let mut bytes: Vec<u8> = fields.into_iter().flat_map(|field| order.u32(field)).collect();
    bytes.extend(&packet.data);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An enhanced packet block, with a comment behind the frame.
pub(crate) fn enhanced(order: Order, interface: u32, ticks: u64, packet: &Packet) -> Vec<u8> {
    let mut body = order.u32(interface).to_vec();
    body.extend(packet_fields(order, ticks, packet));
    body.extend(option(order, 1, b"a comment"));
    body.extend([0; 4]);
    block(order, 6, &body)
}

/// An obsolete packet block which tells of 7 lost packets.
pub(crate) fn obsolete(order: Order, interface: u16, ticks: u64, packet: &Packet) -> Vec<u8> {
    let mut body = order.u16(interface).to_vec();
    body.extend(order.u16(7));
    body.extend(packet_fields(order, ticks, packet));
    block(order, 2, &body)
}

/// A simple packet block.
pub(crate) fn simple(order: Order, original_len: u32, data: &[u8]) -> Vec<u8> {
    let mut body = order.u32(original_len).to_vec();
    body.extend(data);
    block(order, 3, &body)
}

/// A section with nanoseconds and one enhanced packet block for each packet.
pub(crate) fn whole_section(order: Order, packets: &[Packet]) -> Vec<u8> {
    let mut bytes = section(order);
    bytes.extend(ns_interface(order));
    for packet in packets {
        bytes.extend(enhanced(order, 0, packet.timestamp_ns, packet));
    }
    bytes
}
