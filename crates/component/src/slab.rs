//! A list with places that are used again, and numbers that are not: the number of what is gone is nobody's, also when its
//! place has been taken.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

/// The number of an item in a [`Slab`] with these keys.
pub(crate) struct Id<K> {
    index: u32,
    generation: u32,
    of: PhantomData<fn() -> K>,
}

impl<K> Id<K> {
    /// As one number, for where there are only those.
    pub(crate) fn bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// What [`Id::bits`] gave.
    pub(crate) fn from_bits(bits: u64) -> Id<K> {
        Id {
            index: bits as u32,
            generation: (bits >> 32) as u32,
            of: PhantomData,
        }
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Id<K> {
        *self
    }
}

impl<K> Copy for Id<K> {}

impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Id<K>) -> bool {
        self.bits() == other.bits()
    }
}

impl<K> Eq for Id<K> {}

impl<K> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bits().hash(state);
    }
}

impl<K> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}.{}", self.index, self.generation)
    }
}

struct Place<V> {
    generation: u32,
    value: Option<V>,
}

/// Items by their numbers.
pub(crate) struct Slab<V, K = V> {
    places: Vec<Place<V>>,
    free: Vec<u32>,
    keys: PhantomData<fn() -> K>,
}

impl<V, K> Slab<V, K> {
    pub(crate) fn new() -> Slab<V, K> {
        Slab {
            places: Vec::new(),
            free: Vec::new(),
            keys: PhantomData,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Adds an item. Its owner sees to it that there are not too many.
    pub(crate) fn insert(&mut self, value: V) -> Id<K> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.places.push(Place {
                    generation: 0,
                    value: None,
                });
                self.places.len() as u32 - 1
            }
        };
        let place = &mut self.places[index as usize];
        place.value = Some(value);
        Id {
            index,
            generation: place.generation,
            of: PhantomData,
        }
    }

    pub(crate) fn get(&self, id: Id<K>) -> Option<&V> {
        let place = self.places.get(id.index as usize);
        let place = place.filter(|place| place.generation == id.generation);
        place.and_then(|place| place.value.as_ref())
    }

    pub(crate) fn get_mut(&mut self, id: Id<K>) -> Option<&mut V> {
        let place = self.places.get_mut(id.index as usize);
        let place = place.filter(|place| place.generation == id.generation);
        place.and_then(|place| place.value.as_mut())
    }

    pub(crate) fn remove(&mut self, id: Id<K>) -> Option<V> {
        let place = self.places.get_mut(id.index as usize);
        let place = place.filter(|place| place.generation == id.generation)?;
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(id.index);
        Some(value)
    }

    pub(crate) fn clear(&mut self) {
        *self = Slab::new();
    }
}

impl<V, K> fmt::Debug for Slab<V, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slab")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_has_no_number_though_its_place_is_used_again() {
        let mut slab: Slab<char> = Slab::new();
        let first = slab.insert('a');
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b');
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&'b'));
        assert_eq!(Id::from_bits(second.bits()), second);
        assert_eq!(slab.len(), 1);
    }
}
