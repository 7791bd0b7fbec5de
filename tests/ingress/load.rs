//! Two thousand connections, of which half are slow.

use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use wasmpost_tests::{PATIENCE, Place, wait_until_acked};

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
        if number % 4 != 0 && stream.write_all(b"x").await.is_err() {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_senders_are_answered_beside_a_thousand_that_are_slow() {
    let wanted = (SLOW + FAST) as u64 + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }).unwrap();
    }
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
