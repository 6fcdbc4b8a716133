//! Rust values and `Val`s, which have to pass alike.

use std::fmt::Debug;

use tiered_component::Val;
use tiered_component::abi::{
    Lift, LiftContext, Lower, LowerContext, Options, Params, StringEncoding,
};
use tiered_component::types::AddressType;

use crate::model::guest::TestGuest;
use crate::model::ty::Ty;
use crate::model::{Func, KINDS};

pub(crate) fn all_options() -> Vec<Options> {
    let encodings = [
        StringEncoding::Utf8,
        StringEncoding::Utf16,
        StringEncoding::Latin1OrUtf16,
    ];
    let addresses = [AddressType::I32, AddressType::I64];
    let both = |encoding| addresses.map(|address| Options { encoding, address });
    encodings.into_iter().flat_map(both).collect()
}

/// Parameters as a Rust type and as values: both are lowered to the same, and lifted back from it.
pub(crate) fn same<P: Params + Lift + Lower + PartialEq + Debug>(
    types: &[Ty],
    typed: &P,
    values: &[Val],
) {
    let func = Func::new(types.to_vec(), None).expect("the types are right");
    let params = func.types.func(func.id).params();
    P::check_params(&func.types, params).expect("it stands for them");
    for (options, kind) in all_options()
        .into_iter()
        .flat_map(|o| KINDS.map(|kind| (o, kind)))
    {
        let (mut guest, mut other) = (TestGuest::default(), TestGuest::default());
        let mut cx = LowerContext::new(&func.types, options, &mut guest);
        let flat = cx.params_as(func.id, kind, typed).expect("it is right");
        let mut cx = LowerContext::new(&func.types, options, &mut other);
        let expected = cx.params(func.id, kind, values).expect("they are right");
        assert_eq!(*flat, *expected, "{typed:?}");
        assert_eq!(guest, other, "{typed:?}");
        let memory = guest.memory.clone();
        let mut cx = LiftContext::new(&func.types, options, &memory, &flat, &mut guest);
        assert_eq!(
            &cx.params_as::<P>(func.id, kind).expect("it was lowered"),
            typed
        );
        let mut cx = LiftContext::new(&func.types, options, &memory, &flat, &mut other);
        assert_eq!(cx.params(func.id, kind).expect("it was lowered"), values);
        assert_eq!(guest, other, "{typed:?}");
    }
}

/// The same for a result.
pub(crate) fn same_result<R: Lift + Lower + PartialEq + Debug>(ty: Ty, typed: &R, value: &Val) {
    let func = Func::new(vec![], Some(ty)).expect("the type is right");
    let result = func.types.func(func.id).result();
    R::check_optional(&func.types, result).expect("it stands for it");
    func.types
        .check::<R>(result.expect("there is one"))
        .expect("it passes as it");
    for (options, kind) in all_options()
        .into_iter()
        .flat_map(|o| KINDS.map(|kind| (o, kind)))
    {
        let (mut guest, mut other) = (TestGuest::default(), TestGuest::default());
        for guest in [&mut guest, &mut other] {
            guest.allocate(0, 0, 8, 200);
        }
        let args = [8];
        let mut cx = LowerContext::new(&func.types, options, &mut guest);
        let flat = cx
            .result_as(func.id, kind, typed, &args)
            .expect("it is right");
        let mut cx = LowerContext::new(&func.types, options, &mut other);
        let expected = cx
            .result(func.id, kind, Some(value), &args)
            .expect("it is right");
        assert_eq!(*flat, *expected, "{typed:?}");
        assert_eq!(guest, other, "{typed:?}");
        let memory = guest.memory.clone();
        let flat = if flat.is_empty() { &args[..] } else { &flat };
        let mut cx = LiftContext::new(&func.types, options, &memory, flat, &mut guest);
        assert_eq!(
            &cx.result_as::<R>(func.id, kind).expect("it was lowered"),
            typed
        );
    }
}

pub(crate) fn list(ty: Ty) -> Ty {
    Ty::List(Box::new(ty))
}

pub(crate) fn option(ty: Ty) -> Ty {
    Ty::Option(Box::new(ty))
}

pub(crate) fn vals<T: Clone + Into<Val>>(values: &[T]) -> Val {
    Val::List(values.iter().cloned().map(Into::into).collect())
}
