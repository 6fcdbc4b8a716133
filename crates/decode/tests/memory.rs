//! What a module with very many small items takes while it is decoded, in bytes for each byte of it.
//!
//! Most of what imports take is the validator's own, and gone afterwards. Of types the most at one time is the validator's
//! or ours, not both. What stays of distinct types is all there is of them: instances and stores keep no lists of their own.

use peak_alloc::PeakAlloc;
use tiered_decode::{Config, Module};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

fn leb(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn section(id: u8, contents: &[u8], module: &mut Vec<u8>) {
    module.push(id);
    leb(contents.len(), module);
    module.extend_from_slice(contents);
}

/// A section's contents: items that `item` writes.
fn items(count: usize, mut item: impl FnMut(usize, &mut Vec<u8>)) -> Vec<u8> {
    let mut contents = Vec::new();
    leb(count, &mut contents);
    (0..count).for_each(|index| item(index, &mut contents));
    contents
}

fn name(index: usize, out: &mut Vec<u8>) {
    let name = format!("{index:x}");
    leb(name.len(), out);
    out.extend_from_slice(name.as_bytes());
}

/// A function type without results, of ten parameters that spell `index`.
fn function_type(index: usize, out: &mut Vec<u8>) {
    out.extend([0x60, 10]);
    out.extend((0..10).map(|digit| 0x7c + (index >> (2 * digit) & 3) as u8));
    out.push(0);
}

fn module(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    for (id, contents) in sections {
        section(*id, contents, &mut module);
    }
    module
}

/// The peak while a module is decoded, and what it keeps, in bytes for each of its own.
fn cost(what: &str, bytes: Vec<u8>) -> (usize, usize) {
    let length = bytes.len();
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let config = Config {
        threads: Some(1),
        ..Config::default()
    };
    let module = Module::with_config(bytes, &config).expect("it is valid");
    module.names();
    let (peak, kept) = (ALLOCATED.peak_usage(), ALLOCATED.current_usage());
    drop(module);
    let (peak, kept) = ((peak - before) / length, (kept - before) / length);
    println!("{what}: {length} bytes, peak {peak} times as much, kept {kept} times");
    (peak, kept)
}

/// The only test here: the peak is that of the process.
#[test]
fn many_items_take_memory_in_proportion() {
    const COUNT: usize = 100_000;
    let plain = || (1, items(1, |_, out| out.extend([0x60, 0, 0])));
    let funcs = |count| (3, items(count, |_, out| out.push(0)));
    let bodies = |count| (10, items(count, |_, out| out.extend([2, 0, 0x0b])));
    let offset = [0, 0x41, 0, 0x0b, 0];
    let cases = [
        (
            "equal types",
            module(&[(1, items(COUNT, |_, out| out.extend([0x60, 0, 0])))]),
            5,
        ),
        (
            "a few types",
            module(&[(
                1,
                items(COUNT, |index, out| function_type(index % 1000, out)),
            )]),
            3,
        ),
        (
            "distinct types",
            module(&[(1, items(COUNT, function_type))]),
            28,
        ),
        (
            "types in pairs",
            module(&[(1, items(COUNT, |index, out| function_type(index / 2, out)))]),
            28,
        ),
        (
            "imports",
            module(&[
                plain(),
                (
                    2,
                    items(COUNT, |index, out| {
                        out.extend([1, b'm']);
                        name(index, out);
                        out.extend([0, 0]);
                    }),
                ),
            ]),
            48,
        ),
        (
            "exports",
            module(&[
                plain(),
                funcs(1),
                (
                    7,
                    items(COUNT, |index, out| {
                        name(index, out);
                        out.extend([0, 0]);
                    }),
                ),
                bodies(1),
            ]),
            22,
        ),
        (
            "globals",
            module(&[(
                6,
                items(COUNT, |_, out| out.extend([0x7f, 0, 0x41, 0, 0x0b])),
            )]),
            9,
        ),
        (
            "functions",
            module(&[plain(), funcs(COUNT), bodies(COUNT)]),
            6,
        ),
        (
            "data segments",
            module(&[
                (5, vec![1, 0, 1]),
                (11, items(COUNT, |_, out| out.extend(offset))),
            ]),
            12,
        ),
        (
            "element segments",
            module(&[
                (4, vec![1, 0x70, 0, 1]),
                (9, items(COUNT, |_, out| out.extend(offset))),
            ]),
            16,
        ),
        (
            "elements",
            module(&[(
                9,
                items(COUNT, |_, out| out.extend([5, 0x70, 1, 0xd0, 0x70, 0x0b])),
            )]),
            19,
        ),
    ];
    let mut too_much = Vec::new();
    for (what, bytes, most) in cases {
        let (peak, _) = cost(what, bytes);
        too_much.extend((peak > most).then_some((what, peak)));
    }
    assert!(too_much.is_empty(), "{too_much:?}");
    let mut custom = module(&[]);
    for _ in 0..COUNT {
        section(0, b"\x01a", &mut custom);
    }
    assert!(cost("custom sections", custom).0 <= 12);
    let mut names = b"\x04name".to_vec();
    section(
        1,
        &items(COUNT, |index, out| {
            leb(index, out);
            name(index, out);
        }),
        &mut names,
    );
    assert!(
        cost(
            "names",
            module(&[plain(), funcs(COUNT), bodies(COUNT), (0, names)])
        )
        .0 <= 8
    );
}
