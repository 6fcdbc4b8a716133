//! The entry and the exit of each function type ([`crate::entry`]): made once, for all functions of the type.
//!
//! Types that differ in what references are to have the same ones, for a reference is an address. So a function whose type is
//! a subtype of the one that it is called by has trampolines, too.
//!
//! * *Invariant:* they live as long as the [`Jit`](crate::Jit) that they belong to: functions of any module may use
//!   them.
//! * *Invariant:* there are the trampolines for the types of all functions that placed code calls.

use std::borrow::Cow;
use std::collections::HashMap;

use parking_lot::Mutex;
use tiered_decode::types::{FuncType, ValType};
use tiered_runtime::code::EntryFn;

use crate::error::CompileError;
use crate::loader::Blob;

/// Types that there may be trampolines for. They take some hundred bytes each, and are never freed: more than any
/// program has, but not what a host of many hostile modules could be made to keep.
const MAX_TYPES: usize = 1 << 14;

/// Parameters and results that all these may have: some tens of bytes of code each, in both trampolines. That is 16 for each
/// type, where programs have five.
const MAX_VALUES: usize = 1 << 18;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Trampolines(Mutex<Made>);

#[derive(Debug, Default)]
struct Made {
    pairs: HashMap<FuncType, Pair>,
    /// Parameters and results of their types.
    values: usize,
}

impl Made {
    fn has_room(&self, ty: &FuncType) -> bool {
        self.pairs.len() < MAX_TYPES && self.values + values(ty) <= MAX_VALUES
    }
}

/// What counts of a type: all its references are of one type.
fn shape(ty: &FuncType) -> Cow<'_, FuncType> {
    const REFERENCE: ValType = ValType::FUNCREF;
    let is_shape = |ty: &ValType| !ty.is_ref() || *ty == REFERENCE;
    let mut all = ty.params.iter().chain(&ty.results);
    if all.all(is_shape) {
        return Cow::Borrowed(ty);
    }
    let of = |types: &[ValType]| -> Box<[ValType]> {
        let types = types.iter();
        types
            .map(|ty| if ty.is_ref() { REFERENCE } else { *ty })
            .collect()
    };
    Cow::Owned(FuncType {
        params: of(&ty.params),
        results: of(&ty.results),
    })
}

fn values(ty: &FuncType) -> usize {
    ty.params.len() + ty.results.len()
}

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
        self.0.lock().pairs.get(&*shape(ty)).map(Pair::addresses)
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
        if !self.0.lock().has_room(ty) {
            return Err(CompileError::TooManyTypes);
        }
        // Two threads may make the same: the second pair is dropped, and nobody knows it.
        let pair = make()?;
        let mut made = self.0.lock();
        let shape = shape(ty);
        if let Some(known) = made.pairs.get(&*shape) {
            return Ok(known.addresses());
        }
        let addresses = pair.addresses();
        made.values += values(ty);
        made.pairs.insert(shape.into_owned(), pair);
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ty(params: usize) -> FuncType {
        FuncType {
            params: vec![ValType::V128; params].into(),
            results: vec![ValType::I32].into(),
        }
    }

    #[test]
    fn types_differ_by_what_is_no_reference() {
        let of = |params: &[ValType]| FuncType::new(params.iter().copied(), [ValType::EXTERNREF]);
        let (a, b) = (of(&[ValType::EXNREF]), of(&[ValType::FUNC]));
        assert_eq!(shape(&a), shape(&b));
        assert_eq!(shape(&shape(&a)), shape(&a));
        assert_ne!(shape(&a), shape(&of(&[ValType::I64])));
        assert_eq!(*shape(&ty(3)), ty(3));
    }

    #[test]
    fn there_is_room_for_so_many_values() {
        let made = |values| Made {
            values,
            ..Made::default()
        };
        assert!(made(0).has_room(&ty(1_000)));
        assert!(made(MAX_VALUES - 6).has_room(&ty(5)));
        assert!(!made(MAX_VALUES - 6).has_room(&ty(6)));
    }
}
