//! Two thousand connections, of which half are slow.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use wasmpost_tests::{PATIENCE, Place, stats, wait_until_acked};

use crate::client::request;
use crate::{configure, start, stop};

const SLOW: usize = 1000;
const FAST: usize = 1000;
const REQUESTS_OF_EACH: usize = 4;
/// Open files beside connections.
const OTHER_FILES: u64 = 100;
/// The pause of a slow sender between two bytes.
const PAUSE: Duration = Duration::from_millis(200);
/// How long all of it may take.
const MOST: Duration = Duration::from_secs(240);

/// A sender that never comes to the end of its request, each in one of several ways.
async fn send_slowly(address: SocketAddr, number: usize, mut over: watch::Receiver<bool>) {
    let begin = match number % 4 {
        0 => "",
        1 => "POST /hooks HTTP/1.1\r\nHost: ",
        2 => "POST /hooks HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n",
        _ => "POST /hooks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n",
    };
    let Ok(mut stream) = TcpStream::connect(address).await else { return };
    if stream.write_all(begin.as_bytes()).await.is_err() {
        return;
    }
    loop {
        tokio::select! {
            _ = over.wait_for(|over| *over) => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
        // The first of the four says nothing at all.
        if !number.is_multiple_of(4) && stream.write_all(b"x").await.is_err() {
            return;
        }
    }
}

/// A sender that keeps its connection for several requests. How many of them were answered 202.
async fn send_fast(address: SocketAddr, number: usize) -> usize {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut taken = 0;
    for of_it in 0..REQUESTS_OF_EACH {
        let id = format!("{number}-{of_it}");
        stream.write_all(request("POST", "/hooks", &[("Idempotency-Key", &id)], &id).as_bytes()).await.unwrap();
        let mut answer = vec![0; 1024];
        let read = stream.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]);
        assert!(answer.starts_with("HTTP/1.1 202 ") && answer.contains(&id), "{answer}");
        taken += 1;
    }
    taken
}

/// A sender that goes on until its connection ends. It adds each answer 202 to a sum.
async fn send_until_the_end(address: SocketAddr, number: usize, taken: Arc<AtomicUsize>) {
    let Ok(mut stream) = TcpStream::connect(address).await else { return };
    for of_it in 0.. {
        let id = format!("{number}-{of_it}");
        let request = request("POST", "/hooks", &[("Idempotency-Key", &id)], &id);
        if stream.write_all(request.as_bytes()).await.is_err() {
            return;
        }
        let mut answer = vec![0; 1024];
        let Ok(read @ 1..) = stream.read(&mut answer).await else { return };
        if answer[..read].starts_with(b"HTTP/1.1 202 ") {
            taken.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Lets this process have as many connections as the tests need.
fn allow_connections() {
    let wanted = 2 * (SLOW + FAST) as u64 + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_answered_is_lost_when_the_host_is_killed_under_that_load() {
    allow_connections();
    let place = Place::default();
    configure(&place, "signature = \"none\"\nconnections = 2500", "");
    let (mut host, address) = start(&place);
    let (over, is_over) = watch::channel(false);
    let slow: Vec<_> = (0..SLOW).map(|number| tokio::spawn(send_slowly(address, number, is_over.clone()))).collect();
    let taken = Arc::new(AtomicUsize::new(0));
    let fast: Vec<_> =
        (0..FAST).map(|number| tokio::spawn(send_until_the_end(address, number, Arc::clone(&taken)))).collect();
    let enough = async {
        while taken.load(Ordering::SeqCst) < FAST {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(MOST, enough).await.expect("senders are answered");
    host.child.kill().unwrap();
    over.send_replace(true);
    for sender in fast.into_iter().chain(slow) {
        timeout(MOST, sender).await.expect("senders see that the host is gone").unwrap();
    }
    let taken = taken.load(Ordering::SeqCst);
    let ended = tokio::task::spawn_blocking(move || {
        drop(host);
        place.run(&["run", "--until-empty"]).exits(0);
        let acked = stats(&place, "hooks")["acked"].as_u64().unwrap();
        assert!(acked >= taken as u64, "{acked} of {taken} that were answered are there");
    });
    ended.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_senders_are_answered_beside_a_thousand_that_are_slow() {
    allow_connections();
    let place = Place::default();
    configure(&place, "signature = \"none\"\nconnections = 2500", "");
    let (host, address) = start(&place);
    let (over, is_over) = watch::channel(false);
    let slow: Vec<_> = (0..SLOW).map(|number| tokio::spawn(send_slowly(address, number, is_over.clone()))).collect();
    let fast: Vec<_> = (0..FAST).map(|number| tokio::spawn(send_fast(address, number))).collect();
    let mut taken = 0;
    for sender in fast {
        taken += timeout(MOST, sender).await.expect("fast senders are answered in time").unwrap();
    }
    assert_eq!(taken, FAST * REQUESTS_OF_EACH);
    over.send_replace(true);
    for sender in slow {
        timeout(PATIENCE, sender).await.unwrap().unwrap();
    }
    let ended = tokio::task::spawn_blocking(move || {
        wait_until_acked(&place, "hooks", taken as u64);
        stop(host);
    });
    ended.await.unwrap();
}
