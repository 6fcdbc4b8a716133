//! How an operation of the host's that failed reaches the guest.

use tiered_runtime::{Trap, TrapCode};

use crate::abi::Errno;
use crate::component::call::Outcome;
use crate::error::Error;

/// Takes apart what an operation came to: a guest that is to stop, or waited in vain because it was interrupted, is stopped;
/// any other error is the guest's to handle.
#[inline]
pub(crate) fn settle<T>(result: Result<T, Error>) -> Outcome<Result<T, Errno>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Error::Errno(Errno::INTR)) => Err(Trap::new(TrapCode::Interrupted)),
        Err(Error::Errno(errno)) => Ok(Err(errno)),
        Err(Error::Halt(halt)) => Err(halt.into()),
        Err(Error::Exit(code)) => Err(Trap::exit(code.cast_signed())),
        Err(Error::Fault(fault)) => Err(Trap::host(fault)),
    }
}

/// As [`settle`], for what fails with a number.
#[inline]
pub(crate) fn settle_errno<T>(result: Result<T, Errno>) -> Outcome<Result<T, Errno>> {
    settle(result.map_err(Error::from))
}
