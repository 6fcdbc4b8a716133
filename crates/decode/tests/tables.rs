//! The two tables agree with `wasmparser`'s list of operators and with the text format: name, byte, visitor method,
//! arity, types, alignment.

mod listed;

use listed::List;
use tiered_decode::atomic::AtomicOp;
use tiered_decode::index::FuncIdx;
use tiered_decode::memory::{LoadOp, StoreOp};
use tiered_decode::numeric::NumOp;
use tiered_decode::opcode::Opcode;
use tiered_decode::wasmparser::{Operator, VisitOperator, for_each_visit_operator};
use tiered_decode::wide::WideOp;
use tiered_decode::{
    Module, for_each_atomic, for_each_binary, for_each_load, for_each_store, for_each_unary,
    for_each_wide,
};

macro_rules! rows {
    ($($name:ident $visit:ident;)*) => { &[$((stringify!($name), stringify!($visit)),)*] };
}

const UNARY: &[(&str, &str)] = for_each_unary!(rows);
const BINARY: &[(&str, &str)] = for_each_binary!(rows);
const WIDE: &[(&str, &str)] = for_each_wide!(rows);
const ATOMICS: &[(&str, &str)] = for_each_atomic!(rows);
const LOADS: &[(&str, &str)] = for_each_load!(rows);
const STORES: &[(&str, &str)] = for_each_store!(rows);

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
    for_each_unary!(methods);
    for_each_binary!(methods);
    for_each_load!(methods);
    for_each_store!(methods);
}

/// Decodes the only function of a module written in text, and returns its op of that byte.
fn the_op<'a>(module: &'a Module, opcode: Opcode) -> Operator<'a> {
    let body = module.body(FuncIdx(0)).unwrap();
    let mut encoded = Vec::new();
    opcode.encode(&mut encoded);
    for op in body.ops().into_iter_with_offsets() {
        let (op, offset) = op.unwrap();
        if module.bytes()[offset as usize..].starts_with(&encoded) {
            return op;
        }
    }
    panic!("no op {opcode:?}");
}

fn params(types: &[tiered_decode::types::ValType]) -> String {
    types.iter().map(|ty| format!(" {ty}")).collect()
}

#[test]
fn every_numeric_row() {
    assert_eq!((UNARY.len(), BINARY.len(), NumOp::ALL.len()), (60, 76, 136));
    for (&op, &(name, visit)) in NumOp::ALL.iter().zip(UNARY.iter().chain(BINARY)) {
        assert_eq!(format!("{op:?}"), name);
        let operands: String = (0..op.params().len())
            .map(|i| format!(" (local.get {i})"))
            .collect();
        // Valid only if the row's types are those the validator knows.
        let (params, result) = (params(op.params()), op.result());
        let text = format!("(module (func (param{params}) (result {result}) ({op}{operands})))");
        let module = Module::new(text).unwrap();
        let operator = the_op(&module, op.opcode());
        assert_eq!(NumOp::from_operator(&operator), Some(op));
        assert_eq!(format!("{operator:?}"), name);
        let arity = format!("arity {} -> 1", op.params().len());
        assert_eq!(List.visit_operator(&operator), (name, visit, arity));
    }
}

#[test]
fn every_wide_row() {
    assert_eq!((WIDE.len(), WideOp::ALL.len()), (4, 4));
    for (&op, &(name, visit)) in WideOp::ALL.iter().zip(WIDE) {
        assert_eq!(format!("{op:?}"), name);
        let params = " i64".repeat(op.params());
        let operands: String = (0..op.params())
            .map(|i| format!(" (local.get {i})"))
            .collect();
        let text = format!("(module (func (param{params}) (result i64 i64) ({op}{operands})))");
        let module = Module::new(text).unwrap();
        let operator = the_op(&module, op.opcode());
        assert_eq!(WideOp::from_operator(&operator), Some(op));
        assert_eq!(NumOp::from_operator(&operator), None);
        let arity = format!("arity {} -> 2", op.params());
        assert_eq!(List.visit_operator(&operator), (name, visit, arity));
    }
}

#[test]
fn every_atomic_row() {
    assert_eq!((ATOMICS.len(), AtomicOp::ALL.len()), (63, 63));
    for (&op, &(name, visit)) in AtomicOp::ALL.iter().zip(ATOMICS) {
        assert_eq!(format!("{op:?}"), name);
        let (ty, count) = (op.ty(), op.kind().operands());
        let params = format!(" {ty}").repeat(count);
        let operands: String = (0..count).map(|i| format!(" (local.get {i})")).collect();
        let results = usize::from(op.kind().has_result());
        let result = format!(" {ty}").repeat(results);
        let align = op.size();
        let text = format!(
            "(module (memory 1 1 shared) (func (param{params}) (result{result})
                ({op} offset=7 align={align} (i32.const 0){operands})))"
        );
        let module = Module::new(text).unwrap();
        let operator = the_op(&module, op.opcode());
        let (found, memarg) = AtomicOp::from_operator(&operator).unwrap();
        assert_eq!((found, memarg.offset), (op, 7));
        assert_eq!(1 << memarg.max_align, op.size());
        let arity = format!("arity {} -> {results}", 1 + count);
        assert_eq!(List.visit_operator(&operator), (name, visit, arity));
    }
}

