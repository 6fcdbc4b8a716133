//! What a heap promises, one thing at a time.

use std::cell::Cell;
use std::rc::Rc;

use tiered_heap::{
    AccessError, AllocError, BLOCK_BYTES, HeapConfig, MAX_CELL, Reference, Root, Storage, TypeId,
    TypedHeap,
};

fn config(change: impl FnOnce(&mut HeapConfig)) -> HeapConfig {
    let mut config = HeapConfig::default();
    change(&mut config);
    config
}

/// A heap that tells when something is wrong with it, with a type of a number and a reference.
fn checked(change: impl FnOnce(&mut HeapConfig)) -> (TypedHeap<()>, TypeId) {
    let mut heap = TypedHeap::new(config(|config| {
        config.poison = true;
        change(config);
    }));
    let fields = [Storage::W64, Storage::Reference];
    let node = heap.struct_type(None, &fields).expect("it is small");
    (heap, node)
}

/// Makes a list whose nodes are numbered from its end on; a handle to its head that stays.
fn list(heap: &mut TypedHeap<()>, node: TypeId, length: u64) -> Root {
    let mut head: Option<Root> = None;
    for number in 0..length {
        let scope = heap.enter();
        let new = heap.new_struct(node).expect("there is room");
        heap.set(new, 0, number.into()).expect("it has a number");
        if let Some(head) = head {
            heap.set_reference(new, 1, Reference::Object(head))
                .expect("it has a reference");
            heap.release(head);
        }
        head = Some(heap.keep(new).expect("there is memory"));
        heap.leave(scope);
    }
    head.expect("it has a node")
}

/// The numbers of a list from its head on.
fn numbers(heap: &mut TypedHeap<()>, head: Root) -> Vec<u64> {
    let mut numbers = Vec::new();
    let mut node = heap.keep(head).expect("there is memory");
    loop {
        let scope = heap.enter();
        numbers.push(heap.get(node, 0).expect("it has a number") as u64);
        let next = heap.get_reference(node, 1).expect("it has a reference");
        heap.release(node);
        match next {
            Reference::Object(next) => node = heap.keep(next).expect("there is memory"),
            _ => {
                heap.leave(scope);
                return numbers;
            }
        }
        heap.leave(scope);
    }
}

#[test]
fn a_list_of_a_million_is_marked_without_recursion() {
    const LENGTH: u64 = 1_000_000;
    // With the smallest mark stack, too.
    for mark_stack in [0, 1 << 20] {
        let mut heap = TypedHeap::new(config(|config| config.mark_stack = mark_stack));
        let fields = [Storage::W64, Storage::Reference];
        let node = heap.struct_type(None, &fields).expect("it is small");
        let head = list(&mut heap, node, LENGTH);
        // A thread with little stack: recursion would not get far.
        let collected = std::thread::Builder::new()
            .stack_size(128 << 10)
            .spawn(move || {
                heap.collect();
                heap
            });
        let mut heap = collected
            .expect("a thread")
            .join()
            .expect("it does not overflow");
        assert_eq!(heap.stats().live_objects, LENGTH);
        assert!(numbers(&mut heap, head).into_iter().eq((0..LENGTH).rev()));
        heap.release(head);
        heap.collect();
        assert_eq!(heap.stats().live_objects, 0);
        heap.verify().expect("it is in order");
    }
}

#[test]
fn a_full_mark_stack_loses_nothing() {
    // A tree with long arrays, so that far more waits than the stack holds.
    for mark_stack in [0, 1, 2, 3, 10, 300, 5000] {
        let (mut heap, node) = checked(|config| config.mark_stack = mark_stack);
        let array = heap
            .array_type(None, Storage::Reference)
            .expect("it is an array");
        let top = heap.new_array(array, 1000).expect("there is room");
        let mut objects = 1;
        for at in 0..1000 {
            let scope = heap.enter();
            let inner = match at % 3 {
                0 => heap.new_array(array, at % 700).expect("there is room"),
                _ => heap.new_struct(node).expect("there is room"),
            };
            objects += 1;
            for element in (0..at % 700).step_by(7).filter(|_| at % 3 == 0) {
                let leaf = heap.new_struct(node).expect("there is room");
                heap.set(leaf, 0, element.into()).expect("it has a number");
                heap.set_reference(inner, element, Reference::Object(leaf))
                    .expect("it has an element");
                objects += 1;
            }
            heap.set_reference(top, at, Reference::Object(inner))
                .expect("it has an element");
            heap.leave(scope);
        }
        for _ in 0..2 {
            heap.collect();
            assert_eq!(heap.stats().live_objects, objects, "{mark_stack}");
            heap.verify().expect("it is in order");
        }
        heap.release(top);
        heap.collect();
        assert_eq!(heap.stats().live_objects, 0);
    }
}

