//! Loop headers: their offsets, their heights, and which loops have one.

use tiered_decode::index::FuncIdx;
use tiered_decode::{LoopHeader, Module};

/// The heights at the headers of the last function's loops; each offset is checked to be that of a `loop`.
fn heights(body: &str) -> Vec<u32> {
    let text = format!(
        "(module (type $t (func (param i64 i64) (result i64))) (func $imported) (func {body}))"
    );
    let module = Module::new(text).unwrap();
    let headers = module.loop_headers(FuncIdx(1));
    let offsets: Vec<u32> = headers.iter().map(|header| header.offset).collect();
    assert!(offsets.is_sorted());
    let ops = module
        .body(FuncIdx(1))
        .unwrap()
        .ops()
        .into_iter_with_offsets()
        .map(Result::unwrap);
    let loops: Vec<u32> = ops
        .filter(|(op, _)| matches!(op, tiered_decode::wasmparser::Operator::Loop { .. }))
        .map(|(_, offset)| offset as u32)
        .collect();
    assert!(
        offsets
            .iter()
            .all(|offset| loops.binary_search(offset).is_ok())
    );
    headers
        .iter()
        .map(|header: &LoopHeader| header.height)
        .collect()
}

#[test]
fn heights_count_the_whole_stack_and_the_parameters() {
    assert_eq!(heights(""), []);
    assert_eq!(heights("(loop)"), [0]);
    assert_eq!(heights("(i32.const 1) (loop (loop)) (drop)"), [1, 1]);
    assert_eq!(
        heights("(i32.const 1) (block (i64.const 1) (loop) (drop)) (drop)"),
        [2]
    );
    let params =
        "(f32.const 0) (i64.const 1) (i64.const 2) (loop (type $t) (drop) (loop)) (drop) (drop)";
    assert_eq!(heights(params), [3, 2]);
    assert_eq!(
        heights(
            "(local i32 i64) (local.get 0) (if (then (loop)) (else (i32.const 1) (loop) (drop)))"
        ),
        [0, 1]
    );
}

#[test]
fn loops_that_cannot_be_reached_have_none() {
    assert_eq!(heights("(unreachable) (loop)"), []);
    assert_eq!(heights("(return) (block (loop)) (loop (loop))"), []);
    assert_eq!(heights("(block (br 0) (loop)) (loop)"), [0]);
    assert_eq!(
        heights("(block (br 0) (block (loop) (unreachable)) (loop)) (i32.const 1) (loop) (drop)"),
        [1]
    );
    assert_eq!(
        heights("(if (i32.const 1) (then (unreachable) (loop)) (else (loop)))"),
        [0]
    );
    assert_eq!(
        heights("(if (i32.const 1) (then (loop) (unreachable)) (else (loop)))"),
        [0, 0]
    );
    // Validation takes the end of a block for reachable, and so do the tiers.
    assert_eq!(heights("(loop (br 0)) (loop)"), [0, 0]);
}

#[test]
fn imports_have_none_and_nesting_costs_no_more_than_its_length() {
    let module = Module::new(r#"(module (import "m" "f" (func)))"#).unwrap();
    assert_eq!(module.loop_headers(FuncIdx(0)), []);
    assert_eq!(module.loop_headers(FuncIdx(9)), []);
    let depth = 200_000;
    let deep = format!("{} {}", "loop ".repeat(depth), "end ".repeat(depth));
    assert_eq!(heights(&deep), vec![0; depth]);
}
