//! Writes the binary form of a module's text: `cargo run -p tiered-decode --example binary -- FILE.wat FILE.wasm`

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args_os().skip(1);
    let (Some(text), Some(binary), None) = (words.next(), words.next(), words.next()) else {
        return Err("usage: binary FILE.wat FILE.wasm".into());
    };
    std::fs::write(binary, wat::parse_file(text)?)?;
    Ok(())
}
