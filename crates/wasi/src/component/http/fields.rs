//! `fields`: headers and trailers.
//!
//! A guest gets no header that it may not set: those of the connection, and `host`, which is the authority. Names are in
//! lower case, as HTTP/2 has them.
//!
//! Invariant: a map is shared until it is changed, and what a guest has in all of them together has a limit, which other parts
//! of messages count for, too; so has each, far below where [`HeaderMap`] panics.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tiered_http::fields::{MAX_COUNT, is_of_connection};
use tiered_http::http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::component::call::{Call, Outcome, trap};
use crate::component::http::code::Message;
use crate::component::lower::{Bytes, New};
use crate::work::ITEMS_PER_UNIT;

/// Why fields are not as the guest wants them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    InvalidSyntax,
    Forbidden,
    Immutable,
    /// There would be more than there may be; says what.
    TooLarge(String),
}

/// What a change comes to.
type Changed<T> = Result<T, Refused>;

/// What one field counts beside its name and value, as in HTTP/2 (RFC 9113, section 6.5.2).
const OVERHEAD: usize = 32;

/// What all fields of a guest take.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    used: Arc<AtomicUsize>,
    /// For one map.
    each: usize,
    together: usize,
}

impl Budget {
    pub(crate) fn new(each: usize, together: usize) -> Self {
        Self {
            used: Arc::default(),
            each,
            together,
        }
    }

