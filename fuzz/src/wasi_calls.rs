//! WASI: no sequence of calls panics, waits, or reaches anything outside what was granted.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use arbitrary::{Result, Unstructured};
use tempfile::TempDir;
use tiered::{Config, Engine, Extern, Instance, Linker, Module, Store, Val};
use tiered_wasi::{
    Abi, Access, FUNCTIONS, Function, GuestMemory, InputBuffer, OutputBuffer, Stdin, Stdout,
    WasiCtx,
};

/// The guest's memory.
const MEMORY: usize = 1 << 16;

/// Bytes around the memory that no call may touch.
const MARGIN: usize = 4096;

/// What stands outside of every grant, again and again, and must never come into the guest's memory. Its first byte comes
/// once.
pub(crate) const SECRET: &[u8] = b"~ nobody who was not granted this may read it";

/// Where paths are laid down for the calls: one per this number of bytes.
const PATHS_AT: u32 = 0x8000;
const PATH_ROOM: u32 = 64;

/// Names that lead to something, to nothing, and out.
const PATHS: [&str; 40] = [
    "a",
    "b",
    "c",
    "new",
    "dir",
    "dir/x",
    "dir/sub",
    "dir/sub/y",
    ".",
    "..",
    "./a",
    "dir/..",
    "dir/../a",
    "../outside/secret",
    "dir/../../outside/secret",
    "/",
    "/a",
    "/etc/passwd",
    "out_relative",
    "out_absolute",
    "out_dir",
    "out_dir/secret",
    "out_dir/../rw/a",
    "in_link",
    "in_dir_link/x",
    "loop",
    "loop/x",
    "dangling",
    "a/",
    "dir/",
    "dir//x",
    "a/x",
    "dir/.",
    "dir/./x",
    "",
    "../rw/a",
    "../ro/kept",
    "kept",
    "kept_dir/z",
    "out_dir/new",
];

/// Makes the calls that `bytes` describe.
pub fn run(bytes: &[u8]) {
    let u = &mut Unstructured::new(bytes);
    // An input that holds the secret would find it.
    if bytes
        .windows(8)
        .any(|window| SECRET.windows(8).any(|part| part == window))
    {
        return;
    }
    let world = World::new();
    // Too few bytes for the choices to be made end the sequence.
    let _ = sequence(u, &world);
    world.check();
}

/// A host directory with grants and what is outside of them.
struct World {
    root: TempDir,
    outside: Vec<Seen>,
}

/// What can be seen of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    path: PathBuf,
    contents: Vec<u8>,
    len: u64,
    readonly: bool,
    modified: Option<SystemTime>,
}

impl World {
    fn new() -> World {
        let root = TempDir::with_prefix("tiered-fuzz").expect("a directory can be made");
        let at = |path: &str| root.path().join(path);
        let make = || -> std::io::Result<()> {
            fs::create_dir_all(at("rw/dir/sub"))?;
            fs::create_dir_all(at("ro/kept_dir"))?;
            fs::create_dir(at("outside"))?;
            fs::write(at("outside/secret"), SECRET.repeat(10))?;
            fs::write(at("rw/a"), b"contents of a")?;
            fs::write(at("rw/dir/x"), [7; 300])?;
            fs::write(at("rw/dir/sub/y"), b"")?;
            fs::write(at("ro/kept"), b"kept as it is")?;
            fs::write(at("ro/kept_dir/z"), b"kept as well")?;
            for grant in ["rw", "ro"] {
                let link = |target: &Path, name: &str| {
                    std::os::unix::fs::symlink(target, at(grant).join(name))
                };
                link(Path::new("../outside/secret"), "out_relative")?;
                link(&at("outside/secret"), "out_absolute")?;
                link(Path::new("../outside"), "out_dir")?;
                link(Path::new("a"), "in_link")?;
                link(Path::new("dir"), "in_dir_link")?;
                link(Path::new("loop"), "loop")?;
                link(Path::new("nowhere"), "dangling")?;
            }
            Ok(())
        };
        make().expect("files can be made");
        let outside = look(root.path(), &["outside", "ro"]);
        World { root, outside }
    }

