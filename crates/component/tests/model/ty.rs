//! Types of the component model that own their parts, and values of them.

use tiered_component::types::{Case, Field, ResourceId, TypeDef, TypeError, Types, ValType};
use tiered_component::{Handle, Val};

use super::choices::Choices;

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Ty {
    Bool,
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
    F32,
    F64,
    Char,
    String,
    ErrorContext,
    Own(u32),
    Borrow(u32),
    List(Box<Ty>),
    FixedList(Box<Ty>, u32),
    Map(Box<Ty>, Box<Ty>),
    Record(Vec<(String, Ty)>),
    Tuple(Vec<Ty>),
    Variant(Vec<(String, Option<Ty>)>),
    Enum(Vec<String>),
    Option(Box<Ty>),
    Result(Option<Box<Ty>>, Option<Box<Ty>>),
    Flags(Vec<String>),
    Stream(Option<Box<Ty>>),
    Future(Option<Box<Ty>>),
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("n{index}")).collect()
}

impl Ty {
    /// A type that is nested at most so deep.
    pub(crate) fn choose(choices: &mut Choices<'_>, depth: u32) -> Ty {
        let kinds = if depth == 0 { 18 } else { 28 };
        let part = |choices: &mut Choices<'_>| Ty::choose(choices, depth.saturating_sub(1));
        let optional = |choices: &mut Choices<'_>| {
            (choices.below(3) > 0).then(|| Box::new(Ty::choose(choices, depth - 1)))
        };
        match choices.below(kinds) {
            0 => Ty::Bool,
            1 => Ty::S8,
            2 => Ty::U8,
            3 => Ty::S16,
            4 => Ty::U16,
            5 => Ty::S32,
            6 => Ty::U32,
            7 => Ty::S64,
            8 => Ty::U64,
            9 => Ty::F32,
            10 => Ty::F64,
            11 => Ty::Char,
            12 => Ty::String,
            13 => Ty::ErrorContext,
            14 => Ty::Own(choices.below(3) as u32),
            15 => Ty::Borrow(choices.below(3) as u32),
            16 => Ty::Flags(names([1, 8, 9, 16, 17, 32][choices.below(6)])),
            17 => Ty::Enum(names([1, 2, 256, 257][choices.below(4)])),
            18 => Ty::List(Box::new(part(choices))),
            19 => Ty::FixedList(Box::new(part(choices)), choices.below(5) as u32 + 1),
            20 => {
                let key = [Ty::String, Ty::U8, Ty::S64][choices.below(3)].clone();
                Ty::Map(Box::new(key), Box::new(part(choices)))
            }
            21 => {
                let names = names(choices.below(5) + 1).into_iter();
                Ty::Record(names.map(|name| (name, part(choices))).collect())
            }
            22 => {
                let length = choices.below(4) + 1;
                Ty::Tuple((0..length).map(|_| part(choices)).collect())
            }
            23 => {
                let count = [1, 2, 3, 300][choices.below(4)];
                let rich = choices.below(4);
                let names = names(count).into_iter().enumerate();
                let case = |(index, name)| (name, (index <= rich).then(|| part(choices)));
                Ty::Variant(names.map(case).collect())
            }
            24 => Ty::Option(Box::new(part(choices))),
            25 => Ty::Result(optional(choices), optional(choices)),
            26 => Ty::Stream(optional(choices)),
            _ => Ty::Future(optional(choices)),
        }
    }

    /// The same among the crate's types.
    pub(crate) fn define(&self, types: &mut Types) -> Result<ValType, TypeError> {
        let def = match self {
            Ty::Bool => return Ok(ValType::Bool),
            Ty::S8 => return Ok(ValType::S8),
            Ty::U8 => return Ok(ValType::U8),
            Ty::S16 => return Ok(ValType::S16),
            Ty::U16 => return Ok(ValType::U16),
            Ty::S32 => return Ok(ValType::S32),
            Ty::U32 => return Ok(ValType::U32),
            Ty::S64 => return Ok(ValType::S64),
            Ty::U64 => return Ok(ValType::U64),
            Ty::F32 => return Ok(ValType::F32),
            Ty::F64 => return Ok(ValType::F64),
            Ty::Char => return Ok(ValType::Char),
            Ty::String => return Ok(ValType::String),
            Ty::ErrorContext => return Ok(ValType::ErrorContext),
            Ty::Own(resource) => return Ok(ValType::Own(ResourceId(*resource))),
            Ty::Borrow(resource) => return Ok(ValType::Borrow(ResourceId(*resource))),
            Ty::List(ty) => TypeDef::List(ty.define(types)?),
            Ty::FixedList(ty, length) => TypeDef::FixedList(ty.define(types)?, *length),
            Ty::Map(key, value) => TypeDef::Map(key.define(types)?, value.define(types)?),
            Ty::Record(fields) => {
                let fields = fields.iter().map(|(name, ty)| {
                    Ok(Field {
                        name: name.as_str().into(),
                        ty: ty.define(types)?,
                    })
                });
                TypeDef::Record(fields.collect::<Result<_, TypeError>>()?)
            }
            Ty::Tuple(fields) => {
                let fields = fields.iter().map(|ty| ty.define(types));
                TypeDef::Tuple(fields.collect::<Result<_, TypeError>>()?)
            }
            Ty::Variant(cases) => {
                let cases = cases.iter().map(|(name, ty)| {
                    Ok(Case {
                        name: name.as_str().into(),
                        ty: ty.as_ref().map(|ty| ty.define(types)).transpose()?,
                    })
                });
                TypeDef::Variant(cases.collect::<Result<_, TypeError>>()?)
            }
            Ty::Enum(names) => {
                TypeDef::Enum(names.iter().map(|name| name.as_str().into()).collect())
            }
            Ty::Flags(names) => {
                TypeDef::Flags(names.iter().map(|name| name.as_str().into()).collect())
            }
            Ty::Option(ty) => TypeDef::Option(ty.define(types)?),
            Ty::Result(ok, err) => TypeDef::Result {
                ok: ok.as_ref().map(|ty| ty.define(types)).transpose()?,
                err: err.as_ref().map(|ty| ty.define(types)).transpose()?,
            },
            Ty::Stream(ty) => TypeDef::Stream(ty.as_ref().map(|ty| ty.define(types)).transpose()?),
            Ty::Future(ty) => TypeDef::Future(ty.as_ref().map(|ty| ty.define(types)).transpose()?),
        };
        types.define(def)
    }

    /// A value of this type.
    pub(crate) fn value(&self, choices: &mut Choices<'_>) -> Val {
        let optional = |ty: &Option<Box<Ty>>, choices: &mut Choices<'_>| {
            ty.as_ref().map(|ty| Box::new(ty.value(choices)))
        };
        match self {
            Ty::Bool => Val::Bool(choices.byte() % 2 == 1),
            Ty::S8 => Val::S8(choices.number() as i8),
            Ty::U8 => Val::U8(choices.number() as u8),
            Ty::S16 => Val::S16(choices.number() as i16),
            Ty::U16 => Val::U16(choices.number() as u16),
            Ty::S32 => Val::S32(choices.number() as i32),
            Ty::U32 => Val::U32(choices.number() as u32),
            Ty::S64 => Val::S64(choices.number() as i64),
            Ty::U64 => Val::U64(choices.number()),
            Ty::F32 => Val::F32(f32::from_bits(choices.number() as u32)),
            Ty::F64 => Val::F64(f64::from_bits(choices.number())),
            Ty::Char => Val::Char(character(choices)),
            Ty::String => Val::String(string(choices)),
            Ty::ErrorContext => Val::ErrorContext(handle(choices)),
            Ty::Own(_) | Ty::Borrow(_) => Val::Resource(handle(choices)),
            Ty::Stream(_) => Val::Stream(handle(choices)),
            Ty::Future(_) => Val::Future(handle(choices)),
            Ty::List(ty) => Val::List((0..choices.below(4)).map(|_| ty.value(choices)).collect()),
            Ty::FixedList(ty, length) => {
                Val::List((0..*length).map(|_| ty.value(choices)).collect())
            }
            Ty::Map(key, value) => {
                let pairs = 0..choices.below(3);
                let mut pair = |_| (key.value(choices), value.value(choices));
                Val::Map(pairs.map(&mut pair).collect())
            }
            Ty::Record(fields) => {
                let mut field =
                    |(name, ty): &(String, Ty)| (name.as_str().into(), ty.value(choices));
                Val::Record(fields.iter().map(&mut field).collect())
            }
            Ty::Tuple(types) => Val::Tuple(types.iter().map(|ty| ty.value(choices)).collect()),
            Ty::Variant(cases) => {
                let (name, ty) = &cases[choices.below(cases.len())];
                let value = ty.as_ref().map(|ty| Box::new(ty.value(choices)));
                Val::Variant(name.as_str().into(), value)
            }
            Ty::Enum(names) => Val::Enum(names[choices.below(names.len())].as_str().into()),
            Ty::Option(ty) => match choices.below(3) {
                0 => Val::Option(None),
                _ => Val::some(ty.value(choices)),
            },
            Ty::Result(ok, err) => Val::Result(match choices.below(2) {
                0 => Ok(optional(ok, choices)),
                _ => Err(optional(err, choices)),
            }),
            Ty::Flags(names) => {
                let bits = choices.number();
                let set = (0..).zip(names).filter(|(bit, _)| bits >> bit & 1 != 0);
                Val::Flags(set.map(|(_, name)| name.as_str().into()).collect())
            }
        }
    }
}

fn handle(choices: &mut Choices<'_>) -> Handle {
    Handle {
        owner: 5,
        index: u64::from(choices.byte()) * 8,
    }
}

/// A character, of all lengths in all encodings.
fn character(choices: &mut Choices<'_>) -> char {
    let number = choices.number() as u32;
    match choices.below(5) {
        0 | 1 => char::from((number % 128) as u8),
        2 => char::from(number as u8),
        3 => char::from_u32(number % 0x1_0000).unwrap_or('\u{ffff}'),
        _ => char::from_u32(number % 0x11_0000).unwrap_or('\u{10ffff}'),
    }
}

fn string(choices: &mut Choices<'_>) -> String {
    let length = choices.below(6);
    let narrow = choices.below(2) == 0;
    let char = |_| match character(choices) {
        char if narrow && u32::from(char) > 255 => 'é',
        char => char,
    };
    (0..length).map(char).collect()
}
