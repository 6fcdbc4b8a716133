//! Values of a script: arguments as the script writes them, results as it expects them.
//!
//! Invariant: floats are compared by their bits; a NaN pattern names a class of bits, as the spec does.

use tiered::decode::types::{self, AbstractHeapType as Type, TopType, ValType};
use tiered::{AnyRef, AnyStore, ExternRef, Val};
use wast::core::{AbstractHeapType, HeapType, NanPattern, V128Pattern, WastArgCore, WastRetCore};
use wast::token::{F32, F64};

/// What `(ref.extern n)` and `(ref.host n)` stand for inside the store.
struct ScriptRef(u32);

/// The value of an argument; `ty` is what the function takes in its place.
///
/// # Errors
/// There is no room for it, or it is of a type that no function of the accepted proposals takes.
pub(crate) fn argument(
    store: &mut AnyStore,
    arg: &WastArgCore<'_>,
    ty: Option<ValType>,
) -> Result<Val, String> {
    Ok(match arg {
        WastArgCore::I32(n) => Val::I32(*n),
        WastArgCore::I64(n) => Val::I64(*n),
        WastArgCore::F32(x) => Val::F32(x.bits),
        WastArgCore::F64(x) => Val::F64(x.bits),
        WastArgCore::RefNull(heap) => null(heap, ty).ok_or("not supported: null of this type")?,
        WastArgCore::RefExtern(n) => Val::ExternRef(Some(script_value(store, *n)?)),
        WastArgCore::RefHost(n) => Val::AnyRef(Some(script_value(store, *n)?.to_any())),
        WastArgCore::V128(x) => Val::V128(u128::from_le_bytes(x.to_le_bytes())),
    })
}

fn script_value(store: &mut AnyStore, n: u32) -> Result<ExternRef, String> {
    ExternRef::new(store, ScriptRef(n)).map_err(|error| error.to_string())
}

/// The null of a type, or of that which the function takes: a script can't say what the types of modules are.
fn null(heap: &HeapType<'_>, ty: Option<ValType>) -> Option<Val> {
    let top = match (heap, ty) {
        (HeapType::Concrete(_), Some(ValType::Ref(ty))) => Some(ty.top()),
        _ => top(heap),
    };
    Some(match top? {
        TopType::Func => Val::FuncRef(None),
        TopType::Extern => Val::ExternRef(None),
        TopType::Exn => Val::ExnRef(None),
        TopType::Any => Val::AnyRef(None),
    })
}

/// The type at the top of the hierarchy; `None` for one of a module, and for those of proposals that are not accepted.
fn top(ty: &HeapType<'_>) -> Option<TopType> {
    use AbstractHeapType as T;
    let HeapType::Abstract { shared: false, ty } = ty else {
        return None;
    };
    Some(match ty {
        T::Func | T::NoFunc => TopType::Func,
        T::Extern | T::NoExtern => TopType::Extern,
        T::Exn | T::NoExn => TopType::Exn,
        T::Any | T::Eq | T::I31 | T::Struct | T::Array | T::None => TopType::Any,
        T::Cont | T::NoCont => return None,
    })
}

/// The hierarchy of a value that is null.
fn null_top(value: &Val) -> Option<TopType> {
    Some(match value {
        Val::FuncRef(None) => TopType::Func,
        Val::ExternRef(None) => TopType::Extern,
        Val::ExnRef(None) => TopType::Exn,
        Val::AnyRef(None) => TopType::Any,
        _ => return None,
    })
}

/// Whether `found` is what the script expects.
pub(crate) fn matches(store: &AnyStore, found: &Val, expected: &WastRetCore<'_>) -> bool {
    match (expected, found) {
        (WastRetCore::I32(n), Val::I32(found)) => n == found,
        (WastRetCore::I64(n), Val::I64(found)) => n == found,
        (WastRetCore::F32(pattern), Val::F32(found)) => f32_matches(*found, pattern),
        (WastRetCore::F64(pattern), Val::F64(found)) => f64_matches(*found, pattern),
        (WastRetCore::V128(pattern), Val::V128(found)) => v128_matches(*found, pattern),
        (WastRetCore::RefNull(None | Some(HeapType::Concrete(_))), found) => {
            null_top(found).is_some()
        }
        (WastRetCore::RefNull(Some(ty)), found) => top(ty).is_some() && top(ty) == null_top(found),
        // Which function it is cannot be said in the text: an index means nothing outside its module.
        (WastRetCore::RefFunc(_), Val::FuncRef(found)) => found.is_some(),
        (WastRetCore::RefExtern(None), Val::ExternRef(found)) => found.is_some(),
        (WastRetCore::RefExtern(Some(n)), Val::ExternRef(Some(found))) => {
            script_ref(store, found) == Some(*n)
        }
        (WastRetCore::RefHost(n), Val::AnyRef(Some(found))) => {
            script_ref(store, &found.to_extern()) == Some(*n)
        }
        (WastRetCore::RefAny, Val::AnyRef(Some(_))) => true,
        (WastRetCore::RefEq, Val::AnyRef(Some(found))) => is_a(store, found, Type::Eq),
        (WastRetCore::RefI31, Val::AnyRef(Some(found))) => is_a(store, found, Type::I31),
        (WastRetCore::RefStruct, Val::AnyRef(Some(found))) => is_a(store, found, Type::Struct),
        (WastRetCore::RefArray, Val::AnyRef(Some(found))) => is_a(store, found, Type::Array),
        (WastRetCore::Either(cases), found) => cases.iter().any(|case| matches(store, found, case)),
        _ => false,
    }
}

