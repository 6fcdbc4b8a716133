//! `wasi:filesystem`: its functions, with the streams of files and directories as resources.

use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;

use rustix::fs::Stat;

use crate::abi::{Filestat, Rights};
use crate::component::bytes::{PERMIT, Sink, Source};
use crate::component::call::{Call, Outcome};
use crate::component::error::{settle, settle_errno};
use crate::component::filesystem as common;
use crate::component::filesystem::{
    DescriptorType, DirectoryEntries, Done, ErrorCode, advise, create_directory_at, file_of,
    get_directories, get_flags, get_type, hash, is_same_object, link_at, look_at, object, open_at,
    readlink_at, remove_directory_at, rename_at, set_size, stat_with, symlink_at, sync_all,
    sync_data, type_of, unlink_file_at,
};
use crate::component::lower::{New, Piece};
use crate::component::rows::{Row, row};
use crate::objects::{Held, positioned};
use crate::p2::clocks::{Datetime, datetime};
use crate::p2::error::{Domain, IoError};
use crate::p2::streams::{input, output};

pub(super) const TYPES: &[Row] = &[
    row!("[method]descriptor.read-via-stream" [I32 I64] read_via_stream),
    row!("[method]descriptor.write-via-stream" [I32 I64] write_via_stream),
    row!("[method]descriptor.append-via-stream" [I32] append_via_stream),
    row!("[method]descriptor.advise" [I32 I64 I64 I32] advise),
    row!("[method]descriptor.sync-data" [I32] sync_data),
    row!("[method]descriptor.get-flags" [I32] get_flags),
    row!("[method]descriptor.get-type" [I32] get_type),
    row!("[method]descriptor.set-size" [I32 I64] set_size),
    row!("[method]descriptor.set-times" [I32 I32 I64 I32 I32 I64 I32] set_times),
    row!("[method]descriptor.read" [I32 I64 I64] read),
    row!("[method]descriptor.write" [I32 I32 I32 I64] write),
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
    row!("[method]directory-entry-stream.read-directory-entry" [I32] read_directory_entry),
    row!("filesystem-error-code" [I32] filesystem_error_code),
];

pub(super) const PREOPENS: &[Row] = &[row!("get-directories" [] get_directories)];

fn read_via_stream(call: &mut Call<'_>) -> Outcome<Done<New>> {
    let object = object(call)?;
    let offset = call.u64();
    Ok(readable_stream(object, offset))
}

fn write_via_stream(call: &mut Call<'_>) -> Outcome<Done<New>> {
    let object = object(call)?;
    let offset = call.u64();
    Ok(writable_stream(object, Some(offset)))
}

fn append_via_stream(call: &mut Call<'_>) -> Outcome<Done<New>> {
    let object = object(call)?;
    Ok(writable_stream(object, None))
}

/// A stream of a file; whether it may be read, reading says.
fn readable_stream(object: Arc<Held>, offset: u64) -> Done<New> {
    file_of(&object, Rights::NONE)?;
    Ok(input(Source::File(object, offset)))
}

/// A stream to a file; whether it may be written, writing says.
fn writable_stream(object: Arc<Held>, offset: Option<u64>) -> Done<New> {
    file_of(&object, Rights::NONE)?;
    Ok(output(Sink::File(object, offset)))
}

fn read(call: &mut Call<'_>) -> Outcome<Done<(Piece, bool)>> {
    let object = object(call)?;
    let (len, offset) = (call.u64(), call.u64());
    let mut parts = call.parts();
    let (resources, env, _) = parts.split();
    let asked = len.min(PERMIT) as usize;
    let mut scratch = resources.take_scratch(asked);
    let read = file_of(&object, Rights::FD_READ).and_then(|file| {
        let slices = &mut [IoSliceMut::new(&mut scratch[..asked])];
        file.read_at(slices, positioned(offset)?)
    });
    match settle_errno(read)? {
        Ok(len) => {
            env.work.bytes(len)?;
            Ok(Ok((Piece { scratch, len }, len == 0 && asked > 0)))
        }
        Err(errno) => {
            resources.put_scratch(scratch);
            Ok(Err(errno.into()))
        }
    }
}

