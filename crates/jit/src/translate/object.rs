//! Making structures and arrays (the spec's section 4.4.5): small ones here, where the heap's cursors have room, all others
//! by builtins.
//!
//! * *Invariant:* all fields and elements are written right behind the allocation: there is nothing in between that might
//!   collect.
//! * *Invariant:* what is written without a loop is as much as the body has operands for, or [`MAX_REPEATED`] words.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::immediates::Imm64;
use cranelift_codegen::ir::types::{F32, F64, I8X16, I32, I64, I64X2};
use cranelift_codegen::ir::{
    Endianness, InstBuilder, InstructionData, MemFlagsData, Opcode, Type, Value,
};
use tiered_decode::index::TypeIdx;
use tiered_decode::types::{CompositeType, StorageType};
use tiered_runtime::gc::{self, ARRAY_ELEMENTS, ARRAY_LENGTH, Cursors, DESCRIPTOR, Storage};
use tiered_runtime::vmctx::StoreCtx;

use crate::builtins::Builtin;

use super::Translator;

/// How often an instruction without an operand for each writes the same word.
const MAX_REPEATED: u32 = 16;

/// A field or an element, from the start of its object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) offset: u32,
    pub(super) ty: StorageType,
    storage: Storage,
}

impl Place {
    /// The bytes behind it, from the start of the object.
    pub(super) fn end(self) -> u32 {
        self.offset + self.storage.size()
    }
}

impl Translator<'_, '_> {
    /// A field of a structure type.
    pub(super) fn field(&self, ty: TypeIdx, field: u32) -> Place {
        let CompositeType::Struct(fields) = &self.module.types()[ty.index()].composite else {
            unreachable!("a valid body names a structure type");
        };
        let (offset, storage) = gc::struct_layout(self.module, ty).fields()[field as usize];
        Place {
            offset,
            ty: fields[field as usize].storage,
            storage,
        }
    }

    /// What the elements of an array type are.
    pub(super) fn element_type(&self, ty: TypeIdx) -> StorageType {
        let CompositeType::Array(element) = &self.module.types()[ty.index()].composite else {
            unreachable!("a valid body names an array type");
        };
        element.storage
    }

    /// A type as an argument of a builtin.
    fn type_argument(&mut self, ty: TypeIdx) -> Value {
        self.indices(ty.0, 0)
    }

    /// A word of the store's context that the heap allocates from.
    fn cursor_word(&mut self, offset: usize) -> (Value, i32) {
        (self.store, StoreCtx::CURSORS + offset as i32)
    }

    /// A new object of `bytes` bytes with nothing written but the descriptor, by the builtin if it is too large or there is no
    /// room.
    fn allocate(
        &mut self,
        ty: TypeIdx,
        bytes: Option<usize>,
        builtin: Builtin,
        arguments: &[Value],
    ) -> Value {
        let Some(class) = bytes.and_then(gc::inline_class) else {
            return self.builtin(builtin, arguments);
        };
        let descriptor = self.fixed(self.vmctx, self.layout.descriptor(ty));
        let flags = self.access.store;
        let (store, cursor) = self.cursor_word(Cursors::cursor_offset(class));
        let (_, limit) = self.cursor_word(Cursors::limit_offset(class));
        let object = self.builder.ins().load(I64, flags, store, cursor);
        let next = self.builder.ins().iadd_imm_s(object, class.size() as i64);
        let limit = self.builder.ins().load(I64, flags, store, limit);
        let is_full = self
            .builder
            .ins()
            .icmp(IntCC::UnsignedGreaterThan, next, limit);
        let [taken, full, made] = [(); 3].map(|()| self.builder.create_block());
        let result = self.builder.append_block_param(made, I64);
        self.builder.ins().brif(is_full, full, &[], taken, &[]);
        self.builder.seal_block(full);
        self.builder.seal_block(taken);
        self.builder.set_cold_block(full);
        self.builder.switch_to_block(full);
        let slow = self.builtin(builtin, arguments);
        self.builder.ins().jump(made, &[slow.into()]);
        self.builder.switch_to_block(taken);
        self.builder.ins().store(flags, next, store, cursor);
        let header = self.access.header;
        let at = DESCRIPTOR as i32;
        self.builder.ins().store(header, descriptor, object, at);
        self.builder.ins().jump(made, &[object.into()]);
        self.builder.seal_block(made);
        self.builder.switch_to_block(made);
        result
    }

