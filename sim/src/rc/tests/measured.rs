//! The habits of Linux' rxe, as measured on kernel 6.1 with hand-made frames.

use qpmux_engine::wire::{
    AtomicEthRepr, Classified, Extension, Opcode, Psn, RethRepr, Syndrome, classify,
};

use super::*;
use crate::rc::Packet;

/// Opcode byte, PSN, syndrome byte and MSN of an answer; a MIDDLE has neither of the last two.
type Seen = (u8, u32, u8, u32);

/// A server that is given requests one by one.
struct Bench {
    link: Link,
    server: Responder,
    memory: Memory,
    log: EffectLog,
    now: u64,
    original: Option<u64>,
}

impl Bench {
    fn new(start_psn: u32) -> Self {
        let (client, server) = configs(start_psn);
        Self {
            link: client.link,
            server: Responder::new(server.like_rxe()),
            memory: Memory::new(),
            log: EffectLog::new(),
            now: 0,
            original: None,
        }
    }

    fn give(
        &mut self,
        psn: u32,
        opcode: Opcode,
        extension: Extension,
        payload: &[u8],
    ) -> Vec<Seen> {
        let (psn, ack_request) = (Psn::new(psn), true);
        let packet = Packet { opcode, psn, ack_request, extension, payload };
        let mut buffer = vec![0; 5000];
        let length = self.link.emit(&packet, 0, &mut buffer).unwrap();
        self.server.handle_frame(self.now, &buffer[..length], &mut self.memory, &mut self.log);
        self.now += 10_000;
        let mut seen = Vec::new();
        while let Some(length) = self.server.poll_transmit(self.now, &mut buffer) {
            let Ok(Classified::Rc(layout)) = classify(&buffer[..length]) else { panic!("no RC") };
            let aeth = layout.aeth(&buffer).map(|a| (a.syndrome.to_byte(), a.msn.value()));
            let (syndrome, msn) = aeth.unwrap_or_default();
            seen.push((layout.opcode.to_byte(), layout.psn.value(), syndrome, msn));
            self.original = layout.atomic_ack(&buffer).map(|eth| eth.original);
        }
        seen
    }

    fn write(&mut self, psn: u32, offset: u64, data: &[u8]) -> Vec<Seen> {
        let reth = reth(offset, data.len());
        self.give(psn, Opcode::WriteOnly, Extension::Reth(reth), data)
    }

    fn empty_write(&mut self, psn: u32) -> Vec<Seen> {
        let reth = RethRepr { virtual_address: 0, remote_key: 0, dma_length: 0 };
        self.give(psn, Opcode::WriteOnly, Extension::Reth(reth), &[])
    }

    fn read(&mut self, psn: u32, offset: u64, length: usize) -> Vec<Seen> {
        self.give(psn, Opcode::ReadRequest, Extension::Reth(reth(offset, length)), &[])
    }

    fn atomic(
        &mut self,
        psn: u32,
        opcode: Opcode,
        offset: u64,
        compare: u64,
        value: u64,
    ) -> Vec<Seen> {
        let eth = AtomicEthRepr {
            virtual_address: BASE + offset,
            remote_key: RKEY,
            swap_or_add: value,
            compare,
        };
        self.give(psn, opcode, Extension::AtomicEth(eth), &[])
    }

    fn cas(&mut self, psn: u32, offset: u64, compare: u64, value: u64) -> Vec<Seen> {
        self.atomic(psn, Opcode::CompareSwap, offset, compare, value)
    }
}

fn reth(offset: u64, length: usize) -> RethRepr {
    RethRepr { virtual_address: BASE + offset, remote_key: RKEY, dma_length: length as u32 }
}

const WORD: u64 = 0x1122_3344_5566_7788;
const SWAP: u64 = 0xa1a2_a3a4_a5a6_a7a8;
/// Opcodes of answers.
const ACK: u8 = 0x11;
const ATOMIC: u8 = 0x12;

#[test]
fn words_duplicates_and_resumed_reads() {
    let mut bench = Bench::new(1000);
    assert_eq!(bench.empty_write(1000), [(ACK, 1000, 0x1f, 1)]);
    assert_eq!(bench.write(1001, 0, &WORD.to_le_bytes()), [(ACK, 1001, 0x1f, 2)]);
    assert_eq!(bench.empty_write(1000), [(ACK, 1001, 0x1f, 2)]);
    assert_eq!(bench.cas(1002, 0, WORD, SWAP), [(ATOMIC, 1002, 0x1f, 3)]);
    assert_eq!((bench.original, bench.memory.read_u64(BASE)), (Some(WORD), SWAP));
    bench.memory.write_u64(BASE, 0x77);
    assert_eq!(bench.cas(1002, 0, WORD, SWAP), [(ATOMIC, 1002, 0x1f, 3)]);
    assert_eq!((bench.original, bench.memory.read_u64(BASE)), (Some(WORD), 0x77));
    let whole = [(0x0d, 1003, 0x1f, 4), (0x0e, 1004, 0, 0), (0x0f, 1005, 0x1f, 4)];
    assert_eq!(bench.read(1003, 0, 2500), whole);
    assert_eq!(bench.write(1001, 0, &WORD.to_le_bytes()), [(ACK, 1002, 0x1f, 4)]);
    assert_eq!(bench.read(1005, 2048, 452), [(0x0f, 1005, 0x1f, 4)]);
    assert_eq!(bench.read(1004, 1024, 1476), []);
}

