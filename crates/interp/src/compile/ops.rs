//! One instruction at a time: which handler it becomes, with which operands.

use tiered_decode::index::{FuncIdx, GlobalIdx, TableIdx, TypeIdx};
use tiered_decode::memory::{Load, MemoryInt, Store};
use tiered_decode::numeric::{self, Binary, NumOp, Unary, Value};
use tiered_decode::types::{self, CompositeKind, FuncType, HeapType, RefType, ValType};
use tiered_decode::wasmparser::MemArg;
use tiered_decode::wide::Wide;
use tiered_runtime::GUARD_BYTES;
use tiered_runtime::layout::{FuncPlace, GlobalPlace, offsets};

use crate::any_memory;
use crate::builtin::REF_FUNC;
use crate::call::{CALL, CALL_IMPORT, RELOAD, call_ref_handler, indirect_handler};
use crate::control::{non_null_family, select_family, select_vector_family};
use crate::memory::{MASK_ADDRESS, load_family, load_indexed_family, store_handler};
use crate::numeric::{
    Condition, WithCondition, binary_family, commutes, condition, condition_handlers, is_condition,
    unary_family,
};
use crate::operand::{Bank, Class, Dest, Reg};
use crate::regs::Handler;
use crate::tail_call::{
    RETURN_CALL, RETURN_CALL_IMPORT, return_indirect_handler, return_ref_handler,
};
use crate::variable::{global_get_family, global_set_handler};
use crate::wide;

use super::emit::{Immediates, Source, fields};
use super::far::{CallFrame, is_far};
use super::stack::{Held, Operand, Place};
use super::{Error, Fusable, Last, Translator};

/// A condition is to be translated.
struct TranslateCondition<'t, 'm>(&'t mut Translator<'m>);

impl WithCondition for TranslateCondition<'_, '_> {
    fn with<C: Condition>(self) {
        self.0.condition::<C>();
    }
}

/// An offset in an instance, as a cell has it.
pub(super) fn offset(at: i32) -> u64 {
    u64::try_from(at).expect("offsets of a layout are not negative")
}

