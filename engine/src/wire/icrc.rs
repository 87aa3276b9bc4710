//! The invariant CRC: four bytes at the end of every RoCEv2 packet that routers never need to
//! change (IBTA vol. 1, 7.8.1; RoCEv2 annex A17; rxe_icrc.c).
//!
//! It is CRC-32 (polynomial 0x04c11db7, reflected, as in zlib) over eight bytes of ones in place
//! of an InfiniBand local header, then over the packet from its IP header to its pad, with all
//! that may change on the way taken as ones: traffic class, flow label, hop limit, both
//! checksums, and the BTH byte with FECN and BECN. It is stored little endian.
//!
//! Forwarding does not compute it anew. The CRC is linear: the change of a header, moved along
//! by the length of what follows, is the change of the CRC. So [`PatchTables`] updates it without
//! a look at the payload, and what was wrong before stays exactly as wrong. A full recompute
//! would give a corrupted payload a right ICRC.

use alloc::boxed::Box;

use super::bth::{BthRepr, CONGESTION_AT};
use super::fields::Field;
use super::ipv4::{Ipv4Repr, VERSION_AND_LENGTH};
use super::ipv6::Ipv6Repr;
use super::opcode::Opcode;
use super::packet::{CmLayout, CnpLayout, Layout};
use super::udp::{PROTOCOL, ROCE_PORT, UdpRepr};

/// Bytes of the ICRC.
pub const LEN: usize = 4;

/// CRC-32 of eight bytes of ones, the stand-in for the local header.
const SEED: u32 = 0x2144_df1c;
/// The polynomial, reflected.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// Bytes from the IP header's first to the BTH's last, by IP version.
const V4_HEADERS: usize = Ipv4Repr::LEN + UdpRepr::LEN + BthRepr::LEN;
const V6_HEADERS: usize = Ipv6Repr::LEN + UdpRepr::LEN + BthRepr::LEN;

/// Bytes of a packet's start that are looked at with a mask. It holds all headers, and whole
/// packets that are small: those then need one call less.
const HEAD: usize = 80;
/// Bytes that are copied and masked at a time: what the CRC is computed from, too. Read in other
/// pieces than it was written, memory is waited for.
const PIECE: usize = 16;
const _: () = assert!(V4_HEADERS <= HEAD && V6_HEADERS <= HEAD && HEAD.is_multiple_of(PIECE));

/// The bits that the ICRC leaves out, as a mask over IP header, UDP header and BTH.
static V4_VARIANT: [u8; HEAD] =
    variant(Ipv4Repr::LEN, &[(1, 0xff), (8, 0xff), (10, 0xff), (11, 0xff)]);
static V6_VARIANT: [u8; HEAD] =
    variant(Ipv6Repr::LEN, &[(0, 0x0f), (1, 0xff), (2, 0xff), (3, 0xff), (7, 0xff)]);

/// Adds what varies in UDP (its checksum) and in the BTH to what varies in the IP header.
const fn variant(ip_len: usize, ip: &[(usize, u8)]) -> [u8; HEAD] {
    let mut mask = [0; HEAD];
    let mut i = 0;
    while i < ip.len() {
        mask[ip[i].0] = ip[i].1;
        i += 1;
    }
    mask[ip_len + 6] = 0xff;
    mask[ip_len + 7] = 0xff;
    mask[ip_len + UdpRepr::LEN + CONGESTION_AT] = 0xff;
    mask
}

#[inline]
fn variant_bits(ip_version: u8) -> &'static [u8; HEAD] {
    if ip_version == 4 { &V4_VARIANT } else { &V6_VARIANT }
}

/// The ICRC that `frame` should have. Its little-endian bytes are those in the frame.
/// `layout` is the frame's own; a frame that is shorter than that counts as empty.
pub fn compute(frame: &[u8], layout: &Layout) -> u32 {
    let covered = usize::from(layout.ip)..usize::from(layout.icrc);
    of_packet(frame.get(covered).unwrap_or_default(), layout.ip_version)
}

/// The ICRC of a packet given from its IP header to its pad.
pub(super) fn of_packet(packet: &[u8], ip_version: u8) -> u32 {
    let mut head = [0; HEAD];
    let (start, rest) = packet.split_at(packet.len().min(HEAD));
    mask(&mut head, start, variant_bits(ip_version));
    let mut crc = crc32fast::Hasher::new_with_initial(SEED);
    crc.update(head.get(..start.len()).unwrap_or_default());
    if !rest.is_empty() {
        crc.update(rest);
    }
    crc.finalize()
}

