//! `fields`: what may be in them, how they are found, and how much there may be.

use super::TYPES;
use crate::component::guest::Guest;
use crate::component::guest::RESULT;
use crate::p2::http::HttpLimits;
use crate::p2::tests::{guest, guest_with};

/// `header-error`
const INVALID: Result<(), u8> = Err(0);
const FORBIDDEN: Result<(), u8> = Err(1);
const IMMUTABLE: Result<(), u8> = Err(2);

impl Guest {
    fn get(&mut self, fields: u64, name: &str) -> Vec<String> {
        let [at, len] = self.put(name.as_bytes());
        self.http("[method]fields.get", &[fields, at, len]);
        let (at, count) = (self.u32_at(RESULT), self.u32_at(RESULT + 4));
        (0..count)
            .map(|index| self.text_at(at + 8 * index))
            .collect()
    }

    fn has(&mut self, fields: u64, name: &str) -> bool {
        let [at, len] = self.put(name.as_bytes());
        self.http("[method]fields.has", &[fields, at, len]) == 1
    }

    fn delete(&mut self, fields: u64, name: &str) -> Result<(), u8> {
        let [at, len] = self.put(name.as_bytes());
        self.http("[method]fields.delete", &[fields, at, len]);
        self.outcome(1).map(drop)
    }

    /// Puts a list of texts into memory: each as a pointer and a length.
    fn put_texts(&mut self, texts: &[&[u8]]) -> [u64; 2] {
        let places: Vec<u8> = texts
            .iter()
            .flat_map(|text| self.put(text))
            .flat_map(|word| (word as u32).to_le_bytes())
            .collect();
        let [at, _] = self.put(&places);
        [at, texts.len() as u64]
    }

    fn set(&mut self, fields: u64, name: &str, values: &[&[u8]]) -> Result<(), u8> {
        let [name_at, name_len] = self.put(name.as_bytes());
        let [at, len] = self.put_texts(values);
        self.http("[method]fields.set", &[fields, name_at, name_len, at, len]);
        self.outcome(1).map(drop)
    }

    fn of_list(&mut self, entries: &[(&str, &[u8])]) -> Result<u64, u8> {
        let texts: Vec<&[u8]> = entries
            .iter()
            .flat_map(|(name, value)| [name.as_bytes(), value])
            .collect();
        let [at, _] = self.put_texts(&texts);
        self.http("[static]fields.from-list", &[at, entries.len() as u64]);
        self.outcome(4).map(|at| self.u32_at(at).into())
    }
}

fn pairs(entries: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    entries.iter().map(owned).collect()
}

#[test]
fn values_are_found_by_names_in_any_case() {
    let mut guest = guest();
    let fields = guest.fields(&[("X-A", "1"), ("b", ""), ("x-a", "2")]);
    assert_eq!(guest.get(fields, "x-A"), ["1", "2"]);
    assert_eq!(guest.get(fields, "b"), [""]);
    assert!(guest.get(fields, "c").is_empty());
    assert!(guest.get(fields, "not a name").is_empty());
    assert!(guest.has(fields, "B") && !guest.has(fields, "c") && !guest.has(fields, "é"));
    let entries = pairs(&[("x-a", "1"), ("x-a", "2"), ("b", "")]);
    assert_eq!(guest.entries(fields), entries);
    assert_eq!(guest.set(fields, "X-a", &[b"3", b"4"]), Ok(()));
    assert_eq!(guest.get(fields, "x-a"), ["3", "4"]);
    assert_eq!(guest.delete(fields, "b"), Ok(()));
    assert_eq!(guest.delete(fields, "b"), Ok(()), "there is none");
    assert_eq!(guest.set(fields, "x-a", &[]), Ok(()));
    assert!(guest.entries(fields).is_empty());
    // Values are bytes.
    assert_eq!(guest.append(fields, "x", b"\xff\x80"), Ok(()));
    let [at, len] = guest.put(b"x");
    guest.http("[method]fields.get", &[fields, at, len]);
    assert_eq!(guest.list_at(guest.u32_at(RESULT)), b"\xff\x80");
}

#[test]
fn what_is_wrong_or_forbidden_is_told() {
    let mut guest = guest();
    let fields = guest.fields(&[("a", "1")]);
    for name in ["", "a b", "a:", "é", "a\n"] {
        assert_eq!(guest.append(fields, name, b"1"), INVALID, "{name:?}");
        assert_eq!(guest.set(fields, name, &[b"1"]), INVALID, "{name:?}");
        assert_eq!(guest.delete(fields, name), INVALID, "{name:?}");
        assert_eq!(guest.of_list(&[(name, b"1")]), Err(0), "{name:?}");
    }
    for value in [&b"1\r\n"[..], b"\0", b"\x7f"] {
        assert_eq!(guest.append(fields, "b", value), INVALID, "{value:?}");
        assert_eq!(guest.set(fields, "a", &[b"2", value]), INVALID, "{value:?}");
        assert_eq!(guest.of_list(&[("a", b"1"), ("b", value)]), Err(0));
    }
    for name in [
        "Connection",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "transfer-encoding",
        "UPGRADE",
    ] {
        assert_eq!(guest.append(fields, name, b"1"), FORBIDDEN, "{name}");
        assert_eq!(guest.set(fields, name, &[]), FORBIDDEN, "{name}");
        assert_eq!(guest.delete(fields, name), FORBIDDEN, "{name}");
        assert_eq!(
            guest.of_list(&[("a", b"1"), (name, b"1")]),
            Err(1),
            "{name}"
        );
    }
    assert_eq!(
        guest.entries(fields),
        pairs(&[("a", "1")]),
        "it is as it was"
    );
}

