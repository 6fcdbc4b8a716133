//! Fields of structures, elements of arrays, and integers of 31 bits (the spec's section 4.4.5).
//!
//! * *Invariant:* null is found out by the access, if that is in the null page whatever the field; where it might not be, by a
//!   check in front of it.
//! * *Invariant:* an access to an element is as one to a table: compared with the length, and guarded
//!   ([`bounds`](super::bounds)). Behind null's length there is nothing to be read.
//! * *Invariant:* nobody else is told of a store: the collector does not need to know.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value};
use tiered_decode::index::TypeIdx;
use tiered_decode::types::StorageType;
use tiered_runtime::gc::{self, ARRAY_ELEMENTS, ARRAY_LENGTH};

use crate::abi::{clif_type, slot_flags};
use crate::cause::NULL_PAGE_BYTES;
use crate::error::CompileError;
use crate::trap;

use super::Translator;
use super::object::Place;

/// How what is narrower than its value becomes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extend {
    /// By its sign.
    Signed,
    /// By zeros.
    Unsigned,
}

impl Translator<'_, '_> {
    /// Reads what stands `offset` bytes from `base`.
    fn load_storage(
        &mut self,
        flags: MemFlagsData,
        storage: StorageType,
        extend: Extend,
        base: Value,
        offset: i32,
    ) -> Result<Value, CompileError> {
        let ins = self.builder.ins();
        Ok(match (storage, extend) {
            (StorageType::I8, Extend::Signed) => ins.sload8(I32, flags, base, offset),
            (StorageType::I8, Extend::Unsigned) => ins.uload8(I32, flags, base, offset),
            (StorageType::I16, Extend::Signed) => ins.sload16(I32, flags, base, offset),
            (StorageType::I16, Extend::Unsigned) => ins.uload16(I32, flags, base, offset),
            (StorageType::Val(ty), _) => {
                let ty = clif_type(ty)?;
                ins.load(ty, slot_flags(flags, ty), base, offset)
            }
        })
    }

    /// Writes what stands `offset` bytes from `base`.
    pub(super) fn store_storage(
        &mut self,
        flags: MemFlagsData,
        storage: StorageType,
        value: Value,
        base: Value,
        offset: i32,
    ) {
        let ty = self.builder.func.dfg.value_type(value);
        let ins = self.builder.ins();
        match storage {
            StorageType::I8 => ins.istore8(flags, value, base, offset),
            StorageType::I16 => ins.istore16(flags, value, base, offset),
            StorageType::Val(_) => ins.store(slot_flags(flags, ty), value, base, offset),
        };
    }

    /// Whether the access to a field of null is one to the null page; if it is not, checks that `object` is not null.
    fn faults_at(&mut self, place: Place, object: Value) -> bool {
        let faults = place.end() as usize <= NULL_PAGE_BYTES;
        if !faults {
            let code = trap::NULL_STRUCTURE_REFERENCE;
            self.builder.ins().trapz(object, code);
        }
        faults
    }

    pub(super) fn struct_get(
        &mut self,
        ty: TypeIdx,
        field: u32,
        extend: Extend,
    ) -> Result<(), CompileError> {
        let place = self.field(ty, field);
        let object = self.pop();
        let flags = match self.faults_at(place, object) {
            true => self.field_load(),
            false => self.access.object,
        };
        let offset = place.offset as i32;
        let value = self.load_storage(flags, place.ty, extend, object, offset)?;
        self.push(value);
        Ok(())
    }

    pub(super) fn struct_set(&mut self, ty: TypeIdx, field: u32) {
        let place = self.field(ty, field);
        let value = self.pop();
        let object = self.pop();
        let flags = match self.faults_at(place, object) {
            true => self.field_store(),
            false => self.access.object,
        };
        self.store_storage(flags, place.ty, value, object, place.offset as i32);
    }

    /// The length of an array. The load of null's is the trap.
    fn array_length(&mut self, array: Value) -> Value {
        let code = Some(trap::NULL_ARRAY_REFERENCE);
        let flags = self.access.header.with_trap_code(code);
        let offset = ARRAY_LENGTH as i32;
        self.builder.ins().load(I32, flags, array, offset)
    }

    pub(super) fn array_len(&mut self) {
        let array = self.pop();
        let length = self.array_length(array);
        self.push(length);
    }

    /// Takes an index and an array off: what the elements' offset is to be added to.
    fn array_item(&mut self, ty: TypeIdx) -> Value {
        let size = gc::element(self.module, ty).size();
        let index = self.pop();
        let array = self.pop();
        let length = self.array_length(array);
        let is_above = IntCC::UnsignedGreaterThanOrEqual;
        let is_outside = self.builder.ins().icmp(is_above, index, length);
        let index = self.builder.ins().uextend(I64, index);
        let shift = i64::from(size.trailing_zeros());
        let distance = self.builder.ins().ishl_imm_u(index, shift);
        let address = self.builder.ins().iadd(array, distance);
        self.guarded(address, is_outside, trap::ARRAY_OUT_OF_BOUNDS)
    }

    pub(super) fn array_get(&mut self, ty: TypeIdx, extend: Extend) -> Result<(), CompileError> {
        let storage = self.element_type(ty);
        let address = self.array_item(ty);
        let flags = self.item_load();
        let offset = ARRAY_ELEMENTS as i32;
        let value = self.load_storage(flags, storage, extend, address, offset)?;
        self.push(value);
        Ok(())
    }

    pub(super) fn array_set(&mut self, ty: TypeIdx) {
        let storage = self.element_type(ty);
        let value = self.pop();
        let address = self.array_item(ty);
        let flags = self.item_store();
        let offset = ARRAY_ELEMENTS as i32;
        self.store_storage(flags, storage, value, address, offset);
    }

    pub(super) fn ref_i31(&mut self) {
        let value = self.pop();
        let shifted = self.builder.ins().ishl_imm_u(value, 1);
        let tagged = self.builder.ins().bor_imm_u(shifted, 1);
        let reference = self.builder.ins().uextend(I64, tagged);
        self.push(reference);
    }

    pub(super) fn i31_get(&mut self, extend: Extend) {
        let reference = self.pop();
        self.builder
            .ins()
            .trapz(reference, trap::NULL_I31_REFERENCE);
        let tagged = self.builder.ins().ireduce(I32, reference);
        let value = match extend {
            Extend::Signed => self.builder.ins().sshr_imm_u(tagged, 1),
            Extend::Unsigned => self.builder.ins().ushr_imm_u(tagged, 1),
        };
        self.push(value);
    }

    pub(super) fn ref_eq(&mut self) {
        let second = self.pop();
        let first = self.pop();
        let are_equal = self.builder.ins().icmp(IntCC::Equal, first, second);
        self.push(are_equal);
    }
}
