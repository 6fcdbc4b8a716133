//! Where a load stands that has become an operand of another instruction, as in `add eax, [rdi]`.
//!
//! Cranelift gives such an instruction the site of the operation that took the load in, and a trap of the load would be
//! told there. What was folded shows: the load is still in the function's text, but no instruction traps at its site.
//!
//! * *Invariant:* a load is folded only if one instruction uses it, so it is found by following its value from one user to
//!   the next, up to a site where something traps.
//! * *Invariant:* an operation and the load folded into it have one site in all their copies.

use std::collections::HashMap;

use cranelift_codegen::CompiledCode;
use cranelift_codegen::ir::{Function, Inst, Value};

use crate::trap;

/// The instructions that traps of folded loads come from: distance from the start, in order, and the load's site.
pub(crate) fn folded_loads(func: &Function, code: &CompiledCode) -> Vec<(u32, u32)> {
    let traps = access_traps(code);
    let mut sites: Vec<u32> = traps.iter().map(|&(_, site)| site).collect();
    sites.sort_unstable();
    let traps_at = |site: u32| sites.binary_search(&site).is_ok();
    // Values that come of a folded load whose user is still to be found.
    let mut open: HashMap<Value, u32> = HashMap::new();
    // By the user's site.
    let mut folded: HashMap<u32, Vec<u32>> = HashMap::new();
    for inst in func
        .layout
        .blocks()
        .flat_map(|block| func.layout.block_insts(block))
    {
        let site = func.srcloc(inst).bits();
        let load = (is_load(func, inst) && !traps_at(site)).then_some(site);
        let taken = (!open.is_empty()).then(|| {
            func.dfg
                .inst_values(inst)
                .find_map(|value| open.remove(&value))
        });
        let Some(load) = load.or(taken.flatten()) else {
            continue;
        };
        if traps_at(site) {
            folded.entry(site).or_default().push(load);
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
    let mut taken: HashMap<u32, usize> = HashMap::new();
    let found = traps.iter().filter_map(|&(offset, site)| {
        let loads = folded.get(&site)?;
        let next = taken.entry(site).or_default();
        let load = loads[(*next).min(loads.len() - 1)];
        *next += 1;
        Some((offset, load))
    });
    found.collect()
}

/// Does this load from where it may trap?
fn is_load(func: &Function, inst: Inst) -> bool {
    let data = func.dfg.insts[inst];
    data.opcode().can_load()
        && data
            .memflags_trap_code(&func.dfg)
            .is_some_and(trap::is_of_access)
}

/// The instructions that accesses trap at: distance from the start, in order, and site.
fn access_traps(code: &CompiledCode) -> Vec<(u32, u32)> {
    let ranges = code.buffer.get_srclocs_sorted();
    let traps = code.buffer.traps().iter();
    let traps = traps.filter(|trap| trap::is_of_access(trap.code));
    let sites = traps.filter_map(|trap| {
        let behind = ranges.partition_point(|range| range.start <= trap.offset);
        let range = ranges[..behind].last()?;
        Some((trap.offset, range.loc.bits()))
    });
    sites.collect()
}
