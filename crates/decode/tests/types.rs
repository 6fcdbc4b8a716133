//! The types that modules define: which are equal, which are subtypes, and how they are written.

use tiered_decode::Module;
use tiered_decode::index::TypeIdx;
use tiered_decode::types::{
    AbstractHeapType, CompositeKind, CompositeType, FieldType, HeapType, RefType, StorageType,
    TypeId, ValType,
};

fn module(text: &str) -> Module {
    Module::new(text.as_bytes().to_vec()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Why a module is invalid.
fn refused(text: &str) -> String {
    let error = Module::new(text.as_bytes().to_vec()).expect_err(text);
    assert!(!error.is_unsupported(), "{text}: {error}");
    error.reason().to_owned()
}

#[test]
fn definitions_are_as_written() {
    let module = module(
        "(module
            (type $point (sub (struct (field i8) (field (mut i16)) (field v128))))
            (type $more (sub final $point (struct (field i8) (field (mut i16)) (field v128) (field (ref null $point)))))
            (type $list (array (mut (ref $more)))))",
    );
    let types = module.types();
    let [point, more, list] = [0, 1, 2].map(|index| &types[index]);
    let field = |storage, mutable| FieldType { storage, mutable };
    let shared = [
        field(StorageType::I8, false),
        field(StorageType::I16, true),
        field(StorageType::Val(ValType::V128), false),
    ];
    assert_eq!(point.composite, CompositeType::Struct(shared.into()));
    assert!(!point.is_final && more.is_final && list.is_final);
    let id = |index| types.id(TypeIdx(index));
    assert_eq!((point.supertype, more.supertype), (None, Some(id(0))));
    let reference = |nullable, index| {
        let heap = HeapType::Concrete(CompositeKind::Struct, id(index));
        StorageType::Val(RefType::new(nullable, heap).into())
    };
    let last = field(reference(true, 0), false);
    let fields = [&shared[..], &[last]].concat();
    assert_eq!(more.composite, CompositeType::Struct(fields.into()));
    let element = field(reference(false, 1), true);
    assert_eq!(list.composite, CompositeType::Array(element));
}

#[test]
fn equal_groups_are_equal_in_all_modules() {
    let ids = |text: &str| {
        let module = module(text);
        let ids = module.types().ids().to_vec();
        (module, ids)
    };
    let (_first, a) = ids(
        "(module (rec (type $a (struct (field (ref null $b)))) (type $b (array (mut (ref $a))))))",
    );
    // The same group behind another type, which is a group of one.
    let (_second, b) = ids("(module
            (type (struct (field f64)))
            (rec (type $x (struct (field (ref null $y)))) (type $y (array (mut (ref $x))))))");
    assert_eq!(a, b[1..]);
    // The same definitions in another order, in two groups, with another finality.
    for text in [
        "(module (rec (type $b (array (mut (ref $a)))) (type $a (struct (field (ref null $b))))))",
        "(module (rec (type $a (sub (struct (field (ref null $b))))) (type $b (array (mut (ref $a))))))",
        "(module (rec (type $a (struct (field (ref null $a)))) (type $b (array (mut (ref $a))))))",
        "(module (rec (type $a (struct (field (ref null $b)))) (type $b (array (mut (ref $a)))) (type $c (func))))",
        "(module (rec (type $a (struct (field (ref null $b)))) (type $b (array (ref $a)))))",
    ] {
        let (_other, other) = ids(text);
        assert!(a.iter().all(|id| !other.contains(id)), "{text}");
    }
}

/// A definition that names itself by its index is not the type that the same bytes define behind it.
#[test]
fn repeated_bytes_are_the_same_type_only_without_recursion() {
    let text = format!(
        "(module {})",
        "(type (struct (field (ref null 0))))".repeat(5000)
    );
    let module = module(&text);
    let ids = module.types().ids();
    assert_ne!(ids[0], ids[1]);
    assert!(ids[1..].iter().all(|&id| id == ids[1]));
    let refers_to = |index: usize| match &module.types()[index].composite {
        CompositeType::Struct(fields) => fields[0].storage,
        other => panic!("{other:?}"),
    };
    let first = HeapType::Concrete(CompositeKind::Struct, ids[0]);
    for index in [0, 1, 4999] {
        let expected = StorageType::Val(RefType::new(true, first).into());
        assert_eq!(refers_to(index), expected, "{index}");
    }
}

#[test]
fn references_to_subtypes_match() {
    let module = module(
        "(module
            (type $top (sub (struct)))
            (type $middle (sub $top (struct (field i32))))
            (type $bottom (sub final $middle (struct (field i32) (field i64))))
            (type $array (array i8))
            (type $func (sub (func (param (ref $bottom)) (result (ref $top)))))
            (type $narrow (sub $func (func (param (ref null $middle)) (result (ref $bottom))))))",
    );
    let kinds = module.types().iter().map(|ty| ty.composite.kind());
    let concrete: Vec<HeapType> = kinds
        .zip(module.types().ids())
        .map(|(kind, &id)| HeapType::Concrete(kind, id))
        .collect();
    let [top, middle, bottom, array, func, narrow] = concrete[..] else {
        panic!("six types")
    };
    let of = HeapType::Abstract;
    use AbstractHeapType as A;
    let chains: &[&[HeapType]] = &[
        &[
            of(A::None),
            bottom,
            middle,
            top,
            of(A::Struct),
            of(A::Eq),
            of(A::Any),
        ],
        &[of(A::None), array, of(A::Array), of(A::Eq), of(A::Any)],
        &[of(A::None), of(A::I31), of(A::Eq), of(A::Any)],
        &[of(A::NoFunc), narrow, func, of(A::Func)],
        &[of(A::NoExtern), of(A::Extern)],
        &[of(A::NoExn), of(A::Exn)],
    ];
    let all: Vec<HeapType> = chains
        .iter()
        .flat_map(|chain| chain.iter().copied())
        .collect();
    let expected = |a: HeapType, b: HeapType| {
        chains.iter().any(|chain| {
            let place = |ty| chain.iter().position(|&other| other == ty);
            matches!((place(a), place(b)), (Some(a), Some(b)) if a <= b)
        })
    };
    for (&a, &b) in all.iter().flat_map(|a| all.iter().map(move |b| (a, b))) {
        assert_eq!(a.matches(b), expected(a, b), "{a:?} {b:?}");
        for (null_a, null_b) in [(false, false), (false, true), (true, false), (true, true)] {
            let matches = RefType::new(null_a, a).matches(RefType::new(null_b, b));
            assert_eq!(
                matches,
                expected(a, b) && (null_b || !null_a),
                "{a:?} {b:?}"
            );
        }
    }
}