#[test]
fn cycles_die() {
    let (mut heap, node) = checked(|_| {});
    let scope = heap.enter();
    let nodes: Vec<Root> = (0..10)
        .map(|_| heap.new_struct(node).expect("there is room"))
        .collect();
    for (at, &from) in nodes.iter().enumerate() {
        let to = Reference::Object(nodes[(at + 1) % nodes.len()]);
        heap.set_reference(from, 1, to).expect("it has a reference");
    }
    heap.release(nodes[0]);
    let one = heap.keep(nodes[5]).expect("there is memory");
    heap.leave(scope);
    heap.collect();
    assert_eq!(heap.stats().live_objects, 10);
    heap.release(one);
    heap.collect();
    assert_eq!(heap.stats().live_objects, 0);
}

#[test]
fn an_address_in_an_object_keeps_it_alive() {
    let (mut heap, _) = checked(|_| {});
    let bytes = heap.array_type(None, Storage::I8).expect("it is an array");
    for length in [0, 1, 100, 5000, MAX_CELL as u32, 3 * BLOCK_BYTES as u32] {
        let object = heap.new_array(bytes, length).expect("there is room");
        let start = heap.address(object).expect("it is alive");
        let size = u64::from(length + 16);
        heap.release(object);
        let offsets = [0, 1, 8, 15, size / 2, size - 1];
        for offset in offsets {
            heap.words().push(start + offset);
            heap.collect();
            assert_eq!(heap.stats().live_objects, 1, "{length} + {offset}");
            assert!(heap.is_object(start + offset));
            heap.words().clear();
        }
        // What is only nearly an address of it does not.
        heap.words()
            .extend([start - 1, start - 64, start ^ 1 << 50, start as u32 as u64]);
        heap.collect();
        assert_eq!(heap.stats().live_objects, 0, "{length}");
        assert!(offsets.iter().all(|offset| !heap.is_object(start + offset)));
        heap.words().clear();
    }
}

#[test]
fn any_word_is_looked_at_safely() {
    let (mut heap, node) = checked(|_| {});
    let object = heap.new_struct(node).expect("there is room");
    let start = heap.address(object).expect("it is alive");
    heap.release(object);
    heap.collect();
    let far = |distance: u64| [start.wrapping_add(distance), start.wrapping_sub(distance)];
    let words = (0..64)
        .flat_map(|bit| far(1 << bit))
        .filter(|&word| word != start);
    heap.words().extend(words);
    heap.words()
        .extend([0, 1, 2, 3, u64::MAX, tiered_heap::POISON]);
    heap.collect();
    assert_eq!(heap.stats().live_objects, 0);
}

#[test]
fn what_is_ahead_of_a_cursor_is_no_object() {
    let (mut heap, node) = checked(|_| {});
    let object = heap.new_struct(node).expect("there is room");
    let start = heap.address(object).expect("it is alive");
    assert!(heap.is_object(start));
    for ahead in 1..100 {
        assert!(!heap.is_object(start + ahead * 24));
        heap.words().push(start + ahead * 24);
    }
    heap.collect();
    assert_eq!(heap.stats().live_objects, 1);
    heap.verify().expect("it is in order");
}

