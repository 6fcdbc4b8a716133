//! Instructions on garbage-collected objects: which cells they become.
//!
//! *Invariant:* what allocates has its operands, and all below, in their slots, in the frame up to the slot that the cell
//! names: so a collection finds them.

use tiered_decode::index::TypeIdx;
use tiered_decode::numeric::ops;
use tiered_decode::types::{
    AbstractHeapType, CompositeKind, CompositeType, FieldType, HeapType, RefType, StorageType,
    ValType,
};
use tiered_decode::wasmparser;
use tiered_runtime::gc::{self, ARRAY_LENGTH, CastTest};

use crate::gc::{access, bulk, cast, create, i31};
use crate::operand::{Bank, Class, Family};
use crate::regs::Handler;

use super::emit::{Immediates, Source, fields};
use super::stack::{Operand, Place};
use super::{Error, Fusable, Test, Translator};

/// The type of the value that a field of this type is read as.
fn unpacked(ty: FieldType) -> ValType {
    match ty.storage {
        StorageType::I8 | StorageType::I16 => ValType::I32,
        StorageType::Val(ty) => ty,
    }
}

/// Which immediates a cell may have as a value that is stored so.
fn immediates(ty: FieldType) -> Immediates {
    match Bank::of(unpacked(ty)) {
        Bank::Int => Immediates::Typed,
        Bank::F32 | Bank::F64 | Bank::V128 => Immediates::No,
    }
}

/// Where an instruction finds operands that it takes as one run of slots.
struct Run {
    /// The slot of the first one.
    slot: u32,
    /// The slot at which all of the frame's operands end.
    end: u32,
}

