//! What a decoded module says of itself, item by item.

use std::convert::Infallible;
use tiered_decode::const_expr::{ConstEnv, ConstOp};
use tiered_decode::index::{
    DataIdx, ElemIdx, FuncIdx, GlobalIdx, LocalIdx, MemoryIdx, TableIdx, TypeIdx,
};
use tiered_decode::module::{DataMode, ElementItems, ElementMode, ExportKind, ImportType};
use tiered_decode::names::MAX_NAME_BYTES;
use tiered_decode::numeric::NumOp;
use tiered_decode::types::{
    ExternType, FuncType, GlobalType, Limits, MemoryType, RefType, TableType, ValType,
};
use tiered_decode::wasmparser::BlockType;
use tiered_decode::{Module, wasmparser};

const EVERYTHING: &str = r#"(module $everything
    (type $binary (func (param i32 i64) (result f32)))
    (import "env" "f" (func $imported (type $binary)))
    (import "env" "g" (global $base i32))
    (import "env" "t" (table $t0 2 8 funcref))
    (memory $mem 1 3)
    (table $t1 4 externref)
    (global $counter (mut i64) (i64.const -5))
    (global $nan f32 (f32.const nan:0x200001))
    (global $copy i32 (global.get $base))
    (global $null externref (ref.null extern))
    (global $ref funcref (ref.func $body))
    (export "f" (func $imported))
    (export "body" (func $body))
    (export "body again" (func $body))
    (export "mem" (memory $mem))
    (export "t" (table $t1))
    (export "counter" (global $counter))
    (start $start)
    (elem $active (table $t0) (offset (global.get $base)) func $imported $body)
    (elem $passive funcref (ref.null func) (ref.func $start))
    (elem $declared declare func $body)
    (data $head (i32.const 8) "head")
    (data $tail "tail")
    (func $body (param i32) (result i32) (local $x i32) (local i32 f64)
        (block (result i32) (local.get $x)))
    (func $start (memory.init $tail (i32.const 0) (i32.const 0) (i32.const 0))))"#;

fn everything() -> Module {
    Module::new(EVERYTHING).unwrap()
}

#[test]
fn index_spaces_hold_imports_first() {
    let module = everything();
    assert_eq!((module.imported_funcs(), module.imported_tables()), (1, 1));
    assert_eq!(
        (module.imported_memories(), module.imported_globals()),
        (0, 1)
    );
    assert!(module.is_imported(FuncIdx(0)) && !module.is_imported(FuncIdx(1)));
    assert_eq!(module.funcs().len(), 3);
    assert_eq!(
        module.func_type(FuncIdx(0)).to_string(),
        "[i32 i64] -> [f32]"
    );
    assert_eq!(
        module.func_type(FuncIdx(1)),
        &FuncType::new([ValType::I32], [ValType::I32])
    );
    let table = |element, min, max| TableType::new(element, Limits { min, max });
    assert_eq!(
        module.tables(),
        [
            table(RefType::FUNCREF, 2, Some(8)),
            table(RefType::EXTERNREF, 4, None)
        ]
    );
    assert_eq!(
        module.memories(),
        [MemoryType::new(Limits {
            min: 1,
            max: Some(3)
        })]
    );
    let globals: Vec<String> = module.globals().iter().map(GlobalType::to_string).collect();
    assert_eq!(
        globals,
        ["i32", "(mut i64)", "f32", "i32", "externref", "funcref"]
    );
    assert_eq!(module.start(), Some(FuncIdx(2)));
}

#[test]
fn imports_and_exports() {
    let module = everything();
    let imports: Vec<String> = module
        .imports()
        .iter()
        .map(|import| {
            format!(
                "{}.{}: {}",
                import.module,
                import.name,
                module.import_type(import)
            )
        })
        .collect();
    assert_eq!(
        imports,
        [
            "env.f: func [i32 i64] -> [f32]",
            "env.g: global i32",
            "env.t: table 2 8 funcref"
        ]
    );
    assert_eq!(module.imports()[0].ty, ImportType::Func(TypeIdx(0)));
    assert_eq!(module.exports().len(), 6);
    assert_eq!(module.export("f"), Some(ExportKind::Func(FuncIdx(0))));
    assert_eq!(module.export("mem"), Some(ExportKind::Memory(MemoryIdx(0))));
    assert_eq!(module.export("t"), Some(ExportKind::Table(TableIdx(1))));
    assert_eq!(
        module.export("counter"),
        Some(ExportKind::Global(GlobalIdx(1)))
    );
    assert_eq!(module.export("nothing"), None);
    let memory = module.export_type(ExportKind::Memory(MemoryIdx(0)));
    assert_eq!(memory.to_string(), "memory 1 3");
    assert!(matches!(
        module.export_type(ExportKind::Func(FuncIdx(2))),
        ExternType::Func(_)
    ));
}

