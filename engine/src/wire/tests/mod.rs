//! Tests of the wire formats, and what makes their frames.

extern crate std;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::vec;
use std::vec::Vec;

use proptest::collection::vec as bytes;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

mod classify;
mod cm;
mod common;
mod facts;
mod headers;
mod icrc;
mod opcode;
mod psn;
mod sizes;
mod vectors;

/// Everything that a frame is made from.
#[derive(Clone, Debug)]
struct Sent {
    path: Path,
    bth: BthRepr,
    ext: Extension,
    payload: Vec<u8>,
    tag: Option<u16>,
    /// Ethernet padding.
    trailer: Vec<u8>,
}

impl Sent {
    fn frame(&self) -> Vec<u8> {
        let mut frame = vec![0xa5; frame_len(&self.path, &self.ext, self.payload.len())];
        let len = build(&self.path, &self.bth, &self.ext, &self.payload, &mut frame);
        assert_eq!(len, Some(frame.len()));
        if let Some(tag) = self.tag {
            frame.splice(12..12, [0x81, 0x00].into_iter().chain(tag.to_be_bytes()));
        }
        frame.extend(&self.trailer);
        frame
    }
}

/// The layout of a frame that must be a good RC packet.
fn layout(frame: &[u8]) -> Layout {
    match classify(frame) {
        Ok(Classified::Rc(layout)) => layout,
        other => panic!("no RC packet: {other:?}"),
    }
}

/// A good frame of any opcode, with 0 to 4096 bytes if that opcode has a payload.
fn any_sent() -> impl Strategy<Value = Sent> {
    select(Opcode::ALL).prop_flat_map(|opcode| {
        let most = if opcode.has_payload() { 4096 } else { 0 };
        // Short payloads more often than they would come: their pad matters.
        let payload =
            prop_oneof![bytes(any::<u8>(), 0..=most.min(20)), bytes(any::<u8>(), 0..=most)];
        let tag = proptest::option::of(any::<u16>());
        let parts = (any_path(), any_bth(opcode), extension(opcode), payload, tag);
        (parts, bytes(any::<u8>(), 0..40)).prop_map(|((path, bth, ext, payload, tag), trailer)| {
            Sent { path, bth, ext, payload, tag, trailer }
        })
    })
}

fn any_path() -> impl Strategy<Value = Path> {
    let v4 = any::<[[u8; 4]; 2]>().prop_map(|ips| ips.map(|ip| IpAddr::V4(Ipv4Addr::from(ip))));
    let v6 = any::<[[u8; 16]; 2]>().prop_map(|ips| ips.map(|ip| IpAddr::V6(Ipv6Addr::from(ip))));
    let rest = (any::<[[u8; 6]; 2]>(), any::<[u16; 2]>(), any::<[u8; 2]>());
    (prop_oneof![v4, v6], rest).prop_map(|([source, destination], (macs, words, octets))| Path {
        source_mac: macs[0],
        destination_mac: macs[1],
        source,
        destination,
        source_port: words[0],
        traffic_class: octets[0],
        hop_limit: octets[1],
        identification: words[1],
    })
}

fn any_bth(opcode: Opcode) -> impl Strategy<Value = BthRepr> {
    (any::<[bool; 5]>(), 0_u8..4, any::<u16>(), any::<[u32; 2]>()).prop_map(
        move |(flags, pad_count, partition_key, numbers)| BthRepr {
            opcode,
            solicited: flags[0],
            migration_request: flags[1],
            pad_count,
            partition_key,
            fecn: flags[2],
            becn: flags[3],
            dest_qp: Qpn::new(numbers[0]),
            ack_request: flags[4],
            psn: Psn::new(numbers[1]),
        },
    )
}

fn any_reth() -> impl Strategy<Value = RethRepr> {
    any::<(u64, u32, u32)>().prop_map(|(virtual_address, remote_key, dma_length)| RethRepr {
        virtual_address,
        remote_key,
        dma_length,
    })
}

fn any_aeth() -> impl Strategy<Value = AethRepr> {
    any::<(u8, u32)>().prop_map(|(syndrome, msn)| AethRepr {
        syndrome: Syndrome::from_byte(syndrome),
        msn: Msn::new(msn),
    })
}

fn any_atomic_eth() -> impl Strategy<Value = AtomicEthRepr> {
    any::<(u64, u32, u64, u64)>().prop_map(|(virtual_address, remote_key, swap_or_add, compare)| {
        AtomicEthRepr { virtual_address, remote_key, swap_or_add, compare }
    })
}

/// The extension headers that belong to an opcode, from the table in IBTA vol. 1, 9.2.1: written
/// down a second time on purpose.
fn extension(opcode: Opcode) -> BoxedStrategy<Extension> {
    match opcode.to_byte() {
        0x03 | 0x05 | 0x09 => any::<u32>().prop_map(Extension::Imm).boxed(),
        0x16 | 0x17 => any::<u32>().prop_map(Extension::Ieth).boxed(),
        0x06 | 0x0a | 0x0c => any_reth().prop_map(Extension::Reth).boxed(),
        0x0b => {
            (any_reth(), any::<u32>()).prop_map(|(reth, imm)| Extension::RethImm(reth, imm)).boxed()
        }
        0x0d | 0x0f | 0x10 | 0x11 => any_aeth().prop_map(Extension::Aeth).boxed(),
        0x12 => (any_aeth(), any::<u64>())
            .prop_map(|(aeth, original)| Extension::AtomicAck(aeth, AtomicAckEthRepr { original }))
            .boxed(),
        0x13 | 0x14 => any_atomic_eth().prop_map(Extension::AtomicEth).boxed(),
        _ => Just(Extension::None).boxed(),
    }
}
