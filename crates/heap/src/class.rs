//! Size classes: which sizes cells have.
//!
//! Up to 64 bytes there is a class for every multiple of 8; beyond, four for each doubling; beyond 2 KiB, the sizes that
//! divide a block best. So a cell is at most a quarter larger than what is in it, except for the largest.
//!
//! * *Invariant:* sizes ascend and are multiples of [`ALIGN`].

/// What addresses and sizes of cells are multiples of, in bytes.
pub const ALIGN: usize = 8;

/// Bytes of a block: all its cells have one size.
pub const BLOCK_BYTES: usize = 1 << BLOCK_SHIFT;

pub(crate) const BLOCK_SHIFT: u32 = 16;

/// The smallest cell: a header and a word.
pub(crate) const MIN_CELL: usize = 16;

/// The cell sizes in bytes.
const SIZES: [u32; CLASSES] = [
    16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768,
    896, 1024, 1280, 1536, 1792, 2048, 2720, 3272, 4096, 5456, 6552, 8192, 9360, 10920, 13104,
    16384, 21840, 32768,
];

/// How many classes there are.
pub const CLASSES: usize = 39;

/// The largest cell; what is larger takes blocks of its own.
pub const MAX_CELL: usize = SIZES[CLASSES - 1] as usize;

/// Up to this size the class is looked up.
const MAX_LISTED: usize = 1024;

/// The class of each size up to [`MAX_LISTED`], in words.
static LISTED: [u8; MAX_LISTED / ALIGN + 1] = {
    let mut listed = [0; MAX_LISTED / ALIGN + 1];
    let (mut words, mut class) = (0, 0);
    while words < listed.len() {
        if words * ALIGN > SIZES[class] as usize {
            class += 1;
        }
        listed[words] = class as u8;
        words += 1;
    }
    listed
};

/// A size class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct SizeClass(u8);

impl SizeClass {
    /// The class with the smallest cells that hold `bytes`; `None` if no class has such cells.
    #[inline]
    #[must_use]
    pub fn of(bytes: usize) -> Option<SizeClass> {
        if bytes <= MAX_LISTED {
            return Some(SizeClass(LISTED[bytes.div_ceil(ALIGN)]));
        }
        let class = SIZES.partition_point(|&size| (size as usize) < bytes);
        (class < CLASSES).then_some(SizeClass(class as u8))
    }

    /// The class with this number.
    #[inline]
    pub(crate) fn new(number: usize) -> SizeClass {
        debug_assert!(number < CLASSES);
        SizeClass(number as u8)
    }

    /// Its number, below [`CLASSES`].
    #[inline]
    #[must_use]
    pub const fn number(self) -> usize {
        self.0 as usize
    }

    /// Bytes of a cell.
    #[inline]
    #[must_use]
    pub const fn size(self) -> usize {
        SIZES[self.0 as usize] as usize
    }

    /// How many cells a block has.
    #[inline]
    #[must_use]
    pub(crate) const fn cells(self) -> usize {
        BLOCK_BYTES / self.size()
    }

    /// What an offset in a block is multiplied with to get, above the low 32 bits, the number of its cell. Right for all
    /// offsets, since `offset * (reciprocal * size - 2^32) < 2^16 * 2^15 < 2^32`.
    #[inline]
    pub(crate) const fn reciprocal(self) -> u32 {
        ((1u64 << 32).div_ceil(self.size() as u64)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = SizeClass> {
        (0..CLASSES).map(SizeClass::new)
    }

    #[test]
    fn the_smallest_cell_that_fits_is_taken() {
        for bytes in 0..=MAX_CELL {
            let class = SizeClass::of(bytes).expect("it fits");
            assert!(class.size() >= bytes, "{bytes}");
            assert!(
                class.number() == 0 || SizeClass::new(class.number() - 1).size() < bytes,
                "{bytes}"
            );
        }
        for bytes in [MAX_CELL + 1, 1 << 20, usize::MAX] {
            assert_eq!(SizeClass::of(bytes), None);
        }
    }

    #[test]
    fn little_of_a_cell_is_wasted() {
        for bytes in 64..=2048 {
            let size = SizeClass::of(bytes).expect("it fits").size();
            assert!((size - bytes) * 4 <= bytes, "{size} for {bytes}");
        }
        for class in all() {
            assert_eq!(class.size() % ALIGN, 0);
            let waste = BLOCK_BYTES - class.cells() * class.size();
            assert!(waste * 32 <= BLOCK_BYTES, "{waste} of a block at {class:?}");
        }
    }

    #[test]
    fn reciprocals_divide() {
        for class in all() {
            for offset in 0..BLOCK_BYTES {
                let cell = (offset as u64 * u64::from(class.reciprocal())) >> 32;
                assert_eq!(
                    cell as usize,
                    offset / class.size(),
                    "{offset} by {class:?}"
                );
            }
        }
    }
}
