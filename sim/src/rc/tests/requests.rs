//! Wrong requests are told by the right rule.

use qpmux_engine::wire::{
    AtomicEthRepr, Classified, Extension, Opcode, Psn, RethRepr, Syndrome, classify,
};

use super::oracles::{ACCESS, ACK, Answer, START, assert_only, frame};
use super::*;
use crate::rc::responder::content::Contents;
use crate::rc::{Packet, Wire};

/// A request by hand.
fn request(psn: u32, opcode: Opcode, ack_request: bool, length: usize) -> (Packet<'static>, usize) {
    let psn = Psn::new(START).add(psn);
    let (address, key) = (BASE, RKEY);
    let eth = RethRepr { virtual_address: address, remote_key: key, dma_length: length as u32 };
    let atomic =
        AtomicEthRepr { virtual_address: address, remote_key: key, swap_or_add: 1, compare: 0 };
    let extension = match opcode {
        _ if opcode.has_reth() => Extension::Reth(eth),
        _ if opcode.is_atomic() => Extension::AtomicEth(atomic),
        _ => Extension::None,
    };
    let payload = if opcode.has_payload() { length.min(1024) } else { 0 };
    (Packet { opcode, psn, ack_request, extension, payload: &[] }, payload)
}

type Request = (u32, Opcode, bool, usize);

fn request_frame(link: &Link, (psn, opcode, ack, length): Request) -> Vec<u8> {
    let (packet, payload) = request(psn, opcode, ack, length);
    let bytes = vec![length as u8; payload];
    frame(link, Packet { payload: &bytes, ..packet })
}

/// Gives the requests to a responder and to an audit of what is sent; the rules broken by each.
fn expect_requests(wire: Wire, requests: &[Request], at_responder: &str, at_audit: &str) {
    let (client, mut server) = configs(START);
    server.link.wire = wire;
    (server.require_ack_request, server.max_dest_rd_atomic) = (true, 2);
    let config = RequestAuditConfig {
        max_rd_atomic: 2,
        ..RequestAuditConfig::new(server.link.clone(), server.start_psn)
    };
    let mut audit = RequestAudit::new(config);
    let mut responder = Responder::new(server);
    let (mut memory, mut log) = (Memory::new(), EffectLog::new());
    let mut out = [0; 5000];
    for (time, request) in requests.iter().enumerate() {
        let now = time as u64 * 100;
        let frame = request_frame(&client.link, *request);
        audit.observe_request(now, &frame);
        responder.handle_frame(now, &frame, &mut memory, &mut log);
        while let Some(length) = responder.poll_transmit(now, &mut out) {
            audit.observe_answer(now, &out[..length]);
        }
    }
    assert_only(responder.violations(), at_responder);
    assert_only(audit.violations(), at_audit);
}

#[test]
fn wrong_requests_are_told() {
    use Opcode::{FetchAdd, ReadRequest, WriteFirst, WriteLast, WriteOnly};
    let any = Wire::ANY;
    expect_requests(any, &[(0, WriteOnly, true, 8), (1, FetchAdd, true, 8)], "", "");
    expect_requests(any, &[(0, WriteOnly, true, 8), (2, WriteOnly, true, 8)], "", "I-S1");
    let hole = [(1, WriteOnly, true, 8)];
    expect_requests(Wire::FAITHFUL, &hole, "I-S1", "I-S1");
    let other = [(0, WriteOnly, true, 8), (0, WriteOnly, true, 9)];
    expect_requests(any, &other, "I-S2", "I-S2");
    let early = [(0, WriteOnly, true, 8), (2, WriteOnly, true, 8), (2, FetchAdd, true, 8)];
    expect_requests(any, &early, "I-S2", "I-S1 I-S2");
    let inside = [(0, WriteFirst, false, 2048), (1, WriteOnly, true, 0)];
    expect_requests(any, &inside, "I-S5", "I-S5");
    let astray = [(0, WriteLast, true, 8)];
    expect_requests(any, &astray, "I-S5", "I-S5");
    let deep = [(0, FetchAdd, true, 8), (1, ReadRequest, true, 8), (2, FetchAdd, true, 8)];
    expect_requests(any, &deep, "I-S7", "I-S7");
    expect_requests(any, &[(0, WriteOnly, false, 8)], "I-S9", "I-S9");
    expect_requests(any, &[(0xff_fff0, WriteOnly, true, 8)], "I-S10", "I-S10");
    expect_requests(any, &[(0, ReadRequest, true, 1 << 30)], "I-S6", "");
}

#[test]
fn old_reads_and_atomics_are_not_sent_again() {
    use Opcode::FetchAdd;
    let atomics: Vec<Request> = (0..4).map(|n| (n, FetchAdd, true, 8)).collect();
    let spread = |psn| [(psn, FetchAdd, true, 8), (psn, FetchAdd, true, 8)];
    // Enough duplicates between to let the answers out, which come after 500 ns.
    let mut requests = Vec::new();
    for psn in 0..4 {
        (0..4).for_each(|_| requests.extend(spread(psn)));
    }
    requests.push(atomics[0]);
    expect_requests(Wire::LOSSY, &requests, "I-S8", "I-S8");
    expect_requests(Wire::ANY, &requests, "", "I-S8");
}