fn f32_matches(found: u32, pattern: &NanPattern<F32>) -> bool {
    match pattern {
        NanPattern::CanonicalNan => f32_is_canonical_nan(found),
        NanPattern::ArithmeticNan => f32_is_arithmetic_nan(found),
        NanPattern::Value(x) => x.bits == found,
    }
}

fn f64_matches(found: u64, pattern: &NanPattern<F64>) -> bool {
    match pattern {
        NanPattern::CanonicalNan => f64_is_canonical_nan(found),
        NanPattern::ArithmeticNan => f64_is_arithmetic_nan(found),
        NanPattern::Value(x) => x.bits == found,
    }
}

/// The lanes of a vector, of `bits` bits each, the first one first.
fn lanes(vector: u128, bits: usize) -> impl Iterator<Item = u64> {
    let mask = u128::MAX >> (128 - bits);
    (0..128)
        .step_by(bits)
        .map(move |at| (vector >> at & mask) as u64)
}

fn v128_matches(found: u128, pattern: &V128Pattern) -> bool {
    match pattern {
        V128Pattern::I8x16(lanes_of) => lanes(found, 8).eq(lanes_of.map(|n| n as u8 as u64)),
        V128Pattern::I16x8(lanes_of) => lanes(found, 16).eq(lanes_of.map(|n| n as u16 as u64)),
        V128Pattern::I32x4(lanes_of) => lanes(found, 32).eq(lanes_of.map(|n| n as u32 as u64)),
        V128Pattern::I64x2(lanes_of) => lanes(found, 64).eq(lanes_of.map(|n| n as u64)),
        V128Pattern::F32x4(patterns) => {
            let mut pairs = lanes(found, 32).zip(patterns);
            pairs.all(|(lane, pattern)| f32_matches(lane as u32, pattern))
        }
        V128Pattern::F64x2(patterns) => {
            let mut pairs = lanes(found, 64).zip(patterns);
            pairs.all(|(lane, pattern)| f64_matches(lane, pattern))
        }
    }
}

fn f32_is_canonical_nan(bits: u32) -> bool {
    bits & 0x7fff_ffff == 0x7fc0_0000
}

fn f32_is_arithmetic_nan(bits: u32) -> bool {
    bits & 0x7fc0_0000 == 0x7fc0_0000
}

fn f64_is_canonical_nan(bits: u64) -> bool {
    bits & 0x7fff_ffff_ffff_ffff == 0x7ff8_0000_0000_0000
}

fn f64_is_arithmetic_nan(bits: u64) -> bool {
    bits & 0x7ff8_0000_0000_0000 == 0x7ff8_0000_0000_0000
}

fn is_a(store: &AnyStore, found: &AnyRef, ty: Type) -> bool {
    found.matches(types::HeapType::Abstract(ty), store)
}

fn script_ref(store: &AnyStore, reference: &ExternRef) -> Option<u32> {
    reference
        .data(store)
        .downcast_ref::<ScriptRef>()
        .map(|ScriptRef(n)| *n)
}

/// A list of values in the text of a script; `nothing` where it is empty.
pub(crate) fn list(values: impl Iterator<Item = String>) -> String {
    let values: Vec<_> = values.collect();
    if values.is_empty() {
        "nothing".into()
    } else {
        values.join(" ")
    }
}

