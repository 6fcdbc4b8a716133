//! Which system calls get through, and with which arguments: seccomp.
//!
//! The list has what the engine, the WASI calls and the C library need once a guest runs, and nothing else. So these are
//! refused, among others: making sockets and connecting them (unless the process keeps the network), starting and tracing processes, signals to other processes,
//! owners and modes of files, mounts, namespaces, keys, `bpf`, `io_uring`, `perf_event_open`, `userfaultfd`, and adding
//! to a terminal's input.
//!
//! `clone3` is refused, for a filter sees a pointer there; the C library then calls `clone`, which shows its flags.

use seccompiler::apply_filter_all_threads;

use crate::filter::{self, Check};
use crate::{Network, Unavailable};

/// `AUDIT_ARCH_X86_64`, `AUDIT_ARCH_AARCH64`
const ARCHITECTURE: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else {
    None
};

/// Calls that get through whatever their arguments are.
const FREE: &[libc::c_long] = &[
    // Moving bytes through what is open.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_ppoll,
    libc::SYS_pipe2,
    libc::SYS_eventfd2,
    libc::SYS_memfd_create,
    // Files, which Landlock judges, and attributes, which nobody does.
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getdents64,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_utimensat,
    // Sockets that are there.
    libc::SYS_accept4,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_shutdown,
    // Memory.
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_mincore,
    libc::SYS_msync,
    libc::SYS_brk,
    // Threads, signals to oneself, the end.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Time, chance, figures.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_timer_create,
    libc::SYS_timer_settime,
    libc::SYS_timer_gettime,
    libc::SYS_timer_getoverrun,
    libc::SYS_timer_delete,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_sysinfo,
    libc::SYS_uname,
];

/// Calls of a server with many connections, beside those to accept, send and receive, whatever their arguments are.
const WAITING: &[libc::c_long] = &[
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
];

/// An older form of one, which newer processors never had.
#[cfg(target_arch = "x86_64")]
const WAITING_OLDER: &[libc::c_long] = &[libc::SYS_epoll_wait];
#[cfg(not(target_arch = "x86_64"))]
const WAITING_OLDER: &[libc::c_long] = &[];

/// Calls that say where a socket is and leads to.
const ADDRESSES: &[libc::c_long] = &[libc::SYS_getsockname, libc::SYS_getpeername];

/// Calls of the network that get through whatever their arguments are, if the process keeps it.
const NETWORK: &[libc::c_long] = &[
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_listen,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    // The resolver asks for two kinds of addresses at once.
    libc::SYS_sendmmsg,
];

/// Older forms of such calls, which newer processors never had.
#[cfg(target_arch = "x86_64")]
const FREE_OLDER: &[libc::c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_renameat,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_pipe,
    libc::SYS_time,
];
#[cfg(target_arch = "aarch64")]
const FREE_OLDER: &[libc::c_long] = &[libc::SYS_renameat];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const FREE_OLDER: &[libc::c_long] = &[];

/// Flags of `clone` that put the new one into a namespace of its own, or hide it from its like.
const OTHER_NAMESPACE: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_PTRACE;

/// `PR_SET_VMA`: libraries give a name to memory of theirs.
const SET_VMA: i32 = 0x5356_4d41;

/// Installs the filter, for all threads of the process.
pub(crate) fn restrict(network: Network) -> Result<(), Unavailable> {
    let architecture = ARCHITECTURE.ok_or(Unavailable::Processor)?;
    let program = filter::program(architecture, calls(std::process::id(), network));
    Ok(apply_filter_all_threads(&program)?)
}

