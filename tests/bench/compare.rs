//! Compares what was measured before a change with what was measured after it, row by row.

use std::collections::BTreeMap;

use serde_json::Value;

/// The first argument that asks for it.
pub(crate) const ARGUMENT: &str = "compare";
/// The difference that a row may have on a machine that is not quiet, as a share of its time.
const NOISE: f64 = 0.05;

/// CPU microseconds of each row, one number for each run.
type Rows = BTreeMap<String, Vec<f64>>;

/// Prints each row of runs before and after, whose files are given as lists with commas.
pub(crate) fn compare(given: &[String]) {
    let [before, after] = given else {
        eprintln!("usage: throughput compare BEFORE.json[,...] AFTER.json[,...]");
        std::process::exit(2);
    };
    let before = read(before);
    let after = read(after);
    println!("{:<52} {:>10} {:>10}   after ÷ before", "CPU µs/message, medians of the runs", "before", "after");
    for (name, times) in &before {
        let Some(now) = after.get(name) else {
            println!("{name:<52} {:>10.2} {:>10}", median(times), "-");
            continue;
        };
        let ratio = median(now) / median(times);
        let verdict = match ratio {
            ratio if ratio > 1.0 + NOISE => "slower",
            ratio if ratio < 1.0 - NOISE => "faster",
            _ => "",
        };
        println!("{name:<52} {:>10.2} {:>10.2}   {ratio:.2} {verdict}", median(times), median(now));
    }
}

fn read(files: &str) -> Rows {
    let mut rows = Rows::new();
    for file in files.split(',') {
        let text = std::fs::read_to_string(wasmpost_tests::root().join(file)).unwrap();
        let run: Value = serde_json::from_str(&text).unwrap();
        for row in run["rows"].as_array().unwrap() {
            let name = format!("{}: {}", row["group"].as_str().unwrap(), row["name"].as_str().unwrap());
            rows.entry(name).or_default().push(row["cpu_us"]["median"].as_f64().unwrap());
        }
    }
    rows
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
