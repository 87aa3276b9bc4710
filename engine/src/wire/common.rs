//! What all packets from one place to one queue pair have in common, as the words that they show,
//! for who looks at packets and changes none: one is known by a few comparisons, and its ICRC is
//! verified without a look at what it has in common with those before it.
//!
//! The ICRC is linear: what is in common, the kind of packet with its length, and the word of the
//! identification are computed apart from each other, and summed at the last word of the BTH.
//! Only from there on the packet itself is gone through.

use super::ethernet::ETHERTYPE_IPV4;
use super::icrc;
use super::ipv4::{FRAGMENT, Ipv4Repr, VERSION_AND_LENGTH};
use super::opcode::Opcode;
use super::packet::Layout;
use super::psn::Psn;
use super::udp::{PROTOCOL, ROCE_PORT};
use super::usual::{BTH, HEADERS, IP, UDP};

/// All headers that every packet has, and a word behind them.
pub(crate) type Head = [u8; HEADERS + 4];

/// Bits of a BTH's first two words that are in common: migration state, partition key, queue pair.
const COMMON_BTH: u64 = 0x0040_ffff_00ff_ffff;
/// Bits of a BTH's second byte that a packet has to itself: solicited event, pad count.
const FLAGS: u8 = 0xb0;
/// Bytes that are gone through by words; with more it pays to ask for more than words.
const WORDS_MAX: usize = 48;

/// What is in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Common {
    /// Source and destination.
    ips: u64,
    /// Bits of [`COMMON_BTH`].
    bth: u64,
    pub(crate) source_port: u16,
    /// What all this does to the ICRC, at the last word of the BTH.
    residue: u32,
}

impl Common {
    /// What equals no packet.
    pub(crate) const NONE: Common = Common { ips: 0, bth: u64::MAX, source_port: 0, residue: 0 };

    /// What a packet of the usual shape has in common with others.
    pub(crate) fn of(head: &Head) -> Common {
        let (ips, bth) = (long(head, IP + 12), long(head, BTH) & COMMON_BTH);
        let source_port = number(head, UDP);
        let mut covered = [0; icrc::COMMON];
        covered[12..20].copy_from_slice(&ips.to_be_bytes());
        covered[20..22].copy_from_slice(&source_port.to_be_bytes());
        covered[28..36].copy_from_slice(&bth.to_be_bytes());
        let (words, _) = covered.as_chunks::<4>();
        let after = |register, word: &[u8; 4]| icrc::advance_word(register ^ le(word));
        Common { ips, bth, source_port, residue: words.iter().fold(0, after) }
    }

    /// Whether a packet of the usual shape has this in common with others.
    #[inline]
    pub(crate) fn is_of(&self, head: &Head) -> bool {
        self.ips == long(head, IP + 12)
            && self.bth == long(head, BTH) & COMMON_BTH
            && self.source_port == number(head, UDP)
    }

    /// Whether the ICRC of such a packet is right. `layout` is its own.
    #[inline]
    pub(crate) fn verify(&self, shapes: &mut Shapes, frame: &[u8], layout: &Layout) -> bool {
        let Some(head) = frame.first_chunk() else { return false };
        let flags = head[BTH + 1] & FLAGS;
        let shape = shapes.of(layout.opcode, layout.end - layout.ip, flags);
        let register = self.register(shape, head);
        let at = usize::from(layout.icrc);
        let (Some(own), Some(found)) = (frame.get(HEADERS - 4..at), frame.get(at..)) else {
            return false;
        };
        found.first_chunk().is_some_and(|found| le(found) == finish(register, own))
    }

    /// Whether a frame is a good packet without payload, with no flags and a right ICRC, of which
    /// `WORDS` follow from the last one of the BTH on. It has the usual shape but perhaps for its
    /// lengths. `false` does not mean that it is bad.
    #[inline(always)]
    pub(crate) fn verify_short<const WORDS: usize>(
        &self,
        frame: &[u8],
        head: &Head,
        opcode: Opcode,
    ) -> bool {
        let length = (HEADERS - 4 - IP + 4 * WORDS + icrc::LEN) as u16;
        let lengths = number(head, IP + 2) ^ length | number(head, UDP + 4) ^ (length - SHORTEST);
        let Some((words, rest)) = frame[HEADERS - 4..].as_chunks::<4>().0.split_first_chunk()
        else {
            return false;
        };
        let Some(found) = rest.first() else { return false };
        let words: &[[u8; 4]; WORDS] = words;
        let shape = SHORT[usize::from(opcode.to_byte() & 31)];
        let mut register = self.register(shape, head);
        let (pairs, last) = words.as_chunks::<2>();
        for [first, second] in pairs {
            register = icrc::advance_pair(register ^ le(first), le(second));
        }
        for word in last {
            register = icrc::advance_word(register ^ le(word));
        }
        !register == le(found) && lengths == 0 && head[BTH + 1] & FLAGS == 0
    }

