//! One instruction at a time: which handler it becomes, with which operands.

use tiered_decode::index::{FuncIdx, GlobalIdx, TableIdx, TypeIdx};
use tiered_decode::memory::{self, Load, Store};
use tiered_decode::numeric::{self, Binary, NumOp, Unary, Value};
use tiered_decode::types::{FuncType, RefType, ValType};
use tiered_decode::wasmparser::{MemArg, Operator};
use tiered_runtime::code::FuncRecord;

use crate::builtin;
use crate::call::{CALL, CALL_IMPORT, RELOAD, indirect_handler};
use crate::control::select_family;
use crate::memory::{load_family, load_indexed_family, store_handler};
use crate::numeric::{Condition, WithCondition, binary_family, commutes, condition, condition_handlers, unary_family};
use crate::operand::{Bank, Class, Dest, Reg};
use crate::regs::Handler;
use crate::variable::{global_get_family, global_set_handler};

use super::emit::{Immediates, Source, fields};
use super::stack::{Held, Operand, Place, bank};
use super::{Error, Fusable, Last, Translator};

/// A condition is to be translated.
struct TranslateCondition<'t, 'm>(&'t mut Translator<'m>);

impl WithCondition for TranslateCondition<'_, '_> {
    type Out = ();
    fn with<C: Condition>(self) {
        self.0.condition::<C>();
    }
}

macro_rules! unary_arms {
    ($($name:ident $visit:ident;)*) => {
        fn unary_op(translator: &mut Translator<'_>, op: &Operator<'_>) -> bool {
            match op {
                $(Operator::$name => translator.unary::<numeric::ops::$name>(),)*
                _ => return false,
            }
            true
        }
    };
}

macro_rules! binary_arms {
    ($($name:ident $visit:ident;)*) => {
        fn binary_op(translator: &mut Translator<'_>, op: &Operator<'_>) -> bool {
            match op {
                $(Operator::$name => translator.binary::<numeric::ops::$name>(),)*
                _ => return false,
            }
            true
        }
    };
}

macro_rules! load_arms {
    ($($name:ident $visit:ident;)*) => {
        fn load_op(translator: &mut Translator<'_>, op: &Operator<'_>) -> bool {
            match op {
                $(Operator::$name { memarg } => translator.load::<memory::ops::$name>(memarg),)*
                _ => return false,
            }
            true
        }
    };
}

macro_rules! store_arms {
    ($($name:ident $visit:ident;)*) => {
        fn store_op(translator: &mut Translator<'_>, op: &Operator<'_>) -> bool {
            match op {
                $(Operator::$name { memarg } => translator.store::<memory::ops::$name>(memarg),)*
                _ => return false,
            }
            true
        }
    };
}

tiered_decode::for_each_unary!(unary_arms);
tiered_decode::for_each_binary!(binary_arms);
tiered_decode::for_each_load!(load_arms);
tiered_decode::for_each_store!(store_arms);

