//! The dictionary of libFuzzer: pieces of binary modules that random bytes seldom are.
//!
//! *Invariant:* `wasm.dict` is what [`text`] returns; a test says so.

use std::fmt::Write as _;

use tiered::decode::atomic::AtomicOp;
use tiered::decode::memory::{LoadOp, StoreOp};
use tiered::decode::numeric::NumOp;
use tiered::decode::vector::{VecAccess, VecOp};
use tiered::decode::wide::WideOp;
use wasm_encoder::{
    BlockType, Catch, Encode, HeapType, Instruction, MemArg, MemArgTarget, Ordering, RefType,
    ValType,
};

/// A piece of a module, with a name for who reads the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Letters, digits and underscores.
    pub name: String,
    /// The bytes as they stand in a module.
    pub bytes: Vec<u8>,
}

/// The names of sections by their ids, and the shortest contents: nothing, an empty list, or function 0.
const SECTIONS: [(&str, &[u8]); 14] = [
    ("custom", b"\x04name"),
    ("type", &[0]),
    ("import", &[0]),
    ("function", &[0]),
    ("table", &[0]),
    ("memory", &[0]),
    ("global", &[0]),
    ("export", &[0]),
    ("start", &[0]),
    ("element", &[0]),
    ("code", &[0]),
    ("data", &[0]),
    ("data_count", &[0]),
    ("tag", &[0]),
];

/// Bytes that stand for types.
const TYPES: [(&str, u8); 9] = [
    ("i32", 0x7f),
    ("i64", 0x7e),
    ("f32", 0x7d),
    ("f64", 0x7c),
    ("v128", 0x7b),
    ("funcref", 0x70),
    ("externref", 0x6f),
    ("func", 0x60),
    ("empty", 0x40),
];

/// Numbers next to which a LEB128 takes a byte more, or a number ends.
const UNSIGNED: [u64; 9] = [
    0x7f,
    0x80,
    0x3fff,
    0x4000,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    u64::MAX,
];

/// The same for signed ones.
const SIGNED: [i64; 9] = [
    -1,
    -64,
    -65,
    64,
    i32::MIN as i64,
    i32::MAX as i64,
    i32::MIN as i64 - 1,
    i64::MIN,
    i64::MAX,
];

/// A LEB128 that is longer than it need be, longer than it may be, and one with bits that the number has no room for.
const LEBS: [(&str, &[u8]); 5] = [
    ("leb_long_zero", &[0x80, 0x80, 0x80, 0x80, 0x00]),
    ("leb_long_minus_one", &[0xff, 0xff, 0xff, 0xff, 0x7f]),
    ("leb_too_long", &[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]),
    ("leb_too_large", &[0xff, 0xff, 0xff, 0xff, 0x1f]),
    ("leb_without_end", &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80]),
];

