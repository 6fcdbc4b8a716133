//! What somebody writes who comes from another runtime and has read no more than the first page.
//!
//! *Invariant:* each test is written in the shortest way that the API allows, and checks what the errors say.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use tiered::{
    Caller, Config, Engine, Error, ExportError, InstantiateError, LinkError, Linker, MemoryError,
    Module, Store, TierMode, Trap, TrapCode,
};

/// Exports `run`, which calls the import `host.f` of the same type.
fn forwarding(ty: &str, args: &str) -> String {
    format!(
        r#"(module (import "host" "f" (func $f {ty})) (memory (export "memory") 1)
            (func (export "run") {ty} {args} (call $f)))"#
    )
}

const LOOP: &str = r#"(module
    (func (export "forever") (loop (br 0)))
    (func (export "one") (result i32) (i32.const 1)))"#;

/// Each way to run code: interrupts reach all of them.
fn engines() -> impl Iterator<Item = Engine> {
    [
        TierMode::Interp,
        TierMode::Jit,
        TierMode::Osr,
        TierMode::Auto,
    ]
    .into_iter()
    .map(|mode| Engine::new(&Config::new().tier(mode)))
}

fn interrupted(result: Result<(), Trap>) {
    let trap = result.expect_err("it is stopped");
    assert_eq!(trap.code(), Some(TrapCode::Interrupted));
}

#[test]
fn a_main_with_one_error_type() {
    fn main() -> Result<i32, Error> {
        let engine = Engine::default();
        let module = Module::new(
            &engine,
            forwarding(
                "(param i32 i32) (result i32)",
                "(local.get 0) (local.get 1)",
            ),
        )?;
        let mut linker = Linker::new();
        linker.func("host", "f", |a: i32, b: i32| a + b)?;
        let mut store = Store::new(&engine, ())?;
        let instance = linker.instantiate(&mut store, &module)?;
        let run = instance.typed_func::<(i32, i32), i32>(&store, "run")?;
        Ok(run.call(&mut store, (2, 40))?)
    }
    assert_eq!(main().expect("nothing fails"), 42);
}

