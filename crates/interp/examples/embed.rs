//! The interpreter by itself: a module from the command line, or a small one, with one host function.
//!
//! ```sh
//! cargo run -p tiered-interp --example embed
//! cargo run -p tiered-interp --example embed -- 30
//! ```

use std::error::Error;
use std::sync::Arc;

use tiered_interp::Interpreter;
use tiered_interp::runtime::decode::Module;
use tiered_interp::runtime::{Caller, Limits, Linker, Store};

const TEXT: &str = r#"(module
    (import "host" "step" (func $step (param i64)))
    (func (export "collatz") (param $n i64) (result i32) (local $steps i32)
        (loop $again
            (call $step (local.get $n))
            (if (i64.le_u (local.get $n) (i64.const 1)) (then (return (local.get $steps))))
            (local.set $n (if (result i64) (i64.eqz (i64.and (local.get $n) (i64.const 1)))
                (then (i64.shr_u (local.get $n) (i64.const 1)))
                (else (i64.add (i64.mul (local.get $n) (i64.const 3)) (i64.const 1)))))
            (local.set $steps (i32.add (local.get $steps) (i32.const 1)))
            (br $again))
        (unreachable)))"#;

fn main() -> Result<(), Box<dyn Error>> {
    let start = std::env::args().nth(1).map_or(Ok(27), |arg| arg.parse())?;
    let module = Arc::new(Module::new(TEXT.as_bytes().to_vec())?);
    // The host's data: the largest number that was seen.
    let mut store = Store::with_tier(Interpreter::tier(), Limits::default(), 0i64)?;
    let mut linker = Linker::new();
    linker.func("host", "step", |mut caller: Caller<'_, i64>, n: i64| {
        let largest = caller.data_mut();
        *largest = n.max(*largest);
    })?;
    let instance = linker.instantiate(&mut store, &module)?;
    let collatz = instance.typed_func::<(i64,), i32>(&store, "collatz")?;
    let steps = collatz.call(&mut store, (start,))?;
    println!("{start}: {steps} steps, up to {}", store.data());
    Ok(())
}
