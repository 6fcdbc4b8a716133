//! Streams and futures of which the host has an end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tiered::decode::types::ValType::I32;
use tiered::{Config, Meter, Trap};
use tiered_component::concurrent::{
    ByteSink, ByteSource, HostSink, HostSource, Sink, Source, Transfer, Waits,
};
use tiered_component::{Linker, Lowered, Val};

use crate::guest::{LIBC, linked};
use crate::modes::in_all_modes;

in_all_modes! {
    a_guest_copies_from_the_host_to_the_host,
    a_stream_passes_through_a_guest,
    items_that_are_no_bytes_go_both_ways,
    a_read_that_waits_is_cancelled,
    the_host_gets_back_what_it_has_made,
    the_host_has_no_end_of_another_type,
}

/// Gives the bytes 1, 2, 3 …: at most `piece` at a time, and every second time nothing.
struct Numbers {
    next: u8,
    last: u8,
    piece: usize,
    is_idle: bool,
    dropped: Arc<AtomicBool>,
}

impl Drop for Numbers {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::Relaxed);
    }
}

impl ByteSource<u64> for Numbers {
    fn read(&mut self, data: &mut u64, buffer: &mut [u8], _: Meter<'_>) -> Result<Transfer, Trap> {
        *data += 1;
        self.is_idle = !self.is_idle;
        if self.is_idle {
            return Ok(Transfer::Pending);
        }
        if self.next > self.last {
            return Ok(Transfer::End);
        }
        let left = usize::from(self.last - self.next) + 1;
        let length = left.min(self.piece).min(buffer.len());
        for byte in &mut buffer[..length] {
            *byte = self.next;
            self.next += 1;
        }
        Ok(Transfer::Items(length as u32))
    }

    fn wait(&self, waits: &mut Waits) {
        waits.add(tiered_component::concurrent::Interest::Deadline(
            std::time::Instant::now(),
        ));
    }
}

/// Keeps what it is given, at most three bytes at a time.
struct Keep {
    bytes: Arc<Mutex<Vec<u8>>>,
    is_idle: bool,
}

impl ByteSink<u64> for Keep {
    fn write(&mut self, _: &mut u64, buffer: &[u8], _: Meter<'_>) -> Result<Transfer, Trap> {
        self.is_idle = !self.is_idle;
        if self.is_idle {
            return Ok(Transfer::Pending);
        }
        let length = buffer.len().min(3);
        let mut bytes = self.bytes.lock().expect("no thread has panicked");
        bytes.extend_from_slice(&buffer[..length]);
        Ok(Transfer::Items(length as u32))
    }

    fn wait(&self, waits: &mut Waits) {
        waits.add(tiered_component::concurrent::Interest::Deadline(
            std::time::Instant::now(),
        ));
    }

    fn end(&mut self, _: &mut u64) -> Result<(), Trap> {
        self.bytes
            .lock()
            .expect("no thread has panicked")
            .push(b'.');
        Ok(())
    }
}

/// What a future says once the other end of something is gone.
struct WhenEnded(Arc<AtomicBool>);

impl Source<u64> for WhenEnded {
    fn read(&mut self, call: &mut Lowered<'_, u64>, at: u32, _: u32) -> Result<Transfer, Trap> {
        if !self.0.load(Ordering::Relaxed) {
            return Ok(Transfer::Pending);
        }
        let (_, bytes) = call.memory();
        bytes[at as usize..at as usize + 4].copy_from_slice(&77u32.to_le_bytes());
        Ok(Transfer::Items(1))
    }

    // It waits for another end of the host's.
    fn wait(&self, _: &mut Waits) {}
}

type Kept = Arc<Mutex<Vec<u8>>>;

