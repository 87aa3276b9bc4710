//! Clients and servers at the two ends: what they ask for, and what they go by.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use qpmux_engine::wire::Psn;
use qpmux_sim::rc::{
    Link, Region, Requester, RequesterConfig, Responder, ResponderConfig, Verb, Wire,
};
use rand::RngExt;
use rand_pcg::Pcg64;

/// The server's address.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(crate) const RKEY: u32 = 0x1234;
pub(crate) const BASE: u64 = 0x10_0000;

/// Queue pairs of one client machine.
const PER_MACHINE: u32 = 16;
/// Numbers of the first client's queue pairs.
const CLIENT_QPN: u32 = 0x1000;
const SERVER_QPN: u32 = 0x10_0000;

const KEYS: u64 = 4_096;
/// From one key's head word to the next.
const HEAD: u64 = 64;
/// Records begin behind the head words; each client has some of its own.
const RECORDS: u64 = BASE + KEYS * HEAD;
const RECORDS_EACH: u64 = 4;
/// What profile `kv` takes for a record.
const RECORD: usize = 1_024;
const READ: u32 = 64;

/// Server memory for so many clients.
pub(crate) fn memory_len(clients: u32) -> u64 {
    KEYS * HEAD + u64::from(clients) * RECORDS_EACH * RECORD as u64
}

/// The client that a frame to this queue pair concerns.
pub(crate) fn client_of(qpn: u32) -> usize {
    qpn.wrapping_sub(if qpn >= SERVER_QPN { SERVER_QPN } else { CLIENT_QPN }) as usize
}

/// What clients ask for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mix {
    /// Four WRITEs, four READs and two swaps of ten.
    All,
    /// READs and swaps: frames have 70 to 126 bytes.
    Small,
    /// WRITEs: every other frame has 1,098 bytes.
    Large,
}

enum Kind {
    Write,
    Read,
    Swap,
}

impl Mix {
    fn of_ten(self, number: u32) -> Kind {
        match (self, number) {
            (Mix::Large, _) | (Mix::All, 0..4) => Kind::Write,
            (Mix::Small, 0..5) | (Mix::All, 4..8) => Kind::Read,
            _ => Kind::Swap,
        }
    }
}

/// A client: operations wait here until its window has room.
pub(crate) struct Client {
    pub(crate) requester: Requester,
    /// When the operations came that its window has no room for.
    pub(crate) waiting: VecDeque<u64>,
    /// When those came that are posted.
    pub(crate) posted: VecDeque<u64>,
    /// When it will be looked at next.
    pub(crate) armed: Option<u64>,
    /// How far away it is, ns.
    pub(crate) delay: u64,
    /// What it asks for.
    pub(crate) mix: Mix,
    number: u64,
    /// The key of its newest WRITE.
    key: u64,
}

impl Client {
    /// Posts what the window has room for.
    pub(crate) fn post(&mut self, window: usize, rng: &mut Pcg64) {
        while self.requester.pending() < window
            && let Some(came) = self.waiting.pop_front()
        {
            self.posted.push_back(came);
            let verb = self.draw(rng);
            self.requester.post(verb);
        }
    }

    /// One of ten operations of the mix: WRITEs of a record, READs, swaps of a head word.
    fn draw(&mut self, rng: &mut Pcg64) -> Verb {
        let record = self.number * RECORDS_EACH + rng.random_range(0..RECORDS_EACH);
        let address = RECORDS + record * RECORD as u64;
        match self.mix.of_ten(rng.random_range(0..10)) {
            Kind::Write => {
                self.key = rng.random_range(0..KEYS);
                let mut bytes = [0; RECORD];
                bytes[..8].copy_from_slice(&self.key.to_le_bytes());
                Verb::write(address, RKEY, &bytes)
            }
            Kind::Read => Verb::Read { address, rkey: RKEY, length: READ },
            Kind::Swap => {
                let address = BASE + self.key * HEAD;
                Verb::CompareSwap { address, rkey: RKEY, compare: 0, swap: address }
            }
        }
    }
}

/// Both ends of the connection of client `i`.
pub(crate) fn pair(i: u32, clients: u32, mix: Mix, rng: &mut Pcg64) -> (Client, Responder) {
    let machine = i / PER_MACHINE;
    let [high, low] = (machine as u16).to_be_bytes();
    let address = Ipv4Addr::new(10, 1, high, low);
    let (qpn, peer) = (CLIENT_QPN + i, SERVER_QPN + i);
    let link = Link { wire: Wire::LOSSY, ..Link::new(address, qpn, SERVER, peer) };
    let start = Psn::new(rng.random_range(0..1 << 24));
    let region = Region::new(RKEY, BASE, memory_len(clients));
    let responder = ResponderConfig {
        answer_delay: 0,
        content_window: 512,
        ..ResponderConfig::new(link.reversed(), start, vec![region])
    };
    let client = Client {
        requester: Requester::new(RequesterConfig::new(link, start)),
        waiting: VecDeque::new(),
        posted: VecDeque::new(),
        armed: None,
        delay: 0,
        mix,
        number: u64::from(i),
        key: 0,
    };
    (client, Responder::new(responder))
}
