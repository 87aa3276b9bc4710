//! What becomes of each packet on the four legs of its way.

use std::fmt;

use super::dice::Dice;

/// One part of the way, in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leg {
    /// From a client to the middlebox.
    ClientToBox,
    /// From the middlebox to a server.
    BoxToServer,
    /// From a server to the middlebox.
    ServerToBox,
    /// From the middlebox to a client.
    BoxToClient,
}

impl Leg {
    /// All of them, on the way of a request and its answer.
    pub const ALL: [Leg; 4] =
        [Leg::ClientToBox, Leg::BoxToServer, Leg::ServerToBox, Leg::BoxToClient];

    /// Whether it is between a client and the middlebox.
    pub(super) fn is_client_side(self) -> bool {
        matches!(self, Leg::ClientToBox | Leg::BoxToClient)
    }
}

impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Leg::ClientToBox => "client->box",
            Leg::BoxToServer => "box->server",
            Leg::ServerToBox => "server->box",
            Leg::BoxToClient => "box->client",
        })
    }
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Deliver,
    Drop,
    /// Once more, so many nanoseconds later.
    Double(u64),
    /// Late by so many nanoseconds.
    Delay(u64),
    /// With one bit changed, counted from behind the Ethernet header, modulo the length.
    Corrupt(u64),
}

/// How often, in a thousand packets, and how often at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rates {
    pub(super) drop: u64,
    pub(super) double: u64,
    pub(super) delay: u64,
    pub(super) corrupt: u64,
    /// Packets that may be lost in a row once one is.
    pub(super) burst: u64,
    /// Longest delay, ns.
    pub(super) delay_max: u64,
    /// Faults until the leg is clean.
    pub(super) budget: u64,
}

/// The faults of one leg of one connection. They depend on its own packets alone, so that they
/// stay the same whatever happens elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Faults {
    rates: Rates,
    dice: Dice,
    burst: u64,
}

impl Faults {
    pub(super) fn new(rates: Rates, dice: Dice) -> Self {
        Faults { rates, dice, burst: 0 }
    }

    /// The fate of the next packet.
    pub(super) fn next(&mut self) -> Fate {
        let rates = self.rates;
        if rates.budget == 0 {
            return Fate::Deliver;
        }
        let fate = self.draw(rates);
        self.rates.budget -= u64::from(fate != Fate::Deliver);
        fate
    }

    fn draw(&mut self, rates: Rates) -> Fate {
        if self.burst > 0 {
            self.burst -= 1;
            return Fate::Drop;
        }
        let roll = self.dice.below(1000);
        let (double, delay) = (rates.drop + rates.double, rates.drop + rates.double + rates.delay);
        if roll < rates.drop {
            self.burst = self.dice.below(rates.burst + 1);
            Fate::Drop
        } else if roll < double {
            Fate::Double(self.dice.between(1, rates.delay_max))
        } else if roll < delay {
            Fate::Delay(self.dice.between(1, rates.delay_max))
        } else if roll < delay + rates.corrupt {
            Fate::Corrupt(self.dice.roll())
        } else {
            Fate::Deliver
        }
    }
}
