//! Faults that no guest can cause are not taken for its traps: the process ends with a report. This test has processes of
//! its own, whose compiled code is led astray on purpose.
//!
//! What leads it astray is what a bug of the compiler would: the address of the memory, or of an element, is another.

use std::ffi::c_int;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tiered_jit::runtime::code::{EntryFn, EntryPoints, FuncCode, Outcome, Sample, Tier};
use tiered_jit::runtime::decode::Module;
use tiered_jit::runtime::decode::index::{MemoryIdx, TableIdx};
use tiered_jit::runtime::decode::vector::Relaxed;
use tiered_jit::runtime::frame::Slot;
use tiered_jit::runtime::vmctx::VmCtx;
use tiered_jit::runtime::{Limits, Linker, Store, Trap, TrapCode};
use tiered_jit::{Config, Eager, Entry, Jit};

const TEXT: &str = r#"(module
    (type $callee (func))
    (type $fields (struct (field (mut i32))))
    (type $items (array (mut i32)))
    (memory (export "memory") 1)
    (table 1 funcref)
    (table $fields 1 (ref null $fields))
    (table $items 1 (ref null $items))
    (func (export "load") (drop (i32.load (i32.const 0))))
    (func (export "store") (i64.store offset=4096 (i32.const 8) (i64.const 1)))
    (func (export "call") (call_indirect (type $callee) (i32.const 0)))
    (func (export "loop") (loop $l (br $l)))
    (func (export "field") (drop (struct.get $fields 0 (table.get $fields (i32.const 0)))))
    (func (export "set") (struct.set $fields 0 (table.get $fields (i32.const 0)) (i32.const 1)))
    (func (export "item") (drop (array.get $items (table.get $items (i32.const 0)) (i32.const 0))))
    (func (export "cast") (drop (ref.cast (ref $items) (table.get $fields (i32.const 0))))))"#;

/// How the code of a process is led astray, before it is entered.
static ASTRAY: OnceLock<fn(&VmCtx)> = OnceLock::new();
static JIT: OnceLock<Jit> = OnceLock::new();

/// As [`Eager`], but for [`ASTRAY`].
struct Misled;

// SAFETY: the entry points lead to code that compiles the function and enters it; the compiler lives as long as the
// process.
unsafe impl Tier for Misled {
    fn entry_points(&self) -> EntryPoints {
        jit().entry_points(EntryPoints {
            entry: compile_and_enter,
            interpret: compile_and_enter,
            bytecode: std::ptr::null(),
            foreign: std::ptr::null(),
            native: std::ptr::null(),
            builtins: std::ptr::null(),
            trampoline: None,
            period: i32::MAX,
            sample_first_calls: false,
            relaxed: Relaxed::default(),
        })
    }

    fn sample(&self, _: &Sample<'_>) -> Option<EntryFn> {
        None
    }
}

fn jit() -> &'static Jit {
    JIT.get_or_init(|| Jit::new(&Config::default()).expect("this machine can"))
}

unsafe extern "C" fn compile_and_enter(
    instance: NonNull<VmCtx>,
    func: NonNull<FuncCode>,
    frame: NonNull<Slot>,
) -> Outcome {
    // SAFETY: both are alive, by the contract of an `EntryFn`; the code is that of this function, and kept for good.
    unsafe {
        let (vmctx, callee) = (VmCtx::borrow(instance.as_ptr()), func.as_ref());
        let mut compiler = jit().compiler().expect("this machine can");
        let code = compiler.compile(vmctx.module(), callee.index, Entry::Start, false);
        let code = code.expect("it can be compiled");
        code.publish(callee);
        let entry = code.entry();
        std::mem::forget(code);
        if let Some(astray) = ASTRAY.get() {
            astray(vmctx);
        }
        entry(instance, func, frame)
    }
}

