//! What the guest's native code tries. Each attempt prints a line: its name, and what the kernel answered.
//!
//! Works in the current directory, where `ro` and `rw` are granted and `outside` is not.

use std::ffi::CString;
use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::{Command, exit};
use std::sync::atomic::Ordering;
use std::{fs, io, process, thread};

use super::guest::Guest;

/// Prints an answer: the result, or the negative number of the error.
fn say(name: &str, result: i64) {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{name} {result}").expect("somebody reads");
}

/// The calls, with the guest that makes them.
struct Caller {
    guest: Guest,
    /// Paths, which stay where they are.
    paths: Vec<CString>,
}

impl Caller {
    fn path(&mut self, path: &str) -> i64 {
        let path = CString::new(path).expect("no path has a NUL");
        let at = path.as_ptr() as i64;
        self.paths.push(path);
        at
    }

    fn try_call(&mut self, name: &str, number: i64, arguments: &[i64]) -> i64 {
        let result = self.guest.system_call(number, arguments);
        say(name, result);
        result
    }

    fn try_open(&mut self, name: &str, path: &str, flags: i32) {
        let path = self.path(path);
        let arguments = [AT_CWD, path, flags.into(), 0o644];
        self.try_call(name, libc::SYS_openat, &arguments);
    }
}

const AT_CWD: i64 = libc::AT_FDCWD as i64;
const READ: i32 = libc::O_RDONLY;
const WRITE: i32 = libc::O_WRONLY;
const CREATE: i32 = libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC;

/// Tries everything; `held` is whether the process is.
pub(crate) fn run(held: bool) {
    let base = std::env::current_dir().expect("there is one");
    let (guest, confinement) = Guest::new(&base, held);
    if let Some(confinement) = confinement {
        say("landlock", confinement.landlock.is_ok().into());
        say("seccomp", confinement.seccomp.is_ok().into());
    }
    let mut caller = Caller {
        guest,
        paths: Vec::new(),
    };
    let base = base.to_str().expect("temporary directories are text");
    caller.granted();
    caller.outside(base);
    caller.changes_of_what_is_read_only();
    caller.attributes();
    caller.sockets();
    caller.signals();
    caller.library();
    caller.tier();
    if held {
        caller.what_needs_privileges();
    }
    caller.processes(held);
}

/// Makes a system call of 32-bit programs.
pub(crate) fn foreign() {
    let base = std::env::current_dir().expect("there is one");
    let (mut guest, _) = Guest::new(&base, true);
    say("int 0x80", guest.foreign_call());
}

impl Caller {
    /// What is granted, done by native code.
    fn granted(&mut self) {
        self.try_open("granted: read", "ro/file", READ);
        self.try_open("granted: list", "ro", READ | libc::O_DIRECTORY);
        self.try_open("granted: create", "rw/new", CREATE);
        let dir = self.path("rw/dir");
        self.try_call("granted: mkdir", libc::SYS_mkdirat, &[AT_CWD, dir, 0o755]);
        let (new, moved) = (self.path("rw/new"), self.path("rw/dir/moved"));
        let arguments = [AT_CWD, new, AT_CWD, moved];
        self.try_call("granted: rename", libc::SYS_renameat2, &arguments);
        let again = self.path("rw/again");
        let arguments = [AT_CWD, moved, AT_CWD, again];
        self.try_call("granted: link", libc::SYS_linkat, &arguments);
        self.try_call("granted: unlink", libc::SYS_unlinkat, &[AT_CWD, again]);
        // A name in the grant is in the grant, whatever other names its file has.
        self.try_open("granted: hard link made before", "rw/linked", libc::O_RDWR);
    }

    /// Files that were not granted, by many ways.
    fn outside(&mut self, base: &str) {
        self.try_open("file: absolute", &format!("{base}/outside/secret"), READ);
        self.try_open("file: relative", "outside/secret", READ);
        self.try_open("file: up", "ro/../outside/secret", READ);
        self.try_open("file: up from below", "rw/dir/../../outside/secret", READ);
        let root = format!("/proc/self/root{base}/outside/secret");
        self.try_open("file: by the root of the process", &root, READ);
        let cwd = "/proc/self/cwd/outside/secret";
        self.try_open("file: by its directory", cwd, READ);
        let thread = format!("/proc/thread-self/root{base}/outside/secret");
        self.try_open("file: by the root of the thread", &thread, READ);
        let (target, link) = (self.path("../outside/secret"), self.path("rw/way-out"));
        self.try_call(
            "granted: symlink",
            libc::SYS_symlinkat,
            &[target, AT_CWD, link],
        );
        self.try_open("file: by a symbolic link", "rw/way-out", READ);
        self.try_open("file: write", "outside/secret", WRITE);
        self.try_open("file: empty", "outside/empty", WRITE | libc::O_TRUNC);
        self.try_open("file: create", "outside/new", CREATE);
        self.try_open("file: list", "outside", READ | libc::O_DIRECTORY);
        self.try_open("file: own memory", "/proc/self/mem", libc::O_RDWR);
        self.try_open("file: own environment", "/proc/self/environ", READ);
        let (secret, stolen) = (self.path("outside/secret"), self.path("rw/stolen"));
        let arguments = [AT_CWD, secret, AT_CWD, stolen];
        self.try_call("file: link into a grant", libc::SYS_linkat, &arguments);
        let (victim, moved) = (self.path("outside/victim"), self.path("rw/moved"));
        let arguments = [AT_CWD, victim, AT_CWD, moved];
        self.try_call("file: move into a grant", libc::SYS_renameat2, &arguments);
        let removed = self.path("outside/removed");
        self.try_call("file: remove", libc::SYS_unlinkat, &[AT_CWD, removed]);
        let dir = self.path("outside/dir");
        self.try_call("file: mkdir", libc::SYS_mkdirat, &[AT_CWD, dir, 0o755]);
    }

