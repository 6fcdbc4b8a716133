//! Chains of two functions that call each other in tail position, in two instances of a module.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use tiered::decode::Module;
use tiered::decode::index::FuncIdx;
use tiered::{Caller, Frame, Instance, InterruptHandle, Limits, Linker, Store, Trap, Val};
use tiered_jit::{Code, Config, Entry, Jit};
use tiered_runtime::code::{EntryFn, EntryPoints, Sample, Tier};
use tiered_runtime::module_code::ModuleCode;

/// How a function runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Interpreted,
    Compiled,
    /// Interpreted up to its loop, which is compiled.
    Loop,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Interpreted, Kind::Compiled, Kind::Loop];
}

/// How a function calls the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Direct,
    /// Through a table, in the same instance.
    Table,
    /// In the other instance: the first one by a table, the second by an import.
    Other,
}

impl Way {
    pub(crate) const ALL: [Way; 3] = [Way::Direct, Way::Table, Way::Other];
}

/// Who begins the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    Host,
    /// By a call of a function of the same instance.
    Interpreted,
    Compiled,
    /// Through a table.
    Table,
    /// The host, which a function calls.
    Nested,
}

impl Root {
    pub(crate) const ALL: [Root; 5] = [
        Root::Host,
        Root::Interpreted,
        Root::Compiled,
        Root::Table,
        Root::Nested,
    ];

    /// The functions that wait for the chain, innermost first.
    pub(crate) fn names(self) -> Vec<&'static str> {
        let begin = (self == Root::Nested).then_some("begin");
        begin.into_iter().chain(self.name()).collect()
    }

    /// The function that the host calls, if it is not the chain's first one.
    fn name(self) -> Option<&'static str> {
        match self {
            Root::Host => None,
            Root::Interpreted => Some("interpreted root"),
            Root::Compiled => Some("compiled root"),
            Root::Table => Some("table root"),
            Root::Nested => Some("nested root"),
        }
    }
}

/// The types of the functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Plain,
    /// The second function has many more parameters than the first.
    WideCallee,
    /// Both have many, and more results than there are registers.
    ManyResults,
}

impl Shape {
    /// The further parameters of both functions, and the further results.
    fn types(self) -> [&'static [&'static str]; 3] {
        const MIXED: &[&str] = &[
            "i32", "v128", "f64", "i64", "f32", "i64", "i32", "i64", "v128", "i32", "f64", "i64",
            "f32", "f32", "v128", "f64", "f64", "i32", "f64", "f64", "f64", "v128", "f32", "i64",
        ];
        const RESULTS: &[&str] = &[
            "i64", "v128", "i32", "f32", "i64", "i64", "f64", "i32", "i64", "i32", "i64", "v128",
        ];
        match self {
            Shape::Plain => [&[], &[], &[]],
            Shape::WideCallee => [&["v128"], MIXED, &[]],
            Shape::ManyResults => [MIXED.split_at(11).0, MIXED, RESULTS],
        }
    }
}

/// A chain: how its functions run, and how each calls the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) shape: Shape,
    pub(crate) kinds: [Kind; 2],
    pub(crate) ways: [Way; 2],
}

/// The value of the further parameter `index` of a function that is called with `n`.
fn extra(n: i64, index: usize) -> i32 {
    (n as i32).wrapping_mul(7).wrapping_add(index as i32) & 0xff
}

/// An instruction that makes a value of type `ty` of the `i32` that `value` is.
fn from_i32(ty: &str, value: &str) -> String {
    match ty {
        "i32" => value.to_owned(),
        "i64" => format!("(i64.extend_i32_u {value})"),
        "v128" => format!("(i32x4.splat {value})"),
        float => format!("({float}.convert_i32_u {value})"),
    }
}

