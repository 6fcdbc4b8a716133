//! Strings in the three encodings. The host's are UTF-8.

use super::cursor::Place;
use super::error::{AbiError, AbiErrorKind};
use super::lift::{LiftContext, aligned};
use super::lower::LowerContext;
use super::{MAX_STRING_BYTES, StringEncoding};
use crate::types::AddressType;

/// The bit of a length that says that a `latin1+utf16` string is UTF-16.
const fn utf16_tag(address: AddressType) -> u64 {
    match address {
        AddressType::I32 => 1 << 31,
        AddressType::I64 => 1 << 63,
    }
}

impl LiftContext<'_> {
    /// The string at a place.
    pub(super) fn string_at(&mut self, place: Place) -> Result<String, AbiError> {
        let begin = self.word(place)?;
        let length = self.word(place.after_address(self.address()))?;
        let tag = utf16_tag(self.address());
        match self.options.encoding {
            StringEncoding::Utf8 => self.utf8(begin, length),
            StringEncoding::Utf16 => self.utf16(begin, length),
            StringEncoding::Latin1OrUtf16 if length & tag != 0 => self.utf16(begin, length ^ tag),
            StringEncoding::Latin1OrUtf16 => self.latin1(begin, length),
        }
    }

    /// The bytes of a string.
    fn string_bytes(&self, begin: u64, bytes: u64, align: u32) -> Result<&[u8], AbiError> {
        if bytes > MAX_STRING_BYTES {
            return Err(AbiErrorKind::LongString(bytes).into());
        }
        aligned(begin, align)?;
        self.range(begin, bytes)
    }

    /// An empty string with room for this many bytes, which the budget has paid for.
    fn string_of(&mut self, bytes: usize) -> Result<String, AbiError> {
        self.charge(bytes as u64, 1)?;
        let mut string = String::new();
        string
            .try_reserve_exact(bytes)
            .map_err(|_| AbiErrorKind::Budget)?;
        Ok(string)
    }

    fn utf8(&mut self, begin: u64, length: u64) -> Result<String, AbiError> {
        self.string_bytes(begin, length, 1)?;
        let mut string = self.string_of(length as usize)?;
        let text = std::str::from_utf8(self.string_bytes(begin, length, 1)?);
        string.push_str(text.map_err(|error| AbiErrorKind::Utf8(error.valid_up_to()))?);
        Ok(string)
    }

    fn utf16(&mut self, begin: u64, length: u64) -> Result<String, AbiError> {
        let bytes = length.saturating_mul(2);
        let mut utf8_length = 0;
        let mut at = 0;
        for char in chars(self.string_bytes(begin, bytes, 2)?) {
            let char = char.map_err(|_| AbiErrorKind::Utf16(at))?;
            utf8_length += char.len_utf8();
            at += char.len_utf16();
        }
        let mut string = self.string_of(utf8_length)?;
        string.extend(chars(self.string_bytes(begin, bytes, 2)?).flatten());
        Ok(string)
    }

    fn latin1(&mut self, begin: u64, length: u64) -> Result<String, AbiError> {
        let bytes = self.string_bytes(begin, length, 2)?;
        let wide = bytes.iter().filter(|byte| !byte.is_ascii()).count();
        let mut string = self.string_of(bytes.len() + wide)?;
        let bytes = self.string_bytes(begin, length, 2)?;
        string.extend(bytes.iter().map(|&byte| char::from(byte)));
        Ok(string)
    }
}

/// The characters of UTF-16.
fn chars(bytes: &[u8]) -> impl Iterator<Item = Result<char, std::char::DecodeUtf16Error>> {
    let units = bytes.as_chunks().0.iter();
    char::decode_utf16(units.map(|&unit| u16::from_le_bytes(unit)))
}

impl LowerContext<'_> {
    /// A string at a place.
    pub(super) fn put_string_at(&mut self, place: Place, value: &str) -> Result<(), AbiError> {
        if value.len() as u64 > MAX_STRING_BYTES {
            return Err(AbiErrorKind::LongString(value.len() as u64).into());
        }
        let pair = match self.options.encoding {
            StringEncoding::Utf8 => self.put_utf8(value)?,
            StringEncoding::Utf16 => self.put_utf16(value)?,
            StringEncoding::Latin1OrUtf16 => self.put_latin1_or_utf16(value)?,
        };
        self.put_pair(place, pair)
    }

    fn put_utf8(&mut self, value: &str) -> Result<(u64, u64), AbiError> {
        let length = value.len() as u64;
        let begin = self.realloc(0, 0, 1, length)?;
        self.range(begin, length)?.copy_from_slice(value.as_bytes());
        Ok((begin, length))
    }

    /// As many code units as there are bytes is enough for any UTF-8; what is left of it is given back.
    fn put_utf16(&mut self, value: &str) -> Result<(u64, u64), AbiError> {
        let most = value.len() as u64 * 2;
        let begin = self.realloc(0, 0, 2, most)?;
        self.write_utf16(begin, most, value)
    }

    /// Writes UTF-16 into an allocation of `most` bytes, and shrinks it to what is used: its new place, and the number of
    /// code units.
    fn write_utf16(&mut self, begin: u64, most: u64, value: &str) -> Result<(u64, u64), AbiError> {
        let room = self.range(begin, most)?;
        let mut units = 0;
        for (unit, to) in value.encode_utf16().zip(room.as_chunks_mut().0) {
            *to = unit.to_le_bytes();
            units += 1;
        }
        let begin = match units * 2 < most {
            true => self.realloc(begin, most, 2, units * 2)?,
            false => begin,
        };
        Ok((begin, units))
    }

    /// Latin-1 as long as the characters are, in an allocation as large as the UTF-8; at the first that is not, the
    /// allocation grows for UTF-16.
    fn put_latin1_or_utf16(&mut self, value: &str) -> Result<(u64, u64), AbiError> {
        let size = value.len() as u64;
        let begin = self.realloc(0, 0, 2, size)?;
        let room = self.range(begin, size)?;
        let mut length = 0;
        for (char, to) in value.chars().zip(room) {
            let Ok(byte) = u8::try_from(char) else {
                let begin = self.realloc(begin, size, 2, size * 2)?;
                let (begin, units) = self.write_utf16(begin, size * 2, value)?;
                return Ok((begin, units | utf16_tag(self.address())));
            };
            *to = byte;
            length += 1;
        }
        let begin = match length < size {
            true => self.realloc(begin, size, 2, length)?,
            false => begin,
        };
        Ok((begin, length))
    }
}
