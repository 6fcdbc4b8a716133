//! File systems that are no files but the kernel's own interfaces: what is not to be reached below a grant.
//!
//! The files of procfs are processes: among them are the memory, the environment and the open files of the process that
//! runs the guest, and writing its memory is running code in it. Other such file systems give away less, but writing to
//! them changes the host. So below a grant there is no procfs, and the others cannot be changed, unless the granted
//! directory itself is on that file system; and a grant of procfs is for reading only.
//!
//! Invariant: what is judged is an open descriptor, never a path, so neither links, mounts and bind mounts nor what changes
//! meanwhile make a difference. The host is asked for the type of a file system only where a file is on another one than
//! its grant, and on one without a device, as all of these are.

use std::os::fd::AsFd;

use rustix::fs::{FsWord, PROC_SUPER_MAGIC, Stat, fstat, fstatfs, major};

use crate::abi::Errno;
use crate::objects::Access;

/// The other interfaces of the kernel, by the numbers of its `magic.h`.
const INTERFACES: [FsWord; 12] = [
    0x6265_6572, // sysfs
    0x6367_7270, // cgroup2
    0x0027_e0eb, // cgroup
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0x6265_6570, // configfs
    0xde5e_81e4, // efivarfs
    0xcafe_4a11, // bpf
    0x4249_4e4d, // binfmt_misc
    0xf97c_ff8c, // selinuxfs
    0x6165_676c, // pstore
];

/// The file system that a granted directory is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    device: u64,
    is_procfs: bool,
}

/// What a file is to be opened or looked at for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Look,
    Change,
}

impl Origin {
    /// Of no directory, for tests of what asks for none.
    #[cfg(test)]
    pub(crate) const NONE: Self = Self {
        device: 0,
        is_procfs: false,
    };

    /// Of the granted directory `dir`.
    pub(crate) fn of(dir: impl AsFd) -> rustix::io::Result<Self> {
        Ok(Self {
            device: device(&fstat(&dir)?),
            is_procfs: fstatfs(&dir)?.f_type == PROC_SUPER_MAGIC,
        })
    }

    /// What may be done below the directory where `access` is granted.
    pub(crate) fn limit(self, access: Access) -> Access {
        match self.is_procfs {
            true => Access::ReadOnly,
            false => access,
        }
    }

    /// Whether `stat` alone says that its file may be used.
    pub(crate) fn is_plain(self, stat: &Stat) -> bool {
        device(stat) == self.device || major(stat.st_dev) != 0
    }

    /// Admits the open `file`, whose attributes are `stat`; says whether it may be changed.
    pub(crate) fn admit(self, file: impl AsFd, stat: &Stat) -> Result<Access, Errno> {
        if self.is_plain(stat) {
            return Ok(Access::ReadWrite);
        }
        match fstatfs(file)?.f_type {
            PROC_SUPER_MAGIC if !self.is_procfs => Err(Errno::NOTCAPABLE),
            magic if magic == PROC_SUPER_MAGIC || INTERFACES.contains(&magic) => {
                Ok(Access::ReadOnly)
            }
            _ => Ok(Access::ReadWrite),
        }
    }

    /// Admits the open `file` for that use.
    pub(crate) fn admit_for(self, file: impl AsFd, stat: &Stat, use_: Use) -> Result<(), Errno> {
        match (self.admit(file, stat)?, use_) {
            (Access::ReadOnly, Use::Change) => Err(Errno::NOTCAPABLE),
            _ => Ok(()),
        }
    }
}

#[allow(
    clippy::unnecessary_cast,
    reason = "the width of the field is the host's"
)]
fn device(stat: &Stat) -> u64 {
    stat.st_dev as u64
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn admitted(from: &str, file: &str) -> Result<Access, Errno> {
        let file = File::open(file).unwrap();
        let origin = Origin::of(File::open(from).unwrap()).unwrap();
        origin.admit(&file, &fstat(&file).unwrap())
    }

    #[test]
    fn interfaces_of_the_kernel_are_for_those_who_were_granted_them() {
        assert_eq!(admitted("/", "/proc/self/status"), Err(Errno::NOTCAPABLE));
        assert_eq!(admitted("/", "/proc"), Err(Errno::NOTCAPABLE));
        assert_eq!(admitted("/dev", "/proc/version"), Err(Errno::NOTCAPABLE));
        assert_eq!(
            admitted("/proc", "/proc/self/status"),
            Ok(Access::ReadWrite)
        );
        assert_eq!(admitted("/proc", "/"), Ok(Access::ReadWrite));
        assert_eq!(admitted("/", "/sys"), Ok(Access::ReadOnly));
        assert_eq!(admitted("/sys", "/sys/kernel"), Ok(Access::ReadWrite));
        assert_eq!(admitted("/", "/dev/null"), Ok(Access::ReadWrite));
        let proc = Origin::of(File::open("/proc").unwrap()).unwrap();
        assert_eq!(proc.limit(Access::ReadWrite), Access::ReadOnly);
    }
}
