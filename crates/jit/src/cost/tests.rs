//! No kind of body takes more than in proportion: by counts, and by the estimates, which the example `cost` compares with
//! the clock.

use std::fmt::Write;
use std::sync::Arc;

use tiered_decode::Module;
use tiered_decode::index::FuncIdx;
use tiered_decode::vector::{Relaxed, VecOp};

use cranelift_frontend::FunctionBuilderContext;

use super::*;
use crate::target::{Isas, Settings};
use crate::translate::{Job, translate};
use crate::{CompileError, Compiler, Config, Entry, Jit};

/// The kinds of bodies that grow in one number each, with locals: what is repeated or nested that often.
const KINDS: [&str; 12] = [
    "loops",
    "nest",
    "ifs",
    "ifelse",
    "small loops",
    "br_table",
    "switch",
    "switch loop",
    "straight",
    "operands",
    "br_ifs",
    "calls",
];

/// A module whose function 0 is such a body.
fn text(kind: &str, count: usize, locals: usize) -> String {
    let types = "i32 ".repeat(locals);
    let (mut touch, mut fold, mut args) = (String::new(), String::new(), String::new());
    for local in 1..=locals {
        let _ = write!(
            touch,
            "(local.set {local} (i32.add (local.get {local}) (local.get 0)))"
        );
        let _ = write!(
            fold,
            "(local.set 0 (i32.xor (local.get 0) (local.get {local})))"
        );
        let _ = write!(args, "(local.get {local})");
    }
    let numbers = |count: usize| (0..count).map(|at| format!("{at} ")).collect::<String>();
    let local = |at: usize| 1 + at % locals;
    let repeat = |each: &dyn Fn(usize) -> String| (0..count).map(each).collect::<String>();
    let nested = |open: &str, inner: &str, close: &str| {
        format!("{}{inner}{}", open.repeat(count), close.repeat(count))
    };
    let body = match kind {
        "loops" => format!("(loop {touch} (br_if 0 (local.get 0)))").repeat(count),
        "nest" => nested("(loop ", &touch, "(br_if 0 (local.get 0)))"),
        "ifs" => nested("(if (local.get 0) (then ", &touch, "))"),
        "ifelse" => format!("(if (local.get 0) (then {touch}) (else {touch}))").repeat(count),
        "small loops" => {
            "(loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))".repeat(count)
        }
        "br_table" => format!(
            "(block (block (br_table {} (local.get 0))))",
            "0 1 ".repeat(count / 2 + 1)
        ),
        "switch" => {
            let arms = repeat(&|at| format!("(local.set {} (local.get 0)))", local(at)));
            format!(
                "{}(br_table {} (local.get 0)){arms}",
                "(block ".repeat(count),
                numbers(count)
            )
        }
        "switch loop" => {
            let arm = |at: usize| {
                let (local, out) = (local(at), count - 1 - at);
                format!(
                    ") (local.set {local} (i32.add (local.get 0) (local.get {local}))) (br {out})"
                )
            };
            let (blocks, arms) = ("(block ".repeat(count), repeat(&arm));
            format!(
                "(loop {blocks}(br_table {} (local.get 0)){arms} (br 0))",
                numbers(count)
            )
        }
        "straight" => touch.repeat(count),
        "operands" => {
            let pushed = "(local.get 0) (i32.load8_u (local.get 0))".repeat(count);
            format!("{pushed}{}(local.set 0)", "(i32.xor)".repeat(2 * count - 1))
        }
        "br_ifs" => {
            let branch = |at: usize| {
                format!(
                    "(br_if {at} (local.tee {} (i32.load (local.get 0))))",
                    local(at)
                )
            };
            format!(
                "{}{}{}",
                "(block ".repeat(count),
                repeat(&branch),
                ")".repeat(count)
            )
        }
        _ => format!("(call 1 {args})").repeat(count),
    };
    format!(
        "(module (memory 1)
            (func (param i32) (result i32) (local {types}) {body} {fold} (local.get 0))
            (func (param {types})))"
    )
}

fn compiler() -> Compiler {
    let jit = Jit::new(&Config::default()).expect("this machine can");
    jit.compiler().expect("there is memory")
}

