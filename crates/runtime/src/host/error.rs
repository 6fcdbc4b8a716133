//! The trap that the error of a host function becomes.

#[cfg(feature = "anyhow")]
use std::any::Any;
use std::error::Error;

use crate::exception::Exception;
use crate::instantiate::InstantiateError;
use crate::vm::trap::{Trap, TrapCode};

/// `error`, if it is an [`anyhow::Error`].
#[cfg(feature = "anyhow")]
fn take_anyhow<E: 'static>(error: E) -> Result<anyhow::Error, E> {
    let mut error = Some(error);
    let any: &mut dyn Any = &mut error;
    if let Some(anyhow) = any
        .downcast_mut::<Option<anyhow::Error>>()
        .and_then(Option::take)
    {
        return Ok(anyhow);
    }
    error.map_or_else(|| unreachable!("nobody took it"), Err)
}

impl Trap {
    /// A host function failed with `error`. A trap stays that trap: a [`Trap`] itself, a [`TrapCode`], an
    /// [`Error::Trap`](crate::Error::Trap), and a box of one. An [`Exception`] is thrown.
    ///
    /// Host functions need not call it: they may return `Result<V, E>` with any such error.
    #[must_use]
    #[cold]
    pub fn host(error: impl Into<Box<dyn Error + Send + Sync>> + 'static) -> Trap {
        #[cfg(feature = "anyhow")]
        let error = match take_anyhow(error) {
            Ok(error) => return Trap::anyhow(error),
            Err(other) => other,
        };
        let error = match error.into().downcast::<Trap>() {
            Ok(trap) => return *trap,
            Err(other) => other,
        };
        let error = match error.downcast::<TrapCode>() {
            Ok(code) => return Trap::new(*code),
            Err(other) => other,
        };
        let error = match error.downcast::<Exception>() {
            Ok(exception) => return (*exception).into(),
            Err(other) => other,
        };
        let error = match error.downcast::<crate::Error>().map(|error| *error) {
            Ok(crate::Error::Trap(trap)) => return trap,
            Ok(other) => other.into(),
            Err(other) => other,
        };
        match error.downcast::<InstantiateError>().map(|error| *error) {
            Ok(InstantiateError::Trap(trap)) => trap,
            Ok(other) => Trap::of_error(other.into()),
            Err(other) => Trap::of_error(other),
        }
    }

    /// As [`Trap::host`].
    #[cfg(feature = "anyhow")]
    fn anyhow(error: anyhow::Error) -> Trap {
        let error = match error.downcast::<Trap>() {
            Ok(trap) => return trap,
            Err(other) => other,
        };
        let error = match error.downcast::<TrapCode>() {
            Ok(code) => return Trap::new(code),
            Err(other) => other,
        };
        let error = match error.downcast::<Exception>() {
            Ok(exception) => return exception.into(),
            Err(other) => other,
        };
        // Others stay as they are: their context would be lost.
        if !matches!(error.downcast_ref(), Some(crate::Error::Trap(_))) {
            return Trap::of_anyhow(error);
        }
        match error.downcast() {
            Ok(crate::Error::Trap(trap)) => trap,
            Ok(other) => Trap::host(other),
            Err(other) => Trap::of_anyhow(other),
        }
    }
}
