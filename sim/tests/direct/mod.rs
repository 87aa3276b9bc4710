//! Situations that no run of torture comes to: requests of 2^22 packets, a client that sends
//! something else under a PSN that it has used, a word that is changed past the engine, a WRITE to
//! a word that is on its way elsewhere, and a switch of policies among appends to one list.

#[path = "../support/clients.rs"]
mod clients;
pub(crate) mod learnt;
#[path = "../support/packets.rs"]
mod packets;
pub(crate) mod sides;

use std::cell::RefCell;
use std::rc::Rc;

use clients::{PATH_MTU, link};
use packets::{ACK, KEY};
use qpmux_engine::journal::Journal;
use qpmux_engine::policy::{
    AddressKey, AtomicKey, Atomics, Choices, Connection, Directory, KeyMap, Map, Order, Policy,
    Profile, Start, Steer, TrustBy,
};
use qpmux_engine::wire::{
    AethRepr, AtomicAckEthRepr, AtomicEthRepr, Classified, ClientPsn, Extension, Msn, Opcode, Psn,
    RethRepr, classify,
};
use qpmux_engine::{Config, Nanos, Side};
use qpmux_sim::host::Host;
use qpmux_sim::rc::Packet;
use qpmux_workloads::load_profile;

const CLIENTS: u32 = 3;

fn connection(client: u32) -> Connection {
    let start = Start { psn: ClientPsn::new(0), msn: Msn::new(0), credits: 31 };
    link(client).known(start, 4)
}

/// All of a few clients' requests go to the first one's server queue pair.
fn policy() -> Policy {
    Policy {
        map: Map::Writes,
        key_map: KeyMap::ByConnection,
        server_qps: 1,
        trust: TrustBy::Directory,
        order: Order::Fenced,
        profile: Profile::keyless(),
        message_packets_max: u32::MAX,
        ..Policy::default()
    }
}

fn directory() -> Directory {
    let connections = (0..CLIENTS).map(connection).collect();
    clients::directory(&policy(), connections, KEY, 0..1 << 40)
}

/// Offers a client's request. How many of this opcode go to servers for it.
fn offer(host: &mut Host, client: u32, opcode: Opcode, reth: RethRepr, payload: &[u8]) -> usize {
    let extension = Extension::Reth(reth);
    let packet = Packet { opcode, psn: Psn::new(0), ack_request: true, extension, payload };
    let frame = link(client).frame(&packet).unwrap();
    let mut sent = 0;
    host.offer(0, Side::Client, Nanos(1000), &frame, &mut |side, frame| {
        let Ok(Classified::Rc(layout)) = classify(frame) else { return };
        sent += usize::from(side == Side::Server && layout.opcode == opcode);
    });
    sent
}

/// Whether of two READs of 2^22 packets each only one is open at a server queue pair: with both,
/// half of the PSNs would be.
pub(crate) fn span_stays_below_half(config: &Config) -> bool {
    let mut host = Host::new(config, &policy(), &directory(), 1).unwrap();
    let dma_length = (PATH_MTU as u32) << 22;
    let reth = RethRepr { virtual_address: 0, remote_key: KEY, dma_length };
    let sent: Vec<usize> =
        [1, 2].map(|client| offer(&mut host, client, Opcode::ReadRequest, reth, &[])).into();
    sent == [1, 0]
}

/// Whether an engine that goes on takes back the bytes of a WRITE, and not those of another one
/// under its PSN.
pub(crate) fn returned_bytes_are_the_same(config: &Config) -> bool {
    let config = Config { records: true, ..*config };
    let log: Rc<RefCell<Vec<u8>>> = Rc::default();
    let sink = Rc::clone(&log);
    let mut host = Host::new(&config, &policy(), &directory(), 1)
        .unwrap()
        .with_records(Box::new(move |bytes| sink.borrow_mut().extend_from_slice(bytes)));
    let write = |host: &mut Host, bytes: usize| {
        let dma_length = bytes as u32;
        let reth = RethRepr { virtual_address: 64, remote_key: KEY, dma_length };
        offer(host, 1, Opcode::WriteOnly, reth, &[7; 64][..bytes])
    };
    let bound = write(&mut host, 16);
    let journal = Journal::read(&config, &log.borrow()).unwrap();
    let mut host =
        Host::resume(&config, &policy(), &directory(), 1, &journal, Nanos(1000)).unwrap();
    write(&mut host, 32);
    let another = host.open().0;
    write(&mut host, 16);
    (bound, another, host.open().0) == (1, 0, 1)
}

/// An engine that replaces compare-and-swaps, whose addresses are their keys.
fn replacing(config: &Config) -> Host {
    let word = AddressKey { opcode: Opcode::CompareSwap, len: 8, unit: 8 };
    let policy = Policy {
        key_map: KeyMap::Modulo,
        atomics: Atomics::Replace,
        profile: Profile::new(Vec::new(), AtomicKey::None).with_addresses(vec![word]),
        ..policy()
    };
    Host::new(config, &policy, &directory(), 1).unwrap()
}

