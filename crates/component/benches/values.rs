//! What values cost on their way in and out of a guest: a list of 64 KiB, texts and records, as Rust types and as `Val`s.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tiered_component::abi::{
    AbiError, ComponentType, Cursor, Guest, HandleError, HandleType, Lift, LiftContext,
    LiftHandles, Lower, LowerContext, Options, Params, TypeMismatch,
};
use tiered_component::types::{Abi, CallKind, Field, FuncTypeId, Param, TypeDef, Types, ValType};
use tiered_component::{Handle, Val};

/// Elements of the lists of texts and records.
const COUNT: u32 = 1000;

/// A guest whose allocations begin anew with each call.
struct Bump {
    memory: Vec<u8>,
    next: u64,
}

impl Guest for Bump {
    fn memory(&mut self) -> &mut [u8] {
        &mut self.memory
    }

    fn realloc(&mut self, _: u64, _: u64, align: u32, size: u64) -> Result<u64, tiered::Error> {
        let begin = self.next.next_multiple_of(align.into());
        self.next = begin + size;
        Ok(begin)
    }

    fn lower_handle(&mut self, _: HandleType, _: Handle) -> Result<u32, HandleError> {
        Err(HandleError::Full)
    }
}

struct NoHandles;

impl LiftHandles for NoHandles {
    fn lift_handle(&mut self, _: HandleType, index: u32) -> Result<Handle, HandleError> {
        Err(HandleError::Unknown(index))
    }
}

#[derive(Clone, Copy)]
struct Pixel {
    x: u32,
    y: u32,
    color: u8,
    alpha: f32,
}

impl ComponentType for Pixel {
    const ABI: Abi = Abi::record(&[u32::ABI, u32::ABI, u8::ABI, f32::ABI]);

    fn check(types: &Types, ty: ValType) -> Result<(), TypeMismatch> {
        types.check_record(
            ty,
            &[
                ("x", u32::check),
                ("y", u32::check),
                ("color", u8::check),
                ("alpha", f32::check),
            ],
        )
    }
}

impl Lift for Pixel {
    fn lift(cx: &mut LiftContext<'_>, mut at: Cursor) -> Result<Pixel, AbiError> {
        Ok(Pixel {
            x: cx.field(&mut at, "x")?,
            y: cx.field(&mut at, "y")?,
            color: cx.field(&mut at, "color")?,
            alpha: cx.field(&mut at, "alpha")?,
        })
    }
}

impl Lower for Pixel {
    fn lower(&self, cx: &mut LowerContext<'_>, mut at: Cursor) -> Result<(), AbiError> {
        cx.field(&mut at, "x", &self.x)?;
        cx.field(&mut at, "y", &self.y)?;
        cx.field(&mut at, "color", &self.color)?;
        cx.field(&mut at, "alpha", &self.alpha)
    }
}

/// Measures both ways of one parameter, typed and not.
fn passes<T>(
    criterion: &mut Criterion,
    name: &str,
    throughput: Throughput,
    ty: impl FnOnce(&mut Types) -> ValType,
    value: T,
) where
    (T,): Params + Lift + Lower,
{
    let mut types = Types::new();
    let ty = ty(&mut types);
    let param = Param {
        name: "p".into(),
        ty,
    };
    let func = types
        .define_func(vec![param], None, false)
        .expect("it is a type");
    <(T,)>::check_params(&types, types.func(func).params()).expect("it stands for it");
    let mut group = criterion.benchmark_group(name);
    group.throughput(throughput);
    let mut guest = Bump {
        memory: vec![0; 1 << 20],
        next: 8,
    };
    let value = (value,);
    let lower = |guest: &mut Bump, func: FuncTypeId, value: &(T,)| {
        guest.next = 8;
        let mut cx = LowerContext::new(&types, Options::default(), guest);
        cx.params_as(func, CallKind::Lift, value)
            .expect("it is right")
    };
    group.bench_function("lower_typed", |bencher| {
        bencher.iter(|| lower(&mut guest, func, black_box(&value)));
    });
    let flat = lower(&mut guest, func, &value);
    let memory = guest.memory.clone();
    let mut handles = NoHandles;
    let mut cx = LiftContext::new(&types, Options::default(), &memory, &flat, &mut handles);
    let lifted: Vec<Val> = cx.params(func, CallKind::Lower).expect("it was lowered");
    group.bench_function("lift_typed", |bencher| {
        bencher.iter(|| {
            let mut handles = NoHandles;
            let mut cx = LiftContext::new(&types, Options::default(), &memory, &flat, &mut handles);
            cx.params_as::<(T,)>(func, CallKind::Lower)
                .expect("it was lowered")
        });
    });
    group.bench_function("lower_val", |bencher| {
        bencher.iter(|| {
            guest.next = 8;
            let mut cx = LowerContext::new(&types, Options::default(), &mut guest);
            cx.params(func, CallKind::Lift, black_box(&lifted))
                .expect("it is right")
        });
    });
    group.bench_function("lift_val", |bencher| {
        bencher.iter(|| {
            let mut handles = NoHandles;
            let mut cx = LiftContext::new(&types, Options::default(), &memory, &flat, &mut handles);
            cx.params(func, CallKind::Lower).expect("it was lowered")
        });
    });
    group.finish();
}

fn define(types: &mut Types, def: TypeDef) -> ValType {
    types.define(def).expect("it is a type")
}

fn bytes(criterion: &mut Criterion) {
    let ty = |types: &mut Types| define(types, TypeDef::List(ValType::U8));
    let value: Vec<u8> = (0..64 << 10).map(|byte| byte as u8).collect();
    passes(
        criterion,
        "list<u8>",
        Throughput::Bytes(64 << 10),
        ty,
        value,
    );
}

fn texts(criterion: &mut Criterion) {
    let ty = |types: &mut Types| define(types, TypeDef::List(ValType::String));
    let value: Vec<String> = (0..COUNT)
        .map(|text| format!("text number {text}"))
        .collect();
    passes(
        criterion,
        "list<string>",
        Throughput::Elements(COUNT.into()),
        ty,
        value,
    );
}

fn records(criterion: &mut Criterion) {
    let ty = |types: &mut Types| {
        let fields = [
            ("x", ValType::U32),
            ("y", ValType::U32),
            ("color", ValType::U8),
            ("alpha", ValType::F32),
        ];
        let field = |(name, ty): (&str, ValType)| Field {
            name: name.into(),
            ty,
        };
        let record = define(types, TypeDef::Record(fields.map(field).into()));
        define(types, TypeDef::List(record))
    };
    let pixel = |number| Pixel {
        x: number,
        y: number,
        color: number as u8,
        alpha: 0.5,
    };
    let value: Vec<Pixel> = (0..COUNT).map(pixel).collect();
    passes(
        criterion,
        "list<record>",
        Throughput::Elements(COUNT.into()),
        ty,
        value,
    );
}

criterion_group!(benches, bytes, texts, records);
criterion_main!(benches);
