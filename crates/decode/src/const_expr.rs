//! Constant expressions: initial values of globals, offsets of segments, elements.
//!
//! *Invariant:* an expression is valid: it leaves exactly one value of the type its place asks for.
//! *Invariant:* an expression of one op, which is nearly every one, owns no heap memory.
//! Read by `section.rs`; evaluated by the runtime at instantiation.

use crate::error::Error;
use crate::index::{FuncIdx, GlobalIdx, TypeIdx};
use crate::numeric::{NumOp, Value};
use crate::types::{CompositeType, Types};
use wasmparser::Operator;

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
    /// `struct.new`
    StructNew {
        /// The type.
        ty: TypeIdx,
        /// How many fields it has.
        fields: u32,
    },
    /// `struct.new_default`
    StructNewDefault(TypeIdx),
    /// `array.new`
    ArrayNew(TypeIdx),
    /// `array.new_default`
    ArrayNewDefault(TypeIdx),
    /// `array.new_fixed`
    ArrayNewFixed {
        /// The type.
        ty: TypeIdx,
        /// How many elements there are.
        length: u32,
    },
    /// `ref.i31`
    RefI31,
    /// `any.convert_extern`
    AnyConvertExtern,
    /// `extern.convert_any`
    ExternConvertAny,
}

impl ConstExpr {
    /// Reads an expression that validation has accepted, in a module with these types.
    pub(crate) fn read(
        expr: &wasmparser::ConstExpr<'_>,
        types: &Types,
    ) -> Result<ConstExpr, Error> {
        if let Some(value) = read_i32_const(expr) {
            return Ok(ConstExpr(Ops::One(ConstOp::I32Const(value))));
        }
        let mut reader = expr.get_operators_reader();
        let first = read_op(&mut reader, types)?.ok_or_else(|| unsupported(&reader))?;
        let Some(second) = read_op(&mut reader, types)? else {
            return Ok(ConstExpr(Ops::One(first)));
        };
        let mut ops = vec![first, second];
        while let Some(op) = read_op(&mut reader, types)? {
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
    /// A reference to an integer of 31 bits: the low ones of `value`.
    fn i31(&mut self, value: u32) -> Result<u64, Self::Error>;
    /// A reference to a new object.
    fn allocate(&mut self, new: NewObject, operands: Operands<'_>) -> Result<u64, Self::Error>;
}

/// What an op of a constant expression makes; the type is one of the module's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NewObject {
    /// A structure, whose fields are the operands in their order.
    Struct(TypeIdx),
    /// A structure, whose fields have the default values of their types.
    StructDefault(TypeIdx),
    /// An array of this many elements, each of which is the one operand.
    Array(TypeIdx, u32),
    /// An array of this many elements, which have the default value of their type.
    ArrayDefault(TypeIdx, u32),
    /// An array, whose elements are the operands in their order.
    ArrayFixed(TypeIdx),
}

/// What is on the stack of an expression while something is made.
#[derive(Clone, Copy, Debug)]
pub struct Operands<'a> {
    stack: &'a [u128],
    own: usize,
}

impl<'a> Operands<'a> {
    /// The operands of the op that the new object is made of, in the order they were pushed. Of one for a packed field the
    /// low bits count.
    #[must_use]
    pub fn own(&self) -> &'a [u128] {
        &self.stack[self.stack.len() - self.own..]
    }