    /// What was not granted for writing is as it was.
    fn check(&self) {
        assert_eq!(look(self.root.path(), &["outside", "ro"]), self.outside);
        let mut tops: Vec<_> = fs::read_dir(self.root.path())
            .expect("it is there")
            .map(|entry| entry.expect("it can be read").file_name())
            .collect();
        tops.sort();
        assert_eq!(tops, ["outside", "ro", "rw"]);
    }
}

/// All files below these folders.
pub(crate) fn look(root: &Path, folders: &[&str]) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut pending: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    while let Some(path) = pending.pop() {
        let metadata = path.symlink_metadata().expect("it is there");
        let contents = if metadata.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder can be read");
            pending.extend(entries.map(|entry| entry.expect("an entry can be read").path()));
            Vec::new()
        } else if metadata.is_symlink() {
            fs::read_link(&path)
                .expect("a link can be read")
                .into_os_string()
                .into_encoded_bytes()
        } else {
            fs::read(&path).expect("a file can be read")
        };
        let (len, readonly) = (metadata.len(), metadata.permissions().readonly());
        seen.push(Seen {
            path,
            contents,
            len,
            readonly,
            modified: metadata.modified().ok(),
        });
    }
    seen.sort_by(|a, b| a.path.cmp(&b.path));
    seen
}

fn sequence(u: &mut Unstructured<'_>, world: &World) -> Result<()> {
    let listening = u.ratio(1, 64)?;
    let mut builder = WasiCtx::builder()
        .args(["program", "--flag", "ünïcode"])
        .env("NAME", "value")
        .env("EMPTY", "")
        .stdout(Stdout::Buffer(OutputBuffer::new()))
        .max_open_fds(u.int_in_range(6..=30)?)
        .preopen_dir(world.root.path().join("rw"), "/rw", Access::ReadWrite)
        .preopen_dir(world.root.path().join("ro"), "ro", Access::ReadOnly)
        .trace(|call| drop(call.to_string()));
    if u.arbitrary()? {
        builder = builder.stdin(Stdin::Buffer(InputBuffer::new(b"some input\n".repeat(20))));
    }
    if listening && let Ok(listener) = std::net::TcpListener::bind("127.0.0.1:0") {
        builder = builder.tcp_listener(listener);
    }
    let ctx = builder.build().expect("the grants exist");
    // What would wait for somebody to connect is broken at once.
    if listening || u.ratio(1, 16)? {
        ctx.interrupt_handle().interrupt();
    }
    let mut guest = if u.ratio(1, 4)? {
        Guest::linked(ctx)
    } else {
        Guest::plain(ctx)
    };
    lay_paths(guest.memory());
    for _ in 0..u.int_in_range(1..=60)? {
        if u.ratio(1, 4)? {
            scribble(u, guest.memory())?;
        }
        guest.call(u)?;
    }
    Ok(())
}

fn lay_paths(memory: &mut [u8]) {
    for (index, path) in PATHS.iter().enumerate() {
        let at = PATHS_AT as usize + index * PATH_ROOM as usize;
        memory[at..at + path.len()].copy_from_slice(path.as_bytes());
    }
}

/// Changes a few bytes of memory: a path, a list of buffers, anything.
fn scribble(u: &mut Unstructured<'_>, memory: &mut [u8]) -> Result<()> {
    let at = if u.ratio(3, 4)? {
        PATHS_AT as usize + u.choose_index(PATHS.len())? * PATH_ROOM as usize
    } else {
        u.choose_index(MEMORY - 64)?
    };
    let mut bytes = Vec::new();
    match u.int_in_range(0..=2)? {
        0 => {
            for _ in 0..u.int_in_range(1..=4)? {
                bytes.extend(u.int_in_range::<u32>(0..=0x1_0010)?.to_le_bytes());
                bytes.extend(u.int_in_range::<u32>(0..=300)?.to_le_bytes());
            }
        }
        1 => {
            for _ in 0..u.int_in_range(1..=4)? {
                bytes.extend(u.choose(&PATHS)?.as_bytes());
                bytes.push(b'/');
            }
        }
        _ => {
            let len = u.len().min(20);
            bytes.extend(u.bytes(len)?);
        }
    }
    bytes.truncate(64);
    memory[at..at + bytes.len()].copy_from_slice(&bytes);
    Ok(())
}

