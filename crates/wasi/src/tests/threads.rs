//! Several threads of a guest behind one context: what they share, that nobody waits for another's call, and that
//! nothing which one of them does shows half to the others.

use std::collections::HashMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex, Weak};

use super::*;
use crate::fd_table::Entry;
use crate::guest::tests::Atomics;
use crate::interrupt::InterruptHandle;
use crate::objects::Object;
use crate::stdio::Stdin;

/// Each thread's part of the memory.
const PART: u32 = 0x4000;

/// In that: where results go, where lists of buffers are, where data goes.
const OUT: u32 = 0x1000;
const LIST: u32 = 0x1100;
const DATA: u32 = 0x2000;

/// What the threads have together.
struct Process {
    guest: Guest,
    memory: Arc<Atomics>,
}

impl Process {
    fn of(guest: Guest) -> Self {
        let memory = Arc::new(Atomics::new(&vec![0; 16 * PART as usize]));
        Self { guest, memory }
    }

    /// One of up to 16 threads. It has a memory of its own unless the tests are those with shared memory.
    fn thread(&self, number: u32) -> Thread<'_> {
        let (memory, base) = match is_shared() {
            true => (Memory::Shared(Arc::clone(&self.memory)), number * PART),
            false => (Memory::Own(vec![0; PART as usize]), 0),
        };
        Thread {
            ctx: &self.guest.ctx,
            memory,
            base,
            waits: None,
        }
    }

    /// Runs `threads` of `body` at the same time.
    fn run(&self, threads: u32, body: impl Fn(u32, Thread<'_>) + Sync) {
        std::thread::scope(|scope| {
            for number in 0..threads {
                let (body, thread) = (&body, self.thread(number));
                scope.spawn(move || body(number, thread));
            }
        });
    }
}

enum Memory {
    Own(Vec<u8>),
    Shared(Arc<Atomics>),
}

/// A thread of the guest.
struct Thread<'a> {
    ctx: &'a WasiCtx,
    memory: Memory,
    base: u32,
    waits: Option<Waits>,
}

/// What breaks a thread's wait, and what is told when it is about to wait.
#[derive(Debug)]
struct Waits {
    handle: InterruptHandle,
    begun: Sender<()>,
}

impl Meter for Waits {
    fn charge(&self, _units: u64) -> Result<(), Halt> {
        Ok(())
    }

    fn interrupt_handle(&self) -> Option<InterruptHandle> {
        // Nobody may listen any more.
        self.begun.send(()).ok();
        Some(self.handle.clone())
    }
}

