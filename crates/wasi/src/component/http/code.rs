//! `error-code`: its cases as a table, their forms as arguments and results, and what errors of `tiered-http` are among them.

use std::fmt;

use tiered_component::Val;
use tiered_http::client::ClientError;
use tiered_http::http::StatusCode;
use tiered_http::{BodyError, HeadError};
use tiered_runtime::decode::printable::Quoted;

use crate::component::call::{Call, Outcome};
use crate::component::http::lift::{Lift, Text};
use crate::component::lower::{Lower, align_up};

/// A larger one of two constants.
const fn max(a: u32, b: u32) -> u32 {
    if a > b { a } else { b }
}

/// A row for each case: its name, its name here with what comes with it, and the status for a client that is answered with it,
/// as RFC 9209, section 2.3, recommends.
macro_rules! codes {
    ($($name:literal $case:ident $(($payload:ident: $ty:ty))? $status:literal;)*) => {
        /// `error-code`.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) enum ErrorCode { $($case $(($ty))?,)* }

        /// Their order.
        #[repr(u8)]
        enum Case { $($case,)* }

        impl ErrorCode {
            /// All names, in the order of the cases.
            pub(crate) const NAMES: &[&str] = &[$($name,)*];

            /// The statuses for clients that get an error instead of a response, in the order of the cases.
            const STATUSES: &[u16] = &[$($status,)*];

            /// The name.
            pub(crate) fn name(&self) -> &'static str {
                match self { $(Self::$case { .. } => $name,)* }
            }

            /// The status for a client that gets an error instead of a response.
            pub(crate) fn status(&self) -> StatusCode {
                let status = match self { $(Self::$case { .. } => $status,)* };
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }

            /// Where what comes with a case lies.
            const PAYLOAD: u32 = align_up(1, Self::ALIGN);

            const PAYLOAD_FLAT: usize = {
                let mut flat = 0;
                $($(if <$ty as Lift>::FLAT > flat { flat = <$ty as Lift>::FLAT; })?)*
                flat
            };
        }

        impl Lower for ErrorCode {
            const SIZE: u32 = {
                let mut size = 0;
                $($(size = max(size, <$ty as Lower>::SIZE);)?)*
                align_up(Self::PAYLOAD + size, Self::ALIGN)
            };
            const ALIGN: u32 = {
                let mut align = 1;
                $($(align = max(align, <$ty as Lower>::ALIGN);)?)*
                align
            };

            fn store(self, call: &mut Call<'_>, at: u32) -> Outcome<()> {
                match self {
                    $(Self::$case $(($payload))? => {
                        (Case::$case as u8).store(call, at)?;
                        $($payload.store(call, at + Self::PAYLOAD)?;)?
                    })*
                }
                Ok(())
            }
        }

        impl Lift for ErrorCode {
            const FLAT: usize = 1 + Self::PAYLOAD_FLAT;

            fn lift(call: &mut Call<'_>) -> Outcome<Self> {
                let case = call.case(Self::NAMES.len() as u32)?;
                let begin = call.read_args();
                let code = match case {
                    $(case if case == Case::$case as u32 => {
                        Self::$case $((<$ty as Lift>::lift(call)?))?
                    })*
                    // There is no other case.
                    _ => Self::InternalError(None),
                };
                call.skip(Self::PAYLOAD_FLAT - (call.read_args() - begin));
                Ok(code)
            }
        }
    };
}