/// Copies a packet's start, at most as long as `head`, with the bits set that the ICRC leaves out.
#[inline]
fn mask(head: &mut [u8; HEAD], start: &[u8], variant: &[u8; HEAD]) {
    let mut places = head.chunks_exact_mut(PIECE).zip(variant.chunks_exact(PIECE));
    let mut pieces = start.chunks_exact(PIECE);
    for (from, (to, mask)) in pieces.by_ref().zip(places.by_ref()) {
        for ((to, from), mask) in to.iter_mut().zip(from).zip(mask) {
            *to = from | mask;
        }
    }
    let Some((to, mask)) = places.next() else { return };
    // What is left are words, unless somebody sends what is no RoCEv2.
    let mut words = pieces.remainder().chunks_exact(4);
    let mut places = to.chunks_exact_mut(4).zip(mask.chunks_exact(4));
    for (from, (to, mask)) in words.by_ref().zip(places.by_ref()) {
        for ((to, from), mask) in to.iter_mut().zip(from).zip(mask) {
            *to = from | mask;
        }
    }
    if let Some((to, mask)) = places.next() {
        for ((to, from), mask) in to.iter_mut().zip(words.remainder()).zip(mask) {
            *to = from | mask;
        }
    }
}

/// Whether the ICRC in `frame` is right.
pub fn verify(frame: &[u8], layout: &Layout) -> bool {
    let at = usize::from(layout.icrc);
    frame.len() >= at + LEN && load(frame, at) == compute(frame, layout)
}

/// Whether the ICRC of a frame with a datagram of the communication manager is right.
pub fn verify_cm(frame: &[u8], layout: &CmLayout) -> bool {
    let at = usize::from(layout.icrc);
    let covered = frame.get(layout.ip.into()..at).unwrap_or_default();
    frame.len() >= at + LEN && load(frame, at) == of_packet(covered, layout.ip_version)
}

/// Whether the ICRC of a congestion notification is right.
pub fn verify_cnp(frame: &[u8], layout: &CnpLayout) -> bool {
    let at = usize::from(layout.icrc);
    let covered = frame.get(layout.ip.into()..at).unwrap_or_default();
    frame.len() >= at + LEN && load(frame, at) == of_packet(covered, layout.ip_version)
}

/// Computes the ICRC of a frame and stores it in the frame: for frames made here. One that is
/// forwarded gets [`PatchTables::patch_frame`], lest a corrupted payload become valid.
pub fn store(frame: &mut [u8], layout: &Layout) {
    put(compute(frame, layout), frame, layout.icrc.into());
}

#[inline]
fn load(frame: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(<[u8; LEN]>::get(frame, at))
}

#[inline]
pub(super) fn put(icrc: u32, frame: &mut [u8], at: usize) {
    icrc.to_le_bytes().put(frame, at);
}

/// Bytes from an IPv4 header to the word before the last one of the BTH.
pub(super) const COMMON: usize = Ipv4Repr::LEN + UdpRepr::LEN + BthRepr::LEN - 4;

/// What these bytes do to the CRC's register at their end. What the ICRC leaves out is zero.
pub(super) fn residue(bytes: &[u8; COMMON]) -> u32 {
    register(0, bytes)
}

/// The register before the BTH's last word, of a packet with nothing but what all packets of one
/// kind and length have: the rest is zero.
pub(super) const fn shape(opcode: Opcode, ip_len: u16) -> u32 {
    let mut bytes = [0; COMMON];
    let mut i = 0;
    while i < COMMON {
        bytes[i] = V4_VARIANT[i];
        i += 1;
    }
    bytes[0] = VERSION_AND_LENGTH;
    [bytes[2], bytes[3]] = ip_len.to_be_bytes();
    bytes[9] = PROTOCOL;
    [bytes[22], bytes[23]] = ROCE_PORT.to_be_bytes();
    [bytes[24], bytes[25]] = (ip_len - Ipv4Repr::LEN as u16).to_be_bytes();
    bytes[28] = opcode.to_byte();
    register(!SEED, &bytes)
}

const fn register(mut register: u32, bytes: &[u8; COMMON]) -> u32 {
    let mut i = 0;
    while i < COMMON {
        register = advance(register ^ bytes[i] as u32, 1);
        i += 1;
    }
    register
}

/// What the word of identification and fragments does at the last word of the BTH.
#[inline]
pub(super) fn advance_identification(word: u32) -> u32 {
    let [a, b, c, d] = word.to_le_bytes();
    // The lower half of the fragment offset is hardly ever anything but zero.
    let rest = if d == 0 { 0 } else { IDENTIFICATION[3][usize::from(d)] };
    IDENTIFICATION[0][usize::from(a)]
        ^ IDENTIFICATION[1][usize::from(b)]
        ^ IDENTIFICATION[2][usize::from(c)]
        ^ rest
}

