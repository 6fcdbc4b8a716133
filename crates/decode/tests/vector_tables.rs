//! The two tables of vector ops agree with `wasmparser`'s list of operators, with its validator, and with the text
//! format: name, bytes, visitor method, arity, types, alignment, lanes.

mod listed;

use listed::List;
use tiered_decode::opcode::Opcode;
use tiered_decode::types::ValType;
use tiered_decode::vector::{PREFIX, Relaxed, VecAccess, VecOp};
use tiered_decode::wasmparser::{
    Operator, Parser, Payload, Validator, VisitOperator, WasmFeatures, for_each_visit_simd_operator,
};
use tiered_decode::{for_each_vector_op, memory::LoadOp, numeric::NumOp};

macro_rules! rows {
    ($($name:ident $visit:ident;)*) => { &[$((stringify!($name), stringify!($visit)),)*] };
}

const OPS: [&[(&str, &str)]; 11] = [
    for_each_vector_op!(unary => rows),
    for_each_vector_op!(binary => rows),
    for_each_vector_op!(ternary => rows),
    for_each_vector_op!(test => rows),
    for_each_vector_op!(shift => rows),
    for_each_vector_op!(splat => rows),
    for_each_vector_op!(extract => rows),
    for_each_vector_op!(replace => rows),
    for_each_vector_op!(relaxed_unary => rows),
    for_each_vector_op!(relaxed_binary => rows),
    for_each_vector_op!(relaxed_ternary => rows),
];

const ACCESSES: [&[(&str, &str)]; 4] = [
    for_each_vector_op!(load => rows),
    for_each_vector_op!(store => rows),
    for_each_vector_op!(load_lane => rows),
    for_each_vector_op!(store_lane => rows),
];

/// The rows expand to methods too, which is how a translator uses them.
struct Visitor;

macro_rules! methods {
    ($($name:ident $visit:ident;)*) => {
        $(fn $visit(&self) -> &'static str {
            stringify!($name)
        })*
    };
}

#[expect(dead_code, reason = "a few stand for all")]
impl Visitor {
    for_each_vector_op!(binary => methods);
    for_each_vector_op!(store_lane => methods);
}

/// Validates a module written in text, and hands its op with these bytes to `check`.
fn with_the_op(text: &str, opcode: Opcode, check: impl FnOnce(&Operator<'_>)) {
    let bytes = wat::parse_str(text).unwrap();
    let mut encoded = Vec::new();
    opcode.encode(&mut encoded);
    let features = WasmFeatures::WASM2 | WasmFeatures::RELAXED_SIMD;
    Validator::new_with_features(features)
        .validate_all(&bytes)
        .unwrap();
    let mut check = Some(check);
    for payload in Parser::new(0).parse_all(&bytes) {
        let Payload::CodeSectionEntry(body) = payload.unwrap() else {
            continue;
        };
        for op in body
            .get_operators_reader()
            .unwrap()
            .into_iter_with_offsets()
        {
            let (op, offset) = op.unwrap();
            if bytes[offset as usize..].starts_with(&encoded)
                && let Some(check) = check.take()
            {
                check(&op);
            }
        }
    }
    assert!(check.is_none(), "no op {opcode:?} in {text}");
}

fn params(types: &[ValType]) -> String {
    types.iter().map(|ty| format!(" {ty}")).collect()
}

#[test]
fn every_op_row() {
    let rows: Vec<_> = OPS.concat();
    assert_eq!((rows.len(), VecOp::ALL.len()), (232, 232));
    for (&op, (name, visit)) in VecOp::ALL.iter().zip(rows) {
        assert_eq!(format!("{op:?}"), name);
        let operands: String = (0..op.params().len())
            .map(|i| format!(" (local.get {i})"))
            .collect();
        let last = op.lanes().map(|lanes| lanes - 1);
        let immediate = last.map(|lane| lane.to_string()).unwrap_or_default();
        // Valid only if the row's types and lanes are those the validator knows.
        let (params, result) = (params(op.params()), op.result());
        let text = format!(
            "(module (func (param{params}) (result {result}) ({op} {immediate}{operands})))"
        );
        with_the_op(&text, op.opcode(), |operator| {
            assert_eq!(
                VecOp::from_operator(operator),
                Some((op, last.unwrap_or(0)))
            );
            assert!(VecAccess::from_operator(operator).is_none());
            assert_eq!(NumOp::from_operator(operator), None);
            let arity = format!("arity {} -> 1", op.params().len());
            assert_eq!(List.visit_operator(operator), (name, visit, arity));
        });
        if let Some(lanes) = op.lanes() {
            let text = text.replace(&format!(" {} ", lanes - 1), &format!(" {lanes} "));
            let bytes = wat::parse_str(&text).unwrap();
            assert!(Validator::new().validate_all(&bytes).is_err(), "{text}");
        }
    }
}

#[test]
fn every_access_row() {
    let rows: Vec<_> = ACCESSES.concat();
    assert_eq!((rows.len(), VecAccess::ALL.len()), (22, 22));
    for (&op, (name, visit)) in VecAccess::ALL.iter().zip(rows) {
        assert_eq!(format!("{op:?}"), name);
        let last = op.lanes().map(|lanes| lanes - 1);
        let immediate = last.map(|lane| lane.to_string()).unwrap_or_default();
        let (operand, result) = match (op.is_store(), op.lanes()) {
            (true, _) => ("(local.get 0)", ""),
            (false, Some(_)) => ("(local.get 0)", "(result v128)"),
            (false, None) => ("", "(result v128)"),
        };
        let align = op.natural_align();
        let text = format!(
            "(module (memory 1) (func (param v128) {result}
                ({op} offset=7 align={align} {immediate} (i32.const 0) {operand})))"
        );
        with_the_op(&text, op.opcode(), |operator| {
            let (found, memarg, lane) = VecAccess::from_operator(operator).unwrap();
            assert_eq!((found, memarg.offset, lane), (op, 7, last.unwrap_or(0)));
            assert_eq!(memarg.max_align, memarg.align);
            assert_eq!(1 << memarg.max_align, op.natural_align());
            assert_eq!(VecOp::from_operator(operator), None);
            assert!(LoadOp::from_operator(operator).is_none());
            let (variant, method, arity) = List.visit_operator(operator);
            assert_eq!((variant, method), (name, visit));
            let operands = 1 + usize::from(!operand.is_empty());
            let results = usize::from(!result.is_empty());
            assert_eq!(arity, format!("arity memarg {operands} -> {results}"));
        });
    }
}

