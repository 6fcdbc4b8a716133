//! `--invoke`: words to arguments by the function's type, results to lines.
//!
//! Invariant: an integer may be written signed or unsigned, in decimal or after `0x`, a vector as the unsigned integer of
//! its 128 bits, the first lane in the lowest; results print so that they can be given back as arguments.

use std::ffi::OsString;
use std::fmt::Write;

use tiered::Val;
use tiered::decode::printable::Line;
use tiered::decode::types::{FuncType, ValType};

use crate::failure::Failure;

/// The arguments that `words` stand for.
///
/// # Errors
/// There are too many or too few of them, or one is not a value of its parameter's type.
pub(crate) fn parse_args(
    name: &str,
    ty: &FuncType,
    words: &[OsString],
) -> Result<Vec<Val>, Failure> {
    let culprit = format!("--invoke {name}");
    if words.len() != ty.params.len() {
        let counts = format!(
            "the function takes {} arguments, {} given; its type is {ty}",
            ty.params.len(),
            words.len()
        );
        return Err(Failure::usage(culprit, counts));
    }
    let pairs = ty.params.iter().zip(words).enumerate();
    pairs
        .map(|(at, (ty, word))| {
            let value = word.to_str().and_then(|word| parse(*ty, word));
            value.ok_or_else(|| {
                Failure::usage(
                    &culprit,
                    format!(
                        "argument {}: `{}` is not a valid {ty}",
                        at + 1,
                        Line(word.display())
                    ),
                )
            })
        })
        .collect()
}

fn parse(ty: ValType, word: &str) -> Option<Val> {
    match ty {
        ValType::I32 => {
            let n = integer(word)?;
            let signed = i32::try_from(n).ok();
            signed
                .or_else(|| u32::try_from(n).ok().map(u32::cast_signed))
                .map(Val::I32)
        }
        ValType::I64 => {
            let n = integer(word)?;
            let signed = i64::try_from(n).ok();
            signed
                .or_else(|| u64::try_from(n).ok().map(u64::cast_signed))
                .map(Val::I64)
        }
        ValType::F32 => word.parse::<f32>().ok().map(|x| Val::F32(x.to_bits())),
        ValType::F64 => word.parse::<f64>().ok().map(|x| Val::F64(x.to_bits())),
        ValType::V128 => vector(word).map(Val::V128),
        ValType::Ref(_) if word == "null" => Val::default_for(ty),
        ValType::Ref(_) => None,
    }
}

/// A decimal or hexadecimal integer of 128 bits without a sign.
fn vector(word: &str) -> Option<u128> {
    let hex = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
    let digits = hex.unwrap_or(word);
    let starts_with_digit = digits.starts_with(|c: char| c.is_ascii_hexdigit());
    let radix = if hex.is_some() { 16 } else { 10 };
    let bits = u128::from_str_radix(digits, radix).ok();
    bits.filter(|_| starts_with_digit)
}

/// A decimal or hexadecimal integer, wide enough for either reading of 64 bits.
fn integer(word: &str) -> Option<i128> {
    let (sign, digits) = match word.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, word.strip_prefix('+').unwrap_or(word)),
    };
    let magnitude = match digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"))
    {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse::<u64>(),
    };
    let starts_with_digit = digits.starts_with(|c: char| c.is_ascii_digit());
    magnitude
        .ok()
        .filter(|_| starts_with_digit)
        .map(|n| sign * i128::from(n))
}

/// Results, one per line.
pub(crate) fn results_text(results: &[Val]) -> String {
    let mut text = String::new();
    for result in results {
        let _ = match result {
            Val::I32(n) => writeln!(text, "{n}"),
            Val::I64(n) => writeln!(text, "{n}"),
            Val::F32(bits) => writeln!(text, "{}", f32::from_bits(*bits)),
            Val::F64(bits) => writeln!(text, "{}", f64::from_bits(*bits)),
            Val::V128(bits) => writeln!(text, "{bits:#034x}"),
            Val::FuncRef(None) | Val::ExternRef(None) | Val::ExnRef(None) | Val::AnyRef(None) => {
                writeln!(text, "null")
            }
            Val::FuncRef(Some(_)) => writeln!(text, "funcref"),
            Val::ExternRef(Some(_)) => writeln!(text, "externref"),
            Val::ExnRef(Some(_)) => writeln!(text, "exnref"),
            Val::AnyRef(Some(_)) => writeln!(text, "anyref"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_signed_or_unsigned() {
        let i32_of = |word| parse(ValType::I32, word).and_then(|val| val.i32());
        assert_eq!(i32_of("-1"), Some(-1));
        assert_eq!(i32_of("4294967295"), Some(-1));
        assert_eq!(i32_of("0x80000000"), Some(i32::MIN));
        assert_eq!(i32_of("-0x80000000"), Some(i32::MIN));
        assert_eq!(i32_of("+7"), Some(7));
        for word in [
            "4294967296",
            "-2147483649",
            "",
            "-",
            "--1",
            "+-1",
            "0x",
            "0x-1",
            "1.0",
            "x",
        ] {
            assert_eq!(i32_of(word), None, "{word}");
        }
        let i64_of = |word| parse(ValType::I64, word).and_then(|val| val.i64());
        assert_eq!(i64_of("18446744073709551615"), Some(-1));
        assert_eq!(i64_of("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(i64_of("18446744073709551616"), None);
        assert_eq!(i64_of("-9223372036854775809"), None);
    }

    #[test]
    fn vectors_are_unsigned_integers() {
        let read = |word| parse(ValType::V128, word).and_then(|val| val.v128());
        assert_eq!(read("0"), Some(0));
        assert_eq!(read("18446744073709551616"), Some(1 << 64));
        assert_eq!(read("0xff"), Some(255));
        let most = format!("{:#x}", u128::MAX);
        assert_eq!(read(&most), Some(u128::MAX));
        for word in ["", "-1", "+1", "0x", "0x+1", "x", "ff", "1.0"] {
            assert_eq!(read(word), None, "{word}");
        }
        assert_eq!(read(&format!("{most}0")), None);
    }

    #[test]
    fn results_can_be_given_back() {
        let values = [
            Val::I32(-5),
            Val::I64(i64::MAX),
            Val::F32(0.1f32.to_bits()),
            Val::F64(f64::INFINITY.to_bits()),
            Val::V128(0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100),
        ];
        let text = results_text(&values);
        let vector = "0x0f0e0d0c0b0a09080706050403020100";
        assert_eq!(
            text,
            format!("-5\n9223372036854775807\n0.1\ninf\n{vector}\n")
        );
        let types = [
            ValType::I32,
            ValType::I64,
            ValType::F32,
            ValType::F64,
            ValType::V128,
        ];
        let read: Vec<_> = types
            .iter()
            .zip(text.lines())
            .filter_map(|(ty, line)| parse(*ty, line))
            .collect();
        assert_eq!(results_text(&read), text);
        assert_eq!(results_text(&[Val::FuncRef(None)]), "null\n");
    }
}
