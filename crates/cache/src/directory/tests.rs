//! The directory by itself: what is trusted, what is found again, what goes.

use std::os::unix::fs::{PermissionsExt, symlink};

use tiered::decode::wasmparser::WasmFeatures;

use super::*;
use crate::key::{Build, Kind};

fn private() -> tempfile::TempDir {
    let mode = fs::Permissions::from_mode(0o700);
    tempfile::Builder::new()
        .permissions(mode)
        .tempdir()
        .unwrap()
}

fn open(dir: &tempfile::TempDir) -> Directory {
    Directory::open(dir.path()).unwrap().expect("it is there")
}

fn entry(of: &str) -> Entry {
    let key = Key::of(
        &Build::current().unwrap(),
        WasmFeatures::all(),
        Kind::Module,
        of.as_bytes(),
    );
    Entry::valid(&key, Kind::Module, of.len())
}

fn names(dir: &tempfile::TempDir) -> Vec<String> {
    let files = fs::read_dir(dir.path()).unwrap();
    let mut names: Vec<_> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn set_age(path: &Path, age: Duration) {
    let file = File::open(path).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

#[test]
fn what_is_written_is_there_and_nothing_else() {
    let dir = private();
    let directory = open(&dir);
    assert!(!directory.has(&entry("a")));
    directory.write(&entry("a"));
    assert!(directory.has(&entry("a")) && !directory.has(&entry("b")));
    assert_eq!(names(&dir), [entry("a").name()]);
    let entries = directory.entries().unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].bytes(), entries[0].is_component()), (1, false));
    let age = entries[0].written().unwrap().elapsed().unwrap();
    assert!(age < Duration::from_secs(600), "{age:?}");
}

#[test]
fn a_directory_that_others_may_open_is_not_used() {
    for mode in [0o701, 0o710, 0o720, 0o755, 0o777] {
        let dir = private();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        let opened = Directory::open(dir.path());
        assert!(matches!(opened, Err(OpenError::NotPrivate)), "{mode:o}");
        let created = Directory::open_or_create(dir.path());
        assert!(matches!(created, Err(OpenError::NotPrivate)), "{mode:o}");
    }
}

#[test]
fn a_link_to_a_directory_is_not_used() {
    let dir = private();
    let link = dir.path().join("link");
    fs::create_dir(dir.path().join("real")).unwrap();
    symlink("real", &link).unwrap();
    assert!(matches!(Directory::open(&link), Err(OpenError::Io(_))));
    assert!(Directory::open_or_create(&link).is_err());
}

#[test]
fn it_is_made_private_with_its_parent_and_no_further() {
    let dir = private();
    assert!(
        Directory::open(&dir.path().join("caches/tiered"))
            .unwrap()
            .is_none()
    );
    Directory::open_or_create(&dir.path().join("caches/tiered")).unwrap();
    for made in ["caches", "caches/tiered"] {
        let mode = fs::metadata(dir.path().join(made))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700, "{made}");
    }
    assert!(Directory::open_or_create(&dir.path().join("no/such/home")).is_err());
    assert!(!dir.path().join("no").exists());
}

#[test]
fn a_changed_entry_says_nothing_and_is_replaced() {
    let dir = private();
    let directory = open(&dir);
    let path = dir.path().join(entry("a").name());
    directory.write(&entry("a"));
    let contents = fs::read(&path).unwrap();
    for at in 0..contents.len() {
        let mut changed = contents.clone();
        changed[at] ^= 1;
        fs::write(&path, &changed).unwrap();
        assert!(!directory.has(&entry("a")), "byte {at}");
        fs::write(&path, &contents[..at]).unwrap();
        assert!(!directory.has(&entry("a")), "cut off at {at}");
    }
    fs::write(&path, [&contents[..], b"\n"].concat()).unwrap();
    assert!(!directory.has(&entry("a")), "longer");
    directory.write(&entry("a"));
    assert!(directory.has(&entry("a")));
}

