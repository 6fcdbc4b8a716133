//! Values of any type, for embedders that learn types at run time. Those that know them use Rust types instead, which costs
//! much less: a `Val` takes 32 bytes, so a list of bytes becomes 32 times as large.
//!
//! A value carries the names of fields, cases and flags, but not its type: whether it is of a type is checked where it is
//! passed. It is shown in the syntax of WAVE, the text format for component values.

use std::fmt;

use tiered::decode::printable::must_escape;

use crate::types::Label;

/// A value of the component model.
#[derive(Clone, Debug)]
pub enum Val {
    /// `bool`
    Bool(bool),
    /// `s8`
    S8(i8),
    /// `u8`
    U8(u8),
    /// `s16`
    S16(i16),
    /// `u16`
    U16(u16),
    /// `s32`
    S32(i32),
    /// `u32`
    U32(u32),
    /// `s64`
    S64(i64),
    /// `u64`
    U64(u64),
    /// `f32`
    F32(f32),
    /// `f64`
    F64(f64),
    /// `char`
    Char(char),
    /// `string`
    String(String),
    /// `list<T>` of any length, and `list<T, N>`.
    List(Vec<Val>),
    /// `map<K, V>`: pairs in their order. That keys differ is for the two sides to see to.
    Map(Vec<(Val, Val)>),
    /// `tuple<…>`
    Tuple(Vec<Val>),
    /// `record`: fields with their names. When passed to a component they may be in any order.
    Record(Vec<(Label, Val)>),
    /// `variant`: the name of the case and what comes with it.
    Variant(Label, Option<Box<Val>>),
    /// `enum`: the name of the case.
    Enum(Label),
    /// `flags`: the names of those that are set.
    Flags(Vec<Label>),
    /// `option<T>`
    Option(Option<Box<Val>>),
    /// `result<T, E>`
    Result(Result<Option<Box<Val>>, Option<Box<Val>>>),
    /// `own<R>` and `borrow<R>`.
    Resource(Handle),
    /// The readable end of a `stream<T>`.
    Stream(Handle),
    /// The readable end of a `future<T>`.
    Future(Handle),
    /// `error-context`
    ErrorContext(Handle),
}

/// Something that the host holds for a component: a resource, an end of a stream or a future, an error context. Values are
/// moved in and out by whoever keeps the handles; others only pass them on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Handle {
    /// Whose index it is: one that is given to another is refused.
    pub owner: u64,
    /// The index.
    pub index: u64,
}

impl Val {
    /// What kind of type it is of, in WIT's words.
    pub fn kind(&self) -> &'static str {
        match self {
            Val::Bool(_) => "bool",
            Val::S8(_) => "s8",
            Val::U8(_) => "u8",
            Val::S16(_) => "s16",
            Val::U16(_) => "u16",
            Val::S32(_) => "s32",
            Val::U32(_) => "u32",
            Val::S64(_) => "s64",
            Val::U64(_) => "u64",
            Val::F32(_) => "f32",
            Val::F64(_) => "f64",
            Val::Char(_) => "char",
            Val::String(_) => "string",
            Val::List(_) => "list",
            Val::Map(_) => "map",
            Val::Tuple(_) => "tuple",
            Val::Record(_) => "record",
            Val::Variant(..) => "variant",
            Val::Enum(_) => "enum",
            Val::Flags(_) => "flags",
            Val::Option(_) => "option",
            Val::Result(_) => "result",
            Val::Resource(_) => "resource",
            Val::Stream(_) => "stream",
            Val::Future(_) => "future",
            Val::ErrorContext(_) => "error-context",
        }
    }

    /// `some(value)`
    pub fn some(value: Val) -> Val {
        Val::Option(Some(Box::new(value)))
    }

    /// `none`
    pub fn none() -> Val {
        Val::Option(None)
    }

    /// `ok(value)`
    pub fn ok(value: Val) -> Val {
        Val::Result(Ok(Some(Box::new(value))))
    }

    /// `err(value)`
    pub fn err(value: Val) -> Val {
        Val::Result(Err(Some(Box::new(value))))
    }
}

