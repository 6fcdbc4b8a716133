//! What is wrong with a guest's values.

use tiered_component::Handle;
use tiered_component::abi::{
    AbiErrorKind, HandleError, HandleType, LiftContext, LiftHandles, Options,
};
use tiered_component::types::{AddressType, CallKind};

use crate::model::guest::TestGuest;
use crate::model::ty::Ty;
use crate::{LATIN1, MEMORY64, UTF16, func, list, model};

/// The message of lifting one parameter from these core values and this memory.
fn lift(ty: &Ty, options: Options, flat: &[u64], memory: &[u8]) -> String {
    let func = func(std::slice::from_ref(ty));
    let mut guest = TestGuest::default();
    let mut cx = LiftContext::new(&func.types, options, memory, flat, &mut guest);
    let error = cx
        .params(func.id, CallKind::Lower)
        .expect_err("it is wrong");
    assert!(!error.is_of_host(), "{error}");
    error.to_string()
}

#[test]
fn strings_of_the_guest_are_checked() {
    let utf8 = Options::default();
    let rows: &[(Options, [u64; 2], &[u8], &str)] = &[
        (
            utf8,
            [1, 4],
            b"abcd",
            "4 bytes at 0x1 are out of bounds: the memory has 4 bytes",
        ),
        (
            utf8,
            [5, 0],
            b"abcd",
            "0 bytes at 0x5 are out of bounds: the memory has 4 bytes",
        ),
        (
            utf8,
            [0, 4],
            b"ab\xffd",
            "the string is not UTF-8 at byte 2",
        ),
        (
            utf8,
            [0, 4],
            b"abc\xc3",
            "the string is not UTF-8 at byte 3",
        ),
        (
            utf8,
            [0, 3],
            b"\xed\xa0\x80",
            "the string is not UTF-8 at byte 0",
        ),
        (
            utf8,
            [0, 1 << 28],
            b"",
            "a string of 268435456 bytes is too long: 268435455 are the limit",
        ),
        (
            UTF16,
            [1, 1],
            b"abcd",
            "the address 0x1 is not a multiple of 2",
        ),
        (
            UTF16,
            [2, 2],
            b"abcd",
            "4 bytes at 0x2 are out of bounds: the memory has 4 bytes",
        ),
        (
            UTF16,
            [0, 2],
            b"a\0\0\xd8",
            "the string is not UTF-16 at code unit 1",
        ),
        (
            UTF16,
            [0, 2],
            b"\0\xdca\0",
            "the string is not UTF-16 at code unit 0",
        ),
        (
            UTF16,
            [0, 1 << 27],
            b"",
            "a string of 268435456 bytes is too long: 268435455 are the limit",
        ),
        (
            LATIN1,
            [1, 1],
            b"abcd",
            "the address 0x1 is not a multiple of 2",
        ),
        (
            LATIN1,
            [0, 5],
            b"abcd",
            "5 bytes at 0x0 are out of bounds: the memory has 4 bytes",
        ),
        (
            LATIN1,
            [0, 1 << 31 | 3],
            b"abcd",
            "6 bytes at 0x0 are out of bounds: the memory has 4 bytes",
        ),
        (
            LATIN1,
            [1, 1 << 31 | 1],
            b"abcd",
            "the address 0x1 is not a multiple of 2",
        ),
        (
            MEMORY64,
            [u64::MAX, 2],
            b"abcd",
            "2 bytes at 0xffffffffffffffff are out of bounds: the memory has 4 bytes",
        ),
        (
            MEMORY64,
            [0, u64::MAX],
            b"",
            "a string of 18446744073709551615 bytes is too long: 268435455 are the limit",
        ),
    ];
    for (options, flat, memory, message) in rows {
        let error = lift(&Ty::String, *options, flat, memory);
        assert_eq!(error, format!("param \"p0\": {message}"));
    }
}

#[test]
fn lists_of_the_guest_are_checked() {
    let rows: &[(Ty, Options, [u64; 2], &str)] = &[
        (
            Ty::U8,
            Options::default(),
            [3, 6],
            "6 bytes at 0x3 are out of bounds: the memory has 8 bytes",
        ),
        (
            Ty::U8,
            Options::default(),
            [9, 0],
            "0 bytes at 0x9 are out of bounds: the memory has 8 bytes",
        ),
        (
            Ty::U16,
            Options::default(),
            [1, 0],
            "the address 0x1 is not a multiple of 2",
        ),
        (
            Ty::U64,
            Options::default(),
            [4, 1],
            "the address 0x4 is not a multiple of 8",
        ),
        (
            Ty::U8,
            Options::default(),
            [0, 1 << 28],
            "a list of 268435456 bytes is too long: 268435455 are the limit",
        ),
        (
            Ty::U64,
            Options::default(),
            [0, 0xffff_ffff],
            "a list of 34359738360 bytes is too long: 268435455 are the limit",
        ),
        (
            Ty::U64,
            MEMORY64,
            [0, u64::MAX / 8 + 2],
            "a list of 18446744073709551615 bytes is too long: 268435455 are the limit",
        ),
        (
            Ty::String,
            MEMORY64,
            [u64::MAX - 7, 1],
            "16 bytes at 0xfffffffffffffff8 are out of bounds: the memory has 8 bytes",
        ),
    ];
    for (ty, options, flat, message) in rows {
        let error = lift(&list(ty.clone()), *options, flat, &[0; 8]);
        assert_eq!(error, format!("param \"p0\": {message}"));
    }
    let map = Ty::Map(Box::new(Ty::U8), Box::new(Ty::U32));
    let error = lift(&map, Options::default(), &[0, 2], &[0; 8]);
    assert_eq!(
        error,
        "param \"p0\": 16 bytes at 0x0 are out of bounds: the memory has 8 bytes"
    );
}

