//! The definitions of the canonical ABI, one function for each of the specification's, without any thought of speed.

mod lift;
mod lower;

use tiered_component::Val;
use tiered_component::abi::{Options, StringEncoding};
use tiered_component::types::{AddressType, CallKind, FlatType};

use super::choices::Choices;
use super::guest::{Kind, TestGuest};
use super::ty::Ty;

const MAX_BYTES: u64 = (1 << 28) - 1;

/// How many values are lifted before it is given up: lists may be in lists many times over.
const MAX_STEPS: u32 = 3000;

/// Why lifting ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    Trap,
    Steps,
}

/// A core value with its type; floats by their bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Core {
    I32(u32),
    I64(u64),
    F32(u32),
    F64(u64),
}

impl Core {
    fn new(ty: FlatType, bits: u64) -> Core {
        match ty {
            FlatType::I32 => Core::I32(bits as u32),
            FlatType::I64 => Core::I64(bits),
            FlatType::F32 => Core::F32(bits as u32),
            FlatType::F64 => Core::F64(bits),
        }
    }

    pub(crate) fn choose(ty: FlatType, choices: &mut Choices<'_>) -> Core {
        let bits = match choices.below(4) {
            0 => choices.number(),
            1 => choices.wild().into(),
            _ => u64::from(choices.byte()) % 80 / 4 * 4,
        };
        Core::new(ty, bits)
    }

    fn ty(self) -> FlatType {
        match self {
            Core::I32(_) => FlatType::I32,
            Core::I64(_) => FlatType::I64,
            Core::F32(_) => FlatType::F32,
            Core::F64(_) => FlatType::F64,
        }
    }

    /// Zero-extended.
    pub(crate) fn bits(self) -> u64 {
        self.bits_under(0)
    }

    /// With these bits above a value of 32 bits.
    pub(crate) fn bits_under(self, high: u64) -> u64 {
        match self {
            Core::I32(bits) | Core::F32(bits) => u64::from(bits) | high,
            Core::I64(bits) | Core::F64(bits) => bits,
        }
    }

    /// The coercion of `lower_flat_variant`.
    fn widened(self, want: FlatType) -> Core {
        match (self, want) {
            (Core::F32(bits), FlatType::I32) => Core::I32(bits),
            (Core::I32(bits), FlatType::I64) => Core::I64(bits.into()),
            (Core::F32(bits), FlatType::I64) => Core::I64(bits.into()),
            (Core::F64(bits), FlatType::I64) => Core::I64(bits),
            (same, want) => {
                assert_eq!(same.ty(), want);
                same
            }
        }
    }

    /// The coercion of `lift_flat_variant`.
    fn narrowed(self, want: FlatType) -> Core {
        match (self, want) {
            (Core::I32(bits), FlatType::F32) => Core::F32(bits),
            (Core::I64(bits), FlatType::I32) => Core::I32(bits as u32),
            (Core::I64(bits), FlatType::F32) => Core::F32(bits as u32),
            (Core::I64(bits), FlatType::F64) => Core::F64(bits),
            (same, want) => {
                assert_eq!(same.ty(), want);
                same
            }
        }
    }
}

/// A type without special ones: what is a record or a variant underneath.
enum Plain<'a> {
    Record(Vec<Ty>),
    Variant(Vec<Option<Ty>>),
    Other(&'a Ty),
}

fn despecialize(ty: &Ty) -> Plain<'_> {
    let unboxed = |ty: &Option<Box<Ty>>| ty.as_ref().map(|ty| (**ty).clone());
    match ty {
        Ty::Tuple(types) => Plain::Record(types.clone()),
        Ty::Record(fields) => Plain::Record(fields.iter().map(|(_, ty)| ty.clone()).collect()),
        Ty::Variant(cases) => Plain::Variant(cases.iter().map(|(_, ty)| ty.clone()).collect()),
        Ty::Enum(names) => Plain::Variant(vec![None; names.len()]),
        Ty::Option(ty) => Plain::Variant(vec![None, Some((**ty).clone())]),
        Ty::Result(ok, err) => Plain::Variant(vec![unboxed(ok), unboxed(err)]),
        other => Plain::Other(other),
    }
}

fn pair(key: &Ty, value: &Ty) -> Ty {
    Ty::Tuple(vec![key.clone(), value.clone()])
}

