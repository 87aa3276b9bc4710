//! What all packets of one direction of a connection have in common, as the words that they show:
//! a packet that has just these is checked and rewritten without a look at each of them.
//!
//! The ICRC is linear. What the common words do to it is computed once for each direction (the
//! residue), and so a packet's ICRC follows from the residue and the few words that are its own;
//! and where all common words are replaced, two residues say what that changes.

use core::net::Ipv4Addr;

use super::aeth::AethRepr;
use super::icrc::{self, PatchTables};
use super::ipv4::VERSION_AND_LENGTH;
use super::opcode::Opcode;
use super::psn::{Psn, Qpn};
use super::udp::PROTOCOL;
use super::usual::{self, BTH, HEADERS, IP, UDP};

/// All headers, and the word behind them.
type Head = [u8; HEADERS + 4];

/// Bits of a BTH's first word that are the connection's: MigReq and partition key.
const PATH: u32 = 0x0040_ffff;
/// Bits that are a packet's own and neither of these: pad count.
const PAD: u32 = 0x0030_0000;

/// One direction of a connection whose packets have the usual shape.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// Destination, source.
    pub(super) macs: [u8; 12],
    /// Source, destination.
    pub(super) ips: [u8; 8],
    pub(super) dest_qp: u32,
    /// Bits of [`PATH`].
    pub(super) path: u32,
    /// Sum of the IP header's words that are in common, for its checksum (RFC 1071); of the
    /// traffic class without the two ECN bits.
    pub(super) sum: u32,
    /// What the words in common do to the ICRC, at the last word of the BTH.
    pub(super) residue: u32,
    pub(super) source_port: u16,
    /// The two ECN bits are those of packets that are made here.
    pub(super) traffic_class: u8,
    pub(super) hop_limit: u8,
}

/// What a direction is made of.
pub(crate) struct Ends {
    /// Ethernet addresses: destination, source.
    pub(crate) macs: [[u8; 6]; 2],
    /// IP addresses: source, destination.
    pub(crate) ips: [Ipv4Addr; 2],
    pub(crate) dest_qp: Qpn,
    pub(crate) source_port: u16,
    pub(crate) traffic_class: u8,
    pub(crate) hop_limit: u8,
    pub(crate) migration_request: bool,
    pub(crate) partition_key: u16,
}

/// What changes of a packet that is forwarded, besides all that is in common.
pub(crate) struct Renewed {
    pub(crate) psn: Psn,
    pub(crate) ack_request: bool,
    pub(crate) aeth: Option<AethRepr>,
}

impl Facts {
    pub(crate) fn new(ends: &Ends) -> Facts {
        let [destination_mac, source_mac] = ends.macs;
        let [source, destination] = ends.ips.map(Ipv4Addr::to_bits);
        let (class, hop) = (ends.traffic_class, ends.hop_limit);
        let first = u64::from(VERSION_AND_LENGTH) << 8 | u64::from(class & !3);
        let third = u64::from(hop) << 8 | u64::from(PROTOCOL);
        let halves = |word: u32| u64::from(word >> 16) + u64::from(word & 0xffff);
        let sum = first + third + halves(source) + halves(destination);
        let path = u32::from(ends.migration_request) << 22 | u32::from(ends.partition_key);
        let mut facts = Facts {
            macs: [0; 12],
            ips: (u64::from(source) << 32 | u64::from(destination)).to_be_bytes(),
            dest_qp: ends.dest_qp.value(),
            path,
            // Five numbers of 16 bits.
            sum: sum as u32,
            residue: 0,
            source_port: ends.source_port,
            traffic_class: class,
            hop_limit: hop,
        };
        facts.macs[..6].copy_from_slice(&destination_mac);
        facts.macs[6..].copy_from_slice(&source_mac);
        facts.residue = icrc::residue(&facts.covered());
        facts
    }

    /// Bytes from the IP header to the word before the BTH's last one, zero but for what is in
    /// common.
    fn covered(&self) -> [u8; icrc::COMMON] {
        let mut covered = [0; icrc::COMMON];
        covered[12..20].copy_from_slice(&self.ips);
        covered[20..22].copy_from_slice(&self.source_port.to_be_bytes());
        covered[28..32].copy_from_slice(&self.path.to_be_bytes());
        covered[32..36].copy_from_slice(&self.dest_qp.to_be_bytes());
        covered
    }

    /// Whether a packet of the usual shape, found by its addresses and queue pair number, has all
    /// else in common as well, and is nothing special (a solicited event).
    #[inline(always)]
    pub(crate) fn are_of(&self, head: &[u8; HEADERS], opcode: Opcode) -> bool {
        let bth = u32::from(opcode.to_byte()) << 24 | self.path;
        word(head, BTH) & !PAD == bth && number(head, UDP) == self.source_port
    }

    /// The same of a packet that was not found by its addresses and queue pair number.
    pub(crate) fn are_all_of(&self, head: &[u8; HEADERS], opcode: Opcode) -> bool {
        self.are_of(head, opcode)
            && head[IP + 12..UDP] == self.ips
            && word(head, BTH + 4) & 0x00ff_ffff == self.dest_qp
    }

