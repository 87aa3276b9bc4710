//! Which of the places in use a key belongs to.

/// How a key is given one of the places (each held by one server queue pair).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyMap {
    /// Key modulo number of places, as the published prototype did.
    Modulo,
    /// A mixed key modulo number of places: keys with a common stride spread as well.
    Hash,
    /// Every mappable request of one client, with a key or without, goes to one place: folds
    /// n clients into k server queue pairs. Order per key is then not promised.
    ByConnection,
}

impl KeyMap {
    /// The place of a key, below `places` (which is at least 1).
    pub(crate) fn place(self, key: u64, client: u32, places: u32) -> u32 {
        let places = u64::from(places.max(1));
        let place = match self {
            KeyMap::Modulo => key % places,
            KeyMap::Hash => mix(key) % places,
            KeyMap::ByConnection => u64::from(client) % places,
        };
        place as u32
    }
}

/// The finalizer of MurmurHash3 (Appleby, public domain): every input bit reaches every output bit.
pub(crate) const fn mix(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ x >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_below_their_number_and_used() {
        for places in [1u32, 2, 7, 16] {
            for map in [KeyMap::Modulo, KeyMap::Hash, KeyMap::ByConnection] {
                let mut used = [false; 16];
                for i in 0..1000u32 {
                    used[map.place(u64::from(i) * 16, i, places) as usize] = true;
                }
                assert!(used[places as usize..].iter().all(|used| !used));
                if map != KeyMap::Modulo {
                    assert!(used[..places as usize].iter().all(|used| *used), "{map:?} {places}");
                }
            }
        }
    }
}
