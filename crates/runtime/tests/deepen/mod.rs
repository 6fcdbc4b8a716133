//! Makes any module one whose functions work far up on their operand stacks.
//!
//! Each body becomes a block of a function that has many locals more and has pushed other operands before, enough that
//! the block's own lie where instructions stop being able to name slots: they have 16 bits for it.
//!
//! A tier's tests include this as a module.

use tiered_decode::types;
use tiered_decode::wasmparser::{Chunk, FunctionBody, Parser, Payload, WasmFeatures};
use tiered_decode::{Config, Module};
use tiered_runtime::frame::{HEADER_SLOTS, SPARE};

/// Operands that one call pushes.
const PUSHED: u32 = 1000;

/// Locals of each function: nearly as many as may be.
const LOCALS: u32 = 49_000;

const I64: u8 = 0x7e;
const FUNC: u8 = 0x60;
const END: u8 = 0x0b;

fn leb(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A number as a signed LEB128, which a block's type is.
fn signed(value: u32, out: &mut Vec<u8>) {
    leb(u64::from(value), out);
    if value.leading_zeros() < 32 && out.last().is_some_and(|byte| byte & 0x40 != 0) {
        let last = out.len() - 1;
        out[last] |= 0x80;
        out.push(0);
    }
}

fn section(id: u8, contents: &[u8], out: &mut Vec<u8>) {
    out.push(id);
    leb(contents.len() as u64, out);
    out.extend_from_slice(contents);
}

/// A function's type that takes nothing and returns `results`, in the binary format.
fn type_of(results: &[u8], out: &mut Vec<u8>) {
    out.extend([FUNC, 0]);
    leb(results.len() as u64, out);
    out.extend_from_slice(results);
}

/// A type's byte.
fn byte_of(ty: tiered_decode::types::ValType) -> u8 {
    use tiered_decode::types::ValType as V;
    match ty {
        V::I32 => 0x7f,
        V::I64 => I64,
        V::F32 => 0x7d,
        V::F64 => 0x7c,
        V::V128 => 0x7b,
        V::FUNCREF => 0x70,
        V::EXTERNREF => 0x6f,
        V::Ref(ty) => panic!("no test has {ty}"),
    }
}

/// The module with `near` operands of each body in slots that instructions can name, and the rest beyond.
pub(crate) fn deepen(module: &Module, near: u32) -> Module {
    let bytes = module.bytes();
    let bodies = module.funcs().len() as u32 - module.imported_funcs();
    let mut out = b"\0asm\x01\0\0\0".to_vec();
    let mut bodies_out = Vec::new();
    let mut left = bodies;
    let mut parser = Parser::new(0);
    let mut at = 0;
    loop {
        let Ok(Chunk::Parsed { consumed, payload }) = parser.parse(&bytes[at..], true) else {
            unreachable!("the module is valid")
        };
        at += consumed;
        let contents = payload.as_section();
        let raw = |range: &std::ops::Range<u64>| &bytes[range.start as usize..range.end as usize];
        match payload {
            Payload::End(_) => break,
            Payload::Version { .. } => {}
            Payload::TypeSection(types) => {
                let entries = skip_count(raw(&types.range()));
                section(1, &more_types(module, entries), &mut out);
            }
            Payload::FunctionSection(funcs) => {
                let mut contents = Vec::new();
                leb(u64::from(bodies) + 1, &mut contents);
                contents.extend_from_slice(skip_count(raw(&funcs.range())));
                leb(module.types().len() as u64, &mut contents);
                section(3, &contents, &mut out);
            }
            Payload::CodeSectionStart { .. } => leb(u64::from(bodies) + 1, &mut bodies_out),
            Payload::CodeSectionEntry(body) => {
                let index = module.funcs().len() as u32 - left;
                add_body(&deep_body(module, index, &body, near), &mut bodies_out);
                left -= 1;
                if left == 0 {
                    add_body(&pushing_body(), &mut bodies_out);
                    section(10, &bodies_out, &mut out);
                }
            }
            _ => {
                let (id, range) = contents.expect("all else is a section");
                section(id, raw(&range), &mut out);
            }
        }
    }
    let config = Config {
        proposals: WasmFeatures::all(),
        threads: None,
    };
    Module::with_config(out, &config).expect("it is as valid as before")
}

/// What is behind a section's count.
fn skip_count(contents: &[u8]) -> &[u8] {
    let count = contents.iter().position(|byte| byte & 0x80 == 0);
    &contents[count.expect("a count ends") + 1..]
}

/// The type section with the type of the function that pushes, and one for the results of each body.
fn more_types(module: &Module, entries: &[u8]) -> Vec<u8> {
    let bodies = module.funcs().len() - module.imported_funcs() as usize;
    let mut contents = Vec::new();
    leb((module.types().len() + 1 + bodies) as u64, &mut contents);
    contents.extend_from_slice(entries);
    type_of(&[I64; PUSHED as usize], &mut contents);
    for ty in &module.funcs()[module.imported_funcs() as usize..] {
        let results = module.types().func(*ty).results.iter();
        let results: Vec<u8> = results.map(|&ty| byte_of(ty)).collect();
        type_of(&results, &mut contents);
    }
    contents
}

fn add_body(body: &[u8], out: &mut Vec<u8>) {
    leb(body.len() as u64, out);
    out.extend_from_slice(body);
}

/// The body of the function that pushes.
fn pushing_body() -> Vec<u8> {
    let mut body = vec![0];
    for _ in 0..PUSHED {
        body.extend([0x42, 1]);
    }
    body.push(END);
    body
}

fn deep_body(module: &Module, index: u32, body: &FunctionBody<'_>, near: u32) -> Vec<u8> {
    let ty = module.func_type(tiered_decode::index::FuncIdx(index));
    let locals = body.get_locals_reader().expect("it is valid");
    let (groups, groups_at) = (locals.get_count(), locals.original_position() as usize);
    let (mut declared, mut slots) = (0, types::slots(&ty.params));
    for local in locals {
        let (count, ty) = local.expect("it is valid");
        let ty = module.types().value(ty).expect("it is accepted");
        declared += count;
        slots += count * ty.slots();
    }
    let ops = body.get_operators_reader().expect("it is valid");
    let (start, end) = (ops.original_position() as usize, body.range().end as usize);
    let bytes = module.bytes();
    let mut out = Vec::new();
    leb(u64::from(groups) + 1, &mut out);
    out.extend_from_slice(&bytes[groups_at..start]);
    leb(
        u64::from(LOCALS - ty.params.len() as u32 - declared),
        &mut out,
    );
    out.push(I64);
    let wide = slots - declared - ty.params.len() as u32;
    let below = SPARE.start - HEADER_SLOTS - LOCALS - wide - near;
    for _ in 0..below / PUSHED {
        out.push(0x10);
        leb(module.funcs().len() as u64, &mut out);
    }
    for _ in 0..below % PUSHED {
        out.extend([0x42, 2]);
    }
    out.push(0x02);
    let own = index - module.imported_funcs();
    signed(module.types().len() as u32 + 1 + own, &mut out);
    out.extend_from_slice(&bytes[start..end]);
    // What the block leaves are the results; `return` does without the rest.
    out.extend([0x0f, END]);
    out
}
