//! `wasi:filesystem`: the operations on files and directories by handles, in this interface's words.
//!
//! Differences to preview 1: a descriptor has no position, and flags instead of rights. `mutate-directory` is that the grant
//! is for writing; without it what would change something is `read-only`. What leads out of a grant is `not-permitted`.

mod attributes;
mod code;

use std::sync::Arc;

use crate::abi::{Errno, FdFlags, OFlags, Rights};
use crate::guest::GuestMemory;
use crate::objects::{
    Access, Held, Lister, Listing, Object, OpenDir, OpenFile, OpenRequest, Sync, advice, positioned,
};
use crate::p2::call::{Call, Env, Outcome, trap};
use crate::p2::error::{Domain, IoError, settle, settle_errno};
use crate::p2::lower::{New, Piece};
use crate::p2::rows::{Row, row};
use crate::p2::streams::{PERMIT, Sink, Source, input, output};
use crate::path::{GuestPath, open_for_reading};

pub(crate) use attributes::DescriptorType;
pub(crate) use code::ErrorCode;

/// Bits of `descriptor-flags`.
const READ: u8 = 1;
const WRITE: u8 = 2;
const FILE_INTEGRITY_SYNC: u8 = 4;
const DATA_INTEGRITY_SYNC: u8 = 8;
const REQUESTED_WRITE_SYNC: u8 = 16;
const MUTATE_DIRECTORY: u8 = 32;

/// The bit of `path-flags`.
const SYMLINK_FOLLOW: u8 = 1;

/// Bits of `open-flags`, and what they mean.
const OPEN_FLAGS: [(u8, OFlags); 4] = [
    (1, OFlags::CREAT),
    (2, OFlags::DIRECTORY),
    (4, OFlags::EXCL),
    (8, OFlags::TRUNC),
];

/// What an operation comes to.
type Done<T> = Result<T, ErrorCode>;

/// `descriptor`.
#[derive(Debug)]
pub(crate) struct Descriptor {
    object: Arc<Held>,
    /// `descriptor-flags`.
    flags: u8,
}

/// `directory-entry-stream`: a directory's own descriptor, and how far it was read.
#[derive(Debug)]
pub(crate) struct DirectoryEntries {
    dir: Arc<Held>,
    listing: Option<Listing>,
    /// Which of the kept entries is next, and the cookie of that place.
    index: usize,
    cookie: u64,
    is_at_end: bool,
}

pub(super) const TYPES: &[Row] = &[
    row!("[method]descriptor.read-via-stream" [I32 I64] read_via_stream),
    row!("[method]descriptor.write-via-stream" [I32 I64] write_via_stream),
    row!("[method]descriptor.append-via-stream" [I32] append_via_stream),
    row!("[method]descriptor.advise" [I32 I64 I64 I32] advise),
    row!("[method]descriptor.sync-data" [I32] sync_data),
    row!("[method]descriptor.get-flags" [I32] get_flags),
    row!("[method]descriptor.get-type" [I32] attributes::get_type),
    row!("[method]descriptor.set-size" [I32 I64] set_size),
    row!("[method]descriptor.set-times" [I32 I32 I64 I32 I32 I64 I32] attributes::set_times),
    row!("[method]descriptor.read" [I32 I64 I64] read),
    row!("[method]descriptor.write" [I32 I32 I32 I64] write),
    row!("[method]descriptor.read-directory" [I32] read_directory),
    row!("[method]descriptor.sync" [I32] sync_all),
    row!("[method]descriptor.create-directory-at" [I32 I32 I32] create_directory_at),
    row!("[method]descriptor.stat" [I32] attributes::stat),
    row!("[method]descriptor.stat-at" [I32 I32 I32 I32] attributes::stat_at),
    row!(
        "[method]descriptor.set-times-at" [I32 I32 I32 I32 I32 I64 I32 I32 I64 I32]
        attributes::set_times_at
    ),
    row!("[method]descriptor.link-at" [I32 I32 I32 I32 I32 I32 I32] link_at),
    row!("[method]descriptor.open-at" [I32 I32 I32 I32 I32 I32] open_at),
    row!("[method]descriptor.readlink-at" [I32 I32 I32] readlink_at),
    row!("[method]descriptor.remove-directory-at" [I32 I32 I32] remove_directory_at),
    row!("[method]descriptor.rename-at" [I32 I32 I32 I32 I32 I32] rename_at),
    row!("[method]descriptor.symlink-at" [I32 I32 I32 I32 I32] symlink_at),
    row!("[method]descriptor.unlink-file-at" [I32 I32 I32] unlink_file_at),
    row!("[method]descriptor.is-same-object" [I32 I32] attributes::is_same_object),
    row!("[method]descriptor.metadata-hash" [I32] attributes::metadata_hash),
    row!("[method]descriptor.metadata-hash-at" [I32 I32 I32 I32] attributes::metadata_hash_at),
    row!("[method]directory-entry-stream.read-directory-entry" [I32] read_directory_entry),
    row!("filesystem-error-code" [I32] filesystem_error_code),
];

