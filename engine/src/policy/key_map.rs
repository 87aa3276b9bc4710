//! Which of the places in use a key belongs to.

/// How a key is given one of the places (each held by one server queue pair).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyMap {
    /// Key modulo number of places, as the published prototype did.
    Modulo,
    /// A mixed key modulo number of places: keys with a common stride spread as well.
    Hash,
    /// The place whose mixed number fits the key best (highest random weight: Thaler and
    /// Ravishankar, ToN'98): when a server queue pair comes or goes, only its own keys move.
    /// Looks at every place of the server.
    Rendezvous,
    /// Every mappable request of one client, with a key or without, goes to one place: folds
    /// n clients into k server queue pairs. Order per key is then not promised.
    ByConnection,
}

impl KeyMap {
    /// The place of a key among `identities`, the names of the places (at least one).
    pub(crate) fn place(
        self,
        key: u64,
        client: u32,
        identities: impl ExactSizeIterator<Item = u32>,
    ) -> u32 {
        let places = identities.len() as u32;
        let places = places.max(1);
        let place = match self {
            KeyMap::Modulo => remainder(key, places),
            KeyMap::Hash => remainder(mix(key), places),
            KeyMap::ByConnection => u64::from(client % places),
            KeyMap::Rendezvous => {
                let weight = |identity: u32| mix(key ^ mix(u64::from(identity) + 1));
                let best = identities.enumerate().max_by_key(|(_, id)| (weight(*id), *id));
                best.map_or(0, |(index, _)| index as u64)
            }
        };
        place as u32
    }
}

/// The remainder; short numbers are divided faster.
fn remainder(key: u64, places: u32) -> u64 {
    match u32::try_from(key) {
        Ok(key) => u64::from(key % places),
        Err(_) => key % u64::from(places),
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

    const ALL: [KeyMap; 4] =
        [KeyMap::Modulo, KeyMap::Hash, KeyMap::Rendezvous, KeyMap::ByConnection];

    #[test]
    fn every_place_is_below_their_number_and_used() {
        for places in [1u32, 2, 7, 16] {
            for map in ALL {
                let mut used = [false; 16];
                for i in 0..1000u32 {
                    used[map.place(u64::from(i) * 16, i, 0..places) as usize] = true;
                }
                assert!(used[places as usize..].iter().all(|used| !used));
                if map != KeyMap::Modulo {
                    assert!(used[..places as usize].iter().all(|used| *used), "{map:?} {places}");
                }
            }
        }
    }

    #[test]
    fn rendezvous_moves_only_the_keys_of_a_place_that_goes() {
        let before = [5u32, 17, 23, 99];
        let after = [5u32, 23, 99];
        for key in 0..1000 {
            let old = before[KeyMap::Rendezvous.place(key, 0, before.iter().copied()) as usize];
            let new = after[KeyMap::Rendezvous.place(key, 0, after.iter().copied()) as usize];
            assert!(old == 17 || old == new, "key {key} moved from {old} to {new}");
        }
    }
}
