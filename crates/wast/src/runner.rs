//! Executes one directive after another: what a script defines, later directives see. All modules are instantiated in one store.
//!
//! Invariant: after a module or component that fails to instantiate there is no current instance, so the calls meant for it fail
//! instead of reaching the module before it.

use std::collections::HashMap;

use tiered::{Engine, Instance, InstantiateError, Linker, Module, Store, Trap, Val};
use wast::core::WastRetCore;
use wast::token::Id;
use wast::{QuoteWat, WastArg, WastDirective, WastExecute, WastInvoke, WastRet, Wat};

use crate::component::{self, Host};
use crate::{spectest, value};

/// Why a directive fails, or nothing.
type Verdict = Result<(), String>;

/// How an action ended, where it could be started at all.
type Ending = Result<Outcome, (Trap, Kind)>;

/// What an action gives.
enum Outcome {
    Core(Vec<Val>),
    Component(component::Outcome),
}

/// What has trapped: scripts have other words for the two.
enum Kind {
    Core,
    Component,
}

/// What a script defines.
#[derive(Clone)]
enum Definition {
    Module(Module),
    Component(component::Definition),
}

/// An instance of it.
#[derive(Clone)]
enum Instantiated {
    Module(Instance),
    Component(component::Instance),
}

/// Whether a definition is of a component.
pub(crate) fn is_component(source: &QuoteWat<'_>) -> bool {
    matches!(
        source,
        QuoteWat::Wat(Wat::Component(_)) | QuoteWat::QuoteComponent(..)
    )
}

/// The state a script builds up.
pub(crate) struct Runner<'a> {
    engine: &'a Engine,
    store: Store<()>,
    /// The spectest module, and what the script registers.
    linker: Linker<()>,
    /// What components import.
    host: Host,
    current: Option<Instantiated>,
    instances: HashMap<&'a str, Instantiated>,
    current_definition: Option<Definition>,
    definitions: HashMap<&'a str, Definition>,
}

