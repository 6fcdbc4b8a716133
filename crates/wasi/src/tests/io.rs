//! Reading, writing, seeking, append mode, advice, allocation, syncing, renumbering, limits.

use super::*;
use crate::stdio::{OutputBuffer, Stdout};

#[test]
fn write_seek_read() {
    let mut guest = Guest::new();
    let fd = guest.open("f", CREATE, RW).unwrap();
    assert_eq!(fd, 4);
    assert_eq!(guest.write(fd, b"hello world"), Ok(11));
    guest.ok("fd_tell", &[fd.into(), RESULT.into()]);
    assert_eq!(guest.u64_at(RESULT), 11);
    assert_eq!(guest.seek(fd, -5, 2), Ok(6));
    assert_eq!(guest.read(fd, 100), Ok(b"world".to_vec()));
    assert_eq!(guest.read(fd, 100), Ok(vec![]));
    assert_eq!(guest.seek(fd, 100, 0), Ok(100));
    assert_eq!(guest.seek(fd, -101, 1), Err(Errno::INVAL));
    assert_eq!(guest.seek(fd, -1, 0), Err(Errno::INVAL));
    assert_eq!(guest.seek(fd, 0, 3), Err(Errno::INVAL));
    assert_eq!(guest.seek(fd, -100, 1), Ok(0));
    assert_eq!(guest.read(fd, 5), Ok(b"hello".to_vec()));
}

#[test]
fn the_older_interface_numbers_whence_differently() {
    let mut guest = Guest::new();
    guest.file("f", "0123456789");
    let fd = guest.open("f", PLAIN, RW).unwrap();
    guest.abi = Abi::Unstable;
    assert_eq!(guest.seek(fd, 4, 2), Ok(4), "2 is the start");
    assert_eq!(guest.seek(fd, 1, 0), Ok(5), "0 is the position");
    assert_eq!(guest.seek(fd, -1, 1), Ok(9), "1 is the end");
}

#[test]
fn all_buffers_take_part() {
    let mut guest = Guest::new();
    let fd = guest.open("f", CREATE, RW).unwrap();
    guest.memory[0x8000..0x8008].copy_from_slice(b"abcdefgh");
    let iovs = guest.iovs(&[(0x8000, 5), (0, 0), (0x8005, 3)]);
    guest.ok("fd_write", &[fd.into(), iovs, 3, RESULT.into()]);
    assert_eq!(guest.u32_at(RESULT), 8);
    guest.seek(fd, 0, 0).unwrap();
    let iovs = guest.iovs(&[(0x9006, 2), (0x9000, 3), (0x9003, 3)]);
    guest.ok("fd_read", &[fd.into(), iovs, 3, RESULT.into()]);
    assert_eq!(guest.u32_at(RESULT), 8);
    assert_eq!(&guest.memory[0x9000..0x9008], b"cdefghab");
}

#[test]
fn overlapping_buffers_and_no_buffers() {
    let mut guest = Guest::new();
    guest.file("f", "abcdefgh");
    let fd = guest.open("f", PLAIN, RW).unwrap();
    let iovs = guest.iovs(&[(0x9000, 4), (0x9002, 4)]);
    guest.ok("fd_read", &[fd.into(), iovs, 2, RESULT.into()]);
    assert_eq!(guest.u32_at(RESULT), 8);
    assert_eq!(&guest.memory[0x9000..0x9006], b"abefgh");
    for name in ["fd_read", "fd_write"] {
        guest.memory[RESULT as usize] = 9;
        guest.ok(name, &[fd.into(), 0, 0, RESULT.into()]);
        assert_eq!(guest.u32_at(RESULT), 0);
    }
    let iovs = guest.iovs(&[(0x9000, 4), (0x9002, 4)]);
    guest.ok("fd_pread", &[fd.into(), iovs, 2, 0, RESULT.into()]);
    assert_eq!(&guest.memory[0x9000..0x9006], b"abefgh");
}

