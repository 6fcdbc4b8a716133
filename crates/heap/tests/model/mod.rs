//! A program on a heap that is made of bytes, and a model that says what has to be alive: of the property test here, and of
//! the fuzzer.
//!
//! Objects do not move, so the model knows each by its address. It checks that what can be reached has its contents, that
//! after a collection nothing else is alive, that values of the host die with their objects and never earlier, and that
//! the heap finds itself in order, with poison wherever no object is.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use tiered_heap::{
    AccessError, AllocError, HeapConfig, HeapStats, Reference, Root, Scope, Storage, TypeId,
    TypedHeap,
};

/// The number of an object in the model.
type Id = usize;

/// A value of the host that says when it is dropped.
#[derive(Debug)]
struct Value {
    id: Id,
    dropped: Rc<RefCell<BTreeSet<Id>>>,
}

impl Drop for Value {
    fn drop(&mut self) {
        self.dropped.borrow_mut().insert(self.id);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    I31(u32),
    Object(Id),
}

/// An object as it has to be. What is not listed is 0 or null.
#[derive(Debug, Default)]
struct Object {
    address: u64,
    /// How many fields or elements there are, from index 0 on.
    length: u32,
    /// Of which the references begin here.
    references_from: u32,
    references: BTreeMap<u32, Target>,
    numbers: BTreeMap<u32, u128>,
    /// Bits of a number.
    width: u32,
    is_value: bool,
}

/// The bytes of an input, 0 once they are used up.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> usize {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first.into()
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        (self.byte() << 8 | self.byte()) % end.max(1)
    }
}

struct Program {
    heap: TypedHeap<Value>,
    objects: HashMap<Id, Object>,
    created: Id,
    handles: Vec<(Root, Id)>,
    /// Scopes that were entered, with the number of handles there were.
    scopes: Vec<(Scope, usize)>,
    /// What the words of the heap keep alive.
    pinned: Vec<Id>,
    dropped: Rc<RefCell<BTreeSet<Id>>>,
    structs: Vec<(TypeId, u32, u32)>,
    references: TypeId,
    bytes: TypeId,
}

/// Runs the program that `bytes` describe, checks it against the model, and returns what the heap has done.
///
/// # Panics
/// If heap and model differ.
pub(crate) fn run(bytes: &[u8]) -> HeapStats {
    let mut choices = Choices(bytes);
    let mut program = Program::new(&mut choices);
    while !choices.0.is_empty() {
        program.step(&mut choices);
    }
    program.check();
    while let Some((scope, _)) = program.scopes.pop() {
        program.heap.leave(scope);
    }
    for (root, _) in program.handles.drain(..) {
        program.heap.release(root);
    }
    program.heap.words().clear();
    program.heap.collect();
    let stats = program.heap.stats();
    assert_eq!(stats.live_objects, 0, "everything was released");
    assert_eq!(program.heap.value_count(), 0);
    assert_eq!(program.heap.root_count(), 0);
    program.heap.verify().expect("the heap is in order");
    stats
}

