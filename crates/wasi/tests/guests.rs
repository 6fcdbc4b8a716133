//! One small guest for each call, run by the engine: that the import exists under its name and type, gets its arguments in
//! order, and reaches guest memory. What the calls mean in every case is tested beside their bodies.

use std::collections::BTreeSet;
use std::path::Path;

use tiered::{Engine, Instance, Linker, Module, Store, Trap};
use tiered_wasi::{
    Abi, Access, Errno, FUNCTIONS, Function, InputBuffer, OutputBuffer, Stdin, Stdout, WasiCtx,
    add_to_linker,
};

/// What a guest's store holds: the context among other things.
struct Host {
    wasi: WasiCtx,
    output: OutputBuffer,
}

/// An instance with its store.
struct Guest {
    store: Store<Host>,
    instance: Instance,
}

/// Where guests leave results.
const OUT: usize = 1024;

/// A directory with `file` ("contents"), `dir` and `link` (to `file`).
fn fixture() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "contents").unwrap();
    std::fs::create_dir(dir.path().join("dir")).unwrap();
    std::os::unix::fs::symlink("file", dir.path().join("link")).unwrap();
    dir
}

fn context(dir: &Path, output: &OutputBuffer) -> WasiCtx {
    WasiCtx::builder()
        .args(["guest", "one"])
        .env("KEY", "value")
        .stdin(Stdin::Buffer(InputBuffer::new("typed")))
        .stdout(Stdout::Buffer(output.clone()))
        .preopen_dir(dir, "/sandbox", Access::ReadWrite)
        .tcp_listener(std::net::TcpListener::bind("127.0.0.1:0").unwrap())
        .build()
        .unwrap()
}

/// The import of a call as text.
fn import(function: &Function, abi: Abi) -> String {
    let params: String = function
        .params
        .iter()
        .map(|param| if param.wide { " i64" } else { " i32" })
        .collect();
    let params = if params.is_empty() {
        params
    } else {
        format!(" (param{params})")
    };
    let result = if function.returns {
        " (result i32)"
    } else {
        ""
    };
    let (module, name) = (abi.module(), function.name);
    format!("(import \"{module}\" \"{name}\" (func ${name}{params}{result}))")
}

/// Names at fixed addresses: `new` at 0, `file` at 16, `link` at 32, `dir` at 48; and at 64 a buffer list of one: the
/// four bytes of `file`, at 80 one for eight bytes at 2048.
const DATA: &str = r#"(data (i32.const 0) "new") (data (i32.const 16) "file") (data (i32.const 32) "link")
    (data (i32.const 48) "dir") (data (i32.const 64) "\10\00\00\00\04\00\00\00")
    (data (i32.const 80) "\00\08\00\00\08\00\00\00")"#;

fn instantiate(dir: &Path, text: &str) -> Guest {
    let output = OutputBuffer::new();
    let host = Host {
        wasi: context(dir, &output),
        output,
    };
    let engine = Engine::default();
    let module = Module::new(&engine, text.to_owned()).unwrap();
    let mut linker = Linker::new();
    add_to_linker(&mut linker, |host: &Host| &host.wasi).expect("a new name");
    let mut store = Store::new(&engine, host).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    Guest { store, instance }
}

/// A guest whose `run` is `body`; it imports path_open, as `$open` opens `file`, and all calls named in the body.
fn guest(abi: Abi, dir: &Path, body: &str) -> Guest {
    let called = |function: &&Function| {
        body.contains(&format!("call ${} ", function.name)) || function.name == "path_open"
    };
    let imports: String = FUNCTIONS
        .iter()
        .filter(called)
        .map(|function| import(function, abi))
        .collect();
    let text = format!(
        r#"(module {imports} (memory (export "memory") 1) {DATA}
            (func $open (result i32)
                (drop (call $path_open (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 4) (i32.const 0)
                    (i64.const 0x42) (i64.const 0) (i32.const 0) (i32.const 512)))
                (i32.load (i32.const 512)))
            (func (export "run") (result i32) {body}))"#
    );
    instantiate(dir, &text)
}