    /// Writes a field of an object that was just made.
    fn initialize(&mut self, object: Value, place: Place, value: Value) {
        let flags = self.access.object;
        self.store_storage(flags, place.ty, value, object, place.offset as i32);
    }

    pub(super) fn struct_new(&mut self, ty: TypeIdx) {
        let layout = gc::struct_layout(self.module, ty);
        let from = self.stack.len() - layout.fields().len();
        self.widen_from(from);
        let index = self.type_argument(ty);
        let size = Some(layout.size() as usize);
        let object = self.allocate(ty, size, Builtin::NewStruct, &[index]);
        for at in from..self.stack.len() {
            let place = self.field(ty, (at - from) as u32);
            self.initialize(object, place, self.stack[at]);
        }
        self.stack.truncate(from);
        self.push(object);
    }

    pub(super) fn struct_new_default(&mut self, ty: TypeIdx) {
        let layout = gc::struct_layout(self.module, ty);
        let size = layout.size();
        let first = layout.fields().first().map_or(size, |&(offset, _)| offset);
        let index = self.type_argument(ty);
        let words = (size - first) / 8;
        let object = if words > MAX_REPEATED {
            self.builtin(Builtin::NewStructDefault, &[index])
        } else {
            let object = self.allocate(ty, Some(size as usize), Builtin::NewStruct, &[index]);
            self.clear(object, first, words);
            object
        };
        self.push(object);
    }

    /// Writes zeros to `words` words of a new object.
    fn clear(&mut self, object: Value, from: u32, words: u32) {
        let flags = self.access.object;
        let zero = self.builder.ins().iconst(I64, 0);
        for word in 0..words {
            let at = (from + 8 * word) as i32;
            self.builder.ins().store(flags, zero, object, at);
        }
    }

    /// A new array whose elements are still to be written.
    fn allocate_array(&mut self, ty: TypeIdx, length: u32) -> Value {
        let index = self.type_argument(ty);
        let count = self.indices(length, 0);
        let size = gc::array_size(gc::element(self.module, ty), length);
        let object = self.allocate(ty, size, Builtin::NewArray, &[index, count]);
        let count = self.builder.ins().iconst(I32, i64::from(length));
        let header = self.access.header;
        let at = ARRAY_LENGTH as i32;
        self.builder.ins().store(header, count, object, at);
        object
    }

    /// Where an element of an array type is.
    fn item(&self, ty: TypeIdx, index: u32) -> Place {
        let storage = gc::element(self.module, ty);
        Place {
            offset: ARRAY_ELEMENTS as u32 + index * storage.size(),
            ty: self.element_type(ty),
            storage,
        }
    }

    pub(super) fn array_new_fixed(&mut self, ty: TypeIdx, count: u32) {
        let from = self.stack.len() - count as usize;
        self.widen_from(from);
        let object = self.allocate_array(ty, count);
        for index in 0..count {
            let place = self.item(ty, index);
            self.initialize(object, place, self.stack[from + index as usize]);
        }
        self.stack.truncate(from);
        self.push(object);
    }