/// The same, when the program is made.
pub(super) const fn residue_of_identification(word: [u8; 4]) -> u32 {
    Row::of(COMMON / 4 - 1).at(u32::from_le_bytes(word))
}

/// What each byte of that word does there.
static IDENTIFICATION: [[u32; 256]; 4] = {
    let row = Row::of(COMMON / 4 - 1);
    let mut tables = [[0; 256]; 4];
    let mut at = 0;
    while at < 4 * 256 {
        let (place, byte) = (at / 256, at % 256);
        tables[place][byte] = row.at((byte as u32) << (8 * place));
        at += 1;
    }
    tables
};

/// The register after a word that was added to it.
#[inline]
pub(super) fn advance_word(register: u32) -> u32 {
    let [a, b, c, d] = register.to_le_bytes();
    BEHIND[3][usize::from(a)]
        ^ BEHIND[2][usize::from(b)]
        ^ BEHIND[1][usize::from(c)]
        ^ BEHIND[0][usize::from(d)]
}

/// The register after a word that was added to it, and another one.
#[inline]
pub(super) fn advance_pair(register: u32, second: u32) -> u32 {
    let [a, b, c, d] = register.to_le_bytes();
    let first = (BEHIND[7][usize::from(a)] ^ BEHIND[6][usize::from(b)])
        ^ (BEHIND[5][usize::from(c)] ^ BEHIND[4][usize::from(d)]);
    first ^ advance_word(second)
}

/// What a byte does to the register, and so many bytes behind it.
static BEHIND: [[u32; 256]; 8] = {
    let mut tables = [[0; 256]; 8];
    let mut at = 0;
    while at < 8 * 256 {
        let (behind, byte) = (at / 256, at % 256);
        tables[behind][byte] = match behind {
            0 => advance(byte as u32, 1),
            _ => advance(tables[behind - 1][byte], 1),
        };
        at += 1;
    }
    tables
};

/// Tables that move a change of four bytes along a packet, to get from the change of a header
/// to the change of the ICRC.
///
/// There is one row for each distance in words. A row has a table of 16 entries for each of the
/// eight nibbles of a word, 512 bytes: 0.5 MB for 4096 bytes, of which only the rows of the
/// lengths in use get touched. It takes no special instructions and no `unsafe`.
pub struct PatchTables {
    rows: Box<[Row]>,
}

/// Moves a change of the CRC along by a fixed distance.
struct Row([[u32; 16]; 8]);

impl PatchTables {
    /// More is no frame: [`Layout`] counts in 16 bits.
    const MAX_LEN: usize = 1 << 16;
    /// At least a whole header can be moved in one step, whatever is asked for.
    const MIN_LEN: usize = 128;

    /// Makes the tables for frames up to `max_frame_len` bytes, at 128 times as much memory.
    /// Longer ones are patched as well, in several steps.
    pub fn new(max_frame_len: usize) -> Self {
        let words = max_frame_len.clamp(Self::MIN_LEN, Self::MAX_LEN).div_ceil(4);
        // What becomes of each single bit; any value is a sum of these.
        let mut bits: [u32; 32] = core::array::from_fn(|bit| 1 << bit);
        let rows = (0..=words).map(|_| {
            let row = Row::new(&bits);
            bits = bits.map(|image| advance(image, 4));
            row
        });
        Self { rows: rows.collect() }
    }

    /// The ICRC after a header was replaced, given the one before. The payload is not needed.
    ///
    /// `old_header` and `new_header` are equally long; bits that the ICRC leaves out must be
    /// equal in both. `tail_len` is the count of bytes between their end and the ICRC. Lengths
    /// are multiples of 4 (others are right, too, but slow). For headers of unequal length there
    /// is no answer: the ICRC comes back as it was, and the receiver will drop the frame.
    pub fn patch(&self, old_header: &[u8], new_header: &[u8], tail_len: usize, icrc: u32) -> u32 {
        self.patch_invariant(old_header, new_header, &[], tail_len, icrc)
    }

    /// Patches the ICRC of a frame whose header was rewritten in place. `old_header` is a copy
    /// of the frame's bytes from [`Layout::ip`] on before that; it must reach over all bytes
    /// that were changed. Bits that the ICRC leaves out may differ. An ICRC that was wrong stays
    /// wrong.
    pub fn patch_frame(&self, old_header: &[u8], frame: &mut [u8], layout: &Layout) {
        let at = usize::from(layout.icrc);
        let Some(packet) = frame.get(usize::from(layout.ip)..at) else { return };
        let changed = old_header.len().min(packet.len());
        let (old, (new, tail)) = (&old_header[..changed], packet.split_at(changed));
        let mask = variant_bits(layout.ip_version);
        let icrc = self.patch_invariant(old, new, mask, tail.len(), load(frame, at));
        put(icrc, frame, at);
    }

