//! The communication manager's messages, and what else is no RC packet but has to be known.

use super::*;
use crate::wire::cm::*;
use crate::wire::icrc::{verify_cm, verify_cnp};

/// Writes over `$old` bytes and reads back; also tries a view that is a byte too short.
macro_rules! roundtrip {
    ($repr:expr, $ty:ident, $view:ident, $old:expr) => {{
        let mut bytes = [$old; $ty::LEN];
        $repr.emit(&mut $view::new_checked(&mut bytes).unwrap());
        prop_assert_eq!($ty::parse(&$view::new_checked(&bytes).unwrap()), Ok($repr));
        let short = $view::new_checked(&bytes[..$ty::LEN - 1]).unwrap_err();
        let problem = Problem::Truncated { need: $ty::LEN, have: $ty::LEN - 1 };
        prop_assert_eq!((short.header, short.problem), (Header::$view, problem));
    }};
}

fn any_req() -> impl Strategy<Value = CmReqRepr> {
    let wide = (any::<[u32; 3]>(), any::<[u64; 2]>(), any::<[[u8; 16]; 2]>(), any::<u16>());
    (wide, any::<[u8; 4]>(), any::<[u8; 6]>()).prop_map(
        |((words, longs, gids, partition_key), octets, bits)| CmReqRepr {
            local_comm_id: words[0],
            service_id: longs[0],
            local_ca_guid: longs[1],
            local_qpn: Qpn::new(words[1]),
            responder_resources: octets[0],
            initiator_depth: octets[1],
            starting_psn: Psn::new(words[2]),
            partition_key,
            local_gid: gids[0].into(),
            remote_gid: gids[1].into(),
            traffic_class: octets[2],
            hop_limit: octets[3],
            transport: bits[0] & 3,
            flow_control: bits[0] >> 7,
            retry_count: bits[1] & 7,
            path_mtu: bits[2] & 15,
            rnr_retry_count: bits[3] & 7,
            shared_receive_queue: bits[4] & 1,
            local_ack_timeout: bits[5] & 31,
        },
    )
}

fn any_rep() -> impl Strategy<Value = CmRepRepr> {
    (any::<[u32; 4]>(), any::<u64>(), any::<[u8; 6]>()).prop_map(|(words, local_ca_guid, bits)| {
        CmRepRepr {
            local_comm_id: words[0],
            remote_comm_id: words[1],
            local_qpn: Qpn::new(words[2]),
            starting_psn: Psn::new(words[3]),
            responder_resources: bits[0],
            initiator_depth: bits[1],
            local_ca_guid,
            target_ack_delay: bits[2] & 31,
            flow_control: bits[3] & 1,
            rnr_retry_count: bits[4] & 7,
            shared_receive_queue: bits[5] & 1,
        }
    })
}

/// Any message; the names are `local` and `remote` as far as it has them.
fn any_message() -> impl Strategy<Value = CmMessage> {
    (any::<[u32; 3]>(), any::<[u8; 2]>(), any::<u16>()).prop_flat_map(|(words, bits, short)| {
        let [local_comm_id, remote_comm_id, _] = words;
        let mra = CmMraRepr {
            local_comm_id,
            remote_comm_id,
            message: bits[0] & 3,
            service_timeout: bits[1] & 31,
        };
        let rej = CmRejRepr { local_comm_id, remote_comm_id, reason: short, message: bits[0] & 3 };
        let remote_qpn = Qpn::new(words[2]);
        prop_oneof![
            any_req().prop_map(CmMessage::Req),
            any_rep().prop_map(CmMessage::Rep),
            Just(CmMessage::Mra(mra)),
            Just(CmMessage::Rej(rej)),
            Just(CmMessage::Rtu(CmRtuRepr { local_comm_id, remote_comm_id })),
            Just(CmMessage::Dreq(CmDreqRepr { local_comm_id, remote_comm_id, remote_qpn })),
            Just(CmMessage::Drep(CmDrepRepr { local_comm_id, remote_comm_id })),
            (0x17_u16..).prop_map(CmMessage::Other),
        ]
    })
}