#[test]
fn more_buffers_than_the_host_takes_at_once() {
    let mut guest = Guest::new();
    let fd = guest.open("f", CREATE, RW).unwrap();
    guest.memory[0x1_4000..0x1_4000 + 3000].fill(b'x');
    let list: Vec<_> = (0..3000).map(|index| (0x1_4000 + index, 1)).collect();
    let iovs = guest.iovs(&list);
    guest.ok("fd_write", &[fd.into(), iovs, 3000, RESULT.into()]);
    assert_eq!(guest.u32_at(RESULT), 3000);
    assert_eq!(std::fs::read(guest.inside("f")).unwrap(), vec![b'x'; 3000]);
    let iovs = guest.iovs(&list);
    guest.memory[0x1_4000..0x1_4000 + 3000].fill(0);
    guest.ok("fd_pread", &[fd.into(), iovs, 3000, 0, RESULT.into()]);
    assert!(
        guest.memory[0x1_4000..0x1_4000 + 3000]
            .iter()
            .all(|&byte| byte == b'x')
    );
}

#[test]
fn positioned_calls_leave_the_position() {
    let mut guest = Guest::new();
    guest.file("f", "0123456789");
    let fd = guest.open("f", PLAIN, RW).unwrap();
    guest.seek(fd, 3, 0).unwrap();
    guest.memory[0x8000..0x8002].copy_from_slice(b"AB");
    let iovs = guest.iovs(&[(0x8000, 2)]);
    guest.ok("fd_pwrite", &[fd.into(), iovs, 1, 8, RESULT.into()]);
    let iovs = guest.iovs(&[(0x9000, 4)]);
    guest.ok("fd_pread", &[fd.into(), iovs, 1, 7, RESULT.into()]);
    assert_eq!(guest.u32_at(RESULT), 3);
    assert_eq!(&guest.memory[0x9000..0x9003], b"7AB");
    assert_eq!(guest.seek(fd, 0, 1), Ok(3));
    let iovs = guest.iovs(&[(0x9000, 4)]);
    assert_eq!(
        guest.errno("fd_pread", &[fd.into(), iovs, 1, 1 << 63, RESULT.into()]),
        Errno::INVAL
    );
    for fd in [0, 1] {
        for name in ["fd_pread", "fd_pwrite"] {
            assert_eq!(
                guest.errno(name, &[fd, 0, 0, 0, RESULT.into()]),
                Errno::SPIPE
            );
        }
        assert_eq!(guest.seek(fd as u32, 0, 1), Err(Errno::SPIPE));
    }
}

#[test]
fn append_mode_can_be_turned_on_and_off() {
    let mut guest = Guest::new();
    guest.file("f", "abc");
    let fd = guest
        .open_with(ROOT, true, "f", PLAIN, RW, FdFlags::APPEND)
        .unwrap();
    assert_eq!(guest.fdstat(fd).2, FdFlags::APPEND);
    guest.seek(fd, 0, 0).unwrap();
    assert_eq!(guest.write(fd, b"de"), Ok(2));
    assert_eq!(
        guest.seek(fd, 0, 1),
        Ok(5),
        "the position is where the write ended"
    );
    guest.seek(fd, 0, 0).unwrap();
    assert_eq!(guest.read(fd, 10), Ok(b"abcde".to_vec()));
    guest.memory[0x8000] = b'X';
    let iovs = guest.iovs(&[(0x8000, 1)]);
    guest.ok("fd_pwrite", &[fd.into(), iovs, 1, 1, RESULT.into()]);
    guest.ok("fd_fdstat_set_flags", &[fd.into(), 0]);
    guest.seek(fd, 0, 0).unwrap();
    assert_eq!(guest.write(fd, b"Y"), Ok(1));
    assert_eq!(std::fs::read_to_string(guest.inside("f")).unwrap(), "YXcde");
    guest.ok("fd_fdstat_set_flags", &[fd.into(), 1]);
    assert_eq!(guest.write(fd, b"!"), Ok(1));
    assert_eq!(
        std::fs::read_to_string(guest.inside("f")).unwrap(),
        "YXcde!"
    );
}

#[test]
fn append_with_truncate_and_create() {
    let mut guest = Guest::new();
    guest.file("f", "abc");
    let fd = guest
        .open_with(ROOT, true, "f", OFlags::TRUNC | CREATE, RW, FdFlags::APPEND)
        .unwrap();
    assert_eq!(guest.write(fd, b"x"), Ok(1));
    assert_eq!(std::fs::read_to_string(guest.inside("f")).unwrap(), "x");
}

