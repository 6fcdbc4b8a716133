//! Constant expressions: initial values of globals, offsets of segments, elements.
//!
//! *Invariant:* an expression is valid: it leaves exactly one value of the type its place asks for.
//! *Invariant:* an expression of one op, which is nearly every one, owns no heap memory.
//! Read by `section.rs`; evaluated by the runtime at instantiation.

use crate::error::Error;
use crate::index::{FuncIdx, GlobalIdx};
use crate::numeric::{NumOp, Value};
use wasmparser::AbstractHeapType as Abstract;
use wasmparser::{HeapType, Operator};

/// A valid constant expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConstExpr(Ops);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Ops {
    One(ConstOp),
    Many(Box<[ConstOp]>),
}

/// An op of a constant expression; floats are their bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConstOp {
    /// `i32.const`
    I32Const(i32),
    /// `i64.const`
    I64Const(i64),
    /// `f32.const`
    F32Const(u32),
    /// `f64.const`
    F64Const(u64),
    /// `v128.const`, its bytes in the order of memory.
    V128Const([u8; 16]),
    /// `ref.null`, whatever its type
    RefNull,
    /// `ref.func`
    RefFunc(FuncIdx),
    /// `global.get`
    GlobalGet(GlobalIdx),
    /// A numeric op of the extended constant expressions.
    Numeric(NumOp),
}

impl ConstExpr {
    /// Reads an expression that validation has accepted.
    pub(crate) fn read(expr: &wasmparser::ConstExpr<'_>) -> Result<ConstExpr, Error> {
        if let Some(value) = read_i32_const(expr) {
            return Ok(ConstExpr(Ops::One(ConstOp::I32Const(value))));
        }
        let mut reader = expr.get_operators_reader();
        let first = read_op(&mut reader)?.ok_or_else(|| unsupported(&reader))?;
        let Some(second) = read_op(&mut reader)? else {
            return Ok(ConstExpr(Ops::One(first)));
        };
        let mut ops = vec![first, second];
        while let Some(op) = read_op(&mut reader)? {
            ops.push(op);
        }
        Ok(ConstExpr(Ops::Many(ops.into())))
    }

    /// The ops, without the final `end`.
    pub fn ops(&self) -> &[ConstOp] {
        match &self.0 {
            Ops::One(op) => std::slice::from_ref(op),
            Ops::Many(ops) => ops,
        }
    }

    /// The bits of the value, as its slots hold them, the first in the lower half; the null reference is 0.
    ///
    /// # Errors
    /// What the environment refuses.
    pub fn eval<E: ConstEnv>(&self, env: &mut E) -> Result<u128, E::Error> {
        let mut stack = Stack(Vec::new());
        match &self.0 {
            Ops::One(op) => op.eval(&mut stack, env),
            Ops::Many(ops) => {
                for op in ops {
                    let value = op.eval(&mut stack, env)?;
                    stack.0.push(value);
                }
                Ok(stack.pop())
            }
        }
    }
}

/// What a constant expression refers to: the instance that is being made, or what stands for it.
///
/// Ops that refer to more than their operands each have a method here; those that allocate can fail as all others can.
pub trait ConstEnv {
    /// Why there is no value.
    type Error;
    /// The value of an immutable global, imported or defined before the place of the expression.
    fn global(&mut self, global: GlobalIdx) -> Result<u128, Self::Error>;
    /// A reference to a function.
    fn func_ref(&mut self, func: FuncIdx) -> Result<u64, Self::Error>;
}

/// No instance: an expression has a value if it is the same in all of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoInstance;

impl ConstEnv for NoInstance {
    /// The value differs between instances.
    type Error = ();

    fn global(&mut self, _: GlobalIdx) -> Result<u128, ()> {
        Err(())
    }

    fn func_ref(&mut self, _: FuncIdx) -> Result<u64, ()> {
        Err(())
    }
}

/// The operands of an expression; a valid one finds all it asks for.
struct Stack(Vec<u128>);

impl Stack {
    fn pop(&mut self) -> u128 {
        self.0.pop().unwrap_or_default()
    }

    /// Pops a value of one slot.
    fn pop_slot(&mut self) -> u64 {
        self.pop() as u64
    }
}

impl ConstOp {
    /// The value that the op pushes, after popping its operands.
    fn eval<E: ConstEnv>(&self, stack: &mut Stack, env: &mut E) -> Result<u128, E::Error> {
        Ok(match *self {
            ConstOp::I32Const(value) => value.to_bits().into(),
            ConstOp::I64Const(value) => value.to_bits().into(),
            ConstOp::F32Const(bits) => bits.to_bits().into(),
            ConstOp::F64Const(bits) => bits.into(),
            ConstOp::V128Const(bytes) => u128::from_le_bytes(bytes),
            ConstOp::RefNull => 0,
            ConstOp::RefFunc(func) => env.func_ref(func)?.into(),
            ConstOp::GlobalGet(global) => env.global(global)?,
            ConstOp::Numeric(op) => {
                let b = stack.pop_slot();
                let a = stack.pop_slot();
                // The numeric ops that are constant, add, sub and mul, do not trap.
                op.eval(&[a, b]).unwrap_or_default().into()
            }
        })
    }
}

