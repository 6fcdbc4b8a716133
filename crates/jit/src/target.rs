//! The machine that code is made for: this one.

use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};

/// Whether there is code for this kind of machine at all; if not, why.
pub(crate) fn check_architecture() -> Result<(), String> {
    if cfg!(target_arch = "x86_64") {
        return Ok(());
    }
    let machine = std::env::consts::ARCH;
    Err(format!("{machine} is not supported"))
}

#[cfg(target_arch = "x86_64")]
fn check_processor() -> Result<(), String> {
    if std::arch::is_x86_feature_detected!("sse4.1") {
        Ok(())
    } else {
        Err("the processor lacks SSE4.1".into())
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn check_processor() -> Result<(), String> {
    check_architecture()
}

/// How code for this machine is made; `verify` has Cranelift check its own intermediate code.
pub(crate) fn isa(verify: bool) -> Result<OwnedTargetIsa, String> {
    check_processor()?;
    let mut flags = settings::builder();
    let mut set = |name, value| flags.set(name, value).map_err(|error| error.to_string());
    set("opt_level", "speed")?;
    set("enable_verifier", if verify { "true" } else { "false" })?;
    // Traps and back traces follow the chain of frame pointers.
    set("preserve_frame_pointers", "true")?;
    set("is_pic", "false")?;
    // Says where blocks are, which placement asks.
    set("machine_code_cfg_info", "true")?;
    let isa = cranelift_native::builder()?;
    isa.finish(settings::Flags::new(flags))
        .map_err(|error| error.to_string())
}
