//! What is wrong with a guest's `realloc`, and with a host's values.

use tiered_component::abi::{AbiError, Guest, HandleError, HandleType, LowerContext, Options};
use tiered_component::types::CallKind;
use tiered_component::{Handle, Val};

use crate::model::ty::Ty;
use crate::{LATIN1, MEMORY64, UTF16, func, list};

/// A guest whose `realloc` does what the row says, the calls one after the other.
struct Hostile {
    memory: Vec<u8>,
    returns: Vec<Option<u64>>,
    calls: usize,
}

impl Guest for Hostile {
    fn memory(&mut self) -> &mut [u8] {
        &mut self.memory
    }

    fn realloc(&mut self, _: u64, _: u64, _: u32, _: u64) -> Result<u64, tiered::Error> {
        let returns = self.returns.get(self.calls).copied().flatten();
        self.calls += 1;
        returns.ok_or_else(|| std::io::Error::other("no room").into())
    }

    fn lower_handle(&mut self, _: HandleType, _: Handle) -> Result<u32, HandleError> {
        Err(HandleError::Full)
    }
}

/// The error of lowering a parameter to a guest of 16 bytes whose `realloc` returns these.
fn lower(ty: &Ty, options: Options, value: &Val, returns: &[Option<u64>]) -> AbiError {
    let func = func(std::slice::from_ref(ty));
    let mut guest = Hostile {
        memory: vec![0; 16],
        returns: returns.to_vec(),
        calls: 0,
    };
    let mut cx = LowerContext::new(&func.types, options, &mut guest);
    let lowered = cx.params(func.id, CallKind::Lift, std::slice::from_ref(value));
    let error = lowered.expect_err("it is wrong");
    assert_eq!(guest.calls, returns.len(), "{error}");
    error
}

/// A type, options, a value of it, what `realloc` returns, and the message.
type Row<'a> = (Ty, Options, &'a Val, &'a [Option<u64>], String);

#[test]
fn what_realloc_returns_is_checked() {
    let narrow = Val::from("aé");
    let wide = Val::from("aé€");
    let numbers = Val::List(vec![1u32.into(), 2u32.into()]);
    let long = |bytes| {
        format!(
            "`realloc` returned 0xc, where {bytes} bytes are out of bounds: the memory has 16 bytes"
        )
    };
    let odd = "`realloc` returned 0x3, which is not a multiple of 2".to_string();
    let failed = "`realloc` failed: no room".to_string();
    let utf8 = Options::default();
    let rows: &[Row<'_>] = &[
        (Ty::String, utf8, &wide, &[Some(12)], long(6)),
        (Ty::String, utf8, &wide, &[None], failed.clone()),
        (Ty::String, UTF16, &narrow, &[Some(12)], long(6)),
        (Ty::String, UTF16, &narrow, &[Some(3)], odd.clone()),
        (Ty::String, UTF16, &narrow, &[Some(2), Some(3)], odd.clone()),
        (
            Ty::String,
            UTF16,
            &narrow,
            &[Some(2), Some(16)],
            long(4).replace("0xc", "0x10"),
        ),
        (Ty::String, UTF16, &narrow, &[Some(2), None], failed.clone()),
        (Ty::String, LATIN1, &narrow, &[Some(3)], odd.clone()),
        (
            Ty::String,
            LATIN1,
            &narrow,
            &[Some(2), Some(3)],
            odd.clone(),
        ),
        (Ty::String, LATIN1, &wide, &[Some(12)], long(6)),
        (Ty::String, LATIN1, &wide, &[Some(2), Some(12)], long(12)),
        (Ty::String, LATIN1, &wide, &[Some(2), Some(3)], odd.clone()),
        (Ty::String, LATIN1, &wide, &[Some(2), Some(2), Some(3)], odd),
        (
            Ty::String,
            LATIN1,
            &wide,
            &[Some(2), Some(2), Some(12)],
            long(6),
        ),
        (Ty::String, LATIN1, &wide, &[Some(2), Some(2), None], failed),
        (list(Ty::U32), utf8, &numbers, &[Some(12)], long(8)),
        (
            list(Ty::U32),
            utf8,
            &numbers,
            &[Some(2)],
            "`realloc` returned 0x2, which is not a multiple of 4".to_string(),
        ),
        (
            list(Ty::U8),
            utf8,
            &Val::List(vec![]),
            &[Some(17)],
            long(0).replace("0xc", "0x11"),
        ),
        (
            list(Ty::U8),
            MEMORY64,
            &Val::List(vec![1u8.into()]),
            &[Some(u64::MAX)],
            long(1).replace("0xc", "0xffffffffffffffff"),
        ),
    ];
    for (ty, options, value, returns, message) in rows {
        let error = lower(ty, *options, value, returns);
        assert_eq!(error.to_string(), format!("param \"p0\": {message}"));
        assert!(!error.is_of_host());
    }
    let many = vec![Ty::U32; 17];
    let values = vec![Val::U32(0); 17];
    let func = func(&many);
    let mut guest = Hostile {
        memory: vec![0; 67],
        returns: vec![Some(0)],
        calls: 0,
    };
    let mut cx = LowerContext::new(&func.types, utf8, &mut guest);
    let error = cx
        .params(func.id, CallKind::Lift, &values)
        .expect_err("there is no room");
    let message =
        "`realloc` returned 0x0, where 68 bytes are out of bounds: the memory has 67 bytes";
    assert_eq!(error.to_string(), message);
}

