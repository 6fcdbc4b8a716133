//! WASI against a host that changes its files meanwhile: no call reaches anything outside of the granted folder, whatever
//! is exchanged for whatever while it looks for a path.
//!
//! A guest does things with paths. A thread of the host exchanges the folders and files on their way for links that lead
//! out, and moves folders out of the grant and back. What is outside has contents, names and a length of its own, which
//! must never come into the guest's memory, and is as it was in the end.

mod attacker;

use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use arbitrary::{Result, Unstructured};
use tempfile::TempDir;
use tiered::{Config, Engine, Instance, Linker, Module, Store};
use tiered_wasi::{Access, WasiCtx};

use crate::wasi_calls::{SECRET, Seen, contains_secret, look};
use attacker::Attacker;

/// The most operations of a guest, and how often it goes through them.
const OPERATIONS: usize = 24;
const ROUNDS: usize = 12;

/// Where the guest has its paths, each with this much room in bytes, and what the calls give it.
const PATH_ROOM: usize = 64;
const OUTPUT: usize = 4096;
const OUTPUT_LEN: usize = 4096;

/// A file outside has the secret this many times; no other file is as long.
const REPEATS: usize = 1107;

/// The name of one of them.
const SECRET_NAME: &str = "nobody-may-see-this-name";

/// Paths below the grant: what is there, what leads to folders that are exchanged, what goes up again.
const PATHS: [&str; 27] = [
    "a",
    "dir",
    "dir/x",
    "dir/sub",
    "dir/sub/y",
    "dir/sub/../x",
    "dir/sub/../../a",
    "dir/sub/..",
    "dir/../a",
    "dir/../dir/sub/y",
    "dir/new",
    "dir/sub/new",
    "new",
    "new/new",
    ".",
    "a.out",
    "dir.out",
    "dir.out/x",
    "dir.out/sub/y",
    "dir/sub.out",
    "dir/sub.out/y",
    "dir/x/",
    "dir/sub/../../outside/x",
    "new/../dir/x",
    "..",
    "../a",
    "../x",
];

/// Races for what `bytes` describe.
pub fn run(bytes: &[u8]) {
    // Too few bytes for the choices to be made are no finding.
    let Ok((guest, moves)) = plan(&mut Unstructured::new(bytes)) else {
        return;
    };
    let world = World::new();
    race(&world, &moves, || {
        let mut guest = Guest::new(&guest, &world);
        for round in 0..ROUNDS {
            guest.round(round);
        }
    });
    world.check();
}

/// Runs `body` while the host makes its moves, again and again.
fn race(world: &World, moves: &[u8], body: impl FnOnce()) {
    /// Ends the moves when the body ends, also by a panic.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let attacker = Attacker::new(world.root.path());
    let stopped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stopped.load(Ordering::Relaxed) {
                moves.iter().for_each(|number| attacker.make(*number));
            }
        });
        let _stop = Stop(&stopped);
        body();
    });
}

/// The operations of the guest and the moves of the host.
fn plan(u: &mut Unstructured<'_>) -> Result<(Vec<Operation>, Vec<u8>)> {
    let mut operations = Vec::new();
    for _ in 0..u.int_in_range(1..=OPERATIONS)? {
        operations.push(Operation {
            kind: u.int_in_range(0..=KINDS.len() as u8 - 1)?,
            path: u.choose_index(PATHS.len())?,
            other: u.choose_index(PATHS.len())?,
            follow: u.arbitrary()?,
            oflags: u.int_in_range(0..=15)?,
        });
    }
    let mut moves = Vec::new();
    for _ in 0..u.int_in_range(1..=8)? {
        moves.push(u.int_in_range(0..=attacker::MOVES - 1)?);
    }
    Ok((operations, moves))
}

/// Something that the guest does.
#[derive(Clone, Copy, Debug)]
struct Operation {
    /// Which of [`KINDS`].
    kind: u8,
    /// The path, and another where it takes one more: which of [`PATHS`].
    path: usize,
    other: usize,
    /// Whether links are followed.
    follow: bool,
    /// How a file is opened.
    oflags: u8,
}