#[test]
fn constant_expressions() {
    let module = everything();
    let ops: Vec<_> = module
        .global_inits()
        .iter()
        .map(|init| init.ops())
        .collect();
    assert_eq!(ops[0], [ConstOp::I64Const(-5)]);
    assert_eq!(ops[1], [ConstOp::F32Const(0x7fa0_0001)]);
    assert_eq!(ops[2], [ConstOp::GlobalGet(GlobalIdx(0))]);
    assert_eq!(ops[3], [ConstOp::RefNull]);
    assert_eq!(ops[4], [ConstOp::RefFunc(FuncIdx(1))]);
    let inits = module.global_inits().iter();
    let values: Vec<u128> = inits.map(|init| init.eval(&mut Indices).unwrap()).collect();
    assert_eq!(
        values,
        [u128::from(-5_i64 as u64), 0x7fa0_0001, 100, 0, 201]
    );
}

/// Instead of an instance: globals are 100 and their indices, functions 200 and theirs.
struct Indices;

impl ConstEnv for Indices {
    type Error = Infallible;

    fn global(&mut self, idx: GlobalIdx) -> Result<u128, Infallible> {
        Ok(100 + u128::from(idx.0))
    }

    fn func_ref(&mut self, idx: FuncIdx) -> Result<u64, Infallible> {
        Ok(200 + u64::from(idx.0))
    }
}

#[test]
fn extended_constant_expressions() {
    let module = Module::new(
        r#"(module (import "m" "g" (global i32)) (global $own i64 (i64.const 7))
            (global i64 (i64.mul (i64.sub (global.get $own) (i64.const 9)) (global.get $own)))
            (memory 1) (table 1 funcref)
            (data (offset (i32.add (global.get 0) (i32.mul (i32.const 3) (i32.const 4)))) "a")
            (elem (offset (i32.sub (i32.const 1) (global.get 0)))))"#,
    )
    .unwrap();
    let own = &module.global_inits()[1];
    assert_eq!(own.ops().len(), 5);
    assert_eq!(own.ops()[4], ConstOp::Numeric(NumOp::I64Mul));
    assert_eq!(own.eval(&mut Indices), Ok((101 - 9) * 101));
    let DataMode::Active { offset, .. } = &module.data()[0].mode else {
        panic!("it is active")
    };
    assert_eq!(offset.eval(&mut Indices), Ok(112));
    let ElementMode::Active { offset, .. } = &module.elements()[0].mode else {
        panic!("it is active")
    };
    assert_eq!(offset.eval(&mut Indices), Ok(u128::from(-99_i32 as u32)));
}

#[test]
fn long_constant_expressions() {
    // The operands, then one addition fewer.
    let count = 200_000;
    let text = format!(
        "(module (global i32 {} {}))",
        "i32.const 1 ".repeat(count),
        "i32.add ".repeat(count - 1)
    );
    let module = Module::new(text).unwrap();
    let value = module.global_inits()[0].eval(&mut Indices);
    assert_eq!(value, Ok(count as u128));
}

#[test]
fn segments() {
    let module = everything();
    let [active, passive, declared] = module.elements() else {
        panic!("three element segments")
    };
    let ElementMode::Active {
        table: TableIdx(0),
        offset,
    } = &active.mode
    else {
        panic!("active")
    };
    assert_eq!(offset.ops(), [ConstOp::GlobalGet(GlobalIdx(0))]);
    assert_eq!(
        active.items,
        ElementItems::Funcs([FuncIdx(0), FuncIdx(1)].into())
    );
    assert_eq!(
        (&passive.mode, passive.ty),
        (&ElementMode::Passive, RefType::FUNCREF)
    );
    let ElementItems::Exprs(exprs) = &passive.items else {
        panic!("expressions")
    };
    assert_eq!(exprs[0].ops(), [ConstOp::RefNull]);
    assert_eq!(exprs[1].ops(), [ConstOp::RefFunc(FuncIdx(2))]);
    assert_eq!(
        (&declared.mode, declared.items.len()),
        (&ElementMode::Declared, 1)
    );
    let [head, tail] = module.data() else {
        panic!("two data segments")
    };
    assert!(matches!(
        &head.mode,
        DataMode::Active {
            memory: MemoryIdx(0),
            ..
        }
    ));
    assert_eq!(tail.mode, DataMode::Passive);
    assert_eq!(
        (module.data_bytes(head), module.data_bytes(tail)),
        (&b"head"[..], &b"tail"[..])
    );
}

