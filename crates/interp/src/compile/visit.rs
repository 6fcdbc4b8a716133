//! Which instruction calls what of the translator; those of proposals that are not accepted are refused.

use tiered_decode::atomic::AtomicOp;
use tiered_decode::index::{FuncIdx, GlobalIdx, TableIdx, TagIdx, TypeIdx};
use tiered_decode::types::{RefType, ValType};
use tiered_decode::wasmparser::{
    self, BlockType, BrTable, HeapType, Ieee32, Ieee64, MemArg, TryTable, VisitOperator,
    VisitSimdOperator,
};
use tiered_decode::{memory, numeric, wide};

use crate::atomic;
use crate::builtin as b;

use super::stack::Place;
use super::{Error, Translator};

/// Methods for those instructions that no accepted proposal has.
macro_rules! refused {
    (one @mvp $($rest:tt)*) => {};
    (one @sign_extension $($rest:tt)*) => {};
    (one @saturating_float_to_int $($rest:tt)*) => {};
    (one @bulk_memory $($rest:tt)*) => {};
    (one @reference_types $($rest:tt)*) => {};
    (one @exceptions $($rest:tt)*) => {};
    (one @legacy_exceptions $($rest:tt)*) => {};
    (one @wide_arithmetic $($rest:tt)*) => {};
    (one @function_references $($rest:tt)*) => {};
    (one @tail_call $($rest:tt)*) => {};
    (one @threads $($rest:tt)*) => {};
    (one @$proposal:ident $visit:ident $($ty:ty),*) => {
        fn $visit(&mut self $(, _: $ty)*) -> Self::Output {
            Err(Error::Unreadable)
        }
    };
    ($( @$proposal:ident $op:ident $({ $($arg:ident: $ty:ty),* })? => $visit:ident ($($arity:tt)*) )*) => {
        $( refused! { one @$proposal $visit $($($ty),*)? } )*
    };
}

macro_rules! unary_methods {
    ($($name:ident $visit:ident;)*) => {$(
        fn $visit(&mut self) -> Self::Output {
            self.unary::<numeric::ops::$name>();
            Ok(())
        }
    )*};
}

macro_rules! binary_methods {
    ($($name:ident $visit:ident;)*) => {$(
        fn $visit(&mut self) -> Self::Output {
            self.binary::<numeric::ops::$name>();
            Ok(())
        }
    )*};
}

macro_rules! wide_methods {
    ($($name:ident $visit:ident;)*) => {$(
        fn $visit(&mut self) -> Self::Output {
            self.wide::<wide::ops::$name>();
            Ok(())
        }
    )*};
}

macro_rules! atomic_methods {
    ($($name:ident $visit:ident;)*) => {$(
        fn $visit(&mut self, memarg: MemArg) -> Self::Output {
            self.atomic(AtomicOp::$name, &memarg)
        }
    )*};
}

macro_rules! load_methods {
    ($($name:ident $visit:ident;)*) => {$(
        fn $visit(&mut self, memarg: MemArg) -> Self::Output {
            self.load::<memory::ops::$name>(&memarg)
        }
    )*};
}

macro_rules! store_methods {
    ($($name:ident $visit:ident;)*) => {$(
        fn $visit(&mut self, memarg: MemArg) -> Self::Output {
            self.store::<memory::ops::$name>(&memarg)
        }
    )*};
}

/// Flat rows: the method, its arguments, what it calls.
macro_rules! methods {
    ($($visit:ident ($this:ident $(, $arg:ident: $ty:ty)*) $body:block)*) => {$(
        fn $visit(&mut self $(, $arg: $ty)*) -> Self::Output {
            let $this = self;
            $body;
            Ok(())
        }
    )*};
}

