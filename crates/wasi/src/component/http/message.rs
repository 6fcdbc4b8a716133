//! What messages consist of beside their fields: methods, schemes, and the parts of a URI; and a request's head, which has
//! them together.
//!
//! Invariant: a text of a guest's that is kept is valid for what it is, and no longer than [`MAX_LEN`].

use tiered_http::http;
use tiered_http::http::uri::{Authority, PathAndQuery};

use crate::component::call::{Call, Outcome};
use crate::component::lower::{Lower, align_up};

/// The most bytes of a method, a scheme, an authority, or a path with its query.
const MAX_LEN: usize = 64 << 10;

/// `method`, which is whatever is a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Method(pub(crate) http::Method);

/// The cases that have names.
pub(crate) const METHODS: [http::Method; 9] = [
    http::Method::GET,
    http::Method::HEAD,
    http::Method::POST,
    http::Method::PUT,
    http::Method::DELETE,
    http::Method::CONNECT,
    http::Method::OPTIONS,
    http::Method::TRACE,
    http::Method::PATCH,
];

/// `scheme`, as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
    Other(String),
}

/// The variants here have names, and at last one with a text.
fn store_variant(call: &mut Call<'_>, at: u32, case: u8, other: Option<String>) -> Outcome<()> {
    case.store(call, at)?;
    match other {
        Some(text) => text.store(call, at + align_up(1, String::ALIGN)),
        None => Ok(()),
    }
}

/// Reads a variant with `named` cases and at last one with a text: the case, and what the text is.
fn lift_variant(call: &mut Call<'_>, named: u32) -> Outcome<Result<u32, Vec<u8>>> {
    let case = call.case(named + 1)?;
    if case < named {
        call.skip(2);
        return Ok(Ok(case));
    }
    short_string(call).map(Err)
}

/// A string of the guest's, or as much of it as shows that it is too long.
fn short_string(call: &mut Call<'_>) -> Outcome<Vec<u8>> {
    let range = call.string()?;
    let text = &call.parts().bytes[range];
    Ok(text[..text.len().min(MAX_LEN + 1)].to_vec())
}

/// A variant that has a text in its last case.
macro_rules! variants {
    ($($ty:ty: |$value:ident| $parts:expr;)*) => {$(
        impl Lower for $ty {
            const SIZE: u32 = align_up(1, String::ALIGN) + String::SIZE;
            const ALIGN: u32 = String::ALIGN;

            fn store(self, call: &mut Call<'_>, at: u32) -> Outcome<()> {
                let $value = self;
                let (case, other): (u8, Option<String>) = $parts;
                store_variant(call, at, case, other)
            }
        }
    )*};
}

variants! {
    Method: |method| match (0..).zip(&METHODS).find(|(_, named)| **named == method.0) {
        Some((case, _)) => (case, None),
        None => (METHODS.len() as u8, Some(method.0.as_str().to_owned())),
    };
    Scheme: |scheme| match scheme {
        Scheme::Http => (0, None),
        Scheme::Https => (1, None),
        Scheme::Other(text) => (2, Some(text)),
    };
}

/// An argument that is not valid, which is the guest's to handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

/// The next argument: a method.
pub(crate) fn method(call: &mut Call<'_>) -> Outcome<Result<Method, Invalid>> {
    let method = match lift_variant(call, METHODS.len() as u32)? {
        Ok(case) => METHODS.get(case as usize).cloned(),
        Err(text) if text.len() > MAX_LEN => None,
        Err(text) => http::Method::from_bytes(&text).ok(),
    };
    Ok(method.map(Method).ok_or(Invalid))
}

/// The next argument, if it is there; it takes `flat` core values whether it is or not.
fn optional<T>(
    call: &mut Call<'_>,
    flat: usize,
    some: impl FnOnce(&mut Call<'_>) -> Outcome<Result<T, Invalid>>,
) -> Outcome<Result<Option<T>, Invalid>> {
    if call.case(2)? == 0 {
        call.skip(flat);
        return Ok(Ok(None));
    }
    Ok(some(call)?.map(Some))
}

/// The next argument: a scheme, or none.
pub(crate) fn scheme(call: &mut Call<'_>) -> Outcome<Result<Option<Scheme>, Invalid>> {
    optional(call, 3, |call| {
        Ok(match lift_variant(call, 2)? {
            Ok(0) => Ok(Scheme::Http),
            Ok(_) => Ok(Scheme::Https),
            Err(text) => match String::from_utf8(text) {
                Ok(text) if is_scheme(&text) => Ok(Scheme::Other(text)),
                _ => Err(Invalid),
            },
        })
    })
}

/// Whether a text can be a scheme (RFC 3986, section 3.1).
fn is_scheme(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.len() <= MAX_LEN
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(is_part)
}

/// The next argument: a path with its query, or none.
pub(crate) fn path(call: &mut Call<'_>) -> Outcome<Result<Option<PathAndQuery>, Invalid>> {
    optional(call, 2, |call| {
        let text = short_string(call)?;
        // An empty one means the root.
        let is_path = matches!(&*text, [] | b"*" | [b'/' | b'?', ..]);
        // A fragment would be cut off, and it has no place here.
        let is_whole = !text.contains(&b'#') && text.len() <= MAX_LEN;
        Ok(match is_path && is_whole {
            true => PathAndQuery::try_from(&*text).map_err(|_| Invalid),
            false => Err(Invalid),
        })
    })
}

/// The next argument: an authority, or none.
pub(crate) fn authority(call: &mut Call<'_>) -> Outcome<Result<Option<Authority>, Invalid>> {
    optional(call, 2, |call| {
        let text = short_string(call)?;
        let authority = Authority::try_from(&*text).map_err(|_| Invalid);
        Ok(authority.and_then(|authority| {
            match text.len() <= MAX_LEN && has_valid_port(&authority) {
                true => Ok(authority),
                false => Err(Invalid),
            }
        }))
    })
}

/// Whether what follows the host is a port, if anything does.
fn has_valid_port(authority: &Authority) -> bool {
    let text = authority.as_str();
    let after_user = text.rsplit_once('@').map_or(text, |(_, host)| host);
    match after_user.strip_prefix(authority.host()) {
        Some("") => true,
        Some(port) => port
            .strip_prefix(':')
            .is_some_and(|port| !port.is_empty() && port.parse::<u16>().is_ok()),
        None => false,
    }
}
