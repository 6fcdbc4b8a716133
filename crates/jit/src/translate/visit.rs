//! Which instruction calls what of the translator; those of proposals that are not accepted are refused.

use tiered_decode::atomic::AtomicOp;
use tiered_decode::index::{FuncIdx, GlobalIdx, TableIdx, TagIdx, TypeIdx};
use tiered_decode::memory::{LoadOp, StoreOp};
use tiered_decode::numeric::NumOp;
use tiered_decode::wasmparser::{
    self, BlockType, BrTable, HeapType, Ieee32, Ieee64, MemArg, TryTable, VisitOperator,
    VisitSimdOperator,
};
use tiered_decode::wide::WideOp;

use crate::builtins::Builtin as B;
use crate::error::CompileError;

use super::Translator;

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
            Err(CompileError::Unsupported(stringify!($proposal)))
        }
    };
    ($( @$proposal:ident $op:ident $({ $($arg:ident: $ty:ty),* })? => $visit:ident ($($arity:tt)*) )*) => {
        $( refused! { one @$proposal $visit $($($ty),*)? } )*
    };
}

macro_rules! unary_methods {
    ($($name:ident $visit:ident;)*) => {$(
        fn $visit(&mut self) -> Self::Output {
            self.unary(NumOp::$name);
            Ok(())
        }
    )*};
}

macro_rules! binary_methods {
    ($($name:ident $visit:ident;)*) => {$(
        fn $visit(&mut self) -> Self::Output {
            self.binary(NumOp::$name);
            Ok(())
        }
    )*};
}

macro_rules! wide_methods {
    ($($name:ident $visit:ident;)*) => {$(
        fn $visit(&mut self) -> Self::Output {
            self.wide(WideOp::$name);
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
            self.load(LoadOp::$name, &memarg)
        }
    )*};
}

