//! Binds the calls to tiered's runtime, which else only `threads.rs` knows.
//!
//! A call gets the memory its caller exports as `memory`. A caller without one traps in the first call that needs it.
//!
//! What a call does beyond being a call costs the store's fuel.
//!
//! Invariant: what stops a store's guest also ends the waiting of that store's calls, and of no other's with the same
//! context. A store that cannot be interrupted is never asked about it, so its writes stay cheap.

use tiered_runtime::{Caller, Interruptible, LinkError, Linker, SharedMemory, Trap, TrapCode};

use crate::abi::{Abi, Errno};
use crate::ctx::WasiCtx;
use crate::error::Stop;
use crate::functions::{calls, for_each_function};
use crate::guest::{GuestMemory, SharedBytes};
use crate::interrupt::InterruptHandle;
use crate::work::{Halt, Meter};

/// Defines all calls of `wasi_snapshot_preview1` and `wasi_unstable` in `linker`; `get` finds the context in the store's
/// data.
///
/// The data may be the context, or hold it. Stores that share one, as those of a guest's threads do, have an
/// [`Arc`](std::sync::Arc) of it:
///
/// ```
/// use std::sync::Arc;
///
/// use tiered_runtime::Linker;
/// use tiered_wasi::{WasiCtx, add_to_linker};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut alone = Linker::<WasiCtx>::new();
/// add_to_linker(&mut alone, |ctx| ctx)?;
///
/// let mut shared = Linker::<Arc<WasiCtx>>::new();
/// add_to_linker(&mut shared, |ctx| ctx)?;
/// # Ok(())
/// # }
/// ```
///
/// Whatever stops the guest, a store's interrupt handle, deadline or epoch, ends its waiting and working in these calls,
/// too, and that of no other store. Where the store counts fuel, calls cost what they do: see the crate's README.
///
/// # Errors
/// One of the names is defined already, and the linker does not allow to replace it; some of the others are defined then.
pub fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    get: impl Fn(&T) -> &WasiCtx + Send + Sync + Copy + 'static,
) -> Result<(), LinkError> {
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
            )?;
        )*};
    }
    for_each_function!(link);
    Ok(())
}

/// Runs `call` on the caller's context and memory.
fn with_guest<T: 'static, R>(
    caller: &mut Caller<'_, T>,
    get: impl Fn(&T) -> &WasiCtx,
    call: impl FnOnce(&WasiCtx, &mut GuestMemory<'_>) -> R,
) -> R {
    let shared = caller.shared_memory();
    let (bytes, data, meter) = caller.memory_data_and_meter();
    let memory = match &shared {
        Some(shared) => GuestMemory::shared(shared),
        None => bytes.map_or_else(GuestMemory::missing, GuestMemory::new),
    };
    call(get(data), &mut memory.metered(&meter))
}

impl SharedBytes for SharedMemory {
    fn len(&self) -> usize {
        self.len()
    }

    fn read(&self, at: usize, to: &mut [u8]) {
        let outcome = self.read(at, to);
        debug_assert!(
            outcome.is_ok(),
            "the caller has seen that the bytes are there"
        );
    }

    fn write(&self, at: usize, from: &[u8]) {
        let outcome = self.write(at, from);
        debug_assert!(
            outcome.is_ok(),
            "the caller has seen that the bytes are there"
        );
    }
}

impl Meter for tiered_runtime::Meter<'_> {
    fn charge(&self, units: u64) -> Result<(), Halt> {
        self.charge(units).map_err(|code| match code {
            TrapCode::OutOfFuel => Halt::OutOfFuel,
            _ => Halt::Interrupted,
        })
    }

    fn interrupt_handle(&self) -> Option<InterruptHandle> {
        self.interruptible(InterruptHandle::new)
    }
}

impl Interruptible for InterruptHandle {
    fn interrupt(&self) {
        self.interrupt();
    }

    fn clear(&self) {
        self.clear();
    }
}

impl From<Halt> for Trap {
    fn from(halt: Halt) -> Self {
        Self::new(match halt {
            Halt::Interrupted => TrapCode::Interrupted,
            Halt::OutOfFuel => TrapCode::OutOfFuel,
        })
    }
}

/// The error number as the guest's result, or the trap that stops the guest.
fn outcome(result: Result<Errno, Stop>) -> Result<u32, Trap> {
    result.map(u32::from).map_err(|stop| match stop {
        Stop::Exit(code) => Trap::exit(code.cast_signed()),
        Stop::Fault(fault) => Trap::host(fault),
        Stop::Halt(halt) => halt.into(),
    })
}

/// As [`outcome`] for the call that returns nothing.
fn no_outcome(result: Result<Errno, Stop>) -> Result<(), Trap> {
    outcome(result).map(drop)
}
