//! What of a body and its module makes compiling dear, as far as it can be told without a translation.
//!
//! The compiler foresees a price from its own form of the body. To make that form takes time, too; and what is called needs
//! ways in and out for each type, which that price leaves out. Both may take a hundred times the price where much is
//! carried by few bytes: types of a thousand values, thousands of locals, hundreds of types.
//!
//! * *Invariant:* finding it out takes a time that is linear in the module's types, once a module, and in the declarations
//!   of a body's locals.

use std::sync::OnceLock;

use tiered_decode::Module;
use tiered_decode::index::FuncIdx;
use tiered_decode::types::SubType;

/// Counts of a module's types.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Types {
    /// How many there are.
    count: usize,
    /// The most parameters and results of one, together.
    widest: usize,
}

/// Those of a module, once it was asked for them.
#[derive(Debug, Default)]
pub(crate) struct TypesOnce(OnceLock<Types>);

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// The size of the body, as far as compiling it takes time.
    pub(crate) bytes: usize,
    /// Locals, parameters among them.
    pub(crate) locals: u64,
    /// Types that the module has.
    pub(crate) types: usize,
    /// The most parameters and results of one of them, together.
    pub(crate) widest: usize,
}

impl Shape {
    /// That of a function whose body has `bytes`.
    pub(crate) fn of(module: &Module, types: &TypesOnce, func: FuncIdx, bytes: usize) -> Shape {
        let width = |ty: &SubType| ty.func().map_or(0, |ty| ty.params.len() + ty.results.len());
        let types = types.0.get_or_init(|| Types {
            count: module.types().len(),
            widest: module.types().iter().map(width).max().unwrap_or(0),
        });
        let declared = module.body(func).into_iter().flat_map(|body| body.locals());
        let declared: u64 = declared.map(|(count, _)| u64::from(count)).sum();
        Shape {
            bytes,
            locals: declared + module.func_type(func).params.len() as u64,
            types: types.count,
            widest: types.widest,
        }
    }
}