#[test]
fn rows_expand_to_methods() {
    assert_eq!(Visitor.visit_i64_extend32_s(), "I64Extend32S");
    assert_eq!(Visitor.visit_f64_copysign(), "F64Copysign");
    assert_eq!(Visitor.visit_i64_load32_u(), "I64Load32U");
    assert_eq!(Visitor.visit_i64_store32(), "I64Store32");
}

#[test]
fn every_load_row() {
    assert_eq!((LOADS.len(), LoadOp::ALL.len()), (14, 14));
    for (&op, &(name, visit)) in LoadOp::ALL.iter().zip(LOADS) {
        assert_eq!(format!("{op:?}"), name);
        let result = op.result();
        let text =
            format!("(module (memory 1) (func (result {result}) ({op} offset=7 (i32.const 0))))");
        let module = Module::new(text).unwrap();
        let operator = the_op(&module, op.opcode());
        let (found, memarg) = LoadOp::from_operator(&operator).unwrap();
        assert_eq!(
            (found, memarg.offset, 1 << memarg.max_align),
            (op, 7, op.natural_align())
        );
        assert_eq!(
            List.visit_operator(&operator),
            (name, visit, "arity memarg 1 -> 1".to_owned())
        );
        assert_eq!(StoreOp::from_operator(&operator), None);
        assert_eq!(NumOp::from_operator(&operator), None);
    }
}

#[test]
fn every_store_row() {
    assert_eq!((STORES.len(), StoreOp::ALL.len()), (9, 9));
    for (&op, &(name, visit)) in StoreOp::ALL.iter().zip(STORES) {
        assert_eq!(format!("{op:?}"), name);
        let param = op.param();
        let text = format!(
            "(module (memory 1) (func (param {param}) ({op} offset=7 (i32.const 0) (local.get 0))))"
        );
        let module = Module::new(text).unwrap();
        let operator = the_op(&module, op.opcode());
        let (found, memarg) = StoreOp::from_operator(&operator).unwrap();
        assert_eq!(
            (found, memarg.offset, 1 << memarg.max_align),
            (op, 7, op.natural_align())
        );
        assert_eq!(
            List.visit_operator(&operator),
            (name, visit, "arity memarg 2 -> 0".to_owned())
        );
        assert_eq!(LoadOp::from_operator(&operator), None);
    }
}

/// No numeric op or access of `wasmparser`'s list is missing: the operators without immediates and with one result, in
/// the proposals accepted, are the numeric rows and a few named others.
#[test]
fn no_row_is_missing() {
    const OTHERS: [&str; 4] = ["Select", "RefIsNull", "RefEq", "RefAsNonNull"];
    let mut numeric = 0;
    let mut accesses = 0;
    macro_rules! count {
        ($(@$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*))*) => { $(
            let accepted = matches!(stringify!($proposal), "mvp" | "sign_extension" | "saturating_float_to_int");
            let immediates = concat!($($(stringify!($arg), ",",)*)?);
            if accepted && immediates.is_empty() && stringify!($($ann)*).ends_with("-> 1") {
                numeric += usize::from(!OTHERS.contains(&stringify!($op)));
            }
            accesses += usize::from(accepted && immediates == "memarg,");
        )* };
    }
    for_each_visit_operator!(count);
    assert_eq!(numeric, 136);
    assert_eq!(accesses, 23);
}

#[test]
fn accesses_are_little_endian_and_extend() {
    let memory = [0x80, 0xff, 0x01, 0x82, 0x03, 0x04, 0x05, 0xf6];
    for (op, expected) in [
        (LoadOp::I32Load, 0x8201_ff80),
        (LoadOp::I64Load, 0xf605_0403_8201_ff80),
        (LoadOp::F32Load, 0x8201_ff80),
        (LoadOp::F64Load, 0xf605_0403_8201_ff80),
        (LoadOp::I32Load8S, 0xffff_ff80),
        (LoadOp::I32Load8U, 0x80),
        (LoadOp::I32Load16S, 0xffff_ff80),
        (LoadOp::I32Load16U, 0xff80),
        (LoadOp::I64Load8S, 0xffff_ffff_ffff_ff80),
        (LoadOp::I64Load8U, 0x80),
        (LoadOp::I64Load16S, 0xffff_ffff_ffff_ff80),
        (LoadOp::I64Load16U, 0xff80),
        (LoadOp::I64Load32S, 0xffff_ffff_8201_ff80),
        (LoadOp::I64Load32U, 0x8201_ff80),
    ] {
        assert_eq!(op.load(&memory), expected, "{op}");
    }
    for &op in StoreOp::ALL {
        let mut memory = [0xee; 8];
        op.store(&mut memory, 0x0807_0605_04a3_0201);
        let bytes = [0x01, 0x02, 0xa3, 0x04, 0x05, 0x06, 0x07, 0x08];
        assert_eq!(memory[..op.size()], bytes[..op.size()], "{op}");
        assert!(memory[op.size()..].iter().all(|&byte| byte == 0xee), "{op}");
    }
    // A signaling NaN passes through memory as it is.
    let mut memory = [0; 4];
    StoreOp::F32Store.store(&mut memory, 0x7fa0_0001);
    assert_eq!(LoadOp::F32Load.load(&memory), 0x7fa0_0001);
}
