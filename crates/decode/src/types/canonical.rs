//! Canonical types: one number for all definitions that the spec holds equal, whichever modules of the process they are in.
//!
//! Types are equal if their recursion groups are (the spec's section 3.1.5, "rolling up"): the same definitions in the same order, in
//! which what refers to the group itself refers to the same place in it, and anything else to equal types. So a group is
//! kept once, found by its definitions in that form, and each of its types has a number.
//!
//! * *Invariant:* a number means one type as long as a group with that type is registered ([`Registered`]); it is given
//!   out again only after its last registration went. Who keeps a number keeps a registration, or a module, or a store.
//! * *Invariant:* a group keeps those that it refers to registered.
//! * *Invariant:* nothing here calls itself, however types refer to each other, and all of it takes time and memory linear
//!   in the definitions: they are a guest's.
//!
//! # Why a list of ancestors isn't kept
//! It would make the test of a subtype one comparison. But a million types, of a few bytes each, may have 63 ancestors
//! each. The walk is as short as that.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::FuncType;
use super::composite::SubType;

/// The number of a canonical type: two are equal if and only if their types are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct TypeId(u32);

impl TypeId {
    /// What stands where there is no number.
    pub(super) const NONE: TypeId = TypeId(0);

    /// Numbers with this bit are places in the group that a definition is in.
    const RELATIVE: u32 = 1 << 31;

    /// Stands for the type at this place in the group of the definition that has it, until the group is registered.
    pub(super) fn relative(place: u32) -> TypeId {
        TypeId(place | TypeId::RELATIVE)
    }

    fn place(self) -> Option<usize> {
        (self.0 & TypeId::RELATIVE != 0).then_some((self.0 & !TypeId::RELATIVE) as usize)
    }

    /// The number.
    #[must_use]
    #[inline]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Whether it is `other`, or declared to be a subtype of it, directly or not.
    #[must_use]
    pub fn is_subtype_of(self, other: TypeId) -> bool {
        is_subtype(self, other)
    }

    /// How many supertypes it is declared to have, directly or not.
    #[must_use]
    pub fn depth(self) -> u32 {
        let registry = read();
        let above = |id: &TypeId| registry.definition(*id).and_then(|ty| ty.supertype);
        std::iter::successors(above(&self), above).count() as u32
    }

    /// The type; `None` if it is registered no more.
    #[must_use]
    pub fn definition(self) -> Option<Definition> {
        definition(self)
    }
}

/// A recursion group.
#[derive(Debug)]
pub(super) struct Group {
    /// The definitions by which it is found: what refers to the group is [relative](TypeId::relative).
    key: Definitions,
    /// The number of the first type.
    first: TypeId,
    /// How often it is registered, and how many groups refer to it. Changes under the registry's lock.
    users: AtomicUsize,
    /// `None` for one type that refers to no other, as nearly all do of which there are many.
    more: Option<Box<More>>,
}

/// The definitions of a group. That of a type which is alone in its group is kept with the group.
#[derive(Debug)]
enum Definitions {
    One(SubType),
    Many(Box<[SubType]>),
}

impl From<Vec<SubType>> for Definitions {
    fn from(mut types: Vec<SubType>) -> Definitions {
        match types.pop() {
            Some(only) if types.is_empty() => Definitions::One(only),
            last => {
                types.extend(last);
                Definitions::Many(types.into())
            }
        }
    }
}

impl Deref for Definitions {
    type Target = [SubType];

    fn deref(&self) -> &[SubType] {
        match self {
            Definitions::One(only) => std::slice::from_ref(only),
            Definitions::Many(types) => types,
        }
    }
}

/// What else there is to a recursion group.
#[derive(Debug)]
struct More {
    /// The definitions, if they differ from those by which the group is found.
    types: Option<Box<[SubType]>>,
    /// The numbers of all types.
    ids: Box<[TypeId]>,
    /// The other groups that it refers to, by the first type of each. Were they held themselves, a long chain of groups
    /// would end by as deep a recursion.
    refers_to: Box<[TypeId]>,
}

impl Group {
    /// The types.
    pub(super) fn types(&self) -> &[SubType] {
        let types = self.more.as_ref().and_then(|more| more.types.as_deref());
        types.unwrap_or(&self.key)
    }

    /// The numbers of the types.
    pub(super) fn ids(&self) -> &[TypeId] {
        match &self.more {
            Some(more) => &more.ids,
            None => std::slice::from_ref(&self.first),
        }
    }

    /// Whether one of the types refers to one of them.
    pub(super) fn is_recursive(&self) -> bool {
        self.more.as_ref().is_some_and(|more| more.types.is_some())
    }