macro_rules! store_methods {
    ($($name:ident $visit:ident;)*) => {$(
        fn $visit(&mut self, memarg: MemArg) -> Self::Output {
            self.store(StoreOp::$name, &memarg)
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

/// As [`methods`], where what is called may fail.
macro_rules! fallible_methods {
    ($($visit:ident ($this:ident $(, $arg:ident: $ty:ty)*) $body:block)*) => {$(
        fn $visit(&mut self $(, $arg: $ty)*) -> Self::Output {
            let $this = self;
            $body
        }
    )*};
}

impl<'a> VisitOperator<'a> for Translator<'_, '_> {
    type Output = Result<(), CompileError>;

    wasmparser::for_each_visit_operator!(refused);
    tiered_decode::for_each_unary!(unary_methods);
    tiered_decode::for_each_binary!(binary_methods);
    tiered_decode::for_each_wide!(wide_methods);
    tiered_decode::for_each_load!(load_methods);
    tiered_decode::for_each_store!(store_methods);
    tiered_decode::for_each_atomic!(atomic_methods);

    fn simd_visitor(&mut self) -> Option<&mut dyn VisitSimdOperator<'a, Output = Self::Output>> {
        Some(self)
    }

    fn visit_br_table(&mut self, targets: BrTable<'a>) -> Self::Output {
        self.op_br_table(&targets)
    }

    fallible_methods! {
        visit_loop(t, block: BlockType) { t.op_loop(block) }
        visit_end(t) { t.op_end() }
        visit_catch(t, tag: u32) { t.op_catch(Some(TagIdx(tag))) }
        visit_catch_all(t) { t.op_catch(None) }
        visit_delegate(t, depth: u32) { t.op_delegate(depth) }
        visit_call(t, func: u32) { t.op_call(FuncIdx(func)) }
        visit_call_indirect(t, ty: u32, table: u32) { t.op_call_indirect(TypeIdx(ty), TableIdx(table)) }
        visit_call_ref(t, ty: u32) { t.op_call_ref(TypeIdx(ty)) }
        visit_return_call_ref(t, ty: u32) { t.op_return_call_ref(TypeIdx(ty)) }
        visit_return_call(t, func: u32) { t.op_return_call(FuncIdx(func)) }
        visit_return_call_indirect(t, ty: u32, table: u32) { t.op_return_call_indirect(TypeIdx(ty), TableIdx(table)) }
        visit_memory_atomic_wait32(t, memarg: MemArg) { t.atomic_wait(4, &memarg) }
        visit_memory_atomic_wait64(t, memarg: MemArg) { t.atomic_wait(8, &memarg) }
        visit_memory_atomic_notify(t, memarg: MemArg) { t.atomic_notify(&memarg) }
        visit_global_get(t, global: u32) { t.global_get(GlobalIdx(global)) }
    }

    methods! {
        visit_nop(_t) {}
        visit_atomic_fence(t, _ordering: wasmparser::Ordering) { t.atomic_fence() }
        visit_unreachable(t) { t.op_unreachable() }
        visit_block(t, block: BlockType) { t.op_block(block) }
        visit_if(t, block: BlockType) { t.op_if(block) }
        visit_else(t) { t.op_else() }
        visit_br(t, depth: u32) { t.op_br(depth) }
        visit_br_if(t, depth: u32) { t.op_br_if(depth) }
        visit_br_on_null(t, depth: u32) { t.op_br_on_null(depth) }
        visit_br_on_non_null(t, depth: u32) { t.op_br_on_non_null(depth) }
        visit_ref_as_non_null(t) { t.ref_as_non_null() }
        visit_return(t) { t.op_return() }
        visit_try_table(t, table: TryTable) { t.op_try_table(table) }
        visit_throw(t, tag: u32) { t.op_throw(TagIdx(tag)) }
        visit_throw_ref(t) { t.op_throw_ref() }
        visit_try(t, block: BlockType) { t.op_try(block) }
        visit_rethrow(t, depth: u32) { t.op_rethrow(depth) }
        visit_drop(t) { t.stack.pop() }
        visit_select(t) { t.select() }
        visit_typed_select(t, _ty: wasmparser::ValType) { t.select() }
        visit_typed_select_multi(t, _tys: Vec<wasmparser::ValType>) { t.select() }
        visit_local_get(t, local: u32) { t.local_get(local) }
        visit_local_set(t, local: u32) { t.local_set(local) }
        visit_local_tee(t, local: u32) { t.local_tee(local) }
        visit_global_set(t, global: u32) { t.global_set(GlobalIdx(global)) }
        visit_i32_const(t, value: i32) { t.i32_const(value) }
        visit_i64_const(t, value: i64) { t.i64_const(value) }
        visit_f32_const(t, value: Ieee32) { t.f32_const(value.bits()) }
        visit_f64_const(t, value: Ieee64) { t.f64_const(value.bits()) }
        visit_ref_null(t, _ty: HeapType) { t.i64_const(0) }
        visit_ref_func(t, func: u32) { t.ref_func(FuncIdx(func)) }
        visit_ref_is_null(t) { t.ref_is_null() }
        visit_memory_size(t, mem: u32) { t.memory_size(mem) }
        visit_memory_grow(t, mem: u32) { t.memory_grow(mem) }
        visit_memory_fill(t, mem: u32) { t.memory_fill(mem) }
        visit_memory_copy(t, to: u32, from: u32) { t.memory_copy(to, from) }
        visit_memory_init(t, data: u32, mem: u32) { t.memory_init(mem, data) }
        visit_data_drop(t, data: u32) { t.drop_segment(B::DataDrop, data) }
        visit_table_get(t, table: u32) { t.table_get(TableIdx(table)) }
        visit_table_set(t, table: u32) { t.table_set(TableIdx(table)) }
        visit_table_size(t, table: u32) { t.table_size(TableIdx(table)) }
        visit_table_grow(t, table: u32) { t.table_grow(TableIdx(table)) }
        visit_table_fill(t, table: u32) { t.table_fill(TableIdx(table)) }
        visit_table_copy(t, to: u32, from: u32) { t.table_copy(TableIdx(to), TableIdx(from)) }
        visit_table_init(t, elem: u32, table: u32) { t.table_init(TableIdx(table), elem) }
        visit_elem_drop(t, elem: u32) { t.drop_segment(B::ElemDrop, elem) }
    }
}