#[test]
fn flags_that_are_fixed_at_opening() {
    let mut guest = Guest::new();
    let fd = guest
        .open_with(ROOT, true, "f", CREATE, RW, FdFlags::SYNC)
        .unwrap();
    assert_eq!(guest.fdstat(fd).2, FdFlags::SYNC);
    assert_eq!(guest.write(fd, b"x"), Ok(1));
    assert_eq!(
        guest.errno("fd_fdstat_set_flags", &[fd.into(), 0]),
        Errno::INVAL
    );
    guest.ok("fd_fdstat_set_flags", &[fd.into(), 16 + 1]);
    assert_eq!(
        guest.errno("fd_fdstat_set_flags", &[fd.into(), 32]),
        Errno::INVAL
    );
    let plain = guest
        .open_with(ROOT, true, "f", PLAIN, RW, FdFlags::DSYNC | FdFlags::RSYNC)
        .unwrap();
    assert_eq!(
        guest.errno("fd_fdstat_set_flags", &[plain.into(), 16]),
        Errno::INVAL
    );
    guest.ok("fd_fdstat_set_flags", &[0, 4]);
    guest.ok("fd_fdstat_set_flags", &[1, 5]);
    assert_eq!(guest.fdstat(1).2, FdFlags::APPEND | FdFlags::NONBLOCK);
    guest.ok("fd_fdstat_set_flags", &[ROOT.into(), 4]);
    assert_eq!(guest.fdstat(ROOT).2, FdFlags::NONE);
}

#[test]
fn reading_and_writing_the_wrong_thing() {
    let mut guest = Guest::new();
    guest.file("f", "x");
    let reader = guest.open("f", PLAIN, Rights::FD_READ).unwrap();
    let writer = guest.open("f", PLAIN, Rights::FD_WRITE).unwrap();
    let neither = guest.open("f", PLAIN, Rights::NONE).unwrap();
    // As on Linux: the program itself opened them like that. What a grant does not allow is refused when it is opened.
    assert_eq!(guest.write(reader, b"x"), Err(Errno::BADF));
    assert_eq!(guest.read(writer, 1), Err(Errno::BADF));
    assert_eq!(guest.read(neither, 1), Err(Errno::BADF));
    assert_eq!(guest.write(neither, b"x"), Err(Errno::BADF));
    for (fd, name) in [(reader, "fd_pwrite"), (writer, "fd_pread")] {
        let args = [fd.into(), 0, 0, 0, RESULT.into()];
        assert_eq!(guest.errno(name, &args), Errno::BADF, "{name}");
    }
    assert_eq!(
        guest.errno("fd_allocate", &[reader.into(), 0, 9]),
        Errno::BADF
    );
    assert_eq!(guest.read(ROOT, 1), Err(Errno::ISDIR));
    assert_eq!(guest.write(ROOT, b"x"), Err(Errno::ISDIR));
    for name in ["fd_pread", "fd_pwrite"] {
        assert_eq!(
            guest.errno(name, &[ROOT.into(), 0, 0, 0, RESULT.into()]),
            Errno::ISDIR
        );
        assert_eq!(
            guest.errno(name, &[99, 0, 0, 0, RESULT.into()]),
            Errno::BADF
        );
    }
    assert_eq!(guest.seek(ROOT, 0, 1), Err(Errno::ISDIR));
    assert_eq!(
        guest.errno("fd_tell", &[ROOT.into(), RESULT.into()]),
        Errno::ISDIR
    );
    assert_eq!(
        guest.errno("fd_allocate", &[ROOT.into(), 0, 1]),
        Errno::ISDIR
    );
    assert_eq!(
        guest.errno("fd_filestat_set_size", &[ROOT.into(), 1]),
        Errno::ISDIR
    );
    assert_eq!(
        guest.errno("fd_advise", &[ROOT.into(), 0, 1, 0]),
        Errno::BADF
    );
    assert_eq!(
        guest.errno("fd_filestat_set_size", &[reader.into(), 1]),
        Errno::INVAL
    );
    assert_eq!(guest.errno("fd_filestat_set_size", &[1, 1]), Errno::INVAL);
}

