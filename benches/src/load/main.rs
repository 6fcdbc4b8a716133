//! Asks an HTTP server on this machine as fast as it answers, and says as JSON how fast that was.
//!
//! Each connection has a thread, which sends a request when it has the whole response to the one before. Some requests can be such
//! as the server is expected to fail at (`--fault`); what it makes of the others is counted apart from them.

#![forbid(unsafe_code)]

mod client;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};

use client::Connection;

/// How long the server may take to listen.
const START: Duration = Duration::from_secs(120);

/// Measures a server.
#[derive(Debug, Parser)]
struct Args {
    /// Where it listens
    address: SocketAddr,
    /// What is asked for
    #[arg(long, default_value = "/")]
    path: String,
    /// Connections at a time
    #[arg(long, default_value_t = 1)]
    connections: u64,
    /// Stop after this many requests
    #[arg(long, default_value_t = u64::MAX)]
    requests: u64,
    /// Stop after this many seconds
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Ask for this instead, each time `--fault-every` says so; of several, in turn
    #[arg(long)]
    fault: Vec<String>,
    /// One request in this many is one for `--fault`
    #[arg(long, default_value_t = 10)]
    fault_every: u64,
    /// Only wait for the server, ask once, and say how long that took altogether
    #[arg(long)]
    first: bool,
}

/// What one connection or all of them got.
#[derive(Debug, Default)]
struct Got {
    /// Of the requests that are to succeed, in nanoseconds.
    times: Vec<u64>,
    /// How many of those were answered how; 0 stands for no whole response.
    good: BTreeMap<u16, u64>,
    /// The same of the others.
    faults: BTreeMap<u16, u64>,
}

impl Got {
    fn add(&mut self, other: Got) {
        self.times.extend(other.times);
        for (mine, others) in [
            (&mut self.good, other.good),
            (&mut self.faults, other.faults),
        ] {
            for (status, count) in others {
                *mine.entry(status).or_default() += count;
            }
        }
    }

    /// The time that this part of the requests did not exceed, in milliseconds; the times are in order.
    fn percentile(&self, part: f64) -> f64 {
        let last = self.times.len().saturating_sub(1);
        let at = (part * self.times.len() as f64).ceil() as usize;
        let time = self.times.get(at.saturating_sub(1).min(last));
        time.map_or(0.0, |nanos| *nanos as f64 / 1e6)
    }

    fn json(mut self, seconds: f64) -> Value {
        self.times.sort_unstable();
        let requests: u64 = self.good.values().chain(self.faults.values()).sum();
        json!({
            "requests": requests,
            "seconds": seconds,
            "requests_per_second": requests as f64 / seconds,
            "median_ms": self.percentile(0.5),
            "p99_ms": self.percentile(0.99),
            "max_ms": self.percentile(1.0),
            "statuses": self.good,
            "fault_statuses": self.faults,
        })
    }
}

fn main() {
    let args = Args::parse();
    let result = if args.first {
        first(&args)
    } else {
        load(&args)
    };
    println!("{result}");
}

/// Asks until there is an answer.
fn first(args: &Args) -> Value {
    let start = Instant::now();
    loop {
        let status = Connection::new(args.address).get(&args.path);
        if status != 0 || start.elapsed() > START {
            return json!({ "seconds": start.elapsed().as_secs_f64(), "status": status });
        }
        thread::sleep(Duration::from_micros(500));
    }
}

/// Asks on all connections until it is enough.
fn load(args: &Args) -> Value {
    let asked = AtomicU64::new(0);
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(args.seconds);
    let mut all = Got::default();
    thread::scope(|scope| {
        let work = || one(args, &asked, end);
        let threads: Vec<_> = (0..args.connections).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            all.add(thread.join().unwrap_or_default());
        }
    });
    all.json(start.elapsed().as_secs_f64())
}

/// Asks on one connection, which is made again whenever it is closed.
fn one(args: &Args, asked: &AtomicU64, end: Instant) -> Got {
    let mut got = Got::default();
    let mut connection = Connection::new(args.address);
    while Instant::now() < end {
        let number = asked.fetch_add(1, Relaxed);
        if number >= args.requests {
            break;
        }
        let turn = number / args.fault_every.max(1);
        let is_fault = !args.fault.is_empty() && number.is_multiple_of(args.fault_every.max(1));
        if is_fault {
            let path = &args.fault[turn as usize % args.fault.len()];
            let status = connection.get(path);
            *got.faults.entry(status).or_default() += 1;
            continue;
        }
        let begin = Instant::now();
        let status = connection.get(&args.path);
        let nanos = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        got.times.push(nanos);
        *got.good.entry(status).or_default() += 1;
    }
    got
}