proptest! {
    #[test]
    fn headers(req in any_req(), rep in any_rep(), words: [u32; 2], old: u8) {
        roundtrip!(req, CmReqRepr, CmReq, old);
        roundtrip!(rep, CmRepRepr, CmRep, old);
        let deth = DethRepr { queue_key: words[0], source_qp: Qpn::new(words[1]) };
        roundtrip!(deth, DethRepr, Deth, old);
        let [local_comm_id, remote_comm_id] = words;
        let (message, service_timeout) = (old & 3, old >> 3);
        let mra = CmMraRepr { local_comm_id, remote_comm_id, message, service_timeout };
        roundtrip!(mra, CmMraRepr, CmMra, !old);
        let reason = words[0] as u16;
        let rej = CmRejRepr { local_comm_id, remote_comm_id, reason, message };
        roundtrip!(rej, CmRejRepr, CmRej, !old);
        roundtrip!(CmRtuRepr { local_comm_id, remote_comm_id }, CmRtuRepr, CmRtu, old);
        roundtrip!(CmDrepRepr { local_comm_id, remote_comm_id }, CmDrepRepr, CmDrep, old);
        let remote_qpn = Qpn::new(words[0]);
        let dreq = CmDreqRepr { local_comm_id, remote_comm_id, remote_qpn };
        roundtrip!(dreq, CmDreqRepr, CmDreq, old);
        let mad = MadRepr {
            base_version: old,
            class: !old,
            class_version: old,
            method: !old,
            status: words[0] as u16,
            transaction_id: u64::from(words[1]) << 9,
            attribute_id: words[1] as u16,
            attribute_modifier: words[0],
        };
        roundtrip!(mad, MadRepr, Mad, old);
    }

    /// A value of a few bits leaves its neighbours alone.
    #[test]
    fn bits_keep_to_themselves(old: [u8; 140], value: u8) {
        let mut bytes = old;
        let mut view = CmReq::new_checked(&mut bytes).unwrap();
        view.set_path_mtu(value);
        view.set_transport(value);
        prop_assert_eq!(view.path_mtu(), value & 15);
        prop_assert_eq!(view.transport(), value & 3);
        for (at, (new, old)) in bytes.iter().zip(old).enumerate() {
            let mask = match at { 50 => 0xf0, 43 => 0x06, _ => 0 };
            prop_assert_eq!(new & !mask, old & !mask);
        }
    }

    #[test]
    fn frames_of_the_communication_manager_are_known(
        path in any_path(),
        transaction_id: u64,
        message in any_message(),
        tag in proptest::option::of(any::<u16>()),
        trailer in 0_usize..30,
        flip in 1_u8..,
    ) {
        let mad = CmMad { transaction_id, message };
        let mut frame = cm_frame(&path, &mad);
        if let Some(tag) = tag {
            frame.splice(12..12, [0x81, 0x00].into_iter().chain(tag.to_be_bytes()));
        }
        let end = frame.len();
        frame.resize(end + trailer, 0);
        let layout = cm_layout(&frame);
        prop_assert_eq!(usize::from(layout.icrc) + 4, end);
        prop_assert_eq!(
            (layout.source, layout.destination, layout.source_port),
            (path.source, path.destination, path.source_port)
        );
        prop_assert_eq!(CmMad::parse(layout.mad(&frame)), Ok(mad));
        prop_assert!(verify_cm(&frame, &layout));
        prop_assert!(!verify_cm(&frame[..end - 1], &layout));
        frame[usize::from(layout.mad) + 30] ^= flip;
        prop_assert!(!verify_cm(&frame, &layout));
    }

    #[test]
    fn any_datagram_is_read_or_refused(mut mad in bytes(any::<u8>(), 0..300), id in 0x0f_u8..0x18) {
        let _ = CmMad::parse(&mad);
        for (at, byte) in [(0, 1), (1, 7), (2, 2), (3, 3), (16, 0), (17, id)] {
            if let Some(place) = mad.get_mut(at) {
                *place = byte;
            }
        }
        let _ = CmMad::parse(&mad);
    }
}

