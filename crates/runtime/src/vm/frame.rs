//! Slot layout of an activation: params, header, other locals, operand stack, in that order, in slots of 64 bits.
//!
//! ```text
//! fp ─▶ [ param 0 … param p-1 | return pc | caller's fp | instance | local p … local n-1 | operand 0 | … ]
//! ```
//!
//! * *Invariant:* a vector has two slots one behind the other, any other value one. What counts slots adds up the widths
//!   of types ([`ValType::slots`]); the length of a list of values says nothing about them.
//! * *Invariant:* nothing writes a vector by halves: a processor can't give a load of 16 bytes what two stores of 8 have
//!   just written, and waits.
//! * *Invariant:* a slot holds the value's bits, 32-bit values zero-extended, references as addresses (null is 0).
//!   Nothing converts a slot, so nothing can convert it wrongly.
//! * *Invariant:* the header stands right behind the params, so a caller finds it from the callee's type alone.
//! * *Invariant:* results come back from slot 0 on, which is where the caller has the operand they replace.
//! * *Invariant:* at a loop header every live local and operand is in its own slot. Entering a loop elsewhere
//!   (on-stack replacement) is therefore a call whose arguments are the whole frame.
//! * *Invariant:* a frame of up to [`NEAR_SLOTS`] is addressable as soon as its start is checked against
//!   [`StoreCtx::stack_limit`](crate::vm::vmctx::StoreCtx). A function with a larger one asks for it itself
//!   ([`StoreCtx::has_room_at`](crate::vm::vmctx::StoreCtx::has_room_at)); none is larger than [`MAX_FRAME_SLOTS`].
//! * *Invariant:* no local and no operand is in one of the slots [`SPARE`], or on both sides of them.
//! * *Invariant:* a tail call leaves the callee's frame where the caller's was, with the caller's return pc and frame
//!   pointer in its header. Who follows headers does it by [`beyond_adaptor`].
//!
//! Written by the interpreter's translator and its call handlers; read by back traces and by compiled code.
//!
//! # Why there are spare slots
//! The operands of an instruction name slots with 16 bits. All locals are within reach, for a function has 50,000 at
//! most, but a body may push operands beyond. The few instructions that take these work on copies in the spare slots,
//! the last ones within reach, where an operand could only be if the stack is that deep: so they cost nobody anything.

use std::cell::Cell;

use tiered_decode::types::{self, ValType};

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

/// Slots of an *adaptor*, which a tail call may put in front of the callee's frame: the return pc and the caller's frame
/// pointer that its own header had, the caller's instance, and the number of result slots. The callee's header then leads
/// to the adaptor, and says so by [`IS_ADAPTOR`]; the code at its return pc undoes all this.
pub const ADAPTOR_SLOTS: usize = 4;

/// The bit of the caller's frame pointer in a header that says that it leads to an adaptor.
pub const IS_ADAPTOR: Slot = 1;

/// The return pc and the caller's frame that a header says, or those of its adaptor if the header leads to one. The frame
/// is null if the host is the caller.
///
/// # Safety
/// They are those of the header of a frame.
#[inline]
#[must_use]
pub unsafe fn beyond_adaptor(pc: usize, fp: *const Slot) -> (usize, *const Slot) {
    if fp.addr() as Slot & IS_ADAPTOR == 0 {
        return (pc, fp);
    }
    let adaptor = fp.map_addr(|fp| fp & !(IS_ADAPTOR as usize));
    // SAFETY: that bit says that it is the address of an adaptor, which no other adaptor is behind.
    unsafe {
        let (pc, fp) = (adaptor.read(), adaptor.add(1).read());
        (pc as usize, std::ptr::with_exposed_provenance(fp as usize))
    }
}

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
/// than a thousand parameters or results, of two slots at most.
const CALL_SLOTS: u32 = 2048;

/// Where everything of one function's activation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameLayout {
    /// Slots of the parameters.
    params: u32,
    /// Slots of all locals, the parameters among them.
    locals: u32,
    /// The slot of each local, if there are vectors among them: else the index tells.
    places: Box<[u32]>,
}

impl FrameLayout {
    /// The layout for `params` parameters and `locals` locals, the parameters among them, all of one slot.
    ///
    /// # Panics
    /// If `locals < params`.
    #[must_use]
    pub fn new(params: u32, locals: u32) -> FrameLayout {
        assert!(locals >= params, "parameters are locals");
        FrameLayout {
            params,
            locals,
            places: Box::default(),
        }
    }

    /// The layout for locals of these types, of which the first `params` are parameters.
    ///
    /// # Panics
    /// If there are fewer locals than parameters.
    #[must_use]
    pub fn of(params: usize, locals: &[ValType]) -> FrameLayout {
        let width = types::slots(locals);
        if width as usize == locals.len() {
            return FrameLayout::new(params as u32, width);
        }
        let mut next = 0;
        let places = locals.iter().enumerate().map(|(index, ty)| {
            if index == params {
                next += HEADER_SLOTS;
            }
            let place = next;
            next += ty.slots();
            place
        });
        FrameLayout {
            places: places.collect(),
            params: types::slots(&locals[..params]),
            locals: width,
        }
    }

