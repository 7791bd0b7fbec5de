//! A disk that gets full under a host, and has room again.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use wasmpost::control::RemoteBroker;
use wasmpost_delivery::{Broker, BrokerErrorKind, QueueStats};
use wasmpost_msg::Publication;
use wasmpost_tests::prove::account::{Rules, assert_none, faults};
use wasmpost_tests::prove::seen::{Ledger, Life, Standing};
use wasmpost_tests::{PATIENCE, prove, signal};
use wasmpost_tests_host::prove::file::snapshot;
use wasmpost_tests_host::prove::host::{CONCURRENCY, Proved, command, database, place_in};
use wasmpost_tests_host::prove::load::{publication, publish};

/// Set for the process that has the small disk: where it is.
pub(crate) const INSIDE: &str = "WASMPOST_TEST_SMALL_DISK";
const DISK: &str = "size=10m";
/// The size of a file that is deleted to make room: more than the queue file and its log, since the log is copied
/// before it is cut.
const RESERVE_BYTES: usize = 6 << 20;

/// Runs this test again, in a namespace with a small disk that nobody else sees.
pub(crate) async fn full() {
    let directory = tempfile::tempdir().unwrap();
    prove::program();
    let script = "mount -t tmpfs -o \"$1\" small \"$2\" && exec \"$3\"";
    let this = std::env::current_exe().unwrap();
    let mut inside = Command::new("unshare");
    inside.args(["-rm", "sh", "-c", script, "sh", DISK]).arg(directory.path()).arg(this).env(INSIDE, directory.path());
    assert!(inside.status().unwrap().success(), "see above");
}

/// The part that runs inside the namespace.
pub(crate) async fn fill(directory: &Path) {
    let place = place_in(directory);
    let ledger = Mutex::new(Ledger::default());
    place.write("reserve", vec![0; RESERVE_BYTES]);
    // Its log lies on the small disk as well, and cannot be written any more either.
    let mut host = Proved::start(&place, command(&place, prove::program(), &[]), "small");
    let broker = host.connect().await.unwrap();
    let told = Told(&host);
    let random = fastrand::Rng::with_seed(3);
    // While there is room all goes well.
    publish(&broker, (0..30).map(|at| format!("before {at}")).collect(), random.clone(), &ledger).await;
    drained(&broker).await;
    later(&broker, &ledger).await;
    // Messages that nobody takes fill the disk.
    let refused = fill_up(&broker).await;
    assert_eq!(refused, BrokerErrorKind::Full);
    publish(&broker, (0..30).map(|at| format!("full {at}")).collect(), random.clone(), &ledger).await;
    let refused = ledger.lock().unwrap().sent.values().filter(|sent| sent.standing == Standing::Refused).count();
    assert!(refused > 0, "a full disk refuses");
    let stored = stats(&broker, "filler").await.ready;
    // Messages that become due meanwhile are leased and acked, or the ack is refused with an error; none is lost.
    let began = Instant::now();
    while stats(&broker, "work").await.delayed > 0 {
        assert!(began.elapsed() < PATIENCE, "messages never become due");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Room again, by the hand of somebody else, and the host goes on without being told.
    std::fs::remove_file(place.path().join("reserve")).unwrap();
    publish(&broker, (0..30).map(|at| format!("after {at}")).collect(), random, &ledger).await;
    let confirmed = |sent: &str| {
        ledger
            .lock()
            .unwrap()
            .sent
            .iter()
            .all(|(id, known)| !id.starts_with(sent) || known.standing == Standing::Confirmed)
    };
    assert!(["before", "later", "after"].into_iter().all(confirmed), "what there is room for is stored");
    drained(&broker).await;
    assert_eq!(stats(&broker, "filler").await.ready, stored, "what was stored before is there");
    drop(told);
    signal(&host.child, "TERM");
    assert!(host.end_within(PATIENCE).is_some_and(|status| status.success()), "{}", host.log());
    // The log has gaps and tells nothing about the order.
    let life = Life { events: vec![], after: snapshot(&database(&place)) };
    assert_none(&faults(&ledger.lock().unwrap(), &[life], Rules { concurrency: CONCURRENCY, crashes_max: 3 }, true));
    eprintln!("{stored} messages filled the disk, {refused} were refused");
}

/// Publishes messages that become due when the disk is full.
async fn later(broker: &RemoteBroker, ledger: &Mutex<Ledger>) {
    for id in (0..10).map(|at| format!("later {at}")) {
        ledger.lock().unwrap().send(&id);
        let delay = Duration::from_secs(1);
        broker.publish(vec![Publication { delay, ..publication(&id) }]).await.unwrap();
        ledger.lock().unwrap().answer(&id, Standing::Confirmed);
    }
}

/// Publishes until that is refused, in smaller and smaller pieces, and says why the last was.
async fn fill_up(broker: &RemoteBroker) -> BrokerErrorKind {
    let mut refused = None;
    for bytes in [200_000, 20_000, 2_000, 10] {
        let began = Instant::now();
        loop {
            let body = vec![7; bytes];
            match broker.publish(vec![Publication::new("filler", Default::default(), body)]).await {
                Ok(_) => assert!(began.elapsed() < PATIENCE, "the disk is never full"),
                Err(error) => {
                    refused = Some(error.kind());
                    break;
                }
            }
        }
    }
    refused.unwrap()
}

async fn stats(broker: &RemoteBroker, queue: &str) -> QueueStats {
    let stats = broker.stats().await.unwrap();
    stats.into_iter().find(|stats| stats.queue == queue).unwrap()
}

/// The part of the log that the host had room for, printed if the test fails.
struct Told<'a>(&'a Proved);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.0.log();
            let lines: Vec<_> = log.lines().rev().filter(|line| !line.contains("\"DEBUG\"")).take(20).collect();
            eprintln!("the host told at last, from the end:\n{}", lines.join("\n"));
        }
    }
}

/// Waits until the receiver has nothing left.
async fn drained(broker: &RemoteBroker) {
    let began = Instant::now();
    loop {
        let QueueStats { ready, delayed, leased, .. } = stats(broker, "work").await;
        if ready + delayed + leased == 0 {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{ready} ready, {delayed} delayed, {leased} leased");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
