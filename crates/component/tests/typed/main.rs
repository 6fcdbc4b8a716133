//! Rust types pass as the values do that they stand for.

#[path = "../model/mod.rs"]
mod model;

mod alike;
mod embedder;
mod mismatch;

use alike::{all_options, list, option, same, same_result, vals};
use model::Func;
use model::guest::TestGuest;
use model::ty::Ty;
use proptest::prelude::*;
use tiered_component::Val;
use tiered_component::abi::{LiftContext, LowerContext, Options, Params};
use tiered_component::types::CallKind;

#[test]
fn scalars() {
    same(&[], &(), &[]);
    same(
        &[
            Ty::Bool,
            Ty::U8,
            Ty::U16,
            Ty::U32,
            Ty::U64,
            Ty::S8,
            Ty::S16,
            Ty::S32,
            Ty::S64,
        ],
        &(
            true,
            255u8,
            65535u16,
            u32::MAX,
            u64::MAX,
            -1i8,
            -2i16,
            -3i32,
            -4i64,
        ),
        &[
            true.into(),
            255u8.into(),
            65535u16.into(),
            u32::MAX.into(),
            u64::MAX.into(),
            (-1i8).into(),
            (-2i16).into(),
            (-3i32).into(),
            (-4i64).into(),
        ],
    );
    same(
        &[Ty::F32, Ty::F64, Ty::Char, Ty::String],
        &(-0.0f32, f64::INFINITY, '\u{10ffff}', "aé€𝄞".to_owned()),
        &[
            (-0.0f32).into(),
            f64::INFINITY.into(),
            '\u{10ffff}'.into(),
            "aé€𝄞".into(),
        ],
    );
}

#[test]
fn there_is_one_nan() {
    let func = Func::new(vec![Ty::F32, list(Ty::F64)], None).expect("the types are right");
    let params = (
        f32::from_bits(0xffc0_0001),
        vec![f64::from_bits(0xfff8_0000_0000_0001)],
    );
    let mut guest = TestGuest::default();
    let mut cx = LowerContext::new(&func.types, Options::default(), &mut guest);
    let flat = cx
        .params_as(func.id, CallKind::Lift, &params)
        .expect("it is right");
    assert_eq!(flat[0], 0x7fc0_0000);
    let begin = flat[1] as usize;
    assert_eq!(
        guest.memory[begin..],
        0x7ff8_0000_0000_0000u64.to_le_bytes()
    );
    guest.memory[begin..].copy_from_slice(&0xfff0_0000_0000_0001u64.to_le_bytes());
    let memory = guest.memory.clone();
    let flat = [0xff80_0001, flat[1], flat[2]];
    let mut cx = LiftContext::new(&func.types, Options::default(), &memory, &flat, &mut guest);
    let lifted = cx
        .params_as::<(f32, Vec<f64>)>(func.id, CallKind::Lower)
        .expect("it is right");
    assert_eq!(lifted.0.to_bits(), 0x7fc0_0000);
    assert_eq!(lifted.1[0].to_bits(), 0x7ff8_0000_0000_0000);
}

#[test]
fn lists() {
    same(
        &[
            list(Ty::U8),
            list(Ty::S16),
            list(Ty::U32),
            list(Ty::S64),
            list(Ty::F32),
            list(Ty::F64),
        ],
        &(
            vec![1u8, 2, 255],
            vec![-1i16, 2],
            vec![u32::MAX],
            vec![i64::MIN, 7],
            vec![1.5f32, -0.0],
            Vec::<f64>::new(),
        ),
        &[
            vals(&[1u8, 2, 255]),
            vals(&[-1i16, 2]),
            vals(&[u32::MAX]),
            vals(&[i64::MIN, 7]),
            vals(&[1.5f32, -0.0]),
            vals::<f64>(&[]),
        ],
    );
    same(
        &[list(Ty::Bool), list(Ty::Char), list(list(Ty::String))],
        &(
            vec![true, false],
            vec!['a', 'ß'],
            vec![
                vec!["x".to_owned()],
                vec![],
                vec!["y".to_owned(), "€".to_owned()],
            ],
        ),
        &[
            vals(&[true, false]),
            vals(&['a', 'ß']),
            Val::List(vec![vals(&["x"]), vals::<u8>(&[]), vals(&["y", "€"])]),
        ],
    );
    let fixed = |ty, length| Ty::FixedList(Box::new(ty), length);
    same(
        &[fixed(Ty::U8, 3), fixed(Ty::String, 2)],
        &([1u8, 2, 3], ["a".to_owned(), "b".to_owned()]),
        &[vals(&[1u8, 2, 3]), vals(&["a", "b"])],
    );
    same(
        &[fixed(fixed(Ty::S16, 9), 2), list(fixed(Ty::F32, 2))],
        &([[-5i16; 9], [6; 9]], vec![[1.0f32, 2.0], [3.0, 4.0]]),
        &[
            Val::List(vec![vals(&[-5i16; 9]), vals(&[6i16; 9])]),
            Val::List(vec![vals(&[1.0f32, 2.0]), vals(&[3.0f32, 4.0])]),
        ],
    );
}

