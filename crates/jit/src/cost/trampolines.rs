//! What the trampolines take that a compile makes, one pair for each function type that is new ([`crate::trampolines`]).
//!
//! All values of a type are live at one time in its trampolines. That takes the thorough allocator the square of them: 130
//! ms for a thousand parameters and results, of which a function can name many in few bytes. So those of many values are
//! made in a single pass.

use std::time::Duration;

use tiered_decode::types::FuncType;

use super::Allocator;

/// A type has many values from this number on, parameters and results.
const MANY_VALUES: u64 = 32;

/// How registers of the trampolines for a type are allocated.
pub(crate) fn allocator(ty: &FuncType) -> Allocator {
    if values(ty) < MANY_VALUES {
        Allocator::Thorough
    } else {
        Allocator::SinglePass
    }
}

fn values(ty: &FuncType) -> u64 {
    (ty.params.len() + ty.results.len()) as u64
}

/// Trampolines that are made one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trampolines {
    /// Types.
    types: u64,
    /// Parameters and results of all of them.
    values: u64,
    /// Those of the type that has the most.
    most: u64,
}

impl Trampolines {
    /// Both for functions of this type.
    pub(crate) fn add(&mut self, ty: &FuncType) {
        self.types += 1;
        self.values += values(ty);
        self.most = self.most.max(values(ty));
    }

    /// The one into a loop, which has the frame for its arguments, and few results.
    pub(crate) fn add_loop(&mut self) {
        self.types += 1;
    }

    /// How long they take.
    pub(crate) fn time(&self) -> Duration {
        Duration::from_nanos(140_000 * self.types + 2_400 * self.values)
    }

    /// The memory that they take at most at one time.
    pub(crate) fn bytes(&self) -> usize {
        let first = if self.types > 0 { 25_000 } else { 0 };
        (first + 800 * self.most + 100 * self.values) as usize
    }
}