/// How the calls are made.
enum Guest {
    /// By the bodies, on bytes.
    Plain { ctx: Box<WasiCtx>, bytes: Vec<u8> },
    /// By a module that imports them all.
    Linked {
        store: Box<Store<WasiCtx>>,
        instance: Instance,
    },
}

impl Guest {
    fn plain(ctx: WasiCtx) -> Guest {
        Guest::Plain {
            ctx: Box::new(ctx),
            bytes: vec![0xa5; MARGIN + MEMORY + MARGIN],
        }
    }

    fn linked(ctx: WasiCtx) -> Guest {
        static MODULE: OnceLock<(Engine, Module)> = OnceLock::new();
        let (engine, module) = MODULE.get_or_init(|| {
            let engine = Engine::new(&Config::new());
            let module = Module::new(&engine, all_calls()).expect("the module is valid");
            (engine, module)
        });
        let mut linker = Linker::new();
        tiered_wasi::add_to_linker(&mut linker, |ctx: &WasiCtx| ctx).expect("an empty linker");
        let mut store = Store::new(engine, ctx).expect("a stack can be reserved");
        let module = Arc::clone(module);
        let instance = linker
            .instantiate(&mut store, &module)
            .expect("all calls are linked");
        Guest::Linked {
            store: Box::new(store),
            instance,
        }
    }

    fn memory(&mut self) -> &mut [u8] {
        match self {
            Guest::Plain { bytes, .. } => &mut bytes[MARGIN..MARGIN + MEMORY],
            Guest::Linked { store, instance } => {
                let memory = instance.memory(store, "memory").expect("it is exported");
                memory.data_mut(store)
            }
        }
    }

    /// Makes some call with arguments that often make sense.
    fn call(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let function = u.choose(FUNCTIONS)?;
        let abi = if u.ratio(1, 3)? && function.in_unstable {
            Abi::Unstable
        } else {
            Abi::Preview1
        };
        let args = arguments(function, u)?;
        if function.name == "poll_oneoff" {
            shorten_waits(self.memory(), abi, &args);
        }
        match self {
            Guest::Plain { ctx, bytes } => {
                let memory = &mut GuestMemory::new(&mut bytes[MARGIN..MARGIN + MEMORY]);
                if let Ok(errno) = function.call(ctx, memory, abi, &args) {
                    let _ = errno.name();
                }
                let margins = bytes[..MARGIN].iter().chain(&bytes[MARGIN + MEMORY..]);
                assert!(
                    margins.into_iter().all(|&byte| byte == 0xa5),
                    "{} wrote outside",
                    function.name
                );
            }
            Guest::Linked { store, instance } => {
                let name = format!("{} {}", abi.module(), function.name);
                let Some(Extern::Func(func)) = instance.export(store, &name) else {
                    panic!("{name} is exported")
                };
                let values = args.iter().zip(function.params);
                let values: Vec<Val> = values
                    .map(|(&arg, param)| {
                        if param.wide {
                            Val::I64(arg.cast_signed())
                        } else {
                            Val::I32(arg as i32)
                        }
                    })
                    .collect();
                let _ = func.call(store, &values);
            }
        }
        let memory = self.memory();
        assert_eq!(memory.len(), MEMORY);
        assert!(
            !contains_secret(memory),
            "{} read what it may not",
            function.name
        );
        Ok(())
    }
}

pub(crate) fn contains_secret(memory: &[u8]) -> bool {
    memory
        .split(|&byte| byte == SECRET[0])
        .any(|rest| rest.starts_with(&SECRET[1..16]))
}