/// Types and instructions of garbage-collected objects, of the first type where they name one.
const OBJECTS: [(&str, &[u8]); 59] = [
    ("type_ref_0", &[0x64, 0x00]),
    ("type_ref_null_0", &[0x63, 0x00]),
    ("type_ref_any", &[0x64, 0x6e]),
    ("type_ref_eq", &[0x64, 0x6d]),
    ("type_rec_two", &[0x4e, 0x02]),
    ("type_struct_empty", &[0x5f, 0x00]),
    ("type_struct_mut_i32", &[0x5f, 0x01, 0x7f, 0x01]),
    ("type_struct_mut_anyref", &[0x5f, 0x01, 0x6e, 0x01]),
    ("type_array_mut_i8", &[0x5e, 0x78, 0x01]),
    ("type_array_mut_i16", &[0x5e, 0x77, 0x01]),
    ("type_array_mut_ref_null_0", &[0x5e, 0x63, 0x00, 0x01]),
    ("type_sub", &[0x50, 0x00]),
    ("type_sub_of_0", &[0x50, 0x01, 0x00]),
    ("type_sub_final_of_0", &[0x4f, 0x01, 0x00]),
    ("op_ref_null_any", &[0xd0, 0x6e]),
    ("op_ref_null_none", &[0xd0, 0x71]),
    ("op_ref_null_nofunc", &[0xd0, 0x73]),
    ("op_ref_null_noextern", &[0xd0, 0x72]),
    ("op_ref_null_0", &[0xd0, 0x00]),
    ("op_ref_eq", &[0xd3]),
    ("op_ref_as_non_null", &[0xd4]),
    ("op_br_on_null", &[0xd5, 0x00]),
    ("op_br_on_non_null", &[0xd6, 0x00]),
    ("op_call_ref", &[0x14, 0x00]),
    ("op_return_call_ref", &[0x15, 0x00]),
    ("op_struct_new", &[0xfb, 0x00, 0x00]),
    ("op_struct_new_default", &[0xfb, 0x01, 0x00]),
    ("op_struct_get", &[0xfb, 0x02, 0x00, 0x00]),
    ("op_struct_get_s", &[0xfb, 0x03, 0x00, 0x00]),
    ("op_struct_get_u", &[0xfb, 0x04, 0x00, 0x00]),
    ("op_struct_set", &[0xfb, 0x05, 0x00, 0x00]),
    ("op_array_new", &[0xfb, 0x06, 0x00]),
    ("op_array_new_default", &[0xfb, 0x07, 0x00]),
    ("op_array_new_fixed", &[0xfb, 0x08, 0x00, 0x02]),
    ("op_array_new_data", &[0xfb, 0x09, 0x00, 0x00]),
    ("op_array_new_elem", &[0xfb, 0x0a, 0x00, 0x00]),
    ("op_array_get", &[0xfb, 0x0b, 0x00]),
    ("op_array_get_s", &[0xfb, 0x0c, 0x00]),
    ("op_array_get_u", &[0xfb, 0x0d, 0x00]),
    ("op_array_set", &[0xfb, 0x0e, 0x00]),
    ("op_array_len", &[0xfb, 0x0f]),
    ("op_array_fill", &[0xfb, 0x10, 0x00]),
    ("op_array_copy", &[0xfb, 0x11, 0x00, 0x00]),
    ("op_array_init_data", &[0xfb, 0x12, 0x00, 0x00]),
    ("op_array_init_elem", &[0xfb, 0x13, 0x00, 0x00]),
    ("op_ref_test", &[0xfb, 0x14, 0x00]),
    ("op_ref_test_null", &[0xfb, 0x15, 0x00]),
    ("op_ref_test_i31", &[0xfb, 0x14, 0x6c]),
    ("op_ref_cast", &[0xfb, 0x16, 0x00]),
    ("op_ref_cast_null", &[0xfb, 0x17, 0x00]),
    ("op_ref_cast_struct", &[0xfb, 0x16, 0x6b]),
    ("op_ref_cast_array", &[0xfb, 0x16, 0x6a]),
    ("op_br_on_cast", &[0xfb, 0x18, 0x03, 0x00, 0x6e, 0x00]),
    ("op_br_on_cast_fail", &[0xfb, 0x19, 0x03, 0x00, 0x6e, 0x00]),
    ("op_any_convert_extern", &[0xfb, 0x1a]),
    ("op_extern_convert_any", &[0xfb, 0x1b]),
    ("op_ref_i31", &[0xfb, 0x1c]),
    ("op_i31_get_s", &[0xfb, 0x1d]),
    ("op_i31_get_u", &[0xfb, 0x1e]),
];

