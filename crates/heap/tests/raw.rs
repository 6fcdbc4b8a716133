//! A heap as a runtime uses it: roots that are ranges of words, objects that are made inline, and what happens when a root
//! is forgotten or the roots panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use tiered_heap::layout::{ARRAY_LENGTH, DESCRIPTOR, FIELDS};
use tiered_heap::{
    Cursors, Descriptor, Heap, HeapConfig, Kind, Marker, ObjectRef, OwnedDescriptor, Roots,
    SizeClass, Storage, StructLayout, TypeInfo,
};

/// A stack of words.
struct Stack(Vec<u64>);

// SAFETY: in these tests all references are on the stack, or are meant to be forgotten.
unsafe impl Roots for Stack {
    fn trace(&mut self, marker: &mut Marker<'_>) {
        let range = self.0.as_ptr_range();
        // SAFETY: these are the stack's words.
        unsafe { marker.range(range.start, range.end) };
    }
}

fn heap(change: impl FnOnce(&mut HeapConfig)) -> Heap {
    let mut config = HeapConfig::default();
    config.poison = true;
    change(&mut config);
    Heap::new(config)
}

/// A type of one reference.
fn link() -> OwnedDescriptor {
    let layout = StructLayout::new([Storage::Reference]).expect("it is small");
    let info = TypeInfo {
        id: 7,
        supertype: None,
        is_final: true,
    };
    OwnedDescriptor::of_struct(info, &layout).expect("it is not deep")
}

/// Writes the reference of a [`link`].
fn set_link(object: ObjectRef, to: u64) {
    // SAFETY: the object has one.
    unsafe { object.at(FIELDS).cast::<u64>().write(to) };
}

/// Allocates as compiled code does: with the address of the heap, offsets and nothing else.
///
/// # Safety
/// The descriptor is that of a struct.
unsafe fn alloc_inline(
    heap: NonNull<Heap>,
    descriptor: NonNull<Descriptor>,
    stack: &mut Stack,
) -> ObjectRef {
    // SAFETY: the offsets lead to words of the heap's cursors.
    unsafe {
        let size = descriptor.cast::<u8>().add(Descriptor::SIZE).cast::<u32>();
        let class = SizeClass::of(size.read() as usize).expect("it is small");
        let cursors = heap.cast::<u8>().add(Heap::CURSORS);
        let cursor = cursors.add(Cursors::cursor_offset(class)).cast::<usize>();
        let limit = cursors.add(Cursors::limit_offset(class)).cast::<usize>();
        let next = cursor.read() + class.size();
        if next > limit.read() {
            return heap
                .as_ref()
                .alloc(descriptor, stack)
                .expect("there is room");
        }
        let object = ObjectRef::from_address(cursor.read());
        cursor.write(next);
        object
            .at(DESCRIPTOR)
            .cast::<*const Descriptor>()
            .write(descriptor.as_ptr());
        object
    }
}

#[test]
fn objects_that_are_made_inline_are_like_others() {
    let mut heap = heap(|config| config.min_interval = 64 << 10);
    let link = link();
    let mut stack = Stack(vec![0]);
    let pointer = NonNull::from(&mut heap);
    const COUNT: u64 = 100_000;
    for number in 0..COUNT {
        // SAFETY: the descriptor is a struct's, and lives longer than the heap is used.
        let object = unsafe { alloc_inline(pointer, link.pointer(), &mut stack) };
        // Every other one is dropped.
        set_link(object, stack.0[0]);
        if number % 2 == 0 {
            stack.0[0] = object.bits();
        }
    }
    assert!(heap.stats().collections > 5);
    heap.collect(&mut stack);
    assert_eq!(heap.stats().live_objects, COUNT / 2);
    assert_eq!(heap.stats().allocated_bytes, COUNT * 16);
    heap.verify().expect("it is in order");
}

