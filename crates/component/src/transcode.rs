//! Strings from one memory to another in another encoding: what the adapters between components call for.
//!
//! The adapters check lengths, alignment and bounds, allocate, and call again with more room where the result is longer than
//! was hoped for. What is wrong with a string itself is found here.
//!
//! *Invariant:* no length is taken on trust: what does not fit is a trap, and nothing outside of the two ranges is touched.

use tiered::Trap;

use crate::plan::Transcode;

/// Set in the length of a string that is UTF-16 where it could be Latin-1.
const UTF16_TAG: u64 = 1 << 31;

/// What a transcoder gives back: the first number, and for some of them the second.
pub(crate) type Done = (u64, u64);

/// The bytes of a code unit of the source, and those of one of the destination.
pub(crate) fn widths(op: Transcode) -> (u64, u64) {
    match op {
        Transcode::CopyUtf8 | Transcode::CopyLatin1 => (1, 1),
        Transcode::Latin1ToUtf8 | Transcode::Utf8ToLatin1 => (1, 1),
        Transcode::Latin1ToUtf16 | Transcode::Utf8ToUtf16 | Transcode::Utf8ToCompactUtf16 => (1, 2),
        Transcode::Utf16ToLatin1 | Transcode::Utf16ToUtf8 => (2, 1),
        Transcode::CopyUtf16
        | Transcode::Utf16ToCompactProbablyUtf16
        | Transcode::Utf16ToCompactUtf16 => (2, 2),
    }
}

/// What remains to be known of a call.
#[derive(Clone, Copy)]
pub(crate) struct Rest {
    /// Whether only what is one byte long is to be written.
    pub(crate) first_pass: bool,
    /// How many bytes of the destination are Latin-1 already.
    pub(crate) latin1: u64,
}

/// Transcodes `from` to `to`, which have whole code units.
pub(crate) fn transcode(
    op: Transcode,
    from: &[u8],
    to: &mut [u8],
    rest: Rest,
) -> Result<Done, Trap> {
    let latin1 = usize::try_from(rest.latin1).map_err(|_| no_room())?;
    match op {
        Transcode::CopyUtf8 => {
            utf8(from)?;
            copy(from, to)
        }
        Transcode::CopyLatin1 => copy(from, to),
        Transcode::CopyUtf16 => {
            chars(from).try_for_each(|char| char.map(drop))?;
            copy(from, to)
        }
        Transcode::Latin1ToUtf16 => {
            let all = encode_utf16(from.iter().map(|&byte| Ok(byte.into())), to)?;
            Ok((all, 0))
        }
        Transcode::Utf8ToUtf16 => Ok((encode_utf16(utf8(from)?.chars().map(Ok), to)?, 0)),
        Transcode::Latin1ToUtf8 => {
            let chars = from.iter().map(|&byte| Ok(char::from(byte)));
            encode_utf8(chars, |_| 1, to, rest.first_pass)
        }
        Transcode::Utf16ToUtf8 => encode_utf8(chars(from), char::len_utf16, to, rest.first_pass),
        Transcode::Utf8ToLatin1 => {
            let chars = utf8(from)?.chars().map(Ok);
            encode_latin1(chars, char::len_utf8, to)
        }
        Transcode::Utf16ToLatin1 => encode_latin1(chars(from), char::len_utf16, to),
        Transcode::Utf8ToCompactUtf16 => {
            let rest = inflate(to, latin1)?;
            let more = encode_utf16(utf8(from)?.chars().map(Ok), rest)?;
            Ok((latin1 as u64 + more, 0))
        }
        Transcode::Utf16ToCompactUtf16 => {
            let rest = inflate(to, latin1)?;
            Ok((latin1 as u64 + encode_utf16(chars(from), rest)?, 0))
        }
        Transcode::Utf16ToCompactProbablyUtf16 => probably_utf16(from, to),
    }
}

fn no_room() -> Trap {
    Trap::message("a string does not fit where it is to go")
}

fn utf8(bytes: &[u8]) -> Result<&str, Trap> {
    std::str::from_utf8(bytes).map_err(|_| Trap::message("invalid utf-8 in a string"))
}

/// The characters of UTF-16.
fn chars(bytes: &[u8]) -> impl Iterator<Item = Result<char, Trap>> {
    let units = bytes.chunks_exact(2);
    let units = units.map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
    let invalid = |_| Trap::message("invalid utf-16 in a string");
    char::decode_utf16(units).map(move |char| char.map_err(invalid))
}