/// The reverse.
fn to_i32(ty: &str, value: &str) -> String {
    match ty {
        "i32" => value.to_owned(),
        "i64" => format!("(i32.wrap_i64 {value})"),
        "v128" => format!("(i32x4.extract_lane 3 {value})"),
        float => format!("(i32.trunc_{float}_u {value})"),
    }
}

/// The further arguments for parameters of these types, in a call with the number `n`.
fn extras(types: &[&str], n: &str) -> String {
    let mut text = String::new();
    for (index, ty) in types.iter().enumerate() {
        let value = format!(
            "(i32.and (i32.add (i32.mul (i32.wrap_i64 {n}) (i32.const 7)) (i32.const {index})) (i32.const 255))"
        );
        let _ = write!(text, " {}", from_i32(ty, &value));
    }
    text
}

impl Chain {
    /// The type of a function, with names if `named`.
    fn signature(&self, func: usize) -> String {
        let [a, b, results] = self.shape.types();
        let params = [a, b][func].join(" ");
        format!(
            "(param i64 i32 i32 {params}) (result i32 {})",
            results.join(" ")
        )
    }

    /// The tail call of the other function.
    fn hop(&self, func: usize) -> String {
        let other = 1 - func;
        let types = self.shape.types()[other];
        let args = format!(
            "(i64.sub (local.get 0) (i64.const 1)) (local.get 1) (local.get 2) {}",
            extras(types, "(i64.sub (local.get 0) (i64.const 1))")
        );
        match self.ways[func] {
            Way::Direct => format!("(return_call $f{other} {args})"),
            Way::Table => {
                format!("(return_call_indirect $own (type $t{other}) {args} (i32.const {other}))")
            }
            Way::Other => format!(
                "(if (i32.eq (global.get $tag) (i32.const 1)) (then
                    (return_call_indirect $pair (type $t{other}) {args} (i32.const {}))))
                (return_call $other{other} {args})",
                2 + other
            ),
        }
    }

    fn func(&self, func: usize) -> String {
        let name = ["a", "b"][func];
        let kind = match self.kinds[func] {
            Kind::Interpreted => "",
            Kind::Compiled => "compiled ",
            Kind::Loop => "loop ",
        };
        let [_, _, results] = self.shape.types();
        let mut fold = String::from(
            "(i32.add (i32.mul (local.get 1) (i32.const 31)) (i32.load8_u (i32.const 0)))",
        );
        for (index, ty) in self.shape.types()[func].iter().enumerate() {
            let value = to_i32(ty, &format!("(local.get {})", index + 3));
            fold = format!("(i32.add (i32.mul {fold} (i32.const 3)) {value})");
        }
        let end: String = results
            .iter()
            .enumerate()
            .map(|(index, ty)| from_i32(ty, &format!("(i32.const {index})")))
            .collect();
        let turn = 3 + self.shape.types()[func].len();
        let (begin, around) = match self.kinds[func] {
            Kind::Loop => (
                format!(
                    "(loop $turn (if (i32.eqz (local.get {turn})) (then (local.set {turn} (i32.const 1)) (br $turn)))"
                ),
                ") (unreachable)",
            ),
            _ => (String::new(), ""),
        };
        format!(
            r#"(func $f{func} (@name "{kind}{name}") (export "{name}") (type $t{func}) (local i32) {begin}
                (local.set 1 {fold})
                (if (i64.eqz (local.get 0)) (then
                    (if (local.get 2) (then (unreachable)))
                    (call $depth)
                    (return (local.get 1) {end})))
                (global.set $hops (i64.add (global.get $hops) (i64.const 1)))
                {}
                {around})"#,
            self.hop(func)
        )
    }

    fn roots(&self) -> String {
        let [a, _, results] = self.shape.types();
        let args = format!(
            "(local.get 0) (i32.const 1) (local.get 1) {}",
            extras(a, "(local.get 0)")
        );
        let drops = "(drop)".repeat(results.len());
        let mut text = String::new();
        for root in [Root::Interpreted, Root::Compiled, Root::Table, Root::Nested] {
            let name = root.name().unwrap_or_default();
            let call = match root {
                Root::Table => {
                    format!("(call_indirect $own (type $t0) {args} (i32.const 0)) {drops}")
                }
                Root::Nested => "(call $nested (local.get 0) (local.get 1))".to_owned(),
                _ => format!("(call $f0 {args}) {drops}"),
            };
            let _ = write!(
                text,
                r#"(func (@name "{name}") (export "{name}") (param i64 i32) (result i32)
                    {call} (i32.mul (i32.add (i32.load8_u (i32.const 0)) (i32.const 10)) (i32.const 1000)) (i32.xor))"#
            );
        }
        text
    }

    fn text(&self) -> String {
        let (a, b) = (self.signature(0), self.signature(1));
        format!(
            r#"(module
                (type $t0 (func {a})) (type $t1 (func {b}))
                (import "host" "depth" (func $depth))
                (import "host" "nested" (func $nested (param i64 i32) (result i32)))
                (import "other" "a" (func $other0 (type $t0))) (import "other" "b" (func $other1 (type $t1)))
                (import "pair" "table" (table $pair 4 funcref))
                (table $own funcref (elem $f0 $f1))
                (memory 1)
                (global $tag (mut i32) (i32.const 0)) (global $hops (export "hops") (mut i64) (i64.const 0))
                (func (export "init") (param i32) (local i32)
                    (global.set $tag (local.get 0)) (i32.store8 (i32.const 0) (local.get 0))
                    (local.set 1 (i32.mul (i32.sub (local.get 0) (i32.const 1)) (i32.const 2)))
                    (table.set $pair (local.get 1) (ref.func $f0))
                    (table.set $pair (i32.add (local.get 1) (i32.const 1)) (ref.func $f1)))
                (func (@name "begin") (export "begin") (param i64 i32) (result i32)
                    (call $f0 (local.get 0) (i32.const 1) (local.get 1) {extras}) {drops})
                {f0} {f1} {roots})"#,
            extras = extras(self.shape.types()[0], "(local.get 0)"),
            drops = "(drop)".repeat(self.shape.types()[2].len()),
            f0 = self.func(0),
            f1 = self.func(1),
            roots = self.roots()
        )
    }
}

