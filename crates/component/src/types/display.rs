//! Types as WIT writes them, those with names of their own spelled out.

use std::fmt;

use super::{TypeDef, Types, ValType};

/// How many parts of a type are written; what comes after is `…`. A type may be made of the same one many times over, at
/// each of its levels.
const MOST_PARTS: u32 = 200;

/// A type of some [`Types`], to be written.
#[derive(Clone, Copy, Debug)]
pub struct TypeDisplay<'a> {
    types: &'a Types,
    ty: ValType,
}

impl Types {
    /// A type as text. Resources have no names here and are written by their numbers.
    pub fn display(&self, ty: ValType) -> TypeDisplay<'_> {
        TypeDisplay { types: self, ty }
    }
}

impl fmt::Display for TypeDisplay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut writer = Writer {
            types: self.types,
            left: MOST_PARTS,
        };
        writer.ty(f, self.ty)
    }
}

struct Writer<'a> {
    types: &'a Types,
    left: u32,
}

impl Writer<'_> {
    fn ty(&mut self, f: &mut fmt::Formatter<'_>, ty: ValType) -> fmt::Result {
        if self.left == 0 {
            return f.write_str("…");
        }
        self.left -= 1;
        f.write_str(match ty {
            ValType::Bool => "bool",
            ValType::S8 => "s8",
            ValType::U8 => "u8",
            ValType::S16 => "s16",
            ValType::U16 => "u16",
            ValType::S32 => "s32",
            ValType::U32 => "u32",
            ValType::S64 => "s64",
            ValType::U64 => "u64",
            ValType::F32 => "f32",
            ValType::F64 => "f64",
            ValType::Char => "char",
            ValType::String => "string",
            ValType::ErrorContext => "error-context",
            ValType::Own(resource) => return write!(f, "own<resource {}>", resource.0),
            ValType::Borrow(resource) => return write!(f, "borrow<resource {}>", resource.0),
            ValType::Defined(id) => {
                let types = self.types;
                return self.def(f, types.def(id));
            }
        })
    }

    fn def(&mut self, f: &mut fmt::Formatter<'_>, def: &TypeDef) -> fmt::Result {
        match def {
            TypeDef::Record(fields) => {
                let fields = fields.iter().map(|field| (&*field.name, Some(field.ty)));
                self.named(f, "record", fields, (": ", ""))
            }
            TypeDef::Variant(cases) => {
                let cases = cases.iter().map(|case| (&*case.name, case.ty));
                self.named(f, "variant", cases, ("(", ")"))
            }
            TypeDef::Flags(labels) => {
                let labels = labels.iter().map(|label| (&**label, None));
                self.named(f, "flags", labels, ("", ""))
            }
            TypeDef::Enum(labels) => {
                let labels = labels.iter().map(|label| (&**label, None));
                self.named(f, "enum", labels, ("", ""))
            }
            TypeDef::List(ty) => self.generic(f, "list", &[Some(*ty)], None),
            TypeDef::FixedList(ty, length) => self.generic(f, "list", &[Some(*ty)], Some(*length)),
            TypeDef::Map(key, value) => self.generic(f, "map", &[Some(*key), Some(*value)], None),
            TypeDef::Tuple(types) => {
                let types: Vec<_> = types.iter().map(|&ty| Some(ty)).collect();
                self.generic(f, "tuple", &types, None)
            }
            TypeDef::Option(ty) => self.generic(f, "option", &[Some(*ty)], None),
            TypeDef::Result { ok, err } => match (ok, err) {
                (None, None) => f.write_str("result"),
                (ok, None) => self.generic(f, "result", &[*ok], None),
                (ok, err) => self.generic(f, "result", &[*ok, *err], None),
            },
            TypeDef::Stream(None) => f.write_str("stream"),
            TypeDef::Future(None) => f.write_str("future"),
            TypeDef::Stream(ty) => self.generic(f, "stream", &[*ty], None),
            TypeDef::Future(ty) => self.generic(f, "future", &[*ty], None),
        }
    }

    /// `name<A, _, B, length>`
    fn generic(
        &mut self,
        f: &mut fmt::Formatter<'_>,
        name: &str,
        types: &[Option<ValType>],
        length: Option<u32>,
    ) -> fmt::Result {
        write!(f, "{name}<")?;
        for (index, ty) in types.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            match ty {
                _ if self.left == 0 => return f.write_str("…>"),
                Some(ty) => self.ty(f, *ty)?,
                None => f.write_str("_")?,
            }
        }
        match length {
            Some(length) => write!(f, ", {length}>"),
            None => f.write_str(">"),
        }
    }

    /// `keyword { name, other: type }`
    fn named<'a>(
        &mut self,
        f: &mut fmt::Formatter<'_>,
        keyword: &str,
        parts: impl Iterator<Item = (&'a str, Option<ValType>)>,
        (open, close): (&str, &str),
    ) -> fmt::Result {
        write!(f, "{keyword} {{ ")?;
        for (index, (name, ty)) in parts.enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            if self.left == 0 {
                return f.write_str("… }");
            }
            self.left -= 1;
            f.write_str(name)?;
            if let Some(ty) = ty {
                f.write_str(open)?;
                self.ty(f, ty)?;
                f.write_str(close)?;
            }
        }
        f.write_str(" }")
    }
}
