//! The nth call of a kind fails, for n from 1 up.

use std::process::ExitStatus;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use wasmpost_delivery::Broker;
use wasmpost_tests::prove::account::{Rules, assert_none, faults};
use wasmpost_tests::prove::seen::{Ledger, Standing};
use wasmpost_tests::prove::trace::{Call, calls};
use wasmpost_tests::{PATIENCE, Place, prove, signal};
use wasmpost_tests_host::prove::host::{CONCURRENCY, Proved, command, database, place};
use wasmpost_tests_host::prove::load::publish_all;
use wasmpost_tests_host::prove::number;

use super::traced::{read, traced};

/// How long a host that lives on may take for its messages.
const WORK_PATIENCE: Duration = Duration::from_secs(5);

/// The outcome of a host in which a call failed.
struct Failed {
    /// The calls that were made to fail.
    injected: Vec<Call>,
    /// How it ended, if before it was told to.
    ended: Option<ExitStatus>,
    /// Whether it told of trouble, by an answer or in its log.
    has_told: bool,
    /// The line of the trace in which it was told to stop.
    stop: usize,
    /// The line in which the file was open for work.
    opened: usize,
}

impl Failed {
    /// Ended by itself, and not as if all were well; or told of trouble that came while it stopped.
    fn is_honest(&self) -> bool {
        match self.ended {
            Some(status) => !status.success(),
            None => self.has_told && self.injected.iter().all(|call| call.begin > self.stop),
        }
    }

    /// Told that a log could not be looked through for damage, which is done before it is opened for work, or that the
    /// thread which copies it could not open the file; or the one who asked for figures, which are read by a connection
    /// of their own, got an error in their place. Or told that the flight file could not be written, so that a message had
    /// to wait. The host does its work all the same.
    fn was_beside_the_work(&self) -> bool {
        let looks = |call: &Call| call.arguments.contains("-wal\", O_RDONLY");
        let copies = |call: &Call| call.arguments.contains(".db\", O_RDWR");
        let figures = |call: &Call| call.name == "openat" && call.begin > self.opened && !copies(call);
        let flies = |call: &Call| call.name == "pwrite64" && call.arguments.contains("-flight");
        let is_told = |call: &Call| self.has_told && (looks(call) || copies(call) || flies(call));
        self.injected.iter().all(|call| figures(call) || is_told(call))
    }
}

pub(crate) async fn flushes() {
    each("fsync,fdatasync", "EIO", |failed| {
        // A flush of the log whose outcome is unknown is the last that the host does.
        let of_log = |call: &Call| call.arguments.contains("-wal") && call.name.starts_with('f');
        !failed.injected.iter().any(of_log) || is_of_checkpoint(&failed.injected) || failed.is_honest()
    })
    .await;
}

pub(crate) async fn writes() {
    each("pwrite64", "EIO", |_| true).await;
}

pub(crate) async fn writes_without_room() {
    each("pwrite64", "ENOSPC", |_| true).await;
}

pub(crate) async fn opens() {
    each("openat", "EMFILE", |_| true).await;
}

pub(crate) async fn calls_of_a_new_file() {
    for calls in ["openat", "pwrite64", "fsync,fdatasync"] {
        each_in(&place, calls, "EIO", |failed| failed.is_honest() || failed.was_beside_the_work()).await;
    }
}

/// Flushes of the log come from the thread that copies it too, and what fails there was on disk before.
fn is_of_checkpoint(injected: &[Call]) -> bool {
    let threads: std::collections::BTreeSet<_> = injected.iter().map(|call| call.thread).collect();
    threads.len() > 1
}

/// Makes the first call fail, then the second, until there are no more or it is enough.
async fn each(calls: &str, error: &str, is_right: impl Fn(&Failed) -> bool) {
    each_in(&used, calls, error, is_right).await;
}

/// A directory whose queue file has been used: hosts that take it over have less to do than those that make one.
fn used() -> Place {
    let place = place();
    let body = place.write("body", "");
    let publish =
        place.command_of(prove::program(), &["publish", "other", &body.display().to_string()]).output().unwrap();
    assert!(publish.status.success());
    place
}

async fn each_in(place: &dyn Fn() -> Place, calls: &str, error: &str, is_right: impl Fn(&Failed) -> bool) {
    let mut ended = 0;
    let mut told = 0;
    let mut tried = 0;
    for number in numbers() {
        let mut place = place();
        let injection = format!("inject={calls}:error={error}:when={number}");
        let (ledger, failed) = live(&place, calls, &injection).await;
        if failed.injected.is_empty() {
            break;
        }
        tried += 1;
        ended += u64::from(failed.ended.is_some_and(|status| !status.success()));
        told += u64::from(failed.has_told);
        let confirmed = ledger.sent.values().filter(|sent| sent.standing == Standing::Confirmed).count();
        let (calls, code) =
            (failed.injected.iter().map(brief).collect::<Vec<_>>(), failed.ended.map(|status| status.code()));
        let told = if failed.has_told { "told" } else { "nothing told" };
        eprintln!("{injection}: {calls:?}, {confirmed} confirmed, {told}, ended {code:?}");
        if !is_right(&failed) {
            panic!("host goes on: {:?}; trace, log and queue file: {}", failed.injected, place.keep().display());
        }
        settle(&mut place, &ledger, &injection);
    }
    assert!(tried > 0, "no call was made to fail");
    eprintln!("{calls} with {error}: {tried} tried, host ended {ended} times, told of trouble {told} times");
}