/// The size of the body, and what compiling it takes; `None` if it is refused.
fn estimate(
    compiler: &mut Compiler,
    kind: &str,
    count: usize,
    locals: usize,
) -> (usize, Option<Estimate>) {
    let module = Module::new(text(kind, count, locals).into_bytes());
    let module = Arc::new(module.unwrap_or_else(|error| panic!("{kind}: {error}")));
    let bytes = module.body(FuncIdx(0)).expect("it is defined").len();
    match compiler.estimate(&module, FuncIdx(0), Entry::Start, false) {
        Ok(estimate) => (bytes, Some(estimate)),
        Err(CompileError::TooLarge) => (bytes, None),
        Err(error) => panic!("{kind}: {error}"),
    }
}

#[test]
fn whatever_grows_time_and_memory_are_bounded() {
    let mut compiler = compiler();
    for kind in KINDS {
        for (count, locals) in [
            (100, 1),
            (10, 100),
            (1_000, 1),
            (100, 100),
            (900, 300),
            (10_000, 3),
        ] {
            // Cranelift's verifier and the text format take long for those.
            if count * locals > 20_000
                && matches!(
                    kind,
                    "loops" | "ifelse" | "straight" | "calls" | "switch loop"
                )
            {
                continue;
            }
            let (bytes, estimate) = estimate(&mut compiler, kind, count, locals);
            let Some(Estimate {
                time,
                bytes: memory,
                ..
            }) = estimate
            else {
                assert!(
                    bytes > 5_000,
                    "{kind} {count} {locals}: {bytes} bytes are too large"
                );
                continue;
            };
            assert!(
                time <= MOST_TIME && memory <= MOST_BYTES,
                "{kind} {count} {locals}"
            );
        }
    }
}

#[test]
fn small_bodies_are_compiled_thoroughly() {
    let mut compiler = compiler();
    for kind in KINDS {
        let (_, estimate) = estimate(&mut compiler, kind, 12, 6);
        let allocator = estimate.map(|estimate| estimate.allocator);
        assert_eq!(allocator, Some(Allocator::Thorough), "{kind}");
    }
}

#[test]
fn what_grows_with_the_square_is_done_in_a_single_pass() {
    let mut compiler = compiler();
    for (kind, count, locals) in [
        ("br_ifs", 500, 100),
        ("nest", 300, 50),
        ("loops", 100, 200),
        ("small loops", 4_000, 1),
    ] {
        let (_, estimate) = estimate(&mut compiler, kind, count, locals);
        let estimate = estimate.unwrap_or_else(|| panic!("{kind} is refused"));
        assert_eq!(estimate.allocator, Allocator::SinglePass, "{kind}");
    }
    // The square is of what goes together, not of the body.
    let (_, straight) = estimate(&mut compiler, "straight", 2_000, 8);
    assert_eq!(
        straight.map(|estimate| estimate.allocator),
        Some(Allocator::Thorough)
    );
}

#[test]
fn memory_is_as_much_as_is_allowed() {
    let module = Arc::new(Module::new(text("ifs", 500, 1).into_bytes()).expect("it is valid"));
    let compile = |compile_bytes| {
        let config = Config {
            compile_bytes,
            ..Config::default()
        };
        let jit = Jit::new(&config).expect("this machine can");
        let mut compiler = jit.compiler().expect("there is memory");
        compiler
            .compile(&module, FuncIdx(0), Entry::Start, false)
            .map(|code| code.estimate().bytes)
    };
    let wanted = compile(MOST_BYTES).expect("it is small");
    assert_eq!(compile(wanted), Ok(wanted));
    assert!(
        compile(wanted / 2).is_ok_and(|bytes| bytes <= wanted / 2),
        "in a single pass"
    );
    assert_eq!(compile(10_000), Err(CompileError::TooLarge));
}

