//! Keys that are declined for good.

use alloc::vec::Vec;

use crate::ids::DomainId;

/// A bounded set of keys. When it is full, it holds every key: a key that was declined once must
/// not come back.
pub(crate) struct DeclinedKeys {
    sorted: Vec<(DomainId, u64)>,
    all: bool,
}

impl DeclinedKeys {
    pub(crate) fn new(keys_max: u32) -> DeclinedKeys {
        DeclinedKeys { sorted: Vec::with_capacity(keys_max as usize), all: false }
    }

    pub(crate) fn contains(&self, domain: DomainId, key: u64) -> bool {
        self.all || !self.sorted.is_empty() && self.sorted.binary_search(&(domain, key)).is_ok()
    }

    pub(crate) fn insert(&mut self, domain: DomainId, key: u64) {
        let Err(at) = self.sorted.binary_search(&(domain, key)) else { return };
        if self.sorted.len() == self.sorted.capacity() {
            self.all = true;
        } else {
            self.sorted.insert(at, (domain, key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_set_holds_every_key() {
        let mut keys = DeclinedKeys::new(4);
        let capacity = keys.sorted.capacity() as u64;
        for key in 0..capacity {
            keys.insert(DomainId(0), key);
            keys.insert(DomainId(0), key);
        }
        assert!(keys.contains(DomainId(0), 0) && !keys.contains(DomainId(0), capacity));
        assert!(!keys.contains(DomainId(1), 0));
        keys.insert(DomainId(0), capacity);
        assert!(keys.contains(DomainId(1), 77));
    }
}
