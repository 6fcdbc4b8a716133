//! How large a component becomes when its nesting is taken apart. A component that instantiates another one twice, which
//! instantiates a third one twice, and so on, has twice as much in it with each level: it is refused before anybody tries.
//!
//! What is counted is an upper bound: of a component that is passed in as an argument it is not known here which one it is, so it
//! counts as the largest of those that have been defined.

use std::ops::ControlFlow;

use wasmtime_environ::wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind,
    ComponentTypeRef, Payload,
};

use super::sections::walk;

use crate::error::InvalidComponent;

/// The most instances, functions, aliases and exports that a component may become.
const MAX_ITEMS: u64 = 1_000_000;

/// A component whose end has not been read.
#[derive(Default)]
struct Scope {
    /// What each of the components that it can name becomes.
    components: Vec<u64>,
    /// What it becomes itself.
    items: u64,
}

/// Checks that a component does not become too large. One that is not valid may pass: the validator sees it next.
///
/// # Errors
/// It would.
pub(super) fn check(bytes: &[u8]) -> Result<(), InvalidComponent> {
    let mut expansion = Expansion {
        scopes: vec![Scope::default()],
        largest: 0,
    };
    match expansion.read(bytes) {
        Some(items) if items > MAX_ITEMS => Err(InvalidComponent::new(
            "the components in it instantiate each other too many times",
        )),
        _ => Ok(()),
    }
}

struct Expansion {
    /// From the outside in.
    scopes: Vec<Scope>,
    /// The most that one component has become so far.
    largest: u64,
}

impl Expansion {
    /// What the component becomes; `None` if its bytes are not valid.
    fn read(&mut self, bytes: &[u8]) -> Option<u64> {
        walk(bytes, |payload| {
            match payload {
                Payload::ComponentSection { .. } => self.scopes.push(Scope::default()),
                Payload::End(_) => {
                    let items = self.scopes.pop()?.items.saturating_add(1);
                    self.largest = self.largest.max(items);
                    let Some(enclosing) = self.scopes.last_mut() else {
                        return Some(ControlFlow::Break(items));
                    };
                    enclosing.components.push(items);
                }
                other => self.payload(other)?,
            }
            Some(ControlFlow::Continue(()))
        })
    }

    /// Counts what is in a section.
    fn payload(&mut self, payload: &Payload<'_>) -> Option<()> {
        let largest = self.largest;
        match payload {
            Payload::ComponentInstanceSection(instances) => {
                for instance in instances.clone() {
                    let items = match instance.ok()? {
                        ComponentInstance::Instantiate {
                            component_index,
                            args,
                        } => {
                            let components = &self.scopes.last()?.components;
                            let component = components.get(component_index as usize)?;
                            component.saturating_add(args.len() as u64)
                        }
                        ComponentInstance::FromExports(exports) => exports.len() as u64,
                    };
                    self.add(items.saturating_add(1))?;
                }
            }
            Payload::ComponentAliasSection(aliases) => {
                for alias in aliases.clone() {
                    self.alias(&alias.ok()?, largest)?;
                }
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports.clone() {
                    let is_component = matches!(import.ok()?.ty, ComponentTypeRef::Component(_));
                    if is_component {
                        self.scopes.last_mut()?.components.push(largest);
                    }
                    self.add(1)?;
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports.clone() {
                    let export = export.ok()?;
                    if export.kind == ComponentExternalKind::Component {
                        let components = &mut self.scopes.last_mut()?.components;
                        let exported = *components.get(export.index as usize)?;
                        components.push(exported);
                    }
                    self.add(1)?;
                }
            }
            Payload::InstanceSection(instances) => self.add(instances.count().into())?,
            Payload::ComponentCanonicalSection(funcs) => self.add(funcs.count().into())?,
            _ => {}
        }
        Some(())
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>, largest: u64) -> Option<()> {
        match alias {
            ComponentAlias::Outer {
                kind: ComponentOuterAliasKind::Component,
                count,
                index,
            } => {
                let innermost = self.scopes.len() - 1;
                let scope = self.scopes.get(innermost.checked_sub(*count as usize)?)?;
                let component = *scope.components.get(*index as usize)?;
                self.scopes.last_mut()?.components.push(component);
            }
            ComponentAlias::InstanceExport {
                kind: ComponentExternalKind::Component,
                ..
            } => self.scopes.last_mut()?.components.push(largest),
            _ => {}
        }
        self.add(1)
    }

    fn add(&mut self, items: u64) -> Option<()> {
        let scope = self.scopes.last_mut()?;
        scope.items = scope.items.saturating_add(items);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    /// Components in each other's place: each instantiates the one before it this many times.
    fn chain(levels: usize, times: usize) -> Vec<u8> {
        let mut text = "(component (component $c0)".to_owned();
        for level in 1..=levels {
            let inner = level - 1;
            let instance = format!("(instance (instantiate $i{inner}))");
            text += &format!(
                "(component $c{level} (alias outer 1 $c{inner} (component $i{inner})) {})",
                instance.repeat(times)
            );
        }
        text += &format!("(instance (instantiate $c{levels})))");
        wat::parse_str(text).expect("a component")
    }

    #[test]
    fn what_doubles_with_each_level_is_refused() {
        assert!(check(&chain(15, 2)).is_ok());
        assert!(check(&chain(200, 1)).is_ok());
        for levels in [20, 64, 500] {
            assert!(check(&chain(levels, 2)).is_err(), "{levels}");
        }
        assert!(check(&chain(1, 500_000)).is_err());
    }

    #[test]
    fn components_that_are_passed_in_count_as_the_largest() {
        // Each of them is larger than all before it: what is passed in may be the largest.
        let text = |levels: usize| {
            let mut text = "(component (component $c0)".to_owned();
            for level in 1..=levels {
                text += &format!(
                    "(component $c{level} (import \"c\" (component $c))
                        (instance (instantiate $c)) (instance (instantiate $c)))"
                );
            }
            text + &format!("(instance (instantiate $c{levels} (with \"c\" (component $c0)))))")
        };
        let binary = |levels| wat::parse_str(text(levels)).expect("a component");
        assert!(check(&binary(10)).is_ok());
        assert!(check(&binary(64)).is_err());
    }

    #[test]
    fn what_is_not_valid_is_left_to_the_validator() {
        for bytes in [
            &b""[..],
            b"\0asm\x0d\0\x01\0",
            b"\0asm\x0d\0\x01\0\x05\x01",
            b"text",
        ] {
            assert!(check(bytes).is_ok(), "{bytes:?}");
        }
    }
}
