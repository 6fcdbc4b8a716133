//! Everything that is translated passes Cranelift's verifier and becomes machine code, from every entry.

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{InstructionData, Opcode, ValueDef};
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::loop_analysis::LoopAnalysis;
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{Context, control::ControlPlane, verify_function};
use tiered_decode::memory::{LoadOp, StoreOp};
use tiered_decode::numeric::NumOp;

use super::*;
use crate::cost::MOST_BYTES;

mod bounds;
mod hints;
mod objects;
mod vectors;

static ISA: LazyLock<OwnedTargetIsa> = LazyLock::new(|| {
    let mut flags = settings::builder();
    for (name, value) in [
        ("opt_level", "speed"),
        ("enable_multi_ret_implicit_sret", "true"),
    ] {
        flags.set(name, value).expect("a setting");
    }
    let isa = cranelift_native::builder().expect("a host that Cranelift knows");
    isa.finish(settings::Flags::new(flags))
        .expect("settings fit")
});

fn module(text: &str) -> Module {
    match Module::new(text.as_bytes().to_vec()) {
        Ok(module) => module,
        Err(error) => panic!("{error} in {text}"),
    }
}

fn try_translate(
    module: &Module,
    func: u32,
    entry: Entry,
    metered: bool,
) -> Result<(ir::Function, Vec<TypeIdx>), CompileError> {
    try_translate_job(&Job {
        module,
        func: FuncIdx(func),
        entry,
        metered,
        spectre_guards: true,
        relaxed: Relaxed::DETERMINISTIC,
        bytes: MOST_BYTES,
    })
}

fn try_translate_job(job: &Job<'_>) -> Result<(ir::Function, Vec<TypeIdx>), CompileError> {
    let mut context = FunctionBuilderContext::new();
    let mut func = ir::Function::new();
    let types = translate(job, &**ISA, &mut context, &mut func)?.callees;
    Ok((func, types))
}

/// Translates, verifies and compiles.
fn compile(module: &Module, func: u32, entry: Entry, metered: bool) -> (ir::Function, usize) {
    let (translated, _) =
        try_translate(module, func, entry, metered).unwrap_or_else(|error| panic!("{error}"));
    if let Err(errors) = verify_function(&translated, &**ISA) {
        panic!("{entry:?} {metered}: {errors}\n{translated}");
    }
    let mut context = Context::for_function(translated.clone());
    let isa: Arc<_> = ISA.clone();
    match context.compile(&*isa, &mut ControlPlane::default()) {
        Ok(code) => {
            let size = code.code_buffer().len();
            assert!(code.buffer.relocs().is_empty(), "code stands anywhere");
            (translated, size)
        }
        Err(error) => panic!("{entry:?} {metered}: {:?}\n{translated}", error.inner),
    }
}

/// Compiles every function from its start and from each of its loops, metered and not; how many loops there were.
fn compile_all(text: &str) -> usize {
    let module = module(text);
    let mut loops = 0;
    for func in module.imported_funcs()..module.funcs().len() as u32 {
        for metered in [false, true] {
            compile(&module, func, Entry::Start, metered);
            for header in module.loop_headers(FuncIdx(func)) {
                let offset = header.offset;
                compile(&module, func, Entry::Loop { offset }, metered);
                loops += 1;
            }
        }
    }
    loops / 2
}

#[test]
fn every_numeric_op() {
    let mut text = String::from("(module");
    for op in NumOp::ALL {
        let (mut params, mut operands) = (String::new(), String::new());
        for (index, ty) in op.params().iter().enumerate() {
            write!(params, " {ty}").expect("a string");
            write!(operands, " local.get {index}").expect("a string");
        }
        let result = op.result();
        // For its value, and if it is an `i32` as what decides.
        write!(
            text,
            "(func (param{params}) (result {result}) {operands} {op})"
        )
        .expect("a string");
        if result == ValType::I32 {
            write!(
                text,
                "(func (param{params}) (result i32)
                    {operands} {op} i32.eqz
                    if (result i32) {operands} {op} i32.const 7 {operands} {op} select
                    else {operands} {op} end)"
            )
            .expect("a string");
        }
    }
    text.push(')');
    assert_eq!(compile_all(&text), 0);
}