/// The name of the frame's function, without what says how it runs.
pub(crate) fn name(frame: &Frame) -> &str {
    let name = frame.func_name().unwrap_or_default();
    let plain = name
        .strip_prefix("compiled ")
        .filter(|name| *name != "root");
    plain.or_else(|| name.strip_prefix("loop ")).unwrap_or(name)
}

/// A tier without opinions: what is compiled was published before anything ran.
struct Named {
    jit: Jit,
    period: i32,
    kept: Mutex<Vec<Code>>,
}

// SAFETY: the entry points are the interpreter's, with what compiled code needs, and no other entry is ever given.
unsafe impl Tier for Named {
    fn entry_points(&self) -> EntryPoints {
        EntryPoints {
            period: self.period,
            ..self.jit.entry_points(tiered_interp::entry_points())
        }
    }

    fn sample(&self, _: &Sample<'_>) -> Option<EntryFn> {
        None
    }
}

impl Named {
    /// Compiles what the names say, for callers that count fuel and for those that don't.
    fn publish(&self, module: &Arc<Module>, code: &ModuleCode) {
        let mut compiler = self.jit.compiler().expect("there is memory for code");
        for index in (0..module.funcs().len() as u32).map(FuncIdx) {
            let Some(name) = module.func_name(index) else {
                continue;
            };
            let is_loop = name.starts_with("loop ");
            if !is_loop && !name.starts_with("compiled ") {
                continue;
            }
            for metered in [false, true] {
                let func = code.set(metered).func(index).expect("it is defined");
                let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                if is_loop {
                    assert!(tiered_interp::translate(code, index, metered));
                    let of = &func.body().expect("it is translated").loops()[0];
                    let at = Entry::Loop { offset: of.offset };
                    let compiled = compiler.compile(module, index, at, metered);
                    let compiled = compiled.expect("it can be compiled");
                    // SAFETY: it is the code of this loop, and the tier keeps it.
                    unsafe { compiled.publish_loop(of) };
                    kept.push(compiled);
                } else {
                    let compiled = compiler.compile(module, index, Entry::Start, metered);
                    let compiled = compiled.expect("it can be compiled");
                    // SAFETY: it is the code of this function, and the tier keeps it.
                    unsafe { compiled.publish(func) };
                    kept.push(compiled);
                }
            }
        }
    }
}