pub(super) const PREOPENS: &[Row] = &[row!("get-directories" [] get_directories)];

/// The directory; anything else is `not-directory`.
fn dir_of(object: &Held) -> Result<&OpenDir, Errno> {
    match &**object {
        Object::Dir(dir) => Ok(dir),
        _ => Err(Errno::NOTDIR),
    }
}

/// The file, if it may be used like that; a directory is `is-directory`.
fn file_of(object: &Held, direction: Rights) -> Result<&OpenFile, Errno> {
    match &**object {
        Object::File(file) if file.access.contains(direction) => Ok(file),
        Object::Dir(_) => Err(Errno::ISDIR),
        _ => Err(Errno::BADF),
    }
}

/// The directory, if what is below it may be changed.
fn mutable(object: &Held) -> Done<&OpenDir> {
    let dir = dir_of(object)?;
    match dir.grant.access {
        Access::ReadWrite => Ok(dir),
        Access::ReadOnly => Err(ErrorCode::ReadOnly),
    }
}

/// Refuses to change what was reached by a grant for reading.
fn require_changeable(object: &Held) -> Done<()> {
    match object.in_file_system() {
        Some((_, grant)) if grant.access == Access::ReadOnly => Err(ErrorCode::ReadOnly),
        _ => Ok(()),
    }
}

/// The object behind the next argument, a descriptor.
fn object(call: &mut Call<'_>) -> Outcome<Arc<Held>> {
    let this = call.handle::<Descriptor>()?;
    let descriptor: &Descriptor = call.ctx().resources.get(this)?;
    Ok(Arc::clone(&descriptor.object))
}

/// Runs an operation that costs as much as a look-up.
fn look<T>(call: &mut Call<'_>, act: impl FnOnce() -> Result<T, Errno>) -> Outcome<Done<T>> {
    let mut parts = call.parts();
    let (_, env, _) = parts.split();
    env.work.units(crate::work::LOOKUP)?;
    Ok(settle_errno(act())?.map_err(ErrorCode::from))
}

/// A path, still in the guest's memory.
#[derive(Clone, Debug)]
struct Path(std::ops::Range<usize>);

fn path(call: &mut Call<'_>) -> Outcome<Path> {
    Ok(Path(call.string()?))
}

/// The path, as the operations take it.
fn resolved<'m>(
    memory: &'m GuestMemory<'_>,
    path: &Path,
) -> Result<GuestPath<'m>, crate::error::Error> {
    let at = path.0.start as u32;
    GuestPath::read(memory, "path", at, path.0.len() as u32)
}

