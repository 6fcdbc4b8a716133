//! Slot layout of an activation: params, header, other locals, operand stack, in that order, one 64-bit slot each.
//!
//! ```text
//! fp ─▶ [ param 0 … param p-1 | return pc | caller's fp | instance | local p … local n-1 | operand 0 | … ]
//! ```
//!
//! * *Invariant:* a slot holds the value's bits, 32-bit values zero-extended, references as addresses (null is 0).
//!   Nothing converts a slot, so nothing can convert it wrongly.
//! * *Invariant:* the header stands right behind the params, so a caller finds it from the callee's type alone.
//! * *Invariant:* results come back from slot 0 on, which is where the caller has the operand they replace.
//! * *Invariant:* at a loop header every live local and operand is in its own slot. Entering a loop elsewhere
//!   (on-stack replacement) is therefore a call whose arguments are the whole frame.
//! * *Invariant:* a frame of up to [`NEAR_SLOTS`] is addressable as soon as its start is checked against
//!   [`StoreCtx::stack_limit`](crate::vm::vmctx::StoreCtx). A function with a larger one asks for it itself
//!   ([`StoreCtx::has_room_at`](crate::vm::vmctx::StoreCtx::has_room_at)); none is larger than [`MAX_FRAME_SLOTS`].
//! * *Invariant:* no local and no operand is in one of the slots [`SPARE`].
//!
//! Written by the interpreter's translator and its call handlers; read by back traces and by compiled code.
//!
//! # Why there are spare slots
//! The operands of an instruction name slots with 16 bits. All locals are within reach, for a function has 50,000 at
//! most, but a body may push operands beyond. The few instructions that take these work on copies in the spare slots,
//! the last ones within reach, where an operand could only be if the stack is that deep: so they cost nobody anything.

use std::cell::Cell;

/// One 64-bit cell of a frame.
pub type Slot = u64;

/// Slots between the params and the other locals: the return pc, the caller's frame pointer, the instance.
pub const HEADER_SLOTS: u32 = 3;

/// The slot of the header that has the address of the function's own instance. Instances are aligned so that low bits
/// are free: they count the samples that found this activation in a loop ([`MAX_STAY`]), from zero at each call.
pub const HEADER_INSTANCE: usize = 2;

/// The most samples of one activation that are counted.
pub const MAX_STAY: u32 = 63;

const _: () = assert!((MAX_STAY + 1) as usize <= crate::vm::layout::ALIGN);

/// Counts a sample of the activation whose header has this word at [`HEADER_INSTANCE`]; how many there were by now, this
/// one included.
pub fn count_stay(instance: &Cell<Slot>) -> u32 {
    let word = instance.get();
    let before = word & u64::from(MAX_STAY);
    let now = (before + 1).min(u64::from(MAX_STAY));
    instance.set(word & !u64::from(MAX_STAY) | now);
    now as u32
}

/// The slots that an instruction can name: operands of instructions are 16 bits wide.
pub const NEAR_SLOTS: u32 = 1 << 16;

/// The slots that are no operand's.
pub const SPARE: std::ops::Range<u32> = NEAR_SLOTS - 16..NEAR_SLOTS;

/// The largest frame, in slots: 8 MiB, half of the default stack.
pub const MAX_FRAME_SLOTS: u32 = 1 << 20;

/// Slots behind the highest operand that a call may write its callee's arguments and header to. A function has no more
/// than a thousand parameters or results.
const CALL_SLOTS: u32 = 2048;

/// Where everything of one function's activation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLayout {
    params: u32,
    locals: u32,
}

impl FrameLayout {
    /// The layout for `params` parameters and `locals` locals, the parameters among them.
    ///
    /// # Panics
    /// If `locals < params`.
    #[must_use]
    pub fn new(params: u32, locals: u32) -> FrameLayout {
        assert!(locals >= params, "parameters are locals");
        FrameLayout { params, locals }
    }

    /// The slot of local `index`.
    #[must_use]
    #[inline]
    pub fn local(self, index: u32) -> u32 {
        if index < self.params {
            index
        } else {
            index + HEADER_SLOTS
        }
    }

    /// The slot of the operand that has `height` operands below it.
    #[must_use]
    #[inline]
    pub fn operand(self, height: u32) -> u32 {
        let slot = self.locals + HEADER_SLOTS + height;
        if slot < SPARE.start {
            slot
        } else {
            slot + SPARE.len() as u32
        }
    }

    /// Whether all operands of a stack of `height` are in slots that instructions can name.
    #[must_use]
    #[inline]
    pub fn is_near(self, height: u32) -> bool {
        self.operand(height) < SPARE.start
    }

    /// The slots of a frame with up to `height` operands, and of what its calls lay out; `None` if it is too large.
    #[must_use]
    #[inline]
    pub fn slots(self, height: u32) -> Option<u32> {
        let slots = self.operand(height) + CALL_SLOTS;
        (self.locals + HEADER_SLOTS < SPARE.start && slots <= MAX_FRAME_SLOTS).then_some(slots)
    }

    /// The first slot of the header.
    #[must_use]
    #[inline]
    pub fn header(self) -> u32 {
        self.params
    }

    /// The slots that a call must set to zero: the locals that are no parameters.
    #[must_use]
    pub fn zeroed(self) -> std::ops::Range<u32> {
        self.params + HEADER_SLOTS..self.locals + HEADER_SLOTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn slots_are_disjoint_and_dense(params in 0u32..40, more in 0u32..40, operands in 0u32..40) {
            let layout = FrameLayout::new(params, params + more);
            let mut slots: Vec<u32> = (0..params + more).map(|i| layout.local(i)).collect();
            slots.extend((0..HEADER_SLOTS).map(|i| layout.header() + i));
            slots.extend((0..operands).map(|h| layout.operand(h)));
            slots.sort_unstable();
            let dense: Vec<u32> = (0..params + more + HEADER_SLOTS + operands).collect();
            prop_assert_eq!(slots, dense);
        }

        #[test]
        fn operands_are_on_both_sides_of_the_spare_slots(locals in 0u32..50_000, more in 0u32..100) {
            let layout = FrameLayout::new(0, locals);
            let highest = SPARE.start - 1 - HEADER_SLOTS - locals;
            prop_assert_eq!(layout.operand(highest), SPARE.start - 1);
            prop_assert!(layout.is_near(highest) && !layout.is_near(highest + 1));
            prop_assert_eq!(layout.operand(highest + 1 + more), SPARE.end + more);
        }

        #[test]
        fn a_frame_has_room_for_calls_or_is_too_large(locals in 0u32..50_000, height in 0..2 * MAX_FRAME_SLOTS) {
            let layout = FrameLayout::new(0, locals);
            match layout.slots(height) {
                Some(slots) => prop_assert!(slots <= MAX_FRAME_SLOTS && layout.operand(height) + 1003 < slots),
                None => prop_assert!(layout.operand(height) + CALL_SLOTS > MAX_FRAME_SLOTS),
            }
        }

        #[test]
        fn exactly_the_other_locals_are_zeroed(params in 0u32..40, more in 0u32..40) {
            let layout = FrameLayout::new(params, params + more);
            let zeroed: Vec<u32> = layout.zeroed().collect();
            let others: Vec<u32> = (params..params + more).map(|i| layout.local(i)).collect();
            prop_assert_eq!(zeroed, others);
        }
    }
}