/// `read: func() -> tuple<stream<u8>, future<u32>>` and `write: func(data: stream<u8>)`.
fn linker() -> (Linker<u64>, Kept, Arc<AtomicBool>) {
    let (kept, dropped) = (Kept::default(), Arc::new(AtomicBool::new(false)));
    let mut linker = Linker::new();
    let of_source = Arc::clone(&dropped);
    let of_sink = Arc::clone(&kept);
    linker
        .lowered("host", "read", &[I32], &[], move |call| {
            let numbers = Numbers {
                next: 1,
                last: 10,
                piece: 4,
                is_idle: false,
                dropped: Arc::clone(&of_source),
            };
            let stream = call.new_readable(0, HostSource::Bytes(Box::new(numbers)))?;
            let ended = WhenEnded(Arc::clone(&of_source));
            let future = call.new_readable(1, HostSource::Items(Box::new(ended)))?;
            let at = call.arg_u32(0) as usize;
            let (_, bytes) = call.memory();
            bytes[at..at + 4].copy_from_slice(&stream.to_le_bytes());
            bytes[at + 4..at + 8].copy_from_slice(&future.to_le_bytes());
            Ok(())
        })
        .expect("a name")
        .lowered("host", "write", &[I32], &[], move |call| {
            let keep = Keep {
                bytes: Arc::clone(&of_sink),
                is_idle: false,
            };
            let stream = call.arg_u32(0);
            call.read_with(0, stream, HostSink::Bytes(Box::new(keep)))
        })
        .expect("a name");
    (linker, kept, dropped)
}

/// A component with what bytes need, and `run` with the body `body`.
fn with_bytes(body: &str) -> String {
    format!(
        r#"(component
        (type $bytes (stream u8))
        (type $end (future u32))
        (import "host" (instance $host
            (export "read" (func (result (tuple (stream u8) (future u32)))))
            (export "write" (func (param "data" (stream u8))))))
        {LIBC}
        (core func $read (canon lower (func $host "read") (memory (core memory $libc "memory"))))
        (core func $write (canon lower (func $host "write")))
        (core func $new (canon stream.new $bytes))
        (core func $stream-read (canon stream.read $bytes (memory (core memory $libc "memory"))))
        (core func $stream-begin-read (canon stream.read $bytes async (memory (core memory $libc "memory"))))
        (core func $stream-write (canon stream.write $bytes (memory (core memory $libc "memory"))))
        (core func $cancel-read (canon stream.cancel-read $bytes))
        (core func $drop-readable (canon stream.drop-readable $bytes))
        (core func $drop-writable (canon stream.drop-writable $bytes))
        (core func $future-read (canon future.read $end (memory (core memory $libc "memory"))))
        (core func $future-drop (canon future.drop-readable $end))
        (core module $m
            (import "libc" "memory" (memory 1))
            (import "h" "read" (func $read (param i32)))
            (import "h" "write" (func $write (param i32)))
            (import "h" "new" (func $new (result i64)))
            (import "h" "stream-read" (func $stream-read (param i32 i32 i32) (result i32)))
            (import "h" "stream-begin-read" (func $stream-begin-read (param i32 i32 i32) (result i32)))
            (import "h" "stream-write" (func $stream-write (param i32 i32 i32) (result i32)))
            (import "h" "cancel-read" (func $cancel-read (param i32) (result i32)))
            (import "h" "drop-readable" (func $drop-readable (param i32)))
            (import "h" "drop-writable" (func $drop-writable (param i32)))
            (import "h" "future-read" (func $future-read (param i32 i32) (result i32)))
            (import "h" "future-drop" (func $future-drop (param i32)))
            (func (export "run") (result i32)
                (local $in i32) (local $out i32) (local $ends i64) (local $got i32) (local $done i32) (local $n i32)
                {body}))
        (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "h" (instance
            (export "read" (func $read)) (export "write" (func $write)) (export "new" (func $new))
            (export "stream-read" (func $stream-read)) (export "stream-begin-read" (func $stream-begin-read))
            (export "stream-write" (func $stream-write)) (export "cancel-read" (func $cancel-read))
            (export "drop-readable" (func $drop-readable)) (export "drop-writable" (func $drop-writable))
            (export "future-read" (func $future-read)) (export "future-drop" (func $future-drop))))))
        (func (export "run") async (result u32) (canon lift (core func $i "run"))))"#
    )
}