    /// All that the expression has on its stack, the op's operands among it: what this refers to is in use.
    #[must_use]
    pub fn all(&self) -> &'a [u128] {
        self.stack
    }
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

    fn i31(&mut self, _: u32) -> Result<u64, ()> {
        Err(())
    }

    fn allocate(&mut self, _: NewObject, _: Operands<'_>) -> Result<u64, ()> {
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

    /// Makes an object of the last `own` operands, which are popped only then.
    fn make<E: ConstEnv>(
        &mut self,
        new: NewObject,
        own: u32,
        env: &mut E,
    ) -> Result<u128, E::Error> {
        let own = (own as usize).min(self.0.len());
        let stack = &self.0[..];
        let made = env.allocate(new, Operands { stack, own })?;
        self.0.truncate(self.0.len() - own);
        Ok(made.into())
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
            ConstOp::StructNew { ty, fields } => stack.make(NewObject::Struct(ty), fields, env)?,
            ConstOp::StructNewDefault(ty) => stack.make(NewObject::StructDefault(ty), 0, env)?,
            ConstOp::ArrayNew(ty) => {
                let length = stack.pop_slot() as u32;
                stack.make(NewObject::Array(ty, length), 1, env)?
            }
            ConstOp::ArrayNewDefault(ty) => {
                let length = stack.pop_slot() as u32;
                stack.make(NewObject::ArrayDefault(ty, length), 0, env)?
            }
            ConstOp::ArrayNewFixed { ty, length } => {
                stack.make(NewObject::ArrayFixed(ty), length, env)?
            }
            ConstOp::RefI31 => env.i31(stack.pop_slot() as u32)?.into(),
            // The bits of a reference are the same on both sides.
            ConstOp::AnyConvertExtern | ConstOp::ExternConvertAny => stack.pop(),
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
fn read_op(
    reader: &mut wasmparser::OperatorsReader<'_>,
    types: &Types,
) -> Result<Option<ConstOp>, Error> {
    let operator = reader.read()?;
    let op = match operator {
        Operator::End => return Ok(None),
        Operator::I32Const { value } => Some(ConstOp::I32Const(value)),
        Operator::I64Const { value } => Some(ConstOp::I64Const(value)),
        Operator::F32Const { value } => Some(ConstOp::F32Const(value.bits())),
        Operator::F64Const { value } => Some(ConstOp::F64Const(value.bits())),
        Operator::V128Const { value } => Some(ConstOp::V128Const(*value.bytes())),
        Operator::RefNull { hty } => types.heap(hty).map(|_| ConstOp::RefNull),
        Operator::RefFunc { function_index } => Some(ConstOp::RefFunc(FuncIdx(function_index))),
        Operator::GlobalGet { global_index } => Some(ConstOp::GlobalGet(GlobalIdx(global_index))),
        Operator::StructNew { struct_type_index } => struct_new(TypeIdx(struct_type_index), types),
        Operator::StructNewDefault { struct_type_index } => {
            Some(ConstOp::StructNewDefault(TypeIdx(struct_type_index)))
        }
        Operator::ArrayNew { array_type_index } => {
            Some(ConstOp::ArrayNew(TypeIdx(array_type_index)))
        }
        Operator::ArrayNewDefault { array_type_index } => {
            Some(ConstOp::ArrayNewDefault(TypeIdx(array_type_index)))
        }
        Operator::ArrayNewFixed {
            array_type_index,
            array_size,
        } => Some(ConstOp::ArrayNewFixed {
            ty: TypeIdx(array_type_index),
            length: array_size,
        }),
        Operator::RefI31 => Some(ConstOp::RefI31),
        Operator::AnyConvertExtern => Some(ConstOp::AnyConvertExtern),
        Operator::ExternConvertAny => Some(ConstOp::ExternConvertAny),
        ref operator => NumOp::from_operator(operator).map(ConstOp::Numeric),
    };
    op.map(Some).ok_or_else(|| unsupported(reader))
}

fn struct_new(ty: TypeIdx, types: &Types) -> Option<ConstOp> {
    match &types[ty.index()].composite {
        CompositeType::Struct(fields) => {
            let fields = fields.len() as u32;
            Some(ConstOp::StructNew { ty, fields })
        }
        CompositeType::Func(_) | CompositeType::Array(_) => None,
    }
}

fn unsupported(reader: &wasmparser::OperatorsReader<'_>) -> Error {
    Error::new(
        reader.original_position() as usize,
        "constant expression required: op not supported here",
    )
}

#[cfg(test)]
mod tests {
    use super::{ConstEnv, ConstExpr, ConstOp, NewObject, NoInstance, Operands};
    use crate::index::{FuncIdx, GlobalIdx, TypeIdx};
    use crate::numeric::NumOp;
    use crate::types::Types;
    use wasmparser::BinaryReader;

    /// Globals are 100 and more, functions 200 and more, what is made 1000 and more; and what was made, in which order.
    #[derive(Default)]
    struct Numbers(Vec<(NewObject, Vec<u128>, usize)>);

    impl ConstEnv for Numbers {
        type Error = ();

        fn global(&mut self, global: GlobalIdx) -> Result<u128, ()> {
            Ok(u128::from(global.0) + 100)
        }

        fn func_ref(&mut self, func: FuncIdx) -> Result<u64, ()> {
            Ok(u64::from(func.0) + 200)
        }

        fn i31(&mut self, value: u32) -> Result<u64, ()> {
            Ok((value << 1 | 1).into())
        }

        fn allocate(&mut self, new: NewObject, operands: Operands<'_>) -> Result<u64, ()> {
            let (own, all) = (operands.own().to_vec(), operands.all().len());
            self.0.push((new, own, all));
            Ok(999 + self.0.len() as u64)
        }
    }

    #[test]
    fn numeric_ops_evaluate_on_a_stack() {
        // (i32.mul (i32.sub (global.get 3) (i32.const 5)) (i32.const -2))
        let bytes = [0x23, 3, 0x41, 5, 0x6b, 0x41, 0x7e, 0x6c, 0x0b];
        let expr = ConstExpr::read(
            &wasmparser::ConstExpr::new(BinaryReader::new(&bytes, 0)),
            &Types::default(),
        )
        .unwrap();
        assert_eq!(expr.ops().len(), 5);
        assert_eq!(expr.ops()[2], ConstOp::Numeric(NumOp::I32Sub));
        assert_eq!(
            expr.eval(&mut Numbers::default()),
            Ok(u128::from(-196_i32 as u32))
        );
        assert_eq!(expr.eval(&mut NoInstance), Err(()));
    }

    #[test]
    fn a_vector_is_all_of_its_bits() {
        let mut bytes = vec![0xfd, 0x0c];
        bytes.extend(1..=16);
        bytes.push(0x0b);
        let expr = ConstExpr::read(
            &wasmparser::ConstExpr::new(BinaryReader::new(&bytes, 0)),
            &Types::default(),
        )
        .unwrap();
        let value = expr.eval(&mut NoInstance);
        assert_eq!(value, Ok(0x100f_0e0d_0c0b_0a09_0807_0605_0403_0201));
    }

    #[test]
    fn what_is_made_knows_its_operands_and_what_else_is_in_use() {
        let module = crate::Module::new(
            "(module
                (type $array (array (mut i8)))
                (type $pair (struct (field i32) (field (ref null $array)) (field anyref)))
                (global (ref $pair)
                    (i32.const 7)
                    (array.new $array (i32.const 300) (i32.const 4))
                    (any.convert_extern (extern.convert_any (ref.i31 (i32.const 5))))
                    (struct.new $pair))
                (global (ref $array)
                    (array.new_fixed $array 2 (i32.const 1) (i32.const 2)))
                (global (ref any) (array.new_default $array (i32.const 9)))
                (global (ref eq) (struct.new_default $pair))
                (global (ref $array) (array.new_fixed $array 0))
                (global nullref (ref.null none)))",
        );
        let module = module.unwrap();
        let mut env = Numbers::default();
        let inits = module.global_inits().iter();
        let values: Vec<_> = inits.map(|init| init.eval(&mut env).unwrap()).collect();
        let (array, pair) = (TypeIdx(0), TypeIdx(1));
        assert_eq!(values, [1001, 1002, 1003, 1004, 1005, 0]);
        assert_eq!(
            env.0,
            [
                (NewObject::Array(array, 4), vec![300], 2),
                (NewObject::Struct(pair), vec![7, 1000, 11], 3),
                (NewObject::ArrayFixed(array), vec![1, 2], 2),
                (NewObject::ArrayDefault(array, 9), vec![], 0),
                (NewObject::StructDefault(pair), vec![], 0),
                (NewObject::ArrayFixed(array), vec![], 0),
            ]
        );
        for init in &module.global_inits()[..5] {
            assert_eq!(init.eval(&mut NoInstance), Err(()));
        }
    }

    #[test]
    fn other_ops_are_refused() {
        for bytes in [&[0x0b][..], &[0x01, 0x0b], &[0x41]] {
            assert!(
                ConstExpr::read(
                    &wasmparser::ConstExpr::new(BinaryReader::new(bytes, 0)),
                    &Types::default()
                )
                .is_err()
            );
        }
    }
}