impl Translator<'_> {
    pub(super) fn local_get(&mut self, index: u32) {
        let ty = self.local_types[index as usize];
        self.stack.push(ty, Place::Local(index));
    }

    pub(super) fn local_set(&mut self, index: u32) {
        self.set_local(index);
        self.stack.pop();
    }

    pub(super) fn constant(&mut self, ty: ValType, bits: u64) {
        self.stack.push(ty, Place::Const(bits));
    }

    pub(super) fn ref_func(&mut self, func: FuncIdx) {
        let id = self.module_code.type_id(self.module.funcs()[func.index()]);
        let heap = HeapType::Concrete(CompositeKind::Func, id);
        let ty = RefType::new(false, heap).into();
        self.builtin(REF_FUNC, [func.0, 0], 0, Some(ty));
    }

    pub(super) fn unary<O: Unary<A: Reg, R: Reg> + 'static>(&mut self) {
        match O::OP {
            NumOp::I32Eqz => return self.i32_eqz(),
            NumOp::I64Eqz => return self.is_zero(ValType::I64),
            _ => {}
        }
        let a = self.pop_source(Immediates::No);
        self.define(
            O::R::TYPE,
            unary_family::<O>(a.class),
            fields(a.field, 0, 0),
            &[],
        );
    }

    /// Takes two operands off, the first one no constant if there is a way around it. The second may be any constant
    /// that is `allowed`.
    pub(super) fn pop_pair(&mut self, commutes: bool, allowed: Immediates) -> (Source, Source) {
        let top = self.stack.height() - 1;
        let (left, right) = (self.stack.operand(top - 1), self.stack.operand(top));
        let exchange = commutes
            && matches!(left.place, Place::Const(_))
            && !matches!(right.place, Place::Const(_));
        self.stack.pop();
        self.stack.pop();
        if exchange {
            let a = self.source(right, top, Immediates::No);
            let b = self.source(left, top - 1, allowed);
            return (a, b);
        }
        let a = self.source(left, top - 1, Immediates::No);
        let b = self.source(right, top, allowed);
        (a, b)
    }

    pub(super) fn binary<O: Binary<A: Reg, B: Reg, R: Reg> + 'static>(&mut self) {
        if const { is_condition(O::OP) } {
            return condition(O::OP, TranslateCondition(self));
        }
        let (a, b) = self.pop_pair(commutes(O::OP), Immediates::Wide);
        let family = binary_family::<O>(a.class, b.class);
        let cell = fields(a.field, 0, b.field);
        if O::OP == NumOp::I32Add && !matches!(b.class, Class::Imm | Class::Wide) {
            self.define_fusable(ValType::I32, family, cell, Fusable::Sum(a.class, b.class));
        } else if b.class == Class::Wide {
            self.define(O::R::TYPE, family, cell, &[b.bits]);
        } else {
            self.define(O::R::TYPE, family, cell, &[]);
        }
    }

    fn condition<C: Condition>(&mut self) {
        let (a, b) = self.pop_pair(C::COMMUTES, Immediates::Typed);
        let family = condition_handlers::<C>(a.class, b.class);
        self.define_fusable(
            ValType::I32,
            family.value,
            fields(a.field, 0, b.field),
            Fusable::Condition(family),
        );
    }

    /// Compares the top operand with zero, or null.
    pub(super) fn is_zero(&mut self, ty: ValType) {
        self.constant(ty, 0);
        match ty {
            ValType::I32 => self.condition::<numeric::ops::I32Eq>(),
            ValType::I64 | ValType::Ref(_) => {
                self.condition::<numeric::ops::I64Eq>();
            }
            ValType::F32 | ValType::F64 | ValType::V128 => {
                unreachable!("only integers and references are compared with zero")
            }
        }
    }

    fn i32_eqz(&mut self) {
        if let Some(Last {
            fusable: Fusable::Condition(family),
            ..
        }) = self.last
            && let Some(last) = self.fuse()
        {
            let not = (family.not)();
            self.define_fusable(
                ValType::I32,
                not.value,
                last.fields,
                Fusable::Condition(not),
            );
            return;
        }
        self.is_zero(ValType::I32);
    }

    /// The address of an access, and what its offset is then: a constant address goes into the offset.
    fn address(&mut self, operand: Operand, height: u32, offset: u32) -> (Source, u32) {
        if let Place::Const(address) = operand.place
            && let Some(sum) = (address as u32).checked_add(offset)
        {
            return (Source::ZERO, sum);
        }
        (self.source(operand, height, Immediates::No), offset)
    }

    /// The address at `height`, if it may lead farther than what is reserved for a memory: it has passed
    /// [`MASK_ADDRESS`] then.
    fn masked(&mut self, height: u32, offset: u32, size: usize) -> Option<Source> {
        let is_far = match self.stack.operand(height).place {
            Place::Const(address) => (address as u32).checked_add(offset).is_none(),
            Place::Local(_) | Place::Slot | Place::Acc(_) => {
                u64::from(offset) + size as u64 > GUARD_BYTES as u64
            }
        };
        if !is_far {
            return None;
        }
        self.settle(height);
        let source = self.near_source(Source::slot(self.operand_slot(height)), 1);
        self.emit(MASK_ADDRESS, fields(source.field, 0, offset));
        Some(source)
    }

    /// Takes the operands of an access off, whose size is `size`: the address is the lowest of `count`. Its source, the
    /// offset that is left, and the value to be stored if there is one, with its height.
    pub(super) fn pop_access(
        &mut self,
        count: u32,
        offset: u32,
        size: usize,
    ) -> (Source, u32, Option<(Operand, u32)>) {
        let height = self.stack.height() - count;
        let masked = self.masked(height, offset, size);
        let value = (count > 1).then(|| (self.stack.pop(), height + 1));
        let address = self.stack.pop();
        let (a, offset) = match masked {
            Some(source) => (source, offset),
            None => self.address(address, height, offset),
        };
        (a, offset, value)
    }

    pub(super) fn load<O: Load<R: Reg> + 'static>(&mut self, memarg: &MemArg) -> Result<(), Error> {
        let Some(offset) = self.near_offset(memarg)? else {
            let shared = self.is_shared(memarg);
            return self.load_any(memarg, any_memory::load_family::<O>(shared), O::R::TYPE);
        };
        self.load_near::<O>(offset);
        Ok(())
    }

    fn load_near<O: Load<R: Reg> + 'static>(&mut self, offset: u32) {
        if let (
            Some(Last {
                fusable: Fusable::Sum(a, b),
                ..
            }),
            Ok(short),
        ) = (self.last, u16::try_from(offset))
            && let Some(last) = self.fuse()
        {
            let (first, second) = (
                (last.fields & 0xffff) as u32,
                (last.fields >> 32 & 0xffff) as u32,
            );
            let cell = fields(first, 0, second | u32::from(short) << 16);
            return self.define(O::R::TYPE, load_indexed_family::<O>(a, b), cell, &[]);
        }
        let (a, offset, _) = self.pop_access(1, offset, O::Mem::SIZE);
        self.define(
            O::R::TYPE,
            load_family::<O>(a.class),
            fields(a.field, 0, offset),
            &[],
        );
    }

    pub(super) fn store<O: Store<A: Reg> + 'static>(
        &mut self,
        memarg: &MemArg,
    ) -> Result<(), Error> {
        let Some(offset) = self.near_offset(memarg)? else {
            let shared = self.is_shared(memarg);
            return self.store_any(memarg, any_memory::store_handler::<O>(shared), 0);
        };
        self.store_near::<O>(offset);
        Ok(())
    }

    fn store_near<O: Store<A: Reg> + 'static>(&mut self, offset: u32) {
        let (a, offset, value) = self.pop_access(2, offset, O::Mem::SIZE);
        let immediates = if <O::A as Reg>::BANK == Bank::Int {
            Immediates::Typed
        } else {
            Immediates::No
        };
        let v = value.map_or(Source::ZERO, |(value, height)| {
            self.source(value, height, immediates)
        });
        let handler = store_handler::<O>(a.class, v.class);
        if v.class == Class::Imm {
            self.emit(handler, fields(a.field, 0, offset));
            self.code.push(u64::from(v.field));
        } else {
            self.emit(handler, fields(a.field, v.field, offset));
        }
    }

    pub(super) fn select(&mut self) {
        let c = self.pop_source(Immediates::No);
        let ty = self.stack.operand(self.stack.height() - 1).ty;
        if Bank::of(ty) == Bank::V128 {
            return self.select_vector(c);
        }
        let w = self.pop_whole_slot();
        let v = self.pop_whole_slot();
        let family = select_family(c.class, v.class, w.class);
        let values = u64::from(v.field) | u64::from(w.field) << 32;
        if Bank::of(ty) == Bank::Int {
            return self.define(ty, family, fields(c.field, 0, 0), &[values]);
        }
        self.save_acc(Bank::Int);
        let own = self.stack.next_slot(ty);
        let slot = self.near_slot(own, 1);
        self.emit(family[Dest::Slot as usize], fields(c.field, slot, 0));
        self.code.push(values);
        self.emit_back(slot, own);
        self.stack.push(ty, Place::Slot);
        self.stack.hold(Bank::Int, Held::Nothing);
    }

    fn select_vector(&mut self, c: Source) {
        let w = self.pop_source(Immediates::No);
        let v = self.pop_source(Immediates::No);
        let family = select_vector_family(c.class, v.class, w.class);
        let values = u64::from(v.field) | u64::from(w.field) << 32;
        self.define(ValType::V128, family, fields(c.field, 0, 0), &[values]);
    }

    pub(super) fn global_get(&mut self, index: GlobalIdx) {
        let ty = self.module.globals()[index.index()].content;
        let (imported, at) = self.global_place(index);
        self.define(
            ty,
            global_get_family(Bank::of(ty), imported),
            fields(0, 0, 0),
            &[at],
        );
    }

    pub(super) fn global_set(&mut self, index: GlobalIdx) {
        let ty = self.module.globals()[index.index()].content;
        let immediates = if Bank::of(ty) == Bank::Int {
            Immediates::Slot
        } else {
            Immediates::No
        };
        let value = self.pop_source(immediates);
        let (imported, at) = self.global_place(index);
        self.emit(
            global_set_handler(Bank::of(ty), value.class, imported),
            fields(0, 0, value.field),
        );
        self.code.push(at);
    }

    /// Whether a global is imported, and where it stands in an instance: its value, or the address of its record.
    fn global_place(&self, index: GlobalIdx) -> (bool, u64) {
        match self.module_code.layout().global(index) {
            GlobalPlace::Defined(at) => (false, offset(at + offsets::GLOBAL_VALUE)),
            GlobalPlace::Imported(at) => (true, offset(at)),
        }
    }

    /// Makes everything be in slots that a call does not leave alone, and takes the arguments off; where the callee's
    /// frame begins.
    fn lay_out_call(&mut self, ty: &FuncType) -> CallFrame {
        self.calls += 1;
        self.note_call();
        self.row_ends_at_call();
        let from = self.stack.height() - ty.params.len() as u32;
        self.settle_from(from);
        for bank in Bank::ALL {
            self.save_acc(bank);
        }
        let frame = self.call_frame(from, ty);
        self.stack.truncate(from);
        frame
    }

    /// The results of a call are in their slots; a single one is in its accumulator as well, unless it is a vector.
    fn push_call_results(&mut self, ty: &FuncType, frame: CallFrame) {
        self.stack.forget_held();
        let height = self.stack.height();
        self.emit_results(frame, &ty.results);
        for &ty in &ty.results {
            self.stack.push(ty, Place::Slot);
        }
        if let [ty] = *ty.results
            && Bank::of(ty) != Bank::V128
        {
            self.stack.hold(Bank::of(ty), Held::Operand(height));
        }
    }

    pub(super) fn call(&mut self, index: FuncIdx) {
        let module = self.module;
        let ty = module.func_type(index);
        let frame = self.lay_out_call(ty);
        let far = usize::from(is_far(frame.slot));
        let params = types::slots(&ty.params);
        let cell = if is_far(frame.slot) {
            fields(0, params, frame.slot)
        } else {
            fields(frame.slot, params, 0)
        };
        match self.module_code.layout().func(index) {
            FuncPlace::Defined(_) => {
                let set = self.module_code.set(self.metered);
                let func = set.func(index).expect("the module defines it");
                self.callees.push(index);
                self.emit(CALL[far], cell);
                self.emit_address(std::ptr::from_ref(func));
            }
            FuncPlace::Imported(at) => {
                self.emit(CALL_IMPORT[far], cell);
                self.code.push(offset(at));
                self.emit_reload();
            }
        }
        self.push_call_results(ty, frame);
    }

    pub(super) fn call_indirect(&mut self, ty: TypeIdx, table: TableIdx) {
        let sig = self.module_code.type_id(ty);
        let module = self.module;
        let ty = module.types().func(ty);
        let index = self.pop_source(Immediates::No);
        let frame = self.lay_out_call(ty);
        self.emit(
            indirect_handler(index.class, self.index_of_table(table), is_far(frame.slot)),
            fields(index.field, frame.slot, types::slots(&ty.params)),
        );
        self.code
            .push(offset(self.module_code.layout().table(table)));
        self.code
            .push(u64::from(sig.number()) | u64::from(frame.slot) << 32);
        self.emit_reload();
        self.push_call_results(ty, frame);
    }

    pub(super) fn call_ref(&mut self, ty: TypeIdx) {
        let module = self.module;
        let ty = module.types().func(ty);
        let reference = self.pop_source(Immediates::No);
        let frame = self.lay_out_call(ty);
        self.emit(
            call_ref_handler(reference.class, is_far(frame.slot)),
            fields(reference.field, frame.slot, types::slots(&ty.params)),
        );
        self.code.push(frame.slot.into());
        self.emit_reload();
        self.push_call_results(ty, frame);
    }

    pub(super) fn ref_as_non_null(&mut self) {
        let top = self.stack.height() - 1;
        let ty = self.stack.operand(top).ty;
        let reference = self.pop_source(Immediates::No);
        let family = non_null_family(reference.class);
        self.define(ty, family, fields(reference.field, 0, 0), &[]);
    }

    /// Has the arguments of a tail call be in one run of slots, whose first one this gives, and takes them off.
    fn lay_out_tail_call(&mut self, ty: &FuncType) -> u32 {
        self.calls += 1;
        self.row_ends_at_call();
        let from = self.stack.height() - ty.params.len() as u32;
        self.settle_from(from);
        let slot = self.in_one_run(from);
        self.stack.truncate(from);
        slot
    }

    pub(super) fn return_call(&mut self, index: FuncIdx) {
        let module = self.module;
        let slot = self.lay_out_tail_call(module.func_type(index));
        let cell = fields(0, self.layout.header(), slot);
        match self.module_code.layout().func(index) {
            FuncPlace::Defined(_) => {
                let set = self.module_code.set(self.metered);
                let func = set.func(index).expect("the module defines it");
                self.callees.push(index);
                self.emit(RETURN_CALL, cell);
                self.emit_address(std::ptr::from_ref(func));
            }
            FuncPlace::Imported(at) => {
                self.emit(RETURN_CALL_IMPORT, cell);
                self.code.push(offset(at));
            }
        }
        self.set_unreachable();
    }

    pub(super) fn return_call_ref(&mut self, ty: TypeIdx) {
        let module = self.module;
        let reference = self.pop_source(Immediates::No);
        let slot = self.lay_out_tail_call(module.types().func(ty));
        self.emit(
            return_ref_handler(reference.class),
            fields(reference.field, self.layout.header(), slot),
        );
        self.set_unreachable();
    }

    pub(super) fn return_call_indirect(&mut self, ty: TypeIdx, table: TableIdx) {
        let module = self.module;
        let sig = self.module_code.type_id(ty);
        let index = self.pop_source(Immediates::No);
        let slot = self.lay_out_tail_call(module.types().func(ty));
        self.emit(
            return_indirect_handler(index.class, self.index_of_table(table)),
            fields(index.field, self.layout.header(), slot),
        );
        self.code
            .push(offset(self.module_code.layout().table(table)));
        self.code.push(sig.number().into());
        self.set_unreachable();
    }

    fn emit_reload(&mut self) {
        self.emit(RELOAD, fields(self.layout.header(), 0, 0));
    }

    pub(super) fn wide<O: Wide>(&mut self) {
        let from = self.stack.height() - O::OP.params() as u32;
        self.settle_from(from);
        self.save_acc(Bank::Int);
        let slot = self.near_operands(from);
        self.stack.truncate(from);
        self.emit(wide::handler::<O>(), fields(slot, 0, 0));
        self.stack.hold(Bank::Int, Held::Nothing);
        for half in 0..2 {
            self.emit_back(slot + half, self.stack.next_slot(ValType::I64));
            self.stack.push(ValType::I64, Place::Slot);
        }
        self.stack.hold(Bank::Int, Held::Operand(from + 1));
    }

    pub(super) fn builtin(
        &mut self,
        handler: Handler,
        indices: [u32; 2],
        operands: u32,
        result: Option<ValType>,
    ) {
        let from = self.stack.height() - operands;
        self.settle_from(from);
        self.save_acc(Bank::Int);
        let slot = self.near_operands(from);
        self.stack.truncate(from);
        self.emit(handler, fields(slot, 0, 0));
        self.code
            .push(u64::from(indices[0]) | u64::from(indices[1]) << 32);
        if let Some(ty) = result {
            self.emit_back(slot, self.stack.next_slot(ty));
        }
        self.stack.hold(Bank::Int, Held::Nothing);
        if let Some(ty) = result {
            self.stack.push(ty, Place::Slot);
            self.stack.hold(Bank::Int, Held::Operand(from));
        }
    }
}