#[test]
fn gaps_and_fillers() {
    let mut bench = Bench::new(1006);
    assert_eq!(bench.write(1008, 8, &[1; 8]), [(ACK, 1006, 0x60, 0)]);
    assert_eq!(bench.write(1009, 8, &[1; 8]), []);
    assert_eq!(bench.empty_write(1006), [(ACK, 1006, 0x1f, 1)]);
    assert_eq!(bench.empty_write(1007), [(ACK, 1007, 0x1f, 2)]);
    assert_eq!(bench.write(1008, 8, &[1; 8]), [(ACK, 1008, 0x1f, 3)]);
    assert_eq!(bench.cas(1006, 8, 0, 9), []);
    assert_eq!(bench.read(1007, 8, 8), []);
    assert_eq!(bench.memory.read_u64(BASE + 8), 0x0101_0101_0101_0101);
    assert_eq!(bench.server.violations().count("I-S2"), 2);
}

#[test]
fn four_atomics_are_remembered() {
    let mut bench = Bench::new(1010);
    for n in 0..5 {
        assert_eq!(bench.cas(1010 + n, 16, n.into(), u64::from(n) + 1).len(), 1);
    }
    assert_eq!(bench.cas(1010, 16, 0, 1), []);
    assert_eq!(bench.cas(1011, 16, 1, 2), [(ATOMIC, 1011, 0x1f, 5)]);
    assert_eq!((bench.original, bench.memory.read_u64(BASE + 16)), (Some(1), 5));
}

#[test]
fn receiver_not_ready_does_not_stop_a_sequence_nak() {
    let (_, config) = configs(1021);
    let mut bench = Bench::new(1021);
    let config = ResponderConfig { receives: Some(0), rnr_timer: 0x0c, ..config.like_rxe() };
    bench.server = Responder::new(config);
    let immediate = Extension::RethImm(reth(0, 8), 5);
    let send = |bench: &mut Bench| bench.give(1021, Opcode::WriteOnlyImm, immediate, &[1; 8]);
    assert_eq!(send(&mut bench), [(ACK, 1021, 0x2c, 0)]);
    assert_eq!(bench.write(1022, 0, &[1; 8]), [(ACK, 1021, 0x60, 0)]);
    bench.server.post_receives(1);
    assert_eq!(send(&mut bench), [(ACK, 1021, 0x1f, 1)]);
    assert_eq!(Syndrome::from_byte(0x2c), Syndrome::RnrNak { timer: 12 });
}

#[test]
fn refusals_name_the_request_and_silence_follows() {
    let cases: [(Opcode, Extension, usize, u8); 6] = [
        (Opcode::WriteFirst, Extension::Reth(reth(0, 4096)), 2048, 0x61),
        (Opcode::WriteOnly, Extension::Reth(reth(0, 16)), 8, 0x61),
        (Opcode::WriteOnly, Extension::Reth(reth(LENGTH, 8)), 8, 0x62),
        (Opcode::ReadRequest, Extension::Reth(reth(LENGTH - 1, 8)), 0, 0x62),
        (Opcode::WriteMiddle, Extension::None, 1024, 0x61),
        (Opcode::SendLast, Extension::None, 8, 0x61),
    ];
    for (opcode, extension, length, syndrome) in cases {
        let mut bench = Bench::new(5);
        let seen = bench.give(5, opcode, extension, &vec![0; length]);
        assert_eq!(seen, [(ACK, 5, syndrome, 0)], "{opcode:?}");
        assert!(bench.server.is_dead());
        assert_eq!(bench.empty_write(5), []);
    }
    let mut bench = Bench::new(5);
    assert_eq!(bench.cas(5, 4, 0, 0), [(ACK, 5, 0x61, 0)]);
    let mut bench = Bench::new(5);
    let first = Extension::Reth(reth(0, 2048));
    assert_eq!(bench.give(5, Opcode::WriteFirst, first, &[0; 1024]), [(ACK, 5, 0x1f, 0)]);
    assert_eq!(bench.empty_write(6), [(ACK, 6, 0x61, 0)]);
}

#[test]
fn psns_wrap_and_split_into_past_and_future() {
    let mut bench = Bench::new(0xff_ffff);
    assert_eq!(bench.empty_write(0xff_ffff), [(ACK, 0xff_ffff, 0x1f, 1)]);
    assert_eq!(bench.empty_write(0), [(ACK, 0, 0x1f, 2)]);
    assert_eq!(bench.empty_write(0xff_ffff), [(ACK, 0, 0x1f, 2)]);
    assert_eq!(bench.empty_write(1 + 0x7f_fffe), [(ACK, 1, 0x60, 2)]);
    assert_eq!(bench.empty_write(1 + 0x80_0000), [(ACK, 0, 0x1f, 2)]);
    assert_eq!(bench.read(1, 0, 0), [(0x10, 1, 0x1f, 3)]);
    assert_eq!(bench.empty_write(2), [(ACK, 2, 0x1f, 4)]);
}