pub(super) fn cm_frame(path: &Path, mad: &CmMad) -> Vec<u8> {
    let mut frame = vec![0x5a; 400];
    let len = build_cm(path, Psn::new(7), mad, &mut frame).expect("it fits");
    frame.truncate(len);
    frame
}

fn cm_layout(frame: &[u8]) -> CmLayout {
    match classify(frame) {
        Ok(Classified::Other(NotRc::Cm(layout))) => layout,
        other => panic!("no message of the communication manager: {other:?}"),
    }
}

fn from_hex(text: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

/// The start of a frame that Linux (soft-RoCE) sent from 10.9.0.1 to 10.9.0.2 or back; the rest is
/// zeros up to its ICRC.
fn recorded(start: &str, icrc: &str) -> Vec<u8> {
    let mut frame = from_hex(start);
    frame.resize(318, 0);
    frame.extend(from_hex(icrc));
    frame
}

fn req() -> Vec<u8> {
    recorded(
        "020000000902020000000901080045000134cea54000401156ff0a0900010a090002d87212b701200000\
         6400ffff000000018000000080010000000000010107020300000000000000029e0e218d001000000000\
         00008d210e9e0000000000000000010648a8000000fffe00090100000000000000000000ed0000000000\
         000000a0828300a7ffff37f0ffffffff00000000000000000000ffff0a09000100000000000000000000\
         ffff0a090002588300000040009800000000000000000000000000000000000000000000000000000000\
         000000000000000000000000000000000040af780000000000000000000000000a090001000000000000\
         0000000000000a090002",
        "61690af4",
    )
}

#[test]
fn a_recorded_request_is_read() {
    let frame = req();
    let layout = cm_layout(&frame);
    assert!(verify_cm(&frame, &layout));
    let mad = CmMad::parse(layout.mad(&frame)).unwrap();
    assert_eq!((mad.transaction_id, mad.message.name()), (0x2_9e0e_218d, "REQ"));
    let CmMessage::Req(req) = mad.message else { panic!("{mad:?}") };
    assert_eq!(address_of_gid(req.local_gid), Ipv4Addr::new(10, 9, 0, 1));
    assert_eq!(address_of_gid(req.remote_gid), Ipv4Addr::new(10, 9, 0, 2));
    let expected = CmReqRepr {
        local_comm_id: 0x8d21_0e9e,
        service_id: 0x0106_48a8,
        local_ca_guid: 0xff_fe00_0901,
        local_qpn: Qpn::new(0xed),
        responder_resources: 0,
        initiator_depth: 0,
        starting_psn: Psn::new(0x82_8300),
        partition_key: 0xffff,
        local_gid: gid_of_address(layout.source),
        remote_gid: gid_of_address(layout.destination),
        traffic_class: 0,
        hop_limit: 64,
        transport: 0,
        flow_control: 0,
        retry_count: 7,
        path_mtu: 3,
        rnr_retry_count: 7,
        shared_receive_queue: 0,
        local_ack_timeout: 19,
    };
    assert_eq!(req, expected);
}

#[test]
fn recorded_answers_are_read() {
    let rep = recorded(
        "020000000901020000000902080045000134304840004011f55c0a0900020a090001d87212b701200000\
         6400ffff000000018000000080010000000000010107020300000000000000029e0e218d001300000000\
         00001b5e62a58d210e9e000000000000ed00000000002750d400000078e0000000fffe000902",
        "dc938c21",
    );
    let dreq = recorded(
        "020000000902020000000901080045000134cf934000401156110a0900010a090002d87212b701200000\
         6400ffff000000018000000480010000000000010107020300000000000000029e0e218c001500000000\
         00008c210e9e195e62a50000ee",
        "64d8c867",
    );
    let read = |frame: &[u8]| {
        let layout = cm_layout(frame);
        assert!(verify_cm(frame, &layout));
        CmMad::parse(layout.mad(frame)).unwrap().message
    };
    let expected = CmRepRepr {
        local_comm_id: 0x1b5e_62a5,
        remote_comm_id: 0x8d21_0e9e,
        local_qpn: Qpn::new(0xed),
        starting_psn: Psn::new(0x27_50d4),
        responder_resources: 0,
        initiator_depth: 0,
        local_ca_guid: 0xff_fe00_0902,
        target_ack_delay: 15,
        flow_control: 0,
        rnr_retry_count: 7,
        shared_receive_queue: 0,
    };
    assert_eq!(read(&rep), CmMessage::Rep(expected));
    let expected = CmDreqRepr {
        local_comm_id: 0x8c21_0e9e,
        remote_comm_id: 0x195e_62a5,
        remote_qpn: Qpn::new(0xee),
    };
    assert_eq!(read(&dreq), CmMessage::Dreq(expected));
}

/// BTH at 42, DETH at 54, MAD at 62.
#[test]
fn what_only_resembles_a_message_is_another_datagram() {
    let other = NotRc::OtherTransport { opcode: 0x64 };
    let with = |at: usize, byte: u8| {
        let mut frame = req();
        frame[at] = byte;
        classify(&frame)
    };
    // Another queue pair, another Q_Key, another management class.
    for (at, byte) in [(49, 2), (54, 0), (57, 1), (63, 3)] {
        assert_eq!(with(at, byte), Ok(Classified::Other(other)), "byte {at}");
    }
    assert_eq!(with(42, 0x65), Ok(Classified::Other(NotRc::OtherTransport { opcode: 0x65 })));
    // Four bytes less.
    let mut short = req();
    short.truncate(318);
    (short[17], short[39]) = (0x30, 0x1c);
    assert_eq!(classify(&short), Ok(Classified::Other(other)));
    for (at, message) in [
        (62, "MAD base version: 9 is not 1"),
        (64, "MAD class version: 9 is not 2"),
        (65, "MAD method: 9 is not 3, send"),
    ] {
        let mut frame = req();
        frame[at] = 9;
        let error = CmMad::parse(cm_layout(&frame).mad(&frame)).unwrap_err();
        assert_eq!(std::format!("{error}"), message);
    }
}

#[test]
fn path_mtus_have_codes() {
    let known: Vec<_> = (0..=255).filter_map(|code| Some((code, path_mtu_bytes(code)?))).collect();
    assert_eq!(known, [(1, 256), (2, 512), (3, 1024), (4, 2048), (5, 4096)]);
}

/// As the RoCEv2 annex has them: 16 reserved bytes, PSN 0, BECN.
#[test]
fn congestion_notifications_name_their_queue_pair() {
    let [source, destination] = [1, 2].map(|host| IpAddr::V4(Ipv4Addr::new(10, 0, 0, host)));
    let path = Path {
        source_mac: [2; 6],
        destination_mac: [4; 6],
        source,
        destination,
        source_port: 0xc123,
        traffic_class: 0,
        hop_limit: 64,
        identification: 0,
    };
    let bth = BthRepr {
        opcode: Opcode::SendOnly,
        solicited: false,
        migration_request: false,
        pad_count: 0,
        partition_key: 0xffff,
        fecn: false,
        becn: true,
        dest_qp: Qpn::new(0xabc),
        ack_request: false,
        psn: Psn::new(0),
    };
    let mut frame = vec![0; 100];
    let mut made = |payload: &[u8]| {
        let len = build(&path, &bth, &Extension::None, payload, &mut frame).unwrap();
        frame[42] = 0x81;
        classify(&frame[..len])
    };
    let target = Target { source, destination, source_port: 0xc123, dest_qp: Qpn::new(0xabc) };
    let cnp = CnpLayout { ip: 14, ip_version: 4, icrc: 70, target };
    assert_eq!(made(&[0; 16]), Ok(Classified::Other(NotRc::Cnp(cnp))));
    let other = Ok(Classified::Other(NotRc::OtherTransport { opcode: 0x81 }));
    assert_eq!(made(&[0; 12]), other);
    assert_eq!(made(&[0; 20]), other);
    let len = build_cnp(&path, &bth, &mut frame).unwrap();
    assert_eq!(classify(&frame[..len]), Ok(Classified::Other(NotRc::Cnp(cnp))));
    assert!(verify_cnp(&frame[..len], &cnp));
    frame[20] ^= 1;
    assert!(!verify_cnp(&frame[..len], &cnp));
}
