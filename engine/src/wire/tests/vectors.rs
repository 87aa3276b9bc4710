//! IPv4 packets whose ICRC was computed by other implementations, and which a soft-RoCE
//! endpoint took as valid.

use super::*;
use crate::wire::icrc::verify;

struct Vector {
    packet: &'static str,
    opcode: Opcode,
    dest_qp: u32,
    psn: u32,
    ext: Extension,
    payload: &'static [u8],
}

const fn ack(syndrome: Syndrome, msn: u32) -> AethRepr {
    AethRepr { syndrome, msn: Msn::new(msn) }
}

const VECTORS: [Vector; 7] = [
    Vector {
        packet: "4502004812344000401114660a0000010a000009c12312b7003400001340ffff00000011\
                 8000010000007f001234567800001a2b11223344556677880102030405060708a24747c6",
        opcode: Opcode::CompareSwap,
        dest_qp: 0x11,
        psn: 0x100,
        ext: Extension::AtomicEth(AtomicEthRepr {
            virtual_address: 0x7f00_1234_5678,
            remote_key: 0x1a2b,
            swap_or_add: 0x1122_3344_5566_7788,
            compare: 0x0102_0304_0506_0708,
        }),
        payload: &[],
    },
    Vector {
        packet: "4502004412344000401114690a0000020a000009c45612b7003000000a40ffff00000022\
                 8000abcd00007f001234567800001a2b0000000888776655443322117ca5c750",
        opcode: Opcode::WriteOnly,
        dest_qp: 0x22,
        psn: 0xabcd,
        ext: Extension::Reth(RethRepr {
            virtual_address: 0x7f00_1234_5678,
            remote_key: 0x1a2b,
            dma_length: 8,
        }),
        payload: &[0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11],
    },
    Vector {
        packet: "45020030123440004011147d0a0000090a000002c45612b7001c00001140ffff00000222\
                 0000abcd1f0007775c9aac97",
        opcode: Opcode::Acknowledge,
        dest_qp: 0x222,
        psn: 0xabcd,
        ext: Extension::Aeth(ack(Syndrome::Ack { credits: 31 }, 0x777)),
        payload: &[],
    },
    Vector {
        packet: "4502003812344000401114760a0000090a000001c12312b7002400001240ffff00000111\
                 000001001f0000420102030405060708bde44f6a",
        opcode: Opcode::AtomicAcknowledge,
        dest_qp: 0x111,
        psn: 0x100,
        ext: Extension::AtomicAck(
            ack(Syndrome::Ack { credits: 31 }, 0x42),
            AtomicAckEthRepr { original: 0x0102_0304_0506_0708 },
        ),
        payload: &[],
    },
    Vector {
        packet: "4502003c12344000401114710a0000020a000009c45612b7002800000a40ffff00000022\
                 8000abce000000000000000000000000000000005f1ab156",
        opcode: Opcode::WriteOnly,
        dest_qp: 0x22,
        psn: 0xabce,
        ext: Extension::Reth(RethRepr { virtual_address: 0, remote_key: 0, dma_length: 0 }),
        payload: &[],
    },
    Vector {
        packet: "45020030123440004011147d0a0000090a000002c45612b7001c00001140ffff00000222\
                 0000abcf6000077867648f4e",
        opcode: Opcode::Acknowledge,
        dest_qp: 0x222,
        psn: 0xabcf,
        ext: Extension::Aeth(ack(Syndrome::Nak(NakCode::PsnSequence), 0x778)),
        payload: &[],
    },
    Vector {
        packet: "45020030123440004011147d0a0000090a000002c45612b7001c00001140ffff00000222\
                 0000abcf2c000778e2834d9f",
        opcode: Opcode::Acknowledge,
        dest_qp: 0x222,
        psn: 0xabcf,
        ext: Extension::Aeth(ack(Syndrome::RnrNak { timer: 12 }, 0x778)),
        payload: &[],
    },
];

/// Puts an Ethernet header before a packet given in hexadecimal.
fn frame(packet: &str, ethertype: u16) -> Vec<u8> {
    let digits: Vec<u32> = packet.chars().map(|c| c.to_digit(16).unwrap()).collect();
    let packet = digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8);
    let macs = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    macs.into_iter().chain(ethertype.to_be_bytes()).chain(packet).collect()
}

impl Vector {
    fn frame(&self) -> Vec<u8> {
        frame(self.packet, ethernet::ETHERTYPE_IPV4)
    }

    fn bth(&self) -> BthRepr {
        BthRepr {
            opcode: self.opcode,
            solicited: false,
            migration_request: true,
            pad_count: 0,
            partition_key: 0xffff,
            fecn: false,
            becn: false,
            dest_qp: Qpn::new(self.dest_qp),
            ack_request: self.opcode.is_request(),
            psn: Psn::new(self.psn),
        }
    }
}

#[test]
fn are_read() {
    for vector in &VECTORS {
        let frame = vector.frame();
        let layout = layout(&frame);
        assert_eq!(layout.bth(&frame), vector.bth());
        assert_eq!(classify::extension(&layout, &frame), vector.ext);
        assert_eq!(layout.payload(&frame), vector.payload);
        assert_eq!(layout.ecn, Ecn::Ect0);
        assert_eq!(ipv4::checksum(&frame[14..34]), 0);
        assert!(verify(&frame, &layout));
    }
}

#[test]
fn are_built() {
    for vector in &VECTORS {
        let expected = vector.frame();
        let layout = layout(&expected);
        let path = Path {
            source_mac: [2, 0, 0, 0, 0, 2],
            destination_mac: [2, 0, 0, 0, 0, 1],
            source: layout.source,
            destination: layout.destination,
            source_port: layout.source_port,
            traffic_class: 2,
            hop_limit: 64,
            identification: 0x1234,
        };
        let mut frame = [0xff; 100];
        let len = build(&path, &vector.bth(), &vector.ext, vector.payload, &mut frame);
        assert_eq!(&frame[..len.unwrap()], expected);
    }
}

/// An ACK with flow label 0x12345, its ICRC computed with zlib from the definition.
#[test]
fn ipv6_is_read() {
    let packet = "60212345001c1140fd000000000000000000000000000009fd00000000000000000000000000\
                  0002c45612b7001c00001140ffff000002220000abcd1f0007772bfef277";
    let frame = frame(packet, ethernet::ETHERTYPE_IPV6);
    let layout = layout(&frame);
    assert_eq!((layout.ip_version, layout.ecn), (6, Ecn::Ect0));
    assert_eq!(layout.source, IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 9)));
    assert_eq!(layout.aeth(&frame), Some(ack(Syndrome::Ack { credits: 31 }, 0x777)));
    assert!(verify(&frame, &layout));
}
