//! Bad pointers: every pointer of every call, out of bounds and misaligned, stops the guest and changes nothing.

use super::*;
use crate::error::FaultKind;

/// A call with valid arguments, and which of them are pointers: position and alignment.
type Case = (&'static str, Vec<u64>, Vec<(usize, u32)>);

fn cases(guest: &mut Guest) -> Vec<Case> {
    let (r, s) = (u64::from(RESULT), u64::from(RESULT) + 64);
    let file = u64::from(guest.open("file", PLAIN, RW).unwrap());
    let root = u64::from(ROOT);
    let path = guest.put(b"new");
    let iovs = guest.iovs(&[(0x9000, 4)]);
    vec![
        ("args_get", vec![r, s], vec![(0, 4), (1, 1)]),
        ("args_sizes_get", vec![r, s], vec![(0, 4), (1, 4)]),
        ("environ_get", vec![r, s], vec![(0, 4), (1, 1)]),
        ("environ_sizes_get", vec![r, s], vec![(0, 4), (1, 4)]),
        ("clock_res_get", vec![0, r], vec![(1, 8)]),
        ("clock_time_get", vec![0, 0, r], vec![(2, 8)]),
        ("fd_fdstat_get", vec![file, r], vec![(1, 8)]),
        ("fd_filestat_get", vec![file, r], vec![(1, 8)]),
        ("fd_pread", vec![file, iovs, 1, 0, r], vec![(1, 4), (4, 4)]),
        ("fd_pwrite", vec![file, iovs, 1, 0, r], vec![(1, 4), (4, 4)]),
        ("fd_read", vec![file, iovs, 1, r], vec![(1, 4), (3, 4)]),
        ("fd_write", vec![file, iovs, 1, r], vec![(1, 4), (3, 4)]),
        ("fd_prestat_get", vec![root, r], vec![(1, 4)]),
        ("fd_prestat_dir_name", vec![root, r, 1], vec![(1, 1)]),
        ("fd_readdir", vec![root, s, 64, 0, r], vec![(1, 1), (4, 4)]),
        ("fd_seek", vec![file, 1, 0, r], vec![(3, 8)]),
        ("fd_tell", vec![file, r], vec![(1, 8)]),
        ("path_create_directory", vec![root, path, 3], vec![(1, 1)]),
        (
            "path_filestat_get",
            vec![root, 0, path, 3, r],
            vec![(2, 1), (4, 8)],
        ),
        (
            "path_filestat_set_times",
            vec![root, 0, path, 3, 0, 0, 0],
            vec![(2, 1)],
        ),
        (
            "path_link",
            vec![root, 0, path, 3, root, path, 3],
            vec![(2, 1), (5, 1)],
        ),
        (
            "path_open",
            vec![root, 0, path, 3, 1, 0, 0, 0, r],
            vec![(2, 1), (8, 4)],
        ),
        (
            "path_readlink",
            vec![root, path, 3, s, 10, r],
            vec![(1, 1), (3, 1), (5, 4)],
        ),
        ("path_remove_directory", vec![root, path, 3], vec![(1, 1)]),
        (
            "path_rename",
            vec![root, path, 3, root, path, 3],
            vec![(1, 1), (4, 1)],
        ),
        (
            "path_symlink",
            vec![path, 3, root, path, 3],
            vec![(0, 1), (3, 1)],
        ),
        ("path_unlink_file", vec![root, path, 3], vec![(1, 1)]),
        (
            "poll_oneoff",
            vec![0, r, 1, 0x1_8000],
            vec![(0, 8), (1, 8), (3, 4)],
        ),
        ("random_get", vec![r, 8], vec![(0, 1)]),
        ("sock_accept", vec![4, 0, r], vec![(2, 4)]),
        (
            "sock_recv",
            vec![4, iovs, 1, 0, r, s],
            vec![(1, 4), (4, 4), (5, 2)],
        ),
        ("sock_send", vec![4, iovs, 1, 0, r], vec![(1, 4), (4, 4)]),
    ]
}

fn guest() -> Guest {
    let guest = Guest::with(|builder, _| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        builder.arg("a").env("b", "c").tcp_listener(listener)
    });
    guest.file("file", "contents");
    guest
}