#[test]
fn numbers_that_stand_for_nothing_are_refused() {
    let record = |ty| Ty::Record(vec![("f".into(), ty)]);
    let none = Options::default();
    assert_eq!(
        lift(&Ty::Char, none, &[0xd800], &[]),
        "param \"p0\": 0xd800 is not a Unicode scalar value"
    );
    assert_eq!(
        lift(&Ty::Char, none, &[0x11_0000], &[]),
        "param \"p0\": 0x110000 is not a Unicode scalar value"
    );
    assert_eq!(
        lift(&record(Ty::Option(Box::new(Ty::U8))), none, &[2, 0], &[]),
        "param \"p0\".f: there is no case 2 of 2"
    );
    // Of a core value all 32 bits count, also where a byte would do in memory.
    let names = |count: u32| (0..count).map(|name| format!("n{name}")).collect();
    assert_eq!(
        lift(&Ty::Enum(names(3)), none, &[0x100], &[]),
        "param \"p0\": there is no case 256 of 3"
    );
    let elements = [
        (
            Ty::Enum(names(3)),
            vec![0, 2, 3],
            "param \"p0\"[2]: there is no case 3 of 3",
        ),
        (
            Ty::Enum(names(257)),
            vec![0, 1, 1, 1],
            "param \"p0\"[1]: there is no case 257 of 257",
        ),
        (
            Ty::Char,
            vec![0, 0xd8, 0, 0],
            "param \"p0\"[0]: 0xd800 is not a Unicode scalar value",
        ),
        (
            Ty::Result(None, None),
            vec![1, 0, 9],
            "param \"p0\"[2]: there is no case 9 of 2",
        ),
        (
            Ty::Variant(vec![("v".into(), Some(Ty::Char))]),
            vec![0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
            "param \"p0\"[0].v: 0xffffffff is not a Unicode scalar value",
        ),
        (
            Ty::Tuple(vec![Ty::U8, Ty::Option(Box::new(Ty::U8))]),
            vec![0, 1, 7, 0, 2, 0],
            "param \"p0\"[1].1: there is no case 2 of 2",
        ),
    ];
    for (ty, memory, message) in elements {
        let bytes = model::reference::size(&ty, AddressType::I32);
        let flat = [0, memory.len() as u64 / bytes];
        assert_eq!(lift(&list(ty), none, &flat, &memory), message);
    }
}

#[test]
fn paths_lead_through_maps() {
    let map = |key, value| Ty::Map(Box::new(key), Box::new(value));
    let none = Options::default();
    let memory = [0, 0, 0, 0, 5, 0, 0, 0, 0, 0xd8, 0, 0, 0, 0, 0, 0];
    assert_eq!(
        lift(&map(Ty::Char, Ty::U32), none, &[0, 2], &memory),
        "param \"p0\".key(1): 0xd800 is not a Unicode scalar value"
    );
    assert_eq!(
        lift(&map(Ty::U32, Ty::Bool), none, &[8, 2], &memory),
        "param \"p0\": 16 bytes at 0x8 are out of bounds: the memory has 16 bytes"
    );
    assert_eq!(
        lift(&map(Ty::U32, Ty::Char), none, &[4, 1], &memory),
        "param \"p0\".value(0): 0xd800 is not a Unicode scalar value"
    );
}

#[test]
fn handles_of_the_guest_are_checked() {
    let none = Options::default();
    assert_eq!(
        lift(&Ty::Own(1), none, &[7], &[]),
        "param \"p0\": unknown handle index 7"
    );
    let stream = Ty::Stream(None);
    assert_eq!(
        lift(&list(stream), none, &[0, 1], &[15, 0, 0, 0]),
        "param \"p0\"[0]: unknown handle index 15"
    );
    let rows = [
        (
            HandleError::OtherType(3),
            "handle index 3 used with the wrong type",
        ),
        (
            HandleError::NotOwned(3),
            "handle index 3 is borrowed, not owned",
        ),
        (
            HandleError::Lent(3),
            "cannot remove owned resource while borrowed: handle index 3",
        ),
        (
            HandleError::Busy(3),
            "handle index 3 is being read or written",
        ),
        (
            HandleError::Foreign,
            "the host's handle is not of this store, or no longer valid",
        ),
        (HandleError::Full, "there are too many handles"),
    ];
    struct Refuses(HandleError);
    impl LiftHandles for Refuses {
        fn lift_handle(&mut self, _: HandleType, _: u32) -> Result<Handle, HandleError> {
            Err(self.0)
        }
    }
    for (error, message) in rows {
        let func = func(&[Ty::Borrow(0)]);
        let mut handles = Refuses(error);
        let mut cx = LiftContext::new(&func.types, none, &[], &[3], &mut handles);
        let error = cx
            .params(func.id, CallKind::Lower)
            .expect_err("it is refused");
        assert_eq!(error.to_string(), format!("param \"p0\": {message}"));
        assert_eq!(
            error.is_of_host(),
            matches!(error.kind(), AbiErrorKind::Handle(HandleError::Foreign))
        );
    }
}