fn copy(from: &[u8], to: &mut [u8]) -> Result<Done, Trap> {
    let to = to.get_mut(..from.len()).ok_or_else(no_room)?;
    to.copy_from_slice(from);
    Ok((0, 0))
}

/// Writes all characters as UTF-16; how many code units they are.
fn encode_utf16(
    chars: impl Iterator<Item = Result<char, Trap>>,
    to: &mut [u8],
) -> Result<u64, Trap> {
    let mut units = to.chunks_exact_mut(2);
    let (mut written, mut buffer) = (0, [0; 2]);
    for char in chars {
        for unit in char?.encode_utf16(&mut buffer) {
            let place = units.next().ok_or_else(no_room)?;
            place.copy_from_slice(&unit.to_le_bytes());
            written += 1;
        }
    }
    Ok(written)
}

/// Writes characters as UTF-8 as long as they fit, on the first pass as long as they are of one byte; how many code units were
/// read, each character being `length` of them, and bytes written.
fn encode_utf8(
    chars: impl Iterator<Item = Result<char, Trap>>,
    length: fn(char) -> usize,
    to: &mut [u8],
    first_pass: bool,
) -> Result<Done, Trap> {
    let (mut read, mut written) = (0, 0);
    for char in chars {
        let char = char?;
        let bytes = char.len_utf8();
        let Some(place) = to.get_mut(written..written + bytes) else {
            break;
        };
        if first_pass && bytes > 1 {
            break;
        }
        char.encode_utf8(place);
        (read, written) = (read + length(char), written + bytes);
    }
    Ok((read as u64, written as u64))
}

/// Writes characters as Latin-1 up to the first one that is none; how many code units were read, and bytes written.
fn encode_latin1(
    chars: impl Iterator<Item = Result<char, Trap>>,
    length: fn(char) -> usize,
    to: &mut [u8],
) -> Result<Done, Trap> {
    let (mut read, mut written) = (0, 0);
    for char in chars {
        let char = char?;
        let Ok(byte) = u8::try_from(u32::from(char)) else {
            break;
        };
        *to.get_mut(written).ok_or_else(no_room)? = byte;
        (read, written) = (read + length(char), written + 1);
    }
    Ok((read as u64, written as u64))
}

/// Makes UTF-16 of the first bytes, which are Latin-1, in place; what is behind it.
fn inflate(to: &mut [u8], latin1: usize) -> Result<&mut [u8], Trap> {
    let bytes = latin1.checked_mul(2).ok_or_else(no_room)?;
    let (inflated, rest) = to.split_at_mut_checked(bytes).ok_or_else(no_room)?;
    for index in (0..latin1).rev() {
        inflated[2 * index] = inflated[index];
        inflated[2 * index + 1] = 0;
    }
    Ok(rest)
}