impl Guest {
    fn run(&mut self) -> Result<i32, Trap> {
        let run = self
            .instance
            .typed_func::<(), i32>(&self.store, "run")
            .unwrap();
        run.call(&mut self.store, ())
    }

    fn memory(&self) -> &[u8] {
        self.instance
            .memory(&self.store, "memory")
            .unwrap()
            .data(&self.store)
    }

    fn u32_at(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.memory()[at..at + 4].try_into().unwrap())
    }

    fn u64_at(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.memory()[at..at + 8].try_into().unwrap())
    }
}

/// Runs `body` in both interfaces, or in one, expects an error number, and lets `check` look at what happened.
fn expect(abis: &[Abi], body: &str, errno: Errno, check: &dyn Fn(&Guest, &Path)) {
    for &abi in abis {
        let dir = fixture();
        let mut guest = guest(abi, dir.path(), body);
        assert_eq!(
            guest.run().unwrap(),
            i32::from(errno),
            "{} in {}",
            body,
            abi.module()
        );
        check(&guest, dir.path());
    }
}

const BOTH: &[Abi] = &[Abi::Preview1, Abi::Unstable];

macro_rules! guests {
    ($($name:ident in $abis:expr, $body:literal => $errno:ident, $check:expr;)*) => {
        $(
            #[test]
            fn $name() {
                expect($abis, concat!("(call $", stringify!($name), " ", $body, ")"), Errno::$errno, &$check);
            }
        )*

        #[test]
        fn every_call_has_a_guest() {
            let tested: BTreeSet<_> = [$(stringify!($name),)* "proc_exit"].into_iter().collect();
            let all: BTreeSet<_> = FUNCTIONS.iter().map(|function| function.name).collect();
            assert_eq!(tested, all);
        }
    };
}

fn nothing(_: &Guest, _: &Path) {}