/// Runs an operation with a path.
fn with_path<T>(
    call: &mut Call<'_>,
    path: &Path,
    act: impl FnOnce(&GuestPath<'_>) -> Done<T>,
) -> Outcome<Done<T>> {
    let done = call.parts().with_memory(|_, memory| {
        let path = resolved(memory, path)?;
        Ok(act(&path))
    });
    Ok(settle(done)?.map_err(ErrorCode::from).flatten())
}

/// Runs an operation that changes what a path names in a directory.
fn change_at(
    call: &mut Call<'_>,
    act: impl FnOnce(&OpenDir, &GuestPath<'_>) -> Result<(), Errno>,
) -> Outcome<Done<()>> {
    let object = object(call)?;
    let path = path(call)?;
    with_path(call, &path, |path| Ok(act(mutable(&object)?, path)?))
}

fn create_directory_at(call: &mut Call<'_>) -> Outcome<Done<()>> {
    change_at(call, OpenDir::create_directory)
}

fn remove_directory_at(call: &mut Call<'_>) -> Outcome<Done<()>> {
    change_at(call, OpenDir::remove_directory)
}

fn unlink_file_at(call: &mut Call<'_>) -> Outcome<Done<()>> {
    change_at(call, OpenDir::unlink_file)
}

/// `path-flags`: whether to follow a link at the end.
fn follows(call: &mut Call<'_>) -> bool {
    call.u8() & SYMLINK_FOLLOW != 0
}

/// Runs an operation with the names of two things.
fn cross(
    call: &mut Call<'_>,
    old: &Held,
    act: impl FnOnce(&OpenDir, &GuestPath<'_>, &OpenDir, &GuestPath<'_>) -> Result<(), Errno>,
) -> Outcome<Done<()>> {
    let old_path = path(call)?;
    let new = object(call)?;
    let new_path = path(call)?;
    let done = call.parts().with_memory(|_, memory| {
        let (old_path, new_path) = (resolved(memory, &old_path)?, resolved(memory, &new_path)?);
        let both = mutable(old).and_then(|old| Ok((old, mutable(&new)?)));
        Ok(both.and_then(|(old, new)| Ok(act(old, &old_path, new, &new_path)?)))
    });
    Ok(settle(done)?.map_err(ErrorCode::from).flatten())
}

fn link_at(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let old = object(call)?;
    let follows = follows(call);
    cross(call, &old, |old, old_path, new, new_path| match follows {
        true => Err(Errno::INVAL),
        false => old.link(old_path, new, new_path),
    })
}

fn rename_at(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let old = object(call)?;
    cross(call, &old, OpenDir::rename)
}

fn symlink_at(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let object = object(call)?;
    let contents = path(call)?;
    let new_path = path(call)?;
    let done = call.parts().with_memory(|_, memory| {
        let at = contents.0.start as u32;
        let contents = crate::path::host_text(memory, "old-path", at, contents.0.len() as u32)?;
        let new_path = resolved(memory, &new_path)?;
        Ok(mutable(&object).and_then(|dir| Ok(dir.symlink(&contents, &new_path)?)))
    });
    Ok(settle(done)?.map_err(ErrorCode::from).flatten())
}

fn readlink_at(call: &mut Call<'_>) -> Outcome<Done<String>> {
    let object = object(call)?;
    let path = path(call)?;
    with_path(call, &path, |path| {
        let contents = dir_of(&object)?.readlink(path)?;
        contents
            .into_string()
            .map_err(|_| ErrorCode::IllegalByteSequence)
    })
}

/// Decodes `descriptor-flags` for opening: reading and writing among the rights, and how writes are synchronized.
fn access_of(flags: u8) -> (Rights, FdFlags) {
    let when = |bit: u8, right| match flags & bit != 0 {
        true => right,
        false => Rights::NONE,
    };
    let syncs = [
        (FILE_INTEGRITY_SYNC, FdFlags::SYNC),
        (DATA_INTEGRITY_SYNC, FdFlags::DSYNC),
        (REQUESTED_WRITE_SYNC, FdFlags::RSYNC),
    ];
    let sync = syncs
        .into_iter()
        .filter(|(bit, _)| flags & bit != 0)
        .fold(FdFlags::NONE, |all, (_, flag)| all | flag);
    let access = when(READ, Rights::FD_READ) | when(WRITE, Rights::FD_WRITE);
    (access, sync)
}

/// The flags of what was opened with `asked`.
fn flags_of(object: &Object, asked: u8) -> u8 {
    match object {
        Object::Dir(dir) if dir.grant.access == Access::ReadWrite => READ | MUTATE_DIRECTORY,
        Object::Dir(_) => READ,
        _ => asked & !MUTATE_DIRECTORY,
    }
}

fn open_at(call: &mut Call<'_>) -> Outcome<Done<New>> {
    let from = object(call)?;
    let follow = follows(call);
    let path = path(call)?;
    let open_flags = call.u8();
    let asked = call.u8();
    let how = OPEN_FLAGS
        .into_iter()
        .filter(|(bit, _)| open_flags & bit != 0)
        .fold(OFlags::NONE, |all, (_, flag)| all | flag);
    let (access, sync) = access_of(asked);
    let done = call.parts().with_memory(|ctx, memory| {
        let path = resolved(memory, &path)?;
        let dir = dir_of(&from)?;
        let request = OpenRequest::new(follow, how, sync, access)?;
        if asked & MUTATE_DIRECTORY != 0 || request.require_grant(dir).is_err() {
            match mutable(&from) {
                Ok(_) => {}
                Err(code) => return Ok(Err(code)),
            }
        }
        let room = ctx.table.room()?;
        let opened = Held::new(request.open(dir, &path)?);
        room.keep_outside(&opened);
        Ok(Ok(opened))
    });
    let opened = settle(done)?.map_err(ErrorCode::from).flatten();
    Ok(opened.map(|object| {
        let flags = flags_of(&object, asked);
        New::alone(Descriptor { object, flags })
    }))
}

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

fn advise(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let object = object(call)?;
    let (offset, len) = (call.u64(), call.u64());
    let number = call.case(6)?;
    let advice = advice(number).ok_or_else(|| trap("an advice that there is not"))?;
    look(call, || {
        file_of(&object, Rights::NONE)?.advise(offset, len, advice)
    })
}

fn sync_data(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let object = object(call)?;
    look(call, || object.sync(Sync::Data))
}

fn sync_all(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let object = object(call)?;
    look(call, || object.sync(Sync::All))
}

fn get_flags(call: &mut Call<'_>) -> Outcome<Done<u8>> {
    let this = call.handle::<Descriptor>()?;
    let descriptor: &Descriptor = call.ctx().resources.get(this)?;
    Ok(Ok(descriptor.flags))
}

fn set_size(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let object = object(call)?;
    let size = call.u64();
    if let Err(code) = require_changeable(&object) {
        return Ok(Err(code));
    }
    look(call, || file_of(&object, Rights::NONE)?.set_size(size))
}

fn read(call: &mut Call<'_>) -> Outcome<Done<(Piece, bool)>> {
    let object = object(call)?;
    let (len, offset) = (call.u64(), call.u64());
    let mut parts = call.parts();
    let (resources, env, _) = parts.split();
    let asked = len.min(PERMIT) as usize;
    let mut scratch = resources.take_scratch(asked);
    let read = file_of(&object, Rights::FD_READ).and_then(|file| {
        let slices = &mut [std::io::IoSliceMut::new(&mut scratch[..asked])];
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
            .and_then(|at| file.write_at(&[std::io::IoSlice::new(piece)], at));
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
    let ctx = call.ctx();
    let opened = (|| {
        let dir = dir_of(&object)?;
        let room = ctx.table.room()?;
        let own = OpenDir::below(open_for_reading(&dir.dir)?, dir.grant);
        let held = Held::new(Object::Dir(own));
        room.keep_outside(&held);
        Ok(held)
    })();
    let opened = settle_errno(opened)?;
    Ok(opened.map_err(ErrorCode::from).map(|dir| {
        New::alone(DirectoryEntries {
            dir,
            listing: None,
            index: 0,
            cookie: 0,
            is_at_end: false,
        })
    }))
}

impl DirectoryEntries {
    /// The next entry.
    fn next(
        &mut self,
        env: Env<'_>,
    ) -> Result<Option<(DescriptorType, String)>, crate::error::Error> {
        if self.is_at_end {
            return Ok(None);
        }
        let dir = dir_of(&self.dir)?;
        let mut lister = Lister {
            dir: &dir.dir,
            listing: &mut self.listing,
            origin: dir.grant.origin,
        };
        if lister.listing.is_none() {
            match lister.seek(self.cookie)? {
                Some(index) => self.index = index,
                None => return Ok(None),
            }
        }
        let found = lister.next(&mut self.index, env.work, env.interrupts)?;
        let entry = found.map(|found| {
            self.cookie = found.next;
            (found.filetype.into(), found.name.to_owned())
        });
        self.is_at_end = entry.is_none();
        lister.keep(env.listings, self.is_at_end);
        Ok(entry)
    }
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

/// A descriptor with its name.
type Preopen = (New, String);

fn get_directories(call: &mut Call<'_>) -> Outcome<Vec<Preopen>> {
    let entries = call.ctx().table.entries();
    let preopens = entries.iter().filter_map(|entry| match &**entry.object {
        Object::Dir(dir) => {
            let name = dir.preopen.as_deref()?.to_owned();
            let object = Arc::clone(&entry.object);
            let flags = flags_of(&object, READ);
            Some((New::alone(Descriptor { object, flags }), name))
        }
        _ => None,
    });
    Ok(preopens.collect())
}