/// A memory that gets smaller is none of WebAssembly's, and no reason to panic either.
#[test]
fn a_memory_that_shrinks_is_an_error() {
    struct Shrinks(Vec<u8>);
    impl Guest for Shrinks {
        fn memory(&mut self) -> &mut [u8] {
            self.0.pop();
            &mut self.0
        }

        fn realloc(&mut self, _: u64, _: u64, _: u32, _: u64) -> Result<u64, tiered::Error> {
            Ok(0)
        }

        fn lower_handle(&mut self, _: HandleType, _: Handle) -> Result<u32, HandleError> {
            Ok(0)
        }
    }
    let ty = list(Ty::String);
    let value = Val::List(vec!["text".into(), "text".into()]);
    for encoding in [Options::default(), UTF16, LATIN1] {
        for size in 0..60 {
            let func = func(std::slice::from_ref(&ty));
            let mut guest = Shrinks(vec![0; size]);
            let mut cx = LowerContext::new(&func.types, encoding, &mut guest);
            let lowered = cx.params(func.id, CallKind::Lift, std::slice::from_ref(&value));
            assert!(lowered.is_err() || size > 20);
        }
    }
}

#[test]
fn values_of_the_host_are_checked() {
    let record = Ty::Record(vec![("a".into(), Ty::U8), ("b".into(), list(Ty::U8))]);
    let field = |name: &str, value| (name.into(), value);
    let name = |name: &str| name.to_string();
    let flags = Ty::Flags(vec![name("x"), name("y")]);
    let bytes = |values: Vec<Val>| Val::List(values);
    let rows = [
        (Ty::U8, Val::U16(1), "expected u8, found u16"),
        (Ty::String, Val::Char('a'), "expected string, found char"),
        (
            Ty::Own(3),
            Val::U32(1),
            "expected own<resource 3>, found u32",
        ),
        (
            Ty::Stream(Some(Box::new(Ty::U8))),
            Val::U32(1),
            "expected stream<u8>, found u32",
        ),
        (
            Ty::Option(Box::new(Ty::U8)),
            Val::U8(1),
            "expected option<u8>, found u8",
        ),
        (
            Ty::Option(Box::new(Ty::U8)),
            Val::some(Val::U16(1)),
            ".some: expected u8, found u16",
        ),
        (
            Ty::FixedList(Box::new(Ty::U8), 2),
            bytes(vec![1u8.into()]),
            "expected 2 values, found 1",
        ),
        (
            Ty::Tuple(vec![Ty::U8, Ty::Bool]),
            Val::Tuple(vec![1u8.into(), 1u8.into()]),
            ".1: expected bool, found u8",
        ),
        (
            record.clone(),
            Val::Record(vec![field("a", 1u8.into())]),
            "expected 2 values, found 1",
        ),
        (
            record.clone(),
            Val::Record(vec![field("a", 1u8.into()), field("c", 1u8.into())]),
            "there is no value for `b`",
        ),
        (
            record.clone(),
            Val::Record(vec![field("a", 1u8.into()), field("a", 1u8.into())]),
            "there is no value for `b`",
        ),
        (
            record.clone(),
            Val::Record(vec![field("b", bytes(vec![])), field("a", Val::none())]),
            ".a: expected u8, found option",
        ),
        (
            flags.clone(),
            Val::Flags(vec!["z".into()]),
            "there is no `z` in flags { x, y }",
        ),
        (
            Ty::Enum(vec![name("x")]),
            Val::Enum("y".into()),
            "there is no `y` in enum { x }",
        ),
        (
            Ty::Variant(vec![(name("x"), Some(Ty::U8)), (name("z"), None)]),
            Val::Variant("y".into(), None),
            "there is no `y` in variant { x(u8), z }",
        ),
        (
            Ty::Variant(vec![(name("x"), Some(Ty::U8)), (name("z"), None)]),
            Val::Variant("x".into(), None),
            ".x: expected 1 values, found 0",
        ),
        (
            Ty::Variant(vec![(name("x"), Some(Ty::U8)), (name("z"), None)]),
            Val::Variant("z".into(), Some(Box::new(1u8.into()))),
            ".z: expected 0 values, found 1",
        ),
        (
            Ty::Result(None, Some(Box::new(Ty::String))),
            Val::err(1u8.into()),
            ".err: expected string, found u8",
        ),
        (
            Ty::Result(None, None),
            Val::ok(1u8.into()),
            ".ok: expected 0 values, found 1",
        ),
    ];
    for (ty, value, message) in rows {
        let error = lower(&ty, Options::default(), &value, &[]);
        let message = match message.starts_with('.') {
            true => format!("param \"p0\"{message}"),
            false => format!("param \"p0\": {message}"),
        };
        assert_eq!(error.to_string(), message);
        assert!(error.is_of_host());
    }
    let error = lower(
        &list(Ty::Bool),
        Options::default(),
        &Val::List(vec![1u8.into()]),
        &[Some(0)],
    );
    assert_eq!(
        error.to_string(),
        "param \"p0\"[0]: expected bool, found u8"
    );
    let handle = Handle { owner: 0, index: 0 };
    let error = lower(&Ty::Own(0), Options::default(), &Val::Resource(handle), &[]);
    assert_eq!(
        error.to_string(),
        "param \"p0\": there are too many handles"
    );
}
