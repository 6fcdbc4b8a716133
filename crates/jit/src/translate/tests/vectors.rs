//! Vectors in Cranelift's terms.

use super::*;
use crate::entry::{Callee, build_entry, build_exit};

/// A vector is in each kind of place: params, results in registers and in memory, locals, globals, operands below a loop,
/// its parameters, arguments of calls.
const TEXT: &str = r#"(module
    (import "a" "g" (global $shared (mut v128))) (import "a" "h" (global $fixed v128))
    (type $many (func (param v128 i32 v128)
        (result v128 v128 v128 v128 i32 v128 v128 v128 v128 v128)))
    (import "a" "f" (func $import (type $many)))
    (global $own (mut v128) (v128.const i64x2 1 2))
    (memory 1)
    (func $call (type $many) (local v128)
        (call $import (local.get 3) (i32.const 1) (global.get $fixed)))
    (func (param v128 i32) (result v128 i32 v128) (local v128)
        (global.get $shared) (i32.const 4)
        (local.get 0)
        (loop (param v128) (result v128)
            (global.set $own) (v128.store (i32.const 3) (local.get 2))
            (local.set 2 (global.get $own)) (global.set $shared (v128.load offset=0x7000000 (local.get 1)))
            (v128.load (i32.const 1))
            (br_if 0 (local.get 1)))))"#;

fn vectors() -> Module {
    Module::new(TEXT).expect("it is valid")
}

/// How many accesses there are to vectors, none of which may be said to be aligned.
fn unaligned(func: &ir::Function) -> usize {
    let dfg = &func.dfg;
    let blocks = func.layout.blocks();
    let insts = blocks.flat_map(|block| func.layout.block_insts(block));
    let flags = insts.filter_map(|inst| {
        let data = &dfg.insts[inst];
        let mut values = dfg.inst_args(inst).iter().chain(dfg.inst_results(inst));
        let is_vector = values.any(|&value| dfg.value_type(value).is_vector());
        data.memflags_data(dfg).filter(|_| is_vector)
    });
    flags
        .inspect(|flags| assert!(!flags.aligned(), "{func}"))
        .count()
}

#[test]
fn no_access_to_a_vector_is_aligned() {
    let module = vectors();
    for metered in [false, true] {
        let (call, _) = compile(&module, 1, Entry::Start, metered);
        assert_eq!(unaligned(&call), 1 + 9 + 9);
        let (start, _) = compile(&module, 2, Entry::Start, metered);
        assert_eq!(unaligned(&start), 1 + 6);
        let offset = module.loop_headers(FuncIdx(2))[0].offset;
        let (resumed, _) = compile(&module, 2, Entry::Loop { offset }, metered);
        // The operand below, the loop's parameter, and the locals.
        assert_eq!(unaligned(&resumed), 1 + 6 + 4);
    }
    let ty = module.types()[0].func().expect("it is one");
    let mut context = FunctionBuilderContext::new();
    for func in [FuncIdx(0), FuncIdx(2)] {
        let ty = module.func_type(func);
        let (params, results) = (
            ty.params.iter().filter(|ty| ty.slots() == 2).count(),
            ty.results.iter().filter(|ty| ty.slots() == 2).count(),
        );
        let mut entry = ir::Function::new();
        let built = build_entry(ty, Callee::Func, &**ISA, &mut context, &mut entry);
        built.expect("all types are known");
        let in_memory = results > 8;
        let stored = if in_memory { 0 } else { results };
        assert_eq!(unaligned(&entry), params + stored);
        let mut exit = ir::Function::new();
        build_exit(ty, &**ISA, &mut context, &mut exit).expect("all types are known");
        let copied = if in_memory { results } else { 0 };
        assert_eq!(unaligned(&exit), params + results + copied);
    }
    assert!(results_in_memory(ty));
}

#[test]
fn vectors_take_the_registers_of_floats() {
    let of = |vectors: usize, floats: usize, ints: usize| {
        let results = std::iter::repeat_n(ValType::V128, vectors)
            .chain(std::iter::repeat_n(ValType::F64, floats))
            .chain(std::iter::repeat_n(ValType::I32, ints));
        results_in_memory(&tiered_decode::types::FuncType::new([], results))
    };
    assert!(!of(8, 0, 8) && !of(4, 4, 8));
    assert!(of(9, 0, 0) && of(5, 4, 0) && of(8, 0, 9));
}
