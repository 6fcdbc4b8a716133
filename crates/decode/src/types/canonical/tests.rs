//! What is held equal, for how long, and that no chain of types is too long.

use super::*;
use crate::Module;
use crate::index::TypeIdx;
use crate::types::{HeapType, RefType, ValType};

fn func_type(params: impl IntoIterator<Item = ValType>) -> FuncType {
    FuncType::new(params, [ValType::F32; 7])
}

#[test]
fn equal_types_have_equal_numbers_while_registered() {
    let (a, b) = (func_type([ValType::I64; 13]), func_type([ValType::I64; 14]));
    let of = |ty: &FuncType| Registered::of_func(ty).expect("it refers to nothing");
    let (first, (second, other)) = (of(&a), of(&b));
    let again = of(&a);
    assert_eq!(first.1, again.1);
    assert_ne!(first.1, other);
    drop(first.0);
    assert_eq!(of(&a).1, again.1, "still registered");
    assert_eq!(
        again.1.definition().map(|ty| ty.func().cloned()),
        Some(Some(a.clone()))
    );
    drop((again.0, second));
    let registry = read();
    for ty in [a, b] {
        assert!(!registry.groups.contains(&[SubType::of_func(ty)][..]));
    }
}

#[test]
fn nothing_is_left_of_many_types() {
    let mut registry = Registry::default();
    let of_index = |index: usize| {
        let digit = |bit: usize| [ValType::I32, ValType::F64][index >> bit & 1_usize];
        vec![SubType::of_func(func_type((0..15).map(digit)))]
    };
    let groups: Vec<_> = (0..20_000)
        .map(|index| registry.add(of_index(index)).expect("it refers to nothing"))
        .collect();
    assert!(registry.types.len() == 20_000 && registry.groups.len() == 20_000);
    groups[1..].iter().for_each(|group| registry.remove(group));
    registry.shrink();
    assert_eq!((registry.types.len(), registry.free.len()), (1, 0));
    assert!(registry.groups.capacity() < 10_000 && registry.types.capacity() < 10_000);
    let ids = |group: Option<Arc<Group>>| group.expect("it refers to nothing").ids().to_vec();
    assert_eq!(ids(registry.add(of_index(0))), [TypeId(0)]);
    assert_eq!(ids(registry.add(of_index(7))), [TypeId(1)]);
}

/// A function type that takes a reference to a function of type `id`.
fn taking(id: TypeId) -> FuncType {
    let heap = HeapType::Concrete(crate::types::CompositeKind::Func, id);
    func_type([RefType::new(true, heap).into()])
}

/// Each of many types refers to the one before: the last registration takes all with it, on a small stack.
#[test]
fn a_group_keeps_what_it_refers_to() {
    let chain = || {
        let mut registry = Registry::default();
        let mut ty = func_type([ValType::I64; 15]);
        let mut groups = Vec::new();
        for _ in 0..200_000 {
            let group = registry
                .add(vec![SubType::of_func(ty)])
                .expect("registered");
            ty = taking(group.first);
            groups.push(group);
        }
        let last = groups.pop().expect("there are many");
        for group in &groups {
            registry.remove(group);
        }
        assert_eq!(registry.groups.len(), 200_000);
        drop(groups);
        registry.remove(&last);
        assert_eq!(registry.groups.len(), 0);
        drop(registry);
        drop(last);
    };
    let small = std::thread::Builder::new().stack_size(128 << 10);
    small
        .spawn(chain)
        .expect("it starts")
        .join()
        .expect("it ends");
}

#[test]
fn what_is_gone_cannot_be_referred_to() {
    let (kept, id) = Registered::of_func(&func_type([ValType::F64; 17])).expect("it is new");
    let (user, _) = Registered::of_func(&taking(id)).expect("it refers to what is there");
    drop(kept);
    assert!(id.definition().is_some(), "the other refers to it");
    drop(user);
    let mut registry = Registry::default();
    assert!(
        registry
            .add(vec![SubType::of_func(taking(TypeId(3)))])
            .is_none()
    );
    let structure = SubType {
        is_final: true,
        supertype: None,
        composite: crate::types::CompositeType::Struct(Box::default()),
    };
    let group = registry.add(vec![structure]).expect("it refers to nothing");
    let as_func = SubType::of_func(taking(group.first));
    assert!(registry.add(vec![as_func]).is_none(), "it is no function");
}

#[test]
fn repeated_types_are_registered_once() {
    let text = format!(
        "(module {})",
        "(type (func (param i64 f32 i64 f64)))".repeat(5000)
    );
    let module = Module::new(text.into_bytes()).expect("it is valid");
    let types = module.types();
    assert_eq!((types.len(), types.groups()), (5000, 1));
    let id = types.id(TypeIdx(0));
    assert_eq!(types.ids(), [id; 5000]);
    let group = read().definition(id).expect("registered").group.clone();
    assert_eq!(group.users.load(Ordering::Relaxed), 1);
}

#[test]
fn recursion_is_by_place() {
    // What refers to its own place, as each definition of `(type $t (func (param (ref null $t))))` does.
    let own = |results: usize| {
        let mut ty = taking(TypeId::relative(0));
        ty.results = vec![ValType::I32; results].into();
        vec![SubType::of_func(ty)]
    };
    let mut registry = Registry::default();
    let first = registry.add(own(1)).expect("it refers to itself");
    let same = registry.add(own(1)).expect("it refers to itself");
    let other = registry.add(own(2)).expect("it refers to itself");
    assert_eq!(first.first, same.first);
    assert_ne!(first.first, other.first);
    let SubType { composite, .. } = &first.types()[0];
    let crate::types::CompositeType::Func(ty) = composite else {
        panic!("a function type")
    };
    assert_eq!(ty.params[0], taking(first.first).params[0]);
    // The same from outside of the group is another type.
    let outside = registry.add(vec![SubType::of_func(FuncType::new(
        taking(first.first).params,
        [ValType::I32],
    ))]);
    assert_ne!(outside.expect("registered").first, first.first);
}

#[test]
fn subtypes_are_declared() {
    let sub = |supertype, is_final| SubType {
        is_final,
        supertype,
        ..SubType::of_func(func_type([ValType::V128; 3]))
    };
    let mut registered = Registered::default();
    let mut chain = Vec::new();
    for _ in 0..63 {
        let group = registered.add(vec![sub(chain.last().copied(), false)]);
        chain.push(group.expect("registered").first);
    }
    for (index, &id) in chain.iter().enumerate() {
        for (above, &other) in chain.iter().enumerate() {
            assert_eq!(id.is_subtype_of(other), above <= index);
        }
    }
    let alone = registered
        .add(vec![sub(None, true)])
        .expect("registered")
        .first;
    assert!(!alone.is_subtype_of(chain[0]) && !chain[5].is_subtype_of(alone));
}

/// Room is made for all types of a module at one time; it goes if they need none.
#[test]
fn room_that_is_not_needed_is_given_back() {
    let mut registry = Registry::default();
    let group = registry.add(vec![SubType::of_func(func_type([]))]);
    registry.reserve(1_000_000);
    assert!(registry.groups.capacity() >= 1_000_000 && registry.types.capacity() >= 1_000_000);
    registry.shrink();
    assert!(registry.groups.capacity() < 10_000 && registry.types.capacity() < 10_000);
    registry.remove(&group.expect("it refers to nothing"));
    registry.shrink();
    assert_eq!((registry.groups.len(), registry.free.len()), (0, 1));
}