#[test]
fn every_load_and_store() {
    let mut text = String::from("(module (memory 1)");
    for offset in [
        0,
        8,
        0x1ff_fff0,
        0x200_0000,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff_u32,
    ] {
        for op in LoadOp::ALL {
            let result = op.result();
            write!(
                text,
                "(func (param i32) (result {result}) local.get 0 {op} offset={offset}
                    i32.const 9 {op} offset={offset} drop)"
            )
            .expect("a string");
        }
        for op in StoreOp::ALL {
            let param = op.param();
            write!(
                text,
                "(func (param i32 {param}) local.get 0 local.get 1 {op} offset={offset})"
            )
            .expect("a string");
        }
    }
    text.push(')');
    assert_eq!(compile_all(&text), 0);
}

#[test]
fn everything_else() {
    let text = r#"(module
        (type $many (func (param i32 i64 f32 f64 funcref externref)
            (result i32 i64 f32 f64 funcref externref i32 i64 i32 i64 i32 i64 f32 f64 f32 f64 f32 f64 f32)))
        (import "a" "f" (func $imported (param i32 f64) (result f64)))
        (import "a" "many" (func $many (type $many)))
        (import "a" "g" (global $constant i32)) (import "a" "h" (global $variable (mut f64)))
        (import "a" "t" (table $imported_table 1 externref))
        (memory 1 10) (table $t 10 funcref)
        (global $x (mut i32) (i32.const 1)) (global $y (mut f32) (f32.const 1)) (global $z i64 (i64.const 5))
        (global $r (mut externref) (ref.null extern))
        (data $d "abc") (elem $e func $self $imported)
        (func $self (param i32 f64) (result f64)
            local.get 0 local.get 1 call $imported
            local.set 1
            local.get 0 local.get 1 call $self)
        (func (type $many)
            local.get 0 local.get 1 local.get 2 local.get 3 local.get 4 local.get 5 call $many)
        (func (param i32) (result f64)
            i32.const 1 f64.const 2 local.get 0 call_indirect $t (param i32 f64) (result f64))
        (func (param i32) (result i32)
            local.get 0 i32.const 3 i32.lt_u local.get 0 call_indirect $t (param i32) (result i32))
        (func (result i32 f64 f32 i64)
            global.get $constant global.get $variable global.get $y global.get $z)
        (func (param externref) f64.const 1 global.set $variable f32.const -0 global.set $y
            i32.const 1 i32.const 2 i32.eq global.set $x local.get 0 global.set $r)
        (func (result i32) memory.size i32.const 1 memory.grow i32.add)
        (func (param i32 i32 i32)
            local.get 0 local.get 1 local.get 2 memory.fill
            local.get 0 local.get 1 local.get 2 memory.copy
            local.get 0 local.get 1 local.get 2 memory.init $d
            data.drop $d
            local.get 0 local.get 1 local.get 2 table.init $t $e
            elem.drop $e
            local.get 0 local.get 1 local.get 2 table.copy $t $t
            local.get 0 ref.null func local.get 2 table.fill $t)
        (func (param i32 externref) (result i32 externref)
            local.get 0 local.get 1 table.set $imported_table
            local.get 1 local.get 0 table.grow $imported_table
            table.size $t i32.add
            local.get 0 table.get $imported_table)
        (func (param funcref) (result i32 funcref funcref)
            local.get 0 ref.is_null ref.func $self ref.func $imported)
        (func (param i32 externref externref) (result externref f64)
            local.get 1 local.get 2 local.get 0 select (result externref)
            f64.const 1 f64.const nan:0x4000000000001 local.get 0 i32.const 4 i32.gt_s select)
        (func nop unreachable)
        (func (param i32) (local f32 f64 i64 funcref) local.get 0 local.tee 0 drop
            f32.const 1 local.set 1)
    )"#;
    assert_eq!(compile_all(text), 0);
    let module = module(text);
    let (_, types) = try_translate(&module, 2, Entry::Start, false).expect("it translates");
    assert_eq!(types, [module.funcs()[0]], "each type once");
}

