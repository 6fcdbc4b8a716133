//! The entry and the exit of each function type ([`crate::entry`]): made once, for all functions of the type.
//!
//! * *Invariant:* they live as long as the [`Jit`](crate::Jit) that they belong to: functions of any module may use
//!   them.
//! * *Invariant:* there are the trampolines for the types of all functions that placed code calls.

use std::collections::HashMap;

use parking_lot::Mutex;
use tiered_decode::types::FuncType;
use tiered_runtime::code::EntryFn;

use crate::error::CompileError;
use crate::loader::Blob;

/// Types that there may be trampolines for. They take some hundred bytes each, and are never freed: more than any
/// program has, but not what a host of many hostile modules could be made to keep.
const MAX_TYPES: usize = 1 << 14;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Trampolines(Mutex<HashMap<FuncType, Pair>>);

/// The two for one type.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) entry: Blob,
    pub(crate) exit: Blob,
}

/// Where those are.
#[derive(Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) entry: EntryFn,
    pub(crate) exit: *const u8,
}

impl Pair {
    fn addresses(&self) -> Addresses {
        Addresses {
            entry: entry_fn(&self.entry),
            exit: self.exit.code(),
        }
    }
}

/// The entry as what it is.
pub(crate) fn entry_fn(entry: &Blob) -> EntryFn {
    // SAFETY: `build_entry` makes functions of this type.
    unsafe { std::mem::transmute::<*const u8, EntryFn>(entry.code()) }
}

impl Trampolines {
    /// Those for `ty`, if they were made.
    pub(crate) fn get(&self, ty: &FuncType) -> Option<Addresses> {
        self.0.lock().get(ty).map(Pair::addresses)
    }

    /// Those for `ty`, which `make` makes if they are not there yet.
    pub(crate) fn get_or_make(
        &self,
        ty: &FuncType,
        make: impl FnOnce() -> Result<Pair, CompileError>,
    ) -> Result<Addresses, CompileError> {
        if let Some(known) = self.get(ty) {
            return Ok(known);
        }
        if self.0.lock().len() >= MAX_TYPES {
            return Err(CompileError::TooManyTypes);
        }
        // Two threads may make the same: the second pair is dropped, and nobody knows it.
        let pair = make()?;
        let mut types = self.0.lock();
        Ok(types.entry(ty.clone()).or_insert(pair).addresses())
    }
}