#[test]
fn advice_and_allocation() {
    let mut guest = Guest::new();
    let fd = u64::from(guest.open("f", CREATE, RW).unwrap());
    for advice in 0..6 {
        guest.ok("fd_advise", &[fd, 0, 0, advice]);
    }
    guest.ok("fd_advise", &[fd, 1 << 63, u64::MAX, 0]);
    assert_eq!(guest.errno("fd_advise", &[fd, 0, 0, 6]), Errno::INVAL);
    assert_eq!(guest.fd_stat(fd as u32).unwrap().size, 0);
    let allocated = guest.errno("fd_allocate", &[fd, 0, 100]);
    assert!([Errno::SUCCESS, Errno::NOTSUP].contains(&allocated));
    if allocated == Errno::SUCCESS {
        assert_eq!(guest.fd_stat(fd as u32).unwrap().size, 100);
        guest.ok("fd_allocate", &[fd, 10, 10]);
        assert_eq!(guest.fd_stat(fd as u32).unwrap().size, 100);
        assert_eq!(guest.errno("fd_allocate", &[fd, 0, 0]), Errno::INVAL);
    }
    guest.ok("fd_filestat_set_size", &[fd, 7]);
    assert_eq!(guest.fd_stat(fd as u32).unwrap().size, 7);
    assert_eq!(
        guest.errno("fd_filestat_set_size", &[fd, 1 << 63]),
        Errno::INVAL
    );
}

#[test]
fn syncing() {
    let mut guest = Guest::new();
    let file = guest.open("f", CREATE, RW).unwrap();
    let dir = guest.open(".", OFlags::DIRECTORY, Rights::FD_READ).unwrap();
    for name in ["fd_sync", "fd_datasync"] {
        for fd in [0, 1, 2, ROOT, file, dir] {
            guest.ok(name, &[fd.into()]);
        }
        assert_eq!(guest.errno(name, &[77]), Errno::BADF);
    }
}

#[test]
fn renumbering_onto_stdio_and_preopens() {
    let output = OutputBuffer::new();
    let mut guest = Guest::with(|builder, base| {
        builder.stdout(Stdout::Buffer(output.clone())).preopen_dir(
            base.join("outside"),
            "other",
            Access::ReadWrite,
        )
    });
    let file = guest.open("f", CREATE, RW).unwrap();
    guest.ok("fd_renumber", &[file.into(), 1]);
    assert_eq!(guest.write(1, b"to the file"), Ok(11));
    assert_eq!(
        std::fs::read_to_string(guest.inside("f")).unwrap(),
        "to the file"
    );
    assert_eq!(output.contents(), b"");
    assert_eq!(guest.errno("fd_close", &[file.into()]), Errno::BADF);
    guest.ok("fd_renumber", &[4, 3]);
    guest.ok("fd_prestat_get", &[3, RESULT.into()]);
    assert_eq!((guest.u32_at(RESULT), guest.u32_at(RESULT + 4)), (0, 5));
    assert!(
        guest.open("secret", PLAIN, Rights::FD_READ).is_ok(),
        "3 is the other directory now"
    );
    assert_eq!(guest.errno("fd_renumber", &[3, 50]), Errno::BADF);
    assert_eq!(guest.errno("fd_renumber", &[50, 3]), Errno::BADF);
    guest.ok("fd_renumber", &[3, 3]);
    let dir = guest.open(".", OFlags::DIRECTORY, Rights::NONE).unwrap();
    guest.ok("fd_renumber", &[dir.into(), 3]);
    assert_eq!(
        guest.errno("fd_prestat_get", &[3, RESULT.into()]),
        Errno::BADF,
        "it had no name"
    );
}

