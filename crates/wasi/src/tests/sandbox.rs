//! Ways out of a directory, none of which may work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Links in `inside` that lead out, one of each kind.
fn guest() -> Guest {
    let guest = Guest::new();
    guest.dir("d/e");
    guest.file("f", "inside");
    guest.link("../outside", "escape_dir");
    guest.link("../outside/secret", "escape_file");
    guest.link("../outside/", "escape_dir_slash");
    guest.link(guest.base.path().join("outside"), "absolute_dir");
    guest.link(guest.base.path().join("outside/secret"), "absolute_file");
    guest.link(guest.inside("f"), "absolute_inside");
    guest.link("..", "parent");
    guest.link("d/../../outside/secret", "devious");
    guest.link("escape_file", "chain");
    guest.link("../outside/new", "escape_new");
    guest
}

/// Paths that lead out, in ways a call that follows the last link meets.
const FOLLOWED: &[&str] = &[
    "escape_file",
    "escape_dir",
    "escape_dir_slash",
    "absolute_dir",
    "absolute_file",
    "absolute_inside",
    "parent",
    "devious",
    "chain",
    "escape_new",
];

/// Paths that lead out before the last name, or must be followed because of how they end.
const ALWAYS: &[&str] = &[
    "..",
    "../",
    "../..",
    "../outside/secret",
    "d/../../outside/secret",
    "d/e/../../../outside/secret",
    "../inside/f",
    "./../inside",
    "escape_dir/secret",
    "escape_dir/",
    "escape_dir/.",
    "escape_dir//",
    "escape_dir_slash/secret",
    "escape_dir_slash/",
    "absolute_dir/secret",
    "absolute_dir/",
    "parent/outside/secret",
    "parent/",
    "parent/inside/f",
    "escape_dir/..",
    "escape_dir/../inside/f",
    "d/../escape_dir/secret",
    "/etc/passwd",
    "/",
    "//",
    "/f",
    "/../etc/passwd",
];

#[test]
fn nothing_outside_is_opened() {
    let mut guest = guest();
    for path in FOLLOWED.iter().chain(ALWAYS) {
        for oflags in [
            PLAIN,
            OFlags::DIRECTORY,
            CREATE,
            CREATE | OFlags::EXCL,
            OFlags::TRUNC,
            CREATE | OFlags::TRUNC,
        ] {
            for rights in [Rights::NONE, Rights::FD_READ, RW] {
                let opened = guest.open(path, oflags, rights);
                let allowed = match opened {
                    Err(Errno::NOTCAPABLE) => true,
                    // The name itself exists, and nothing was followed.
                    Err(Errno::EXIST) => oflags.contains(OFlags::EXCL) && FOLLOWED.contains(path),
                    // No file is made under such a name, whatever it leads to.
                    Err(Errno::ISDIR) => oflags.contains(CREATE) && path.ends_with('/'),
                    _ => false,
                };
                assert!(allowed, "{path} {oflags:?} {rights:?}: {opened:?}");
            }
        }
    }
    for path in ALWAYS {
        let opened = guest.open_with(ROOT, false, path, PLAIN, Rights::FD_READ, FdFlags::NONE);
        assert_eq!(opened, Err(Errno::NOTCAPABLE), "{path}");
    }
    assert_untouched(&guest);
}

fn assert_untouched(guest: &Guest) {
    assert_eq!(
        std::fs::read_to_string(guest.outside("secret")).unwrap(),
        "secret"
    );
    assert_eq!(std::fs::read_dir(guest.outside("")).unwrap().count(), 1);
    assert_eq!(std::fs::read_dir(guest.base.path()).unwrap().count(), 2);
}

#[test]
fn nothing_outside_is_looked_at() {
    let mut guest = guest();
    for path in FOLLOWED.iter().chain(ALWAYS) {
        assert_eq!(
            guest.path_stat(true, path),
            Err(Errno::NOTCAPABLE),
            "{path}"
        );
        let at = guest.put(path.as_bytes());
        let args = [ROOT.into(), 1, at, path.len() as u64, 0, 0, 4];
        assert_eq!(
            guest.errno("path_filestat_set_times", &args),
            Errno::NOTCAPABLE,
            "{path}"
        );
    }
    for path in ALWAYS {
        assert_eq!(
            guest.path_stat(false, path),
            Err(Errno::NOTCAPABLE),
            "{path}"
        );
        assert_eq!(guest.readlink(path, 100), Err(Errno::NOTCAPABLE), "{path}");
        let at = guest.put(path.as_bytes());
        let args = [ROOT.into(), 0, at, path.len() as u64, 0, 0, 4];
        assert_eq!(
            guest.errno("path_filestat_set_times", &args),
            Errno::NOTCAPABLE,
            "{path}"
        );
    }
}

#[test]
fn nothing_outside_is_made_or_removed() {
    let mut guest = guest();
    for path in ALWAYS {
        // A slash does not make these follow a link: they act on the name, and fail for what it is.
        let on_name = [
            "escape_dir/",
            "escape_dir//",
            "escape_dir_slash/",
            "absolute_dir/",
            "parent/",
        ]
        .contains(path);
        for name in [
            "path_create_directory",
            "path_remove_directory",
            "path_unlink_file",
        ] {
            let errno = guest.on_path(name, path);
            assert!(
                errno == Errno::NOTCAPABLE || on_name && errno != Errno::SUCCESS,
                "{name} {path}: {errno}"
            );
        }
        for (label, errno) in [
            ("rename from", guest.rename(path, "taken")),
            ("rename to", guest.rename("f", path)),
            ("link from", guest.hard_link(path, "taken")),
            ("link to", guest.hard_link("f", path)),
            ("symlink", guest.symlink("x", path)),
        ] {
            assert!(
                errno == Errno::NOTCAPABLE || on_name && errno != Errno::SUCCESS,
                "{label} {path}: {errno}"
            );
        }
    }
    assert!(guest.inside("f").exists());
    assert!(!guest.inside("taken").exists());
    assert_untouched(&guest);
}

