//! References, tables and segments.

use arbitrary::Result;
use wasm_encoder::{
    AbstractHeapType, ConstExpr, DataSection, ElementSection, Elements, ExportKind, ExportSection,
    HeapType, Instruction, RefType, TableSection, TableType, ValType as Ty,
};

use super::types::{non_null, nullable_to};
use super::{Body, Extent, Use};

/// A table of functions that can grow; table 0 can't.
const FUNCS: u32 = 1;

/// A table of the host's references.
const EXTERNS: u32 = 2;

/// A table of objects, if there are any.
const OBJECTS: u32 = 3;

/// The types of the tables.
const TABLES: [RefType; 4] = [
    RefType::FUNCREF,
    RefType::FUNCREF,
    RefType::EXTERNREF,
    RefType::ANYREF,
];

/// Passive segments: of elements, behind the active one, and of data, behind the active one.
pub(super) const ELEMENTS: u32 = 1;
pub(super) const DATA: u32 = 1;

/// The bytes of a data segment.
const DATA_BYTES: usize = 100;

/// How many elements the tables begin with.
const MINIMUM: u64 = 6;

/// The number of tables.
fn count(extent: Extent) -> u32 {
    if !extent.references {
        1
    } else if !extent.objects {
        OBJECTS
    } else {
        OBJECTS + 1
    }
}

