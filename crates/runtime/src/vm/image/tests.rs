//! Tests of images: when there is one, what it holds, and that nobody sees what another wrote over it.

use super::*;
use crate::vm::reservation::Reservation;

/// Bytes of a page of WebAssembly.
const PAGE: usize = 64 << 10;

/// A module with a memory of `pages` and these segments: the text of the offset, the length, the byte.
fn module(pages: usize, segments: &[(&str, usize, u8)]) -> Module {
    let mut text = format!(r#"(module (import "m" "g" (global $g i32)) (memory {pages}) "#);
    for &(offset, length, byte) in segments {
        let bytes = char::from(byte).to_string().repeat(length);
        text.push_str(&format!(r#"(data ({offset}) "{bytes}")"#));
    }
    text.push(')');
    Module::new(text.into_bytes()).expect("it is valid")
}

fn image(pages: usize, segments: &[(&str, usize, u8)]) -> Option<MemoryImage> {
    MemoryImage::of_module(&module(pages, segments))
}

fn bytes(reservation: &mut Reservation) -> &mut [u8] {
    let length = reservation.length() as usize;
    // SAFETY: that many bytes are accessible, and the reservation is borrowed.
    unsafe { std::slice::from_raw_parts_mut(reservation.base().as_ptr(), length) }
}

fn memory(pages: usize, image: &MemoryImage) -> Reservation {
    let reservation = Reservation::take(pages * PAGE, 0).expect("there is address space");
    // SAFETY: nobody else knows the reservation.
    unsafe { reservation.map_image(image) }.expect("there is a mapping");
    reservation
}

#[test]
fn only_large_dense_constant_segments_of_an_own_memory_are_worth_it() {
    const MB: usize = 1 << 20;
    let start = ("i32.const 5000", MB, b'a');
    assert_eq!(
        image(40, &[start]).expect("it is worth it").range(),
        4096..(MB + 5000).next_multiple_of(HOST_PAGE_BYTES)
    );
    assert!(image(40, &[]).is_none());
    assert!(
        image(40, &[("i32.const 0", MB - 1, b'a')]).is_none(),
        "small"
    );
    assert!(image(16, &[start]).is_none(), "out of bounds");
    assert!(
        image(40, &[start, ("i32.const -1", 0, b'a')]).is_none(),
        "empty and out of bounds"
    );
    assert!(
        image(40, &[start, ("global.get $g", 1, b'a')]).is_none(),
        "not constant"
    );
    assert!(
        image(160, &[start, ("i32.const 9000000", 1, b'a')]).is_none(),
        "sparse"
    );
    assert!(
        image(160, &[start, ("i32.const 8000000", 1, b'a')]).is_some(),
        "dense enough"
    );
    let imported = format!(
        r#"(module (import "m" "m" (memory 40)) (data (i32.const 0) "{}"))"#,
        "a".repeat(MB)
    );
    let imported = Module::new(imported.into_bytes()).expect("it is valid");
    assert!(MemoryImage::of_module(&imported).is_none(), "imported");
}

#[test]
fn an_image_holds_the_segments_in_their_order() {
    let segments = [
        ("i32.const 100000", 1 << 20, b'a'),
        ("i32.const 1200000", 10, b'b'),
        ("i32.const 100010", 10, b'c'),
    ];
    let image = image(40, &segments).expect("it is worth it");
    let mut expected = vec![0; 40 * PAGE];
    expected[100_000..100_000 + (1 << 20)].fill(b'a');
    expected[1_200_000..1_200_010].fill(b'b');
    expected[100_010..100_020].fill(b'c');
    assert!(bytes(&mut memory(40, &image)) == expected.as_slice());
}

#[test]
fn memories_share_an_image_until_they_write() {
    let image = image(20, &[("i32.const 0", 1 << 20, b'a')]).expect("it is worth it");
    let (mut first, mut second) = (memory(20, &image), memory(20, &image));
    bytes(&mut first)[..1 << 20].fill(b'x');
    bytes(&mut second)[5] = b'y';
    assert!(
        bytes(&mut first)[..1 << 20]
            .iter()
            .all(|&byte| byte == b'x')
    );
    assert!(
        bytes(&mut second)[6..1 << 20]
            .iter()
            .all(|&byte| byte == b'a')
    );
    let mut third = memory(20, &image);
    assert!(
        bytes(&mut third)[..1 << 20]
            .iter()
            .all(|&byte| byte == b'a')
    );
}

#[test]
fn a_memory_grows_beyond_its_image() {
    let image = image(16, &[("i32.const 0", 1 << 20, b'a')]).expect("it is worth it");
    let mut memory = memory(16, &image);
    memory.extend(18 * PAGE).expect("it can be longer");
    let bytes = bytes(&mut memory);
    assert!(bytes[..1 << 20].iter().all(|&byte| byte == b'a'));
    assert!(bytes[1 << 20..].iter().all(|&byte| byte == 0));
    bytes[(1 << 20) - 1..].fill(b'z');
}

#[test]
fn the_next_memory_sees_nothing_of_an_image() {
    let image = image(20, &[("i32.const 0", 1 << 20, b'a')]).expect("it is worth it");
    for _ in 0..10 {
        let mut first = memory(20, &image);
        bytes(&mut first)[100..200].fill(b'x');
        drop(first);
        let mut next = Reservation::take(20 * PAGE, 0).expect("there is address space");
        assert!(bytes(&mut next).iter().all(|&byte| byte == 0));
    }
}

#[test]
fn nobody_can_change_the_file() {
    let image = image(20, &[("i32.const 0", 1 << 20, b'a')]).expect("it is worth it");
    assert!(rustix::io::pwrite(&image.file, b"x", 0).is_err());
    assert!(rustix::fs::ftruncate(&image.file, 0).is_err());
}
