//! Numbers for function types, the same in all stores of the process: an indirect call compares numbers.
//!
//! * *Invariant:* equal numbers mean equal types as long as both are registered ([`Registered`]); a number is given out
//!   again only after its last registration went.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tiered_decode::types::{FuncType, Types};

/// The number of a function type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct SigId(pub u32);

#[derive(Default)]
struct Registry {
    ids: HashMap<Arc<FuncType>, u32>,
    /// For each number, its type and how often it is registered.
    types: Vec<(Option<Arc<FuncType>>, usize)>,
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
        let ty = Arc::new(ty.clone());
        self.types[id as usize] = (Some(Arc::clone(&ty)), 1);
        self.ids.insert(ty, id);
        SigId(id)
    }

    fn remove(&mut self, SigId(id): SigId) {
        let (ty, users) = &mut self.types[id as usize];
        *users -= 1;
        if *users == 0 {
            if let Some(ty) = ty.take() {
                self.ids.remove(&*ty);
            }
            self.free.push(id);
        }
    }

    /// Gives back what is left of many types when they are gone.
    fn shrink(&mut self) {
        const KEPT: usize = 4096;
        if self.free.len() < KEPT || self.free.len() / 2 < self.ids.len() {
            return;
        }
        self.ids.shrink_to(KEPT);
        let used = self.types.iter().rposition(|(ty, _)| ty.is_some());
        self.types.truncate(used.map_or(0, |last| last + 1));
        self.types.shrink_to(KEPT);
        let end = self.types.len();
        self.free.retain(|&id| (id as usize) < end);
        self.free.shrink_to(KEPT);
    }
}

/// The numbers of some types, kept registered.
#[derive(Debug)]
pub(crate) struct Registered {
    /// Those of the distinct types.
    distinct: Box<[SigId]>,
    /// Those of all types, if some are repeated.
    all: Option<Box<[SigId]>>,
}

impl Registered {
    /// Registers the types of a module.
    pub(crate) fn of_module(types: &Types) -> Registered {
        let mut registered = Registered::new(types.distinct());
        let number = |&place: &u32| registered.distinct[place as usize];
        registered.all = types
            .places()
            .map(|places| places.iter().map(number).collect());
        registered
    }

    /// Registers `types`.
    pub(crate) fn new<'a>(types: impl IntoIterator<Item = &'a FuncType>) -> Registered {
        let mut registry = REGISTRY.lock();
        Registered {
            distinct: types.into_iter().map(|ty| registry.add(ty)).collect(),
            all: None,
        }
    }

    /// The numbers, in the order of the types.
    pub(crate) fn ids(&self) -> &[SigId] {
        self.all.as_deref().unwrap_or(&self.distinct)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut registry = REGISTRY.lock();
        self.distinct.iter().for_each(|&id| registry.remove(id));
        registry.shrink();
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

    #[test]
    fn nothing_is_left_of_many_types() {
        let mut registry = Registry::default();
        let types: Vec<FuncType> = (0..20_000)
            .map(|index| FuncType::new((0..15).map(|bit| digit(index >> bit & 1)), []))
            .collect();
        let ids: Vec<SigId> = types.iter().map(|ty| registry.add(ty)).collect();
        assert!(registry.types.len() == 20_000 && registry.ids.len() == 20_000);
        ids[1..].iter().for_each(|&id| registry.remove(id));
        registry.shrink();
        assert_eq!((registry.types.len(), registry.free.len()), (1, 0));
        assert!(registry.ids.capacity() < 10_000 && registry.types.capacity() < 10_000);
        assert_eq!(registry.add(&types[0]), ids[0]);
        assert_eq!(registry.add(&types[7]), SigId(1));
    }

    fn digit(bit: usize) -> ValType {
        if bit == 0 { ValType::I32 } else { ValType::F64 }
    }

    #[test]
    fn repeated_types_are_registered_once() {
        let text = format!(
            "(module {})",
            "(type (func (param i64 f32 i64 f64)))".repeat(5000)
        );
        let module = tiered_decode::Module::new(text.into_bytes()).expect("it is valid");
        assert_eq!(
            (module.types().len(), module.types().distinct().len()),
            (5000, 1)
        );
        let registered = Registered::of_module(module.types());
        let number = registered.ids()[0];
        assert_eq!(registered.ids(), [number; 5000]);
        assert_eq!(REGISTRY.lock().types[number.0 as usize].1, 1);
    }
}
