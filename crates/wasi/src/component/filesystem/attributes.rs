//! Attributes of what is open and of what a path names: type, size, times, and what tells two of them apart.

use std::hash::{DefaultHasher, Hasher};

use rustix::fs::{FileType as HostType, Stat};

use super::{
    Descriptor, Done, ErrorCode, dir_of, follows, look, mutable, object, path, require_changeable,
    with_path,
};
use crate::abi::{Errno, FileType};
use crate::component::call::{Call, Outcome};
use crate::component::lower::enums;
use crate::objects::{NewTime, Object, timestamps};

enums! {
    /// `descriptor-type`.
    DescriptorType {
        Unknown,
        BlockDevice,
        CharacterDevice,
        Directory,
        Fifo,
        SymbolicLink,
        RegularFile,
        Socket,
    }
}

impl From<FileType> for DescriptorType {
    fn from(filetype: FileType) -> Self {
        match filetype {
            FileType::Unknown => Self::Unknown,
            FileType::BlockDevice => Self::BlockDevice,
            FileType::CharacterDevice => Self::CharacterDevice,
            FileType::Directory => Self::Directory,
            FileType::RegularFile => Self::RegularFile,
            FileType::SocketDgram | FileType::SocketStream => Self::Socket,
            FileType::SymbolicLink => Self::SymbolicLink,
        }
    }
}

/// The type of what has these attributes.
pub(crate) fn type_of(stat: &Stat) -> DescriptorType {
    match HostType::from_raw_mode(stat.st_mode) {
        HostType::Fifo => DescriptorType::Fifo,
        other => FileType::from(other).into(),
    }
}

/// Attributes of what is open.
fn stat_of(object: &Object) -> Result<Stat, Errno> {
    object.stat()?.ok_or(Errno::BADF)
}

pub(crate) fn get_type(call: &mut Call<'_>) -> Outcome<Done<DescriptorType>> {
    let object = object(call)?;
    look(call, || Ok(type_of(&stat_of(&object)?)))
}

/// Reads the attributes of what is open.
pub(crate) fn stat_with<T>(call: &mut Call<'_>, read: impl FnOnce(&Stat) -> T) -> Outcome<Done<T>> {
    let object = object(call)?;
    look(call, || Ok(read(&stat_of(&object)?)))
}

/// Looks at the attributes of what a path names.
pub(crate) fn look_at<T>(call: &mut Call<'_>, read: impl FnOnce(&Stat) -> T) -> Outcome<Done<T>> {
    let object = object(call)?;
    let follow = follows(call);
    let path = path(call)?;
    with_path(call, &path, |path| {
        Ok(read(&dir_of(&object)?.stat_at(path, follow)?))
    })
}

/// What the seconds of a date mean, if they can be set.
pub(crate) type Seconds = fn(u64) -> Option<i64>;

/// `new-timestamp`; `None` for a date that is none.
fn new_time(call: &mut Call<'_>, seconds_of: Seconds) -> Outcome<Option<NewTime>> {
    let case = call.case(3)?;
    let (seconds, nanoseconds) = (call.u64(), call.u32());
    Ok(match case {
        0 => Some(NewTime::Keep),
        1 => Some(NewTime::Now),
        _ if nanoseconds >= 1_000_000_000 => None,
        _ => seconds_of(seconds).map(|seconds| NewTime::At {
            seconds,
            nanoseconds,
        }),
    })
}

pub(crate) fn set_times(call: &mut Call<'_>, seconds: Seconds) -> Outcome<Done<()>> {
    let object = object(call)?;
    let (access, modification) = (new_time(call, seconds)?, new_time(call, seconds)?);
    let (Some(access), Some(modification)) = (access, modification) else {
        return Ok(Err(ErrorCode::Invalid));
    };
    if let Err(code) = require_changeable(&object) {
        return Ok(Err(code));
    }
    look(call, || object.set_times(&timestamps(access, modification)))
}

pub(crate) fn set_times_at(call: &mut Call<'_>, seconds: Seconds) -> Outcome<Done<()>> {
    let object = object(call)?;
    let follow = follows(call);
    let path = path(call)?;
    let (access, modification) = (new_time(call, seconds)?, new_time(call, seconds)?);
    let (Some(access), Some(modification)) = (access, modification) else {
        return Ok(Err(ErrorCode::Invalid));
    };
    with_path(call, &path, |path| {
        let times = timestamps(access, modification);
        Ok(mutable(&object)?.set_times_at(path, follow, &times)?)
    })
}

#[allow(
    clippy::unnecessary_cast,
    reason = "the widths of the fields are the host's"
)]
fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev as u64, stat.st_ino as u64)
}

pub(crate) fn is_same_object(call: &mut Call<'_>) -> Outcome<bool> {
    let (this, other) = (call.handle::<Descriptor>()?, call.handle::<Descriptor>()?);
    let resources = &mut call.ctx().resources;
    let of = |descriptor: &Descriptor| stat_of(&descriptor.object).map(|stat| identity(&stat));
    let (this, other) = resources.both(this, other, of)?;
    Ok(this.is_ok() && this == other)
}

/// `metadata-hash-value`: of device and inode, which is what libcs make inode numbers of, so it does not change as long as
/// it is the same file.
pub(crate) fn hash(stat: &Stat) -> (u64, u64) {
    let (device, inode) = identity(stat);
    let half = |which: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(which);
        hasher.write_u64(device);
        hasher.write_u64(inode);
        hasher.finish()
    };
    (half(0), half(1))
}
