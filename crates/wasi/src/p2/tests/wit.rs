//! The rows against the interfaces' own definitions: none is missing or too many, and signatures and layouts are the same.

use std::collections::BTreeMap;

use tiered_runtime::decode::types::ValType;
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Function, Resolve, SizeAlign, Type, TypeDefKind, TypeOwner};

use crate::p2::link::signature;
use crate::p2::lower::ResultForm;
use crate::p2::resources::Kind;
use crate::p2::udp::OUTGOING;
use crate::p2::{INTERFACES, rows::Row};

/// The packages, each after those that it uses.
const PACKAGES: &[(&str, &str)] = &[
    ("io.wit", include_str!("../../../wit/io.wit")),
    ("clocks.wit", include_str!("../../../wit/clocks.wit")),
    ("random.wit", include_str!("../../../wit/random.wit")),
    (
        "filesystem.wit",
        include_str!("../../../wit/filesystem.wit"),
    ),
    ("sockets.wit", include_str!("../../../wit/sockets.wit")),
    ("cli.wit", include_str!("../../../wit/cli.wit")),
    #[cfg(feature = "http")]
    ("http.wit", include_str!("../../../wit/http.wit")),
];

/// What a program exports and no host has.
const EXPORTS: &[&str] = &[
    "wasi:cli/run@0.2.12",
    #[cfg(feature = "http")]
    "wasi:http/incoming-handler@0.2.12",
];

/// What is gated as unstable, and here all the same.
const FEATURES: &[&str] = &["informational-outbound-responses"];

/// How many functions there are by the definitions; the two of `timezone`, `network-error-code` and what programs export are
/// not among them.
const COUNT: usize = if cfg!(feature = "http") {
    123 + 53
} else {
    123
};

pub(super) fn definitions() -> (Resolve, SizeAlign) {
    let mut resolve = Resolve::default();
    resolve
        .features
        .extend(FEATURES.iter().map(|&name| name.to_owned()));
    for (name, text) in PACKAGES {
        resolve.push_str(name, text).unwrap();
    }
    let mut sizes = SizeAlign::default();
    sizes.fill(&resolve).unwrap();
    (resolve, sizes)
}

/// Interfaces by their names.
fn interfaces(resolve: &Resolve) -> BTreeMap<String, &wit_parser::Interface> {
    resolve
        .interfaces
        .iter()
        .filter_map(|(id, interface)| Some((resolve.id_of(id)?, interface)))
        .collect()
}

fn val_types(types: &[WasmType]) -> Vec<ValType> {
    types
        .iter()
        .map(|ty| match ty {
            WasmType::I64 | WasmType::PointerOrI64 => ValType::I64,
            WasmType::F32 => ValType::F32,
            WasmType::F64 => ValType::F64,
            WasmType::I32 | WasmType::Pointer | WasmType::Length => ValType::I32,
        })
        .collect()
}

fn assert_row(resolve: &Resolve, sizes: &SizeAlign, function: &Function, row: &Row) {
    let expected = resolve.wasm_signature(AbiVariant::GuestImport, function);
    let expected = (val_types(&expected.params), val_types(&expected.results));
    assert_eq!(signature(row), expected, "{}", row.name);
    if let (ResultForm::Stored { size, align }, Some(ty)) = (row.result, &function.result) {
        let expected = (
            sizes.size(ty).size_wasm32() as u32,
            sizes.align(ty).align_wasm32() as u32,
        );
        assert_eq!((size, align), expected, "{}", row.name);
    }
}

#[test]
fn every_function_has_its_row() {
    let (resolve, sizes) = definitions();
    let mut interfaces = interfaces(&resolve);
    EXPORTS.iter().for_each(|name| {
        interfaces.remove(*name);
    });
    let mut count = 0;
    for ours in INTERFACES {
        let theirs = interfaces.remove(ours.name).expect(ours.name);
        let mut functions = theirs.functions.clone();
        for row in ours.rows {
            let function = functions.shift_remove(row.name);
            let function = function.unwrap_or_else(|| panic!("{} {}", ours.name, row.name));
            assert_row(&resolve, &sizes, &function, row);
            count += 1;
        }
        let missing: Vec<_> = functions.keys().collect();
        assert!(missing.is_empty(), "{}: {missing:?}", ours.name);
    }
    let with_functions = interfaces
        .iter()
        .filter(|(_, interface)| !interface.functions.is_empty());
    let missing: Vec<_> = with_functions.map(|(name, _)| name).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(count, COUNT);
}