fn write(call: &mut Call<'_>) -> Outcome<Done<u64>> {
    let object = object(call)?;
    let contents = call.bytes()?;
    let offset = call.u64();
    let mut parts = call.parts();
    let (_, env, memory) = parts.split();
    let contents = &memory[contents];
    let file = match file_of(&object, Rights::FD_WRITE) {
        Ok(file) => file,
        Err(errno) => return Ok(Err(errno.into())),
    };
    let mut done = 0;
    for piece in contents.chunks(crate::work::PIECE) {
        let written = positioned(offset.saturating_add(done))
            .and_then(|at| file.write_at(&[IoSlice::new(piece)], at));
        match settle_errno(written)? {
            Ok(moved) => {
                env.work.bytes(moved)?;
                done += moved as u64;
                if moved < piece.len() {
                    break;
                }
            }
            Err(errno) if done == 0 => return Ok(Err(errno.into())),
            Err(_) => break,
        }
    }
    Ok(Ok(done))
}

fn read_directory(call: &mut Call<'_>) -> Outcome<Done<New>> {
    let object = object(call)?;
    let opened = settle_errno(DirectoryEntries::open(call.ctx(), &object))?;
    Ok(opened.map(New::alone).map_err(ErrorCode::from))
}

/// `directory-entry`: type and name.
type DirectoryEntry = (DescriptorType, String);

fn read_directory_entry(call: &mut Call<'_>) -> Outcome<Done<Option<DirectoryEntry>>> {
    let this = call.handle::<DirectoryEntries>()?;
    let mut parts = call.parts();
    let (resources, env, _) = parts.split();
    let entries: &mut DirectoryEntries = resources.get(this)?;
    let next = settle(entries.next(env))?;
    Ok(next.map_err(ErrorCode::from))
}

fn filesystem_error_code(call: &mut Call<'_>) -> Outcome<Option<ErrorCode>> {
    let this = call.handle::<IoError>()?;
    let error: &IoError = call.ctx().resources.get(this)?;
    Ok((error.domain == Domain::Filesystem).then(|| error.errno.into()))
}

/// `descriptor-stat`: type, links, size; times of access, modification and status change.
type DescriptorStat = (
    DescriptorType,
    u64,
    u64,
    Option<Datetime>,
    Option<Datetime>,
    Option<Datetime>,
);

fn descriptor_stat(stat: &Stat) -> DescriptorStat {
    let filestat = Filestat::from(stat);
    (
        type_of(stat),
        filestat.nlink,
        filestat.size,
        Some(datetime(filestat.atim)),
        Some(datetime(filestat.mtim)),
        Some(datetime(filestat.ctim)),
    )
}

fn stat(call: &mut Call<'_>) -> Outcome<Done<DescriptorStat>> {
    stat_with(call, descriptor_stat)
}

fn stat_at(call: &mut Call<'_>) -> Outcome<Done<DescriptorStat>> {
    look_at(call, descriptor_stat)
}

fn metadata_hash(call: &mut Call<'_>) -> Outcome<Done<(u64, u64)>> {
    stat_with(call, hash)
}

fn metadata_hash_at(call: &mut Call<'_>) -> Outcome<Done<(u64, u64)>> {
    look_at(call, hash)
}

/// The seconds of a `datetime`, as far as the host can count.
fn seconds(bits: u64) -> Option<i64> {
    i64::try_from(bits).ok()
}

fn set_times(call: &mut Call<'_>) -> Outcome<Done<()>> {
    common::set_times(call, seconds)
}

fn set_times_at(call: &mut Call<'_>) -> Outcome<Done<()>> {
    common::set_times_at(call, seconds)
}