impl Translator<'_> {
    /// Translates a reachable instruction.
    pub(super) fn op(&mut self, op: &Operator<'_>) -> Result<(), Error> {
        match *op {
            Operator::Nop => {}
            Operator::Unreachable => self.op_unreachable(),
            Operator::Block { blockty } => self.op_block(blockty),
            Operator::Loop { blockty } => self.op_loop(blockty),
            Operator::If { blockty } => self.op_if(blockty),
            Operator::Else => self.op_else(),
            Operator::End => self.op_end(),
            Operator::Br { relative_depth } => self.op_br(relative_depth),
            Operator::BrIf { relative_depth } => self.op_br_if(relative_depth),
            Operator::BrTable { ref targets } => self.op_br_table(targets)?,
            Operator::Return => self.op_return(),
            Operator::Call { function_index } => self.call(FuncIdx(function_index)),
            Operator::CallIndirect { type_index, table_index } => {
                self.call_indirect(TypeIdx(type_index), TableIdx(table_index));
            }
            Operator::Drop => {
                self.stack.pop();
            }
            Operator::Select | Operator::TypedSelect { .. } => self.select(),
            Operator::LocalGet { local_index } => {
                let ty = self.local_types[local_index as usize];
                self.stack.push(ty, Place::Local(local_index));
            }
            Operator::LocalSet { local_index } => {
                self.set_local(local_index);
                self.stack.pop();
            }
            Operator::LocalTee { local_index } => self.set_local(local_index),
            Operator::GlobalGet { global_index } => self.global_get(GlobalIdx(global_index)),
            Operator::GlobalSet { global_index } => self.global_set(GlobalIdx(global_index)),
            Operator::I32Const { value } => {
                self.stack.push(ValType::I32, Place::Const(u64::from(value.cast_unsigned())));
            }
            Operator::I64Const { value } => self.stack.push(ValType::I64, Place::Const(value.cast_unsigned())),
            Operator::F32Const { value } => {
                self.stack.push(ValType::F32, Place::Const(u64::from(value.bits())));
            }
            Operator::F64Const { value } => self.stack.push(ValType::F64, Place::Const(value.bits())),
            Operator::RefNull { hty } => {
                let ty = RefType::from_heap_type(hty).ok_or(Error::Unreadable)?;
                self.stack.push(ty.into(), Place::Const(0));
            }
            Operator::RefFunc { function_index } => {
                let address = self.vmctx.func(FuncIdx(function_index)).as_ptr().expose_provenance() as u64;
                self.stack.push(ValType::FuncRef, Place::Const(address));
            }
            Operator::RefIsNull => self.is_zero::<numeric::ops::I64Eq>(ValType::I64),
            Operator::I32Eqz => self.i32_eqz(),
            Operator::I64Eqz => self.is_zero::<numeric::ops::I64Eq>(ValType::I64),
            ref other => return self.other_op(other),
        }
        Ok(())
    }

    fn other_op(&mut self, op: &Operator<'_>) -> Result<(), Error> {
        let done = condition(op, TranslateCondition(self)).is_some()
            || load_op(self, op)
            || store_op(self, op)
            || binary_op(self, op)
            || unary_op(self, op)
            || self.builtin_op(op);
        if done { Ok(()) } else { Err(Error::Unreadable) }
    }

    fn unary<O: Unary<A: Reg, R: Reg> + 'static>(&mut self) {
        let a = self.pop_source(Immediates::No);
        self.define(O::R::TYPE, unary_family::<O>(a.class), fields(a.field, 0, 0), &[]);
    }

    /// Takes two operands off, the first one no constant if there is a way around it.
    fn pop_pair(&mut self, commutes: bool) -> (Source, Source) {
        let top = self.stack.height() - 1;
        let (left, right) = (self.stack.operand(top - 1), self.stack.operand(top));
        let exchange =
            commutes && matches!(left.place, Place::Const(_)) && !matches!(right.place, Place::Const(_));
        self.stack.pop();
        self.stack.pop();
        if exchange {
            let a = self.source(right, top, Immediates::No);
            let b = self.source(left, top - 1, Immediates::Typed);
            return (a, b);
        }
        let a = self.source(left, top - 1, Immediates::No);
        let b = self.source(right, top, Immediates::Typed);
        (a, b)
    }

    fn binary<O: Binary<A: Reg, B: Reg, R: Reg> + 'static>(&mut self) {
        let (a, b) = self.pop_pair(commutes(O::OP));
        let family = binary_family::<O>(a.class, b.class);
        let cell = fields(a.field, 0, b.field);
        if O::OP == NumOp::I32Add && b.class != Class::Imm {
            self.define_fusable(ValType::I32, family, cell, Fusable::Sum(a.class, b.class));
        } else {
            self.define(O::R::TYPE, family, cell, &[]);
        }
    }

    fn condition<C: Condition>(&mut self) {
        let (a, b) = self.pop_pair(C::COMMUTES);
        let family = condition_handlers::<C>(a.class, b.class);
        self.define_fusable(ValType::I32, family.value, fields(a.field, 0, b.field), Fusable::Condition(family));
    }

    fn is_zero<C: Condition>(&mut self, ty: ValType) {
        self.stack.push(ty, Place::Const(0));
        self.condition::<C>();
    }

    fn i32_eqz(&mut self) {
        if let Some(Last { fusable: Fusable::Condition(family), .. }) = self.last {
            if let Some(last) = self.fuse() {
                let not = (family.not)();
                self.define_fusable(ValType::I32, not.value, last.fields, Fusable::Condition(not));
                return;
            }
        }
        self.is_zero::<numeric::ops::I32Eq>(ValType::I32);
    }

    /// The address of an access, and what its offset is then: a constant address goes into the offset.
    fn address(&mut self, operand: Operand, height: u32, offset: u32) -> (Source, u32) {
        if let Place::Const(address) = operand.place {
            if let Some(sum) = (address as u32).checked_add(offset) {
                return (Source::ZERO, sum);
            }
        }
        (self.source(operand, height, Immediates::No), offset)
    }

    fn load<O: Load<R: Reg> + 'static>(&mut self, memarg: &MemArg) {
        let offset = memarg.offset as u32;
        if let (Some(Last { fusable: Fusable::Sum(a, b), .. }), Ok(short)) = (self.last, u16::try_from(offset)) {
            if let Some(last) = self.fuse() {
                let (first, second) = ((last.fields & 0xffff) as u32, (last.fields >> 32 & 0xffff) as u32);
                let cell = fields(first, 0, second | u32::from(short) << 16);
                return self.define(O::R::TYPE, load_indexed_family::<O>(a, b), cell, &[]);
            }
        }
        let operand = self.stack.pop();
        let (a, offset) = self.address(operand, self.stack.height(), offset);
        self.define(O::R::TYPE, load_family::<O>(a.class), fields(a.field, 0, offset), &[]);
    }

    fn store<O: Store<A: Reg> + 'static>(&mut self, memarg: &MemArg) {
        let value = self.stack.pop();
        let address = self.stack.pop();
        let height = self.stack.height();
        let immediates = if <O::A as Reg>::BANK == Bank::Int { Immediates::Typed } else { Immediates::No };
        let (a, offset) = self.address(address, height, memarg.offset as u32);
        let v = self.source(value, height + 1, immediates);
        let handler = store_handler::<O>(a.class, v.class);
        if v.class == Class::Imm {
            self.emit(handler, fields(a.field, 0, offset));
            self.code.push(u64::from(v.field));
        } else {
            self.emit(handler, fields(a.field, v.field, offset));
        }
    }

    fn select(&mut self) {
        let c = self.pop_source(Immediates::No);
        let ty = self.stack.operand(self.stack.height() - 1).ty;
        let w = self.pop_whole_slot();
        let v = self.pop_whole_slot();
        let family = select_family(c.class, v.class, w.class);
        let values = u64::from(v.field) | u64::from(w.field) << 32;
        if bank(ty) == Bank::Int {
            return self.define(ty, family, fields(c.field, 0, 0), &[values]);
        }
        self.save_acc(Bank::Int);
        let height = self.stack.height();
        let slot = self.operand_slot(height);
        self.emit(family[Dest::Slot as usize], fields(c.field, slot, 0));
        self.code.push(values);
        self.stack.push(ty, Place::Slot);
        self.stack.hold(Bank::Int, Held::Nothing);
    }

    fn global_get(&mut self, index: GlobalIdx) {
        let ty = self.module.globals()[index.index()].content;
        let address = self.vmctx.global(index).as_ptr().expose_provenance() as u64;
        self.define(ty, global_get_family(bank(ty)), fields(0, 0, 0), &[address]);
    }

    fn global_set(&mut self, index: GlobalIdx) {
        let ty = self.module.globals()[index.index()].content;
        let immediates = if bank(ty) == Bank::Int { Immediates::Slot } else { Immediates::No };
        let value = self.pop_source(immediates);
        self.emit(global_set_handler(bank(ty), value.class), fields(0, 0, value.field));
        self.emit_address(self.vmctx.global(index).as_ptr().cast_const());
    }

    /// Makes everything be in slots that a call does not leave alone, and takes the arguments off; the slot where the
    /// callee's frame begins.
    fn lay_out_call(&mut self, ty: &FuncType) -> u32 {
        let from = self.stack.height() - ty.params.len() as u32;
        self.settle_from(from);
        for bank in [Bank::Int, Bank::F32, Bank::F64] {
            self.save_acc(bank);
        }
        self.stack.truncate(from);
        self.operand_slot(from)
    }

    /// The results of a call are in their slots; a single one is in its accumulator as well.
    fn push_call_results(&mut self, ty: &FuncType) {
        self.stack.forget_held();
        let height = self.stack.height();
        for &ty in &ty.results {
            self.stack.push(ty, Place::Slot);
        }
        if let [ty] = *ty.results {
            self.stack.hold(bank(ty), Held::Operand(height));
        }
    }

    fn call(&mut self, index: FuncIdx) {
        let module = self.module;
        let ty = module.func_type(index);
        let frame = self.lay_out_call(ty);
        let cell = fields(frame, ty.params.len() as u32, 0);
        let func = self.vmctx.func(index);
        // SAFETY: the store is alive.
        let instance = unsafe { func.as_ref() }.instance;
        if std::ptr::eq(instance, self.vmctx) {
            self.emit(CALL, cell);
            self.emit_address::<FuncRecord>(func.as_ptr());
        } else {
            self.emit(CALL_IMPORT, cell);
            self.emit_address::<FuncRecord>(func.as_ptr());
            self.emit_address(std::ptr::from_ref(self.vmctx));
            self.emit_reload();
        }
        self.push_call_results(ty);
    }

    fn call_indirect(&mut self, ty: TypeIdx, table: TableIdx) {
        let sig = self.vmctx.sig(ty);
        let module = self.module;
        let ty = &module.types()[ty.index()];
        let index = self.pop_source(Immediates::No);
        let frame = self.lay_out_call(ty);
        self.emit(indirect_handler(index.class), fields(index.field, frame, ty.params.len() as u32));
        self.emit_address(self.vmctx.table(table).as_ptr().cast_const());
        self.code.push(u64::from(sig.0));
        self.emit_address(std::ptr::from_ref(self.vmctx));
        self.emit_reload();
        self.push_call_results(ty);
    }

    fn emit_reload(&mut self) {
        self.emit_handler(RELOAD);
        self.emit_address(self.vmctx.memory_base.get().as_ptr().cast_const());
    }

    fn builtin_op(&mut self, op: &Operator<'_>) -> bool {
        use builtin as b;
        let ints = |count| (count, Some(ValType::I32));
        let none = |count| (count, None);
        let (handler, indices, (operands, result)) = match *op {
            Operator::MemorySize { mem } => (b::MEMORY_SIZE, [mem, 0], ints(0)),
            Operator::MemoryGrow { mem } => (b::MEMORY_GROW, [mem, 0], ints(1)),
            Operator::MemoryFill { mem } => (b::MEMORY_FILL, [mem, 0], none(3)),
            Operator::MemoryCopy { dst_mem, src_mem } => (b::MEMORY_COPY, [dst_mem, src_mem], none(3)),
            Operator::MemoryInit { data_index, mem } => (b::MEMORY_INIT, [mem, data_index], none(3)),
            Operator::DataDrop { data_index } => (b::DATA_DROP, [data_index, 0], none(0)),
            Operator::TableGet { table } => {
                let ty = self.module.tables()[table as usize].element.into();
                (b::TABLE_GET, [table, 0], (1, Some(ty)))
            }
            Operator::TableSet { table } => (b::TABLE_SET, [table, 0], none(2)),
            Operator::TableSize { table } => (b::TABLE_SIZE, [table, 0], ints(0)),
            Operator::TableGrow { table } => (b::TABLE_GROW, [table, 0], ints(2)),
            Operator::TableFill { table } => (b::TABLE_FILL, [table, 0], none(3)),
            Operator::TableCopy { dst_table, src_table } => (b::TABLE_COPY, [dst_table, src_table], none(3)),
            Operator::TableInit { elem_index, table } => (b::TABLE_INIT, [table, elem_index], none(3)),
            Operator::ElemDrop { elem_index } => (b::ELEM_DROP, [elem_index, 0], none(0)),
            _ => return false,
        };
        self.builtin(handler, indices, operands, result);
        true
    }

    fn builtin(&mut self, handler: Handler, indices: [u32; 2], operands: u32, result: Option<ValType>) {
        let from = self.stack.height() - operands;
        self.settle_from(from);
        self.save_acc(Bank::Int);
        self.stack.truncate(from);
        let slot = self.operand_slot(from);
        self.emit(handler, fields(slot, 0, 0));
        self.emit_address(std::ptr::from_ref(self.vmctx));
        self.code.push(u64::from(indices[0]) | u64::from(indices[1]) << 32);
        self.stack.hold(Bank::Int, Held::Nothing);
        if let Some(ty) = result {
            self.stack.push(ty, Place::Slot);
            self.stack.hold(Bank::Int, Held::Operand(from));
        }
    }
}
