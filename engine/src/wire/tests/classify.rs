//! Classification: good frames are read completely, bad ones are named, and nothing panics.

use super::*;
use crate::wire::icrc::{store, verify};

/// The extension headers that a layout finds, in the builder's form.
pub(super) fn extension(layout: &Layout, frame: &[u8]) -> Extension {
    let imm = layout.immediate(frame).map(|header| header.immediate);
    let ieth = layout.ieth(frame).map(|header| header.remote_key);
    let ack = (layout.aeth(frame), layout.atomic_ack(frame));
    match (layout.reth(frame), ack, layout.atomic_eth(frame), imm, ieth) {
        (None, (None, None), None, None, None) => Extension::None,
        (Some(reth), (None, None), None, None, None) => Extension::Reth(reth),
        (Some(reth), (None, None), None, Some(imm), None) => Extension::RethImm(reth, imm),
        (None, (Some(aeth), None), None, None, None) => Extension::Aeth(aeth),
        (None, (Some(aeth), Some(ack)), None, None, None) => Extension::AtomicAck(aeth, ack),
        (None, (None, None), Some(atomic), None, None) => Extension::AtomicEth(atomic),
        (None, (None, None), None, Some(imm), None) => Extension::Imm(imm),
        (None, (None, None), None, None, Some(key)) => Extension::Ieth(key),
        other => panic!("no packet has these headers: {other:?}"),
    }
}

/// Runs everything that takes a frame; if it is taken for an RC packet, the parts must be in
/// order and within it.
fn survives(frame: &[u8]) {
    let Ok(Classified::Rc(layout)) = classify(frame) else { return };
    let padded = layout.payload_len + u16::from(layout.pad);
    assert!(layout.ip < layout.udp && layout.udp + 8 == layout.bth);
    assert!(usize::from(layout.bth) + 12 + layout.opcode.headers_len() == layout.payload.into());
    assert!(layout.payload + padded == layout.icrc && layout.icrc + 4 == layout.end);
    assert!(usize::from(layout.end) <= frame.len());
    extension(&layout, frame);
    layout.payload(frame);
    verify(frame, &layout);
}

proptest! {
    #[test]
    fn gives_back_what_was_built(sent in any_sent()) {
        let frame = sent.frame();
        let layout = layout(&frame);
        prop_assert_eq!(usize::from(layout.ip), if sent.tag.is_some() { 18 } else { 14 });
        prop_assert_eq!(layout.ip_version, if sent.path.source.is_ipv4() { 4 } else { 6 });
        prop_assert_eq!(usize::from(layout.end), frame.len() - sent.trailer.len());
        prop_assert_eq!(layout.source, sent.path.source);
        prop_assert_eq!(layout.destination, sent.path.destination);
        prop_assert_eq!(layout.source_port, sent.path.source_port);
        let ecn = [Ecn::NotEct, Ecn::Ect1, Ecn::Ect0, Ecn::Ce];
        prop_assert_eq!(layout.ecn, ecn[usize::from(sent.path.traffic_class & 3)]);
        let bth = layout.bth(&frame);
        let pad_count = (sent.payload.len().next_multiple_of(4) - sent.payload.len()) as u8;
        prop_assert_eq!(bth, BthRepr { pad_count, ..sent.bth });
        prop_assert_eq!(layout.pad, pad_count);
        prop_assert_eq!(
            (layout.opcode, layout.dest_qp, layout.psn, layout.ack_request),
            (bth.opcode, bth.dest_qp, bth.psn, bth.ack_request)
        );
        prop_assert_eq!(extension(&layout, &frame), sent.ext);
        prop_assert_eq!(layout.payload(&frame), sent.payload);
        prop_assert!(verify(&frame, &layout));
        survives(&frame);
    }

    #[test]
    fn survives_any_bytes(frame in bytes(any::<u8>(), 0..200)) {
        survives(&frame);
    }

    /// Random bytes hardly ever get past the EtherType; these do.
    #[test]
    fn survives_any_bytes_behind_good_ones(
        sent in any_sent(),
        keep in 0_usize..90,
        mut noise in bytes(any::<u8>(), 0..200),
    ) {
        let frame = sent.frame();
        let keep = keep.min(frame.len()).min(noise.len());
        noise[..keep].copy_from_slice(&frame[..keep]);
        survives(&noise);
    }

    #[test]
    fn every_truncation_is_refused(mut sent in any_sent()) {
        sent.payload.truncate(64);
        let frame = sent.frame();
        let end = usize::from(layout(&frame).end);
        for len in 0..end {
            let refused = classify(&frame[..len]);
            let truncated = matches!(
                refused,
                Err(Error { problem: Problem::Truncated { need, have }, .. }) if need > have
            );
            prop_assert!(truncated, "{len} of {end} bytes: {refused:?}");
        }
        survives(&frame[..end]);
    }

    #[test]
    fn survives_any_changed_byte(mut sent in any_sent(), flip in 1_u8..) {
        sent.payload.truncate(16);
        let mut frame = sent.frame();
        for at in 0..frame.len() {
            frame[at] ^= flip;
            survives(&frame);
            frame[at] ^= flip;
        }
    }

    /// IP and UDP agree on a length that the rest of the frame was not made for.
    #[test]
    fn survives_any_length(mut sent in any_sent(), datagram in 0_u16..120) {
        sent.payload.truncate(64);
        let mut frame = sent.frame();
        let layout = layout(&frame);
        let (ip, udp) = (usize::from(layout.ip), usize::from(layout.udp));
        let (at, length) = if layout.ip_version == 4 { (2, datagram + 20) } else { (4, datagram) };
        frame[ip + at..ip + at + 2].copy_from_slice(&length.to_be_bytes());
        frame[udp + 4..udp + 6].copy_from_slice(&datagram.to_be_bytes());
        survives(&frame);
    }

    /// A layout may be held while its frame changes: whatever it is then used with.
    #[test]
    fn layout_survives_any_other_frame(
        sent in any_sent(),
        mut other in bytes(any::<u8>(), 0..200),
    ) {
        let layout = layout(&sent.frame());
        layout.bth(&other);
        layout.payload(&other);
        let _ = (layout.reth(&other), layout.aeth(&other), layout.atomic_eth(&other));
        let _ = (layout.atomic_ack(&other), layout.immediate(&other), layout.ieth(&other));
        let valid = verify(&other, &layout);
        prop_assert!(!valid || other.len() >= layout.end.into());
        store(&mut other, &layout);
        let old = vec![1; 60];
        PatchTables::new(0).patch_frame(&old, &mut other, &layout);
    }
}

