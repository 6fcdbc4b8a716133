//! Host functions on flat core values.

use tiered::decode::types::ValType::{F32, F64, I32, I64};
use tiered::{Config, TrapCode};
use tiered_component::Linker;

use crate::guest::{LIBC, linked};
use crate::modes::in_all_modes;

in_all_modes! {
    all_core_types_go_both_ways,
    a_host_function_has_the_guest_allocate,
    what_realloc_gives_is_checked,
    a_host_function_charges_for_its_work,
    errors_keep_their_identity,
}

fn all_core_types_go_both_ways(config: &Config) {
    let text = r#"(component
        (import "host" (instance $host
            (export "mix" (func (param "a" u32) (param "b" s64) (param "c" f32) (param "d" f64) (result f64)))
            (export "u8" (func (param "a" u8) (result u8)))
            (export "f32" (func (param "a" f32) (result f32)))
            (export "s64" (func (param "a" s64) (result s64)))
            (export "nothing" (func))))
        (core func $mix (canon lower (func $host "mix")))
        (core func $u8 (canon lower (func $host "u8")))
        (core func $f32 (canon lower (func $host "f32")))
        (core func $s64 (canon lower (func $host "s64")))
        (core func $nothing (canon lower (func $host "nothing")))
        (core module $m
            (import "h" "mix" (func $mix (param i32 i64 f32 f64) (result f64)))
            (import "h" "u8" (func $u8 (param i32) (result i32)))
            (import "h" "f32" (func $f32 (param f32) (result f32)))
            (import "h" "s64" (func $s64 (param i64) (result i64)))
            (import "h" "nothing" (func $nothing))
            (func (export "run") (result f64)
                (call $nothing)
                (call $mix
                    (call $u8 (i32.const 200))
                    (call $s64 (i64.const -5))
                    (call $f32 (f32.const 1.5))
                    (f64.const 0.25))))
        (core instance $i (instantiate $m (with "h" (instance
            (export "mix" (func $mix)) (export "u8" (func $u8)) (export "f32" (func $f32))
            (export "s64" (func $s64)) (export "nothing" (func $nothing))))))
        (func (export "run") (result f64) (canon lift (core func $i "run"))))"#;
    let mut linker = Linker::<u64>::new();
    let mut define = || -> Result<(), tiered_component::LinkError> {
        linker.lowered("host", "mix", &[I32, I64, F32, F64], &[F64], |call| {
            let sum = f64::from(call.arg_u32(0)) + call.arg_u64(1).cast_signed() as f64;
            let sum = sum + f64::from(call.arg_f32(2)) + call.arg_f64(3);
            call.return_f64(sum);
            Ok(())
        })?;
        linker.lowered("host", "u8", &[I32], &[I32], |call| {
            let value = call.arg_u32(0);
            call.return_u32(value + 1);
            Ok(())
        })?;
        linker.lowered("host", "f32", &[F32], &[F32], |call| {
            let value = call.arg_f32(0);
            call.return_f32(-value);
            Ok(())
        })?;
        linker.lowered("host", "s64", &[I64], &[I64], |call| {
            let value = call.arg_u64(0);
            call.return_u64(value.wrapping_mul(2));
            Ok(())
        })?;
        linker.lowered("host", "nothing", &[], &[], |call| {
            *call.data_mut() += 1;
            let (data, bytes) = call.memory();
            assert_eq!((*data, bytes.len()), (1, 0), "it names no memory");
            Ok(())
        })?;
        Ok(())
    };
    define().expect("free names");
    let (mut store, instance) = linked(config, &linker, text).expect("it is linked");
    let run = instance.func("", "run").expect("it is exported");
    let run = run.typed::<(), f64>().expect("of this type");
    let expected = 201.0 - 10.0 - 1.5 + 0.25;
    assert_eq!(run.call(&mut store, &()).expect("no trap"), expected);
    assert_eq!(*store.data(), 1);
}

