//! How many descriptors guests get of those that the process may have open. The limit is the process's, so this is one test.

use std::fs::File;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tiered_wasi::{Abi, Access, BuildError, Errno, GuestMemory, WasiCtx, WasiCtxBuilder, calls};

/// What the process may have open while the test runs.
const LIMIT: usize = 200;

fn builder(dir: &std::path::Path) -> WasiCtxBuilder {
    WasiCtx::builder().preopen_dir(dir, "/", Access::ReadWrite)
}

fn open(ctx: &WasiCtx, name: &[u8]) -> Errno {
    let mut bytes = vec![0; 64];
    bytes[..name.len()].copy_from_slice(name);
    let mut memory = GuestMemory::new(&mut bytes);
    let (len, creat, read) = (name.len() as u32, 1, 2);
    calls::path_open(
        ctx,
        &mut memory,
        Abi::Preview1,
        3,
        0,
        0,
        len,
        creat,
        read,
        0,
        0,
        32,
    )
    .expect("its pointers are good")
}

/// Opens files until no more can be opened; how many.
fn open_all(ctx: &WasiCtx) -> usize {
    for count in 0.. {
        match open(ctx, b"f") {
            Errno::SUCCESS => {}
            errno => {
                assert_eq!(errno, Errno::MFILE, "after {count}");
                return count;
            }
        }
    }
    unreachable!("there is a limit")
}

fn sleep(ctx: &WasiCtx) -> Errno {
    let mut bytes = vec![0; 256];
    bytes[16] = 1;
    let mut memory = GuestMemory::new(&mut bytes);
    calls::poll_oneoff(ctx, &mut memory, Abi::Preview1, 0, 64, 1, 128)
        .expect("its pointers are good")
}

#[test]
fn guests_leave_descriptors_to_the_process_and_to_each_other() {
    let limit = Rlimit {
        current: Some(LIMIT as u64),
        ..getrlimit(Resource::Nofile)
    };
    setrlimit(Resource::Nofile, limit).expect("it is lower than before");
    let dir = tempfile::tempdir().expect("there is room");
    let new = || builder(dir.path()).build().expect("there is room");

    // One gets a quarter: its three streams, which are nobody's descriptors, its directory, and files.
    let guest = new();
    assert_eq!(open_all(&guest), LIMIT / 4 - 4);
    assert!(!dir.path().join("g").exists());
    assert_eq!(open(&guest, b"g"), Errno::MFILE);
    assert!(!dir.path().join("g").exists(), "the host did not act");
    let other = new();
    assert_eq!(
        open_all(&other),
        LIMIT / 4 - 4,
        "what one has is not another's"
    );

    // All of them get three quarters, whatever their embedder says.
    let greedy = builder(dir.path())
        .max_open_fds(usize::MAX)
        .build()
        .expect("there is room");
    let own = LIMIT / 4 - 3;
    assert_eq!(open_all(&greedy), LIMIT / 4 * 3 - 2 * own - 1);
    assert_eq!(open(&guest, b"f"), Errno::MFILE);
    assert_eq!(sleep(&guest), Errno::MFILE, "waiting takes one, too");
    let refused = builder(dir.path()).build();
    assert!(matches!(refused, Err(BuildError::NoFdsLeft { limit }) if limit == LIMIT / 4 * 3));
    let bare = WasiCtx::builder().build();
    assert!(bare.is_ok(), "without a directory there is nothing to hold");
    let mine: Vec<_> = (0..20).map(|_| File::open("/dev/null")).collect();
    assert!(
        mine.iter().all(Result::is_ok),
        "the process has its own left"
    );

    // What is closed can be opened again by any guest.
    let mut bytes = [0; 8];
    let closed = calls::fd_close(&greedy, &mut GuestMemory::new(&mut bytes), Abi::Preview1, 5);
    assert_eq!(closed, Ok(Errno::SUCCESS));
    assert_eq!(sleep(&guest), Errno::SUCCESS);
    assert_eq!(sleep(&guest), Errno::SUCCESS, "it is kept");
    assert_eq!(open(&greedy, b"f"), Errno::MFILE);
    drop(other);
    let next = new();
    assert_eq!(open_all(&next), own - 1);
    drop((guest, greedy, next));
    assert_eq!(open_all(&new()), LIMIT / 4 - 4, "nothing leaked");
}