#[test]
fn every_error_is_one_of_a_kind() {
    fn load(text: &str) -> Result<(), Error> {
        let engine = Engine::new(&Config::new().max_memory(1 << 16));
        let module = match text {
            "" => Module::from_file(&engine, "no such file")?,
            text => Module::new(&engine, text.to_owned())?,
        };
        let mut store = Store::new(&engine, ())?;
        let instance = Linker::new().instantiate(&mut store, &module)?;
        let run = instance.typed_func::<(), ()>(&store, "run")?;
        run.call(&mut store, ())?;
        let memory = instance.memory(&store, "memory");
        memory.map_or(Ok(()), |memory| memory.write(&mut store, 65_535, b"ab"))?;
        Ok(())
    }
    let error = |text: &str| load(text).expect_err("it fails");
    assert!(matches!(error(""), Error::Io(error) if error.kind() == io::ErrorKind::NotFound));
    assert!(matches!(error("(module"), Error::Invalid(error) if error.is_text()));
    assert!(matches!(
        error(r#"(module (import "a" "b" (func)))"#),
        Error::Instantiate(InstantiateError::UnknownImport { .. })
    ));
    assert!(matches!(error("(module (memory 2))"), Error::Limit(_)));
    assert!(matches!(
        error("(module)"),
        Error::Export(ExportError::NotFound { .. })
    ));
    let trap = "(module (func $run (export \"run\") unreachable)";
    assert!(matches!(error(&format!("{trap})")), Error::Trap(_)));
    // The start function's trap is the same.
    assert!(matches!(
        error(&format!("{trap} (start $run))")),
        Error::Trap(_)
    ));
    let short = r#"(module (memory (export "memory") 1) (func (export "run")))"#;
    assert!(matches!(
        error(short),
        Error::Memory(MemoryError::OutOfBounds { .. })
    ));

    // What `main` shows.
    let shown = format!("{:?}", error(&format!("{trap})")));
    assert!(
        shown.starts_with("unreachable\nwasm backtrace:\n   0:") && shown.ends_with("- run"),
        "{shown}"
    );
    let shown = format!("{:?}", error("(module\n  (func (export \"f\") (nope)))"));
    assert!(
        shown.starts_with("invalid text at line 2, column 23: ") && shown.contains('^'),
        "{shown}"
    );
}

type Define = fn(&mut Linker<i64>) -> Result<&mut Linker<i64>, LinkError>;

#[test]
fn host_functions_with_and_without_their_caller() -> Result<(), Error> {
    fn plain(a: i64) -> i64 {
        a + 1
    }
    fn with_caller(mut caller: Caller<'_, i64>, a: i64) -> i64 {
        *caller.data_mut() += a;
        a + 2
    }
    let engine = Engine::default();
    let ty = "(param i64) (result i64)";
    let module = Module::new(&engine, forwarding(ty, "(local.get 0)"))?;
    let mut linker = Linker::new();
    linker.allow_shadowing(true);
    let mut store = Store::new(&engine, 0)?;
    let mut found = Vec::new();
    let definitions: [Define; 4] = [
        |linker| linker.func("host", "f", plain),
        |linker| linker.func("host", "f", with_caller),
        |linker| linker.func("host", "f", |a: i64| a + 3),
        |linker| {
            linker.func("host", "f", |caller: Caller<'_, i64>, a: i64| {
                a + caller.data()
            })
        },
    ];
    for define in definitions {
        define(&mut linker)?;
        let instance = linker.instantiate(&mut store, &module)?;
        let run = instance.typed_func::<i64, i64>(&store, "run")?;
        found.push(run.call(&mut store, 10)?);
    }
    assert_eq!(found, [11, 12, 13, 20]);
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct OutOfPaper {
    pages: u32,
}

impl fmt::Display for OutOfPaper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "out of paper at page {}", self.pages)
    }
}

impl std::error::Error for OutOfPaper {}

/// The trap of a host function, `host.f`, that `define` defines.
fn trap_of(
    define: impl FnOnce(&mut Linker<()>) -> Result<&mut Linker<()>, LinkError>,
) -> Result<Trap, Error> {
    let engine = Engine::default();
    let module = Module::new(&engine, forwarding("", ""))?;
    let mut linker = Linker::new();
    define(&mut linker)?;
    let mut store = Store::new(&engine, ())?;
    let instance = linker.instantiate(&mut store, &module)?;
    let run = instance.typed_func::<(), ()>(&store, "run")?;
    Ok(run.call(&mut store, ()).expect_err("the host fails"))
}

#[test]
fn errors_of_host_functions_come_back_by_value() -> Result<(), Error> {
    let trap = trap_of(|linker| {
        linker.func("host", "f", || -> Result<(), OutOfPaper> {
            Err(OutOfPaper { pages: 7 })
        })
    })?;
    assert_eq!(trap.to_string(), "out of paper at page 7");
    assert_eq!(trap.frames().len(), 1);
    assert!(trap.downcast_ref::<io::Error>().is_none());
    let trap = trap.downcast::<io::Error>().expect_err("another error");
    assert_eq!(trap.frames().len(), 1, "it is as it was");
    assert_eq!(trap.downcast_ref(), Some(&OutOfPaper { pages: 7 }));
    assert_eq!(
        trap.downcast::<OutOfPaper>().expect("this one"),
        OutOfPaper { pages: 7 }
    );

    // `?` on what the standard library says.
    let trap = trap_of(|linker| {
        linker.func("host", "f", |_: Caller<'_, ()>| -> io::Result<()> {
            std::fs::read("no such file")?;
            Ok(())
        })
    })?;
    let error = trap
        .downcast::<io::Error>()
        .expect("an error of the host's");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);

    // Errors of all sorts in a box, and mere text.
    let trap = trap_of(|linker| {
        let body = || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            Err(OutOfPaper { pages: 8 })?;
            Ok(())
        };
        linker.func("host", "f", body)
    })?;
    assert_eq!(
        trap.downcast::<OutOfPaper>()
            .expect("what is in the box")
            .pages,
        8
    );
    let trap = trap_of(|linker| linker.func("host", "f", || -> Result<(), &str> { Err("no") }))?;
    assert_eq!(trap.to_string(), "no");
    let trap = trap_of(|linker| {
        linker.func("host", "f", || -> Result<(), String> {
            Err("no".to_owned())
        })
    })?;
    assert_eq!(
        trap.host_error().map(ToString::to_string).as_deref(),
        Some("no")
    );
    Ok(())
}

