//! Reads a module's bytes from a file by mapping it into memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use tiered_decode::Bytes;

/// The bytes of the file at `path`: mapped if it is a regular file, read otherwise (a pipe, a terminal).
///
/// Nobody may change the file while the bytes are in use: what was validated must be what is translated later.
///
/// # Errors
/// What the host says about opening, mapping or reading the file.
pub fn map_file(path: &Path) -> io::Result<Bytes> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() || metadata.len() == 0 {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        return Ok(Bytes::from(bytes));
    }
    // SAFETY: the map is private and read-only. That nobody else changes the file is this function's documented
    // condition; every engine that maps modules stands on it.
    let map = unsafe { memmap2::MmapOptions::new().map_copy_read_only(&file)? };
    Ok(Bytes::from_owner(map))
}