#[test]
fn rows_expand_to_methods() {
    assert_eq!(Visitor.visit_i8x16_swizzle(), "I8x16Swizzle");
    assert_eq!(Visitor.visit_v128_store64_lane(), "V128Store64Lane");
}

/// Every vector op of `wasmparser`'s list is a row, but for two.
#[test]
fn no_row_is_missing() {
    macro_rules! names {
        ($(@$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
            [$(stringify!($op),)*]
        };
    }
    let all = for_each_visit_simd_operator!(names);
    assert_eq!(all.len(), 236 + 20);
    let rows: Vec<_> = [OPS.concat(), ACCESSES.concat()].concat();
    let missing = all
        .into_iter()
        .filter(|op| !rows.iter().any(|(name, _)| name == op));
    assert_eq!(missing.collect::<Vec<_>>(), ["V128Const", "I8x16Shuffle"]);
}

#[test]
fn opcodes_are_distinct() {
    let ops = VecOp::ALL.iter().map(|op| op.opcode());
    let accesses = VecAccess::ALL.iter().map(|op| op.opcode());
    let mut opcodes: Vec<_> = ops.chain(accesses).collect();
    assert!(opcodes.iter().all(|op| op.prefix() == Some(PREFIX)));
    opcodes.sort_unstable();
    opcodes.dedup();
    assert_eq!(opcodes.len(), 232 + 22);
}

#[test]
fn twenty_ops_are_relaxed() {
    let relaxed = VecOp::ALL.iter().filter(|op| op.is_relaxed());
    assert_eq!(relaxed.clone().count(), 20);
    let fused = relaxed
        .clone()
        .filter(|op| op.is_native(Relaxed::native(true)) && !op.is_native(Relaxed::native(false)));
    let fused: Vec<_> = fused.map(|op| op.text()).collect();
    assert_eq!(fused.len(), 4);
    assert!(fused.iter().all(|text| text.contains("madd")));
    for op in VecOp::ALL {
        assert_eq!(op.is_relaxed(), op.text().contains("relaxed"), "{op}");
        assert_eq!(op.is_native(Relaxed::native(true)), op.is_relaxed(), "{op}");
        assert!(!op.is_native(Relaxed::DETERMINISTIC), "{op}");
    }
}
