//! Headers and trailers: what may be among them, and how many.
//!
//! *Invariant:* no map of fields that a guest or a peer fills comes near the 32,768 entries at which
//! [`HeaderMap`] panics. What a peer sends is bounded by [`FieldLimits`] before a map is made of it; what
//! a guest makes goes through [`append`].

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// The most fields that [`FieldLimits::count`] can allow.
pub const MAX_COUNT: usize = 4096;

/// How large headers, or trailers, may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldLimits {
    /// The most bytes, as HTTP/2 counts them (RFC 9113, section 6.5.2): of each field the name, the value and 32 more.
    pub bytes: usize,
    /// The most fields. More than [`MAX_COUNT`] is taken as that.
    pub count: usize,
}

impl FieldLimits {
    /// The limits that hold: none is more than can be kept.
    pub(crate) fn clamped(self) -> FieldLimits {
        FieldLimits {
            bytes: self.bytes.min(MAX_COUNT * 1024),
            count: self.count.min(MAX_COUNT),
        }
    }

    /// Whether `fields` are within the limits.
    #[must_use]
    pub fn allow(&self, fields: &HeaderMap) -> bool {
        let limits = self.clamped();
        fields.len() <= limits.count && size(fields) <= limits.bytes
    }
}

/// What one field counts beside its name and value.
const OVERHEAD: usize = 32;

/// The bytes of `fields` as [`FieldLimits::bytes`] counts them.
#[must_use]
pub fn size(fields: &HeaderMap) -> usize {
    let sizes = fields.iter().map(|(name, value)| field_size(name, value));
    sizes.sum()
}

fn field_size(name: &HeaderName, value: &HeaderValue) -> usize {
    name.as_str().len() + value.len() + OVERHEAD
}

/// The fields would be larger than is allowed.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the fields would be larger than is allowed")]
pub struct TooLarge;

/// Adds a field behind those of the same name.
///
/// # Errors
/// It would exceed `limits`; `fields` stay as they are.
pub fn append(
    fields: &mut HeaderMap,
    name: HeaderName,
    value: HeaderValue,
    limits: &FieldLimits,
) -> Result<(), TooLarge> {
    let limits = limits.clamped();
    if fields.len() >= limits.count || size(fields) + field_size(&name, &value) > limits.bytes {
        return Err(TooLarge);
    }
    fields.try_append(name, value).map_err(|_| TooLarge)?;
    Ok(())
}

/// Whether a header says how the connection carries the message, and nothing about the message. The connection writes
/// them itself; a message that a handler sends may not have them, and one that it gets does not.
#[must_use]
pub fn is_of_connection(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONNECTION | header::TRANSFER_ENCODING | header::UPGRADE
    ) || matches!(
        name.as_str(),
        "keep-alive" | "proxy-connection" | "http2-settings"
    )
}

/// Removes what is the connection's.
pub(crate) fn strip(fields: &mut HeaderMap) {
    let names: Vec<_> = fields
        .keys()
        .filter(|name| is_of_connection(name))
        .cloned()
        .collect();
    for name in names {
        fields.remove(name);
    }
}

/// The length that `Content-Length` declares; `Err` if it is no number, or there are several.
pub(crate) fn content_length(fields: &HeaderMap) -> Result<Option<u64>, ()> {
    let mut values = fields.get_all(header::CONTENT_LENGTH).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().map_err(drop)?;
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || values.next().is_some() {
        return Err(());
    }
    text.parse().map(Some).map_err(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(index: usize) -> (HeaderName, HeaderValue) {
        let name = HeaderName::try_from(format!("x-{index}")).expect("a token");
        (name, HeaderValue::from_static("v"))
    }

    /// However large the limits are said to be, the map does not come to where it panics.
    #[test]
    fn fields_are_refused_long_before_the_map_is_full() {
        let limits = FieldLimits {
            bytes: usize::MAX,
            count: usize::MAX,
        };
        let mut fields = HeaderMap::new();
        let mut refused = 0;
        for index in 0..40_000 {
            let (name, value) = field(index);
            refused += usize::from(append(&mut fields, name, value, &limits).is_err());
            if fields.len() == MAX_COUNT && refused > 10 {
                break;
            }
        }
        assert_eq!(fields.len(), MAX_COUNT);
        assert!(limits.allow(&fields));
        let (name, value) = field(40_000);
        fields.append(name, value);
        assert!(!limits.allow(&fields));
    }

    #[test]
    fn bytes_are_counted_as_http2_does() {
        let limits = FieldLimits {
            bytes: 2 * (3 + 1 + 32),
            count: 100,
        };
        let mut fields = HeaderMap::new();
        for index in 0..2 {
            let (name, value) = field(index);
            append(&mut fields, name, value, &limits).expect("within the limits");
        }
        assert_eq!(size(&fields), 72);
        let (name, value) = field(2);
        assert_eq!(append(&mut fields, name, value, &limits), Err(TooLarge));
        assert_eq!(fields.len(), 2);
        assert!(limits.allow(&fields));
        let less = FieldLimits {
            bytes: 71,
            count: 100,
        };
        assert!(!less.allow(&fields));
        let fewer = FieldLimits {
            bytes: 72,
            count: 1,
        };
        assert!(!fewer.allow(&fields));
    }

    #[test]
    fn content_length_is_one_number() {
        let length = |values: &[&'static str]| {
            let mut fields = HeaderMap::new();
            for value in values {
                fields.append(header::CONTENT_LENGTH, HeaderValue::from_static(value));
            }
            content_length(&fields)
        };
        assert_eq!(length(&[]), Ok(None));
        assert_eq!(length(&["12"]), Ok(Some(12)));
        for wrong in [
            &["+1"][..],
            &["-1"],
            &[""],
            &["1 "],
            &["0x1"],
            &["1", "1"],
            &["1, 1"],
            &["99999999999999999999"],
        ] {
            assert_eq!(length(wrong), Err(()), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_of_the_connection_is_removed() {
        let mut fields = HeaderMap::new();
        for name in [
            "connection",
            "keep-alive",
            "te",
            "x-a",
            "upgrade",
            "transfer-encoding",
            "keep-alive",
        ] {
            fields.append(HeaderName::from_static(name), HeaderValue::from_static("x"));
        }
        strip(&mut fields);
        let left: Vec<_> = fields.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["te", "x-a"]);
    }
}