#[test]
fn large_objects_are_freed_and_their_place_is_used_again() {
    let limit = 16 * BLOCK_BYTES;
    let (mut heap, _) = checked(|config| config.limit = limit);
    let array = heap.array_type(None, Storage::W64).expect("it is an array");
    // More in all than there is room for, never more than a third of it at a time.
    for round in 0..100u32 {
        let scope = heap.enter();
        let length = (1 + round % 5) * 8000;
        let object = heap.new_array(array, length).expect("there is room");
        heap.set(object, length - 1, round.into())
            .expect("it is long enough");
        heap.collect();
        assert_eq!(heap.stats().live_objects, 1);
        assert_eq!(heap.get(object, length - 1), Ok(round.into()));
        heap.leave(scope);
    }
    heap.verify().expect("it is in order");
}

#[test]
fn the_limit_is_an_error_and_not_the_end() {
    let limit = 8 * BLOCK_BYTES;
    let (mut heap, node) = checked(|config| config.limit = limit);
    let full = AccessError::Alloc(AllocError::Full {
        limit: limit as u64,
    });
    let mut kept = Vec::new();
    let error = loop {
        match heap.new_struct(node) {
            Ok(root) => kept.push(root),
            Err(error) => break error,
        }
    };
    assert_eq!(error, full);
    assert_eq!(kept.len(), 8 * (BLOCK_BYTES / 24), "all of it was used");
    let before = heap.stats().collections;
    for _ in 0..1000 {
        assert_eq!(heap.new_struct(node), Err(full), "it stays full");
    }
    // Of the thousand the first pays, then two, then four.
    assert_eq!(heap.stats().collections, before + 9);
    heap.verify().expect("it is in order");
    // An array does not fit now, and one that is larger than the heap never does.
    let array = heap
        .array_type(None, Storage::V128)
        .expect("it is an array");
    assert_eq!(heap.new_array(array, 1000), Err(full));
    let AccessError::Alloc(AllocError::TooLarge { size, .. }) = heap
        .new_array(array, u32::MAX)
        .expect_err("it is too large")
    else {
        panic!("it is too large at any time");
    };
    assert!(size >= 16 << 32);
    // Once there is room, it goes on.
    kept.drain(..).for_each(|root| assert!(heap.release(root)));
    heap.collect();
    let after = (0..kept.capacity()).map_while(|_| heap.new_struct(node).ok());
    assert!(after.count() > 10_000);
}

/// A heap of `limit` bytes that is full of what lives, and the objects.
fn full(limit: usize) -> (TypedHeap<()>, TypeId, Vec<Root>) {
    let (mut heap, node) = checked(|config| config.limit = limit);
    let kept = std::iter::from_fn(|| heap.new_struct(node).ok()).collect();
    (heap, node, kept)
}

#[test]
fn what_dies_after_a_refusal_makes_room_for_little() {
    let (mut heap, node, mut kept) = full(8 * BLOCK_BYTES);
    for round in 0..3 {
        kept.drain(..).for_each(|root| assert!(heap.release(root)));
        let before = heap.stats().collections;
        let one = heap.new_struct(node).expect("there is room");
        assert_eq!(heap.stats().collections, before + 1, "{round}");
        kept.push(one);
        kept.extend(std::iter::from_fn(|| heap.new_struct(node).ok()));
        assert_eq!(kept.len(), 8 * (BLOCK_BYTES / 24));
    }
}

#[test]
fn collections_for_the_refused_are_few_even_if_each_finds_a_little() {
    const ROUNDS: u64 = 2000;
    let (mut heap, node, mut kept) = full(8 * BLOCK_BYTES);
    let before = heap.stats().collections;
    let mut refused = 0;
    for _ in 0..ROUNDS {
        if let Some(root) = kept.pop() {
            heap.release(root);
        }
        match heap.new_struct(node) {
            Ok(root) => kept.push(root),
            Err(_) => refused += 1,
        }
    }
    // What was allocated pays for some: a 64th is 341 objects.
    let bound = u64::from(ROUNDS.ilog2()) * (2 + ROUNDS / 341);
    let collections = heap.stats().collections - before;
    assert!((1..=bound).contains(&collections), "{collections}");
    assert!(refused > 0);
    // The host's collection begins anew: the next one that is refused pays.
    let before = heap.stats().collections;
    heap.collect();
    kept.extend(std::iter::from_fn(|| heap.new_struct(node).ok()));
    kept.drain(..).for_each(|root| assert!(heap.release(root)));
    heap.new_struct(node).expect("there is room");
    assert!(heap.stats().collections <= before + 3);
    heap.verify().expect("it is in order");
}