/// What the host knows of a store.
#[derive(Default)]
struct Known {
    /// Where the native stack was at the end of the last chain.
    depth: usize,
    first: Option<Instance>,
}

/// Two instances.
pub(crate) struct Chains {
    chain: Chain,
    store: Store<Known>,
    instances: [Instance; 2],
}

/// Bytes of the guest's stack: too few for a chain that is kept there.
const STACK: usize = 64 << 10;

impl Chains {
    pub(crate) fn new(chain: Chain, period: i32) -> Chains {
        Chains::with(chain, period, true)
    }

    /// With everything in the interpreter.
    pub(crate) fn interpreted(chain: Chain, period: i32) -> Chains {
        Chains::with(chain, period, false)
    }

    fn with(chain: Chain, period: i32, compiles: bool) -> Chains {
        let text = chain.text();
        let module = Module::new(text.clone().into_bytes());
        let module = Arc::new(module.unwrap_or_else(|err| panic!("{chain:?}: {err}\n{text}")));
        let jit = Jit::new(&Config::default()).expect("this machine can");
        let named = Arc::new(Named {
            jit,
            period,
            kept: Mutex::default(),
        });
        let tier: Arc<dyn Tier> = named.clone();
        let code = ModuleCode::new(&tier, &module);
        if compiles {
            named.publish(&module, &code);
        }
        let limits = Limits {
            stack_bytes: STACK,
            ..Limits::default()
        };
        let mut store =
            Store::with_tier(tier.clone(), limits, Known::default()).expect("a store has a stack");
        let mut linker = Linker::new();
        linker.allow_shadowing(true);
        let depth = |mut caller: Caller<'_, Known>| {
            let here = 0u8;
            caller.data_mut().depth = std::hint::black_box(&raw const here).addr();
        };
        linker.func("host", "depth", depth).expect("a new name");
        let nested = |mut caller: Caller<'_, Known>, n: i64, traps: i32| -> Result<i32, Trap> {
            let first = caller.data().first.expect("it is set");
            let begin = first
                .typed_func::<(i64, i32), i32>(&caller, "begin")
                .expect("its type");
            begin.call(&mut caller, (n, traps))
        };
        linker.func("host", "nested", nested).expect("a new name");
        let pair = Module::new(br#"(module (table (export "table") 4 funcref))"#.to_vec());
        let pair = ModuleCode::new(&tier, &Arc::new(pair.expect("it is valid")));
        let pair = linker.instantiate(&mut store, &pair).expect("it is alone");
        linker.instance(&store, "pair", pair).expect("a new name");
        let ends = Module::new(chain.ends().into_bytes()).expect("it is valid");
        let ends = ModuleCode::new(&tier, &Arc::new(ends));
        let ends = linker.instantiate(&mut store, &ends).expect("it is alone");
        linker.instance(&store, "other", ends).expect("a new name");
        let first = linker.instantiate(&mut store, &code).expect("it is linked");
        linker
            .instance(&store, "other", first)
            .expect("it may be shadowed");
        let second = linker.instantiate(&mut store, &code).expect("it is linked");
        store.data_mut().first = Some(first);
        let instances = [first, second];
        for (tag, instance) in (1..).zip(instances) {
            let init = instance
                .typed_func::<i32, ()>(&store, "init")
                .expect("its type");
            init.call(&mut store, tag).expect("it does not trap");
        }
        Chains {
            chain,
            store,
            instances,
        }
    }

    pub(crate) fn set_fuel(&mut self, fuel: Option<u64>) {
        self.store.set_fuel(fuel);
    }

    pub(crate) fn interrupt_handle(&self) -> InterruptHandle {
        self.store.interrupt_handle()
    }

    /// Where the native stack was at the end of the last chain.
    pub(crate) fn depth(&self) -> usize {
        self.store.data().depth
    }

    /// How many tail calls there were since the last time that this was asked.
    pub(crate) fn hops(&mut self) -> u64 {
        let mut hops = 0;
        for instance in self.instances {
            let global = instance
                .global(&self.store, "hops")
                .expect("it is exported");
            hops += global.get(&self.store).i64().expect("an integer");
            global
                .set(&mut self.store, Val::I64(0))
                .expect("it can be set");
        }
        hops.cast_unsigned()
    }

    /// Runs a chain of `n` tail calls.
    pub(crate) fn run(&mut self, root: Root, n: i64) -> Result<i32, Trap> {
        self.call(root, n, 0)
    }

    /// As [`Chains::run`], with a trap at the end.
    pub(crate) fn run_to_trap(&mut self, root: Root, n: i64) -> Result<i32, Trap> {
        self.call(root, n, 1)
    }

    fn call(&mut self, root: Root, n: i64, traps: i32) -> Result<i32, Trap> {
        let first = self.instances[0];
        let name = root.name().unwrap_or("a");
        let func = first.func(&self.store, name).expect("it is exported");
        let mut args = vec![Val::I64(n)];
        if root == Root::Host {
            args.extend([Val::I32(1), Val::I32(traps)]);
            let types = self.chain.shape.types()[0].iter().enumerate();
            args.extend(types.map(|(index, ty)| value(ty, extra(n, index))));
        } else {
            args.push(Val::I32(traps));
        }
        let results = func.call(&mut self.store, &args)?;
        if root == Root::Host {
            let types = self.chain.shape.types()[2].iter().enumerate();
            let further: Vec<Val> = types.map(|(index, ty)| value(ty, index as i32)).collect();
            assert_eq!(
                format!("{:?}", &results[1..]),
                format!("{further:?}"),
                "{:?}",
                self.chain
            );
        }
        Ok(results[0].i32().expect("an integer"))
    }

    /// The result of [`Chains::run`].
    pub(crate) fn expected(&self, root: Root, n: i64) -> i32 {
        let (mut value, mut tag, mut func) = (1i32, 1, 0);
        for n in (0..=n).rev() {
            value = value.wrapping_mul(31).wrapping_add(tag);
            for index in 0..self.chain.shape.types()[func].len() {
                value = value.wrapping_mul(3).wrapping_add(extra(n, index));
            }
            if self.chain.ways[func] == Way::Other {
                tag = 3 - tag;
            }
            func = 1 - func;
        }
        match root {
            Root::Host => value,
            _ => value ^ 11_000,
        }
    }
}

impl Chain {
    /// A module with functions of the types that the first instance imports, none of which is called.
    fn ends(&self) -> String {
        let func = |name: &str, of| {
            format!(
                r#"(func (export "{name}") {} (unreachable))"#,
                self.signature(of)
            )
        };
        format!("(module {} {})", func("a", 0), func("b", 1))
    }
}

fn value(ty: &str, value: i32) -> Val {
    match ty {
        "i32" => Val::I32(value),
        "i64" => Val::I64(value.into()),
        "f32" => Val::F32((value as f32).to_bits()),
        "f64" => Val::F64(f64::from(value).to_bits()),
        _ => {
            let lane = u128::from(value.cast_unsigned());
            Val::V128(lane | lane << 32 | lane << 64 | lane << 96)
        }
    }
}