#[test]
fn links_that_lead_out_can_be_renamed_and_removed_as_links() {
    let mut guest = guest();
    assert_eq!(guest.rename("escape_file", "moved"), Errno::SUCCESS);
    assert_eq!(guest.on_path("path_unlink_file", "moved"), Errno::SUCCESS);
    assert_eq!(guest.hard_link("escape_dir", "again"), Errno::SUCCESS);
    assert_eq!(
        guest.open("again/secret", PLAIN, Rights::FD_READ),
        Err(Errno::NOTCAPABLE)
    );
    assert_eq!(
        guest.on_path("path_unlink_file", "escape_dir"),
        Errno::SUCCESS
    );
    assert_untouched(&guest);
}

/// RUSTSEC-2026-0269: a trailing slash on a link that leads out was followed.
#[test]
fn trailing_slashes_on_links_do_not_escape() {
    let mut guest = Guest::new();
    guest.link("../outside", "escd");
    guest.link("../outside/", "escds");
    guest.link("escds", "chain");
    for path in [
        "escd/",
        "escds/",
        "escds",
        "chain/",
        "chain",
        "escd/secret",
        "escds/secret",
        "escds//secret",
    ] {
        for oflags in [PLAIN, OFlags::DIRECTORY] {
            for follow in [false, true] {
                let opened =
                    guest.open_with(ROOT, follow, path, oflags, Rights::FD_READ, FdFlags::NONE);
                let refused =
                    [Errno::NOTCAPABLE, Errno::LOOP, Errno::NOTDIR].contains(&opened.unwrap_err());
                assert!(refused, "{path}: {opened:?}");
            }
        }
        assert_ne!(
            guest.on_path("path_create_directory", &format!("{path}/new/")),
            Errno::SUCCESS
        );
    }
    assert_untouched(&guest);
}

#[test]
fn descriptors_below_do_not_lead_above_themselves() {
    let mut guest = guest();
    let dir = guest.open("d", OFlags::DIRECTORY, Rights::NONE).unwrap();
    for path in ["..", "../f", "e/../../f", "../d"] {
        let opened = guest.open_with(dir, true, path, PLAIN, Rights::FD_READ, FdFlags::NONE);
        assert_eq!(opened, Err(Errno::NOTCAPABLE), "{path}");
    }
    assert!(
        guest
            .open_with(
                dir,
                true,
                "e/../e/.././e",
                PLAIN,
                Rights::FD_READ,
                FdFlags::NONE
            )
            .is_ok()
    );
}

#[test]
fn a_moved_directory_does_not_open_a_way_up() {
    let mut guest = guest();
    let dir = guest.open("d/e", OFlags::DIRECTORY, Rights::NONE).unwrap();
    std::fs::rename(guest.inside("d/e"), guest.outside("e")).unwrap();
    let opened = guest.open_with(
        dir,
        true,
        "../secret",
        PLAIN,
        Rights::FD_READ,
        FdFlags::NONE,
    );
    assert_eq!(opened, Err(Errno::NOTCAPABLE));
}

/// Flips a name between a harmless thing and a link that leads out, while `attempt` runs a bounded number of times.
fn while_flipping(
    guest: &mut Guest,
    harmless: &'static str,
    harmful: &'static str,
    mut attempt: impl FnMut(&mut Guest),
) {
    let stop = Arc::new(AtomicBool::new(false));
    let flipper = {
        let (stop, dir) = (Arc::clone(&stop), guest.inside(""));
        std::thread::spawn(move || {
            for target in [harmless, harmful].into_iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                std::os::unix::fs::symlink(target, dir.join("fresh")).unwrap();
                std::fs::rename(dir.join("fresh"), dir.join("flip")).unwrap();
            }
        })
    };
    for _ in 0..2000 {
        attempt(guest);
    }
    stop.store(true, Ordering::Relaxed);
    flipper.join().unwrap();
}

#[test]
fn a_file_link_swapped_while_opening_never_leads_out() {
    let mut guest = guest();
    guest.link("f", "flip");
    while_flipping(&mut guest, "f", "../outside/secret", |guest| {
        match guest.open("flip", PLAIN, Rights::FD_READ) {
            Ok(fd) => {
                assert_eq!(guest.read(fd, 100), Ok(b"inside".to_vec()));
                guest.close(fd);
            }
            // Resolution is retried when a rename interferes, and gives up in the end.
            Err(errno) => assert!(
                [Errno::NOTCAPABLE, Errno::AGAIN].contains(&errno),
                "{errno}"
            ),
        }
    });
}

#[test]
fn a_directory_link_swapped_while_acting_never_leads_out() {
    let mut guest = guest();
    guest.link("d", "flip");
    while_flipping(&mut guest, "d", "../outside", |guest| {
        assert_ne!(
            guest.on_path("path_unlink_file", "flip/secret"),
            Errno::SUCCESS
        );
        guest.on_path("path_create_directory", "flip/new");
        assert!(guest.path_stat(true, "flip/secret").is_err());
        guest.rename("flip/new", "flip/newer");
        guest.on_path("path_remove_directory", "flip/newer");
        guest.on_path("path_remove_directory", "flip/new");
    });
    assert_untouched(&guest);
}
