//! Which files may be opened, created and removed: Landlock.
//!
//! * *Invariant:* rules are made of open directories, so nothing is resolved a second time.
//! * *Invariant:* one layer holds all rules. Between two, no file could be moved from one directory to another.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus,
    PathBeneath, RestrictSelfAttr, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, Scope,
    make_bitflags,
};

use crate::{Network, Unavailable};

/// What must be had. Before it there is a way to cut files short, and before ABI 2 one to break programs: none could move a
/// file to another directory.
const LEAST: ABI = ABI::V3;

/// What is asked for beyond that, where the kernel has it: TCP and UDP, devices, sockets and processes outside.
const MOST: ABI = ABI::V10;

/// What the C library's resolver reads, where it is there.
const RESOLVER: &[&str] = &[
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/services",
];

/// A directory, and whether what is below it may be changed.
#[derive(Debug)]
pub(crate) struct Dir<'a> {
    pub(crate) dir: BorrowedFd<'a>,
    pub(crate) writable: bool,
}

impl Dir<'_> {
    fn allowed(&self) -> BitFlags<AccessFs> {
        let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
        // Nobody runs a program from here, and who creates a device opens any. Connecting to a socket takes one first.
        let never = make_bitflags!(
            AccessFs::{Execute | MakeChar | MakeBlock | IoctlDev | ResolveUnix}
        );
        match self.writable {
            true => AccessFs::from_all(MOST) & !never,
            false => read,
        }
    }
}

/// Restricts the calling thread and those that it starts to `dirs`, and what the network takes; the version of the interface
/// that was used.
pub(crate) fn restrict(dirs: &[Dir<'_>], network: Network) -> Result<u32, Unavailable> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(LEAST))
        .map_err(|_| Unavailable::LandlockTooOld)?;
    Ok(restrict_with(ruleset, dirs, network)?)
}

fn restrict_with(
    ruleset: Ruleset,
    dirs: &[Dir<'_>],
    network: Network,
) -> Result<u32, RulesetError> {
    let mut ruleset = ruleset
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(MOST))?;
    if !network.sockets {
        ruleset = ruleset.handle_access(AccessNet::from_all(MOST))?;
    }
    let mut ruleset = ruleset
        .scope(Scope::from_all(MOST))?
        .create()?
        .all_threads(true)?;
    for dir in dirs {
        ruleset = ruleset.add_rule(PathBeneath::new(dir.dir, dir.allowed()))?;
    }
    if network.lookups {
        for file in resolver_files() {
            ruleset = ruleset.add_rule(PathBeneath::new(file.as_fd(), AccessFs::ReadFile))?;
        }
    }
    let status = ruleset.restrict_self()?;
    Ok(match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi as u32,
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => 0,
    })
}

/// Those of the resolver's files that are there, behind any links.
fn resolver_files() -> impl Iterator<Item = File> {
    let open = |path| {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_PATH).open(path)
    };
    RESOLVER.iter().filter_map(move |path| open(path).ok())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn rights_are_those_of_the_grant() {
        let dir = File::open("/").expect("there is a root");
        let allowed = |writable| {
            let dir = dir.as_fd();
            Dir { dir, writable }.allowed()
        };
        let changes = AccessFs::from_write(MOST);
        assert!(!allowed(false).intersects(changes));
        for right in [
            AccessFs::WriteFile,
            AccessFs::Truncate,
            AccessFs::Refer,
            AccessFs::MakeReg,
            AccessFs::MakeFifo,
            AccessFs::RemoveDir,
        ] {
            assert!(allowed(true).contains(right), "{right:?}");
        }
        for right in [
            AccessFs::Execute,
            AccessFs::MakeChar,
            AccessFs::MakeBlock,
            AccessFs::IoctlDev,
        ] {
            assert!(!allowed(true).contains(right), "{right:?}");
        }
    }
}
