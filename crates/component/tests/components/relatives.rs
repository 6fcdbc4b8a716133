//! Calls between an instance of a component and those that it has made, in both directions and in cycles.

use tiered::Config;
use tiered_component::Val;

use crate::guest::{LIBC, instance};
use crate::modes::in_all_modes;

in_all_modes! {
    a_component_calls_one_that_it_has_made,
    a_component_is_called_by_one_that_it_has_made,
    calls_go_back_and_forth,
    a_component_calls_itself,
    calls_pass_over_generations,
    strings_between_relatives,
    resources_between_relatives,
    relatives_beside_strangers,
    a_component_inside_is_named_from_farther_inside,
    what_a_flag_forbids_is_forbidden_to_relatives,
}

/// Calls `run` of a component with a number.
fn run(config: &Config, text: &str, arg: u32) -> Result<u32, String> {
    let (mut store, instance) = instance(config, text);
    let run = instance.func("", "run").expect("it is exported");
    let run = run.typed::<(u32,), u32>().expect("of this type");
    run.call(&mut store, &(arg,))
        .map_err(|error| error.to_string())
}

fn a_component_calls_one_that_it_has_made(config: &Config) {
    let text = r#"(component
        (component $inner
            (core module $m (func (export "add") (param i32) (result i32) (i32.add (local.get 0) (i32.const 10))))
            (core instance $i (instantiate $m))
            (func (export "add") (param "x" u32) (result u32) (canon lift (core func $i "add"))))
        (instance $inner (instantiate $inner))
        (core func $add (canon lower (func $inner "add")))
        (core module $m
            (import "" "add" (func $add (param i32) (result i32)))
            (func (export "run") (param i32) (result i32) (i32.mul (call $add (local.get 0)) (i32.const 2))))
        (core instance $i (instantiate $m (with "" (instance (export "add" (func $add))))))
        (func (export "run") (param "x" u32) (result u32) (canon lift (core func $i "run"))))"#;
    assert_eq!(run(config, text, 5), Ok(30));
}

fn a_component_is_called_by_one_that_it_has_made(config: &Config) {
    let text = r#"(component
        (core module $m (func (export "add") (param i32) (result i32) (i32.add (local.get 0) (i32.const 10))))
        (core instance $i (instantiate $m))
        (func $add (param "x" u32) (result u32) (canon lift (core func $i "add")))
        (component $inner
            (import "add" (func $add (param "x" u32) (result u32)))
            (core func $lowered (canon lower (func $add)))
            (core module $m
                (import "" "add" (func $add (param i32) (result i32)))
                (func (export "run") (param i32) (result i32) (i32.mul (call $add (local.get 0)) (i32.const 3))))
            (core instance $i (instantiate $m (with "" (instance (export "add" (func $lowered))))))
            (func (export "run") (param "x" u32) (result u32) (canon lift (core func $i "run"))))
        (instance $inner (instantiate $inner (with "add" (func $add))))
        (export "run" (func $inner "run")))"#;
    assert_eq!(run(config, text, 5), Ok(45));
}

/// `run` of the outer component and `step` of the inner one call each other as often as the argument says, and `end` of that.
fn back_and_forth(body: &str) -> String {
    format!(
        r#"(component
            (core module $table
                (type $f (func (param i32) (result i32)))
                (table (export "t") 1 funcref)
                (func (export "run") (param i32) (result i32) {body}))
            (core instance $table (instantiate $table))
            (func $run (export "run") (param "x" u32) (result u32) (canon lift (core func $table "run")))
            (component $inner
                (import "run" (func $run (param "x" u32) (result u32)))
                (core func $lowered (canon lower (func $run)))
                (core module $m
                    (import "" "run" (func $run (param i32) (result i32)))
                    (func (export "step") (param i32) (result i32)
                        (i32.add (call $run (local.get 0)) (i32.const 1))))
                (core instance $i (instantiate $m (with "" (instance (export "run" (func $lowered))))))
                (func (export "step") (param "x" u32) (result u32) (canon lift (core func $i "step"))))
            (instance $inner (instantiate $inner (with "run" (func $run))))
            (core func $step (canon lower (func $inner "step")))
            (core module $fill
                (import "" "t" (table 1 funcref))
                (import "" "step" (func $step (param i32) (result i32)))
                (elem (i32.const 0) func $step))
            (core instance (instantiate $fill (with "" (instance
                (export "t" (table $table "t")) (export "step" (func $step)))))))"#
    )
}

