//! How items of a stream or a future get from one memory to another.
//!
//! *Invariant:* items that are numbers go from memory to memory in one piece; others are lifted and lowered, a bounded number
//! at a time.

use std::sync::Arc;

use tiered::{AnyStore, Trap};

use crate::abi::{AbiError, LiftContext, LowerContext};
use crate::concurrent::transmit::Buffer;
use crate::func::{LiftedFrom, LoweredTo, realloc_trap};
use crate::lowered::set_flag;
use crate::state::Shared;
use crate::types::{AddressType, ValType};

/// How many items are lifted before they are lowered.
const PIECE: u32 = 1024;

/// Whether items are numbers, any bits of which are a value; nothing is one, too.
pub(super) fn is_numeric(item: Option<ValType>) -> bool {
    matches!(
        item,
        None | Some(
            ValType::S8
                | ValType::U8
                | ValType::S16
                | ValType::U16
                | ValType::S32
                | ValType::U32
                | ValType::S64
                | ValType::U64
                | ValType::F32
                | ValType::F64
        )
    )
}

/// Size and alignment of an item.
fn layout(shared: &Shared, item: ValType, address: AddressType) -> (u32, u32) {
    let abi = shared.component.types().abi(item);
    let layout = match address {
        AddressType::I32 => abi.memory32,
        AddressType::I64 => abi.memory64,
    };
    (layout.size, layout.align)
}

/// Checks that a buffer is aligned and in its memory.
pub(super) fn check(
    store: &AnyStore,
    shared: &Shared,
    item: Option<ValType>,
    buffer: &Buffer,
) -> Result<(), Trap> {
    let Some(item) = item else { return Ok(()) };
    if buffer.length == 0 {
        return Ok(());
    }
    let (size, align) = layout(shared, item, buffer.options.address);
    if !buffer.address.is_multiple_of(align.into()) {
        return Err(Trap::message(format!(
            "the buffer of a stream or future at {:#x} is not aligned",
            buffer.address
        )));
    }
    let bytes = u64::from(size) * u64::from(buffer.length);
    let end = buffer.address.checked_add(bytes);
    let memory = buffer
        .memory
        .map_or(0, |memory| memory.data(store).len() as u64);
    match end.is_some_and(|end| end <= memory) {
        true => Ok(()),
        false => Err(Trap::message(
            "the buffer of a stream or future is out of bounds of memory",
        )),
    }
}

/// Where the next item of a buffer is.
pub(super) fn next_address(shared: &Shared, item: Option<ValType>, buffer: &Buffer) -> u64 {
    let size = item.map_or(0, |item| layout(shared, item, buffer.options.address).0);
    buffer.address + u64::from(size) * u64::from(buffer.progress)
}

/// Copies items from a buffer to another one.
pub(super) fn copy_items(
    store: &mut AnyStore,
    shared: &Arc<Shared>,
    item: Option<ValType>,
    from: &Buffer,
    to: &Buffer,
    items: u32,
) -> Result<(), Trap> {
    let Some(item) = item else { return Ok(()) };
    if is_numeric(Some(item)) {
        let (size, _) = layout(shared, item, from.options.address);
        return copy_bytes(
            store,
            shared,
            item,
            from,
            to,
            u64::from(size) * u64::from(items),
        );
    }
    let (mut from, mut to) = (*from, *to);
    let mut left = items;
    while left > 0 {
        let piece = left.min(PIECE);
        store.meter().charge(u64::from(piece >> 6) + 1)?;
        copy_values(store, shared, item, &from, &to, piece)?;
        from.progress += piece;
        to.progress += piece;
        left -= piece;
    }
    Ok(())
}

fn copy_bytes(
    store: &mut AnyStore,
    shared: &Shared,
    item: ValType,
    from: &Buffer,
    to: &Buffer,
    bytes: u64,
) -> Result<(), Trap> {
    // As a copy of memory pays.
    store.meter().charge(bytes >> 12)?;
    let begin = |buffer: &Buffer| next_address(shared, Some(item), buffer) as usize;
    let (source, target, bytes) = (begin(from), begin(to), bytes as usize);
    let (Some(from), Some(to)) = (from.memory, to.memory) else {
        return Err(Trap::message("a stream or future without a memory"));
    };
    match from.data_and_other_mut(to, store) {
        Some((from, to)) => {
            let from = from.get(source..).and_then(|from| from.get(..bytes));
            let to = to.get_mut(target..).and_then(|to| to.get_mut(..bytes));
            match (from, to) {
                (Some(from), Some(to)) => to.copy_from_slice(from),
                _ => return Err(gone()),
            }
        }
        None => {
            let all = to.data_mut(store);
            let fits = |at: usize| at.checked_add(bytes).is_some_and(|end| end <= all.len());
            if !fits(source) || !fits(target) {
                return Err(gone());
            }
            all.copy_within(source..source + bytes, target);
        }
    }
    Ok(())
}

/// Memories do not shrink.
fn gone() -> Trap {
    Trap::message("the buffer of a stream or future is out of bounds of memory")
}

fn copy_values(
    store: &mut AnyStore,
    shared: &Arc<Shared>,
    item: ValType,
    from: &Buffer,
    to: &Buffer,
    items: u32,
) -> Result<(), Trap> {
    let types = shared.component.types();
    let trap = |error: AbiError| Trap::message(format!("an item of a stream or future: {error}"));
    let address = next_address(shared, Some(item), from);
    let (state, bytes) = shared.state_and_bytes(store, from.memory);
    let mut handles = LiftedFrom {
        state,
        instance: from.instance,
    };
    let cx = LiftContext::new(types, from.options, bytes, &[], &mut handles);
    let mut cx = cx.with_budget(shared.limits.lifted_bytes);
    let values = cx.buffer(item, address, items).map_err(trap)?;

    let address = next_address(shared, Some(item), to);
    set_flag(store, to.may_leave, false);
    let mut guest = LoweredTo {
        store,
        shared,
        instance: to.instance,
        memory: to.memory,
        options: to.options,
        realloc: to.realloc,
    };
    let mut cx = LowerContext::new(types, to.options, &mut guest);
    let lowered = cx.buffer(item, address, &values);
    lowered.map_err(|error| match realloc_trap(error) {
        Ok(trap) => trap,
        Err(error) => trap(error),
    })?;
    set_flag(store, to.may_leave, true);
    Ok(())
}