/// All calls that get through in the process `process`, which keeps that of the network.
pub(crate) fn calls(process: u32, network: Network) -> Vec<(u32, Check)> {
    let given = |is_kept: bool, calls: &'static [libc::c_long]| match is_kept {
        true => calls,
        false => &[],
    };
    let free = [
        FREE,
        FREE_OLDER,
        given(network.sockets, NETWORK),
        given(network.sockets || network.serves, ADDRESSES),
        given(network.sockets || network.serves, WAITING),
        given(network.sockets || network.serves, WAITING_OLDER),
    ];
    let free = free.into_iter().flatten();
    let mut calls: Vec<_> = free.map(|&number| (number as u32, Check::Free)).collect();
    let mut one_of = |number: libc::c_long, argument, mask, values: &[u32]| {
        let values = values.to_vec();
        let check = Check::OneOf {
            argument,
            mask,
            values,
        };
        calls.push((number as u32, check));
    };
    let all = u32::MAX;
    let thread = libc::CLONE_THREAD as u32;
    one_of(
        libc::SYS_clone,
        0,
        thread | OTHER_NAMESPACE as u32,
        &[thread],
    );
    one_of(libc::SYS_tgkill, 0, all, &[process]);
    one_of(
        libc::SYS_prctl,
        0,
        all,
        &[libc::PR_SET_NAME as u32, SET_VMA as u32],
    );
    // Not those that have signals sent to others.
    let commands = [
        libc::F_DUPFD,
        libc::F_DUPFD_CLOEXEC,
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_SETFL,
        libc::F_ADD_SEALS,
        libc::F_GET_SEALS,
    ];
    one_of(
        libc::SYS_fcntl,
        1,
        all,
        &commands.map(|command| command as u32),
    );
    let requests = [
        libc::TCGETS as u32,
        libc::TCGETS2 as u32,
        libc::TIOCGWINSZ as u32,
        libc::FIONREAD as u32,
        libc::FIONBIO as u32,
        libc::FIOCLEX as u32,
    ];
    one_of(libc::SYS_ioctl, 1, all, &requests);
    if network.serves && !network.sockets {
        let options = [libc::IPPROTO_TCP as u32];
        one_of(libc::SYS_setsockopt, 1, all, &options);
    }
    if network.sockets {
        // None that leads to other processes here, or to the kernel.
        let families = [libc::AF_INET as u32, libc::AF_INET6 as u32];
        one_of(libc::SYS_socket, 0, all, &families);
    }
    let mut zero = |number: libc::c_long, argument| {
        calls.push((number as u32, Check::Zero { argument }));
    };
    // Limits are read, not set.
    zero(libc::SYS_prlimit64, 2);
    if !network.sockets {
        // To the socket's own peer, and no other.
        zero(libc::SYS_sendto, 4);
        zero(libc::SYS_recvfrom, 4);
    }
    calls
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const NONE: Network = Network {
        serves: false,
        sockets: false,
        lookups: false,
    };
    const SERVER: Network = Network {
        serves: true,
        ..NONE
    };
    const ALL: Network = Network {
        serves: true,
        sockets: true,
        lookups: true,
    };

    #[test]
    fn each_call_is_listed_once() {
        for network in [NONE, SERVER, ALL] {
            let calls = calls(1, network);
            let numbers: BTreeSet<_> = calls.iter().map(|(number, _)| number).collect();
            assert_eq!(numbers.len(), calls.len());
        }
    }

    #[test]
    fn the_program_is_short() {
        // So is the time that the kernel takes for it, and no jump is too far.
        for network in [NONE, SERVER, ALL] {
            let program = filter::program(0, calls(1, network));
            assert!(program.len() < 160, "{}", program.len());
        }
    }

    #[test]
    fn sockets_are_those_of_the_network() {
        let calls = calls(1, ALL);
        let socket = calls
            .iter()
            .find(|(number, _)| *number == libc::SYS_socket as u32);
        let families = vec![libc::AF_INET as u32, libc::AF_INET6 as u32];
        let check = Check::OneOf {
            argument: 0,
            mask: u32::MAX,
            values: families,
        };
        assert_eq!(socket.map(|(_, socket)| socket), Some(&check));
        for number in [libc::SYS_socketpair, libc::SYS_execve, libc::SYS_kill] {
            assert!(
                calls.iter().all(|(listed, _)| *listed != number as u32),
                "{number}"
            );
        }
    }

    #[test]
    fn a_server_sets_options_of_tcp_alone() {
        let calls = calls(1, SERVER);
        let set = calls
            .iter()
            .find(|(number, _)| *number == libc::SYS_setsockopt as u32);
        let check = Check::OneOf {
            argument: 1,
            mask: u32::MAX,
            values: vec![libc::IPPROTO_TCP as u32],
        };
        assert_eq!(set.map(|(_, set)| set), Some(&check));
    }

    #[test]
    fn what_reaches_out_is_not_listed() {
        let numbers: BTreeSet<_> = [NONE, SERVER]
            .into_iter()
            .flat_map(|network| calls(1, network))
            .map(|(number, _)| number)
            .collect();
        for number in [
            libc::SYS_socket,
            libc::SYS_socketpair,
            libc::SYS_connect,
            libc::SYS_bind,
            libc::SYS_listen,
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_clone3,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_pidfd_open,
            libc::SYS_pidfd_getfd,
            libc::SYS_pidfd_send_signal,
            libc::SYS_kill,
            libc::SYS_tkill,
            libc::SYS_rt_sigqueueinfo,
            libc::SYS_rt_tgsigqueueinfo,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
            libc::SYS_io_uring_setup,
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_move_mount,
            libc::SYS_open_tree,
            libc::SYS_fsopen,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_chroot,
            libc::SYS_pivot_root,
            libc::SYS_keyctl,
            libc::SYS_add_key,
            libc::SYS_kexec_load,
            libc::SYS_init_module,
            libc::SYS_finit_module,
            libc::SYS_open_by_handle_at,
            libc::SYS_fchmodat,
            libc::SYS_fchownat,
            libc::SYS_setxattr,
            libc::SYS_truncate,
            libc::SYS_shmat,
            libc::SYS_seccomp,
            libc::SYS_setuid,
            libc::SYS_capset,
        ] {
            assert!(!numbers.contains(&(number as u32)), "{number}");
        }
    }
}