codes! {
    "DNS-timeout" DnsTimeout 504;
    "DNS-error" DnsError(payload: DnsError) 502;
    "destination-not-found" DestinationNotFound 500;
    "destination-unavailable" DestinationUnavailable 503;
    "destination-IP-prohibited" DestinationIpProhibited 502;
    "destination-IP-unroutable" DestinationIpUnroutable 502;
    "connection-refused" ConnectionRefused 502;
    "connection-terminated" ConnectionTerminated 502;
    "connection-timeout" ConnectionTimeout 504;
    "connection-read-timeout" ConnectionReadTimeout 504;
    "connection-write-timeout" ConnectionWriteTimeout 504;
    "connection-limit-reached" ConnectionLimitReached 503;
    "TLS-protocol-error" TlsProtocolError 502;
    "TLS-certificate-error" TlsCertificateError 502;
    "TLS-alert-received" TlsAlertReceived(payload: TlsAlert) 502;
    "HTTP-request-denied" HttpRequestDenied 403;
    "HTTP-request-length-required" HttpRequestLengthRequired 411;
    "HTTP-request-body-size" HttpRequestBodySize(payload: Option<u64>) 413;
    "HTTP-request-method-invalid" HttpRequestMethodInvalid 501;
    "HTTP-request-URI-invalid" HttpRequestUriInvalid 400;
    "HTTP-request-URI-too-long" HttpRequestUriTooLong 414;
    "HTTP-request-header-section-size" HttpRequestHeaderSectionSize(payload: Option<u32>) 431;
    "HTTP-request-header-size" HttpRequestHeaderSize(payload: Option<FieldSize>) 431;
    "HTTP-request-trailer-section-size" HttpRequestTrailerSectionSize(payload: Option<u32>) 431;
    "HTTP-request-trailer-size" HttpRequestTrailerSize(payload: FieldSize) 431;
    "HTTP-response-incomplete" HttpResponseIncomplete 502;
    "HTTP-response-header-section-size" HttpResponseHeaderSectionSize(payload: Option<u32>) 502;
    "HTTP-response-header-size" HttpResponseHeaderSize(payload: FieldSize) 502;
    "HTTP-response-body-size" HttpResponseBodySize(payload: Option<u64>) 502;
    "HTTP-response-trailer-section-size" HttpResponseTrailerSectionSize(payload: Option<u32>) 502;
    "HTTP-response-trailer-size" HttpResponseTrailerSize(payload: FieldSize) 502;
    "HTTP-response-transfer-coding" HttpResponseTransferCoding(payload: Option<Text>) 502;
    "HTTP-response-content-coding" HttpResponseContentCoding(payload: Option<Text>) 502;
    "HTTP-response-timeout" HttpResponseTimeout 504;
    "HTTP-upgrade-failed" HttpUpgradeFailed 502;
    "HTTP-protocol-error" HttpProtocolError 502;
    "loop-detected" LoopDetected 502;
    "configuration-error" ConfigurationError 500;
    "internal-error" InternalError(payload: Option<Text>) 500;
}

/// A record of an error: its fields in their order.
macro_rules! payloads {
    ($($(#[$meta:meta])* $name:ident { $first:ident: $first_ty:ty, $second:ident: $second_ty:ty })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) struct $name {
            pub(crate) $first: $first_ty,
            pub(crate) $second: $second_ty,
        }

        impl Lower for $name {
            const SIZE: u32 = <($first_ty, $second_ty)>::SIZE;
            const ALIGN: u32 = <($first_ty, $second_ty)>::ALIGN;

            fn store(self, call: &mut Call<'_>, at: u32) -> Outcome<()> {
                (self.$first, self.$second).store(call, at)
            }
        }

        impl Lift for $name {
            const FLAT: usize = <$first_ty as Lift>::FLAT + <$second_ty as Lift>::FLAT;

            fn lift(call: &mut Call<'_>) -> Outcome<Self> {
                Ok(Self {
                    $first: Lift::lift(call)?,
                    $second: Lift::lift(call)?,
                })
            }
        }
    )*};
}

payloads! {
    /// `DNS-error-payload`
    DnsError { rcode: Option<Text>, info_code: Option<u16> }
    /// `TLS-alert-received-payload`
    TlsAlert { alert_id: Option<u8>, alert_message: Option<Text> }
    /// `field-size-payload`
    FieldSize { field_name: Option<Text>, field_size: Option<u32> }
}

impl fmt::Display for ErrorCode {
    /// The name, and what a guest or a server has said with it, escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::InternalError(Some(Text(text))) => write!(f, " ({})", Quoted(text)),
            Self::HttpRequestBodySize(Some(size)) | Self::HttpResponseBodySize(Some(size)) => {
                write!(f, " ({size})")
            }
            Self::HttpRequestHeaderSectionSize(Some(size))
            | Self::HttpRequestTrailerSectionSize(Some(size))
            | Self::HttpResponseHeaderSectionSize(Some(size))
            | Self::HttpResponseTrailerSectionSize(Some(size)) => write!(f, " ({size})"),
            _ => Ok(()),
        }
    }
}

/// The most bytes of an error that are shown.
const MAX_SHOWN: usize = 1024;