    fn changes_of_what_is_read_only(&mut self) {
        self.try_open("file: write in ro", "ro/file", WRITE);
        self.try_open("file: empty in ro", "ro/empty", READ | libc::O_TRUNC);
        self.try_open("file: create in ro", "ro/new", CREATE);
        let dir = self.path("ro/dir");
        self.try_call(
            "file: mkdir in ro",
            libc::SYS_mkdirat,
            &[AT_CWD, dir, 0o755],
        );
        let (file, copy) = (self.path("ro/file"), self.path("rw/copy"));
        let arguments = [AT_CWD, file, AT_CWD, copy];
        self.try_call("file: link from ro to rw", libc::SYS_linkat, &arguments);
        let victim = self.path("ro/victim");
        self.try_call("file: remove in ro", libc::SYS_unlinkat, &[AT_CWD, victim]);
    }

    /// What Landlock does not cover.
    fn attributes(&mut self) {
        let secret = self.path("outside/secret");
        let arguments = [AT_CWD, secret, 0o600];
        self.try_call("call: chmod", libc::SYS_fchmodat, &arguments);
        let arguments = [AT_CWD, secret, -1, -1, 0];
        self.try_call("call: chown", libc::SYS_fchownat, &arguments);
        self.try_call("call: truncate", libc::SYS_truncate, &[secret, 1]);
        let up = self.path("..");
        self.try_call("call: chdir", libc::SYS_chdir, &[up]);
        // Back, in the process that is not held.
        let _ = std::env::set_current_dir(std::env::var_os("BASE").expect("it is set"));
    }

    fn sockets(&mut self) {
        let (stream, datagram) = (libc::SOCK_STREAM.into(), libc::SOCK_DGRAM.into());
        for (name, family, kind) in [
            ("call: socket of TCP", libc::AF_INET, stream),
            ("call: socket of UDP", libc::AF_INET, datagram),
            ("call: socket of Unix", libc::AF_UNIX, stream),
            ("call: socket of netlink", libc::AF_NETLINK, datagram),
        ] {
            self.try_call(name, libc::SYS_socket, &[family.into(), kind, 0]);
        }
        let mut pair = [0i32; 2];
        let at = pair.as_mut_ptr() as i64;
        let arguments = [libc::AF_UNIX.into(), stream, 0, at];
        self.try_call("call: socketpair", libc::SYS_socketpair, &arguments);
    }

    fn signals(&mut self) {
        let parent: i64 = std::os::unix::process::parent_id().into();
        let own: i64 = process::id().into();
        self.try_call(
            "granted: signal to oneself",
            libc::SYS_tgkill,
            &[own, own, 0],
        );
        self.try_call("call: kill", libc::SYS_kill, &[parent, 0]);
        self.try_call("call: tkill", libc::SYS_tkill, &[parent, 0]);
        self.try_call("call: tgkill", libc::SYS_tgkill, &[parent, parent, 0]);
        self.try_call("call: pidfd_open", libc::SYS_pidfd_open, &[parent, 0]);
        let owner = [0, libc::F_SETOWN.into(), parent];
        self.try_call("call: fcntl of signals", libc::SYS_fcntl, &owner);
    }

