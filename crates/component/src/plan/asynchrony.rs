//! Whether a component has anything to do with asynchronous calls. One that has not needs no tasks: adapters between its
//! instances then keep no account of calls, but for those that lend resources.

use std::ops::ControlFlow;

use wasmtime_environ::wasmparser::{
    BinaryReaderError, CanonicalFunction, CanonicalOption, ComponentType, ComponentTypeDeclaration,
    InstanceTypeDeclaration, Payload,
};

use super::sections::walk;

/// Whether a component, or one in it, has a function of an `async` type, lifts or lowers one so, or has a built-in that is of
/// tasks. What is not valid has: the validator sees it next.
pub(super) fn has_tasks(bytes: &[u8]) -> bool {
    let mut depth = 0;
    let found = walk(bytes, |payload| {
        let found = match payload {
            Payload::ComponentCanonicalSection(funcs) => {
                any(funcs.clone(), |func| is_of_tasks(&func))?
            }
            Payload::ComponentTypeSection(types) => any(types.clone(), |ty| is_async(&ty))?,
            Payload::ComponentSection { .. } => {
                depth += 1;
                false
            }
            Payload::End(_) if depth == 0 => return Some(ControlFlow::Break(false)),
            Payload::End(_) => {
                depth -= 1;
                false
            }
            _ => false,
        };
        Some(match found {
            true => ControlFlow::Break(true),
            false => ControlFlow::Continue(()),
        })
    });
    found.unwrap_or(true)
}

/// Whether one of the items is like that; `None` if one is not valid.
fn any<T>(
    items: impl IntoIterator<Item = Result<T, BinaryReaderError>>,
    is: impl Fn(T) -> bool,
) -> Option<bool> {
    for item in items {
        if is(item.ok()?) {
            return Some(true);
        }
    }
    Some(false)
}

fn is_of_tasks(func: &CanonicalFunction) -> bool {
    let of_tasks = |option: &CanonicalOption| {
        matches!(
            option,
            CanonicalOption::Async | CanonicalOption::Callback(_)
        )
    };
    match func {
        CanonicalFunction::Lift { options, .. } | CanonicalFunction::Lower { options, .. } => {
            options.iter().any(of_tasks)
        }
        CanonicalFunction::ResourceNew { .. }
        | CanonicalFunction::ResourceDrop { .. }
        | CanonicalFunction::ResourceRep { .. } => false,
        _ => true,
    }
}

/// Whether a type is of a function that is `async`, or has one in it. The parser has bounded how deep it is.
fn is_async(ty: &ComponentType<'_>) -> bool {
    match ty {
        ComponentType::Func(func) => func.async_,
        ComponentType::Component(declarations) => declarations.iter().any(
            |declaration| matches!(declaration, ComponentTypeDeclaration::Type(ty) if is_async(ty)),
        ),
        ComponentType::Instance(declarations) => declarations.iter().any(
            |declaration| matches!(declaration, InstanceTypeDeclaration::Type(ty) if is_async(ty)),
        ),
        ComponentType::Defined(_) | ComponentType::Resource { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::has_tasks;

    #[test]
    fn what_is_async_is_found_wherever_it_is() {
        let has = |text: &str| has_tasks(&wat::parse_str(text).expect("a component"));
        for without in [
            "(component)",
            "(component (core module) (component (import \"f\" (func $f)) (core func (canon lower (func $f)))))",
            "(component (type $r (resource (rep i32))) (core func (canon resource.new $r)) (core func (canon resource.drop $r)))",
            "(component (type (instance (export \"f\" (func)))))",
        ] {
            assert!(!has(without), "{without}");
        }
        for with in [
            "(component (type (func async)))",
            "(component (component (import \"f\" (func async))))",
            "(component (type (instance (type (component (import \"f\" (func async)))))))",
            "(component (core func (canon context.get i32 0)))",
            "(component (core func (canon backpressure.inc)))",
            "(component (core module) (component (component (core func (canon task.cancel)))))",
        ] {
            assert!(has(with), "{with}");
        }
        assert!(has_tasks(b"\0asm\x0d\0\x01\0\x08\x7f"));
    }
}
