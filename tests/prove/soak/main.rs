//! A host that works on and on, with faults and reloads, stays as it was: memory, files, threads, instances, its file.
//!
//! `WASMPOST_SOAK_SECONDS` says for how long.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A fault fails the test.
#![allow(clippy::print_stderr)] // A proof tells its figures.

mod traffic;
mod watch;

use std::time::{Duration, Instant};

use traffic::{Traffic, component, place, present};
use wasmpost_tests::prove::account::assert_none;
use wasmpost_tests::prove::steady::{Sample, growth, slope_a_minute, table};
use wasmpost_tests::{PATIENCE, program, signal};
use wasmpost_tests_host::prove::host::{Proved, command_logging, database};
use wasmpost_tests_host::prove::random;
use watch::{sample, settled};

/// How often a component is reloaded, at most.
const RELOADS_EVERY: Duration = Duration::from_secs(60);
const RELOADS: u32 = 4;
/// How many lines the table has.
const ROWS: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn a_host_under_mixed_load_with_faults_and_reloads_stays_as_it_was() {
    let seconds = traffic::seconds();
    let place = place();
    // Compiles what is not in the cache, however long that takes.
    let checked = place.command(&["check"]).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let mut host = Proved::start(&place, command_logging(&place, program(), "warn", &[]), "soak");
    let broker = host.connect().await.unwrap_or_else(|| panic!("{}", host.log()));
    let mut traffic = Traffic::new(random());
    traffic.warm(&broker).await;
    let began = Instant::now();
    let mut samples: Vec<Sample> = vec![];
    let mut reloads: u32 = 0;
    let sample_every = seconds / 120;
    let reload_every = RELOADS_EVERY.min(seconds / (RELOADS + 1));
    while began.elapsed() < seconds {
        traffic.send(&broker, began.elapsed()).await;
        if began.elapsed() > sample_every * samples.len() as u32 {
            samples.push(sample(&host.child, &database(&place), &broker, &mut traffic, began.elapsed()).await);
        }
        if began.elapsed() > reload_every * (reloads + 1) {
            reloads += 1;
            component(&place, reloads);
            let reloaded = broker.reload().await.unwrap();
            let replaced: usize =
                reloaded.iter().filter(|one| one.outcome == "replaced").map(|one| one.receivers.len()).sum();
            assert_eq!(replaced, 2, "{reloaded:?}");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut faults = growth(&samples);
    faults.extend(settled(&broker, &mut traffic).await);
    faults.extend(watch::idle(&broker, &traffic).await);
    let last = sample(&host.child, &database(&place), &broker, &mut traffic, began.elapsed()).await;
    samples.push(last);
    eprintln!("{}", table(&samples, ROWS));
    eprintln!(
        "{} messages of {} kinds, {:.1} % of them faulty, {reloads} reloads; memory {:+.2} MiB a minute; host told {} lines",
        traffic.sent(),
        present().count(),
        traffic.faulty() * 100.0,
        slope_a_minute(&samples, |sample| sample.memory_kib) / 1024.0,
        host.log().lines().count(),
    );
    assert_none(&faults);
    signal(&host.child, "TERM");
    assert!(host.end_within(PATIENCE).is_some_and(|status| status.success()), "{}", host.log());
}