fn a_guest_copies_from_the_host_to_the_host(config: &Config) {
    let body = "
        (call $read (i32.const 0))
        (local.set $in (i32.load (i32.const 0)))
        (local.set $ends (call $new))
        (call $write (i32.wrap_i64 (local.get $ends)))
        (local.set $out (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
        (block $end
            (loop $next
                (local.set $got (call $stream-read (local.get $in) (i32.const 64) (i32.const 100)))
                ;; Dropped, and nothing with it.
                (br_if $end (i32.eq (local.get $got) (i32.const 1)))
                (local.set $got (i32.shr_u (local.get $got) (i32.const 4)))
                (local.set $done (i32.const 0))
                (loop $more
                    (local.set $n (call $stream-write (local.get $out)
                        (i32.add (i32.const 64) (local.get $done)) (i32.sub (local.get $got) (local.get $done))))
                    (local.set $done (i32.add (local.get $done) (i32.shr_u (local.get $n) (i32.const 4))))
                    (br_if $more (i32.lt_u (local.get $done) (local.get $got))))
                (br $next)))
        (call $drop-readable (local.get $in))
        (call $drop-writable (local.get $out))
        ;; The future is there: the source is gone.
        (if (i32.ne (call $future-read (i32.load (i32.const 4)) (i32.const 128)) (i32.const 0)) (then (unreachable)))
        (call $future-drop (i32.load (i32.const 4)))
        (i32.load (i32.const 128))";
    let (linker, kept, dropped) = linker();
    let (mut store, instance) = linked(config, &linker, &with_bytes(body)).expect("it links");
    let run = instance.func("", "run").expect("an export");
    let result = run.call(&mut store, &[]).expect("it returns");
    assert_eq!(result, Some(Val::U32(77)));
    assert_eq!(
        *kept.lock().unwrap(),
        b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a."
    );
    assert!(dropped.load(Ordering::Relaxed));
    assert_eq!(instance.handles(&mut store), 0);
}

fn a_stream_passes_through_a_guest(config: &Config) {
    // The guest does not read what it passes on; it waits for the future, which comes with the end.
    let body = "
        (call $read (i32.const 0))
        (call $write (i32.load (i32.const 0)))
        (drop (call $future-read (i32.load (i32.const 4)) (i32.const 128)))
        (i32.load (i32.const 128))";
    let (linker, kept, _) = linker();
    let (mut store, instance) = linked(config, &linker, &with_bytes(body)).expect("it links");
    let run = instance.func("", "run").expect("an export");
    let result = run.call(&mut store, &[]).expect("it returns");
    assert_eq!(result, Some(Val::U32(77)));
    assert_eq!(
        *kept.lock().unwrap(),
        b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a."
    );
}

fn a_read_that_waits_is_cancelled(config: &Config) {
    let body = "
        (call $read (i32.const 0))
        (local.set $in (i32.load (i32.const 0)))
        (if (i32.ne (call $stream-begin-read (local.get $in) (i32.const 64) (i32.const 9)) (i32.const -1)) (then (unreachable)))
        (if (i32.ne (call $cancel-read (local.get $in)) (i32.const 2)) (then (unreachable)))
        ;; It can be read again.
        (local.set $got (call $stream-read (local.get $in) (i32.const 64) (i32.const 2)))
        (call $drop-readable (local.get $in))
        (local.get $got)";
    let (linker, _, dropped) = linker();
    let (mut store, instance) = linked(config, &linker, &with_bytes(body)).expect("it links");
    let run = instance.func("", "run").expect("an export");
    let result = run.call(&mut store, &[]).expect("it returns");
    assert_eq!(result, Some(Val::U32(2 << 4)));
    assert!(dropped.load(Ordering::Relaxed));
}

/// Gives texts, which the guest allocates.
struct Texts(Vec<&'static str>);

impl Source<u64> for Texts {
    fn read(&mut self, call: &mut Lowered<'_, u64>, at: u32, count: u32) -> Result<Transfer, Trap> {
        if self.0.is_empty() {
            return Ok(Transfer::End);
        }
        let mut given = 0;
        while given < count
            && let Some(text) = self.0.pop()
        {
            let to = call.realloc(0, 0, 1, text.len() as u32)?;
            let (_, bytes) = call.memory();
            bytes[to as usize..to as usize + text.len()].copy_from_slice(text.as_bytes());
            let place = &mut bytes[(at + 8 * given) as usize..];
            place[..4].copy_from_slice(&to.to_le_bytes());
            place[4..8].copy_from_slice(&(text.len() as u32).to_le_bytes());
            given += 1;
        }
        Ok(Transfer::Items(given))
    }

    fn wait(&self, _: &mut Waits) {}
}

/// Keeps texts.
struct KeepTexts(Kept);

impl Sink<u64> for KeepTexts {
    fn write(
        &mut self,
        call: &mut Lowered<'_, u64>,
        at: u32,
        count: u32,
    ) -> Result<Transfer, Trap> {
        let (_, bytes) = call.memory();
        for item in 0..count {
            let place = &bytes[(at + 8 * item) as usize..];
            let word =
                |at: usize| u32::from_le_bytes(place[at..at + 4].try_into().unwrap()) as usize;
            let text = &bytes[word(0)..word(0) + word(4)];
            self.0.lock().unwrap().extend_from_slice(text);
        }
        Ok(Transfer::Items(count))
    }

    fn wait(&self, _: &mut Waits) {}
}

const TEXTS: &str = r#"
        (type $texts (stream string))
        (import "host" (instance $host
            (export "read" (func (result (stream string))))
            (export "write" (func (param "data" (stream string))))))
        (core func $read (canon lower (func $host "read")))
        (core func $write (canon lower (func $host "write")))"#;

fn items_that_are_no_bytes_go_both_ways(config: &Config) {
    let text = format!(
        r#"(component {TEXTS} {LIBC}
        (core func $new (canon stream.new $texts))
        (core func $stream-read (canon stream.read $texts (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
        (core func $stream-write (canon stream.write $texts (memory (core memory $libc "memory"))))
        (core func $drop-readable (canon stream.drop-readable $texts))
        (core module $m
            (import "libc" "memory" (memory 1))
            (import "h" "read" (func $read (result i32)))
            (import "h" "write" (func $write (param i32)))
            (import "h" "new" (func $new (result i64)))
            (import "h" "stream-read" (func $stream-read (param i32 i32 i32) (result i32)))
            (import "h" "stream-write" (func $stream-write (param i32 i32 i32) (result i32)))
            (import "h" "drop-readable" (func $drop-readable (param i32)))
            (func (export "run") (result i32) (local $in i32) (local $ends i64)
                (local.set $in (call $read))
                (if (i32.ne (call $stream-read (local.get $in) (i32.const 64) (i32.const 2)) (i32.const 0x20)) (then (unreachable)))
                (if (i32.ne (call $stream-read (local.get $in) (i32.const 80) (i32.const 2)) (i32.const 0x10)) (then (unreachable)))
                (if (i32.ne (call $stream-read (local.get $in) (i32.const 88) (i32.const 2)) (i32.const 1)) (then (unreachable)))
                (call $drop-readable (local.get $in))
                (local.set $ends (call $new))
                (call $write (i32.wrap_i64 (local.get $ends)))
                (call $stream-write (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))) (i32.const 64) (i32.const 3))))
        (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "h" (instance
            (export "read" (func $read)) (export "write" (func $write)) (export "new" (func $new))
            (export "stream-read" (func $stream-read)) (export "stream-write" (func $stream-write))
            (export "drop-readable" (func $drop-readable))))))
        (func (export "run") async (result u32) (canon lift (core func $i "run"))))"#
    );
    let kept = Kept::default();
    let of_sink = Arc::clone(&kept);
    let mut linker = Linker::new();
    linker
        .lowered("host", "read", &[], &[I32], |call| {
            let texts = Texts(vec!["three", "two", "one"]);
            let stream = call.new_readable(0, HostSource::Items(Box::new(texts)))?;
            call.return_u32(stream);
            Ok(())
        })
        .expect("a name")
        .lowered("host", "write", &[I32], &[], move |call| {
            let stream = call.arg_u32(0);
            let keep = KeepTexts(Arc::clone(&of_sink));
            call.read_with(0, stream, HostSink::Items(Box::new(keep)))
        })
        .expect("a name");
    let (mut store, instance) = linked(config, &linker, &text).expect("it links");
    let run = instance.func("", "run").expect("an export");
    let result = run.call(&mut store, &[]).expect("it returns");
    assert_eq!(result, Some(Val::U32(3 << 4)));
    assert_eq!(*kept.lock().unwrap(), b"onetwothree");
}

/// `pass: func() -> u32` gives what the host reads to the host.
fn passing(
    body: impl Fn(&mut Lowered<'_, u64>) -> Result<(), Trap> + Send + Sync + 'static,
) -> (String, Linker<u64>) {
    let text = format!(
        r#"(component {TEXTS} {LIBC}
        (core module $m
            (import "h" "read" (func $read (result i32)))
            (import "h" "write" (func $write (param i32)))
            (func (export "run") (call $write (call $read))))
        (core instance $i (instantiate $m (with "h" (instance
            (export "read" (func $read)) (export "write" (func $write))))))
        (func (export "run") async (canon lift (core func $i "run"))))"#
    );
    let mut linker = Linker::new();
    linker
        .lowered("host", "read", &[], &[I32], |call| {
            let stream = call.new_readable(0, HostSource::Items(Box::new(Texts(vec!["one"]))))?;
            call.return_u32(stream);
            Ok(())
        })
        .expect("a name")
        .lowered("host", "write", &[I32], &[], body)
        .expect("a name");
    (text, linker)
}

fn the_host_gets_back_what_it_has_made(config: &Config) {
    let (text, linker) = passing(|call| {
        let stream = call.arg_u32(0);
        let Some(HostSource::Items(source)) = call.take_source(0, stream)? else {
            panic!("the host has the other end");
        };
        let source: Box<dyn std::any::Any> = source;
        let texts = source.downcast::<Texts>().expect("it is what was given");
        assert_eq!(texts.0, ["one"]);
        Ok(())
    });
    let (mut store, instance) = linked(config, &linker, &text).expect("it links");
    let run = instance.func("", "run").expect("an export");
    run.call(&mut store, &[]).expect("it returns");
    assert_eq!(instance.handles(&mut store), 0);
}

fn the_host_has_no_end_of_another_type(config: &Config) {
    let (text, linker) = passing(|call| {
        let keep = Keep {
            bytes: Kept::default(),
            is_idle: false,
        };
        let stream = call.arg_u32(0);
        call.read_with(0, stream, HostSink::Bytes(Box::new(keep)))
    });
    let (mut store, instance) = linked(config, &linker, &text).expect("it links");
    let run = instance.func("", "run").expect("an export");
    let error = run
        .call(&mut store, &[])
        .expect_err("the stream is of strings");
    assert!(
        error
            .to_string()
            .contains("the host gives bytes to a stream or future of something else"),
        "{error}"
    );
    let (text, linker) = passing(|call| call.drop_readable(1, 1));
    let (mut store, instance) = linked(config, &linker, &text).expect("it links");
    let run = instance.func("", "run").expect("an export");
    let error = run.call(&mut store, &[]).expect_err("there is one stream");
    assert!(error.to_string().contains("has fewer streams"), "{error}");
}
