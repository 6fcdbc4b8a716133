//! Hinted branches: the unlikely side is out of the way.

use super::*;

/// The blocks that are cold, by the constant of type `i32` that each of them, or of the others, has.
fn constants(text: &str, metered: bool) -> (Vec<i64>, Vec<i64>) {
    let module = module(text);
    let (func, _) = compile(&module, 0, Entry::Start, metered);
    let (mut cold, mut others) = (Vec::new(), Vec::new());
    for block in func.layout.blocks() {
        let into = if func.layout.is_cold(block) {
            &mut cold
        } else {
            &mut others
        };
        for inst in func.layout.block_insts(block) {
            if let InstructionData::UnaryImm { imm, .. } = func.dfg.insts[inst]
                && (100..200).contains(&imm.bits())
            {
                into.push(imm.bits());
            }
        }
    }
    (cold, others)
}

/// A body of that text with `HINT` before one of its branches; the constants of its blocks are 100 and more.
fn check(body: &str, hint: &str, expected_cold: &[i64]) {
    let hint = match hint {
        "" => String::new(),
        hint => format!(r#"(@metadata.code.branch_hint "\{hint}")"#),
    };
    let text = format!(
        "(module (global (mut i32) (i32.const 0)) (func (param i32) {}))",
        body.replace("HINT", &hint)
    );
    for metered in [false, true] {
        let (cold, others) = constants(&text, metered);
        assert_eq!(cold, expected_cold, "{text}");
        assert!(!others.is_empty(), "{text}");
        assert!(others.iter().all(|it| !cold.contains(it)), "{text}");
    }
}

#[test]
fn the_unlikely_arm_of_an_if_is_cold() {
    let arms = "HINT (if (local.get 0)
            (then (global.set 0 (i32.const 101))) (else (global.set 0 (i32.const 102))))
        (global.set 0 (i32.const 103))";
    check(arms, "", &[]);
    check(arms, "00", &[101]);
    check(arms, "01", &[102]);
    let one = "HINT (if (local.get 0) (then (global.set 0 (i32.const 101))))
        (global.set 0 (i32.const 103))";
    check(one, "", &[]);
    check(one, "00", &[101]);
    // What comes behind is not unlikely.
    check(one, "01", &[]);
    let leaves = "HINT (if (local.get 0) (then (global.set 0 (i32.const 101)) (return)))
        (global.set 0 (i32.const 103))";
    check(leaves, "00", &[101]);
    check(leaves, "01", &[103]);
    let results = "HINT (if (result i32) (local.get 0)
            (then (global.set 0 (i32.const 101)) (i32.const 1))
            (else (global.set 0 (i32.const 102)) (i32.const 2)))
        (global.set 0) (global.set 0 (i32.const 103))";
    check(results, "00", &[101]);
    check(results, "01", &[102]);
}

#[test]
fn where_an_unlikely_branch_leads_is_cold() {
    let fails = "(block
            HINT (br_if 0 (local.get 0))
            (global.set 0 (i32.const 101)) (return))
        (global.set 0 (i32.const 102))";
    check(fails, "", &[]);
    check(fails, "00", &[102]);
    check(fails, "01", &[101]);
    // It goes on there otherwise, too.
    let joins = "(block
            HINT (br_if 0 (local.get 0))
            (global.set 0 (i32.const 101)))
        (global.set 0 (i32.const 102))";
    check(joins, "00", &[]);
    check(joins, "01", &[101]);
    let two = "(block
            HINT (br_if 0 (local.get 0))
            (br_if 0 (global.get 0))
            (global.set 0 (i32.const 101)) (return))
        (global.set 0 (i32.const 102))";
    check(two, "00", &[]);
    let table = "(block
            HINT (br_if 0 (local.get 0))
            (block (br_table 0 1 (global.get 0)))
            (global.set 0 (i32.const 101)) (return))
        (global.set 0 (i32.const 102))";
    check(table, "00", &[]);
    // A loop's header is never cold.
    let again = "(loop (global.set 0 (i32.const 101)) HINT (br_if 0 (local.get 0)))
        (global.set 0 (i32.const 102))";
    check(again, "00", &[]);
    check(again, "01", &[102]);
}
