//! Structures, arrays and integers of 31 bits.

use arbitrary::Result;
use wasm_encoder::{
    AbstractHeapType, ConstExpr, FieldType, Instruction, RefType, StorageType, ValType as Ty,
};

use super::reference::{DATA, ELEMENTS};
use super::types::{Object, Types, non_null, nullable, nullable_to};
use super::{Body, Use};

/// How many elements arrays have at least, almost always.
const LEAST: i32 = 4;

/// An array of bytes, as a constant expression.
pub(super) fn constant(types: &Types) -> ConstExpr {
    ConstExpr::extended([
        Instruction::I32Const(7),
        Instruction::I32Const(LEAST + 1),
        Instruction::ArrayNew(first_array(types)),
    ])
}

fn first_array(types: &Types) -> u32 {
    let first = types.objects.iter().position(|object| object.is_array);
    first.expect("there are arrays") as u32
}

/// Whether bytes can become elements.
fn is_plain(field: FieldType) -> bool {
    !matches!(field.element_type, StorageType::Val(Ty::Ref(_)))
}

/// Whether elements of a segment of functions can become elements.
fn is_func(field: FieldType) -> bool {
    field.element_type == StorageType::Val(Ty::FUNCREF)
}

/// An element or a field of objects of a type.
#[derive(Clone, Copy, Debug)]
struct Field {
    object: u32,
    number: u32,
    ty: FieldType,
}

impl Field {
    /// The type of its value.
    fn value(&self) -> Ty {
        self.ty.element_type.unpack()
    }

    fn is_packed(&self) -> bool {
        !matches!(self.ty.element_type, StorageType::Val(_))
    }
}

impl Body<'_, '_> {
    fn object_type(&self, index: u32) -> &Object {
        &self.types.objects[index as usize]
    }

    /// The fields and elements for which something holds; if there are some, one of them.
    fn field(&mut self, holds: impl Fn(&Types, &Field) -> bool) -> Result<Option<Field>> {
        let types = self.types;
        let all = types
            .fields()
            .map(|(object, number, ty)| Field { object, number, ty });
        let all: Vec<Field> = all.filter(|field| holds(types, field)).collect();
        if all.is_empty() {
            return Ok(None);
        }
        self.u.choose(&all).copied().map(Some)
    }

    /// The same, of arrays.
    fn array(&mut self, holds: impl Fn(&Types, &Field) -> bool) -> Result<Field> {
        let is_array = |types: &Types, field: &Field| {
            types.objects[field.object as usize].is_array && holds(types, field)
        };
        let found = self.field(is_array)?;
        Ok(found.expect("there is an array of every kind"))
    }

    /// An object of a type to be used, seldom null.
    fn operand(&mut self, object: u32, depth: u32) -> Result<()> {
        let null = self.u.ratio(1, 16)?;
        let ty = nullable_to(object);
        self.reference(if null { ty } else { non_null(ty) }, depth)
    }

    /// An object of exactly this type.
    pub(super) fn object(&mut self, index: u32, depth: u32) -> Result<()> {
        if self.object_type(index).is_array {
            self.new_array(index, depth)
        } else {
            self.new_struct(index, depth)
        }
    }

    /// As [`Self::object`], of few instructions.
    pub(super) fn small_object(&mut self, index: u32) -> Result<()> {
        if self.object_type(index).is_array {
            let len = self.u.int_in_range(LEAST..=LEAST + 2)?;
            self.op(Instruction::I32Const(len));
            self.op(Instruction::ArrayNewDefault(index));
            return Ok(());
        }
        self.new_struct(index, 0)
    }

    /// The first type of arrays.
    pub(super) fn some_array(&self) -> u32 {
        first_array(self.types)
    }

    fn new_struct(&mut self, index: u32, depth: u32) -> Result<()> {
        let types = self.types;
        let ty = &types.objects[index as usize];
        if ty.is_defaultable() && self.u.ratio(1, 3)? {
            self.op(Instruction::StructNewDefault(index));
            return Ok(());
        }
        for field in &ty.fields {
            self.value(field.element_type.unpack(), depth.min(1))?;
        }
        self.op(Instruction::StructNew(index));
        Ok(())
    }

    fn new_array(&mut self, index: u32, depth: u32) -> Result<()> {
        let depth = depth.min(1);
        let field = self.object_type(index).fields[0];
        let ty = field.element_type.unpack();
        match self.u.int_in_range(0..=5)? {
            0 => {
                self.length(depth)?;
                self.op(Instruction::ArrayNewDefault(index));
            }
            1 => {
                let array_size = self.u.int_in_range(0..=LEAST as u32 + 3)?;
                (0..array_size).try_for_each(|_| self.value(ty, depth))?;
                self.op(Instruction::ArrayNewFixed {
                    array_type_index: index,
                    array_size,
                });
            }
            2 | 3 if is_plain(field) => {
                self.segment_range(7)?;
                self.op(Instruction::ArrayNewData {
                    array_type_index: index,
                    array_data_index: DATA,
                });
            }
            2 | 3 if is_func(field) => {
                self.segment_range(2)?;
                self.op(Instruction::ArrayNewElem {
                    array_type_index: index,
                    array_elem_index: ELEMENTS,
                });
            }
            _ => {
                self.value(ty, depth)?;
                self.length(depth)?;
                self.op(Instruction::ArrayNew(index));
            }
        }
        Ok(())
    }