fn align_to(at: u64, align: u32) -> u64 {
    at.div_ceil(align.into()) * u64::from(align)
}

fn pointer_size(address: AddressType) -> u32 {
    match address {
        AddressType::I32 => 4,
        AddressType::I64 => 8,
    }
}

fn pointer(address: AddressType) -> FlatType {
    match address {
        AddressType::I32 => FlatType::I32,
        AddressType::I64 => FlatType::I64,
    }
}

fn discriminant_size(cases: usize) -> u32 {
    match ((cases as f64).log2() / 8.0).ceil() as u32 {
        0 | 1 => 1,
        2 => 2,
        _ => 4,
    }
}

fn flags_size(labels: usize) -> u32 {
    match labels {
        0..=8 => 1,
        9..=16 => 2,
        _ => 4,
    }
}

pub(crate) fn alignment(ty: &Ty, address: AddressType) -> u32 {
    let most = |types: &mut dyn Iterator<Item = &Ty>| {
        types.map(|ty| alignment(ty, address)).max().unwrap_or(1)
    };
    match despecialize(ty) {
        Plain::Record(fields) => most(&mut fields.iter()),
        Plain::Variant(cases) => {
            discriminant_size(cases.len()).max(most(&mut cases.iter().flatten()))
        }
        Plain::Other(Ty::FixedList(ty, _)) => alignment(ty, address),
        Plain::Other(Ty::String | Ty::List(_) | Ty::Map(..)) => pointer_size(address),
        Plain::Other(other) => size(other, address) as u32,
    }
}

fn payload_offset(cases: &[Option<Ty>], address: AddressType) -> u64 {
    let align = cases
        .iter()
        .flatten()
        .map(|ty| alignment(ty, address))
        .max();
    align_to(discriminant_size(cases.len()).into(), align.unwrap_or(1))
}

pub(crate) fn size(ty: &Ty, address: AddressType) -> u64 {
    let plain = match despecialize(ty) {
        Plain::Record(fields) => fields.iter().fold(0, |end, ty| {
            align_to(end, alignment(ty, address)) + size(ty, address)
        }),
        Plain::Variant(cases) => {
            let largest = cases.iter().flatten().map(|ty| size(ty, address)).max();
            payload_offset(&cases, address) + largest.unwrap_or(0)
        }
        Plain::Other(other) => {
            return match other {
                Ty::Bool | Ty::S8 | Ty::U8 => 1,
                Ty::S16 | Ty::U16 => 2,
                Ty::S32 | Ty::U32 | Ty::F32 | Ty::Char => 4,
                Ty::S64 | Ty::U64 | Ty::F64 => 8,
                Ty::String | Ty::List(_) | Ty::Map(..) => 2 * u64::from(pointer_size(address)),
                Ty::FixedList(ty, length) => u64::from(*length) * size(ty, address),
                Ty::Flags(names) => flags_size(names.len()).into(),
                _ => 4,
            };
        }
    };
    align_to(plain, alignment(ty, address))
}

pub(crate) fn has_borrows(ty: &Ty) -> bool {
    match despecialize(ty) {
        Plain::Record(fields) => fields.iter().any(has_borrows),
        Plain::Variant(cases) => cases.iter().flatten().any(has_borrows),
        Plain::Other(Ty::Borrow(_)) => true,
        Plain::Other(Ty::List(ty) | Ty::FixedList(ty, _)) => has_borrows(ty),
        Plain::Other(Ty::Map(key, value)) => has_borrows(key) || has_borrows(value),
        Plain::Other(Ty::Stream(ty) | Ty::Future(ty)) => {
            ty.as_ref().is_some_and(|ty| has_borrows(ty))
        }
        Plain::Other(_) => false,
    }
}

fn join(a: FlatType, b: FlatType) -> FlatType {
    match (a, b) {
        _ if a == b => a,
        (FlatType::I32, FlatType::F32) | (FlatType::F32, FlatType::I32) => FlatType::I32,
        _ => FlatType::I64,
    }
}