    /// Takes `bytes` for a map that has `has` already.
    fn take(&self, has: usize, bytes: usize) -> Result<(), String> {
        if bytes > self.each.saturating_sub(has) {
            let limit = self.each;
            return Err(format!(
                "the head or the trailers of one message take more than the {limit} bytes that they may"
            ));
        }
        let used = self.used.load(Ordering::Relaxed);
        if bytes > self.together.saturating_sub(used) {
            let limit = self.together;
            return Err(format!(
                "all heads and trailers together take more than the {limit} bytes that they may"
            ));
        }
        // A guest with fields is one thread's.
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

/// What something else takes of the budget, beside fields; given back with it.
#[derive(Debug)]
pub(crate) struct Charge {
    bytes: usize,
    budget: Budget,
}

impl Charge {
    pub(crate) fn new(budget: &Budget) -> Self {
        Self {
            bytes: 0,
            budget: budget.clone(),
        }
    }

    /// Takes this many bytes of the budget from now on, instead of those before.
    pub(crate) fn set(&mut self, bytes: usize) -> Outcome<()> {
        self.give_back();
        self.budget.take(0, bytes).map_err(trap)?;
        self.bytes = bytes;
        Ok(())
    }

    fn give_back(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// A map with what it takes of the budget, which is given back with it.
#[derive(Debug)]
struct Counted {
    map: HeaderMap,
    bytes: usize,
    budget: Budget,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Counted {
    fn new(budget: &Budget) -> Self {
        Self {
            map: HeaderMap::new(),
            bytes: 0,
            budget: budget.clone(),
        }
    }

    fn copy(&self) -> Changed<Self> {
        let taken = self.budget.take(0, self.bytes);
        taken.map_err(Refused::TooLarge)?;
        Ok(Self {
            map: self.map.clone(),
            bytes: self.bytes,
            budget: self.budget.clone(),
        })
    }

    /// Adds a field behind those of the same name.
    fn append(&mut self, name: &HeaderName, value: HeaderValue) -> Changed<()> {
        let bytes = size(name, &value);
        if self.map.len() >= MAX_COUNT {
            return Err(Refused::TooLarge(format!(
                "there are more than {MAX_COUNT} fields of one message"
            )));
        }
        let taken = self.budget.take(self.bytes, bytes);
        taken.map_err(Refused::TooLarge)?;
        self.bytes += bytes;
        // With that few fields it is never full.
        let added = self.map.try_append(name.clone(), value);
        added
            .map(drop)
            .map_err(|_| Refused::TooLarge("there are too many fields of one message".into()))
    }

    /// Removes all fields of a name.
    fn remove(&mut self, name: &HeaderName) {
        let values = self.map.get_all(name).iter();
        let bytes: usize = values.map(|value| size(name, value)).sum();
        self.map.remove(name);
        self.bytes -= bytes;
        self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn size(name: &HeaderName, value: &HeaderValue) -> usize {
    name.as_str().len() + value.len() + OVERHEAD
}

/// What a guest gets of a map, and how many bytes it counts.
fn visible(mut map: HeaderMap) -> (HeaderMap, usize) {
    let names = map.keys().filter(|name| is_forbidden(name));
    for name in names.cloned().collect::<Vec<_>>() {
        map.remove(name);
    }
    let bytes = map.iter().map(|(name, value)| size(name, value)).sum();
    (map, bytes)
}

/// Fields that nobody changes any more.
#[derive(Clone, Debug)]
pub(crate) struct Frozen(Arc<Counted>);

impl Frozen {
    /// What a server has sent, but for what is not for the guest; an error says what there is too much of.
    pub(crate) fn received(map: HeaderMap, budget: &Budget) -> Result<Self, String> {
        let (map, bytes) = visible(map);
        budget.take(0, bytes)?;
        Ok(Self::counted(map, bytes, budget))
    }

    /// As [`received`](Self::received), of the host's own server, which has let it pass whatever the guest may make.
    pub(crate) fn handed(map: HeaderMap, budget: &Budget) -> Self {
        let (map, bytes) = visible(map);
        budget.used.fetch_add(bytes, Ordering::Relaxed);
        Self::counted(map, bytes, budget)
    }

    fn counted(map: HeaderMap, bytes: usize, budget: &Budget) -> Self {
        let budget = budget.clone();
        Self(Arc::new(Counted { map, bytes, budget }))
    }

    /// Trailers, of a message that this or the host's own server has got.
    pub(crate) fn trailers(
        map: HeaderMap,
        message: Message,
        budget: &Budget,
    ) -> Result<Self, String> {
        match message {
            Message::Request => Ok(Self::handed(map, budget)),
            Message::Response => Self::received(map, budget),
        }
    }

    pub(crate) fn map(&self) -> &HeaderMap {
        &self.0.map
    }
}

/// `fields`.
#[derive(Debug)]
pub(crate) struct Fields {
    counted: Arc<Counted>,
    is_mutable: bool,
}

impl Fields {
    fn mutable(counted: Arc<Counted>) -> Self {
        Self {
            counted,
            is_mutable: true,
        }
    }

    /// For a guest to look at.
    pub(crate) fn immutable(fields: &Frozen) -> Self {
        Self {
            counted: Arc::clone(&fields.0),
            is_mutable: false,
        }
    }

    /// For a message.
    pub(crate) fn freeze(self) -> Frozen {
        Frozen(self.counted)
    }

    /// To change; a copy if others have it too.
    fn change(&mut self) -> Changed<&mut Counted> {
        if Arc::get_mut(&mut self.counted).is_none() {
            self.counted = Arc::new(self.counted.copy()?);
        }
        // Nobody else has it: it is the copy, or was alone before.
        Arc::get_mut(&mut self.counted).ok_or(Refused::Immutable)
    }
}

/// Whether a guest may not have a header of this name.
fn is_forbidden(name: &HeaderName) -> bool {
    is_of_connection(name)
        || matches!(
            *name,
            header::HOST | header::PROXY_AUTHENTICATE | header::PROXY_AUTHORIZATION
        )
}

/// A name that may be set.
fn settable(name: &[u8]) -> Changed<HeaderName> {
    let name = HeaderName::from_bytes(name).map_err(|_| Refused::InvalidSyntax)?;
    match is_forbidden(&name) {
        true => Err(Refused::Forbidden),
        false => Ok(name),
    }
}

fn valid(value: &[u8]) -> Changed<HeaderValue> {
    HeaderValue::from_bytes(value).map_err(|_| Refused::InvalidSyntax)
}

/// The pairs of pointer and length that lie in memory at `range`, which is paid for.
fn pointers(call: &mut Call<'_>, range: Range<usize>) -> Outcome<Vec<(u32, u32)>> {
    let mut parts = call.parts();
    let (_, env, memory) = parts.split();
    let pairs = memory[range].as_chunks::<8>().0;
    env.work.units((pairs.len() / ITEMS_PER_UNIT) as u64)?;
    let word = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0, |word, &byte| word << 8 | u32::from(byte))
    };
    let pairs = pairs
        .iter()
        .map(|pair| (word(&pair[..4]), word(&pair[4..])));
    Ok(pairs.collect())
}

/// How much of a name or a value is looked at: one that is longer does not fit in any fields.
fn bounded(budget: &Budget, range: Range<usize>) -> Range<usize> {
    let len = range.len().min(budget.each.saturating_add(1));
    range.start..range.start + len
}

fn budget(call: &mut Call<'_>) -> Budget {
    call.ctx().http.fields.clone()
}

pub(crate) fn constructor(call: &mut Call<'_>) -> Outcome<New> {
    let counted = Counted::new(&budget(call));
    Ok(New::alone(Fields::mutable(Arc::new(counted))))
}

pub(crate) fn from_list(call: &mut Call<'_>) -> Outcome<Changed<New>> {
    let list = call.list(16, 4)?;
    let budget = budget(call);
    let mut counted = Counted::new(&budget);
    let pointers = pointers(call, list)?;
    let mut refused = None;
    for pair in pointers.as_chunks::<2>().0 {
        let [(name_at, name_len), (value_at, value_len)] = *pair;
        let name = call.string_at(name_at, name_len)?;
        let value = call.items(value_at, value_len, 1, 1)?;
        // All of the list is checked first: what is no string is a trap whatever stands before it.
        if refused.is_some() {
            continue;
        }
        let memory = &call.parts().bytes;
        let name = settable(&memory[bounded(&budget, name)]);
        let field = name.and_then(|name| Ok((name, valid(&memory[bounded(&budget, value)])?)));
        match field {
            Ok((name, value)) => refused = counted.append(&name, value).err(),
            Err(error) => refused = Some(error),
        }
    }
    Ok(match refused {
        Some(error) => Err(error),
        None => Ok(New::alone(Fields::mutable(Arc::new(counted)))),
    })
}

/// The fields that are the first argument, and the name that is the second.
fn named(call: &mut Call<'_>) -> Outcome<(u32, Vec<u8>)> {
    let this = call.handle::<Fields>()?;
    let name = call.string()?;
    let budget = budget(call);
    Ok((this, call.parts().bytes[bounded(&budget, name)].to_vec()))
}

/// The values of a name.
fn values(map: &HeaderMap, name: &HeaderName) -> Vec<Bytes> {
    let values = map.get_all(name).iter();
    values
        .map(|value| Bytes(value.as_bytes().to_vec()))
        .collect()
}

/// The guest pays for the bytes that it gets.
fn pay_for(call: &mut Call<'_>, values: &[Bytes]) -> Outcome<()> {
    let mut parts = call.parts();
    let (_, env, _) = parts.split();
    let bytes = values.iter().map(|value| value.0.len()).sum();
    env.work.bytes(bytes)?;
    Ok(())
}

pub(crate) fn get(call: &mut Call<'_>) -> Outcome<Vec<Bytes>> {
    let (this, name) = named(call)?;
    let fields: &mut Fields = call.ctx().resources.get(this)?;
    let Ok(name) = HeaderName::from_bytes(&name) else {
        return Ok(Vec::new());
    };
    let values = values(&fields.counted.map, &name);
    pay_for(call, &values)?;
    Ok(values)
}

pub(crate) fn has(call: &mut Call<'_>) -> Outcome<bool> {
    let (this, name) = named(call)?;
    let fields: &mut Fields = call.ctx().resources.get(this)?;
    let name = HeaderName::from_bytes(&name);
    Ok(name.is_ok_and(|name| fields.counted.map.contains_key(name)))
}

/// The fields that are `this`, if they may be changed at all.
fn mutable<'c>(call: &'c mut Call<'_>, this: u32) -> Outcome<Changed<&'c mut Fields>> {
    let fields: &mut Fields = call.ctx().resources.get(this)?;
    Ok(match fields.is_mutable {
        true => Ok(fields),
        false => Err(Refused::Immutable),
    })
}

/// Changes the fields that are `this`, if they may be changed.
fn change<R>(
    call: &mut Call<'_>,
    this: u32,
    name: &[u8],
    act: impl FnOnce(&mut Counted, &HeaderName) -> Changed<R>,
) -> Outcome<Changed<R>> {
    let fields = match mutable(call, this)? {
        Ok(fields) => fields,
        Err(refused) => return Ok(Err(refused)),
    };
    Ok(settable(name).and_then(|name| act(fields.change()?, &name)))
}

pub(crate) fn set(call: &mut Call<'_>) -> Outcome<Changed<()>> {
    let (this, name) = named(call)?;
    let list = call.list(8, 4)?;
    let budget = budget(call);
    let mut values: Changed<Vec<HeaderValue>> = Ok(Vec::new());
    // More than fit are as wrong as all of them, and take no more memory.
    let mut room = budget.each;
    for (at, len) in pointers(call, list)? {
        let value = call.items(at, len, 1, 1)?;
        if let Ok(kept) = &mut values {
            let value = valid(&call.parts().bytes[bounded(&budget, value)]);
            let fits = value.and_then(|value| match room.checked_sub(value.len() + OVERHEAD) {
                Some(rest) => {
                    room = rest;
                    Ok(value)
                }
                None => Err(Refused::TooLarge(format!(
                    "the values of one field take more than the {} bytes that they may",
                    budget.each
                ))),
            });
            match fits {
                Ok(value) => kept.push(value),
                Err(refused) => values = Err(refused),
            }
        }
    }
    if let Err(refused) = mutable(call, this)? {
        return Ok(Err(refused));
    }
    let values = match values {
        Ok(values) => values,
        Err(refused) => return Ok(Err(refused)),
    };
    change(call, this, &name, |fields, name| {
        fields.remove(name);
        values
            .into_iter()
            .try_for_each(|value| fields.append(name, value))
    })
}

pub(crate) fn delete(call: &mut Call<'_>) -> Outcome<Changed<()>> {
    let (this, name) = named(call)?;
    change(call, this, &name, |fields, name| {
        fields.remove(name);
        Ok(())
    })
}

pub(crate) fn get_and_delete(call: &mut Call<'_>) -> Outcome<Changed<Vec<Bytes>>> {
    let (this, name) = named(call)?;
    let taken = change(call, this, &name, |fields, name| {
        let values = values(&fields.map, name);
        fields.remove(name);
        Ok(values)
    })?;
    if let Ok(values) = &taken {
        pay_for(call, values)?;
    }
    Ok(taken)
}

pub(crate) fn append(call: &mut Call<'_>) -> Outcome<Changed<()>> {
    let (this, name) = named(call)?;
    let value = call.bytes()?;
    let budget = budget(call);
    let value = valid(&call.parts().bytes[bounded(&budget, value)]);
    match value {
        Ok(value) => change(call, this, &name, |fields, name| fields.append(name, value)),
        Err(refused) => Ok(mutable(call, this)?.and(Err(refused))),
    }
}

pub(crate) fn entries(call: &mut Call<'_>) -> Outcome<Vec<(String, Bytes)>> {
    let this = call.handle::<Fields>()?;
    let mut parts = call.parts();
    let (resources, env, _) = parts.split();
    let fields: &mut Fields = resources.get(this)?;
    env.work.bytes(fields.counted.bytes)?;
    let entries = fields.counted.map.iter();
    let copied = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.as_str().to_owned(), Bytes(value.as_bytes().to_vec()))
    };
    Ok(entries.map(copied).collect())
}

pub(crate) fn clone(call: &mut Call<'_>) -> Outcome<New> {
    let this = call.handle::<Fields>()?;
    let fields: &mut Fields = call.ctx().resources.get(this)?;
    Ok(New::alone(Fields::mutable(Arc::clone(&fields.counted))))
}
