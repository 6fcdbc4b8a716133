//! Types: what is refused, what is the same, how they are written, and the core signatures of functions one knows.

use tiered_component::types::{
    Abi, AddressType, CallKind, Case, CoreSignature, Field, FlatType, MAX_TYPE_DEPTH, Param,
    ResourceId, TypeDef, TypeError, Types, ValType,
};

fn define(types: &mut Types, def: TypeDef) -> ValType {
    types.define(def).expect("it is a type")
}

fn field(name: &str, ty: ValType) -> Field {
    Field {
        name: name.into(),
        ty,
    }
}

fn case(name: &str, ty: Option<ValType>) -> Case {
    Case {
        name: name.into(),
        ty,
    }
}

fn params(types: &[ValType]) -> Vec<Param> {
    let param = |(index, &ty): (usize, &ValType)| Param {
        name: format!("p{index}").into(),
        ty,
    };
    types.iter().enumerate().map(param).collect()
}

#[test]
fn equal_types_are_one() {
    let mut types = Types::new();
    let list = define(&mut types, TypeDef::List(ValType::U8));
    assert_eq!(define(&mut types, TypeDef::List(ValType::U8)), list);
    assert_ne!(define(&mut types, TypeDef::List(ValType::S8)), list);
    let record = |name| TypeDef::Record([field(name, list)].into());
    let first = define(&mut types, record("a"));
    assert_eq!(define(&mut types, record("a")), first);
    assert_ne!(define(&mut types, record("b")), first);
    let tuple = define(&mut types, TypeDef::Tuple([list].into()));
    assert_ne!(tuple, first);
    let func = types
        .define_func(params(&[list]), None, false)
        .expect("it is a type");
    let mut again = |params, result, is_async| {
        types
            .define_func(params, result, is_async)
            .expect("it is a type")
    };
    assert_eq!(again(params(&[list]), None, false), func);
    assert_ne!(again(params(&[list]), None, true), func);
    assert_ne!(again(params(&[list]), Some(list), false), func);
    assert_ne!(again(params(&[tuple]), None, false), func);
}

#[test]
fn definitions_are_checked() {
    let mut types = Types::new();
    let mut refused = |def| types.define(def).expect_err("it is refused");
    assert_eq!(refused(TypeDef::Record([].into())), TypeError::Empty);
    assert_eq!(refused(TypeDef::Variant([].into())), TypeError::Empty);
    assert_eq!(refused(TypeDef::Tuple([].into())), TypeError::Empty);
    assert_eq!(refused(TypeDef::Enum([].into())), TypeError::Empty);
    assert_eq!(refused(TypeDef::Flags([].into())), TypeError::Empty);
    assert_eq!(
        refused(TypeDef::FixedList(ValType::U8, 0)),
        TypeError::Empty
    );
    let labels = (0..33).map(|label| label.to_string().into()).collect();
    assert_eq!(refused(TypeDef::Flags(labels)), TypeError::TooManyFlags);
    assert_eq!(
        refused(TypeDef::FixedList(ValType::U16, 1 << 31)),
        TypeError::TooLarge
    );

    // A type of other `Types`, of which there are more.
    let mut more = Types::new();
    let first = define(&mut more, TypeDef::List(ValType::U8));
    let second = define(&mut more, TypeDef::List(first));
    assert_eq!(
        types.define(TypeDef::Option(second)),
        Err(TypeError::Unknown)
    );
    let refused = types.define_func(params(&[second]), None, false);
    assert_eq!(refused, Err(TypeError::Unknown));
    let refused = types.define_func(vec![], Some(second), false);
    assert_eq!(refused, Err(TypeError::Unknown));
}

