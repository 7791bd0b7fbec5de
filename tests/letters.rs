//! Work on many dead letters that is cut off in the middle: nothing is lost, nothing is there twice, and the rest can be
//! done later.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A fault fails the test.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use rusqlite::{Connection, OpenFlags};
use wasmpost_broker_sqlite::{SqliteBroker, SqliteOptions};
use wasmpost_delivery::{Broker, Evidence, QueueSpec};
use wasmpost_msg::{Publication, Reason};
use wasmpost_tests::{Host, PATIENCE, Place, guest, stats};

/// So many that work on them takes hundreds of steps.
const LETTERS: u64 = 20_000;
/// How many are made at once.
const BATCH: u64 = 500;

/// The party that is cut off in the middle of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    CommandKilled,
    HostKilled,
    HostStopped,
}

fn file(place: &Place) -> PathBuf {
    place.path().join("wasmpost.db")
}

/// A queue file with dead letters only.
fn bury(place: &Place) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let broker = SqliteBroker::open(&file(place), SqliteOptions::default()).await.unwrap();
        let orders = broker.queue(QueueSpec::new("orders")).await.unwrap();
        for batch in 0..LETTERS / BATCH {
            let ids = batch * BATCH..(batch + 1) * BATCH;
            let publication = |id: u64| Publication {
                id: Some(id.to_string()),
                ..Publication::new("orders", Default::default(), format!("letter {id}"))
            };
            broker.publish(ids.map(publication).collect()).await.unwrap();
            let mut left = BATCH as usize;
            while left > 0 {
                let pulled = orders.pull(left).await.unwrap();
                left -= pulled.len();
                let rejections =
                    pulled.into_iter().map(|delivery| delivery.lease.reject(Evidence::by_host(Reason::Rejected, "no")));
                futures::future::try_join_all(rejections).await.unwrap();
            }
        }
        broker.close().await.unwrap();
    });
}

/// A number from the queue file, which a host may have open.
fn number(place: &Place, sql: &str) -> u64 {
    let connection = Connection::open_with_flags(file(place), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    connection.busy_timeout(PATIENCE).unwrap();
    connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap().try_into().unwrap()
}

fn dead(place: &Place) -> u64 {
    number(place, "SELECT count(*) FROM dead")
}

/// Each message that is to be there is there once: in its queue, or as a dead letter.
fn count(place: &Place, expected: u64) {
    let places = "SELECT message FROM state UNION ALL SELECT message FROM dead";
    assert_eq!(number(place, &format!("SELECT count(*) FROM ({places})")), expected);
    assert_eq!(number(place, &format!("SELECT count(DISTINCT message) FROM ({places})")), expected);
    let whole = "SELECT count(DISTINCT id) FROM messages WHERE body = CAST('letter ' || id AS BLOB)";
    assert_eq!((number(place, whole), number(place, "SELECT count(*) FROM messages")), (expected, expected));
}

fn start(place: &Place) -> Host {
    let noop = guest("noop");
    place.start(&["run", "--queue", "others", "--component", noop.to_str().unwrap()])
}

/// Waits until no step is done any more.
fn wait_until_at_rest(place: &Place) -> u64 {
    let began = Instant::now();
    loop {
        let before = dead(place);
        // The host answers only after it has done all earlier requests.
        stats(place, "orders");
        if dead(place) == before {
            return before;
        }
        assert!(began.elapsed() < PATIENCE, "{before} letters are left, and others go on");
    }
}

fn cut_off(verb: &str, what: &str, cut: Cut) {
    let place = Place::default();
    bury(&place);
    let mut host = start(&place);
    let mut command = place.command(&["dead-letters", verb, "--all"]);
    let mut command = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while dead(&place) == LETTERS {
        assert!(began.elapsed() < PATIENCE, "no letter was {what}");
    }
    match cut {
        Cut::CommandKilled => command.kill().unwrap(),
        Cut::HostKilled => host.child.kill().unwrap(),
        Cut::HostStopped => host.signal("TERM"),
    }
    let ended = command.wait_with_output().unwrap();
    assert!(!ended.status.success() && ended.stdout.is_empty(), "{cut:?}: {ended:?}");
    if cut != Cut::CommandKilled {
        let told = String::from_utf8(ended.stderr).unwrap();
        assert!(told.starts_with("error: ") && told.contains(what), "{cut:?}: {told}");
        let code = (cut == Cut::HostStopped).then_some(0);
        assert_eq!(host.end().0, code);
        host = start(&place);
    }
    let left = wait_until_at_rest(&place);
    assert!(left > 0 && left < LETTERS, "{cut:?}: {left} letters are left");
    let there = |left: u64| if verb == "purge" { left } else { LETTERS };
    count(&place, there(left));
    let again = place.run(&["dead-letters", verb, "--all"]).exits(0).stdout();
    assert_eq!(again, format!("{left} {what}\n"), "{cut:?}");
    count(&place, there(0));
    assert_eq!(dead(&place), 0);
    assert_eq!(stats(&place, "orders")["ready"], there(0));
    host.signal("TERM");
    assert_eq!(host.end().0, Some(0));
}

#[test]
fn a_redrive_whose_command_is_killed_stops_and_can_be_done_again() {
    cut_off("redrive", "redriven", Cut::CommandKilled);
}

#[test]
fn a_redrive_whose_host_is_killed_can_be_done_again() {
    cut_off("redrive", "redriven", Cut::HostKilled);
}

#[test]
fn a_redrive_whose_host_stops_can_be_done_again() {
    cut_off("redrive", "redriven", Cut::HostStopped);
}

#[test]
fn a_purge_that_is_cut_off_can_be_done_again() {
    for cut in [Cut::CommandKilled, Cut::HostKilled, Cut::HostStopped] {
        cut_off("purge", "purged", cut);
    }
}
