//! What becomes of each packet on the four legs of its way.

use std::fmt;

use qpmux_engine::wire::{Classified, Ipv4, classify, icrc, ipv4};
use serde::{Deserialize, Serialize};

use crate::dice::Dice;

/// One part of the way, in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Leg {
    /// From a client to the middlebox.
    #[serde(rename = "client->box")]
    ClientToBox,
    /// From the middlebox to a server.
    #[serde(rename = "box->server")]
    BoxToServer,
    /// From a server to the middlebox.
    #[serde(rename = "server->box")]
    ServerToBox,
    /// From the middlebox to a client.
    #[serde(rename = "box->client")]
    BoxToClient,
}

impl Leg {
    /// All of them, on the way of a request and its answer.
    pub const ALL: [Leg; 4] =
        [Leg::ClientToBox, Leg::BoxToServer, Leg::ServerToBox, Leg::BoxToClient];

    /// Whether it is between a client and the middlebox.
    pub(crate) fn is_client_side(self) -> bool {
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

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
    Drop,
    Double,
    Delay,
    Corrupt,
    Mark,
    Noise,
}

impl What {
    /// All of them, in the order in which they are counted.
    pub(crate) const ALL: [What; 6] =
        [What::Drop, What::Double, What::Delay, What::Corrupt, What::Mark, What::Noise];

    /// What a packet is that this happened to.
    pub(crate) fn name(self) -> &'static str {
        match self {
            What::Drop => "lost",
            What::Double => "doubled",
            What::Delay => "delayed",
            What::Corrupt => "damaged",
            What::Mark => "marked",
            What::Noise => "with noise beside",
        }
    }
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Deliver,
    Drop,
    /// Once more, so many nanoseconds later.
    Double(u64),
    /// Late by so many nanoseconds.
    Delay(u64),
    /// With one bit changed, counted from behind the Ethernet header, modulo the length.
    Corrupt(u64),
    /// With its ECN bits set to "congestion experienced" (RFC 3168).
    Mark,
    /// With a frame beside it that is no packet of the conversation: which one.
    Noise(u64),
}

impl Fate {
    /// The fault, and its number: of nanoseconds or of a bit.
    pub(crate) fn fault(self) -> Option<(What, u64)> {
        match self {
            Fate::Deliver => None,
            Fate::Drop => Some((What::Drop, 0)),
            Fate::Double(by) => Some((What::Double, by)),
            Fate::Delay(by) => Some((What::Delay, by)),
            Fate::Corrupt(bit) => Some((What::Corrupt, bit)),
            Fate::Mark => Some((What::Mark, 0)),
            Fate::Noise(number) => Some((What::Noise, number)),
        }
    }

    fn of(what: What, by: u64) -> Fate {
        match what {
            What::Drop => Fate::Drop,
            What::Double => Fate::Double(by),
            What::Delay => Fate::Delay(by),
            What::Corrupt => Fate::Corrupt(by),
            What::Mark => Fate::Mark,
            What::Noise => Fate::Noise(by),
        }
    }
}

/// A fault of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    /// On which leg of which connection.
    pub(crate) leg: Leg,
    pub(crate) connection: u32,
    /// Which of the packets that are sent there, from 0.
    pub(crate) packet: u64,
    pub(crate) what: What,
    /// Nanoseconds until it comes (again), the bit that is changed, or which frame is beside it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) by: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How often, in a million packets, and how often at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rates {
    pub(crate) drop: u64,
    pub(crate) double: u64,
    pub(crate) delay: u64,
    pub(crate) corrupt: u64,
    pub(crate) mark: u64,
    pub(crate) noise: u64,
    /// Packets that may be lost in a row once one is.
    pub(crate) burst: u64,
    /// Longest delay, ns.
    pub(crate) delay_max: u64,
    /// Faults until the leg is clean.
    pub(crate) budget: u64,
}

impl Rates {
    /// Whether they can do more than mark.
    pub(crate) fn can_harm(&self) -> bool {
        self.budget > 0 && self.drop + self.double + self.delay + self.corrupt > 0
    }
}

/// The faults of one leg of one connection: those that are listed, or else by chance. They depend
/// on its own packets alone, so that they stay the same whatever happens elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    /// By packet, in order.
    listed: Vec<(u64, Fate)>,
    rates: Rates,
    dice: Dice,
    burst: u64,
    /// Packets so far.
    pub(crate) packets: u64,
}

