//! Measures the host against the raw loops below it and against its peers, side by side in one run. Only the ratios count;
//! machines differ and are noisy.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, clippy::indexing_slicing)] // A program for people to look at.

mod aims;
mod backlog;
mod compare;
mod durable;
mod hosted;
mod languages;
mod letters;
mod limits;
mod measure;
mod memory;
mod peers;
mod posted;
mod process;
mod raw;
mod report;
mod rivals;
mod tenants;
mod threads;
mod work;
mod workers;

use std::time::Duration;

use measure::Plan;
use report::Report;

/// The size of each body, in bytes, where nothing else is said.
const BODY_BYTES: usize = 1024;
/// How much is measured unless asked otherwise, and what a quiet machine is worth.
const SHORT: Plan = Plan { rounds: 7, per_round: Duration::from_millis(40), rows: None };
const LONG: Plan = Plan { rounds: 21, per_round: Duration::from_millis(150), rows: None };
/// How many messages wait in a durable queue.
const DEPTHS: &[usize] = &[0, 100_000];
const DEPTHS_LONG: &[usize] = &[0, 100_000, 1_000_000];
const USAGE: &str = "usage: throughput [GROUP...] [--rows PART-OF-ID] [--long] [--deep] [--json FILE]\n       throughput compare \
                     BEFORE.json[,...] AFTER.json[,...]";

/// The groups that are measured, in this order.
const GROUPS: &[&str] = &[
    "work",
    "limits",
    "threads",
    "tenants",
    "memory",
    "languages",
    "process",
    "durable",
    "backlog",
    "letters",
    "peers-durable",
];

/// The requested groups and options.
#[derive(Default)]
struct Arguments {
    groups: Vec<String>,
    long: bool,
    /// Ten million messages wait in the durable queue.
    deep: bool,
    /// Only these rows, as when looking for where their time goes.
    rows: Option<&'static str>,
    json: Option<String>,
}

fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    match given.first().map(String::as_str) {
        Some("compile-component") => wasmpost_sandbox::compile_for_parent(&given[1..]).unwrap(),
        Some(memory::ARGUMENT) => memory::measure(),
        Some(workers::ARGUMENT) => workers::work(),
        Some(compare::ARGUMENT) => compare::compare(&given[1..]),
        _ => match parse(given) {
            Some(arguments) => measure(&arguments),
            None => {
                eprintln!("{USAGE}\ngroups: {}", GROUPS.join(" "));
                std::process::exit(2);
            }
        },
    }
}

fn parse(given: Vec<String>) -> Option<Arguments> {
    let mut arguments = Arguments::default();
    let mut given = given.into_iter();
    while let Some(word) = given.next() {
        match word.as_str() {
            // Cargo says so to every benchmark.
            "--bench" => {}
            "--long" => arguments.long = true,
            "--deep" => arguments.deep = true,
            "--rows" => arguments.rows = Some(given.next()?.leak()),
            "--json" => arguments.json = Some(given.next()?),
            group if GROUPS.contains(&group) => arguments.groups.push(word),
            _ => return None,
        }
    }
    Some(arguments)
}

fn measure(arguments: &Arguments) {
    let plan = Plan { rows: arguments.rows, ..if arguments.long { LONG } else { SHORT } };
    let mut depths = if arguments.long { DEPTHS_LONG } else { DEPTHS }.to_vec();
    depths.extend(arguments.deep.then_some(10_000_000));
    let mut report = Report::default();
    println!("medians of {} interleaved rounds; ratios are medians of those within each round\n", plan.rounds);
    for group in GROUPS {
        if !arguments.groups.is_empty() && arguments.groups.iter().all(|wanted| wanted != group) {
            continue;
        }
        match *group {
            "work" => work::run(&mut report, plan),
            "limits" => limits::run(&mut report, plan),
            "threads" => threads::run(&mut report, plan),
            "tenants" => tenants::run(&mut report, plan),
            "memory" => memory::run(&mut report),
            "languages" => languages::run(&mut report, plan),
            "process" => process::run(&mut report, plan),
            "durable" => durable::run(&mut report, plan.rounds),
            "letters" => letters::run(&mut report),
            "peers-durable" => rivals::run(&mut report, plan.rounds),
            _ => backlog::run(&mut report, &depths, plan.rounds),
        }
    }
    let aims = aims::run(&report);
    if let Some(path) = &arguments.json {
        let mut all = report.json();
        all["aims"] = aims.into();
        all["rounds"] = plan.rounds.into();
        // Cargo runs benchmarks in the directory of their package.
        std::fs::write(wasmpost_tests::root().join(path), format!("{all:#}\n")).unwrap();
        println!("\nwritten to {path}");
    }
}