impl Thread<'_> {
    /// Has the thread tell when it is about to wait; the handle breaks it alone.
    fn telling(mut self) -> (Self, InterruptHandle, Receiver<()>) {
        let (begun, told) = channel();
        let handle = InterruptHandle::new();
        self.waits = Some(Waits {
            handle: handle.clone(),
            begun,
        });
        (self, handle, told)
    }

    fn call(&mut self, name: &str, args: &[u64]) -> Errno {
        let function = Function::named(name).unwrap();
        let memory = match &mut self.memory {
            Memory::Own(bytes) => GuestMemory::new(bytes),
            Memory::Shared(bytes) => GuestMemory::shared(&**bytes),
        };
        let mut memory = match &self.waits {
            Some(waits) => memory.metered(waits),
            None => memory,
        };
        let outcome = function.call(self.ctx, &mut memory, Abi::Preview1, args);
        outcome.unwrap()
    }

    fn at(&self, at: u32) -> u64 {
        (self.base + at).into()
    }

    fn put(&mut self, at: u32, bytes: &[u8]) -> u64 {
        let place = (self.base + at) as usize;
        match &mut self.memory {
            Memory::Own(own) => own[place..place + bytes.len()].copy_from_slice(bytes),
            Memory::Shared(shared) => shared.write(place, bytes),
        }
        place as u64
    }

    fn get(&self, at: u32, len: u32) -> Vec<u8> {
        let place = (self.base + at) as usize;
        let mut bytes = vec![0; len as usize];
        match &self.memory {
            Memory::Own(own) => bytes.copy_from_slice(&own[place..place + len as usize]),
            Memory::Shared(shared) => shared.read(place, &mut bytes),
        }
        bytes
    }

    fn result(&self) -> u32 {
        u32::from_le_bytes(self.get(OUT, 4).try_into().unwrap())
    }

    fn open(&mut self, path: &str, oflags: OFlags) -> Result<u32, Errno> {
        let path_at = self.put(0, path.as_bytes());
        let (len, oflags) = (path.len() as u64, oflags.raw().into());
        let args = [
            ROOT.into(),
            1,
            path_at,
            len,
            oflags,
            RW.raw(),
            0,
            0,
            self.at(OUT),
        ];
        match self.call("path_open", &args) {
            Errno::SUCCESS => Ok(self.result()),
            errno => Err(errno),
        }
    }

    /// A list of two buffers of `len` bytes together, at `DATA`.
    fn buffers(&mut self, len: u32) -> u64 {
        let data = self.at(DATA) as u32;
        let list = [data, 3, data + 3, len - 3].map(u32::to_le_bytes);
        self.put(LIST, &list.concat())
    }

    fn read(&mut self, fd: u32, len: u32) -> Result<Vec<u8>, Errno> {
        let list = self.buffers(len);
        self.moved("fd_read", &[fd.into(), list, 2, self.at(OUT)])
    }

    fn pread(&mut self, fd: u32, len: u32) -> Result<Vec<u8>, Errno> {
        let list = self.buffers(len);
        self.moved("fd_pread", &[fd.into(), list, 2, 0, self.at(OUT)])
    }

    fn moved(&mut self, name: &str, args: &[u64]) -> Result<Vec<u8>, Errno> {
        match self.call(name, args) {
            Errno::SUCCESS => Ok(self.get(DATA, self.result())),
            errno => Err(errno),
        }
    }

    fn write(&mut self, fd: u32, bytes: &[u8]) -> Result<u32, Errno> {
        self.put(DATA, bytes);
        let list = self.buffers(bytes.len() as u32);
        match self.call("fd_write", &[fd.into(), list, 2, self.at(OUT)]) {
            Errno::SUCCESS => Ok(self.result()),
            errno => Err(errno),
        }
    }

    /// The names in a directory, read through a small buffer.
    fn list(&mut self, fd: u32) -> Vec<String> {
        let (mut names, mut cookie) = (Vec::new(), 0u64);
        loop {
            let args = [fd.into(), self.at(DATA), 200, cookie, self.at(OUT)];
            assert_eq!(self.call("fd_readdir", &args), Errno::SUCCESS);
            let bytes = self.get(DATA, self.result());
            let mut rest = &bytes[..];
            while let Some((head, tail)) = rest.split_first_chunk::<24>() {
                let len = u32::from_le_bytes(head[16..20].try_into().unwrap()) as usize;
                let Some(name) = tail.get(..len) else { break };
                cookie = u64::from_le_bytes(head[0..8].try_into().unwrap());
                names.push(String::from_utf8(name.to_vec()).unwrap());
                rest = &tail[len..];
            }
            if bytes.len() < 200 {
                names.sort();
                return names;
            }
        }
    }
}

/// Numbers that look random, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// Files of which each is full of its number.
const FILES: u8 = 8;
const FILE_LEN: u32 = 600;

/// Descriptors that all threads use. They are replaced all the time, and always open.
const PUBLIC: std::ops::Range<u32> = 4..8;

fn with_files() -> Guest {
    let guest = Guest::new();
    for number in 0..FILES {
        let contents = vec![number; FILE_LEN as usize];
        std::fs::write(guest.inside(&format!("f{number}")), contents).unwrap();
    }
    guest
}

/// Descriptors that one thread alone uses, each with the file behind it and its position.
type Private = HashMap<u32, (u8, u32)>;

/// Makes one call, and compares it with what the model says.
fn step(thread: &mut Thread<'_>, random: &mut Random, private: &mut Private, names: &[String]) {
    let number = random.below(FILES.into()) as u8;
    let public = PUBLIC.start + random.below(PUBLIC.len()) as u32;
    let own: Vec<u32> = private.keys().copied().collect();
    let own = (!own.is_empty()).then(|| own[random.below(own.len())]);
    match (random.below(6), own) {
        (0, _) | (_, None) if private.len() < 20 => {
            let fd = thread.open(&format!("f{number}"), PLAIN).unwrap();
            assert!(!PUBLIC.contains(&fd), "{fd} is open");
            assert!(private.insert(fd, (number, 0)).is_none(), "{fd} is open");
        }
        (1, Some(fd)) => {
            assert_eq!(thread.call("fd_close", &[fd.into()]), Errno::SUCCESS);
            private.remove(&fd);
        }
        (2, Some(fd)) => {
            let args = [fd.into(), public.into()];
            assert_eq!(thread.call("fd_renumber", &args), Errno::SUCCESS);
            private.remove(&fd);
        }
        (3, Some(fd)) => {
            let bytes = thread.read(fd, 70).unwrap();
            let (number, position) = private.get_mut(&fd).unwrap();
            let len = 70.min(FILE_LEN - *position);
            assert_eq!(bytes, vec![*number; len as usize], "{fd}");
            *position += len;
        }
        (4, _) => {
            // Some file, but that one alone, and never none.
            let bytes = thread.pread(public, FILE_LEN).unwrap();
            assert_eq!(bytes, vec![bytes[0]; FILE_LEN as usize]);
        }
        _ => assert_eq!(thread.list(ROOT), names),
    }
}

