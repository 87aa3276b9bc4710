//! What packets have in common: that a check by it says what the whole check says, and that a
//! packet that is given other facts is what would have been built with them.

use super::*;
use crate::wire::facts::{Ends, Facts, Renewed};
use crate::wire::icrc;

/// A packet of the usual shape.
pub(super) fn any_usual() -> impl Strategy<Value = Sent> {
    any_sent().prop_map(|sent| {
        let v4 = |ip| match ip {
            IpAddr::V6(ip) => IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() as u32)),
            v4 => v4,
        };
        let path = Path {
            source: v4(sent.path.source),
            destination: v4(sent.path.destination),
            ..sent.path
        };
        Sent { path, bth: BthRepr { solicited: false, ..sent.bth }, tag: None, ..sent }
    })
}

fn facts(sent: &Sent) -> Facts {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (sent.path.source, sent.path.destination)
    else {
        panic!("not IPv4");
    };
    Facts::new(&Ends {
        macs: [sent.path.destination_mac, sent.path.source_mac],
        ips: [source, destination],
        dest_qp: sent.bth.dest_qp,
        source_port: sent.path.source_port,
        traffic_class: sent.path.traffic_class,
        hop_limit: sent.path.hop_limit,
        migration_request: sent.bth.migration_request,
        partition_key: sent.bth.partition_key,
    })
}

const SMALL: [Opcode; 5] = [
    Opcode::Acknowledge,
    Opcode::AtomicAcknowledge,
    Opcode::ReadRequest,
    Opcode::CompareSwap,
    Opcode::FetchAdd,
];

fn any_small() -> impl Strategy<Value = Sent> {
    select(&SMALL).prop_flat_map(|opcode| {
        (any_usual(), any_bth(opcode), extension(opcode)).prop_map(|(sent, bth, ext)| {
            let bth = BthRepr { solicited: false, ..bth };
            Sent { bth, ext, payload: Vec::new(), ..sent }
        })
    })
}

proptest! {
    #[test]
    fn the_short_check_says_what_the_whole_one_says(sent in any_small(), bit in any::<usize>()) {
        let (facts, mut frame) = (facts(&sent), sent.frame());
        let opcode = sent.bth.opcode;
        prop_assert!(facts.are_all_of(frame.first_chunk().unwrap(), opcode));
        prop_assert!(facts.verify(&frame, opcode));
        let at = bit % (8 * frame.len());
        frame[at / 8] ^= 1 << (at % 8);
        if let Ok(Classified::Rc(layout)) = classify(&frame)
            && layout.opcode == opcode
            && facts.are_all_of(frame.first_chunk().unwrap(), opcode)
        {
            prop_assert_eq!(facts.verify(&frame, opcode), icrc::verify(&frame, &layout));
        }
    }

    #[test]
    fn other_facts_make_the_packet_that_would_have_been_built_with_them(
        sent in any_usual(),
        other in any_usual(),
        psn in any::<u32>(),
        ack_request in any::<bool>(),
        aeth in any_aeth(),
        damage in any::<bool>(),
    ) {
        let mut frame = sent.frame();
        let layout = layout(&frame);
        let aeth = sent.bth.opcode.has_aeth().then_some(aeth);
        let new = Renewed { psn: Psn::new(psn), ack_request, aeth };
        let at = usize::from(layout.icrc);
        frame[at] ^= u8::from(damage);
        let tables = PatchTables::new(2048);
        let done = facts(&other).put(&facts(&sent), &tables, &mut frame, at, &new);
        // Without anything behind the BTH it is left to others.
        prop_assert_eq!(done.is_some(), at > usize::from(layout.bth) + BthRepr::LEN);
        prop_assume!(done.is_some());
        frame[at] ^= u8::from(damage);
        let path = Path {
            traffic_class: other.path.traffic_class & !3 | sent.path.traffic_class & 3,
            identification: sent.path.identification,
            ..other.path
        };
        let bth = BthRepr {
            migration_request: other.bth.migration_request,
            partition_key: other.bth.partition_key,
            dest_qp: other.bth.dest_qp,
            psn: new.psn,
            ack_request,
            ..sent.bth
        };
        let ext = match (sent.ext, aeth) {
            (Extension::Aeth(_), Some(aeth)) => Extension::Aeth(aeth),
            (Extension::AtomicAck(_, ack), Some(aeth)) => Extension::AtomicAck(aeth, ack),
            (ext, _) => ext,
        };
        prop_assert_eq!(frame, Sent { path, bth, ext, ..sent }.frame());
    }
}
