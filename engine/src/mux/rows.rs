//! One record for each connection, and whether it is known to be usual.

use alloc::boxed::Box;
use alloc::vec;

/// Records by index. Who may change one in any way takes it by [`Rows::get_mut`], and then it has
/// to be found out anew whether it is usual; who leaves it as usual as it was does not.
pub(crate) struct Rows<T> {
    values: Box<[T]>,
    /// Apart from the values: 64 of them in a cache line.
    usual: Box<[bool]>,
}

/// A record with a usual state: one in which nothing but the most frequent things can happen next.
pub(crate) trait Usual {
    /// Whether it is in that state.
    fn is_usual(&self) -> bool;
}

impl<T> FromIterator<T> for Rows<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Rows<T> {
        let values: Box<[T]> = values.into_iter().collect();
        let usual = vec![false; values.len()].into();
        Rows { values, usual }
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
        *self.usual.get_mut(index)? = false;
        self.values.get_mut(index)
    }
}

impl<T: Usual> Rows<T> {
    /// Whether the record is known to be usual. If it is not known, that says nothing.
    #[inline]
    pub(crate) fn is_known_usual(&self, index: usize) -> bool {
        self.usual.get(index).copied().unwrap_or(false)
    }

    /// The record, to be left as usual, or unusual, as it is.
    #[inline(always)]
    pub(crate) fn get_same(&mut self, index: usize) -> Option<&mut T> {
        self.values.get_mut(index)
    }

    /// The record, if it is usual, to be left so.
    #[inline(always)]
    pub(crate) fn usual(&mut self, index: usize) -> Option<&mut T> {
        let (value, usual) = (self.values.get_mut(index)?, self.usual.get_mut(index)?);
        if !*usual {
            *usual = look(value);
            if !*usual {
                return None;
            }
        }
        Some(value)
    }
}

#[cold]
fn look<T: Usual>(value: &T) -> bool {
    value.is_usual()
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Usual for u8 {
        fn is_usual(&self) -> bool {
            *self == 0
        }
    }

    #[test]
    fn what_was_changed_is_looked_at_again() {
        let mut rows: Rows<u8> = [0, 1].into_iter().collect();
        assert!(rows.usual(0).is_some() && rows.usual(1).is_none() && rows.usual(2).is_none());
        *rows.get_mut(0).unwrap() = 1;
        *rows.get_mut(1).unwrap() = 0;
        assert!(rows.usual(0).is_none() && rows.usual(1).is_some());
        assert!(rows.iter().copied().eq([1, 0]));
    }
}
