//! Attributes of descriptors: type, flags and rights; size and times of the file behind.

use rustix::fs::{FileType as HostType, Stat, Timestamps};

use crate::abi::{Abi, Errno, FdFlags, Fdstat, FileType, Filestat, FstFlags, Rights, strict_flags};
use crate::ctx::WasiCtx;
use crate::error::Error;
use crate::guest::GuestMemory;
use crate::objects::{self, NewTime, Object};
use crate::work::LOOKUP;

impl From<HostType> for FileType {
    fn from(host: HostType) -> Self {
        match host {
            HostType::RegularFile => Self::RegularFile,
            HostType::Directory => Self::Directory,
            HostType::Symlink => Self::SymbolicLink,
            HostType::CharacterDevice => Self::CharacterDevice,
            HostType::BlockDevice => Self::BlockDevice,
            HostType::Socket => Self::SocketStream,
            HostType::Fifo | HostType::Unknown => Self::Unknown,
        }
    }
}

impl From<&Stat> for Filestat {
    // The widths of the host's fields differ between architectures.
    #[allow(
        clippy::useless_conversion,
        clippy::unnecessary_cast,
        reason = "field widths are the host's"
    )]
    fn from(stat: &Stat) -> Self {
        Self {
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
            filetype: HostType::from_raw_mode(stat.st_mode).into(),
            nlink: stat.st_nlink as u64,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            atim: nanoseconds(stat.st_atime as i64, stat.st_atime_nsec as u64),
            mtim: nanoseconds(stat.st_mtime as i64, stat.st_mtime_nsec as u64),
            ctim: nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as u64),
        }
    }
}

/// Nanoseconds since 1970, held to what 64 bits can say: the host's files may be older or much younger.
fn nanoseconds(seconds: i64, nanoseconds: u64) -> u64 {
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    u64::try_from(total.max(0)).unwrap_or(u64::MAX)
}

/// The times to set.
pub(crate) fn timestamps(atim: u64, mtim: u64, flags: u32) -> Result<Timestamps, Errno> {
    let flags = strict_flags!(FstFlags, flags)?;
    let pick = |time: u64, set: FstFlags, now: FstFlags| match (
        flags.contains(set),
        flags.contains(now),
    ) {
        (true, true) => Err(Errno::INVAL),
        (true, false) => Ok(NewTime::At {
            seconds: (time / 1_000_000_000) as i64,
            nanoseconds: (time % 1_000_000_000) as u32,
        }),
        (false, true) => Ok(NewTime::Now),
        (false, false) => Ok(NewTime::Keep),
    };
    Ok(objects::timestamps(
        pick(atim, FstFlags::ATIM, FstFlags::ATIM_NOW)?,
        pick(mtim, FstFlags::MTIM, FstFlags::MTIM_NOW)?,
    ))
}

/// `fd_fdstat_get`: type, flags and rights.
pub(crate) fn fd_fdstat_get(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    stat: u32,
) -> Result<(), Error> {
    let stat = memory.ptr::<Fdstat>("stat", stat)?;
    let entry = ctx.table.get(fd)?;
    let value = Fdstat {
        filetype: entry.object.filetype(),
        flags: entry.flags(),
        base: entry.base(),
        inheriting: entry.inheriting(),
    };
    memory.store(stat, value);
    Ok(())
}

/// `fd_fdstat_set_flags`: append and non-blocking mode; the sync modes are fixed when a file is opened.
pub(crate) fn fd_fdstat_set_flags(
    ctx: &WasiCtx,
    _memory: &mut GuestMemory<'_>,
    fd: u32,
    flags: u32,
) -> Result<(), Error> {
    let flags = strict_flags!(FdFlags, flags)?;
    let entry = ctx.table.get(fd)?;
    entry.require(Rights::FD_FDSTAT_SET_FLAGS)?;
    let changeable = match &**entry.object {
        Object::File(_) | Object::Stdin(_) | Object::Stdout(_) => {
            FdFlags::APPEND | FdFlags::NONBLOCK
        }
        Object::Dir(_) | Object::Listener(_) | Object::Stream(_) => FdFlags::NONBLOCK,
    };
    if flags & !changeable != entry.flags() & !changeable {
        return Err(Errno::INVAL.into());
    }
    if !matches!(&**entry.object, Object::Dir(_)) {
        entry.set_flags(flags);
    }
    Ok(())
}

