//! A core module with a memory of either kind and a `realloc`.

/// As [`LIBC`](crate::guest::LIBC), with addresses of type `i32` or `i64`, and 2 MiB that are not made more.
pub(crate) fn libc(address: &str) -> String {
    let memory = if address == "i64" { "i64 32" } else { "32" };
    format!(
        r#"(core module $libc
            (memory (export "memory") {memory})
            (global $next (mut {address}) ({address}.const 1024))
            (func (export "realloc") (param $old {address}) (param $old_size {address}) (param $align {address})
                (param $size {address}) (result {address})
                (local $at {address})
                (local.set $at ({address}.and
                    ({address}.add (global.get $next) ({address}.sub (local.get $align) ({address}.const 1)))
                    ({address}.sub ({address}.const 0) (local.get $align))))
                (global.set $next ({address}.add (local.get $at) (local.get $size)))
                (if ({address}.gt_u (global.get $next) ({address}.const 0x200000)) (then (unreachable)))
                (memory.copy (local.get $at) (local.get $old) (local.get $old_size))
                (local.get $at)))
        (core instance $libc (instantiate $libc))"#
    )
}
