//! Where in a module the instructions of a blob come from.
//!
//! An instruction belongs to a *site*; a site stands for a list of positions in functions, innermost first: where the
//! instruction itself comes from, and then, if the function it was in has been inlined, where that was called.
//!
//! *Invariant:* the list of a site is never empty, and its last function is the one that the blob is of.

use tiered_decode::index::FuncIdx;

/// Stands for code that comes from nowhere in the module; the number that Cranelift gives such instructions.
const NOWHERE: u32 = u32::MAX;

/// The positions of a blob.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    /// Where instructions of another site begin: distance from the start, and the site.
    begins: Box<[(u32, u32)]>,
    sites: Sites,
}

/// What the numbers of sites mean.
#[derive(Debug, Default)]
pub(crate) enum Sites {
    /// Nothing was inlined: a site's number is the byte of the module.
    #[default]
    Bytes,
    /// It is the index of one of these.
    #[cfg_attr(not(test), expect(dead_code, reason = "nothing is inlined yet"))]
    Nested(Box<[Site]>),
}

/// An instruction of the module that may have been inlined.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    /// The function that it is in.
    pub(crate) func: FuncIdx,
    /// Its byte in the module.
    pub(crate) byte: u32,
    /// The site of the call that this function was inlined for; `None` in the function that the blob is of.
    pub(crate) caller: Option<u32>,
}

impl Positions {
    /// Of Cranelift's ranges (start, end, and the number of the site), in order: neighbours of the same site are one.
    /// `others` are single instructions that have another site than their range, in order.
    pub(crate) fn new(
        ranges: impl Iterator<Item = (u32, u32, u32)>,
        others: &[(u32, u32)],
        sites: Sites,
    ) -> Positions {
        let mut begins: Vec<(u32, u32)> = Vec::new();
        let mut push = |start, site| {
            if begins.last().is_none_or(|&(_, last)| last != site) {
                begins.push((start, site));
            }
        };
        let mut others = others.iter().copied().peekable();
        let mut end = 0;
        for (start, next, site) in ranges {
            if start > end {
                push(end, NOWHERE);
            }
            push(start, site);
            while let Some((at, other)) = others.next_if(|&(at, _)| at < next) {
                push(at, other);
                // Only where it starts matters: that is where it traps.
                if at + 1 < next {
                    push(at + 1, site);
                }
            }
            end = next;
        }
        begins.push((end, NOWHERE));
        Positions {
            begins: begins.into(),
            sites,
        }
    }

    /// The site of the instruction around this offset; that of the nearest one before, or else behind, where optimization
    /// has left the instruction itself without.
    fn site(&self, offset: u32) -> Option<u32> {
        let behind = self.begins.partition_point(|&(at, _)| at <= offset);
        let known = |&&(_, site): &&(u32, u32)| site != NOWHERE;
        let (before, after) = self.begins.split_at(behind);
        let nearest = before.iter().rev().find(known);
        let nearest = nearest.or_else(|| after.iter().find(known));
        nearest.map(|&(_, site)| site)
    }

    /// Calls `each` with the functions, and with the bytes of the module as far as they are known, that the instruction
    /// at this offset stands for, innermost first. `func` is the one that the blob is of.
    pub(crate) fn at(
        &self,
        offset: u32,
        func: FuncIdx,
        mut each: impl FnMut(FuncIdx, Option<u32>),
    ) {
        match (self.site(offset), &self.sites) {
            (None, _) => each(func, None),
            (Some(byte), Sites::Bytes) => each(func, Some(byte)),
            (Some(site), Sites::Nested(sites)) => {
                let mut next = Some(site);
                while let Some(site) = next.and_then(|index| sites.get(index as usize)) {
                    each(site.func, Some(site.byte));
                    next = site.caller;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(positions: &Positions, offset: u32) -> Vec<(u32, Option<u32>)> {
        let mut found = Vec::new();
        positions.at(offset, FuncIdx(5), |func, byte| found.push((func.0, byte)));
        found
    }

    #[test]
    fn the_nearest_position_is_taken() {
        let ranges = [(2, 4, 100), (4, 6, 100), (6, 8, 110)];
        let positions = Positions::new(ranges.into_iter(), &[], Sites::Bytes);
        assert_eq!(
            *positions.begins,
            [(0, NOWHERE), (2, 100), (6, 110), (8, NOWHERE)]
        );
        let bytes = [0, 1, 2, 5, 6, 9].map(|offset| at(&positions, offset));
        let expected = [100, 100, 100, 100, 110, 110].map(|byte| vec![(5, Some(byte))]);
        assert_eq!(bytes, expected);
        assert_eq!(at(&Positions::default(), 7), [(5, None)]);
    }

    #[test]
    fn an_instruction_can_have_another_site_than_its_range() {
        let ranges = [(2, 8, 100), (8, 9, 110)];
        let others = [(2, 90), (5, 95), (8, 105)];
        let positions = Positions::new(ranges.into_iter(), &others, Sites::Bytes);
        let bytes = [2, 3, 4, 5, 6, 8].map(|offset| at(&positions, offset));
        let expected = [90, 100, 100, 95, 100, 105].map(|byte| vec![(5, Some(byte))]);
        assert_eq!(bytes, expected);
    }

    /// Function 5 has 7 inlined, which has 9 inlined.
    #[test]
    fn inlined_positions_come_with_their_callers() {
        let site = |func, byte, caller| Site {
            func: FuncIdx(func),
            byte,
            caller,
        };
        let sites = [
            site(5, 50, None),
            site(7, 70, Some(0)),
            site(9, 90, Some(1)),
            site(5, 55, None),
        ];
        let ranges = [(0, 4, 0), (4, 8, 2), (8, 9, 1), (9, 12, 3)];
        let positions = Positions::new(ranges.into_iter(), &[], Sites::Nested(Box::new(sites)));
        assert_eq!(at(&positions, 3), [(5, Some(50))]);
        let innermost = [(9, Some(90)), (7, Some(70)), (5, Some(50))];
        assert_eq!(at(&positions, 4), innermost);
        assert_eq!(at(&positions, 8), innermost[1..]);
        assert_eq!(at(&positions, 11), [(5, Some(55))]);
    }
}
