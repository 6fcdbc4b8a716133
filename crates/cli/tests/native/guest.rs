//! The guest: bytes of machine code in its memory, and a host function that jumps to them.

use std::ffi::c_void;
use std::os::fd::AsFd;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};
use tiered::{
    Caller, Config, Engine, Instance, Linker, Module, Store, TierEventKind, TierMode, Val,
};
use tiered_sandbox::{Confinement, Sandbox};
use tiered_wasi::{Access, WasiCtx};

/// The code at 16 makes the system call that the words at 1024 describe; that at 64 makes one of 32-bit programs:
/// `mov eax, 20; int 0x80; ret`.
const GUEST: &str = r#"(module
  (import "test" "jump" (func $jump (param i32 i32 i32) (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 16)
    "\48\8b\07" "\48\8b\77\10" "\48\8b\57\18" "\4c\8b\57\20" "\4c\8b\47\28" "\4c\8b\4f\30" "\48\8b\7f\08" "\0f\05" "\c3")
  (data (i32.const 64) "\b8\14\00\00\00" "\cd\80" "\c3")
  (func (export "call") (param i64 i64 i64 i64 i64 i64 i64) (result i64)
    (i64.store (i32.const 1024) (local.get 0))
    (i64.store (i32.const 1032) (local.get 1))
    (i64.store (i32.const 1040) (local.get 2))
    (i64.store (i32.const 1048) (local.get 3))
    (i64.store (i32.const 1056) (local.get 4))
    (i64.store (i32.const 1064) (local.get 5))
    (i64.store (i32.const 1072) (local.get 6))
    (call $jump (i32.const 16) (i32.const 30) (i32.const 1024)))
  (func (export "foreign") (result i64)
    (call $jump (i32.const 64) (i32.const 8) (i32.const 1024)))
  (func (export "warm") (result i32) (local $i i32)
    (loop $again
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (i32.const 1000))))
    (local.get $i)))"#;

/// An instance whose process may be held.
pub(crate) struct Guest {
    store: Store<WasiCtx>,
    instance: Instance,
    pub(crate) engine: Engine,
    /// Functions that were compiled on another thread than this guest's.
    pub(crate) compiled_elsewhere: Arc<AtomicUsize>,
}

impl Guest {
    /// With `base/ro` and `base/rw` granted; held to that if `held`, in the order of the command's own steps.
    pub(crate) fn new(base: &Path, held: bool) -> (Guest, Option<Confinement>) {
        // Code is compiled, and its threads are started, when all is closed already.
        let (own, elsewhere) = (thread::current().id(), Arc::new(AtomicUsize::new(0)));
        let compiled_elsewhere = Arc::clone(&elsewhere);
        let config = Config::new().tier(TierMode::Jit).compile_threads(Some(1));
        let engine = Engine::new(&config.trace(move |event| {
            let is_compiled = matches!(event.kind, TierEventKind::Compiled { .. });
            if is_compiled && thread::current().id() != own {
                elsewhere.fetch_add(1, Ordering::Relaxed);
            }
        }));
        let module = Module::new(&engine, GUEST.as_bytes().to_vec()).expect("it is valid");
        let ctx = WasiCtx::builder()
            .inherit_stdio()
            .preopen_dir(base.join("ro"), "ro", Access::ReadOnly)
            .preopen_dir(base.join("rw"), "rw", Access::ReadWrite)
            .build()
            .expect("the directories are there");
        let confinement = held.then(|| {
            engine.open_ahead();
            let dirs = ctx.granted_dirs();
            let sandbox = dirs
                .iter()
                .fold(Sandbox::new(), |sandbox, dir| match dir.access() {
                    Access::ReadOnly => sandbox.read_only(dir.as_fd()),
                    Access::ReadWrite => sandbox.read_write(dir.as_fd()),
                });
            sandbox.enter()
        });
        let mut store = Store::new(&engine, ctx).expect("there is memory");
        let mut linker = Linker::new();
        linker.func("test", "jump", jump).expect("the name is free");
        let instance = linker
            .instantiate(&mut store, &module)
            .expect("all imports are there");
        let guest = Guest {
            store,
            instance,
            engine,
            compiled_elsewhere,
        };
        (guest, confinement)
    }

    /// Has native code make a system call; a negative result is an error's number.
    pub(crate) fn system_call(&mut self, number: i64, arguments: &[i64]) -> i64 {
        let mut values = vec![Val::I64(number)];
        values.extend((0..6).map(|at| Val::I64(arguments.get(at).copied().unwrap_or(0))));
        self.call("call", &values)
    }

    /// Has native code make a system call of 32-bit programs.
    pub(crate) fn foreign_call(&mut self) -> i64 {
        self.call("foreign", &[])
    }

    /// Has a function compiled.
    pub(crate) fn warm(&mut self) {
        let warm = self
            .instance
            .func(&self.store, "warm")
            .expect("it is there");
        let result = warm.call(&mut self.store, &[]).expect("it does not trap");
        assert!(matches!(result[..], [Val::I32(1000)]), "{result:?}");
    }

    fn call(&mut self, name: &str, values: &[Val]) -> i64 {
        let func = self.instance.func(&self.store, name).expect("it is there");
        let result = func.call(&mut self.store, values);
        match result.expect("it does not trap")[..] {
            [Val::I64(result)] => result,
            _ => panic!("{name} returns an i64"),
        }
    }
}

/// Copies the guest's bytes from `code` on to where they can be run, which is not refused, and jumps there. They get the
/// address of `arguments`.
fn jump(mut caller: Caller<'_, WasiCtx>, code: i32, len: i32, arguments: i32) -> i64 {
    let (bytes, _, _) = caller.memory_data_and_meter();
    let bytes = bytes.expect("the guest exports its memory");
    let (code, len) = (code as usize, len as usize);
    let arguments = bytes[arguments as usize..].as_ptr();
    let flags = MapFlags::PRIVATE;
    // SAFETY: a fresh page, which the bytes fit in and which is never freed; then the guest's code, which is `GUEST`'s: it
    // reads seven words from `arguments` on, keeps to the C calling convention, and makes a system call that these tests
    // choose.
    unsafe {
        let page = mmap_anonymous(null_mut(), 4096, ProtFlags::READ | ProtFlags::WRITE, flags)
            .expect("there is memory");
        let page: *mut u8 = page.cast();
        page.copy_from_nonoverlapping(bytes[code..code + len].as_ptr(), len);
        mprotect(page.cast(), 4096, MprotectFlags::READ | MprotectFlags::EXEC)
            .expect("memory can be made executable");
        let run: extern "sysv64" fn(*const c_void) -> i64 = std::mem::transmute(page);
        run(arguments.cast())
    }
}
