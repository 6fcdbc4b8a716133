//! Recursion down to the end of the guest's stack: how deep it comes, and what its trap says.
//!
//! *Invariant:* where frames may start depends on the stack's size alone, not on how much of it was used before, nor on
//! how large the frames are that come first.

use std::fmt::Write;
use std::sync::Arc;

use tiered_interp::Interpreter;
use tiered_interp::runtime::decode::Module;
use tiered_interp::runtime::frame::HEADER_SLOTS;
use tiered_interp::runtime::{Caller, Instance, Limits, Linker, Store, Trap, TrapCode, Val};

/// `small` recurses with the smallest frames that there are, `large` with frames of `locals` slots more. The global
/// counts the calls.
fn text(locals: usize) -> String {
    let mut text = String::from(
        r#"(module
        (import "host" "through" (func $through))
        (global $depth (export "depth") (mut i32) (i32.const 0))
        (func $count (export "count") (result i32) (global.get $depth))
        (func $small (export "small")
            (global.set $depth (i32.add (global.get $depth) (i32.const 1))) (call $small))
        (func $down (export "down") (param $n i32) (result i32)
            (if (result i32) (local.get $n)
                (then (i32.add (i32.const 1) (call $down (i32.sub (local.get $n) (i32.const 1)))))
                (else (i32.const 0))))
        (func $once (export "once large") (call $large_once))
        (func (export "host at the end") (param $n i32)
            (if (local.get $n)
                (then (call 5 (i32.sub (local.get $n) (i32.const 1))))
                (else (call $through))))
        "#,
    );
    for (name, next) in [("large", "large"), ("large_once", "small")] {
        write!(
            text,
            "(func ${name} (export \"{name}\") (local {})
                (global.set $depth (i32.add (global.get $depth) (i32.const 1)))
                (local.set 0 (i64.const -1)) (local.set {} (i64.const -1))
                (call ${next}))",
            "i64 ".repeat(locals),
            locals - 1,
        )
        .expect("a string takes everything");
    }
    text.push(')');
    text
}

struct Guest {
    store: Store<()>,
    instance: Instance,
}

impl Guest {
    fn new(stack_bytes: usize, locals: usize) -> Guest {
        let module = Module::new(text(locals).into_bytes()).expect("it is valid");
        let limits = Limits {
            stack_bytes,
            ..Limits::default()
        };
        let mut store =
            Store::with_tier(Interpreter::tier(), limits, ()).expect("a store has a stack");
        let mut linker = Linker::new();
        linker
            .func("host", "through", |mut caller: Caller<'_, ()>| {
                let own = caller.instance().expect("the guest calls");
                let small = own.func(&caller, "small").expect("it is exported");
                small.call(&mut caller, &[]).map(|_| ())
            })
            .expect("a new name");
        let instance = linker
            .instantiate(&mut store, &Arc::new(module))
            .expect("it has its imports");
        Guest { store, instance }
    }

    fn call(&mut self, name: &str, args: &[Val]) -> Result<Vec<Val>, Trap> {
        let func = self.instance.func(&self.store, name);
        func.expect("it is exported").call(&mut self.store, args)
    }

    /// The number of calls of an export that never ends, and what it ends with.
    fn depth(&mut self, name: &str, args: &[Val]) -> (usize, Trap) {
        let count = |guest: &Guest| {
            let depth = guest.instance.global(&guest.store, "depth");
            depth.expect("it is exported").get(&guest.store).i32()
        };
        let before = count(self).expect("an integer");
        let trap = self.call(name, args).expect_err("it never ends");
        assert_eq!(trap.code(), Some(TrapCode::StackOverflow), "{name}");
        let after = count(self).expect("an integer");
        ((after - before) as usize, trap)
    }
}

fn names(trap: &Trap) -> Vec<&str> {
    let frames = trap.frames().iter();
    frames
        .map(|frame| frame.func_name().unwrap_or_default())
        .collect()
}

/// Frames that a back trace may walk over.
const MOST_WALKED: usize = 1 << 18;

/// How many frames are kept of `depth`: all, the innermost and the outermost, or the innermost alone.
fn kept(depth: usize) -> usize {
    match depth {
        0..=64 => depth,
        65..=MOST_WALKED => 64,
        _ => 48,
    }
}

/// How many frames of `frame` slots may start in a stack of `slots`.
fn frames(slots: usize, frame: usize) -> usize {
    slots / frame + 1
}

const HEADER: usize = HEADER_SLOTS as usize;

