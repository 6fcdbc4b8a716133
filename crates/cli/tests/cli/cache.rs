//! `tiered cache`, and programs that are looked up in one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::place::Place;

/// A place with a program that is large enough to be looked up, and what it prints.
fn place() -> Place {
    let place = Place::new(&[]);
    let text = format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 4)
            (data (i32.const 0) "\10\00\00\00\03\00\00\00")
            (data (i32.const 16) "hi\n{}")
            (func (export "_start")
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#,
        " ".repeat(200_000)
    );
    let module = wat::parse_str(text).expect("it is valid");
    fs::write(place.path().join("large.wasm"), module).expect("a file");
    place
}

fn entries(place: &Place) -> Vec<PathBuf> {
    let files = fs::read_dir(place.path().join("kept")).expect("it is there");
    files.map(|file| file.expect("it is read").path()).collect()
}

#[test]
fn large_programs_are_remembered() {
    let place = place();
    let run = ["--cache-dir", "kept", "large.wasm"];
    let list = ["cache", "list", "--cache-dir", "kept"];
    place.run(&list).expect(0, "", "");
    assert!(!place.path().join("kept").exists(), "to look makes nothing");
    for _ in 0..2 {
        place.run(&run).expect(0, "hi\n", "");
        assert_eq!(entries(&place).len(), 1);
    }
    let listed = place.run(&list);
    let name = entries(&place)[0]
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_string();
    assert!(listed.stdout.starts_with(&name[..16]), "{listed:?}");
    assert!(
        listed.stdout.contains("Z  module") && listed.stdout.lines().count() == 1,
        "{listed:?}"
    );
    // A program is looked up by all of its bytes.
    let path = place.path().join("large.wasm");
    let mut module = fs::read(&path).unwrap();
    let last = module.len() - 1;
    module[last] ^= 1;
    fs::write(&path, module).unwrap();
    place.run(&run).expect(0, "hi\n", "");
    assert_eq!(entries(&place).len(), 2);
    place
        .run(&["cache", "clear", "--cache-dir", "kept"])
        .expect(0, "removed 2 entries\n", "");
    place
        .run(&["cache", "clear", "--cache-dir=kept"])
        .expect(0, "removed 0 entries\n", "");
}

#[test]
fn an_invalid_program_is_not_remembered() {
    let place = place();
    let path = place.path().join("large.wasm");
    let mut module = fs::read(&path).unwrap();
    // The only call of a function: the number of one that is not there.
    let call = module
        .windows(3)
        .rposition(|ops| ops == [0x10, 0, 0x1a])
        .unwrap();
    module[call + 1] = 0x7f;
    fs::write(&path, module).unwrap();
    for _ in 0..2 {
        let ended = place.run(&["--cache-dir", "kept", "large.wasm"]);
        ended.expect(1, "", "unknown function");
    }
    place
        .run(&["cache", "list", "--cache-dir", "kept"])
        .expect(0, "", "");
}

#[test]
fn damaged_entries_do_no_harm() {
    let place = place();
    let run = ["--cache-dir", "kept", "large.wasm"];
    place.run(&run).expect(0, "hi\n", "");
    for damage in ["", "tiered cache entry 1\n"] {
        fs::write(&entries(&place)[0], damage).unwrap();
        let verified = place.run(&["cache", "verify", "--cache-dir", "kept"]);
        verified.expect(0, "removed 1 entry\n", "");
        place.run(&run).expect(0, "hi\n", "");
        fs::write(&entries(&place)[0], damage).unwrap();
        place.run(&run).expect(0, "hi\n", "");
    }
    place
        .run(&["cache", "verify", "--cache-dir", "kept"])
        .expect(0, "removed 0 entries\n", "");
}

#[test]
fn a_directory_of_others_is_not_used() {
    let place = place();
    let kept = place.path().join("kept");
    fs::create_dir(&kept).unwrap();
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o755)).unwrap();
    place
        .run(&["--cache-dir", "kept", "large.wasm"])
        .expect(0, "hi\n", "");
    assert!(entries(&place).is_empty());
    let listed = place.run(&["cache", "list", "--cache-dir", "kept"]);
    listed.expect(
        1,
        "",
        "Error: kept: the directory is not the user's own with mode 0700",
    );
}

#[test]
fn the_users_cache_is_used_unless_told_otherwise() {
    let place = place();
    let run = |words: &[&str]| {
        let mut command = place.command(words);
        command.env("XDG_CACHE_HOME", place.path().join("caches"));
        command.output().expect("the command starts")
    };
    let caches = place.path().join("caches");
    assert!(run(&["--no-cache", "large.wasm"]).status.success() && !caches.exists());
    assert!(run(&["large.wasm"]).status.success());
    assert_eq!(fs::read_dir(caches.join("tiered")).unwrap().count(), 1);
    let ended = place.run(&["--no-cache", "--cache-dir", "kept", "large.wasm"]);
    assert_eq!(ended.exit_code, Some(2));
    let mut nowhere = place.command(&["cache", "list"]);
    let ended = nowhere
        .env_remove("HOME")
        .env_remove("XDG_CACHE_HOME")
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("--cache-dir"));
}

#[test]
fn a_grant_to_write_to_the_cache_is_warned_of() {
    let place = place();
    fs::create_dir_all(place.path().join("kept/inside")).unwrap();
    fs::create_dir(place.path().join("other")).unwrap();
    let warns = |grant: &str, option: &[&str]| {
        let words = [option, &["--dir", grant, "large.wasm"]].concat();
        let ended = place.run(&words);
        assert_eq!(ended.stdout, "hi\n", "{ended:?}");
        ended.stderr.contains("cache of valid programs")
    };
    for grant in [".", "kept", "kept/inside", "other/.."] {
        assert!(warns(grant, &["--cache-dir", "kept"]), "{grant}");
    }
    assert!(warns(".", &["--cache-dir", "not/yet/there"]));
    assert!(!warns("other", &["--cache-dir", "kept"]));
    assert!(!warns(".::ro", &["--cache-dir", "kept"]));
    assert!(!warns(".", &["--no-cache"]));
}
