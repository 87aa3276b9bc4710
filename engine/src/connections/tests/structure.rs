//! The table and the lists against simple models.

use proptest::prelude::*;
use std::collections::BTreeMap;

use super::*;
use crate::connections::list::{Free, Links, List};
use crate::connections::table::{NONE, Table};

proptest! {
    /// Few hashes near the end of the table, so that runs are long and wrap.
    #[test]
    fn the_table_is_a_map(
        steps in prop::collection::vec((0_u32..16, 0_u32..5, any::<bool>()), 1..200),
    ) {
        let mut table = Table::new(16);
        let mut model = BTreeMap::new();
        for (index, hash, insert) in steps {
            let hash = hash.wrapping_sub(3);
            if let Some(known) = model.remove(&index) {
                table.remove(known, index);
            } else if insert {
                table.insert(hash, index);
                model.insert(index, hash);
            }
            for index in 0..16 {
                let expected = model.get(&index);
                for hash in (0_u32..5).map(|hash| hash.wrapping_sub(3)) {
                    let found = table.find(hash, |at| at == index);
                    prop_assert_eq!(found.is_some(), expected == Some(&hash));
                }
            }
        }
    }

    #[test]
    fn a_list_is_a_list(steps in prop::collection::vec(0_u32..8, 1..100)) {
        let (mut links, mut list) = (Links::new(8), List::EMPTY);
        let mut model: Vec<u32> = Vec::new();
        for element in steps {
            match model.iter().position(|&at| at == element) {
                Some(at) => {
                    model.remove(at);
                    links.remove(&mut list, element);
                }
                None => {
                    model.push(element);
                    links.push(&mut list, element);
                }
            }
            let next = |&at: &u32| Some(links.next(at));
            let found: Vec<u32> = std::iter::successors(Some(list.first()), next)
                .take_while(|&at| at != NONE)
                .collect();
            prop_assert_eq!(&found, &model);
        }
    }
}

#[test]
fn free_places_run_out_and_come_back() {
    let mut free = Free::new(2);
    assert_eq!((free.take(), free.take(), free.take()), (Some(0), Some(1), None));
    free.give(0);
    assert_eq!((free.taken(), free.take(), free.take()), (1, Some(0), None));
}