    fn refers_to(&self) -> &[TypeId] {
        self.more.as_ref().map_or(&[], |more| &more.refers_to)
    }
}

/// A group that is found by its definitions.
#[derive(Debug)]
struct ByKey(Arc<Group>);

impl Borrow<[SubType]> for ByKey {
    fn borrow(&self) -> &[SubType] {
        &self.0.key
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &ByKey) -> bool {
        self.0.key[..] == other.0.key[..]
    }
}

impl Eq for ByKey {}

impl Hash for ByKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As the slice by which it is looked for.
        self.0.key[..].hash(state);
    }
}

/// A type that is registered, or was when it was asked for.
#[derive(Clone, Debug)]
pub struct Definition {
    group: Arc<Group>,
    place: u32,
}

impl Definition {
    /// Its place in its recursion group, and how many types that has.
    #[must_use]
    pub fn place_in_group(&self) -> (u32, u32) {
        (self.place, self.group.types().len() as u32)
    }
}

impl Deref for Definition {
    type Target = SubType;

    fn deref(&self) -> &SubType {
        &self.group.types()[self.place as usize]
    }
}

impl fmt::Display for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}

/// The registry keeps room for this many groups and types when there are none.
const KEPT: usize = 4096;

#[derive(Default)]
struct Registry {
    groups: HashSet<ByKey>,
    /// For each number, the type's group and its place in it.
    types: Vec<Option<Definition>>,
    free: Vec<TypeId>,
}

static REGISTRY: LazyLock<RwLock<Registry>> = LazyLock::new(RwLock::default);

fn read() -> RwLockReadGuard<'static, Registry> {
    REGISTRY.read().unwrap_or_else(PoisonError::into_inner)
}

fn write() -> RwLockWriteGuard<'static, Registry> {
    REGISTRY.write().unwrap_or_else(PoisonError::into_inner)
}

/// Whether `id` is `other`, or declared to be a subtype of it, directly or not.
pub(super) fn is_subtype(mut id: TypeId, other: TypeId) -> bool {
    if id == other {
        return true;
    }
    let registry = read();
    // A supertype is defined before its subtypes, so there is no circle; validation allows 63 steps.
    while let Some(supertype) = registry.definition(id).and_then(|ty| ty.supertype) {
        if supertype == other {
            return true;
        }
        id = supertype;
    }
    false
}

pub(super) fn definition(id: TypeId) -> Option<Definition> {
    read().definition(id).cloned()
}

impl Registry {
    fn definition(&self, id: TypeId) -> Option<&Definition> {
        self.types.get(id.0 as usize)?.as_ref()
    }

    /// Registers the group of these definitions; `None` if one refers to a type that isn't registered.
    fn add(&mut self, mut key: Vec<SubType>) -> Option<Arc<Group>> {
        if let Some(ByKey(group)) = self.groups.get(&key[..]) {
            group.users.fetch_add(1, Ordering::Relaxed);
            return Some(Arc::clone(group));
        }
        let refers_to = self.referred_to(&mut key)?;
        for &other in &refers_to {
            let other = self.definition(other).expect("it was found just now");
            other.group.users.fetch_add(1, Ordering::Relaxed);
        }
        let first = self.new_id();
        let others = key.iter().skip(1).map(|_| self.new_id());
        let ids: Box<[TypeId]> = std::iter::once(first).chain(others).collect();
        let types = absolute(&mut key, &ids);
        let is_plain = types.is_none() && ids.len() == 1 && refers_to.is_empty();
        let more = (!is_plain).then(|| {
            Box::new(More {
                types,
                ids,
                refers_to,
            })
        });
        let group = Arc::new(Group {
            key: key.into(),
            first,
            users: AtomicUsize::new(1),
            more,
        });
        for (place, id) in (0..).zip(group.ids()) {
            self.types[id.0 as usize] = Some(Definition {
                group: Arc::clone(&group),
                place,
            });
        }
        self.groups.insert(ByKey(Arc::clone(&group)));
        Some(group)
    }

    /// The first types of the groups that definitions refer to, but for their own; `None` if one isn't registered.
    fn referred_to(&self, types: &mut [SubType]) -> Option<Box<[TypeId]>> {
        let mut groups: Vec<TypeId> = Vec::new();
        let mut all = true;
        for ty in types {
            ty.for_each_id(|id, kind| {
                if id.place().is_some() {
                    return;
                }
                match self.definition(*id) {
                    Some(ty) if kind.is_none_or(|kind| ty.composite.kind() == kind) => {
                        groups.push(ty.group.first);
                    }
                    _ => all = false,
                }
            });
            // What one definition names a thousand times is kept once.
            groups.dedup();
        }
        groups.sort_unstable();
        groups.dedup();
        all.then(|| groups.into())
    }

