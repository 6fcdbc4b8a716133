//! A record, a variant, an enum and flags of an embedder's.

use tiered_component::abi::{
    AbiError, ComponentType, Cursor, Lift, LiftContext, Lower, LowerContext, Options, TypeMismatch,
};
use tiered_component::types::{Abi, CallKind, Types, ValType};
use tiered_component::{Handle, Val};

use crate::alike::{list, option, same, same_result};
use crate::model::Func;
use crate::model::guest::TestGuest;
use crate::model::ty::Ty;

#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Point {
    x: u8,
    y: f64,
    handle: Handle,
}

impl ComponentType for Point {
    const ABI: Abi = Abi::record(&[u8::ABI, f64::ABI, Handle::ABI]);

    fn check(types: &Types, ty: ValType) -> Result<(), TypeMismatch> {
        types.check_record(
            ty,
            &[
                ("x", u8::check),
                ("y", f64::check),
                ("handle", Handle::check),
            ],
        )
    }
}

impl Lift for Point {
    fn lift(cx: &mut LiftContext<'_>, mut at: Cursor) -> Result<Point, AbiError> {
        Ok(Point {
            x: cx.field(&mut at, "x")?,
            y: cx.field(&mut at, "y")?,
            handle: cx.field(&mut at, "handle")?,
        })
    }
}

impl Lower for Point {
    fn lower(&self, cx: &mut LowerContext<'_>, mut at: Cursor) -> Result<(), AbiError> {
        cx.field(&mut at, "x", &self.x)?;
        cx.field(&mut at, "y", &self.y)?;
        cx.field(&mut at, "handle", &self.handle)
    }
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Shape {
    Nothing,
    Points(Vec<Point>),
    Named(String),
}

impl ComponentType for Shape {
    const ABI: Abi = Abi::variant(&[None, Some(<Vec<Point>>::ABI), Some(String::ABI)]);