impl<'a> Runner<'a> {
    /// An empty store, and a linker that knows `spectest`.
    pub(crate) fn new(engine: &'a Engine) -> Result<Runner<'a>, String> {
        let mut store = Store::new(engine, ()).map_err(|err| err.to_string())?;
        let mut linker = Linker::new();
        // Scripts register one name after another.
        linker.allow_shadowing(true);
        spectest::define(&mut store, &mut linker)?;
        Ok(Runner {
            engine,
            store,
            linker,
            host: Host::new(engine)?,
            current: None,
            instances: HashMap::new(),
            current_definition: None,
            definitions: HashMap::new(),
        })
    }

    /// Executes `directive`.
    pub(crate) fn run(&mut self, directive: WastDirective<'a>) -> Verdict {
        let scope = self.store.enter_scope();
        let verdict = self.execute_directive(directive);
        self.store.leave_scope(scope);
        verdict
    }

    fn execute_directive(&mut self, directive: WastDirective<'a>) -> Verdict {
        match directive {
            WastDirective::Module(module) => self.define_and_instantiate(module),
            WastDirective::ModuleDefinition(module) => self.define(module).map(drop),
            WastDirective::ModuleInstance {
                instance, module, ..
            } => self.instantiate_definition(instance, module),
            WastDirective::Register { name, module, .. } => self.register(name, module),
            WastDirective::Invoke(call) => completes(self.invoke(&call)?).map(drop),
            WastDirective::AssertReturn { exec, results, .. } => self.assert_return(exec, &results),
            WastDirective::AssertTrap { exec, message, .. } => {
                traps_with(self.execute(exec)?, message)
            }
            WastDirective::AssertExhaustion { call, message, .. } => {
                traps_with(self.invoke(&call)?, message)
            }
            WastDirective::AssertUnlinkable {
                module, message, ..
            } => self.assert_unlinkable(module, message),
            WastDirective::AssertInvalid {
                module, message, ..
            }
            | WastDirective::AssertMalformed {
                module, message, ..
            } => self.assert_rejected(module, message),
            WastDirective::AssertInvalidCustom { .. }
            | WastDirective::AssertMalformedCustom { .. } => {
                Err("not supported: custom sections are kept as they are".into())
            }
            WastDirective::AssertException { exec, .. } => throws(self.execute(exec)?),
            WastDirective::AssertSuspension { .. } => Err("not supported: stack switching".into()),
            WastDirective::Thread(_) | WastDirective::Wait { .. } => {
                Err("not supported: threads".into())
            }
        }
    }

    fn define_and_instantiate(&mut self, source: QuoteWat<'a>) -> Verdict {
        self.current = None;
        let name = source.name();
        let definition = self.define(source)?;
        self.instantiate(name, &definition)
    }

    /// Decodes a module or a component and keeps it as the current definition, and by its name.
    fn define(&mut self, mut source: QuoteWat<'a>) -> Result<Definition, String> {
        self.current_definition = None;
        let name = source.name();
        let definition = self.decode(&mut source)?;
        if let Some(name) = name {
            self.definitions.insert(name.name(), definition.clone());
        }
        self.current_definition = Some(definition.clone());
        Ok(definition)
    }

    fn instantiate_definition(
        &mut self,
        instance: Option<Id<'a>>,
        definition: Option<Id<'a>>,
    ) -> Verdict {
        self.current = None;
        let definition = match definition {
            Some(id) => self
                .definitions
                .get(id.name())
                .ok_or_else(|| format!("no definition ${}", id.name()))?,
            None => self
                .current_definition
                .as_ref()
                .ok_or("no definition: the last module failed")?,
        };
        let definition = definition.clone();
        self.instantiate(instance, &definition)
    }

    /// Instantiates a definition as the current instance, and under `name`.
    fn instantiate(&mut self, name: Option<Id<'a>>, definition: &Definition) -> Verdict {
        let instance = match definition {
            Definition::Module(module) => {
                let instance = self.linker.instantiate(&mut self.store, module);
                Instantiated::Module(instance.map_err(|err| err.to_string())?)
            }
            Definition::Component(component) => {
                let instance = self.host.instantiate(self.engine, component);
                let instance = instance.map_err(|refusal| refusal.message())?;
                if let Some(name) = name {
                    self.host.register(name.name(), &instance)?;
                }
                Instantiated::Component(instance)
            }
        };
        if let Some(name) = name {
            self.instances.insert(name.name(), instance.clone());
        }
        self.current = Some(instance);
        Ok(())
    }

    fn register(&mut self, name: &str, instance: Option<Id<'a>>) -> Verdict {
        match self.instance(instance)?.clone() {
            Instantiated::Module(instance) => {
                let registered = self.linker.instance(&self.store, name, instance);
                registered.map(drop).map_err(|err| err.to_string())
            }
            Instantiated::Component(instance) => self.host.register(name, &instance),
        }
    }

    fn assert_return(&mut self, exec: WastExecute<'a>, expected: &[WastRet<'a>]) -> Verdict {
        let found = match completes(self.execute(exec)?)? {
            Outcome::Core(found) => found,
            Outcome::Component(found) => return component::compare(&found, expected),
        };
        let expected = expected
            .iter()
            .map(expected_result)
            .collect::<Result<Vec<_>, _>>()?;
        let equal = found.len() == expected.len()
            && found
                .iter()
                .zip(&expected)
                .all(|(found, expected)| value::matches(&self.store, found, expected));
        if equal {
            return Ok(());
        }
        let expected = value::list(
            expected
                .iter()
                .map(|expected| value::expected_text(expected)),
        );
        let found = value::list(found.iter().map(|found| value::text(&self.store, found)));
        Err(format!("expected {expected}, found {found}"))
    }

    fn assert_unlinkable(&mut self, source: Wat<'a>, message: &str) -> Verdict {
        match self.decode(&mut QuoteWat::Wat(source))? {
            Definition::Module(module) => match self.linker.instantiate(&mut self.store, &module) {
                Ok(_) => Err(format!("the module links, expected: {message}")),
                Err(InstantiateError::Trap(trap)) => Err(format!(
                    "the module links, then traps: {trap}; expected: {message}"
                )),
                Err(_) => Ok(()),
            },
            Definition::Component(component) => {
                match self.host.instantiate(self.engine, &component) {
                    Ok(_) => Err(format!("the component links, expected: {message}")),
                    Err(refusal) if refusal.is_of_linking() => Ok(()),
                    Err(refusal) => Err(format!("{}; expected: {message}", refusal.message())),
                }
            }
        }
    }

    /// The module is refused; why is not compared, for every decoder words it in its own way.
    fn assert_rejected(&mut self, mut source: QuoteWat<'a>, message: &str) -> Verdict {
        let what = match is_component(&source) {
            true => "component",
            false => "module",
        };
        match self.decode(&mut source) {
            Ok(_) => Err(format!("the {what} is accepted, expected: {message}")),
            Err(_) => Ok(()),
        }
    }

    fn decode(&self, source: &mut QuoteWat<'a>) -> Result<Definition, String> {
        let is_component = is_component(source);
        let bytes = source.encode().map_err(|err| err.message())?;
        if is_component {
            return Host::read(self.engine, bytes).map(Definition::Component);
        }
        let module = Module::new(self.engine, bytes).map_err(|err| err.to_string())?;
        Ok(Definition::Module(module))
    }