    fn new_id(&mut self) -> TypeId {
        self.free.pop().unwrap_or_else(|| {
            self.types.push(None);
            let number = self.types.len() - 1;
            assert!(
                number < TypeId::RELATIVE as usize,
                "a type takes more than a byte of memory"
            );
            TypeId(number as u32)
        })
    }

    /// Ends a registration of the group, and with the last one the group; and so on with what it refers to.
    fn remove(&mut self, group: &Arc<Group>) {
        let mut left = vec![Arc::clone(group)];
        while let Some(group) = left.pop() {
            if group.users.fetch_sub(1, Ordering::Relaxed) > 1 {
                continue;
            }
            self.groups.remove(&group.key[..]);
            for &id in group.ids() {
                self.types[id.0 as usize] = None;
                self.free.push(id);
            }
            let others = group.refers_to().iter();
            left.extend(others.filter_map(|&id| Some(Arc::clone(&self.definition(id)?.group))));
        }
    }

    /// Makes room for that many more, which would otherwise be moved many times.
    fn reserve(&mut self, count: usize) {
        self.groups.reserve(count);
        self.types.reserve(count.saturating_sub(self.free.len()));
    }

    /// Gives back what is left of many types when they are gone.
    fn shrink(&mut self) {
        let used = self.types.len() - self.free.len();
        let is_free = self.free.len() >= KEPT && self.free.len() / 2 >= used;
        // Room was made for a module whose types were registered already.
        if !is_free && self.groups.capacity() / 4 < used + KEPT {
            return;
        }
        self.groups.shrink_to(KEPT);
        let used = self.types.iter().rposition(Option::is_some);
        self.types.truncate(used.map_or(0, |last| last + 1));
        self.types.shrink_to(KEPT);
        let end = self.types.len();
        self.free.retain(|&id| (id.0 as usize) < end);
        self.free.shrink_to(KEPT);
    }
}

/// The definitions of `key` with the numbers of the group's types, which are `ids`; `None` if they don't refer to those.
/// Leaves `key` as it is.
fn absolute(key: &mut [SubType], ids: &[TypeId]) -> Option<Box<[SubType]>> {
    let mut is_recursive = false;
    for ty in &mut *key {
        ty.for_each_id(|id, _| is_recursive |= id.place().is_some());
    }
    if !is_recursive {
        return None;
    }
    let mut types: Box<[SubType]> = (&*key).into();
    for ty in &mut types {
        ty.for_each_id(|id, _| {
            if let Some(place) = id.place() {
                *id = ids[place];
            }
        });
    }
    Some(types)
}

/// Groups of types, kept registered.
#[derive(Debug, Default)]
pub struct Registered {
    groups: Vec<Arc<Group>>,
}

/// A type refers to one that no module and no store of the process has any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the type refers to a type of a module that is gone")]
pub struct Unregistered;

impl Registered {
    /// Registers a function type as a module does that writes it alone, and says its number.
    ///
    /// # Errors
    /// [`Unregistered`].
    pub fn of_func(ty: &FuncType) -> Result<(Registered, TypeId), Unregistered> {
        let mut registered = Registered::default();
        let group = registered.add(vec![SubType::of_func(ty.clone())])?;
        let id = group.first;
        Ok((registered, id))
    }

    /// Registers a type once more, which a module has registered.
    ///
    /// # Errors
    /// [`Unregistered`].
    pub fn again(id: TypeId) -> Result<Registered, Unregistered> {
        let registry = write();
        let group = Arc::clone(&registry.definition(id).ok_or(Unregistered)?.group);
        group.users.fetch_add(1, Ordering::Relaxed);
        Ok(Registered {
            groups: vec![group],
        })
    }

    /// Registers a group.
    pub(super) fn add(&mut self, types: Vec<SubType>) -> Result<&Group, Unregistered> {
        let group = write().add(types).ok_or(Unregistered)?;
        self.groups.push(group);
        Ok(&self.groups[self.groups.len() - 1])
    }

    pub(super) fn groups(&self) -> &[Arc<Group>] {
        &self.groups
    }

    /// Makes room for `count` groups.
    pub(super) fn reserve(&mut self, count: usize) {
        self.groups.reserve_exact(count);
        if count >= KEPT {
            write().reserve(count);
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if self.groups.is_empty() {
            return;
        }
        // Others have their turn between groups, of which there may be a million.
        for group in &self.groups {
            write().remove(group);
        }
        write().shrink();
    }
}

#[cfg(test)]
mod tests;
