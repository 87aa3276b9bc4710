//! Every path MTU, every pad, every opcode with a payload, IPv4 and IPv6, tagged or not: one by
//! one, where the random tests may miss a combination.

use super::*;
use crate::wire::icrc::verify;

fn path(v6: bool) -> Path {
    let [source, destination] = [1, 2].map(|host| match v6 {
        true => IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host)),
        false => IpAddr::V4(Ipv4Addr::new(10, 0, 0, host as u8)),
    });
    Path {
        source_mac: [2; 6],
        destination_mac: [4; 6],
        source,
        destination,
        source_port: 0xc000,
        traffic_class: 0x6a,
        hop_limit: 3,
        identification: 0x55,
    }
}

fn ext(opcode: Opcode) -> Extension {
    let reth = RethRepr { virtual_address: 1, remote_key: 2, dma_length: 3 };
    let aeth = AethRepr { syndrome: Syndrome::Ack { credits: 31 }, msn: Msn::new(9) };
    match (opcode.has_reth(), opcode.has_aeth(), opcode.has_immediate(), opcode.has_ieth()) {
        (true, _, true, _) => Extension::RethImm(reth, 0x0102_0304),
        (true, ..) => Extension::Reth(reth),
        (_, true, ..) => Extension::Aeth(aeth),
        (_, _, true, _) => Extension::Imm(0x0102_0304),
        (_, _, _, true) => Extension::Ieth(0x0506_0708),
        _ => Extension::None,
    }
}

#[test]
fn every_path_mtu_pad_and_encapsulation() {
    let opcodes = Opcode::ALL.iter().copied().filter(|opcode| opcode.has_payload());
    let mtus = [256_usize, 512, 1024, 2048, 4096];
    let mut payload = vec![0; 4096];
    (0..).zip(&mut payload).for_each(|(i, byte): (u32, &mut u8)| *byte = (i * 7) as u8);
    let mut seen = 0;
    for opcode in opcodes {
        let cases = mtus.iter().flat_map(|mtu| (0..4).map(move |short| mtu - short));
        for (len, v6, tag) in cases.flat_map(|len| {
            [(len, false, None), (len, false, Some(5)), (len, true, None), (len, true, Some(7))]
        }) {
            let bth = BthRepr {
                opcode,
                solicited: false,
                migration_request: true,
                pad_count: 0,
                partition_key: 0xffff,
                fecn: false,
                becn: false,
                dest_qp: Qpn::new(0x12),
                ack_request: true,
                psn: Psn::new(0xff_ffff),
            };
            let sent = Sent {
                path: path(v6),
                bth,
                ext: ext(opcode),
                payload: payload[..len].to_vec(),
                tag,
                trailer: Vec::new(),
            };
            let frame = sent.frame();
            let layout = layout(&frame);
            assert_eq!(layout.payload(&frame), &payload[..len], "{opcode:?} {len} {v6} {tag:?}");
            assert_eq!(usize::from(layout.pad), len.wrapping_neg() % 4);
            assert_eq!(classify::extension(&layout, &frame), sent.ext);
            assert!(verify(&frame, &layout));
            seen += 1;
        }
    }
    assert_eq!(seen, 18 * 5 * 4 * 4);
}
