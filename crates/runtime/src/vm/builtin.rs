//! What instructions do that are more than a few machine instructions: each body once, for every tier.
//!
//! Operands come as the unsigned numbers that they are; bounds are checked before anything is written, as the spec
//! has it since bulk memory operations (sections 4.4.6 and 4.4.7).
//!
//! * *Invariant:* what an instruction fills or copies is done and paid for in pieces (`StoreCtx::begin_piece`), so an
//!   interrupt and the end of the fuel are seen within one, and a guest that is stopped has written whole pieces.

use tiered_decode::index::{DataIdx, ElemIdx, MemoryIdx, TableIdx};

use crate::vm::frame::Slot;
use crate::vm::memory::MemoryRecord;
use crate::vm::store_ctx::BYTES_PER_UNIT;
use crate::vm::table::TableRecord;
use crate::vm::trap::TrapCode;
use crate::vm::vmctx::VmCtx;
use crate::vm::{shared_bytes, speculation};

fn memory(ctx: &VmCtx, index: MemoryIdx) -> &MemoryRecord {
    // SAFETY: records live as long as the store.
    unsafe { ctx.memory(index).as_ref() }
}

fn table(ctx: &VmCtx, index: TableIdx) -> &TableRecord {
    // SAFETY: records live as long as the store.
    unsafe { ctx.table(index).as_ref() }
}

/// The address of the bytes `start..start + count`, if they are all within the memory.
fn within(memory: &MemoryRecord, start: u64, count: u64) -> Result<*mut u8, TrapCode> {
    let end = start
        .checked_add(count)
        .filter(|&end| end <= memory.len() as u64);
    end.ok_or(TrapCode::MemoryOutOfBounds)?;
    let start = speculation::masked(start, memory.len() as u64 + 1);
    // SAFETY: `start` is within the memory, or where it ends.
    Ok(unsafe { memory.base().as_ptr().add(start as usize) })
}

/// Bytes of an element of a table.
const SLOT: u64 = 8;

/// Fewer bytes than this are filled and copied without fuel, and without a look for interrupts.
pub const FREE_BYTES: u64 = BYTES_PER_UNIT;

/// Bytes of a piece: some 50 µs, so an interrupt is seen soon; a multiple of what one unit of fuel pays for.
const PIECE: u64 = 1 << 20;

/// Does an instruction's work on `count` things of `size` bytes, which are known to be there, by pieces: `act` gets where
/// one begins, and its length. From the end if `backward`.
#[inline(always)]
pub(crate) fn by_pieces(
    ctx: &VmCtx,
    count: u64,
    size: u64,
    backward: bool,
    mut act: impl FnMut(u64, u64),
) -> Result<(), TrapCode> {
    // Most do little, which costs nothing.
    if count * size < FREE_BYTES {
        act(0, count);
        return Ok(());
    }
    by_many_pieces(ctx, count, size, backward, &mut act)
}

#[inline(never)]
fn by_many_pieces(
    ctx: &VmCtx,
    count: u64,
    size: u64,
    backward: bool,
    act: &mut dyn FnMut(u64, u64),
) -> Result<(), TrapCode> {
    let most = PIECE / size;
    let mut done = 0;
    while done < count {
        let piece = most.min(count - done);
        ctx.store().begin_piece(piece * size)?;
        act(if backward { count - done - piece } else { done }, piece);
        done += piece;
    }
    Ok(())
}

/// `memory.size`: the size in pages.
pub fn memory_size(ctx: &VmCtx, index: MemoryIdx) -> Slot {
    memory(ctx, index).pages()
}

/// `memory.grow`: the pages before, or all ones in the type of addresses.
pub fn memory_grow(ctx: &VmCtx, index: MemoryIdx, delta: u64) -> Slot {
    let memory = memory(ctx, index);
    let before = memory.grow(delta, ctx.store());
    before.unwrap_or(memory.plan().index().grow_failed())
}

