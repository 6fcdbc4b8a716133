//! The seam between tiers, seen from the other side: a tier of Rust functions that takes over calls and loops.
//!
//! *Invariant:* at a back edge every local and every operand under the loop is in the slot that
//! [`FrameLayout`] says, so that whoever is entered there needs nothing else.
//! *Invariant:* an entry never panics, for nothing may unwind through it: it writes down what it sees, and the test
//! looks at that later.

use std::cell::RefCell;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

use tiered_decode::Module;
use tiered_decode::index::FuncIdx;
use tiered_interp::runtime::code::{Doors, EntryFn, FuncRecord, HotPoint, Outcome, Tier};
use tiered_interp::runtime::frame::{FrameLayout, Slot};
use tiered_interp::runtime::vmctx::VmCtx;
use tiered_interp::runtime::{
    Caller, Extern, ExternRef, Instance, Limits, Linker, Store, Trap, TrapCode, Val,
};

/// What a [`Probe`] was asked: of a function by its index, `None` for one of the host.
type Asked = (Option<u32>, HotPoint);

type Answer = dyn Fn(usize, &FuncRecord, HotPoint) -> Option<EntryFn> + Send + Sync;

/// A tier that begins in the interpreter, writes down all questions, and answers as it is told.
struct Probe {
    budgets: (i32, i32),
    asked: Mutex<Vec<Asked>>,
    /// Gets the number of questions before this one.
    answer: Box<Answer>,
}

impl Probe {
    fn new(
        calls: i32,
        loops: i32,
        answer: impl Fn(usize, &FuncRecord, HotPoint) -> Option<EntryFn> + Send + Sync + 'static,
    ) -> Arc<Probe> {
        Arc::new(Probe {
            budgets: (calls, loops),
            asked: Mutex::default(),
            answer: Box::new(answer),
        })
    }

    /// One that leaves everything where it is.
    fn silent(calls: i32, loops: i32) -> Arc<Probe> {
        Probe::new(calls, loops, |_, _, _| None)
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no test panics with it").clone()
    }

    /// The bytes of the loops that were asked for.
    fn loops(&self) -> Vec<u32> {
        let offset = |(_, at)| match at {
            HotPoint::Loop { offset } => Some(offset),
            HotPoint::Call => None,
        };
        self.asked().into_iter().filter_map(offset).collect()
    }

    fn calls(&self) -> usize {
        self.asked()
            .iter()
            .filter(|(_, at)| *at == HotPoint::Call)
            .count()
    }
}

// SAFETY: the doors are the interpreter's, and the entries of these tests keep the rules of the seam.
unsafe impl Tier for Probe {
    fn cold(&self) -> Doors {
        let (call_budget, loop_budget) = self.budgets;
        Doors {
            call_budget,
            loop_budget,
            ..tiered_interp::doors()
        }
    }

    fn hot(&self, func: &FuncRecord, at: HotPoint) -> Option<EntryFn> {
        let of = (!func.instance.is_null()).then_some(func.index.0);
        let number = {
            let mut asked = self.asked.lock().expect("no test panics with it");
            asked.push((of, at));
            asked.len() - 1
        };
        (self.answer)(number, func, at)
    }
}

struct Guest {
    store: Store<u32>,
    instance: Instance,
    module: Arc<Module>,
    probe: Arc<Probe>,
}

impl Guest {
    fn new(text: &str, probe: Arc<Probe>) -> Guest {
        Guest::linked(text, probe, &Linker::new())
    }

    fn linked(text: &str, probe: Arc<Probe>, linker: &Linker<u32>) -> Guest {
        let module =
            Module::new(text.as_bytes().to_vec()).unwrap_or_else(|err| panic!("{err}\n{text}"));
        let module = Arc::new(module);
        let mut store =
            Store::new(probe.clone(), Limits::default(), 0).expect("a store has a stack");
        let instance = linker
            .instantiate(&mut store, &module)
            .expect("it has its imports");
        Guest {
            store,
            instance,
            module,
            probe,
        }
    }

    fn call(&mut self, name: &str, args: &[Val]) -> Result<Vec<Val>, Trap> {
        let func = self.instance.func(&self.store, name);
        func.unwrap_or_else(|| panic!("{name} is exported"))
            .call(&mut self.store, args)
    }

    fn call_i32(&mut self, name: &str, args: &[i32]) -> i32 {
        let args: Vec<Val> = args.iter().copied().map(Val::I32).collect();
        match self.call(name, &args) {
            Ok(results) => results[0].i32().expect("an integer"),
            Err(trap) => panic!("{name}: {trap:?}"),
        }
    }
}

/// What a frame is to look like at a back edge.
#[derive(Clone, Debug, PartialEq)]
struct State {
    /// Which loop of the function, in the order of the code.
    ordinal: usize,
    locals: Vec<u64>,
    operands: Vec<u64>,
}