#[test]
fn an_anyhow_error_keeps_its_message_and_sources() -> Result<(), Error> {
    use anyhow::Context;
    let trap = trap_of(|linker| {
        linker.func("host", "f", || -> anyhow::Result<()> {
            Err(OutOfPaper { pages: 9 }).context("while printing")
        })
    })?;
    assert_eq!(trap.to_string(), "while printing");
    let source = std::error::Error::source(&trap).map(ToString::to_string);
    assert_eq!(source.as_deref(), Some("out of paper at page 9"));
    if cfg!(feature = "anyhow") {
        assert_eq!(
            trap.downcast::<OutOfPaper>()
                .expect("below its context")
                .pages,
            9
        );
        let trap = trap_of(|linker| {
            linker.func("host", "f", || -> anyhow::Result<()> {
                Err(Trap::exit(3)).context("while leaving")
            })
        })?;
        assert_eq!(trap.exit_code(), Some(3));
    }
    Ok(())
}

#[test]
fn a_trap_that_is_returned_stays_that_trap() -> Result<(), Error> {
    type Boxed = Box<dyn std::error::Error + Send + Sync>;
    let exits = [
        trap_of(|linker| linker.func("host", "f", || -> Result<(), Trap> { Err(Trap::exit(3)) }))?,
        trap_of(|linker| {
            linker.func("host", "f", || -> Result<(), Boxed> {
                Err(Trap::exit(3).into())
            })
        })?,
        trap_of(|linker| {
            linker.func("host", "f", || -> Result<(), Error> {
                Err(Trap::exit(3).into())
            })
        })?,
        trap_of(|linker| {
            linker.func("host", "f", || -> Result<(), InstantiateError> {
                Err(Trap::exit(3).into())
            })
        })?,
    ];
    for trap in exits {
        assert_eq!(trap.exit_code(), Some(3));
    }
    let trap = trap_of(|linker| {
        linker.func("host", "f", || -> Result<(), TrapCode> {
            Err(TrapCode::MemoryOutOfBounds)
        })
    })?;
    assert_eq!(trap.code(), Some(TrapCode::MemoryOutOfBounds));
    Ok(())
}

#[test]
fn a_typed_func_says_what_is_wrong() -> Result<(), Error> {
    let engine = Engine::default();
    let module = Module::new(&engine, forwarding("(param i32)", "(local.get 0)"))?;
    let mut linker = Linker::new();
    linker.func("host", "f", |_: i32| {})?;
    let mut store = Store::new(&engine, ())?;
    let instance = linker.instantiate(&mut store, &module)?;
    let error = |name| {
        let error = instance.typed_func::<(), f64>(&store, name);
        error.expect_err("there is none").to_string()
    };
    assert_eq!(
        error("main"),
        r#"no export "main": expected func [] -> [f64], and the module exports "memory", "run""#
    );
    assert_eq!(
        error("run"),
        r#"incompatible export "run": expected func [] -> [f64], found func [i32] -> []"#
    );
    assert_eq!(
        error("memory"),
        r#"incompatible export "memory": expected func [] -> [f64], found memory 1"#
    );

    let many: String = (0..11)
        .map(|n| format!("(func (export \"f{n}\"))"))
        .collect();
    for (text, end) in [
        (
            format!("(module {many})"),
            r#""f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", and 3 more"#,
        ),
        ("(module)".to_owned(), "nothing"),
    ] {
        let module = Module::new(&engine, text)?;
        let instance = linker.instantiate(&mut store, &module)?;
        let error = instance
            .typed_func::<(), ()>(&store, "run")
            .expect_err("there is none");
        let text = error.to_string();
        assert!(
            text.ends_with(&format!("the module exports {end}")),
            "{text}"
        );
    }
    Ok(())
}

