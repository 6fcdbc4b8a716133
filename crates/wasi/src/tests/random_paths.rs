//! Random calls on random paths and links: nothing outside the sandbox is ever made, changed, removed or read.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

/// One name of a path.
fn name() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        3 => Just(".."),
        1 => Just("."),
        1 => Just(""),
        4 => proptest::sample::select(vec!["a", "b", "c", "d"]),
        1 => proptest::sample::select(vec!["inside", "outside", "secret"]),
    ]
}

/// A path: a few names, perhaps with slashes around them.
fn path() -> impl Strategy<Value = String> {
    (
        proptest::collection::vec(name(), 1..6),
        prop_oneof![6 => Just(""), 1 => Just("/"), 1 => Just("//")],
        0..12,
    )
        .prop_map(|(names, tail, head)| {
            let head = if head == 0 { "/" } else { "" };
            format!("{head}{}{tail}", names.join("/"))
        })
}

#[derive(Clone, Debug)]
enum Step {
    Open(String, bool, u16, bool),
    Mkdir(String),
    Rmdir(String),
    Unlink(String),
    Rename(String, String),
    Link(String, String),
    Symlink(String, String),
    Stat(String, bool),
    Readlink(String),
    /// A link made by the host, which may be absolute.
    HostLink(String, &'static str),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (path(), any::<bool>(), 0..16u16, any::<bool>()).prop_map(|(p, f, o, w)| Step::Open(p, f, o, w)),
        3 => path().prop_map(Step::Mkdir),
        1 => path().prop_map(Step::Rmdir),
        1 => path().prop_map(Step::Unlink),
        2 => (path(), path()).prop_map(|(a, b)| Step::Rename(a, b)),
        2 => (path(), path()).prop_map(|(a, b)| Step::Link(a, b)),
        4 => (path(), path()).prop_map(|(a, b)| Step::Symlink(a, b)),
        2 => (path(), any::<bool>()).prop_map(|(p, f)| Step::Stat(p, f)),
        1 => path().prop_map(Step::Readlink),
        1 => (path(), proptest::sample::select(vec!["a", "b", "c"])).prop_map(|(p, n)| Step::HostLink(p, n)),
    ]
}

fn run(guest: &mut Guest, step: &Step) {
    match step {
        Step::Open(path, follow, oflags, write) => {
            let rights = if *write { RW } else { Rights::FD_READ };
            let oflags = OFlags::from_raw(*oflags);
            if let Ok(fd) = guest.open_with(ROOT, *follow, path, oflags, rights, FdFlags::NONE) {
                if let Ok(bytes) = guest.read(fd, 100) {
                    assert!(!bytes.starts_with(b"secret"), "{path} reads the secret");
                }
                let _ = guest.write(fd, b"guest was here");
                guest.close(fd);
            }
        }
        Step::Mkdir(path) => drop(guest.on_path("path_create_directory", path)),
        Step::Rmdir(path) => drop(guest.on_path("path_remove_directory", path)),
        Step::Unlink(path) => drop(guest.on_path("path_unlink_file", path)),
        Step::Rename(old, new) => drop(guest.rename(old, new)),
        Step::Link(old, new) => drop(guest.hard_link(old, new)),
        Step::Symlink(target, new) => drop(guest.symlink(target, new)),
        Step::Stat(path, follow) => {
            let secret =
                std::os::unix::fs::MetadataExt::ino(&guest.outside("secret").metadata().unwrap());
            if let Ok(stat) = guest.path_stat(*follow, path) {
                assert_ne!(stat.ino, secret, "{path} is the secret");
            }
        }
        Step::Readlink(path) => {
            if let Ok(contents) = guest.readlink(path, 256) {
                assert!(!contents.starts_with(b"/"), "{path} tells a host path");
            }
        }
        Step::HostLink(target, name) => {
            let target = target.replace("//", &format!("{}/", guest.base.path().display()));
            let _ = std::os::unix::fs::symlink(target, guest.inside(name));
        }
    }
}

#[test]
fn random_calls_stay_inside() {
    let config = Config {
        cases: 300,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&proptest::collection::vec(step(), 1..25), |steps| {
            let mut guest = Guest::new();
            guest.dir("a/b");
            guest.file("c", "harmless");
            guest.link("../outside", "d");
            for step in &steps {
                run(&mut guest, step);
                let outside: Vec<_> = std::fs::read_dir(guest.outside(""))
                    .unwrap()
                    .map(|entry| entry.unwrap().file_name())
                    .collect();
                prop_assert_eq!(outside, ["secret"], "after {:?}", step);
                prop_assert_eq!(
                    std::fs::read_to_string(guest.outside("secret")).unwrap(),
                    "secret"
                );
                prop_assert_eq!(
                    std::fs::read_dir(guest.base.path()).unwrap().count(),
                    2,
                    "after {:?}",
                    step
                );
            }
            Ok(())
        })
        .unwrap();
}
