//! Models of the protocols between running code and other threads, for loom, which tries all orders of their steps and
//! all values that the memory model lets a load see.
//!
//! They run the real [`FuncCode`], [`LoopCode`] and [`Guard`]. Two things only stand in for others: a [`Blob`] for the
//! memory of bytecode and machine code, which loom finds to be written before it is read; and [`comes_to_header`] for the
//! interpreter, which reads the word at a loop's header relaxed (`Regs::handler`) and, finding `EnterLoop` there, asks
//! the loop for its entry.
//!
//! Not checked here: what `Arc` and `Weak` count, which loom does not have; and that a compare-exchange never undoes
//! a store, since loom keeps no single order of the stores to one place. Nor does it know the one order of all
//! `SeqCst` accesses, so nothing that it checks may stand on that.
//!
//! Run them with `RUSTFLAGS='--cfg loom' cargo test -p tiered-runtime --lib models`; with that flag no other test of the
//! crate runs.

use std::ptr::NonNull;
use std::time::Instant;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use tiered_decode::index::FuncIdx;
use tiered_decode::types::{FuncType, TypeId};
use tiered_decode::vector::Relaxed;

use super::code::{EntryFn, EntryPoints, FuncCode, LoopCode, Outcome};
use super::frame::Slot;
use super::guard::Guard;
use super::sync::{AtomicU64, Ordering};
use super::vmctx::VmCtx;

/// Memory that a thread fills before it says that it is code.
#[derive(Default)]
struct Blob(UnsafeCell<u64>);

// SAFETY: loom fails the model if a write is not ordered with every other access.
unsafe impl Send for Blob {}
// SAFETY: as above.
unsafe impl Sync for Blob {}

impl Blob {
    fn fill(&self) {
        // SAFETY: loom has checked that nobody else is at it.
        self.0.with_mut(|word| unsafe { *word = 1 });
    }

    fn run(&self) {
        // SAFETY: as above.
        assert_eq!(self.0.with(|word| unsafe { *word }), 1);
    }
}

unsafe extern "C" fn interpreted(
    _: NonNull<VmCtx>,
    _: NonNull<FuncCode>,
    _: NonNull<Slot>,
) -> Outcome {
    Outcome::Returned
}

unsafe extern "C" fn compiled(
    _: NonNull<VmCtx>,
    _: NonNull<FuncCode>,
    _: NonNull<Slot>,
) -> Outcome {
    Outcome::Trapped
}

fn is_compiled(entry: EntryFn) -> bool {
    entry as usize == compiled as *const () as usize
}

/// Different bytecode, and different entries of compiled callers: only their addresses matter.
static WORDS: [u64; 3] = [0; 3];
const UNTRANSLATED: *const u64 = &raw const WORDS[0];
const TRANSLATED: *const u64 = &raw const WORDS[1];
const FOREIGN: *const u64 = &raw const WORDS[2];
static BYTES: [u8; 3] = [0; 3];
const TO_INTERPRETER: *const u8 = &raw const BYTES[0];
const TO_STUB: *const u8 = &raw const BYTES[1];
const NATIVE: *const u8 = &raw const BYTES[2];

/// A function that was never called.
fn func() -> Arc<FuncCode> {
    let points = EntryPoints {
        entry: interpreted,
        interpret: interpreted,
        bytecode: UNTRANSLATED,
        foreign: FOREIGN,
        native: TO_INTERPRETER,
        builtins: std::ptr::null(),
        trampoline: None,
        period: 1,
        sample_first_calls: false,
        relaxed: Relaxed::DETERMINISTIC,
    };
    let ty = FuncType {
        params: Box::default(),
        results: Box::default(),
    };
    let set = std::ptr::null();
    Arc::new(FuncCode::of_module(
        set,
        true,
        FuncIdx(0),
        &ty,
        TypeId::default(),
        &points,
    ))
}

/// What a compile thread does once it has code.
fn publish(func: &FuncCode, code: &Blob) {
    code.fill();
    // SAFETY: nothing is run.
    unsafe { func.publish(compiled, FOREIGN, NATIVE) };
}

/// Interpreted code is told by the bytecode to call the entry, which may go on through the native one.
#[test]
fn who_sees_an_entry_point_sees_the_code_and_what_the_entry_needs() {
    loom::model(|| {
        let (func, code) = (func(), Arc::new(Blob::default()));
        let publisher = thread::spawn({
            let (func, code) = (Arc::clone(&func), Arc::clone(&code));
            move || publish(&func, &code)
        });
        let bytecode = func.bytecode();
        let entry = func.entry();
        if bytecode == FOREIGN {
            assert!(is_compiled(entry), "the bytecode calls itself");
        }
        if is_compiled(entry) {
            assert_eq!(func.native(), NATIVE);
            code.run();
        }
        publisher.join().expect("it does not panic");
        assert!(is_compiled(func.entry()));
    });
}

/// Compiled callers look at their own entry point alone.
#[test]
fn who_sees_the_native_entry_point_sees_the_code() {
    loom::model(|| {
        let (func, code) = (func(), Arc::new(Blob::default()));
        let publisher = thread::spawn({
            let (func, code) = (Arc::clone(&func), Arc::clone(&code));
            move || publish(&func, &code)
        });
        if func.native() == NATIVE {
            code.run();
        }
        publisher.join().expect("it does not panic");
    });
}