/// What the guest calls: `P` and `Q` stand for the paths with their lengths, `F` for whether links are followed, `O` for how
/// a file is opened, `B` for where output goes. An opened file is read, listed, looked at, written to, looked up from, closed.
const KINDS: [&str; 10] = [
    OPEN,
    OPEN,
    "(drop (call $path_filestat_get (i32.const 3) F P B))",
    "(drop (call $path_create_directory (i32.const 3) P))",
    "(drop (call $path_rename (i32.const 3) P (i32.const 3) Q))",
    "(drop (call $path_symlink Q (i32.const 3) P))",
    "(drop (call $path_link (i32.const 3) F P (i32.const 3) Q))",
    "(drop (call $path_unlink_file (i32.const 3) P))",
    "(drop (call $path_remove_directory (i32.const 3) P))",
    "(drop (call $path_readlink (i32.const 3) P B (i32.const 512) (i32.const 4080)))
     (drop (call $path_filestat_set_times (i32.const 3) F P (i64.const 7) (i64.const 7) (i32.const 5)))",
];

const OPEN: &str = "
    (if (i32.eqz (call $path_open (i32.const 3) F P O
            (i64.const 0x1fffffff) (i64.const 0x1fffffff) (i32.const 0) (i32.const 4000)))
        (then
            (local.set $fd (i32.load (i32.const 4000)))
            (drop (call $fd_read (local.get $fd) (i32.const 4016) (i32.const 1) (i32.const 4080)))
            (drop (call $fd_readdir (local.get $fd) (i32.const 5120) (i32.const 1024) (i64.const 0) (i32.const 4080)))
            (drop (call $fd_filestat_get (local.get $fd) (i32.const 6144)))
            (drop (call $path_filestat_get (local.get $fd) F Q (i32.const 6272)))
            (drop (call $fd_write (local.get $fd) (i32.const 4024) (i32.const 1) (i32.const 4080)))
            (drop (call $path_create_directory (local.get $fd) Q))
            (if (i32.eqz (call $path_open (local.get $fd) F Q (i32.const 0)
                    (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 4004)))
                (then
                    (drop (call $fd_read (i32.load (i32.const 4004)) (i32.const 4032) (i32.const 1) (i32.const 4080)))
                    (drop (call $fd_close (i32.load (i32.const 4004))))))
            (drop (call $fd_close (local.get $fd)))))";

/// The calls that the guest imports, with their parameters.
const IMPORTS: [(&str, &str); 15] = [
    ("path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32"),
    ("path_filestat_get", "i32 i32 i32 i32 i32"),
    ("path_filestat_set_times", "i32 i32 i32 i32 i64 i64 i32"),
    ("path_create_directory", "i32 i32 i32"),
    ("path_rename", "i32 i32 i32 i32 i32 i32"),
    ("path_symlink", "i32 i32 i32 i32 i32"),
    ("path_link", "i32 i32 i32 i32 i32 i32 i32"),
    ("path_unlink_file", "i32 i32 i32"),
    ("path_remove_directory", "i32 i32 i32"),
    ("path_readlink", "i32 i32 i32 i32 i32 i32"),
    ("fd_read", "i32 i32 i32 i32"),
    ("fd_write", "i32 i32 i32 i32"),
    ("fd_readdir", "i32 i32 i32 i64 i32"),
    ("fd_filestat_get", "i32 i32"),
    ("fd_close", "i32"),
];