/// From 1 up: every one to `WASMPOST_PROVE_CALLS`, or some where that is not set.
fn numbers() -> Vec<u64> {
    match number("WASMPOST_PROVE_CALLS", 0) {
        0 => std::iter::successors(Some(1), |number| Some(2 * number)).take_while(|number| *number < 20).collect(),
        most => (1..=most).collect(),
    }
}

fn brief(call: &Call) -> String {
    let about = call.arguments.split([',', ' ']).next().unwrap_or_default();
    format!("{}({})", call.name, about.rsplit('/').next().unwrap_or_default())
}

/// A host in which calls fail, with a little load.
async fn live(place: &Place, traces: &str, injection: &str) -> (Ledger, Failed) {
    let trace = place.path().join("trace");
    let ledger = Mutex::new(Ledger::default());
    let database = database(place);
    // Shared memory is made anew from the log, and writing one byte of each of its pages takes many calls.
    let suffixes = if traces == "pwrite64" { &["", "-wal", "-journal"][..] } else { &["", "-wal", "-journal", "-shm"] };
    let files: Vec<String> = suffixes.iter().map(|suffix| format!("{}{suffix}", database.display())).collect();
    let mut arguments: Vec<&str> = files.iter().flat_map(|file| ["-P", file.as_str()]).collect();
    let tracing = format!("trace={traces}");
    arguments.extend(["-e", &tracing, "-e", injection]);
    let mut host = Proved::start(place, traced(&command(place, prove::program(), &[]), &trace, &arguments), "failing");
    if host.connect().await.is_some() {
        let by_publisher = (0..2).map(|name| (0..10).map(|at| format!("p{name} {at}")).collect()).collect();
        publish_all(&database, by_publisher, &mut fastrand::Rng::with_seed(1), &ledger).await;
        worked(&mut host).await;
    }
    let ended = host.child.try_wait().unwrap();
    if ended.is_none() {
        signal(&host.child, "TERM");
        if host.end_within(WORK_PATIENCE).is_none() {
            host.kill();
        }
    }
    let text = read(&trace, host.child.id());
    let stop = text.lines().position(|line| line.contains("--- SIGTERM")).unwrap_or(usize::MAX);
    let calls = calls(&text);
    let is_last_opened = |call: &&Call| call.arguments.contains("-shm") && call.result >= 0;
    let opened = calls.iter().find(is_last_opened).map_or(usize::MAX, |call| call.end);
    let injected = calls.into_iter().filter(|call| call.is_injected).collect();
    let ledger = ledger.into_inner().unwrap();
    let is_unconfirmed = ledger.sent.values().any(|sent| sent.standing != Standing::Confirmed);
    let log = host.log();
    let has_told = is_unconfirmed || log.contains("\"ERROR\"") || log.contains("error: ") || log.contains("could not");
    (ledger, Failed { injected, ended, has_told, stop, opened })
}

/// Waits until nothing is left to do, or the host ended, or it was long enough: what failed may wait for its lease. A host
/// that told of its end ends with the guests that run, which takes its time on a busy machine.
async fn worked(host: &mut Proved) {
    let began = Instant::now();
    let patience = |host: &Proved| if host.log().contains("not used any more") { PATIENCE } else { WORK_PATIENCE };
    while began.elapsed() < patience(host) && host.child.try_wait().unwrap().is_none() {
        if let Some(broker) = host.connect().await
            && let Ok(stats) = broker.stats().await
            && stats.iter().any(|stats| stats.queue == "work" && stats.ready + stats.delayed + stats.leased == 0)
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A host without faults finds everything that was confirmed, and brings it to its end.
fn settle(place: &mut Place, ledger: &Ledger, injection: &str) {
    let mut lives = vec![];
    if ledger.sent.is_empty() && !database(place).exists() {
        return;
    }
    let mut host = Proved::start(place, command(place, prove::program(), &["--until-empty"]), "last");
    let ended = host.end_within(PATIENCE);
    assert!(ended.is_some_and(|status| status.success()), "after {injection}: {ended:?}: {}", host.log());
    lives.push(host.life());
    let faults = faults(ledger, &lives, Rules { concurrency: CONCURRENCY, crashes_max: 3 }, true);
    if !faults.is_empty() {
        eprintln!("after {injection}, logs and queue file: {}", place.keep().display());
    }
    assert_none(&faults);
}
