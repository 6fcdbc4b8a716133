//! Host functions on flat core values, called by components whose strings are not UTF-8 or whose addresses have 64 bits.

use tiered::Config;
use tiered::decode::types::ValType::I32;
use tiered_component::{HostResource, LinkError, Linker, Val};

use crate::guest::linked;
use crate::libc::libc;
use crate::modes::in_all_modes;
use crate::strings::{ENCODINGS, texts};

in_all_modes! {
    values_are_converted_both_ways,
    wrong_values_are_traps,
    the_memory_of_a_call_is_bounded,
}

const WORD: HostResource = HostResource::new("host/word");

/// A host that has all in UTF-8 and addresses of 32 bits: `upper` makes capital letters of all strings in a list, and
/// `make` a resource, of which `spell` says the number.
fn host() -> Linker<u64> {
    let mut linker = Linker::<u64>::new();
    let mut define = || -> Result<(), LinkError> {
        linker.resource("host", "word", WORD, |mut caller, rep| {
            *caller.data_mut() += u64::from(rep);
            Ok(())
        })?;
        // make: func(text: string) -> word
        linker.lowered("host", "make", &[I32, I32], &[I32], |call| {
            let length = call.arg_u32(1);
            let handle = call.push_own(WORD, length)?;
            call.return_u32(handle);
            Ok(())
        })?;
        // spell: func(word: borrow<word>) -> string
        linker.lowered("host", "spell", &[I32, I32], &[], |call| {
            let (rep, result) = (call.rep(WORD, call.arg_u32(0))?, call.arg_u32(1) as usize);
            let text = format!("{rep} – Ŵ");
            let at = call.realloc(0, 0, 1, 3)?;
            // In two steps, as a host may.
            let at = call.realloc(at, 3, 1, text.len() as u32)?;
            let (_, bytes) = call.memory();
            bytes[at as usize..][..text.len()].copy_from_slice(text.as_bytes());
            bytes[result..][..4].copy_from_slice(&at.to_le_bytes());
            bytes[result + 4..][..4].copy_from_slice(&(text.len() as u32).to_le_bytes());
            Ok(())
        })?;
        // upper: func(texts: list<string>, fail: bool) -> result<list<string>, string>
        linker.lowered("host", "upper", &[I32, I32, I32, I32], &[], |call| {
            let (list, count) = (call.arg_u32(0) as usize, call.arg_u32(1) as usize);
            let (fail, result) = (call.arg_u32(2) != 0, call.arg_u32(3) as usize);
            let word = |bytes: &[u8], at: usize| {
                let word = bytes[at..][..4].try_into().expect("four bytes");
                u32::from_le_bytes(word) as usize
            };
            let (_, bytes) = call.memory();
            let texts: Vec<String> = (0..count)
                .map(|index| {
                    let at = list + 8 * index;
                    let text = &bytes[word(bytes, at)..][..word(bytes, at + 4)];
                    String::from_utf8_lossy(text).to_uppercase()
                })
                .collect();
            let texts = if fail { vec![texts.concat()] } else { texts };
            let mut pairs = Vec::new();
            for text in &texts {
                let at = call.realloc(0, 0, 1, text.len() as u32)?;
                call.memory().1[at as usize..][..text.len()].copy_from_slice(text.as_bytes());
                pairs.extend(at.to_le_bytes());
                pairs.extend((text.len() as u32).to_le_bytes());
            }
            let list = call.realloc(0, 0, 4, pairs.len() as u32)?;
            let (_, bytes) = call.memory();
            bytes[list as usize..][..pairs.len()].copy_from_slice(&pairs);
            bytes[result] = fail.into();
            if fail {
                bytes[result + 4..][..8].copy_from_slice(&pairs);
            } else {
                bytes[result + 4..][..4].copy_from_slice(&list.to_le_bytes());
                bytes[result + 8..][..4].copy_from_slice(&(count as u32).to_le_bytes());
            }
            Ok(())
        })?;
        Ok(())
    };
    define().expect("free names");
    linker
}

