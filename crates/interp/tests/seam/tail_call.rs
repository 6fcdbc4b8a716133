//! Entries that end in a tail call of what another tier runs: whoever entered goes on there.

use std::ptr::NonNull;
use std::sync::Arc;

use tiered_interp::runtime::code::{EntryFn, FuncCode, FuncRecord, Outcome};
use tiered_interp::runtime::decode::index::{FuncIdx, TableIdx};
use tiered_interp::runtime::frame::{FrameLayout, Slot};
#[cfg(target_arch = "x86_64")]
use tiered_interp::runtime::trampoline::Trampoline;
use tiered_interp::runtime::vmctx::VmCtx;
use tiered_interp::runtime::{Caller, Instance, Limits, Linker, Store, Trap, TrapCode, Val};

use crate::probe::{Probe, call, call_i32, code as code_of, func, names, publish};

/// `hop(n, end)` ends in a tail call of `hop(n - 1, end)`, in an instance that `n` chooses; for 0 in one of the function
/// `end` of its own instance, with the argument 40. The tag tells two instances apart; what calls `hop` adds the tag
/// twice, by way of the memory and of a global.
const HOPS: &str = r#"(module
    (import "other" "hop" (func $other (param i32 i32) (result i32)))
    (import "host" "own" (func $own (param i32) (result i32)))
    (import "pair" "table" (table $pair 2 funcref))
    (table $t funcref (elem $hop))
    (global $tag (mut i32) (i32.const 0)) (memory (export "memory") 1)
    (func $hop (export "hop") (param $n i32) (param $end i32) (result i32) (unreachable))
    (func $interpreted (param $x i32) (result i32)
        (i32.add (local.get $x) (i32.load8_u (i32.const 0))))
    (func (export "init") (param i32) (result i32)
        (i32.store8 (i32.const 0) (local.get 0)) (global.set $tag (local.get 0))
        (table.set $pair (i32.sub (local.get 0) (i32.const 1)) (ref.func $hop))
        (local.get 0))
    (func $plain (export "call") (param $n i32) (param $end i32) (result i32)
        (i32.add
            (i32.mul (call $hop (local.get $n) (local.get $end)) (i32.const 100))
            (i32.add (i32.mul (i32.load8_u (i32.const 0)) (i32.const 10)) (global.get $tag))))
    (func (export "call an import") (param $n i32) (param $end i32) (result i32)
        (i32.add
            (i32.mul (call $other (local.get $n) (local.get $end)) (i32.const 100))
            (i32.add (i32.mul (i32.load8_u (i32.const 0)) (i32.const 10)) (global.get $tag))))
    (func (export "call through a table") (param $n i32) (param $end i32) (result i32)
        (i32.add
            (i32.mul (call_indirect $t (param i32 i32) (result i32) (local.get $n) (local.get $end) (i32.const 0))
                (i32.const 100))
            (i32.add (i32.mul (i32.load8_u (i32.const 0)) (i32.const 10)) (global.get $tag))))
    (func $loop (export "loop") (param $n i32) (param $end i32) (result i32) (local i64)
        (f64.const 1) (loop (br 0)) (unreachable))
    (func (export "call of a loop") (param $n i32) (param $end i32) (result i32)
        (i32.add
            (i32.mul (call $loop (local.get $n) (local.get $end)) (i32.const 100))
            (i32.add (i32.mul (i32.load8_u (i32.const 0)) (i32.const 10)) (global.get $tag))))
    (func (export "many calls") (param $n i32) (param $end i32) (result i32) (local $sum i32)
        (loop
            (local.set $sum (i32.add (local.get $sum) (call $hop (i32.const 1) (local.get $end))))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum))
    (func $bounce (export "bounce") (param $n i32) (param $end i32) (result i32)
        (loop (br 0)) (unreachable))
    (func $trap (param i32) (result i32) (unreachable)))"#;

/// Indices of functions.
const HOST: u32 = 1;
const HOP: u32 = 2;
const INTERPRETED: u32 = 3;
const LOOP: u32 = 8;
const BOUNCE: u32 = 11;
const TRAP: u32 = 12;

/// Ends in a tail call of the function at `index` of the instance.
unsafe fn tail_call(instance: NonNull<VmCtx>, index: u32) -> Outcome {
    // SAFETY: the instance is alive, and its functions are.
    unsafe {
        let vmctx = VmCtx::borrow(instance.as_ptr());
        let record = vmctx.func(FuncIdx(index)).as_ref();
        vmctx.store().caller.set(instance.as_ptr());
        vmctx
            .store()
            .set_tail_call(record.instance(), record.code());
    }
    Outcome::TailCall
}

