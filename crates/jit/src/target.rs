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
    // Rounding, and what takes lanes by index, would be calls into the host's library.
    if !std::arch::is_x86_feature_detected!("sse4.1") {
        return Err("the processor lacks SSE4.1".into());
    }
    if !std::arch::is_x86_feature_detected!("ssse3") {
        return Err("the processor lacks SSSE3".into());
    }
    Ok(())
}

#[cfg(not(target_arch = "x86_64"))]
fn check_processor() -> Result<(), String> {
    check_architecture()
}

/// The settings of Cranelift's for what every processor has that there is code for.
const BASELINE: [&str; 3] = ["has_sse3", "has_ssse3", "has_sse41"];

/// How code is made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    /// Cranelift checks its own intermediate code.
    pub(crate) verify: bool,
    /// [`Config::baseline`](crate::Config::baseline).
    pub(crate) baseline: bool,
}

/// How code for this machine is made, in its three ways.
pub(crate) struct Isas {
    settings: Settings,
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
    pub(crate) fn new(settings: Settings) -> Result<Isas, String> {
        check_processor()?;
        Ok(Isas {
            settings,
            usual: isa(settings, true, Allocator::Thorough)?,
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
            isa(self.settings, false, allocator).unwrap_or_else(|_| self.usual.clone())
        })
    }
}

fn isa(how: Settings, blocks: bool, allocator: Allocator) -> Result<OwnedTargetIsa, String> {
    let mut flags = settings::builder();
    let mut set = |name, value| flags.set(name, value).map_err(|error| error.to_string());
    set("opt_level", "speed")?;
    set("enable_verifier", if how.verify { "true" } else { "false" })?;
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
    let mut isa = cranelift_native::builder()?;
    if how.baseline {
        let settings: Vec<_> = isa.iter().map(|setting| setting.name).collect();
        let beyond = |name: &&str| name.starts_with("has_") && !BASELINE.contains(name);
        for name in settings.into_iter().filter(beyond) {
            isa.set(name, "false").map_err(|error| error.to_string())?;
        }
    }
    isa.finish(settings::Flags::new(flags))
        .map_err(|error| error.to_string())
}
