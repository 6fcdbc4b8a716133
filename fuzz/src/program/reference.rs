//! References, tables and segments.

use arbitrary::{Result, Unstructured};
use tiered::decode::types::ValType;
use wasm_encoder::{
    ConstExpr, DataSection, ElementSection, Elements, ExportKind, ExportSection, HeapType,
    Instruction, RefType, TableSection, TableType,
};

use super::{Body, encoder_type};

/// A table of functions that can grow; table 0 can't.
const FUNCS: u32 = 1;

/// A table of the host's references.
const EXTERNS: u32 = 2;

/// Passive segments: of elements, behind the active one, and of data, behind the active one.
const ELEMENTS: u32 = 1;
const DATA: u32 = 1;

/// The bytes of a data segment.
const DATA_BYTES: usize = 100;

/// How many elements the tables begin with.
const MINIMUM: u64 = 6;

/// A type of references.
pub(super) fn a_type(u: &mut Unstructured<'_>) -> Result<ValType> {
    Ok(*u.choose(&[ValType::FUNCREF, ValType::EXTERNREF])?)
}

/// The tables behind the first.
pub(super) fn tables(tables: &mut TableSection) {
    for element_type in [RefType::FUNCREF, RefType::EXTERNREF] {
        tables.table(TableType {
            element_type,
            minimum: MINIMUM,
            maximum: Some(3 * MINIMUM),
            table64: false,
            shared: false,
        });
    }
}

/// Their exports, and that of the first.
pub(super) fn exports(exports: &mut ExportSection) {
    for table in 0..=EXTERNS {
        exports.export(&format!("t{table}"), ExportKind::Table, table);
    }
}

/// The passive segment of elements: each of `funcs` functions, and null.
pub(super) fn elements(elements: &mut ElementSection, funcs: u32) {
    let mut items: Vec<ConstExpr> = (0..funcs).map(ConstExpr::ref_func).collect();
    items.push(ConstExpr::ref_null(HeapType::FUNC));
    elements.passive(Elements::Expressions(RefType::FUNCREF, items.into()));
}

/// An active and a passive segment of data.
pub(super) fn data() -> DataSection {
    let mut data = DataSection::new();
    let bytes = |factor: u8| (0..DATA_BYTES as u8).map(move |index| index.wrapping_mul(factor));
    data.active(0, &ConstExpr::i32_const(8), bytes(37));
    data.passive(bytes(91));
    data
}

/// The table that is meant for elements of a type.
fn table_of(ty: ValType) -> u32 {
    if ty == ValType::FUNCREF {
        FUNCS
    } else {
        EXTERNS
    }
}

impl Body<'_, '_> {
    /// An expression that leaves a reference.
    pub(super) fn reference(&mut self, ty: ValType, depth: u32) -> Result<()> {
        if let Some(local) = self.local(ty, false)?
            && (depth == 0 || self.u.ratio(1, 2)?)
        {
            self.op(Instruction::LocalGet(local));
            return Ok(());
        }
        if depth == 0 || !self.take() {
            self.null(ty);
            return Ok(());
        }
        match self.u.int_in_range(0..=4)? {
            0 => self.null(ty),
            1 | 2 => {
                let first = ty == ValType::FUNCREF && self.u.ratio(1, 2)?;
                self.index(depth - 1)?;
                let table = if first { 0 } else { table_of(ty) };
                self.op(Instruction::TableGet(table));
            }
            3 if ty == ValType::FUNCREF => {
                let func = self.u.choose_index(self.sigs.len())?;
                self.op(Instruction::RefFunc(func as u32));
            }
            _ => {
                self.reference(ty, depth - 1)?;
                self.reference(ty, depth - 1)?;
                self.value(ValType::I32, depth - 1)?;
                self.op(Instruction::TypedSelect(encoder_type(ty)));
            }
        }
        Ok(())
    }

    fn null(&mut self, ty: ValType) {
        self.op(Instruction::RefNull(match ty {
            ValType::FUNCREF => HeapType::FUNC,
            _ => HeapType::EXTERN,
        }));
    }