    /// The slot of local `index`, the first of its two if it is a vector.
    #[must_use]
    #[inline]
    pub fn local(&self, index: u32) -> u32 {
        if !self.places.is_empty() {
            return self.places[index as usize];
        }
        if index < self.params {
            index
        } else {
            index + HEADER_SLOTS
        }
    }

    /// Where the operands begin: the slot of the lowest one.
    #[must_use]
    #[inline]
    pub fn operands(&self) -> u32 {
        FrameLayout::place(self.locals + HEADER_SLOTS, 1)
    }

    /// The slot of an operand of `width` slots if the one below it, or the last local, ends in front of slot `behind`.
    #[must_use]
    #[inline]
    pub fn place(behind: u32, width: u32) -> u32 {
        if behind + width <= SPARE.start || behind >= SPARE.end {
            behind
        } else {
            SPARE.end
        }
    }

    /// The slot of the operand that has operands of `height` slots below it, none of them a vector.
    #[must_use]
    #[inline]
    pub fn operand(&self, height: u32) -> u32 {
        let slot = self.locals + HEADER_SLOTS + height;
        if slot < SPARE.start {
            slot
        } else {
            slot + SPARE.len() as u32
        }
    }

    /// Whether operands that end in front of slot `end` are all in slots that instructions can name.
    #[must_use]
    #[inline]
    pub fn is_near(end: u32) -> bool {
        end <= SPARE.start
    }

    /// The slots of a frame whose operands end in front of slot `end`, and of what its calls lay out; `None` if it is too
    /// large for a function to run in any tier.
    #[must_use]
    #[inline]
    pub fn slots(&self, end: u32) -> Option<u32> {
        let slots = FrameLayout::place(end, 1) + CALL_SLOTS;
        (self.locals + HEADER_SLOTS < SPARE.start && slots <= MAX_FRAME_SLOTS).then_some(slots)
    }

    /// The first slot of the header.
    #[must_use]
    #[inline]
    pub fn header(&self) -> u32 {
        self.params
    }

    /// The slots that a call must set to zero: the locals that are no parameters.
    #[must_use]
    pub fn zeroed(&self) -> std::ops::Range<u32> {
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
        fn vectors_have_two_slots(types in proptest::collection::vec(any::<bool>(), 0..40), params in 0usize..40) {
            let types: Vec<ValType> = types.into_iter().map(|wide| if wide { ValType::V128 } else { ValType::F32 }).collect();
            let params = params.min(types.len());
            let layout = FrameLayout::of(params, &types);
            let mut slots: Vec<u32> = (0..).zip(&types).flat_map(|(i, ty)| layout.local(i)..layout.local(i) + ty.slots()).collect();
            prop_assert_eq!(layout.header(), types::slots(&types[..params]));
            let zeroed: Vec<u32> = layout.zeroed().collect();
            let others = types::slots(&types[params..]) as usize;
            prop_assert_eq!(&slots[slots.len() - others..], zeroed);
            slots.extend((0..HEADER_SLOTS).map(|i| layout.header() + i));
            slots.sort_unstable();
            let dense: Vec<u32> = (0..types::slots(&types) + HEADER_SLOTS).collect();
            prop_assert_eq!(layout.operands() as usize, dense.len());
            prop_assert_eq!(slots, dense);
        }

        #[test]
        fn operands_are_on_both_sides_of_the_spare_slots(locals in 0u32..50_000, more in 0u32..100) {
            let layout = FrameLayout::new(0, locals);
            let highest = SPARE.start - 1 - HEADER_SLOTS - locals;
            prop_assert_eq!(layout.operand(highest), SPARE.start - 1);
            prop_assert_eq!(layout.operand(highest + 1 + more), SPARE.end + more);
            let mut end = layout.operands();
            prop_assert_eq!(end, layout.operand(0));
            for height in 0..highest + 1 + more {
                prop_assert_eq!(FrameLayout::place(end, 1), layout.operand(height));
                end = layout.operand(height) + 1;
                prop_assert_eq!(FrameLayout::is_near(end), height <= highest);
            }
        }

        #[test]
        fn no_vector_is_on_both_sides_of_the_spare_slots(below in 0..2 * SPARE.end) {
            let slot = FrameLayout::place(below, 2);
            prop_assert!(slot >= below && (slot + 2 <= SPARE.start || slot >= SPARE.end));
            prop_assert!(slot == below || slot == SPARE.end);
        }

        #[test]
        fn a_frame_has_room_for_calls_or_is_too_large(locals in 0u32..50_000, height in 0..2 * MAX_FRAME_SLOTS) {
            let layout = FrameLayout::new(0, locals);
            let next = layout.operand(height);
            match layout.slots(next) {
                Some(slots) => prop_assert!(slots <= MAX_FRAME_SLOTS && next + 2003 < slots),
                None => prop_assert!(next + CALL_SLOTS > MAX_FRAME_SLOTS),
            }
        }

        #[test]
        fn locals_beyond_reach_are_too_many(count in 32_000usize..50_000) {
            let layout = FrameLayout::of(0, &vec![ValType::V128; count]);
            prop_assert_eq!(layout.slots(layout.operands()).is_some(), 2 * count + 3 < SPARE.start as usize);
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