guests! {
    args_get in BOTH, "(i32.const 1024) (i32.const 2048)" => SUCCESS,
        |guest, _| assert_eq!(&guest.memory()[2048..2058], b"guest\0one\0");
    args_sizes_get in BOTH, "(i32.const 1024) (i32.const 1028)" => SUCCESS,
        |guest, _| assert_eq!((guest.u32_at(OUT), guest.u32_at(OUT + 4)), (2, 10));
    environ_get in BOTH, "(i32.const 1024) (i32.const 2048)" => SUCCESS,
        |guest, _| assert_eq!(&guest.memory()[2048..2058], b"KEY=value\0");
    environ_sizes_get in BOTH, "(i32.const 1024) (i32.const 1028)" => SUCCESS,
        |guest, _| assert_eq!((guest.u32_at(OUT), guest.u32_at(OUT + 4)), (1, 10));
    clock_res_get in BOTH, "(i32.const 1) (i32.const 1024)" => SUCCESS, |guest, _| assert!(guest.u64_at(OUT) > 0);
    clock_time_get in BOTH, "(i32.const 0) (i64.const 0) (i32.const 1024)" => SUCCESS,
        |guest, _| assert!(guest.u64_at(OUT) > 1_700_000_000_000_000_000);
    fd_advise in BOTH, "(call $open) (i64.const 0) (i64.const 8) (i32.const 2)" => SUCCESS, nothing;
    fd_allocate in BOTH, "(i32.const 3) (i64.const 0) (i64.const 8)" => ISDIR, nothing;
    fd_close in BOTH, "(i32.const 9)" => BADF, nothing;
    fd_datasync in BOTH, "(call $open)" => SUCCESS, nothing;
    fd_fdstat_get in BOTH, "(call $open) (i32.const 1024)" => SUCCESS,
        |guest, _| assert_eq!((guest.memory()[OUT], guest.u64_at(OUT + 8) & 0x42), (4, 0x42));
    fd_fdstat_set_flags in BOTH, "(call $open) (i32.const 1)" => SUCCESS, nothing;
    fd_fdstat_set_rights in BOTH, "(call $open) (i64.const 2) (i64.const 0)" => SUCCESS, nothing;
    fd_filestat_get in BOTH, "(call $open) (i32.const 1024)" => SUCCESS,
        |guest, _| assert!([guest.u64_at(OUT + 24), guest.u64_at(OUT + 32)].contains(&8));
    fd_filestat_set_size in BOTH, "(call $open) (i64.const 3)" => SUCCESS,
        |_, dir| assert_eq!(std::fs::read(dir.join("file")).unwrap(), b"con");
    fd_filestat_set_times in BOTH, "(call $open) (i64.const 0) (i64.const 1000000000) (i32.const 4)" => SUCCESS,
        |_, dir| assert_eq!(
            dir.join("file").metadata().unwrap().modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(),
            1
        );
    fd_pread in BOTH, "(call $open) (i32.const 80) (i32.const 1) (i64.const 3) (i32.const 1024)" => SUCCESS,
        |guest, _| assert_eq!((guest.u32_at(OUT), &guest.memory()[2048..2053]), (5, &b"tents"[..]));
    fd_prestat_get in BOTH, "(i32.const 3) (i32.const 1024)" => SUCCESS,
        |guest, _| assert_eq!(guest.u32_at(OUT + 4), 8);
    fd_prestat_dir_name in BOTH, "(i32.const 3) (i32.const 1024) (i32.const 8)" => SUCCESS,
        |guest, _| assert_eq!(&guest.memory()[OUT..OUT + 8], b"/sandbox");
    fd_pwrite in BOTH, "(call $open) (i32.const 64) (i32.const 1) (i64.const 2) (i32.const 1024)" => SUCCESS,
        |_, dir| assert_eq!(std::fs::read(dir.join("file")).unwrap(), b"cofilets");
    fd_read in BOTH, "(i32.const 0) (i32.const 80) (i32.const 1) (i32.const 1024)" => SUCCESS,
        |guest, _| assert_eq!((guest.u32_at(OUT), &guest.memory()[2048..2053]), (5, &b"typed"[..]));
    fd_readdir in BOTH, "(i32.const 3) (i32.const 2048) (i32.const 25) (i64.const 0) (i32.const 1024)" => SUCCESS,
        |guest, _| assert_eq!((guest.u32_at(OUT), guest.u64_at(2048), guest.memory()[2072]), (25, 1, b'.'));
    fd_renumber in BOTH, "(call $open) (i32.const 1)" => SUCCESS, nothing;
    fd_seek in &[Abi::Preview1], "(call $open) (i64.const -3) (i32.const 2) (i32.const 1024)" => SUCCESS,
        |guest, _| assert_eq!(guest.u64_at(OUT), 5);
    fd_sync in BOTH, "(i32.const 3)" => SUCCESS, nothing;
    fd_tell in BOTH, "(call $open) (i32.const 1024)" => SUCCESS, |guest, _| assert_eq!(guest.u64_at(OUT), 0);
    fd_write in BOTH, "(i32.const 1) (i32.const 64) (i32.const 1) (i32.const 1024)" => SUCCESS,
        |guest, _| assert_eq!((guest.u32_at(OUT), guest.store.data().output.contents()), (4, b"file".to_vec()));
    path_create_directory in BOTH, "(i32.const 3) (i32.const 0) (i32.const 3)" => SUCCESS,
        |_, dir| assert!(dir.join("new").is_dir());
    path_filestat_get in BOTH, "(i32.const 3) (i32.const 0) (i32.const 32) (i32.const 4) (i32.const 1024)" => SUCCESS,
        |guest, _| assert_eq!(guest.memory()[OUT + 16], 7);
    path_filestat_set_times in BOTH,
        "(i32.const 3) (i32.const 1) (i32.const 32) (i32.const 4) (i64.const 0) (i64.const 2000000000) (i32.const 4)"
        => SUCCESS, |_, dir| assert_eq!(
            dir.join("file").metadata().unwrap().modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(),
            2
        );
    path_link in BOTH,
        "(i32.const 3) (i32.const 0) (i32.const 16) (i32.const 4) (i32.const 3) (i32.const 0) (i32.const 3)" => SUCCESS,
        |_, dir| assert_eq!(std::fs::read(dir.join("new")).unwrap(), b"contents");
    path_open in BOTH,
        "(i32.const 3) (i32.const 0) (i32.const 0) (i32.const 3) (i32.const 5) (i64.const 0x42) (i64.const 0) (i32.const 0) (i32.const 1024)"
        => SUCCESS, |guest, dir| assert!(guest.u32_at(OUT) == 5 && dir.join("new").is_file());
    path_readlink in BOTH,
        "(i32.const 3) (i32.const 32) (i32.const 4) (i32.const 2048) (i32.const 9) (i32.const 1024)" => SUCCESS,
        |guest, _| assert_eq!((guest.u32_at(OUT), &guest.memory()[2048..2052]), (4, &b"file"[..]));
    path_remove_directory in BOTH, "(i32.const 3) (i32.const 48) (i32.const 3)" => SUCCESS,
        |_, dir| assert!(!dir.join("dir").exists());
    path_rename in BOTH,
        "(i32.const 3) (i32.const 16) (i32.const 4) (i32.const 3) (i32.const 0) (i32.const 3)" => SUCCESS,
        |_, dir| assert!(dir.join("new").is_file() && !dir.join("file").exists());
    path_symlink in BOTH, "(i32.const 16) (i32.const 4) (i32.const 3) (i32.const 0) (i32.const 3)" => SUCCESS,
        |_, dir| assert_eq!(dir.join("new").read_link().unwrap(), Path::new("file"));
    path_unlink_file in BOTH, "(i32.const 3) (i32.const 32) (i32.const 4)" => SUCCESS,
        |_, dir| assert!(dir.join("link").symlink_metadata().is_err());
    // An all-zero subscription is the realtime clock with a timeout of nothing.
    poll_oneoff in BOTH, "(i32.const 4096) (i32.const 2048) (i32.const 1) (i32.const 1024)" => SUCCESS,
        |guest, _| assert_eq!((guest.u32_at(OUT), guest.u64_at(2056)), (1, 0));
    proc_raise in BOTH, "(i32.const 9)" => NOTSUP, nothing;
    sched_yield in BOTH, "" => SUCCESS, nothing;
    random_get in BOTH, "(i32.const 2048) (i32.const 64)" => SUCCESS,
        |guest, _| assert!(guest.memory()[2048..2112].iter().any(|&byte| byte != 0));
    sock_accept in &[Abi::Preview1], "(i32.const 4) (i32.const 1) (i32.const 1024)" => INVAL, nothing;
    sock_recv in BOTH,
        "(i32.const 4) (i32.const 80) (i32.const 1) (i32.const 0) (i32.const 1024) (i32.const 1028)" => NOTCONN, nothing;
    sock_send in BOTH,
        "(i32.const 4) (i32.const 64) (i32.const 1) (i32.const 0) (i32.const 1024)" => NOTCONN, nothing;
    sock_shutdown in BOTH, "(i32.const 3) (i32.const 3)" => NOTSOCK, nothing;
}

