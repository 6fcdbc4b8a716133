//! Random programs against a stack machine that is nothing but the spec's words and `NumOp::eval`.
//!
//! A program is one function with locals of all number types, blocks, loops that end, branches with values, calls,
//! globals and a memory. Its results are what is left on the stack and all locals.
//!
//! *Invariant:* a program is made of bytes, one after another, so that a failing one shrinks.

#[path = "../../../runtime/tests/deepen/mod.rs"]
mod deepen;
mod machine;
mod program;
mod text;

use std::sync::Arc;

use proptest::prelude::*;
use tiered_decode::Module;
use tiered_decode::types::ValType;
use tiered_interp::Interpreter;
use tiered_interp::runtime::{Limits, Linker, Store, Val};

use machine::{Flow, Machine, Stop};
use program::{LOCALS, Node, PARAMS, REST, TYPES, local_type, program};
use text::text;

fn val(ty: ValType, bits: u64) -> Val {
    match ty {
        ValType::I32 => Val::I32(bits as i32),
        ValType::I64 => Val::I64(bits.cast_signed()),
        ValType::F32 => Val::F32(bits as u32),
        _ => Val::F64(bits),
    }
}

/// Everything that can be seen of a run.
#[derive(Debug, PartialEq)]
struct Seen {
    results: Vec<Val>,
    globals: Vec<Val>,
    memory: Vec<u8>,
}

fn expected(program: &[Node], args: [u64; 4]) -> Result<Seen, Stop> {
    let mut machine = Machine::new(args);
    let flow = machine.body(program)?;
    assert!(
        !matches!(flow, Flow::Branch(_)),
        "no branch leads to the function"
    );
    let rest = machine.stack[machine.stack.len() - REST.len()..]
        .iter()
        .zip(REST);
    let rest = rest.map(|(&bits, ty)| val(ty, bits));
    let locals = (0..LOCALS).map(|local| val(local_type(local), machine.locals[local]));
    Ok(Seen {
        results: rest.chain(locals).collect(),
        globals: machine
            .globals
            .iter()
            .zip(TYPES)
            .map(|(&bits, ty)| val(ty, bits))
            .collect(),
        memory: machine.memory,
    })
}

fn found(module: &Arc<Module>, args: [u64; 4]) -> Result<Seen, Stop> {
    let mut store =
        Store::with_tier(Interpreter::tier(), Limits::default(), ()).expect("a store has a stack");
    let instance = Linker::new()
        .instantiate(&mut store, module)
        .expect("it imports nothing");
    let args: Vec<Val> = args
        .into_iter()
        .zip(PARAMS)
        .map(|(bits, ty)| val(ty, bits))
        .collect();
    let run = instance.func(&store, "run").expect("it is exported");
    let results = run.call(&mut store, &args);
    let results = results.map_err(|trap| Stop::Trap(trap.code().expect("a trap of the spec")))?;
    let global = |ty: ValType| {
        instance
            .global(&store, &ty.to_string())
            .expect("it is exported")
            .get(&store)
    };
    let memory = instance.memory(&store, "memory").expect("it is exported");
    Ok(Seen {
        results,
        globals: TYPES.map(global).to_vec(),
        memory: memory.data(&store).to_vec(),
    })
}

/// Runs the program that `bytes` make, with `near` operands where instructions can name them, if that is said; a
/// difference, for people.
fn compare(
    bytes: &[u8],
    args: [u64; 4],
    calls: bool,
    near: Option<u32>,
) -> Result<(), TestCaseError> {
    let program = program(bytes, calls);
    let args = [
        args[0] & 0xffff_ffff,
        args[1],
        args[2] & 0xffff_ffff,
        args[3],
    ];
    let expected = expected(&program, args);
    if expected == Err(Stop::Unknown) {
        return Ok(());
    }
    let text = text(&program);
    let module = Module::new(text.clone().into_bytes());
    let module = module.map_err(|err| TestCaseError::fail(format!("{err}\n{text}")))?;
    let module = match near {
        Some(near) => deepen::deepen(&module, near),
        None => module,
    };
    let found = found(&Arc::new(module), args);
    let same = found == expected;
    prop_assert!(
        same,
        "of {:x?}: {} in\n{}",
        args,
        difference(&found, &expected),
        text
    );
    Ok(())
}

fn difference(found: &Result<Seen, Stop>, expected: &Result<Seen, Stop>) -> String {
    match (found, expected) {
        (Ok(found), Ok(expected)) => format!(
            "results {:x?}, not {:x?}; globals {:x?}, not {:x?}; memory {}",
            found.results,
            expected.results,
            found.globals,
            expected.globals,
            if found.memory == expected.memory {
                "the same"
            } else {
                "differs"
            },
        ),
        (Err(found), Err(expected)) => format!("{found:?}, not {expected:?}"),
        (Ok(_), Err(expected)) => format!("no {expected:?}"),
        (Err(found), Ok(_)) => format!("{found:?}"),
    }
}

fn args() -> impl Strategy<Value = [u64; 4]> {
    let arg = prop_oneof![
        0..8u64,
        any::<u64>(),
        Just(u64::MAX),
        Just(0x7ff4_0000_7fa0_0001)
    ];
    proptest::array::uniform4(arg)
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..700)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn programs_without_calls(bytes in bytes(), args in args()) {
        compare(&bytes, args, false, None)?;
    }

    #[test]
    fn programs_with_calls(bytes in bytes(), args in args()) {
        compare(&bytes, args, true, None)?;
    }

    #[test]
    fn programs_far_up_on_the_stack(bytes in bytes(), args in args(), near in 0..24u32) {
        compare(&bytes, args, true, Some(near))?;
    }
}

/// Programs must not be so wild that they all trap or so tame that they have no loops.
#[test]
fn programs_are_worth_running() {
    let (mut finished, mut loops) = (0, 0);
    for seed in 0..300u64 {
        let mut state = seed;
        let mut byte = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        let bytes: Vec<u8> = (0..600).map(|_| byte()).collect();
        let program = program(&bytes, true);
        loops += usize::from(format!("{program:?}").contains("Loop"));
        finished += usize::from(expected(&program, [1, 2, 3, 4]).is_ok());
    }
    println!("of 300 programs {finished} finish and {loops} have loops");
    assert!(finished > 100, "{finished} of 300 finish");
    assert!(loops > 150, "{loops} of 300 have loops");
}
