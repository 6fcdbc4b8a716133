//! What `wasi:filesystem` has in all versions: the operations on files and directories by handles, in its words.
//!
//! Differences to preview 1: a descriptor has no position, and flags instead of rights. `mutate-directory` is that the grant
//! is for writing; without it what would change something is `read-only`. What leads out of a grant is `not-permitted`.

mod attributes;
mod code;

use std::sync::Arc;

use crate::abi::{Errno, FdFlags, OFlags, Rights};
use crate::component::call::{Call, Env, Outcome, trap};
use crate::component::error::{settle, settle_errno};
use crate::component::lower::New;
use crate::ctx::WasiCtx;
use crate::guest::GuestMemory;
use crate::objects::{
    Access, Held, Lister, Listing, Object, OpenDir, OpenFile, OpenRequest, Sync, advice,
};
use crate::path::{GuestPath, open_for_reading};

pub(crate) use attributes::{
    DescriptorType, get_type, hash, is_same_object, look_at, set_times, set_times_at, stat_with,
    type_of,
};
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
pub(crate) type Done<T> = Result<T, ErrorCode>;

/// `descriptor`.
#[derive(Debug)]
pub(crate) struct Descriptor {
    object: Arc<Held>,
    /// `descriptor-flags`.
    flags: u8,
}

/// The directory; anything else is `not-directory`.
pub(crate) fn dir_of(object: &Held) -> Result<&OpenDir, Errno> {
    match &**object {
        Object::Dir(dir) => Ok(dir),
        _ => Err(Errno::NOTDIR),
    }
}

/// The file, if it may be used like that; a directory is `is-directory`.
pub(crate) fn file_of(object: &Held, direction: Rights) -> Result<&OpenFile, Errno> {
    match &**object {
        Object::File(file) if file.access.contains(direction) => Ok(file),
        Object::Dir(_) => Err(Errno::ISDIR),
        _ => Err(Errno::BADF),
    }
}

/// The directory, if what is below it may be changed.
pub(crate) fn mutable(object: &Held) -> Done<&OpenDir> {
    let dir = dir_of(object)?;
    match dir.grant.access {
        Access::ReadWrite => Ok(dir),
        Access::ReadOnly => Err(ErrorCode::ReadOnly),
    }
}

/// Refuses to change what was reached by a grant for reading.
pub(crate) fn require_changeable(object: &Held) -> Done<()> {
    match object.in_file_system() {
        Some((_, grant)) if grant.access == Access::ReadOnly => Err(ErrorCode::ReadOnly),
        _ => Ok(()),
    }
}

/// The object behind the next argument, a descriptor.
pub(crate) fn object(call: &mut Call<'_>) -> Outcome<Arc<Held>> {
    let this = call.handle::<Descriptor>()?;
    let descriptor: &Descriptor = call.ctx().resources.get(this)?;
    Ok(Arc::clone(&descriptor.object))
}

/// Runs an operation that costs as much as a look-up.
pub(crate) fn look<T>(
    call: &mut Call<'_>,
    act: impl FnOnce() -> Result<T, Errno>,
) -> Outcome<Done<T>> {
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

pub(crate) fn create_directory_at(call: &mut Call<'_>) -> Outcome<Done<()>> {
    change_at(call, OpenDir::create_directory)
}

pub(crate) fn remove_directory_at(call: &mut Call<'_>) -> Outcome<Done<()>> {
    change_at(call, OpenDir::remove_directory)
}

pub(crate) fn unlink_file_at(call: &mut Call<'_>) -> Outcome<Done<()>> {
    change_at(call, OpenDir::unlink_file)
}

/// `path-flags`: whether to follow a link at the end.
pub(crate) fn follows(call: &mut Call<'_>) -> bool {
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

pub(crate) fn link_at(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let old = object(call)?;
    let follows = follows(call);
    cross(call, &old, |old, old_path, new, new_path| match follows {
        true => Err(Errno::INVAL),
        false => old.link(old_path, new, new_path),
    })
}

pub(crate) fn rename_at(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let old = object(call)?;
    cross(call, &old, OpenDir::rename)
}

pub(crate) fn symlink_at(call: &mut Call<'_>) -> Outcome<Done<()>> {
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

pub(crate) fn readlink_at(call: &mut Call<'_>) -> Outcome<Done<String>> {
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

pub(crate) fn open_at(call: &mut Call<'_>) -> Outcome<Done<New>> {
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

pub(crate) fn advise(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let object = object(call)?;
    let (offset, len) = (call.u64(), call.u64());
    let number = call.case(6)?;
    let advice = advice(number).ok_or_else(|| trap("an advice that there is not"))?;
    look(call, || {
        file_of(&object, Rights::NONE)?.advise(offset, len, advice)
    })
}

pub(crate) fn sync_data(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let object = object(call)?;
    look(call, || object.sync(Sync::Data))
}

pub(crate) fn sync_all(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let object = object(call)?;
    look(call, || object.sync(Sync::All))
}

pub(crate) fn get_flags(call: &mut Call<'_>) -> Outcome<Done<u8>> {
    let this = call.handle::<Descriptor>()?;
    let descriptor: &Descriptor = call.ctx().resources.get(this)?;
    Ok(Ok(descriptor.flags))
}

pub(crate) fn set_size(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let object = object(call)?;
    let size = call.u64();
    if let Err(code) = require_changeable(&object) {
        return Ok(Err(code));
    }
    look(call, || file_of(&object, Rights::NONE)?.set_size(size))
}

/// A directory's own descriptor, and how far it was read.
#[derive(Debug)]
pub(crate) struct DirectoryEntries {
    dir: Arc<Held>,
    listing: Option<Listing>,
    /// Which of the kept entries is next, and the cookie of that place.
    index: usize,
    cookie: u64,
    is_at_end: bool,
}

impl DirectoryEntries {
    /// A listing of its own of the directory, from the beginning.
    pub(crate) fn open(ctx: &WasiCtx, object: &Held) -> Result<Self, Errno> {
        let dir = dir_of(object)?;
        let room = ctx.table.room()?;
        let own = OpenDir::below(open_for_reading(&dir.dir)?, dir.grant);
        let dir = Held::new(Object::Dir(own));
        room.keep_outside(&dir);
        Ok(Self {
            dir,
            listing: None,
            index: 0,
            cookie: 0,
            is_at_end: false,
        })
    }

    /// The next entry.
    pub(crate) fn next(
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

/// A descriptor with its name.
type Preopen = (New, String);

pub(crate) fn get_directories(call: &mut Call<'_>) -> Outcome<Vec<Preopen>> {
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
