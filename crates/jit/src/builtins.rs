//! What compiled code calls instead of doing it itself: one address each, in a table that an instance leads to.
//!
//! *Invariant:* an entry is a function by the host's C convention, `(vmctx, args…) -> i64`, every argument 64 bits wide
//! and every `i32` among them zero-extended.
//! *Invariant:* an entry neither unwinds nor traps: it notes what is wrong and says so ([`Kind::Status`]).

use std::ptr::NonNull;

use tiered_decode::index::{DataIdx, ElemIdx, FuncIdx, MemoryIdx, TableIdx};
use tiered_runtime::atomics::{self, WaitPlace};
use tiered_runtime::exceptions::{ExceptionObject, TagRecord};
use tiered_runtime::frame::Slot;
use tiered_runtime::vmctx::VmCtx;
use tiered_runtime::{TrapCode, builtin};

use crate::api::Shared;
use crate::fault;
use crate::unwind;

/// An entry of the table, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Builtin {
    /// `memory.grow`: (memory, delta).
    MemoryGrow,
    /// `memory.fill`: (memory, start, value, count).
    MemoryFill,
    /// `memory.copy`: (to | from << 32, start, from start, count).
    MemoryCopy,
    /// `memory.init`: (memory | data << 32, start, from start, count).
    MemoryInit,
    /// `data.drop`: (data).
    DataDrop,
    /// `table.grow`: (table, init, delta).
    TableGrow,
    /// `table.fill`: (table, start, value, count).
    TableFill,
    /// `table.copy`: (to | from << 32, start, from start, count).
    TableCopy,
    /// `table.init`: (table | element << 32, start, from start, count).
    TableInit,
    /// `elem.drop`: (element).
    ElemDrop,
    /// `ref.func` of a function that the module defines: (function).
    RefFunc,
    /// `memory.atomic.wait32` and `wait64`: (memory | size << 32, address, offset, expected, timeout).
    AtomicWait,
    /// `memory.atomic.notify`: (memory, address, offset, count).
    AtomicNotify,
    /// The account of work is below zero: ().
    Refuel,
    /// `throw`: (the address of the tag's record). What the exception carries is still to be written.
    NewException,
    /// Throws out of the function: (exception). Does not come back.
    Raise,
    /// `struct.new`, whose fields are still to be written: (type).
    NewStruct,
    /// `struct.new_default`: (type).
    NewStructDefault,
    /// `array.new_fixed`, whose elements are still to be written: (type, length).
    NewArray,
    /// `array.new_default`: (type, length).
    NewArrayDefault,
    /// `array.new`: (type, length, the value's low bits, its high bits).
    NewArrayFill,
    /// `array.new_data`: (type | data << 32, from start, length).
    NewArrayData,
    /// `array.new_elem`: (type | element << 32, from start, length).
    NewArrayElem,
    /// `array.fill`: (array, start, the value's low bits, its high bits, count).
    ArrayFill,
    /// `array.copy`: (array, start, from array, from start, count).
    ArrayCopy,
    /// `array.init_data`: (data, array, start, from start, count).
    ArrayInitData,
    /// `array.init_elem`: (element, array, start, from start, count).
    ArrayInitElem,
    /// Whether a function is of a type or of a subtype of it: (the address of its record, type).
    IsFunction,
    /// `memmove` of the C library: (to, from, count). No instance is passed.
    Memmove,
    /// `memset` of the C library: (to, byte, count). No instance is passed.
    Memset,
}

/// What the result of a builtin says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The result of the instruction; one of 32 bits is in the low half.
    Value,
    /// 0, or else the store keeps a trap.
    Status,
    /// The result of the instruction, or else all ones, and the store keeps a trap.
    Small,
    /// An address, or else 0, and the store keeps a trap.
    Address,
    /// Nothing.
    Nothing,
    /// Nothing, and there is no instance among the arguments.
    Library,
}