#[test]
fn what_is_borrowed_is_lowered_alike() {
    let types = [list(Ty::U8), Ty::String, list(Ty::String)];
    let func = Func::new(types.to_vec(), None).expect("the types are right");
    let params = func.types.func(func.id).params();
    type Borrowed<'a> = (&'a [u8], &'a str, &'a [&'a str]);
    <Borrowed<'_> as Params>::check_params(&func.types, params).expect("they stand for them");
    let lower = |params: &dyn Fn(&mut LowerContext<'_>) -> Vec<u64>| {
        let mut guest = TestGuest::default();
        let mut cx = LowerContext::new(&func.types, Options::default(), &mut guest);
        (params(&mut cx), guest)
    };
    let texts = ["a", "b"].map(str::to_owned);
    let owned = (vec![1u8, 2], "text".to_owned(), texts.to_vec());
    let borrowed: Borrowed<'_> = (&[1, 2], "text", &["a", "b"]);
    let kind = CallKind::Lift;
    assert_eq!(
        lower(&|cx| cx
            .params_as(func.id, kind, &owned)
            .expect("it is right")
            .to_vec()),
        lower(&|cx| cx
            .params_as(func.id, kind, &borrowed)
            .expect("it is right")
            .to_vec()),
    );
}

#[test]
fn options_results_and_tuples() {
    let result = |ok: Option<Ty>, err: Option<Ty>| Ty::Result(ok.map(Box::new), err.map(Box::new));
    same(
        &[option(Ty::U8), option(option(Ty::String)), option(Ty::F64)],
        &(Some(7u8), Some(None::<String>), Some(1.5f64)),
        &[
            Val::some(7u8.into()),
            Val::some(Val::none()),
            Val::some(1.5f64.into()),
        ],
    );
    same(
        &[
            result(None, None),
            result(None, Some(Ty::U64)),
            result(Some(Ty::F32), Some(Ty::S8)),
            result(Some(Ty::F32), Some(Ty::S8)),
        ],
        &(
            Ok::<(), ()>(()),
            Err::<(), u64>(9),
            Ok::<f32, i8>(2.5),
            Err::<f32, i8>(-1),
        ),
        &[
            Val::Result(Ok(None)),
            Val::err(9u64.into()),
            Val::ok(2.5f32.into()),
            Val::err((-1i8).into()),
        ],
    );
    same_result(Ty::U8, &7u8, &7u8.into());
    same_result(Ty::String, &"ß".to_owned(), &"ß".into());
    same_result(
        result(Some(list(Ty::U8)), Some(Ty::String)),
        &Err::<Vec<u8>, _>("no".to_owned()),
        &Val::err("no".into()),
    );
}

/// Rust compares and shows tuples only up to 12 fields, so what is lifted is lowered once more.
#[test]
fn the_longest_tuple() {
    type Many = (
        u8,
        u16,
        u32,
        u64,
        u8,
        u16,
        u32,
        u64,
        u8,
        u16,
        u32,
        u64,
        u8,
        u8,
        i8,
        f32,
    );
    let many: Many = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, -15, 16.0);
    let (a, b, c, d) = (Ty::U8, Ty::U16, Ty::U32, Ty::U64);
    let four = [a, b, c, d];
    let mut types = [four.clone(), four.clone(), four].concat();
    types.extend([Ty::U8, Ty::U8, Ty::S8, Ty::F32]);
    let mut values = Vec::new();
    for first in [1u8, 5, 9] {
        let [second, third, fourth] = [1, 2, 3].map(|more| u64::from(first + more));
        let three: [Val; 3] = [(second as u16).into(), (third as u32).into(), fourth.into()];
        values.push(first.into());
        values.extend(three);
    }
    values.extend([13u8.into(), 14u8.into(), (-15i8).into(), 16f32.into()]);
    for (types, values) in [
        (types.clone(), values.clone()),
        (vec![Ty::Tuple(types)], vec![Val::Tuple(values)]),
    ] {
        let func = Func::new(types, None).expect("the types are right");
        let params = func.types.func(func.id).params();
        for options in all_options() {
            let (mut guest, mut other) = (TestGuest::default(), TestGuest::default());
            let mut cx = LowerContext::new(&func.types, options, &mut other);
            let expected = cx
                .params(func.id, CallKind::Lift, &values)
                .expect("they are right");
            let lower = |many: Many, guest: &mut TestGuest| {
                let mut cx = LowerContext::new(&func.types, options, guest);
                let flat = match params.len() {
                    1 => cx.params_as(func.id, CallKind::Lift, &(many,)),
                    _ => cx.params_as(func.id, CallKind::Lift, &many),
                };
                assert_eq!(*flat.expect("it is right"), *expected);
            };
            lower(many, &mut guest);
            assert_eq!(guest, other);
            let mut cx = LiftContext::new(&func.types, options, &[], &expected, &mut guest);
            let lifted = match params.len() {
                1 => cx
                    .params_as::<(Many,)>(func.id, CallKind::Lower)
                    .map(|(many,)| many),
                _ => cx.params_as::<Many>(func.id, CallKind::Lower),
            };
            lower(lifted.expect("it was lowered"), &mut guest);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_values_pass_alike(
        number in any::<i16>(),
        texts in proptest::collection::vec(any::<Option<String>>(), 0..4),
        result in any::<Result<u64, (f32, char)>>(),
        bytes in any::<Vec<u8>>(),
    ) {
        let result = match result {
            Err((value, char)) if value.is_nan() => Err((0.0, char)),
            other => other,
        };
        let types = [
            Ty::S16,
            list(option(Ty::String)),
            Ty::Result(
                Some(Box::new(Ty::U64)),
                Some(Box::new(Ty::Tuple(vec![Ty::F32, Ty::Char]))),
            ),
            list(Ty::U8),
        ];
        let text = |text: &Option<String>| match text {
            Some(text) => Val::some(text.as_str().into()),
            None => Val::none(),
        };
        let values = [
            Val::S16(number),
            Val::List(texts.iter().map(text).collect()),
            match result {
                Ok(value) => Val::ok(value.into()),
                Err((value, char)) => Val::err(Val::Tuple(vec![value.into(), char.into()])),
            },
            vals(&bytes),
        ];
        same(&types, &(number, texts, result, bytes), &values);
    }
}