#[test]
fn audit_knows_resumed_reads_pauses_and_the_end() {
    let (client, server) = configs(START);
    let config = RequestAuditConfig::new(server.link.clone(), server.start_psn);
    let mut audit = RequestAudit::new(config);
    let rest = |psn: u32| {
        let (packet, _) = request(psn, Opcode::ReadRequest, true, 3000 - 1024 * psn as usize);
        let Extension::Reth(eth) = packet.extension else { panic!("not a READ") };
        let virtual_address = BASE + 1024 * u64::from(psn);
        let extension = Extension::Reth(RethRepr { virtual_address, ..eth });
        frame(&client.link, Packet { extension, ..packet })
    };
    [0, 1, 1, 2].iter().for_each(|psn| audit.observe_request(0, &rest(*psn)));
    assert!(audit.violations().is_empty(), "{}", audit.violations());
    audit.observe_request(0, &rest(1));
    assert_only(audit.violations(), "I-S3");

    let write = |psn| request_frame(&client.link, (psn, Opcode::WriteOnly, true, 8));
    let wait =
        Answer(3, Opcode::Acknowledge, Syndrome::RnrNak { timer: 1 }, 1, 0).frame(&server.link);
    audit.observe_request(0, &write(3));
    audit.observe_answer(5, &wait);
    audit.observe_request(10_005, &write(3));
    assert_eq!(audit.violations().count("I-S13"), 0);
    audit.observe_answer(10_005, &wait);
    audit.observe_request(20_004, &write(3));
    assert_eq!(audit.violations().count("I-S13"), 1);
    // Until the READ is answered, a NAK behind it says first of all that its answer was lost.
    let refused = Answer(3, Opcode::Acknowledge, ACCESS, 1, 0).frame(&server.link);
    audit.observe_answer(20_005, &refused);
    audit.observe_request(40_000, &write(4));
    assert_eq!(audit.violations().count("I-S15"), 0);
    let parts = [Opcode::ReadResponseFirst, Opcode::ReadResponseMiddle, Opcode::ReadResponseLast];
    for (psn, opcode) in (0..).zip(parts) {
        audit.observe_answer(40_000, &Answer(psn, opcode, ACK, 1, 1024).frame(&server.link));
    }
    audit.observe_answer(40_000, &refused);
    audit.observe_request(40_000, &write(5));
    assert_only(audit.violations(), "I-S13 I-S15 I-S3");
}

#[test]
fn requests_keep_to_the_path() {
    let (client, server) = configs(START);
    let mut responder = Responder::new(server);
    let (mut memory, mut log) = (Memory::new(), EffectLog::new());
    let mut link = client.link;
    for (psn, change) in [(0, 0), (1, 1), (2, 0)] {
        link.path.source_port ^= change;
        let frame = request_frame(&link, (psn, Opcode::WriteOnly, true, 8));
        responder.handle_frame(0, &frame, &mut memory, &mut log);
    }
    assert_eq!(responder.violations().count("I-S15"), 2);
    link.path.source = Ipv4Addr::new(10, 0, 0, 2).into();
    let frame = request_frame(&link, (3, Opcode::WriteOnly, true, 8));
    responder.handle_frame(0, &frame, &mut memory, &mut log);
    assert_eq!((responder.violations().count("I-S15"), responder.stats().accepted), (3, 3));
}

/// What a PSN stood for is forgotten long before the PSN comes round.
#[test]
fn contents_leave_the_window() {
    let (client, _) = configs(START);
    let start = Psn::new(START);
    let mut contents = Contents::new(64, 1024);
    let layout_of = |frame: &[u8]| match classify(frame) {
        Ok(Classified::Rc(layout)) => layout,
        other => panic!("{other:?}"),
    };
    let read = request_frame(&client.link, (0, Opcode::ReadRequest, true, 40 * 1024));
    let write = request_frame(&client.link, (0, Opcode::WriteOnly, true, 8));
    contents.bind(&layout_of(&read), &read);
    contents.advance(start, 40);
    assert!(contents.conflict(&layout_of(&read), &read).is_none());
    assert!(contents.conflict(&layout_of(&write), &write).is_some());
    contents.advance(start.add(40), 24);
    assert!(contents.conflict(&layout_of(&write), &write).is_some());
    contents.advance(start.add(64), 1);
    assert!(contents.conflict(&layout_of(&write), &write).is_none());
    let rest = request_frame(&client.link, (1, Opcode::WriteOnly, true, 8));
    assert!(contents.conflict(&layout_of(&rest), &rest).is_some());
}