#[test]
fn memories_are_read_and_written_within_their_bounds() -> Result<(), Error> {
    let engine = Engine::default();
    let text = r#"(module (memory (export "heap") 1) (data (i32.const 65530) "end\ff"))"#;
    let module = Module::new(&engine, text)?;
    let mut store = Store::new(&engine, ())?;
    let instance = Linker::new().instantiate(&mut store, &module)?;
    let memory = instance.memory(&store, "heap").expect("it is exported");

    memory.write(&mut store, 8, "größer".as_bytes())?;
    assert_eq!(memory.read_str(&store, 8, 8)?, "größer");
    let mut three = [0; 3];
    memory.read(&store, 65_530, &mut three)?;
    assert_eq!(&three, b"end");
    memory.write(&mut store, 65_536, b"")?;
    assert_eq!(memory.slice(&store, 65_536, 0)?, b"");

    let out_of_bounds =
        |result: Result<(), MemoryError>| result.expect_err("out of bounds").to_string();
    assert_eq!(
        out_of_bounds(memory.write(&mut store, 65_534, b"abc")),
        "3 bytes at 0xfffe are not within the memory of 0x10000 bytes"
    );
    assert_eq!(
        memory.slice(&store, 65_534, 2)?,
        [0, 0],
        "nothing was written"
    );
    assert_eq!(
        out_of_bounds(memory.read(&store, usize::MAX, &mut three)),
        "3 bytes at 0xffffffffffffffff are not within the memory of 0x10000 bytes"
    );
    assert_eq!(
        out_of_bounds(memory.read_str(&store, 65_532, 2).map(drop)),
        "the 2 bytes at 0xfffc are not UTF-8: invalid utf-8 sequence of 1 bytes from index 1"
    );
    Ok(())
}

#[test]
fn a_caller_has_memories_of_any_name() -> Result<(), Error> {
    let engine = Engine::default();
    let text = r#"(module (import "host" "upper" (func $upper (param i32 i32)))
        (memory (export "heap") 1) (data (i32.const 4) "quiet")
        (func (export "run") (call $upper (i32.const 4) (i32.const 5)))
        (func (export "far") (call $upper (i32.const 65535) (i32.const 5))))"#;
    let module = Module::new(&engine, text)?;
    let mut linker = Linker::new();
    let upper = |mut caller: Caller<'_, Vec<String>>, at: u32, len: u32| -> Result<(), Error> {
        assert!(caller.memory().is_none(), "that is the one called `memory`");
        let heap = caller.export("heap").and_then(tiered::Extern::memory);
        let heap = heap.ok_or_else(|| Trap::message("no heap"))?;
        let word = heap
            .read_str(&caller, at as usize, len as usize)?
            .to_uppercase();
        heap.write(&mut caller, at as usize, word.as_bytes())?;
        let (bytes, words) = caller.bytes_and_data(heap);
        words.push(
            String::from_utf8_lossy(&bytes[..16])
                .trim_matches('\0')
                .to_owned(),
        );
        Ok(())
    };
    linker.func("host", "upper", upper)?;
    let mut store = Store::new(&engine, Vec::new())?;
    let instance = linker.instantiate(&mut store, &module)?;
    instance
        .typed_func::<(), ()>(&store, "run")?
        .call(&mut store, ())?;
    assert_eq!(*store.data(), ["QUIET"]);
    let far = instance.typed_func::<(), ()>(&store, "far")?;
    let trap = far.call(&mut store, ()).expect_err("out of bounds");
    assert_eq!(
        trap.to_string(),
        "5 bytes at 0xffff are not within the memory of 0x10000 bytes"
    );
    assert!(matches!(trap.downcast::<Error>(), Ok(Error::Memory(_))));
    Ok(())
}