    fn execute(&mut self, exec: WastExecute<'a>) -> Result<Ending, String> {
        match exec {
            WastExecute::Invoke(call) => self.invoke(&call),
            WastExecute::Get { module, global, .. } => {
                let value = self.global(module, global)?;
                Ok(Ok(Outcome::Core(vec![value])))
            }
            WastExecute::Wat(source) => {
                let trap = match self.decode(&mut QuoteWat::Wat(source))? {
                    Definition::Module(module) => {
                        match self.linker.instantiate(&mut self.store, &module) {
                            Ok(_) => None,
                            Err(InstantiateError::Trap(trap)) => Some((trap, Kind::Core)),
                            Err(err) => return Err(err.to_string()),
                        }
                    }
                    Definition::Component(component) => {
                        match self.host.instantiate(self.engine, &component) {
                            Ok(_) => None,
                            Err(refusal) => Some((refusal.trap()?, Kind::Component)),
                        }
                    }
                };
                Ok(trap.map_or_else(|| Ok(Outcome::Core(Vec::new())), Err))
            }
        }
    }

    fn invoke(&mut self, call: &WastInvoke<'a>) -> Result<Ending, String> {
        let instance = match self.instance(call.module)? {
            Instantiated::Module(instance) => *instance,
            Instantiated::Component(instance) => {
                let ended = instance.invoke(call.name, &call.args)?;
                let ended = ended.map(Outcome::Component);
                return Ok(ended.map_err(|trap| (trap, Kind::Component)));
            }
        };
        let func = instance.func(&self.store, call.name);
        let func = func.ok_or_else(|| format!("no exported function `{}`", call.name))?;
        let params = func.ty(&self.store).params;
        let mut args = Vec::with_capacity(call.args.len());
        for (index, arg) in call.args.iter().enumerate() {
            let param = params.get(index).copied();
            args.push(match arg {
                WastArg::Core(arg) => value::argument(&mut self.store, arg, param)?,
                other => return Err(format!("not supported: argument {other:?}")),
            });
        }
        let fits = |(arg, &ty): (&Val, _)| arg.matches(ty, &self.store);
        if args.len() != params.len() || !args.iter().zip(&params).all(fits) {
            return Err(format!(
                "`{}` is not a function of these arguments",
                call.name
            ));
        }
        let ended = func.call(&mut self.store, &args);
        Ok(ended.map(Outcome::Core).map_err(|trap| (trap, Kind::Core)))
    }

    fn global(&self, module: Option<Id<'a>>, name: &str) -> Result<Val, String> {
        let Instantiated::Module(instance) = self.instance(module)? else {
            return Err(format!("a component exports no global `{name}`"));
        };
        let global = instance
            .global(&self.store, name)
            .ok_or_else(|| format!("no exported global `{name}`"))?;
        Ok(global.get(&self.store))
    }

    /// The instance of that name, or the current one.
    fn instance(&self, name: Option<Id<'a>>) -> Result<&Instantiated, String> {
        match name {
            Some(id) => self
                .instances
                .get(id.name())
                .ok_or_else(|| format!("no instance ${}", id.name())),
            None => self
                .current
                .as_ref()
                .ok_or_else(|| "no instance: the last module failed".into()),
        }
    }
}

/// What an action gives that must not trap.
fn completes(ending: Ending) -> Result<Outcome, String> {
    ending.map_err(|(trap, _)| format!("trap: {trap}"))
}

/// The action must trap for the reason the script names.
fn traps_with(ending: Ending, expected: &str) -> Verdict {
    let (trap, kind) = match ending {
        Ok(_) => return Err(format!("no trap, expected: {expected}")),
        Err(trapped) => trapped,
    };
    let found = trap
        .code()
        .map_or_else(|| trap.to_string(), |code| code.spec_text().to_string());
    let same = match kind {
        Kind::Core => same_reason(expected, &found),
        Kind::Component => component::same_reason(expected, &found),
    };
    if same {
        Ok(())
    } else {
        Err(format!("expected trap: {expected}, found trap: {found}"))
    }
}

/// The action must end in an exception that nobody catches.
fn throws(ending: Ending) -> Verdict {
    match ending {
        Ok(_) => Err("no exception".into()),
        Err((trap, _)) if trap.exception().is_some() => Ok(()),
        Err((trap, _)) => Err(format!("expected an exception, found trap: {trap}")),
    }
}

/// Scripts shorten a reason, or add to it which element: `uninitialized element 2`.
fn same_reason(expected: &str, found: &str) -> bool {
    !expected.is_empty() && (found.starts_with(expected) || expected.starts_with(found))
}

fn expected_result<'r, 'a>(result: &'r WastRet<'a>) -> Result<&'r WastRetCore<'a>, String> {
    match result {
        WastRet::Core(result) => Ok(result),
        other => Err(format!("not supported: result {other:?}")),
    }
}