#[test]
fn bodies() {
    let module = everything();
    assert!(module.body(FuncIdx(0)).is_none() && module.body(FuncIdx(3)).is_none());
    assert!(module.func_validator(FuncIdx(0)).is_none());
    let body = module.body(FuncIdx(1)).unwrap();
    assert_eq!(
        body.bytes(),
        &module.bytes()[body.offset()..body.offset() + body.len()]
    );
    assert_eq!(
        body.locals().collect::<Vec<_>>(),
        [(2, ValType::I32), (1, ValType::F64)]
    );
    let (op, offset) = body.ops().read_with_offset().unwrap();
    let wasmparser::Operator::Block { blockty } = op else {
        panic!("a block")
    };
    assert_eq!(module.bytes()[offset as usize], 0x02);
    assert_eq!(module.block_type(blockty), (&[][..], &[ValType::I32][..]));
    assert_eq!(module.block_type(BlockType::FuncType(0)).1, [ValType::F32]);
    assert_eq!(body.ops().into_iter().filter(|op| op.is_ok()).count(), 4);
}

#[test]
fn names() {
    let module = everything();
    let names = module.names();
    assert_eq!(names.module(), Some("everything"));
    assert_eq!(
        names.funcs().map(|(_, name)| name).collect::<Vec<_>>(),
        ["imported", "body", "start"]
    );
    assert_eq!(names.local(FuncIdx(1), LocalIdx(1)), Some("x"));
    assert_eq!(names.local(FuncIdx(1), LocalIdx(2)), None);
    assert_eq!(names.ty(TypeIdx(0)), Some("binary"));
    assert_eq!(names.table(TableIdx(1)), Some("t1"));
    assert_eq!(names.memory(MemoryIdx(0)), Some("mem"));
    assert_eq!(names.global(GlobalIdx(1)), Some("counter"));
    assert_eq!(names.elem(ElemIdx(2)), Some("declared"));
    assert_eq!(names.data(DataIdx(1)), Some("tail"));
    assert_eq!(module.func_name(FuncIdx(2)), Some("start"));
    let unnamed = r#"(module (func (export "first") (export "second")) (func))"#;
    let module = Module::new(unnamed).unwrap();
    assert_eq!(
        (module.func_name(FuncIdx(0)), module.func_name(FuncIdx(1))),
        (Some("first"), None)
    );
}

/// An empty module with a name section of these bytes.
fn with_name_section(contents: &[u8]) -> Module {
    let mut bytes = b"\0asm\x01\0\0\0\x00".to_vec();
    bytes.push(5 + contents.len() as u8);
    bytes.extend(b"\x04name");
    bytes.extend(contents);
    Module::new(bytes).unwrap()
}

#[test]
fn a_malformed_name_section_is_read_as_far_as_it_goes() {
    // Functions 7 and 3, out of order, then one whose name is cut short.
    let module = with_name_section(b"\x00\x02\x01m\x01\x09\x03\x07\x01a\x03\x01b\x09\x05c");
    assert_eq!(module.names().module(), Some("m"));
    assert_eq!(module.names().func(FuncIdx(7)), Some("a"));
    assert_eq!(module.names().func(FuncIdx(3)), Some("b"));
    assert_eq!(module.names().func(FuncIdx(9)), None);
    // A hostile count; a name that is not UTF-8; a subsection that does not fit.
    assert_eq!(
        with_name_section(b"\x01\x05\xff\xff\xff\xff\x0f")
            .names()
            .funcs()
            .count(),
        0
    );
    assert_eq!(
        with_name_section(b"\x01\x04\x01\x00\x01\xff")
            .names()
            .func(FuncIdx(0)),
        None
    );
    assert_eq!(
        with_name_section(b"\x01\x70\x01").names().func(FuncIdx(0)),
        None
    );
    assert_eq!(
        with_name_section(b"\x02\x03\xff\xff\xff")
            .names()
            .local(FuncIdx(0), LocalIdx(0)),
        None
    );
    assert_eq!(with_name_section(b"").names().module(), None);
}

