//! The table's form: a row for each function of each interface.

use crate::component::call::{Call, Outcome};
use crate::component::lower::{Answer, ResultForm};

/// The type of a flat argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Core {
    I32,
    I64,
}

/// A function of an interface.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    /// Its name in the interface.
    pub(crate) name: &'static str,
    /// Its parameters, flattened; without the address of a stored result.
    pub(crate) params: &'static [Core],
    pub(crate) result: ResultForm,
    pub(crate) body: fn(&mut Call<'_>) -> Outcome<()>,
}

/// An interface with all its functions.
#[derive(Clone, Copy)]
pub(crate) struct Interface {
    /// Its name, with package and version.
    pub(crate) name: &'static str,
    pub(crate) rows: &'static [Row],
}

/// How the result of `body` is returned.
pub(crate) const fn result_of<R: Answer>(_body: fn(&mut Call<'_>) -> Outcome<R>) -> ResultForm {
    R::RESULT
}

/// Runs `body`: where the result goes is checked first, so that a bad address stops the guest before anything happens.
pub(crate) fn run<R: Answer>(
    call: &mut Call<'_>,
    params: &[Core],
    body: impl FnOnce(&mut Call<'_>) -> Outcome<R>,
) -> Outcome<()> {
    let at = match R::RESULT {
        ResultForm::Stored { size, align } => call.result_at(params.len(), size, align)?,
        ResultForm::Nothing | ResultForm::I32 | ResultForm::I64 => 0,
    };
    let value = body(call)?;
    debug_assert_eq!(call.read_args(), params.len(), "a body reads all arguments");
    value.answer(call, at)
}

/// A row: name, flat parameters, body.
macro_rules! row {
    ($name:literal [$($param:ident)*] $body:path) => {
        $crate::component::rows::Row {
            name: $name,
            params: &[$($crate::component::rows::Core::$param),*],
            result: $crate::component::rows::result_of($body),
            body: |call| {
                $crate::component::rows::run(call, &[$($crate::component::rows::Core::$param),*], $body)
            },
        }
    };
}
pub(crate) use row;