impl Builtin {
    /// The arguments; those behind the instance, if it is passed.
    pub(crate) fn args(self) -> usize {
        match self {
            Builtin::Refuel => 0,
            Builtin::DataDrop
            | Builtin::ElemDrop
            | Builtin::RefFunc
            | Builtin::NewException
            | Builtin::Raise
            | Builtin::NewStruct
            | Builtin::NewStructDefault => 1,
            Builtin::MemoryGrow
            | Builtin::NewArray
            | Builtin::NewArrayDefault
            | Builtin::IsFunction => 2,
            Builtin::TableGrow
            | Builtin::NewArrayData
            | Builtin::NewArrayElem
            | Builtin::Memmove
            | Builtin::Memset => 3,
            Builtin::MemoryFill
            | Builtin::MemoryCopy
            | Builtin::MemoryInit
            | Builtin::TableFill
            | Builtin::TableCopy
            | Builtin::TableInit
            | Builtin::AtomicNotify
            | Builtin::NewArrayFill => 4,
            Builtin::ArrayFill
            | Builtin::ArrayCopy
            | Builtin::ArrayInitData
            | Builtin::ArrayInitElem
            | Builtin::AtomicWait => 5,
        }
    }

    /// What the result says.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Builtin::MemoryGrow | Builtin::TableGrow | Builtin::RefFunc | Builtin::IsFunction => {
                Kind::Value
            }
            Builtin::NewException
            | Builtin::NewStruct
            | Builtin::NewStructDefault
            | Builtin::NewArray
            | Builtin::NewArrayDefault
            | Builtin::NewArrayFill
            | Builtin::NewArrayData
            | Builtin::NewArrayElem => Kind::Address,
            Builtin::AtomicWait | Builtin::AtomicNotify => Kind::Small,
            Builtin::DataDrop | Builtin::ElemDrop | Builtin::Raise => Kind::Nothing,
            Builtin::Memmove | Builtin::Memset => Kind::Library,
            Builtin::MemoryFill
            | Builtin::MemoryCopy
            | Builtin::MemoryInit
            | Builtin::TableFill
            | Builtin::TableCopy
            | Builtin::TableInit
            | Builtin::Refuel
            | Builtin::ArrayFill
            | Builtin::ArrayCopy
            | Builtin::ArrayInitData
            | Builtin::ArrayInitElem => Kind::Status,
        }
    }
}

/// The table that instances lead to, and behind it the compiler that it belongs to.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Table {
    entries: [*const (); ENTRIES.len()],
    /// Of use to [`crate::stub`] alone.
    pub(crate) shared: *const Shared,
}

// SAFETY: addresses of functions, and of a value that is shared between threads.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

impl Table {
    pub(crate) fn new(shared: *const Shared) -> Table {
        Table {
            entries: ENTRIES,
            shared,
        }
    }
}

/// In the order of [`Builtin`].
const ENTRIES: [*const (); 30] = [
    memory_grow as *const (),
    memory_fill as *const (),
    memory_copy as *const (),
    memory_init as *const (),
    data_drop as *const (),
    table_grow as *const (),
    table_fill as *const (),
    table_copy as *const (),
    table_init as *const (),
    elem_drop as *const (),
    ref_func as *const (),
    atomic_wait as *const (),
    atomic_notify as *const (),
    refuel as *const (),
    new_exception as *const (),
    unwind::raise as *const (),
    objects::new_struct as *const (),
    objects::new_struct_default as *const (),
    objects::new_array as *const (),
    objects::new_array_default as *const (),
    objects::new_array_fill as *const (),
    objects::new_array_data as *const (),
    objects::new_array_elem as *const (),
    objects::array_fill as *const (),
    objects::array_copy as *const (),
    objects::array_init_data as *const (),
    objects::array_init_elem as *const (),
    objects::is_function as *const (),
    libc::memmove as *const (),
    libc::memset as *const (),
];

const _: () = assert!(Builtin::Memset as usize + 1 == ENTRIES.len());

fn status(result: Result<(), TrapCode>) -> u64 {
    match result {
        Ok(()) => 0,
        Err(code) => {
            fault::set_pending(code);
            1
        }
    }
}

