//! Writes what libFuzzer begins with: `cargo run -p tiered-fuzz --example seeds -- FOLDER`.
//!
//! `FOLDER/wasm.dict` is the dictionary. `FOLDER/TARGET` holds the modules of the spec's scripts, for each target that takes
//! modules.

use std::error::Error;
use std::fs;
use std::path::Path;

use tiered_fuzz::{dictionary, seeds};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder] = &args[..] else {
        return Err("expected FOLDER".into());
    };
    let folder = Path::new(folder);
    fs::create_dir_all(folder)?;
    fs::write(folder.join("wasm.dict"), dictionary::text())?;
    let all = seeds::all();
    let accepted = seeds::accepted(&all);
    for (target, only_accepted) in seeds::TARGETS {
        let folder = folder.join(target);
        fs::create_dir_all(&folder)?;
        let modules = if only_accepted {
            accepted.clone()
        } else {
            all.iter().map(Vec::as_slice).collect()
        };
        for module in &modules {
            fs::write(folder.join(seeds::file_name(module)), module)?;
        }
        println!("{}: {} modules", folder.display(), modules.len());
    }
    Ok(())
}
