//! `wasi:filesystem`: its functions.

use std::sync::Arc;

use rustix::fs::Stat;
use tiered_component::concurrent::{Transfer, Waits};

use crate::abi::{Filestat, Rights};
use crate::component::bytes::{Sink, Source};
use crate::component::call::{Call, Outcome};
use crate::component::concurrent::{Completion, Ended, ItemSource, Readable, Report, ending};
use crate::component::error::{settle, settle_errno};
use crate::component::filesystem::{
    self as common, DirectoryEntries, Done, file_of, get_directories, hash, is_same_object,
    look_at, object, stat_with, type_of,
};
use crate::component::lower::{Lower, New};
use crate::component::rows::{Row, row};
use crate::objects::{Held, positioned};
use crate::p3::clocks::Instant;
use crate::p3::codes::{DescriptorType, FileError, recoded};
use crate::p3::streams::{StreamAndEnding, failed_reading, failed_writing, reading, writing};

pub(super) const TYPES: &[Row] = &[
    row!("[method]descriptor.read-via-stream" [I32 I64] read_via_stream),
    row!("[method]descriptor.write-via-stream" [I32 I32 I64] write_via_stream),
    row!("[method]descriptor.append-via-stream" [I32 I32] append_via_stream),
    row!("[method]descriptor.advise" [I32 I64 I64 I32] advise),
    row!("[method]descriptor.sync-data" [I32] sync_data),
    row!("[method]descriptor.get-flags" [I32] get_flags),
    row!("[method]descriptor.get-type" [I32] get_type),
    row!("[method]descriptor.set-size" [I32 I64] set_size),
    row!("[method]descriptor.set-times" [I32 I32 I64 I32 I32 I64 I32] set_times),
    row!("[method]descriptor.read-directory" [I32] read_directory),
    row!("[method]descriptor.sync" [I32] sync_all),
    row!("[method]descriptor.create-directory-at" [I32 I32 I32] create_directory_at),
    row!("[method]descriptor.stat" [I32] stat),
    row!("[method]descriptor.stat-at" [I32 I32 I32 I32] stat_at),
    row!(
        "[method]descriptor.set-times-at" [I32 I32 I32 I32 I32 I64 I32 I32 I64 I32]
        set_times_at
    ),
    row!("[method]descriptor.link-at" [I32 I32 I32 I32 I32 I32 I32] link_at),
    row!("[method]descriptor.open-at" [I32 I32 I32 I32 I32 I32] open_at),
    row!("[method]descriptor.readlink-at" [I32 I32 I32] readlink_at),
    row!("[method]descriptor.remove-directory-at" [I32 I32 I32] remove_directory_at),
    row!("[method]descriptor.rename-at" [I32 I32 I32 I32 I32 I32] rename_at),
    row!("[method]descriptor.symlink-at" [I32 I32 I32 I32 I32] symlink_at),
    row!("[method]descriptor.unlink-file-at" [I32 I32 I32] unlink_file_at),
    row!("[method]descriptor.is-same-object" [I32 I32] is_same_object),
    row!("[method]descriptor.metadata-hash" [I32] metadata_hash),
    row!("[method]descriptor.metadata-hash-at" [I32 I32 I32 I32] metadata_hash_at),
];

pub(super) const PREOPENS: &[Row] = &[row!("get-directories" [] get_directories)];

recoded! {
    advise = common::advise => (), FileError;
    sync_data = common::sync_data => (), FileError;
    get_flags = common::get_flags => u8, FileError;
    get_type = common::get_type => DescriptorType, FileError;
    set_size = common::set_size => (), FileError;
    set_times = times => (), FileError;
    sync_all = common::sync_all => (), FileError;
    create_directory_at = common::create_directory_at => (), FileError;
    stat = attributes => DescriptorStat, FileError;
    stat_at = attributes_at => DescriptorStat, FileError;
    set_times_at = times_at => (), FileError;
    link_at = common::link_at => (), FileError;
    open_at = common::open_at => New, FileError;
    readlink_at = common::readlink_at => String, FileError;
    remove_directory_at = common::remove_directory_at => (), FileError;
    rename_at = common::rename_at => (), FileError;
    symlink_at = common::symlink_at => (), FileError;
    unlink_file_at = common::unlink_file_at => (), FileError;
    metadata_hash = hash_of => (u64, u64), FileError;
    metadata_hash_at = hash_at => (u64, u64), FileError;
}

fn read_via_stream(call: &mut Call<'_>) -> Outcome<StreamAndEnding> {
    let object = object(call)?;
    let offset = call.u64();
    let readable = file_of(&object, Rights::FD_READ).and_then(|_| positioned(offset));
    Ok(match readable {
        Ok(offset) => reading::<FileError>(Source::File(object, offset)),
        Err(errno) => failed_reading(FileError::from(errno)),
    })
}

