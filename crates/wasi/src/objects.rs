//! What a guest can hold: files, directories with their grants, streams, sockets; and what can be done with each.
//!
//! Operations are methods on the objects, in host terms. The interfaces differ in how they name an object (a descriptor's
//! number with rights, a handle of a resource) and in how arguments and results lie in memory. Each decodes, calls the
//! operation, and encodes; so the rules about paths, grants and links hold in all of them.
//!
//! Invariant: a grant belongs to the file or directory it was reached by, and every operation that changes something asks it.
//! Invariant: what holds a descriptor of the host's holds the permission to ([`Hold`]), for as long as anybody uses it.

mod attributes;
mod budget;
mod file;
mod listing;
#[cfg(feature = "component")]
pub(crate) mod lookup;
mod names;
mod open;
pub(crate) mod socket;
#[cfg(feature = "component")]
pub(crate) mod sockopt;
#[cfg(feature = "component")]
pub(crate) mod tcp;

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, OnceLock};

use cap_std::fs::Dir;
use parking_lot::Mutex;

use crate::abi::{Errno, FileType, Rights};
use crate::fd_share::Hold;
use crate::interrupt::Blocking;
use crate::kernel_fs::Origin;
use crate::stdio::{Input, Output};

pub(crate) use attributes::{NewTime, Sync, timestamps};
pub(crate) use budget::ByteBudget;
#[cfg(feature = "component")]
pub(crate) use budget::Taken;
pub(crate) use file::{CURRENT_POSITION, advice, positioned};
pub(crate) use listing::{DOTS, Lister, Listing, inode};
pub(crate) use open::OpenRequest;

/// Whether what lies below a preopened directory may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Files may be read, and nothing may be created, changed or removed.
    ReadOnly,
    /// Everything may be done that the host allows.
    ReadWrite,
}

/// The preopened directory through which a file or directory was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Which one, counted from 0.
    pub(crate) id: u32,
    pub(crate) access: Access,
    pub(crate) origin: Origin,
}

impl Grant {
    /// The same grant, for no more than `access`.
    pub(crate) fn at_most(self, access: Access) -> Self {
        match access {
            Access::ReadOnly => Self { access, ..self },
            Access::ReadWrite => self,
        }
    }

    /// Refuses changes below a read-only directory.
    pub(crate) fn require_write(self) -> Result<(), Errno> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(Errno::NOTCAPABLE),
        }
    }

    /// Refuses to make something of this grant reachable through `target` where `target` allows more.
    pub(crate) fn require_no_stronger(self, target: Self) -> Result<(), Errno> {
        if self.id == target.id
            || (self.access, target.access) != (Access::ReadOnly, Access::ReadWrite)
        {
            Ok(())
        } else {
            Err(Errno::NOTCAPABLE)
        }
    }
}

/// An open file that is neither a directory nor a socket.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) file: File,
    pub(crate) filetype: FileType,
    /// What the guest opened it for: `FD_READ` and `FD_WRITE` among the rights.
    pub(crate) access: Rights,
    /// `Never` for regular files; pipes and devices are opened non-blocking.
    pub(crate) blocking: Blocking,
    pub(crate) grant: Grant,
}

/// An open directory.
#[derive(Debug)]
pub(crate) struct OpenDir {
    pub(crate) dir: Dir,
    /// The guest's name for it, if it is a preopen.
    pub(crate) preopen: Option<Box<str>>,
    /// The names found when the guest last began to list it, while it has not seen them all. Whoever lists has the lock
    /// while the host reads the directory, so nobody waits for it: see [`listing`].
    pub(crate) listing: Mutex<Option<Listing>>,
    pub(crate) grant: Grant,
}

impl OpenDir {
    /// A directory of the embedder's, which the guest sees as `name`.
    pub(crate) fn preopen(dir: Dir, name: Box<str>, grant: Grant) -> Self {
        Self {
            dir,
            preopen: Some(name),
            listing: Mutex::new(None),
            grant,
        }
    }

    /// One that was opened through another, with that one's grant.
    pub(crate) fn below(dir: Dir, grant: Grant) -> Self {
        Self {
            dir,
            preopen: None,
            listing: Mutex::new(None),
            grant,
        }
    }
}

/// What a guest can hold.
#[derive(Debug)]
pub(crate) enum Object {
    Stdin(Input),
    Stdout(Output),
    File(OpenFile),
    Dir(OpenDir),
    Listener(TcpListener),
    Stream(TcpStream),
}

impl Object {
    /// Whether a descriptor of the host's is held open for it.
    pub(crate) fn holds_host_fd(&self) -> bool {
        match self {
            Self::Stdin(input) => input.holds_host_fd(),
            Self::Stdout(output) => output.holds_host_fd(),
            Self::File(_) | Self::Dir(_) | Self::Listener(_) | Self::Stream(_) => true,
        }
    }

    /// The type the guest sees.
    pub(crate) fn filetype(&self) -> FileType {
        match self {
            Self::Stdin(input) => input.filetype(),
            Self::Stdout(output) => output.filetype(),
            Self::File(file) => file.filetype,
            Self::Dir(_) => FileType::Directory,
            Self::Listener(_) | Self::Stream(_) => FileType::SocketStream,
        }
    }

    /// What has a place in a file system, and its grant; a stream has none.
    pub(crate) fn in_file_system(&self) -> Option<(BorrowedFd<'_>, Grant)> {
        match self {
            Self::File(file) => Some((file.file.as_fd(), file.grant)),
            Self::Dir(dir) => Some((dir.dir.as_fd(), dir.grant)),
            Self::Stdin(_) | Self::Stdout(_) | Self::Listener(_) | Self::Stream(_) => None,
        }
    }
}

/// An object and the permission to hold its descriptor of the host's, which is closed before the permission is given back.
#[derive(Debug)]
pub(crate) struct Held {
    object: Object,
    hold: OnceLock<Hold>,
}

impl Held {
    /// An object that some table takes up next.
    pub(crate) fn new(object: Object) -> Arc<Self> {
        Arc::new(Self {
            object,
            hold: OnceLock::new(),
        })
    }

    /// Ties the permission to the object; the first one counts.
    pub(crate) fn keep(&self, hold: Hold) {
        // A second one is given back.
        let _ = self.hold.set(hold);
    }
}

impl Deref for Held {
    type Target = Object;

    fn deref(&self) -> &Object {
        &self.object
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_crosses_to_a_stronger_grant() {
        let grant = |id, access| Grant {
            id,
            access,
            origin: Origin::NONE,
        };
        let (ro, rw) = (grant(0, Access::ReadOnly), grant(1, Access::ReadWrite));
        assert_eq!(ro.require_no_stronger(rw), Err(Errno::NOTCAPABLE));
        assert_eq!(rw.require_no_stronger(ro), Ok(()));
        assert_eq!(rw.require_no_stronger(grant(2, Access::ReadWrite)), Ok(()));
        assert_eq!(ro.require_write(), Err(Errno::NOTCAPABLE));
    }
}
