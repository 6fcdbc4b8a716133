//! What is compiled and dropped leaves nothing behind. This test has a process of its own, whose memory it looks at.

use std::sync::Arc;

use tiered_jit::runtime::decode::Module;
use tiered_jit::runtime::decode::index::FuncIdx;
use tiered_jit::{Compiler, Config, Entry, Jit};

/// Kilobytes of memory that this process has.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").expect("there is such a file");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().split(' ').next());
    number.expect("it says so").parse().expect("a number")
}

/// Compiles a function, and its loop.
fn round(compiler: &mut Compiler, module: &Arc<Module>) {
    let offset = module.loop_headers(FuncIdx(0))[0].offset;
    let codes = [Entry::Start, Entry::Loop { offset }].map(|at| {
        let code = compiler.compile(module, FuncIdx(0), at, false);
        code.expect("it can be compiled")
    });
    assert!(codes.iter().all(|code| code.bytes() > 0));
}

fn main() {
    let text = r#"(module (memory 1) (func (param i32) (result i64) (local i64)
        (loop $l
            (local.set 1 (i64.add (local.get 1) (i64.load (local.get 0))))
            (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 8)))))
        (local.get 1)))"#;
    let module = Arc::new(Module::new(text.as_bytes().to_vec()).expect("it is valid"));
    let jit = Jit::new(&Config::default()).expect("this machine can");
    let mut compiler = jit.compiler().expect("this machine can");
    (0..200).for_each(|_| round(&mut compiler, &module));
    let (memory, bytes) = (resident(), jit.code_bytes());
    (0..4000).for_each(|_| round(&mut compiler, &module));
    assert_eq!(jit.code_bytes(), bytes);
    assert!(resident() <= memory + 500, "{memory} {}", resident());
    assert_eq!(Arc::strong_count(&module), 1);
    println!("{memory} KiB before, {} after", resident());
}