    /// Patches an ICRC of which a word was changed by so much, `words` words before it: that one
    /// included, those between have not changed.
    #[inline]
    pub(super) fn patch_at(&self, frame: &mut [u8], icrc_at: usize, change: u32, words: usize) {
        put(load(frame, icrc_at) ^ self.shift(change, words), frame, icrc_at);
    }

    /// [`Self::patch`] without the bits of `variant`, a mask over the start of both headers.
    #[inline]
    fn patch_invariant(
        &self,
        old: &[u8],
        new: &[u8],
        variant: &[u8],
        tail_len: usize,
        icrc: u32,
    ) -> u32 {
        if old.len() != new.len() {
            return icrc;
        }
        if !old.len().is_multiple_of(4) || !tail_len.is_multiple_of(4) {
            return icrc ^ change_by_bytes(old, new, variant, tail_len);
        }
        // Each word moves to the headers' end on its own, as this does not wait for the word
        // before; the sum then moves over the tail. So rows are shared by all packet lengths.
        let mut change = 0;
        let mut words_left = old.len() / 4;
        let mut masks = variant.chunks_exact(4);
        for (old, new) in old.chunks_exact(4).zip(new.chunks_exact(4)) {
            let mask = masks.next().map_or(0, word);
            let difference = (word(old) ^ word(new)) & !mask;
            if difference != 0 {
                change ^= self.shift(difference, words_left);
            }
            words_left -= 1;
        }
        icrc ^ self.shift(change, tail_len / 4)
    }

    /// Moves a change along by `words` times four bytes.
    #[inline]
    fn shift(&self, mut change: u32, mut words: usize) -> u32 {
        loop {
            if let Some(row) = self.rows.get(words) {
                return row.apply(change);
            }
            let longest = self.rows.len() - 1;
            // There is a last row, and it is not the row of distance 0: `new` makes 33 or more.
            change = self.rows[longest].apply(change);
            words -= longest;
        }
    }
}

impl Row {
    /// Of a distance in words.
    const fn of(words: usize) -> Row {
        let (mut bits, mut bit) = ([0; 32], 0);
        while bit < bits.len() {
            bits[bit] = advance(1 << bit, 4 * words);
            bit += 1;
        }
        Row::new(&bits)
    }

    const fn new(bits: &[u32; 32]) -> Self {
        let mut images = [[0; 16]; 8];
        let mut at = 0;
        while at < 8 * 16 * 4 {
            let (nibble, value, bit) = (at / 64, at / 4 % 16, at % 4);
            if value >> bit & 1 == 1 {
                images[nibble][value] ^= bits[4 * nibble + bit];
            }
            at += 1;
        }
        Self(images)
    }

    /// [`Row::apply`], when the program is made.
    const fn at(&self, change: u32) -> u32 {
        let (mut moved, mut nibble) = (0, 0);
        while nibble < 8 {
            moved ^= self.0[nibble][(change >> (4 * nibble)) as usize & 15];
            nibble += 1;
        }
        moved
    }

    #[inline]
    fn apply(&self, change: u32) -> u32 {
        // Masked to 0..=15, the index is in range.
        let image = |nibble: usize| self.0[nibble][(change >> (4 * nibble)) as usize & 15];
        // Written out: the sums of pairs do not wait for each other.
        ((image(0) ^ image(1)) ^ (image(2) ^ image(3)))
            ^ ((image(4) ^ image(5)) ^ (image(6) ^ image(7)))
    }
}

#[inline]
fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(<[u8; 4]>::get(bytes, 0))
}

/// The CRC's change after `count` more bytes that are equal in both packets.
const fn advance(mut change: u32, count: usize) -> u32 {
    let mut bits = 8 * count;
    while bits > 0 {
        let carry = change & 1;
        change >>= 1;
        if carry == 1 {
            change ^= POLYNOMIAL;
        }
        bits -= 1;
    }
    change
}

/// The ICRC's change, byte by byte: for lengths that no packet of whole words has.
#[cold]
fn change_by_bytes(old: &[u8], new: &[u8], variant: &[u8], tail_len: usize) -> u32 {
    let masks = variant.iter().copied().chain(core::iter::repeat(0));
    let change =
        old.iter().zip(new).zip(masks).fold(0, |change, ((old, new), mask)| {
            advance(change ^ u32::from((old ^ new) & !mask), 1)
        });
    (0..tail_len).fold(change, |change, _| advance(change, 1))
}