    /// Whether the ICRC of a packet without payload, which has these facts, is right.
    #[inline(always)]
    pub(crate) fn verify(&self, frame: &[u8], opcode: Opcode) -> bool {
        match opcode {
            Opcode::Acknowledge => self.verify_words::<2>(frame, &ACKNOWLEDGE),
            Opcode::AtomicAcknowledge => self.verify_words::<4>(frame, &ATOMIC_ACKNOWLEDGE),
            Opcode::ReadRequest => self.verify_words::<5>(frame, &READ_REQUEST),
            Opcode::CompareSwap => self.verify_words::<8>(frame, &COMPARE_SWAP),
            Opcode::FetchAdd => self.verify_words::<8>(frame, &FETCH_ADD),
            _ => false,
        }
    }

    /// `WORDS` from the last one of the BTH on.
    #[inline(always)]
    fn verify_words<const WORDS: usize>(&self, frame: &[u8], shape: &u32) -> bool {
        let le = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
        let Some((head, rest)) = frame.split_first_chunk::<{ HEADERS - 4 }>() else {
            return false;
        };
        let (words, _) = rest.as_chunks::<4>();
        let Some((words, rest)) = words.split_first_chunk::<WORDS>() else { return false };
        let Some(found) = rest.first() else { return false };
        let own = [head[IP + 4], head[IP + 5], head[IP + 6], head[IP + 7]];
        let mut register = shape ^ self.residue ^ icrc::advance_identification(le(&own));
        let (pairs, last) = words.as_chunks::<2>();
        for [first, second] in pairs {
            register = icrc::advance_pair(register ^ le(first), le(second));
        }
        for one in last {
            register = icrc::advance_word(register ^ le(one));
        }
        !register == le(found)
    }

    /// Makes a packet that has the facts `from` one with these; the length stays, and so does a
    /// congestion mark (RFC 3168). An ICRC that was wrong stays wrong. UDP has no checksum then
    /// (RoCEv2 annex A17.3.1 allows that). `None`, and nothing is done, if the frame is shorter.
    #[inline(always)]
    pub(crate) fn put(
        &self,
        from: &Facts,
        tables: &PatchTables,
        frame: &mut [u8],
        icrc_at: usize,
        new: &Renewed,
    ) -> Option<()> {
        let tail = icrc_at.checked_sub(HEADERS)?;
        if frame.len() < icrc_at + icrc::LEN || tail < 4 {
            return None;
        }
        let head: &mut Head = frame.first_chunk_mut()?;
        let ecn = head[IP + 1] & 3;
        let own = u32::from(number(head, IP + 2)) + u32::from(number(head, IP + 4));
        let sum = self.sum + own + u32::from(number(head, IP + 6)) + u32::from(ecn);
        head[..12].copy_from_slice(&self.macs);
        head[IP + 1] = self.traffic_class & !3 | ecn;
        head[IP + 8] = self.hop_limit;
        put(head, IP + 10, checksum(sum).to_be_bytes());
        put(head, IP + 12, self.ips);
        put(head, UDP, self.source_port.to_be_bytes());
        put(head, UDP + 6, [0; 2]);
        let path = word(head, BTH) & !PATH | self.path;
        put(head, BTH, path.to_be_bytes());
        let queue_pair = word(head, BTH + 4) & 0xff00_0000 | self.dest_qp;
        put(head, BTH + 4, queue_pair.to_be_bytes());
        let old = word(head, BTH + 8);
        let psn = u32::from(new.ack_request) << 31 | old & 0x7f00_0000 | new.psn.value();
        put(head, BTH + 8, psn.to_be_bytes());
        let mut change = self.residue ^ from.residue ^ (old ^ psn).swap_bytes();
        let mut words = tail / 4;
        if let Some(aeth) = &new.aeth {
            let (old, aeth) = (word(head, HEADERS), usual::aeth_word(aeth));
            put(head, HEADERS, aeth.to_be_bytes());
            change = icrc::advance_word(change) ^ (old ^ aeth).swap_bytes();
            words -= 1;
        }
        tables.patch_at(frame, icrc_at, change, words + 1);
        Some(())
    }
}

/// What all packets of one kind do to the ICRC, at the last word of the BTH.
static ACKNOWLEDGE: u32 = shape(Opcode::Acknowledge);
static ATOMIC_ACKNOWLEDGE: u32 = shape(Opcode::AtomicAcknowledge);
static READ_REQUEST: u32 = shape(Opcode::ReadRequest);
static COMPARE_SWAP: u32 = shape(Opcode::CompareSwap);
static FETCH_ADD: u32 = shape(Opcode::FetchAdd);

const fn shape(opcode: Opcode) -> u32 {
    icrc::shape(opcode, (HEADERS - IP + opcode.headers_len() + icrc::LEN) as u16)
}

/// The checksum of an IP header, given the sum of its words (RFC 1071).
#[inline]
pub(super) fn checksum(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

#[inline]
fn word<const N: usize>(head: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

#[inline]
fn number<const N: usize>(head: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([head[at], head[at + 1]])
}

#[inline]
pub(super) fn put<const N: usize>(head: &mut [u8], at: usize, bytes: [u8; N]) {
    if let Some(place) = head.get_mut(at..at + N) {
        place.copy_from_slice(&bytes);
    }
}
