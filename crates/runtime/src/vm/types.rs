//! Numbers for function types, the same in all stores of the process: an indirect call compares numbers.
//!
//! * *Invariant:* equal numbers mean equal types as long as both are registered ([`Registered`]); a number is given out
//!   again only after its last registration went.

use std::collections::HashMap;

use parking_lot::Mutex;
use tiered_decode::types::FuncType;

/// The number of a function type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct SigId(pub u32);

#[derive(Default)]
struct Registry {
    ids: HashMap<FuncType, u32>,
    /// For each number, its type and how often it is registered.
    types: Vec<(Option<FuncType>, usize)>,
    free: Vec<u32>,
}

static REGISTRY: std::sync::LazyLock<Mutex<Registry>> = std::sync::LazyLock::new(Mutex::default);

impl Registry {
    fn add(&mut self, ty: &FuncType) -> SigId {
        if let Some(&id) = self.ids.get(ty) {
            self.types[id as usize].1 += 1;
            return SigId(id);
        }
        let id = self.free.pop().unwrap_or_else(|| {
            self.types.push((None, 0));
            u32::try_from(self.types.len() - 1).expect("a type takes more than a byte of memory")
        });
        self.types[id as usize] = (Some(ty.clone()), 1);
        self.ids.insert(ty.clone(), id);
        SigId(id)
    }

    fn remove(&mut self, SigId(id): SigId) {
        let (ty, users) = &mut self.types[id as usize];
        *users -= 1;
        if *users == 0 {
            if let Some(ty) = ty.take() {
                self.ids.remove(&ty);
            }
            self.free.push(id);
        }
    }
}

/// The numbers of some types, kept registered.
#[derive(Debug)]
pub(crate) struct Registered(Box<[SigId]>);

impl Registered {
    /// Registers `types`.
    pub(crate) fn new<'a>(types: impl IntoIterator<Item = &'a FuncType>) -> Registered {
        let mut registry = REGISTRY.lock();
        Registered(types.into_iter().map(|ty| registry.add(ty)).collect())
    }

    /// The numbers, in the order of the types.
    pub(crate) fn ids(&self) -> &[SigId] {
        &self.0
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut registry = REGISTRY.lock();
        self.0.iter().for_each(|&id| registry.remove(id));
    }
}

#[cfg(test)]
mod tests {
    use tiered_decode::types::ValType;

    use super::*;

    #[test]
    fn equal_types_have_equal_numbers_while_registered() {
        let params: Vec<ValType> = vec![ValType::I64; 13];
        let (a, b) = (
            FuncType::new(params.clone(), vec![ValType::F32; 7]),
            FuncType::new(params, vec![ValType::F32; 8]),
        );
        let first = Registered::new([&a, &b]);
        let second = Registered::new([&b, &a]);
        assert_eq!(first.ids()[0], second.ids()[1]);
        assert_eq!(first.ids()[1], second.ids()[0]);
        assert_ne!(first.ids()[0], first.ids()[1]);
        let number = first.ids()[0];
        drop(first);
        assert_eq!(Registered::new([&a]).ids()[0], number, "still registered");
        drop(second);
        let registry = REGISTRY.lock();
        assert!(!registry.ids.contains_key(&a) && !registry.ids.contains_key(&b));
    }
}