#[test]
fn recursion_comes_to_the_same_depth_each_time() {
    for bytes in [0, 8, 4096, 60_000, 64 << 10, 1 << 20, 16 << 20] {
        let mut guest = Guest::new(bytes, 300);
        let slots = bytes / 8;
        for turn in 0..3 {
            let (small, trap) = guest.depth("small", &[]);
            assert_eq!(small, frames(slots, HEADER), "{bytes}, turn {turn}");
            let expected = vec!["small"; kept(small)];
            let left_out = trap.frames_left_out() as usize;
            if small <= MOST_WALKED {
                assert_eq!(left_out, small - kept(small), "{bytes}, turn {turn}");
            } else {
                assert!((MOST_WALKED - 48..small).contains(&left_out), "{left_out}");
                assert!(trap.backtrace().to_string().contains("… at least "));
            }
            assert_eq!(names(&trap), expected, "{bytes}, turn {turn}");
            let (large, trap) = guest.depth("large", &[]);
            assert_eq!(large, frames(slots, HEADER + 300), "{bytes}, turn {turn}");
            assert_eq!(names(&trap), vec!["large"; kept(large)], "{bytes}");
            let fine = guest.call("count", &[]).expect("the store can be used");
            assert!(fine[0].i32() > Some(0));
        }
    }
}

/// The trap is at the call, whose byte every frame of the trace has.
#[test]
fn the_trap_is_at_the_call() {
    for bytes in [4096, 16 << 20] {
        let mut guest = Guest::new(bytes, 300);
        let (_, trap) = guest.depth("small", &[]);
        let module = guest.instance.module(&guest.store);
        let offsets: Vec<_> = trap
            .frames()
            .iter()
            .map(|frame| frame.module_offset)
            .collect();
        let offset = offsets[0].expect("it is known");
        assert!(
            offsets.iter().all(|found| *found == Some(offset)),
            "{offsets:?}"
        );
        const CALL: u8 = 0x10;
        assert_eq!(module.bytes()[offset as usize], CALL);
    }
}

/// A large frame first, then small ones; and the other way around.
#[test]
fn large_frames_count_by_their_size() {
    for locals in [100, 252, 253, 254, 260, 1000, 20_000] {
        let bytes = 1 << 20;
        let mut guest = Guest::new(bytes, locals);
        let (all, trap) = guest.depth("once large", &[]);
        let under = HEADER + HEADER + locals;
        assert_eq!(all, 1 + frames(bytes / 8 - under, HEADER), "{locals}");
        let names = names(&trap);
        assert_eq!((names.len(), names.last()), (64, Some(&"once")));
        assert_eq!(names[..48], ["small"; 48]);
        let (large, _) = guest.depth("large", &[]);
        assert_eq!(large, frames(bytes / 8, HEADER + locals), "{locals}");
        let (small, _) = guest.depth("small", &[]);
        assert_eq!(small, frames(bytes / 8, HEADER), "{locals}");
    }
}

/// Recursion that ends in time, at each depth around the borders of the parts that a stack may have.
#[test]
fn recursion_that_fits_does_not_trap() {
    let bytes: usize = 1 << 20;
    // A frame of `down`: a parameter, the header, and an operand under the call's argument.
    let most = frames(bytes / 8, 1 + HEADER + 1) as i32 - 1;
    let mut guest = Guest::new(bytes, 300);
    for depth in (0..most).step_by(997).chain(most - 3..=most) {
        let found = guest.call("down", &[Val::I32(depth)]);
        assert_eq!(found.expect("it fits"), [Val::I32(depth)]);
    }
    for depth in [most + 1, most + 2, i32::MAX] {
        let trap = guest
            .call("down", &[Val::I32(depth)])
            .expect_err("one too many");
        assert_eq!(trap.code(), Some(TrapCode::StackOverflow), "{depth}");
        let found = guest.call("down", &[Val::I32(most)]);
        assert_eq!(found.expect("it still fits"), [Val::I32(most)]);
    }
}

/// The host calls the guest again, far up the stack: what is left is as much as is above the host's caller.
#[test]
fn what_the_host_calls_has_the_rest_of_the_stack() {
    let bytes = 1 << 20;
    let mut guest = Guest::new(bytes, 300);
    let frame = HEADER + 1;
    let most = frames(bytes / 8, frame);
    for depth in [0, 100, most - 2] {
        let (small, trap) = guest.depth("host at the end", &[Val::I32(depth as i32)]);
        // The frame of `through` begins where that of its caller has its operands.
        let free = (depth + 1) * frame;
        assert_eq!(small, frames(bytes / 8 - free, HEADER), "{depth}");
        let names = names(&trap);
        assert_eq!(names.len(), (small + depth + 1).min(64), "{depth}");
        assert_eq!(names[0], "small");
    }
}
