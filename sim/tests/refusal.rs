//! Requests that a responder refuses whatever they ask for: a message neither begins in the
//! middle nor inside another.

use std::net::Ipv4Addr;

use qpmux_engine::policy::{Directory, KeyMap, Map, Order, Policy, Profile, Start, TrustBy};
use qpmux_engine::wire::{
    Classified, ClientPsn, Extension, Msn, NakCode, Opcode, Psn, Syndrome, classify,
};
use qpmux_engine::{Config, DropReason, Nanos, Side};
use qpmux_sim::host::Host;
use qpmux_sim::rc::{Link, Packet};

fn link() -> Link {
    Link::new(Ipv4Addr::new(10, 0, 0, 1), 0x11, Ipv4Addr::new(10, 0, 0, 9), 0xabc)
}

/// An engine that knows the connection of [`link`], at PSN 7 with 3 messages done.
fn host() -> Host {
    let policy = Policy {
        map: Map::Writes,
        key_map: KeyMap::Modulo,
        server_qps: 1,
        trust: TrustBy::Directory,
        order: Order::Fenced,
        profile: Profile::keyless(),
        message_packets_max: 1,
        ..Policy::default()
    };
    let start = Start { psn: ClientPsn::new(7), msn: Msn::new(3), credits: 31 };
    let connection = link().known(start, 1);
    let directory = Directory::new(vec![connection], Vec::new(), Vec::new(), &policy).unwrap();
    Host::new(&Config::default(), &policy, &directory, 1).unwrap()
}

/// Offers one request without headers of its own; what goes out.
fn offer(host: &mut Host, opcode: Opcode, psn: u32) -> Vec<(Side, Vec<u8>)> {
    let packet = Packet {
        opcode,
        psn: Psn::new(psn),
        ack_request: true,
        extension: Extension::None,
        payload: &[5; 1024],
    };
    let frame = link().frame(&packet).unwrap();
    let mut sent = Vec::new();
    let mut emit = |side, frame: &[u8]| sent.push((side, frame.to_vec()));
    host.offer(0, Side::Client, Nanos(u64::from(psn)), &frame, &mut emit);
    sent
}

#[test]
fn a_message_that_begins_in_the_middle_is_refused_and_nothing_is_kept() {
    for opcode in [Opcode::WriteMiddle, Opcode::WriteLast, Opcode::SendLast] {
        let mut host = host();
        let sent = offer(&mut host, opcode, 7);
        let [(Side::Client, answer)] = sent.as_slice() else { panic!("{opcode:?}: {sent:?}") };
        let Ok(Classified::Rc(layout)) = classify(answer) else { panic!("{opcode:?}") };
        let aeth = layout.aeth(answer).unwrap();
        assert_eq!(aeth.syndrome, Syndrome::Nak(NakCode::InvalidRequest), "{opcode:?}");
        assert_eq!((layout.psn, aeth.msn), (Psn::new(7), Msn::new(3)), "{opcode:?}");
        assert_eq!(host.open(), (0, 0, 0), "{opcode:?}: at rest");
        // Its queue pair is in the error state now.
        assert!(offer(&mut host, Opcode::SendOnly, 8).is_empty(), "{opcode:?}");
        assert_eq!(host.open(), (0, 0, 0), "{opcode:?}: at rest");
    }
}

#[test]
fn a_message_that_begins_at_its_start_is_not_refused() {
    let mut host = host();
    let sent = offer(&mut host, Opcode::SendFirst, 7);
    assert!(matches!(sent.as_slice(), [(Side::Server, _)]), "{sent:?}");
    let sent = offer(&mut host, Opcode::SendLast, 8);
    assert!(matches!(sent.as_slice(), [(Side::Server, _)]), "{sent:?}");
}

/// Nobody here can tell how many PSNs an ATOMIC WRITE takes: on a translated connection it may not
/// pass, since every later PSN would be wrong. The connection goes on without it.
#[test]
fn an_opcode_of_unknown_size_does_not_pass() {
    const ATOMIC_WRITE: u8 = 0x1d;
    let mut host = host();
    let mut sent = offer(&mut host, Opcode::SendOnly, 7);
    let [(Side::Server, frame)] = sent.as_mut_slice() else { panic!("{sent:?}") };
    frame[42] = ATOMIC_WRITE;
    let mut passed = 0;
    host.offer(0, Side::Client, Nanos(9), frame, &mut |_, _| passed += 1);
    assert_eq!(passed, 0);
    assert_eq!(host.counters().dropped(DropReason::UnknownOpcode), 1);
    assert!(matches!(offer(&mut host, Opcode::SendOnly, 8).as_slice(), [(Side::Server, _)]));
}
