//! What calls cost, and that a call which is refused more ends where it is.

use super::*;
use crate::stdio::{OutputBuffer, Stdout};

/// Some megabytes.
const LARGE: u32 = 5 << 20;

/// A guest with a large memory.
fn large() -> Guest {
    let mut guest = Guest::new();
    guest.memory.resize(8 << 20, 0);
    guest
}

/// Where large buffers are.
const AT: u32 = 1 << 20;

#[test]
fn moving_bytes_is_paid_for() {
    let mut guest = large();
    let fd = u64::from(guest.open("f", CREATE, RW).unwrap());
    let iovs = guest.iovs(&[(AT, LARGE)]);
    for (name, args) in [
        ("fd_write", vec![fd, iovs, 1, RESULT.into()]),
        ("fd_pwrite", vec![fd, iovs, 1, 0, RESULT.into()]),
        ("fd_pread", vec![fd, iovs, 1, 0, RESULT.into()]),
    ] {
        let purse = Purse::new(u64::MAX);
        assert_eq!(guest.call_metered(name, &args, &purse), Ok(Errno::SUCCESS));
        assert_eq!(guest.u32_at(RESULT), LARGE, "{name}");
        // A unit for each 4 KiB, in pieces of at most a mebibyte.
        assert_eq!((purse.paid(), purse.payments.get()), (1280, 5), "{name}");
    }
}

#[test]
fn whoever_cannot_pay_goes_no_further() {
    let mut guest = large();
    let fd = u64::from(guest.open("f", CREATE, RW).unwrap());
    let iovs = guest.iovs(&[(AT, LARGE)]);
    let args = [fd, iovs, 1, RESULT.into()];
    for (purse, halt) in [
        (Purse::new(300), Halt::OutOfFuel),
        (Purse::stopped_after(1), Halt::Interrupted),
    ] {
        guest.ok("fd_filestat_set_size", &[fd, 0]);
        guest.seek(fd as u32, 0, 0).unwrap();
        let iovs = guest.iovs(&[(AT, LARGE)]);
        assert_eq!(iovs, args[1]);
        let stop = guest.call_metered("fd_write", &args, &purse);
        assert_eq!(stop, Err(Stop::Halt(halt)));
        let size = guest.fd_stat(fd as u32).unwrap().size;
        assert_eq!(size, 2 << 20, "the first piece, and the one not paid for");
    }
}

#[test]
fn many_buffers_of_the_same_bytes_are_no_way_around() {
    let mut guest = large();
    let output = OutputBuffer::new();
    let stdout = Stdout::Buffer(output.clone());
    guest.ctx = WasiCtx::builder().stdout(stdout).build().unwrap();
    let list = vec![(AT, LARGE); 200];
    let iovs = guest.iovs(&list);
    let purse = Purse::new(5000);
    let args = [1, iovs, 200, RESULT.into()];
    let stop = guest.call_metered("fd_write", &args, &purse);
    assert_eq!(stop, Err(Stop::Halt(Halt::OutOfFuel)));
    assert!(output.contents().len() <= 5001 * 4096 + (1 << 20));
}

#[test]
fn long_lists_are_paid_for_while_they_are_read() {
    let mut guest = large();
    let count = (LARGE / 8) as u64;
    for name in ["fd_read", "fd_write"] {
        // Half a million buffers without a byte.
        let purse = Purse::new(u64::MAX);
        let args = [0, u64::from(AT), count, RESULT.into()];
        guest.call_metered(name, &args, &purse).unwrap();
        assert_eq!(purse.paid(), count / 16, "{name}");
        let purse = Purse::stopped_after(3);
        let stop = guest.call_metered(name, &args, &purse);
        assert_eq!(stop, Err(Stop::Halt(Halt::Interrupted)), "{name}");
    }
    // Subscriptions for reading a file, about each of which the host is asked.
    guest.file("f", "contents");
    let fd = guest.open("f", PLAIN, Rights::FD_READ).unwrap();
    let list = AT as usize..AT as usize + 48 * 10_000;
    for subscription in guest.memory[list].as_chunks_mut::<48>().0 {
        subscription[8] = 1;
        subscription[16..20].copy_from_slice(&fd.to_le_bytes());
    }
    let args = [u64::from(AT), u64::from(AT) << 1, 10_000, RESULT.into()];
    let purse = Purse::stopped_after(2);
    let stop = guest.call_metered("poll_oneoff", &args, &purse);
    assert_eq!(stop, Err(Stop::Halt(Halt::Interrupted)));
    assert_eq!(purse.paid(), 2 * 4096);
    guest.ok("poll_oneoff", &args);
    assert_eq!(guest.u32_at(RESULT), 10_000);
    let purse = Purse::new(999);
    let args = [0, u64::from(AT), 1000, RESULT.into()];
    let stop = guest.call_metered("poll_oneoff", &args, &purse);
    assert_eq!(stop, Err(Stop::Halt(Halt::OutOfFuel)));
}