    fn check(types: &Types, ty: ValType) -> Result<(), TypeMismatch> {
        let cases = [
            ("nothing", None),
            (
                "points",
                Some(<Vec<Point>>::check as tiered_component::abi::Check),
            ),
            ("named", Some(String::check)),
        ];
        types.check_variant(ty, &cases)
    }
}

impl Lift for Shape {
    fn lift(cx: &mut LiftContext<'_>, mut at: Cursor) -> Result<Shape, AbiError> {
        Ok(match cx.case::<Shape>(&mut at, 3)? {
            0 => Shape::Nothing,
            1 => Shape::Points(cx.field(&mut at, "points")?),
            _ => Shape::Named(cx.field(&mut at, "named")?),
        })
    }
}

impl Lower for Shape {
    fn lower(&self, cx: &mut LowerContext<'_>, mut at: Cursor) -> Result<(), AbiError> {
        match self {
            Shape::Nothing => cx.case::<Shape>(&mut at, 3, 0),
            Shape::Points(points) => {
                cx.case::<Shape>(&mut at, 3, 1)?;
                cx.field(&mut at, "points", points)
            }
            Shape::Named(name) => {
                cx.case::<Shape>(&mut at, 3, 2)?;
                cx.field(&mut at, "named", name)
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Level {
    Low,
    High,
}

impl ComponentType for Level {
    const ABI: Abi = Abi::discriminant(2);

    fn check(types: &Types, ty: ValType) -> Result<(), TypeMismatch> {
        types.check_variant(ty, &[("low", None), ("high", None)])
    }
}

impl Lift for Level {
    fn lift(cx: &mut LiftContext<'_>, mut at: Cursor) -> Result<Level, AbiError> {
        let case = cx.case::<Level>(&mut at, 2)?;
        Ok(if case == 0 { Level::Low } else { Level::High })
    }
}

impl Lower for Level {
    fn lower(&self, cx: &mut LowerContext<'_>, mut at: Cursor) -> Result<(), AbiError> {
        cx.case::<Level>(&mut at, 2, *self as u32)
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Rights(u32);

impl ComponentType for Rights {
    const ABI: Abi = Abi::flags(3);

    fn check(types: &Types, ty: ValType) -> Result<(), TypeMismatch> {
        types.check_flags(ty, &["read", "write", "run"])
    }
}

impl Lift for Rights {
    fn lift(cx: &mut LiftContext<'_>, at: Cursor) -> Result<Rights, AbiError> {
        Ok(Rights(cx.flags(at, 3)?))
    }
}

impl Lower for Rights {
    fn lower(&self, cx: &mut LowerContext<'_>, at: Cursor) -> Result<(), AbiError> {
        cx.flags(at, 3, self.0)
    }
}

fn point_ty() -> Ty {
    Ty::Record(vec![
        ("x".into(), Ty::U8),
        ("y".into(), Ty::F64),
        ("handle".into(), Ty::Own(2)),
    ])
}

fn shape_ty() -> Ty {
    Ty::Variant(vec![
        ("nothing".into(), None),
        ("points".into(), Some(list(point_ty()))),
        ("named".into(), Some(Ty::String)),
    ])
}

fn level_ty() -> Ty {
    Ty::Enum(vec!["low".into(), "high".into()])
}

fn rights_ty() -> Ty {
    Ty::Flags(["read", "write", "run"].map(Into::into).to_vec())
}

#[test]
fn types_of_an_embedder() {
    let handle = |index| Handle { owner: 5, index };
    let point = |x, y, index| Point {
        x,
        y,
        handle: handle(index),
    };
    let point_val = |x: u8, y: f64, index| {
        Val::Record(vec![
            ("x".into(), x.into()),
            ("y".into(), y.into()),
            ("handle".into(), Val::Resource(handle(index))),
        ])
    };
    same(
        &[point_ty(), shape_ty(), shape_ty(), level_ty(), rights_ty()],
        &(
            point(1, 2.0, 8),
            Shape::Points(vec![point(3, 4.0, 16), point(5, 6.0, 24)]),
            Shape::Nothing,
            Level::High,
            Rights(5),
        ),
        &[
            point_val(1, 2.0, 8),
            Val::Variant(
                "points".into(),
                Some(Box::new(Val::List(vec![
                    point_val(3, 4.0, 16),
                    point_val(5, 6.0, 24),
                ]))),
            ),
            Val::Variant("nothing".into(), None),
            Val::Enum("high".into()),
            Val::Flags(vec!["read".into(), "run".into()]),
        ],
    );
    same_result(
        list(Ty::Tuple(vec![
            level_ty(),
            option(Ty::Stream(None)),
            shape_ty(),
        ])),
        &vec![(Level::Low, Some(handle(8)), Shape::Named("n".into()))],
        &Val::List(vec![Val::Tuple(vec![
            Val::Enum("low".into()),
            Val::some(Val::Stream(handle(8))),
            Val::Variant("named".into(), Some(Box::new("n".into()))),
        ])]),
    );
    let result = |ok, err| Ty::Result(Some(Box::new(ok)), Some(Box::new(err)));
    same(
        &[
            result(Ty::Own(1), Ty::Borrow(2)),
            result(Ty::Own(1), Ty::Borrow(2)),
            Ty::ErrorContext,
        ],
        &(
            Ok::<Handle, Handle>(handle(8)),
            Err::<Handle, Handle>(handle(16)),
            handle(0),
        ),
        &[
            Val::ok(Val::Resource(handle(8))),
            Val::err(Val::Resource(handle(16))),
            Val::ErrorContext(handle(0)),
        ],
    );
    same(
        &[Ty::FixedList(Box::new(point_ty()), 2)],
        &([point(1, 2.0, 8), point(3, 4.0, 16)],),
        &[Val::List(vec![point_val(1, 2.0, 8), point_val(3, 4.0, 16)])],
    );
}

/// Bits of flags without a label are neither lifted nor lowered.
#[test]
fn flags_are_masked() {
    let func = Func::new(vec![rights_ty()], None).expect("the type is right");
    let mut guest = TestGuest::default();
    let mut cx = LowerContext::new(&func.types, Options::default(), &mut guest);
    let flat = cx.params_as(func.id, CallKind::Lift, &(Rights(0xffff_fffe),));
    assert_eq!(*flat.expect("it is right"), [6]);
    let mut cx = LiftContext::new(&func.types, Options::default(), &[], &[0xfa], &mut guest);
    let lifted = cx.params_as::<(Rights,)>(func.id, CallKind::Lower);
    assert_eq!(lifted.expect("it is right"), (Rights(2),));
    let all = Func::new(
        vec![Ty::Flags((0..32).map(|n| n.to_string()).collect())],
        None,
    );
    let all = all.expect("the type is right");
    let mut cx = LiftContext::new(&all.types, Options::default(), &[], &[u64::MAX], &mut guest);
    let lifted = cx.params(all.id, CallKind::Lower).expect("it is right");
    assert!(matches!(&lifted[..], [Val::Flags(set)] if set.len() == 32));
}

#[test]
fn errors_name_parameters_and_fields() {
    let func = Func::new(
        vec![Ty::U8, Ty::Tuple(vec![Ty::U8, list(point_ty())])],
        None,
    );
    let func = func.expect("the types are right");
    type P = (u8, (u8, Vec<Point>));
    let mut memory = vec![0; 48];
    memory[24 + 16] = 7;
    let flat = [0, 0, 0, 2];
    let mut guest = TestGuest::default();
    let mut cx = LiftContext::new(&func.types, Options::default(), &memory, &flat, &mut guest);
    let error = cx
        .params_as::<P>(func.id, CallKind::Lower)
        .expect_err("there is no such handle");
    assert_eq!(
        error.to_string(),
        "param \"p1\".1[1].handle: unknown handle index 7"
    );
    let mut cx = LiftContext::new(&func.types, Options::default(), &memory, &flat, &mut guest);
    let error = cx
        .params(func.id, CallKind::Lower)
        .expect_err("there is no such handle");
    assert_eq!(
        error.to_string(),
        "param \"p1\".1[1].handle: unknown handle index 7"
    );
}
