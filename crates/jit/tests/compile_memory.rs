//! What is too large to be compiled is refused for less memory than it would take, and what is compiled leaves little behind:
//! by the allocator's count. So nothing else may allocate meanwhile: this process has one test.

use std::sync::Arc;

use peak_alloc::PeakAlloc;
use tiered_jit::runtime::decode::Module;
use tiered_jit::runtime::decode::index::FuncIdx;
use tiered_jit::{CompileError, Config, Entry, Jit};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// Is taken whatever is compiled.
const MORE: usize = 2 << 20;

/// Each local is set to another.
fn rotate(locals: usize) -> String {
    let set = |local| {
        format!(
            "(local.set {local} (local.get {}))",
            1 + local % (locals - 1)
        )
    };
    (1..locals).map(set).collect()
}

/// Bodies of which each makes another product of its parts, by the number of their locals.
fn bodies() -> Vec<(&'static str, usize, String)> {
    let branch = "(br_if 0 (local.get 0))";
    let set_all = |locals| {
        let set = |local| format!("(local.set {local} (i32.load (local.get 0)))");
        (1..locals).map(set).collect::<String>()
    };
    let get_all = |locals| {
        let get = |local| format!("(i32.store (local.get 0) (local.get {local}))");
        (1..locals).map(get).collect::<String>()
    };
    vec![
        (
            "loops that seem to carry all locals",
            1000,
            format!("(loop {branch})").repeat(1_000) + &get_all(1000),
        ),
        (
            "nested loops",
            1000,
            "(loop ".repeat(900) + &rotate(1000) + &format!("{branch})").repeat(900),
        ),
        (
            "loops that carry all locals",
            1000,
            format!("(loop {} {branch})", rotate(1000)).repeat(80),
        ),
        (
            "branches back to a loop",
            3000,
            format!("(loop {} {})", rotate(3000), branch.repeat(20_000)),
        ),
        (
            "branches back to many loops",
            1000,
            format!("(loop {} {})", rotate(1000), branch.repeat(1_000)).repeat(30),
        ),
        (
            "branches that take other locals along each",
            2000,
            format!(
                "(block {}) {}",
                format!("{branch} {}", rotate(20)).repeat(6_000),
                get_all(2000)
            ),
        ),
        (
            "many blocks behind one another",
            3000,
            set_all(3000) + &format!("(block {branch})").repeat(20_000) + &get_all(3000),
        ),
        (
            "stores",
            2,
            "(i32.store (local.get 0) (local.get 1))".repeat(120_000),
        ),
        (
            "a jump table past which all live",
            1000,
            set_all(1000)
                + &format!(
                    "(block (block (br_table {} 0 (local.get 0))))",
                    "0 1 ".repeat(50_000)
                )
                + &get_all(1000),
        ),
    ]
}

#[test]
fn compiles_and_refusals_take_what_they_may() {
    refusals_take_less_than_half_of_what_compiles_may();
    a_large_compile_leaves_little_behind();
}

/// A compiler keeps what it works with for the next compile, but not if that is much.
fn a_large_compile_leaves_little_behind() {
    let body = "(i32.store (local.get 0) (i32.load (local.get 0)))".repeat(40_000);
    let text = format!("(module (memory 1) (func (param i32) {body}))");
    let module = Arc::new(Module::new(text.into_bytes()).expect("it is valid"));
    let jit = Jit::new(&Config::default()).expect("this machine can");
    let mut compiler = jit.compiler().expect("there is memory");
    let before = ALLOCATED.current_usage();
    let code = compiler.compile(&module, FuncIdx(0), Entry::Start, false);
    let code = code.expect("it can be compiled");
    assert!(code.estimate().bytes > 40 << 20, "{:?}", code.estimate());
    drop(code);
    let left = ALLOCATED.current_usage().saturating_sub(before);
    println!("a large compile leaves {left} bytes");
    assert!(left <= 1 << 20, "{left}");
}

fn refusals_take_less_than_half_of_what_compiles_may() {
    let mut refused = 0;
    for (what, locals, body) in bodies() {
        let text = format!(
            "(module (memory 1) (func (param i32) (local {}) {body}))",
            "i32 ".repeat(locals)
        );
        let module = Module::new(text.into_bytes()).unwrap_or_else(|error| panic!("{error}"));
        let module = Arc::new(module);
        for limit in [1 << 20, 16 << 20, 256 << 20] {
            let config = Config {
                compile_bytes: limit,
                verify: false,
                ..Config::default()
            };
            let jit = Jit::new(&config).expect("this machine can");
            let mut compiler = jit.compiler().expect("there is memory");
            ALLOCATED.reset_peak_usage();
            let before = ALLOCATED.current_usage();
            let estimate = compiler.estimate(&module, FuncIdx(0), Entry::Start, false);
            let taken = ALLOCATED.peak_usage().saturating_sub(before);
            println!("{what}: {limit} bytes: {estimate:?}, took {taken}");
            match estimate {
                Ok(estimate) => assert!(estimate.bytes <= limit, "{what}: {estimate:?}"),
                Err(CompileError::TooLarge) => {
                    refused += 1;
                    assert!(
                        taken <= limit / 2 + MORE,
                        "{what}: {taken} bytes to find out that it takes more than {limit}"
                    );
                }
                Err(error) => panic!("{what}: {error}"),
            }
        }
    }
    assert!(refused >= 18, "{refused}");
}
