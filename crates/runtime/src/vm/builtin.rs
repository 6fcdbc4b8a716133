//! What instructions do that are more than a few machine instructions: each body once, for every tier.
//!
//! Operands come as the unsigned numbers that they are; bounds are checked before anything is written, as the spec
//! has it since bulk memory operations (sections 4.4.6 and 4.4.7).

use tiered_decode::index::{DataIdx, ElemIdx, MemoryIdx, TableIdx};

use crate::vm::frame::Slot;
use crate::vm::memory::MemoryRecord;
use crate::vm::speculation;
use crate::vm::table::TableRecord;
use crate::vm::trap::TrapCode;
use crate::vm::vmctx::VmCtx;

/// What a grow instruction answers when it can't.
const GROW_FAILED: Slot = 0xffff_ffff;

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
    // SAFETY: `start` is within the memory.
    Ok(unsafe { memory.base().as_ptr().add(start as usize) })
}

/// `memory.size`: the size in pages.
pub fn memory_size(ctx: &VmCtx, index: MemoryIdx) -> Slot {
    memory(ctx, index).pages()
}

/// `memory.grow`: the pages before, or -1.
pub fn memory_grow(ctx: &VmCtx, index: MemoryIdx, delta: u64) -> Slot {
    memory(ctx, index)
        .grow(delta, ctx.store())
        .unwrap_or(GROW_FAILED)
}

/// `memory.fill`.
///
/// # Errors
/// [`TrapCode::MemoryOutOfBounds`], and nothing is written; so for all below.
pub fn memory_fill(
    ctx: &VmCtx,
    index: MemoryIdx,
    start: u64,
    value: u8,
    count: u64,
) -> Result<(), TrapCode> {
    ctx.store().charge(count);
    let target = within(memory(ctx, index), start, count)?;
    // SAFETY: the bytes are within the memory; a store has one thread, and nobody holds a reference to them.
    unsafe { target.write_bytes(value, count as usize) };
    Ok(())
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
    ctx.store().charge(count);
    let target = within(memory(ctx, to), start, count)?;
    let source = within(memory(ctx, from), from_start, count)?;
    // SAFETY: `count` bytes are within bounds on both sides; `copy` allows them to overlap.
    unsafe { std::ptr::copy(source, target, count as usize) };
    Ok(())
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
    ctx.store().charge(count);
    let source = speculation::within(ctx.data(data), from_start, count);
    let source = source.ok_or(TrapCode::MemoryOutOfBounds)?;
    let target = within(memory(ctx, index), start, count)?;
    // SAFETY: the bytes are within the memory, and a module's bytes are no part of one.
    unsafe { target.copy_from_nonoverlapping(source.as_ptr(), source.len()) };
    Ok(())
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

/// `table.grow`: the elements before, or -1.
pub fn table_grow(ctx: &VmCtx, index: TableIdx, init: Slot, delta: u64) -> Slot {
    table(ctx, index)
        .grow(delta, init, ctx.store())
        .unwrap_or(GROW_FAILED)
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
    ctx.store().charge(count * 8);
    table(ctx, index)
        .fill(start, value, count)
        .ok_or(TrapCode::TableOutOfBounds)
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
    ctx.store().charge(count * 8);
    table(ctx, to)
        .copy(start, table(ctx, from), from_start, count)
        .ok_or(TrapCode::TableOutOfBounds)
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
    ctx.store().charge(count * 8);
    let segment = ctx.element(element).borrow();
    let source = speculation::within(&segment, from_start, count);
    let source = source.ok_or(TrapCode::TableOutOfBounds)?;
    table(ctx, index)
        .write(start, source)
        .ok_or(TrapCode::TableOutOfBounds)
}

/// `elem.drop`.
pub fn elem_drop(ctx: &VmCtx, element: ElemIdx) {
    ctx.element(element).take();
}