fn calls_go_back_and_forth(config: &Config) {
    let text = back_and_forth(
        "(if (result i32) (i32.eqz (local.get 0)) (then (i32.const 1000))
            (else (call_indirect (type $f) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0))))",
    );
    for depth in [0, 1, 2, 200] {
        assert_eq!(run(config, &text, depth), Ok(1000 + depth));
    }
    // Without an end it is a stack overflow, as any recursion is.
    let text = back_and_forth("(call_indirect (type $f) (local.get 0) (i32.const 0))");
    let error = run(config, &text, 1).expect_err("it never ends");
    assert!(error.contains("stack"), "{error}");
}

fn a_component_calls_itself(config: &Config) {
    let text = r#"(component
        (core module $m (func (export "add") (param i32) (result i32) (i32.add (local.get 0) (i32.const 7))))
        (core instance $i (instantiate $m))
        (func $add (param "x" u32) (result u32) (canon lift (core func $i "add")))
        (core func $lowered (canon lower (func $add)))
        (core module $n
            (import "" "add" (func $add (param i32) (result i32)))
            (func (export "run") (param i32) (result i32) (call $add (call $add (local.get 0)))))
        (core instance $j (instantiate $n (with "" (instance (export "add" (func $lowered))))))
        (func (export "run") (param "x" u32) (result u32) (canon lift (core func $j "run"))))"#;
    assert_eq!(run(config, text, 5), Ok(19));
}

/// A component and one that is two levels inside.
fn calls_pass_over_generations(config: &Config) {
    let text = r#"(component
        (core module $m (func (export "add") (param i32) (result i32) (i32.add (local.get 0) (i32.const 10))))
        (core instance $i (instantiate $m))
        (func $add (param "x" u32) (result u32) (canon lift (core func $i "add")))
        (component $middle
            (import "add" (func $add (param "x" u32) (result u32)))
            (component $inner
                (import "add" (func $add (param "x" u32) (result u32)))
                (core func $lowered (canon lower (func $add)))
                (core module $m
                    (import "" "add" (func $add (param i32) (result i32)))
                    (func (export "run") (param i32) (result i32) (i32.mul (call $add (local.get 0)) (i32.const 3))))
                (core instance $i (instantiate $m (with "" (instance (export "add" (func $lowered))))))
                (func (export "run") (param "x" u32) (result u32) (canon lift (core func $i "run"))))
            (instance $inner (instantiate $inner (with "add" (func $add))))
            (export "run" (func $inner "run")))
        (instance $middle (instantiate $middle (with "add" (func $add))))
        (core func $inner (canon lower (func $middle "run")))
        (core module $n
            (import "" "run" (func $run (param i32) (result i32)))
            (func (export "run") (param i32) (result i32) (i32.sub (call $run (local.get 0)) (i32.const 1))))
        (core instance $j (instantiate $n (with "" (instance (export "run" (func $inner))))))
        (func (export "run") (param "x" u32) (result u32) (canon lift (core func $j "run"))))"#;
    assert_eq!(run(config, text, 5), Ok(44));
}

/// `run` of a component gives its string to `echo` of one inside, which gives it to `shout` of the outer one.
fn strings(inner: &str, outer: &str) -> String {
    let options = |encoding: &str| {
        format!(
            r#"(memory (core memory $libc "memory")) (realloc (core func $libc "realloc")) string-encoding={encoding}"#
        )
    };
    let (inner, outer) = (options(inner), options(outer));
    format!(
        r#"(component {LIBC}
            (core module $shout
                (import "libc" "memory" (memory 1))
                (func (export "shout") (param i32 i32) (result i32)
                    (i32.store (i32.const 24) (local.get 0))
                    (i32.store (i32.const 28) (local.get 1))
                    (i32.const 24)))
            (core instance $shout (instantiate $shout (with "libc" (instance $libc))))
            (func $shout (param "s" string) (result string) (canon lift (core func $shout "shout") {outer}))
            (component $inner
                (import "shout" (func $shout (param "s" string) (result string)))
                {LIBC}
                (core func $lowered (canon lower (func $shout) {inner}))
                (core module $m
                    (import "" "shout" (func $shout (param i32 i32 i32)))
                    (func (export "echo") (param i32 i32) (result i32)
                        (call $shout (local.get 0) (local.get 1) (i32.const 8))
                        (i32.const 8)))
                (core instance $i (instantiate $m (with "" (instance (export "shout" (func $lowered))))))
                (func (export "echo") (param "s" string) (result string) (canon lift (core func $i "echo") {inner})))
            (instance $inner (instantiate $inner (with "shout" (func $shout))))
            (core func $echo (canon lower (func $inner "echo") {outer}))
            (core module $m
                (import "" "echo" (func $echo (param i32 i32 i32)))
                (func (export "run") (param i32 i32) (result i32)
                    (call $echo (local.get 0) (local.get 1) (i32.const 16))
                    (i32.const 16)))
            (core instance $i (instantiate $m (with "" (instance (export "echo" (func $echo))))))
            (func (export "run") (param "s" string) (result string) (canon lift (core func $i "run") {outer})))"#
    )
}