impl<'m> Translator<'m> {
    fn composite(&self, ty: TypeIdx) -> &'m CompositeType {
        let module = self.module;
        &module.types()[ty.index()].composite
    }

    fn field(&self, ty: TypeIdx, field: u32) -> Result<FieldType, Error> {
        match self.composite(ty) {
            CompositeType::Struct(fields) => fields.get(field as usize).copied(),
            CompositeType::Func(_) | CompositeType::Array(_) => None,
        }
        .ok_or(Error::Unreadable)
    }

    fn element(&self, ty: TypeIdx) -> Result<FieldType, Error> {
        match self.composite(ty) {
            CompositeType::Array(element) => Ok(*element),
            CompositeType::Func(_) | CompositeType::Struct(_) => Err(Error::Unreadable),
        }
    }

    /// The type of a new object of the type at `ty`.
    fn reference_to(&self, kind: CompositeKind, ty: TypeIdx) -> ValType {
        RefType::new(
            false,
            HeapType::Concrete(kind, self.module_code.type_id(ty)),
        )
        .into()
    }

    /// Where the field is in an object.
    fn field_offset(&self, ty: TypeIdx, field: u32) -> u32 {
        gc::struct_layout(self.module, ty).fields()[field as usize].0
    }

    pub(super) fn struct_get(
        &mut self,
        ty: TypeIdx,
        field: u32,
        signed: bool,
    ) -> Result<(), Error> {
        let field_type = self.field(ty, field)?;
        let offset = self.field_offset(ty, field);
        let a = self.pop_source(Immediates::No);
        let family = access::field_family(field_type.storage, signed, a.class);
        self.define(
            unpacked(field_type),
            family,
            fields(a.field, 0, offset),
            &[],
        );
        Ok(())
    }

    pub(super) fn struct_set(&mut self, ty: TypeIdx, field: u32) -> Result<(), Error> {
        let field_type = self.field(ty, field)?;
        let offset = self.field_offset(ty, field);
        let (a, value) = self.pop_pair(false, immediates(field_type));
        let handler = access::set_field_handler(field_type.storage, a.class, value.class);
        self.emit_set(handler, a, value, offset);
        Ok(())
    }

    /// Writes a cell that stores `value`, which may be an immediate, at `a` and `b`.
    fn emit_set(&mut self, handler: Handler, a: Source, value: Source, b: u32) {
        if value.class == Class::Imm {
            self.emit(handler, fields(a.field, 0, b));
            self.code.push(u64::from(value.field));
        } else {
            self.emit(handler, fields(a.field, value.field, b));
        }
    }

    pub(super) fn array_len(&mut self) {
        let a = self.pop_source(Immediates::No);
        let cell = fields(a.field, 0, ARRAY_LENGTH as u32);
        self.define(ValType::I32, access::length_family(a.class), cell, &[]);
    }

    pub(super) fn array_get(&mut self, ty: TypeIdx, signed: bool) -> Result<(), Error> {
        let element = self.element(ty)?;
        let (a, index) = self.pop_pair(false, Immediates::Typed);
        let family = access::element_family(element.storage, signed, a.class, index.class);
        self.define(
            unpacked(element),
            family,
            fields(a.field, 0, index.field),
            &[],
        );
        Ok(())
    }

    pub(super) fn array_set(&mut self, ty: TypeIdx) -> Result<(), Error> {
        let element = self.element(ty)?;
        let value = self.stack.pop();
        let height = self.stack.height();
        let value = self
            .source(value, height, immediates(element))
            .in_slot(self, value);
        let (a, index) = self.pop_pair(false, Immediates::Typed);
        let handler =
            access::set_element_handler(element.storage, a.class, index.class, value.class);
        self.emit_set(handler, a, value, index.field);
        Ok(())
    }

    /// Takes `count` operands off, which are in one run of slots from now on.
    fn pop_run(&mut self, count: u32) -> Run {
        let from = self.stack.height() - count;
        self.settle_from(from);
        let end = self.stack.end();
        let slot = self.in_one_run(from);
        // They may have been copied to where there are no operands.
        let width = end - self.stack.end_below(from);
        self.stack.max_end = self.stack.max_end.max(slot + width);
        self.stack.truncate(from);
        Run { slot, end }
    }

    fn site(&self, ty: TypeIdx, run: &Run) -> create::Site {
        create::Site {
            ty,
            place: self.module_code.layout().descriptor(ty),
            end: run.end,
        }
    }

    fn create(&mut self, ty: ValType, run: &Run, recipe: &create::Recipe) {
        self.define(ty, recipe.family, fields(0, 0, run.slot), &recipe.words);
    }

    pub(super) fn struct_new(&mut self, ty: TypeIdx) -> Result<(), Error> {
        let module = self.module;
        let CompositeType::Struct(fields) = self.composite(ty) else {
            return Err(Error::Unreadable);
        };
        let run = self.pop_run(fields.len() as u32);
        let recipe = create::new_struct(self.site(ty, &run), gc::struct_layout(module, ty));
        self.create(self.reference_to(CompositeKind::Struct, ty), &run, &recipe);
        Ok(())
    }

    pub(super) fn struct_new_default(&mut self, ty: TypeIdx) {
        let module = self.module;
        let run = self.pop_run(0);
        let site = self.site(ty, &run);
        let result = self.reference_to(CompositeKind::Struct, ty);
        match create::new_struct_default(site, gc::struct_layout(module, ty)) {
            Some(recipe) => self.create(result, &run, &recipe),
            None => self.make(result, bulk::STRUCT_NEW_DEFAULT, [ty.0, 0], &run),
        }
    }

    pub(super) fn array_new_fixed(&mut self, ty: TypeIdx, length: u32) {
        let run = self.pop_run(length);
        let element = gc::element(self.module, ty);
        let recipe = create::new_array_fixed(self.site(ty, &run), element, length);
        self.create(self.reference_to(CompositeKind::Array, ty), &run, &recipe);
    }

    /// An object that a handler of `family` makes.
    fn make(&mut self, ty: ValType, family: &'static Family, numbers: [u32; 2], run: &Run) {
        let numbers = u64::from(numbers[0]) | u64::from(numbers[1]) << 32;
        self.define(
            ty,
            family,
            fields(0, 0, run.slot),
            &[numbers, run.end.into()],
        );
    }

    /// A new array that `count` operands say more of.
    fn array_new_by(&mut self, ty: TypeIdx, family: &'static Family, number: u32, count: u32) {
        let run = self.pop_run(count);
        let result = self.reference_to(CompositeKind::Array, ty);
        self.make(result, family, [ty.0, number], &run);
    }

    pub(super) fn array_new(&mut self, ty: TypeIdx) -> Result<(), Error> {
        let width = unpacked(self.element(ty)?).slots();
        self.array_new_by(ty, bulk::ARRAY_NEW, width, 2);
        Ok(())
    }

    pub(super) fn array_new_default(&mut self, ty: TypeIdx) {
        self.array_new_by(ty, bulk::ARRAY_NEW_DEFAULT, 0, 1);
    }

    pub(super) fn array_new_data(&mut self, ty: TypeIdx, data: u32) {
        self.array_new_by(ty, bulk::ARRAY_NEW_DATA, data, 2);
    }

    pub(super) fn array_new_elem(&mut self, ty: TypeIdx, segment: u32) {
        self.array_new_by(ty, bulk::ARRAY_NEW_ELEM, segment, 2);
    }

    /// An instruction on many elements, which has `count` operands.
    pub(super) fn array_act(&mut self, handler: Handler, number: u32, count: u32) {
        let run = self.pop_run(count);
        self.emit(handler, fields(0, 0, run.slot));
        self.code.push(number.into());
    }

    pub(super) fn array_fill(&mut self, ty: TypeIdx) -> Result<(), Error> {
        let width = unpacked(self.element(ty)?).slots();
        self.array_act(bulk::ARRAY_FILL, width, 4);
        Ok(())
    }

    pub(super) fn ref_i31(&mut self) {
        let heap = HeapType::Abstract(AbstractHeapType::I31);
        let ty = RefType::new(false, heap).into();
        let top = self.stack.operand(self.stack.height() - 1);
        if let Place::Const(number) = top.place {
            self.stack.pop();
            return self.constant(ty, gc::from_i31(number as u32));
        }
        let a = self.pop_source(Immediates::No);
        self.define(ty, i31::make_family(a.class), fields(a.field, 0, 0), &[]);
    }

    pub(super) fn i31_get(&mut self, signed: bool) {
        let a = self.pop_source(Immediates::No);
        let family = i31::get_family(signed, a.class);
        self.define(ValType::I32, family, fields(a.field, 0, 0), &[]);
    }

    pub(super) fn ref_eq(&mut self) {
        self.condition::<ops::I64Eq>();
    }

    /// The operand's type is all that a conversion changes.
    pub(super) fn convert(&mut self, to: AbstractHeapType) {
        let operand = self.stack.operand(self.stack.height() - 1);
        let nullable = match operand.ty {
            ValType::Ref(ty) => ty.is_nullable(),
            _ => true,
        };
        let ty = RefType::new(nullable, HeapType::Abstract(to));
        self.stack.set_type(ty.into());
    }

    /// The target of a cast, and the test that it is of a reference of type `from`, if that is known.
    fn cast_test(
        &self,
        from: Option<RefType>,
        nullable: bool,
        heap: wasmparser::HeapType,
    ) -> Result<(RefType, CastTest), Error> {
        let ty = match heap {
            wasmparser::HeapType::Concrete(index) => index.as_module_index().map(TypeIdx),
            _ => None,
        };
        let heap = self.module.types().heap(heap).ok_or(Error::Unreadable)?;
        let to = RefType::new(nullable, heap);
        // What the operands' types say is not always all that they may be (`select`).
        Ok((to, CastTest::new(self.module, from, to, ty)))
    }

    pub(super) fn ref_test(
        &mut self,
        nullable: bool,
        heap: wasmparser::HeapType,
    ) -> Result<(), Error> {
        let (_, test) = self.cast_test(None, nullable, heap)?;
        let a = self.pop_source(Immediates::No);
        let handlers = cast::handlers(self.module_code, &test, a.class);
        self.define_fusable(
            ValType::I32,
            handlers.test.value,
            fields(a.field, 0, 0),
            Some(handlers.word),
            Fusable::Condition(handlers.test),
        );
        Ok(())
    }

    pub(super) fn ref_cast(
        &mut self,
        nullable: bool,
        heap: wasmparser::HeapType,
    ) -> Result<(), Error> {
        let (to, test) = self.cast_test(None, nullable, heap)?;
        let a = self.pop_source(Immediates::No);
        let handlers = cast::handlers(self.module_code, &test, a.class);
        self.define(
            to.into(),
            handlers.cast,
            fields(a.field, 0, 0),
            &[handlers.word],
        );
        Ok(())
    }

    /// Branches with the reference if it passes, or else if `passes` is false; it stays otherwise.
    pub(super) fn br_on_cast(
        &mut self,
        depth: u32,
        from: wasmparser::RefType,
        to: wasmparser::RefType,
        passes: bool,
    ) -> Result<(), Error> {
        let from = self.module.types().reference(from);
        let (_, test) = self.cast_test(from, to.is_nullable(), to.heap_type())?;
        let a = self.source_of_top();
        let handlers = cast::handlers(self.module_code, &test, a.class);
        let test = Test {
            family: handlers.test,
            fields: fields(a.field, 0, 0),
            word: Some(handlers.word),
        };
        let test = if passes { test } else { test.negated() };
        self.branch_if(&test, depth);
        Ok(())
    }
}

impl Source {
    /// The source of `operand`, by its slot if it is a pinned local: that has the same bits.
    fn in_slot(self, translator: &Translator<'_>, operand: Operand) -> Source {
        match (self.class, operand.place) {
            (Class::L0 | Class::L1, Place::Local(index)) => {
                Source::slot(translator.layout.local(index))
            }
            _ => self,
        }
    }
}