    pub(super) fn array_new(&mut self, ty: TypeIdx) {
        let length = self.pop();
        let value = self.pop();
        let object = match self.small_constant(length) {
            Some(count) => {
                let object = self.allocate_array(ty, count);
                for index in 0..count {
                    let place = self.item(ty, index);
                    self.initialize(object, place, value);
                }
                object
            }
            None => {
                let index = self.type_argument(ty);
                let length = self.builder.ins().uextend(I64, length);
                let [low, high] = self.bits(value);
                self.builtin(Builtin::NewArrayFill, &[index, length, low, high])
            }
        };
        self.push(object);
    }

    pub(super) fn array_new_default(&mut self, ty: TypeIdx) {
        let length = self.pop();
        let object = match self.small_constant(length) {
            Some(count) => {
                let object = self.allocate_array(ty, count);
                let words = (count * gc::element(self.module, ty).size()).div_ceil(8);
                self.clear(object, ARRAY_ELEMENTS as u32, words);
                object
            }
            None => {
                let index = self.type_argument(ty);
                let length = self.builder.ins().uextend(I64, length);
                self.builtin(Builtin::NewArrayDefault, &[index, length])
            }
        };
        self.push(object);
    }

    /// The number, if it is a constant and not above [`MAX_REPEATED`].
    fn small_constant(&self, value: Value) -> Option<u32> {
        let dfg = &self.builder.func.dfg;
        let inst = dfg.value_def(dfg.resolve_aliases(value)).inst()?;
        match dfg.insts[inst] {
            InstructionData::UnaryImm {
                opcode: Opcode::Iconst,
                imm,
            } => small(imm),
            _ => None,
        }
    }

    /// A new array of what is in a segment: of `array.new_data` and `array.new_elem`.
    pub(super) fn array_new_segment(&mut self, builtin: Builtin, ty: TypeIdx, segment: u32) {
        let length = self.pop_u32();
        let start = self.pop_u32();
        let indices = self.indices(ty.0, segment);
        let object = self.builtin(builtin, &[indices, start, length]);
        self.push(object);
    }

    pub(super) fn array_fill(&mut self) {
        let count = self.pop_u32();
        let value = self.pop();
        let [low, high] = self.bits(value);
        let start = self.pop_u32();
        let array = self.pop();
        let arguments = [array, start, low, high, count];
        self.builtin(Builtin::ArrayFill, &arguments);
    }

    pub(super) fn array_copy(&mut self) {
        let count = self.pop_u32();
        let from_start = self.pop_u32();
        let source = self.pop();
        let start = self.pop_u32();
        let target = self.pop();
        let arguments = [target, start, source, from_start, count];
        self.builtin(Builtin::ArrayCopy, &arguments);
    }

    /// `array.init_data` and `array.init_elem`.
    pub(super) fn array_init_segment(&mut self, builtin: Builtin, segment: u32) {
        let count = self.pop_u32();
        let from_start = self.pop_u32();
        let start = self.pop_u32();
        let array = self.pop();
        let segment = self.indices(segment, 0);
        self.builtin(builtin, &[segment, array, start, from_start, count]);
    }

    /// The bits of a value: the low half of a vector, and the high one.
    fn bits(&mut self, value: Value) -> [Value; 2] {
        let plain = MemFlagsData::new();
        let ty: Type = self.builder.func.dfg.value_type(value);
        let ins = self.builder.ins();
        let low = match ty {
            I32 => ins.uextend(I64, value),
            F64 => ins.bitcast(I64, plain, value),
            F32 => {
                let bits = ins.bitcast(I32, plain, value);
                self.builder.ins().uextend(I64, bits)
            }
            I8X16 => {
                let little = plain.with_endianness(Endianness::Little);
                let lanes = ins.bitcast(I64X2, little, value);
                return [0, 1].map(|lane| self.builder.ins().extractlane(lanes, lane));
            }
            _ => value,
        };
        [low, self.builder.ins().iconst(I64, 0)]
    }
}

fn small(value: Imm64) -> Option<u32> {
    let value = u32::try_from(value.bits()).ok()?;
    (value <= MAX_REPEATED).then_some(value)
}
