//! A module that only passes on what it is called with.

/// A module that exports as `f` a function that calls the import `host.f` of the same type.
pub(crate) fn forwarding(params: &str, results: &str, count: usize) -> String {
    let args: String = (0..count)
        .map(|index| format!("(local.get {index})"))
        .collect();
    format!(
        "(module (import \"host\" \"f\" (func $f (param {params}) (result {results})))
        (func (export \"f\") (param {params}) (result {results}) {args} (call $f)))"
    )
}