/// A value in the text of a script.
pub(crate) fn text(store: &AnyStore, value: &Val) -> String {
    match value {
        Val::I32(n) => format!("(i32.const {n})"),
        Val::I64(n) => format!("(i64.const {n})"),
        Val::F32(bits) => f32_text(*bits),
        Val::F64(bits) => f64_text(*bits),
        Val::V128(bits) => v128_text(
            "i32x4",
            lanes(*bits, 32).map(|lane| format!("{lane:#010x}")),
        ),
        Val::FuncRef(None) => "(ref.null func)".into(),
        Val::FuncRef(Some(_)) => "(ref.func)".into(),
        Val::ExnRef(None) => "(ref.null exn)".into(),
        Val::ExnRef(Some(_)) => "(ref.exn)".into(),
        Val::AnyRef(None) => "(ref.null any)".into(),
        Val::AnyRef(Some(reference)) => any_text(store, reference),
        Val::ExternRef(None) => "(ref.null extern)".into(),
        Val::ExternRef(Some(reference)) => match script_ref(store, reference) {
            Some(n) => format!("(ref.extern {n})"),
            None => "(ref.extern)".into(),
        },
    }
}

fn any_text(store: &AnyStore, reference: &AnyRef) -> String {
    if let Some(n) = reference.i31(store) {
        format!("(ref.i31 (;{n};))")
    } else if reference.to_struct(store).is_some() {
        "(ref.struct)".into()
    } else if reference.to_array(store).is_some() {
        "(ref.array)".into()
    } else {
        match script_ref(store, &reference.to_extern()) {
            Some(n) => format!("(ref.host {n})"),
            None => "(ref.any)".into(),
        }
    }
}

/// An expected value in the text of a script.
pub(crate) fn expected_text(expected: &WastRetCore<'_>) -> String {
    match expected {
        WastRetCore::I32(n) => format!("(i32.const {n})"),
        WastRetCore::I64(n) => format!("(i64.const {n})"),
        WastRetCore::F32(NanPattern::Value(x)) => f32_text(x.bits),
        WastRetCore::F32(class) => format!("(f32.const {})", nan_text(class)),
        WastRetCore::F64(NanPattern::Value(x)) => f64_text(x.bits),
        WastRetCore::F64(class) => format!("(f64.const {})", nan_text(class)),
        WastRetCore::V128(pattern) => pattern_text(pattern),
        WastRetCore::RefNull(None) => "(ref.null)".into(),
        WastRetCore::RefNull(Some(ty)) => match top(ty) {
            Some(TopType::Func) => "(ref.null func)".into(),
            Some(TopType::Extern) => "(ref.null extern)".into(),
            Some(TopType::Exn) => "(ref.null exn)".into(),
            Some(TopType::Any) => "(ref.null any)".into(),
            None => "(ref.null ...)".into(),
        },
        WastRetCore::RefHost(n) => format!("(ref.host {n})"),
        WastRetCore::RefAny => "(ref.any)".into(),
        WastRetCore::RefEq => "(ref.eq)".into(),
        WastRetCore::RefI31 => "(ref.i31)".into(),
        WastRetCore::RefStruct => "(ref.struct)".into(),
        WastRetCore::RefArray => "(ref.array)".into(),
        WastRetCore::RefExtern(Some(n)) => format!("(ref.extern {n})"),
        WastRetCore::RefExtern(None) => "(ref.extern)".into(),
        WastRetCore::RefFunc(_) => "(ref.func)".into(),
        WastRetCore::Either(cases) => format!("(either {})", list(cases.iter().map(expected_text))),
        other => format!("{other:?}"),
    }
}

fn nan_text<T>(pattern: &NanPattern<T>) -> &'static str {
    match pattern {
        NanPattern::CanonicalNan => "nan:canonical",
        NanPattern::ArithmeticNan => "nan:arithmetic",
        NanPattern::Value(_) => "a value",
    }
}

fn v128_text(shape: &str, lanes: impl Iterator<Item = String>) -> String {
    format!("(v128.const {shape} {})", list(lanes))
}

fn pattern_text(pattern: &V128Pattern) -> String {
    match pattern {
        V128Pattern::I8x16(lanes) => {
            v128_text("i8x16", lanes.iter().map(|lane| format!("{lane:#04x}")))
        }
        V128Pattern::I16x8(lanes) => {
            v128_text("i16x8", lanes.iter().map(|lane| format!("{lane:#06x}")))
        }
        V128Pattern::I32x4(lanes) => {
            v128_text("i32x4", lanes.iter().map(|lane| format!("{lane:#010x}")))
        }
        V128Pattern::I64x2(lanes) => {
            v128_text("i64x2", lanes.iter().map(|lane| format!("{lane:#018x}")))
        }
        V128Pattern::F32x4(lanes) => v128_text(
            "f32x4",
            lanes.iter().map(|lane| match lane {
                NanPattern::Value(x) => {
                    format!("{:?} (;{:#010x};)", f32::from_bits(x.bits), x.bits)
                }
                class => nan_text(class).to_owned(),
            }),
        ),
        V128Pattern::F64x2(lanes) => v128_text(
            "f64x2",
            lanes.iter().map(|lane| match lane {
                NanPattern::Value(x) => {
                    format!("{:?} (;{:#018x};)", f64::from_bits(x.bits), x.bits)
                }
                class => nan_text(class).to_owned(),
            }),
        ),
    }
}