#[test]
fn threads_find_what_they_opened_and_never_half_of_a_change() {
    let process = Process::of(with_files());
    let mut first = process.thread(15);
    let mut names: Vec<String> = (0..FILES).map(|number| format!("f{number}")).collect();
    names.extend([".".into(), "..".into()]);
    names.sort();
    for fd in PUBLIC {
        assert_eq!(first.open("f0", PLAIN), Ok(fd));
    }
    process.run(4, |number, mut thread| {
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ u64::from(number + 1));
        let mut private = Private::new();
        for _ in 0..400 {
            step(&mut thread, &mut random, &mut private, &names);
        }
        for fd in private.into_keys() {
            assert_eq!(thread.call("fd_close", &[fd.into()]), Errno::SUCCESS);
        }
    });
    let entries = process.guest.ctx.table.entries();
    assert_eq!(entries.len(), PUBLIC.end as usize);
    for entry in entries {
        assert_eq!(Arc::strong_count(&entry), 2, "the table's and this one");
    }
    assert_eq!(first.open("f0", PLAIN), Ok(PUBLIC.end), "the lowest free");
}

#[test]
fn what_is_closed_is_closed_once_nobody_uses_it() {
    let process = Process::of(with_files());
    let seen: Mutex<Vec<Weak<Entry>>> = Mutex::default();
    process.run(4, |number, mut thread| {
        for _ in 0..100 {
            let fd = thread.open(&format!("f{number}"), PLAIN).unwrap();
            let entry = thread.ctx.table.get(fd).unwrap();
            seen.lock().unwrap().push(Arc::downgrade(&entry));
            drop(entry);
            assert_eq!(thread.pread(fd, 9).unwrap(), [number as u8; 9]);
            assert_eq!(thread.call("fd_close", &[fd.into()]), Errno::SUCCESS);
        }
    });
    let seen = seen.into_inner().unwrap();
    let left = seen.iter().filter(|entry| entry.strong_count() > 0);
    assert_eq!((seen.len(), left.count()), (400, 0));
}

#[test]
fn the_limit_holds_for_all_threads_together_before_the_host_acts() {
    const LIMIT: usize = 40;
    for _ in 0..10 {
        let process = Process::of(Guest::with(|builder, _| builder.max_open_fds(LIMIT)));
        let opened = AtomicUsize::new(0);
        process.run(4, |number, mut thread| {
            for file in 0..LIMIT {
                match thread.open(&format!("{number}-{file}"), CREATE) {
                    Ok(_) => drop(opened.fetch_add(1, Ordering::Relaxed)),
                    Err(errno) => assert_eq!(errno, Errno::MFILE),
                }
            }
        });
        let opened = opened.into_inner();
        assert_eq!(opened, LIMIT - ROOT as usize - 1);
        let files = std::fs::read_dir(process.guest.inside("")).unwrap();
        assert_eq!(files.count(), opened, "the host made what it was asked for");
    }
}

/// Says that it is over, also after a panic.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[test]
fn a_number_that_is_moved_onto_is_always_open() {
    let process = Process::of(with_files());
    let fd = process.thread(15).open("f0", PLAIN).unwrap();
    let moving = AtomicBool::new(true);
    process.run(3, |number, mut thread| match number {
        0 => {
            let _end = Ends(&moving);
            for turn in 0..3000u32 {
                let next = thread
                    .open(&format!("f{}", turn % u32::from(FILES)), PLAIN)
                    .unwrap();
                let args = [next.into(), fd.into()];
                assert_eq!(thread.call("fd_renumber", &args), Errno::SUCCESS);
            }
        }
        _ => {
            let args = [fd.into(), thread.at(OUT)];
            while moving.load(Ordering::Relaxed) {
                assert_eq!(thread.call("fd_fdstat_get", &args), Errno::SUCCESS);
            }
        }
    });
}

