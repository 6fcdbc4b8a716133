//! What the heap costs: allocation, marking of a tree in the order of allocation and shuffled, sweeping, stale words.
//!
//! Figures for marking are for all objects together; divide by [`NODES`].

use std::hint::black_box;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tiered_heap::layout::FIELDS;
use tiered_heap::{
    Descriptor, Heap, HeapConfig, Marker, ObjectRef, OwnedDescriptor, Roots, Storage, StructLayout,
    TypeInfo,
};

/// Objects of the tree: 32 bytes each, 64 MiB.
const NODES: usize = 2 << 20;

/// Words of a stack.
struct Stack(Vec<u64>);

// SAFETY: in these benches all references are on the stack or in objects.
unsafe impl Roots for Stack {
    fn trace(&mut self, marker: &mut Marker<'_>) {
        let range = self.0.as_ptr_range();
        // SAFETY: these are the stack's words.
        unsafe { marker.range(range.start, range.end) };
    }
}

/// A node of a tree: a number and two references.
fn node() -> OwnedDescriptor {
    let fields = [Storage::W64, Storage::Reference, Storage::Reference];
    let layout = StructLayout::new(fields).expect("it is small");
    let info = TypeInfo {
        id: 0,
        supertype: None,
        is_final: true,
    };
    OwnedDescriptor::of_struct(info, &layout).expect("it is not deep")
}

/// # Safety
/// The descriptor is [`node`]'s and lives longer than the heap.
#[inline(always)]
unsafe fn alloc(
    heap: &Heap,
    node: NonNull<Descriptor>,
    stack: &mut Stack,
    to: [u64; 2],
) -> ObjectRef {
    // SAFETY: a node has these fields.
    unsafe {
        let object = heap.alloc(node, stack).expect("there is room");
        object.at(FIELDS).cast::<u64>().write(1);
        object.at(FIELDS + 8).cast::<[u64; 2]>().write(to);
        object
    }
}

/// A heap with a binary tree of [`NODES`] nodes, the parent of each found by its number among those in this order.
fn tree(node: &OwnedDescriptor, order: &[u32]) -> (Heap, Stack) {
    let mut config = HeapConfig::default();
    config.min_interval = 1 << 30;
    let heap = Heap::new(config);
    let mut stack = Stack(Vec::new());
    // SAFETY: the descriptor is a node's.
    let objects: Vec<ObjectRef> = (0..NODES)
        .map(|_| unsafe { alloc(&heap, node.pointer(), &mut stack, [0; 2]) })
        .collect();
    let at = |number: usize| {
        order
            .get(number)
            .map_or(0, |&at| objects[at as usize].bits())
    };
    for number in 0..NODES {
        let children = [at(2 * number + 1), at(2 * number + 2)];
        let object = objects[order[number] as usize];
        // SAFETY: a node has these fields.
        unsafe { object.at(FIELDS + 8).cast::<[u64; 2]>().write(children) };
    }
    stack.0.push(at(0));
    (heap, stack)
}

/// For each node which one it is in the order of allocation: depth first, as a program does that builds a tree from its
/// leaves, or shuffled.
fn order(shuffled: bool) -> Vec<u32> {
    let mut order = vec![0; NODES];
    let (mut pending, mut next) = (vec![0], NODES as u32);
    while let Some(number) = pending.pop() {
        next -= 1;
        order[number] = next;
        pending.extend(
            [2 * number + 1, 2 * number + 2]
                .iter()
                .filter(|&&child| child < NODES),
        );
    }
    let mut state = 1u64;
    for at in (1..NODES).rev().filter(|_| shuffled) {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        order.swap(at, ((state >> 33) as usize) % (at + 1));
    }
    order
}