impl Faults {
    /// Those of `listed` that are on this leg of this connection.
    pub(crate) fn listed(listed: &[Fault], leg: Leg, connection: u32) -> Self {
        let mine = listed.iter().filter(|f| f.leg == leg && f.connection == connection);
        let mut listed: Vec<_> = mine.map(|f| (f.packet, Fate::of(f.what, f.by))).collect();
        listed.sort_by_key(|(packet, _)| *packet);
        let (rates, dice) = (Rates::default(), Dice::new(0, 0, 0));
        Faults { listed, rates, dice, burst: 0, packets: 0 }
    }

    pub(crate) fn drawn(rates: Rates, dice: Dice) -> Self {
        Faults { listed: Vec::new(), rates, dice, burst: 0, packets: 0 }
    }

    /// The fate of the next packet.
    pub(crate) fn next(&mut self) -> Fate {
        let packet = self.packets;
        self.packets += 1;
        if let Ok(at) = self.listed.binary_search_by_key(&packet, |(packet, _)| *packet) {
            return self.listed[at].1;
        }
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
        let roll = self.dice.below(1_000_000);
        let double = rates.drop + rates.double;
        let delay = double + rates.delay;
        let corrupt = delay + rates.corrupt;
        if roll < rates.drop {
            self.burst = self.dice.below(rates.burst + 1);
            Fate::Drop
        } else if roll < double {
            Fate::Double(self.dice.between(1, rates.delay_max))
        } else if roll < delay {
            Fate::Delay(self.dice.between(1, rates.delay_max))
        } else if roll < corrupt {
            // A bit's number is written into scripts, where numbers have a sign.
            Fate::Corrupt(self.dice.below(1 << 20))
        } else if roll < corrupt + rates.mark {
            Fate::Mark
        } else if roll < corrupt + rates.mark + rates.noise {
            Fate::Noise(self.dice.below(16))
        } else {
            Fate::Deliver
        }
    }
}

/// Sets the ECN bits of an IPv4 packet to "congestion experienced".
pub(crate) fn mark(frame: &mut [u8]) {
    let ip = ip_header_at(frame);
    let Some(header) = frame.get_mut(ip..ip + 20) else { return };
    if let Ok(mut view) = Ipv4::new_checked(&mut *header) {
        view.set_traffic_class(view.traffic_class() | 3);
    }
    ipv4::fill_checksum(header);
}

/// Changes one bit of a frame, counted from behind the Ethernet header, modulo the length.
pub(crate) fn damage(frame: &mut [u8], bit: u64) {
    let ip = ip_header_at(frame);
    let bits = (frame.len() - ip) as u64 * 8;
    let at = bit % bits;
    frame[ip + (at / 8) as usize] ^= 1 << (at % 8);
}

/// Changes one bit of a frame where a link that is trusted may: of its data, but for the first
/// eight bytes, which may be a key, or of its ICRC: it is still what it was.
pub(crate) fn damage_data(frame: &mut [u8], bit: u64) {
    let (first, bytes) = match classify(frame) {
        Ok(Classified::Rc(layout)) if layout.payload_len > 8 => {
            (usize::from(layout.payload) + 8, usize::from(layout.payload_len) - 8)
        }
        Ok(Classified::Rc(layout)) => (layout.icrc.into(), icrc::LEN),
        _ => (frame.len() - icrc::LEN.min(frame.len()), icrc::LEN.min(frame.len())),
    };
    let at = bit % (bytes as u64 * 8);
    frame[first + (at / 8) as usize] ^= 1 << (at % 8);
}

/// What a frame with data was before [`damage_data`]; `None` if it is not damaged so. Others are
/// verified wherever they come.
pub(crate) fn mended(frame: &[u8]) -> Option<Vec<u8>> {
    let Ok(Classified::Rc(layout)) = classify(frame) else { return None };
    if layout.payload_len == 0 || icrc::verify(frame, &layout) {
        return None;
    }
    let mut frame = frame.to_vec();
    let payload = usize::from(layout.payload);
    for at in 0..usize::from(layout.payload_len) * 8 {
        frame[payload + at / 8] ^= 1 << (at % 8);
        if icrc::verify(&frame, &layout) {
            return Some(frame);
        }
        frame[payload + at / 8] ^= 1 << (at % 8);
    }
    // Its ICRC was.
    icrc::store(&mut frame, &layout);
    Some(frame)
}

/// Where the IP header of a frame begins, behind at most one VLAN tag.
pub(crate) fn ip_header_at(frame: &[u8]) -> usize {
    if frame.get(12..14) == Some(&[0x81, 0]) { 18 } else { 14 }
}
