//! Lists of numbers in adapters: a loop that passes them one by one becomes a copy.
//!
//! The adapters of `wasmtime-environ` have a loop for every list. Where its body is one load and one store of the same width, all
//! of the list is copied as it is: bounds and alignment of both lists have been checked before the loop.
//!
//! *Invariant:* only a loop that is such a copy, instruction by instruction, is replaced; its counters are not read after it.

use std::ops::Range;

use wasmtime_environ::wasmparser::{FunctionBody, MemArg, Operator, Parser, Payload};

const CODE_SECTION: u8 = 10;

/// The module with copies for loops; `None` if it has no such loop.
pub(super) fn with_copies(wasm: &[u8]) -> Option<Vec<u8>> {
    let mut section = Range::default();
    let mut bodies = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.ok()? {
            Payload::CodeSectionStart { range, .. } => section = range,
            Payload::CodeSectionEntry(body) => bodies.push(body),
            _ => {}
        }
    }
    let mut is_changed = false;
    let mut contents = Vec::with_capacity(section.len());
    write_u32(&mut contents, bodies.len())?;
    for body in &bodies {
        let (bytes, has_copies) = body_with_copies(wasm, body)?;
        is_changed |= has_copies;
        write_u32(&mut contents, bytes.len())?;
        contents.extend_from_slice(&bytes);
    }
    if !is_changed {
        return None;
    }
    let mut length = Vec::new();
    write_u32(&mut length, section.len())?;
    let header = section.start.checked_sub(length.len() + 1)?;
    if wasm.get(header) != Some(&CODE_SECTION) {
        return None;
    }
    let mut module = wasm.get(..=header)?.to_vec();
    write_u32(&mut module, contents.len())?;
    module.append(&mut contents);
    module.extend_from_slice(wasm.get(section.end..)?);
    Some(module)
}

/// The bytes of a function's body with copies for loops, and whether there are any.
fn body_with_copies(wasm: &[u8], body: &FunctionBody<'_>) -> Option<(Vec<u8>, bool)> {
    let mut reader = body.get_operators_reader().ok()?;
    let mut operators = Vec::new();
    while !reader.eof() {
        operators.push(reader.read_with_offset().ok()?);
    }
    let whole = body.range();
    let mut bytes = Vec::with_capacity(whole.len());
    let (mut done, mut index) = (whole.start, 0);
    while index < operators.len() {
        let Some(copy) = ListCopy::of(&operators[index..]) else {
            index += 1;
            continue;
        };
        bytes.extend_from_slice(wasm.get(done..operators[index].1)?);
        copy.encode(&mut bytes)?;
        index += LOOP;
        // At least the function's end is behind it.
        done = operators.get(index)?.1;
    }
    bytes.extend_from_slice(wasm.get(done..whole.end)?);
    Some((bytes, done != whole.start))
}

/// How many instructions such a loop has.
const LOOP: usize = 19;

/// A copy of as many numbers as a local says.
struct ListCopy {
    to: u32,
    from: u32,
    count: u32,
    width: u32,
    to_memory: u32,
    from_memory: u32,
}

