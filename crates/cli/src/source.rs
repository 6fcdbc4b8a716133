//! Reads a program from where the command line says: a file, or standard input.
//!
//! *Invariant:* what `validate` and `inspect` say is found out anew: they use no cache.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::Path;

use tiered::decode::Bytes;
use tiered::{Engine, Module};
use tiered_cache::Cache;
#[cfg(feature = "component")]
use tiered_component::Component;

use crate::failure::Failure;

/// What a file holds.
pub(crate) enum Program {
    Module(Module),
    #[cfg(feature = "component")]
    Component(Component),
}

/// Decodes and validates the module or the component at `path`, binary or text; `-` is standard input.
///
/// # Errors
/// The file cannot be read, or holds neither.
pub(crate) fn load(
    engine: &Engine,
    cache: Option<&Cache>,
    path: &OsStr,
) -> Result<Program, Failure> {
    let (name, bytes) = read(path)?;
    #[cfg(feature = "component")]
    if Component::is_component(&bytes) {
        let component = match cache {
            Some(cache) => cache.component(engine, bytes),
            None => Component::new(engine, bytes),
        };
        let component = component.map_err(|err| Failure::host(name, err))?;
        return Ok(Program::Component(component));
    }
    decode(engine, cache, name, bytes).map(Program::Module)
}

/// As [`load`], where only a module will do.
///
/// # Errors
/// The file cannot be read, or holds no valid module.
pub(crate) fn load_module(
    engine: &Engine,
    cache: Option<&Cache>,
    path: &OsStr,
) -> Result<Module, Failure> {
    let (name, bytes) = read(path)?;
    decode(engine, cache, name, bytes)
}

fn decode(
    engine: &Engine,
    cache: Option<&Cache>,
    name: String,
    bytes: Bytes,
) -> Result<Module, Failure> {
    let module = match cache {
        Some(cache) => cache.module(engine, bytes),
        None => Module::new(engine, bytes),
    };
    module.map_err(|err| Failure::host(name, err))
}

/// The bytes of a file, and its name for messages.
fn read(path: &OsStr) -> Result<(String, Bytes), Failure> {
    let (name, bytes) = match path.to_str() {
        Some("-") => ("standard input".into(), read_stdin()),
        _ => (
            path.display().to_string(),
            tiered::read_file(Path::new(path)),
        ),
    };
    match bytes {
        Ok(bytes) => Ok((name, bytes)),
        Err(err) => Err(Failure::io(&name, &err)),
    }
}

fn read_stdin() -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes.into())
}