fn strings_between_relatives(config: &Config) {
    for (inner, outer) in [
        ("utf8", "utf8"),
        ("utf8", "utf16"),
        ("latin1+utf16", "utf8"),
        ("utf16", "latin1+utf16"),
    ] {
        let (mut store, instance) = instance(config, &strings(inner, outer));
        let run = instance.func("", "run").expect("it is exported");
        let run = run.typed::<(&str,), String>().expect("of this type");
        for text in ["", "caf\u{e9}", "\u{1f980} and \u{3bb}", "plain"] {
            let back = run.call(&mut store, &(text,)).expect("no trap");
            assert_eq!(back, text, "{inner} in {outer}");
        }
    }
}

/// The outer component defines a resource, makes one, lends it to the one inside, and gives it away; the destructor of the
/// outer one is called while it runs.
fn resources_between_relatives(config: &Config) {
    let text = r#"(component
        (core module $drops
            (global $dropped (export "dropped") (mut i32) (i32.const 0))
            (func (export "drop") (param i32) (global.set $dropped (local.get 0))))
        (core instance $drops (instantiate $drops))
        (type $r (resource (rep i32) (dtor (core func $drops "drop"))))
        (core func $new (canon resource.new $r))
        (core module $get (func (export "get") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1))))
        (core instance $get (instantiate $get))
        (func $get (param "r" (borrow $r)) (result u32) (canon lift (core func $get "get")))
        (component $inner
            (import "r" (type $r (sub resource)))
            (import "get" (func $get (param "r" (borrow $r)) (result u32)))
            (core func $drop (canon resource.drop $r))
            (core func $lowered (canon lower (func $get)))
            (core module $m
                (import "" "drop" (func $drop (param i32)))
                (import "" "get" (func $get (param i32) (result i32)))
                (func (export "look") (param i32) (result i32) (call $get (local.get 0)) (call $drop (local.get 0)))
                (func (export "take") (param i32) (call $drop (local.get 0))))
            (core instance $i (instantiate $m (with "" (instance
                (export "drop" (func $drop)) (export "get" (func $lowered))))))
            (func (export "look") (param "r" (borrow $r)) (result u32) (canon lift (core func $i "look")))
            (func (export "take") (param "r" (own $r)) (canon lift (core func $i "take"))))
        (instance $inner (instantiate $inner (with "r" (type $r)) (with "get" (func $get))))
        (core func $look (canon lower (func $inner "look")))
        (core func $take (canon lower (func $inner "take")))
        (core module $m
            (import "" "new" (func $new (param i32) (result i32)))
            (import "" "look" (func $look (param i32) (result i32)))
            (import "" "take" (func $take (param i32)))
            (import "" "dropped" (global $dropped (mut i32)))
            (func (export "run") (param i32) (result i32) (local $handle i32) (local $seen i32)
                (local.set $handle (call $new (local.get 0)))
                (local.set $seen (call $look (local.get $handle)))
                (if (global.get $dropped) (then (unreachable)))
                (call $take (local.get $handle))
                (i32.add (i32.mul (local.get $seen) (i32.const 1000)) (global.get $dropped))))
        (core instance $i (instantiate $m (with "" (instance
            (export "new" (func $new)) (export "look" (func $look)) (export "take" (func $take))
            (export "dropped" (global $drops "dropped"))))))
        (func (export "run") (param "x" u32) (result u32) (canon lift (core func $i "run"))))"#;
    assert_eq!(run(config, text, 5), Ok(6005));
}