/// What an error is that a component has returned as a value, escaped, and the status for a client that gets it.
pub(crate) fn described(code: &Val) -> (String, StatusCode) {
    let Val::Variant(name, payload) = code else {
        return ("unknown".into(), StatusCode::INTERNAL_SERVER_ERROR);
    };
    let name: &str = name;
    let case = ErrorCode::NAMES.iter().position(|known| *known == name);
    let status = case.and_then(|case| StatusCode::from_u16(ErrorCode::STATUSES[case]).ok());
    let mut text = name.to_owned();
    if let Some(payload) = payload.as_deref()
        && !matches!(payload, Val::Option(None))
    {
        let mut shown = payload.to_string();
        shown.truncate(shown.floor_char_boundary(MAX_SHOWN));
        text = format!("{name} ({shown})");
    }
    (text, status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
}

/// Whose message a body is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Request,
    Response,
}

impl Message {
    /// That a body has another length than it should.
    pub(crate) fn body_size(self, size: u64) -> ErrorCode {
        match self {
            Self::Request => ErrorCode::HttpRequestBodySize(Some(size)),
            Self::Response => ErrorCode::HttpResponseBodySize(Some(size)),
        }
    }

    /// That its trailers are larger than they may be.
    pub(crate) fn trailers_too_large(self) -> ErrorCode {
        match self {
            Self::Request => ErrorCode::HttpRequestTrailerSectionSize(None),
            Self::Response => ErrorCode::HttpResponseTrailerSectionSize(None),
        }
    }

    /// Why a body that is read ends before its end.
    pub(crate) fn read_error(self, error: &BodyError) -> ErrorCode {
        match (error, self) {
            (BodyError::Stalled(_), _) => ErrorCode::ConnectionReadTimeout,
            (BodyError::TooLarge { limit }, _) => self.body_size(*limit),
            (BodyError::TrailersTooLarge, _) => self.trailers_too_large(),
            (BodyError::TooLong { declared } | BodyError::TooShort { declared }, _) => {
                self.body_size(*declared)
            }
            (BodyError::Aborted | BodyError::Connection(_), Self::Response) => {
                ErrorCode::HttpResponseIncomplete
            }
            (BodyError::Aborted | BodyError::Connection(_), Self::Request)
            | (BodyError::Closed | BodyError::Cancelled, _) => ErrorCode::ConnectionTerminated,
            (other, _) => internal(other),
        }
    }

    /// Why a body that is written is not taken.
    pub(crate) fn write_error(self, error: &BodyError) -> ErrorCode {
        match error {
            BodyError::Stalled(_) => ErrorCode::ConnectionWriteTimeout,
            BodyError::TooLong { declared } | BodyError::TooShort { declared } => {
                self.body_size(*declared)
            }
            BodyError::TooLarge { limit } => self.body_size(*limit),
            BodyError::Closed | BodyError::Cancelled | BodyError::Connection(_) => {
                ErrorCode::ConnectionTerminated
            }
            other => internal(other),
        }
    }
}

/// What has no case of its own.
pub(crate) fn internal(error: &dyn fmt::Display) -> ErrorCode {
    ErrorCode::InternalError(Some(Text(error.to_string())))
}

impl From<&ClientError> for ErrorCode {
    fn from(error: &ClientError) -> Self {
        match error {
            ClientError::Scheme | ClientError::Protocol(_) => Self::HttpProtocolError,
            ClientError::Authority => Self::HttpRequestUriInvalid,
            ClientError::Method => Self::HttpRequestMethodInvalid,
            ClientError::Head(HeadError::TooLarge) => Self::HttpRequestHeaderSectionSize(None),
            ClientError::Head(HeadError::ContentLength) => Self::HttpRequestBodySize(None),
            ClientError::Head(_) => Self::HttpProtocolError,
            ClientError::NameRefused(_) => Self::HttpRequestDenied,
            ClientError::AddressRefused(_) => Self::DestinationIpProhibited,
            ClientError::TooManyRequests => Self::ConnectionLimitReached,
            ClientError::Lookup(_) => Self::DnsError(DnsError {
                rcode: None,
                info_code: None,
            }),
            ClientError::ConnectTimeout(_) => Self::ConnectionTimeout,
            ClientError::ConnectionRefused => Self::ConnectionRefused,
            ClientError::Unroutable(_) => Self::DestinationIpUnroutable,
            ClientError::Connect(_) => Self::DestinationUnavailable,
            ClientError::TlsCertificate(_) => Self::TlsCertificateError,
            ClientError::Tls(_) => Self::TlsProtocolError,
            ClientError::FirstByteTimeout(_) => Self::ConnectionReadTimeout,
            ClientError::HeadTooLarge => Self::HttpResponseHeaderSectionSize(None),
            ClientError::Incomplete(_) => Self::HttpResponseIncomplete,
            ClientError::Body(error) => Message::Request.write_error(error),
            other => internal(other),
        }
    }
}
