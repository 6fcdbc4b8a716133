//! A component, read and ready to be instantiated any number of times.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use tiered::decode::Bytes;
use tiered::{Engine, Module};

use crate::context;
use crate::error::{Error, InvalidComponent};
use crate::plan::{self, ImportPath, Item, ModuleSource, Plan, Trampoline};
use crate::types::{FuncTypeId, Types, ValType};

/// What begins a binary component: the magic number, the version and the layer.
const HEADER: &[u8] = b"\0asm\x0d\0\x01\0";

/// A valid component. Clones are the same component.
///
/// Its core modules are modules of the engine: none of their functions is translated before it is called, and what becomes of
/// them is shared by all instances.
#[derive(Clone)]
pub struct Component(Arc<Inner>);

struct Inner {
    bytes: Bytes,
    plan: Plan,
    modules: Vec<Module>,
    /// The one that has the words of context, once an instance needs it.
    context: OnceLock<Module>,
    engine: Engine,
}

/// What a component imports or exports under a name.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ItemType {
    /// A function of this type, one of [`Component::types`].
    Func(FuncTypeId),
    /// An instance with these items: an interface.
    Instance(Vec<(Box<str>, ItemType)>),
    /// A core module.
    Module,
    /// A component.
    Component,
    /// A resource type.
    Resource,
    /// Another type, if it is one of values.
    Type(Option<ValType>),
}

impl Component {
    /// Reads a component in the binary or the text format.
    ///
    /// # Errors
    /// What is wrong with it, and where; or what of it is not supported.
    pub fn new(engine: &Engine, bytes: impl Into<Bytes>) -> Result<Component, Error> {
        Component::read(engine, bytes.into(), Module::new)
    }

    /// As [`Component::new`], for a component that is known to be valid: function bodies are not validated again.
    ///
    /// # Errors
    /// As [`Component::new`], of what is validated.
    ///
    /// # Safety
    /// [`Component::new`] of this build of this crate has accepted the same bytes, with an engine of the same
    /// [proposals](tiered::Config::proposals).
    #[expect(unsafe_code, reason = "the caller makes the promise")]
    pub unsafe fn known_valid(
        engine: &Engine,
        bytes: impl Into<Bytes>,
    ) -> Result<Component, Error> {
        // SAFETY: `Component::new` made the same modules of the same bytes, by `Module::new`, before it accepted them.
        let module = |engine: &Engine, part| unsafe { Module::known_valid(engine, part) };
        Component::read(engine, bytes.into(), module)
    }

    fn read(
        engine: &Engine,
        bytes: Bytes,
        new_module: impl Fn(&Engine, Bytes) -> Result<Module, tiered::decode::Error>,
    ) -> Result<Component, Error> {
        let bytes = into_binary(bytes)?;
        let proposals = engine.config().proposals();
        let plan = plan::translate(&bytes, proposals)?;
        let module = |(index, source): (usize, &ModuleSource)| {
            let part = match source {
                ModuleSource::Part(range) => bytes.slice(range.clone()),
                ModuleSource::Adapters(adapters) => Bytes::copy_from_slice(adapters),
            };
            new_module(engine, part).map_err(|error| Error::Module { index, error })
        };
        let modules = plan.modules.iter().enumerate().map(module);
        let modules = modules.collect::<Result<_, _>>()?;
        Ok(Component(Arc::new(Inner {
            bytes,
            plan,
            modules,
            context: OnceLock::new(),
            engine: engine.clone(),
        })))
    }

    /// The module that has the words of context.
    pub(crate) fn context_module(&self) -> Result<&Module, Error> {
        if let Some(module) = self.0.context.get() {
            return Ok(module);
        }
        let index = self.0.modules.len();
        let module = context::module(&self.0.engine);
        let module = module.map_err(|error| Error::Module { index, error })?;
        Ok(self.0.context.get_or_init(|| module))
    }

    /// As [`Component::new`], from a file.
    ///
    /// # Errors
    /// What the host says of the file, or as [`Component::new`].
    pub fn from_file(engine: &Engine, path: impl AsRef<Path>) -> Result<Component, Error> {
        Component::new(engine, tiered::read_file(path)?)
    }

    /// Whether bytes begin as a component does, and not as a module, in the binary or the text format.
    #[must_use]
    pub fn is_component(bytes: &[u8]) -> bool {
        if bytes.starts_with(b"\0asm") {
            return bytes.starts_with(HEADER);
        }
        text_begins_component(bytes)
    }

    /// The component in the binary format.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    /// The types that functions of the component have.
    #[must_use]
    pub fn types(&self) -> &Types {
        &self.plan().types
    }

    /// The core modules in it, in its order, and behind them those of adapters between its instances. Traces and statistics
    /// name them by their numbers.
    #[must_use]
    pub fn modules(&self) -> &[Module] {
        &self.0.modules
    }

    /// What it imports, with the names.
    pub fn imports(&self) -> impl Iterator<Item = (&str, ItemType)> {
        let imports = self.plan().imports.iter();
        imports.map(|(name, item)| (&**name, ItemType::from(item)))
    }

