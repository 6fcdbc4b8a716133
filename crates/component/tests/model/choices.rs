//! A string of bytes as a sequence of choices.

/// What is left of the bytes. Behind their end they begin again, each changed, so that a short input describes large values
/// too.
pub(crate) struct Choices<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Choices<'_> {
    pub(crate) fn new(bytes: &[u8]) -> Choices<'_> {
        Choices { bytes, at: 0 }
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some(length) = self.bytes.len().checked_sub(1).map(|last| last + 1) else {
            return 0;
        };
        let round = (self.at / length) as u8;
        let byte = self.bytes[self.at % length];
        self.at += 1;
        byte.wrapping_add(round.wrapping_mul(151))
    }

    /// A number below `limit`, or 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        match limit {
            0 | 1 => 0,
            2..=256 => usize::from(self.byte()) % limit,
            _ => (usize::from(self.byte()) << 8 | usize::from(self.byte())) % limit,
        }
    }

    /// A number of 64 bits, often one at a border.
    pub(crate) fn number(&mut self) -> u64 {
        match self.byte() % 8 {
            0 => u64::from(self.byte()),
            1 => u64::MAX - u64::from(self.byte()),
            2 => 1 << (self.byte() % 64),
            3 => (1 << (self.byte() % 64)) - 1,
            _ => (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte())),
        }
    }

    /// A byte of a memory that nobody wrote: mostly small, so that addresses and lengths often are within it.
    pub(crate) fn wild(&mut self) -> u8 {
        match self.byte() {
            byte @ ..100 => byte % 4,
            100..200 => 0,
            byte => byte.wrapping_mul(37),
        }
    }
}
