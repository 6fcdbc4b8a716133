//! The bytes that say which op it is.
//!
//! Called by the tables of ops, and by who writes function bodies.

/// The byte, or prefix byte and sub-opcode, of an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Opcode {
    prefix: Option<u8>,
    code: u32,
}

impl Opcode {
    /// An op of one byte.
    pub const fn plain(byte: u8) -> Opcode {
        Opcode {
            prefix: None,
            code: byte as u32,
        }
    }

    /// An op of a prefix byte and a sub-opcode.
    pub const fn prefixed(prefix: u8, code: u32) -> Opcode {
        Opcode {
            prefix: Some(prefix),
            code,
        }
    }

    /// The prefix byte, if there is one.
    pub const fn prefix(self) -> Option<u8> {
        self.prefix
    }

    /// The opcode byte, or the sub-opcode behind the prefix.
    pub const fn code(self) -> u32 {
        self.code
    }

    /// Appends the op as it stands in a function body: a sub-opcode as LEB128.
    pub fn encode(self, out: &mut Vec<u8>) {
        let Some(prefix) = self.prefix else {
            out.push(self.code as u8);
            return;
        };
        out.push(prefix);
        let mut rest = self.code;
        while rest >= 0x80 {
            out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }
}

/// The opcode that a row names: `0x6a`, or `0xfc/7` for sub-opcode 7 behind the prefix `0xfc`.
macro_rules! opcode {
    ($byte:literal) => {
        $crate::opcode::Opcode::plain($byte)
    };
    ($prefix:literal / $code:literal) => {
        $crate::opcode::Opcode::prefixed($prefix, $code)
    };
}

pub(crate) use opcode;

#[cfg(test)]
mod tests {
    use super::Opcode;

    #[test]
    fn a_sub_opcode_takes_as_many_bytes_as_it_needs() {
        for (opcode, bytes) in [
            (Opcode::plain(0xc4), &[0xc4][..]),
            (Opcode::prefixed(0xfc, 7), &[0xfc, 0x07]),
            (Opcode::prefixed(0xfd, 0x7f), &[0xfd, 0x7f]),
            (Opcode::prefixed(0xfd, 0x80), &[0xfd, 0x80, 0x01]),
            (Opcode::prefixed(0xfd, 0x113), &[0xfd, 0x93, 0x02]),
        ] {
            let mut out = Vec::new();
            opcode.encode(&mut out);
            assert_eq!(out, bytes);
        }
    }
}