/// All entries, each of different bytes.
#[must_use]
pub fn entries() -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut add = |name: String, bytes: Vec<u8>| {
        if entries.iter().all(|entry: &Entry| entry.bytes != bytes) {
            entries.push(Entry { name, bytes });
        }
    };
    add("magic".into(), b"\0asm".to_vec());
    add("version".into(), b"\x01\0\0\0".to_vec());
    add("header".into(), b"\0asm\x01\0\0\0".to_vec());
    for (id, (name, contents)) in (0..).zip(SECTIONS) {
        let header = [&[id, contents.len() as u8], contents].concat();
        add(format!("section_{name}"), header);
    }
    for (name, byte) in TYPES {
        add(format!("type_{name}"), vec![byte]);
    }
    for op in NumOp::ALL {
        add(named(op.text()), encoded(|out| op.opcode().encode(out)));
    }
    for op in WideOp::ALL {
        add(named(op.text()), encoded(|out| op.opcode().encode(out)));
    }
    for op in VecOp::ALL {
        add(named(op.text()), encoded(|out| op.opcode().encode(out)));
    }
    for op in VecAccess::ALL {
        add(named(op.text()), encoded(|out| op.opcode().encode(out)));
    }
    for op in LoadOp::ALL {
        add(named(op.text()), encoded(|out| op.opcode().encode(out)));
    }
    for op in StoreOp::ALL {
        add(named(op.text()), encoded(|out| op.opcode().encode(out)));
    }
    for op in AtomicOp::ALL {
        add(named(op.text()), encoded(|out| op.opcode().encode(out)));
    }
    for (name, instruction) in others() {
        add(format!("op_{name}"), encoded(|out| instruction.encode(out)));
    }
    for (name, bytes) in OBJECTS {
        add(name.into(), bytes.to_vec());
    }
    for number in UNSIGNED {
        add(
            format!("uleb_{number:x}"),
            encoded(|out| number.encode(out)),
        );
    }
    for number in SIGNED {
        let sign = if number < 0 { "minus_" } else { "" };
        let name = format!("sleb_{sign}{:x}", number.unsigned_abs());
        add(name, encoded(|out| number.encode(out)));
    }
    for (name, bytes) in LEBS {
        add(name.into(), bytes.to_vec());
    }
    for (name, value) in [
        ("nan", f64::NAN),
        ("infinity", f64::INFINITY),
        ("minus_zero", -0.0),
    ] {
        add(format!("f32_{name}"), (value as f32).to_le_bytes().to_vec());
        add(format!("f64_{name}"), value.to_le_bytes().to_vec());
    }
    entries
}

/// The file, as libFuzzer and AFL read it.
#[must_use]
pub fn text() -> String {
    let mut text =
        String::from("# Pieces of WebAssembly modules, written by the example `seeds`.\n");
    for Entry { name, bytes } in entries() {
        let bytes: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        writeln!(text, "{name}=\"{bytes}\"").expect("a string takes everything");
    }
    text
}

fn named(text: &str) -> String {
    format!("op_{}", text.replace('.', "_"))
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes);
    bytes
}

/// An access to the first memory, at an address that is a multiple of a power of two.
fn aligned(align: u32) -> MemArg {
    MemArg {
        offset: 0,
        align,
        target: MemArgTarget::Memory(0),
        ordering: None,
    }
}

/// The begin of a block with one clause.
fn try_table(clause: Catch) -> Instruction<'static> {
    Instruction::TryTable(BlockType::Empty, vec![clause].into())
}

