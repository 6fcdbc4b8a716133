//! Machine code that interpreted functions are entered through, for a profiler of the host.
//!
//! Interpreted functions run by code that is none's in particular. So where somebody profiles, each gets a [`Trampoline`],
//! and the profiler is told of that: one that keeps call chains (`perf record -g`) finds the function's name above the
//! interpreter's.
#![expect(unsafe_code, reason = "machine code is called by its address")]

use tiered_decode::printable::Name;
use tiered_jit::Profile;
use tiered_runtime::code::FuncCode;
use tiered_runtime::trampoline::{Trampoline, TrampolineFn};

/// What makes trampolines that this profiler is told of; `None` on a machine that there are none for.
pub(crate) fn maker(profile: Profile) -> Option<TrampolineFn> {
    let make: Option<TrampolineFn> = match profile {
        Profile::PerfMap => Some(|func| trampoline(Profile::PerfMap, func)),
        Profile::JitDump => Some(|func| trampoline(Profile::JitDump, func)),
        _ => None,
    };
    make.filter(|_| cfg!(target_arch = "x86_64"))
}

/// A trampoline of x86-64. A profiler takes the innermost frame pointer for that of the caller of the code that runs,
/// whose own caller it would miss if that code made no frame; so there are two frames, one within the other.
const TRAMPOLINE: [u8; 20] = [
    0x55, // push rbp
    0x48, 0x89, 0xe5, // mov rbp, rsp
    0xe8, 0x02, 0x00, 0x00, 0x00, // call the second half
    0x5d, // pop rbp
    0xc3, // ret
    0x55, // push rbp
    0x48, 0x89, 0xe5, // mov rbp, rsp
    0xff, 0x55, 0x20, // call [rbp + 32]: the first argument on the stack
    0x5d, // pop rbp
    0xc3, // ret
];

fn trampoline(profile: Profile, func: &FuncCode) -> Option<Trampoline> {
    let module = func.module_code()?.module();
    let code = tiered_jit::place_for_good(&TRAMPOLINE)?;
    // SAFETY: the bytes were placed there, and stay as they are.
    let placed = unsafe { std::slice::from_raw_parts(code.as_ptr(), TRAMPOLINE.len()) };
    let name = match module.func_name(func.index) {
        Some(name) => format!("{} (interpreted)", Name(name)),
        None => format!("wasm function {} (interpreted)", func.index.0),
    };
    profile.tell(placed, &name);
    // SAFETY: the code does what a trampoline does, and is never freed.
    Some(unsafe { Trampoline::new(code) })
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    /// The innermost return address of the chain of frame pointers, as a profiler sees it that stops here; the arguments
    /// must have come through.
    #[unsafe(naked)]
    unsafe extern "sysv64" fn first_return_address() -> usize {
        std::arch::naked_asm!(
            "mov rax, [rbp + 8]",
            "imul rdi, rsi, 1000",
            "add rdi, r9",
            "cvttsd2si rsi, xmm3",
            "add rdi, rsi",
            "mov [r8], rdi",
            "ret",
        )
    }

    type Through = unsafe extern "sysv64" fn(
        u64,
        u64,
        u64,
        u64,
        *mut u64,
        u64,
        f64,
        f64,
        f64,
        f64,
        unsafe extern "sysv64" fn() -> usize,
    ) -> usize;

    #[test]
    fn the_chain_of_frame_pointers_leads_over_the_trampoline() {
        for _ in 0..3 {
            let code = tiered_jit::place_for_good(&TRAMPOLINE).expect("there is room");
            let mut seen = 0;
            // SAFETY: the trampoline calls its argument, with the others in place.
            let address = unsafe {
                let through = std::mem::transmute::<*mut u8, Through>(code.as_ptr());
                through(
                    0,
                    7,
                    0,
                    0,
                    &raw mut seen,
                    5,
                    0.0,
                    0.0,
                    0.0,
                    80.0,
                    first_return_address,
                )
            };
            assert_eq!(seen, 7085);
            let start = code.addr().get();
            assert!((start..start + TRAMPOLINE.len()).contains(&(address - 1)));
        }
    }
}
