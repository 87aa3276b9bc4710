//! One record for each connection, and how usual it is known to be.

use alloc::boxed::Box;
use alloc::vec;

/// Records by index. Who may change one in any way takes it by [`Rows::get_mut`], and then it has
/// to be found out anew whether it is usual; who leaves it as usual as it was does not.
pub(crate) struct Rows<T> {
    values: Box<[T]>,
    /// Apart from the values: 64 of them in a cache line.
    conditions: Box<[Condition]>,
}

/// How usual a record's state is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Condition {
    /// Anything may happen next; or it is not known.
    Unusual,
    /// It would be usual, but that requests wait for their turn.
    Waiting,
    /// Nothing but the most frequent things can happen next.
    Usual,
}

/// A record that has usual states.
pub(crate) trait Usual {
    /// How usual its state is.
    fn condition(&self) -> Condition;
}

impl<T> FromIterator<T> for Rows<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Rows<T> {
        let values: Box<[T]> = values.into_iter().collect();
        let conditions = vec![Condition::Unusual; values.len()].into();
        Rows { values, conditions }
    }
}

impl<T> Rows<T> {
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.values.iter()
    }

    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        self.values.get(index)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        *self.conditions.get_mut(index)? = Condition::Unusual;
        self.values.get_mut(index)
    }
}

impl<T: Usual> Rows<T> {
    /// Whether the record is known to be usual. If it is not known, that says nothing.
    #[inline]
    pub(crate) fn is_known_usual(&self, index: usize) -> bool {
        self.conditions.get(index) == Some(&Condition::Usual)
    }

    /// The record, to be left as usual, or unusual, as it is.
    #[inline(always)]
    pub(crate) fn get_same(&mut self, index: usize) -> Option<&mut T> {
        self.values.get_mut(index)
    }

    /// The record, if it is usual, to be left so.
    #[inline(always)]
    pub(crate) fn usual(&mut self, index: usize) -> Option<&mut T> {
        let (value, condition) = (self.values.get_mut(index)?, self.conditions.get_mut(index)?);
        if *condition != Condition::Usual {
            look(value, condition);
            if *condition != Condition::Usual {
                return None;
            }
        }
        Some(value)
    }

    /// The record, if it is usual, or would be but for what waits, to be left so; and whether that
    /// is so.
    #[inline(always)]
    pub(crate) fn usual_or_waiting(&mut self, index: usize) -> Option<(&mut T, bool)> {
        let (value, condition) = (self.values.get_mut(index)?, self.conditions.get_mut(index)?);
        if *condition != Condition::Usual {
            look(value, condition);
            if *condition == Condition::Unusual {
                return None;
            }
        }
        Some((value, *condition == Condition::Waiting))
    }
}

/// Finds out about a record of which nothing is known.
#[inline(never)]
fn look<T: Usual>(value: &T, condition: &mut Condition) {
    if *condition == Condition::Unusual {
        *condition = value.condition();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Usual for u8 {
        fn condition(&self) -> Condition {
            match self {
                0 => Condition::Usual,
                1 => Condition::Waiting,
                _ => Condition::Unusual,
            }
        }
    }

    #[test]
    fn what_was_changed_is_looked_at_again() {
        let mut rows: Rows<u8> = [0, 2].into_iter().collect();
        assert!(rows.usual(0).is_some() && rows.usual(1).is_none() && rows.usual(2).is_none());
        *rows.get_mut(0).unwrap() = 2;
        *rows.get_mut(1).unwrap() = 0;
        assert!(rows.usual(0).is_none() && rows.usual(1).is_some());
        assert!(rows.iter().copied().eq([2, 0]));
    }

    #[test]
    fn what_waits_is_not_usual_and_found_all_the_same() {
        let mut rows: Rows<u8> = [0, 1, 2].into_iter().collect();
        let mut waits = |index| rows.usual_or_waiting(index).map(|(_, waits)| waits);
        for _ in 0..2 {
            assert_eq!([0, 1, 2, 3].map(&mut waits), [Some(false), Some(true), None, None]);
        }
        assert!(rows.usual(1).is_none() && rows.is_known_usual(0) && !rows.is_known_usual(1));
        *rows.get_mut(1).unwrap() = 0;
        assert!(!rows.is_known_usual(1) && rows.usual(1).is_some());
    }
}