/// Code made in either way does the same; the first estimate is that of the compile.
#[test]
fn what_was_weighed_is_compiled() {
    let mut compiler = compiler();
    for (kind, count, locals) in [("br_ifs", 200, 100), ("br_table", 5_000, 1), ("ifs", 20, 2)] {
        let module = Module::new(text(kind, count, locals).into_bytes()).expect("it is valid");
        let module = Arc::new(module);
        let at = Entry::Start;
        let foreseen = compiler
            .estimate(&module, FuncIdx(0), at, true)
            .expect("it can be compiled");
        let code = compiler
            .compile(&module, FuncIdx(0), at, true)
            .expect("it can be compiled");
        assert_eq!(code.estimate(), foreseen, "{kind}");
        // Another one in between is not taken for it.
        compiler
            .estimate(&module, FuncIdx(0), at, false)
            .expect("it can be compiled");
        let code = compiler
            .compile(&module, FuncIdx(1), at, false)
            .expect("it can be compiled");
        assert!(code.bytes() < 200, "{kind}: {}", code.bytes());
    }
}

/// A module with vectors.
fn vector_module(text: &str) -> Arc<Module> {
    let module = Module::new(text.as_bytes().to_vec());
    Arc::new(module.unwrap_or_else(|error| panic!("{error} in {text}")))
}

/// What the only function of a module takes.
fn work(module: &Module) -> Work {
    let isas = Isas::new(Settings::default()).expect("this machine can");
    let job = Job {
        module,
        func: FuncIdx(0),
        entry: Entry::Start,
        metered: false,
        spectre_guards: true,
        relaxed: Relaxed::native(false),
    };
    let (mut context, mut func) = (FunctionBuilderContext::new(), ir::Function::new());
    let isa = &**isas.usual();
    translate(&job, isa, &mut context, &mut func).expect("it can be compiled");
    Work::of(&func)
}

/// Casts between lanes do not part what goes together: vectors that are set on all ways are one bundle, as integers are.
#[test]
fn vectors_are_joined_as_integers_are() {
    let of = |ty: &str, set: &str| {
        let set = format!("(local.set 1 ({set}))");
        let body = format!("(if (local.get 0) (then {set}) (else {set}))").repeat(20);
        let text = format!(
            "(module (memory 1) (func (param i32) (local {ty} {ty}) (loop {body} (br_if 0 (local.get 0)))
                ({ty}.store (local.get 0) (local.get 1))))"
        );
        let work = work(&vector_module(&text));
        (work.merges, work.splits)
    };
    let integers = of("i32", "i32.add (local.get 1) (local.get 2)");
    assert!(integers.0 > 20 * 20, "{integers:?}");
    for set in [
        "i32x4.add (local.get 1) (local.get 2)",
        "f64x2.sub (local.get 1) (local.get 2)",
        "i16x8.replace_lane 3 (local.get 1) (local.get 0)",
        "f32x4.div (i8x16.sub (local.get 1) (local.get 2)) (local.get 2)",
    ] {
        assert_eq!(of("v128", set), integers, "{set}");
    }
}

/// What counts for an op are its casts, too, and none is compiled to much more code than that is worth, constants and all.
#[test]
fn vector_ops_count_for_what_they_become() {
    const COUNT: usize = 40;
    let config = Config {
        baseline: true,
        relaxed: Relaxed::DETERMINISTIC,
        ..Config::default()
    };
    let jit = Jit::new(&config).expect("this machine can");
    let mut compiler = jit.compiler().expect("there is memory");
    for &op in VecOp::ALL {
        let operands: String = (op.params().iter().zip([0, 16, 32]))
            .map(|(ty, at)| format!("({ty}.load offset={at} (local.get 0))"))
            .collect();
        let lane = op.lanes().map_or("", |_| "1");
        let each = |index: usize| {
            let operands = operands.replace("offset=", &format!("offset={index}"));
            format!(
                "({}.store offset={index}48 (local.get 0) ({op} {lane} {operands}))",
                op.result()
            )
        };
        let body: String = (1..=COUNT).map(each).collect();
        let text = format!("(module (memory 1) (func (param i32) {body}))");
        let module = vector_module(&text);
        let code = compiler
            .compile(&module, FuncIdx(0), Entry::Start, false)
            .unwrap_or_else(|error| panic!("{op}: {error}"));
        let counted = code.estimate().time.as_nanos() / 900;
        let bytes = code.bytes() as u128;
        assert!(
            bytes <= 16 * counted,
            "{op}: {bytes} bytes of code for {counted} instructions"
        );
    }
}