    /// What it exports, with the names.
    pub fn exports(&self) -> impl Iterator<Item = (&str, ItemType)> {
        let exports = self.plan().export_types.iter();
        exports.map(|(name, item)| (&**name, ItemType::from(item)))
    }

    /// The functions that it can call of those that it imports: interface, name and type. An interface may be imported with
    /// more functions than are used.
    pub fn called_imports(&self) -> impl Iterator<Item = (String, &str, FuncTypeId)> {
        let trampolines = self.plan().trampolines.iter();
        trampolines.filter_map(|(_, trampoline)| match trampoline {
            Trampoline::Lower { import, ty, .. } => {
                let (interface, name) = self.plan().import_name(*import);
                Some((interface, name, *ty))
            }
            _ => None,
        })
    }

    /// The engine that it belongs to.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.0.plan
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Component")
            .field("modules", &self.0.modules.len())
            .finish_non_exhaustive()
    }
}

impl From<&Item> for ItemType {
    fn from(item: &Item) -> ItemType {
        match item {
            Item::Func(ty) => ItemType::Func(*ty),
            Item::Instance(items) => {
                let items = items.iter().map(|(name, item)| (name.clone(), item.into()));
                ItemType::Instance(items.collect())
            }
            Item::Module(_) => ItemType::Module,
            Item::Component => ItemType::Component,
            Item::Resource(_) => ItemType::Resource,
            Item::Type(ty) => ItemType::Type(*ty),
        }
    }
}

impl Plan {
    /// The interface and the name of what the steps take of an import; an interface in an interface has the names of both with
    /// a slash between them.
    pub(crate) fn import_name(&self, path: u32) -> (String, &str) {
        let ImportPath { import, path } = &self.paths[path as usize];
        let root = &self.imports[*import].0;
        match &path[..] {
            [] => (String::new(), root),
            [name] => (root.to_string(), name),
            [interfaces @ .., name] => {
                let interfaces: Vec<&str> = interfaces.iter().map(|name| &**name).collect();
                (format!("{root}/{}", interfaces.join("/")), name)
            }
        }
    }
}

/// Whether a text's first form is a component: white space and comments may be before it.
fn text_begins_component(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let mut lexer = wat_tokens(text);
    lexer.next() == Some("(") && lexer.next() == Some("component")
}

/// The words of a text up to where there is doubt: parentheses, and what is between them and white space.
fn wat_tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_start();
            if let Some(comment) = rest.strip_prefix(";;") {
                rest = comment.split_once('\n').map_or("", |(_, rest)| rest);
            } else if let Some(comment) = rest.strip_prefix("(;") {
                rest = behind_block_comment(comment);
            } else {
                break;
            }
        }
        let first = rest.chars().next()?;
        let length = match first {
            '(' | ')' => 1,
            _ => rest.find(|c: char| c.is_whitespace() || "();".contains(c))?,
        };
        let (word, behind) = rest.split_at(length.max(1));
        rest = behind;
        Some(word)
    })
}

/// What is behind the end of a block comment, within which there may be others.
fn behind_block_comment(text: &str) -> &str {
    let (mut depth, mut rest) = (1, text);
    while depth > 0 {
        let Some(at) = rest.find(";)").into_iter().chain(rest.find("(;")).min() else {
            return "";
        };
        depth = if rest[at..].starts_with("(;") {
            depth + 1
        } else {
            depth - 1
        };
        rest = &rest[at + 2..];
    }
    rest
}

/// The reason and the place in what `wat` says of a text, without the excerpt.
fn text_error(message: &str) -> String {
    match message.split_once("\n     --> <anon>:") {
        Some((reason, rest)) => {
            let place = rest.lines().next().unwrap_or_default();
            format!("{reason} (at {place} of the text)")
        }
        None => message.to_owned(),
    }
}

/// The bytes of a binary component as they are; of a text, what it describes.
fn into_binary(bytes: Bytes) -> Result<Bytes, Error> {
    if bytes.starts_with(b"\0asm") {
        return Ok(bytes);
    }
    match wat::parse_bytes(&bytes) {
        Ok(binary) => Ok(Bytes::from(binary.into_owned())),
        Err(error) => Err(InvalidComponent::new(&text_error(&error.to_string())).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_told_from_modules() {
        for component in [
            &b"\0asm\x0d\0\x01\0"[..],
            b"(component)",
            b" ;; (module\n (; (; ;) (module ;) ( component $c)",
            b"(component\n)",
        ] {
            assert!(Component::is_component(component), "{component:?}");
        }
        for other in [
            &b""[..],
            b"\0asm\x01\0\0\0",
            b"\0asm",
            b"(module)",
            b"(; (component) ;) (module)",
            b"(; (component)",
            b"component",
            b"(componentx)",
            b"\xff",
        ] {
            assert!(!Component::is_component(other), "{other:?}");
        }
    }
}