/// Whether a WRITE without a key waits, on its client's own server queue pair, while a WRITE in the
/// place of a swap of that word is on its way by another one.
pub(crate) fn stray_writes_wait(config: &Config) -> bool {
    let mut host = replacing(config);
    let asked = swap_word(&mut host, 0, 0, 5);
    answer_word(&mut host, 0, 0);
    let replaced = swap_word(&mut host, 1, 5, 6);
    let mut write = |client, virtual_address| {
        let reth = RethRepr { virtual_address, remote_key: KEY, dma_length: 8 };
        offer(&mut host, client, Opcode::WriteOnly, reth, &[7; 8])
    };
    let (same_word, another) = (write(2, 64), write(0, 4096));
    (asked, replaced) == (Some(Opcode::CompareSwap), Some(Opcode::WriteOnly))
        && (same_word, another) == (0, 1)
}

/// Whether a compare-and-swap stays one after an answer has contradicted what was known of its
/// word: somebody writes it past the engine.
pub(crate) fn a_contradicted_word_is_left_alone(config: &Config) -> bool {
    let mut host = replacing(config);
    // The first is asked, as nothing is known yet; the second fails, and finds what nobody wrote.
    let asked = [(0, 5, Some(0)), (9, 6, Some(7)), (5, 8, None)];
    let forms: Vec<Option<Opcode>> = (0..)
        .zip(asked)
        .map(|(psn, (compare, swap, original))| {
            let form = swap_word(&mut host, psn, compare, swap);
            if let Some(original) = original {
                answer_word(&mut host, psn, original);
            }
            form
        })
        .collect();
    forms == [Some(Opcode::CompareSwap); 3]
}

/// Whether a request for a list waits, once requests are steered, until all appends are answered
/// that are on their way since before: after the first answer there is one left.
pub(crate) fn appends_from_before_a_switch_are_awaited(config: &Config) -> bool {
    let of_clover = load_profile("clover").unwrap();
    let list = of_clover.list().unwrap().clone();
    let word = AddressKey { opcode: Opcode::CompareSwap, len: 8, unit: 8 };
    let end = list.last(1);
    let swap = list.next.with(list.next_version.with(end, 2), 2);
    let policy = Policy {
        key_map: KeyMap::Modulo,
        steer: Steer::Writes,
        profile: Profile::new(Vec::new(), AtomicKey::None)
            .with_addresses(vec![word])
            .with_list(list),
        ..policy()
    };
    let steers = policy.choices();
    let third = |answers: u32| {
        let mut host = Host::new(config, &policy, &directory(), 1).unwrap();
        host.switch(Choices { steer: Steer::None, ..steers }).unwrap();
        let before = [0, 1].map(|psn| swap_word(&mut host, psn, end, swap));
        assert_eq!(
            before,
            [Some(Opcode::CompareSwap); 2],
            "nothing waits where nothing is steered"
        );
        host.switch(steers).unwrap();
        [end, swap].into_iter().zip(0..answers).for_each(|(original, psn)| {
            answer_word(&mut host, psn, original);
        });
        swap_word(&mut host, 2, end, swap)
    };
    [third(0), third(1), third(2)] == [None, None, Some(Opcode::CompareSwap)]
}

/// What a client's compare-and-swap goes to the server as.
fn swap_word(host: &mut Host, psn: u32, compare: u64, swap: u64) -> Option<Opcode> {
    let eth = AtomicEthRepr { virtual_address: 64, remote_key: KEY, swap_or_add: swap, compare };
    let (opcode, extension) = (Opcode::CompareSwap, Extension::AtomicEth(eth));
    let packet = Packet { opcode, psn: Psn::new(psn), ack_request: true, extension, payload: &[] };
    let frame = link(1).frame(&packet).unwrap();
    let mut form = None;
    let now = Nanos(1000 * u64::from(psn + 1));
    host.offer(0, Side::Client, now, &frame, &mut |side, frame| {
        if let (Side::Server, Ok(Classified::Rc(layout))) = (side, classify(frame)) {
            form = Some(layout.opcode);
        }
    });
    form
}

/// The first server queue pair answers an atomic.
fn answer_word(host: &mut Host, psn: u32, original: u64) {
    let aeth = AethRepr { syndrome: ACK, msn: Msn::new(psn + 1) };
    let extension = Extension::AtomicAck(aeth, AtomicAckEthRepr { original });
    let opcode = Opcode::AtomicAcknowledge;
    let packet = Packet { opcode, psn: Psn::new(psn), ack_request: false, extension, payload: &[] };
    let frame = link(0).reversed().frame(&packet).unwrap();
    let now = Nanos(1000 * u64::from(psn + 1) + 500);
    host.offer(0, Side::Server, now, &frame, &mut |_, _| {});
}
