//! Executes one directive after another on one store: what a script defines, later directives see.
//!
//! Invariant: after a module that fails to instantiate there is no current instance, so the calls meant for it fail
//! instead of reaching the module before it.

use std::collections::HashMap;

use tiered::{Engine, Func, Instance, InstantiateError, Linker, Module, Store, Trap, Val};
use wast::core::WastRetCore;
use wast::token::Id;
use wast::{QuoteWat, WastArg, WastDirective, WastExecute, WastInvoke, WastRet, Wat};

use crate::{spectest, value};

/// Why a directive fails, or nothing.
type Verdict = Result<(), String>;

/// How an action ended, where it could be started at all.
type Ending = Result<Vec<Val>, Trap>;

/// The state a script builds up.
pub(crate) struct Runner<'a> {
    engine: &'a Engine,
    store: Store<()>,
    /// The spectest module, and what the script registers.
    linker: Linker<()>,
    current: Option<Instance>,
    instances: HashMap<&'a str, Instance>,
    current_definition: Option<Module>,
    definitions: HashMap<&'a str, Module>,
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
        let module = self.define(source)?;
        self.instantiate(name, &module)
    }

    /// Decodes a module and keeps it as the current definition, and by its name.
    fn define(&mut self, mut source: QuoteWat<'a>) -> Result<Module, String> {
        self.current_definition = None;
        let name = source.name();
        let module = self.decode(&mut source)?;
        if let Some(name) = name {
            self.definitions.insert(name.name(), module.clone());
        }
        self.current_definition = Some(module.clone());
        Ok(module)
    }

    fn instantiate_definition(
        &mut self,
        instance: Option<Id<'a>>,
        module: Option<Id<'a>>,
    ) -> Verdict {
        self.current = None;
        let definition = match module {
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

    /// Instantiates `module` as the current instance, and under `name`.
    fn instantiate(&mut self, name: Option<Id<'a>>, module: &Module) -> Verdict {
        let instance = self
            .linker
            .instantiate(&mut self.store, module)
            .map_err(|err| err.to_string())?;
        if let Some(name) = name {
            self.instances.insert(name.name(), instance);
        }
        self.current = Some(instance);
        Ok(())
    }

    fn register(&mut self, name: &str, module: Option<Id<'a>>) -> Verdict {
        let instance = self.instance(module)?;
        let registered = self.linker.instance(&self.store, name, instance);
        registered.map(drop).map_err(|err| err.to_string())
    }

    fn assert_return(&mut self, exec: WastExecute<'a>, expected: &[WastRet<'a>]) -> Verdict {
        let found = completes(self.execute(exec)?)?;
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

    fn assert_unlinkable(&mut self, module: Wat<'a>, message: &str) -> Verdict {
        let module = self.decode(&mut QuoteWat::Wat(module))?;
        match self.linker.instantiate(&mut self.store, &module) {
            Ok(_) => Err(format!("the module links, expected: {message}")),
            Err(InstantiateError::Trap(trap)) => Err(format!(
                "the module links, then traps: {trap}; expected: {message}"
            )),
            Err(_) => Ok(()),
        }
    }

    /// The module is refused; why is not compared, for every decoder words it in its own way.
    fn assert_rejected(&mut self, mut module: QuoteWat<'a>, message: &str) -> Verdict {
        match self.decode(&mut module) {
            Ok(_) => Err(format!("the module is accepted, expected: {message}")),
            Err(_) => Ok(()),
        }
    }

    fn decode(&self, source: &mut QuoteWat<'a>) -> Result<Module, String> {
        let bytes = source.encode().map_err(|err| err.message())?;
        Module::new(self.engine, bytes).map_err(|err| err.to_string())
    }

    fn execute(&mut self, exec: WastExecute<'a>) -> Result<Ending, String> {
        match exec {
            WastExecute::Invoke(call) => self.invoke(&call),
            WastExecute::Get { module, global, .. } => {
                self.global(module, global).map(|val| Ok(vec![val]))
            }
            WastExecute::Wat(module) => {
                let module = self.decode(&mut QuoteWat::Wat(module))?;
                match self.linker.instantiate(&mut self.store, &module) {
                    Ok(_) => Ok(Ok(Vec::new())),
                    Err(InstantiateError::Trap(trap)) => Ok(Err(trap)),
                    Err(err) => Err(err.to_string()),
                }
            }
        }
    }

    fn invoke(&mut self, call: &WastInvoke<'a>) -> Result<Ending, String> {
        let func = self.func(call.module, call.name)?;
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
        Ok(func.call(&mut self.store, &args))
    }

    fn func(&self, module: Option<Id<'a>>, name: &str) -> Result<Func, String> {
        let instance = self.instance(module)?;
        instance
            .func(&self.store, name)
            .ok_or_else(|| format!("no exported function `{name}`"))
    }

    fn global(&self, module: Option<Id<'a>>, name: &str) -> Result<Val, String> {
        let instance = self.instance(module)?;
        let global = instance
            .global(&self.store, name)
            .ok_or_else(|| format!("no exported global `{name}`"))?;
        Ok(global.get(&self.store))
    }

    /// The instance of that name, or the current one.
    fn instance(&self, name: Option<Id<'a>>) -> Result<Instance, String> {
        match name {
            Some(id) => self
                .instances
                .get(id.name())
                .copied()
                .ok_or_else(|| format!("no instance ${}", id.name())),
            None => self
                .current
                .ok_or_else(|| "no instance: the last module failed".into()),
        }
    }
}

/// The values of an action that must not trap.
fn completes(ending: Ending) -> Result<Vec<Val>, String> {
    ending.map_err(|trap| format!("trap: {trap}"))
}

/// The action must trap for the reason the script names.
fn traps_with(ending: Ending, expected: &str) -> Verdict {
    let trap = match ending {
        Ok(_) => return Err(format!("no trap, expected: {expected}")),
        Err(trap) => trap,
    };
    let found = trap
        .code()
        .map_or_else(|| trap.to_string(), |code| code.spec_text().to_string());
    if same_reason(expected, &found) {
        Ok(())
    } else {
        Err(format!("expected trap: {expected}, found trap: {found}"))
    }
}

/// The action must end in an exception that nobody catches.
fn throws(ending: Ending) -> Verdict {
    match ending {
        Ok(_) => Err("no exception".into()),
        Err(trap) if trap.exception().is_some() => Ok(()),
        Err(trap) => Err(format!("expected an exception, found trap: {trap}")),
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