#[test]
fn control() {
    let mut text = String::from(
        r#"(module
        (func (param i32) (result i32) (block (result i32) local.get 0 local.get 0 br_if 0 drop i32.const 3))
        (func (param i32) (result i32) local.get 0 local.get 0 br_if 0 return)
        (func (param i32) (result i32 f64) (local f64)
            (block (result i32 f64) local.get 0 local.get 1 local.get 0 br_table 0 1 0 1 1))
        (func (param i32) local.get 0 br_table 0)
        (func (param i32) (block local.get 0 br_table 0 0 0 0))
        (func (param i32) (if (local.get 0) (then return)))
        (func (param i32) (if (local.get 0) (then return) (else unreachable)))
        (func (param i32) (if (local.get 0) (then) (else (local.set 0 (i32.const 1)))))
        (func (param i32) (result i32) local.get 0 local.get 0 if (param i32) (result i32) i32.const 1 i32.add end)
        (func (param i32) (result i32) local.get 0 local.get 0
            if (param i32) (result i32) br 0 else unreachable end)
        (func (param i32) (result i32) local.get 0 local.get 0
            if (param i32) (result i32) unreachable else i32.eqz end)
        (func (param i32) (result i32) (block (result i32) unreachable) i32.const 1 i32.add)
        (func (param i32) (block br 0 (loop br 0) (block (if (i32.const 1) (then) (else)))) (br 0))
        (func (param i32) (if (i32.const 1) (then (return) (if (i32.const 1) (then) (else)))
            (else (br 0) (block))))
        (func (param i32) (loop (br_if 1 (local.get 0)) (br 0)))
        (func (param i32) (loop $l (br_table $l 1 $l $l (local.get 0))))
        (func (param i32) (result i32) i32.const 0
            (loop $l (param i32) (result i32) i32.const 1 i32.add local.get 0 local.get 0 br_table $l 1 $l))
        (func (param i32) (result i32) (loop $l (result i32) (br $l)))
        (func (result i32) (i32.lt_s (i32.const 1) (i32.const 2)) (block (param i32) (result i32)))
        (func (param i32) (result i32) (i32.eqz (local.get 0)) (i32.eqz (local.get 0))
            (if (param i32) (result i32) (then) (else drop (i32.const 5))))
        (func (param i32)
        "#,
    );
    // A table with many targets, of several kinds.
    text.push_str("(block (loop (block (block (local.get 0) (br_table");
    for index in 0..40 {
        write!(text, " {}", index % 5).expect("a string");
    }
    text.push_str(" 0)))))))");
    assert_eq!(compile_all(&text), 5);
}

/// Loops with operands below them, with parameters, in arms, in loops.
const LOOPS: &str = r#"(module
    (import "a" "f" (func $f (param i32)))
    (func $plain (param i32) (result i64) (local i64 f32 f64)
        (loop $l
            (local.set 1 (i64.add (local.get 1) (i64.extend_i32_s (local.get 0))))
            (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (local.get 1))
    (func $nested (param i32) (result i32) (local i32 i32)
        (loop $a
            (local.set 1 (i32.const 10))
            (loop $b
                (local.set 2 (i32.add (local.get 2) (local.get 1)))
                (loop $c (br_if $c (local.tee 2 (i32.shr_u (local.get 2) (i32.const 3)))))
                (br_if $b (local.tee 1 (i32.sub (local.get 1) (i32.const 1)))))
            (br_if $a (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (local.get 2))
    (func $below (param i32 f64) (result f64)
        local.get 1
        (i32.eqz (local.get 0))
        (loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        f64.convert_i32_s
        f64.add)
    (func $params (param i32) (result i32 i64)
        i64.const 7
        (i32.lt_s (local.get 0) (i32.const 3))
        i32.const 4
        (loop $l (param i32 i32) (result i32)
            i32.add
            local.get 0
            local.tee 0
            i32.const 1
            local.get 0
            br_if $l
            drop drop)
        (local.set 0)
        (local.get 0)
        (block (param i64 i32) (result i32 i64) (local.set 0) drop (local.get 0) (i64.const 1)))
    ;; Each of these operands below the inner loop belongs to another frame, and both loops come round again.
    (func $pushed_anew (param i32 i32) (result i32)
        (i32.mul (local.get 0) (i32.const 1000))
        (loop $a (result i32)
            (i32.add (local.get 0) (i32.const 1))
            (block $x (result i32)
                (i32.add (local.get 0) (i32.const 2))
                (loop $b (result i32)
                    (i32.add (local.get 0) (i32.const 3))
                    (loop $c
                        (br_if $c (local.tee 1 (i32.sub (local.get 1) (i32.const 1))))
                        (br_if $a (local.get 1)))
                    (br_if $b (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))
                    (br_if $x (local.get 0)))
                i32.add)
            (br_if $a (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))
            i32.add)
        i32.add)
    ;; The way around the loop and the way through it meet with an operand below.
    (func $around (param i32 i32) (result i32)
        (loop $a (result i32)
            (i32.add (local.get 0) (local.get 1))
            (block $out
                (br_if $out (i32.and (local.get 0) (i32.const 1)))
                (loop $b (br_if $b (local.tee 1 (i32.sub (local.get 1) (i32.const 1))))))
            (call $f (i32.const 1))
            (br_if $a (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    (func $arms (param i32 i32) (result i32 i32)
        (loop $a (result i32 i32)
            (i32.add (local.get 0) (i32.const 5))
            (local.get 1)
            (if (param i32) (result i32) (local.get 0)
                (then
                    (loop $b (param i32) (result i32)
                        (i32.add (i32.const 1)) (br_if $b (local.tee 1 (i32.sub (local.get 1) (i32.const 1))))))
                (else
                    (loop $c (param i32) (result i32)
                        (i32.add (i32.const 2)) (br_if $c (local.tee 1 (i32.sub (local.get 1) (i32.const 2)))))))
            (br_if $a (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    (func $arm_without_else (param i32)
        (loop $a
            (if (local.get 0) (then (loop $b (br_if $b (i32.const 0)) (br_if $a (local.get 0)))))
            (br_if $a (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    (func $references (param externref i32) (result externref i32)
        local.get 0
        (loop $l (local.set 0 (ref.null extern)) (br_if $l (local.get 1)))
        local.get 1)
    (func $table (param i32) (result i32)
        (i32.const 4)
        (loop $a (param i32) (result i32)
            (loop $b (param i32) (result i32)
                (block $c (param i32) (result i32)
                    (br_table $a $b $c 3 (local.tee 0 (i32.add (local.get 0) (i32.const 1))))))))
    (func $endless (loop $l (br $l)))
    (func $many (param i32) (result i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)
        (local.get 0) (local.get 0) (local.get 0) (local.get 0) (local.get 0)
        (loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (local.get 0) (local.get 0) (local.get 0) (local.get 0) (local.get 0)))"#;

#[test]
fn loops_are_entered_anywhere() {
    assert_eq!(compile_all(LOOPS), 21);
}

/// What only runs before the loop is gone, so the code is about as large as that of the whole function.
#[test]
fn a_loop_entry_has_no_prefix() {
    let module = module(
        "(module (memory 1) (func (param i32)
            (i32.store offset=4 (local.get 0) (i32.const 77))
            (loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))",
    );
    let offset = module.loop_headers(FuncIdx(0))[0].offset;
    let (_, whole) = compile(&module, 0, Entry::Start, false);
    let (_, entered) = compile(&module, 0, Entry::Loop { offset }, false);
    assert!(entered < whole, "{entered} {whole}");
}

/// From the function's start on the optimizer knows that it is zero, so it should from the loop on.
#[test]
fn a_local_that_nothing_sets_is_not_loaded_from_the_frame() {
    let loads = |setter: &str| {
        let text = format!(
            "(module (func (param i32 i32) (result i32) (local i32 i64 f32 f64 v128 externref i32)
                (loop
                    (local.set 0 (i32.add (local.get 0) (i32.mul (local.get 2) (local.get 1))))
                    {setter}
                    (br_if 0 (local.get 0)))
                (i32.add (local.get 8) (ref.is_null (local.get 7)))))"
        );
        let module = module(&text);
        let offset = module.loop_headers(FuncIdx(0))[0].offset;
        let (entered, _) = compile(&module, 0, Entry::Loop { offset }, false);
        count(&entered, Opcode::Load)
    };
    let parameters = loads("");
    for (set, of_local) in ["i32", "i64", "f32", "f64"].iter().zip(2..) {
        let setter = format!("(local.set {of_local} ({set}.const 1))");
        assert_eq!(loads(&setter), parameters + 1, "{setter}");
    }
    let tee = "(drop (local.tee 8 (i32.const 1)))";
    assert_eq!(loads(tee), parameters + 1);
}

/// Whichever loop of a nest is entered, Cranelift sees the same nest.
#[test]
fn a_nest_stays_one_wherever_it_is_entered() {
    let module = module(
        "(module (func (param i32) (result i32) (local i32 i32)
            i32.const 5
            (loop $a (param i32) (result i32)
                (block (loop $b
                    i64.const 7
                    (if (local.get 0) (then (loop $c (br_if $c (local.tee 2
                        (i32.sub (local.get 2) (i32.const 1)))))))
                    drop
                    (br_if $b (local.tee 1 (i32.sub (local.get 1) (i32.const 1))))))
                (br_if $a (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))",
    );
    let nest = |entry| {
        let (func, _) = compile(&module, 0, entry, false);
        let cfg = ControlFlowGraph::with_function(&func);
        let domtree = DominatorTree::with_function(&func, &cfg);
        let mut loops = LoopAnalysis::new();
        loops.compute(&func, &cfg, &domtree);
        let levels = loops
            .loops()
            .map(|of| loops.loop_level(loops.loop_header(of)).level());
        let mut levels: Vec<usize> = levels.collect();
        levels.sort_unstable();
        levels
    };
    assert_eq!(nest(Entry::Start), [1, 2, 3]);
    for header in module.loop_headers(FuncIdx(0)) {
        let offset = header.offset;
        assert_eq!(nest(Entry::Loop { offset }), [1, 2, 3], "{offset:#x}");
    }
}

#[test]
fn entries_that_are_none() {
    let module = module(
        r#"(module (import "a" "f" (func)) (func (param i32)
            (block (return) (loop $dead (br $dead)))
            (loop $l (br_if $l (local.get 0)))))"#,
    );
    let fails = |func, entry| try_translate(&module, func, entry, false).expect_err("no entry");
    assert_eq!(fails(0, Entry::Start), CompileError::NoBody);
    let body = module.body(FuncIdx(1)).expect("it is defined");
    let loops: Vec<u32> = body
        .ops()
        .into_iter_with_offsets()
        .filter_map(|op| match op.expect("it is valid") {
            (wasmparser::Operator::Loop { .. }, at) => Some(at as u32),
            _ => None,
        })
        .collect();
    assert_eq!(loops.len(), 2);
    // Not reached, no loop, past the end.
    for offset in [loops[0], loops[1] + 1, u32::MAX] {
        assert_eq!(fails(1, Entry::Loop { offset }), resume::NO_LOOP);
    }
}

/// Instructions of `opcode`, with the bytes of the module that they come from.
fn offsets_of(func: &ir::Function, opcode: Opcode) -> Vec<u32> {
    let blocks = func.layout.blocks();
    blocks
        .flat_map(|block| func.layout.block_insts(block))
        .filter(|&inst| func.dfg.insts[inst].opcode() == opcode)
        .map(|inst| func.srcloc(inst).bits())
        .collect()
}

#[test]
fn instructions_know_where_they_come_from() {
    let module = module(
        "(module (func (param i32) (if (local.get 0) (then unreachable)) call 1 call 2 call 1 call 2
                unreachable)
            (func) (func))",
    );
    let body = module.body(FuncIdx(0)).expect("it is defined");
    let mut expected = [Vec::new(), Vec::new()];
    for op in body.ops().into_iter_with_offsets() {
        match op.expect("it is valid") {
            (wasmparser::Operator::Unreachable, at) => expected[0].push(at as u32),
            (wasmparser::Operator::Call { .. }, at) => expected[1].push(at as u32),
            _ => {}
        }
    }
    let (func, _) = compile(&module, 0, Entry::Start, false);
    assert_eq!(offsets_of(&func, Opcode::Trap), expected[0]);
    // No call is bound to a place.
    assert_eq!(offsets_of(&func, Opcode::Call), []);
    assert_eq!(offsets_of(&func, Opcode::CallIndirect), expected[1]);
}

/// A branch takes a comparison as it is, and an address has its offset in the load.
#[test]
fn comparisons_and_addresses_fuse() {
    let module = module(
        "(module (memory 1) (func (param i32 i32) (result i32)
            (block (br_if 0 (i32.lt_s (local.get 0) (local.get 1))))
            (i32.load offset=12 (local.get 0))))",
    );
    let (func, _) = compile(&module, 0, Entry::Start, false);
    let dfg = &func.dfg;
    let blocks = func.layout.blocks();
    let (mut branches, mut loads) = (0, 0);
    for inst in blocks.flat_map(|block| func.layout.block_insts(block)) {
        match dfg.insts[inst] {
            InstructionData::Brif { arg, .. } => {
                let condition = dfg.value_def(arg).unwrap_inst();
                assert_eq!(dfg.insts[condition].opcode(), Opcode::Icmp);
                branches += 1;
            }
            InstructionData::Load { offset, .. } if i32::from(offset) == 12 => loads += 1,
            _ => {}
        }
    }
    assert_eq!((branches, loads), (1, 1));
}

#[test]
fn a_metered_body_pays_for_calls_and_further_iterations() {
    let module = module(
        "(module (func $f) (func (param i32)
            call $f (loop (br_if 0 (local.get 0)) (br_if 1 (local.get 0)))
            (block (br_if 0 (local.get 0)))))",
    );
    let stores = |metered| {
        let (func, _) = compile(&module, 1, Entry::Start, metered);
        offsets_of(&func, Opcode::Store).len()
    };
    // The store's account is all that this body can write to.
    assert_eq!((stores(false), stores(true)), (0, 2));
}

/// Values, and what branches take along.
fn size(func: &ir::Function) -> usize {
    let dfg = &func.dfg;
    let blocks = func.layout.blocks();
    let insts = blocks.flat_map(|block| func.layout.block_insts(block));
    let carried = insts.flat_map(|inst| {
        let targets = dfg.insts[inst].branch_destination(&dfg.jump_tables, &dfg.exception_tables);
        targets
            .iter()
            .map(|target| 1 + target.args(&dfg.value_lists).count())
    });
    dfg.num_values() + carried.sum::<usize>()
}

/// What can't be compiled within reason is refused, and what can becomes no more than a multiple of itself.
///
/// That the refused ones are refused early is what keeps this test from taking minutes.
#[test]
fn hostile_bodies_stay_in_proportion() {
    let locals = |count: usize| format!("(local {})", "i32 ".repeat(count));
    let uses = |count: usize| {
        (0..count).fold(String::new(), |mut text, index| {
            write!(
                text,
                "(local.set {index} (local.get {}))",
                count - 1 - index
            )
            .expect("a string");
            text
        })
    };
    let deep_loops = "(loop ".repeat(20_000) + &uses(MAX_LOCALS) + &")".repeat(20_000);
    let nested_loops = "(loop (br_if 0 (local.get 0)) ".repeat(MAX_OPEN_LOOPS as usize + 1)
        + &")".repeat(MAX_OPEN_LOOPS as usize + 1);
    let carrying =
        "(loop ".repeat(400) + &uses(MAX_LOCALS) + &"(br_if 0 (local.get 0)))".repeat(400);
    let branches = "(br_if 0 (local.get 0))".repeat(50_000) + &uses(MAX_LOCALS);
    let table = format!(
        "(br_if 0 (local.get 0)) {} (br_table {} 0 (local.get 0))",
        uses(MAX_LOCALS),
        "0 1 ".repeat(30_000)
    );
    let results = "i32 ".repeat(1000);
    let wide = format!(
        "(block (result {results}) {} {} unreachable) {}",
        "(i32.const 1)".repeat(1000),
        "(br_if 0 (i32.const 1))".repeat(100_000),
        "drop ".repeat(1000)
    );
    let back = format!(
        "(loop {} {})",
        uses(MAX_LOCALS),
        "(br_if 0 (local.get 0))".repeat(20_000)
    );
    let ifs = "(if (local.get 0) (then ".repeat(40_000) + &"))".repeat(40_000);
    let plain = "(i32.store (i32.const 1) (i32.const 2))".repeat(300_000);
    for (what, body, is_refused) in [
        ("deep loops", deep_loops, true),
        ("nested loops", nested_loops, true),
        ("loops that seem to carry much", carrying, true),
        ("many branches", branches, true),
        ("many branches back to a loop", back, true),
        ("a long table", table, false),
        ("wide labels", wide, true),
        ("deep blocks", ifs, false),
        ("a long body", plain, true),
        ("many locals", uses(MAX_LOCALS), false),
    ] {
        let text = format!(
            "(module (memory 1) (func {} (block (block {body})) (drop (local.get 7))))",
            locals(MAX_LOCALS)
        );
        let module = module(&text);
        match try_translate(&module, 0, Entry::Start, false) {
            Err(error) => {
                assert!(is_refused, "{what}");
                assert_eq!(error, CompileError::TooLarge, "{what}");
            }
            Ok((func, _)) => {
                assert!(!is_refused, "{what}");
                let bytes = module.body(FuncIdx(0)).expect("it is defined").len();
                assert!(size(&func) <= 16 * bytes, "{what}: {} {bytes}", size(&func));
            }
        }
    }
    let text = format!("(module (func {}))", locals(MAX_LOCALS + 1));
    let refused = try_translate(&module(&text), 0, Entry::Start, false);
    assert_eq!(refused.err(), Some(CompileError::TooLarge));
}

/// How often an opcode is in the function.
fn count(func: &ir::Function, opcode: Opcode) -> usize {
    let blocks = func.layout.blocks();
    let insts = blocks.flat_map(|block| func.layout.block_insts(block));
    insts
        .filter(|&inst| func.dfg.insts[inst].opcode() == opcode)
        .count()
}

/// What is not compiled is given up once there is enough of it.
#[test]
fn what_takes_too_much_memory_is_not_translated_to_its_end() {
    let text = format!(
        "(module (memory 1) (func {}))",
        "(i32.store (i32.const 1) (i32.const 2))".repeat(100_000)
    );
    let module = module(&text);
    let translated = |bytes| {
        let job = Job {
            module: &module,
            func: FuncIdx(0),
            entry: Entry::Start,
            metered: false,
            spectre_guards: true,
            relaxed: Relaxed::DETERMINISTIC,
            bytes,
        };
        let (mut context, mut func) = (FunctionBuilderContext::new(), ir::Function::new());
        let result = translate(&job, &**ISA, &mut context, &mut func);
        (result.is_ok(), func.dfg.num_insts())
    };
    let (is_whole, insts) = translated(MOST_BYTES);
    assert!(is_whole && insts >= 300_000, "{insts}");
    let (is_whole, insts) = translated(1 << 20);
    assert!(!is_whole && insts <= 10_000, "{insts}");
}