/// Whether two are the same value: of the same type, floats compared by their bits, except that there is one NaN. So zeros of
/// different signs differ, fields of records are compared in their order, and flags as sets.
impl PartialEq for Val {
    fn eq(&self, other: &Val) -> bool {
        let has = |labels: &[Label], label: &Label| labels.contains(label);
        match (self, other) {
            (Val::Bool(a), Val::Bool(b)) => a == b,
            (Val::S8(a), Val::S8(b)) => a == b,
            (Val::U8(a), Val::U8(b)) => a == b,
            (Val::S16(a), Val::S16(b)) => a == b,
            (Val::U16(a), Val::U16(b)) => a == b,
            (Val::S32(a), Val::S32(b)) => a == b,
            (Val::U32(a), Val::U32(b)) => a == b,
            (Val::S64(a), Val::S64(b)) => a == b,
            (Val::U64(a), Val::U64(b)) => a == b,
            (Val::F32(a), Val::F32(b)) => a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
            (Val::F64(a), Val::F64(b)) => a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
            (Val::Char(a), Val::Char(b)) => a == b,
            (Val::String(a), Val::String(b)) => a == b,
            (Val::List(a), Val::List(b)) | (Val::Tuple(a), Val::Tuple(b)) => a == b,
            (Val::Map(a), Val::Map(b)) => a == b,
            (Val::Record(a), Val::Record(b)) => a == b,
            (Val::Variant(a, x), Val::Variant(b, y)) => a == b && x == y,
            (Val::Enum(a), Val::Enum(b)) => a == b,
            (Val::Flags(a), Val::Flags(b)) => {
                a.iter().all(|label| has(b, label)) && b.iter().all(|label| has(a, label))
            }
            (Val::Option(a), Val::Option(b)) => a == b,
            (Val::Result(a), Val::Result(b)) => a == b,
            (Val::Resource(a), Val::Resource(b))
            | (Val::Stream(a), Val::Stream(b))
            | (Val::Future(a), Val::Future(b))
            | (Val::ErrorContext(a), Val::ErrorContext(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Val {}

macro_rules! conversions {
    ($($name:ident($ty:ty);)*) => {$(
        impl From<$ty> for Val {
            fn from(value: $ty) -> Val {
                Val::$name(value)
            }
        }
    )*};
}

conversions! {
    Bool(bool);
    S8(i8);
    U8(u8);
    S16(i16);
    U16(u16);
    S32(i32);
    U32(u32);
    S64(i64);
    U64(u64);
    F32(f32);
    F64(f64);
    Char(char);
    String(String);
}

impl From<&str> for Val {
    fn from(value: &str) -> Val {
        Val::String(value.to_owned())
    }
}

impl fmt::Display for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Val::Bool(value) => write!(f, "{value}"),
            Val::S8(value) => write!(f, "{value}"),
            Val::U8(value) => write!(f, "{value}"),
            Val::S16(value) => write!(f, "{value}"),
            Val::U16(value) => write!(f, "{value}"),
            Val::S32(value) => write!(f, "{value}"),
            Val::U32(value) => write!(f, "{value}"),
            Val::S64(value) => write!(f, "{value}"),
            Val::U64(value) => write!(f, "{value}"),
            Val::F32(value) if value.is_nan() => f.write_str("nan"),
            Val::F64(value) if value.is_nan() => f.write_str("nan"),
            Val::F32(value) => write!(f, "{value}"),
            Val::F64(value) => write!(f, "{value}"),
            Val::Char(value) => write!(f, "'{}'", Escaped(*value, '\'')),
            Val::String(value) => {
                f.write_str("\"")?;
                for char in value.chars() {
                    write!(f, "{}", Escaped(char, '"'))?;
                }
                f.write_str("\"")
            }
            Val::List(values) => between(f, "[", values, "]", |f, value| write!(f, "{value}")),
            Val::Tuple(values) => between(f, "(", values, ")", |f, value| write!(f, "{value}")),
            Val::Map(pairs) => between(f, "{", pairs, "}", |f, (key, value)| {
                write!(f, "{key}: {value}")
            }),
            Val::Record(fields) => between(f, "{", fields, "}", |f, (name, value)| {
                write!(f, "{}: {value}", Name(name))
            }),
            Val::Flags(labels) => {
                between(f, "{", labels, "}", |f, label| write!(f, "{}", Name(label)))
            }
            Val::Variant(name, value) => payload(f, &Name(name), value),
            Val::Enum(name) => write!(f, "{}", Name(name)),
            Val::Option(None) => f.write_str("none"),
            Val::Option(value) => payload(f, &"some", value),
            Val::Result(Ok(value)) => payload(f, &"ok", value),
            Val::Result(Err(value)) => payload(f, &"err", value),
            Val::Resource(handle)
            | Val::Stream(handle)
            | Val::Future(handle)
            | Val::ErrorContext(handle) => {
                // WAVE has no text for these.
                write!(f, "<{} {}>", self.kind(), handle.index)
            }
        }
    }
}

/// Values with commas between them.
fn between<T>(
    f: &mut fmt::Formatter<'_>,
    open: &str,
    values: &[T],
    close: &str,
    write: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    f.write_str(open)?;
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write(f, value)?;
    }
    f.write_str(close)
}

/// `name` or `name(value)`
fn payload(
    f: &mut fmt::Formatter<'_>,
    name: &dyn fmt::Display,
    value: &Option<Box<Val>>,
) -> fmt::Result {
    match value {
        Some(value) => write!(f, "{name}({value})"),
        None => write!(f, "{name}"),
    }
}

/// A name, with a `%` in front of it where it could be taken for a word of WAVE.
struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WORDS: [&str; 8] = ["true", "false", "inf", "nan", "some", "none", "ok", "err"];
        if WORDS.contains(&self.0) {
            f.write_str("%")?;
        }
        f.write_str(self.0)
    }
}