/// A WRITE ONLY of 8 bytes in IPv4; its UDP header is at 34, the BTH at 42, the RETH at 54.
fn write() -> Vec<u8> {
    let [source, destination] = [1, 2].map(|host| IpAddr::V4(Ipv4Addr::new(10, 0, 0, host)));
    let reth = RethRepr { virtual_address: 0x1000, remote_key: 7, dma_length: 8 };
    Sent {
        path: Path {
            source_mac: [2; 6],
            destination_mac: [4; 6],
            source,
            destination,
            source_port: 0xc000,
            traffic_class: 0,
            hop_limit: 64,
            identification: 0,
        },
        bth: BthRepr {
            opcode: Opcode::WriteOnly,
            solicited: false,
            migration_request: false,
            pad_count: 0,
            partition_key: 0xffff,
            fecn: false,
            becn: false,
            dest_qp: Qpn::new(17),
            ack_request: true,
            psn: Psn::new(1),
        },
        ext: Extension::Reth(reth),
        payload: vec![1, 2, 3, 4, 5, 6, 7, 8],
        tag: None,
        trailer: Vec::new(),
    }
    .frame()
}

/// Where a good RC frame goes.
fn target(frame: &[u8]) -> Target {
    let Layout { source, destination, source_port, dest_qp, .. } = layout(frame);
    Target { source, destination, source_port, dest_qp }
}

/// The frame above with some bytes replaced.
fn changed(changes: &[(usize, u8)]) -> Vec<u8> {
    let mut frame = write();
    for &(at, byte) in changes {
        frame[at] = byte;
    }
    frame
}

#[test]
fn other_traffic_is_no_error() {
    let other = |changes: &[(usize, u8)]| match classify(&changed(changes)) {
        Ok(Classified::Other(other)) => other,
        result => panic!("{result:?}"),
    };
    assert_eq!(other(&[(12, 0x08), (13, 0x06)]), NotRc::NotIp);
    // A tag within a tag.
    assert_eq!(other(&[(12, 0x81), (13, 0x00), (16, 0x81), (17, 0x00)]), NotRc::NotIp);
    assert_eq!(other(&[(23, 6)]), NotRc::NotUdp);
    // TCP with IP options, and cut off.
    assert_eq!(other(&[(14, 0x46), (16, 0xff), (23, 6)]), NotRc::NotUdp);
    assert_eq!(other(&[(20, 0x20)]), NotRc::Fragment);
    assert_eq!(other(&[(21, 1)]), NotRc::Fragment);
    assert_eq!(other(&[(36, 0)]), NotRc::OtherPort);
    assert_eq!(other(&[(42, 0x64)]), NotRc::OtherTransport { opcode: 0x64 });
    assert_eq!(other(&[(42, 0x81)]), NotRc::OtherTransport { opcode: 0x81 });
    for opcode in [0x15, 0x1c, 0x1d, 0x1f] {
        let target = target(&write());
        assert_eq!(other(&[(42, opcode)]), NotRc::UnknownRcOpcode { opcode, target });
        assert_eq!(target.dest_qp, Qpn::new(17));
    }
}

