//! The rows against the interfaces' own definitions.

use crate::component::definitions::Definitions;
#[cfg(feature = "http")]
use crate::component::http::{code::ErrorCode, message::METHODS};
use crate::component::resources::Version;
use crate::p3::INTERFACES;
use crate::p3::codes::{DescriptorType, FileError, LookupError, SocketError, StreamError};
#[cfg(feature = "http")]
use crate::p3::codes::{HeaderError, RequestOptionsError};

/// The packages, each after those that it uses.
const PACKAGES: &[(&str, &str)] = &[
    ("clocks.wit", include_str!("../../../wit/p3/clocks.wit")),
    ("random.wit", include_str!("../../../wit/p3/random.wit")),
    (
        "filesystem.wit",
        include_str!("../../../wit/p3/filesystem.wit"),
    ),
    ("sockets.wit", include_str!("../../../wit/p3/sockets.wit")),
    ("cli.wit", include_str!("../../../wit/p3/cli.wit")),
    #[cfg(feature = "http")]
    ("http.wit", include_str!("../../../wit/p3/http.wit")),
];

/// How many functions there are: the three of `timezone`, and `run`, are not among them.
const COUNT: usize = if cfg!(feature = "http") { 89 + 37 } else { 89 };

/// What a program exports and no host has.
const EXPORTS: &[&str] = &["wasi:cli/run@0.3.2"];

pub(super) fn definitions() -> Definitions {
    Definitions::read(PACKAGES)
}

#[test]
fn every_function_has_its_row() {
    let count = definitions().assert_table(INTERFACES, EXPORTS);
    assert_eq!(count, COUNT);
}

#[test]
fn every_resource_type_is_known() {
    definitions().assert_resources(Version::P3);
}

#[test]
fn cases_of_variants_are_in_order() {
    let definitions = definitions();
    let filesystem = "wasi:filesystem/types@0.3.2";
    let sockets = "wasi:sockets/types@0.3.2";
    definitions.assert_cases(filesystem, "error-code", FileError::ALL);
    definitions.assert_cases(filesystem, "descriptor-type", DescriptorType::ALL);
    definitions.assert_cases(sockets, "error-code", SocketError::ALL);
    let lookup = "wasi:sockets/ip-name-lookup@0.3.2";
    definitions.assert_cases(lookup, "error-code", LookupError::ALL);
    definitions.assert_cases("wasi:cli/types@0.3.2", "error-code", StreamError::ALL);
}

#[cfg(feature = "http")]
#[test]
fn cases_of_http_are_in_order() {
    let definitions = definitions();
    let types = "wasi:http/types@0.3.2";
    definitions.assert_cases(types, "header-error", HeaderError::ALL);
    definitions.assert_cases(types, "request-options-error", RequestOptionsError::ALL);
    assert_eq!(
        definitions.variant_cases(types, "error-code"),
        ErrorCode::NAMES
    );
    let mut methods: Vec<_> = METHODS
        .iter()
        .map(|method| method.as_str().to_lowercase())
        .collect();
    methods.push("other".into());
    assert_eq!(definitions.variant_cases(types, "method"), methods);
    assert_eq!(
        definitions.variant_cases(types, "scheme"),
        ["HTTP", "HTTPS", "other"]
    );
}