#[test]
fn rights_that_any_thread_gave_up_are_gone() {
    const GIVEN_UP: [Rights; 4] = [
        Rights::FD_READ,
        Rights::FD_WRITE,
        Rights::FD_SEEK,
        Rights::FD_TELL,
    ];
    let process = Process::of(with_files());
    let table = &process.guest.ctx.table;
    let fds: Vec<u32> = (0..100)
        .map(|_| process.thread(15).open("f0", PLAIN).unwrap())
        .collect();
    let held = table.get(fds[0]).unwrap().base();
    let begin = Barrier::new(4);
    process.run(4, |number, mut thread| {
        begin.wait();
        for &fd in &fds {
            // As libc does: what there is, without what is given up.
            loop {
                let kept = table.get(fd).unwrap().base() & !GIVEN_UP[number as usize];
                let args = [fd.into(), kept.raw(), 0];
                if thread.call("fd_fdstat_set_rights", &args) == Errno::SUCCESS {
                    break;
                }
            }
        }
    });
    let all = GIVEN_UP.into_iter().fold(Rights::NONE, Rights::union);
    for fd in fds {
        assert_eq!(table.get(fd).unwrap().base(), held & !all);
    }
}

#[test]
fn a_position_is_shared() {
    let process = Process::of(Guest::new());
    let numbers: Vec<u8> = (0..4 * 50).flat_map(|number| [number as u8; 8]).collect();
    std::fs::write(process.guest.inside("f"), &numbers).unwrap();
    let fd = process.thread(15).open("f", PLAIN).unwrap();
    let seen = Mutex::new(Vec::new());
    process.run(4, |_, mut thread| {
        for _ in 0..50 {
            let record = thread.read(fd, 8).unwrap();
            assert_eq!(record, [record[0]; 8], "each read is whole");
            seen.lock().unwrap().push(record[0]);
        }
    });
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..200), "each record came once");
}

/// Ends the waiting of all threads when a test ends, also by a panic: nobody else would.
struct EndsWaiting(InterruptHandle);

impl Drop for EndsWaiting {
    fn drop(&mut self) {
        self.0.interrupt();
    }
}

/// A process with a pipe as its standard input; the other end is returned.
fn piped() -> (Process, std::fs::File) {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let input = Stdin::File(reader.into());
    let guest = Guest::with(|builder, _| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        builder.stdin(input).tcp_listener(listener)
    });
    guest.file("f", "contents");
    (Process::of(guest), writer.into())
}

/// The descriptor of the listener.
const LISTENER: u32 = 4;

/// Everything that must not wait for another thread's call on `fd`.
fn do_other_things(thread: &mut Thread<'_>, fd: u32) {
    let file = thread.open("f", PLAIN).unwrap();
    assert_eq!(thread.read(file, 8), Ok(b"contents".to_vec()));
    assert_eq!(thread.list(ROOT), [".", "..", "f"]);
    assert_eq!(
        thread.call("fd_fdstat_get", &[fd.into(), thread.at(OUT)]),
        Errno::SUCCESS
    );
    assert_eq!(
        thread.call("fd_fdstat_set_flags", &[fd.into(), 4]),
        Errno::SUCCESS
    );
    assert_eq!(
        thread.call("fd_fdstat_set_flags", &[fd.into(), 0]),
        Errno::SUCCESS
    );
    // Another thing takes the number, and then that is gone as well.
    let args = [file.into(), fd.into()];
    assert_eq!(thread.call("fd_renumber", &args), Errno::SUCCESS);
    assert_eq!(thread.pread(fd, 8), Ok(b"contents".to_vec()));
    assert_eq!(thread.call("fd_close", &[fd.into()]), Errno::SUCCESS);
    assert_eq!(thread.read(fd, 8), Err(Errno::BADF));
    assert_eq!(thread.open("f", PLAIN), Ok(fd), "the number is free");
}

#[test]
fn nobody_waits_for_a_read_in_progress_and_it_keeps_its_pipe() {
    let (process, mut writer) = piped();
    let (mut reader, _, begun) = process.thread(0).telling();
    std::thread::scope(|scope| {
        let _end = EndsWaiting(process.guest.ctx.interrupt_handle());
        let read = scope.spawn(move || reader.read(0, 9));
        begun.recv().unwrap();
        do_other_things(&mut process.thread(1), 0);
        writer.write_all(b"late").unwrap();
        assert_eq!(read.join().unwrap(), Ok(b"late".to_vec()));
    });
    let gone = writer.write_all(b"x");
    assert!(
        gone.is_err(),
        "with the call the last end for reading ended"
    );
}

