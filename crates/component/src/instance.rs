//! Instances of components, and what they export.

mod steps;

use std::sync::Arc;

use tiered::{AnyStore, Global, Memory, Module, SlotsFunc};

use crate::abi;
use crate::component::Component;
use crate::error::{Error, ImportName};
use crate::func::Func;
use crate::limits::Limits;
use crate::names::{self, DidYouMean};
use crate::state::Shared;
use crate::types::FuncTypeId;

pub(crate) use steps::instantiate;

/// An instance of a component. Clones are the same instance, which lives as long as its store.
///
/// Once it has trapped, it can't be entered again, and while it runs, no host function that it calls can enter it.
#[derive(Clone, Debug)]
pub struct Instance(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) component: Component,
    pub(crate) shared: Arc<Shared>,
    pub(crate) limits: Limits,
    /// In the order of the plan's functions that are exported.
    exports: Vec<(Box<str>, Exported)>,
    cores: Vec<tiered::Instance>,
}

/// What an instance exports.
#[derive(Clone, Debug)]
enum Exported {
    Func(Arc<LiftedFunc>),
    Instance(Vec<(Box<str>, Exported)>),
    Module(Module),
    Type,
}

/// A function of a core module that a component's function is lifted from.
#[derive(Debug)]
pub(crate) struct LiftedFunc {
    pub(crate) name: Box<str>,
    pub(crate) ty: FuncTypeId,
    pub(crate) core: SlotsFunc,
    /// The component instance that it is of.
    pub(crate) instance: u32,
    pub(crate) is_async: bool,
    pub(crate) callback: Option<SlotsFunc>,
    /// The number of the type of what `task.return` gives it.
    pub(crate) results: u32,
    pub(crate) options: abi::Options,
    pub(crate) memory: Option<Memory>,
    pub(crate) realloc: Option<SlotsFunc>,
    pub(crate) post_return: Option<SlotsFunc>,
    pub(crate) may_leave: Global,
    pub(crate) may_block: Global,
}

impl Instance {
    /// The function `name` of the interface `interface` that it exports; one that is exported outside of interfaces has the
    /// interface `""`. A version stands for those that fit it.
    ///
    /// # Errors
    /// [`Error::Export`] if there is none, with the nearest name that there is.
    pub fn func(&self, interface: &str, name: &str) -> Result<Func, Error> {
        match self.find(interface, name) {
            Some(Exported::Func(func)) => Ok(Func::new(self, func)),
            Some(_) => Err(Error::Export(format!(
                "the export {} is no function",
                ImportName(interface, name)
            ))),
            None => Err(self.no_export(interface, name)),
        }
    }

    /// The core module that it exports under this name.
    #[must_use]
    pub fn module(&self, interface: &str, name: &str) -> Option<Module> {
        match self.find(interface, name)? {
            Exported::Module(module) => Some(module.clone()),
            _ => None,
        }
    }

    /// The component.
    #[must_use]
    pub fn component(&self) -> &Component {
        &self.0.component
    }

    /// The instances of core modules in it, in the order in which they were made: those of the component's own modules, and
    /// of adapters between its instances.
    #[must_use]
    pub fn core_instances(&self) -> &[tiered::Instance] {
        &self.0.cores
    }

    /// How many handles of resources all instances in it have.
    ///
    /// # Panics
    /// If it is of another store.
    pub fn handles(&self, store: &mut AnyStore) -> u64 {
        self.0.shared.state(store).handles()
    }

    fn find(&self, interface: &str, name: &str) -> Option<&Exported> {
        let exports = match interface {
            "" => &self.0.exports,
            interface => match find_export(&self.0.exports, interface)? {
                Exported::Instance(exports) => exports,
                _ => return None,
            },
        };
        find_export(exports, name)
    }

    fn no_export(&self, interface: &str, name: &str) -> Error {
        let names = self.0.exports.iter().flat_map(|(export, what)| match what {
            Exported::Instance(items) => {
                let items = items.iter().map(|(name, _)| format!("{export}#{name}"));
                items.collect::<Vec<_>>()
            }
            _ => vec![export.to_string()],
        });
        let names: Vec<String> = names.collect();
        let wanted = match interface {
            "" => name.to_owned(),
            interface => format!("{interface}#{name}"),
        };
        let nearest = names::nearest(&wanted, names.iter().map(|name| &**name));
        Error::Export(format!(
            "no export {}{}",
            ImportName(interface, name),
            DidYouMean(nearest)
        ))
    }
}

fn find_export<'a>(exports: &'a [(Box<str>, Exported)], name: &str) -> Option<&'a Exported> {
    let exact = exports.iter().find(|(export, _)| **export == *name);
    let fits = |(export, _): &&(Box<str>, Exported)| names::are_compatible(export, name);
    let found = exact.or_else(|| {
        exports
            .iter()
            .filter(fits)
            .max_by_key(|(name, _)| names::version(name))
    });
    found.map(|(_, exported)| exported)
}
