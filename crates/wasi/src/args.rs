//! Arguments, and the form they share with the environment: NUL-terminated strings and an array of pointers to them.

use std::ffi::OsString;

use crate::abi::Errno;
use crate::ctx::{BuildError, WasiCtx};
use crate::error::Error;
use crate::guest::GuestMemory;

/// Strings laid out as the guest will hold them.
#[derive(Debug, Default)]
pub(crate) struct Strings {
    /// All strings, each followed by a NUL.
    bytes: Vec<u8>,
    /// Where each begins.
    starts: Vec<u32>,
}

impl Strings {
    pub(crate) fn from_args(args: Vec<OsString>) -> Result<Self, BuildError> {
        let mut strings = Self::default();
        for (index, arg) in args.into_iter().enumerate() {
            let arg = arg
                .into_string()
                .map_err(|value| BuildError::ArgNotUtf8 { index, value })?;
            if arg.contains('\0') {
                return Err(BuildError::ArgHasNul { index, value: arg });
            }
            strings.push(&[&arg])?;
        }
        Ok(strings)
    }

    pub(crate) fn from_environ(vars: Vec<(OsString, OsString)>) -> Result<Self, BuildError> {
        let mut strings = Self::default();
        for (name, value) in vars {
            let (Some(key), Some(value)) = (name.to_str(), value.to_str()) else {
                return Err(BuildError::EnvNotUtf8 { name });
            };
            if key.is_empty() || key.contains(['=', '\0']) || value.contains('\0') {
                return Err(BuildError::EnvInvalid {
                    name: key.to_owned(),
                });
            }
            strings.push(&[key, "=", value])?;
        }
        Ok(strings)
    }

    fn push(&mut self, parts: &[&str]) -> Result<(), BuildError> {
        let start = u32::try_from(self.bytes.len()).map_err(|_| BuildError::TooLong)?;
        self.starts.push(start);
        for part in parts {
            self.bytes.extend_from_slice(part.as_bytes());
        }
        self.bytes.push(0);
        u32::try_from(self.bytes.len()).map_err(|_| BuildError::TooLong)?;
        Ok(())
    }

    /// The strings, without their NULs.
    #[cfg(feature = "component")]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        let ends = self.starts.iter().skip(1).map(|&start| start as usize);
        let ends = ends.chain([self.bytes.len()]);
        self.starts.iter().zip(ends).map(|(&start, end)| {
            let bytes = &self.bytes[start as usize..end - 1];
            std::str::from_utf8(bytes).expect("it was made from strings")
        })
    }

    /// How many bytes there are.
    #[cfg(feature = "component")]
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Writes how many strings there are and how many bytes they take.
    pub(crate) fn sizes(
        &self,
        memory: &mut GuestMemory<'_>,
        count: (&'static str, u32),
        size: (&'static str, u32),
    ) -> Result<(), Error> {
        let count = memory.ptr::<u32>(count.0, count.1)?;
        let size = memory.ptr::<u32>(size.0, size.1)?;
        memory.store(count, self.starts.len() as u32);
        memory.store(size, self.bytes.len() as u32);
        Ok(())
    }

    /// Writes the strings into `buf` and a pointer to each into `array`.
    pub(crate) fn copy(
        &self,
        memory: &mut GuestMemory<'_>,
        array: (&'static str, u32),
        buf: (&'static str, u32),
    ) -> Result<(), Error> {
        let pointers = memory.check(array.0, array.1, self.starts.len() as u64 * 4, 4)?;
        let bytes = memory.check(buf.0, buf.1, self.bytes.len() as u64, 1)?;
        for (at, start) in pointers.step_by(4).zip(&self.starts) {
            let pointer = buf.1.checked_add(*start).ok_or(Errno::OVERFLOW)?;
            memory.copy_in(at, &pointer.to_le_bytes());
        }
        memory.copy_in(bytes.start, &self.bytes);
        Ok(memory
            .work()
            .bytes(self.bytes.len() + 4 * self.starts.len())?)
    }
}

/// `args_get`: the arguments.
pub(crate) fn args_get(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    argv: u32,
    argv_buf: u32,
) -> Result<(), Error> {
    ctx.args
        .copy(memory, ("argv", argv), ("argv_buf", argv_buf))
}

/// `args_sizes_get`: how much room they need.
pub(crate) fn args_sizes_get(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    argc: u32,
    argv_buf_size: u32,
) -> Result<(), Error> {
    ctx.args
        .sizes(memory, ("argc", argc), ("argv_buf_size", argv_buf_size))
}