    /// Where in a segment, and how much: at most so much, mostly.
    fn segment_range(&mut self, most: i32) -> Result<()> {
        self.masked(1)?;
        if self.u.ratio(1, 16)? {
            self.value(Ty::I32, 0)?;
        } else {
            let len = self.u.int_in_range(0..=most)?;
            self.op(Instruction::I32Const(len));
        }
        Ok(())
    }

    /// The length of a new array: mostly short, seldom more than there can be.
    fn length(&mut self, depth: u32) -> Result<()> {
        self.value(Ty::I32, depth)?;
        match self.u.int_in_range(0..=63)? {
            0 => self.mask(0x1fff),
            1 => {
                self.op(Instruction::I32Const(-1));
                self.op(Instruction::I32Or);
            }
            _ => {
                self.mask(31);
                self.op(Instruction::I32Const(LEAST));
                self.op(Instruction::I32Or);
            }
        }
        Ok(())
    }

    /// The number of an element, which mostly exists.
    fn element_number(&mut self, array: u32, depth: u32) -> Result<()> {
        let few = is_func(self.object_type(array).fields[0]);
        if self.u.ratio(1, 24)? {
            return self.value(Ty::I32, depth);
        }
        self.value(Ty::I32, depth)?;
        self.mask(if few { 1 } else { LEAST - 1 });
        Ok(())
    }

    /// A small number.
    fn masked(&mut self, mask: i32) -> Result<()> {
        self.value(Ty::I32, 0)?;
        self.mask(mask);
        Ok(())
    }

    /// A reference from within an object.
    pub(super) fn field_of(&mut self, ty: RefType, depth: u32) -> Result<()> {
        let fits = |types: &Types, field: &Field| types.is_sub(field.value(), ty.into());
        match self.field(fits)? {
            Some(field) => self.get(field, depth),
            None => self.made(ty, depth),
        }
    }

    /// The value of a field or of an element.
    fn get(&mut self, field: Field, depth: u32) -> Result<()> {
        let Field { object, number, .. } = field;
        self.operand(object, depth)?;
        let signed = self.u.arbitrary()?;
        if self.object_type(object).is_array {
            self.element_number(object, depth.min(1))?;
            self.op(match (field.is_packed(), signed) {
                (false, _) => Instruction::ArrayGet(object),
                (true, true) => Instruction::ArrayGetS(object),
                (true, false) => Instruction::ArrayGetU(object),
            });
            return Ok(());
        }
        let (struct_type_index, field_index) = (object, number);
        self.op(match (field.is_packed(), signed) {
            (false, _) => Instruction::StructGet {
                struct_type_index,
                field_index,
            },
            (true, true) => Instruction::StructGetS {
                struct_type_index,
                field_index,
            },
            (true, false) => Instruction::StructGetU {
                struct_type_index,
                field_index,
            },
        });
        Ok(())
    }

    /// A number that depends on an object.
    pub(super) fn number_of_object(&mut self, ty: Ty, depth: u32) -> Result<()> {
        let question = self.u.int_in_range(0..=9)?;
        if ty == Ty::I32 && question < 5 {
            return self.question(question, depth);
        }
        match self.field(|_, field| field.value() == ty)? {
            Some(field) => self.get(field, depth),
            None => self.constant(ty),
        }
    }

    /// A number that says something of references.
    fn question(&mut self, question: u32, depth: u32) -> Result<()> {
        match question {
            0 => {
                let null = self.u.ratio(1, 16)?;
                let ty = RefType::ARRAYREF;
                self.reference(if null { ty } else { non_null(ty) }, depth)?;
                self.op(Instruction::ArrayLen);
            }
            1 => {
                self.reference(RefType::EQREF, depth)?;
                self.reference(RefType::EQREF, depth)?;
                self.op(Instruction::RefEq);
            }
            2 => {
                let ty = self.types.a_reference(self.u)?;
                let top = self.types.top(ty.heap_type);
                if top != RefType::ANYREF && top != RefType::FUNCREF {
                    return self.constant(Ty::I32);
                }
                self.reference(top, depth)?;
                let null = self.u.arbitrary()?;
                self.op(if null {
                    Instruction::RefTestNullable(ty.heap_type)
                } else {
                    Instruction::RefTestNonNull(ty.heap_type)
                });
            }
            3 => {
                let null = self.u.ratio(1, 16)?;
                let ty = RefType::I31REF;
                self.reference(if null { ty } else { non_null(ty) }, depth)?;
                let signed = self.u.arbitrary()?;
                self.op(if signed {
                    Instruction::I31GetS
                } else {
                    Instruction::I31GetU
                });
            }
            _ => {
                let ty = self.types.a_reference(self.u)?;
                self.reference(ty, depth)?;
                self.op(Instruction::RefIsNull);
            }
        }
        Ok(())
    }