#[test]
fn a_linker_refuses_what_is_defined_already() -> Result<(), Error> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ())?;
    let exports = Module::new(
        &engine,
        r#"(module (func (export "a")) (func (export "f")))"#,
    )?;
    let exports = Linker::new().instantiate(&mut store, &exports)?;

    let mut linker = Linker::new();
    linker.func("host", "f", || 1)?.func("host", "g", || 2)?;
    let error = linker.func("host", "f", || 3).expect_err("it is defined");
    assert_eq!(error.to_string(), r#""host" "f" is defined already"#);
    let error = linker
        .instance(&store, "host", exports)
        .expect_err("it is defined");
    assert_eq!(
        error,
        LinkError::AlreadyDefined {
            module: "host".to_owned(),
            name: "f".to_owned()
        }
    );
    assert!(
        !linker.is_defined("host", "a"),
        "all of an instance or nothing"
    );
    linker.allow_shadowing(true);
    linker
        .instance(&store, "host", exports)?
        .func("host", "f", || 4)?;
    linker.allow_shadowing(false);
    linker.func("host", "a", || 5).expect_err("it is defined");

    let module = Module::new(&engine, forwarding("(result i32)", ""))?;
    let instance = linker.instantiate(&mut store, &module)?;
    assert_eq!(
        instance
            .typed_func::<(), i32>(&store, "run")?
            .call(&mut store, ())?,
        4
    );
    Ok(())
}

#[test]
fn unknown_imports_may_be_traps() -> Result<(), Error> {
    let engine = Engine::default();
    let text = r#"(module (import "env" "known" (func $known (result i32)))
        (import "env" "unknown" (func $unknown (param i64) (result f32)))
        (func (export "run") (result i32) (call $known))
        (func (export "call") (drop (call $unknown (i64.const 1)))))"#;
    let module = Module::new(&engine, text)?;
    let mut linker = Linker::new();
    linker.func("env", "known", || 6)?;
    linker.define_unknown_imports_as_traps(&module);
    let mut store = Store::new(&engine, ())?;
    let instance = linker.instantiate(&mut store, &module)?;
    assert_eq!(
        instance
            .typed_func::<(), i32>(&store, "run")?
            .call(&mut store, ())?,
        6
    );
    let call = instance.typed_func::<(), ()>(&store, "call")?;
    let trap = call.call(&mut store, ()).expect_err("nobody has it");
    assert_eq!(
        trap.to_string(),
        r#"unknown import "env" "unknown" was called"#
    );

    let text = r#"(module (import "env" "m" (memory 1)))"#;
    let module = Module::new(&engine, text)?;
    linker.define_unknown_imports_as_traps(&module);
    linker
        .instantiate(&mut store, &module)
        .expect_err("a memory does not trap");
    Ok(())
}

#[test]
fn a_deadline_stops_the_guest_until_there_is_another() -> Result<(), Error> {
    for engine in engines() {
        let module = Module::new(&engine, LOOP)?;
        let mut store = Store::new(&engine, ())?;
        let instance = Linker::new().instantiate(&mut store, &module)?;
        let forever = instance.typed_func::<(), ()>(&store, "forever")?;
        let one = instance.typed_func::<(), i32>(&store, "one")?;
        for _ in 0..3 {
            let begin = Instant::now();
            let deadline = begin + Duration::from_millis(30);
            store.set_deadline(Some(deadline))?;
            assert_eq!(store.deadline(), Some(deadline));
            interrupted(forever.call(&mut store, ()));
            assert!(begin.elapsed() >= Duration::from_millis(30), "not before");
            // It has passed, so there is no time for another call.
            interrupted(one.call(&mut store, ()).map(drop));
            store.set_deadline(Some(Instant::now() + Duration::from_secs(600)))?;
            assert_eq!(one.call(&mut store, ())?, 1);
        }
        // One that has passed already counts at once; none counts no more.
        store.set_deadline(Some(Instant::now()))?;
        interrupted(one.call(&mut store, ()).map(drop));
        store.set_deadline(None)?;
        assert_eq!(one.call(&mut store, ())?, 1);
    }
    Ok(())
}