#[test]
fn no_link_pipe_or_directory_is_an_entry() {
    let dir = private();
    let directory = open(&dir);
    let path = dir.path().join(entry("a").name());
    let elsewhere = dir.path().join("elsewhere");
    fs::write(&elsewhere, entry("a").contents()).unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert!(!directory.has(&entry("a")), "a link");
    fs::remove_file(&path).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        FileType::Fifo,
        Mode::RUSR | Mode::WUSR,
        0,
    )
    .unwrap();
    assert!(
        !directory.has(&entry("a")),
        "a pipe, which nobody writes to"
    );
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(!directory.has(&entry("a")), "a directory");
    directory.write(&entry("a"));
    assert_eq!(directory.entries().unwrap().len(), 0);
    assert_eq!(directory.remove_all().unwrap(), 0, "it is not the cache's");
}

#[test]
fn what_is_not_the_caches_stays() {
    let dir = private();
    let directory = open(&dir);
    for name in [
        "notes",
        "0123",
        "unfinished",
        &entry("a").name().to_uppercase(),
    ] {
        fs::write(dir.path().join(name), "mine").unwrap();
    }
    let before = names(&dir);
    directory.write(&entry("a"));
    fs::write(dir.path().join("unfinished-1-0"), "").unwrap();
    assert_eq!(directory.remove_all().unwrap(), 2);
    assert_eq!(names(&dir), before);
}

#[test]
fn damaged_and_misplaced_entries_are_removed_and_others_stay() {
    let dir = private();
    let directory = open(&dir);
    for of in ["a", "b", "c"] {
        directory.write(&entry(of));
    }
    let file = |of: &str| dir.path().join(entry(of).name());
    fs::write(file("b"), "damaged").unwrap();
    fs::copy(file("a"), file("c")).unwrap();
    let (new, old) = (
        dir.path().join("unfinished-1-0"),
        dir.path().join("unfinished-1-1"),
    );
    fs::write(&new, "").unwrap();
    fs::write(&old, "").unwrap();
    set_age(&old, GIVEN_UP * 2);
    assert_eq!(directory.remove_damaged().unwrap(), 3);
    assert!(directory.has(&entry("a")) && new.exists() && !old.exists());
    assert_eq!(names(&dir).len(), 2);
}

#[test]
fn of_too_many_entries_the_oldest_go() {
    let dir = private();
    let directory = open(&dir);
    for of in 0..10 {
        directory.write(&entry(&of.to_string()));
        let path = dir.path().join(entry(&of.to_string()).name());
        set_age(&path, Duration::from_secs(1000 - of));
    }
    directory.trim(4).unwrap();
    let left: Vec<_> = (0..10)
        .filter(|of| directory.has(&entry(&of.to_string())))
        .collect();
    assert_eq!(left, [6, 7, 8, 9]);
}

#[test]
fn writes_look_for_too_many_entries_now_and_then() {
    let dir = private();
    let directory = open(&dir);
    for of in 0..MAX_ENTRIES + 200 {
        let name = entry(&format!("old {of}")).name();
        fs::write(dir.path().join(&name), "").unwrap();
    }
    for of in 0..200 {
        directory.write(&entry(&of.to_string()));
    }
    let files = names(&dir).len();
    assert!(files < MAX_ENTRIES + 200, "{files}");
}

#[test]
fn what_another_process_of_the_number_left_is_in_nobodys_way() {
    let dir = private();
    let directory = open(&dir);
    for number in 0..100 {
        let left = format!("{UNFINISHED}{}-{number}", process::id());
        fs::write(dir.path().join(left), "left").unwrap();
    }
    directory.write(&entry("a"));
    assert!(directory.has(&entry("a")));
}

#[test]
fn a_directory_that_cannot_be_written_does_no_harm() {
    let dir = private();
    let directory = open(&dir);
    fs::remove_dir(dir.path()).unwrap();
    directory.write(&entry("a"));
    assert!(!directory.has(&entry("a")));
    assert!(directory.entries().unwrap().is_empty());
}
