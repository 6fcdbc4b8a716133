//! What is said of Rust types that do not stand for a component's.

use tiered_component::Handle;
use tiered_component::abi::{
    AbiError, ComponentType, Cursor, Lower, LowerContext, Options, Params, TypeMismatch,
};
use tiered_component::types::{Abi, CallKind, Types, ValType};

use crate::alike::{list, option};
use crate::embedder::{Level, Point, Rights, Shape};
use crate::model::Func;
use crate::model::guest::TestGuest;
use crate::model::ty::Ty;

fn mismatch<T: ComponentType>(ty: Ty) -> String {
    let mut types = Types::new();
    let ty = ty.define(&mut types).expect("the type is right");
    types.check::<T>(ty).expect_err("they differ").to_string()
}

#[test]
fn mismatches_say_where_and_what() {
    assert_eq!(mismatch::<u8>(Ty::U16), "expected u16, found u8");
    assert_eq!(
        mismatch::<Vec<String>>(list(Ty::Char)),
        "[0]: expected char, found alloc::string::String"
    );
    assert_eq!(
        mismatch::<(u8, Option<i8>)>(Ty::Tuple(vec![Ty::U8, option(Ty::U8)])),
        ".1.some: expected u8, found i8"
    );
    assert_eq!(
        mismatch::<Result<(), u8>>(Ty::Result(Some(Box::new(Ty::U8)), None)),
        ".ok: expected u8, found ()"
    );
    assert_eq!(
        mismatch::<Result<(), u8>>(Ty::Result(None, None)),
        ".err: expected no value, found u8"
    );
    assert_eq!(
        mismatch::<[u8; 3]>(Ty::FixedList(Box::new(Ty::U8), 4)),
        "expected list<u8, 4>, found [u8; 3]"
    );
    // A tuple stands for no record: the names of its fields would not be checked.
    let record = Ty::Record(vec![("x".into(), Ty::U8), ("y".into(), Ty::U8)]);
    assert_eq!(
        mismatch::<(u8, u8)>(record),
        "expected record { x: u8, y: u8 }, found (u8, u8)"
    );
    let other = Ty::Record(vec![("x".into(), Ty::U8), ("z".into(), Ty::F64)]);
    assert_eq!(
        mismatch::<Point>(other),
        "expected record { x: u8, z: f64 }, found a record of x, y, handle"
    );
    assert_eq!(
        mismatch::<Level>(Ty::Enum(vec!["low".into()])),
        "expected enum { low }, found a variant of low, high"
    );
    assert_eq!(
        mismatch::<Level>(Ty::Variant(vec![
            ("low".into(), None),
            ("high".into(), Some(Ty::U8))
        ])),
        ".high: expected u8, found no value"
    );
    assert_eq!(
        mismatch::<Shape>(Ty::Enum(vec![
            "nothing".into(),
            "points".into(),
            "named".into()
        ])),
        ".points: expected no value, found one"
    );
    assert_eq!(
        mismatch::<Rights>(Ty::Flags(vec!["read".into()])),
        "expected flags { read }, found flags of read, write, run"
    );
    assert_eq!(
        mismatch::<Handle>(Ty::U32),
        "expected u32, found tiered_component::val::Handle"
    );
}

#[test]
fn numbers_of_parameters_have_to_match() {
    let func = Func::new(vec![Ty::U8, Ty::U16], None).expect("the types are right");
    let params = func.types.func(func.id).params();
    let check = |checked: Result<(), TypeMismatch>| checked.expect_err("they differ").to_string();
    assert_eq!(
        check(<() as Params>::check_params(&func.types, params)),
        "expected 2 parameters, found 0 parameters"
    );
    assert_eq!(
        check(<(u8,) as Params>::check_params(&func.types, params)),
        "expected 2 parameters, found 1 parameter"
    );
    assert_eq!(
        check(<(u8, u8) as Params>::check_params(&func.types, params)),
        "param \"p1\": expected u16, found u8"
    );
    assert_eq!(
        check(<()>::check_optional(&func.types, Some(ValType::U8))),
        "expected u8, found ()"
    );
    assert_eq!(
        check(u8::check_optional(&func.types, None)),
        "expected no value, found u8"
    );
}

/// A type whose `ABI` is not that of what it claims to be.
#[derive(PartialEq, Debug)]
struct Wrong;

impl ComponentType for Wrong {
    const ABI: Abi = Abi::scalar(1);

    fn check(types: &Types, ty: ValType) -> Result<(), TypeMismatch> {
        <(u32, u32)>::check(types, ty)
    }
}

impl Lower for Wrong {
    fn lower(&self, cx: &mut LowerContext<'_>, mut at: Cursor) -> Result<(), AbiError> {
        (0..20u32).try_for_each(|value| cx.field(&mut at, "wrong", &value))
    }
}

#[test]
fn a_wrong_abi_is_found() {
    let pair = Ty::Tuple(vec![Ty::U32, Ty::U32]);
    assert!(mismatch::<Wrong>(pair.clone()).contains("another `ABI` of "));
    // Who does not check gets an error in the end.
    let func = Func::new(vec![pair], None).expect("the type is right");
    let mut guest = TestGuest::default();
    let mut cx = LowerContext::new(&func.types, Options::default(), &mut guest);
    let error = cx
        .params_as(func.id, CallKind::Lift, &(Wrong,))
        .expect_err("it is wrong");
    assert!(error.is_of_host(), "{error}");
}
