//! What a guest can make the host allocate: not more than the budget, whatever lists point to. The allocator counts, so this
//! is a test of its own.

mod model;

use model::Func;
use model::guest::TestGuest;
use model::ty::Ty;
use peak_alloc::PeakAlloc;
use tiered_component::Val;
use tiered_component::abi::{AbiError, AbiErrorKind, LiftContext, Options, StringEncoding};
use tiered_component::types::{AddressType, CallKind};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const BUDGET: u64 = 1 << 20;

/// What else a call allocates: an error with its path.
const SLACK: usize = 4 << 10;

/// What `run` allocates at most beyond what there is.
fn peak<T>(run: impl FnOnce() -> T) -> (T, usize) {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let result = run();
    (result, ALLOCATOR.peak_usage().saturating_sub(before))
}

fn list(ty: Ty) -> Ty {
    Ty::List(Box::new(ty))
}

/// A memory in which every pair of words is a list of this many elements, which begin where the memory does.
fn everything_everywhere(bytes: usize, length: u32) -> Vec<u8> {
    let pair = [0u32.to_le_bytes(), length.to_le_bytes()].concat();
    pair.repeat(bytes / 8)
}

fn is_budget<T>(result: &Result<T, AbiError>) -> bool {
    matches!(result, Err(error) if matches!(error.kind(), AbiErrorKind::Budget))
}

#[test]
fn nothing_takes_more_than_the_budget() {
    nested_lists();
    typed_lists();
    strings();
    empty_lists();
    random_memories();
}

/// Lists of one another multiply at each level.
fn nested_lists() {
    let deep = (0..5).fold(Ty::U8, |ty, _| list(ty));
    let record = Ty::Record((0..20).map(|name| (format!("f{name}"), Ty::U8)).collect());
    let pair = Ty::Tuple(vec![deep.clone(), deep.clone()]);
    let map = Ty::Map(Box::new(Ty::U32), Box::new(Ty::U32));
    let flags = Ty::Flags((0..32).map(|name| name.to_string()).collect());
    let option = Ty::Option(Box::new(Ty::U8));
    for ty in [
        deep,
        list(list(record)),
        pair,
        list(map),
        list(list(flags)),
        list(list(option)),
    ] {
        let func = Func::new(vec![list(ty)], None).expect("the type is right");
        let memory = everything_everywhere(1 << 14, 0x101);
        let mut guest = TestGuest::default();
        let flat = [0, 1 << 10];
        let mut cx = LiftContext::new(&func.types, Options::default(), &memory, &flat, &mut guest)
            .with_budget(BUDGET);
        let (result, peak) = peak(|| cx.params(func.id, CallKind::Lower));
        assert!(is_budget(&result), "{:?}: {result:?}", func.params);
        assert!(peak <= BUDGET as usize + SLACK, "{:?}: {peak}", func.params);
    }
}

fn typed_lists() {
    let func = Func::new(vec![list(list(list(Ty::U64)))], None).expect("the type is right");
    let memory = everything_everywhere(1 << 14, 1 << 11);
    let mut guest = TestGuest::default();
    let flat = [0, 1 << 11];
    let mut cx = LiftContext::new(&func.types, Options::default(), &memory, &flat, &mut guest)
        .with_budget(BUDGET);
    let (result, peak) = peak(|| cx.params_as::<(Vec<Vec<Vec<u64>>>,)>(func.id, CallKind::Lower));
    assert!(is_budget(&result), "{result:?}");
    assert!(peak <= BUDGET as usize + SLACK, "{peak}");
}

/// Strings grow when they become UTF-8.
fn strings() {
    for (encoding, byte, tag) in [
        (StringEncoding::Utf8, 0x41, 0),
        (StringEncoding::Utf16, 0x41, 0),
        (StringEncoding::Latin1OrUtf16, 0xe9, 0),
        (StringEncoding::Latin1OrUtf16, 0x41, 1 << 31),
    ] {
        let options = Options {
            encoding,
            address: AddressType::I32,
        };
        let text = 1u32 << 17;
        let length = match byte {
            0xe9 => text,
            _ if encoding == StringEncoding::Utf8 => text,
            _ => text / 2,
        };
        let pair = [text.to_le_bytes(), (length | tag).to_le_bytes()].concat();
        let mut memory = pair.repeat(text as usize / 8);
        memory.resize(2 * text as usize, byte);
        let func = Func::new(vec![list(Ty::String)], None).expect("the type is right");
        let mut guest = TestGuest::default();
        let flat = [0, 1 << 14];
        let mut cx =
            LiftContext::new(&func.types, options, &memory, &flat, &mut guest).with_budget(BUDGET);
        let (result, peak) = peak(|| cx.params(func.id, CallKind::Lower));
        assert!(is_budget(&result), "{encoding:?}: {result:?}");
        assert!(peak <= BUDGET as usize + SLACK, "{encoding:?}: {peak}");
    }
}

/// Elements that take no memory take time.
fn empty_lists() {
    let func = Func::new(vec![list(list(list(Ty::U8)))], None).expect("the type is right");
    let mut memory = everything_everywhere(1 << 13, 1 << 10);
    for pair in memory[1 << 12..].chunks_mut(8) {
        pair.fill(0);
    }
    let mut guest = TestGuest::default();
    let flat = [0, 1 << 9];
    let mut cx = LiftContext::new(&func.types, Options::default(), &memory, &flat, &mut guest)
        .with_budget(BUDGET);
    let (result, peak) = peak(|| cx.params(func.id, CallKind::Lower));
    assert!(is_budget(&result), "{result:?}");
    assert!(peak <= BUDGET as usize + SLACK, "{peak}");
}

/// Types and memories at random.
fn random_memories() {
    let mut state = 7u64;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as u8
    };
    let mut lifted = 0;
    for _ in 0..3000 {
        let bytes: Vec<u8> = (0..64).map(|_| random()).collect();
        let mut choices = model::choices::Choices::new(&bytes);
        let options = model::options(&mut choices);
        let ty = Ty::choose(&mut choices, 4);
        let Ok(func) = Func::new(vec![ty], None) else {
            continue;
        };
        let memory: Vec<u8> = (0..4096).map(|_| choices.wild()).collect();
        let flat: Vec<u64> = (0..16).map(|_| choices.below(64) as u64 * 4).collect();
        let mut guest = TestGuest::default();
        guest.log.reserve(1 << 16);
        let mut cx =
            LiftContext::new(&func.types, options, &memory, &flat, &mut guest).with_budget(BUDGET);
        let (result, peak): (Result<Vec<Val>, AbiError>, usize) =
            peak(|| cx.params(func.id, CallKind::Lower));
        lifted += u32::from(result.is_ok());
        let error = result.err().map(|error| error.to_string());
        assert!(error.as_ref().is_none_or(|error| !error.is_empty()));
        assert!(peak <= BUDGET as usize + SLACK, "{:?}: {peak}", func.params);
    }
    assert!(lifted > 500, "{lifted}");
}
