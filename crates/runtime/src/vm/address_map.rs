//! What the process may do at an address, by `/proc/self/maps` and by asking the kernel; for tests.

use std::os::fd::{AsRawFd, RawFd};
use std::ptr::NonNull;

/// What a mapping permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing is mapped, or nothing may be done there.
    None,
    /// Reading.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// What the mapping at `address` permits.
pub(crate) fn access(address: NonNull<u8>) -> Access {
    let address = address.addr().get();
    let maps = std::fs::read_to_string("/proc/self/maps").expect("there is /proc");
    let permissions = maps.lines().find_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let bound = |text| usize::from_str_radix(text, 16).ok();
        (bound(start)?..bound(end)?)
            .contains(&address)
            .then(|| rest[..2].to_owned())
    });
    match permissions.as_deref() {
        Some("rw") => Access::ReadWrite,
        Some("r-") => Access::Read,
        _ => Access::None,
    }
}

/// Whether reading the byte at `address` is no fault: the kernel reads it, into a pipe that nobody reads.
pub(crate) fn can_read(address: NonNull<u8>) -> bool {
    // SAFETY: as the C library declares it.
    unsafe extern "C" {
        fn write(file: RawFd, bytes: *const u8, count: usize) -> isize;
    }
    let (_reader, writer) = std::io::pipe().expect("there is a pipe");
    // SAFETY: only the kernel reads the byte, and it returns an error if it can't.
    unsafe { write(writer.as_raw_fd(), address.as_ptr(), 1) == 1 }
}