#[test]
fn a_heap_without_room_for_a_block_refuses_everything() {
    let (mut heap, node) = checked(|config| config.limit = BLOCK_BYTES - 1);
    let refused = heap.new_struct(node).expect_err("there is no block");
    assert!(matches!(
        refused,
        AccessError::Alloc(AllocError::TooLarge { .. })
    ));
    heap.collect();
    heap.release_unused();
    heap.verify().expect("it is in order");
}

#[test]
fn a_heap_takes_no_more_address_space_than_the_host_has() {
    // Half of what the processor can address, three times: whatever the host has not is not reserved.
    let heaps = [(); 3].map(|()| {
        let (mut heap, node) = checked(|config| config.limit = usize::MAX);
        let root = heap.new_struct(node).expect("there is room for one");
        assert_eq!(heap.get(root, 0), Ok(0));
        heap
    });
    let [mut heap, ..] = heaps;
    heap.collect();
    heap.verify().expect("it is in order");
}

#[test]
fn collections_come_when_as_much_was_allocated_as_is_alive() {
    const INTERVAL: usize = 1 << 20;
    let mut heap = TypedHeap::<()>::new(config(|config| config.min_interval = INTERVAL));
    let array = heap.array_type(None, Storage::W64).expect("it is an array");
    let garbage = |heap: &mut TypedHeap<()>, bytes: usize| {
        for _ in 0..bytes / 1024 {
            let object = heap.new_array(array, 126).expect("there is room");
            heap.release(object);
        }
    };
    garbage(&mut heap, 10 * INTERVAL);
    let stats = heap.stats();
    assert!((8..=10).contains(&stats.collections), "{stats:?}");
    assert_eq!(stats.allocated_bytes, 10 << 20);
    assert!(stats.live_bytes <= 1024);
    assert!(
        stats.occupied_bytes + stats.retained_bytes <= 2 << 20,
        "{stats:?}"
    );
    assert!(stats.pause_max <= stats.pause_total);
    // With 8 MiB alive it takes 8 MiB more.
    let kept = heap.new_array(array, 1 << 20).expect("there is room");
    heap.collect();
    assert_eq!(heap.stats().live_bytes, (8 << 20) + BLOCK_BYTES as u64);
    let before = heap.stats().collections;
    garbage(&mut heap, 16 * INTERVAL);
    assert!((1..=2).contains(&(heap.stats().collections - before)));
    assert_eq!(heap.get(kept, 5), Ok(0));
    // What is not needed goes back to the host.
    heap.release(kept);
    heap.collect();
    let retained = heap.stats().retained_bytes;
    assert!(retained <= INTERVAL as u64, "{retained} are kept");
    heap.release_unused();
    assert_eq!(heap.stats().retained_bytes, 0);
    garbage(&mut heap, INTERVAL);
}

#[test]
fn under_stress_each_allocation_collects_and_frees_everything_else() {
    let (mut heap, node) = checked(|config| config.stress = true);
    let kept = heap.new_struct(node).expect("there is room");
    let mut last = None;
    for count in 2..200 {
        let object = heap.new_struct(node).expect("there is room");
        assert_eq!(heap.stats().collections, count);
        assert_eq!(heap.stats().live_objects, 1, "only the first was rooted");
        let address = heap.address(object).expect("it is alive");
        assert!(
            last.is_none_or(|last| last == address),
            "its cell is used again"
        );
        last = Some(address);
        heap.verify().expect("it is in order");
        heap.release(object);
    }
    assert_eq!(heap.get(kept, 0), Ok(0));
}