/// Copies UTF-16, and makes Latin-1 of it if that can be; the length, with a tag if it is UTF-16.
fn probably_utf16(from: &[u8], to: &mut [u8]) -> Result<Done, Trap> {
    let mut is_latin1 = true;
    for char in chars(from) {
        is_latin1 &= u32::from(char?) <= 0xff;
    }
    let length = from.len() as u64 / 2;
    if !is_latin1 {
        copy(from, to)?;
        return Ok((length | UTF16_TAG, 0));
    }
    let to = to.get_mut(..from.len() / 2).ok_or_else(no_room)?;
    for (to, unit) in to.iter_mut().zip(from.chunks_exact(2)) {
        *to = unit[0];
    }
    Ok((length, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Rest = Rest {
        first_pass: false,
        latin1: 0,
    };

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    fn latin1(text: &str) -> Vec<u8> {
        text.chars().map(|char| char as u8).collect()
    }

    /// What is written into this many bytes, and what is given back.
    fn run(op: Transcode, from: &[u8], room: usize, rest: Rest) -> Option<(Vec<u8>, Done)> {
        let mut to = vec![0xee; room];
        let done = transcode(op, from, &mut to, rest).ok()?;
        Some((to, done))
    }

    #[test]
    fn whole_strings_are_transcoded() {
        let text = "aß\u{ff}";
        let (utf8, utf16, latin1) = (text.as_bytes(), utf16(text), latin1(text));
        for (op, from, to, done) in [
            (Transcode::CopyUtf8, utf8, utf8, (0, 0)),
            (Transcode::CopyUtf16, &utf16, &utf16, (0, 0)),
            (Transcode::CopyLatin1, &latin1, &latin1, (0, 0)),
            (Transcode::Latin1ToUtf16, &latin1, &utf16, (3, 0)),
            (Transcode::Latin1ToUtf8, &latin1, utf8, (3, 5)),
            (Transcode::Utf16ToUtf8, &utf16, utf8, (3, 5)),
            (Transcode::Utf8ToUtf16, utf8, &utf16, (3, 0)),
            (Transcode::Utf8ToLatin1, utf8, &latin1, (5, 3)),
            (Transcode::Utf16ToLatin1, &utf16, &latin1, (3, 3)),
            (
                Transcode::Utf16ToCompactProbablyUtf16,
                &utf16,
                &latin1,
                (3, 0),
            ),
        ] {
            let expected = Some((to.to_vec(), done));
            assert_eq!(run(op, from, to.len(), REST), expected, "{op:?}");
        }
    }

    #[test]
    fn what_is_not_latin1_goes_on_as_utf16() {
        let text = utf16("aß→𝄞");
        let tagged = Some((text.clone(), (5 | UTF16_TAG, 0)));
        let op = Transcode::Utf16ToCompactProbablyUtf16;
        assert_eq!(run(op, &text, text.len(), REST), tagged);

        let latin = run(Transcode::Utf8ToLatin1, "aß→𝄞".as_bytes(), 10, REST);
        let (bytes, done) = latin.expect("up to the arrow");
        assert_eq!((&bytes[..2], done), (&b"a\xdf"[..], (3, 2)));
        let rest = Rest { latin1: 2, ..REST };
        for (op, from) in [
            (Transcode::Utf8ToCompactUtf16, "→𝄞".as_bytes().to_vec()),
            (Transcode::Utf16ToCompactUtf16, utf16("→𝄞")),
        ] {
            let mut to = bytes.clone();
            let done = transcode(op, &from, &mut to, rest);
            assert_eq!(done.ok(), Some((5, 0)), "{op:?}");
            assert_eq!(to, text, "{op:?}");
        }
    }

    #[test]
    fn a_first_pass_ends_before_longer_characters() {
        let first = Rest {
            first_pass: true,
            ..REST
        };
        for (op, from) in [
            (Transcode::Utf16ToUtf8, utf16("abß")),
            (Transcode::Latin1ToUtf8, latin1("abß")),
        ] {
            let (bytes, done) = run(op, &from, 3, first).expect("two bytes");
            assert_eq!((&bytes[..2], done), (&b"ab"[..], (2, 2)), "{op:?}");
            let (_, done) = run(op, &from, 3, REST).expect("no room for the third");
            assert_eq!(done, (2, 2), "{op:?}");
        }
    }

    #[test]
    fn invalid_strings_are_traps() {
        let surrogate = [0, 0xd8, b'a', 0];
        for op in [
            Transcode::CopyUtf16,
            Transcode::Utf16ToUtf8,
            Transcode::Utf16ToLatin1,
            Transcode::Utf16ToCompactUtf16,
            Transcode::Utf16ToCompactProbablyUtf16,
        ] {
            assert_eq!(run(op, &surrogate, 100, REST), None, "{op:?}");
        }
        for op in [
            Transcode::CopyUtf8,
            Transcode::Utf8ToUtf16,
            Transcode::Utf8ToLatin1,
            Transcode::Utf8ToCompactUtf16,
        ] {
            assert_eq!(run(op, b"a\xff", 100, REST), None, "{op:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_a_trap() {
        let utf16 = utf16("abc");
        for (op, from, room) in [
            (Transcode::CopyUtf8, &b"abc"[..], 2),
            (Transcode::CopyLatin1, b"abc", 2),
            (Transcode::CopyUtf16, &utf16, 5),
            (Transcode::Latin1ToUtf16, b"abc", 5),
            (Transcode::Utf8ToUtf16, b"abc", 5),
            (Transcode::Utf8ToLatin1, b"abc", 2),
            (Transcode::Utf16ToLatin1, &utf16, 2),
            (Transcode::Utf8ToCompactUtf16, b"abc", 4),
            (Transcode::Utf16ToCompactProbablyUtf16, &utf16, 2),
        ] {
            assert_eq!(run(op, from, room, REST), None, "{op:?}");
        }
        let latin1 = Rest {
            latin1: u64::MAX,
            ..REST
        };
        assert_eq!(run(Transcode::Utf16ToCompactUtf16, &utf16, 6, latin1), None);
    }
}