/// The names of the threads of this process.
#[cfg(target_os = "linux")]
fn deadline_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("a process has threads");
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names
        .filter(|name| name.trim() == "tiered-deadline")
        .count()
}

/// Other tests of this file have deadlines at the same time, so only the upper bound is certain at once.
#[cfg(target_os = "linux")]
#[test]
fn one_thread_serves_all_deadlines_and_ends() -> Result<(), Error> {
    let engine = Engine::new(&Config::new().tier(TierMode::Interp));
    let in_an_hour = Instant::now() + Duration::from_secs(3600);
    let mut stores = Vec::new();
    for number in 0..100 {
        let mut store = Store::new(&engine, ())?;
        store.set_deadline(Some(in_an_hour + Duration::from_secs(number)))?;
        stores.push(store);
    }
    // The thread names itself once it runs.
    let patience = Instant::now() + Duration::from_secs(60);
    while deadline_threads() != 1 {
        assert!(Instant::now() < patience, "{} threads", deadline_threads());
        std::thread::yield_now();
    }
    drop(stores);
    while deadline_threads() != 0 {
        assert!(Instant::now() < patience, "the thread waits for nothing");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[test]
fn deadlines_of_many_stores() -> Result<(), Error> {
    let engine = Engine::default();
    let module = Module::new(&engine, LOOP)?;
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let (engine, module) = (&engine, &module);
            scope.spawn(move || -> Result<(), Error> {
                let mut store = Store::new(engine, ())?;
                let instance = Linker::new().instantiate(&mut store, module)?;
                let forever = instance.typed_func::<(), ()>(&store, "forever")?;
                for round in 0..10 {
                    // Later and earlier ones than those of the others, and ones that are replaced.
                    let time = Duration::from_millis(1 + (thread * 7 + round * 5) % 20);
                    store.set_deadline(Some(Instant::now() + time * 3))?;
                    let begin = Instant::now();
                    store.set_deadline(Some(begin + time))?;
                    interrupted(forever.call(&mut store, ()));
                    assert!(begin.elapsed() >= time, "not before");
                }
                Ok(())
            });
        }
    });
    Ok(())
}

#[test]
fn a_host_function_may_move_the_deadline() -> Result<(), Error> {
    for engine in engines() {
        let module = Module::new(&engine, forwarding("(result i32)", ""))?;
        let mut linker = Linker::new();
        linker.func(
            "host",
            "f",
            |mut caller: Caller<'_, ()>| -> Result<i32, Error> {
                caller.set_deadline(Some(Instant::now()))?;
                caller.set_deadline(None)?;
                Ok(9)
            },
        )?;
        let mut store = Store::new(&engine, ())?;
        store.set_deadline(Some(Instant::now() + Duration::from_secs(600)))?;
        let instance = linker.instantiate(&mut store, &module)?;
        let run = instance.typed_func::<(), i32>(&store, "run")?;
        assert_eq!(run.call(&mut store, ())?, 9);
    }
    Ok(())
}