impl ListCopy {
    /// The copy that a loop at the beginning of `operators` is.
    fn of(operators: &[(Operator<'_>, usize)]) -> Option<ListCopy> {
        let at = |index: usize| operators.get(index).map(|(operator, _)| operator);
        let local = |index| match at(index) {
            Some(Operator::LocalGet { local_index }) => Some(*local_index),
            _ => None,
        };
        if !matches!(at(0), Some(Operator::Loop { .. })) {
            return None;
        }
        let (to, from) = (local(1)?, local(2)?);
        let (load, from_memory) = loaded(at(3)?)?;
        let (width, to_memory) = stored(at(4)?, load)?;
        let count = local(13)?;
        let is_copy = moves_on(&operators[5..9], from, width)
            && moves_on(&operators[9..13], to, width)
            && matches!(at(14), Some(Operator::I32Const { value: -1 }))
            && matches!(at(15), Some(Operator::I32Add))
            && matches!(at(16), Some(Operator::LocalTee { local_index }) if *local_index == count)
            && matches!(at(17), Some(Operator::BrIf { relative_depth: 0 }))
            && matches!(at(18), Some(Operator::End));
        is_copy.then_some(ListCopy {
            to,
            from,
            count,
            width,
            to_memory,
            from_memory,
        })
    }

    fn encode(&self, bytes: &mut Vec<u8>) -> Option<()> {
        for local in [self.to, self.from, self.count] {
            bytes.push(0x20);
            write_u32(bytes, local as usize)?;
        }
        // i32.const log2(width); i32.shl: the length is within memory, so nothing is lost.
        bytes.extend_from_slice(&[0x41, self.width.trailing_zeros() as u8, 0x74]);
        // memory.copy
        bytes.extend_from_slice(&[0xfc, 0x0a]);
        write_u32(bytes, self.to_memory as usize)?;
        write_u32(bytes, self.from_memory as usize)
    }
}

/// Whether a local is increased by `width`, an `i32`.
fn moves_on(operators: &[(Operator<'_>, usize)], local: u32, width: u32) -> bool {
    let [get, constant, add, set] = operators else {
        return false;
    };
    matches!(&get.0, Operator::LocalGet { local_index } if *local_index == local)
        && matches!(&constant.0, Operator::I32Const { value } if *value as u32 == width)
        && matches!(&add.0, Operator::I32Add)
        && matches!(&set.0, Operator::LocalSet { local_index } if *local_index == local)
}

/// What a load puts on the stack, as far as a store of its width asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loaded {
    I8,
    I16,
    I32,
    I64,
    F32,
    F64,
}

/// What an instruction loads without an offset, and from which memory.
fn loaded(operator: &Operator<'_>) -> Option<(Loaded, u32)> {
    let (loaded, memarg) = match operator {
        Operator::I32Load8U { memarg } | Operator::I32Load8S { memarg } => (Loaded::I8, memarg),
        Operator::I32Load16U { memarg } | Operator::I32Load16S { memarg } => (Loaded::I16, memarg),
        Operator::I32Load { memarg } => (Loaded::I32, memarg),
        Operator::I64Load { memarg } => (Loaded::I64, memarg),
        Operator::F32Load { memarg } => (Loaded::F32, memarg),
        Operator::F64Load { memarg } => (Loaded::F64, memarg),
        _ => return None,
    };
    Some((loaded, memory(memarg)?))
}

/// Of an instruction that stores what was loaded, without an offset, how many bytes these are, and to which memory.
fn stored(operator: &Operator<'_>, loaded: Loaded) -> Option<(u32, u32)> {
    let (stored, width, memarg) = match operator {
        Operator::I32Store8 { memarg } => (Loaded::I8, 1, memarg),
        Operator::I32Store16 { memarg } => (Loaded::I16, 2, memarg),
        Operator::I32Store { memarg } => (Loaded::I32, 4, memarg),
        Operator::I64Store { memarg } => (Loaded::I64, 8, memarg),
        Operator::F32Store { memarg } => (Loaded::F32, 4, memarg),
        Operator::F64Store { memarg } => (Loaded::F64, 8, memarg),
        _ => return None,
    };
    (stored == loaded).then_some((width, memory(memarg)?))
}

fn memory(memarg: &MemArg) -> Option<u32> {
    (memarg.offset == 0).then_some(memarg.memory)
}

/// LEB128
fn write_u32(bytes: &mut Vec<u8>, value: usize) -> Option<()> {
    let mut rest = u32::try_from(value).ok()?;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    Some(())
}

#[cfg(test)]
mod tests {
    use wasmtime_environ::wasmparser::{Operator, Parser, Payload, Validator, WasmFeatures};

    use super::with_copies;

    /// A module of two functions; the second one has a loop with this load, this store, and these steps.
    fn module(load: &str, store: &str, (from, to): (u32, u32)) -> Vec<u8> {
        let text = format!(
            r#"(module (memory 1) (memory 1)
                (func $first (result i32) (i32.const 7))
                (func $copy (export "f") (param $from i32) (param $to i32) (param $count i32)
                    (block
                        local.get $count i32.eqz br_if 0
                        loop
                            local.get $to local.get $from {load} {store}
                            local.get $from i32.const {from} i32.add local.set $from
                            local.get $to i32.const {to} i32.add local.set $to
                            local.get $count i32.const -1 i32.add local.tee $count br_if 0
                        end)))"#
        );
        wat::parse_str(text).expect("a module")
    }

    fn count(wasm: &[u8], is: impl Fn(&Operator<'_>) -> bool) -> usize {
        let features = WasmFeatures::default() | WasmFeatures::MULTI_MEMORY;
        let mut validator = Validator::new_with_features(features);
        validator.validate_all(wasm).expect("it is valid");
        let mut found = 0;
        for payload in Parser::new(0).parse_all(wasm) {
            if let Payload::CodeSectionEntry(body) = payload.expect("a section") {
                let operators = body.get_operators_reader().expect("a body");
                found += operators
                    .into_iter()
                    .filter(|operator| is(operator.as_ref().expect("an operator")))
                    .count();
            }
        }
        found
    }

    #[test]
    fn a_loop_that_copies_becomes_a_copy() {
        for (load, store, width) in [
            ("i32.load8_u", "i32.store8 1", 1),
            ("i32.load8_s 1", "i32.store8", 1),
            ("i32.load16_u", "i32.store16 1", 2),
            ("i32.load 1", "i32.store 1", 4),
            ("i64.load", "i64.store 1", 8),
            ("f32.load", "f32.store 1", 4),
            ("f64.load 1", "f64.store", 8),
        ] {
            let copied = with_copies(&module(load, store, (width, width))).expect("a copy");
            assert_eq!(count(&copied, |of| matches!(of, Operator::Loop { .. })), 0);
            let copies = |of: &Operator<'_>| {
                let from = u32::from(load.ends_with(" 1"));
                let to = u32::from(store.ends_with(" 1"));
                matches!(of, Operator::MemoryCopy { dst_mem, src_mem } if (*dst_mem, *src_mem) == (to, from))
            };
            assert_eq!(count(&copied, copies), 1, "{load} {store}");
        }
    }

    #[test]
    fn another_loop_stays() {
        for (load, store, steps) in [
            ("i32.load8_u", "i32.store8 1", (1, 2)),
            ("i32.load8_u", "i32.store8 1", (2, 2)),
            ("i32.load8_u", "i32.store16 1", (1, 1)),
            ("i32.load8_u offset=1", "i32.store8 1", (1, 1)),
            ("i32.load8_u", "i32.store8 1 offset=1", (1, 1)),
            ("i32.load8_u i32.const 1 i32.and", "i32.store8 1", (1, 1)),
            ("i32.load", "i32.store8", (1, 1)),
        ] {
            assert!(
                with_copies(&module(load, store, steps)).is_none(),
                "{load} {store}"
            );
        }
        assert!(with_copies(b"\0asm\x01\0\0\0").is_none());
        assert!(with_copies(b"\0asm\x01\0\0\0\x0a\xff").is_none());
    }
}