/// `run(n)` gives the length and the last byte of what the host's `get` gives it.
fn getting(libc: &str) -> String {
    format!(
        r#"(component
            (import "get" (func $get (param "n" u32) (result (list u8))))
            {libc}
            (core func $get (canon lower (func $get) (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
            (core module $m
                (import "h" "get" (func $get (param i32 i32)))
                (import "libc" "memory" (memory 1))
                (func (export "run") (param i32) (result i32)
                    (call $get (local.get 0) (i32.const 8))
                    (i32.add
                        (i32.shl (i32.load (i32.const 12)) (i32.const 8))
                        (i32.load8_u (i32.sub (i32.add (i32.load (i32.const 8)) (i32.load (i32.const 12)))
                            (i32.const 1))))))
            (core instance $i (instantiate $m
                (with "h" (instance (export "get" (func $get)))) (with "libc" (instance $libc))))
            (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run"))))"#
    )
}

fn get() -> Linker<u64> {
    let mut linker = Linker::<u64>::new();
    let get = linker.lowered("", "get", &[I32, I32], &[], |call| {
        let (count, result) = (call.arg_u32(0), call.arg_u32(1) as usize);
        let at = call.realloc(0, 0, 1, count)?;
        let (_, bytes) = call.memory();
        bytes[at as usize..][..count as usize].fill(7);
        bytes[result..][..4].copy_from_slice(&at.to_le_bytes());
        bytes[result + 4..][..4].copy_from_slice(&count.to_le_bytes());
        Ok(())
    });
    get.expect("a free name");
    linker
}

fn a_host_function_has_the_guest_allocate(config: &Config) {
    let (mut store, instance) = linked(config, &get(), &getting(LIBC)).expect("it is linked");
    let run = instance.func("", "run").expect("it is exported");
    let run = run.typed::<(u32,), u32>().expect("of this type");
    // The memory grows meanwhile.
    for count in [1, 1000, 300_000, 2_000_000] {
        let got = run.call(&mut store, &(count,)).expect("no trap");
        assert_eq!(got, count << 8 | 7);
    }
}

fn what_realloc_gives_is_checked(config: &Config) {
    let libc = |body: &str| {
        format!(
            r#"(core module $libc
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) {body}))
            (core instance $libc (instantiate $libc))"#
        )
    };
    for (body, message) in [
        ("(i32.const 65530)", "out of bounds"),
        ("(i32.const -1)", "out of bounds"),
        ("(unreachable)", "unreachable"),
    ] {
        let (mut store, instance) =
            linked(config, &get(), &getting(&libc(body))).expect("it is linked");
        let run = instance.func("", "run").expect("it is exported");
        let run = run.typed::<(u32,), u32>().expect("of this type");
        let error = run.call(&mut store, &(10,)).expect_err("it traps");
        assert!(error.to_string().contains(message), "{body}: {error}");
    }
}

/// `run` calls the host's `work`.
const WORKING: &str = r#"(component
    (import "work" (func $work))
    (core func $work (canon lower (func $work)))
    (core module $m (import "h" "work" (func $work)) (func (export "run") (call $work)))
    (core instance $i (instantiate $m (with "h" (instance (export "work" (func $work))))))
    (func (export "run") (canon lift (core func $i "run"))))"#;

fn a_host_function_charges_for_its_work(config: &Config) {
    let mut linker = Linker::<u64>::new();
    let work = linker.lowered("", "work", &[], &[], |call| {
        let (_, _, meter) = call.memory_and_meter();
        Ok(meter.charge(1000)?)
    });
    work.expect("a free name");
    let config = config.clone().fuel(Some(2500));
    let (mut store, instance) = linked(&config, &linker, WORKING).expect("it is linked");
    let run = instance.func("", "run").expect("it is exported");
    let run = run.typed::<(), ()>().expect("of this type");
    run.call(&mut store, &()).expect("enough fuel");
    let left = store.fuel().expect("it is counted");
    assert!((1400..1500).contains(&left), "{left}");
    run.call(&mut store, &()).expect("enough fuel");
    match run.call(&mut store, &()) {
        Err(tiered_component::Error::Trap(trap)) => {
            assert_eq!(trap.code(), Some(TrapCode::OutOfFuel));
        }
        other => panic!("{other:?}"),
    }
}

fn errors_keep_their_identity(config: &Config) {
    #[derive(Debug, PartialEq, thiserror::Error)]
    #[error("number {0}")]
    struct Number(u32);
    let mut linker = Linker::<u64>::new();
    let work = linker.lowered("", "work", &[], &[], |_| Err(tiered::Trap::host(Number(7))));
    work.expect("a free name");
    let (mut store, instance) = linked(config, &linker, WORKING).expect("it is linked");
    let run = instance.func("", "run").expect("it is exported");
    match run.call(&mut store, &[]) {
        Err(tiered_component::Error::Trap(trap)) => {
            assert_eq!(trap.downcast_ref(), Some(&Number(7)));
        }
        other => panic!("{other:?}"),
    }
}