#[test]
fn every_bad_pointer_faults_and_changes_nothing() {
    let mut guest = guest();
    for (name, args, pointers) in cases(&mut guest) {
        for (position, align) in pointers {
            let argument = Function::named(name).unwrap().params[position].name;
            for (bad, misaligned) in [
                (MEMORY as u64 - 1, false),
                (0xffff_fff8, false),
                (0x1001, true),
            ] {
                if misaligned && align == 1 {
                    continue;
                }
                // A single byte may lie at the very end of the memory.
                if bad == MEMORY as u64 - 1 && name == "fd_prestat_dir_name" {
                    continue;
                }
                let mut args = args.clone();
                args[position] = bad;
                let memory = guest.memory.clone();
                let stop = guest.call(name, &args).unwrap_err();
                let Stop::Fault(fault) = stop else {
                    panic!("{name}: {stop}")
                };
                assert_eq!(
                    (fault.function, u64::from(fault.address)),
                    (name, bad),
                    "{name} {argument}"
                );
                assert_eq!(fault.memory_size, MEMORY);
                assert_eq!(fault.argument, argument, "{name}");
                assert_eq!(
                    matches!(fault.kind, FaultKind::Misaligned { .. }),
                    misaligned,
                    "{name} {argument}"
                );
                assert!(guest.memory == memory, "{name} {argument} wrote to memory");
            }
        }
    }
    let names: Vec<_> = std::fs::read_dir(guest.inside(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["file"]);
    assert_eq!(
        std::fs::read_to_string(guest.inside("file")).unwrap(),
        "contents"
    );
    assert_eq!(
        guest.open("file", PLAIN, RW),
        Ok(6),
        "no descriptor was left open"
    );
}

/// Where the empty slices of Zig point.
const NOWHERE: u64 = 0xaaaa_aaaa;

#[test]
fn an_empty_buffer_may_point_anywhere() {
    let mut guest = guest();
    let file = u64::from(guest.open("file", PLAIN, RW).unwrap());
    let (root, r) = (u64::from(ROOT), u64::from(RESULT));
    let iovs = guest.iovs(&[(NOWHERE as u32, 0), (0x9000, 4), (u32::MAX, 0)]);
    guest.memory[0x9000..0x9004].copy_from_slice(b"data");
    for (name, args, moved) in [
        ("fd_write", vec![file, iovs, 3, r], 4),
        ("fd_pread", vec![file, iovs, 3, 2, r], 4),
        ("fd_pwrite", vec![file, iovs, 3, 0, r], 4),
        ("fd_read", vec![file, iovs, 3, r], 4),
        ("fd_write", vec![file, iovs, 1, r], 0),
        ("fd_read", vec![file, iovs, 1, r], 0),
        ("fd_read", vec![file, NOWHERE, 0, r], 0),
        ("fd_write", vec![file, NOWHERE + 1, 0, r], 0),
        ("fd_write", vec![1, iovs, 3, r], 4),
        ("fd_readdir", vec![root, NOWHERE, 0, 0, r], 0),
    ] {
        guest.ok(name, &args);
        assert_eq!(guest.u32_at(RESULT), moved, "{name}{args:?}");
    }
    guest.ok("random_get", &[NOWHERE, 0]);
    let path = guest.put(b"file");
    guest.link("file", "link");
    for (name, args, errno) in [
        (
            "fd_prestat_dir_name",
            vec![root, NOWHERE, 0],
            Errno::NAMETOOLONG,
        ),
        (
            "path_create_directory",
            vec![root, NOWHERE, 0],
            Errno::NOENT,
        ),
        (
            "path_filestat_get",
            vec![root, 0, NOWHERE, 0, r],
            Errno::NOENT,
        ),
        (
            "path_filestat_set_times",
            vec![root, 0, NOWHERE, 0, 0, 0, 0],
            Errno::NOENT,
        ),
        (
            "path_link",
            vec![root, 0, NOWHERE, 0, root, NOWHERE, 0],
            Errno::NOENT,
        ),
        (
            "path_open",
            vec![root, 0, NOWHERE, 0, 0, 0, 0, 0, r],
            Errno::NOENT,
        ),
        (
            "path_readlink",
            vec![root, NOWHERE, 0, NOWHERE, 0, r],
            Errno::NOENT,
        ),
        (
            "path_readlink",
            vec![root, path, 4, NOWHERE, 0, r],
            Errno::INVAL,
        ),
        (
            "path_remove_directory",
            vec![root, NOWHERE, 0],
            Errno::NOENT,
        ),
        (
            "path_rename",
            vec![root, NOWHERE, 0, root, NOWHERE, 0],
            Errno::NOENT,
        ),
        (
            "path_symlink",
            vec![NOWHERE, 0, root, NOWHERE, 0],
            Errno::NOENT,
        ),
        ("path_unlink_file", vec![root, NOWHERE, 0], Errno::NOENT),
        ("poll_oneoff", vec![NOWHERE, NOWHERE, 0, r], Errno::INVAL),
        (
            "sock_recv",
            vec![4, NOWHERE, 0, 0, r, r + 8],
            Errno::NOTCONN,
        ),
        ("sock_send", vec![4, NOWHERE, 0, 0, r], Errno::NOTCONN),
    ] {
        assert_eq!(guest.errno(name, &args), errno, "{name}");
    }
    let mut bare = Guest::new();
    for name in ["args_get", "environ_get"] {
        bare.ok(name, &[NOWHERE, NOWHERE]);
    }
}

#[test]
fn a_buffer_out_of_bounds_faults_before_anything_moves() {
    let mut guest = guest();
    let fd = guest.open("file", PLAIN, RW).unwrap();
    let iovs = guest.iovs(&[(0, 4), (0x9000, MEMORY as u32)]);
    for name in ["fd_read", "fd_write"] {
        let stop = guest
            .call(name, &[fd.into(), iovs, 2, RESULT.into()])
            .unwrap_err();
        assert!(
            matches!(stop, Stop::Fault(fault) if fault.address == 0x9000 && fault.argument == "iovs")
        );
    }
    assert_eq!(guest.seek(fd, 0, 1), Ok(0));
    assert_eq!(
        std::fs::read_to_string(guest.inside("file")).unwrap(),
        "contents"
    );
}

#[test]
fn huge_lists_do_not_overflow() {
    let mut guest = guest();
    for name in ["fd_read", "fd_write"] {
        let stop = guest
            .call(name, &[1, 0, u32::MAX.into(), RESULT.into()])
            .unwrap_err();
        assert!(matches!(stop, Stop::Fault(fault) if fault.len == u64::from(u32::MAX) * 8));
    }
    let stop = guest
        .call("poll_oneoff", &[0, 0, u32::MAX.into(), RESULT.into()])
        .unwrap_err();
    assert!(matches!(stop, Stop::Fault(_)));
}

/// Memory that counts how often each byte is read.
#[derive(Debug)]
struct Counting<'a> {
    cells: Cells<'a>,
    reads: Vec<Cell<usize>>,
}