/// Ops that the tables do not have, with the immediates that they have most often.
fn others() -> Vec<(&'static str, Instruction<'static>)> {
    vec![
        ("unreachable", Instruction::Unreachable),
        ("nop", Instruction::Nop),
        ("block", Instruction::Block(BlockType::Empty)),
        (
            "block_i32",
            Instruction::Block(BlockType::Result(ValType::I32)),
        ),
        ("loop", Instruction::Loop(BlockType::Empty)),
        ("if", Instruction::If(BlockType::Empty)),
        ("else", Instruction::Else),
        ("end", Instruction::End),
        ("br", Instruction::Br(0)),
        ("br_if", Instruction::BrIf(0)),
        ("br_table", Instruction::BrTable((&[0, 1][..]).into(), 0)),
        ("return", Instruction::Return),
        ("call", Instruction::Call(0)),
        (
            "call_indirect",
            Instruction::CallIndirect {
                type_index: 0,
                table_index: 0,
            },
        ),
        ("return_call", Instruction::ReturnCall(0)),
        (
            "return_call_indirect",
            Instruction::ReturnCallIndirect {
                type_index: 0,
                table_index: 0,
            },
        ),
        ("throw", Instruction::Throw(0)),
        ("throw_ref", Instruction::ThrowRef),
        ("try_table", try_table(Catch::One { tag: 0, label: 0 })),
        (
            "try_table_ref",
            try_table(Catch::OneRef { tag: 0, label: 0 }),
        ),
        ("try_table_all", try_table(Catch::All { label: 0 })),
        ("try_table_all_ref", try_table(Catch::AllRef { label: 0 })),
        ("try", Instruction::Try(BlockType::Empty)),
        ("catch", Instruction::Catch(0)),
        ("catch_all", Instruction::CatchAll),
        ("rethrow", Instruction::Rethrow(0)),
        ("delegate", Instruction::Delegate(0)),
        ("drop", Instruction::Drop),
        ("select", Instruction::Select),
        ("select_i32", Instruction::TypedSelect(ValType::I32)),
        ("local_get", Instruction::LocalGet(0)),
        ("local_set", Instruction::LocalSet(0)),
        ("local_tee", Instruction::LocalTee(0)),
        ("global_get", Instruction::GlobalGet(0)),
        ("global_set", Instruction::GlobalSet(0)),
        ("table_get", Instruction::TableGet(0)),
        ("table_set", Instruction::TableSet(0)),
        ("table_grow", Instruction::TableGrow(0)),
        ("table_size", Instruction::TableSize(0)),
        ("table_fill", Instruction::TableFill(0)),
        (
            "table_copy",
            Instruction::TableCopy {
                src_table: 0,
                dst_table: 0,
            },
        ),
        (
            "table_init",
            Instruction::TableInit {
                elem_index: 0,
                table: 0,
            },
        ),
        ("elem_drop", Instruction::ElemDrop(0)),
        ("memory_size", Instruction::MemorySize(0)),
        ("memory_grow", Instruction::MemoryGrow(0)),
        ("memory_fill", Instruction::MemoryFill(0)),
        (
            "memory_copy",
            Instruction::MemoryCopy {
                src_mem: 0,
                dst_mem: 0,
            },
        ),
        (
            "memory_init",
            Instruction::MemoryInit {
                mem: 0,
                data_index: 0,
            },
        ),
        ("data_drop", Instruction::DataDrop(0)),
        ("atomic_fence", Instruction::AtomicFence(Ordering::SeqCst)),
        (
            "memory_atomic_notify",
            Instruction::MemoryAtomicNotify(aligned(2)),
        ),
        (
            "memory_atomic_wait32",
            Instruction::MemoryAtomicWait32(aligned(2)),
        ),
        (
            "memory_atomic_wait64",
            Instruction::MemoryAtomicWait64(aligned(3)),
        ),
        ("i32_const", Instruction::I32Const(0)),
        ("i64_const", Instruction::I64Const(0)),
        ("f32_const", Instruction::F32Const(0.0.into())),
        ("f64_const", Instruction::F64Const(0.0.into())),
        ("ref_null_func", Instruction::RefNull(HeapType::FUNC)),
        (
            "ref_null_extern",
            Instruction::RefNull(RefType::EXTERNREF.heap_type),
        ),
        ("ref_is_null", Instruction::RefIsNull),
        ("ref_func", Instruction::RefFunc(0)),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_of_the_tables_is_an_entry() {
        let entries = entries();
        let opcodes = NumOp::ALL.iter().map(|op| op.opcode());
        let opcodes = opcodes.chain(WideOp::ALL.iter().map(|op| op.opcode()));
        let opcodes = opcodes.chain(VecOp::ALL.iter().map(|op| op.opcode()));
        let opcodes = opcodes.chain(VecAccess::ALL.iter().map(|op| op.opcode()));
        let opcodes = opcodes.chain(LoadOp::ALL.iter().map(|op| op.opcode()));
        let opcodes = opcodes.chain(StoreOp::ALL.iter().map(|op| op.opcode()));
        let opcodes = opcodes.chain(AtomicOp::ALL.iter().map(|op| op.opcode()));
        for opcode in opcodes {
            let bytes = encoded(|out| opcode.encode(out));
            let found = entries.iter().any(|entry| entry.bytes == bytes);
            assert!(found, "{opcode:?} is not an entry");
        }
    }

    #[test]
    fn names_are_what_libfuzzer_reads() {
        let entries = entries();
        let names: BTreeSet<&str> = entries.iter().map(|entry| &*entry.name).collect();
        assert_eq!(names.len(), entries.len(), "each name comes once");
        for Entry { name, bytes } in &entries {
            let letters = name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            // libFuzzer's longest word has 64 bytes.
            assert!(letters && (1..=64).contains(&bytes.len()), "{name}");
        }
    }
}
