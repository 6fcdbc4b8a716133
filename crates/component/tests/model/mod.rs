//! The canonical ABI once more, as plainly as can be, and comparisons with it on types, values and memories that a string of
//! bytes describes.
//!
//! [`reference`] follows the specification function by function, on core values with types and with a type made anew
//! wherever one is looked at. Both sides have a guest that allocates in the same way ([`guest`]), so that memories, core
//! values, handles and calls of `realloc` have to be the same, byte by byte.

#![allow(dead_code)]

pub(crate) mod choices;
pub(crate) mod guest;
pub(crate) mod reference;
pub(crate) mod ty;

use choices::Choices;
use guest::TestGuest;
use reference::{Core, Machine, Stop};
use tiered_component::Val;
use tiered_component::abi::{
    AbiError, AbiErrorKind, LiftContext, LowerContext, Options, StringEncoding,
};
use tiered_component::types::{
    AddressType, CallKind, FuncTypeId, Param, TypeError, Types, ValType,
};
use ty::Ty;

pub(crate) const KINDS: [CallKind; 5] = [
    CallKind::Lift,
    CallKind::LiftAsync,
    CallKind::LiftCallback,
    CallKind::Lower,
    CallKind::LowerAsync,
];

/// A function's type on both sides.
pub(crate) struct Func {
    pub(crate) types: Types,
    pub(crate) id: FuncTypeId,
    pub(crate) params: Vec<Ty>,
    pub(crate) result: Option<Ty>,
}

impl Func {
    /// The type of a function with parameters and a result of these types.
    pub(crate) fn new(params: Vec<Ty>, result: Option<Ty>) -> Result<Func, TypeError> {
        let mut types = Types::new();
        let named = params.iter().enumerate().map(|(index, ty)| {
            Ok(Param {
                name: format!("p{index}").into(),
                ty: ty.define(&mut types)?,
            })
        });
        let named = named.collect::<Result<_, TypeError>>()?;
        let ours = result.as_ref().map(|ty| ty.define(&mut types));
        let id = types.define_func(named, ours.transpose()?, false)?;
        Ok(Func {
            types,
            id,
            params,
            result,
        })
    }

    fn val_types(&self) -> Vec<(&Ty, ValType)> {
        let func = self.types.func(self.id);
        let params = func.params().iter().map(|param| param.ty);
        let all = params.chain(func.result());
        self.params.iter().chain(&self.result).zip(all).collect()
    }
}

/// The options that `choices` say.
pub(crate) fn options(choices: &mut Choices<'_>) -> Options {
    let encodings = [
        StringEncoding::Utf8,
        StringEncoding::Utf16,
        StringEncoding::Latin1OrUtf16,
    ];
    Options {
        encoding: encodings[choices.below(3)],
        address: [AddressType::I32, AddressType::I64][choices.below(2)],
    }
}

/// What was seen of an input: how much of it said something.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Seen {
    /// Values that were lowered and lifted again.
    pub(crate) round_trips: u64,
    /// Lifts of made-up memories that gave a value.
    pub(crate) lifted: u64,
    /// Those that were refused.
    pub(crate) refused: u64,
    /// Those that took too much on one of the sides.
    pub(crate) skipped: u64,
}

/// Compares everything that `bytes` describe.
pub(crate) fn run(bytes: &[u8]) -> Seen {
    let mut seen = Seen::default();
    let mut choices = Choices::new(bytes);
    let options = options(&mut choices);
    let most = [3, 3, 3, 20][choices.below(4)];
    let params = (0..choices.below(most)).map(|_| Ty::choose(&mut choices, 3));
    let params = params.collect();
    let result = (choices.below(4) > 0).then(|| Ty::choose(&mut choices, 3));
    let Ok(func) = Func::new(params, result) else {
        return seen;
    };
    layouts(&func, options.address);
    for kind in KINDS {
        round_trip_params(&func, options, kind, &mut choices);
        round_trip_result(&func, options, kind, &mut choices);
        seen.round_trips += 2;
        hostile(&func, options, kind, &mut choices, &mut seen);
    }
    seen
}

fn layouts(func: &Func, address: AddressType) {
    for (ty, ours) in func.val_types() {
        let layout = func.types.abi(ours).layout(address);
        let expected = (
            reference::size(ty, address),
            reference::alignment(ty, address),
        );
        assert_eq!((u64::from(layout.size), layout.align), expected, "{ty:?}");
        let flat = reference::flatten(ty, address);
        match func.types.flat(ours, address) {
            Some(ours) => assert_eq!(ours, flat, "{ty:?}"),
            None => assert!(flat.len() > 16, "{ty:?}"),
        }
        assert_eq!(func.types.has_borrows(ours), reference::has_borrows(ty));
    }
    for kind in KINDS {
        let ours = func.types.func(func.id).core_signature(kind, address);
        let reference = reference::signature(&func.params, &func.result, kind, address);
        assert_eq!((ours.params, ours.results), reference, "{kind:?}");
    }
}

/// The core values of the reference as ours.
fn bits(values: &[Core]) -> Vec<u64> {
    values.iter().map(|value| value.bits()).collect()
}

