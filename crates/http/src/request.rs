//! A request as a handler gets it, and what makes one be refused before.

use std::net::SocketAddr;

use http::header::{self, HeaderMap};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, StatusCode, Version};

use crate::body::BodyReader;
use crate::cancel::Cancel;
use crate::fields;
use crate::limits::Limits;

/// A request.
#[derive(Debug)]
#[non_exhaustive]
pub struct Request {
    /// A number that no other request of the server has, from 1 on; the access log has it too.
    pub id: u64,
    /// Address and port of the client.
    pub peer: SocketAddr,
    /// The method, of any name. `CONNECT` never comes here.
    pub method: Method,
    /// `http`, unless the client said something else.
    pub scheme: Scheme,
    /// The host and port that the client asks for: from the target, else from `Host`.
    pub authority: Option<Authority>,
    /// The path with the query; `*` for `OPTIONS *`.
    pub path: PathAndQuery,
    /// The version that the client speaks.
    pub version: Version,
    /// The headers, without those [of the connection](fields::is_of_connection).
    pub headers: HeaderMap,
    /// The body. What is not read stays with the client.
    pub body: BodyReader,
    /// Whether somebody still waits for the response.
    pub cancel: Cancel,
}

/// What a request is for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Option<Authority>,
    pub(crate) path: PathAndQuery,
    /// The length of the body that the client declares.
    pub(crate) length: Option<u64>,
}

/// Checks a request's head.
///
/// # Errors
/// The status to refuse it with.
pub(crate) fn target(head: &http::request::Parts, limits: &Limits) -> Result<Target, StatusCode> {
    if !limits.fields().allow(&head.headers) {
        return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    if head.method == Method::CONNECT {
        return Err(StatusCode::NOT_IMPLEMENTED);
    }
    let authority = authority(head)?;
    // A target of `*` has no path; any other without one means the root.
    let path = match head.uri.path_and_query() {
        Some(path) => path.clone(),
        None => PathAndQuery::from_static("/"),
    };
    if path.as_str() == "*" && head.method != Method::OPTIONS {
        return Err(StatusCode::BAD_REQUEST);
    }
    let length = fields::content_length(&head.headers).map_err(|()| StatusCode::BAD_REQUEST)?;
    if length.is_some_and(|length| length > limits.request_body) {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    Ok(Target {
        scheme: head.uri.scheme().cloned().unwrap_or(Scheme::HTTP),
        authority,
        path,
        length,
    })
}

/// The host that is asked for (RFC 9112, section 3.2; RFC 9113, section 8.3.1). With `HTTP/1.1` there is exactly one `Host`.
/// That of a target wins over it, but in HTTP/2, where both are the client's own, they have to be the same.
fn authority(head: &http::request::Parts) -> Result<Option<Authority>, StatusCode> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() || host.is_none() && head.version == Version::HTTP_11 {
        return Err(StatusCode::BAD_REQUEST);
    }
    // An empty `Host` is right for a target without an authority.
    let host = match host.filter(|host| !host.is_empty()) {
        Some(host) => Some(authority_of(host.as_bytes())?),
        None => None,
    };
    match (head.uri.authority(), host) {
        (Some(target), Some(host)) if head.version == Version::HTTP_2 && *target != host => {
            Err(StatusCode::BAD_REQUEST)
        }
        (Some(target), _) => authority_of(target.as_str().as_bytes()).map(Some),
        (None, host) => Ok(host),
    }
}

/// A host with or without a port; no user.
fn authority_of(text: &[u8]) -> Result<Authority, StatusCode> {
    let authority = Authority::try_from(text).ok();
    authority
        .filter(|authority| !authority.as_str().contains('@') && !authority.host().is_empty())
        .ok_or(StatusCode::BAD_REQUEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        version: Version,
        method: &str,
        uri: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Target, StatusCode> {
        let mut request = http::Request::builder()
            .version(version)
            .method(method)
            .uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        target(&head, &Limits::default())
    }

    #[test]
    fn a_request_says_its_host_once() {
        let v11 = |uri, headers: &[(&'static str, &str)]| {
            let target = check(Version::HTTP_11, "GET", uri, headers)?;
            let authority = target.authority.map(|authority| authority.to_string());
            Ok((authority.unwrap_or_default(), target.path.to_string()))
        };
        let bad = Err(StatusCode::BAD_REQUEST);
        let good = |host: &str, path: &str| Ok((host.to_string(), path.to_string()));
        assert_eq!(v11("/", &[]), bad);
        assert_eq!(v11("/", &[("host", "a"), ("host", "a")]), bad);
        assert_eq!(v11("/", &[("host", "a b")]), bad);
        assert_eq!(v11("/", &[("host", "user@a")]), bad);
        assert_eq!(v11("/", &[("host", ":80")]), bad);
        assert_eq!(v11("/x?y", &[("host", "a:8080")]), good("a:8080", "/x?y"));
        assert_eq!(v11("/", &[("host", "[::1]:80")]), good("[::1]:80", "/"));
        assert_eq!(v11("/", &[("host", "")]), good("", "/"));
        assert_eq!(v11("http://b/x", &[("host", "a")]), good("b", "/x"));
        assert_eq!(v11("http://user@b/x", &[("host", "a")]), bad);
        assert_eq!(
            check(Version::HTTP_10, "GET", "/", &[]).map(|target| target.authority),
            Ok(None)
        );
    }

    #[test]
    fn both_hosts_of_http2_are_the_same() {
        let v2 = |headers: &[(&'static str, &str)]| {
            check(Version::HTTP_2, "GET", "http://a/", headers).map(|_| ())
        };
        assert_eq!(v2(&[]), Ok(()));
        assert_eq!(v2(&[("host", "a")]), Ok(()));
        assert_eq!(v2(&[("host", "b")]), Err(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn what_cannot_be_answered_is_refused() {
        let v11 = |method, uri, name, value| {
            check(
                Version::HTTP_11,
                method,
                uri,
                &[("host", "a"), (name, value)],
            )
            .map(|_| ())
        };
        assert_eq!(
            v11("CONNECT", "a:80", "x", ""),
            Err(StatusCode::NOT_IMPLEMENTED)
        );
        assert_eq!(v11("OPTIONS", "*", "x", ""), Ok(()));
        assert_eq!(v11("GET", "*", "x", ""), Err(StatusCode::BAD_REQUEST));
        assert_eq!(
            v11("POST", "/", "content-length", "67108865"),
            Err(StatusCode::PAYLOAD_TOO_LARGE)
        );
        assert_eq!(v11("POST", "/", "content-length", "67108864"), Ok(()));
        assert_eq!(
            v11("GET", "/", "x", &"v".repeat(32 << 10)),
            Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
        );
    }
}