/// The value of an expression that is a single `i32.const`: the offset of nearly every segment, of which there may be
/// a hundred thousand.
fn read_i32_const(expr: &wasmparser::ConstExpr<'_>) -> Option<i32> {
    const I32_CONST: u8 = 0x41;
    const END: u8 = 0x0b;
    let mut reader = expr.get_binary_reader();
    (reader.read_u8().ok()? == I32_CONST).then_some(())?;
    let value = reader.read_var_i32().ok()?;
    (reader.read_u8().ok()? == END && reader.eof()).then_some(value)
}

/// Reads an op; `None` at the final `end`.
fn read_op(reader: &mut wasmparser::OperatorsReader<'_>) -> Result<Option<ConstOp>, Error> {
    let operator = reader.read()?;
    let op = match operator {
        Operator::End => return Ok(None),
        Operator::I32Const { value } => Some(ConstOp::I32Const(value)),
        Operator::I64Const { value } => Some(ConstOp::I64Const(value)),
        Operator::F32Const { value } => Some(ConstOp::F32Const(value.bits())),
        Operator::F64Const { value } => Some(ConstOp::F64Const(value.bits())),
        Operator::V128Const { value } => Some(ConstOp::V128Const(*value.bytes())),
        Operator::RefNull {
            hty:
                HeapType::Concrete(_)
                | HeapType::Abstract {
                    shared: false,
                    ty: Abstract::Func | Abstract::Extern | Abstract::Exn | Abstract::NoExn,
                },
        } => Some(ConstOp::RefNull),
        Operator::RefFunc { function_index } => Some(ConstOp::RefFunc(FuncIdx(function_index))),
        Operator::GlobalGet { global_index } => Some(ConstOp::GlobalGet(GlobalIdx(global_index))),
        ref operator => NumOp::from_operator(operator).map(ConstOp::Numeric),
    };
    op.map(Some).ok_or_else(|| unsupported(reader))
}

fn unsupported(reader: &wasmparser::OperatorsReader<'_>) -> Error {
    Error::new(
        reader.original_position() as usize,
        "constant expression required: op not supported here",
    )
}

#[cfg(test)]
mod tests {
    use super::{ConstEnv, ConstExpr, ConstOp, NoInstance};
    use crate::index::{FuncIdx, GlobalIdx};
    use crate::numeric::NumOp;
    use wasmparser::BinaryReader;

    /// Globals are 100 and more, functions 200 and more.
    struct Numbers;

    impl ConstEnv for Numbers {
        type Error = ();

        fn global(&mut self, global: GlobalIdx) -> Result<u128, ()> {
            Ok(u128::from(global.0) + 100)
        }

        fn func_ref(&mut self, func: FuncIdx) -> Result<u64, ()> {
            Ok(u64::from(func.0) + 200)
        }
    }

    #[test]
    fn numeric_ops_evaluate_on_a_stack() {
        // (i32.mul (i32.sub (global.get 3) (i32.const 5)) (i32.const -2))
        let bytes = [0x23, 3, 0x41, 5, 0x6b, 0x41, 0x7e, 0x6c, 0x0b];
        let expr =
            ConstExpr::read(&wasmparser::ConstExpr::new(BinaryReader::new(&bytes, 0))).unwrap();
        assert_eq!(expr.ops().len(), 5);
        assert_eq!(expr.ops()[2], ConstOp::Numeric(NumOp::I32Sub));
        assert_eq!(expr.eval(&mut Numbers), Ok(u128::from(-196_i32 as u32)));
        assert_eq!(expr.eval(&mut NoInstance), Err(()));
    }

    #[test]
    fn a_vector_is_all_of_its_bits() {
        let mut bytes = vec![0xfd, 0x0c];
        bytes.extend(1..=16);
        bytes.push(0x0b);
        let expr =
            ConstExpr::read(&wasmparser::ConstExpr::new(BinaryReader::new(&bytes, 0))).unwrap();
        let value = expr.eval(&mut NoInstance);
        assert_eq!(value, Ok(0x100f_0e0d_0c0b_0a09_0807_0605_0403_0201));
    }

    #[test]
    fn other_ops_are_refused() {
        for bytes in [&[0x0b][..], &[0x01, 0x0b], &[0x41]] {
            assert!(
                ConstExpr::read(&wasmparser::ConstExpr::new(BinaryReader::new(bytes, 0))).is_err()
            );
        }
    }
}