/// `fd_fdstat_set_rights`: gives rights up; there is no way to gain any.
pub(crate) fn fd_fdstat_set_rights(
    ctx: &WasiCtx,
    _memory: &mut GuestMemory<'_>,
    fd: u32,
    fs_rights_base: u64,
    fs_rights_inheriting: u64,
) -> Result<(), Error> {
    let entry = ctx.table.get(fd)?;
    let within = |asked: u64, held: Rights| asked & !held.raw() == 0;
    if !within(fs_rights_base, entry.base()) || !within(fs_rights_inheriting, entry.inheriting()) {
        return Err(Errno::NOTCAPABLE.into());
    }
    entry.keep_rights(
        Rights::from_raw(fs_rights_base),
        Rights::from_raw(fs_rights_inheriting),
    );
    Ok(())
}

/// `fd_filestat_get`: attributes of the file; a stream has only its type.
pub(crate) fn fd_filestat_get(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    abi: Abi,
    fd: u32,
    buf: u32,
) -> Result<(), Error> {
    let buf = memory.check("buf", buf, abi.filestat_size().into(), 8)?;
    memory.work().units(LOOKUP)?;
    let entry = ctx.table.get(fd)?;
    entry.require(Rights::FD_FILESTAT_GET)?;
    let stat = match entry.object.stat()? {
        Some(stat) => Filestat::from(&stat),
        None => Filestat::bare(entry.object.filetype()),
    };
    stat.store(abi, memory, buf);
    Ok(())
}

/// `fd_filestat_set_size`: cuts or extends a file.
pub(crate) fn fd_filestat_set_size(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    size: u64,
) -> Result<(), Error> {
    memory.work().units(LOOKUP)?;
    let entry = ctx.table.get(fd)?;
    let file = entry.as_file(Rights::FD_FILESTAT_SET_SIZE, Errno::INVAL)?;
    Ok(file.set_size(size)?)
}

/// `fd_filestat_set_times`: sets access and modification time.
pub(crate) fn fd_filestat_set_times(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    atim: u64,
    mtim: u64,
    fst_flags: u32,
) -> Result<(), Error> {
    let times = timestamps(atim, mtim, fst_flags)?;
    memory.work().units(LOOKUP)?;
    let entry = ctx.table.get(fd)?;
    entry.require_in_file_system(Rights::FD_FILESTAT_SET_TIMES)?;
    Ok(entry.object.set_times(&times)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extreme_host_times_are_held_to_the_range() {
        assert_eq!(nanoseconds(-1, 999_999_999), 0);
        assert_eq!(nanoseconds(i64::MIN, 0), 0);
        assert_eq!(nanoseconds(i64::MAX, 999_999_999), u64::MAX);
        assert_eq!(nanoseconds(1, 5), 1_000_000_005);
    }

    #[test]
    fn a_time_is_either_given_or_now() {
        assert_eq!(timestamps(0, 0, 3).unwrap_err(), Errno::INVAL);
        assert_eq!(timestamps(0, 0, 12).unwrap_err(), Errno::INVAL);
        assert_eq!(timestamps(0, 0, 16).unwrap_err(), Errno::INVAL);
        let times = timestamps(u64::MAX, 7, 5).unwrap();
        assert_eq!(times.last_access.tv_sec, 18_446_744_073);
        assert_eq!(times.last_modification.tv_nsec, 7);
    }
}