pub(crate) fn flatten(ty: &Ty, address: AddressType) -> Vec<FlatType> {
    match despecialize(ty) {
        Plain::Record(fields) => flatten_all(&fields, address),
        Plain::Variant(cases) => {
            let mut flat: Vec<FlatType> = Vec::new();
            for ty in cases.iter().flatten() {
                for (index, part) in flatten(ty, address).into_iter().enumerate() {
                    match flat.get(index) {
                        Some(&there) => flat[index] = join(there, part),
                        None => flat.push(part),
                    }
                }
            }
            [vec![FlatType::I32], flat].concat()
        }
        Plain::Other(other) => match other {
            Ty::S64 | Ty::U64 => vec![FlatType::I64],
            Ty::F32 => vec![FlatType::F32],
            Ty::F64 => vec![FlatType::F64],
            Ty::String | Ty::List(_) | Ty::Map(..) => vec![pointer(address); 2],
            Ty::FixedList(ty, length) => (0..*length).flat_map(|_| flatten(ty, address)).collect(),
            _ => vec![FlatType::I32],
        },
    }
}

pub(crate) fn flatten_all(types: &[Ty], address: AddressType) -> Vec<FlatType> {
    types.iter().flat_map(|ty| flatten(ty, address)).collect()
}

/// What is passed for values of these types if at most `limit` core values may be.
pub(crate) fn passed(types: &[Ty], limit: usize, address: AddressType) -> Vec<FlatType> {
    let flat = flatten_all(types, address);
    match flat.len() > limit {
        true => vec![pointer(address)],
        false => flat,
    }
}

/// `flatten_functype`
pub(crate) fn signature(
    params: &[Ty],
    result: &Option<Ty>,
    kind: CallKind,
    address: AddressType,
) -> (Vec<FlatType>, Vec<FlatType>) {
    let mut flat_params = flatten_all(params, address);
    let mut flat_results = flatten_all(result.as_slice(), address);
    let ptr = pointer(address);
    match kind {
        CallKind::Lift | CallKind::Lower => {
            if flat_params.len() > 16 {
                flat_params = vec![ptr];
            }
            if flat_results.len() > 1 {
                if kind == CallKind::Lift {
                    flat_results = vec![ptr];
                } else {
                    flat_params.push(ptr);
                    flat_results = vec![];
                }
            }
        }
        CallKind::LiftAsync | CallKind::LiftCallback => {
            if flat_params.len() > 16 {
                flat_params = vec![ptr];
            }
            flat_results = match kind {
                CallKind::LiftCallback => vec![FlatType::I32],
                _ => vec![],
            };
        }
        CallKind::LowerAsync => {
            if flat_params.len() > 4 {
                flat_params = vec![ptr];
            }
            if !flat_results.is_empty() {
                flat_params.push(ptr);
            }
            flat_results = vec![FlatType::I32];
        }
    }
    (flat_params, flat_results)
}

fn canonical32(bits: u32) -> u32 {
    if f32::from_bits(bits).is_nan() {
        0x7fc0_0000
    } else {
        bits
    }
}

fn canonical64(bits: u64) -> u64 {
    if f64::from_bits(bits).is_nan() {
        0x7ff8_0000_0000_0000
    } else {
        bits
    }
}

/// A guest and the canonical options.
pub(crate) struct Machine {
    pub(crate) guest: TestGuest,
    options: Options,
    steps: u32,
}

type Lifted<T> = Result<T, Stop>;

fn trap_if(condition: bool) -> Lifted<()> {
    match condition {
        true => Err(Stop::Trap),
        false => Ok(()),
    }
}

/// What kind of handle a value of this type is.
fn kind(ty: &Ty) -> Kind {
    match ty {
        Ty::Own(resource) => Kind::Own(*resource),
        Ty::Borrow(resource) => Kind::Borrow(*resource),
        Ty::Stream(_) => Kind::Stream,
        Ty::Future(_) => Kind::Future,
        Ty::ErrorContext => Kind::ErrorContext,
        _ => panic!("{ty:?} is no handle"),
    }
}

impl Machine {
    pub(crate) fn new(options: Options) -> Machine {
        Machine {
            guest: TestGuest::default(),
            options,
            steps: 0,
        }
    }

    fn address(&self) -> AddressType {
        self.options.address
    }

    fn pointer_size(&self) -> u64 {
        pointer_size(self.options.address).into()
    }
}

fn fields_of(value: &Val) -> Vec<Val> {
    match value {
        Val::Record(fields) => fields.iter().map(|(_, value)| value.clone()).collect(),
        Val::Tuple(values) => values.clone(),
        _ => panic!("{value}"),
    }
}
