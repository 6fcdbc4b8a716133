//! The head of a request: what comes before its body.

use tiered_http::http::{self, uri};

use crate::component::call::{Call, Outcome};
use crate::component::http::fields::{Budget, Charge, Frozen};
use crate::component::http::message::{self, Invalid, Method, Scheme};
use crate::component::lower::Success;
use crate::component::resources::InTable;

/// What a request says before its body.
#[derive(Debug)]
pub(crate) struct RequestHead {
    pub(crate) method: http::Method,
    pub(crate) scheme: Option<Scheme>,
    pub(crate) authority: Option<uri::Authority>,
    pub(crate) path: Option<uri::PathAndQuery>,
    pub(crate) headers: Frozen,
    /// For all parts but the headers, as far as the guest has set them.
    charge: Charge,
}

/// A resource that is a request.
pub(crate) trait HasHead: InTable + 'static {
    fn head(&mut self) -> &mut RequestHead;
}

impl RequestHead {
    /// A request to nobody yet.
    pub(crate) fn new(headers: Frozen, budget: &Budget) -> Self {
        Self {
            method: http::Method::GET,
            scheme: None,
            authority: None,
            path: None,
            headers,
            charge: Charge::new(budget),
        }
    }

    /// That of a request that has come in, and what is left of it. It has passed the host's own limits.
    pub(crate) fn received(
        request: tiered_http::Request,
        budget: &Budget,
    ) -> (Self, tiered_http::BodyReader) {
        let scheme = match request.scheme {
            scheme if scheme == uri::Scheme::HTTP => Scheme::Http,
            scheme if scheme == uri::Scheme::HTTPS => Scheme::Https,
            scheme => Scheme::Other(scheme.to_string()),
        };
        let head = Self {
            method: request.method,
            scheme: Some(scheme),
            authority: request.authority,
            path: Some(request.path),
            headers: Frozen::handed(request.headers, budget),
            charge: Charge::new(budget),
        };
        (head, request.body)
    }

    /// How many bytes its parts have.
    fn size(&self) -> usize {
        let scheme = match &self.scheme {
            Some(Scheme::Other(text)) => text.len(),
            _ => 0,
        };
        let authority = self
            .authority
            .as_ref()
            .map_or(0, |part| part.as_str().len());
        let path = self.path.as_ref().map_or(0, |part| part.as_str().len());
        self.method.as_str().len() + scheme + authority + path
    }
}

/// The head of the request that is the next argument.
pub(crate) fn head<'c, R: HasHead>(call: &'c mut Call<'_>) -> Outcome<&'c mut RequestHead> {
    let this = call.handle::<R>()?;
    let request: &mut R = call.ctx().resources.get(this)?;
    Ok(request.head())
}

/// Sets a part of a request, if it is valid.
fn set<R: HasHead, T>(
    call: &mut Call<'_>,
    read: impl FnOnce(&mut Call<'_>) -> Outcome<Result<T, Invalid>>,
    set: impl FnOnce(&mut RequestHead, T),
) -> Outcome<Success> {
    let this = call.handle::<R>()?;
    let value = read(call)?;
    let request: &mut R = call.ctx().resources.get(this)?;
    let head = request.head();
    let is_set = Success::of(value.map(|value| set(head, value)));
    head.charge.set(head.size())?;
    Ok(is_set)
}

pub(crate) fn method<R: HasHead>(call: &mut Call<'_>) -> Outcome<Method> {
    Ok(Method(head::<R>(call)?.method.clone()))
}

pub(crate) fn set_method<R: HasHead>(call: &mut Call<'_>) -> Outcome<Success> {
    set::<R, _>(call, message::method, |head, method| head.method = method.0)
}

pub(crate) fn path_with_query<R: HasHead>(call: &mut Call<'_>) -> Outcome<Option<String>> {
    let path = head::<R>(call)?.path.as_ref();
    Ok(path.map(|path| path.as_str().to_owned()))
}

pub(crate) fn set_path_with_query<R: HasHead>(call: &mut Call<'_>) -> Outcome<Success> {
    set::<R, _>(call, message::path, |head, path| head.path = path)
}

pub(crate) fn scheme<R: HasHead>(call: &mut Call<'_>) -> Outcome<Option<Scheme>> {
    Ok(head::<R>(call)?.scheme.clone())
}

pub(crate) fn set_scheme<R: HasHead>(call: &mut Call<'_>) -> Outcome<Success> {
    set::<R, _>(call, message::scheme, |head, scheme| head.scheme = scheme)
}

pub(crate) fn authority<R: HasHead>(call: &mut Call<'_>) -> Outcome<Option<String>> {
    let authority = head::<R>(call)?.authority.as_ref();
    Ok(authority.map(|authority| authority.as_str().to_owned()))
}

pub(crate) fn set_authority<R: HasHead>(call: &mut Call<'_>) -> Outcome<Success> {
    set::<R, _>(call, message::authority, |head, authority| {
        head.authority = authority;
    })
}
