//! Copies to and from bytes that other threads may read and write at the same time.
//!
//! To Rust, a plain access beside another thread's write is undefined, and so is a reference to such bytes. Here every
//! byte goes by a relaxed atomic access: of eight where both sides are aligned alike, else of one. An aligned access of
//! up to eight bytes, from or to a register, goes in one piece, as the memory model of the threads proposal has it.
//!
//! *Invariant:* nothing here keeps a reference to the bytes beyond one access.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

const WORD: usize = size_of::<u64>();

/// Accesses by one atomic type: whole numbers of bytes, little-endian.
macro_rules! pieces {
    ($($int:ident $atomic:ident $load:ident $store:ident;)*) => {$(
        #[inline(always)]
        unsafe fn $load(from: *const u8, to: &mut [u8]) {
            // SAFETY: the caller's promise: as many bytes are readable, and aligned; writes beside this are atomic.
            let value = unsafe { $atomic::from_ptr(from.cast_mut().cast()).load(Ordering::Relaxed) };
            to.copy_from_slice(&value.to_ne_bytes());
        }

        #[inline(always)]
        unsafe fn $store(to: *mut u8, from: &[u8]) {
            let mut bytes = [0; size_of::<$int>()];
            bytes.copy_from_slice(from);
            let value = $int::from_ne_bytes(bytes);
            // SAFETY: as above, of writable bytes.
            unsafe { $atomic::from_ptr(to.cast()).store(value, Ordering::Relaxed) };
        }
    )*};
}

pieces! {
    u8 AtomicU8 load1 store1;
    u16 AtomicU16 load2 store2;
    u32 AtomicU32 load4 store4;
    u64 AtomicU64 load8 store8;
}

/// Fills `to` with the bytes from `from` on.
///
/// # Safety
/// The bytes are readable, and whoever writes to them meanwhile is compiled code, or uses this file or atomic accesses.
#[inline(always)]
pub unsafe fn read(from: *const u8, to: &mut [u8]) {
    // SAFETY: the caller's promise; the alignment was looked at.
    unsafe {
        match to.len() {
            2 if from.addr().is_multiple_of(2) => load2(from, to),
            4 if from.addr().is_multiple_of(4) => load4(from, to),
            8 if from.addr().is_multiple_of(8) => load8(from, to),
            _ => read_many(from, to),
        }
    }
}

/// Copies `from` to the bytes from `to` on.
///
/// # Safety
/// As [`read`], of bytes that are writable.
#[inline(always)]
pub unsafe fn write(to: *mut u8, from: &[u8]) {
    // SAFETY: the caller's promise; the alignment was looked at.
    unsafe {
        match from.len() {
            2 if to.addr().is_multiple_of(2) => store2(to, from),
            4 if to.addr().is_multiple_of(4) => store4(to, from),
            8 if to.addr().is_multiple_of(8) => store8(to, from),
            _ => write_many(to, from),
        }
    }
}

unsafe fn read_many(from: *const u8, to: &mut [u8]) {
    let front = from.align_offset(WORD).min(to.len());
    let (front, rest) = to.split_at_mut(front);
    let (words, back) = rest.as_chunks_mut::<WORD>();
    let mut from = from;
    // SAFETY: the caller's promise; behind the bytes in front the address is aligned.
    unsafe {
        for byte in front.chunks_mut(1) {
            load1(from, byte);
            from = from.add(1);
        }
        for word in words {
            load8(from, word);
            from = from.add(WORD);
        }
        for byte in back.chunks_mut(1) {
            load1(from, byte);
            from = from.add(1);
        }
    }
}

unsafe fn write_many(to: *mut u8, from: &[u8]) {
    let front = to.align_offset(WORD).min(from.len());
    let (front, rest) = from.split_at(front);
    let (words, back) = rest.as_chunks::<WORD>();
    let mut to = to;
    // SAFETY: as above.
    unsafe {
        for byte in front.chunks(1) {
            store1(to, byte);
            to = to.add(1);
        }
        for word in words {
            store8(to, word);
            to = to.add(WORD);
        }
        for byte in back.chunks(1) {
            store1(to, byte);
            to = to.add(1);
        }
    }
}

/// Bytes that go through the stack at a time.
const PIECE: usize = 256;

/// Writes `value` to `count` bytes.
///
/// # Safety
/// As [`write`].
pub(crate) unsafe fn fill(to: *mut u8, value: u8, count: usize) {
    let bytes = [value; PIECE];
    let mut done = 0;
    while done < count {
        let piece = PIECE.min(count - done);
        // SAFETY: the caller's promise.
        unsafe { write_many(to.add(done), &bytes[..piece]) };
        done += piece;
    }
}

/// Copies `count` bytes; the ranges may overlap.
///
/// # Safety
/// As [`read`] and [`write`].
pub(crate) unsafe fn copy(from: *const u8, to: *mut u8, count: usize) {
    let backward = from.addr() < to.addr();
    let mut bytes = [0; PIECE];
    let mut done = 0;
    while done < count {
        let piece = PIECE.min(count - done);
        let at = if backward { count - done - piece } else { done };
        // SAFETY: the caller's promise. A piece is read as a whole before it is written, and none was written before
        // it is read.
        unsafe {
            read_many(from.add(at), &mut bytes[..piece]);
            write_many(to.add(at), &bytes[..piece]);
        }
        done += piece;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every alignment and every length around a word, and a piece.
    #[test]
    fn copies_are_exact() {
        let source: Vec<u8> = (0..600).map(|i| (i * 7) as u8).collect();
        for start in 0..9 {
            for length in (0..20).chain([255, 256, 257, 520]) {
                let mut read_back = vec![0; length];
                let mut target = vec![0xee; 600];
                let to = target.as_mut_ptr();
                // SAFETY: all within the vectors, which nobody else has.
                unsafe {
                    read(source.as_ptr().add(start), &mut read_back);
                    write(to.add(start + 1), &read_back);
                }
                assert_eq!(read_back, source[start..start + length]);
                assert_eq!(target[start + 1..][..length], source[start..start + length]);
                assert!(target[..=start].iter().all(|&byte| byte == 0xee));
                assert!(
                    target[start + 1 + length..]
                        .iter()
                        .all(|&byte| byte == 0xee)
                );
            }
        }
    }

    #[test]
    fn overlapping_ranges_and_fills() {
        for (from, to) in [(0, 1), (1, 0), (0, 300), (300, 0), (3, 11), (11, 3), (5, 5)] {
            let mut bytes: Vec<u8> = (0..1000).map(|i| (i * 13) as u8).collect();
            let mut expected = bytes.clone();
            expected.copy_within(from..from + 600, to);
            let start = bytes.as_mut_ptr();
            // SAFETY: all within the vector, which nobody else has.
            unsafe { copy(start.add(from), start.add(to), 600) };
            assert_eq!(bytes, expected);
            expected[to..to + 513].fill(9);
            let start = bytes.as_mut_ptr();
            // SAFETY: as above.
            unsafe { fill(start.add(to), 9, 513) };
            assert_eq!(bytes, expected);
        }
    }
}
