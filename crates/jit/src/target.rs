//! The machine that code is made for: this one.

use std::sync::OnceLock;

use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};

use crate::cost::{Allocator, Work};
use crate::placement::MAX_BLOCKS;

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

/// How code for this machine is made, in its three ways.
pub(crate) struct Isas {
    verify: bool,
    /// Says where blocks are, which placement asks.
    usual: OwnedTargetIsa,
    /// Does not: to find that out for a large jump table takes the square of its targets.
    large: OnceLock<OwnedTargetIsa>,
    /// As that, with registers allocated in a single pass.
    single_pass: OnceLock<OwnedTargetIsa>,
}

/// Bodies with more targets of jump tables are large.
const MOST_TARGETS: u64 = 512;

impl Isas {
    /// `verify` has Cranelift check its own intermediate code.
    pub(crate) fn new(verify: bool) -> Result<Isas, String> {
        check_processor()?;
        Ok(Isas {
            verify,
            usual: isa(verify, true, Allocator::Thorough)?,
            large: OnceLock::new(),
            single_pass: OnceLock::new(),
        })
    }

    /// The usual way.
    pub(crate) fn usual(&self) -> &OwnedTargetIsa {
        &self.usual
    }

    /// The way for `work`, with registers allocated by `allocator`.
    pub(crate) fn of(&self, work: &Work, allocator: Allocator) -> &OwnedTargetIsa {
        let place = match allocator {
            Allocator::SinglePass => &self.single_pass,
            Allocator::Thorough
                if work.targets > MOST_TARGETS || work.blocks > MAX_BLOCKS as u64 =>
            {
                &self.large
            }
            Allocator::Thorough => return &self.usual,
        };
        // The settings are known and the machine was accepted with others, so there is no error; else the usual way does.
        place.get_or_init(|| {
            isa(self.verify, false, allocator).unwrap_or_else(|_| self.usual.clone())
        })
    }
}

fn isa(verify: bool, blocks: bool, allocator: Allocator) -> Result<OwnedTargetIsa, String> {
    let mut flags = settings::builder();
    let mut set = |name, value| flags.set(name, value).map_err(|error| error.to_string());
    set("opt_level", "speed")?;
    set("enable_verifier", if verify { "true" } else { "false" })?;
    // Traps and back traces follow the chain of frame pointers.
    set("preserve_frame_pointers", "true")?;
    set("is_pic", "false")?;
    set(
        "machine_code_cfg_info",
        if blocks { "true" } else { "false" },
    )?;
    if allocator == Allocator::SinglePass {
        set("regalloc_algorithm", "single_pass")?;
    }
    let isa = cranelift_native::builder()?;
    isa.finish(settings::Flags::new(flags))
        .map_err(|error| error.to_string())
}
