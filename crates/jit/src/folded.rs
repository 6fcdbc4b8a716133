//! Where a load stands that has become an operand of another instruction, as in `add eax, [rdi]`.
//!
//! Cranelift gives such an instruction the site of the operation that took the load in, and a trap of the load would be
//! told there. What was folded shows: the load is still in the function's text, but no instruction traps at its site for
//! the reason that the load would.
//!
//! * *Invariant:* a load is folded only if one instruction uses it, so it is found by following its value from one user to
//!   the next, up to a site where something traps.
//! * *Invariant:* an operation and the load folded into it have one site in all their copies. The optimizer makes operations
//!   anew that have none; they get that of what they use before there is machine code ([`restore_sites`]).

use std::collections::HashMap;

use cranelift_codegen::CompiledCode;
use cranelift_codegen::ir::{Block, Function, Inst, TrapCode, Value};

use crate::trap;

/// A place where something traps, or might have: the instruction's site, and for which reason.
type Trapping = (u32, u8);

/// Gives each instruction that the optimizer has made without a site that of a load that it may take in, or else of something
/// that it uses.
pub(crate) fn restore_sites(func: &mut Function) {
    let mut block = func.layout.entry_block();
    while let Some(at) = block {
        let mut inst = func.layout.first_inst(at);
        while let Some(user) = inst {
            if func.srcloc(user).is_default()
                && let Some(used) = site_giver(func, at, user)
            {
                func.srclocs[user] = func.srclocs[used];
            }
            inst = func.layout.next_inst(user);
        }
        block = func.layout.next_block(at);
    }
}

/// What `user`, in `block`, has its site of: only a load of the same block can have become an operand.
fn site_giver(func: &Function, block: Block, user: Inst) -> Option<Inst> {
    let used = func.dfg.inst_values(user);
    let used = used.filter_map(|value| func.dfg.value_def(value).inst());
    let used = used.filter(|&inst| !func.srcloc(inst).is_default());
    used.max_by_key(|&inst| {
        let is_load = func.dfg.insts[inst].opcode().can_load();
        is_load && func.layout.inst_block(inst) == Some(block)
    })
}

/// The instructions that traps of folded loads come from: distance from the start, in order, and the load's site.
pub(crate) fn folded_loads(func: &Function, code: &CompiledCode) -> Vec<(u32, u32)> {
    let traps = access_traps(code);
    let mut places: Vec<Trapping> = traps.iter().map(|&(_, place)| place).collect();
    places.sort_unstable();
    let traps_at = |place: Trapping| places.binary_search(&place).is_ok();
    // Values that come of a folded load whose user is still to be found.
    let mut open: HashMap<Value, Trapping> = HashMap::new();
    // By the user's site, and the reason.
    let mut folded: HashMap<Trapping, Vec<u32>> = HashMap::new();
    for inst in func
        .layout
        .blocks()
        .flat_map(|block| func.layout.block_insts(block))
    {
        let site = func.srcloc(inst).bits();
        let load = load_reason(func, inst).map(|reason| (site, reason));
        let load = load.filter(|&place| !traps_at(place));
        let taken = (!open.is_empty()).then(|| {
            func.dfg
                .inst_values(inst)
                .find_map(|value| open.remove(&value))
        });
        let Some(load) = load.or(taken.flatten()) else {
            continue;
        };
        let (load_site, reason) = load;
        if traps_at((site, reason)) {
            folded.entry((site, reason)).or_default().push(load_site);
        } else {
            open.extend(
                func.dfg
                    .inst_results(inst)
                    .iter()
                    .map(|&result| (result, load)),
            );
        }
    }
    // One operation may read memory in several instructions, as the comparison and the two moves of a `select`.
    let mut taken: HashMap<Trapping, usize> = HashMap::new();
    let found = traps.iter().filter_map(|&(offset, place)| {
        let loads = folded.get(&place)?;
        let next = taken.entry(place).or_default();
        let load = loads[(*next).min(loads.len() - 1)];
        *next += 1;
        Some((offset, load))
    });
    found.collect()
}

/// The reason that an access traps for.
fn reason(code: TrapCode) -> Option<u8> {
    trap::is_of_access(code).then(|| trap::reason(code).as_raw().get())
}

/// If this loads from where it may trap, the reason.
fn load_reason(func: &Function, inst: Inst) -> Option<u8> {
    let data = func.dfg.insts[inst];
    let code = data.memflags_trap_code(&func.dfg)?;
    reason(code).filter(|_| data.opcode().can_load())
}

/// The instructions that accesses trap at: distance from the start, in order, and what traps there.
fn access_traps(code: &CompiledCode) -> Vec<(u32, Trapping)> {
    let ranges = code.buffer.get_srclocs_sorted();
    let traps = code.buffer.traps().iter();
    let places = traps.filter_map(|trap| {
        let reason = reason(trap.code)?;
        let behind = ranges.partition_point(|range| range.start <= trap.offset);
        let range = ranges[..behind].last()?;
        Some((trap.offset, (range.loc.bits(), reason)))
    });
    places.collect()
}
