//! Accesses to any memory: which cells they become, and which accesses need them.

use tiered_decode::index::{MemoryIdx, TableIdx};
use tiered_decode::types::{IndexType, ValType};
use tiered_decode::wasmparser::{MemArg, MemArgTarget};

use crate::operand::Family;
use crate::regs::Handler;

use super::emit::{Source, fields};
use super::ops::offset;
use super::stack::Place;
use super::{Error, Translator};

impl Translator<'_> {
    /// The type of a memory's addresses.
    pub(super) fn memory_index(&self, memory: u32) -> ValType {
        self.module.memories()[memory as usize].index.into()
    }

    /// The type of a table's indices.
    pub(super) fn table_index(&self, table: u32) -> ValType {
        self.index_of_table(TableIdx(table)).into()
    }

    pub(super) fn index_of_table(&self, table: TableIdx) -> IndexType {
        self.module.tables()[table.index()].index
    }

    /// Whether threads share the memory of an access.
    pub(super) fn is_shared(&self, memarg: &MemArg) -> bool {
        let memory = memory_of(memarg).ok();
        memory.is_some_and(|memory| self.module.memories()[memory.index()].shared)
    }

    /// The offset of an access to the first memory by an address of 32 bits, whatever its pages, if this thread has it alone:
    /// such accesses have cells of their own. `None` for any other access.
    pub(super) fn near_offset(&self, memarg: &MemArg) -> Result<Option<u32>, Error> {
        let memory = memory_of(memarg)?;
        let is_first = memory.0 == 0 && self.memory_index(0) == ValType::I32;
        let is_near = is_first && !self.is_shared(memarg);
        match u32::try_from(memarg.offset) {
            Ok(offset) => Ok(is_near.then_some(offset)),
            Err(_) if is_first => Err(Error::Unreadable),
            Err(_) => Ok(None),
        }
    }

    /// Takes the top operand off; the slot that has it.
    fn pop_slot(&mut self) -> u32 {
        let top = self.stack.height() - 1;
        let operand = self.stack.operand(top);
        let slot = match operand.place {
            // Also one that is pinned has its slot, with the same bits.
            Place::Local(index) => self.layout.local(index),
            Place::Slot | Place::Acc(_) | Place::Const(_) => {
                self.settle(top);
                operand.slot
            }
        };
        self.stack.pop();
        self.near_source(Source::slot(slot), operand.ty.slots())
            .field
    }

    /// The third and the fourth word of a cell.
    fn place_of(&self, memarg: &MemArg) -> Result<[u64; 2], Error> {
        let memory = memory_of(memarg)?;
        let at = self.module_code.layout().memory(memory);
        Ok([memarg.offset, offset(at)])
    }

    /// A load by a handler of `family`.
    pub(super) fn load_any(
        &mut self,
        memarg: &MemArg,
        family: &'static Family,
        ty: ValType,
    ) -> Result<(), Error> {
        let place = self.place_of(memarg)?;
        let address = self.pop_slot();
        self.define(ty, family, fields(address, 0, 0), &place);
        Ok(())
    }

    /// A load into a lane.
    pub(super) fn load_lane_any(
        &mut self,
        memarg: &MemArg,
        family: &'static Family,
        lane: u8,
    ) -> Result<(), Error> {
        let place = self.place_of(memarg)?;
        let vector = self.pop_slot();
        let address = self.pop_slot();
        let cell = fields(address, 0, vector & 0xffff | u32::from(lane) << 16);
        self.define(ValType::V128, family, cell, &place);
        Ok(())
    }

    /// A store, of a lane if it is one.
    pub(super) fn store_any(
        &mut self,
        memarg: &MemArg,
        handler: Handler,
        lane: u8,
    ) -> Result<(), Error> {
        let place = self.place_of(memarg)?;
        let value = self.pop_slot();
        let address = self.pop_slot();
        self.emit(handler, fields(address, value, u32::from(lane) << 16));
        self.code.extend(place);
        Ok(())
    }
}

pub(super) fn memory_of(memarg: &MemArg) -> Result<MemoryIdx, Error> {
    match memarg.target {
        MemArgTarget::Memory(memory) => Ok(MemoryIdx(memory)),
        _ => Err(Error::Unreadable),
    }
}