fn f32_text(bits: u32) -> String {
    format!("(f32.const {:?} (;{bits:#010x};))", f32::from_bits(bits))
}

fn f64_text(bits: u64) -> String {
    format!("(f64.const {:?} (;{bits:#018x};))", f64::from_bits(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_classes_are_the_specs() {
        assert!(f32_is_canonical_nan(0x7fc0_0000) && f32_is_canonical_nan(0xffc0_0000));
        assert!(!f32_is_canonical_nan(0x7fc0_0001) && !f32_is_canonical_nan(0x7f80_0000));
        assert!(f32_is_arithmetic_nan(0x7fc0_0001) && f32_is_arithmetic_nan(0xffff_ffff));
        assert!(
            !f32_is_arithmetic_nan(0x7fa0_0000),
            "a signaling NaN is not arithmetic"
        );
        assert!(
            f64_is_canonical_nan(0xfff8_0000_0000_0000)
                && !f64_is_canonical_nan(0x7ff8_0000_0000_0001)
        );
        assert!(
            f64_is_arithmetic_nan(0x7ff8_0000_0000_0001)
                && !f64_is_arithmetic_nan(0x7ff4_0000_0000_0000)
        );
        assert!(!f64_is_arithmetic_nan(f64::INFINITY.to_bits()));
    }

    #[test]
    fn vectors_match_by_lane() {
        let vector = 0x7fc0_0001_ffff_fffe_7fc0_0000_0000_0001_u128;
        let floats = |first, last| {
            let value = |bits| NanPattern::Value(F32 { bits });
            V128Pattern::F32x4([
                value(first),
                NanPattern::CanonicalNan,
                value(u32::MAX - 1),
                last,
            ])
        };
        assert!(v128_matches(vector, &floats(1, NanPattern::ArithmeticNan)));
        assert!(!v128_matches(vector, &floats(1, NanPattern::CanonicalNan)));
        assert!(!v128_matches(vector, &floats(2, NanPattern::ArithmeticNan)));
        assert!(v128_matches(
            vector,
            &V128Pattern::I32x4([1, 0x7fc0_0000, -2, 0x7fc0_0001])
        ));
        assert!(!v128_matches(
            vector,
            &V128Pattern::I32x4([1, 0x7fc0_0000, -2, 0x7fc0_0002])
        ));
        assert!(v128_matches(
            vector,
            &V128Pattern::I64x2([0x7fc0_0000_0000_0001, 0x7fc0_0001_ffff_fffe])
        ));
        assert!(v128_matches(
            vector,
            &V128Pattern::I16x8([1, 0, 0, 0x7fc0, -2, -1, 1, 0x7fc0])
        ));
        let bytes = [1, 0, 0, 0, 0, 0, -64, 127, -2, -1, -1, -1, 1, 0, -64, 127];
        assert!(v128_matches(vector, &V128Pattern::I8x16(bytes)));
        let nan = f64::NAN.to_bits();
        let doubles = u128::from(nan) << 64 | 5;
        let five = NanPattern::Value(F64 { bits: 5 });
        assert!(v128_matches(
            doubles,
            &V128Pattern::F64x2([five, NanPattern::CanonicalNan])
        ));
        assert_eq!(
            pattern_text(&floats(0, NanPattern::ArithmeticNan)),
            "(v128.const f32x4 0.0 (;0x00000000;) nan:canonical NaN (;0xfffffffe;) nan:arithmetic)"
        );
        assert_eq!(
            pattern_text(&V128Pattern::I8x16([-1; 16])),
            format!("(v128.const i8x16{})", " 0xff".repeat(16))
        );
    }

    #[test]
    fn texts_show_value_and_bits() {
        assert_eq!(f32_text(0x7fc0_0000), "(f32.const NaN (;0x7fc00000;))");
        assert_eq!(
            f64_text(1.5f64.to_bits()),
            "(f64.const 1.5 (;0x3ff8000000000000;))"
        );
        assert_eq!(list(std::iter::empty()), "nothing");
        let either = WastRetCore::Either(vec![WastRetCore::I32(1), WastRetCore::RefNull(None)]);
        assert_eq!(expected_text(&either), "(either (i32.const 1) (ref.null))");
    }
}
