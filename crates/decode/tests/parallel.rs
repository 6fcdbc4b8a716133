//! Validation on many threads finds what validation on one finds.

use tiered_decode::index::FuncIdx;
use tiered_decode::proposals::ACCEPTED;
use tiered_decode::{Config, Module};

const FUNCS: usize = 3000;

/// A module of about 200 KiB of code: small bodies, a few big ones, those in `invalid` invalid.
fn module(invalid: &[usize]) -> Vec<u8> {
    let funcs: String = (0..FUNCS)
        .map(|i| {
            let body = if i % 500 == 250 {
                "(drop (i32.const 1000000)) ".repeat(5000)
            } else {
                "nop ".repeat(40)
            };
            let end = if invalid.contains(&i) {
                "(drop (i32.add (i64.const 1) (i32.const 1)))"
            } else {
                ""
            };
            format!("(func $f{i} {body} {end})\n")
        })
        .collect();
    let parsed = wat::parse_str(format!("(module {funcs})")).unwrap();
    assert!(parsed.len() > 200 << 10);
    parsed
}

fn decode(bytes: &[u8], threads: Option<usize>) -> Result<Module, tiered_decode::Error> {
    Module::with_config(
        bytes.to_vec(),
        &Config {
            proposals: ACCEPTED,
            threads,
        },
    )
}

#[test]
fn a_valid_module_is_valid_on_any_number_of_threads() {
    let bytes = module(&[]);
    for threads in [None, Some(0), Some(1), Some(2), Some(7), Some(64)] {
        let module = decode(&bytes, threads).unwrap();
        assert_eq!(module.funcs().len(), FUNCS);
        let last = FuncIdx(FUNCS as u32 - 1);
        assert_eq!(module.func_name(last), Some("f2999"));
        assert_eq!(module.body(last).unwrap().len(), 42);
    }
}

#[test]
fn the_first_error_is_the_same_on_any_number_of_threads() {
    for invalid in [
        &[0][..],
        &[2999],
        &[1250, 700, 2750],
        &[250, 251, 252],
        &[1, 2, 3, 1999, 2000],
    ] {
        let bytes = module(invalid);
        let expected = decode(&bytes, Some(1)).unwrap_err();
        assert_eq!(
            expected.func().unwrap().index(),
            *invalid.iter().min().unwrap()
        );
        assert_eq!(
            expected.func_name(),
            Some(&*format!("f{}", invalid.iter().min().unwrap()))
        );
        for threads in [2, 3, 8].repeat(5) {
            assert_eq!(decode(&bytes, Some(threads)).unwrap_err(), expected);
        }
    }
}
