//! Parts of messages: methods, URIs, statuses, and options.

use super::super::Guest;
use super::some;
use crate::p2::http::HttpLimits;
use crate::p2::tests::RESULT;

impl Guest {
    fn outgoing_request(&mut self) -> u64 {
        let fields = self.fields(&[]);
        self.http("[constructor]outgoing-request", &[fields])
    }

    /// A variant at [`RESULT`] and later, whose last case has a text.
    fn variant_at(&self, at: u32, last: u8) -> (u8, String) {
        match self.u8_at(at) {
            case if case == last => (case, self.text_at(at + 4)),
            case => (case, String::new()),
        }
    }

    /// An optional text at [`RESULT`].
    fn optional(&self) -> Option<String> {
        (self.u8_at(RESULT) == 1).then(|| self.text_at(RESULT + 4))
    }

    /// Sets a part to a text; whether it is one.
    fn set_text(&mut self, request: u64, part: &str, text: &str) -> bool {
        let text = some(self.put(text.as_bytes()));
        let name = format!("[method]outgoing-request.set-{part}");
        self.http(&name, &[request, text[0], text[1], text[2]]) == 0
    }
}

#[test]
fn a_method_is_a_name_or_a_token() {
    let mut guest = Guest::new();
    let request = guest.outgoing_request();
    let method = "[method]outgoing-request.method";
    guest.http(method, &[request]);
    assert_eq!(guest.u8_at(RESULT), 0, "get");
    let set = "[method]outgoing-request.set-method";
    for case in 0..9 {
        assert_eq!(guest.http(set, &[request, case, 0, 0]), 0);
        guest.http(method, &[request]);
        assert_eq!(guest.variant_at(RESULT, 9), (case as u8, String::new()));
    }
    let mut other = |text: &str| {
        let [at, len] = guest.put(text.as_bytes());
        let set = guest.http(set, &[request, 9, at, len]) == 0;
        guest.http(method, &[request]);
        (set, guest.variant_at(RESULT, 9))
    };
    assert_eq!(other("QUERY"), (true, (9, "QUERY".into())));
    // One that has a case is that.
    assert_eq!(other("PATCH"), (true, (8, String::new())));
    for text in ["", "a b", "é", &"a".repeat(70_000)] {
        assert_eq!(other(text), (false, (8, String::new())));
    }
    let trap = guest.trap("http/types", set, &[request, 10, 0, 0]);
    assert!(trap.contains("invalid case 10"), "{trap}");
}

#[test]
fn a_scheme_is_kept_as_it_is() {
    let mut guest = Guest::new();
    let request = guest.outgoing_request();
    let (get, set) = (
        "[method]outgoing-request.scheme",
        "[method]outgoing-request.set-scheme",
    );
    guest.http(get, &[request]);
    assert_eq!(guest.u8_at(RESULT), 0, "none");
    for case in 0..2 {
        assert_eq!(guest.http(set, &[request, 1, case, 0, 0]), 0);
        guest.http(get, &[request]);
        assert_eq!(guest.variant_at(RESULT + 4, 2), (case as u8, String::new()));
    }
    for (text, is_valid) in [
        ("ftp", true),
        ("1:", false),
        ("1a", false),
        ("", false),
        ("a/b", false),
    ] {
        let [at, len] = guest.put(text.as_bytes());
        assert_eq!(
            guest.http(set, &[request, 1, 2, at, len]) == 0,
            is_valid,
            "{text}"
        );
        guest.http(get, &[request]);
        assert_eq!(guest.variant_at(RESULT + 4, 2), (2, "ftp".into()));
    }
    assert_eq!(guest.http(set, &[request, 0, 7, 7, 7]), 0);
    guest.http(get, &[request]);
    assert_eq!(guest.u8_at(RESULT), 0);
}

#[test]
fn authority_and_path_are_valid() {
    let mut guest = Guest::new();
    let request = guest.outgoing_request();
    let parts = [
        (
            "authority",
            &["a", "a.b:80", "[::1]", "[::1]:8080", "user@a:1"][..],
            &["", "a b", "a:", "a:b", "a:70000", "[::1", "a/b"][..],
        ),
        (
            "path-with-query",
            &["/", "/a?b=c", "/%20", "*"],
            &["/a b", "/\n", "/a#b\u{7f}"],
        ),
    ];
    for (part, valid, invalid) in parts {
        let get = format!("[method]outgoing-request.{part}");
        guest.http(&get, &[request]);
        assert_eq!(guest.optional(), None);
        let mut last = None;
        for text in valid {
            assert!(guest.set_text(request, part, text), "{part} {text}");
            guest.http(&get, &[request]);
            last = Some((*text).to_owned());
            assert_eq!(guest.optional(), last);
        }
        for text in invalid {
            assert!(!guest.set_text(request, part, text), "{part} {text}");
        }
        let long = format!("/{}", "a".repeat(65_536));
        assert!(!guest.set_text(request, part, &long));
        guest.http(&get, &[request]);
        assert_eq!(guest.optional(), last, "it is as it was");
        let set = format!("[method]outgoing-request.set-{part}");
        assert_eq!(guest.http(&set, &[request, 0, 0, 0]), 0);
        guest.http(&get, &[request]);
        assert_eq!(guest.optional(), None);
    }
}

