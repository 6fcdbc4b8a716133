//! What a guest or a host can do wrong with a value, each with the message that it gets.

#[path = "../model/mod.rs"]
mod model;

mod lift;
mod lower;

use model::guest::TestGuest;
use model::ty::Ty;
use model::{Func, KINDS};
use tiered_component::Val;
use tiered_component::abi::{LiftContext, LowerContext, Options, StringEncoding};
use tiered_component::types::{AddressType, CallKind};

const UTF16: Options = Options {
    encoding: StringEncoding::Utf16,
    address: AddressType::I32,
};
const LATIN1: Options = Options {
    encoding: StringEncoding::Latin1OrUtf16,
    address: AddressType::I32,
};
const MEMORY64: Options = Options {
    encoding: StringEncoding::Utf8,
    address: AddressType::I64,
};

fn list(ty: Ty) -> Ty {
    Ty::List(Box::new(ty))
}

fn func(params: &[Ty]) -> Func {
    Func::new(params.to_vec(), None).expect("the types are right")
}

#[test]
fn parameters_in_memory_are_checked() {
    let many = vec![Ty::U32; 17];
    for kind in KINDS {
        let func = func(&many);
        for (pointer, size, message) in [
            (2, 80, "the address 0x2 is not a multiple of 4"),
            (
                4,
                71,
                "68 bytes at 0x4 are out of bounds: the memory has 71 bytes",
            ),
        ] {
            let (memory, mut guest) = (vec![0; size], TestGuest::default());
            let flat = [pointer];
            let none = Options::default();
            let mut cx = LiftContext::new(&func.types, none, &memory, &flat, &mut guest);
            let error = cx.params(func.id, kind).expect_err("it is wrong");
            assert_eq!(error.to_string(), message);
        }
    }
    // Five are passed flat but by an import that is lowered async.
    let few = func(&many[..5]);
    let (memory, mut guest) = ([1; 20], TestGuest::default());
    let flat = [0; 5];
    let mut cx = LiftContext::new(&few.types, Options::default(), &memory, &flat, &mut guest);
    let lift = |cx: &mut LiftContext<'_>, kind| cx.params(few.id, kind).expect("they are there");
    assert_eq!(lift(&mut cx, CallKind::Lower), vec![Val::U32(0); 5]);
    assert_eq!(
        lift(&mut cx, CallKind::LowerAsync),
        vec![Val::U32(0x0101_0101); 5]
    );
}

#[test]
fn results_in_memory_are_checked() {
    let func = Func::new(vec![], Some(Ty::String)).expect("the type is right");
    let none = Options::default();
    for (pointer, size, message) in [
        (2, 80, "result: the address 0x2 is not a multiple of 4"),
        (
            4,
            11,
            "result: 8 bytes at 0x4 are out of bounds: the memory has 11 bytes",
        ),
    ] {
        let mut guest = TestGuest {
            memory: vec![0; size],
            ..TestGuest::default()
        };
        let memory = guest.memory.clone();
        let flat = [pointer];
        let mut cx = LiftContext::new(&func.types, none, &memory, &flat, &mut guest);
        let error = cx.result(func.id, CallKind::Lift).expect_err("it is wrong");
        assert_eq!(error.to_string(), message);
        let mut cx = LowerContext::new(&func.types, none, &mut guest);
        let value = Val::from("text");
        let error = cx.result(func.id, CallKind::Lower, Some(&value), &[9, pointer]);
        assert_eq!(error.expect_err("it is wrong").to_string(), message);
        assert_eq!(guest.log, [], "`realloc` is not called before");
    }
    // What lies above an address of 32 bits is nobody's.
    let mut guest = TestGuest {
        memory: vec![0; 8],
        ..TestGuest::default()
    };
    let mut cx = LowerContext::new(&func.types, none, &mut guest);
    let value = Val::from("");
    let flat = cx.result(func.id, CallKind::Lower, Some(&value), &[1 << 32]);
    assert!(flat.expect("it is right").is_empty());
}

#[test]
fn numbers_of_values_are_checked() {
    let func = Func::new(vec![Ty::U8], Some(Ty::U8)).expect("the types are right");
    let mut guest = TestGuest::default();
    let mut cx = LowerContext::new(&func.types, Options::default(), &mut guest);
    let error = cx
        .params(func.id, CallKind::Lift, &[])
        .expect_err("there are too few");
    assert_eq!(error.to_string(), "expected 1 values, found 0");
    let error = cx
        .result(func.id, CallKind::Lower, None, &[])
        .expect_err("there is none");
    assert_eq!(error.to_string(), "result: expected 1 values, found 0");
    // The embedder has to bring the core values of the signature.
    let mut cx = LiftContext::new(&func.types, Options::default(), &[], &[], &mut guest);
    let error = cx
        .params(func.id, CallKind::Lower)
        .expect_err("there are too few");
    assert_eq!(
        error.to_string(),
        "param \"p0\": the value has another number of core values than its type"
    );
    let mut cx = LowerContext::new(&func.types, Options::default(), &mut guest);
    let error = cx.result(func.id, CallKind::LowerAsync, Some(&1u8.into()), &[]);
    let error = error.expect_err("there is no argument for the address");
    assert!(error.is_of_host(), "{error}");
}

#[test]
fn buffers_are_checked() {
    let func = Func::new(vec![Ty::U32], None).expect("the type is right");
    let ty = func.types.func(func.id).params()[0].ty;
    let mut guest = TestGuest {
        memory: vec![0; 16],
        ..TestGuest::default()
    };
    let none = Options::default();
    let values = [Val::U32(7), Val::U32(8)];
    let mut cx = LowerContext::new(&func.types, none, &mut guest);
    cx.buffer(ty, 8, &values).expect("there is room");
    for (address, message) in [
        (
            12,
            "8 bytes at 0xc are out of bounds: the memory has 16 bytes",
        ),
        (2, "the address 0x2 is not a multiple of 4"),
        (
            1 << 40,
            "8 bytes at 0x10000000000 are out of bounds: the memory has 16 bytes",
        ),
    ] {
        let error = cx.buffer(ty, address, &values).expect_err("it is wrong");
        assert_eq!(error.to_string(), message);
    }
    let memory = guest.memory.clone();
    let mut cx = LiftContext::new(&func.types, none, &memory, &[], &mut guest);
    assert_eq!(cx.buffer(ty, 8, 2).expect("they are there"), values);
    for (address, length) in [(12, 2), (2, 1), (0, u32::MAX)] {
        assert!(cx.buffer(ty, address, length).is_err());
    }
}

#[test]
fn what_is_too_long_is_refused_before_realloc() {
    let func = func(&[list(Ty::U8), Ty::String]);
    let mut guest = TestGuest::default();
    let mut cx = LowerContext::new(&func.types, Options::default(), &mut guest);
    let zeros = vec![0u8; 1 << 28];
    let error = cx.params_as(func.id, CallKind::Lift, &(&zeros[..], ""));
    assert_eq!(
        error.expect_err("it is too long").to_string(),
        "param \"p0\": a list of 268435456 bytes is too long: 268435455 are the limit"
    );
    assert_eq!(guest.log, []);
    let mut cx = LowerContext::new(&func.types, Options::default(), &mut guest);
    let zeros = String::from_utf8(zeros).expect("it is UTF-8");
    let error = cx.params_as(func.id, CallKind::Lift, &(&[] as &[u8], &*zeros));
    assert_eq!(
        error.expect_err("it is too long").to_string(),
        "param \"p1\": a string of 268435456 bytes is too long: 268435455 are the limit"
    );
    assert_eq!(guest.log.len(), 1, "for the empty list");
}