#[test]
fn proc_exit() {
    for &abi in BOTH {
        let dir = fixture();
        let mut guest = guest(
            abi,
            dir.path(),
            "(call $proc_exit (i32.const 300)) (i32.const 0)",
        );
        let trap = guest.run().unwrap_err();
        assert_eq!(trap.exit_code(), Some(300));
    }
}

#[test]
fn the_older_seek_has_its_own_origins() {
    let body = "(call $fd_seek (call $open) (i64.const -3) (i32.const 1) (i32.const 1024))";
    expect(&[Abi::Unstable], body, Errno::SUCCESS, &|guest, _| {
        assert_eq!(guest.u64_at(OUT), 5)
    });
}

#[test]
fn a_bad_pointer_is_a_trap_that_says_where() {
    let dir = fixture();
    let body = "(call $fd_write (i32.const 1) (i32.const -8) (i32.const 1) (i32.const 1024))";
    let mut guest = guest(Abi::Preview1, dir.path(), body);
    let trap = guest.run().unwrap_err();
    assert_eq!(
        trap.to_string(),
        "fd_write: argument `iovs` is out of bounds: 8 bytes at address 0xfffffff8 in a memory of 0x10000 bytes"
    );
    assert!(
        trap.host_error()
            .unwrap()
            .downcast_ref::<tiered_wasi::Fault>()
            .is_some()
    );
    assert_eq!(guest.store.data().output.contents(), b"");
}