/// Lowers parameters on both sides, and lifts them again.
fn round_trip_params(func: &Func, options: Options, kind: CallKind, choices: &mut Choices<'_>) {
    let values: Vec<Val> = func.params.iter().map(|ty| ty.value(choices)).collect();
    let mut guest = TestGuest::default();
    let mut cx = LowerContext::new(&func.types, options, &mut guest);
    let ours = cx.params(func.id, kind, &values).expect("they are right");
    let mut machine = Machine::new(options);
    let limit = kind.max_flat_params();
    let expected = machine.lower_values(limit, &values, &func.params, None);
    assert_eq!(*ours, bits(&expected), "{:?} {values:?}", func.params);
    assert_eq!(guest, machine.guest, "{:?} {values:?}", func.params);

    let memory = guest.memory.clone();
    let mut cx = LiftContext::new(&func.types, options, &memory, &ours, &mut guest);
    let lifted = cx.params(func.id, kind).expect("they were lowered");
    assert_eq!(lifted, values);
    let again = machine.lift_values(limit, &expected, &func.params);
    assert_eq!(again.as_ref(), Ok(&values));
    assert_eq!(guest, machine.guest);
}

/// Lowers a result on both sides, and lifts it again.
fn round_trip_result(func: &Func, options: Options, kind: CallKind, choices: &mut Choices<'_>) {
    let value = func.result.as_ref().map(|ty| ty.value(choices));
    let types = func.result.as_slice();
    let values = value.as_slice();
    let limit = kind.max_flat_results();
    let flat = types
        .first()
        .map(|ty| reference::flatten(ty, options.address).len());
    let is_indirect = flat.unwrap_or(0) > limit;
    let mut machine = Machine::new(options);
    let mut guest = TestGuest::default();
    let out = is_indirect.then(|| {
        let size = reference::size(&types[0], options.address);
        let align = reference::alignment(&types[0], options.address);
        guest.allocate(0, 0, align, size);
        machine.guest.allocate(0, 0, align, size)
    });
    let args = [7, out.unwrap_or(0)];
    let mut cx = LowerContext::new(&func.types, options, &mut guest);
    let ours = cx.result(func.id, kind, value.as_ref(), &args);
    let ours = ours.expect("it is right");
    let expected = machine.lower_values(limit, values, types, out);
    assert_eq!(*ours, bits(&expected), "{types:?} {values:?}");
    assert_eq!(guest, machine.guest, "{types:?} {values:?}");

    let memory = guest.memory.clone();
    let flat = out.map_or(ours.to_vec(), |out| vec![out]);
    let mut cx = LiftContext::new(&func.types, options, &memory, &flat, &mut guest);
    assert_eq!(cx.result(func.id, kind).expect("it was lowered"), value);
}

/// Lifts parameters from a memory and core values that nobody lowered: both sides refuse, or have the same values.
fn hostile(
    func: &Func,
    options: Options,
    kind: CallKind,
    choices: &mut Choices<'_>,
    seen: &mut Seen,
) {
    let size = [0, 16, 64, 300][choices.below(4)];
    let memory: Vec<u8> = (0..size).map(|_| choices.wild()).collect();
    let (types, limit) = match kind {
        CallKind::Lift | CallKind::LiftAsync | CallKind::LiftCallback => {
            (func.result.as_slice(), kind.max_flat_results())
        }
        CallKind::Lower | CallKind::LowerAsync => (&func.params[..], kind.max_flat_params()),
    };
    let core = reference::passed(types, limit, options.address);
    let core: Vec<Core> = core.iter().map(|&ty| Core::choose(ty, choices)).collect();
    // What is above a value of 32 bits is nobody's.
    let garbage = u64::from(choices.byte()) << 32;
    let flat: Vec<u64> = core.iter().map(|core| core.bits_under(garbage)).collect();

    let mut guest = TestGuest::default();
    let mut cx =
        LiftContext::new(&func.types, options, &memory, &flat, &mut guest).with_budget(1 << 20);
    let ours: Result<Vec<Val>, AbiError> = match kind {
        CallKind::Lower | CallKind::LowerAsync => cx.params(func.id, kind),
        _ => cx
            .result(func.id, kind)
            .map(|value| value.into_iter().collect()),
    };
    let mut machine = Machine::new(options);
    machine.guest.memory = memory;
    match (machine.lift_values(limit, &core, types), ours) {
        (Ok(expected), Ok(values)) => {
            assert_eq!(values, expected, "{types:?}");
            assert_eq!(guest.log, machine.guest.log);
            seen.lifted += 1;
        }
        (Err(Stop::Trap), Err(error)) if !is_budget(&error) => {
            assert!(!error.is_of_host(), "{error}");
            seen.refused += 1;
        }
        (Err(Stop::Steps), _) => seen.skipped += 1,
        (_, Err(error)) if is_budget(&error) => seen.skipped += 1,
        (expected, ours) => panic!("{types:?}: expected {expected:?}, got {ours:?}"),
    }
}

fn is_budget(error: &AbiError) -> bool {
    matches!(error.kind(), AbiErrorKind::Budget)
}
