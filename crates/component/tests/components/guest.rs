//! Parts of components that many tests have, and their instances.

use tiered::{Config, Engine, Store};
use tiered_component::{Component, Error, Instance, Linker};

/// A core module with a memory and a `realloc` that never frees: what is allocated first is at 1024.
pub(crate) const LIBC: &str = r#"
    (core module $libc
        (memory (export "memory") 4)
        (global $next (mut i32) (i32.const 1024))
        (func (export "realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
            (local $at i32)
            ;; What shrinks stays.
            (if (i32.and (i32.ne (local.get $old) (i32.const 0)) (i32.le_u (local.get $size) (local.get $old_size)))
                (then (return (local.get $old))))
            (local.set $at (i32.and
                (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
                (i32.sub (i32.const 0) (local.get $align))))
            (global.set $next (i32.add (local.get $at) (local.get $size)))
            (block $enough
                (loop $grow
                    (br_if $enough (i32.le_u (global.get $next) (i32.shl (memory.size) (i32.const 16))))
                    (br_if $grow (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))
                    (unreachable)))
            (memory.copy (local.get $at) (local.get $old) (local.get $old_size))
            (local.get $at)))
    (core instance $libc (instantiate $libc))"#;

/// An engine as `config` says, and a store with the number 0 in it.
pub(crate) fn store(config: &Config) -> (Engine, Store<u64>) {
    let engine = Engine::new(config);
    let store = Store::new(&engine, 0).expect("a store");
    (engine, store)
}

/// The instance of a component that imports nothing.
pub(crate) fn instance(config: &Config, text: &str) -> (Store<u64>, Instance) {
    linked(config, &Linker::new(), text).expect("a component that works")
}

/// The instance of a component.
pub(crate) fn linked(
    config: &Config,
    linker: &Linker<u64>,
    text: &str,
) -> Result<(Store<u64>, Instance), Error> {
    let (engine, mut store) = store(config);
    let component = Component::new(&engine, text.to_owned())?;
    let instance = linker.instantiate(&mut store, &component)?;
    Ok((store, instance))
}