#[test]
fn only_calls_that_need_memory_need_it() {
    let dir = fixture();
    let text = |body: &str, name: &str| {
        let import = import(Function::named(name).unwrap(), Abi::Preview1);
        format!("(module {import} (memory 1) (func (export \"run\") (result i32) {body}))")
    };
    let mut without = instantiate(dir.path(), &text("(call $sched_yield)", "sched_yield"));
    assert_eq!(without.run().unwrap(), 0);
    let mut without = instantiate(
        dir.path(),
        &text(
            "(call $random_get (i32.const 0) (i32.const 1))",
            "random_get",
        ),
    );
    let trap = without.run().unwrap_err();
    assert_eq!(
        trap.to_string(),
        "random_get: missing required memory export \"memory\""
    );
}

#[test]
fn memory_that_has_grown_is_seen() {
    let dir = fixture();
    let import = import(Function::named("random_get").unwrap(), Abi::Preview1);
    let text = format!(
        r#"(module {import} (memory (export "memory") 1) (func (export "run") (result i32)
            (drop (memory.grow (i32.const 1)))
            (call $random_get (i32.const 0x10000) (i32.const 0x10000))))"#
    );
    let mut guest = instantiate(dir.path(), &text);
    assert_eq!(guest.run().unwrap(), 0);
    assert!(guest.memory()[0x10000..].iter().any(|&byte| byte != 0));
}

/// The calls copy what they are passed out of a memory that threads share, and their results into it.
#[test]
fn a_shared_memory_serves_as_well() {
    let dir = fixture();
    let output = OutputBuffer::new();
    let engine = Engine::default();
    let text = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "args_sizes_get" (func $args (param i32 i32) (result i32)))
        (memory (export "memory") 1 1 shared)
        (data (i32.const 8) "\20\00\00\00\05\00\00\00") (data (i32.const 32) "hello")
        (func (export "run") (result i32)
            (drop (call $args (i32.const 64) (i32.const 68)))
            (i32.or (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 16))
                (i32.shl (i32.load (i32.const 16)) (i32.const 8))))
        (func (export "outside") (result i32)
            (call $write (i32.const 1) (i32.const 65532) (i32.const 1) (i32.const 16))))"#;
    let module = Module::new(&engine, text).unwrap();
    let mut store = Store::new(&engine, context(dir.path(), &output)).unwrap();
    let mut linker = Linker::new();
    add_to_linker(&mut linker, |wasi: &WasiCtx| wasi).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance.func(&store, "run").unwrap();
    assert_eq!(
        run.call(&mut store, &[]).unwrap(),
        [tiered::Val::I32(5 << 8)]
    );
    assert_eq!(output.contents(), b"hello");
    let memory = instance.memory(&store, "memory").unwrap();
    let mut counts = [0; 4];
    memory.read(&store, 64, &mut counts).unwrap();
    assert_eq!(u32::from_le_bytes(counts), 2);
    let outside = instance.func(&store, "outside").unwrap();
    outside.call(&mut store, &[]).unwrap_err();
}
