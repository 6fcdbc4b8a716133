//! Branch hints, right or wrong, change nothing that a program can see.

mod modes;

use modes::in_all_modes;
use tiered::{Config, Engine, Linker, Module, Store, Val};

in_all_modes! {
    wrong_hints_change_no_result,
}

/// Collatz's steps, the sum of the odd ones, and what a table of branches adds: all kinds of branches, each with a place
/// for a hint.
const TEXT: &str = r#"(module
    (func $odd (param i32) (result i32)
        HINT (if (result i32) (i32.and (local.get 0) (i32.const 1))
            (then (i32.const 1)) (else (i32.const 0))))
    (func (export "run") (param i32) (result i32 i32 i32) (local $steps i32) (local $sum i32) (local $kinds i32)
        (block $out
            (loop $next
                HINT (br_if $out (i32.le_u (local.get 0) (i32.const 1)))
                HINT (if (call $odd (local.get 0))
                    (then
                        (local.set $sum (i32.add (local.get $sum) (local.get 0)))
                        (local.set 0 (i32.add (i32.mul (local.get 0) (i32.const 3)) (i32.const 1))))
                    (else (local.set 0 (i32.shr_u (local.get 0) (i32.const 1)))))
                HINT (if (i32.eqz (i32.rem_u (local.get 0) (i32.const 7)))
                    (then (local.set $kinds (i32.add (local.get $kinds) (i32.const 100)))))
                (block $rare
                    (block $often
                        HINT (br_if $rare (i32.eq (i32.and (local.get 0) (i32.const 15)) (i32.const 3)))
                        (br_table $often $rare (i32.and (local.get 0) (i32.const 1))))
                    (local.set $kinds (i32.add (local.get $kinds) (i32.const 1))))
                HINT (br_if $next (i32.lt_u
                    (local.tee $steps (i32.add (local.get $steps) (i32.const 1))) (i32.const 1000)))
                (unreachable)))
        (local.get $steps) (local.get $sum) (local.get $kinds)))"#;

/// The text with a hint for each branch: bit by bit of `hints`, or none.
fn text(hints: Option<u32>) -> String {
    let mut parts = TEXT.split("HINT");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for (number, part) in parts.enumerate() {
        if let Some(hints) = hints {
            text += &format!(
                r#"(@metadata.code.branch_hint "\0{}")"#,
                hints >> number & 1
            );
        }
        text += part;
    }
    text
}

fn run(config: &Config, hints: Option<u32>) -> Vec<String> {
    let engine = Engine::new(config);
    let module = Module::new(&engine, text(hints)).expect("it is valid");
    let mut store = Store::new(&engine, ()).expect("there is memory");
    let instance = Linker::new().instantiate(&mut store, &module);
    let instance = instance.expect("it imports nothing");
    let func = instance.func(&store, "run").expect("it is exported");
    [27, 97, 1, 871, 27, 6171]
        .map(|from| {
            let results = func.call(&mut store, &[Val::I32(from)]);
            format!("{:?}", results.expect("it does not trap"))
        })
        .to_vec()
}

fn wrong_hints_change_no_result(config: &Config) {
    let plain = run(config, None);
    assert!(plain[0].starts_with("[I32(111), "), "{plain:?}");
    for hints in [0, 0b11_1111, 0b01_0101, 0b10_1010, 0b00_0111, 0b11_1000] {
        assert_eq!(run(config, Some(hints)), plain, "{hints:b}");
    }
}