impl<'a> VisitOperator<'a> for Translator<'_> {
    type Output = Result<(), Error>;

    wasmparser::for_each_visit_operator!(refused);
    tiered_decode::for_each_unary!(unary_methods);
    tiered_decode::for_each_binary!(binary_methods);
    tiered_decode::for_each_wide!(wide_methods);
    tiered_decode::for_each_load!(load_methods);
    tiered_decode::for_each_store!(store_methods);
    tiered_decode::for_each_atomic!(atomic_methods);

    fn visit_memory_atomic_wait32(&mut self, memarg: MemArg) -> Self::Output {
        self.parks(atomic::WAIT32, 3, &memarg)
    }

    fn visit_memory_atomic_wait64(&mut self, memarg: MemArg) -> Self::Output {
        self.parks(atomic::WAIT64, 3, &memarg)
    }

    fn visit_memory_atomic_notify(&mut self, memarg: MemArg) -> Self::Output {
        self.parks(atomic::NOTIFY, 2, &memarg)
    }

    fn visit_atomic_fence(&mut self, _: wasmparser::Ordering) -> Self::Output {
        self.fence();
        Ok(())
    }

    fn simd_visitor(&mut self) -> Option<&mut dyn VisitSimdOperator<'a, Output = Self::Output>> {
        Some(self)
    }

    fn visit_end(&mut self) -> Self::Output {
        self.op_end()
    }

    fn visit_catch(&mut self, tag: u32) -> Self::Output {
        self.op_catch(Some(TagIdx(tag)))
    }

    fn visit_catch_all(&mut self) -> Self::Output {
        self.op_catch(None)
    }

    fn visit_br_table(&mut self, targets: BrTable<'a>) -> Self::Output {
        self.op_br_table(&targets)
    }

    fn visit_ref_null(&mut self, hty: HeapType) -> Self::Output {
        let heap = self.module.types().heap(hty).ok_or(Error::Unreadable)?;
        self.stack
            .push(RefType::new(true, heap).into(), Place::Const(0));
        Ok(())
    }

    methods! {
        visit_nop(_t) {}
        visit_unreachable(t) { t.op_unreachable() }
        visit_block(t, block: BlockType) { t.op_block(block) }
        visit_loop(t, block: BlockType) { t.op_loop(block) }
        visit_if(t, block: BlockType) { t.op_if(block) }
        visit_else(t) { t.op_else() }
        visit_try_table(t, table: TryTable) { t.op_try_table(table) }
        visit_throw(t, tag: u32) { t.op_throw(TagIdx(tag)) }
        visit_throw_ref(t) { t.op_throw_ref() }
        visit_try(t, block: BlockType) { t.op_try(block) }
        visit_rethrow(t, depth: u32) { t.op_rethrow(depth) }
        visit_delegate(t, depth: u32) { t.op_delegate(depth) }
        visit_br(t, depth: u32) { t.op_br(depth) }
        visit_br_if(t, depth: u32) { t.op_br_if(depth) }
        visit_return(t) { t.op_return() }
        visit_call(t, func: u32) { t.call(FuncIdx(func)) }
        visit_call_indirect(t, ty: u32, table: u32) { t.call_indirect(TypeIdx(ty), TableIdx(table)) }
        visit_call_ref(t, ty: u32) { t.call_ref(TypeIdx(ty)) }
        visit_ref_as_non_null(t) { t.ref_as_non_null() }
        visit_br_on_null(t, depth: u32) { t.op_br_on_null(depth) }
        visit_br_on_non_null(t, depth: u32) { t.op_br_on_non_null(depth) }
        visit_return_call_ref(t, ty: u32) { t.return_call_ref(TypeIdx(ty)) }
        visit_return_call(t, func: u32) { t.return_call(FuncIdx(func)) }
        visit_return_call_indirect(t, ty: u32, table: u32) { t.return_call_indirect(TypeIdx(ty), TableIdx(table)) }
        visit_drop(t) { t.stack.pop() }
        visit_select(t) { t.select() }
        visit_typed_select(t, _ty: wasmparser::ValType) { t.select() }
        visit_typed_select_multi(t, _tys: Vec<wasmparser::ValType>) { t.select() }
        visit_local_get(t, local: u32) { t.local_get(local) }
        visit_local_set(t, local: u32) { t.local_set(local) }
        visit_local_tee(t, local: u32) { t.set_local(local) }
        visit_global_get(t, global: u32) { t.global_get(GlobalIdx(global)) }
        visit_global_set(t, global: u32) { t.global_set(GlobalIdx(global)) }
        visit_i32_const(t, value: i32) { t.constant(ValType::I32, u64::from(value.cast_unsigned())) }
        visit_i64_const(t, value: i64) { t.constant(ValType::I64, value.cast_unsigned()) }
        visit_f32_const(t, value: Ieee32) { t.constant(ValType::F32, u64::from(value.bits())) }
        visit_f64_const(t, value: Ieee64) { t.constant(ValType::F64, value.bits()) }
        visit_ref_func(t, func: u32) { t.ref_func(FuncIdx(func)) }
        visit_ref_is_null(t) { t.is_zero(ValType::I64) }
        visit_memory_size(t, mem: u32) { t.builtin(b::MEMORY_SIZE, [mem, 0], 0, Some(t.memory_index(mem))) }
        visit_memory_grow(t, mem: u32) { t.builtin(b::MEMORY_GROW, [mem, 0], 1, Some(t.memory_index(mem))) }
        visit_memory_fill(t, mem: u32) { t.builtin(b::MEMORY_FILL, [mem, 0], 3, None) }
        visit_memory_copy(t, to: u32, from: u32) { t.builtin(b::MEMORY_COPY, [to, from], 3, None) }
        visit_memory_init(t, data: u32, mem: u32) { t.builtin(b::MEMORY_INIT, [mem, data], 3, None) }
        visit_data_drop(t, data: u32) { t.builtin(b::DATA_DROP, [data, 0], 0, None) }
        visit_table_get(t, table: u32) {
            let ty = t.module.tables()[table as usize].element.into();
            t.builtin(b::TABLE_GET, [table, 0], 1, Some(ty))
        }
        visit_table_set(t, table: u32) { t.builtin(b::TABLE_SET, [table, 0], 2, None) }
        visit_table_size(t, table: u32) { t.builtin(b::TABLE_SIZE, [table, 0], 0, Some(t.table_index(table))) }
        visit_table_grow(t, table: u32) { t.builtin(b::TABLE_GROW, [table, 0], 2, Some(t.table_index(table))) }
        visit_table_fill(t, table: u32) { t.builtin(b::TABLE_FILL, [table, 0], 3, None) }
        visit_table_copy(t, to: u32, from: u32) { t.builtin(b::TABLE_COPY, [to, from], 3, None) }
        visit_table_init(t, elem: u32, table: u32) { t.builtin(b::TABLE_INIT, [table, elem], 3, None) }
        visit_elem_drop(t, elem: u32) { t.builtin(b::ELEM_DROP, [elem, 0], 0, None) }
    }
}