/// The tables behind the first.
pub(super) fn tables(tables: &mut TableSection, extent: Extent) {
    for &element_type in &TABLES[1..count(extent) as usize] {
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
pub(super) fn exports(exports: &mut ExportSection, extent: Extent) {
    for table in 0..count(extent) {
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
fn table_of(ty: RefType) -> u32 {
    match ty {
        RefType::FUNCREF => FUNCS,
        RefType::EXTERNREF => EXTERNS,
        _ => OBJECTS,
    }
}

impl Body<'_, '_> {
    /// An expression that leaves a reference.
    pub(super) fn reference(&mut self, ty: RefType, depth: u32) -> Result<()> {
        let wanted = Ty::from(ty);
        if let Some(local) = self.local(wanted, Use::Get)?
            && (depth == 0 || self.u.ratio(1, 2)?)
        {
            self.op(Instruction::LocalGet(local));
            return Ok(());
        }
        if depth == 0 || !self.take() {
            return self.small(ty);
        }
        let depth = depth - 1;
        let objects = self.extent.objects;
        match self.u.int_in_range(0..=17)? {
            0 => self.small(ty),
            1 => self.select(wanted, depth),
            2 => self.if_value(wanted, depth),
            3 if !self.extent.for_wasmi => self.block_value(wanted, depth),
            4 => self.call(depth, Some(wanted)),
            5 => self.global(ty, depth),
            6 if self.extent.exceptions => self.try_value(wanted, depth),
            7 if objects && !ty.nullable => {
                // This traps where it is null, so mostly it is not.
                let null = self.u.ratio(1, 4)?;
                let ty = RefType {
                    nullable: null,
                    ..ty
                };
                self.reference(ty, depth)?;
                self.op(Instruction::RefAsNonNull);
                Ok(())
            }
            8 | 9 if objects => self.field_of(ty, depth),
            10 | 11 if objects => self.cast(ty, depth),
            12 | 13 => self.element(ty, depth),
            _ => self.made(ty, depth),
        }
    }

    /// Whether there is always a reference of this type: of those that are never null, only with objects, or of functions
    /// and exceptions.
    pub(super) fn can_make(&self, ty: RefType) -> bool {
        ty.nullable || self.extent.objects || ty.heap_type != HeapType::EXTERN
    }

    /// A reference that few instructions make.
    fn small(&mut self, ty: RefType) -> Result<()> {
        use AbstractHeapType::{Array, Exn, Extern, Func, Struct};
        let slow = matches!(self.types.top(ty.heap_type), RefType::EXNREF);
        // The fields of an object may be objects again, so this takes from the room as well.
        let null = slow || !self.can_make(non_null(ty)) || !self.take() || self.u.arbitrary()?;
        if ty.nullable && null {
            return self.null(ty);
        }
        match ty.heap_type {
            HeapType::Concrete(index) if !self.types.is_func(index) => self.small_object(index),
            HeapType::Abstract { ty: Struct, .. } => self.small_object(0),
            HeapType::Abstract { ty: Array, .. } => self.small_object(self.some_array()),
            HeapType::Abstract { ty: Exn, .. } => self.exception(0),
            HeapType::Abstract { ty: Extern, .. } => {
                self.integer(0)?;
                self.op(Instruction::ExternConvertAny);
                Ok(())
            }
            HeapType::Concrete(_) | HeapType::Abstract { ty: Func, .. } => self.func(ty),
            _ => self.integer(0),
        }
    }

    /// A reference that is made here.
    pub(super) fn made(&mut self, ty: RefType, depth: u32) -> Result<()> {
        use AbstractHeapType::{Any, Eq, Exn, Extern, Func, I31};
        match ty.heap_type {
            HeapType::Abstract { ty: Exn, .. } => self.exception(depth.min(1)),
            HeapType::Abstract { ty: Extern, .. } if self.extent.objects => {
                let of = RefType::ANYREF;
                let nullable = ty.nullable;
                self.reference(RefType { nullable, ..of }, depth)?;
                self.op(Instruction::ExternConvertAny);
                Ok(())
            }
            HeapType::Abstract { ty: Extern, .. } => self.element(ty, depth),
            HeapType::Abstract { ty: Func, .. } => self.func(ty),
            HeapType::Abstract { ty: I31, .. } => self.integer(depth),
            HeapType::Concrete(index) if self.types.is_func(index) => self.func(ty),
            HeapType::Abstract { ty: Any | Eq, .. } if self.u.ratio(1, 4)? => self.integer(depth),
            HeapType::Abstract { ty: Any, .. } if self.u.ratio(1, 2)? => {
                let of = RefType::EXTERNREF;
                let nullable = ty.nullable;
                self.reference(RefType { nullable, ..of }, depth)?;
                self.op(Instruction::AnyConvertExtern);
                Ok(())
            }
            _ => {
                let types = self.types;
                let fits = |&index: &u32| {
                    types.is_sub(
                        nullable_to(index).into(),
                        Ty::Ref(RefType {
                            nullable: true,
                            ..ty
                        }),
                    )
                };
                let all: Vec<u32> = (0..types.objects.len() as u32).filter(fits).collect();
                let index = *self.u.choose(&all)?;
                self.object(index, depth)
            }
        }
    }

    /// An integer of 31 bits.
    fn integer(&mut self, depth: u32) -> Result<()> {
        self.value(Ty::I32, depth)?;
        self.op(Instruction::RefI31);
        Ok(())
    }

    /// A function, of a known type or of any.
    fn func(&mut self, ty: RefType) -> Result<()> {
        let func = match ty.heap_type {
            HeapType::Concrete(index) => self.types.func_of(index),
            _ => self.u.choose_index(self.types.sigs.len())? as u32,
        };
        self.op(Instruction::RefFunc(func));
        Ok(())
    }

    /// Null, by its own type or by that of null alone.
    fn null(&mut self, ty: RefType) -> Result<()> {
        use AbstractHeapType::{NoExn, NoExtern, NoFunc};
        if self.extent.objects && self.u.ratio(1, 4)? {
            let ty = match self.types.top(ty.heap_type) {
                RefType::FUNCREF => NoFunc,
                RefType::EXTERNREF => NoExtern,
                RefType::EXNREF => NoExn,
                _ => AbstractHeapType::None,
            };
            self.op(Instruction::RefNull(HeapType::Abstract {
                shared: false,
                ty,
            }));
        } else {
            self.op(Instruction::RefNull(ty.heap_type));
        }
        Ok(())
    }

    /// What a global holds.
    fn global(&mut self, ty: RefType, depth: u32) -> Result<()> {
        let types = self.types;
        let fits = |row: &(u32, &(Ty, bool))| types.is_sub(row.1.0, ty.into());
        let all = (0..).zip(self.globals.types()).filter(fits);
        let all: Vec<u32> = all.map(|(global, _)| global).collect();
        if all.is_empty() {
            return self.made(ty, depth);
        }
        let global = *self.u.choose(&all)?;
        self.op(Instruction::GlobalGet(global));
        Ok(())
    }

    /// What stands in a table, or null if there is no table of the type.
    fn element(&mut self, ty: RefType, depth: u32) -> Result<()> {
        let tables = &TABLES[..count(self.extent) as usize];
        let fits = |row: &(u32, &RefType)| self.types.is_sub((*row.1).into(), ty.into());
        let all: Vec<u32> = (0..).zip(tables).filter(fits).map(|row| row.0).collect();
        if all.is_empty() {
            return self.small(ty);
        }
        let table = *self.u.choose(&all)?;
        self.index(depth)?;
        self.op(Instruction::TableGet(table));
        Ok(())
    }

    /// The type of one of the tables.
    fn table_type(&mut self) -> Result<RefType> {
        let table = self.u.int_in_range(1..=count(self.extent) - 1)?;
        Ok(TABLES[table as usize])
    }

    /// A number of the size of the tables, mostly.
    fn index(&mut self, depth: u32) -> Result<()> {
        self.value(Ty::I32, depth)?;
        match self.u.int_in_range(0..=15)? {
            0 => {}
            1 => self.mask(15),
            2..=5 => self.mask(7),
            _ => self.mask(3),
        }
        Ok(())
    }

    pub(super) fn mask(&mut self, mask: i32) {
        self.op(Instruction::I32Const(mask));
        self.op(Instruction::I32And);
    }

    /// A number that depends on references.
    pub(super) fn table_number(&mut self, depth: u32) -> Result<()> {
        let ty = self.table_type()?;
        match self.u.int_in_range(0..=4)? {
            0 => {
                let table = self.u.int_in_range(0..=count(self.extent) - 1)?;
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

    fn grow(&mut self, ty: RefType, depth: u32) -> Result<()> {
        self.reference(ty, depth.min(1))?;
        self.index(depth.min(1))?;
        self.op(Instruction::TableGrow(table_of(ty)));
        Ok(())
    }

    /// Something that changes tables or memory, or lets go of a segment.
    pub(super) fn reference_statement(&mut self, depth: u32) -> Result<()> {
        let ty = self.table_type()?;
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
                self.reference(RefType::FUNCREF, depth.min(2))?;
                self.op(Instruction::TableSet(0));
            }
            4 | 5 => {
                self.reference(ty, depth.min(2))?;
                self.keep(&[ty.into()])?;
            }
            6 => {
                self.grow(ty, depth)?;
                self.keep(&[Ty::I32])?;
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
                    RefType::FUNCREF => *self.u.choose(&[(1, 0), (0, 1), (1, 1), (0, 0)])?,
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
        let types = self.types;
        let callee = self.u.choose_index(types.sigs.len())?;
        let sig = &types.sigs[callee];
        self.values(&sig.params, depth.min(1))?;
        self.index(depth.min(1))?;
        self.op(Instruction::CallIndirect {
            type_index: types.sig(callee as u32),
            table_index,
        });
        self.keep(&sig.results)
    }
}