#[test]
fn long_names_are_cut_off_between_characters() {
    const LEN: usize = 1_000_000;
    let leb = |n: usize| -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..4).map(|at| (n >> (7 * at)) as u8 | 0x80).collect();
        bytes.push((n >> 28) as u8);
        bytes
    };
    let subsection = |id: u8, before: &[u8], name: &str| {
        let contents = [before, &leb(name.len()), name.as_bytes()].concat();
        [&[id], &*leb(contents.len()), &contents].concat()
    };
    // Two bytes a character, which begins at an odd byte.
    let name = format!("a{}", "ü".repeat(LEN / 2));
    let sections = [
        subsection(0, b"", &name),
        subsection(1, b"\x01\x00", &name),
        subsection(2, b"\x01\x00\x01\x00", &name),
    ];
    let contents = [&b"\x04name"[..], &sections.concat()].concat();
    let bytes = [b"\0asm\x01\0\0\0\0", &*leb(contents.len()), &contents].concat();
    let module = Module::new(bytes).unwrap();
    let names = module.names();
    let found = [
        names.module(),
        names.func(FuncIdx(0)),
        names.local(FuncIdx(0), LocalIdx(0)),
        names.funcs().next().map(|(_, name)| name),
    ];
    for found in found {
        assert_eq!(found, Some(&name[..MAX_NAME_BYTES - 1]));
    }
}

#[test]
fn custom_sections_keep_their_order_and_contents() {
    let module =
        Module::new(r#"(module (@custom "a" "one") (@custom "b" "two") (@custom "a" "three"))"#)
            .unwrap();
    let sections: Vec<_> = module
        .custom_sections()
        .iter()
        .map(|it| (module.custom_name(it), &module.bytes()[it.range()]))
        .collect();
    assert_eq!(
        sections,
        [("a", &b"one"[..]), ("b", b"two"), ("a", b"three")]
    );
}

#[test]
fn modules_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Module>();
    shared::<tiered_decode::Error>();
}

/// Types that a module repeats are kept once, and each index still means its own.
#[test]
fn repeated_types_keep_their_indices() {
    const COUNT: usize = 6000;
    let kinds = ["i32", "i64", "f32", "f64 f64"];
    let types: String = (0..COUNT)
        .map(|index| {
            format!(
                "(type (func (param {}) (result i32)))",
                kinds[index * 7 % 4]
            )
        })
        .collect();
    let text = format!(
        "(module {types} (import \"a\" \"b\" (func (type 5))) (table 1 funcref)
        (func (type 5998) (call_indirect (type 4003) (i64.const 1) (i32.const 0)))
        (func (type 3) (i32.const 0)))"
    );
    let module = Module::new(text.clone()).expect("it is valid");
    let types = module.types();
    assert_eq!((types.len(), types.groups()), (COUNT, 4));
    for (index, ty) in types.iter().enumerate() {
        let expected = format!("[{}] -> [i32]", kinds[index * 7 % 4]);
        assert_eq!(ty.to_string(), format!("func {expected}"), "{index}");
        assert_eq!(types[index], *ty);
    }
    let of_funcs: Vec<String> = (0..3)
        .map(|func| module.func_type(FuncIdx(func)).to_string())
        .collect();
    let expected = [5, 5998, 3].map(|ty: usize| format!("[{}] -> [i32]", kinds[ty * 7 % 4]));
    assert_eq!(of_funcs, expected);
    let wrong = Module::new(text.replace("(i64.const 1)", "(f32.const 1)"));
    assert!(wrong.unwrap_err().to_string().contains("type mismatch"));
}

/// What is wrong with many types is found as it is with few.
#[test]
fn errors_among_repeated_types() {
    let section = |types: &[u8], count: usize| {
        let mut contents = vec![0x80 | (count & 0x7f) as u8, (count >> 7) as u8];
        contents.extend(types.repeat(count));
        let mut section = vec![1, 0x80 | (contents.len() & 0x7f) as u8];
        section.extend([
            0x80 | (contents.len() >> 7 & 0x7f) as u8,
            (contents.len() >> 14) as u8,
        ]);
        section.extend(contents);
        section
    };
    let header = b"\0asm\x01\0\0\0";
    let plain = section(&[0x60, 0, 0], 5000);
    let module = |parts: &[&[u8]]| Module::new([&header[..], &parts.concat()].concat());
    assert_eq!(module(&[&plain]).expect("it is valid").types().len(), 5000);
    // Custom sections may stand before it, other ones and itself may not.
    assert!(module(&[b"\0\x02\x01a", &plain]).is_ok());
    for before in [&plain[..], b"\x03\x01\0", b"\x05\x03\x01\0\0"] {
        let error = module(&[before, &plain]).unwrap_err().to_string();
        assert!(
            error.contains("out of order") || error.contains("duplicate"),
            "{error}"
        );
    }
    let mut cut = plain.clone();
    cut.pop();
    assert!(module(&[&cut]).is_err());
    // A structure type, which no accepted proposal has, behind many that repeat.
    let mut structure = plain.clone();
    let last = structure.len() - 3;
    structure[last..].copy_from_slice(&[0x5f, 0, 0x60]);
    assert!(module(&[&structure]).is_err());
}