/// `memory.fill`.
///
/// # Errors
/// [`TrapCode::MemoryOutOfBounds`], and nothing is written; [`TrapCode::Interrupted`] or [`TrapCode::OutOfFuel`], and a
/// part may be; so for all below.
pub fn memory_fill(
    ctx: &VmCtx,
    index: MemoryIdx,
    start: u64,
    value: u8,
    count: u64,
) -> Result<(), TrapCode> {
    let memory = memory(ctx, index);
    let target = within(memory, start, count)?;
    if memory.is_shared() {
        return fill_shared(ctx, target, value, count);
    }
    by_pieces(ctx, count, 1, false, |at, count| {
        // SAFETY: the bytes are within the memory; the store's thread alone has them, and there is no reference to them.
        unsafe { target.add(at as usize).write_bytes(value, count as usize) };
    })
}

/// Apart, so that short fills of other memories stay short.
#[cold]
#[inline(never)]
fn fill_shared(ctx: &VmCtx, target: *mut u8, value: u8, count: u64) -> Result<(), TrapCode> {
    by_pieces(ctx, count, 1, false, |at, count| {
        // SAFETY: the caller has found the bytes to be within the memory. They are accessed atomically.
        unsafe { shared_bytes::fill(target.add(at as usize), value, count as usize) };
    })
}

/// `memory.copy`; the ranges may overlap.
///
/// # Errors
/// [`TrapCode::MemoryOutOfBounds`].
pub fn memory_copy(
    ctx: &VmCtx,
    (to, start): (MemoryIdx, u64),
    (from, from_start): (MemoryIdx, u64),
    count: u64,
) -> Result<(), TrapCode> {
    let (to, from) = (memory(ctx, to), memory(ctx, from));
    let target = within(to, start, count)?;
    let source = within(from, from_start, count)?;
    // What is read must not have been written: where they overlap, the end that is further away comes first.
    let backward = source.addr() < target.addr();
    if to.is_shared() || from.is_shared() {
        return copy_shared(ctx, source, target, count, backward);
    }
    by_pieces(ctx, count, 1, backward, |at, count| {
        // SAFETY: the bytes are within bounds on both sides, and the store's thread alone has them; `copy` allows them to
        // overlap.
        unsafe {
            std::ptr::copy(
                source.add(at as usize),
                target.add(at as usize),
                count as usize,
            )
        };
    })
}

/// Apart, as above.
#[cold]
#[inline(never)]
fn copy_shared(
    ctx: &VmCtx,
    source: *const u8,
    target: *mut u8,
    count: u64,
    backward: bool,
) -> Result<(), TrapCode> {
    by_pieces(ctx, count, 1, backward, |at, count| {
        // SAFETY: the caller has found the bytes to be within bounds on both sides; they may overlap. They are accessed
        // atomically.
        unsafe {
            shared_bytes::copy(
                source.add(at as usize),
                target.add(at as usize),
                count as usize,
            )
        };
    })
}

/// `memory.init`, and active data segments.
///
/// # Errors
/// [`TrapCode::MemoryOutOfBounds`].
pub fn memory_init(
    ctx: &VmCtx,
    index: MemoryIdx,
    data: DataIdx,
    start: u64,
    from_start: u64,
    count: u64,
) -> Result<(), TrapCode> {
    let source = speculation::within(ctx.data(data), from_start, count);
    let source = source.ok_or(TrapCode::MemoryOutOfBounds)?;
    let memory = memory(ctx, index);
    let target = within(memory, start, count)?;
    let is_shared = memory.is_shared();
    by_pieces(ctx, count, 1, false, |at, count| {
        let piece = &source[at as usize..(at + count) as usize];
        // SAFETY: the bytes are within the memory, and a module's bytes are no part of one. Where threads share
        // the memory, they are accessed atomically.
        unsafe {
            let target = target.add(at as usize);
            match is_shared {
                true => shared_bytes::write(target, piece),
                false => target.copy_from_nonoverlapping(piece.as_ptr(), piece.len()),
            }
        };
    })
}

