//! What a server counts, and the page that says so in Prometheus's text format (version 0.0.4).

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::StatusCode;

/// The type of the page, for `Content-Type`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A number that goes up and down, and the highest that it was.
#[derive(Debug, Default)]
pub struct Gauge {
    now: AtomicU64,
    peak: AtomicU64,
}

impl Gauge {
    pub(crate) fn add(&self, n: u64) {
        let now = self.now.fetch_add(n, Relaxed) + n;
        self.peak.fetch_max(now, Relaxed);
    }

    pub(crate) fn sub(&self, n: u64) {
        self.now.fetch_sub(n, Relaxed);
    }

    /// The number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.now.load(Relaxed)
    }

    /// The highest that it was.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.peak.load(Relaxed)
    }
}

/// A number that goes up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds of the histogram's buckets, in microseconds, and as the page writes them, in seconds.
const BUCKETS: [(u64, &str); 14] = [
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
];

/// How long requests took.
#[derive(Debug, Default)]
struct Histogram {
    /// The last one is for what is above all bounds.
    counts: [Counter; BUCKETS.len() + 1],
    micros: Counter,
}

impl Histogram {
    fn record(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.partition_point(|(bound, _)| *bound < micros);
        self.counts[bucket].add(1);
        self.micros.add(micros);
    }
}

/// The statuses that a response can have.
const STATUSES: std::ops::Range<u16> = 100..1000;

/// What a server counts. All times are over once the request is: see [`Metrics::page`].
#[derive(Debug)]
pub struct Metrics {
    statuses: Box<[Counter]>,
    latency: Histogram,
    /// Requests that have no whole response yet.
    pub in_flight: Gauge,
    /// Requests that wait for a thread.
    pub queued: Gauge,
    /// Threads that run a handler.
    pub running: Gauge,
    /// Open connections.
    pub connections: Gauge,
    /// Connections that were ever accepted.
    pub accepted: Counter,
    /// Connections that could not be accepted.
    pub accept_errors: Counter,
    /// Requests that were not HTTP, or too large to be read, and never reached a handler.
    pub malformed: Counter,
    /// Requests without a whole response.
    pub incomplete: Counter,
    /// Handlers that returned an error or panicked.
    pub failures: Counter,
    /// Bytes of requests' bodies.
    pub received: Counter,
    /// Bytes of responses' bodies.
    pub sent: Counter,
    /// Lines of the access log that were given up because the log could not be written fast enough.
    pub log_lost: Counter,
    /// Bytes of bodies that wait between handlers and connections.
    pub buffered: std::sync::Arc<Gauge>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            statuses: STATUSES.map(|_| Counter::default()).collect(),
            latency: Histogram::default(),
            in_flight: Gauge::default(),
            queued: Gauge::default(),
            running: Gauge::default(),
            connections: Gauge::default(),
            accepted: Counter::default(),
            accept_errors: Counter::default(),
            malformed: Counter::default(),
            incomplete: Counter::default(),
            failures: Counter::default(),
            received: Counter::default(),
            sent: Counter::default(),
            log_lost: Counter::default(),
            buffered: std::sync::Arc::default(),
        }
    }
}

impl Metrics {
    pub(crate) fn respond(&self, status: StatusCode) {
        self.statuses[usize::from(status.as_u16() - STATUSES.start)].add(1);
    }

    pub(crate) fn took(&self, time: Duration) {
        self.latency.record(time);
    }

    /// The requests that were answered with `status`.
    #[must_use]
    pub fn responses(&self, status: StatusCode) -> u64 {
        self.statuses[usize::from(status.as_u16() - STATUSES.start)].get()
    }