impl SharedBytes for Counting<'_> {
    fn len(&self) -> usize {
        self.cells.len()
    }

    fn read(&self, at: usize, to: &mut [u8]) {
        let counts = &self.reads[at..at + to.len()];
        counts.iter().for_each(|count| count.set(count.get() + 1));
        self.cells.read(at, to);
    }

    fn write(&self, at: usize, from: &[u8]) {
        self.cells.write(at, from);
    }
}

#[test]
fn what_other_threads_may_change_is_read_once() {
    let mut guest = guest();
    let cases = cases(&mut guest);
    let mut names: Vec<_> = cases.iter().map(|(name, ..)| *name).collect();
    for (name, args, _) in cases {
        // It would wait for a connection, and reads nothing.
        if name == "sock_accept" {
            continue;
        }
        let counting = Counting {
            cells: Cells(Cell::from_mut(&mut guest.memory[..]).as_slice_of_cells()),
            reads: vec![Cell::new(0); MEMORY],
        };
        let mut memory = GuestMemory::shared(&counting);
        let function = Function::named(name).unwrap();
        let outcome = function.call(&guest.ctx, &mut memory, Abi::Preview1, &args);
        assert!(outcome.is_ok(), "{name}");
        // Calls that take two paths are given the same one twice.
        let most = function
            .params
            .iter()
            .filter(|param| param.name.ends_with("path"));
        let most = most.count().max(1);
        let reads = counting.reads.iter().map(Cell::get);
        assert!(reads.max() <= Some(most), "{name}");
    }
    names.dedup();
    assert!(names.len() > 20);
}

#[test]
fn a_path_that_is_as_long_as_the_memory_is_not_copied() {
    #[derive(Debug)]
    struct Huge;
    impl SharedBytes for Huge {
        fn len(&self) -> usize {
            1 << 32
        }
        fn read(&self, at: usize, to: &mut [u8]) {
            assert!(to.len() <= 1 << 20, "{} bytes at {at}", to.len());
            to.fill(b'x');
        }
        fn write(&self, _at: usize, from: &[u8]) {
            assert!(from.len() <= 1 << 20);
        }
    }
    let guest = Guest::new();
    let len = u64::from(u32::MAX);
    for (name, args, expected) in [
        ("path_unlink_file", vec![3, 0, len], Errno::NAMETOOLONG),
        ("path_symlink", vec![0, len, 3, 0, len], Errno::NAMETOOLONG),
        ("poll_oneoff", vec![0, 0, 1 << 16, 0], Errno::SUCCESS),
        ("fd_readdir", vec![3, 0, len, 0, 0], Errno::SUCCESS),
    ] {
        let function = Function::named(name).unwrap();
        let mut memory = GuestMemory::shared(&Huge);
        let outcome = function.call(&guest.ctx, &mut memory, Abi::Preview1, &args);
        assert_eq!(outcome, Ok(expected), "{name}");
    }
}