/// Passes its arguments on to the host, and the host's results back. `address` is the type of addresses.
fn guest(encoding: &str, address: &str) -> String {
    let (libc, size) = (libc(address), if address == "i64" { 24 } else { 12 });
    format!(
        r#"(component
            (import "host" (instance $host
                (export "word" (type $word (sub resource)))
                (export "make" (func (param "text" string) (result (own $word))))
                (export "spell" (func (param "word" (borrow $word)) (result string)))
                (export "upper" (func (param "texts" (list string)) (param "fail" bool)
                    (result (result (list string) (error string)))))))
            (alias export $host "word" (type $word))
            {libc}
            (alias core export $libc "memory" (core memory $memory))
            (alias core export $libc "realloc" (core func $realloc))
            (core func $make (canon lower (func $host "make") (memory $memory) string-encoding={encoding}))
            (core func $spell (canon lower (func $host "spell") (memory $memory) (realloc $realloc) string-encoding={encoding}))
            (core func $upper (canon lower (func $host "upper") (memory $memory) (realloc $realloc) string-encoding={encoding}))
            (core func $drop (canon resource.drop $word))
            (core module $m
                (import "host" "make" (func $make (param {address} {address}) (result i32)))
                (import "host" "spell" (func $spell (param i32 {address})))
                (import "host" "upper" (func $upper (param {address} {address} i32 {address})))
                (import "host" "drop" (func $drop (param i32)))
                (func (export "upper") (param $list {address}) (param $count {address}) (param $fail i32) (result {address})
                    (call $upper (local.get $list) (local.get $count) (local.get $fail) ({address}.const 64))
                    ({address}.const 64))
                (func (export "spelled") (param {address} {address}) (result {address})
                    (local $word i32)
                    (local.set $word (call $make (local.get 0) (local.get 1)))
                    (call $spell (local.get $word) ({address}.const 64))
                    (call $drop (local.get $word))
                    ({address}.const 64))
                (func (export "unknown") (result {address})
                    (call $spell (i32.const 5) ({address}.const 64))
                    ({address}.const 64))
                (func (export "far") (result {address})
                    (call $upper ({address}.const 0x1ffff8) ({address}.const {size}) (i32.const 0) ({address}.const 64))
                    ({address}.const 64)))
            (core instance $i (instantiate $m (with "host" (instance
                (export "make" (func $make)) (export "spell" (func $spell)) (export "upper" (func $upper))
                (export "drop" (func $drop))))))
            (func (export "upper") (param "texts" (list string)) (param "fail" bool) (result (result (list string) (error string)))
                (canon lift (core func $i "upper") (memory $memory) (realloc $realloc) string-encoding={encoding}))
            (func (export "spelled") (param "text" string) (result string)
                (canon lift (core func $i "spelled") (memory $memory) (realloc $realloc) string-encoding={encoding}))
            (func (export "unknown") (result string)
                (canon lift (core func $i "unknown") (memory $memory) string-encoding={encoding}))
            (func (export "far") (result (result (list string) (error string)))
                (canon lift (core func $i "far") (memory $memory) string-encoding={encoding})))"#
    )
}

fn all(mut test: impl FnMut(&str, &str)) {
    for encoding in ENCODINGS {
        for address in ["i32", "i64"] {
            test(encoding, address);
        }
    }
}

fn values_are_converted_both_ways(config: &Config) {
    let linker = host();
    all(|encoding, address| {
        let guest = guest(encoding, address);
        let (mut store, instance) = linked(config, &linker, &guest).expect("it is linked");
        let upper = instance.func("", "upper").expect("it is exported");
        let texts: Vec<String> = texts().iter().map(|text| text.to_string()).collect();
        let list =
            |texts: &[String]| Val::List(texts.iter().map(|text| text.as_str().into()).collect());
        let capitals: Vec<String> = texts.iter().map(|text| text.to_uppercase()).collect();
        let result = upper.call(&mut store, &[list(&texts), false.into()]);
        let expected = Val::ok(list(&capitals));
        assert_eq!(
            result.expect("no trap"),
            Some(expected),
            "{encoding} {address}"
        );
        let few = &texts[..2];
        let result = upper.call(&mut store, &[list(few), true.into()]);
        let expected = Val::err(few.concat().to_uppercase().into());
        assert_eq!(
            result.expect("no trap"),
            Some(expected),
            "{encoding} {address}"
        );
        // The length is that of the UTF-8.
        let spelled = instance.func("", "spelled").expect("it is exported");
        let result = spelled.call(&mut store, &["ŵß".into()]);
        assert_eq!(
            result.expect("no trap"),
            Some("4 – Ŵ".into()),
            "{encoding} {address}"
        );
        assert_eq!((instance.handles(&mut store), *store.data()), (0, 4));
    });
}

fn wrong_values_are_traps(config: &Config) {
    let linker = host();
    all(|encoding, address| {
        for (name, message) in [
            ("unknown", "unknown handle index 5"),
            ("far", "out of bounds"),
        ] {
            // What a function itself makes of the guest's memory is its own business.
            if (name, encoding, address) == ("far", "utf8", "i32") {
                continue;
            }
            let guest = guest(encoding, address);
            let (mut store, instance) = linked(config, &linker, &guest).expect("it is linked");
            let func = instance.func("", name).expect("it is exported");
            let error = func.call(&mut store, &[]).expect_err("it is wrong");
            assert!(
                error.to_string().contains(message),
                "{encoding} {address}: {error}"
            );
        }
    });
}

/// A host function that asks for more than the values of one call may take.
fn the_memory_of_a_call_is_bounded(config: &Config) {
    let mut linker = host();
    linker.allow_shadowing(true);
    let greedy = linker.lowered("host", "spell", &[I32, I32], &[], |call| {
        call.realloc(0, 0, 1, 1 << 30).map(drop)
    });
    greedy.expect("a name that may be replaced");
    let (mut store, instance) =
        linked(config, &linker, &guest("utf16", "i32")).expect("it is linked");
    let func = instance.func("", "spelled").expect("it is exported");
    let error = func
        .call(&mut store, &["x".into()])
        .expect_err("it is too much");
    assert!(
        error.to_string().contains("more memory of the host"),
        "{error}"
    );
}