#[test]
fn a_value_of_the_host_dies_with_its_last_reference() {
    struct Counted(Rc<Cell<u32>>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let dropped = Rc::new(Cell::new(0));
    let mut heap = TypedHeap::new(config(|config| config.poison = true));
    let holder = heap
        .struct_type(None, &[Storage::Reference])
        .expect("it is small");
    let scope = heap.enter();
    let root = heap.new_struct(holder).expect("there is room");
    let root = heap.keep(root).expect("there is memory");
    for number in 0..100 {
        let value = heap
            .new_extern(Counted(Rc::clone(&dropped)))
            .expect("there is room");
        if number == 50 {
            heap.set_reference(root, 0, Reference::Object(value))
                .expect("it has a field");
        }
    }
    heap.collect();
    assert_eq!((dropped.get(), heap.value_count()), (0, 100));
    heap.leave(scope);
    heap.collect();
    assert_eq!((dropped.get(), heap.value_count()), (99, 1));
    let Reference::Object(value) = heap.get_reference(root, 0).expect("it has a field") else {
        panic!("it is alive");
    };
    assert!(heap.value(value).is_ok());
    heap.set_reference(root, 0, Reference::Null)
        .expect("it has a field");
    heap.collect();
    assert_eq!(dropped.get(), 99, "a handle keeps it");
    heap.release(value);
    heap.collect();
    assert_eq!((dropped.get(), heap.value_count()), (100, 0));
    heap.new_extern(Counted(Rc::clone(&dropped)))
        .expect("there is room");
    drop(heap);
    assert_eq!(dropped.get(), 101);
}

#[test]
fn a_destructor_that_panics_leaves_a_heap_that_can_be_used() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a destructor's own affair");
        }
    }
    let mut heap = TypedHeap::new(config(|config| config.poison = true));
    let bomb = heap.new_extern(Bomb).expect("there is room");
    heap.release(bomb);
    let collected = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| heap.collect()));
    assert!(collected.is_err());
    heap.collect();
    heap.verify().expect("it is in order");
    assert_eq!(heap.stats().live_objects, 0);
}

#[test]
fn fields_hold_what_was_written_and_nothing_else() {
    let (mut heap, node) = checked(|_| {});
    let all = [
        Storage::I8,
        Storage::I16,
        Storage::W32,
        Storage::W64,
        Storage::V128,
        Storage::Reference,
    ];
    let ty = heap.struct_type(None, &all).expect("it is small");
    let object = heap.new_struct(ty).expect("there is room");
    for index in 0..5 {
        assert_eq!(heap.get(object, index), Ok(0));
        heap.set(object, index, u128::MAX).expect("it is a number");
    }
    let width = |bits: u32| u128::MAX >> (128 - bits);
    let widths = [8, 16, 32, 64, 128].map(width);
    for (index, expected) in (0..).zip(widths) {
        assert_eq!(heap.get(object, index), Ok(expected));
    }
    assert_eq!(heap.get_reference(object, 5), Ok(Reference::Null));
    let i31 = Reference::I31(0x7fff_ffff);
    heap.set_reference(object, 5, i31).expect("a reference");
    heap.collect();
    assert_eq!(heap.get_reference(object, 5), Ok(i31));
    // Nothing else is possible.
    assert_eq!(heap.get(object, 5), Err(AccessError::WrongKind));
    assert_eq!(heap.get(object, 6), Err(AccessError::Missing));
    assert_eq!(
        heap.set_reference(object, 0, Reference::Null),
        Err(AccessError::WrongKind)
    );
    assert_eq!(heap.array_length(object), Err(AccessError::WrongKind));
    assert_eq!(heap.value(object), Err(AccessError::WrongKind));
    assert_eq!(heap.is_a(object, node), Ok(false));
    assert_eq!(heap.is_a(object, ty), Ok(true));
    let bytes = heap.array_type(None, Storage::I8).expect("it is an array");
    assert_eq!(heap.new_struct(bytes), Err(AccessError::WrongKind));
    assert_eq!(heap.new_array(ty, 1), Err(AccessError::WrongKind));
    assert_eq!(
        heap.struct_type(Some(bytes), &[]),
        Err(AccessError::WrongKind)
    );
    let array = heap.new_array(bytes, 3).expect("there is room");
    assert_eq!(heap.array_length(array), Ok(3));
    assert_eq!(heap.get(array, 3), Err(AccessError::Missing));
    heap.release(object);
    assert_eq!(heap.get(object, 0), Err(AccessError::Released));
}