/// The guest's module: a function for each operation.
fn module(operations: &[Operation]) -> String {
    let mut text = String::from("(module ");
    for (name, params) in IMPORTS {
        text += &format!(
            r#"(import "wasi_snapshot_preview1" "{name}" (func ${name} (param {params}) (result i32)))"#
        );
    }
    text += r#"(memory (export "memory") 1 1)"#;
    for (index, path) in PATHS.iter().enumerate() {
        text += &format!(r#"(data (i32.const {}) "{path}")"#, index * PATH_ROOM);
    }
    // Where is read to, what is written, where is read to by the other.
    text += r#"(data (i32.const 4016) "\00\10\00\00\00\02\00\00\00\00\00\00\08\00\00\00\00\12\00\00\00\02\00\00")"#;
    for (number, operation) in operations.iter().enumerate() {
        let path = |index: usize| {
            let (at, len) = (index * PATH_ROOM, PATHS[index].len());
            format!("(i32.const {at}) (i32.const {len})")
        };
        let body = KINDS[usize::from(operation.kind)]
            .replace(" P", &format!(" {}", path(operation.path)))
            .replace(" Q", &format!(" {}", path(operation.other)))
            .replace(
                " F",
                &format!(" (i32.const {})", u8::from(operation.follow)),
            )
            .replace(" O", &format!(" (i32.const {})", operation.oflags))
            .replace(" B", &format!(" (i32.const {OUTPUT})"));
        text += &format!(r#"(func (export "{number}") (local $fd i32) {body})"#);
    }
    text + ")"
}

/// A guest with the grant.
struct Guest {
    store: Store<WasiCtx>,
    instance: Instance,
    operations: usize,
}

impl Guest {
    fn new(operations: &[Operation], world: &World) -> Guest {
        static ENGINE: OnceLock<Engine> = OnceLock::new();
        let engine = ENGINE.get_or_init(|| Engine::new(&Config::new()));
        let module = Module::new(engine, module(operations)).expect("the module is valid");
        // The grant is opened by its path, which must not be exchanged before.
        let ctx = WasiCtx::builder()
            .preopen_dir(&world.opened, "/g", Access::ReadWrite)
            .build()
            .expect("the grant exists");
        let mut linker = Linker::new();
        tiered_wasi::add_to_linker(&mut linker, |ctx: &WasiCtx| ctx).expect("an empty linker");
        let mut store = Store::new(engine, ctx).expect("a stack can be reserved");
        let instance = linker
            .instantiate(&mut store, &module)
            .expect("all calls are linked");
        Guest {
            store,
            instance,
            operations: operations.len(),
        }
    }

    /// Does everything once, and looks at what came into its memory.
    fn round(&mut self, round: usize) {
        for number in 0..self.operations {
            let func = self.instance.func(&self.store, &number.to_string());
            let func = func.expect("it is exported");
            func.call(&mut self.store, &[]).expect("no call traps");
            let memory = self.instance.memory(&self.store, "memory");
            let memory = memory.expect("it is exported").data_mut(&mut self.store);
            let output = &mut memory[OUTPUT..OUTPUT + OUTPUT_LEN];
            assert!(
                !is_of_outside(output),
                "operation {number} of round {round} read what it may not"
            );
            output.fill(0);
        }
    }
}

/// Whether something of a file outside is in these bytes: contents, its name, its length.
fn is_of_outside(bytes: &[u8]) -> bool {
    let len = (SECRET.len() * REPEATS) as u64;
    let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    contains_secret(bytes) || has(SECRET_NAME.as_bytes()) || has(&len.to_le_bytes())
}

/// A host folder with the grant, and what is outside of it.
struct World {
    root: TempDir,
    /// A way to the grant that the moves leave alone.
    opened: PathBuf,
    outside: Vec<Seen>,
    _grant: fs::File,
}

/// What is beside the grant, where folders are moved to.
const BESIDE: [&str; 4] = ["a", "x", "y", "new"];

impl World {
    fn new() -> World {
        let root = TempDir::with_prefix("tiered-fuzz-race").expect("a folder can be made");
        World::fill(root.path()).expect("files can be made");
        let outside = seen_outside(root.path());
        let grant = fs::File::open(root.path().join("grant")).expect("it is there");
        let fd = grant.as_raw_fd();
        World {
            root,
            opened: format!("/proc/self/fd/{fd}").into(),
            outside,
            _grant: grant,
        }
    }

    fn fill(root: &Path) -> std::io::Result<()> {
        let secret = SECRET.repeat(REPEATS);
        fs::create_dir_all(root.join("grant/dir/sub"))?;
        fs::create_dir_all(root.join("outside/sub"))?;
        fs::create_dir_all(root.join("outside/new"))?;
        fs::create_dir(root.join("beside"))?;
        fs::write(root.join("grant/a"), b"contents of a")?;
        fs::write(root.join("grant/dir/x"), b"contents of x")?;
        fs::write(root.join("grant/dir/sub/y"), b"contents of y")?;
        for path in ["outside/a", "outside/x", "outside/y", "outside/sub/y"] {
            fs::write(root.join(path), &secret)?;
        }
        fs::write(root.join("outside").join(SECRET_NAME), b"")?;
        fs::write(root.join("outside/sub").join(SECRET_NAME), b"")?;
        for name in BESIDE {
            fs::write(root.join("beside").join(name), &secret)?;
        }
        Ok(())
    }

    /// What was not granted is as it was.
    fn check(&self) {
        let root = self.root.path();
        assert_eq!(
            seen_outside(root),
            self.outside,
            "something outside changed"
        );
        for entry in fs::read_dir(root.join("beside")).expect("it is there") {
            let name = entry.expect("it can be read").file_name();
            let known = BESIDE.iter().any(|known| name == *known) || name == "sub" || name == "dir";
            assert!(known, "{name:?} was made outside");
        }
        let names = ["grant", "grant.out", "outside", "beside"];
        for entry in fs::read_dir(root).expect("it is there") {
            let name = entry.expect("it can be read").file_name();
            assert!(
                names.iter().any(|known| name == *known),
                "{name:?} was made outside"
            );
        }
    }
}

/// Everything that is outside and stays where it is.
fn seen_outside(root: &Path) -> Vec<Seen> {
    let beside: Vec<String> = BESIDE.iter().map(|name| format!("beside/{name}")).collect();
    let mut all = vec!["outside"];
    all.extend(beside.iter().map(String::as_str));
    look(root, &all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a file as long as it takes to come outside.
    fn reads_outside(path: &str, moves: &[u8]) -> bool {
        let world = World::new();
        let path = world.root.path().join(path);
        let mut found = false;
        race(&world, moves, || {
            found = (0..1_000_000)
                .any(|_| fs::read(&path).is_ok_and(|contents| contains_secret(&contents)));
        });
        world.check();
        found
    }

    #[test]
    fn a_program_without_a_sandbox_reads_what_is_outside() {
        for (path, number) in [
            ("grant/dir/x", 0),
            ("grant/a", 1),
            ("grant/dir/sub/y", 2),
            ("grant/a", 3),
            ("grant/a", 4),
        ] {
            assert!(
                reads_outside(path, &[number]),
                "move {number} leads {path} nowhere"
            );
        }
    }

    #[test]
    fn a_folder_that_leaves_the_grant_leads_outside() {
        let world = World::new();
        let path = world.root.path().join("grant/dir/sub");
        let mut found = false;
        race(&world, &[5], || {
            found = (0..1_000_000).any(|_| {
                let Ok(folder) = fs::File::open(&path) else {
                    return false;
                };
                let above = format!("/proc/self/fd/{}/../x", folder.as_raw_fd());
                fs::read(above).is_ok_and(|contents| contains_secret(&contents))
            });
        });
        assert!(found);
    }

    #[test]
    fn what_is_outside_is_known() {
        let len = (SECRET.len() * REPEATS) as u64;
        assert!(is_of_outside(&[b"abc", SECRET].concat()));
        assert!(is_of_outside(&[b"abc", &len.to_le_bytes()[..]].concat()));
        assert!(is_of_outside(&[b"abc", SECRET_NAME.as_bytes()].concat()));
        assert!(!is_of_outside(&[0; OUTPUT_LEN]));
    }

    #[test]
    #[should_panic(expected = "outside changed")]
    fn a_file_that_is_made_outside_is_a_finding() {
        let world = World::new();
        fs::write(world.root.path().join("outside/new/new"), b"").expect("it can be made");
        world.check();
    }

    #[test]
    #[should_panic(expected = "outside changed")]
    fn a_file_that_is_changed_outside_is_a_finding() {
        let world = World::new();
        fs::write(world.root.path().join("beside/x"), b"other").expect("it can be written");
        world.check();
    }
}
