//! Which accesses are compared with a limit, and how they are guarded against speculation.

use super::*;

/// A function with one parameter, which is an address or an index of the type `index`, in a module with this memory.
fn accessing(memory: &str, index: &str, body: &str) -> Module {
    module(&format!(
        "(module (type (func (param {index}))) (memory {memory}) (table {index} 1 funcref) (func (type 0) {body}))"
    ))
}

fn with_guards(module: &Module, spectre_guards: bool) -> ir::Function {
    let job = Job {
        module,
        func: FuncIdx(0),
        entry: Entry::Start,
        metered: false,
        spectre_guards,
        relaxed: Relaxed::DETERMINISTIC,
        bytes: MOST_BYTES,
    };
    let (func, _) = try_translate_job(&job).expect("it translates");
    if let Err(errors) = verify_function(&func, &**ISA) {
        panic!("{errors}\n{func}");
    }
    func
}

#[test]
fn what_is_compared_with_a_limit_is_guarded_and_nothing_else() {
    // The memory, the body, and how many accesses of a memory and of a table in it are compared.
    for (memory, index, body, compared, elements) in [
        (
            "1",
            "i32",
            "(drop (i32.load offset=100 (local.get 0)))",
            0,
            0,
        ),
        (
            "1",
            "i32",
            "(i64.store offset=33554424 (local.get 0) (i64.const 1))",
            0,
            0,
        ),
        (
            "1",
            "i32",
            "(i64.store offset=33554425 (local.get 0) (i64.const 1))",
            1,
            0,
        ),
        (
            "1",
            "i32",
            "(drop (f32.load offset=0xffffffff (local.get 0)))",
            1,
            0,
        ),
        (
            "1 (pagesize 1)",
            "i32",
            "(drop (f32.load (local.get 0)))",
            1,
            0,
        ),
        (
            "i64 1",
            "i64",
            "(drop (f32.load offset=0xffffffff (local.get 0)))",
            1,
            0,
        ),
        (
            "i64 1",
            "i64",
            "(drop (f32.load offset=7 (local.get 0)))",
            1,
            0,
        ),
        (
            "i64 1 2",
            "i64",
            "(drop (f32.load offset=7 (local.get 0)))",
            1,
            0,
        ),
        (
            "i64 1 2",
            "i64",
            "(drop (f32.load offset=0xffffffffffffffff (local.get 0)))",
            1,
            0,
        ),
        (
            "i64 1 2 (pagesize 1)",
            "i64",
            "(drop (f32.load (local.get 0)))",
            1,
            0,
        ),
        ("1", "i32", "(drop (table.get 0 (local.get 0)))", 0, 1),
        (
            "1",
            "i32",
            "(table.set 0 (local.get 0) (ref.null func))",
            0,
            1,
        ),
        (
            "1",
            "i64",
            "(table.set 0 (local.get 0) (ref.null func))",
            0,
            1,
        ),
        (
            "1",
            "i32",
            "(call_indirect (type 0) (local.get 0) (local.get 0))",
            0,
            1,
        ),
    ] {
        let module = accessing(memory, index, body);
        for spectre_guards in [false, true] {
            let func = with_guards(&module, spectre_guards);
            let guards = if spectre_guards { elements } else { 0 };
            assert_eq!(
                count(&func, Opcode::SelectSpectreGuard),
                guards,
                "{body}\n{func}"
            );
            let traps = count(&func, Opcode::Trapnz) - usize::from(body.contains("call_indirect"));
            assert_eq!(traps, compared + elements - guards, "{body}\n{func}");
        }
    }
}

/// The first argument of each branch to a block.
fn ways_to(func: &ir::Function, block: ir::Block) -> Vec<ir::Value> {
    let dfg = &func.dfg;
    let branches = func.layout.blocks().filter_map(|from| {
        let last = func.layout.last_inst(from)?;
        Some(dfg.insts[last].branch_destination(&dfg.jump_tables, &dfg.exception_tables))
    });
    let calls = branches
        .flatten()
        .filter(|call| call.block(&dfg.value_lists) == block);
    let first = |call: &ir::BlockCall| call.args(&dfg.value_lists).next();
    let values = calls.filter_map(|call| first(call).and_then(|argument| argument.as_value()));
    values.collect()
}

/// How many accesses of memories there are, and how many of these are to the base plus a masked index.
fn masked(func: &ir::Function) -> (usize, usize) {
    let dfg = &func.dfg;
    let made_by = |value| dfg.value_def(dfg.resolve_aliases(value)).inst();
    // By a mask, or by being of 32 bits; or by one of both, whichever way a branch took.
    let is_masked_here = |value| {
        made_by(value)
            .is_some_and(|inst| matches!(dfg.insts[inst].opcode(), Opcode::Band | Opcode::Uextend))
    };
    let is_masked = |value| match dfg.value_def(dfg.resolve_aliases(value)) {
        ValueDef::Param(block, 0) => {
            let ways = ways_to(func, block);
            ways.len() == 2 && ways.into_iter().all(is_masked_here)
        }
        _ => is_masked_here(value),
    };
    let insts = func
        .layout
        .blocks()
        .flat_map(|block| func.layout.block_insts(block));
    let is_access = |inst: &ir::Inst| {
        let flags = dfg.insts[*inst]
            .memflags()
            .and_then(|flags| dfg.mem_flags[flags].trap_code());
        flags.is_some_and(crate::trap::is_of_access)
    };
    let accesses: Vec<_> = insts.filter(is_access).collect();
    let masked = accesses.iter().filter(|&&inst| {
        let address = *dfg.inst_args(inst).last().expect("it has an address");
        let sum = made_by(address).expect("an address is computed");
        dfg.insts[sum].opcode() == Opcode::Iadd
            && dfg.inst_args(sum).iter().any(|&arg| is_masked(arg))
    });
    (accesses.len(), masked.count())
}

#[test]
fn a_mask_stays_in_the_machine_code() {
    // Two accesses with one index, and how many checks they need.
    let near = "(i64.store offset=8 (local.get 0) (i64.load offset=16 (local.get 0)))";
    let far =
        "(i64.store offset=0x8000000 (local.get 0) (i64.load offset=0xffffffff (local.get 0)))";
    for (memory, index, body, checks) in [
        ("i64 1", "i64", near, 1),
        ("i64 1 2", "i64", near, 1),
        ("i64 1", "i64", far, 2),
        ("i64 1 65536", "i64", far, 2),
        ("i64 1 (pagesize 1)", "i64", near, 2),
        ("1", "i32", far, 2),
    ] {
        let module = accessing(memory, index, body);
        let mut context = Context::for_function(with_guards(&module, true));
        let optimized = context.optimize(&**ISA, &mut ControlPlane::default());
        optimized.expect("it can be optimized");
        let func = &context.func;
        assert_eq!(masked(func), (2, 2), "{memory} {body}\n{func}");
        assert_eq!(
            count(func, Opcode::Trapnz),
            checks,
            "{memory} {body}\n{func}"
        );
        let module = accessing(memory, index, near);
        let func = with_guards(&module, false);
        let is_free = memory == "1" || memory.starts_with("i64 1 2") || memory.contains("65536");
        assert_eq!(
            masked(&func),
            (2, if is_free { 2 } else { 0 }),
            "{memory}\n{func}"
        );
    }
}
