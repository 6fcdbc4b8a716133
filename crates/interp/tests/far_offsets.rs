//! An access that may lead farther than what is reserved for a memory has a cell more, which bounds its address also where
//! the processor runs ahead; others, which come to inaccessible pages at worst, have none.
//!
//! What the accesses do is tested by the grid.

use std::sync::Arc;

use tiered_interp::Interpreter;
use tiered_interp::runtime::GUARD_BYTES;
use tiered_interp::runtime::code::Tier;
use tiered_interp::runtime::decode::Module;
use tiered_interp::runtime::decode::index::FuncIdx;
use tiered_interp::runtime::module_code::ModuleCode;

/// The words of bytecode that the access of a body becomes.
fn words(body: &str, access: &str) -> usize {
    let text = format!("(module (memory 1) (func (param i32) {body}))");
    let module = Module::new(text.into_bytes()).expect("it is valid");
    let tier: Arc<dyn Tier> = Interpreter::tier();
    let code = ModuleCode::new(&tier, &Arc::new(module));
    let listing = tiered_interp::dump(&code, FuncIdx(0)).expect("it has a body");
    let line = listing.lines().find(|line| line.contains(access));
    let line = line.unwrap_or_else(|| panic!("{access} is not in {listing}"));
    let words = line.rsplit_once('}').expect("it has an offset").1;
    // The first word has its place in front of it, the second one is shown as three fields.
    let fields = words
        .split_ascii_whitespace()
        .filter(|word| word.contains("b="));
    words.split_ascii_whitespace().count() - 1 - 2 * fields.count()
}

#[test]
fn far_accesses_have_a_cell_more() {
    let load = |address: &str, offset: usize| {
        words(
            &format!("(drop (i64.load offset={offset} ({address})))"),
            "I64Load",
        )
    };
    let store = |address: &str, offset: usize| {
        let body = format!(
            "(i32.store16 offset={offset} ({address}) (i32.add (local.get 0) (local.get 0)))"
        );
        words(&body, "I32Store16")
    };
    let near = load("local.get 0", 0);
    assert_eq!(near, 2);
    assert_eq!(load("local.get 0", GUARD_BYTES - 8), near);
    assert!(load("local.get 0", GUARD_BYTES - 7) >= near + 2);
    assert!(load("local.get 0", u32::MAX as usize) >= near + 2);
    assert_eq!(
        store("local.get 0", GUARD_BYTES - 2),
        store("local.get 0", 0)
    );
    assert!(store("local.get 0", GUARD_BYTES - 1) >= store("local.get 0", 0) + 2);
    // A constant address and its offset are known: they lead somewhere below 4 GiB, or they don't.
    assert_eq!(load("i32.const 1", u32::MAX as usize - 1), near);
    assert!(load("i32.const 2", u32::MAX as usize - 1) >= near + 2);
    assert!(store("i32.const -1", 1) >= store("i32.const -1", 0) + 2);
}
