//! Tables (the spec's section 4.4.6): reading and writing an element is done here, the rest by builtins.
//!
//! *Invariant:* base and length are read at each access: growing moves the elements.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, TrapCode, Value};
use tiered_decode::index::TableIdx;
use tiered_decode::types::IndexType;
use tiered_runtime::layout::offsets;

use crate::builtins::Builtin;
use crate::trap;

use super::Translator;

impl Translator<'_, '_> {
    /// Takes an index off: the address of that element; the trap `outside` is made here, or at the access.
    pub(super) fn element(&mut self, table: TableIdx, outside: TrapCode) -> Value {
        let index = self.pop_index(self.table_index(table));
        let record = self.fixed(self.vmctx, self.layout.table(table));
        let length = self.table_field(record, offsets::TABLE_LENGTH);
        let is_outside = self
            .builder
            .ins()
            .icmp(IntCC::UnsignedGreaterThanOrEqual, index, length);
        let base = self.table_field(record, offsets::TABLE_BASE);
        let distance = self.builder.ins().ishl_imm_u(index, 3);
        let address = self.builder.ins().iadd(base, distance);
        self.guarded(address, is_outside, outside)
    }

    fn table_field(&mut self, record: Value, offset: i32) -> Value {
        self.builder
            .ins()
            .load(I64, self.access.table, record, offset)
    }

    pub(super) fn table_get(&mut self, table: TableIdx) {
        let address = self.element(table, trap::TABLE_OUT_OF_BOUNDS);
        let flags = self.element_load(trap::TABLE_OUT_OF_BOUNDS);
        let value = self.builder.ins().load(I64, flags, address, 0);
        self.push(value);
    }

    pub(super) fn table_set(&mut self, table: TableIdx) {
        let value = self.pop();
        let address = self.element(table, trap::TABLE_OUT_OF_BOUNDS);
        let flags = self.element_store(trap::TABLE_OUT_OF_BOUNDS);
        self.builder.ins().store(flags, value, address, 0);
    }

    pub(super) fn table_size(&mut self, table: TableIdx) {
        let record = self.fixed(self.vmctx, self.layout.table(table));
        let length = self.table_field(record, offsets::TABLE_LENGTH);
        self.push_size(self.table_index(table), length);
    }

    pub(super) fn table_grow(&mut self, table: TableIdx) {
        let index = self.table_index(table);
        let delta = self.pop_index(index);
        let init = self.pop();
        let table = self.indices(table.0, 0);
        let length = self.builtin(Builtin::TableGrow, &[table, init, delta]);
        self.push_size(index, length);
    }

    pub(super) fn table_fill(&mut self, table: TableIdx) {
        let index = self.table_index(table);
        let count = self.pop_index(index);
        let value = self.pop();
        let start = self.pop_index(index);
        let table = self.indices(table.0, 0);
        self.builtin(Builtin::TableFill, &[table, start, value, count]);
    }

    pub(super) fn table_copy(&mut self, to: TableIdx, from: TableIdx) {
        let types = [self.table_index(to), self.table_index(from)];
        self.bulk_copy(Builtin::TableCopy, to.0, from.0, types);
    }

    pub(super) fn table_init(&mut self, table: TableIdx, element: u32) {
        let index = self.table_index(table);
        let types = [index, IndexType::I32, IndexType::I32];
        let numbers = self.pop_bulk(types);
        self.bulk(Builtin::TableInit, table.0, element, numbers);
    }

    /// The type of a table's indices.
    fn table_index(&self, table: TableIdx) -> IndexType {
        self.module.tables()[table.index()].index
    }
}