    /// The register at the last word of the BTH, of a packet of this kind.
    #[inline]
    fn register(&self, shape: u32, head: &Head) -> u32 {
        let own = le(&[head[IP + 4], head[IP + 5], head[IP + 6], head[IP + 7]]);
        shape ^ self.residue ^ icrc::advance_identification(own)
    }
}

/// Whether a packet has the usual shape as far as its lengths and its opcode do not matter.
#[inline]
pub(crate) fn is_usual(head: &Head) -> bool {
    let others = number(head, IP - 2) ^ ETHERTYPE_IPV4
        | u16::from(head[IP] ^ VERSION_AND_LENGTH)
        | number(head, IP + 6) & FRAGMENT
        | u16::from(head[IP + 9] ^ PROTOCOL)
        | number(head, UDP + 2) ^ ROCE_PORT
        | u16::from(head[BTH + 1] & 0x0f);
    others == 0
}

/// The opcode's byte, and the PSN.
#[inline]
pub(crate) fn opcode_and_psn(head: &Head) -> (u8, Psn) {
    let [_, a, b, c] = [head[BTH + 8], head[BTH + 9], head[BTH + 10], head[BTH + 11]];
    (head[BTH], Psn::new(u32::from_be_bytes([0, a, b, c])))
}

/// The word behind the headers.
#[inline]
pub(crate) fn next_word(head: &Head) -> [u8; 4] {
    [head[HEADERS], head[HEADERS + 1], head[HEADERS + 2], head[HEADERS + 3]]
}

/// The CRC of what is behind the common words, given the register there.
#[inline]
fn finish(mut register: u32, bytes: &[u8]) -> u32 {
    if bytes.len() > WORDS_MAX {
        let mut crc = crc32fast::Hasher::new_with_initial(!register);
        crc.update(bytes);
        return crc.finalize();
    }
    let (words, _) = bytes.as_chunks::<4>();
    let (pairs, last) = words.as_chunks::<2>();
    for [first, second] in pairs {
        let first = register ^ le(first);
        register = icrc::advance_pair(first, le(second));
    }
    for word in last {
        register = icrc::advance_word(register ^ le(word));
    }
    !register
}

/// What kinds of packets do to the ICRC, at the last word of the BTH, for an opcode and a length.
#[derive(Clone, Copy)]
pub(crate) struct Shapes {
    /// Opcode, flags and length, and the register.
    places: [(u32, u32); 512],
}

impl Shapes {
    pub(crate) const NONE: Shapes = Shapes { places: [(u32::MAX, 0); 512] };

    #[inline]
    fn of(&mut self, opcode: Opcode, length: u16, flags: u8) -> u32 {
        let key = u32::from_be_bytes([opcode.to_byte(), flags, 0, 0]) | u32::from(length);
        let at = usize::from(opcode.to_byte()) << 4 | usize::from(length) >> 2 & 15;
        // No opcode is beyond 31.
        let place = &mut self.places[at % 512];
        if place.0 != key {
            *place = (key, shape(opcode, length, flags));
        }
        place.1
    }
}

/// The same of one kind, from that of the shortest packet with its opcode.
fn shape(opcode: Opcode, length: u16, flags: u8) -> u32 {
    let [high, low] = (length ^ SHORTEST).to_be_bytes();
    let total = icrc::advance_word(u32::from_le_bytes([0, 0, high, low]));
    let [high, low] = (length.wrapping_sub(SHORTEST)).to_be_bytes();
    let datagram = icrc::advance_word(u32::from_le_bytes([high, low, 0, 0]));
    let flags = u32::from_le_bytes([0, flags, 0, 0]);
    let later = icrc::advance_word(icrc::advance_word(datagram ^ flags));
    SHAPES[usize::from(opcode.to_byte() & 31)] ^ icrc::advance_identification(total) ^ later
}

/// An IP header's length, without anything behind it.
const SHORTEST: u16 = Ipv4Repr::LEN as u16;

/// The register of packets of this length, with no flags.
static SHAPES: [u32; 32] = registers(false);
/// The register of packets without payload and flags.
static SHORT: [u32; 32] = registers(true);

const fn registers(whole: bool) -> [u32; 32] {
    let mut registers = [0; 32];
    let mut at = 0;
    while at < Opcode::ALL.len() {
        let opcode = Opcode::ALL[at];
        let whole_len = HEADERS - IP + opcode.headers_len() + icrc::LEN;
        let length = if whole { whole_len as u16 } else { SHORTEST };
        registers[opcode as usize] = icrc::shape(opcode, length);
        at += 1;
    }
    registers
}

#[inline]
fn le(word: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*word)
}

#[inline]
fn number(head: &Head, at: usize) -> u16 {
    u16::from_be_bytes([head[at], head[at + 1]])
}

#[inline]
fn long(head: &Head, at: usize) -> u64 {
    let bytes = core::array::from_fn(|i| head[at + i]);
    u64::from_be_bytes(bytes)
}

/// A number that differs where packets have little in common.
#[inline]
pub(crate) fn mix(head: &Head) -> u32 {
    let queue_pair = (long(head, BTH) & COMMON_BTH).rotate_left(16);
    let mixed = (long(head, IP + 12) ^ queue_pair).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 48) as u32
}
