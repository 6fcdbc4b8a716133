//! Where a value lies: size and alignment in memories with 32-bit and 64-bit addresses, and how many core values it is
//! when it is passed flat (Canonical ABI, "Alignment", "Element Size" and "Flattening").
//!
//! An [`Abi`] is known of every interned type, and, as a constant, of every Rust type that values are lifted to. Both are
//! made by the functions here.
//!
//! *Invariant:* an alignment is 1, 2, 4 or 8, and a size is a multiple of it.

/// The most core values that parameters are passed as; more are passed in memory.
pub const MAX_FLAT_PARAMS: usize = 16;

/// The most core values that the parameters of an import that is lowered async are passed as.
pub const MAX_FLAT_ASYNC_PARAMS: usize = 4;

/// The most core values that a result is passed as; a larger one is passed in memory.
pub const MAX_FLAT_RESULTS: usize = 1;

/// What [`Abi::flat`] says of everything that is more than [`MAX_FLAT_PARAMS`] core values.
pub(crate) const TOO_MANY_FLAT: u8 = MAX_FLAT_PARAMS as u8 + 1;

/// The type of a memory's addresses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AddressType {
    /// A memory of at most 4 GiB.
    I32,
    /// A memory with 64-bit addresses.
    I64,
}

impl AddressType {
    /// The size of an address in bytes.
    pub const fn bytes(self) -> u32 {
        match self {
            AddressType::I32 => 4,
            AddressType::I64 => 8,
        }
    }

    /// An address as a core value.
    pub const fn flat(self) -> FlatType {
        match self {
            AddressType::I32 => FlatType::I32,
            AddressType::I64 => FlatType::I64,
        }
    }
}

/// The type of a core value that is a part of a value passed flat.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FlatType {
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
}

impl FlatType {
    /// The type that holds a value of either: what cases of a variant have in the same place.
    ///
    /// A core value in 64 bits, those of 32 bits zero-extended, need not be converted for it.
    pub const fn join(self, other: FlatType) -> FlatType {
        match (self, other) {
            (FlatType::I32, FlatType::I32 | FlatType::F32) | (FlatType::F32, FlatType::I32) => {
                FlatType::I32
            }
            (FlatType::F32, FlatType::F32) => FlatType::F32,
            (FlatType::F64, FlatType::F64) => FlatType::F64,
            _ => FlatType::I64,
        }
    }

    /// The core type of this name.
    pub const fn core(self) -> tiered::decode::types::ValType {
        match self {
            FlatType::I32 => tiered::decode::types::ValType::I32,
            FlatType::I64 => tiered::decode::types::ValType::I64,
            FlatType::F32 => tiered::decode::types::ValType::F32,
            FlatType::F64 => tiered::decode::types::ValType::F64,
        }
    }
}

/// Size and alignment of a type in one kind of memory, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Layout {
    /// The size, a multiple of the alignment: what lies between two elements of a list.
    pub size: u32,
    /// The alignment, a power of two.
    pub align: u32,
    /// In a variant, where the payload begins; else 0.
    pub payload: u32,
}

impl Layout {
    const EMPTY: Layout = Layout {
        size: 0,
        align: 1,
        payload: 0,
    };

    const fn scalar(size: u32) -> Layout {
        Layout {
            size,
            align: size,
            payload: 0,
        }
    }
}

/// How values of a type are passed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Abi {
    /// The layout in a memory with 32-bit addresses.
    pub memory32: Layout,
    /// The layout in a memory with 64-bit addresses.
    pub memory64: Layout,
    /// The number of core values; 17 stands for any number that is too large to be passed flat.
    pub flat: u8,
    /// Whether there are handles in them.
    pub handles: bool,
}

/// The larger of two.
const fn max(a: u32, b: u32) -> u32 {
    if a > b { a } else { b }
}

/// `offset` rounded up to a multiple of `align`.
const fn align_to(offset: u64, align: u32) -> u64 {
    offset.next_multiple_of(align as u64)
}

/// A sum of two numbers of core values.
const fn add_flat(a: u8, b: u8) -> u8 {
    if a + b > TOO_MANY_FLAT {
        TOO_MANY_FLAT
    } else {
        a + b
    }
}

impl Abi {
    /// What has no fields: the parameters of a function without any.
    pub const EMPTY: Abi = Abi {
        memory32: Layout::EMPTY,
        memory64: Layout::EMPTY,
        flat: 0,
        handles: false,
    };

    /// A string, or a list without handles: address and length of what lies elsewhere.
    pub const LIST: Abi = Abi {
        memory32: Layout {
            size: 8,
            align: 4,
            payload: 0,
        },
        memory64: Layout {
            size: 16,
            align: 8,
            payload: 0,
        },
        flat: 2,
        handles: false,
    };

    /// A handle of any kind: an index.
    pub const HANDLE: Abi = Abi {
        handles: true,
        ..Abi::scalar(4)
    };

    /// A list, or a map, of elements that are passed like this.
    pub const fn list(element: Abi) -> Abi {
        Abi {
            handles: element.handles,
            ..Abi::LIST
        }
    }

    /// A number of this size in bytes: 1, 2, 4 or 8.
    pub const fn scalar(size: u32) -> Abi {
        Abi {
            memory32: Layout::scalar(size),
            memory64: Layout::scalar(size),
            flat: 1,
            handles: false,
        }
    }

