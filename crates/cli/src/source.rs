//! Reads a module from where the command line says: a file, or standard input.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::Path;

use tiered::decode::Bytes;
use tiered::{Engine, Module};

use crate::failure::Failure;

/// Decodes and validates the module at `path`, binary or text; `-` is standard input.
///
/// # Errors
/// The file cannot be read, or holds no valid module.
pub(crate) fn load(engine: &Engine, path: &OsStr) -> Result<Module, Failure> {
    let (name, bytes) = match path.to_str() {
        Some("-") => ("standard input".into(), read_stdin()),
        _ => (
            path.display().to_string(),
            tiered::read_file(Path::new(path)),
        ),
    };
    let bytes = bytes.map_err(|err| Failure::io(&name, &err))?;
    Module::new(engine, bytes).map_err(|err| Failure::host(name, err))
}

fn read_stdin() -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes.into())
}
