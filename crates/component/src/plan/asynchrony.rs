//! Whether a component has anything to do with asynchronous calls. One that has not needs no tasks: adapters between its
//! instances then keep no account of calls, but for those that lend resources.

use wasmtime_environ::wasmparser::{
    CanonicalFunction, CanonicalOption, Chunk, ComponentType, ComponentTypeDeclaration,
    InstanceTypeDeclaration, Parser, Payload,
};

/// Whether a component, or one in it, has a function of an `async` type, lifts or lowers one so, or has a built-in that is of
/// tasks. What is not valid has: the validator sees it next.
pub(super) fn has_tasks(bytes: &[u8]) -> bool {
    find(bytes).unwrap_or(true)
}

fn find(bytes: &[u8]) -> Option<bool> {
    let mut rest = bytes;
    let (mut parser, mut outer) = (Parser::new(0), Vec::new());
    loop {
        let Chunk::Parsed { payload, consumed } = parser.parse(rest, true).ok()? else {
            return None;
        };
        rest = rest.get(consumed..)?;
        match payload {
            Payload::ModuleSection {
                unchecked_range, ..
            } => rest = rest.get(unchecked_range.len()..)?,
            Payload::ComponentSection { parser: inner, .. } => {
                outer.push(std::mem::replace(&mut parser, inner));
            }
            Payload::ComponentCanonicalSection(funcs) => {
                for func in funcs {
                    if is_of_tasks(&func.ok()?) {
                        return Some(true);
                    }
                }
            }
            Payload::ComponentTypeSection(types) => {
                for ty in types {
                    if is_async(&ty.ok()?) {
                        return Some(true);
                    }
                }
            }
            Payload::End(_) => match outer.pop() {
                Some(enclosing) => parser = enclosing,
                None => return Some(false),
            },
            _ => {}
        }
    }
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