/// Calls an export of the module in a store of its own.
fn call(name: &str) -> Result<Vec<tiered_jit::runtime::Val>, Trap> {
    let module = Arc::new(Module::new(TEXT.as_bytes().to_vec()).expect("it is valid"));
    let mut store = Store::with_tier(Arc::new(Misled), Limits::default(), ()).expect("room");
    let instance = Linker::new().instantiate(&mut store, &module);
    let instance = instance.expect("it imports nothing");
    let func = instance.func(&store, name).expect("it is exported");
    func.call(&mut store, &[])
}

/// Pages that belong to nobody's memory, and permit nothing.
fn foreign() -> NonNull<u8> {
    let (anonymous, none) = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, libc::PROT_NONE);
    // SAFETY: a new mapping is in nobody's way.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), 1 << 16, none, anonymous, -1, 0) };
    assert_ne!(start, libc::MAP_FAILED);
    NonNull::new(start.cast()).expect("it is not at address zero")
}

fn set_base(vmctx: &VmCtx, address: usize) {
    let address = std::ptr::with_exposed_provenance_mut(address);
    vmctx
        .memory_base
        .set(NonNull::new(address).expect("not null"));
}

fn base(vmctx: &VmCtx) -> usize {
    vmctx.memory_base.get().addr().get()
}

fn to_foreign_pages(vmctx: &VmCtx) {
    set_base(vmctx, foreign().addr().get());
}

/// To the end of the memory of another store, which that store's guest could hit.
fn to_another_store(vmctx: &VmCtx) {
    static OTHER: AtomicUsize = AtomicUsize::new(0);
    let module = Module::new(TEXT.as_bytes().to_vec()).expect("it is valid");
    let mut store = Store::with_tier(Eager::tier(jit()), Limits::default(), ()).expect("room");
    let instance = Linker::new().instantiate(&mut store, &Arc::new(module));
    let memory = instance
        .expect("it imports nothing")
        .memory(&store, "memory");
    let bytes = memory.expect("it is exported").data(&store).as_ptr_range();
    OTHER.store(bytes.end.addr(), Ordering::Relaxed);
    // The store stays until the process ends.
    std::mem::forget(store);
    set_base(vmctx, OTHER.load(Ordering::Relaxed));
}

/// In front of the instance's own memory, where no index leads.
fn to_the_guard_in_front(vmctx: &VmCtx) {
    set_base(vmctx, base(vmctx) - (64 << 10));
}

/// As far in front as nothing else can be.
fn to_the_far_end_of_the_guard_in_front(vmctx: &VmCtx) {
    set_base(vmctx, base(vmctx) - (256 << 20));
}

/// To an address that no processor has.
fn to_no_address(vmctx: &VmCtx) {
    set_base(vmctx, 1 << 63);
}

/// The elements are records and objects at an address that is not there.
fn to_a_foreign_record(vmctx: &VmCtx) {
    for table in 0..3 {
        let table = vmctx.table(TableIdx(table));
        // SAFETY: the table lives as long as the store.
        let set = unsafe { table.as_ref() }.set(0, foreign().addr().get() as Slot);
        set.expect("there is an element");
    }
}

/// To the end of the instance's own memory.
fn to_its_own_end(vmctx: &VmCtx) {
    // SAFETY: the memory lives as long as the store.
    let length = unsafe { vmctx.memory(MemoryIdx(0)).as_ref() }.len();
    set_base(vmctx, base(vmctx) + length);
}

