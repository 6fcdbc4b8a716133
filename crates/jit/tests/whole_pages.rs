//! Code is placed without the file of the process's memory, too. This test has a process of its own, which can open no
//! file.

use std::fs::File;
use std::sync::Arc;

use tiered_jit::runtime::decode::Module;
use tiered_jit::runtime::{Limits, Linker, Store, TrapCode, Val};
use tiered_jit::{Config, Eager, Jit};

const TEXT: &str = r#"(module (memory 1)
    (func $fib (export "fib") (param i32) (result i32)
        (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
            (then (local.get 0))
            (else (i32.add
                (call $fib (i32.sub (local.get 0) (i32.const 1)))
                (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
    (func (export "trap") (drop (i32.load (i32.const -1)))))"#;

fn main() {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: sets a limit of this process.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const none) };
    assert_eq!(set, 0, "the limit can be set");
    assert!(File::open("/proc/self/mem").is_err());
    for _ in 0..20 {
        let module = Arc::new(Module::new(TEXT.as_bytes().to_vec()).expect("it is valid"));
        let jit = Jit::new(&Config::default()).expect("this machine can");
        let mut store = Store::with_tier(Eager::tier(&jit), Limits::default(), ()).expect("room");
        let instance = Linker::new()
            .instantiate(&mut store, &module)
            .expect("it imports nothing");
        let fib = instance.func(&store, "fib").expect("it is exported");
        let result = fib.call(&mut store, &[Val::I32(15)]);
        assert_eq!(result.expect("it returns"), [Val::I32(610)]);
        let trap = instance.func(&store, "trap").expect("it is exported");
        let error = trap.call(&mut store, &[]).expect_err("it traps");
        assert_eq!(error.code(), Some(TrapCode::MemoryOutOfBounds));
        assert!(jit.code_bytes() >= 4096, "whole pages");
    }
    println!("code runs in pages of its own");
}
