//! What a program leaves behind: its results or its trap, what it told the host, and all that it exports.

use std::collections::BTreeMap;
use std::sync::Arc;

use tiered::decode::Module;
use tiered::{
    Caller, Extern, ExternRef, Frame, Instance, Linker, Memory, Store, Trap, TrapCode, Val,
};

/// What the host was told.
pub(crate) type Notes = Vec<i64>;

/// A program's instance.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) store: Store<Notes>,
    pub(crate) instance: Instance,
}

/// A trap: its code, its text, and the function and byte of each frame.
pub(crate) type Ended = (Option<TrapCode>, String, Vec<(u32, Option<u32>)>);

/// Everything that two runs of a program can be told apart by.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    /// Results as text.
    pub(crate) outcome: Result<Vec<String>, Ended>,
    pub(crate) notes: Notes,
    /// Exported globals, and elements of exported tables.
    pub(crate) values: BTreeMap<String, Vec<String>>,
    /// The lengths of exported memories, and their bytes that are not zero.
    pub(crate) memories: BTreeMap<String, (usize, BTreeMap<usize, u8>)>,
    pub(crate) fuel: Option<u64>,
}

impl State {
    /// The same, but for the byte at which the innermost frame stands.
    pub(crate) fn without_byte(mut self) -> State {
        if let Err((_, _, frames)) = &mut self.outcome
            && let Some((_, byte)) = frames.first_mut()
        {
            *byte = None;
        }
        self
    }
}

impl Guest {
    pub(crate) fn new(mut store: Store<Notes>, module: &Arc<Module>) -> Guest {
        let instance = linker()
            .instantiate(&mut store, module)
            .expect("it has its imports");
        Guest { store, instance }
    }

    /// Calls `run`; the state after that.
    pub(crate) fn run(&mut self, args: &[Val]) -> State {
        self.store.data_mut().clear();
        let run = self
            .instance
            .func(&self.store, "run")
            .expect("`run` is exported");
        let outcome = run.call(&mut self.store, args);
        self.state(outcome)
    }

    fn state(&self, outcome: Result<Vec<Val>, Trap>) -> State {
        let place = |frame: &Frame| (frame.func_index, frame.module_offset);
        let outcome = match outcome {
            Ok(results) => Ok(results.iter().map(|result| self.show(result)).collect()),
            Err(trap) => Err((
                trap.code(),
                trap.to_string(),
                trap.frames().iter().map(place).collect(),
            )),
        };
        let (mut values, mut memories) = (BTreeMap::new(), BTreeMap::new());
        for (name, export) in self.instance.exports(&self.store) {
            match export {
                Extern::Func(_) | Extern::Tag(_) => {}
                Extern::Global(global) => {
                    let value = self.show(&global.get(&self.store));
                    values.insert(name.to_owned(), vec![value]);
                }
                Extern::Table(table) => {
                    let elements = (0..).map_while(|index| table.get(&self.store, index));
                    let elements = elements.map(|element| self.show(&element)).collect();
                    values.insert(name.to_owned(), elements);
                }
                Extern::Memory(memory) => {
                    memories.insert(name.to_owned(), self.bytes(memory));
                }
            }
        }
        State {
            outcome,
            notes: self.store.data().clone(),
            values,
            memories,
            fuel: self.store.fuel(),
        }
    }

    fn bytes(&self, memory: Memory) -> (usize, BTreeMap<usize, u8>) {
        let bytes = memory.data(&self.store);
        let set = bytes
            .iter()
            .copied()
            .enumerate()
            .filter(|&(_, byte)| byte != 0);
        (bytes.len(), set.collect())
    }

    /// A value as text that is the same in every store: a function by its export, a host's value by its content.
    fn show(&self, value: &Val) -> String {
        match value {
            Val::FuncRef(Some(func)) => {
                let is_it = |export: &Extern| *export == Extern::Func(*func);
                let mut exports = self.instance.exports(&self.store);
                let found = exports.find(|(_, export)| is_it(export));
                found.map_or("a function".to_owned(), |(name, _)| name.to_owned())
            }
            Val::ExternRef(Some(value)) => {
                format!("{:?}", value.data(&self.store).downcast_ref::<i32>())
            }
            other => format!("{other:?}"),
        }
    }
}

/// What programs import.
fn linker() -> Linker<Notes> {
    let mut linker = Linker::new();
    linker
        .func(
            "host",
            "note",
            |mut caller: Caller<'_, Notes>, value: i64| {
                caller.data_mut().push(value);
            },
        )
        .expect("a new name");
    linker
        .func(
            "host",
            "again",
            |mut caller: Caller<'_, Notes>, value: i32| -> Result<i32, Trap> {
                let Some(Extern::Func(again)) = caller.export("again") else {
                    return Err(Trap::message("no such export"));
                };
                caller.data_mut().push(-1);
                let again = again.typed::<i32, i32>(&caller).map_err(Trap::host)?;
                again.call(&mut caller, value)
            },
        )
        .expect("a new name");
    linker
        .func(
            "host",
            "fail",
            |_: Caller<'_, Notes>, value: i32| -> Result<(), Trap> {
                Err(Trap::message(format!("no more than {value}")))
            },
        )
        .expect("a new name");
    linker
        .func(
            "host",
            "value",
            |mut caller: Caller<'_, Notes>, value: i32| Some(ExternRef::new(&mut caller, value)),
        )
        .expect("a new name");
    linker
}
