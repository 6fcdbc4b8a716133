//! Indices that stay within bounds even where a processor runs ahead on the wrong side of a check (Spectre, variant 1).
//!
//! A check is a branch, and a processor that mistakes its outcome goes on with an index that is not within bounds. What it
//! reads then is never seen, but leaves traces in caches that another read can measure. So the index that is used
//! depends on the comparison by arithmetic, which is not predicted.
//!
//! What needs no such thing: an access to a memory with addresses of 32 bits whose offset is below the guard
//! ([`GUARD_BYTES`](crate::GUARD_BYTES)). It comes to inaccessible pages, also in advance.

/// All ones if `index` is less than `length`, else 0, by arithmetic of which the compiler knows nothing: not that somebody
/// has compared the two.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
fn mask(index: u64, length: u64) -> u64 {
    let mask: u64;
    // SAFETY: a comparison, and what it borrowed.
    unsafe {
        std::arch::asm!(
            "cmp {index}, {length}",
            "sbb {mask}, {mask}",
            index = in(reg) index,
            length = in(reg) length,
            mask = lateout(reg) mask,
            options(pure, nomem, nostack),
        );
    }
    mask
}

/// As above, for other processors.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
#[inline(always)]
fn mask(index: u64, length: u64) -> u64 {
    let index = forgotten(index);
    // What a subtraction borrows from behind the highest bit.
    let borrow = (!index & length) | (!(index ^ length) & index.wrapping_sub(length));
    (borrow.cast_signed() >> 63).cast_unsigned()
}

/// `index`, of which the compiler knows nothing from here on.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
#[inline(always)]
fn forgotten(index: u64) -> u64 {
    #[cfg(not(miri))]
    {
        let mut index = index;
        // SAFETY: no instruction at all.
        unsafe {
            std::arch::asm!("/* {} */", inout(reg) index, options(pure, nomem, nostack, preserves_flags));
        }
        index
    }
    #[cfg(miri)]
    index
}

/// `index` if it is less than `length`, else 0.
#[inline(always)]
#[must_use]
pub fn masked(index: u64, length: u64) -> u64 {
    index & mask(index, length)
}

/// `index` if it is less than `last`, else `last`.
#[inline(always)]
#[must_use]
pub fn clamped(index: u64, last: u64) -> u64 {
    last ^ ((index ^ last) & mask(index, last))
}

/// The `count` elements from `start` on, if they are all there; in advance, none but those that are.
pub(crate) fn within<T>(all: &[T], start: u64, count: u64) -> Option<&[T]> {
    let length = all.len() as u64;
    start.checked_add(count).filter(|&end| end <= length)?;
    let start = masked(start, length + 1);
    let count = masked(count, length - start + 1);
    all.get(start as usize..)?.get(..count as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_within_stays_and_what_is_not_becomes_the_limit() {
        let most = (1 << 63) - 1;
        let numbers = [
            0,
            1,
            2,
            7,
            8,
            9,
            1 << 31,
            u64::from(u32::MAX),
            1 << 32,
            most - 1,
            most,
            most + 1,
            u64::MAX - 1,
            u64::MAX,
        ];
        for index in numbers {
            for limit in numbers {
                let is_within = index < limit;
                assert_eq!(masked(index, limit), if is_within { index } else { 0 });
                assert_eq!(clamped(index, limit), if is_within { index } else { limit });
            }
        }
    }

    #[test]
    fn stretches_are_those_of_slices() {
        let all = [1, 2, 3];
        for start in [0, 1, 2, 3, 4, u64::MAX] {
            for count in [0, 1, 2, 3, 4, u64::MAX] {
                let range = start as usize..start.wrapping_add(count) as usize;
                let expected = start.checked_add(count).and_then(|_| all.get(range));
                assert_eq!(within(&all, start, count), expected, "{count} from {start}");
            }
        }
    }
}