/// One thread translates the function, another publishes its machine code, a third calls it.
#[test]
fn who_sees_a_translation_or_a_publication_sees_its_words() {
    loom::model(|| {
        let (func, code, words) = (func(), Arc::new(Blob::default()), Arc::new(Blob::default()));
        let publisher = thread::spawn({
            let (func, code) = (Arc::clone(&func), Arc::clone(&code));
            move || publish(&func, &code)
        });
        let translator = thread::spawn({
            let (func, words) = (Arc::clone(&func), Arc::clone(&words));
            move || {
                words.fill();
                // SAFETY: nothing is run.
                unsafe { func.set_bytecode(UNTRANSLATED, TRANSLATED) };
            }
        });
        let bytecode = func.bytecode();
        if bytecode == TRANSLATED {
            words.run();
        } else if bytecode == FOREIGN {
            code.run();
        } else {
            assert_eq!(bytecode, UNTRANSLATED);
        }
        publisher.join().expect("it does not panic");
        translator.join().expect("it does not panic");
    });
}

/// The native entry of a function that is not compiled is replaced while machine code of it is published.
#[test]
fn who_sees_a_stub_or_a_publication_sees_its_code() {
    loom::model(|| {
        let (func, code, stub) = (func(), Arc::new(Blob::default()), Arc::new(Blob::default()));
        let publisher = thread::spawn({
            let (func, code) = (Arc::clone(&func), Arc::clone(&code));
            move || publish(&func, &code)
        });
        let linker = thread::spawn({
            let (func, stub) = (Arc::clone(&func), Arc::clone(&stub));
            move || {
                stub.fill();
                // SAFETY: nothing is run.
                unsafe { func.replace_native(TO_INTERPRETER, TO_STUB) };
            }
        });
        let native = func.native();
        if native == TO_STUB {
            stub.run();
        } else if native == NATIVE {
            code.run();
        } else {
            assert_eq!(native, TO_INTERPRETER);
        }
        publisher.join().expect("it does not panic");
        linker.join().expect("it does not panic");
    });
}

/// The word at a loop's header before and after its code is published.
const ITERATE: u64 = 1;
const ENTER: u64 = 2;

/// The interpreter at the header of `of`, as `Regs::handler` and `EnterLoop`; true if it goes on in `code`.
fn comes_to_header(header: &AtomicU64, of: &LoopCode, code: &Blob) -> bool {
    match header.load(Ordering::Relaxed) {
        ITERATE => false,
        ENTER => match of.entry() {
            Some(entry) => {
                assert!(is_compiled(entry));
                code.run();
                true
            }
            None => {
                assert_eq!(of.original(), ITERATE);
                false
            }
        },
        other => panic!("nobody wrote {other}"),
    }
}

/// Two instances iterate while a compile thread publishes; once published, every iteration enters.
#[test]
fn iterations_enter_a_loop_once_it_is_published() {
    loom::model(|| {
        let func = func();
        let header = Arc::new(AtomicU64::new(ITERATE));
        let words = NonNull::from(&*header).cast::<u64>();
        // SAFETY: the word is read atomically only; under loom it is one of loom's.
        let of = unsafe { LoopCode::new(&func, (words, words), ENTER, 0, 1) };
        let (of, code) = (Arc::new(of), Arc::new(Blob::default()));
        let iterate = {
            let (header, of, code) = (Arc::clone(&header), Arc::clone(&of), Arc::clone(&code));
            move || comes_to_header(&header, &of, &code)
        };
        let publisher = thread::spawn({
            let (of, code) = (Arc::clone(&of), Arc::clone(&code));
            move || {
                code.fill();
                // SAFETY: nothing is run.
                unsafe { of.publish(compiled) };
            }
        });
        let other = thread::spawn(iterate.clone());
        // Once in, an activation stays in; another one of the same thread finds the code again.
        let entered = iterate();
        assert!(iterate() || !entered);
        publisher.join().expect("it does not panic");
        other.join().expect("it does not panic");
        assert!(iterate());
    });
}

fn guard() -> Arc<Guard> {
    let guard = Guard::new().expect("there is a page");
    guard.set_stack_limit(1);
    Arc::new(guard)
}

/// The guest is entered anew, with another limit, while it is interrupted: it is stopped by flag and limit. Filling its
/// account again is its own thread's business and does not touch either.
#[test]
fn an_interrupt_is_not_lost_while_the_guest_sets_its_limit() {
    loom::model(|| {
        let guard = guard();
        let generation = guard.hand_out();
        let handle = thread::spawn({
            let guard = Arc::clone(&guard);
            move || guard.interrupt(generation).expect("the page closes")
        });
        guard.set_stack_limit(2);
        handle.join().expect("it does not panic");
        assert!(guard.is_interrupted() && guard.stops_at_limit());
    });
}

/// An interrupt that is raised and cleared meanwhile leaves the newest limit.
#[test]
fn a_cleared_interrupt_leaves_the_newest_limit() {
    loom::model(|| {
        let guard = guard();
        let generation = guard.hand_out();
        let handle = thread::spawn({
            let guard = Arc::clone(&guard);
            move || {
                guard.interrupt(generation).expect("the page closes");
                guard.clear(generation);
            }
        });
        guard.set_stack_limit(2);
        handle.join().expect("it does not panic");
        assert!(!guard.is_interrupted());
        assert_eq!(guard.limit(), 2);
    });
}

/// A deadline that passes and is moved away takes no interrupt with it.
#[test]
fn an_interrupt_outlives_a_deadline() {
    loom::model(|| {
        let guard = guard();
        let generation = guard.hand_out();
        let now = Instant::now();
        guard.set_deadline(Some(now));
        let clock = thread::spawn({
            let guard = Arc::clone(&guard);
            move || {
                guard.check_deadline(now).expect("the page closes");
                guard.set_deadline(None);
            }
        });
        let handle = thread::spawn({
            let guard = Arc::clone(&guard);
            move || guard.interrupt(generation).expect("the page closes")
        });
        guard.set_stack_limit(2);
        clock.join().expect("it does not panic");
        handle.join().expect("it does not panic");
        assert!(guard.is_interrupted() && guard.stops_at_limit());
    });
}
