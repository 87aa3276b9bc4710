//! Every header: what is written is read back, whatever the bytes held before.

use super::*;

/// Writes over `$old` bytes and reads back; also tries a view that is a byte too short.
macro_rules! roundtrip {
    ($repr:expr, $ty:ident, $view:ident, $len:expr, $old:expr) => {{
        let mut bytes = vec![$old; $len];
        $repr.emit(&mut $view::new_checked(&mut bytes).unwrap());
        prop_assert_eq!($ty::parse(&$view::new_checked(&bytes).unwrap()), Ok($repr));

        let short = $view::new_checked(&bytes[..$ty::LEN - 1]).unwrap_err();
        let problem = Problem::Truncated { need: $ty::LEN, have: $ty::LEN - 1 };
        prop_assert_eq!((short.header, short.problem), (Header::$view, problem));
        bytes
    }};
}

proptest! {
    #[test]
    fn ethernet(macs: [[u8; 6]; 2], tag: Option<u16>, ethertype: u16, old: u8) {
        prop_assume!(ethertype != ethernet::ETHERTYPE_VLAN);
        let repr = EthernetRepr { destination: macs[0], source: macs[1], tag, ethertype };
        roundtrip!(repr, EthernetRepr, Ethernet, repr.header_len(), old);
    }

    #[test]
    fn ipv4(octets: [u8; 3], words: [u16; 2], dont_fragment: bool, ips: [[u8; 4]; 2], old: u8) {
        let repr = Ipv4Repr {
            traffic_class: octets[0],
            total_length: words[0],
            identification: words[1],
            dont_fragment,
            hop_limit: octets[1],
            protocol: octets[2],
            source: ips[0].into(),
            destination: ips[1].into(),
        };
        let bytes = roundtrip!(repr, Ipv4Repr, Ipv4, Ipv4Repr::LEN, old);
        prop_assert_eq!(ipv4::checksum(&bytes), 0);
    }

    #[test]
    fn ipv6(octets: [u8; 3], flow in 0_u32..1 << 20, length: u16, ips: [[u8; 16]; 2], old: u8) {
        let repr = Ipv6Repr {
            traffic_class: octets[0],
            flow_label: flow,
            payload_length: length,
            next_header: octets[1],
            hop_limit: octets[2],
            source: ips[0].into(),
            destination: ips[1].into(),
        };
        roundtrip!(repr, Ipv6Repr, Ipv6, Ipv6Repr::LEN, old);
    }

    #[test]
    fn udp(ports: [u16; 2], length in 8_u16.., checksum: u16, old: u8) {
        let (source_port, destination_port) = (ports[0], ports[1]);
        let repr = UdpRepr { source_port, destination_port, length, checksum };
        roundtrip!(repr, UdpRepr, Udp, UdpRepr::LEN, old);
    }

    #[test]
    fn bth(repr in select(Opcode::ALL).prop_flat_map(any_bth), old: u8) {
        roundtrip!(repr, BthRepr, Bth, BthRepr::LEN, old);
    }

    #[test]
    fn extensions(
        reth in any_reth(),
        aeth in any_aeth(),
        atomic in any_atomic_eth(),
        original: u64,
        number: u32,
        old: u8,
    ) {
        roundtrip!(reth, RethRepr, Reth, RethRepr::LEN, old);
        roundtrip!(aeth, AethRepr, Aeth, AethRepr::LEN, old);
        roundtrip!(atomic, AtomicEthRepr, AtomicEth, AtomicEthRepr::LEN, old);
        let ack = AtomicAckEthRepr { original };
        roundtrip!(ack, AtomicAckEthRepr, AtomicAckEth, AtomicAckEthRepr::LEN, old);
        let immediate = ImmDtRepr { immediate: number };
        roundtrip!(immediate, ImmDtRepr, ImmDt, ImmDtRepr::LEN, old);
        let ieth = IethRepr { remote_key: number };
        roundtrip!(ieth, IethRepr, Ieth, IethRepr::LEN, old);
    }

    #[test]
    fn a_flag_of_the_bth_leaves_the_other_bits(mut bytes: [u8; 12], value: bool, pad in 0_u8..4) {
        let old = bytes;
        let mut view = Bth::new_checked(&mut bytes).unwrap();
        view.set_ack_request(value);
        view.set_becn(!value);
        view.set_pad_count(pad);
        prop_assert_eq!(
            (view.ack_request(), view.becn(), view.pad_count()),
            (value, !value, pad)
        );
        let changed = [0, 0x30, 0, 0, 0x40, 0, 0, 0, 0x80, 0, 0, 0];
        for ((new, old), mask) in bytes.iter().zip(old).zip(changed) {
            prop_assert_eq!(new & !mask, old & !mask);
        }
    }
}

#[test]
fn tag_that_ends_early_is_refused() {
    let mut bytes = [0; 17];
    bytes[12] = 0x81;
    let error = EthernetRepr::parse(&Ethernet::new_checked(bytes).unwrap()).unwrap_err();
    assert_eq!(std::format!("{error}"), "Ethernet 802.1Q tag: needs 18 bytes, 17 are left");
}

#[test]
fn checksum_of_odd_and_carrying_sums() {
    // The example of RFC 1071, section 3.
    assert_eq!(ipv4::checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    assert_eq!(ipv4::checksum(&[0xff, 0xff, 0x00, 0x01, 0x10]), !0x1001);
    assert_eq!(ipv4::checksum(&[]), 0xffff);
    ipv4::fill_checksum(&mut [1; 11]);
}

#[test]
fn syndromes() {
    for byte in 0..=u8::MAX {
        let syndrome = Syndrome::from_byte(byte);
        assert_eq!(syndrome.to_byte(), byte);
        let expected = match byte {
            0x00..=0x1f => Syndrome::Ack { credits: byte },
            0x20..=0x3f => Syndrome::RnrNak { timer: byte - 0x20 },
            0x60 => Syndrome::Nak(NakCode::PsnSequence),
            0x61 => Syndrome::Nak(NakCode::InvalidRequest),
            0x62 => Syndrome::Nak(NakCode::RemoteAccess),
            0x63 => Syndrome::Nak(NakCode::RemoteOperational),
            0x64 => Syndrome::Nak(NakCode::InvalidRdRequest),
            _ => Syndrome::Reserved(byte),
        };
        assert_eq!(syndrome, expected);
    }
}

#[test]
fn rnr_delays_grow_with_the_code_but_for_0() {
    assert_eq!(rnr_delay_ns(1), 10_000);
    assert_eq!(rnr_delay_ns(14), 1_280_000);
    assert_eq!(rnr_delay_ns(31), 491_520_000);
    assert_eq!(rnr_delay_ns(0), 655_360_000);
    assert_eq!(rnr_delay_ns(0xff), rnr_delay_ns(31));
    for timer in 1..31 {
        assert!(rnr_delay_ns(timer) < rnr_delay_ns(timer + 1));
        // Above the two lowest, every second step doubles the time.
        if timer > 4 {
            assert_eq!(rnr_delay_ns(timer), 2 * rnr_delay_ns(timer - 2));
        }
    }
}