fn allocation(criterion: &mut Criterion) {
    let node = node();
    let mut group = criterion.benchmark_group("alloc");
    group.throughput(Throughput::Elements(1));
    // With the collections that come of it: all of it is garbage.
    group.bench_function("garbage", |bencher| {
        let heap = Heap::new(HeapConfig::default());
        let mut stack = Stack(vec![0]);
        // SAFETY: the descriptor is a node's.
        bencher.iter(|| unsafe { alloc(&heap, node.pointer(), &mut stack, [0; 2]) });
    });
    // Between objects that live: one cell in two is free.
    group.bench_function("into_holes", |bencher| {
        let mut config = HeapConfig::default();
        config.min_interval = 16 << 20;
        let heap = Heap::new(config);
        let mut stack = Stack(Vec::new());
        for number in 0..1_000_000 {
            // SAFETY: the descriptor is a node's.
            let object = unsafe { alloc(&heap, node.pointer(), &mut stack, [0; 2]) };
            if number % 2 == 0 {
                stack.0.push(object.bits());
            }
        }
        // SAFETY: as above.
        bencher.iter(|| unsafe { alloc(&heap, node.pointer(), &mut stack, [0; 2]) });
    });
    group.finish();
}

fn marking(criterion: &mut Criterion) {
    let node = node();
    let mut group = criterion.benchmark_group("collect");
    group.sample_size(10);
    group.throughput(Throughput::Elements(NODES as u64));
    for (name, shuffled) in [("in_order", false), ("shuffled", true)] {
        let (heap, mut stack) = tree(&node, &order(shuffled));
        heap.collect(&mut stack);
        assert_eq!(heap.stats().live_objects, NODES as u64);
        group.bench_function(name, |bencher| bencher.iter(|| heap.collect(&mut stack)));
    }
    group.finish();
}

fn sweeping(criterion: &mut Criterion) {
    let node = node();
    let mut group = criterion.benchmark_group("sweep");
    group.sample_size(10);
    // All the blocks of 64 MiB, in each of which one object lives: sweeping them is most of the second collection.
    const BLOCKS: u64 = (NODES as u64 * 32) >> 16;
    group.throughput(Throughput::Elements(BLOCKS));
    group.bench_function("blocks", |bencher| {
        bencher.iter_custom(|iterations| {
            let mut time = Duration::ZERO;
            for _ in 0..iterations {
                let (heap, mut stack) = tree(&node, &order(false));
                let first = stack.0[0];
                // The root was allocated last.
                stack.0 = (0..BLOCKS)
                    .map(|block| (first & !0xffff) - (block << 16))
                    .collect();
                for &object in &stack.0 {
                    let object = heap.object_at(object).expect("it is alive");
                    // SAFETY: a node has these fields.
                    unsafe { object.at(FIELDS + 8).cast::<[u64; 2]>().write([0; 2]) };
                }
                heap.collect(&mut stack);
                let begin = Instant::now();
                heap.collect(&mut stack);
                time += begin.elapsed();
            }
            time
        });
    });
    group.finish();
}

fn scanning(criterion: &mut Criterion) {
    const WORDS: u64 = 128 << 10;
    let node = node();
    let (heap, mut kept) = tree(&node, &order(false));
    let first = kept.0[0];
    // One object lives, so that the others' addresses lead to blocks and cells, and to nothing there.
    let object = heap.object_at(first).expect("it is alive");
    // SAFETY: a node has these fields.
    unsafe { object.at(FIELDS + 8).cast::<[u64; 2]>().write([0; 2]) };
    heap.collect(&mut kept);
    let mut group = criterion.benchmark_group("scan");
    group.throughput(Throughput::Elements(WORDS));
    let mut state = 1u64;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state >> 16
    };
    let outside = Stack((0..WORDS).map(|_| random()).collect());
    let dead = Stack(
        (0..WORDS)
            .map(|_| first - 32 - random() % 2000 * 32)
            .collect(),
    );
    for (name, mut stack) in [("outside_of_the_heap", outside), ("dead_objects", dead)] {
        stack.0.push(first);
        group.bench_function(name, |bencher| {
            bencher.iter(|| heap.collect(black_box(&mut stack)));
        });
    }
    group.finish();
}

criterion_group!(benches, allocation, marking, sweeping, scanning);
criterion_main!(benches);
