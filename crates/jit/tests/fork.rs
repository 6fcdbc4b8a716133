//! After a fork, parent and child each have their own code. This test has a process of its own, with one thread.

use std::io::{Read, Write, pipe};
use std::sync::Arc;

use tiered_jit::runtime::code::Tier;
use tiered_jit::runtime::decode::Module;
use tiered_jit::runtime::decode::index::FuncIdx;
use tiered_jit::runtime::module_code::ModuleCode;
use tiered_jit::runtime::{Instance, Limits, Linker, Store, Val};
use tiered_jit::{Code, Compiler, Config, Eager, Entry, Jit};

/// Functions of the same size and type.
const TEXT: &str = r#"(module
    (func (export "before") (result i32) (i32.const 1111))
    (func (export "parent") (result i32) (i32.const 2222))
    (func (export "child") (result i32) (i32.const 3333)))"#;

struct Guest {
    code: Arc<ModuleCode>,
    compiler: Compiler,
    store: Store<()>,
    instance: Instance,
    compiled: Vec<Code>,
}

impl Guest {
    fn new() -> Guest {
        let jit = Jit::new(&Config::default()).expect("this machine can");
        let tier: Arc<dyn Tier> = Eager::tier(&jit);
        let module = Module::new(TEXT.as_bytes().to_vec()).expect("it is valid");
        let code = ModuleCode::new(&tier, &Arc::new(module));
        let mut store = Store::with_tier(tier, Limits::default(), ()).expect("there is room");
        let instance = Linker::new().instantiate(&mut store, &code);
        Guest {
            compiler: jit.compiler().expect("this machine can"),
            instance: instance.expect("it imports nothing"),
            store,
            code,
            compiled: Vec::new(),
        }
    }

    /// Compiles a function; where its code is.
    fn compile(&mut self, index: u32) -> usize {
        let index = FuncIdx(index);
        let code = self
            .compiler
            .compile(self.code.module(), index, Entry::Start, false)
            .expect("it can be compiled");
        let func = self.code.set(false).func(index).expect("it is defined");
        // SAFETY: the code is that of this function, and goes after the store.
        unsafe { code.publish(func) };
        let address = code.native().addr();
        self.compiled.push(code);
        address
    }

    fn call(&mut self, name: &str) -> i32 {
        let func = self.instance.func(&self.store, name).expect("it is there");
        match func.call(&mut self.store, &[]).as_deref() {
            Ok([Val::I32(value)]) => *value,
            other => panic!("{other:?}"),
        }
    }
}

/// What the child does: its exit status.
fn child(guest: &mut Guest, parent: &mut impl Read, parents: &mut usize) -> i32 {
    let mut address = [0; 8];
    if parent.read_exact(&mut address).is_err() {
        return 1;
    }
    *parents = usize::from_ne_bytes(address);
    // The parent has placed code by now. What was there before the fork is what it was.
    if guest.call("before") != 1111 {
        return 2;
    }
    // It is the same address that comes next here, too.
    if guest.compile(2) != *parents {
        return 3;
    }
    if guest.call("child") != 3333 || guest.call("before") != 1111 {
        return 4;
    }
    0
}

fn main() {
    let mut guest = Guest::new();
    guest.compile(0);
    assert_eq!(guest.call("before"), 1111);
    let (mut from_parent, mut to_child) = pipe().expect("there are pipes");
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        0 => {
            let status = child(&mut guest, &mut from_parent, &mut 0);
            // SAFETY: ends the process, and nothing else is to happen in it.
            unsafe { libc::_exit(status) }
        }
        child => {
            let address = guest.compile(1);
            to_child
                .write_all(&address.to_ne_bytes())
                .expect("the child reads");
            assert_eq!(guest.call("parent"), 2222);
            let mut status = 0;
            // SAFETY: waits for the child that was made above.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 0, "the child's status");
            assert_eq!(guest.call("parent"), 2222);
            assert_eq!(guest.call("before"), 1111);
        }
    }
    println!("parent and child each ran their own code");
}