/// Writes what comes from a stream to a file, from an offset on, or at its end.
fn write_file(
    call: &mut Call<'_>,
    object: Arc<Held>,
    stream: u32,
    offset: Option<u64>,
) -> Outcome<Readable> {
    let writable = file_of(&object, Rights::FD_WRITE)
        .and_then(|_| offset.map_or(Ok(()), |offset| positioned(offset).map(drop)));
    match writable {
        Ok(()) => writing::<FileError>(call, stream, Sink::File(object, offset)),
        Err(errno) => failed_writing(call, stream, FileError::from(errno)),
    }
}

fn write_via_stream(call: &mut Call<'_>) -> Outcome<Readable> {
    let object = object(call)?;
    let (stream, offset) = (call.u32(), call.u64());
    write_file(call, object, stream, Some(offset))
}

fn append_via_stream(call: &mut Call<'_>) -> Outcome<Readable> {
    let object = object(call)?;
    let stream = call.u32();
    write_file(call, object, stream, None)
}

/// `directory-entry`: type and name.
type DirectoryEntry = (DescriptorType, String);

/// A directory's entries on their way to the guest.
struct Entries {
    entries: DirectoryEntries,
    report: Report<FileError>,
}

fn read_directory(call: &mut Call<'_>) -> Outcome<StreamAndEnding> {
    let object = object(call)?;
    let opened = settle_errno(DirectoryEntries::open(call.ctx(), &object))?;
    Ok(match opened {
        Ok(entries) => {
            let (report, completion) = ending();
            let stream = Readable::items(0, Entries { entries, report });
            (stream, Readable::items(1, completion))
        }
        Err(errno) => {
            let completion = Completion::failed(FileError::from(errno));
            (Readable::items(0, Ended), Readable::items(1, completion))
        }
    })
}

impl ItemSource for Entries {
    fn read(&mut self, call: &mut Call<'_>, at: u32, count: u32) -> Outcome<Transfer> {
        let mut to = at;
        for stored in 0..count {
            let mut parts = call.parts();
            let (_, env, _) = parts.split();
            let ending = match settle(self.entries.next(env))? {
                Ok(Some((ty, name))) => {
                    let entry: DirectoryEntry = (ty.into(), name);
                    entry.store(call, to)?;
                    // Within the guest's buffer, so within 32 bits.
                    to += DirectoryEntry::SIZE;
                    continue;
                }
                Ok(None) => Ok(()),
                Err(errno) => Err(FileError::from(errno)),
            };
            self.report.end(ending);
            return Ok(match stored {
                0 => Transfer::End,
                // The end, or the error again, is told the next time.
                _ => Transfer::Items(stored),
            });
        }
        Ok(Transfer::Items(count))
    }

    /// A directory is always ready.
    fn wait(&self, _waits: &mut Waits) {}
}

/// `descriptor-stat`: type, links, size; times of access, modification and status change.
type DescriptorStat = (
    DescriptorType,
    u64,
    u64,
    Option<Instant>,
    Option<Instant>,
    Option<Instant>,
);

#[allow(
    clippy::unnecessary_cast,
    reason = "the widths of the fields are the host's"
)]
fn descriptor_stat(stat: &Stat) -> DescriptorStat {
    let filestat = Filestat::from(stat);
    (
        type_of(stat).into(),
        filestat.nlink,
        filestat.size,
        Some((stat.st_atime as i64, stat.st_atime_nsec as u32)),
        Some((stat.st_mtime as i64, stat.st_mtime_nsec as u32)),
        Some((stat.st_ctime as i64, stat.st_ctime_nsec as u32)),
    )
}

fn attributes(call: &mut Call<'_>) -> Outcome<Done<DescriptorStat>> {
    stat_with(call, descriptor_stat)
}

fn attributes_at(call: &mut Call<'_>) -> Outcome<Done<DescriptorStat>> {
    look_at(call, descriptor_stat)
}

fn hash_of(call: &mut Call<'_>) -> Outcome<Done<(u64, u64)>> {
    stat_with(call, hash)
}

fn hash_at(call: &mut Call<'_>) -> Outcome<Done<(u64, u64)>> {
    look_at(call, hash)
}

/// The seconds of an `instant`: any are a time.
fn seconds(bits: u64) -> Option<i64> {
    Some(bits.cast_signed())
}

fn times(call: &mut Call<'_>) -> Outcome<Done<()>> {
    common::set_times(call, seconds)
}

fn times_at(call: &mut Call<'_>) -> Outcome<Done<()>> {
    common::set_times_at(call, seconds)
}