#[test]
fn other_ipv6_traffic_is_no_error() {
    let mut frame = vec![0; 14 + 40 + 8];
    frame[12..15].copy_from_slice(&[0x86, 0xdd, 0x60]);
    for (next_header, expected) in
        [(44, NotRc::Fragment), (0, NotRc::NotUdp), (6, NotRc::NotUdp), (17, NotRc::OtherPort)]
    {
        frame[20] = next_header;
        assert_eq!(classify(&frame), Ok(Classified::Other(expected)));
    }
}

#[test]
fn malformed_frames_are_named() {
    for (changes, message) in [
        (&[(14, 0x65)][..], "IPv4 version: 6 is not 4"),
        (&[(14, 0x44)], "IPv4 header length: needs 20 bytes, 16 are left"),
        // Options of 8 bytes that happen to look like a UDP header.
        (&[(14, 0x47), (44, 0x12), (45, 0xb7)], "IPv4 header length: 28 is not 20 (no options)"),
        (&[(17, 69)], "IPv4 length: needs 69 bytes, 68 are left"),
        (&[(17, 19)], "IPv4 total length: needs 20 bytes, 19 are left"),
        (&[(17, 64)], "UDP length: 48 does not match 44"),
        (&[(39, 52)], "UDP length: 52 does not match 48"),
        (&[(17, 27), (39, 7)], "UDP length: needs 8 bytes, 7 are left"),
        (&[(17, 36), (39, 16)], "BTH header: needs 12 bytes, 8 are left"),
        (&[(17, 56), (39, 36)], "BTH WRITE_ONLY: needs 32 bytes, 28 are left"),
        (&[(43, 0x01)], "BTH version: 1 is not 0"),
        (&[(17, 66), (39, 46)], "payload padded length: 6 is not a multiple of 4"),
        (&[(17, 60), (39, 40), (43, 0x10)], "payload pad: needs 1 bytes, 0 are left"),
        (&[(42, 0x0c)], "payload length: 8 is not 0 as the opcode demands"),
        (&[(42, 0x11)], "payload length: 20 is not 0 as the opcode demands"),
        // An atomic with 4 bytes too few.
        (&[(42, 0x13)], "BTH COMPARE_SWAP: needs 44 bytes, 40 are left"),
    ] {
        let refused = classify(&changed(changes)).unwrap_err();
        assert_eq!(std::format!("{refused}"), message);
    }
}

#[test]
fn packet_that_no_layout_can_hold_is_refused() {
    let mut frame = write();
    frame.resize(1 << 17, 0);
    frame[16..18].fill(0xff);
    let refused = classify(&frame).unwrap_err();
    assert_eq!(std::format!("{refused}"), "IPv4 length: 65535 is not in a frame below 65536 bytes");
}

#[test]
fn nothing_is_built_that_cannot_be_sent() {
    let frame = write();
    let layout = layout(&frame);
    let v4 = layout.source;
    let path = Path {
        source_mac: [0; 6],
        destination_mac: [0; 6],
        source: v4,
        destination: v4,
        source_port: 0,
        traffic_class: 0,
        hop_limit: 0,
        identification: 0,
    };
    let bth = layout.bth(&frame);
    let big = vec![0; 1 << 16];
    let mut out = vec![0; 1 << 17];
    let mut make = |path, payload: &[u8], room: usize| {
        build(path, &bth, &Extension::None, payload, &mut out[..room])
    };
    assert_eq!(frame_len(&path, &Extension::None, 5), 14 + 20 + 8 + 12 + 8 + 4);
    assert_eq!(make(&path, &big[..5], 66), Some(66));
    assert_eq!(make(&path, &big[..5], 65), None);
    assert_eq!(make(&path, &big, 1 << 17), None);
    let mixed = Path { destination: Ipv6Addr::LOCALHOST.into(), ..path };
    assert_eq!(make(&mixed, &[], 1 << 17), None);
    assert_eq!(frame_len(&path, &Extension::None, usize::MAX), usize::MAX);
}

proptest! {
    /// Frames of the usual shape are read at once: to the same end, also of those that are damaged.
    #[test]
    fn the_usual_shape_is_read_like_any_other(
        sent in any_sent(),
        damage in proptest::collection::vec((0_usize..64, any::<u8>()), 0..3),
        cut in proptest::option::of(0_usize..80),
    ) {
        let mut frame = sent.frame();
        for (at, byte) in damage {
            if let Some(place) = frame.get_mut(at) {
                *place = byte;
            }
        }
        frame.truncate(cut.unwrap_or(usize::MAX));
        prop_assert_eq!(classify(&frame), crate::wire::classify::classify_any(&frame));
    }
}
