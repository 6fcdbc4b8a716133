//! Modules and components by way of a cache.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

/// A cache in a new directory.
fn cache() -> (tempfile::TempDir, Cache) {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path().join("caches").join("tiered"));
    (dir, cache)
}

/// As another process has it.
fn again(cache: &Cache) -> Cache {
    Cache::new(cache.path())
}

/// A module of at least [`MIN_BYTES`], with one function of this body (locals, ops, end).
fn module(body: &[u8]) -> Vec<u8> {
    let mut bytes = b"\0asm\x01\0\0\0".to_vec();
    bytes.extend(b"\x01\x05\x01\x60\0\x01\x7f"); // the type [] -> [i32]
    bytes.extend(b"\x03\x02\x01\0");
    bytes.extend(b"\x07\x05\x01\x01f\0\0");
    bytes.extend([0x0a, body.len() as u8 + 2, 1, body.len() as u8]);
    bytes.extend(body);
    let padding = MIN_BYTES as u32; // in a custom section
    bytes.push(0);
    bytes.extend([
        (padding & 0x7f) as u8 | 0x80,
        (padding >> 7 & 0x7f) as u8 | 0x80,
        (padding >> 14) as u8,
    ]);
    bytes.extend([1, b'p']);
    bytes.extend(vec![0; MIN_BYTES - 2]);
    bytes
}

/// `i32.const N`.
fn constant(n: u8) -> Vec<u8> {
    module(&[0, 0x41, n, 0x0b])
}

/// `i64.const 1` for an i32.
fn invalid() -> Vec<u8> {
    module(&[0, 0x42, 1, 0x0b])
}

fn entry(cache: &Cache, engine: &Engine, kind: Kind, bytes: &[u8]) -> Entry {
    let build = &cache.opened().unwrap().build;
    let key = Key::of(build, engine.config().proposals(), kind, bytes);
    Entry::valid(&key, kind, bytes.len())
}

#[test]
fn a_module_is_validated_the_first_time_alone() {
    let (_dir, cache) = cache();
    let engine = Engine::default();
    cache.module(&engine, constant(1)).unwrap();
    assert_eq!(cache.entries().unwrap().len(), 1);
    let again = again(&cache);
    let module = again.module(&engine, constant(1)).unwrap();
    assert!(module.export("f").is_some());
    // That nothing is validated shows only where it would have failed; the module is not run.
    again
        .opened()
        .unwrap()
        .directory
        .write(&entry(&again, &engine, Kind::Module, &invalid()));
    assert!(again.module(&engine, invalid()).is_ok());
}

#[test]
fn an_invalid_module_is_refused_each_time_and_leaves_nothing() {
    let (_dir, cache) = cache();
    let engine = Engine::default();
    let plain = Module::new(&engine, invalid()).unwrap_err().to_string();
    for _ in 0..2 {
        assert_eq!(
            cache.module(&engine, invalid()).unwrap_err().to_string(),
            plain
        );
        assert_eq!(cache.entries().unwrap().len(), 0);
    }
}

#[test]
fn what_is_known_of_other_bytes_says_nothing() {
    let (_dir, cache) = cache();
    let engine = Engine::default();
    cache.module(&engine, constant(1)).unwrap();
    // The entry of the valid module in the invalid one's place, as it is.
    let (from, to) = (constant(1), invalid());
    let [from, to] = [from, to].map(|bytes| {
        cache
            .path()
            .join(entry(&cache, &engine, Kind::Module, &bytes).name())
    });
    fs::copy(from, to).unwrap();
    assert!(cache.module(&engine, invalid()).is_err());
    // One for a component of these bytes.
    let directory = &cache.opened().unwrap().directory;
    directory.write(&entry(&cache, &engine, Kind::Component, &invalid()));
    assert!(cache.module(&engine, invalid()).is_err());
}

#[test]
fn small_modules_and_text_are_not_looked_up() {
    let (dir, cache) = cache();
    let engine = Engine::default();
    cache.module(&engine, b"\0asm\x01\0\0\0".to_vec()).unwrap();
    let text = format!("(module) (;{};)", " ".repeat(MIN_BYTES));
    cache.module(&engine, text.into_bytes()).unwrap();
    assert!(!dir.path().join("caches").exists());
}

#[test]
fn without_a_usable_directory_all_is_as_without() {
    let (_dir, cache) = cache();
    let engine = Engine::default();
    fs::create_dir_all(cache.path()).unwrap();
    fs::set_permissions(cache.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(cache.module(&engine, constant(1)).is_ok());
    assert!(cache.module(&engine, invalid()).is_err());
    assert!(matches!(cache.entries(), Err(OpenError::NotPrivate)));
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
    let nowhere = Cache::new("/dev/null/tiered");
    assert!(nowhere.module(&engine, constant(1)).is_ok());
}

#[test]
fn many_at_once_leave_one_entry() {
    let (_dir, cache) = cache();
    let engine = Engine::default();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for n in 0..8 {
                    again(&cache).module(&engine, constant(n)).unwrap();
                }
            });
        }
    });
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 8);
    assert_eq!(cache.verify().unwrap(), 0);
    assert_eq!(cache.clear().unwrap(), 8);
    assert_eq!(cache.entries().unwrap().len(), 0);
}

#[cfg(feature = "component")]
#[test]
fn a_component_is_validated_the_first_time_alone() {
    let component = |module: &[u8]| {
        let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
        let len = module.len() as u32;
        bytes.extend([
            1,
            (len & 0x7f) as u8 | 0x80,
            (len >> 7 & 0x7f) as u8 | 0x80,
            (len >> 14) as u8,
        ]);
        bytes.extend(module);
        bytes
    };
    let (_dir, cache) = cache();
    let engine = Engine::default();
    cache.component(&engine, component(&constant(1))).unwrap();
    let entries = cache.entries().unwrap();
    assert!(entries.len() == 1 && entries[0].is_component());
    let again = again(&cache);
    again.component(&engine, component(&constant(1))).unwrap();
    assert!(again.component(&engine, component(&invalid())).is_err());
    let planted = entry(&again, &engine, Kind::Component, &component(&invalid()));
    again.opened().unwrap().directory.write(&planted);
    assert!(again.component(&engine, component(&invalid())).is_ok());
}
