//! Values of a store, and what can be seen of them.

use tiered::{AnyRef, AnyStore, ExternRef, Func, Val};

use crate::event::{ELEMENTS, LEVELS, Object, Value, hash_of};

/// The value in a store; `func` is what a function that is not null becomes.
pub(super) fn to_val(store: &mut AnyStore, value: Value, func: Option<Func>) -> Val {
    match value {
        Value::I32(value) => Val::I32(value),
        Value::I64(value) => Val::I64(value),
        Value::F32(bits) => Val::F32(bits),
        Value::F64(bits) => Val::F64(bits),
        Value::V128(bits) => Val::V128(bits),
        Value::Func(exists) => Val::FuncRef(func.filter(|_| exists)),
        Value::Extern(number) => Val::ExternRef(number.map(|number| {
            ExternRef::new(store, number).expect("there is room for a value of the host")
        })),
        Value::Any(Object::I31(value)) => Val::AnyRef(Some(
            AnyRef::from_i31(store, value).expect("there is room for a handle"),
        )),
        // The host makes no others here.
        Value::Any(_) => Val::AnyRef(None),
        // The host can make none.
        Value::Exn(_) => Val::ExnRef(None),
    }
}

/// What can be seen of a value.
pub(super) fn to_value(store: &AnyStore, value: Val) -> Value {
    seen_value(store, value, LEVELS)
}

/// The value, with objects down to this many levels.
fn seen_value(store: &AnyStore, value: Val, levels: u32) -> Value {
    match value {
        Val::I32(value) => Value::I32(value),
        Val::I64(value) => Value::I64(value),
        Val::F32(bits) => Value::F32(bits),
        Val::F64(bits) => Value::F64(bits),
        Val::V128(bits) => Value::V128(bits),
        Val::FuncRef(func) => {
            // Whatever is said to be a function is one.
            let ty = func.map(|func| func.ty(store));
            Value::Func(ty.is_some())
        }
        Val::ExnRef(reference) => Value::Exn(reference.map(|reference| {
            let exception = reference.exception(store);
            seen_hash(store, exception.values().iter().copied(), levels)
        })),
        Val::AnyRef(None) => Value::Any(Object::Null),
        Val::AnyRef(Some(reference)) => Value::Any(to_object(store, reference, levels)),
        Val::ExternRef(None) => Value::Extern(None),
        Val::ExternRef(Some(reference)) => match number_of(store, reference) {
            Some(number) => Value::Extern(Some(number)),
            // The guest made it of an object of its own.
            None => Value::Any(to_object(store, reference.to_any(), levels)),
        },
    }
}

/// The number that the host knows a reference by, if it is its own.
fn number_of(store: &AnyStore, reference: ExternRef) -> Option<u32> {
    reference.data(store).downcast_ref().copied()
}

/// A hash of values of an object or an exception; of none where no more levels are looked at.
fn seen_hash(store: &AnyStore, values: impl Iterator<Item = Val>, levels: u32) -> u64 {
    let Some(levels) = levels.checked_sub(1) else {
        return 0;
    };
    hash_of(values.map(|value| seen_value(store, value, levels)))
}

fn to_object(store: &AnyStore, reference: AnyRef, levels: u32) -> Object {
    if let Some(value) = reference.i31(store) {
        return Object::I31(value);
    }
    if let Some(object) = reference.to_struct(store) {
        let fields = 0..object.field_types(store).len() as u32;
        let fields = fields.map(|index| object.get(store, index).expect("there is this field"));
        return Object::Struct(seen_hash(store, fields, levels));
    }
    if let Some(object) = reference.to_array(store) {
        let len = object.len(store);
        let elements = 0..len.min(ELEMENTS);
        let elements = elements.map(|index| object.get(store, index).expect("it is so long"));
        return Object::Array(len, seen_hash(store, elements, levels));
    }
    Object::Host(number_of(store, reference.to_extern()))
}
