//! No kind of body takes more than in proportion: by counts, and by the estimates, which the example `cost` compares with
//! the clock.

use std::sync::Arc;

use tiered_decode::Module;
use tiered_decode::index::FuncIdx;
use tiered_decode::vector::{Relaxed, VecOp};

use cranelift_frontend::FunctionBuilderContext;

use super::kinds::{KINDS, text};
use super::*;
use crate::target::{Isas, Settings};
use crate::translate::{Job, translate};
use crate::{CompileError, Compiler, Config, Entry, Jit};

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
                && !matches!(
                    kind,
                    "nest" | "ifs" | "small loops" | "br_table" | "switch" | "operands" | "br_ifs"
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

/// What is computed along a chain of conditions is copied to the other side of each, and counted.
#[test]
fn what_the_optimizer_copies_is_counted() {
    let of = |count| body_work("ifs both", count, 1);
    for count in [2, 10, 100] {
        assert_eq!(of(count).copies, (count * (count - 1) / 2) as u64);
    }
    // In straight code there is one place for each.
    for kind in ["straight", "operands", "loops", "calls"] {
        assert_eq!(body_work(kind, 50, 5).copies, 0, "{kind}");
    }
    // Too many are not counted, and not compiled.
    let most = of(600);
    assert_eq!((most.copies, most.estimate(MOST_BYTES)), (u64::MAX, None));
    let (_, estimate) = estimate(&mut compiler(), "ifs both", 600, 1);
    assert_eq!(estimate, None);
}

#[test]
fn loops_around_instructions_count_by_the_square_of_their_depth() {
    // One addition at each depth: the sum of squares.
    let (half, whole) = (
        body_work("nest around", 100, 1),
        body_work("nest around", 200, 1),
    );
    let times = whole.loops as f64 / half.loops as f64;
    assert!((7.0..9.0).contains(&times), "{half:?} {whole:?}");
    assert!(half.loops > 100_u64.pow(3) / 6, "{half:?}");
    // All of them in the innermost.
    let (half, whole) = (body_work("nest", 300, 2), body_work("nest", 300, 22));
    assert!(
        whole.loops - half.loops >= 20 * 300 * 300 / 2,
        "{half:?} {whole:?}"
    );
    // Loops after one another are not around each other.
    let after = body_work("loops", 300, 2);
    assert!(after.loops < 20 * after.insts, "{after:?}");
    let (_, estimate) = estimate(&mut compiler(), "nest around", 900, 3);
    assert_eq!(estimate, None);
}

#[test]
fn dominating_blocks_count_where_operands_are_far_above() {
    let (half, whole) = (
        body_work("small loops", 200, 1),
        body_work("small loops", 400, 1),
    );
    let times = whole.dominators as f64 / half.dominators as f64;
    assert!((3.5..4.5).contains(&times), "{half:?} {whole:?}");
    assert!(body_work("straight", 400, 1).dominators == 0);
}

/// Values that are loaded first and stored last live at each of the branches in between.
#[test]
fn what_lives_where_blocks_begin_counts_for_each_branch() {
    let of = |branches: usize, values: usize| {
        let each = |op: &dyn Fn(usize) -> String| (1..=values).map(op).collect::<String>();
        let loads = each(&|at| format!("(local.set {at} (i32.load offset={at}00 (local.get 0)))"));
        let stores =
            each(&|at| format!("(i32.store offset={at}00 (local.get 0) (local.get {at}))"));
        let locals = "i32 ".repeat(values);
        let branches = "(br_if 0 (local.get 0))".repeat(branches);
        work(&module_of(&format!(
            "(module (memory 1) (func (param i32) (local {locals}) {loads} (block {branches}) {stores}))"
        )))
    };
    let work = of(300, 50);
    let least = 300 * 50;
    assert!((least..2 * least).contains(&work.live), "{work:?}");
    assert!((2 * least..5 * least).contains(&work.spanned), "{work:?}");
    let more = of(600, 50);
    assert!(more.spanned > work.spanned + 2 * least, "{more:?}");
    let further = 299 * 50;
    assert!((further..2 * further).contains(&work.branched), "{work:?}");
    // What is made and needed in one block lives nowhere else.
    let straight = body_work("straight", 500, 1);
    assert!(straight.live < 10, "{straight:?}");
}

/// A target of a jump table is a branch: 512 values past a table of 60,000 took half a second, and one of 235,000 targets took
/// 430 MB.
#[test]
fn what_lives_past_a_jump_table_counts_for_each_target() {
    let mut compiler = compiler();
    let mut of = |targets, values| estimate(&mut compiler, "br_table", targets, values).1;
    let (few, many) = (of(60_000, 8), of(60_000, 512));
    let [few, many] = [few, many].map(|estimate| estimate.expect("it is compiled"));
    assert!(
        many.time > few.time + Duration::from_millis(200),
        "{many:?}"
    );
    let long = of(235_000, 512);
    let is_foreseen = |estimate: Estimate| estimate.bytes > 215 << 20;
    assert!(long.is_none_or(is_foreseen), "{long:?}");
    let work = body_work("br_table", 60_000, 512);
    let most = 60_000 * 512;
    assert!(
        work.tabled > most * 9 / 10 && work.tabled <= work.spanned,
        "{work:?}"
    );
    assert!(
        (most * 9 / 10..most * 11 / 10).contains(&work.branched),
        "{work:?}"
    );
}

/// Values that are loaded first and stored last live across all that is in between, up to a call.
#[test]
fn values_without_registers_count_by_what_they_live_across() {
    let of = |values: usize, between: &str| {
        let each = |op: &dyn Fn(usize) -> String| (1..=values).map(op).collect::<String>();
        let loads = each(&|at| format!("(local.set {at} (i32.load offset={at}00 (local.get 0)))"));
        let stores =
            each(&|at| format!("(i32.store offset={at}00 (local.get 0) (local.get {at}))"));
        let locals = "i32 ".repeat(values);
        let module = module_of(&format!(
            "(module (memory 1) (func (param i32) (local {locals}) {loads} {between} {stores}) (func))"
        ));
        work(&module).crowded
    };
    let stores = "(i32.store8 offset=7 (local.get 0) (local.get 0))".repeat(1000);
    let least = 80 * 1000;
    let straight = of(100, &stores);
    assert!((least..5 * least).contains(&straight), "{straight}");
    assert!(of(5, &stores) < 1000, "they have registers");
    // A call takes the registers of all at once, wherever it is.
    let (before, after) = (
        of(100, &format!("(call 1) {stores}")),
        of(100, &format!("{stores} (call 1)")),
    );
    assert!(before < least / 2, "{before}");
    assert!(after >= least, "{after}");
    // The same over many blocks.
    let branches = "(if (local.get 0) (then (i32.store8 (local.get 0) (local.get 0))))".repeat(500);
    let over_blocks = of(100, &branches);
    assert!(over_blocks >= least, "{over_blocks}");
    let before = of(100, &format!("(call 1) {branches}"));
    assert!(before < least / 2, "{before}");
    // And in a loop, where they are needed again.
    let in_loop = of(100, &format!("(loop {branches} (br_if 0 (local.get 0)))"));
    assert!(in_loop >= over_blocks, "{in_loop} {over_blocks}");
    // Where that would take most of the time, a single pass is made.
    let work = Work {
        insts: 20_000,
        ..Work::default()
    };
    let allocator = |crowded| {
        let work = Work { crowded, ..work };
        work.estimate(MOST_BYTES).map(|estimate| estimate.allocator)
    };
    assert_eq!(allocator(200_000), Some(Allocator::Thorough));
    assert_eq!(allocator(20_000_000), Some(Allocator::SinglePass));
}

/// A loop seems to carry each local until it is translated.
#[test]
fn values_that_are_taken_back_have_room() {
    let loops = "(loop (br_if 0 (local.get 0)))".repeat(200);
    let locals = "i32 ".repeat(100);
    let uses: String = (1..=100)
        .map(|at| format!("(i32.store (local.get 0) (local.get {at}))"))
        .collect();
    let work = work(&module_of(&format!(
        "(module (memory 1) (func (param i32) (local {locals}) {loops} {uses}))"
    )));
    assert!(work.values >= 200 * 100, "{work:?}");
    assert!(work.definitions >= 200 * 100, "{work:?}");
    let bytes = [work.thorough_bytes(), work.single_pass_bytes()];
    assert!(
        bytes.iter().all(|&bytes| bytes >= 50 * work.values),
        "{bytes:?}"
    );
}

/// What branches carry is looked through for each value that lives where a block begins, if none of them is split.
#[test]
fn branches_that_carry_much_are_compiled_in_a_single_pass() {
    let work = Work {
        insts: 2_000,
        blocks: 1_000,
        params: 20_000,
        carried: 60_000,
        live: 100_000,
        ..Work::default()
    };
    let of = |work: &Work| work.estimate(MOST_BYTES).map(|estimate| estimate.allocator);
    assert_eq!(of(&work), Some(Allocator::SinglePass));
    let few = Work {
        params: 1_000,
        carried: 3_000,
        ..work
    };
    assert_eq!(of(&few), Some(Allocator::Thorough));
    // Too many for either.
    let bomb = Work {
        spanned: 450_000_000,
        ..work
    };
    assert_eq!(of(&bomb), None);
}

/// More of anything is more of everything.
#[test]
fn estimates_grow_with_the_body() {
    for kind in KINDS {
        let of = |count| {
            let work = body_work(kind, count, 5);
            (
                work.thorough_ns().1,
                work.thorough_bytes(),
                work.single_pass_ns(),
                work.single_pass_bytes(),
            )
        };
        let (small, large) = (of(6), of(24));
        assert!(
            small.0 < large.0 && small.1 < large.1,
            "{kind}: {small:?} {large:?}"
        );
        assert!(
            small.2 < large.2 && small.3 < large.3,
            "{kind}: {small:?} {large:?}"
        );
    }
}

/// Trampolines are foreseen with the compile that makes them; whether a function is refused does not depend on who was first.
#[test]
fn trampolines_are_foreseen_once() {
    let module = |count, values| {
        let module = Module::new(text("types", count, values).into_bytes());
        Arc::new(module.expect("it is valid"))
    };
    let start = Entry::Start;
    let mut compiler = compiler();
    let wide = module(8, 400);
    let first = compiler
        .compile(&wide, FuncIdx(0), start, false)
        .expect("it can be compiled")
        .estimate();
    let again = compiler
        .compile(&wide, FuncIdx(0), start, false)
        .expect("it can be compiled")
        .estimate();
    // 400 of each, of 8 types.
    let least = Duration::from_micros(8 * 800);
    assert!(first.time >= again.time + least, "{first:?} {again:?}");
    assert!(
        first.bytes >= again.bytes + 8 * 800 * 100,
        "{first:?} {again:?}"
    );
    assert_eq!(first.allocator, again.allocator);
    // The same type under other numbers is one.
    let types = "(type (func (param i32 i32)))".repeat(50);
    let calls: String = (0..50)
        .map(|ty| format!("(call_indirect (type {ty}) (local.get 0) (local.get 0) (local.get 0))"))
        .collect();
    let many = format!("(module (table 1 funcref) {types} (func (param i32) {calls}))");
    let estimate = compiler
        .estimate(&module_of(&many), FuncIdx(0), start, false)
        .expect("it can be compiled");
    assert!(
        estimate.time < Duration::from_micros(50 * 140),
        "{estimate:?}"
    );
    // Trampolines alone are too much.
    let work = Work::default();
    let mut others = Trampolines::default();
    assert!(work.estimate_with(MOST_BYTES, &others).is_some());
    let ty = wide.func_type(FuncIdx(1));
    (0..1_000).for_each(|_| others.add(ty));
    assert_eq!(work.estimate_with(MOST_BYTES, &others), None);
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

fn module_of(text: &str) -> Arc<Module> {
    let module = Module::new(text.as_bytes().to_vec());
    Arc::new(module.unwrap_or_else(|error| panic!("{error} in {text}")))
}

/// What a body of this kind takes.
fn body_work(kind: &str, count: usize, locals: usize) -> Work {
    work(&module_of(&text(kind, count, locals)))
}

/// What function 0 of a module takes.
fn work(module: &Module) -> Work {
    let isas = Isas::new(Settings::default()).expect("this machine can");
    let job = Job {
        module,
        func: FuncIdx(0),
        entry: Entry::Start,
        metered: false,
        spectre_guards: true,
        relaxed: Relaxed::native(false),
        bytes: MOST_BYTES,
    };
    let (mut context, mut func) = (FunctionBuilderContext::new(), ir::Function::new());
    let isa = &**isas.usual();
    let translated = translate(&job, isa, &mut context, &mut func).expect("it can be compiled");
    Work::of(&func, translated.definitions, |_| true).expect("all is counted")
}

/// What is made of a body's bytes has a bound for each byte, and for each value that is carried: however many fields or elements an
/// object has, and however deep types are.
#[test]
fn instructions_on_objects_are_translated_in_proportion() {
    /// Instructions for each byte: what is foreseen for a byte is right within three times then.
    const MOST: u64 = 12;
    let fields = |count| "(field (mut i64))".repeat(count);
    let mut types = format!(
        "(type $short (struct {})) (type $long (struct {})) (type $pair (struct {})) (type $words (array (mut i64)))",
        fields(16),
        fields(10_000),
        fields(2)
    );
    types += "(type $t0 (sub (struct)))";
    for depth in 1..63 {
        types += &format!("(type $t{depth} (sub $t{} (struct)))", depth - 1);
    }
    let words = |count| "(i64.const 1)".repeat(count);
    let many = format!("(array.new_fixed $words 500 {})", words(500));
    let all = format!("(struct.new $long {})", words(10_000));
    for (op, count) in [
        ("(struct.new_default $short)", 300),
        ("(struct.new_default $long)", 300),
        ("(struct.new $pair (i64.const 1) (i64.const 2))", 300),
        (&*all, 1),
        (&*many, 5),
        ("(array.new $words (i64.const 1) (i32.const 16))", 300),
        ("(array.new $words (i64.const 1) (i32.const 10000))", 300),
        ("(array.new_default $words (i32.const 16))", 300),
        ("(array.new_default $words (i32.const 10000000))", 300),
        (
            "(array.new_fixed $words 2 (i64.const 1) (i64.const 2))",
            300,
        ),
        ("(ref.cast (ref $t62) (local.get $a))", 300),
        ("(ref.test (ref $t62) (local.get $a))", 300),
        ("(ref.test (ref $t1) (local.get $a))", 300),
        ("(ref.test eqref (local.get $a))", 300),
        ("(struct.get $long 9999 (local.get $l))", 300),
        ("(array.get $words (local.get $w) (i32.const 7))", 300),
        ("(array.len (local.get $w))", 300),
        (
            "(block (array.fill $words (local.get $w) (i32.const 0) (i64.const 1) (i32.const 1))) (i32.const 0)",
            300,
        ),
    ] {
        let body = format!("(drop {op})").repeat(count);
        let text = format!(
            "(module {types} (func (param $a anyref) (param $l (ref null $long)) (param $w (ref null $words)) {body}))"
        );
        let module = module_of(&text);
        let bytes = module.body(FuncIdx(0)).expect("it is defined").len() as u64;
        let work = work(&module);
        let start: String = op.chars().take(60).collect();
        println!("{start}: {} instructions of {bytes} bytes", work.insts);
        assert!(work.insts <= MOST * bytes, "{start}: {work:?} of {bytes}");
        assert!(work.values <= MOST * bytes, "{start}: {work:?} of {bytes}");
    }
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
        let work = work(&module_of(&text));
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
        let module = module_of(&text);
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
