//! The interfaces' own definitions, to compare a version's table with, in tests: none of its functions is missing or too many,
//! and signatures and layouts are the same.

use std::collections::BTreeMap;
use std::fmt::Debug;

use tiered_runtime::decode::types::ValType;
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Function, Resolve, SizeAlign, TypeDefKind, TypeOwner};

use crate::component::link::signature;
use crate::component::lower::ResultForm;
use crate::component::resources::{Kind, Version};
use crate::component::rows::{Interface, Row};

/// The packages of a version.
pub(crate) struct Definitions {
    pub(crate) resolve: Resolve,
    pub(crate) sizes: SizeAlign,
}

impl Definitions {
    /// Reads packages, each after those that it uses.
    pub(crate) fn read(packages: &[(&str, &str)]) -> Self {
        Self::read_with(packages, &[])
    }

    /// As [`read`](Self::read), with what these features gate.
    pub(crate) fn read_with(packages: &[(&str, &str)], features: &[&str]) -> Self {
        let mut resolve = Resolve::default();
        let features = features.iter().map(|&name| name.to_owned());
        resolve.features.extend(features);
        for (name, text) in packages {
            resolve.push_str(name, text).unwrap();
        }
        let mut sizes = SizeAlign::default();
        sizes.fill(&resolve).unwrap();
        Self { resolve, sizes }
    }

    /// Interfaces by their names.
    pub(crate) fn interfaces(&self) -> BTreeMap<String, &wit_parser::Interface> {
        self.resolve
            .interfaces
            .iter()
            .filter_map(|(id, interface)| Some((self.resolve.id_of(id)?, interface)))
            .collect()
    }

    fn assert_row(&self, function: &Function, row: &Row) {
        let expected = self
            .resolve
            .wasm_signature(AbiVariant::GuestImport, function);
        let expected = (val_types(&expected.params), val_types(&expected.results));
        assert_eq!(signature(row), expected, "{}", row.name);
        if let (ResultForm::Stored { size, align }, Some(ty)) = (row.result, &function.result) {
            let expected = (
                self.sizes.size(ty).size_wasm32() as u32,
                self.sizes.align(ty).align_wasm32() as u32,
            );
            assert_eq!((size, align), expected, "{}", row.name);
        }
    }

    /// Compares a table with all functions but those of `exports`, which programs have and no host; says how many there are.
    pub(crate) fn assert_table(&self, table: &[Interface], exports: &[&str]) -> usize {
        let mut left: BTreeMap<(String, String), &Function> = BTreeMap::new();
        for (name, interface) in self.interfaces() {
            if exports.contains(&name.as_str()) {
                continue;
            }
            for (function, ty) in &interface.functions {
                left.insert((name.clone(), function.clone()), ty);
            }
        }
        let count = left.len();
        for ours in table {
            for row in ours.rows {
                let name = (ours.name.to_owned(), row.name.to_owned());
                let function = left
                    .remove(&name)
                    .unwrap_or_else(|| panic!("no function, or twice: {name:?}"));
                self.assert_row(function, row);
            }
        }
        let missing: Vec<_> = left.keys().collect();
        assert!(missing.is_empty(), "{missing:?}");
        count
    }

    /// Compares the resource types of a version.
    pub(crate) fn assert_resources(&self, version: Version) {
        let types = self.resolve.types.iter();
        let mut expected: Vec<(String, String)> = types
            .filter(|(_, ty)| matches!(ty.kind, TypeDefKind::Resource))
            .map(|(_, ty)| {
                let TypeOwner::Interface(owner) = ty.owner else {
                    panic!("a resource of no interface")
                };
                let name = ty.name.clone().expect("a resource has a name");
                let interface = self.resolve.id_of(owner);
                (interface.expect("an interface has a name"), name)
            })
            .collect();
        let mut ours: Vec<_> = Kind::ALL
            .iter()
            .filter_map(|kind| kind.in_version(version))
            .map(|ty| (ty.interface.to_owned(), ty.name.to_owned()))
            .collect();
        expected.sort();
        ours.sort();
        assert_eq!(ours, expected);
    }

    /// The cases of a variant, in order.
    #[cfg(feature = "http")]
    pub(crate) fn variant_cases(&self, interface: &str, name: &str) -> Vec<String> {
        let id = self.interfaces()[interface].types[name];
        match &self.resolve.types[id].kind {
            TypeDefKind::Variant(cases) => {
                let cases = cases.cases.iter();
                cases.map(|case| case.name.clone()).collect()
            }
            other => panic!("{name} is {other:?}"),
        }
    }

    /// Compares the cases of an enum or a variant, in order, with ours.
    pub(crate) fn assert_cases<E: Debug>(&self, interface: &str, name: &str, ours: &[E]) {
        let id = self.interfaces()[interface].types[name];
        let expected: Vec<String> = match &self.resolve.types[id].kind {
            TypeDefKind::Enum(cases) => cases.cases.iter().map(|case| case.name.clone()).collect(),
            TypeDefKind::Variant(variant) => {
                variant.cases.iter().map(|case| case.name.clone()).collect()
            }
            other => panic!("{name} is {other:?}"),
        };
        let ours: Vec<String> = ours
            .iter()
            .map(|case| kebab(&format!("{case:?}")))
            .collect();
        assert_eq!(ours, expected, "{interface} {name}");
    }
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

/// A variant's name in Rust, without its payload, as the interface spells it.
fn kebab(name: &str) -> String {
    let mut spelled = String::new();
    for letter in name.chars().take_while(|letter| *letter != '(') {
        if letter.is_uppercase() && !spelled.is_empty() {
            spelled.push('-');
        }
        spelled.extend(letter.to_lowercase());
    }
    spelled
}