/// A character between quotes of this kind.
struct Escaped(char, char);

impl fmt::Display for Escaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            '\n' => f.write_str("\\n"),
            '\r' => f.write_str("\\r"),
            '\t' => f.write_str("\\t"),
            '\\' => f.write_str("\\\\"),
            char if char == self.1 => write!(f, "\\{char}"),
            // What would not be seen, or would steer a terminal, wherever it stands.
            char if must_escape(char, true) => write!(f, "\\u{{{:x}}}", u32::from(char)),
            char => write!(f, "{char}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_wave() {
        let pair = |name: &str, value| (Label::from(name), value);
        let rows = [
            (Val::from(true), "true"),
            (Val::from(-7i8), "-7"),
            (Val::from(1.5f32), "1.5"),
            (Val::from(-0.0f64), "-0"),
            (Val::from(f32::NAN), "nan"),
            (Val::from(-f64::NAN), "nan"),
            (Val::from(f64::NEG_INFINITY), "-inf"),
            (Val::from('\''), r"'\''"),
            (Val::from('"'), "'\"'"),
            (Val::from('\u{202e}'), "'\\u{202e}'"),
            (Val::from("a\"\n\u{1}'ß"), "\"a\\\"\\n\\u{1}'ß\""),
            (Val::List(vec![]), "[]"),
            (Val::List(vec![1u8.into(), 2u8.into()]), "[1, 2]"),
            (Val::Map(vec![("a".into(), 1u8.into())]), "{\"a\": 1}"),
            (Val::Tuple(vec![1u8.into(), "x".into()]), "(1, \"x\")"),
            (
                Val::Record(vec![pair("a-b", 1u8.into()), pair("ok", Val::none())]),
                "{a-b: 1, %ok: none}",
            ),
            (Val::Variant("v".into(), None), "v"),
            (
                Val::Variant("none".into(), Some(Box::new(true.into()))),
                "%none(true)",
            ),
            (Val::Enum("inf".into()), "%inf"),
            (Val::Flags(vec!["a".into(), "b".into()]), "{a, b}"),
            (Val::some(Val::some(1u8.into())), "some(some(1))"),
            (Val::Result(Ok(None)), "ok"),
            (Val::ok(1u8.into()), "ok(1)"),
            (Val::err("no".into()), "err(\"no\")"),
        ];
        for (value, text) in rows {
            assert_eq!(value.to_string(), text);
            assert_eq!(value, value.clone(), "{text}");
        }
    }

    #[test]
    fn equality_is_of_values() {
        assert_eq!(Val::F32(f32::NAN), Val::F32(f32::from_bits(0xffc0_0001)));
        assert_ne!(Val::F64(0.0), Val::F64(-0.0));
        assert_ne!(Val::U8(1), Val::U16(1));
        let flags =
            |labels: &[&str]| Val::Flags(labels.iter().map(|&label| label.into()).collect());
        assert_eq!(flags(&["a", "b"]), flags(&["b", "a", "a"]));
        assert_ne!(flags(&["a", "b"]), flags(&["a"]));
        assert_ne!(flags(&["a"]), flags(&["a", "b"]));
    }

    #[test]
    fn a_value_is_as_large_as_said() {
        assert_eq!(size_of::<Val>(), 32);
    }
}