/// `hop`.
///
/// # Safety
/// As for every [`EntryFn`], with the arguments of `hop`.
unsafe extern "C" fn hop(
    instance: NonNull<VmCtx>,
    _: NonNull<FuncCode>,
    frame: NonNull<Slot>,
) -> Outcome {
    // SAFETY: the frame has both arguments.
    unsafe {
        let n = frame.read();
        if n == 0 {
            let end = frame.add(1).read();
            frame.write(40);
            return tail_call(instance, end as u32);
        }
        frame.write(n - 1);
        let vmctx = VmCtx::borrow(instance.as_ptr());
        let pair = vmctx.table(TableIdx(0)).as_ref();
        let next = pair.get((n - 1) & 1).unwrap_or_default();
        let next = std::ptr::with_exposed_provenance::<FuncRecord>(next as usize);
        vmctx
            .store()
            .set_tail_call((*next).instance(), (*next).code());
        Outcome::TailCall
    }
}

/// Goes on in `hop` with the arguments of the function whose loop this is.
///
/// # Safety
/// As for every [`EntryFn`], with the frame of the loop of `loop`.
unsafe extern "C" fn hop_off_a_loop(
    instance: NonNull<VmCtx>,
    _: NonNull<FuncCode>,
    frame: NonNull<Slot>,
) -> Outcome {
    let one = FrameLayout::new(2, 3).operand(0);
    // SAFETY: the frame is that of the loop; the instance is alive.
    unsafe {
        if f64::from_bits(frame.add(one as usize).read()) != 1.0 {
            return tail_call(instance, HOST);
        }
        tail_call(instance, HOP)
    }
}

/// Ends in a tail call of the interpreted function whose loop this is, with a smaller argument; for 0 in `hop`.
///
/// # Safety
/// As for every [`EntryFn`], with the frame of the loop of `bounce`.
unsafe extern "C" fn bounce(
    instance: NonNull<VmCtx>,
    _: NonNull<FuncCode>,
    frame: NonNull<Slot>,
) -> Outcome {
    // SAFETY: the frame is that of the loop.
    unsafe {
        match frame.read() {
            0 => tail_call(instance, HOP),
            n => {
                frame.write(n - 1);
                tail_call(instance, BOUNCE)
            }
        }
    }
}

/// Two instances of the module, with the tags 1 and 2. The second one imports `hop` of the first one.
struct Hops {
    store: Store<u32>,
    instances: [Instance; 2],
}

/// What nested calls may use of the native stack: too little for a chain that is kept there.
const NATIVE_STACK: usize = 96 << 10;

impl Hops {
    fn new(probe: &Arc<Probe>) -> Hops {
        let code = code_of(HOPS, probe);
        let limits = Limits {
            native_stack_bytes: NATIVE_STACK,
            ..Limits::default()
        };
        let mut store = Store::with_tier(probe.as_tier(), limits, 0).expect("a store has a stack");
        let mut linker = Linker::new();
        linker.allow_shadowing(true);
        // Returns its argument, the tag of whoever calls it, and a thousand.
        linker
            .func("host", "own", |caller: Caller<'_, u32>, x: i32| {
                let tag = caller.memory().map_or(9, |memory| memory.data(&caller)[0]);
                x + i32::from(tag) + 1000
            })
            .expect("a new name");
        let nothing = |_: Caller<'_, u32>, _: i32, _: i32| 0;
        linker.func("other", "hop", nothing).expect("a new name");
        let pair = code_of(r#"(module (table (export "table") 2 funcref))"#, probe);
        let pair = linker.instantiate(&mut store, &pair).expect("it is alone");
        linker.instance(&store, "pair", pair).expect("a new name");
        let first = linker.instantiate(&mut store, &code).expect("it is linked");
        let hop_of_first = first.func(&store, "hop").expect("it is exported");
        linker
            .define("other", "hop", hop_of_first)
            .expect("it takes the old one's place");
        let second = linker.instantiate(&mut store, &code).expect("it is linked");
        for (tag, instance) in [(1, first), (2, second)] {
            assert_eq!(call_i32(&mut store, instance, "init", &[tag]), tag);
        }
        let loops: [(u32, EntryFn); 2] = [(LOOP, hop_off_a_loop), (BOUNCE, bounce)];
        for (index, entry) in loops {
            assert!(tiered_interp::translate(&code, FuncIdx(index), false));
            let body = func(&code, index).body().expect("it is translated");
            // SAFETY: the entries take the frames of these loops.
            unsafe { body.loops()[0].publish(entry) };
        }
        // SAFETY: the entry runs the function by the rules.
        unsafe { publish(func(&code, HOP), hop) };
        let instances = [first, second];
        Hops { store, instances }
    }