#[test]
fn nobody_waits_for_an_accept_or_a_poll_in_progress() {
    for name in ["sock_accept", "poll_oneoff"] {
        let (process, _writer) = piped();
        let (mut waiter, handle, begun) = process.thread(0).telling();
        std::thread::scope(|scope| {
            let _end = EndsWaiting(process.guest.ctx.interrupt_handle());
            let waiting = scope.spawn(move || {
                let mut subscription = [0; 48];
                (subscription[8], subscription[16]) = (1, LISTENER as u8);
                let list = waiter.put(LIST, &subscription);
                let out = waiter.at(OUT);
                match name {
                    "sock_accept" => waiter.call(name, &[LISTENER.into(), 0, out]),
                    _ => waiter.call(name, &[list, waiter.at(DATA), 1, out]),
                }
            });
            // A poll asks before it reads its list, and again when it waits.
            for _ in 0..if name == "poll_oneoff" { 2 } else { 1 } {
                begun.recv().unwrap();
            }
            do_other_things(&mut process.thread(1), LISTENER);
            handle.interrupt();
            assert_eq!(waiting.join().unwrap(), Errno::INTR, "{name}");
        });
    }
}

#[test]
fn an_interrupt_breaks_the_thread_that_it_is_for_or_all() {
    let (process, mut writer) = piped();
    let all = process.guest.ctx.interrupt_handle();
    std::thread::scope(|scope| {
        let _end = EndsWaiting(all.clone());
        let threads = [0, 1, 2].map(|number| {
            let (mut thread, handle, begun) = process.thread(number).telling();
            let read = scope.spawn(move || (thread.read(0, 9), thread));
            begun.recv().unwrap();
            (read, handle)
        });
        let [(first, of_first), (second, _), (third, _)] = threads;
        of_first.interrupt();
        let (outcome, mut first) = first.join().unwrap();
        assert_eq!(outcome, Err(Errno::INTR));
        // One of the others takes what comes; neither was broken.
        writer.write_all(b"data").unwrap();
        let mut waiting = vec![second, third];
        while waiting.iter().all(|read| !read.is_finished()) {
            std::thread::yield_now();
        }
        let finished = waiting.iter().position(|read| read.is_finished()).unwrap();
        let (outcome, _) = waiting.swap_remove(finished).join().unwrap();
        assert_eq!(outcome, Ok(b"data".to_vec()));
        all.interrupt();
        let (outcome, mut last) = waiting.remove(0).join().unwrap();
        assert_eq!(outcome, Err(Errno::INTR));
        all.clear();
        assert_eq!(first.read(0, 9), Err(Errno::INTR), "until it is cleared");
        of_first.clear();
        writer.write_all(b"more").unwrap();
        assert_eq!(last.read(0, 4), Ok(b"more".to_vec()));
    });
}

#[test]
fn a_listing_in_progress_is_not_waited_for() {
    let process = Process::of(with_files());
    let mut thread = process.thread(0);
    let names = thread.list(ROOT);
    let entry = process.guest.ctx.table.get(ROOT).unwrap();
    let Object::Dir(dir) = &**entry.object else {
        panic!("not a directory")
    };
    let mut kept = dir.listing.lock();
    assert_eq!(thread.list(ROOT), names);
    assert!(kept.take().is_none());
}

#[test]
fn writes_to_the_end_are_all_there() {
    let process = Process::of(Guest::new());
    let fd = process.thread(15).open("f", CREATE).unwrap();
    let mut first = process.thread(15);
    let append = FdFlags::APPEND.raw().into();
    assert_eq!(
        first.call("fd_fdstat_set_flags", &[fd.into(), append]),
        Errno::SUCCESS
    );
    process.run(4, |number, mut thread| {
        for _ in 0..50 {
            assert_eq!(thread.write(fd, &[b'a' + number as u8; 10]), Ok(10));
        }
    });
    let contents = std::fs::read(process.guest.inside("f")).unwrap();
    assert_eq!(contents.len(), 4 * 50 * 10);
    let records = contents.as_chunks::<10>().0;
    assert!(records.iter().all(|record| *record == [record[0]; 10]));
}
