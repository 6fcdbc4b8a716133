//! Loads and stores of vectors and lanes, byte by byte.

use tiered_decode::vector::{V128, VecAccess};

const MEMORY: [u8; 18] = [
    0x80, 0xff, 0x01, 0x82, 0x03, 0x04, 0x05, 0xf6, 0x07, 0x88, 0x19, 0x0a, 0xfb, 0x0c, 0x7d, 0xce,
    0xee, 0xee,
];

/// The vector of which every byte is its index.
fn counting() -> V128 {
    V128(std::array::from_fn(|i| i as u8))
}

/// The number of bits in the op's name behind `v128.load` or `v128.store`, in bytes.
fn width(op: VecAccess) -> usize {
    let digits: String = op
        .text()
        .trim_start_matches(|c: char| c != '.')
        .chars()
        .skip_while(|c| !c.is_ascii_digit())
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse::<usize>().map_or(16, |bits| bits / 8)
}

#[test]
fn every_load() {
    let mut loads = 0;
    for &op in VecAccess::ALL.iter().filter(|op| !op.is_store()) {
        let width = width(op);
        let lanes = op.lanes().unwrap_or(1);
        for lane in 0..lanes {
            let mut expected = counting().0;
            let text = op.text();
            if text.contains("splat") {
                expected = std::array::from_fn(|i| MEMORY[i % width]);
            } else if text.contains("zero") || text == "v128.load" {
                expected = std::array::from_fn(|i| if i < width { MEMORY[i] } else { 0 });
            } else if text.contains("lane") {
                let at = usize::from(lane) * width;
                expected[at..at + width].copy_from_slice(&MEMORY[..width]);
            } else {
                for (i, lane) in expected.chunks_mut(2 * width).enumerate() {
                    let part = &MEMORY[i * width..][..width];
                    let negative = text.ends_with("_s") && part[width - 1] >= 0x80;
                    lane.fill(if negative { 0xff } else { 0 });
                    lane[..width].copy_from_slice(part);
                }
            }
            let got = op.load(&MEMORY, counting(), lane);
            assert_eq!(got, Some(V128(expected)), "{op} {lane}");
            loads += 1;
        }
        // No byte further is needed, and a store is none.
        assert!(op.load(&MEMORY[..op.size()], counting(), 0).is_some());
        let mut memory = MEMORY;
        op.store(&mut memory, counting(), 0);
        assert_eq!(memory, MEMORY, "{op}");
    }
    assert_eq!(loads, 13 + 16 + 8 + 4 + 2);
}

#[test]
fn every_store() {
    let mut stores = 0;
    for &op in VecAccess::ALL.iter().filter(|op| op.is_store()) {
        assert_eq!(op.size(), width(op));
        for lane in 0..op.lanes().unwrap_or(1) {
            let mut memory = MEMORY;
            op.store(&mut memory, counting(), lane);
            let at = usize::from(lane) * op.size();
            assert_eq!(memory[..op.size()], counting().0[at..][..op.size()], "{op}");
            assert_eq!(memory[op.size()..], MEMORY[op.size()..], "{op}");
            stores += 1;
        }
        assert_eq!(op.load(&MEMORY, counting(), 0), None);
    }
    assert_eq!(stores, 1 + 16 + 8 + 4 + 2);
}