    /// Something that changes objects, or where they are kept.
    pub(super) fn object_statement(&mut self, depth: u32) -> Result<()> {
        let depth = depth.min(2);
        match self.u.int_in_range(0..=18)? {
            0..=2 => self.set_field(depth),
            3 | 4 => self.set_element(depth),
            5 => self.fill_array(depth),
            6 => self.copy_array(depth),
            7 => self.init_array(depth),
            8..=10 => {
                let ty = self.types.a_reference(self.u)?;
                self.reference(ty, depth)?;
                self.keep(&[ty.into()])
            }
            11 | 12 => self.set_global(depth),
            13..=15 => self.branch_on_null(depth),
            16 => self.func_array(depth),
            _ => {
                let structs = nullable(AbstractHeapType::Struct);
                let ty = *self
                    .u
                    .choose(&[RefType::EQREF, structs, RefType::ARRAYREF])?;
                self.cast(non_null(ty), depth)?;
                self.keep(&[non_null(ty).into()])
            }
        }
    }

    /// An array of functions, from a segment mostly.
    fn func_array(&mut self, depth: u32) -> Result<()> {
        let Field { object, .. } = self.array(|_, field| is_func(field.ty))?;
        self.object(object, depth)?;
        self.keep(&[non_null(nullable_to(object)).into()])
    }

    fn set_field(&mut self, depth: u32) -> Result<()> {
        let can_be = |types: &Types, field: &Field| {
            field.ty.mutable && !types.objects[field.object as usize].is_array
        };
        let Some(field) = self.field(can_be)? else {
            return Ok(());
        };
        self.operand(field.object, depth)?;
        self.value(field.value(), depth.min(1))?;
        self.op(Instruction::StructSet {
            struct_type_index: field.object,
            field_index: field.number,
        });
        Ok(())
    }

    fn set_element(&mut self, depth: u32) -> Result<()> {
        let Field { object, ty, .. } = self.array(|_, field| field.ty.mutable)?;
        self.operand(object, depth)?;
        self.element_number(object, depth.min(1))?;
        self.value(ty.element_type.unpack(), depth.min(1))?;
        self.op(Instruction::ArraySet(object));
        Ok(())
    }

    fn fill_array(&mut self, depth: u32) -> Result<()> {
        let Field { object, ty, .. } = self.array(|_, field| field.ty.mutable)?;
        self.operand(object, depth)?;
        self.masked(1)?;
        self.value(ty.element_type.unpack(), depth.min(1))?;
        self.masked(1)?;
        self.op(Instruction::ArrayFill(object));
        Ok(())
    }

    fn copy_array(&mut self, depth: u32) -> Result<()> {
        let to = self.array(|_, field| field.ty.mutable)?;
        let from = self.array(
            |types, from| match (from.ty.element_type, to.ty.element_type) {
                (StorageType::Val(from), StorageType::Val(to)) => types.is_sub(from, to),
                (from, to) => from == to,
            },
        )?;
        // Half of the time the same one, perhaps.
        let same = from.object == to.object && self.u.arbitrary()?;
        match self.local(nullable_to(to.object).into(), Use::Get)? {
            Some(local) if same => {
                for _ in 0..2 {
                    self.op(Instruction::LocalGet(local));
                    self.masked(3)?;
                }
            }
            _ => {
                self.operand(to.object, depth)?;
                self.masked(1)?;
                self.operand(from.object, depth)?;
                self.masked(1)?;
            }
        }
        self.masked(1)?;
        self.op(Instruction::ArrayCopy {
            array_type_index_dst: to.object,
            array_type_index_src: from.object,
        });
        Ok(())
    }

    /// Bytes or functions from a segment into an array.
    fn init_array(&mut self, depth: u32) -> Result<()> {
        let funcs = self.u.ratio(1, 2)?;
        let array = self.array(|_, field| {
            let fits = if funcs { is_func } else { is_plain };
            field.ty.mutable && fits(field.ty)
        })?;
        self.operand(array.object, depth)?;
        self.masked(1)?;
        self.segment_range(if funcs { 1 } else { LEAST - 1 })?;
        self.op(if funcs {
            Instruction::ArrayInitElem {
                array_type_index: array.object,
                array_elem_index: ELEMENTS,
            }
        } else {
            Instruction::ArrayInitData {
                array_type_index: array.object,
                array_data_index: DATA,
            }
        });
        Ok(())
    }

    fn set_global(&mut self, depth: u32) -> Result<()> {
        let is_reference = |row: &(u32, &(Ty, bool))| matches!(row.1, (Ty::Ref(_), true));
        let all = (0..).zip(self.globals.types()).filter(is_reference);
        let all: Vec<(u32, Ty)> = all.map(|(global, row)| (global, row.0)).collect();
        let (global, ty) = *self.u.choose(&all)?;
        self.value(ty, depth)?;
        self.op(Instruction::GlobalSet(global));
        Ok(())
    }
}