#[test]
fn a_list_becomes_fields() {
    let mut guest = guest();
    let fields = guest
        .of_list(&[("A", b"1"), ("b", b"2"), ("a", b"3")])
        .unwrap();
    let entries = pairs(&[("a", "1"), ("a", "3"), ("b", "2")]);
    assert_eq!(guest.entries(fields), entries);
    let empty = guest.of_list(&[]).unwrap();
    assert!(guest.entries(empty).is_empty());
    let [at, _] = guest.put(&[0xff]);
    let place: Vec<u8> = [at as u32, 1, 0, 0]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    let [list, _] = guest.put(&place);
    let trap = guest.trap(TYPES, "[static]fields.from-list", &[list, 1]);
    assert!(trap.contains("not valid UTF-8"), "{trap}");
    let [list, _] = guest.put(&[0xff; 16]);
    let trap = guest.trap(TYPES, "[static]fields.from-list", &[list, 1]);
    assert!(
        trap.contains("too long") || trap.contains("out of bounds"),
        "{trap}"
    );
    let trap = guest.trap(TYPES, "[static]fields.from-list", &[0, 1 << 25]);
    assert!(trap.contains("too long"), "{trap}");
}

#[test]
fn fields_of_a_message_stay_as_they_are_and_their_copies_do_not() {
    let mut guest = guest();
    let fields = guest.fields(&[("a", "1")]);
    let copy = guest.http("[method]fields.clone", &[fields]);
    assert_eq!(guest.append(copy, "a", b"2"), Ok(()));
    assert_eq!(guest.entries(fields), pairs(&[("a", "1")]));
    let request = guest.http("[constructor]outgoing-request", &[fields]);
    let headers = guest.http("[method]outgoing-request.headers", &[request]);
    assert_eq!(guest.append(headers, "b", b"1"), IMMUTABLE);
    assert_eq!(guest.append(headers, "b", b"\n"), IMMUTABLE);
    assert_eq!(guest.set(headers, "a", &[b"\n"]), IMMUTABLE);
    assert_eq!(guest.delete(headers, "a"), IMMUTABLE);
    let mutable = guest.http("[method]fields.clone", &[headers]);
    assert_eq!(guest.delete(mutable, "a"), Ok(()));
    assert_eq!(guest.entries(headers), pairs(&[("a", "1")]));
    let early = guest.drop_handle(request).unwrap_err().to_string();
    assert!(
        early.contains("`outgoing-request` is dropped before 1"),
        "{early}"
    );
}

#[test]
fn one_that_was_given_away_is_gone() {
    let mut guest = guest();
    let fields = guest.fields(&[]);
    guest.http("[constructor]outgoing-response", &[fields]);
    let trap = guest.trap(TYPES, "[constructor]outgoing-response", &[fields]);
    assert!(trap.contains("bad handle"), "{trap}");
}

#[test]
fn there_is_as_much_as_allowed() {
    let limits = HttpLimits {
        fields_bytes: 100,
        all_fields_bytes: 150,
        ..HttpLimits::default()
    };
    let mut guest = guest_with(|builder| builder.http_limits(limits));
    let append = "[method]fields.append";
    // Each takes 34 bytes.
    let fields = guest.fields(&[("a", "1"), ("b", "1")]);
    let ([name, _], [value, _]) = (guest.put(b"c"), guest.put(b"1"));
    let trap = guest.trap(TYPES, append, &[fields, name, 1, value, 1]);
    assert!(trap.contains("more than the 100 bytes"), "{trap}");
    assert_eq!(
        guest.set(fields, "b", &[b"2"]),
        Ok(()),
        "it takes another's place"
    );
    let copy = guest.http("[method]fields.clone", &[fields]);
    let third = guest.http("[method]fields.clone", &[fields]);
    assert_eq!(guest.delete(copy, "a"), Ok(()), "a copy of its own");
    let [name, _] = guest.put(b"a");
    let trap = guest.trap(TYPES, "[method]fields.delete", &[third, name, 1]);
    assert!(trap.contains("more than the 150 bytes"), "{trap}");
    guest.drop_handle(copy).unwrap();
    assert_eq!(guest.delete(third, "a"), Ok(()), "there is room again");
    let values = [&b"1"[..]; 3];
    let list = guest.put_texts(&values);
    let [name, _] = guest.put(b"z");
    let trap = guest.trap(
        TYPES,
        "[method]fields.set",
        &[third, name, 1, list[0], list[1]],
    );
    assert!(trap.contains("more than"), "{trap}");
}

#[test]
fn there_are_as_many_as_can_be_kept() {
    let limits = HttpLimits {
        fields_bytes: usize::MAX,
        all_fields_bytes: usize::MAX,
        ..HttpLimits::default()
    };
    let mut guest = guest_with(|builder| builder.http_limits(limits));
    let fields = guest.fields(&[]);
    for _ in 0..tiered_http::fields::MAX_COUNT {
        assert_eq!(guest.append(fields, "a", b""), Ok(()));
    }
    let [name, _] = guest.put(b"a");
    let trap = guest.trap(TYPES, "[method]fields.append", &[fields, name, 1, 0, 0]);
    assert!(trap.contains("more than 4096 fields"), "{trap}");
}