    /// A number of the size of the tables, mostly.
    fn index(&mut self, depth: u32) -> Result<()> {
        self.value(ValType::I32, depth)?;
        match self.u.int_in_range(0..=15)? {
            0 => {}
            1 => self.mask(15),
            2..=5 => self.mask(7),
            _ => self.mask(3),
        }
        Ok(())
    }

    fn mask(&mut self, mask: i32) {
        self.op(Instruction::I32Const(mask));
        self.op(Instruction::I32And);
    }

    /// A number that depends on references.
    pub(super) fn table_number(&mut self, depth: u32) -> Result<()> {
        let ty = a_type(self.u)?;
        match self.u.int_in_range(0..=4)? {
            0 => {
                let table = self.u.int_in_range(0..=EXTERNS)?;
                self.op(Instruction::TableSize(table));
            }
            1 => self.grow(ty, depth)?,
            2 => self.memory_size()?,
            _ => {
                self.reference(ty, depth)?;
                self.op(Instruction::RefIsNull);
            }
        }
        Ok(())
    }

    fn grow(&mut self, ty: ValType, depth: u32) -> Result<()> {
        self.reference(ty, depth.min(1))?;
        self.index(depth.min(1))?;
        self.op(Instruction::TableGrow(table_of(ty)));
        Ok(())
    }

    /// Something that changes tables or memory, or lets go of a segment.
    pub(super) fn reference_statement(&mut self, depth: u32) -> Result<()> {
        let ty = a_type(self.u)?;
        let table = table_of(ty);
        match self.u.int_in_range(0..=13)? {
            0..=2 => {
                self.index(depth.min(1))?;
                self.reference(ty, depth.min(2))?;
                self.op(Instruction::TableSet(table));
            }
            3 => {
                // What indirect calls find.
                self.index(depth.min(1))?;
                self.reference(ValType::FUNCREF, depth.min(2))?;
                self.op(Instruction::TableSet(0));
            }
            4 | 5 => {
                self.reference(ty, depth.min(2))?;
                self.keep(&[ty])?;
            }
            6 => {
                self.grow(ty, depth)?;
                self.keep(&[ValType::I32])?;
            }
            7 => {
                self.index(0)?;
                self.reference(ty, depth.min(1))?;
                self.index(0)?;
                self.op(Instruction::TableFill(table));
            }
            8 => {
                (0..3).try_for_each(|_| self.index(depth.min(1)))?;
                let (dst_table, src_table) = match ty {
                    ValType::FUNCREF => *self.u.choose(&[(1, 0), (0, 1), (1, 1), (0, 0)])?,
                    _ => (table, table),
                };
                self.op(Instruction::TableCopy {
                    src_table,
                    dst_table,
                });
            }
            9 => {
                (0..3).try_for_each(|_| self.index(0))?;
                self.op(Instruction::TableInit {
                    elem_index: ELEMENTS,
                    table: FUNCS,
                });
            }
            10 | 11 => {
                self.address(0, depth.min(1))?;
                self.index(0)?;
                self.index(0)?;
                self.op(Instruction::MemoryInit {
                    mem: 0,
                    data_index: DATA,
                });
            }
            12 if self.u.ratio(1, 4)? => self.op(Instruction::ElemDrop(ELEMENTS)),
            13 if self.u.ratio(1, 4)? => self.op(Instruction::DataDrop(DATA)),
            _ => self.call_through(FUNCS, depth)?,
        }
        Ok(())
    }

    /// A call to what stands in a table: a function of the type, another one, or none.
    fn call_through(&mut self, table_index: u32, depth: u32) -> Result<()> {
        let callee = self.u.choose_index(self.sigs.len())?;
        let sig = &self.sigs[callee];
        for &ty in &sig.params {
            self.value(ty, depth.min(1))?;
        }
        self.index(depth.min(1))?;
        self.op(Instruction::CallIndirect {
            type_index: callee as u32,
            table_index,
        });
        self.keep(&sig.results)
    }
}