/// The address of what was made, or 0.
fn address(result: Result<Slot, TrapCode>) -> u64 {
    result.unwrap_or_else(|code| {
        fault::set_pending(code);
        0
    })
}

/// A result that is never all ones ([`Kind::Small`]).
fn small(result: Result<u64, TrapCode>) -> u64 {
    result.unwrap_or_else(|code| {
        fault::set_pending(code);
        u64::MAX
    })
}

/// Two indices that came as one argument.
fn pair(indices: u64) -> (u32, u32) {
    (indices as u32, (indices >> 32) as u32)
}

/// Flat rows: a function of the table, its arguments behind the instance, its body.
macro_rules! entries {
    ($($name:ident($ctx:ident $(, $arg:ident)*) $body:block)*) => {$(
        pub(super) unsafe extern "C" fn $name(ctx: *const VmCtx $(, $arg: u64)*) -> u64 {
            // SAFETY: compiled code passes the address of its own instance.
            let $ctx = unsafe { VmCtx::borrow(ctx) };
            $body
        }
    )*};
}

mod objects;

entries! {
    memory_grow(ctx, memory, delta) {
        builtin::memory_grow(ctx, MemoryIdx(memory as u32), delta)
    }
    memory_fill(ctx, memory, start, value, count) {
        status(builtin::memory_fill(ctx, MemoryIdx(memory as u32), start, value as u8, count))
    }
    memory_copy(ctx, memories, start, from_start, count) {
        let (to, from) = pair(memories);
        let (to, from) = ((MemoryIdx(to), start), (MemoryIdx(from), from_start));
        status(builtin::memory_copy(ctx, to, from, count))
    }
    memory_init(ctx, indices, start, from_start, count) {
        let (memory, data) = pair(indices);
        status(builtin::memory_init(ctx, MemoryIdx(memory), DataIdx(data), start, from_start, count))
    }
    data_drop(ctx, data) {
        builtin::data_drop(ctx, DataIdx(data as u32));
        0
    }
    table_grow(ctx, table, init, delta) {
        builtin::table_grow(ctx, TableIdx(table as u32), init, delta)
    }
    table_fill(ctx, table, start, value, count) {
        status(builtin::table_fill(ctx, TableIdx(table as u32), start, value, count))
    }
    table_copy(ctx, tables, start, from_start, count) {
        let (to, from) = pair(tables);
        let (to, from) = ((TableIdx(to), start), (TableIdx(from), from_start));
        status(builtin::table_copy(ctx, to, from, count))
    }
    table_init(ctx, indices, start, from_start, count) {
        let (table, element) = pair(indices);
        status(builtin::table_init(ctx, TableIdx(table), ElemIdx(element), start, from_start, count))
    }
    elem_drop(ctx, element) {
        builtin::elem_drop(ctx, ElemIdx(element as u32));
        0
    }
    ref_func(ctx, func) {
        ctx.func(FuncIdx(func as u32)).as_ptr().expose_provenance() as u64
    }
    atomic_wait(ctx, place, address, offset, expected, timeout) {
        let (memory, size) = pair(place);
        let place = WaitPlace { memory: MemoryIdx(memory), address, offset, size: size.into() };
        small(atomics::wait(ctx, place, expected, timeout.cast_signed()))
    }
    atomic_notify(ctx, memory, address, offset, count) {
        small(atomics::notify(ctx, MemoryIdx(memory as u32), address, offset, count as u32))
    }
    refuel(ctx) {
        status(ctx.store().refill().map(|_| ()))
    }
    new_exception(ctx, tag) {
        let tag = std::ptr::with_exposed_provenance_mut::<TagRecord>(tag as usize);
        // SAFETY: compiled code passes the address of one of its instance's tags. It has read what it needs of the slots
        // from the free ones on, and keeps references where native roots are.
        let made = unsafe {
            let tag = NonNull::new_unchecked(tag);
            ctx.store().new_exception(tag, ctx.store().free.get().as_ptr())
        };
        address(made.map(ExceptionObject::reference))
    }
}