#[test]
fn sizes_have_a_limit() {
    let mut types = Types::new();
    let half = define(&mut types, TypeDef::FixedList(ValType::U8, 1 << 31));
    assert_eq!(types.abi(half).memory32.size, 1 << 31);
    let too_large = [
        TypeDef::Tuple([half, half].into()),
        TypeDef::Record([field("a", half), field("b", half)].into()),
        TypeDef::FixedList(half, 2),
        TypeDef::FixedList(half, u32::MAX),
        TypeDef::Map(half, half),
    ];
    for def in too_large {
        assert_eq!(types.define(def), Err(TypeError::TooLarge));
    }
    let most = define(&mut types, TypeDef::FixedList(ValType::U8, u32::MAX));
    assert_eq!(
        types.define(TypeDef::Option(most)),
        Err(TypeError::TooLarge)
    );
    assert_eq!(
        types.define(TypeDef::Tuple([most, ValType::U8].into())),
        Err(TypeError::TooLarge)
    );
    // Its end is within 32 bits, the padding behind it is not.
    let almost = define(&mut types, TypeDef::FixedList(ValType::U8, u32::MAX - 6));
    let padded = TypeDef::Tuple([ValType::U32, almost].into());
    assert_eq!(types.define(padded), Err(TypeError::TooLarge));
    let refused = types.define_func(params(&[half, half]), None, false);
    assert_eq!(refused, Err(TypeError::TooLarge));
    // Twice as large at each level, as long as it goes.
    let mut ty = ValType::U64;
    let doubled = (0..MAX_TYPE_DEPTH).take_while(|_| {
        let next = types.define(TypeDef::Tuple([ty, ty].into()));
        ty = *next.as_ref().unwrap_or(&ty);
        next.is_ok()
    });
    assert_eq!(doubled.count(), 28);
    // Lists take no more however long they may be.
    let list = define(&mut types, TypeDef::List(half));
    assert_eq!(types.abi(list).memory32, Abi::LIST.memory32);
}

#[test]
fn depth_has_a_limit() {
    let mut types = Types::new();
    let mut ty = define(&mut types, TypeDef::List(ValType::U8));
    let mut depth = 1;
    loop {
        match types.define(TypeDef::List(ty)) {
            Ok(next) => ty = next,
            Err(error) => {
                assert_eq!(error, TypeError::TooDeep);
                break;
            }
        }
        depth += 1;
    }
    assert_eq!(depth, MAX_TYPE_DEPTH);
    let deep = TypeDef::Stream(Some(ty));
    assert_eq!(types.define(deep), Err(TypeError::TooDeep));
}

#[test]
fn types_are_written_as_wit() {
    let mut types = Types::new();
    let list = define(&mut types, TypeDef::List(ValType::U8));
    let fixed = define(&mut types, TypeDef::FixedList(ValType::F32, 4));
    let map = define(&mut types, TypeDef::Map(ValType::String, list));
    let result = |ok, err| TypeDef::Result { ok, err };
    let labels = ["a", "b"].map(Into::into);
    let rows = [
        (TypeDef::Option(list), "option<list<u8>>"),
        (
            TypeDef::Tuple([fixed, map].into()),
            "tuple<list<f32, 4>, map<string, list<u8>>>",
        ),
        (
            TypeDef::Record([field("a", ValType::Bool), field("b", ValType::Char)].into()),
            "record { a: bool, b: char }",
        ),
        (
            TypeDef::Variant([case("a", Some(ValType::S64)), case("b", None)].into()),
            "variant { a(s64), b }",
        ),
        (TypeDef::Enum(labels.clone().into()), "enum { a, b }"),
        (TypeDef::Flags(labels.into()), "flags { a, b }"),
        (result(None, None), "result"),
        (result(Some(list), None), "result<list<u8>>"),
        (result(None, Some(ValType::U32)), "result<_, u32>"),
        (
            result(Some(ValType::F64), Some(ValType::U32)),
            "result<f64, u32>",
        ),
        (TypeDef::Stream(None), "stream"),
        (TypeDef::Stream(Some(ValType::U8)), "stream<u8>"),
        (
            TypeDef::Future(Some(ValType::ErrorContext)),
            "future<error-context>",
        ),
        (
            TypeDef::Option(ValType::Own(ResourceId(3))),
            "option<own<resource 3>>",
        ),
        (
            TypeDef::Option(ValType::Borrow(ResourceId(4))),
            "option<borrow<resource 4>>",
        ),
    ];
    for (def, text) in rows {
        let ty = define(&mut types, def);
        assert_eq!(types.display(ty).to_string(), text);
    }
}