#[test]
fn requests_and_bodies_take_as_much_as_allowed() {
    let mut limits = HttpLimits::default();
    (limits.all_fields_bytes, limits.bodies) = (100, 1);
    let mut guest = Guest::with(|builder| builder.http_limits(limits));
    let (first, second) = (guest.outgoing_request(), guest.outgoing_request());
    let path = format!("/{}", "a".repeat(70));
    assert!(guest.set_text(first, "path-with-query", &path));
    let text = some(guest.put(path.as_bytes()));
    let set = "[method]outgoing-request.set-path-with-query";
    let trap = guest.trap("http/types", set, &[second, text[0], text[1], text[2]]);
    assert!(trap.contains("more than the 100 bytes"), "{trap}");
    assert!(guest.set_text(first, "path-with-query", "/"));
    assert!(
        guest.set_text(second, "path-with-query", &path),
        "there is room again"
    );
    let body = "[method]outgoing-request.body";
    guest.http(body, &[first]);
    let open = guest.owned().expect("a body");
    let trap = guest.trap("http/types", body, &[second]);
    assert!(trap.contains("more than 1 bodies"), "{trap}");
    guest.http("[static]outgoing-body.finish", &[open, 0, 0]);
    let trap = guest.trap("http/types", body, &[second]);
    assert!(
        trap.contains("more than 1 bodies"),
        "it is not sent: {trap}"
    );
    guest.drop_handle(first).unwrap();
    guest.http(body, &[second]);
    assert!(guest.owned().is_some());
}

#[test]
fn options_are_kept() {
    let mut guest = Guest::new();
    let options = guest.http("[constructor]request-options", &[]);
    let mut value = 1 << 40;
    for name in ["connect", "first-byte", "between-bytes"] {
        let get = format!("[method]request-options.{name}-timeout");
        let set = format!("[method]request-options.set-{name}-timeout");
        guest.http(&get, &[options]);
        assert_eq!(guest.u8_at(RESULT), 0, "{name}");
        value += 1;
        assert_eq!(guest.http(&set, &[options, 1, value]), 0);
        guest.http(&get, &[options]);
        assert_eq!((guest.u8_at(RESULT), guest.u64_at(RESULT + 8)), (1, value));
        assert_eq!(guest.http(&set, &[options, 0, value]), 0);
        guest.http(&get, &[options]);
        assert_eq!(guest.u8_at(RESULT), 0, "{name}");
    }
}

#[test]
fn a_status_is_one() {
    let mut guest = Guest::new();
    let fields = guest.fields(&[]);
    let response = guest.http("[constructor]outgoing-response", &[fields]);
    let get = "[method]outgoing-response.status-code";
    assert_eq!(guest.http(get, &[response]), 200);
    let set = "[method]outgoing-response.set-status-code";
    for (status, is_valid) in [
        (100, true),
        (404, true),
        (999, true),
        (99, false),
        (1000, false),
    ] {
        assert_eq!(
            guest.http(set, &[response, status]) == 0,
            is_valid,
            "{status}"
        );
    }
    assert_eq!(guest.http(get, &[response]), 999);
}

#[test]
fn a_body_is_there_once_and_its_length_is_a_number() {
    let mut guest = Guest::new();
    for message in ["request", "response"] {
        let body = format!("[method]outgoing-{message}.body");
        let fields = guest.fields(&[("content-length", "3")]);
        let made = guest.http(&format!("[constructor]outgoing-{message}"), &[fields]);
        guest.http(&body, &[made]);
        let first = guest.owned().expect("a body");
        guest.http(&body, &[made]);
        assert_eq!(guest.owned(), None, "{message}");
        guest.http("[method]outgoing-body.write", &[first]);
        let stream = guest.owned().expect("a stream");
        guest.http("[method]outgoing-body.write", &[first]);
        assert_eq!(guest.owned(), None, "{message}");
        let trap = guest.trap("http/types", "[static]outgoing-body.finish", &[first, 0, 0]);
        assert!(
            trap.contains("`outgoing-body` is dropped before 1"),
            "{trap}"
        );
        guest.drop_handle(stream).unwrap();
        for length in ["x", "+1", "-1", "", "1, 1"] {
            let fields = guest.fields(&[("content-length", length)]);
            let made = guest.http(&format!("[constructor]outgoing-{message}"), &[fields]);
            guest.http(&body, &[made]);
            assert_eq!(guest.owned(), None, "{length:?}");
        }
    }
}