#[test]
fn random_bytes_are_dearer() {
    let mut guest = large();
    let purse = Purse::new(u64::MAX);
    let args = [AT.into(), LARGE.into()];
    guest.call_metered("random_get", &args, &purse).unwrap();
    assert_eq!(purse.paid(), u64::from(LARGE) / 256);
    assert!(purse.payments.get() >= 5);
    guest.memory.fill(0);
    let purse = Purse::new(5000);
    let stop = guest.call_metered("random_get", &args, &purse);
    assert_eq!(stop, Err(Stop::Halt(Halt::OutOfFuel)));
    assert!(guest.memory[4 << 20..].iter().all(|&byte| byte == 0));
}

#[test]
fn an_interrupt_of_the_context_alone_cuts_a_transfer_short() {
    let mut guest = large();
    let fd = u64::from(guest.open("f", CREATE, RW).unwrap());
    guest.ctx.interrupt_handle().interrupt();
    let iovs = guest.iovs(&[(AT, LARGE)]);
    guest.ok("fd_write", &[fd, iovs, 1, RESULT.into()]);
    assert_eq!(guest.u32_at(RESULT), 1 << 20);
    let args = [AT.into(), LARGE.into()];
    assert_eq!(guest.errno("random_get", &args), Errno::INTR);
    guest.ctx.interrupt_handle().clear();
    guest.ok("random_get", &args);
}

#[test]
fn paths_and_attributes_are_paid_for() {
    let mut guest = Guest::new();
    guest.dir("d");
    for (path, cost) in [("d", 16), ("d/../d/../d", 20)] {
        let at = guest.put(path.as_bytes());
        let purse = Purse::new(u64::MAX);
        let len = path.len() as u64;
        let args = [ROOT.into(), 1, at, len, RESULT.into()];
        let outcome = guest.call_metered("path_filestat_get", &args, &purse);
        assert_eq!((outcome, purse.paid()), (Ok(Errno::SUCCESS), cost));
        let purse = Purse::new(cost - 1);
        let outcome = guest.call_metered("path_filestat_get", &args, &purse);
        assert_eq!(outcome, Err(Stop::Halt(Halt::OutOfFuel)));
    }
    for name in ["fd_filestat_get", "fd_sync"] {
        let purse = Purse::new(u64::MAX);
        let args = [u64::from(ROOT), RESULT.into()];
        let params = Function::named(name).unwrap().params.len();
        let outcome = guest.call_metered(name, &args[..params], &purse);
        assert_eq!((outcome, purse.paid()), (Ok(Errno::SUCCESS), 16), "{name}");
    }
}

#[test]
fn allocating_is_paid_for_in_pieces() {
    let mut guest = Guest::new();
    let fd = u64::from(guest.open("f", CREATE, RW).unwrap());
    if guest.errno("fd_allocate", &[fd, 0, 1]) == Errno::NOTSUP {
        return;
    }
    let purse = Purse::new(30_000);
    let stop = guest.call_metered("fd_allocate", &[fd, 0, 1 << 40], &purse);
    assert_eq!(stop, Err(Stop::Halt(Halt::OutOfFuel)));
    assert!(guest.fd_stat(fd as u32).unwrap().size <= 256 << 20);
    let purse = Purse::new(u64::MAX);
    let outcome = guest.call_metered("fd_allocate", &[fd, 5, 100 << 20], &purse);
    assert_eq!(outcome, Ok(Errno::SUCCESS));
    assert!(guest.fd_stat(fd as u32).unwrap().size >= (100 << 20) + 5);
}
