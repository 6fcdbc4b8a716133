//! Tests of the pool of stacks.
//!
//! *Invariant:* each test has a size of stack that is nobody else's, so that it knows which stack it gets.

use super::*;

/// Bytes of a stack, by the test.
fn size(test: usize) -> usize {
    (32 << 20) + test * (8 << 20)
}

fn stack(bytes: usize) -> ValueStack {
    ValueStack::new(bytes).expect("there is a stack")
}

/// The bytes of a stack from `from` on.
fn bytes(stack: &mut ValueStack, from: usize) -> &mut [u8] {
    let length = stack.pool.piece_bytes() - from;
    // SAFETY: the stack has that many bytes, and it is borrowed.
    unsafe { std::slice::from_raw_parts_mut(stack.base.cast::<u8>().add(from).as_ptr(), length) }
}

#[test]
fn limits_are_where_they_were_asked_for() {
    let mut large = stack(size(0));
    let slots = |stack: &mut ValueStack, at: NonNull<Slot>| {
        (at.addr().get() - stack.base().addr().get()) / 8
    };
    let (limit, first) = (large.limit(), large.first_limit());
    assert_eq!(slots(&mut large, limit), size(0) / 8);
    assert_eq!(slots(&mut large, first), 512);
    assert!(large.pool.piece_bytes() >= size(0) + RED_ZONE_SLOTS * 8);
    let mut small = stack(1000);
    let (limit, first) = (small.limit(), small.first_limit());
    assert_eq!(slots(&mut small, limit), 125);
    assert_eq!(slots(&mut small, first), 125);
}

#[test]
fn a_shallow_stack_comes_back_zero() {
    let mut first = stack(size(1));
    let base = first.base();
    bytes(&mut first, 0)[..SHALLOW_BYTES].fill(0xa5);
    drop(first);
    let mut second = stack(size(1));
    assert_eq!(second.base(), base, "it is reused");
    assert!(
        bytes(&mut second, 0)[..1 << 20]
            .iter()
            .all(|&byte| byte == 0)
    );
}

#[test]
fn a_deep_stack_comes_back_zero() {
    let mut first = stack(size(2));
    let base = first.base();
    first.set_deep();
    bytes(&mut first, 0)[..1 << 20].fill(0xa5);
    let end = first.pool.piece_bytes() - 4096;
    bytes(&mut first, end).fill(0xa5);
    drop(first);
    let mut second = stack(size(2));
    assert_eq!(second.base(), base, "it is reused");
    assert!(
        bytes(&mut second, 0)[..2 << 20]
            .iter()
            .all(|&byte| byte == 0)
    );
    assert!(bytes(&mut second, end).iter().all(|&byte| byte == 0));
}

#[test]
fn stacks_beyond_what_is_kept_come_back_zero_too() {
    for _ in 0..2 {
        let mut stacks: Vec<ValueStack> = (0..2 * KEPT).map(|_| stack(size(3))).collect();
        for (index, stack) in stacks.iter_mut().enumerate() {
            assert!(
                bytes(stack, 0)[..SHALLOW_BYTES]
                    .iter()
                    .all(|&byte| byte == 0)
            );
            bytes(stack, 0)[..SHALLOW_BYTES].fill(index as u8 | 1);
        }
    }
}

#[test]
fn impossible_sizes_are_refused() {
    for bytes in [usize::MAX, usize::MAX / 2, 1 << 62] {
        let error = ValueStack::new(bytes).expect_err("there is not so much");
        assert!(matches!(error, LimitError::Host { .. }), "{error}");
    }
}