#[test]
fn subtypes_that_are_none_are_refused() {
    for (text, reason) in [
        (
            "(module (type $a (struct)) (type (sub $a (struct))))",
            "final super type",
        ),
        (
            "(module (type $a (sub (struct (field i32)))) (type (sub $a (struct (field i64)))))",
            "sub type must match super type",
        ),
        (
            "(module (type $a (sub (struct (field (mut anyref))))) (type (sub $a (struct (field (mut eqref))))))",
            "sub type must match super type",
        ),
        (
            "(module (type $a (sub (array i8))) (type (sub $a (struct))))",
            "sub type must match super type",
        ),
        (
            "(module (type $a (sub (func (param (ref any))))) (type (sub $a (func (param (ref eq))))))",
            "sub type must match super type",
        ),
        (
            "(module (type (sub 1 (struct))) (type (sub (struct))))",
            "supertype",
        ),
        (
            "(module (type (struct (field (ref 1)))) (type (struct)))",
            "unknown type",
        ),
    ] {
        let found = refused(text);
        assert!(found.contains(reason), "{text}: {found}");
    }
}

#[test]
fn a_chain_of_subtypes_is_63_long_at_most() {
    let chain = |depth: usize| {
        let subtypes = (0..depth).map(|above| format!("(type (sub {above} (struct)))"));
        let subtypes: String = subtypes.collect();
        format!("(module (type (sub (struct))) {subtypes})")
    };
    let longest = module(&chain(63));
    let ids: &[TypeId] = longest.types().ids();
    assert!(ids[63].is_subtype_of(ids[0]) && !ids[0].is_subtype_of(ids[63]));
    assert!(refused(&chain(64)).contains("too deep"));
}

/// A group whose types each refer to the next one, and many groups that each refer to the one before.
#[test]
fn many_types_take_no_deep_stack() {
    const COUNT: usize = 50_000;
    let decode = || {
        let group: String = (1..=COUNT)
            .map(|next| format!("(type (struct (field (ref null {}))))", next % COUNT))
            .collect();
        let module_of_group = module(&format!("(module (rec {group}))"));
        assert_eq!(module_of_group.types().groups(), 1);
        assert_eq!(module_of_group.types().len(), COUNT);
        let chain: String = (0..COUNT)
            .map(|before| format!("(type (array (ref null {before})))"))
            .collect();
        let chain = module(&format!("(module (type (struct)) {chain})"));
        let mut ids = chain.types().ids().to_vec();
        ids.dedup();
        assert_eq!(ids.len(), COUNT + 1);
    };
    let small = std::thread::Builder::new().stack_size(512 << 10);
    let ended = small.spawn(decode).expect("it starts").join();
    ended.expect("it ends");
}

#[test]
fn types_are_written_by_index_or_in_full() {
    let module = module(
        "(module
            (rec
                (type $node (sub (struct (field (mut i8)) (field (ref null $node)) (field (ref $list)))))
                (type $list (array (mut (ref null $node)))))
            (type $leaf (sub final $node (struct (field (mut i8)) (field (ref null $node)) (field (ref $list)))))
            (type $visit (func (param (ref $node) i32 eqref) (result (ref null $visit))))
            (type (struct))
            (global (ref null $node) (ref.null none)))",
    );
    let text = module.types().text();
    let shown = [0, 1, 2, 3, 4].map(|index| text.composite(TypeIdx(index)).to_string());
    assert_eq!(
        shown,
        [
            "struct (mut i8) (ref null 0) (ref 1)",
            "array (mut (ref null 0))",
            "struct (mut i8) (ref null 0) (ref 1)",
            "func [(ref 0) i32 eqref] -> [(ref null 3)]",
            "struct",
        ]
    );
    let supertypes = module.types().iter().map(|ty| text.supertype(ty));
    let expected = [None, None, Some(TypeIdx(0)), None, None];
    assert_eq!(supertypes.collect::<Vec<_>>(), expected);
    assert_eq!(
        module.globals()[0].to_string(),
        "(ref null (struct (mut i8) (ref null …) (ref …)))"
    );
}

/// Thousands of fields in each of a thousand parameters would make a text of megabytes.
#[test]
fn a_type_within_another_is_written_in_part() {
    let module = module(&format!(
        "(module (type $wide (struct {})) (type (func (param {}))))",
        "(field i32)".repeat(10_000),
        "(ref $wide)".repeat(1000),
    ));
    let shown = module.types().func(TypeIdx(1)).to_string();
    assert!(
        shown.len() < 100_000 && shown.contains("i32 …))"),
        "{}",
        shown.len()
    );
    assert_eq!(
        module.types()[0].to_string().len(),
        "struct".len() + 4 * 10_000
    );
}