/// A small type may be one of 2⁵⁰ parts when it is written out.
#[test]
fn what_is_written_has_a_limit() {
    let mut types = Types::new();
    let mut ty = define(&mut types, TypeDef::List(ValType::U8));
    for _ in 0..40 {
        let pair = define(&mut types, TypeDef::Tuple([ty, ty].into()));
        ty = define(&mut types, TypeDef::List(pair));
    }
    let text = types.display(ty).to_string();
    assert!(text.len() < 4000 && text.contains('…'), "{}", text.len());
    let labels = (0..100_000).map(|label| label.to_string().into()).collect();
    let ty = define(&mut types, TypeDef::Enum(labels));
    assert!(types.display(ty).to_string().len() < 4000);
}

#[test]
fn handles_and_borrows_are_found() {
    let mut types = Types::new();
    let own = define(&mut types, TypeDef::List(ValType::Own(ResourceId(0))));
    let borrow = define(&mut types, TypeDef::Option(ValType::Borrow(ResourceId(0))));
    let plain = define(&mut types, TypeDef::List(ValType::String));
    let both = define(&mut types, TypeDef::Tuple([plain, borrow].into()));
    let found = |ty| (types.abi(ty).handles, types.has_borrows(ty));
    assert_eq!(found(own), (true, false));
    assert_eq!(found(borrow), (true, true));
    assert_eq!(found(plain), (false, false));
    assert_eq!(found(both), (true, true));
}

/// Discriminants grow with the number of cases.
#[test]
fn discriminants_have_a_size() {
    for (cases, size) in [
        (1, 1),
        (256, 1),
        (257, 2),
        (65536, 2),
        (65537, 4),
        (u32::MAX, 4),
    ] {
        assert_eq!(Abi::discriminant(cases), Abi::scalar(size), "{cases}");
    }
    for (labels, size) in [(1, 1), (8, 1), (9, 2), (16, 2), (17, 4), (32, 4)] {
        assert_eq!(Abi::flags(labels), Abi::scalar(size), "{labels}");
    }
}

fn signature(params: &str, results: &str) -> CoreSignature {
    let flat = |text: &str| {
        let name = |name| match name {
            "i32" => FlatType::I32,
            "i64" => FlatType::I64,
            "f32" => FlatType::F32,
            "f64" => FlatType::F64,
            other => panic!("{other}"),
        };
        text.split_whitespace().map(name).collect()
    };
    CoreSignature {
        params: flat(params),
        results: flat(results),
    }
}