/// One module of adapters has such calls and others, and an adapter is a part of another one.
fn relatives_beside_strangers(config: &Config) {
    let text = r#"(component
        (component $leaf
            (core module $m (func (export "f") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1))))
            (core instance $i (instantiate $m))
            (func (export "f") (param "x" u32) (result u32) (canon lift (core func $i "f"))))
        (component $user
            (import "f" (func $f (param "x" u32) (result u32)))
            (core func $f (canon lower (func $f)))
            (core module $m
                (import "" "f" (func $f (param i32) (result i32)))
                (func (export "g") (param i32) (result i32) (i32.mul (call $f (local.get 0)) (i32.const 2))))
            (core instance $i (instantiate $m (with "" (instance (export "f" (func $f))))))
            (func (export "g") (param "x" u32) (result u32) (canon lift (core func $i "g"))))
        (instance $a (instantiate $leaf))
        (instance $b (instantiate $user (with "f" (func $a "f"))))
        (core func $f (canon lower (func $a "f")))
        (core func $g (canon lower (func $b "g")))
        ;; What is lifted is an adapter.
        (func $again (param "x" u32) (result u32) (canon lift (core func $g)))
        (instance $c (instantiate $user (with "f" (func $again))))
        (core func $h (canon lower (func $c "g")))
        (core module $m
            (import "" "f" (func $f (param i32) (result i32)))
            (import "" "g" (func $g (param i32) (result i32)))
            (import "" "h" (func $h (param i32) (result i32)))
            (func (export "run") (param i32) (result i32)
                (i32.add (call $h (local.get 0)) (i32.add (call $f (local.get 0)) (call $g (local.get 0))))))
        (core instance $i (instantiate $m (with "" (instance
            (export "f" (func $f)) (export "g" (func $g)) (export "h" (func $h))))))
        (func (export "run") (param "x" u32) (result u32) (canon lift (core func $i "run"))))"#;
    assert_eq!(run(config, text, 5), Ok(24 + 6 + 12));
}

fn a_component_inside_is_named_from_farther_inside(config: &Config) {
    let text = r#"(component $root
        (core module $add (func (export "f") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1))))
        (component $leaf
            (alias outer $root $add (core module $add))
            (core instance $i (instantiate $add))
            (func (export "f") (param "x" u32) (result u32) (canon lift (core func $i "f"))))
        (component $middle
            (alias outer $root $leaf (component $leaf))
            (instance $leaf (instantiate $leaf))
            (core func $f (canon lower (func $leaf "f")))
            (core instance $bag (export "f" (func $f)))
            (alias core export $bag "f" (core func $g))
            (func $g (param "x" u32) (result u32) (canon lift (core func $g)))
            (instance $out (export "g" (func $g)))
            (export "out" (instance $out)))
        (instance $middle (instantiate $middle))
        (alias export $middle "out" (instance $out))
        (core func $g (canon lower (func $out "g")))
        (func (export "run") (param "x" u32) (result u32) (canon lift (core func $g))))"#;
    assert_eq!(run(config, text, 5), Ok(6));
}

/// A component may not call out while the canonical ABI has it allocate, one that it has made neither.
fn what_a_flag_forbids_is_forbidden_to_relatives(config: &Config) {
    let text = r#"(component
        (component $inner
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func (export "f") (canon lift (core func $i "f"))))
        (instance $inner (instantiate $inner))
        (core func $f (canon lower (func $inner "f")))
        (core module $m
            (import "" "f" (func $f))
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (call $f) (i32.const 64))
            (func (export "run") (param i32 i32) (result i32) (i32.const 1)))
        (core instance $i (instantiate $m (with "" (instance (export "f" (func $f))))))
        (func (export "run") (param "s" string) (result u32)
            (canon lift (core func $i "run") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"#;
    let (mut store, instance) = instance(config, text);
    let run = instance.func("", "run").expect("it is exported");
    let error = run.call(&mut store, &[Val::String("text".into())]);
    let error = error.expect_err("realloc calls out").to_string();
    assert!(error.contains("cannot leave component instance"), "{error}");
}