#[test]
fn every_resource_type_is_known() {
    let (resolve, _) = definitions();
    let mut expected: Vec<(String, String)> = resolve
        .types
        .iter()
        .filter(|(_, ty)| matches!(ty.kind, TypeDefKind::Resource))
        .map(|(_, ty)| {
            let TypeOwner::Interface(owner) = ty.owner else {
                panic!("a resource of no interface")
            };
            let name = ty.name.clone().expect("a resource has a name");
            (resolve.id_of(owner).expect("an interface has a name"), name)
        })
        .collect();
    let mut ours: Vec<_> = Kind::ALL
        .iter()
        .map(|kind| (kind.interface().to_owned(), kind.name().to_owned()))
        .collect();
    expected.sort();
    ours.sort();
    assert_eq!(ours, expected);
}

#[test]
fn what_lies_in_lists_has_its_layout() {
    let (resolve, sizes) = definitions();
    let sockets = interfaces(&resolve)["wasi:sockets/udp@0.2.12"];
    let outgoing = Type::Id(sockets.types["outgoing-datagram"]);
    let layout = (
        sizes.size(&outgoing).size_wasm32() as u32,
        sizes.align(&outgoing).align_wasm32() as u32,
    );
    assert_eq!(OUTGOING, layout);
}

/// The cases of an enum, in order.
fn cases(resolve: &Resolve, interface: &str, name: &str) -> Vec<String> {
    let id = interfaces(resolve)[interface].types[name];
    match &resolve.types[id].kind {
        TypeDefKind::Enum(cases) => cases.cases.iter().map(|case| case.name.clone()).collect(),
        other => panic!("{name} is {other:?}"),
    }
}

/// The cases of a variant, in order.
#[cfg(feature = "http")]
fn variant_cases(resolve: &Resolve, interface: &str, name: &str) -> Vec<String> {
    let id = interfaces(resolve)[interface].types[name];
    match &resolve.types[id].kind {
        TypeDefKind::Variant(cases) => cases.cases.iter().map(|case| case.name.clone()).collect(),
        other => panic!("{name} is {other:?}"),
    }
}

#[cfg(feature = "http")]
#[test]
fn cases_of_http_are_in_order() {
    use crate::p2::http::{METHODS, code::ErrorCode, fields::HeaderError};
    let (resolve, _) = definitions();
    let of = |name: &str| variant_cases(&resolve, "wasi:http/types@0.2.12", name);
    assert_eq!(of("error-code"), ErrorCode::NAMES);
    let errors = HeaderError::ALL
        .iter()
        .map(|error| kebab(&format!("{error:?}")));
    assert_eq!(of("header-error"), errors.collect::<Vec<_>>());
    let methods = METHODS
        .iter()
        .map(|method| method.as_str().to_ascii_lowercase());
    let methods: Vec<_> = methods.chain(["other".to_owned()]).collect();
    assert_eq!(of("method"), methods);
    assert_eq!(of("scheme"), ["HTTP", "HTTPS", "other"]);
}

/// A variant's name in Rust as the interface spells it.
fn kebab(name: &str) -> String {
    let mut spelled = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !spelled.is_empty() {
            spelled.push('-');
        }
        spelled.extend(letter.to_lowercase());
    }
    spelled
}

#[test]
fn cases_of_enums_are_in_order() {
    use crate::p2::filesystem::{DescriptorType, ErrorCode};
    use crate::p2::network::NetError;
    let (resolve, _) = definitions();
    let ours = |names: Vec<String>| names.iter().map(|name| kebab(name)).collect::<Vec<_>>();
    let codes = ErrorCode::ALL.iter().map(|code| format!("{code:?}"));
    let types = DescriptorType::ALL.iter().map(|ty| format!("{ty:?}"));
    let net = NetError::ALL.iter().map(|code| format!("{code:?}"));
    let filesystem = "wasi:filesystem/types@0.2.12";
    let network = "wasi:sockets/network@0.2.12";
    assert_eq!(
        ours(codes.collect()),
        cases(&resolve, filesystem, "error-code")
    );
    assert_eq!(
        ours(types.collect()),
        cases(&resolve, filesystem, "descriptor-type")
    );
    assert_eq!(ours(net.collect()), cases(&resolve, network, "error-code"));
}
