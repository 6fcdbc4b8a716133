//! Values of a script: arguments as the script writes them, results as it expects them.
//!
//! Invariant: floats are compared by their bits; a NaN pattern names a class of bits, as the spec does.

use tiered::{AnyStore, ExternRef, Val};
use wast::core::{AbstractHeapType, HeapType, NanPattern, WastArgCore, WastRetCore};

/// What `(ref.extern n)` stands for inside the store.
struct ScriptRef(u32);

/// The value of an argument.
///
/// # Errors
/// The argument is of a type that no function of the accepted proposals takes.
pub(crate) fn argument(store: &mut AnyStore, arg: &WastArgCore<'_>) -> Result<Val, String> {
    Ok(match arg {
        WastArgCore::I32(n) => Val::I32(*n),
        WastArgCore::I64(n) => Val::I64(*n),
        WastArgCore::F32(x) => Val::F32(x.bits),
        WastArgCore::F64(x) => Val::F64(x.bits),
        WastArgCore::RefNull(ty) => match abstract_type(ty) {
            Some(AbstractHeapType::Func) => Val::FuncRef(None),
            Some(AbstractHeapType::Extern) => Val::ExternRef(None),
            _ => return Err("not supported: null of this type".into()),
        },
        WastArgCore::RefExtern(n) => Val::ExternRef(Some(ExternRef::new(store, ScriptRef(*n)))),
        WastArgCore::V128(_) => return Err("not supported: v128".into()),
        WastArgCore::RefHost(_) => return Err("not supported: ref.host".into()),
    })
}

/// Whether `found` is what the script expects.
pub(crate) fn matches(store: &AnyStore, found: &Val, expected: &WastRetCore<'_>) -> bool {
    match (expected, found) {
        (WastRetCore::I32(n), Val::I32(found)) => n == found,
        (WastRetCore::I64(n), Val::I64(found)) => n == found,
        (WastRetCore::F32(pattern), Val::F32(found)) => match pattern {
            NanPattern::CanonicalNan => f32_is_canonical_nan(*found),
            NanPattern::ArithmeticNan => f32_is_arithmetic_nan(*found),
            NanPattern::Value(x) => x.bits == *found,
        },
        (WastRetCore::F64(pattern), Val::F64(found)) => match pattern {
            NanPattern::CanonicalNan => f64_is_canonical_nan(*found),
            NanPattern::ArithmeticNan => f64_is_arithmetic_nan(*found),
            NanPattern::Value(x) => x.bits == *found,
        },
        (WastRetCore::RefNull(None), Val::FuncRef(None) | Val::ExternRef(None)) => true,
        (WastRetCore::RefNull(Some(ty)), Val::FuncRef(None)) => {
            abstract_type(ty) == Some(AbstractHeapType::Func)
        }
        (WastRetCore::RefNull(Some(ty)), Val::ExternRef(None)) => {
            abstract_type(ty) == Some(AbstractHeapType::Extern)
        }
        // Which function it is cannot be said in the text: an index means nothing outside its module.
        (WastRetCore::RefFunc(_), Val::FuncRef(found)) => found.is_some(),
        (WastRetCore::RefExtern(None), Val::ExternRef(found)) => found.is_some(),
        (WastRetCore::RefExtern(Some(n)), Val::ExternRef(Some(found))) => {
            script_ref(store, found) == Some(*n)
        }
        (WastRetCore::Either(cases), found) => cases.iter().any(|case| matches(store, found, case)),
        _ => false,
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

fn abstract_type(ty: &HeapType<'_>) -> Option<AbstractHeapType> {
    match ty {
        HeapType::Abstract { shared: false, ty } => Some(*ty),
        _ => None,
    }
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
        Val::FuncRef(None) => "(ref.null func)".into(),
        Val::FuncRef(Some(_)) => "(ref.func)".into(),
        Val::ExternRef(None) => "(ref.null extern)".into(),
        Val::ExternRef(Some(reference)) => match script_ref(store, reference) {
            Some(n) => format!("(ref.extern {n})"),
            None => "(ref.extern)".into(),
        },
    }
}

/// An expected value in the text of a script.
pub(crate) fn expected_text(expected: &WastRetCore<'_>) -> String {
    match expected {
        WastRetCore::I32(n) => format!("(i32.const {n})"),
        WastRetCore::I64(n) => format!("(i64.const {n})"),
        WastRetCore::F32(NanPattern::CanonicalNan) => "(f32.const nan:canonical)".into(),
        WastRetCore::F32(NanPattern::ArithmeticNan) => "(f32.const nan:arithmetic)".into(),
        WastRetCore::F32(NanPattern::Value(x)) => f32_text(x.bits),
        WastRetCore::F64(NanPattern::CanonicalNan) => "(f64.const nan:canonical)".into(),
        WastRetCore::F64(NanPattern::ArithmeticNan) => "(f64.const nan:arithmetic)".into(),
        WastRetCore::F64(NanPattern::Value(x)) => f64_text(x.bits),
        WastRetCore::RefNull(None) => "(ref.null)".into(),
        WastRetCore::RefNull(Some(ty)) => match abstract_type(ty) {
            Some(AbstractHeapType::Func) => "(ref.null func)".into(),
            Some(AbstractHeapType::Extern) => "(ref.null extern)".into(),
            _ => "(ref.null ...)".into(),
        },
        WastRetCore::RefExtern(Some(n)) => format!("(ref.extern {n})"),
        WastRetCore::RefExtern(None) => "(ref.extern)".into(),
        WastRetCore::RefFunc(_) => "(ref.func)".into(),
        WastRetCore::Either(cases) => format!("(either {})", list(cases.iter().map(expected_text))),
        other => format!("{other:?}"),
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
