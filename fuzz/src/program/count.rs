//! Counters of what is executed: a global for each of some instructions, which is counted up before it.

use wasm_encoder::{
    ConstExpr, Encode, ExportKind, ExportSection, GlobalSection, GlobalType, Instruction, ValType,
};

use super::Body;

/// The instructions that are counted, and the bytes that they begin with.
pub(crate) const COUNTED: [(&str, &[u8]); 51] = [
    ("throw", &[0x08]),
    ("throw_ref", &[0x0a]),
    ("return_call", &[0x12]),
    ("return_call_indirect", &[0x13]),
    ("call_ref", &[0x14]),
    ("return_call_ref", &[0x15]),
    ("try_table", &[0x1f]),
    ("ref.is_null", &[0xd1]),
    ("ref.func", &[0xd2]),
    ("ref.eq", &[0xd3]),
    ("ref.as_non_null", &[0xd4]),
    ("br_on_null", &[0xd5]),
    ("br_on_non_null", &[0xd6]),
    ("struct.new", &[0xfb, 0x00]),
    ("struct.new_default", &[0xfb, 0x01]),
    ("struct.get", &[0xfb, 0x02]),
    ("struct.get_s", &[0xfb, 0x03]),
    ("struct.get_u", &[0xfb, 0x04]),
    ("struct.set", &[0xfb, 0x05]),
    ("array.new", &[0xfb, 0x06]),
    ("array.new_default", &[0xfb, 0x07]),
    ("array.new_fixed", &[0xfb, 0x08]),
    ("array.new_data", &[0xfb, 0x09]),
    ("array.new_elem", &[0xfb, 0x0a]),
    ("array.get", &[0xfb, 0x0b]),
    ("array.get_s", &[0xfb, 0x0c]),
    ("array.get_u", &[0xfb, 0x0d]),
    ("array.set", &[0xfb, 0x0e]),
    ("array.len", &[0xfb, 0x0f]),
    ("array.fill", &[0xfb, 0x10]),
    ("array.copy", &[0xfb, 0x11]),
    ("array.init_data", &[0xfb, 0x12]),
    ("array.init_elem", &[0xfb, 0x13]),
    ("ref.test", &[0xfb, 0x14]),
    ("ref.test null", &[0xfb, 0x15]),
    ("ref.cast", &[0xfb, 0x16]),
    ("ref.cast null", &[0xfb, 0x17]),
    ("br_on_cast", &[0xfb, 0x18]),
    ("br_on_cast_fail", &[0xfb, 0x19]),
    ("any.convert_extern", &[0xfb, 0x1a]),
    ("extern.convert_any", &[0xfb, 0x1b]),
    ("ref.i31", &[0xfb, 0x1c]),
    ("i31.get_s", &[0xfb, 0x1d]),
    ("i31.get_u", &[0xfb, 0x1e]),
    // What is done where an exception was caught.
    (CAUGHT[0], &[]),
    (CAUGHT[1], &[]),
    (CAUGHT[2], &[]),
    (CAUGHT[3], &[]),
    // What is done where a branch on a type was taken, or was not.
    (BRANCHED[0], &[]),
    (BRANCHED[1], &[]),
    (BRANCHED[2], &[]),
];

/// Handlers of the four kinds of clauses that were reached.
pub(super) const CAUGHT: [&str; 4] = ["catch", "catch_ref", "catch_all", "catch_all_ref"];

/// A cast that succeeded, one that did not, and a reference that was null.
pub(super) const BRANCHED: [&str; 3] = ["cast", "no cast", "null"];

/// The globals of the counters, all zero.
pub(super) fn globals(globals: &mut GlobalSection) {
    for _ in COUNTED {
        let ty = GlobalType {
            val_type: ValType::I32,
            mutable: true,
            shared: false,
        };
        globals.global(ty, &ConstExpr::i32_const(0));
    }
}

/// Their exports, by the names of the instructions; the first is global `first`.
pub(super) fn exports(exports: &mut ExportSection, first: u32) {
    for (global, (name, _)) in (first..).zip(COUNTED) {
        exports.export(name, ExportKind::Global, global);
    }
}

impl Body<'_, '_> {
    /// Counts an instruction that comes next, if it is one of [`COUNTED`].
    pub(super) fn count_executed(&mut self, op: &Instruction<'_>) {
        let mut bytes = Vec::new();
        op.encode(&mut bytes);
        let is_it = |row: &(&str, &[u8])| !row.1.is_empty() && bytes.starts_with(row.1);
        if let Some(position) = COUNTED.iter().position(is_it) {
            self.count_up(position);
        }
    }

    /// Counts that this place was reached, if that is asked for.
    pub(super) fn reached(&mut self, name: &str) {
        if self.extent.counts {
            let position = COUNTED.iter().position(|row| row.0 == name);
            self.count_up(position.expect("it is a name of the table"));
        }
    }

    fn count_up(&mut self, position: usize) {
        let global = self.globals.first_count() + position as u32;
        for op in [
            Instruction::GlobalGet(global),
            Instruction::I32Const(1),
            Instruction::I32Add,
            Instruction::GlobalSet(global),
        ] {
            op.encode(&mut self.bytes);
        }
    }
}