    /// The page.
    #[must_use]
    pub fn page(&self) -> String {
        let mut page = String::new();
        // A string takes all that is written.
        let _ = self.write(&mut page);
        page
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let name = "tiered_http_requests_total";
        head(
            out,
            name,
            "counter",
            "Requests that were answered, by status.",
        )?;
        for (status, count) in STATUSES.zip(&self.statuses) {
            if count.get() > 0 {
                writeln!(out, "{name}{{code=\"{status}\"}} {}", count.get())?;
            }
        }
        self.write_latency(out)?;
        for (name, help, gauge) in [
            (
                "requests_in_flight",
                "Requests that have no whole response yet.",
                &self.in_flight,
            ),
            (
                "requests_queued",
                "Requests that wait for a thread.",
                &self.queued,
            ),
            (
                "handlers_running",
                "Threads that run a handler.",
                &self.running,
            ),
            ("connections", "Open connections.", &self.connections),
            (
                "body_bytes_buffered",
                "Bytes of bodies that wait between handlers and connections.",
                &*self.buffered,
            ),
        ] {
            scalar(out, name, "gauge", help, gauge.get())?;
        }
        for (name, help, counter) in [
            (
                "connections_accepted_total",
                "Connections that were accepted.",
                &self.accepted,
            ),
            (
                "accept_errors_total",
                "Connections that could not be accepted.",
                &self.accept_errors,
            ),
            (
                "malformed_requests_total",
                "Requests that could not be read.",
                &self.malformed,
            ),
            (
                "incomplete_responses_total",
                "Requests without a whole response.",
                &self.incomplete,
            ),
            (
                "handler_failures_total",
                "Handlers that failed or panicked.",
                &self.failures,
            ),
            (
                "received_body_bytes_total",
                "Bytes of bodies of requests.",
                &self.received,
            ),
            (
                "sent_body_bytes_total",
                "Bytes of bodies of responses.",
                &self.sent,
            ),
            (
                "log_lines_lost_total",
                "Lines that the access log could not keep up with.",
                &self.log_lost,
            ),
        ] {
            scalar(out, name, "counter", help, counter.get())?;
        }
        Ok(())
    }

    fn write_latency(&self, out: &mut String) -> fmt::Result {
        let name = "tiered_http_request_duration_seconds";
        head(
            out,
            name,
            "histogram",
            "Time from a request's head to the end of its response.",
        )?;
        let mut below = 0;
        let bounds = BUCKETS.iter().map(|(_, text)| *text).chain(["+Inf"]);
        for (bound, count) in bounds.zip(&self.latency.counts) {
            below += count.get();
            writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {below}")?;
        }
        let micros = self.latency.micros.get();
        writeln!(
            out,
            "{name}_sum {}.{:06}",
            micros / 1_000_000,
            micros % 1_000_000
        )?;
        writeln!(out, "{name}_count {below}")
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn scalar(out: &mut String, name: &str, kind: &str, help: &str, value: u64) -> fmt::Result {
    let name = format!("tiered_http_{name}");
    head(out, &name, kind, help)?;
    writeln!(out, "{name} {value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_a_bound_is_in_its_own() {
        let metrics = Metrics::default();
        for micros in [0, 500, 501, 10_000_000, 10_000_001] {
            metrics.took(Duration::from_micros(micros));
        }
        let page = metrics.page();
        for line in [
            "tiered_http_request_duration_seconds_bucket{le=\"0.0005\"} 2",
            "tiered_http_request_duration_seconds_bucket{le=\"0.001\"} 3",
            "tiered_http_request_duration_seconds_bucket{le=\"5\"} 3",
            "tiered_http_request_duration_seconds_bucket{le=\"10\"} 4",
            "tiered_http_request_duration_seconds_bucket{le=\"+Inf\"} 5",
            "tiered_http_request_duration_seconds_sum 20.001002",
            "tiered_http_request_duration_seconds_count 5",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
    }

    /// Each line is a comment or a sample, and each family is described before its samples.
    #[test]
    fn the_page_is_in_the_text_format() {
        let metrics = Metrics::default();
        metrics.respond(StatusCode::OK);
        metrics.respond(StatusCode::from_u16(999).expect("a status"));
        metrics.in_flight.add(3);
        metrics.in_flight.sub(1);
        let page = metrics.page();
        assert!(
            page.contains("tiered_http_requests_total{code=\"999\"} 1\n"),
            "{page}"
        );
        assert!(
            page.contains("tiered_http_requests_in_flight 2\n"),
            "{page}"
        );
        assert_eq!(metrics.in_flight.peak(), 3);
        let mut family = String::new();
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split(' ').next().unwrap_or_default().to_string();
            } else if !line.starts_with("# HELP ") {
                let (name, value) = line.rsplit_once(' ').expect("a sample");
                assert!(name.starts_with(&family), "{line}");
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
    }
}
