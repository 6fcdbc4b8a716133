//! Names of interfaces, `wasi:cli/run@0.2.12`: which of them are the same interface as far as versions go, and which known
//! name somebody may have meant.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use semver::Version;

/// What versions have in common that fit one another: a major version from 1 on, or a minor one of major version 0. A
/// prerelease and `0.0.z` fit nothing but themselves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Track {
    Major(u64),
    Minor(u64),
}

/// `name` without its version, and the version if it fits others than itself.
fn split(name: &str) -> Option<(&str, Track, Version)> {
    let (base, version) = name.split_once('@')?;
    let version = Version::parse(version).ok()?;
    let track = match (version.major, version.minor) {
        _ if !version.pre.is_empty() => return None,
        (0, 0) => return None,
        (0, minor) => Track::Minor(minor),
        (major, _) => Track::Major(major),
    };
    Some((base, track, version))
}

/// Whether a name in use may stand for the name that was asked for: they are equal, or they are of versions of one interface
/// that fit one another.
pub(crate) fn are_compatible(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    match (split(a), split(b)) {
        (Some((a, a_track, _)), Some((b, b_track, _))) => a == b && a_track == b_track,
        _ => false,
    }
}

/// The version of a name, if it fits others than itself.
pub(crate) fn version(name: &str) -> Option<Version> {
    split(name).map(|(_, _, version)| version)
}

/// A map by names in which a version stands for those that fit it.
#[derive(Clone, Debug)]
pub(crate) struct Names<V> {
    exact: HashMap<Box<str>, V>,
    /// The names of each track by their versions.
    tracks: HashMap<(Box<str>, Track), BTreeMap<Version, Box<str>>>,
}

impl<V> Names<V> {
    pub(crate) fn new() -> Names<V> {
        Names {
            exact: HashMap::new(),
            tracks: HashMap::new(),
        }
    }

    /// The value of this very name, which `make` makes if there is none.
    pub(crate) fn entry(&mut self, name: &str, make: impl FnOnce() -> V) -> &mut V {
        if !self.exact.contains_key(name)
            && let Some((base, track, version)) = split(name)
        {
            let versions = self.tracks.entry((base.into(), track)).or_default();
            versions.insert(version, name.into());
        }
        self.exact.entry(name.into()).or_insert_with(make)
    }

    /// Sets the value of this very name.
    pub(crate) fn insert(&mut self, name: &str, value: V) {
        let mut value = Some(value);
        let place = self.entry(name, || value.take().expect("it is made once"));
        if let Some(value) = value {
            *place = value;
        }
    }

    /// The value of this very name.
    pub(crate) fn get_exact(&self, name: &str) -> Option<&V> {
        self.exact.get(name)
    }

    /// The values that may be meant by `name`, the best first: that of the name itself, then those of versions that fit it,
    /// the newest first.
    pub(crate) fn candidates<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a V> {
        let versions = split(name).and_then(|(base, track, _)| {
            let versions = self.tracks.get(&(base.into(), track))?;
            Some(versions.values().rev())
        });
        let others = versions.into_iter().flatten();
        let others = others.filter(move |other| &***other != name);
        let others = others.filter_map(|other| self.exact.get(other));
        self.exact.get(name).into_iter().chain(others)
    }

    /// All names, in no order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.exact.keys().map(|name| &**name)
    }
}

/// The known name that is nearest to `name`, if one is so near that it may be what was meant.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer ones come from hostile components, not from typing errors.
    const LONGEST: usize = 256;
    if name.len() > LONGEST {
        return None;
    }
    let known = known.into_iter().filter(|known| known.len() <= LONGEST);
    let with_distance = known.map(|known| (distance(name, known), known));
    let (distance, nearest) = with_distance.min()?;
    (distance <= name.len() / 3).then_some(nearest)
}

/// How many bytes have to be put in, taken out or replaced to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// What a message adds of the nearest known name.
pub(crate) struct DidYouMean<'a>(pub(crate) Option<&'a str>);

impl fmt::Display for DidYouMean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(nearest) => write!(f, "; the nearest known name is {nearest:?}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_fit_by_the_rules_of_semver() {
        assert!(are_compatible("a:b/c@0.2.0", "a:b/c@0.2.12"));
        assert!(are_compatible("a:b/c@1.0.0", "a:b/c@1.9.3"));
        assert!(are_compatible("plain", "plain"));
        for (a, b) in [
            ("a:b/c@0.2.0", "a:b/c@0.3.0"),
            ("a:b/c@1.0.0", "a:b/c@2.0.0"),
            ("a:b/c@0.0.1", "a:b/c@0.0.2"),
            ("a:b/c@0.2.0", "a:b/d@0.2.0"),
            ("a:b/c@0.3.0-rc-1", "a:b/c@0.3.0"),
            ("a:b/c@0.3.0-rc-1", "a:b/c@0.3.0-rc-2"),
            ("a:b/c", "a:b/c@1.0.0"),
            ("a:b/c@1", "a:b/c@1.0.0"),
        ] {
            assert!(!are_compatible(a, b), "{a} {b}");
            assert!(!are_compatible(b, a), "{b} {a}");
        }
    }

    #[test]
    fn the_very_name_comes_first_then_the_newest() {
        let mut names = Names::new();
        for name in ["i@0.2.3", "i@0.2.10", "i@0.2.4", "i@0.3.0", "i@0.2.0-rc"] {
            names.entry(name, || name);
        }
        let found = |name| names.candidates(name).copied().collect::<Vec<_>>();
        assert_eq!(found("i@0.2.4"), ["i@0.2.4", "i@0.2.10", "i@0.2.3"]);
        assert_eq!(found("i@0.2.99"), ["i@0.2.10", "i@0.2.4", "i@0.2.3"]);
        assert_eq!(found("i@0.2.0-rc"), ["i@0.2.0-rc"]);
        assert!(found("i@0.4.0").is_empty());
        assert!(found("i").is_empty());
    }

    #[test]
    fn the_nearest_name_is_near() {
        let known = ["wasi:cli/run@0.2.12", "wasi:cli/stdin@0.2.12", "x"];
        assert_eq!(nearest("wasi:cli/runn@0.2.12", known), Some(known[0]));
        assert_eq!(nearest("wasi:cli/stdi@0.3.0", known), Some(known[1]));
        assert_eq!(nearest("other", known), None);
        assert_eq!(nearest(&"x".repeat(1 << 20), known), None);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