/// The name of a case, how its code is led astray, the export, and what the report says; `None` if it is a trap.
type Case = (&'static str, fn(&VmCtx), &'static str, Option<&'static str>);

const CASES: &[Case] = &[
    ("load", to_foreign_pages, "load", Some("function 0")),
    ("store", to_foreign_pages, "store", Some("function 1")),
    (
        "another store",
        to_another_store,
        "load",
        Some("SIGSEGV, address 0x"),
    ),
    (
        "in front",
        to_the_guard_in_front,
        "load",
        Some("SIGSEGV, address 0x"),
    ),
    (
        "far in front",
        to_the_far_end_of_the_guard_in_front,
        "load",
        Some("SIGSEGV, address 0x"),
    ),
    (
        "no address",
        to_no_address,
        "load",
        Some("SIGSEGV, no address"),
    ),
    ("record", to_a_foreign_record, "call", Some("function 2")),
    ("field", to_a_foreign_record, "field", Some("function 4")),
    ("set", to_a_foreign_record, "set", Some("function 5")),
    ("item", to_a_foreign_record, "item", Some("function 6")),
    ("cast", to_a_foreign_record, "cast", Some("function 7")),
    ("its own end", to_its_own_end, "load", None),
];

/// What the process of a case does: it ends in a trap, or not at all.
fn run(&(name, astray, export, report): &Case) {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: sets a limit of this process: it leaves no core behind.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
    assert!(ASTRAY.set(astray).is_ok());
    let trap = call(export).expect_err("it can't return");
    assert_eq!(trap.code(), Some(TrapCode::MemoryOutOfBounds), "{name}");
    assert_eq!(report, None, "{name}: a trap");
}

fn check(&(name, _, _, report): &Case, output: &Output) {
    let text = String::from_utf8_lossy(&output.stderr);
    let Some(report) = report else {
        assert!(output.status.success(), "{name}: {text}");
        return;
    };
    assert_eq!(
        output.status.signal(),
        Some(libc::SIGABRT),
        "{name}: {text}"
    );
    for part in [
        report,
        "bug in tiered",
        "send this report",
        "pc 0x",
        "module byte 0x",
    ] {
        assert!(text.contains(part), "{name}: {part:?} is not in {text}");
    }
}

static COUNT: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: c_int) {
    COUNT.fetch_add(1, Ordering::Relaxed);
}

/// A signal that somebody sends is no fault, wherever the guest stands: its loop goes on.
fn sent() {
    static IS_DONE: AtomicBool = AtomicBool::new(false);
    // SAFETY: the handler does what handlers may, and is there before anything is compiled.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count as *const () as usize;
        assert_eq!(
            libc::sigaction(libc::SIGSEGV, &raw const action, std::ptr::null_mut()),
            0
        );
    }
    let module = Arc::new(Module::new(TEXT.as_bytes().to_vec()).expect("it is valid"));
    let mut store = Store::with_tier(Eager::tier(jit()), Limits::default(), ()).expect("room");
    let instance = Linker::new().instantiate(&mut store, &module);
    let func = instance.expect("it imports nothing").func(&store, "loop");
    let handle = store.interrupt_handle();
    // SAFETY: asks for this thread.
    let thread = unsafe { libc::pthread_self() };
    let sender = std::thread::spawn(move || {
        for _ in 0..300 {
            std::thread::sleep(Duration::from_micros(200));
            // SAFETY: the thread waits for this one.
            assert_eq!(unsafe { libc::pthread_kill(thread, libc::SIGSEGV) }, 0);
        }
        IS_DONE.store(true, Ordering::SeqCst);
        handle.interrupt();
    });
    let result = func.expect("it is exported").call(&mut store, &[]);
    assert!(
        IS_DONE.load(Ordering::SeqCst),
        "a signal ended it: {result:?}"
    );
    let trap = result.expect_err("it never ends");
    assert_eq!(trap.code(), Some(TrapCode::Interrupted));
    sender.join().expect("it ended well");
    assert!(
        COUNT.load(Ordering::Relaxed) > 0,
        "who handled them before got some"
    );
}

fn main() {
    let case = std::env::args().nth(1);
    if case.as_deref() == Some("sent") {
        return sent();
    }
    let find = |name: &str| CASES.iter().find(|case| case.0 == name);
    if let Some(case) = case.as_deref().and_then(find) {
        return run(case);
    }
    let own = std::env::current_exe().expect("it has a path");
    let start = |name: &str| {
        let output = Command::new(&own).arg(name).output();
        output.expect("it can be started")
    };
    for case in CASES {
        check(case, &start(case.0));
    }
    let sent = start("sent");
    assert!(
        sent.status.success(),
        "{}",
        String::from_utf8_lossy(&sent.stderr)
    );
    println!("{} cases", CASES.len() + 1);
}
