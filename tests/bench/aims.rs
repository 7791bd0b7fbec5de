//! The aims of the host, and its results: one row for each aim, with the ratio that it is judged by.

use serde_json::{Value, json};

use crate::measure::By;
use crate::report::Report;

/// A bound of what was measured.
#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// The quantity that is measured.
#[derive(Clone, Copy)]
enum Measure {
    /// The speed of the first row as a part or a multiple of that of the second.
    Speed(&'static str, &'static str, By),
    /// The time of the first row as a multiple of that of the second.
    Cost(&'static str, &'static str, By),
    /// A figure, times a number.
    Figure(&'static str, f64),
    /// The time of a row, in milliseconds.
    Millis(&'static str),
    /// The CPU time of a row, in microseconds.
    CpuMicros(&'static str),
}

use Bound::{AtLeast, AtMost};
use By::{Cpu, Wall};
use Measure::{Cost, CpuMicros, Figure, Millis, Speed};

const AIMS: &[(&str, &str, Measure, Bound)] = &[
    (
        "G1",
        "host, fresh ÷ raw loop, fresh; body read",
        Speed("checksum-1024-host", "checksum-1024-raw", Cpu),
        AtLeast(0.8),
    ),
    ("G1", "the same, body not read", Speed("noop-1024-host", "noop-1024-raw", Cpu), AtLeast(0.8)),
    (
        "G2",
        "host, reused ÷ raw loop, reused; body read",
        Speed("checksum-1024-host-reused", "checksum-1024-raw-reused", Cpu),
        AtLeast(0.55),
    ),
    ("G2", "the same, body not read", Speed("noop-1024-host-reused", "noop-1024-raw-reused", Cpu), AtLeast(0.55)),
    (
        "",
        "receiver, reused ÷ raw loop, reused; body read",
        Speed("checksum-1024-sandbox-reused", "checksum-1024-raw-reused", Cpu),
        AtLeast(0.6),
    ),
    ("G3", "two threads ÷ one, profile guard", Speed("threads-guard-2", "threads-guard-1", Wall), AtLeast(1.6)),
    ("G3", "two threads ÷ one, profile bounds", Speed("threads-bounds-2", "threads-bounds-1", Wall), AtLeast(1.6)),
    (
        "G3",
        "two worker processes ÷ one, messages by pipe",
        Speed("threads-piped-2", "threads-piped-1", Wall),
        AtLeast(1.6),
    ),
    ("G3", "two threads ÷ one, reused", Speed("threads-reused-2", "threads-reused-1", Wall), AtLeast(1.6)),
    ("", "control: two threads that spin ÷ one", Speed("threads-spin-2", "threads-spin-1", Wall), AtLeast(1.7)),
    (
        "G4",
        "host, fresh ÷ wasmtime with Config::new()",
        Speed("checksum-1024-host", "checksum-1024-default", Cpu),
        AtLeast(4.0),
    ),
    (
        "G4",
        "the same on two threads, profile bounds",
        Speed("threads-bounds-2", "threads-default-2", Wall),
        AtLeast(8.0),
    ),
    (
        "G5",
        "receiver, fresh ÷ Extism, fresh plugin",
        Speed("checksum-1024-sandbox", "checksum-1024-extism-fresh", Cpu),
        AtLeast(8.0),
    ),
    (
        "G5",
        "receiver, reused ÷ Extism, reused plugin",
        Speed("checksum-1024-sandbox-reused", "checksum-1024-extism-reused", Cpu),
        AtLeast(2.0),
    ),
    (
        "G5",
        "the same, 64 KiB",
        Speed("checksum-65536-sandbox-reused", "checksum-65536-extism-reused", Cpu),
        AtLeast(8.0),
    ),
    (
        "G5",
        "receiver, fresh ÷ a process for each message",
        Speed("checksum-1024-sandbox", "checksum-1024-process", Cpu),
        AtLeast(30.0),
    ),
    ("G6", "raw loop with limits: cost ÷ without", Cost("limits-all", "limits-none", Cpu), AtMost(1.05)),
    ("G6", "receiver: a trap ÷ a message that is ok", Cost("limits-trap", "limits-ok", Cpu), AtMost(3.5)),
    ("G7", "host, fresh, body not read: 64 KiB ÷ 1 KiB", Cost("noop-65536-host", "noop-1024-host", Cpu), AtMost(2.7)),
    ("G7", "the same: 1 MiB ÷ 1 KiB", Cost("noop-1048576-host", "noop-1024-host", Cpu), AtMost(12.0)),
    ("G8", "KiB for a component of its own that does nothing", Figure("memory-component", 1.0), AtMost(24.0)),
    ("G8", "KiB for the same component once more", Figure("memory-same", 1.0), AtMost(2.0)),
    ("G8", "KiB for an instance that waits", Figure("memory-instance", 1.0), AtMost(40.0)),
    ("G9", "seconds for 10 000 components from the cache, extrapolated", Figure("load-cached", 0.01), AtMost(1.5)),
    ("G9", "µs from the cache to the first message handled", Figure("load-handled", 1.0), AtMost(140.0)),
    (
        "G10",
        "500 tenants in turn: cost ÷ one, profile guard",
        Cost("tenants-guard-500", "tenants-guard-1", Cpu),
        AtMost(2.5),
    ),
    ("G10", "the same, profile bounds", Cost("tenants-bounds-500", "tenants-bounds-1", Cpu), AtMost(2.5)),
    ("G12", "Python, reused ÷ fresh", Speed("python-reused", "python-fresh", Cpu), AtLeast(50.0)),
    (
        "Q1",
        "durable queue, 64 publishers ÷ raw SQLite loop",
        Speed("durable-publish", "durable-raw", Wall),
        AtLeast(0.7),
    ),
    (
        "Q2",
        "publish, receive and ack at once ÷ the slower alone",
        Speed("durable-both", "durable-slower", Wall),
        AtLeast(0.7),
    ),
    (
        "B1",
        "64 in a call, reused ÷ raw loop, reused",
        Speed("checksum-1024-batch-reused", "checksum-1024-raw-reused", Cpu),
        AtLeast(0.8),
    ),
    (
        "B1",
        "64 in a call, fresh ÷ raw loop, fresh",
        Speed("checksum-1024-batch", "checksum-1024-raw", Cpu),
        AtLeast(10.0),
    ),
    (
        "B1",
        "durable queue, 64 in a call ÷ one, reused",
        Speed("checksum-1024-host-durable-batch", "checksum-1024-host-durable-reused", Cpu),
        AtLeast(1.5),
    ),
    ("D1", "CPU µs, durable queue, no-op guest, reused", CpuMicros("noop-1024-host-durable-reused"), AtMost(25.0)),
    ("D1", "the same, fresh", CpuMicros("noop-1024-host-durable"), AtMost(40.0)),
    (
        "D3",
        "published and handled, reused ÷ SQLite alone",
        Speed("rival-whole-reused", "rival-whole-alone", Wall),
        AtLeast(0.6),
    ),
    (
        "D4",
        "durable queue, 64 publishers ÷ raw SQLite loop",
        Speed("durable-publish", "durable-raw", Wall),
        AtLeast(0.8),
    ),
    (
        "D7",
        "reused ÷ Watermill with Postgres",
        Speed("rival-whole-reused", "rival-whole-watermill", Wall),
        AtLeast(1.0),
    ),
    ("D7", "reused ÷ Redis Streams", Speed("rival-whole-reused", "rival-whole-redis", Wall), AtLeast(1.0)),
    ("D7", "reused ÷ NATS JetStream", Speed("rival-whole-reused", "rival-whole-nats", Wall), AtLeast(1.0)),
    (
        "D7",
        "CPU: Watermill with Postgres ÷ reused",
        Speed("rival-whole-reused", "rival-whole-watermill", Cpu),
        AtLeast(1.0),
    ),
    ("D7", "CPU: Redis Streams ÷ reused", Speed("rival-whole-reused", "rival-whole-redis", Cpu), AtLeast(1.0)),
    ("D7", "CPU: NATS JetStream ÷ reused", Speed("rival-whole-reused", "rival-whole-nats", Cpu), AtLeast(1.0)),
    (
        "Q3",
        "publishing by HTTP, 64 connections ÷ by the library, 64 tasks",
        Speed("durable-http", "durable-publish", Wall),
        AtLeast(0.7),
    ),
    ("", "1 000 receivers: cost of a message ÷ one receiver", Cost("receivers-1000", "receivers-1", Cpu), AtMost(1.5)),
    ("", "milliseconds of a run with one message, component cached", Millis("cold-start"), AtMost(50.0)),
    ("", "% of a core, idle host of 100 receivers", Figure("idle-cpu", 1.0), AtMost(0.5)),
];

/// Prints how each aim that was measured stands, and gives all of them.
pub(crate) fn run(report: &Report) -> Vec<Value> {
    let mut found: Vec<_> = AIMS
        .iter()
        .filter_map(|(id, what, measure, bound)| Some((*id, (*what).to_owned(), value(report, *measure)?, *bound)))
        .collect();
    for language in crate::languages::LANGUAGES {
        if let (Some(own), Some(raw)) =
            (report.row(&format!("{language}-reused")), report.row(&format!("{language}-raw-reused")))
        {
            found.push(("", format!("{language}, reused ÷ raw call, reused"), own.speed_of(raw, Cpu), AtLeast(0.6)));
        }
    }
    found.extend(report.deepest().into_iter().map(|(what, cost)| ("", what, cost, AtMost(1.5))));
    if !found.is_empty() {
        println!("aims\n  {:<64} {:>8}  {:>8}", "", "is", "aim");
    }
    found.into_iter().map(|(id, what, is, bound)| row(id, &what, is, bound)).collect()
}

fn row(id: &str, what: &str, is: f64, bound: Bound) -> Value {
    let (met, sign, aim) = match bound {
        AtLeast(aim) => (is >= aim, "≥", aim),
        AtMost(aim) => (is <= aim, "≤", aim),
    };
    println!("  {id:<4}{what:<60} {is:>8.2}  {sign} {aim:<6}  {}", if met { "met" } else { "missed" });
    json!({ "id": id, "what": what, "is": is, "bound": format!("{sign} {aim}"), "met": met })
}

fn value(report: &Report, measure: Measure) -> Option<f64> {
    match measure {
        Speed(own, base, by) => Some(report.row(own)?.speed_of(report.row(base)?, by)),
        Cost(own, base, by) => Some(1.0 / report.row(own)?.speed_of(report.row(base)?, by)),
        Figure(id, times) => Some(report.value(id)? * times),
        CpuMicros(id) => Some(report.row(id)?.median(Cpu) * 1e6),
        Millis(id) => Some(report.row(id)?.median(Wall) * 1e3),
    }
}
