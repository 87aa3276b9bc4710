//! Whether the operations of one key are linearizable, given the order of its versions.

/// An operation: a read of the version at a place of the key's list, or what appended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operation {
    /// When it began, ns.
    pub(super) begin: u64,
    /// When it ended, ns; `u64::MAX` if nobody knows.
    pub(super) end: u64,
    /// Place of the version in the list.
    pub(super) place: usize,
    /// It appended that version.
    pub(super) writes: bool,
}

/// What is wrong with a history, if anything.
///
/// Versions have one order, the list's, so a history is linearizable exactly if no operation that
/// begins after another has ended comes before it in that order: a read sees no older version than
/// any operation before it saw or appended, and what is appended is newer than all these.
pub(super) fn check(operations: &mut [Operation]) -> Option<String> {
    operations.sort_unstable_by_key(|operation| (operation.begin, operation.end));
    let mut ends: Vec<(u64, usize)> = operations.iter().map(|o| (o.end, o.place)).collect();
    ends.sort_unstable();
    let mut ended = ends.into_iter().peekable();
    let mut newest = None;
    for operation in operations {
        while let Some((_, place)) = ended.next_if(|(end, _)| *end < operation.begin) {
            newest = newest.max(Some(place));
        }
        let place = Some(operation.place);
        if place < newest || (operation.writes && place == newest) {
            let newest = newest.unwrap_or(0);
            return Some(format!("{operation:?} comes after the end of one at place {newest}"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(begin: u64, end: u64, place: usize, writes: bool) -> Operation {
        Operation { begin, end, place, writes }
    }

    #[test]
    fn what_overlaps_may_come_in_any_order() {
        assert_eq!(check(&mut [op(0, 10, 1, true), op(5, 20, 0, false), op(3, 9, 1, false)]), None);
        assert_eq!(check(&mut [op(0, u64::MAX, 1, true), op(50, 60, 0, false)]), None);
        assert_eq!(check(&mut [op(0, 10, 1, true), op(5, 12, 2, true)]), None);
    }

    #[test]
    fn no_read_is_stale() {
        assert!(check(&mut [op(0, 10, 1, true), op(11, 20, 0, false)]).is_some());
    }

    #[test]
    fn no_read_sees_what_has_not_begun() {
        assert!(check(&mut [op(0, 10, 1, false), op(11, 20, 1, true)]).is_some());
    }

    #[test]
    fn reads_do_not_go_back() {
        let write = op(0, u64::MAX, 1, true);
        assert!(check(&mut [write, op(5, 9, 1, false), op(10, 12, 0, false)]).is_some());
    }

    #[test]
    fn updates_are_in_their_order() {
        assert!(check(&mut [op(0, 10, 2, true), op(11, 20, 1, true)]).is_some());
    }
}