#[test]
fn preopens_tell_their_names() {
    let mut guest = Guest::with(|builder, base| {
        builder.preopen_dir(base.join("outside"), "long/name", Access::ReadOnly)
    });
    guest.ok("fd_prestat_get", &[4, RESULT.into()]);
    assert_eq!(
        (guest.memory[RESULT as usize], guest.u32_at(RESULT + 4)),
        (0, 9)
    );
    guest.memory[0x100..0x110].fill(b'#');
    guest.ok("fd_prestat_dir_name", &[4, 0x100, 16]);
    assert_eq!(&guest.memory[0x100..0x10a], b"long/name#");
    assert_eq!(
        guest.errno("fd_prestat_dir_name", &[4, 0x100, 8]),
        Errno::NAMETOOLONG
    );
    for fd in [0, 1, 2, 5, u32::MAX] {
        assert_eq!(
            guest.errno("fd_prestat_get", &[fd.into(), RESULT.into()]),
            Errno::BADF
        );
        assert_eq!(
            guest.errno("fd_prestat_dir_name", &[fd.into(), 0x100, 8]),
            Errno::BADF
        );
    }
    guest.close(3);
    assert_eq!(
        guest.errno("fd_prestat_get", &[3, RESULT.into()]),
        Errno::BADF
    );
    assert_eq!(guest.open("x", CREATE, RW), Err(Errno::BADF));
}

#[test]
fn thousands_of_opens_leak_nothing() {
    let mut guest = Guest::new();
    guest.file("f", "x");
    let host_fds = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let before = host_fds();
    for _ in 0..5000 {
        let fd = guest.open("f", PLAIN, RW).unwrap();
        assert_eq!(fd, 4);
        guest.close(fd);
    }
    // Other tests run beside this one; what it leaked itself would be thousands.
    assert!(host_fds() < before + 1000);
    assert_eq!(guest.errno("fd_close", &[4]), Errno::BADF);
}

#[test]
fn the_descriptor_limit_holds_before_the_host_acts() {
    let mut guest = Guest::with(|builder, _| builder.max_open_fds(6));
    assert_eq!(guest.open("a", CREATE, RW), Ok(4));
    assert_eq!(guest.open("b", CREATE, RW), Ok(5));
    assert_eq!(guest.open("c", CREATE, RW), Err(Errno::MFILE));
    assert!(!guest.inside("c").exists());
    guest.close(4);
    assert_eq!(guest.open("c", CREATE, RW), Ok(4));
}

#[test]
fn descriptors_behind_stdio_files() {
    let base = tempfile::tempdir().unwrap();
    std::fs::write(base.path().join("in"), "input").unwrap();
    let input = std::fs::File::open(base.path().join("in")).unwrap();
    let output = std::fs::File::create(base.path().join("out")).unwrap();
    let mut guest = Guest::with(|builder, _| {
        builder
            .stdin(crate::stdio::Stdin::File(input))
            .stdout(Stdout::File(output))
    });
    assert_eq!(guest.read(0, 100), Ok(b"input".to_vec()));
    assert_eq!(guest.write(1, b"output"), Ok(6));
    assert_eq!(std::fs::read(base.path().join("out")).unwrap(), b"output");
    assert_eq!(guest.seek(0, 0, 1), Err(Errno::SPIPE));
    let (base, _, _, filetype) = guest.fdstat(0);
    assert_eq!(filetype, 0, "not a terminal");
    assert!(!base.intersects(Rights::FD_SEEK | Rights::FD_TELL));
}

#[test]
fn an_output_buffer_holds_up_to_its_limit() {
    let output = OutputBuffer::with_limit(10);
    let shared = output.clone();
    let mut guest = Guest::with(|builder, _| builder.stdout(Stdout::Buffer(shared)));
    assert_eq!(guest.write(1, b"12345678"), Ok(8));
    guest.memory[0x9000..0x9004].copy_from_slice(b"abcd");
    let iovs = guest.iovs(&[(0x9000, 1), (0x9001, 3)]);
    guest.ok("fd_write", &[1, iovs, 2, RESULT.into()]);
    assert_eq!(guest.u32_at(RESULT), 2, "cut short");
    assert_eq!(guest.write(1, b"x"), Err(Errno::NOSPC));
    assert_eq!(guest.write(1, b""), Ok(0));
    assert_eq!(output.take(), b"12345678ab");
    assert_eq!(guest.write(1, b"x"), Ok(1));
    assert_eq!(output.contents(), b"x");
}
