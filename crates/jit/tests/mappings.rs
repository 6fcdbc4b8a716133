//! No page is ever writable and executable, and code is mapped once. This test has a process of its own, whose mappings
//! it looks at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tiered_jit::runtime::decode::Module;
use tiered_jit::runtime::decode::index::FuncIdx;
use tiered_jit::runtime::{Caller, Limits, Linker, Store};
use tiered_jit::{Config, Eager, Entry, Jit, is_compiled_code};

const TEXT: &str = r#"(module
    (import "host" "look" (func $look))
    (memory (export "memory") 1)
    (func (export "run") (param i32)
        (loop $l
            (call $look)
            (i32.store (local.get 0) (i32.load offset=4 (local.get 0)))
            (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"#;

/// A line of `/proc/self/maps`.
struct Mapping<'a> {
    start: usize,
    end: usize,
    permissions: &'a str,
    inode: &'a str,
    line: &'a str,
}

fn parse(line: &str) -> Mapping<'_> {
    let mut words = line.split_ascii_whitespace();
    let mut next = || words.next().expect("maps have five columns");
    let (range, permissions, _offset, _device, inode) = (next(), next(), next(), next(), next());
    let (start, end) = range.split_once('-').expect("a range");
    let address = |text| usize::from_str_radix(text, 16).expect("an address");
    Mapping {
        start: address(start),
        end: address(end),
        permissions,
        inode,
        line,
    }
}

/// Checks all mappings; whether there was code of ours.
fn look() -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("there is /proc");
    let mut has_code = false;
    for mapping in maps.lines().map(parse) {
        let (is_writable, is_executable) = (
            mapping.permissions.contains('w'),
            mapping.permissions.contains('x'),
        );
        assert!(!(is_writable && is_executable), "{}", mapping.line);
        if !is_executable {
            continue;
        }
        let mut places = (mapping.start..mapping.end).step_by(64);
        let is_ours = places.any(is_compiled_code);
        if is_ours {
            // Memory that is private and of no file can't be mapped anywhere else.
            assert_eq!(
                (mapping.permissions, mapping.inode),
                ("r-xp", "0"),
                "{}",
                mapping.line
            );
        } else {
            // The program and its libraries: not a file in memory alone, as it takes to map code twice.
            let is_file = mapping.line.contains(" /") && !mapping.line.contains("memfd");
            let is_kernels = mapping.line.ends_with(']');
            let is_room = mapping.permissions == "r-xp" && mapping.inode == "0";
            assert!(is_file || is_kernels || is_room, "{}", mapping.line);
        }
        has_code |= is_ours;
    }
    has_code
}

fn main() {
    assert!(!look());
    let module = Arc::new(Module::new(TEXT.as_bytes().to_vec()).expect("it is valid"));
    let jit = Jit::new(&Config::default()).expect("this machine can");
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Places code and gives it back all the time.
        scope.spawn(|| {
            let mut compiler = jit.compiler().expect("this machine can");
            while !is_done.load(Ordering::Relaxed) {
                let code = compiler.compile(&module, FuncIdx(1), Entry::Start, false);
                assert!(code.expect("it can be compiled").bytes() > 0);
            }
        });
        let mut store = Store::with_tier(Eager::tier(&jit), Limits::default(), 0).expect("room");
        let mut linker = Linker::new();
        let seen = |mut caller: Caller<'_, u32>| *caller.data_mut() += u32::from(look());
        linker.func("host", "look", seen).expect("its name is new");
        let instance = linker
            .instantiate(&mut store, &module)
            .expect("it has its imports");
        let run = instance.typed_func::<(i32,), ()>(&store, "run");
        let result = run.expect("it is exported").call(&mut store, (50,));
        is_done.store(true, Ordering::Relaxed);
        result.expect("it returns");
        assert_eq!(*store.data(), 50, "there was code each time");
    });
    println!("looked at all mappings 51 times");
}