impl Program {
    fn new(choices: &mut Choices<'_>) -> Program {
        let mut config = HeapConfig::default();
        let bits = choices.byte();
        config.poison = bits & 1 == 0;
        config.stress = bits & 6 == 6;
        config.limit = [4, 16, 64, 1024][bits >> 3 & 3] << 16;
        config.min_interval = [16 << 10, 1 << 20][bits >> 5 & 1];
        config.mark_stack = [0, 5, 300, 1 << 20][bits >> 6 & 3];
        let mut heap = TypedHeap::new(config);
        // A number in front, so that a struct knows which one it is; then references, and more numbers.
        let shapes = [(1, 0), (1, 1), (1, 2), (2, 5), (5, 3), (1, 40), (3, 500)];
        let structs = shapes.map(|(numbers, references)| {
            let mut fields = vec![Storage::W64; numbers as usize];
            fields.extend(vec![Storage::Reference; references as usize]);
            let ty = heap.struct_type(None, &fields).expect("it is small");
            (ty, numbers, references)
        });
        let references = heap.array_type(None, Storage::Reference);
        let bytes = heap.array_type(None, Storage::I8);
        Program {
            heap,
            objects: HashMap::new(),
            created: 0,
            handles: Vec::new(),
            scopes: Vec::new(),
            pinned: Vec::new(),
            dropped: Rc::default(),
            structs: structs.to_vec(),
            references: references.expect("it is an array"),
            bytes: bytes.expect("it is an array"),
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.byte() % 18 {
            0..=2 => self.new_struct(choices),
            3 => self.new_array(choices),
            4 => self.new_bytes(choices),
            5 => self.new_value(),
            6..=8 => self.set_reference(choices),
            9 => self.set_number(choices),
            10 => self.follow(choices),
            11 => self.release(choices),
            12 => self.scopes.push((self.heap.enter(), self.handles.len())),
            13 => self.leave(),
            14 => self.pin(choices),
            15 => {
                self.pinned.clear();
                self.heap.words().clear();
            }
            16 => self.check(),
            _ => self.burst(choices),
        }
        // So that there is always garbage, and checks take no longer and longer.
        while self.handles.len() > 60 {
            self.release(choices);
        }
    }

    /// Takes what was allocated into the model, if it was.
    fn add(&mut self, made: Result<Root, AccessError>, object: Object) -> Option<Root> {
        let root = match made {
            Ok(root) => root,
            Err(AccessError::Alloc(AllocError::Full { .. } | AllocError::TooLarge { .. })) => {
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        let address = self.heap.address(root).expect("it is alive");
        self.objects
            .insert(self.created, Object { address, ..object });
        self.handles.push((root, self.created));
        self.created += 1;
        Some(root)
    }

    fn new_struct(&mut self, choices: &mut Choices<'_>) {
        let (ty, numbers, references) = self.structs[choices.below(self.structs.len())];
        let id = self.created as u128;
        let object = Object {
            length: numbers + references,
            references_from: numbers,
            numbers: BTreeMap::from([(0, id)]),
            width: 64,
            ..Object::default()
        };
        let made = self.heap.new_struct(ty);
        if let Some(root) = self.add(made, object) {
            self.heap.set(root, 0, id).expect("it has a number");
        }
    }

    /// A length that is mostly small, and in some cases one of a large object.
    fn length(choices: &mut Choices<'_>) -> u32 {
        let shift = [0, 0, 0, 1, 2, 4, 5, 7][choices.byte() % 8];
        (choices.below(1024) << shift) as u32
    }

    fn new_array(&mut self, choices: &mut Choices<'_>) {
        let length = Program::length(choices);
        let object = Object {
            length,
            ..Object::default()
        };
        let made = self.heap.new_array(self.references, length);
        self.add(made, object);
    }

    fn new_bytes(&mut self, choices: &mut Choices<'_>) {
        let length = Program::length(choices);
        let object = Object {
            length,
            references_from: length,
            width: 8,
            ..Object::default()
        };
        let made = self.heap.new_array(self.bytes, length);
        self.add(made, object);
    }

    fn new_value(&mut self) {
        let value = Value {
            id: self.created,
            dropped: Rc::clone(&self.dropped),
        };
        let made = self.heap.new_extern(value);
        let is_made = made.is_ok();
        let object = Object {
            is_value: true,
            ..Object::default()
        };
        self.add(made, object);
        if !is_made {
            self.dropped.borrow_mut().remove(&self.created);
        }
    }

    fn some(&self, choices: &mut Choices<'_>) -> Option<(Root, Id)> {
        let at = choices.below(self.handles.len());
        self.handles.get(at).copied()
    }

    /// An index among an object's references; among the first ones mostly.
    fn reference_index(&self, id: Id, choices: &mut Choices<'_>) -> Option<u32> {
        let object = &self.objects[&id];
        let count = object.length - object.references_from;
        let far = choices.byte().is_multiple_of(4);
        let end = if far { count } else { count.min(8) };
        (end > 0).then(|| object.references_from + choices.below(end as usize) as u32)
    }

    fn set_reference(&mut self, choices: &mut Choices<'_>) {
        let Some((root, id)) = self.some(choices) else {
            return;
        };
        let Some(index) = self.reference_index(id, choices) else {
            return;
        };
        let (target, reference) = match (choices.byte() % 8, self.some(choices)) {
            (0, _) | (_, None) => (None, Reference::Null),
            (1, _) => {
                let value = choices.below(1 << 16) as u32 * 0x7fff;
                (Some(Target::I31(value)), Reference::I31(value))
            }
            (_, Some((to, to_id))) => (Some(Target::Object(to_id)), Reference::Object(to)),
        };
        self.heap
            .set_reference(root, index, reference)
            .expect("there is a reference");
        let references = &mut self.objects.get_mut(&id).expect("it is alive").references;
        match target {
            Some(target) => references.insert(index, target),
            None => references.remove(&index),
        };
    }

    fn set_number(&mut self, choices: &mut Choices<'_>) {
        let Some((root, id)) = self.some(choices) else {
            return;
        };
        let object = self.objects.get_mut(&id).expect("it is alive");
        if object.references_from == 0 {
            return;
        }
        let index = choices.below(object.references_from as usize) as u32;
        let value = choices.below(1 << 16) as u128 * 0x1_0001_0001;
        self.heap
            .set(root, index, value)
            .expect("there is a number");
        object
            .numbers
            .insert(index, value & ((1 << object.width) - 1));
    }

    /// Gets a handle to what an object leads to.
    fn follow(&mut self, choices: &mut Choices<'_>) {
        let Some((root, id)) = self.some(choices) else {
            return;
        };
        let Some(index) = self.reference_index(id, choices) else {
            return;
        };
        let found = self.heap.get_reference(root, index);
        let found = found.expect("there is a reference");
        let wanted = self.objects[&id].references.get(&index).copied();
        match (found, wanted) {
            (Reference::Null, None) => {}
            (Reference::I31(value), Some(Target::I31(wanted))) => assert_eq!(value, wanted),
            (Reference::Object(root), Some(Target::Object(id))) => {
                let address = self.heap.address(root).expect("it is alive");
                assert_eq!(address, self.objects[&id].address);
                self.handles.push((root, id));
            }
            (found, wanted) => panic!("{found:?} is to be {wanted:?}"),
        }
    }

    fn release(&mut self, choices: &mut Choices<'_>) {
        if self.handles.is_empty() {
            return;
        }
        let at = choices.below(self.handles.len());
        let (root, _) = self.handles.remove(at);
        assert!(self.heap.release(root));
        for (_, outer) in &mut self.scopes {
            if *outer > at {
                *outer -= 1;
            }
        }
    }

    fn leave(&mut self) {
        if let Some((scope, outer)) = self.scopes.pop() {
            self.heap.leave(scope);
            for (root, _) in self.handles.drain(outer..) {
                assert_eq!(self.heap.address(root), Err(AccessError::Released));
            }
        }
    }

    /// Keeps an object alive by a word as it may be on a stack, and adds words that are nothing.
    fn pin(&mut self, choices: &mut Choices<'_>) {
        if let Some((_, id)) = self.some(choices) {
            let inside = choices.below(16) as u64;
            self.heap.words().push(self.objects[&id].address + inside);
            self.pinned.push(id);
        }
        let nothing = [0, 1, 77, u64::MAX, 1 << 63, tiered_heap::POISON];
        let word = nothing[choices.below(nothing.len())];
        self.heap.words().push(word);
    }

    /// Makes objects of one size that die at once.
    fn burst(&mut self, choices: &mut Choices<'_>) {
        let (ty, ..) = self.structs[choices.below(self.structs.len())];
        for _ in 0..choices.byte() {
            match self.heap.new_struct(ty) {
                Ok(root) => assert!(self.heap.release(root)),
                Err(AccessError::Alloc(_)) => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn reachable(&self) -> BTreeSet<Id> {
        let mut pending: Vec<Id> = self.handles.iter().map(|&(_, id)| id).collect();
        pending.extend(&self.pinned);
        let mut found = BTreeSet::new();
        while let Some(id) = pending.pop() {
            if found.insert(id) {
                let targets = self.objects[&id].references.values();
                pending.extend(targets.filter_map(|target| match target {
                    Target::Object(id) => Some(*id),
                    Target::I31(_) => None,
                }));
            }
        }
        found
    }

    /// Collects, and compares everything.
    fn check(&mut self) {
        let reachable = self.reachable();
        assert!(self.dropped.borrow().is_disjoint(&reachable));
        self.heap.collect();
        self.heap.verify().expect("the heap is in order");
        assert_eq!(self.heap.stats().live_objects, reachable.len() as u64);
        let mut values = 0;
        for (id, object) in &self.objects {
            let alive = reachable.contains(id);
            values += usize::from(alive && object.is_value);
            if object.is_value {
                assert_ne!(self.dropped.borrow().contains(id), alive, "value {id}");
            }
        }
        assert_eq!(self.heap.value_count(), values);
        self.objects.retain(|id, _| reachable.contains(id));
        let mut addresses = BTreeSet::new();
        for object in self.objects.values() {
            assert!(addresses.insert(object.address), "two objects in one place");
            assert!(self.heap.is_object(object.address));
        }
        self.compare();
    }

    /// Compares all objects that handles lead to with the model.
    fn compare(&mut self) {
        let scope = self.heap.enter();
        let mut pending = self.handles.clone();
        let mut seen = BTreeSet::new();
        while let Some((root, id)) = pending.pop() {
            let object = &self.objects[&id];
            assert_eq!(self.heap.address(root), Ok(object.address));
            if !seen.insert(id) {
                continue;
            }
            if object.is_value {
                assert_eq!(self.heap.value(root).expect("a value").id, id);
                continue;
            }
            // Large arrays are looked at where something was written, and here and there.
            let step = (object.length / 64).max(1) as usize;
            let places = (0..object.length).step_by(step);
            let written = object.references.keys().chain(object.numbers.keys());
            for index in places.chain(written.copied()) {
                if index < object.references_from {
                    let wanted = object.numbers.get(&index).copied().unwrap_or(0);
                    assert_eq!(self.heap.get(root, index), Ok(wanted));
                    continue;
                }
                let found = self.heap.get_reference(root, index);
                let found = found.expect("there is a reference");
                match (found, object.references.get(&index)) {
                    (Reference::Null, None) => {}
                    (Reference::I31(value), Some(Target::I31(wanted))) => {
                        assert_eq!(value, *wanted);
                    }
                    (Reference::Object(root), Some(Target::Object(id))) => {
                        pending.push((root, *id));
                    }
                    (found, wanted) => panic!("{found:?} is to be {wanted:?}"),
                }
            }
        }
        self.heap.leave(scope);
    }
}
