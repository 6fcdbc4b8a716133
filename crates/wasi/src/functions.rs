//! The table of all calls. The typed functions, the dynamic call, tracing and linking all come from its rows.
//!
//! A row is the import's name, its parameters with the interface's names, and the body. `[abi]` marks bodies whose layouts
//! depend on the import module. To add a call, add a row; the compiler asks for the body.

use std::fmt;

use tiered_runtime::decode::printable::Quoted;

use crate::abi::{Abi, Errno};
use crate::ctx::WasiCtx;
use crate::error::{Error, Stop};
use crate::guest::GuestMemory;

/// Hands every row to the macro named `$apply`, in three groups: calls in both modules, calls in preview 1 only, and the
/// call that does not return.
macro_rules! for_each_function {
    ($apply:ident) => {
        $apply! {
            both {
                args_get(argv: u32, argv_buf: u32) = args;
                args_sizes_get(argc: u32, argv_buf_size: u32) = args;
                environ_get(environ: u32, environ_buf: u32) = environ;
                environ_sizes_get(count: u32, buf_size: u32) = environ;
                clock_res_get(id: u32, resolution: u32) = clock;
                clock_time_get(id: u32, precision: u64, time: u32) = clock;
                fd_advise(fd: u32, offset: u64, len: u64, advice: u32) = fd;
                fd_allocate(fd: u32, offset: u64, len: u64) = fd;
                fd_close(fd: u32) = fd;
                fd_datasync(fd: u32) = fd;
                fd_fdstat_get(fd: u32, stat: u32) = fd_stat;
                fd_fdstat_set_flags(fd: u32, flags: u32) = fd_stat;
                fd_fdstat_set_rights(fd: u32, fs_rights_base: u64, fs_rights_inheriting: u64) = fd_stat;
                fd_filestat_get[abi](fd: u32, buf: u32) = fd_stat;
                fd_filestat_set_size(fd: u32, size: u64) = fd_stat;
                fd_filestat_set_times(fd: u32, atim: u64, mtim: u64, fst_flags: u32) = fd_stat;
                fd_pread(fd: u32, iovs: u32, iovs_len: u32, offset: u64, nread: u32) = fd_io;
                fd_prestat_get(fd: u32, buf: u32) = fd;
                fd_prestat_dir_name(fd: u32, path: u32, path_len: u32) = fd;
                fd_pwrite(fd: u32, iovs: u32, iovs_len: u32, offset: u64, nwritten: u32) = fd_io;
                fd_read(fd: u32, iovs: u32, iovs_len: u32, nread: u32) = fd_io;
                fd_readdir(fd: u32, buf: u32, buf_len: u32, cookie: u64, bufused: u32) = readdir;
                fd_renumber(fd: u32, to: u32) = fd;
                fd_seek[abi](fd: u32, offset: i64, whence: u32, newoffset: u32) = fd;
                fd_sync(fd: u32) = fd;
                fd_tell(fd: u32, offset: u32) = fd;
                fd_write(fd: u32, iovs: u32, iovs_len: u32, nwritten: u32) = fd_io;
                path_create_directory(fd: u32, path: u32, path_len: u32) = path_create;
                path_filestat_get[abi](fd: u32, flags: u32, path: u32, path_len: u32, buf: u32) = path_stat;
                path_filestat_set_times(
                    fd: u32, flags: u32, path: u32, path_len: u32, atim: u64, mtim: u64, fst_flags: u32
                ) = path_stat;
                path_link(
                    old_fd: u32, old_flags: u32, old_path: u32, old_path_len: u32,
                    new_fd: u32, new_path: u32, new_path_len: u32
                ) = path_link;
                path_open(
                    fd: u32, dirflags: u32, path: u32, path_len: u32, oflags: u32,
                    fs_rights_base: u64, fs_rights_inheriting: u64, fdflags: u32, opened_fd: u32
                ) = path_open;
                path_readlink(
                    fd: u32, path: u32, path_len: u32, buf: u32, buf_len: u32, bufused: u32
                ) = path_link;
                path_remove_directory(fd: u32, path: u32, path_len: u32) = path_create;
                path_rename(
                    fd: u32, old_path: u32, old_path_len: u32, new_fd: u32, new_path: u32, new_path_len: u32
                ) = path_link;
                path_symlink(
                    old_path: u32, old_path_len: u32, fd: u32, new_path: u32, new_path_len: u32
                ) = path_link;
                path_unlink_file(fd: u32, path: u32, path_len: u32) = path_create;
                poll_oneoff[abi](input: u32, output: u32, nsubscriptions: u32, nevents: u32) = poll;
                proc_raise(signal: u32) = proc;
                sched_yield() = sched;
                random_get(buf: u32, buf_len: u32) = random;
                sock_recv(
                    fd: u32, ri_data: u32, ri_data_len: u32, ri_flags: u32, ro_datalen: u32, ro_flags: u32
                ) = sock;
                sock_send(fd: u32, si_data: u32, si_data_len: u32, si_flags: u32, so_datalen: u32) = sock;
                sock_shutdown(fd: u32, how: u32) = sock;
            }
            preview1 {
                sock_accept(fd: u32, flags: u32, result_fd: u32) = sock;
            }
            noreturn {
                proc_exit(code: u32) = proc;
            }
        }
    };
}
pub(crate) use for_each_function;