/// Functions of WASI, whose core signatures are in every program that calls them.
#[test]
fn core_signatures_are_those_of_wasi() {
    let mut types = Types::new();
    let descriptor = ValType::Borrow(ResourceId(0));
    let names = (0..37).map(|name| format!("e{name}").into()).collect();
    let error = define(&mut types, TypeDef::Enum(names));
    let bytes = define(&mut types, TypeDef::List(ValType::U8));
    let pair = define(&mut types, TypeDef::Tuple([bytes, ValType::Bool].into()));
    let result = |ok, err| TypeDef::Result { ok, err };
    let read = define(&mut types, result(Some(pair), Some(error)));
    let nothing = define(&mut types, result(None, Some(error)));
    let status = define(&mut types, result(None, None));
    let datetime = TypeDef::Record(
        [
            field("seconds", ValType::U64),
            field("nanoseconds", ValType::U32),
        ]
        .into(),
    );
    let datetime = define(&mut types, datetime);
    let timestamp = TypeDef::Variant(
        [
            case("no-change", None),
            case("now", None),
            case("timestamp", Some(datetime)),
        ]
        .into(),
    );
    let timestamp = define(&mut types, timestamp);
    let flags = define(&mut types, TypeDef::Flags(["symlink-follow".into()].into()));
    let (u64, string) = (ValType::U64, ValType::String);
    let rows = [
        // descriptor.read: func(length: filesize, offset: filesize) -> result<tuple<list<u8>, bool>, error-code>
        (
            vec![descriptor, u64, u64],
            Some(read),
            "i32 i64 i64 i32",
            "",
        ),
        // descriptor.set-size: func(size: filesize) -> result<_, error-code>
        (vec![descriptor, u64], Some(nothing), "i32 i64 i32", ""),
        // descriptor.set-times-at
        (
            vec![descriptor, flags, string, timestamp, timestamp],
            Some(nothing),
            "i32 i32 i32 i32 i32 i64 i32 i32 i64 i32 i32",
            "",
        ),
        // cli/exit.exit: func(status: result)
        (vec![status], None, "i32", ""),
        // cli/run.run: func() -> result
        (vec![], Some(status), "", "i32"),
        // monotonic-clock.now: func() -> instant
        (vec![], Some(u64), "", "i64"),
        // wall-clock.now: func() -> datetime
        (vec![], Some(datetime), "i32", ""),
        // random.get-random-bytes: func(len: u64) -> list<u8>
        (vec![u64], Some(bytes), "i64 i32", ""),
    ];
    for (parameters, result, flat, results) in rows {
        let id = types
            .define_func(params(&parameters), result, false)
            .expect("it is a type");
        let found = types
            .func(id)
            .core_signature(CallKind::Lower, AddressType::I32);
        assert_eq!(found, signature(flat, results));
    }
}

#[test]
fn core_signatures_depend_on_the_way() {
    let mut types = Types::new();
    let five = params(&[ValType::F32; 5]);
    let five = types
        .define_func(five, Some(ValType::F64), true)
        .expect("it is a type");
    let many = params(&[ValType::U8; 17]);
    let many = types
        .define_func(many, Some(ValType::String), true)
        .expect("it is a type");
    let rows = [
        (five, CallKind::Lift, "f32 f32 f32 f32 f32", "f64"),
        (five, CallKind::LiftAsync, "f32 f32 f32 f32 f32", ""),
        (five, CallKind::LiftCallback, "f32 f32 f32 f32 f32", "i32"),
        (five, CallKind::Lower, "f32 f32 f32 f32 f32", "f64"),
        (five, CallKind::LowerAsync, "i64 i64", "i32"),
        (many, CallKind::Lift, "i64", "i64"),
        (many, CallKind::LiftAsync, "i64", ""),
        (many, CallKind::LiftCallback, "i64", "i32"),
        (many, CallKind::Lower, "i64 i64", ""),
        (many, CallKind::LowerAsync, "i64 i64", "i32"),
    ];
    for (func, kind, flat, results) in rows {
        let found = types.func(func).core_signature(kind, AddressType::I64);
        assert_eq!(found, signature(flat, results), "{kind:?}");
    }
    assert!(types.func(five).is_async());
}

#[test]
fn cases_share_core_values() {
    let (i32, i64, f32, f64) = (FlatType::I32, FlatType::I64, FlatType::F32, FlatType::F64);
    for (a, b, joined) in [
        (i32, i32, i32),
        (f32, f32, f32),
        (f64, f64, f64),
        (i32, f32, i32),
        (i32, i64, i64),
        (i32, f64, i64),
        (i64, f32, i64),
        (i64, f64, i64),
        (f32, f64, i64),
    ] {
        assert_eq!(a.join(b), joined);
        assert_eq!(b.join(a), joined);
    }
}