/// `data.drop`.
pub fn data_drop(ctx: &VmCtx, data: DataIdx) {
    ctx.drop_data(data);
}

/// `table.get`.
///
/// # Errors
/// [`TrapCode::TableOutOfBounds`]; so for all below.
pub fn table_get(ctx: &VmCtx, index: TableIdx, element: u64) -> Result<Slot, TrapCode> {
    table(ctx, index)
        .get(element)
        .ok_or(TrapCode::TableOutOfBounds)
}

/// `table.set`.
///
/// # Errors
/// [`TrapCode::TableOutOfBounds`].
pub fn table_set(ctx: &VmCtx, index: TableIdx, element: u64, value: Slot) -> Result<(), TrapCode> {
    table(ctx, index)
        .set(element, value)
        .ok_or(TrapCode::TableOutOfBounds)
}

/// `table.size`.
pub fn table_size(ctx: &VmCtx, index: TableIdx) -> Slot {
    table(ctx, index).len()
}

/// `table.grow`: the elements before, or all ones in the type of indices.
pub fn table_grow(ctx: &VmCtx, index: TableIdx, init: Slot, delta: u64) -> Slot {
    let table = table(ctx, index);
    let before = table.grow(delta, init, ctx.store());
    if before.is_some() {
        // There is no answer that says that the guest was stopped; what comes next pays.
        ctx.store().charge(delta * SLOT);
    }
    before.unwrap_or(table.index().grow_failed())
}

/// `table.fill`.
///
/// # Errors
/// [`TrapCode::TableOutOfBounds`].
pub fn table_fill(
    ctx: &VmCtx,
    index: TableIdx,
    start: u64,
    value: Slot,
    count: u64,
) -> Result<(), TrapCode> {
    let table = table(ctx, index);
    let inside = table.has(start, count);
    inside.ok_or(TrapCode::TableOutOfBounds)?;
    by_pieces(ctx, count, SLOT, false, |at, count| {
        let filled = table.fill(start + at, value, count);
        debug_assert!(filled.is_some(), "the elements are there");
    })
}

/// `table.copy`; the ranges may overlap.
///
/// # Errors
/// [`TrapCode::TableOutOfBounds`].
pub fn table_copy(
    ctx: &VmCtx,
    (to, start): (TableIdx, u64),
    (from, from_start): (TableIdx, u64),
    count: u64,
) -> Result<(), TrapCode> {
    let (to, from) = (table(ctx, to), table(ctx, from));
    let inside = to.has(start, count).and(from.has(from_start, count));
    inside.ok_or(TrapCode::TableOutOfBounds)?;
    let backward = std::ptr::eq(to, from) && from_start < start;
    by_pieces(ctx, count, SLOT, backward, |at, count| {
        let copied = to.copy(start + at, from, from_start + at, count);
        debug_assert!(copied.is_some(), "the elements are there");
    })
}

/// `table.init`.
///
/// # Errors
/// [`TrapCode::TableOutOfBounds`].
pub fn table_init(
    ctx: &VmCtx,
    index: TableIdx,
    element: ElemIdx,
    start: u64,
    from_start: u64,
    count: u64,
) -> Result<(), TrapCode> {
    let segment = ctx.element(element).borrow();
    let source = speculation::within(&segment, from_start, count);
    let source = source.ok_or(TrapCode::TableOutOfBounds)?;
    let table = table(ctx, index);
    table.has(start, count).ok_or(TrapCode::TableOutOfBounds)?;
    by_pieces(ctx, count, SLOT, false, |at, count| {
        let piece = &source[at as usize..(at + count) as usize];
        let written = table.write(start + at, piece);
        debug_assert!(written.is_some(), "the elements are there");
    })
}

/// `elem.drop`.
pub fn elem_drop(ctx: &VmCtx, element: ElemIdx) {
    ctx.element(element).take();
}