/// A call of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// The name of the import.
    pub name: &'static str,
    /// Its parameters.
    pub params: &'static [Param],
    /// Whether it returns an error number; only `proc_exit` does not.
    pub returns: bool,
    /// Whether `wasi_unstable` has it too.
    pub in_unstable: bool,
}

/// A parameter of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name in the interface.
    pub name: &'static str,
    /// Whether it is 64 bits wide; all others are 32.
    pub wide: bool,
}

/// A parameter's value as it comes from a guest's stack slot.
trait Argument: Copy {
    const WIDE: bool;
    fn from_slot(slot: u64) -> Self;
    fn to_slot(self) -> u64;
}

macro_rules! arguments {
    ($($ty:ty = $wide:literal)*) => {$(
        impl Argument for $ty {
            const WIDE: bool = $wide;
            #[allow(clippy::unnecessary_cast, clippy::cast_lossless, reason = "one of the types is the slot's own")]
            fn from_slot(slot: u64) -> Self {
                slot as $ty
            }
            #[allow(clippy::unnecessary_cast, clippy::cast_lossless, reason = "one of the types is the slot's own")]
            fn to_slot(self) -> u64 {
                self as u64
            }
        }
    )*};
}

arguments! { u32 = false u64 = true i64 = true }

/// A finished call, for tracing. Its `Display` is one line, with paths spelled out.
#[derive(Debug)]
pub struct Call<'a> {
    /// Which call.
    pub function: &'static Function,
    /// Which import module it came through.
    pub abi: Abi,
    /// The arguments, each in a slot of 64 bits.
    pub args: &'a [u64],
    /// The guest's memory after the call. In one that threads share, others may have written over the arguments.
    pub memory: &'a GuestMemory<'a>,
    /// How it ended.
    pub outcome: Result<Errno, Stop>,
}

impl Call<'_> {
    /// The text behind argument `index` if it is a path, that is, a pointer followed by its length.
    fn path(&self, index: usize) -> Option<String> {
        let is_path = self.function.params[index].name.ends_with("path");
        let has_len = self
            .function
            .params
            .get(index + 1)?
            .name
            .ends_with("path_len");
        let (start, len) = (self.args[index] as usize, self.args[index + 1] as usize);
        if !is_path || !has_len || start.checked_add(len)? > self.memory.size() {
            return None;
        }
        // A guest may call anything a path; what is longer than one is not shown.
        let bytes = self.memory.read(start, len.min(4096))?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.function.name)?;
        let mut separator = "";
        let mut index = 0;
        while let Some(param) = self.function.params.get(index) {
            write!(f, "{separator}{}=", param.name)?;
            separator = ", ";
            match self.path(index) {
                Some(path) => {
                    write!(f, "{}", Quoted(path))?;
                    index += 2;
                }
                None => {
                    write!(f, "{}", self.args[index])?;
                    index += 1;
                }
            }
        }
        match &self.outcome {
            Ok(errno) => write!(f, ") = {}", errno.name()),
            Err(stop) => write!(f, ") stopped: {stop}"),
        }
    }
}

