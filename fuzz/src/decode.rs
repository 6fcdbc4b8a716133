//! Decoding: no bytes panic, and what decodes can be asked everything.

use arbitrary::{Arbitrary, Result, Unstructured};
use tiered::decode::const_expr::{ConstExpr, NoInstance};
use tiered::decode::index::{
    DataIdx, ElemIdx, FuncIdx, GlobalIdx, LocalIdx, MemoryIdx, TableIdx, TypeIdx,
};
use tiered::decode::module::{DataMode, ElementItems, ElementMode};
use tiered::decode::{Config, Module};

use crate::{input, program, smith};

/// Texts to change a little: every section, every kind of op, names, escapes.
const TEXTS: [&str; 3] = [
    r#"(module $m (@custom "x" "y") (type $t (func (param i32 i64) (result f64)))
        (import "env" "f" (func $f (type $t))) (import "env" "g" (global i32))
        (memory $mem 1 2) (table $tab 3 funcref) (global $g (mut f32) (f32.const nan:0x1234))
        (export "run\n\u{41}" (func $run))
        (elem $e (i32.const 0) func $f $run) (elem funcref (ref.func $f) (ref.null func))
        (data $d (i32.const 1) "abc\00") (data "xyz")
        (func $run (param $n i32) (result i32) (local $l i64) (local f32)
            (loop $l (br_if $l (i32.eqz (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
            (block $a (block $b (br_table $a $b $a (local.get $n))))
            (memory.init 1 (i32.const 0) (i32.const 0) (i32.const 3)) (data.drop 1)
            (drop (call_indirect (type $t) (i32.const 1) (i64.const 2) (i32.const 0)))
            (i32.trunc_sat_f32_s (f32.load offset=70000 align=1 (local.get $n)))))"#,
    r#";; a comment (; and (; another ;) ;)
    (module (func (result i32 i32) (i32.const 0x1_f) (i32.const -2147483648))
        (func (param externref funcref) (result externref)
            (select (result externref) (local.get 0) (local.get 0) (i32.const 1)))
        (table $t 1 10 externref)
        (func (drop (table.grow $t (ref.null extern) (i32.const 1))))
        (start 3) (func (if (i32.const 0) (then (unreachable)) (else (loop (return))))))"#,
    r#"(module binary "\00asm" "\01\00\00\00" "\05\03\01\00\01")"#,
];

/// Decodes what `bytes` are or describe.
pub fn run(bytes: &[u8]) {
    if input::is_module(bytes) {
        inspect(bytes.to_vec());
    } else {
        // Too few bytes for the choices to be made are no finding.
        let _ = described(&mut Unstructured::new(bytes));
    }
}

fn described(u: &mut Unstructured<'_>) -> Result<()> {
    let module = match u.int_in_range(0..=6)? {
        0 => [b"\0asm\x01\0\0\0", u.bytes(u.len())?].concat(),
        1 => sections(u)?,
        2 => changed(smith::foreign_module(u)?, u)?,
        3 => changed(smith::any_module(u)?, u)?,
        4 => {
            let extent = program::Extent::any(u)?;
            changed(program::module(u, extent)?, u)?
        }
        5 => changed(u.choose(&TEXTS)?.as_bytes().to_vec(), u)?,
        _ => u.bytes(u.len())?.to_vec(),
    };
    inspect(module);
    Ok(())
}

/// Sections with the right sizes and arbitrary contents.
fn sections(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut bytes = b"\0asm\x01\0\0\0".to_vec();
    while !u.is_empty() {
        let id = u.int_in_range(0..=14)?;
        let len = u.int_in_range(0..=60)?;
        let contents = u.bytes(len.min(u.len()))?;
        bytes.extend([id, contents.len() as u8]);
        bytes.extend(contents);
    }
    Ok(bytes)
}

/// Up to eight changes of a few bytes each; none at all is likely enough.
fn changed(mut bytes: Vec<u8>, u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    for _ in 0..u.int_in_range(0..=8)? {
        let at = u.choose_index(bytes.len() + 1)?;
        match u.int_in_range(0..=4)? {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, u8::arbitrary(u)?),
            2 => drop(bytes.splice(at.., u.bytes(u.len().min(16))?.iter().copied())),
            3 => {
                let end = (at + u.int_in_range(0..=20)?).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = u.choose_index(bytes.len() + 1)?;
                bytes.splice(to..to, piece);
            }
            _ => {
                let byte = u8::arbitrary(u)?;
                if let Some(old) = bytes.get_mut(at) {
                    *old = byte;
                }
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    Ok(bytes)
}

/// Decodes, and asks the module, or the error, everything.
fn inspect(bytes: Vec<u8>) {
    let config = Config {
        threads: Some(1),
        ..Config::default()
    };
    let len = bytes.len();
    let binary = bytes.starts_with(b"\0asm");
    match Module::with_config(bytes, &config) {
        Ok(module) => ask(&module),
        Err(error) => {
            assert!(!error.reason().is_empty());
            assert!(!error.to_string().contains("\n\n"));
            if binary {
                assert!(
                    error.offset().is_some_and(|offset| offset <= len),
                    "{error} of {len} bytes"
                );
                assert!(error.func().is_none() || error.section() == Some("code"));
            }
            let _ = (
                error.position(),
                error.excerpt(),
                error.func_name(),
                error.is_text(),
            );
        }
    }
}

fn ask(module: &Module) {
    let names = module.names();
    let _ = (
        format!("{module:?} {names:?}"),
        names.module(),
        names.funcs().count(),
    );
    for func in (0..module.funcs().len() as u32).map(FuncIdx) {
        ask_func(module, func);
    }
    // Indices need not exist for names to be asked for.
    for index in 0..8 {
        let _ = (
            names.ty(TypeIdx(index)),
            names.table(TableIdx(index)),
            names.memory(MemoryIdx(index)),
        );
        let _ = (
            names.global(GlobalIdx(index)),
            names.elem(ElemIdx(index)),
            names.data(DataIdx(index)),
        );
    }
    for import in module.imports() {
        let _ = module.import_type(import).to_string();
    }
    for export in module.exports() {
        assert_eq!(module.export(&export.name), Some(export.kind));
        let _ = module.export_type(export.kind).to_string();
    }
    let defined = module.globals().len() - module.imported_globals() as usize;
    assert_eq!(module.global_inits().len(), defined);
    module.global_inits().iter().for_each(ask_expr);
    for data in module.data() {
        assert_eq!(module.data_bytes(data).len(), data.range.len());
        if let DataMode::Active { offset, .. } = &data.mode {
            ask_expr(offset);
        }
    }
    for element in module.elements() {
        if let ElementMode::Active { offset, .. } = &element.mode {
            ask_expr(offset);
        }
        if let ElementItems::Exprs(exprs) = &element.items {
            exprs.iter().for_each(ask_expr);
        }
        assert_eq!(element.items.is_empty(), matches!(element.items.len(), 0));
    }
    for section in module.custom_sections() {
        assert!(module.bytes().get(section.range()).is_some());
    }
    assert!(
        module
            .start()
            .is_none_or(|start| start.index() < module.funcs().len())
    );
}

fn ask_func(module: &Module, func: FuncIdx) {
    let _ = (module.func_type(func).to_string(), module.func_name(func));
    let _ = (
        module.names().func(func),
        module.names().local(func, LocalIdx(0)),
    );
    let Some(body) = module.body(func) else {
        assert!(module.is_imported(func));
        assert!(module.loop_headers(func).is_empty());
        return;
    };
    assert_eq!(
        &module.bytes()[body.offset()..body.offset() + body.len()],
        body.bytes()
    );
    let _ = body.locals().count();
    assert!(
        body.ops().into_iter().all(|op| op.is_ok()),
        "a valid body can be read"
    );
    for header in module.loop_headers(func) {
        assert_eq!(
            module.bytes()[header.offset as usize],
            0x03,
            "a header is a loop"
        );
    }
}

fn ask_expr(expr: &ConstExpr) {
    assert!(!expr.ops().is_empty());
    let _ = expr.eval(&mut NoInstance);
}
