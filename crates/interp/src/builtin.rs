//! Instructions whose body is in `tiered_runtime::builtin`: growing, filling, copying, initializing, tables.
//!
//! Their operands are in the operands' own slots, from the field `a` on; the result replaces the first. The cell's
//! third word has two indices of 32 bits.

use std::marker::PhantomData;

use tiered_decode::index::{DataIdx, ElemIdx, FuncIdx, MemoryIdx, TableIdx};
use tiered_runtime::TrapCode;
use tiered_runtime::builtin;
use tiered_runtime::frame::Slot;
use tiered_runtime::vmctx::VmCtx;

use crate::operand::A;
use crate::regs::{Ended, Handler, Op, Regs, exec};

/// The body of such an instruction.
trait Builtin: 'static {
    /// Runs on `operands`, which the result replaces from the first on.
    fn call(ctx: &VmCtx, indices: [u32; 2], operands: &mut Operands) -> Result<(), TrapCode>;
}

/// The operands of a builtin.
struct Operands(*mut Slot);

impl Operands {
    /// Operand `index`: an unsigned number of 64 bits, or one of 32 bits, which is zero-extended.
    fn slot(&self, index: usize) -> Slot {
        debug_assert!(index < 3, "no instruction here has more operands");
        // SAFETY: the translator laid out the operands of the instruction.
        unsafe { *self.0.add(index) }
    }

    fn result(&mut self, value: Slot) {
        // SAFETY: the first operand's slot exists also where there is only a result.
        unsafe { *self.0 = value };
    }
}

/// Runs a builtin; 0, or one more than the code of its trap.
#[inline(never)]
unsafe fn call<O: Builtin>(ctx: *const VmCtx, indices: [u32; 2], operands: *mut Slot) -> u64 {
    // SAFETY: the registers have the address of the instance whose code runs.
    let ctx = unsafe { VmCtx::borrow(ctx) };
    match O::call(ctx, indices, &mut Operands(operands)) {
        Ok(()) => 0,
        Err(code) => code.number() + 1,
    }
}

struct BuiltinOp<O>(PhantomData<O>);

impl<O: Builtin> Op for BuiltinOp<O> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell.
        unsafe {
            let operands = regs.slot::<A>();
            let failed = call::<O>(
                regs.instance(),
                [regs.u32::<16>(), regs.u32::<20>()],
                operands,
            );
            if failed != 0 {
                regs.acc = failed - 1;
                return regs.become_op::<crate::exec::RaiseTrap>();
            }
            regs.acc = *operands;
            regs.next::<3>()
        }
    }
}

macro_rules! builtins {
    ($($(#[$doc:meta])* $name:ident $constant:ident ($ctx:ident, $indices:ident, $operands:ident) $body:block)*) => {$(
        struct $name;

        impl Builtin for $name {
            fn call($ctx: &VmCtx, $indices: [u32; 2], $operands: &mut Operands) -> Result<(), TrapCode> $body
        }

        $(#[$doc])*
        pub(crate) const $constant: Handler = exec::<BuiltinOp<$name>>;
    )*};
}

builtins! {
    /// `ref.func`
    RefFunc REF_FUNC (ctx, indices, operands) {
        let record = ctx.func(FuncIdx(indices[0]));
        operands.result(record.as_ptr().expose_provenance() as Slot);
        Ok(())
    }
    /// `memory.size`
    MemorySize MEMORY_SIZE (ctx, indices, operands) {
        operands.result(builtin::memory_size(ctx, MemoryIdx(indices[0])));
        Ok(())
    }
    /// `memory.grow`
    MemoryGrow MEMORY_GROW (ctx, indices, operands) {
        operands.result(builtin::memory_grow(ctx, MemoryIdx(indices[0]), operands.slot(0)));
        Ok(())
    }
    /// `memory.fill`
    MemoryFill MEMORY_FILL (ctx, indices, operands) {
        let (start, value, count) = (operands.slot(0), operands.slot(1) as u8, operands.slot(2));
        builtin::memory_fill(ctx, MemoryIdx(indices[0]), start, value, count)
    }
    /// `memory.copy`
    MemoryCopy MEMORY_COPY (ctx, indices, operands) {
        let to = (MemoryIdx(indices[0]), operands.slot(0));
        builtin::memory_copy(ctx, to, (MemoryIdx(indices[1]), operands.slot(1)), operands.slot(2))
    }
    /// `memory.init`
    MemoryInit MEMORY_INIT (ctx, indices, operands) {
        let (start, from, count) = (operands.slot(0), operands.slot(1), operands.slot(2));
        builtin::memory_init(ctx, MemoryIdx(indices[0]), DataIdx(indices[1]), start, from, count)
    }
    /// `data.drop`
    DataDrop DATA_DROP (ctx, indices, _operands) {
        builtin::data_drop(ctx, DataIdx(indices[0]));
        Ok(())
    }
    /// `table.get`
    TableGet TABLE_GET (ctx, indices, operands) {
        operands.result(builtin::table_get(ctx, TableIdx(indices[0]), operands.slot(0))?);
        Ok(())
    }
    /// `table.set`
    TableSet TABLE_SET (ctx, indices, operands) {
        builtin::table_set(ctx, TableIdx(indices[0]), operands.slot(0), operands.slot(1))
    }
    /// `table.size`
    TableSize TABLE_SIZE (ctx, indices, operands) {
        operands.result(builtin::table_size(ctx, TableIdx(indices[0])));
        Ok(())
    }
    /// `table.grow`
    TableGrow TABLE_GROW (ctx, indices, operands) {
        let grown = builtin::table_grow(ctx, TableIdx(indices[0]), operands.slot(0), operands.slot(1));
        operands.result(grown);
        Ok(())
    }
    /// `table.fill`
    TableFill TABLE_FILL (ctx, indices, operands) {
        builtin::table_fill(ctx, TableIdx(indices[0]), operands.slot(0), operands.slot(1), operands.slot(2))
    }
    /// `table.copy`
    TableCopy TABLE_COPY (ctx, indices, operands) {
        let to = (TableIdx(indices[0]), operands.slot(0));
        builtin::table_copy(ctx, to, (TableIdx(indices[1]), operands.slot(1)), operands.slot(2))
    }
    /// `table.init`
    TableInit TABLE_INIT (ctx, indices, operands) {
        let (start, from, count) = (operands.slot(0), operands.slot(1), operands.slot(2));
        builtin::table_init(ctx, TableIdx(indices[0]), ElemIdx(indices[1]), start, from, count)
    }
    /// `elem.drop`
    ElemDrop ELEM_DROP (ctx, indices, _operands) {
        builtin::elem_drop(ctx, ElemIdx(indices[0]));
        Ok(())
    }
}
