//! What the benches share: the committed programs, generated modules, and how processes are timed.
//!
//! The programs themselves are in `programs/` (C, run as whole processes by the bin `compare`) and `wat/` (text, run
//! through the embedding API by the criterion benches); README.md says what each of them asks.

#![forbid(unsafe_code)]

pub mod generated;
pub mod measure;
pub mod shapes;
pub mod stats;

use std::io;
use std::path::Path;

/// The binary of a committed program, by its file's name without `.wasm`.
pub fn program(name: &str) -> io::Result<Vec<u8>> {
    std::fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("programs")
            .join(name)
            .with_extension("wasm"),
    )
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::path::PathBuf;

    use super::*;

    fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let entries = folder
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().path());
        entries
            .filter(|path| path.extension() == Some(OsStr::new(extension)))
            .collect()
    }

    #[test]
    fn every_committed_module_is_valid() {
        let binaries = [
            files("programs", "wasm"),
            files("programs/tutorial", "wasm"),
        ]
        .concat();
        let texts = files("wat", "wat");
        assert!(binaries.len() > 16 && texts.len() > 8);
        for path in binaries.iter().chain(&texts) {
            let module = tiered_decode::Module::new(std::fs::read(path).unwrap());
            assert!(
                module.is_ok(),
                "{}: {}",
                path.display(),
                module.err().unwrap()
            );
        }
    }

    #[test]
    fn every_program_stands_beside_its_source() {
        for path in files("programs", "wasm") {
            assert!(path.with_extension("c").is_file(), "{}", path.display());
        }
    }
}