    /// Calls an export of the instance with this tag.
    fn call(&mut self, tag: i32, export: &str, n: i32, end: u32) -> Result<i32, Trap> {
        let instance = self.instances[tag as usize - 1];
        let args = [Val::I32(n), Val::I32(end.cast_signed())];
        let results = call(&mut self.store, instance, export, &args)?;
        Ok(results[0].i32().expect("an integer"))
    }
}

const LONG: i32 = 100_000;

/// Checks chains of many lengths, in each way that they can begin.
fn check_chains(probe: &Arc<Probe>, lengths: &[i32]) {
    let mut hops = Hops::new(probe);
    for &n in lengths {
        for tag in [1, 2] {
            for (end, more) in [(INTERPRETED, 0), (HOST, 1000)] {
                // The argument 0 is always the first instance's, unless the chain begins with it.
                let by = |first: i32| 40 + more + if n == 0 { first } else { 1 };
                let called = |first: i32| by(first) * 100 + tag * 11;
                let expected = [
                    ("hop", by(tag)),
                    ("call", called(tag)),
                    ("call through a table", called(tag)),
                    ("loop", by(tag)),
                    ("call of a loop", called(tag)),
                    ("bounce", 40 + more + tag),
                ];
                for (export, expected) in expected {
                    let found = hops.call(tag, export, n, end);
                    let found = found.unwrap_or_else(|trap| panic!("{export} of {n}: {trap:?}"));
                    assert_eq!(found, expected, "{export} of {n} in {tag}, to {end}");
                }
            }
        }
        for (end, more) in [(INTERPRETED, 0), (HOST, 1000)] {
            let found = hops.call(2, "call an import", n, end);
            let expected = (41 + more) * 100 + 22;
            assert_eq!(found.expect("it does not trap"), expected, "{n}, to {end}");
        }
    }
}

#[test]
fn a_chain_of_tail_calls_uses_no_native_stack() {
    for period in [0, 1_000_000] {
        check_chains(&Probe::silent(period), &[0, 1, 2, 3, LONG, LONG + 1]);
    }
}

/// What a [`Trampoline`] is to do.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "sysv64" fn trampoline() {
    std::arch::naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "call [rbp + 16]",
        "pop rbp",
        "ret"
    )
}

/// With a trampoline between a function and its caller, all is as without.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_chain_below_trampolines_uses_no_native_stack() {
    let probe = Probe::with_points(1000, |points| {
        points.trampoline = Some(|_| {
            let code = NonNull::new(trampoline as *mut u8)?;
            // SAFETY: the code is there as long as the program is.
            Some(unsafe { Trampoline::new(code) })
        });
    });
    check_chains(&probe, &[0, 1, 2, 3, LONG]);
}

#[test]
fn many_calls_end_in_tail_calls() {
    for end in [INTERPRETED, HOST] {
        let mut hops = Hops::new(&Probe::silent(1000));
        let one = if end == HOST { 1041 } else { 41 };
        for tag in [1, 2] {
            let found = hops.call(tag, "many calls", LONG, end);
            assert_eq!(found.expect("it does not trap"), one * LONG, "{end}");
        }
    }
}

/// The names in a back trace are those of the frames that are left: the last callee's, and whoever waits for it.
#[test]
fn a_trap_at_the_end_of_a_chain_has_the_frames_that_are_left() {
    let mut hops = Hops::new(&Probe::silent(1000));
    for n in [0, 3, LONG] {
        let chains: [(&str, &[&str]); 5] = [
            ("hop", &["trap"]),
            ("call", &["trap", "plain"]),
            ("loop", &["trap"]),
            ("call of a loop", &["trap", "call of a loop"]),
            ("bounce", &["trap"]),
        ];
        for (export, expected) in chains {
            let trap = hops.call(2, export, n, TRAP).expect_err("it traps");
            assert_eq!(trap.code(), Some(TrapCode::Unreachable), "{export}");
            assert_eq!(names(&trap), expected, "{export} of {n}");
            let found = hops.call(2, "call", 0, INTERPRETED);
            assert_eq!(found.expect("the store can be used"), 4222);
        }
    }
}

/// Tail calls are events as all calls are; an endless chain can be stopped.
#[test]
fn an_interrupt_ends_a_chain_that_has_no_end() {
    let mut hops = Hops::new(&Probe::silent(1000));
    let handle = hops.store.interrupt_handle();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            handle.interrupt();
        });
        let trap = hops.call(1, "bounce", -1, INTERPRETED);
        let trap = trap.expect_err("four billion tail calls take a while");
        assert_eq!(trap.code(), Some(TrapCode::Interrupted));
    });
    let found = hops.call(1, "bounce", 10, INTERPRETED);
    assert_eq!(found.expect("the interrupt is over"), 41);
}