fn at(ordinal: usize, locals: &[u64], operands: &[u64]) -> State {
    State {
        ordinal,
        locals: locals.to_vec(),
        operands: operands.to_vec(),
    }
}

/// A function with loops, and the same in Rust: the states at all back edges, and the results.
struct Loops {
    name: &'static str,
    /// The type and the body of the function.
    body: &'static str,
    args: fn(&mut Store<u32>) -> Vec<Val>,
    run: fn() -> (Vec<State>, Vec<u64>),
}

fn unsigned(value: i32) -> u64 {
    u64::from(value.cast_unsigned())
}

const LOOPS: &[Loops] = &[
    Loops {
        name: "two pinned locals and a float",
        body: "(param $n i32) (result i64) (local $sum i64) (local $x f64)
            (loop
                (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_s (local.get $n))))
                (local.set $x (f64.add (local.get $x) (f64.const 0.5)))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br_if 0 (local.get $n)))
            (local.get $sum)",
        args: |_| vec![Val::I32(6)],
        run: || {
            let (mut n, mut sum, mut x, mut states) = (6, 0, 0.0f64, Vec::new());
            loop {
                (sum, x, n) = (sum + n, x + 0.5, n - 1);
                if n == 0 {
                    return (states, vec![sum]);
                }
                states.push(at(0, &[n, sum, x.to_bits()], &[]));
            }
        },
    },
    Loops {
        name: "operands of all kinds under the loop",
        body: "(param $n i32) (result i64) (local $k i64)
            (i32.const -1) (local.get $n) (i64.mul (i64.extend_i32_s (local.get $n)) (i64.const -3))
            (f32.const 1.5) (f64.neg (f64.const 0)) (local.get $k) (ref.null func)
            (loop
                (local.set $k (i64.sub (local.get $k) (i64.const 1)))
                (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (drop) (drop) (drop) (drop) (local.set $k) (drop) (drop) (local.get $k)",
        args: |_| vec![Val::I32(4)],
        run: || {
            let minus = |k: i64| (-k).cast_unsigned();
            let under = [0xffff_ffff, 4, minus(12), 0x3fc0_0000, 1 << 63, 0, 0];
            let states = (1..4).map(|k| at(0, &[4 - k, minus(k.cast_signed())], &under)).collect();
            (states, vec![minus(12)])
        },
    },
    Loops {
        name: "nested, with operands under both",
        body: "(param $n i32) (result i64) (local $i i32) (local $j i32) (local $sum i64)
            (i32.add (local.get $n) (i32.const 100))
            (loop $outer
                (local.set $j (i32.const 0))
                (i64.extend_i32_u (local.get $i))
                (loop $inner
                    (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (local.get $j))))
                    (br_if $inner (i32.lt_u
                        (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get $n))))
                (local.set $sum (i64.add (local.get $sum)))
                (br_if $outer (i32.lt_u
                    (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
            (drop) (local.get $sum)",
        args: |_| vec![Val::I32(3)],
        run: || {
            let (mut i, mut sum, mut states) = (0, 0, Vec::new());
            loop {
                let mut j = 0;
                loop {
                    (sum, j) = (sum + j, j + 1);
                    if j == 3 {
                        break;
                    }
                    states.push(at(1, &[3, i, j, sum], &[103, i]));
                }
                (sum, i) = (sum + i, i + 1);
                if i == 3 {
                    return (states, vec![sum]);
                }
                states.push(at(0, &[3, i, 3, sum], &[103]));
            }
        },
    },
    Loops {
        name: "parameters that come from above other operands",
        body: "(param $n i32) (result i64 i32 f64) (local $a i64) (local $b i32) (local $c f64)
            (f32.const 2) (i64.const -7) (i32.const -9) (f64.const 0.25)
            (loop (param i64 i32 f64) (result i64 i32 f64)
                (local.set $c) (local.set $b) (local.set $a)
                (i64.const 1111) (i32.const 2222)
                (i64.sub (local.get $a) (i64.const 1)) (i32.add (local.get $b) (local.get $n)) (f64.mul (local.get $c) (f64.const 2))
                (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))
                (local.set $c) (local.set $b) (local.set $a) (drop) (drop)
                (local.get $a) (local.get $b) (local.get $c))
            (local.set $c) (local.set $b) (local.set $a) (drop)
            (local.get $a) (local.get $b) (local.get $c)",
        args: |_| vec![Val::I32(3)],
        run: || {
            let (mut n, mut a, mut b, mut c, mut states) = (3, -7i64, -9i32, 0.25f64, Vec::new());
            loop {
                let old = [unsigned(n - 1), a.cast_unsigned(), unsigned(b), c.to_bits()];
                (a, b, c, n) = (a - 1, b + n, c * 2.0, n - 1);
                let new = [a.cast_unsigned(), unsigned(b), c.to_bits()];
                if n == 0 {
                    return (states, new.to_vec());
                }
                states.push(at(0, &old, &[0x4000_0000, new[0], new[1], new[2]]));
            }
        },
    },
    Loops {
        name: "locals of all types",
        body: "(param $e externref) (param $n i32) (result i32)
            (local $i i32) (local $l i64) (local $f f32) (local $d f64) (local $o externref) (local $r funcref)
            (loop
                (local.set $i (i32.sub (local.get $i) (i32.const 1)))
                (local.set $l (i64.extend_i32_s (local.get $i)))
                (local.set $f (f32.neg (f32.convert_i32_s (local.get $n))))
                (local.set $d (f64.reinterpret_i64 (i64.or (i64.const 0x7ff0000000000000) (i64.extend_i32_u (local.get $n)))))
                (local.set $o (select (result externref) (local.get $e) (ref.null extern) (i32.and (local.get $n) (i32.const 1))))
                (local.set $r (ref.null func))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br_if 0 (local.get $n)))
            (local.get $i)",
        args: |store| {
            ExternRef::new(store, 1u8);
            vec![Val::ExternRef(Some(ExternRef::new(store, 2u8))), Val::I32(4)]
        },
        run: || {
            let state = |turn: i32| {
                let n = 5 - turn;
                let float = (-(n as f32)).to_bits();
                let nan = 0x7ff0_0000_0000_0000 | unsigned(n);
                let other = if n & 1 == 1 { 2 } else { 0 };
                let long = i64::from(-turn).cast_unsigned();
                at(0, &[2, unsigned(n - 1), unsigned(-turn), long, u64::from(float), nan, other, 0], &[])
            };
            ((1..4).map(state).collect(), vec![unsigned(-4)])
        },
    },
    Loops {
        name: "with calls in it",
        body: "(param $n i32) (result i32) (local $x f32)
            (call $same (local.get $n))
            (loop
                (local.set $x (f32.add (local.get $x) (f32.convert_i32_s (call $same (local.get $n)))))
                (br_if 0 (i32.gt_s (local.tee $n (call $same (i32.sub (local.get $n) (i32.const 1)))) (i32.const 0))))",
        args: |_| vec![Val::I32(3)],
        run: || {
            let states = vec![
                at(0, &[2, u64::from(3f32.to_bits())], &[3]),
                at(0, &[1, u64::from(5f32.to_bits())], &[3]),
            ];
            (states, vec![3])
        },
    },
    Loops {
        name: "back edges by all branches",
        body: "(param $n i32) (result i32) (local $turns i32)
            (local.get $turns)
            (block $out
                (loop $again
                    (local.set $turns (i32.add (local.get $turns) (i32.const 1)))
                    (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                    (br_if $out (i32.eqz (local.get $n)))
                    (block $c (block $b (block $a
                        (br_table $a $b $c $again (i32.rem_u (local.get $n) (i32.const 5))))
                        (br $again))
                        (if (local.get $n) (then (br $again))))
                    (br_if $again (i64.ne (i64.extend_i32_u (local.get $n)) (i64.const 0)))))
            (drop) (local.get $turns)",
        args: |_| vec![Val::I32(8)],
        run: || ((1..8).map(|turn| at(0, &[8 - turn, turn], &[0])).collect(), vec![8]),
    },
    Loops {
        name: "no parameters, many locals, many results",
        body: "(result i64 i64 i64 i64) (local i64 i64 i64 i64 i64 i64)
            (i64.const 5)
            (loop
                (local.set 5 (i64.add (local.get 5) (i64.const 1)))
                (local.set 4 (i64.add (local.get 4) (local.get 5)))
                (local.set 0 (i64.sub (local.get 4) (local.get 5)))
                (br_if 0 (i64.lt_u (local.get 5) (i64.const 4))))
            (local.get 0) (local.get 4) (local.get 5)",
        args: |_| vec![],
        run: || {
            let state = |turn: u64, sum: u64| at(0, &[sum - turn, 0, 0, 0, sum, turn], &[5]);
            (vec![state(1, 1), state(2, 3), state(3, 6)], vec![5, 6, 10, 4])
        },
    },
    Loops {
        name: "one behind the other, with an operand that stays",
        body: "(param $n i32) (result i32) (local $i i32) (local $j i32)
            (i32.mul (local.get $n) (i32.const 7))
            (loop (br_if 0 (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
            (local.get $i)
            (loop (br_if 0 (i32.lt_s (local.tee $j (i32.add (local.get $j) (i32.const 2))) (local.get $n))))
            (i32.add)",
        args: |_| vec![Val::I32(3)],
        run: || {
            let states = vec![
                at(0, &[3, 1, 0], &[21]),
                at(0, &[3, 2, 0], &[21]),
                at(1, &[3, 3, 2], &[21, 3]),
            ];
            (states, vec![24])
        },
    },
];

impl Loops {
    fn module(&self) -> String {
        let own = self.body.find("(result").expect("it has results");
        let results = &self.body[own + "(result".len()..];
        let results = &results[..results.find(')').expect("it ends")];
        let params = self.body[..own].matches("(param").count();
        let types: String = self.body[..own].replace('$', "$p");
        let args: String = (0..params)
            .map(|index| format!("(local.get {index})"))
            .collect();
        format!(
            "(module
            (func $run (export \"run\") {})
            (func $same (param i32) (result i32) (local.get 0))
            (func (export \"called\") {types} (result i64{results}) (i64.const 111) {args} (call $run))
            (table funcref (elem $run))
            (type $t (func {types} (result{results})))
            (func (export \"called_indirectly\") {types} (result i64{results})
                (i64.const 111) {args} (call_indirect (type $t) (i32.const 0))))",
            self.body
        )
    }

    fn guest(&self, probe: Arc<Probe>) -> (Guest, Vec<Val>) {
        let mut guest = Guest::new(&self.module(), probe);
        let args = (self.args)(&mut guest.store);
        (guest, args)
    }
}

fn bits(val: &Val) -> u64 {
    match *val {
        Val::I32(value) => unsigned(value),
        Val::I64(value) => value.cast_unsigned(),
        Val::F32(bits) => u64::from(bits),
        Val::F64(bits) => bits,
        ref other => unreachable!("no function here returns {other:?}"),
    }
}

/// Never spent.
const ENOUGH: i32 = 1_000_000;

#[test]
fn every_back_edge_is_asked_about() {
    for case in LOOPS {
        let (mut guest, args) = case.guest(Probe::silent(ENOUGH, 0));
        let found = guest.call("run", &args).expect("it does not trap");
        let (states, results) = (case.run)();
        assert_eq!(
            found.iter().map(bits).collect::<Vec<_>>(),
            results,
            "{}",
            case.name
        );
        let headers = guest.module.loop_headers(FuncIdx(0));
        let expected: Vec<u32> = states
            .iter()
            .map(|state| headers[state.ordinal].offset)
            .collect();
        assert_eq!(guest.probe.loops(), expected, "{}", case.name);
        assert!(
            guest.probe.asked().iter().all(|&(func, _)| func == Some(0)),
            "{}",
            case.name
        );
        for header in headers {
            assert_eq!(
                guest.module.bytes()[header.offset as usize],
                0x03,
                "{}: a loop's byte",
                case.name
            );
        }
    }
}

/// What the recorder is told, and what it sees.
#[derive(Default)]
struct Recorded {
    layout: Option<(FrameLayout, u32, u32)>,
    results: Vec<u64>,
    seen: Option<State>,
}

thread_local! {
    static RECORDED: RefCell<Recorded> = RefCell::default();
}

/// Takes over a loop: writes down the frame, and ends the function with the results that it was told.
///
/// # Safety
/// As for every [`EntryFn`]; the frame is that of the loop that was announced.
unsafe extern "C" fn record(_: NonNull<FuncRecord>, frame: NonNull<Slot>) -> Outcome {
    RECORDED.with_borrow_mut(|recorded| {
        let Some((layout, locals, height)) = recorded.layout else {
            return;
        };
        // SAFETY: the slots are in the frame of a function with that many locals and operands.
        let slot = |index: u32| unsafe { frame.add(index as usize).read() };
        recorded.seen = Some(State {
            ordinal: 0,
            locals: (0..locals).map(|local| slot(layout.local(local))).collect(),
            operands: (0..height)
                .map(|height| slot(layout.operand(height)))
                .collect(),
        });
        for (index, &result) in recorded.results.iter().enumerate() {
            // SAFETY: a frame has room for the function's results.
            unsafe { frame.add(index).write(result) };
        }
    });
    Outcome::Returned
}

/// Each loop is left at each of its back edges in turn: the frame is as the same code in Rust has it, and what the
/// other tier returns is what the caller gets.
#[test]
fn frames_are_complete_at_every_back_edge() {
    for case in LOOPS {
        let (states, results) = (case.run)();
        // Results that the interpreter would not give.
        let other: Vec<u64> = results.iter().map(|bits| bits ^ 5).collect();
        for (number, state) in states.iter().enumerate() {
            for export in ["run", "called", "called_indirectly"] {
                let probe = Probe::new(ENOUGH, 0, move |asked, _, _| {
                    (asked == number).then_some(record as EntryFn)
                });
                let (mut guest, args) = case.guest(probe);
                let header = guest.module.loop_headers(FuncIdx(0))[state.ordinal];
                let params = args.len() as u32;
                let locals = state.locals.len() as u32;
                RECORDED.set(Recorded {
                    layout: Some((FrameLayout::new(params, locals), locals, header.height)),
                    results: other.clone(),
                    seen: None,
                });
                let found = guest.call(export, &args).expect("it does not trap");
                let found: Vec<u64> = found.iter().map(bits).collect();
                let what = format!("{}, back edge {number}, {export}", case.name);
                let seen = RECORDED.take().seen.map(|seen| State {
                    ordinal: state.ordinal,
                    ..seen
                });
                assert_eq!(seen.as_ref(), Some(state), "{what}");
                let under = (export != "run").then_some(111);
                let expected: Vec<u64> = under.into_iter().chain(other.iter().copied()).collect();
                assert_eq!(found, expected, "{what}");
                assert_eq!(
                    guest.probe.loops().len(),
                    number + 1,
                    "{what}: nothing ran on"
                );
            }
        }
    }
}

const SUM: &str = r#"(module
    (func $sum (export "sum") (param $n i32) (result i32) (local $sum i32)
        (i32.const 1000)
        (loop (local.set $sum (i32.add (local.get $sum) (local.get $n)))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (i32.add (local.get $sum)))
    (func (export "sums") (param $n i32) (result i32)
        (i32.add (call $sum (local.get $n)) (i32.mul (call $sum (local.get $n)) (i32.const 2)))))"#;

/// Goes on with the loop of `sum` in Rust.
///
/// # Safety
/// As for every [`EntryFn`], with the frame of that loop.
unsafe extern "C" fn go_on_with_sum(func: NonNull<FuncRecord>, frame: NonNull<Slot>) -> Outcome {
    // SAFETY: the frame is that of a function with a parameter and another local, and an operand under the loop.
    unsafe {
        let layout = FrameLayout::new(func.as_ref().params.into(), 2);
        let slot = |index: u32| frame.add(index as usize).read() as u32;
        let (mut n, mut sum) = (slot(layout.local(0)), slot(layout.local(1)));
        while n != 0 {
            (sum, n) = (sum + n, n - 1);
        }
        frame.write(u64::from(sum + slot(layout.operand(0))));
    }
    Outcome::Returned
}

#[test]
fn a_loop_goes_on_in_another_tier() {
    for loop_budget in [0, 1, 7, 50, 98, 99, 100] {
        let probe = Probe::new(ENOUGH, loop_budget, |_, _, _| {
            Some(go_on_with_sum as EntryFn)
        });
        let mut guest = Guest::new(SUM, probe);
        assert_eq!(
            guest.call_i32("sum", &[100]),
            1000 + 5050,
            "budget {loop_budget}"
        );
        assert_eq!(
            guest.call_i32("sums", &[10]),
            3 * (1000 + 55),
            "budget {loop_budget}"
        );
        assert_eq!(guest.call_i32("sum", &[1]), 1001, "budget {loop_budget}");
        assert_eq!(
            guest.probe.loops().is_empty(),
            loop_budget > 99 + 9 + 9,
            "budget {loop_budget}"
        );
    }
}

#[test]
fn budgets_are_counted_exactly() {
    for budget in [0, 1, 9, 33, 99, 100] {
        let mut guest = Guest::new(SUM, Probe::silent(ENOUGH, budget));
        assert_eq!(guest.call_i32("sum", &[101]), 1000 + 101 * 51);
        // A hundred back edges; the budget and one more between two questions.
        assert_eq!(
            guest.probe.loops().len(),
            100 / (budget as usize + 1),
            "budget {budget}"
        );
        assert_eq!(guest.probe.calls(), 0);
    }
    for budget in [0, 1, 9, 33, 99, 100] {
        let text = r#"(module
            (func $f (param i32)) (func $g (param i32))
            (func (export "run") (param $n i32)
                (loop (call $f (local.get $n)) (call $f (local.get $n)) (call $g (local.get $n))
                    (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#;
        let mut guest = Guest::new(text, Probe::silent(budget, ENOUGH));
        guest
            .call("run", &[Val::I32(100)])
            .expect("it does not trap");
        let asked = guest.probe.asked();
        let of = |func: u32| {
            asked
                .iter()
                .filter(|&&(of, at)| of == Some(func) && at == HotPoint::Call)
                .count()
        };
        let between = budget as usize + 1;
        assert_eq!(
            (of(0), of(1), of(2)),
            // The host's own call counts as any other.
            (200 / between, 100 / between, 1 / between),
            "budget {budget}"
        );
        assert_eq!(guest.probe.loops(), []);
    }
}

const CALLS: &str = r#"(module
    (import "host" "note" (func $note (param i32) (result i32)))
    (table 4 funcref) (elem (i32.const 0) $triple $note)
    (func $triple (export "triple") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3)))
    (func $float (export "float") (param f64) (result f64) (f64.mul (local.get 0) (f64.const 3)))
    (func (export "calls") (param $n i32) (result i32) (local $sum i32)
        (loop
            (local.set $sum (i32.add (local.get $sum) (call $triple (local.get $n))))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum))
    (func (export "indirect_calls") (param $n i32) (result i32) (local $sum i32)
        (loop
            (local.set $sum (i32.add (local.get $sum)
                (call_indirect (param i32) (result i32) (local.get $n) (i32.const 0))))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum))
    (func (export "host_calls") (param $n i32) (result i32) (local $sum i32)
        (loop
            (local.set $sum (i32.add (local.get $sum) (call $note (local.get $n))))
            (local.set $sum (i32.add (local.get $sum)
                (call_indirect (param i32) (result i32) (local.get $n) (i32.const 1))))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum))
    (func (export "float_calls") (param $n i32) (result f64) (local $sum f64)
        (loop
            (local.set $sum (f64.add (local.get $sum) (call $float (f64.convert_i32_s (local.get $n)))))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum)))"#;

fn noting() -> Linker<u32> {
    let mut linker = Linker::new();
    linker.func("host", "note", |mut caller: Caller<'_, u32>, value: i32| {
        *caller.data_mut() += 1;
        value
    });
    linker
}

/// As `triple`, and a thousand more.
///
/// # Safety
/// As for every [`EntryFn`], with the arguments of `triple`.
unsafe extern "C" fn native_triple(_: NonNull<FuncRecord>, frame: NonNull<Slot>) -> Outcome {
    // SAFETY: the argument is in the first slot, and so is the result.
    unsafe { frame.write(u64::from(frame.read() as u32 * 3 + 1000)) };
    Outcome::Returned
}

/// As `float`, and a half more.
///
/// # Safety
/// As for every [`EntryFn`], with the arguments of `float`.
unsafe extern "C" fn native_float(_: NonNull<FuncRecord>, frame: NonNull<Slot>) -> Outcome {
    // SAFETY: as above.
    unsafe { frame.write((f64::from_bits(frame.read()) * 3.0 + 0.5).to_bits()) };
    Outcome::Returned
}

#[test]
fn a_hot_call_goes_to_another_tier() {
    for export in ["calls", "indirect_calls"] {
        let probe = Probe::new(9, ENOUGH, |_, func, at| {
            assert_eq!((func.index, at), (FuncIdx(1), HotPoint::Call));
            Some(native_triple as EntryFn)
        });
        let mut guest = Guest::linked(CALLS, probe, &noting());
        // Every tenth call is hot, and only that one.
        assert_eq!(
            guest.call_i32(export, &[100]),
            3 * 5050 + 10 * 1000,
            "{export}"
        );
    }
    let probe = Probe::new(9, ENOUGH, |_, _, _| Some(native_float as EntryFn));
    let mut guest = Guest::linked(CALLS, probe, &noting());
    let found = guest
        .call("float_calls", &[Val::I32(100)])
        .expect("it does not trap");
    assert_eq!(found, [Val::from(3.0 * 5050.0 + 10.0 * 0.5)]);
}

/// The functions of the host are nobody's to compile.
#[test]
fn nobody_asks_about_host_functions() {
    let mut guest = Guest::linked(CALLS, Probe::silent(4, ENOUGH), &noting());
    assert_eq!(guest.call_i32("host_calls", &[100]), 2 * 5050);
    assert_eq!(*guest.store.data(), 200);
    let asked = guest.probe.asked();
    assert!(
        asked.iter().all(|(func, _)| func.is_some()),
        "{} questions: {:?} …",
        asked.len(),
        asked[0]
    );
}

/// The door to all functions of another tier.
fn native_stream(func: &FuncRecord) -> *const u64 {
    // SAFETY: the store is alive while it asks.
    unsafe { func.store.as_ref() }.doors().native
}

#[test]
fn a_function_moves_between_calls() {
    for export in ["calls", "indirect_calls"] {
        let probe = Probe::new(9, ENOUGH, |_, func, _| {
            // SAFETY: the entry runs the function by the rules.
            unsafe { func.publish(native_triple, native_stream(func), std::ptr::null()) };
            None
        });
        let mut guest = Guest::linked(CALLS, probe, &noting());
        // The tenth call asks; it already enters by the new door, and so do all others.
        assert_eq!(
            guest.call_i32(export, &[100]),
            3 * 5050 + 91 * 1000,
            "{export}"
        );
        assert_eq!(
            guest.call_i32("triple", &[2]),
            1006,
            "the host enters there too"
        );
        assert_eq!(guest.call_i32(export, &[1]), 1003, "{export}");
    }
}

#[test]
fn a_function_moves_back() {
    let streams: Mutex<Option<usize>> = Mutex::new(None);
    let probe = Probe::new(9, ENOUGH, move |_, func, _| {
        let mut old = streams.lock().expect("nobody panics with it");
        // SAFETY: both entries run the function; the stream is the one that the interpreter made for it.
        unsafe {
            if let Some(stream) = old.take() {
                let doors = *func.store.as_ref().doors();
                func.publish(
                    doors.entry,
                    std::ptr::with_exposed_provenance(stream),
                    std::ptr::null(),
                );
            } else {
                *old = Some(func.stream().expose_provenance());
                func.publish(native_triple, native_stream(func), std::ptr::null());
            }
        }
        None
    });
    let mut guest = Guest::linked(CALLS, probe, &noting());
    // Calls 10 to 19 are native, 20 to 29 are not, and so on; the last of a hundred is native again.
    assert_eq!(
        guest.call_i32("calls", &[100]),
        3 * 5050 + 50_000 + 1000 - 1000
    );
    assert_eq!(guest.call_i32("triple", &[2]), 6);
}

/// `f(n) = g(n - 1) + 1`, `g(n) = f(n - 1) + 1`, both 0 for 0: `f(n) = n`. The memory says how often each was entered.
const PING_PONG: &str = r#"(module
    (memory (export "memory") 1)
    (func $f (export "f") (param i32) (result i32) (local i64)
        (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
        (local.set 1 (i64.const -1))
        (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
        (i32.sub (i32.add (call $g (i32.sub (local.get 0) (i32.const 1))) (i32.const 2))
            (i32.eq (i32.wrap_i64 (local.get 1)) (i32.const -1))))
    (func $g (export "g") (param i32) (result i32)
        (i32.store (i32.const 4) (i32.add (i32.load (i32.const 4)) (i32.const 1)))
        (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
        (i32.add (call $f (i32.sub (local.get 0) (i32.const 1))) (i32.const 1))))"#;

/// `g` in Rust: calls `f` by everybody's door.
///
/// # Safety
/// As for every [`EntryFn`], with the arguments of `g`.
unsafe extern "C" fn native_g(func: NonNull<FuncRecord>, frame: NonNull<Slot>) -> Outcome {
    // SAFETY: the record and its instance are alive; the frame has room behind the limit for this one and the next.
    unsafe {
        let n = frame.read() as u32;
        if n == 0 {
            return Outcome::Returned;
        }
        let ctx = func.as_ref().store.as_ref();
        let next = frame.add(8);
        if next > ctx.stack_limit.get() {
            ctx.raise(Trap::new(TrapCode::StackOverflow));
            return Outcome::Trapped;
        }
        next.write(u64::from(n - 1));
        let f = VmCtx::borrow(func.as_ref().instance).func(FuncIdx(0));
        if f.as_ref().entry()(f, next) == Outcome::Trapped {
            return Outcome::Trapped;
        }
        frame.write(u64::from(next.read() as u32 + 1));
    }
    Outcome::Returned
}

fn entered(guest: &Guest) -> [u32; 2] {
    let memory = guest
        .instance
        .memory(&guest.store, "memory")
        .expect("it is exported");
    let bytes = memory.data(&guest.store);
    [0, 4].map(|at| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")))
}

#[test]
fn a_function_moves_while_it_is_running() {
    for budget in 0..12 {
        let probe = Probe::new(budget, ENOUGH, move |_, func, _| {
            if func.index == FuncIdx(1) {
                // SAFETY: the entry runs the function by the rules.
                unsafe { func.publish(native_g, native_stream(func), std::ptr::null()) };
            }
            None
        });
        let mut guest = Guest::new(PING_PONG, probe);
        assert_eq!(guest.call_i32("f", &[40]), 40, "budget {budget}");
        let interpreted = budget.unsigned_abs();
        assert_eq!(entered(&guest), [21, interpreted], "budget {budget}");
        assert_eq!(guest.call_i32("f", &[10]), 10, "budget {budget}");
        assert_eq!(guest.call_i32("g", &[10]), 10, "budget {budget}");
        assert_eq!(
            entered(&guest),
            [21 + 6 + 5, interpreted],
            "budget {budget}"
        );
    }
}

/// Ends with a trap.
///
/// # Safety
/// As for every [`EntryFn`].
unsafe extern "C" fn native_trap(func: NonNull<FuncRecord>, _: NonNull<Slot>) -> Outcome {
    // SAFETY: the record is alive.
    unsafe { func.as_ref().store.as_ref() }.raise(Trap::new(TrapCode::IntegerOverflow));
    Outcome::Trapped
}

#[test]
fn traps_of_other_tiers_pass_through() {
    let names = |trap: &Trap| -> Vec<String> {
        trap.frames()
            .iter()
            .map(|frame| frame.func_name.clone().unwrap_or_default())
            .collect()
    };
    let mut guest = Guest::linked(
        CALLS,
        Probe::new(4, ENOUGH, |_, _, _| Some(native_trap as EntryFn)),
        &noting(),
    );
    for _ in 0..3 {
        let trap = guest
            .call("calls", &[Val::I32(100)])
            .expect_err("the fifth call traps");
        assert_eq!(trap.code(), Some(TrapCode::IntegerOverflow));
        assert_eq!(names(&trap), ["calls"]);
    }
    assert_eq!(guest.call_i32("triple", &[2]), 6, "the store can be used");

    let mut guest = Guest::new(
        SUM,
        Probe::new(ENOUGH, 4, |_, _, _| Some(native_trap as EntryFn)),
    );
    let trap = guest
        .call("sums", &[Val::I32(100)])
        .expect_err("the loop traps");
    assert_eq!(trap.code(), Some(TrapCode::IntegerOverflow));
    assert_eq!(names(&trap).last().map(String::as_str), Some("sums"));
    let trap = guest
        .call("sum", &[Val::I32(100)])
        .expect_err("the loop traps");
    assert_eq!(trap.code(), Some(TrapCode::IntegerOverflow));
    assert_eq!(guest.call_i32("sum", &[1]), 1001, "the store can be used");

    // A trap of the interpreter below a native frame.
    let text = PING_PONG.replace("(return (i32.const 0))", "(unreachable)");
    let probe = Probe::new(0, ENOUGH, |_, func, _| {
        if func.index == FuncIdx(1) {
            // SAFETY: the entry runs the function by the rules.
            unsafe { func.publish(native_g, native_stream(func), std::ptr::null()) };
        }
        None
    });
    let mut guest = Guest::new(&text, probe);
    let trap = guest
        .call("f", &[Val::I32(6)])
        .expect_err("it ends in a trap");
    assert_eq!(trap.code(), Some(TrapCode::Unreachable));
    assert_eq!(names(&trap), ["f", "f", "f", "f"]);
}

/// The variable that tells a test that it is the child that may end badly.
const CHILD: &str = "TIERED_SEAM_CHILD";

/// Runs the test `name` again in a process of its own, for what would end this one.
fn passes_alone(name: &str, body: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        return body();
    }
    let program = std::env::current_exe().expect("a test knows its program");
    let output = std::process::Command::new(program)
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("the program runs");
    assert!(
        output.status.success(),
        "{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Interpreted and compiled functions that call each other use the host's stack: that ends in a trap too.
#[test]
fn endless_recursion_over_tiers_traps() {
    passes_alone("endless_recursion_over_tiers_traps", || {
        let probe = Probe::new(0, ENOUGH, |_, func, _| {
            if func.index == FuncIdx(1) {
                // SAFETY: the entry runs the function by the rules.
                unsafe { func.publish(native_g, native_stream(func), std::ptr::null()) };
            }
            None
        });
        let mut guest = Guest::new(PING_PONG, probe);
        for _ in 0..3 {
            let trap = guest.call("f", &[Val::I32(-1)]).expect_err("it never ends");
            assert_eq!(trap.code(), Some(TrapCode::StackOverflow));
            assert_eq!(guest.call_i32("f", &[50]), 50);
        }
    });
}

/// An entry for a loop of a function that another instance, or a host function, called.
#[test]
fn a_loop_moves_under_other_instances_and_the_host() {
    let probe = Probe::new(ENOUGH, 3, |_, _, _| Some(go_on_with_sum as EntryFn));
    let mut guest = Guest::new(SUM, probe);
    let text = r#"(module
        (import "sum" "sum" (func $sum (param i32) (result i32)))
        (import "host" "sum" (func $host (param i32) (result i32)))
        (memory 1) (data (i32.const 0) "\2a")
        (export "sum" (func $sum))
        (func (export "run") (param i32) (result i32)
            (i32.add (call $sum (local.get 0)) (i32.load8_u (i32.const 0))))
        (func (export "by_the_host") (param i32) (result i32)
            (i32.add (call $host (local.get 0)) (i32.load8_u (i32.const 0)))))"#;
    let module = Arc::new(Module::new(text.as_bytes().to_vec()).expect("the module is valid"));
    let mut linker = Linker::new();
    linker.func(
        "host",
        "sum",
        |mut caller: Caller<'_, u32>, n: i32| -> Result<i32, Trap> {
            let Some(Extern::Func(sum)) = caller.export("sum") else {
                return Err(Trap::message("no sum"));
            };
            Ok(sum.call(&mut caller, &[Val::I32(n)])?[0]
                .i32()
                .unwrap_or_default())
        },
    );
    linker.instance(&guest.store, "sum", guest.instance);
    guest.instance = linker
        .instantiate(&mut guest.store, &module)
        .expect("it has its imports");
    for _ in 0..3 {
        assert_eq!(guest.call_i32("run", &[100]), 1000 + 5050 + 42);
        assert_eq!(guest.call_i32("by_the_host", &[100]), 1000 + 5050 + 42);
    }
}
