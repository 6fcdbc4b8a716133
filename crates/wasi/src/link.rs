//! Binds the calls to tiered's runtime; the only file that knows it.
//!
//! A call gets the memory its caller exports as `memory`. A caller without one traps in the first call that needs it.

use tiered_runtime::{Caller, Linker, Trap};

use crate::abi::{Abi, Errno};
use crate::ctx::WasiCtx;
use crate::error::Stop;
use crate::functions::{calls, for_each_function};
use crate::guest::GuestMemory;

/// Defines all calls of `wasi_snapshot_preview1` and `wasi_unstable` in `linker`; `get` finds the context in the store's
/// data.
pub fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    get: impl Fn(&mut T) -> &mut WasiCtx + Send + Sync + Copy + 'static,
) {
    macro_rules! link {
        (
            both { $($both:tt)* }
            preview1 { $($preview1:tt)* }
            noreturn { $($noreturn:tt)* }
        ) => {
            link! { @define Abi::Preview1, outcome, u32; $($both)* $($preview1)* }
            link! { @define Abi::Preview1, no_outcome, (); $($noreturn)* }
            link! { @define Abi::Unstable, outcome, u32; $($both)* }
            link! { @define Abi::Unstable, no_outcome, (); $($noreturn)* }
        };
        (
            @define $abi:expr, $finish:ident, $result:ty;
            $($name:ident $([$marker:ident])? ($($arg:ident: $ty:ident),*) = $module:ident;)*
        ) => {$(
            linker.func(
                $abi.module(),
                stringify!($name),
                move |mut caller: Caller<'_, T>, $($arg: $ty),*| -> Result<$result, Trap> {
                    let outcome = with_guest(&mut caller, get, |ctx, memory| {
                        calls::$name(ctx, memory, $abi, $($arg),*)
                    });
                    $finish(outcome)
                },
            );
        )*};
    }
    for_each_function!(link);
}

/// Runs `call` on the caller's context and memory.
fn with_guest<T: 'static, R>(
    caller: &mut Caller<'_, T>,
    get: impl Fn(&mut T) -> &mut WasiCtx,
    call: impl FnOnce(&mut WasiCtx, &mut GuestMemory<'_>) -> R,
) -> R {
    match caller.memory_and_data() {
        Some((bytes, data)) => call(get(data), &mut GuestMemory::new(bytes)),
        None => call(get(caller.data_mut()), &mut GuestMemory::missing()),
    }
}

/// The error number as the guest's result, or the trap that stops the guest.
fn outcome(result: Result<Errno, Stop>) -> Result<u32, Trap> {
    result.map(u32::from).map_err(|stop| match stop {
        Stop::Exit(code) => Trap::exit(code.cast_signed()),
        Stop::Fault(fault) => Trap::host(fault),
    })
}

/// As [`outcome`] for the call that returns nothing.
fn no_outcome(result: Result<Errno, Stop>) -> Result<(), Trap> {
    outcome(result).map(drop)
}