    /// An enum with this many cases, or the discriminant of a variant. There is at least one case.
    pub const fn discriminant(cases: u32) -> Abi {
        Abi::scalar(match cases {
            0..=0x100 => 1,
            0x101..=0x1_0000 => 2,
            _ => 4,
        })
    }

    /// Flags with this many labels, at most 32.
    pub const fn flags(labels: u32) -> Abi {
        Abi::scalar(match labels {
            0..=8 => 1,
            9..=16 => 2,
            _ => 4,
        })
    }

    /// A record with these fields, or a tuple; `None` if its size does not fit in 32 bits.
    pub const fn try_record(fields: &[Abi]) -> Option<Abi> {
        let (mut record, mut index) = (Abi::EMPTY, 0);
        let (mut end32, mut end64) = (0, 0);
        while index < fields.len() {
            let field = &fields[index];
            end32 = align_to(end32, field.memory32.align) + field.memory32.size as u64;
            end64 = align_to(end64, field.memory64.align) + field.memory64.size as u64;
            if end32 > u32::MAX as u64 || end64 > u32::MAX as u64 {
                return None;
            }
            record.memory32.align = max(record.memory32.align, field.memory32.align);
            record.memory64.align = max(record.memory64.align, field.memory64.align);
            record.flat = add_flat(record.flat, field.flat);
            record.handles |= field.handles;
            index += 1;
        }
        record.with_ends(end32, end64)
    }

    /// A variant with these cases, of which there is at least one; `None` if its size does not fit in 32 bits.
    pub const fn try_variant(cases: &[Option<Abi>]) -> Option<Abi> {
        if cases.len() > u32::MAX as usize {
            return None;
        }
        let discriminant = Abi::discriminant(cases.len() as u32).memory32.size;
        let (mut largest, mut index) = (Abi::EMPTY, 0);
        while index < cases.len() {
            if let Some(case) = &cases[index] {
                largest.memory32.align = max(largest.memory32.align, case.memory32.align);
                largest.memory64.align = max(largest.memory64.align, case.memory64.align);
                largest.memory32.size = max(largest.memory32.size, case.memory32.size);
                largest.memory64.size = max(largest.memory64.size, case.memory64.size);
                largest.handles |= case.handles;
                if case.flat > largest.flat {
                    largest.flat = case.flat;
                }
            }
            index += 1;
        }
        let payload32 = align_to(discriminant as u64, largest.memory32.align);
        let payload64 = align_to(discriminant as u64, largest.memory64.align);
        let variant = Abi {
            memory32: Layout {
                size: 0,
                align: max(discriminant, largest.memory32.align),
                payload: payload32 as u32,
            },
            memory64: Layout {
                size: 0,
                align: max(discriminant, largest.memory64.align),
                payload: payload64 as u32,
            },
            flat: add_flat(1, largest.flat),
            handles: largest.handles,
        };
        variant.with_ends(
            payload32 + largest.memory32.size as u64,
            payload64 + largest.memory64.size as u64,
        )
    }

    /// A list of this many elements in place; `None` if its size does not fit in 32 bits.
    pub const fn try_fixed_list(element: Abi, length: u32) -> Option<Abi> {
        let length = length as u64;
        let flat = length.saturating_mul(element.flat as u64);
        let mut list = Abi::EMPTY;
        list.memory32.align = element.memory32.align;
        list.memory64.align = element.memory64.align;
        list.handles = element.handles;
        list.flat = if flat > MAX_FLAT_PARAMS as u64 {
            TOO_MANY_FLAT
        } else {
            flat as u8
        };
        list.with_ends(
            element.memory32.size as u64 * length,
            element.memory64.size as u64 * length,
        )
    }

    /// This with the sizes that take it to these ends; no payload of it moves.
    const fn with_ends(self, end32: u64, end64: u64) -> Option<Abi> {
        let size32 = align_to(end32, self.memory32.align);
        let size64 = align_to(end64, self.memory64.align);
        if size32 > u32::MAX as u64 || size64 > u32::MAX as u64 {
            return None;
        }
        let mut abi = self;
        abi.memory32.size = size32 as u32;
        abi.memory64.size = size64 as u32;
        Some(abi)
    }

    /// [`Abi::try_record`] for constants.
    ///
    /// # Panics
    /// Panics if the size does not fit in 32 bits; in a constant that is an error of the compiler.
    pub const fn record(fields: &[Abi]) -> Abi {
        Abi::try_record(fields).expect("a record of 4 GiB")
    }

    /// [`Abi::try_variant`] for constants.
    ///
    /// # Panics
    /// Panics if the size does not fit in 32 bits; in a constant that is an error of the compiler.
    pub const fn variant(cases: &[Option<Abi>]) -> Abi {
        Abi::try_variant(cases).expect("a variant of 4 GiB")
    }

    /// [`Abi::try_fixed_list`] for constants.
    ///
    /// # Panics
    /// Panics if the size does not fit in 32 bits; in a constant that is an error of the compiler.
    pub const fn fixed_list(element: Abi, length: u32) -> Abi {
        Abi::try_fixed_list(element, length).expect("a list of 4 GiB")
    }

    /// The layout in a memory with such addresses.
    #[inline(always)]
    pub const fn layout(&self, address: AddressType) -> Layout {
        match address {
            AddressType::I32 => self.memory32,
            AddressType::I64 => self.memory64,
        }
    }
}