#[test]
fn exceptions_and_arrays_have_their_parts_where_the_layout_says() {
    let heap = heap(|_| {});
    // A tag, then the values.
    let parts = [Storage::W64, Storage::W32, Storage::Reference];
    let layout = StructLayout::new(parts).expect("it is small");
    let exception = OwnedDescriptor::of_exception(3, &layout);
    assert_eq!(exception.get().kind(), Kind::Exception);
    assert_eq!(exception.references(), [24]);
    let info = TypeInfo {
        id: 4,
        supertype: None,
        is_final: false,
    };
    let bytes = OwnedDescriptor::of_array(info, Storage::I8).expect("it is not deep");
    let mut stack = Stack(Vec::new());
    // SAFETY: the descriptors are of these kinds and live longer than the heap is used; offsets are those of the parts.
    unsafe {
        let array = heap
            .alloc_array(bytes.pointer(), 5, &mut stack)
            .expect("there is room");
        assert_eq!(array.at(ARRAY_LENGTH).cast::<u32>().read(), 5);
        let thrown = heap
            .alloc(exception.pointer(), &mut stack)
            .expect("there is room");
        thrown.at(8).cast::<u64>().write(1);
        thrown.at(24).cast::<u64>().write(array.bits());
        stack.0.push(thrown.bits());
        heap.collect(&mut stack);
        assert_eq!(heap.stats().live_objects, 2);
        assert_eq!(thrown.at(24).cast::<u64>().read(), array.bits());
    }
    stack.0.clear();
    heap.collect(&mut stack);
    assert_eq!(heap.stats().live_objects, 0);
}

#[test]
fn a_forgotten_root_is_found_out() {
    let heap = heap(|_| {});
    let link = link();
    let mut stack = Stack(Vec::new());
    // SAFETY: as above.
    let [from, to] = [(); 2].map(|()| unsafe {
        heap.alloc(link.pointer(), &mut stack)
            .expect("there is room")
    });
    set_link(from, 0);
    set_link(to, 0);
    stack.0.push(from.bits());
    heap.collect(&mut stack);
    // As if it had been kept somewhere that is not scanned.
    set_link(from, to.bits());
    let collected = catch_unwind(AssertUnwindSafe(|| heap.collect(&mut stack)));
    let panic = collected.expect_err("it leads to a freed cell");
    let text = panic.downcast_ref::<String>().expect("a text");
    assert!(text.contains("what was freed"), "{text}");
    // And the heap can still be used.
    set_link(from, 0);
    heap.collect(&mut stack);
    assert_eq!(heap.stats().live_objects, 1);
    heap.verify().expect("it is in order");
}

/// Roots that show half of what they have, and panic.
struct Panicking<'a>(&'a Stack);

// SAFETY: a collection that panics frees nothing.
unsafe impl Roots for Panicking<'_> {
    fn trace(&mut self, marker: &mut Marker<'_>) {
        let half = &self.0.0[..self.0.0.len() / 2];
        half.iter().for_each(|&word| marker.word(word));
        panic!("the roots' own affair");
    }
}

#[test]
fn roots_that_panic_lose_nothing() {
    let heap = heap(|config| config.poison = false);
    let link = link();
    let mut stack = Stack(Vec::new());
    let mut last = 0;
    for _ in 0..1000 {
        // SAFETY: as above.
        let object = unsafe { heap.alloc(link.pointer(), &mut stack) }.expect("there is room");
        set_link(object, last);
        last = object.bits();
        stack.0.push(last);
    }
    let collected = catch_unwind(AssertUnwindSafe(|| heap.collect(&mut Panicking(&stack))));
    assert!(collected.is_err());
    // What was marked then leads to what was not: all of it has to be found, now from the last one only.
    stack.0 = vec![last];
    heap.collect(&mut stack);
    assert_eq!(heap.stats().live_objects, 1000);
    heap.verify().expect("it is in order");
}

/// Roots that allocate while they are asked.
struct Allocating<'a>(&'a Heap, NonNull<Descriptor>);

// SAFETY: there is nothing to show.
unsafe impl Roots for Allocating<'_> {
    fn trace(&mut self, _: &mut Marker<'_>) {
        // SAFETY: as above.
        let refused = unsafe { self.0.alloc(self.1, &mut Stack(Vec::new())) };
        refused.ok();
    }
}

#[test]
fn a_heap_is_not_used_within_its_own_collection() {
    let heap = heap(|_| {});
    let link = link();
    let mut roots = Allocating(&heap, link.pointer());
    let collected = catch_unwind(AssertUnwindSafe(|| heap.collect(&mut roots)));
    assert!(collected.is_err());
    heap.collect(&mut Stack(Vec::new()));
    heap.verify().expect("it is in order");
}