    /// The same by Rust's own library, on a thread that was started afterwards.
    fn library(&mut self) {
        let code = |result: io::Result<()>| match result {
            Ok(()) => 0,
            Err(error) => error.raw_os_error().map_or(-1, |number| -i64::from(number)),
        };
        let answers = thread::spawn(move || {
            [
                ("granted: read by a thread", fs::read("ro/file").map(drop)),
                ("granted: write by a thread", fs::write("rw/thread", "x")),
                (
                    "file: read by a thread",
                    fs::read("outside/secret").map(drop),
                ),
                ("call: Unix pair by a thread", UnixStream::pair().map(drop)),
                (
                    "call: UDP by a thread",
                    UdpSocket::bind("127.0.0.1:0").map(drop),
                ),
                ("call: TCP by a thread", {
                    let port = std::env::var("PORT").expect("it is set");
                    TcpStream::connect(format!("127.0.0.1:{port}")).map(drop)
                }),
                (
                    "call: program by a thread",
                    Command::new("/bin/true").status().map(drop),
                ),
            ]
            .map(|(name, result)| (name, code(result)))
        });
        for (name, answer) in answers.join().expect("a thread starts") {
            say(name, answer);
        }
    }

    /// The compiler works behind closed doors, and the code it makes stands side by side: it is written through a file that
    /// was opened before.
    fn tier(&mut self) {
        self.guest.warm();
        // Where the thread can't tell how much stack it has, another one compiles for it.
        let elsewhere = self.guest.compiled_elsewhere.load(Ordering::Relaxed);
        assert_eq!(
            elsewhere, 0,
            "the bounds of the stack are asked for in time"
        );
        let stats = self.guest.engine.stats();
        assert!(
            stats.functions_compiled > 0 && stats.failures == 0,
            "{stats:?}"
        );
        say("granted: compile", stats.published.try_into().expect("few"));
    }

    /// Calls that may be refused to a user for other reasons, or would end what is not held: the answer tells which it is.
    fn what_needs_privileges(&mut self) {
        let parent: i64 = std::os::unix::process::parent_id().into();
        for (name, number, arguments) in [
            ("call: vfork", libc::SYS_vfork, vec![]),
            ("call: clone3", libc::SYS_clone3, vec![0, 0]),
            ("call: execveat", libc::SYS_execveat, vec![0, 0, 0, 0, 0]),
            ("call: ptrace", libc::SYS_ptrace, vec![0x4206, parent, 0, 0]),
            (
                "call: process_vm_readv",
                libc::SYS_process_vm_readv,
                vec![parent],
            ),
            (
                "call: process_vm_writev",
                libc::SYS_process_vm_writev,
                vec![parent],
            ),
            (
                "call: unshare",
                libc::SYS_unshare,
                vec![libc::CLONE_NEWUSER.into()],
            ),
            ("call: setns", libc::SYS_setns, vec![0, 0]),
            ("call: mount", libc::SYS_mount, vec![]),
            ("call: bpf", libc::SYS_bpf, vec![0, 0, 0]),
            ("call: io_uring_setup", libc::SYS_io_uring_setup, vec![1, 0]),
            ("call: userfaultfd", libc::SYS_userfaultfd, vec![0]),
            ("call: perf_event_open", libc::SYS_perf_event_open, vec![]),
            ("call: keyctl", libc::SYS_keyctl, vec![0, -3, 0]),
            ("call: init_module", libc::SYS_init_module, vec![]),
            ("call: kexec_load", libc::SYS_kexec_load, vec![]),
            ("call: seccomp", libc::SYS_seccomp, vec![2, 0, 0]),
            ("call: setuid", libc::SYS_setuid, vec![0]),
            (
                "call: open_by_handle_at",
                libc::SYS_open_by_handle_at,
                vec![],
            ),
            (
                "call: typing into a terminal",
                libc::SYS_ioctl,
                vec![0, 0x5412, 0],
            ),
            (
                "call: raising a limit",
                libc::SYS_prlimit64,
                vec![0, 7, 8, 0],
            ),
            ("call: x32", 0x4000_0000 | libc::SYS_getpid, vec![]),
        ] {
            self.try_call(name, number, &arguments);
        }
        let device = self.path("rw/null");
        let arguments = [AT_CWD, device, (libc::S_IFCHR | 0o666).into(), 0x103];
        self.try_call("file: make a device", libc::SYS_mknodat, &arguments);
    }

    /// Starting processes; last, because what is not held becomes another program.
    fn processes(&mut self, held: bool) {
        for (name, number, flags) in [
            ("call: fork", libc::SYS_fork, 0),
            ("call: clone", libc::SYS_clone, i64::from(libc::SIGCHLD)),
        ] {
            let result = self.guest.system_call(number, &[flags]);
            if result == 0 {
                // The new process, which has nothing to do. SAFETY: it only ends.
                unsafe { libc::_exit(0) };
            }
            say(name, result);
        }
        let program = self.path("/bin/echo");
        let words = [program, self.path("call: execve"), self.path("0"), 0];
        let result = self.guest.system_call(
            libc::SYS_execve,
            &[program, words.as_ptr() as i64, words[3..].as_ptr() as i64],
        );
        say("call: execve", result);
        exit(if held { 0 } else { 1 });
    }
}
