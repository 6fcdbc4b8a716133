//! What can be seen of a program from outside, in the same form for every engine and every store.

use std::hash::{DefaultHasher, Hash, Hasher};

use tiered::decode::types::{AbstractHeapType, HeapType, RefType, TopType, ValType};

use crate::input::Random;

/// A value without the store that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    /// A 32-bit integer.
    I32(i32),
    /// A 64-bit integer.
    I64(i64),
    /// The bits of a 32-bit float.
    F32(u32),
    /// The bits of a 64-bit float.
    F64(u64),
    /// The bits of a vector.
    V128(u128),
    /// Whether there is a function.
    Func(bool),
    /// What the host knows a reference by.
    Extern(Option<u32>),
    /// What an exception carries, if there is one: a [`hash_of`] it.
    Exn(Option<u64>),
    /// What an object is.
    Any(Object),
}

/// What can be seen of a reference to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Object {
    /// There is none.
    Null,
    /// It is this number.
    I31(i32),
    /// A structure with these fields: a [`hash_of`] them.
    Struct(u64),
    /// An array of this length, with these first [`ELEMENTS`].
    Array(u32, u64),
    /// What the host has given, and knows by this number.
    Host(Option<u32>),
}

/// How deep objects within objects are looked at; of those further in, only what they are is seen.
pub(crate) const LEVELS: u32 = 3;

/// How many elements of an array are looked at.
pub(crate) const ELEMENTS: u32 = 16;

/// A hash of values, the same for all NaNs.
pub(crate) fn hash_of(values: impl IntoIterator<Item = Value>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for value in values {
        value.canonical().hash(&mut hasher);
    }
    hasher.finish()
}

/// Bits that are likelier than others to be treated wrongly.
const EDGES: [u64; 16] = [
    0,
    1,
    2,
    0x7f,
    0xffff,
    0x10000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
    0x3f80_0000,
    0x7fc0_0000,
    0x43e0_0000_0000_0000,
];

impl Value {
    /// Some value of a type.
    pub(crate) fn random(ty: ValType, random: &mut Random) -> Value {
        let bits = match random.next() % 4 {
            0 => random.next(),
            1 => random.next() % 100,
            _ => EDGES[(random.next() % EDGES.len() as u64) as usize],
        };
        match ty {
            ValType::I32 => Value::I32(bits as i32),
            ValType::I64 => Value::I64(bits.cast_signed()),
            ValType::F32 if random.one_in(2) => Value::F32((bits as i32 as f32).to_bits()),
            ValType::F32 => Value::F32(bits as u32),
            ValType::F64 if random.one_in(2) => Value::F64((bits.cast_signed() as f64).to_bits()),
            ValType::F64 => Value::F64(bits),
            ValType::Ref(ty) => Value::reference(ty, bits),
            ValType::V128 => Value::V128(u128::from(random.next()) << 64 | u128::from(bits)),
        }
    }

    /// Some reference. Of what a module defines the host has none but null.
    fn reference(ty: RefType, bits: u64) -> Value {
        use AbstractHeapType::{Any, Eq, Func, I31};
        let of = |all: &[AbstractHeapType]| match ty.heap() {
            HeapType::Abstract(heap) => all.contains(&heap),
            HeapType::Concrete(..) => false,
        };
        match ty.top() {
            TopType::Func => Value::Func(of(&[Func]) && bits.is_multiple_of(2)),
            TopType::Extern => Value::Extern((!bits.is_multiple_of(3)).then_some(bits as u32)),
            TopType::Exn => Value::Exn(None),
            TopType::Any => {
                let null = !of(&[Any, Eq, I31]) || bits.is_multiple_of(3);
                Value::Any(if ty.is_nullable() && null {
                    Object::Null
                } else {
                    Object::I31((bits as i32) << 1 >> 1)
                })
            }
        }
    }

    /// The same value, with one NaN for all.
    pub(crate) fn canonical(self) -> Value {
        match self {
            Value::F32(bits) if f32::from_bits(bits).is_nan() => Value::F32(0x7fc0_0000),
            Value::F64(bits) if f64::from_bits(bits).is_nan() => Value::F64(0x7ff8_0000_0000_0000),
            other => other,
        }
    }
}

/// Why a call did not return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A trap of the spec, by the text that the spec's scripts have for it.
    Trap(&'static str),
    /// A limit that each engine has its own measure of: fuel, stack, interruption, resources.
    Limit(&'static str),
    /// A host function's own.
    Host,
}

impl End {
    /// Whether each tier comes to it at a place of its own.
    pub(crate) fn depends_on_tier(self) -> bool {
        matches!(self, End::Limit("stack" | "interrupt" | "size" | "heap"))
    }
}

/// One thing that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The module was instantiated, or was not.
    Instantiated(Result<(), End>),
    /// The export of that number was called.
    Called(usize, Result<Vec<Value>, End>),
    /// Where that call trapped: functions and bytes of the module, innermost first.
    Places(Vec<(u32, Option<u32>)>),
    /// What an exception carried that this call threw: a [`hash_of`] it.
    Thrown(u64),
    /// An exported global.
    Global(usize, Value),
    /// An exported memory: its length and a hash of its bytes.
    Memory(usize, usize, u64),
    /// An exported table: which exports the functions in it are.
    Funcs(usize, Vec<Option<usize>>),
    /// An exported table: its elements, up to a number.
    Table(usize, u64, Vec<Value>),
    /// What the host was given, all together.
    Host(u64),
    /// The fuel that is left.
    Fuel(Option<u64>),
}

impl Event {
    /// How it ended, if it is something that ends and did not do so well.
    pub(crate) fn end(&self) -> Option<End> {
        match self {
            Event::Instantiated(Err(end)) | Event::Called(_, Err(end)) => Some(*end),
            _ => None,
        }
    }

    /// Whether it ended by a limit, after which engines may differ.
    #[cfg(any(feature = "oracle", feature = "oracle-wasmtime"))]
    pub(crate) fn is_limit(&self) -> bool {
        matches!(self.end(), Some(End::Limit(_)))
    }

    /// The same event, with one NaN for all: the spec leaves open which, and engines differ.
    #[cfg(any(feature = "oracle", feature = "oracle-wasmtime"))]
    pub(crate) fn canonical(self) -> Event {
        let all = |values: Vec<Value>| values.into_iter().map(Value::canonical).collect();
        match self {
            Event::Called(number, Ok(values)) => Event::Called(number, Ok(all(values))),
            Event::Global(number, value) => Event::Global(number, value.canonical()),
            other => other,
        }
    }
}

/// A hash of bytes, quick even where every branch is instrumented.
pub(crate) fn memory_hash(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    words.fold(bytes.len() as u64, |hash, word| {
        (hash ^ word)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    })
}
