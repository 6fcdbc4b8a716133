//! Values of a script as the component model's.

use tiered_component::Val;
use wast::component::WastVal;
use wast::core::{NanPattern, WastArgCore, WastRetCore};
use wast::{WastArg, WastRet};

/// The value of an argument. Floats are written as those of core modules.
pub(super) fn argument(arg: &WastArg<'_>) -> Result<Val, String> {
    Ok(match arg {
        WastArg::Component(value) => val(value),
        WastArg::Core(WastArgCore::F32(value)) => Val::F32(f32::from_bits(value.bits)),
        WastArg::Core(WastArgCore::F64(value)) => Val::F64(f64::from_bits(value.bits)),
        other => return Err(format!("not a component's value: {other:?}")),
    })
}

/// The value that is expected; the component model has one NaN.
pub(super) fn expected(result: &WastRet<'_>) -> Result<Val, String> {
    use NanPattern::{ArithmeticNan, CanonicalNan, Value};
    Ok(match result {
        WastRet::Component(value) => val(value),
        WastRet::Core(WastRetCore::F32(Value(value))) => Val::F32(f32::from_bits(value.bits)),
        WastRet::Core(WastRetCore::F64(Value(value))) => Val::F64(f64::from_bits(value.bits)),
        WastRet::Core(WastRetCore::F32(CanonicalNan | ArithmeticNan)) => Val::F32(f32::NAN),
        WastRet::Core(WastRetCore::F64(CanonicalNan | ArithmeticNan)) => Val::F64(f64::NAN),
        other => return Err(format!("not a component's value: {other:?}")),
    })
}

/// The value that a script writes. It says of what type it is, so none is needed.
pub(super) fn val(value: &WastVal<'_>) -> Val {
    let all = |values: &[WastVal<'_>]| values.iter().map(val).collect();
    let optional =
        |value: &Option<Box<WastVal<'_>>>| value.as_deref().map(|value| Box::new(val(value)));
    match value {
        WastVal::Bool(value) => Val::Bool(*value),
        WastVal::U8(value) => Val::U8(*value),
        WastVal::S8(value) => Val::S8(*value),
        WastVal::U16(value) => Val::U16(*value),
        WastVal::S16(value) => Val::S16(*value),
        WastVal::U32(value) => Val::U32(*value),
        WastVal::S32(value) => Val::S32(*value),
        WastVal::U64(value) => Val::U64(*value),
        WastVal::S64(value) => Val::S64(*value),
        WastVal::F32(value) => Val::F32(f32::from_bits(value.bits)),
        WastVal::F64(value) => Val::F64(f64::from_bits(value.bits)),
        WastVal::Char(value) => Val::Char(*value),
        WastVal::String(value) => Val::from(*value),
        WastVal::List(values) => Val::List(all(values)),
        WastVal::Map(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| (val(key), val(value)));
            Val::Map(pairs.collect())
        }
        WastVal::Record(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| ((*name).into(), val(value)));
            Val::Record(fields.collect())
        }
        WastVal::Tuple(values) => Val::Tuple(all(values)),
        WastVal::Variant(name, value) => Val::Variant((*name).into(), optional(value)),
        WastVal::Enum(name) => Val::Enum((*name).into()),
        WastVal::Option(value) => Val::Option(optional(value)),
        WastVal::Result(Ok(value)) => Val::Result(Ok(optional(value))),
        WastVal::Result(Err(value)) => Val::Result(Err(optional(value))),
        WastVal::Flags(names) => Val::Flags(names.iter().map(|name| (*name).into()).collect()),
    }
}
