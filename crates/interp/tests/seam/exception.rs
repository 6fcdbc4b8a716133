//! Exceptions that nobody catches: they end the guest with an error, whichever tiers are between.

use std::cell::Cell;
use std::ptr::NonNull;

use tiered_interp::runtime::code::{self, FuncCode, Outcome};
use tiered_interp::runtime::decode::index::{FuncIdx, TagIdx};
use tiered_interp::runtime::frame::Slot;
use tiered_interp::runtime::vmctx::VmCtx;
use tiered_interp::runtime::{Caller, Linker, Val};

use crate::probe::{Guest, Probe, noting, publish};
use crate::sample::{CALLS, TRIPLE};

thread_local! {
    static SEEN: Cell<Option<Outcome>> = const { Cell::new(None) };
}

/// Throws an exception with the module's only tag.
///
/// # Safety
/// As for every [`EntryFn`](code::EntryFn).
unsafe extern "C" fn throw(
    instance: NonNull<VmCtx>,
    _: NonNull<FuncCode>,
    frame: NonNull<Slot>,
) -> Outcome {
    // SAFETY: the instance is alive, and so is its tag; no reference is above the start of the frame.
    unsafe {
        let vmctx = VmCtx::borrow(instance.as_ptr());
        let thrown = vmctx
            .store()
            .new_exception(vmctx.tag(TagIdx(0)), frame.as_ptr());
        vmctx.store().set_thrown(thrown.expect("there is room"));
    }
    Outcome::Threw
}

/// Calls the function with index 3, and writes down how that ends.
///
/// # Safety
/// As for every [`EntryFn`](code::EntryFn), with the arguments of that function.
unsafe extern "C" fn call_and_see(
    instance: NonNull<VmCtx>,
    _: NonNull<FuncCode>,
    frame: NonNull<Slot>,
) -> Outcome {
    // SAFETY: the instance and its functions are alive, the frame holds the arguments.
    unsafe {
        let record = VmCtx::borrow(instance.as_ptr()).func(FuncIdx(3));
        let outcome = code::call(instance, record.as_ref().code(), frame);
        SEEN.set(Some(outcome));
        outcome
    }
}

#[test]
fn an_exception_ends_the_guest_with_an_error() {
    let mut guest = Guest::linked(CALLS, Probe::silent(1000), &noting());
    let n = [Val::I32(3)];
    assert_eq!(guest.call_i32("calls", &[3]), 18);
    // SAFETY: the entries run the functions by the rules.
    unsafe {
        publish(guest.func(TRIPLE), throw);
        // This one calls `calls`.
        publish(guest.func(4), call_and_see);
    }
    for export in ["triple", "calls", "indirect_calls"] {
        let error = guest.call(export, &n).expect_err("it throws");
        assert_eq!(error.to_string(), "uncaught exception <tag> ()", "{export}");
        assert_eq!(error.code(), None, "{export}");
    }
    assert_eq!(
        SEEN.take(),
        Some(Outcome::Threw),
        "through interpreted code"
    );
    let body = guest.func(3).body().expect("it ran");
    // SAFETY: the entry is no matter which loop it is in place of.
    unsafe { body.loops()[0].publish(throw) };
    for export in ["calls", "indirect_calls"] {
        let error = guest.call(export, &n).expect_err("it throws");
        assert_eq!(error.to_string(), "uncaught exception <tag> ()", "{export}");
    }
    assert_eq!(SEEN.take(), Some(Outcome::Threw), "from a loop");
    assert_eq!(
        guest.call_i32("host_calls", &[3]),
        12,
        "the store can be used"
    );
}

/// A host function that calls the guest gets the error, and may go on.
#[test]
fn a_host_function_sees_the_exception_of_what_it_calls() {
    let mut linker = Linker::new();
    linker
        .func("host", "note", |mut caller: Caller<'_, u32>, value: i32| {
            let triple = caller
                .instance()
                .and_then(|own| own.func(&caller, "triple"));
            let found = triple.map(|triple| triple.call(&mut caller, &[Val::I32(value)]));
            i32::from(
                matches!(found, Some(Err(error)) if error.to_string() == "uncaught exception <tag> ()"),
            )
        })
        .expect("a new name");
    let mut guest = Guest::linked(CALLS, Probe::silent(1000), &linker);
    // SAFETY: the entry runs the function by the rules.
    unsafe { publish(guest.func(TRIPLE), throw) };
    assert_eq!(guest.call_i32("host_calls", &[5]), 10);
}
