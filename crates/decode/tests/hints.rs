//! Branch hints: read where they are as the proposal has them, and ignored otherwise.

use tiered_decode::Module;
use tiered_decode::index::FuncIdx;
use tiered_decode::module::FuncBody;

const NAME: &[u8] = b"metadata.code.branch_hint";

/// Where the body has ops of that byte, in the module.
fn places(body: FuncBody<'_>, opcode: u8) -> Vec<u32> {
    let ops = body.ops().into_iter_with_offsets();
    let offsets = ops.map(|op| op.unwrap().1 as usize - body.offset());
    let offsets = offsets.filter(|&offset| body.bytes()[offset] == opcode);
    offsets
        .map(|offset| (offset + body.offset()) as u32)
        .collect()
}

#[test]
fn hints_are_found_at_the_offsets_of_bodies() {
    let module = Module::new(
        r#"(module (import "m" "f" (func)) (func)
            (func (param i32) (local i64 f32)
                (block (@metadata.code.branch_hint "\01") (br_if 0 (local.get 0)))
                (block (br_if 0 (local.get 0)))
                (@metadata.code.branch_hint "\00") (if (local.get 0) (then)))
            (func (param i32)
                (@metadata.code.branch_hint "\00") (if (local.get 0) (then)))
            (func (param i32) (if (local.get 0) (then))))"#,
    )
    .unwrap();
    let hints = |func, opcode| {
        let func = FuncIdx(func);
        let places = places(module.body(func).unwrap(), opcode);
        let hints = module.branch_hints(func);
        places
            .into_iter()
            .map(|at| hints.is_likely(at))
            .collect::<Vec<_>>()
    };
    let (br_if, r#if) = (0x0d, 0x04);
    assert_eq!(hints(2, br_if), [Some(true), None]);
    assert_eq!(hints(2, r#if), [Some(false)]);
    assert_eq!(hints(3, r#if), [Some(false)]);
    assert_eq!(hints(4, r#if), [None]);
    for func in [0, 1, 9] {
        assert_eq!(module.branch_hints(FuncIdx(func)).is_likely(40), None);
    }
}

fn leb(mut value: u32, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn section(id: u8, contents: &[u8]) -> Vec<u8> {
    let mut section = vec![id];
    leb(contents.len() as u32, &mut section);
    section.extend_from_slice(contents);
    section
}

fn custom(contents: &[u8]) -> Vec<u8> {
    section(0, &[&[NAME.len() as u8], NAME, contents].concat())
}

/// A module of an imported function and two with an `if` each at the offset 3 of their bodies, of eight bytes.
fn module(before: &[u8], behind: &[u8]) -> Module {
    let body = [7, 0, 0x41, 0, 0x04, 0x40, 0x0b, 0x0b];
    let sections = [
        section(1, &[1, 0x60, 0, 0]),
        section(2, &[1, 1, b'm', 1, b'f', 0, 0]),
        section(3, &[2, 0, 0]),
        before.to_vec(),
        section(10, &[&[2][..], &body, &body].concat()),
        behind.to_vec(),
    ];
    Module::new([b"\0asm\x01\0\0\0".to_vec(), sections.concat()].concat()).unwrap()
}

/// What is said of the `if`s of both functions.
fn said(module: &Module) -> [Option<bool>; 2] {
    [1, 2].map(|func| {
        let body = module.body(FuncIdx(func)).unwrap();
        let at = body.offset() as u32 + 3;
        assert_eq!(module.bytes()[at as usize], 0x04);
        module.branch_hints(FuncIdx(func)).is_likely(at)
    })
}

#[test]
fn what_is_not_as_the_proposal_has_it_is_ignored() {
    let good = custom(&[2, 1, 1, 3, 1, 1, 2, 1, 3, 1, 0]);
    assert_eq!(said(&module(&good, &[])), [Some(true), Some(false)]);
    let bad: &[&[u8]] = &[
        // No count; fewer than there should be; more.
        &[],
        &[2, 1, 1, 3, 1, 1],
        &[1, 1, 1, 3, 1, 1, 0],
        // Counts that nothing stands behind.
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f],
        // An import; no function; one twice; out of order.
        &[1, 0, 1, 3, 1, 1],
        &[1, 3, 1, 3, 1, 1],
        &[2, 1, 1, 3, 1, 1, 1, 1, 3, 1, 0],
        &[2, 2, 1, 3, 1, 1, 1, 1, 3, 1, 0],
        // A place twice; out of order; behind the body; far behind it.
        &[1, 1, 2, 3, 1, 1, 3, 1, 0],
        &[1, 1, 2, 3, 1, 1, 2, 1, 1],
        &[1, 1, 2, 3, 1, 1, 7, 1, 1],
        &[1, 1, 2, 3, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 1],
        // A hint of two bytes; one that is neither.
        &[1, 1, 1, 3, 2, 1, 1],
        &[1, 1, 1, 3, 1, 2],
    ];
    for contents in bad {
        let module = module(&custom(contents), &[]);
        assert_eq!(said(&module), [None, None], "{contents:?}");
    }
    let twice = [&good[..], &good].concat();
    assert_eq!(said(&module(&twice, &[])), [None, None]);
    assert_eq!(said(&module(&[], &good)), [None, None]);
}

#[test]
fn many_hints() {
    const COUNT: u32 = 100_000;
    // Each `nop` has one.
    let mut contents = vec![1, 0];
    leb(COUNT, &mut contents);
    for at in 0..COUNT {
        leb(1 + at, &mut contents);
        contents.extend([1, (at % 2) as u8]);
    }
    let mut body = vec![0];
    body.extend(vec![0x01; COUNT as usize]);
    body.push(0x0b);
    let mut code = vec![1];
    leb(body.len() as u32, &mut code);
    code.extend_from_slice(&body);
    let sections = [
        section(1, &[1, 0x60, 0, 0]),
        section(3, &[1, 0]),
        custom(&contents),
        section(10, &code),
    ];
    let bytes = [b"\0asm\x01\0\0\0".to_vec(), sections.concat()].concat();
    let module = Module::new(bytes).unwrap();
    let start = module.body(FuncIdx(0)).unwrap().offset() as u32;
    let hints = module.branch_hints(FuncIdx(0));
    assert_eq!(hints.is_likely(start), None);
    for at in 0..COUNT {
        assert_eq!(hints.is_likely(start + 1 + at), Some(at % 2 == 1));
    }
    assert_eq!(hints.is_likely(start + 1 + COUNT), None);
    assert_eq!(hints.is_likely(0), None);
}