/// A module that imports every call of both modules, and exports a function for each.
fn all_calls() -> String {
    let (mut imports, mut funcs) = (String::new(), String::new());
    for abi in [Abi::Preview1, Abi::Unstable] {
        for function in FUNCTIONS
            .iter()
            .filter(|function| abi == Abi::Preview1 || function.in_unstable)
        {
            let params: Vec<&str> = function
                .params
                .iter()
                .map(|param| if param.wide { "i64" } else { "i32" })
                .collect();
            let (module, name, params) = (abi.module(), function.name, params.join(" "));
            let result = if function.returns { "(result i32)" } else { "" };
            let ty = format!("(param {params}) {result}");
            imports += &format!(r#"(import "{module}" "{name}" (func ${module}.{name} {ty}))"#);
            let args: String = (0..function.params.len())
                .map(|index| format!("(local.get {index})"))
                .collect();
            funcs += &format!(
                r#"(func (export "{module} {name}") {ty} (call ${module}.{name} {args}))"#
            );
        }
    }
    format!(r#"(module {imports} (memory (export "memory") 1 1) {funcs})"#)
}

/// Arguments, by the names of the parameters: descriptors, places in memory, lengths, flags.
fn arguments(function: &Function, u: &mut Unstructured<'_>) -> Result<Vec<u64>> {
    let mut args: Vec<u64> = Vec::new();
    for (position, param) in function.params.iter().enumerate() {
        let arg = match param.name {
            "fd" | "to" | "old_fd" | "new_fd" => match u.int_in_range(0..=9)? {
                0 => u.int_in_range(0..=40)?,
                1 => u64::from(u.arbitrary::<u32>()?),
                2..=5 => 3,
                6 => 4,
                _ => u.int_in_range(4..=9)?,
            },
            "path" | "old_path" | "new_path" if u.ratio(9, 10)? => {
                let index = u.choose_index(PATHS.len())?;
                // The length that follows is right most of the time.
                u64::from(PATHS_AT) + (index as u64) * u64::from(PATH_ROOM)
            }
            "path_len" | "old_path_len" | "new_path_len" if u.ratio(9, 10)? => {
                let index = args[position - 1].wrapping_sub(PATHS_AT.into()) / u64::from(PATH_ROOM);
                PATHS
                    .get(index as usize)
                    .map_or(7, |path| path.len() as u64)
            }
            "oflags" | "fdflags" | "dirflags" | "flags" | "old_flags" | "fst_flags"
            | "ri_flags" | "si_flags" | "how" | "whence" | "advice" | "id" | "signal" => {
                if u.ratio(15, 16)? {
                    u.int_in_range(0..=16)?
                } else {
                    u.arbitrary::<u32>()?.into()
                }
            }
            "fs_rights_base" | "fs_rights_inheriting" => {
                if u.ratio(3, 4)? {
                    u64::MAX >> 35
                } else {
                    u.arbitrary()?
                }
            }
            name if name.ends_with("len") || name == "nsubscriptions" => {
                match u.int_in_range(0..=7)? {
                    0 => u.arbitrary::<u32>()?.into(),
                    1 => u.int_in_range(0..=2000)?,
                    _ => u.int_in_range(0..=4)?,
                }
            }
            _ if param.wide => match u.int_in_range(0..=3)? {
                0 => u.arbitrary()?,
                1 => u64::from(u.arbitrary::<u32>()?),
                _ => u.int_in_range(0..=400)?,
            },
            _ => match u.int_in_range(0..=9)? {
                0 => u.arbitrary::<u32>()?.into(),
                1 => MEMORY as u64 - u.int_in_range(0..=40)?,
                2 => u.int_in_range(0..=MEMORY as u64)?,
                3 => u64::from(PATHS_AT) + u.int_in_range(0..=40 * u64::from(PATH_ROOM))?,
                _ => u.int_in_range(0..=0xfff)? * 8,
            },
        };
        args.push(arg);
    }
    // A file may not become so large that the host runs out of room.
    if function.name == "fd_allocate" {
        args[1] %= 1 << 16;
        args[2] %= 1 << 16;
    }
    Ok(args)
}

/// Makes every clock that a poll would wait for one that has run out.
fn shorten_waits(memory: &mut [u8], abi: Abi, args: &[u64]) {
    let size = if abi == Abi::Unstable { 56 } else { 48 };
    let timeout_at = if abi == Abi::Unstable { 32 } else { 24 };
    let from = args[0] as usize;
    let Some(subscriptions) = memory.get_mut(from..) else {
        return;
    };
    for subscription in subscriptions.chunks_exact_mut(size).take(args[2] as usize) {
        // A clock that has run out, in absolute time as in relative.
        subscription[timeout_at..timeout_at + 8].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_found() {
        assert!(contains_secret(&[b"abc", SECRET, b"def"].concat()));
        assert!(!contains_secret(b"~ nobody who is here"));
    }

    #[test]
    fn no_path_is_too_long() {
        assert!(PATHS.iter().all(|path| path.len() <= PATH_ROOM as usize));
        assert!(PATHS_AT as usize + PATHS.len() * PATH_ROOM as usize <= MEMORY);
    }
}