#[test]
fn epochs_stop_the_stores_that_reach_them() -> Result<(), Error> {
    for engine in engines() {
        let module = Module::new(&engine, LOOP)?;
        let new = |ticks| -> Result<_, Error> {
            let mut store = Store::new(&engine, ())?;
            let instance = Linker::new().instantiate(&mut store, &module)?;
            store.set_epoch_deadline(ticks);
            let one = instance.typed_func::<(), i32>(&store, "one")?;
            let forever = instance.typed_func::<(), ()>(&store, "forever")?;
            Ok((store, one, forever))
        };
        let mut stores = [new(0)?, new(1)?, new(2)?, new(u64::MAX)?];
        for reached in 1..=3 {
            for (index, (store, one, _)) in stores.iter_mut().enumerate() {
                let is_reached = index < reached;
                assert_eq!(
                    one.call(store, ()).is_err(),
                    is_reached,
                    "{index} at {reached}"
                );
            }
            engine.increment_epoch();
        }
        let (store, one, forever) = &mut stores[2];
        store.set_epoch_deadline(1);
        assert_eq!(one.call(store, ())?, 1, "there is time again");
        let engine = engine.clone();
        let ticker = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            engine.increment_epoch();
        });
        interrupted(forever.call(store, ()));
        ticker.join().expect("it does not panic");
        store.set_epoch_deadline(u64::MAX);
        assert_eq!(one.call(store, ())?, 1);
    }
    Ok(())
}

#[test]
fn an_interrupt_that_is_late_hits_nobody() -> Result<(), Error> {
    for engine in engines() {
        let module = Module::new(&engine, LOOP)?;
        let mut store = Store::new(&engine, ())?;
        let instance = Linker::new().instantiate(&mut store, &module)?;
        let one = instance.typed_func::<(), i32>(&store, "one")?;
        let forever = instance.typed_func::<(), ()>(&store, "forever")?;

        let late = store.interrupt_handle();
        late.interrupt();
        interrupted(one.call(&mut store, ()).map(drop));
        assert_eq!(one.call(&mut store, ())?, 1, "an interrupt is for one call");
        late.interrupt();
        late.clear();
        assert_eq!(one.call(&mut store, ())?, 1);

        // The next user of the store has handles of its own.
        late.interrupt();
        store.revoke_interrupt_handles();
        late.interrupt();
        assert_eq!(one.call(&mut store, ())?, 1);
        let handle = store.interrupt_handle();
        let watchdog = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            late.interrupt();
            std::thread::sleep(Duration::from_millis(20));
            handle.interrupt();
        });
        interrupted(forever.call(&mut store, ()));
        watchdog.join().expect("it does not panic");
        assert_eq!(one.call(&mut store, ())?, 1);
    }
    Ok(())
}

/// Whatever comes when: a call that is over is not stopped, and the store goes on.
#[test]
fn interrupts_that_race_with_the_end_of_calls() -> Result<(), Error> {
    for engine in engines() {
        let module = Module::new(&engine, LOOP)?;
        let mut store = Store::new(&engine, ())?;
        let instance = Linker::new().instantiate(&mut store, &module)?;
        let one = instance.typed_func::<(), i32>(&store, "one")?;
        let (send, receive) = std::sync::mpsc::channel::<tiered::InterruptHandle>();
        let watchdog =
            std::thread::spawn(move || receive.iter().for_each(|handle| handle.interrupt()));
        for _ in 0..2_000 {
            store.revoke_interrupt_handles();
            send.send(store.interrupt_handle())
                .expect("somebody listens");
            match one.call(&mut store, ()) {
                Ok(result) => assert_eq!(result, 1),
                Err(trap) => assert_eq!(trap.code(), Some(TrapCode::Interrupted)),
            }
        }
        drop(send);
        watchdog.join().expect("it does not panic");
        store.revoke_interrupt_handles();
        assert_eq!(one.call(&mut store, ())?, 1);
    }
    Ok(())
}

#[test]
fn stores_that_end_wait_for_nothing() -> Result<(), Error> {
    let engine = Engine::default();
    let mut handles = Vec::new();
    for _ in 0..100 {
        let mut store = Store::new(&engine, ())?;
        store.set_epoch_deadline(1);
        store.set_deadline(Some(Instant::now() + Duration::from_millis(5)))?;
        handles.push(store.interrupt_handle());
    }
    engine.increment_epoch();
    std::thread::sleep(Duration::from_millis(20));
    handles.iter().for_each(tiered::InterruptHandle::interrupt);
    Ok(())
}
