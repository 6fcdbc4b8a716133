//! What the host does to its own files while a guest looks for paths among them.
//!
//! *Invariant:* what the guest made is never followed: each move names a single component below a folder that was opened
//! without following links. So whatever changes outside was changed by the guest's calls.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, open, openat, renameat, renameat_with, symlinkat, unlinkat,
};

/// How many moves there are.
pub(super) const MOVES: u8 = 8;

/// Folders of the host, opened before anything moves.
pub(super) struct Attacker {
    root: OwnedFd,
    grant: OwnedFd,
    beside: OwnedFd,
}

impl Attacker {
    pub(super) fn new(root: &Path) -> Attacker {
        let open_dir = |path: &Path| open(path, FOLDER, Mode::empty()).expect("it is a folder");
        Attacker {
            root: open_dir(root),
            grant: open_dir(&root.join("grant")),
            beside: open_dir(&root.join("beside")),
        }
    }

    /// Makes a move. One that fails, since the guest was quicker, is none.
    pub(super) fn make(&self, number: u8) {
        match number {
            // At one time, without a moment in which there is nothing.
            0 => exchange(&self.grant, "dir", "dir.out", "../outside"),
            1 => exchange(&self.grant, "a", "a.out", "../outside/a"),
            2 => {
                if let Some(dir) = self.dir() {
                    exchange(&dir, "sub", "sub.out", "../../outside/sub");
                }
            }
            3 => exchange(&self.root, "grant", "grant.out", "outside"),
            // One after the other, absolute.
            4 => replace(&self.grant, "a", "../outside/a"),
            // A folder leaves the grant while a look-up goes through it, so that its `..` is elsewhere, and comes back.
            5 => {
                if let Some(dir) = self.dir() {
                    there_and_back(&dir, &self.beside, "sub");
                }
            }
            6 => there_and_back(&self.grant, &self.beside, "dir"),
            _ => std::thread::yield_now(),
        }
    }

    fn dir(&self) -> Option<OwnedFd> {
        openat(&self.grant, "dir", FOLDER, Mode::empty()).ok()
    }
}

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Exchanges `name` with a link to `target`, which is made if it is missing.
fn exchange(folder: &impl AsFd, name: &str, link: &str, target: &str) {
    let _ = symlinkat(target, folder, link);
    let _ = renameat_with(folder, name, folder, link, RenameFlags::EXCHANGE);
}

/// Puts a file away, a link in its place, and the file back.
fn replace(folder: &impl AsFd, name: &str, target: &str) {
    let away = format!("{name}.away");
    if renameat_with(folder, name, folder, &away, RenameFlags::NOREPLACE).is_err() {
        return;
    }
    let _ = symlinkat(target, folder, name);
    let _ = unlinkat(folder, name, AtFlags::empty());
    let _ = renameat(folder, &away, folder, name);
}

fn there_and_back(from: &impl AsFd, to: &impl AsFd, name: &str) {
    if renameat_with(from, name, to, name, RenameFlags::NOREPLACE).is_ok() {
        let _ = renameat_with(to, name, from, name, RenameFlags::NOREPLACE);
    }
}