/// Turns a body's result into the guest's, names the function in a fault, and traces.
fn finish(
    ctx: &WasiCtx,
    memory: &GuestMemory<'_>,
    abi: Abi,
    function: &'static Function,
    args: &[u64],
    result: Result<(), Error>,
) -> Result<Errno, Stop> {
    let outcome = match result {
        Ok(()) => Ok(Errno::SUCCESS),
        Err(Error::Errno(errno)) => Ok(errno),
        Err(Error::Exit(code)) => Err(Stop::Exit(code)),
        Err(Error::Halt(halt)) => Err(Stop::Halt(halt)),
        Err(Error::Fault(mut fault)) => {
            fault.function = function.name;
            Err(Stop::Fault(fault))
        }
    };
    if let Some(tracer) = &ctx.tracer {
        tracer(&Call {
            function,
            abi,
            args,
            memory,
            outcome,
        });
    }
    outcome
}

macro_rules! define {
    ($(
        $group:ident {
            $($name:ident $([$abi:ident])? ($($arg:ident: $ty:ident),*) = $module:ident;)*
        }
    )*) => {
        /// Every call, in the order of the table.
        pub const FUNCTIONS: &[Function] = &[$($(
            Function {
                name: stringify!($name),
                params: &[$(Param { name: stringify!($arg), wide: <$ty as Argument>::WIDE }),*],
                returns: define!(@returns $group),
                in_unstable: define!(@in_unstable $group),
            },
        )*)*];

        /// Positions in [`FUNCTIONS`].
        #[allow(non_camel_case_types, reason = "named as the calls are")]
        enum Index { $($($name,)*)* }

        /// The calls as typed functions, for any engine that has the guest's memory as a byte slice or can copy its bytes.
        pub mod calls {
            use super::{Abi, Argument, Errno, FUNCTIONS, GuestMemory, Index, Stop, WasiCtx, finish};

            $($(
                #[doc = concat!("Runs `", stringify!($name), "`.")]
                #[allow(clippy::too_many_arguments, reason = "the interface's own")]
                pub fn $name(
                    ctx: &WasiCtx,
                    memory: &mut GuestMemory<'_>,
                    abi: Abi,
                    $($arg: $ty),*
                ) -> Result<Errno, Stop> {
                    $(let $abi = abi;)?
                    let result = crate::$module::$name(ctx, memory, $($abi,)? $($arg),*);
                    let function = &FUNCTIONS[Index::$name as usize];
                    finish(ctx, memory, abi, function, &[$(Argument::to_slot($arg)),*], result)
                }
            )*)*
        }

        impl Function {
            /// Runs the call with one 64-bit slot for each parameter.
            ///
            /// # Panics
            /// If there are not as many slots as parameters.
            pub fn call(
                &self,
                ctx: &WasiCtx,
                memory: &mut GuestMemory<'_>,
                abi: Abi,
                args: &[u64],
            ) -> Result<Errno, Stop> {
                assert_eq!(args.len(), self.params.len(), "{} takes {} arguments", self.name, self.params.len());
                let mut slots = args.iter().copied();
                let mut slot = move || slots.next().unwrap_or_default();
                match self.name {
                    $($(stringify!($name) => {
                        $(let $arg = <$ty as Argument>::from_slot(slot());)*
                        let _ = &mut slot;
                        calls::$name(ctx, memory, abi, $($arg),*)
                    })*)*
                    _ => Ok(Errno::NOSYS),
                }
            }
        }
    };
    (@returns noreturn) => { false };
    (@returns $other:ident) => { true };
    (@in_unstable preview1) => { false };
    (@in_unstable $other:ident) => { true };
}

for_each_function!(define);

impl Function {
    /// The call of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        FUNCTIONS.iter().find(|function| function.name == name)
    }
}
