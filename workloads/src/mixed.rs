//! Hashing of numbers that nobody chooses to do harm: keys, addresses, pages.

use std::hash::{BuildHasher, Hasher};

/// Mixes a number: the finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
#[inline]
fn mix(number: u64) -> u64 {
    let mut x = number;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// For maps whose keys are single numbers. The same in every run, so it is no defence against who
/// chooses them; where a simulation looks one up for each packet, the standard one costs more than
/// all the rest of the lookup.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mixed;

/// See [`Mixed`].
#[derive(Clone, Copy, Debug, Default)]
pub struct MixedHasher(u64);

impl BuildHasher for Mixed {
    type Hasher = MixedHasher;

    fn build_hasher(&self) -> MixedHasher {
        MixedHasher::default()
    }
}

impl Hasher for MixedHasher {
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    #[inline]
    fn write_u16(&mut self, number: u16) {
        self.write_u64(number.into());
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.0 = mix(self.0.rotate_left(32) ^ number);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Mixed;
    use std::collections::BTreeSet;
    use std::hash::BuildHasher;

    #[test]
    fn pages_in_a_row_differ_in_all_bits_that_maps_use() {
        let hashes = |shift: u32| (0..128u64).map(move |page| Mixed.hash_one(page << 21) >> shift);
        assert_eq!(hashes(0).collect::<BTreeSet<_>>().len(), 128);
        assert!(hashes(57).collect::<BTreeSet<_>>().len() > 60, "the upper seven");
        let low: BTreeSet<_> = hashes(0).map(|hash| hash & 127).collect();
        assert!(low.len() > 60, "the lower seven");
    }
}
