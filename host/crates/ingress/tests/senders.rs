//! Senders that are slow, many, or hostile; and the end of the host.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{Client, Fake, PATIENCE, apart, ask, options, post, serve};
use wasmpost_ingress::EndpointOptions;

async fn connected(address: SocketAddr) -> Client {
    apart(move || Client::connect(address)).await
}

/// Sends a text on a connection that is there, and gives the connection back.
async fn sent(mut client: Client, text: impl Into<String>) -> Client {
    let text = text.into();
    apart(move || {
        client.send(text);
        client
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_comes_too_slowly_is_refused_and_its_connection_closed() {
    let ingress = serve(&Fake::open(), EndpointOptions { time: Duration::from_millis(100), ..options() }, 4);
    let client =
        sent(connected(ingress.address()).await, "POST /hooks HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nslow");
    let mut client = client.await;
    let (answer, is_closed) = apart(move || (client.receive().unwrap(), client.is_closed())).await;
    assert_eq!((answer.status, is_closed), (408, true), "{answer:?}");
    assert!(answer.body.contains("took too long"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_ends_is_refused_at_its_bound() {
    let broker = Fake::open();
    let ingress = serve(&broker, EndpointOptions { body_bytes_max: 1 << 16, ..options() }, 4);
    let address = ingress.address();
    let answer = apart(move || {
        let mut client = Client::connect(address);
        client.send("POST /hooks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400));
        // Far more than the bound, for as long as the server lets it.
        for _ in 0..1 << 16 {
            if !client.send(&chunk) {
                break;
            }
        }
        client.receive()
    })
    .await;
    // A connection that is closed while a sender goes on sending may lose the answer.
    assert!(answer.is_none_or(|answer| answer.status == 413));
    assert!(broker.stored.lock().is_empty());
    assert_eq!(ask(address, post(&[], "fits")).await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_of_a_large_body_reads_why_it_was_refused() {
    let ingress = serve(&Fake::open(), EndpointOptions { body_bytes_max: 1 << 16, ..options() }, 4);
    let large = "x".repeat(8 << 20);
    for text in [post(&[], &large), post(&[("Content-Encoding", "gzip")], &large)] {
        let address = ingress.address();
        let (is_sent, answer) = apart(move || {
            let mut client = Client::connect(address);
            (client.send(text), client.receive())
        })
        .await;
        assert!(is_sent && answer.as_ref().is_some_and(|answer| [413, 415].contains(&answer.status)), "{answer:?}");
    }
    assert_eq!(ingress.watched().endpoints()[0].answers(), [(413, 1), (415, 1)].into());
    // A sender that asks first is told before it sends anything.
    let asking =
        format!("POST /hooks HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n", 8 << 20);
    assert_eq!(ask(ingress.address(), asking).await.status, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_ends_too_early_is_not_stored() {
    let broker = Fake::open();
    let ingress = serve(&broker, options(), 4);
    let address = ingress.address();
    for text in [
        "POST /hooks HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nshort",
        "POST /hooks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
        "POST /hooks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx",
    ] {
        let answer = apart(move || {
            let mut client = Client::connect(address);
            client.send(text);
            client.end_sending();
            client.receive()
        })
        .await;
        assert!(answer.is_none_or(|answer| answer.status == 400), "{text:?}");
    }
    assert!(broker.stored.lock().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_are_bounded_in_number_and_size() {
    let ingress = serve(&Fake::open(), options(), 4);
    let many: Vec<(String, String)> = (0..200).map(|number| (format!("X-{number}"), "x".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(ask(ingress.address(), post(&many, "{}")).await.status, 431);
    let long = "x".repeat(40 << 10);
    assert_eq!(ask(ingress.address(), post(&[("X-Long", &long)], "{}")).await.status, 431);
    let fits = "x".repeat(20 << 10);
    assert_eq!(ask(ingress.address(), post(&[("X-Long", &fits)], "{}")).await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_lengths_and_other_ways_to_hide_a_request_are_refused() {
    let broker = Fake::open();
    let ingress = serve(&broker, options(), 4);
    let hidden = "POST /hooks HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    for headers in ["Content-Length: 3\r\nContent-Length: 4\r\n", "Content-Length: +3\r\n", "Content-Length : 3\r\n"] {
        let text = format!("POST /hooks HTTP/1.1\r\nHost: a\r\n{headers}\r\nabc{hidden}");
        assert_eq!(ask(ingress.address(), text).await.status, 400, "{headers:?}");
    }
    // Of the two ways to tell a length, the one that a proxy has to follow is followed.
    let both = format!(
        "POST /hooks HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
         1\r\na\r\n0\r\n\r\n{hidden}"
    );
    assert!([202, 400].contains(&ask(ingress.address(), both).await.status));
    assert!(broker.stored.lock().iter().flatten().all(|message| message.body == "a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_make_room_for_those_that_send() {
    let ingress = serve(&Fake::open(), options(), 4);
    let address = ingress.address();
    let mut silent = Vec::new();
    for text in ["", "POST", "POST /hooks HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nslow", ""] {
        silent.push(sent(connected(address).await, text).await);
    }
    // Twice as many as there is room for, one after the other, and each is answered.
    for _ in 0..8 {
        assert_eq!(ask(address, post(&[], "{}")).await.status, 202);
    }
    assert!(ingress.watched().connections() <= 5, "{}", ingress.watched().connections());
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_too_many_is_told_to_come_again_where_all_others_are_being_answered() {
    let broker = Fake::closed();
    let ingress = serve(&broker, options(), 1);
    let first = tokio::spawn(ask(ingress.address(), post(&[], "{}")));
    broker.began().await;
    let refused = ask(ingress.address(), String::new()).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    let problem: serde_json::Value = serde_json::from_str(&refused.body).unwrap();
    assert_eq!(problem["status"], 503);
    broker.gate.add_permits(1);
    assert_eq!(first.await.unwrap().status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_a_row_on_one_connection_are_answered_in_their_order() {
    let broker = Fake::open();
    let ingress = serve(&broker, options(), 4);
    let row: String = (0..20).map(|number| post(&[("Idempotency-Key", &number.to_string())], "{}")).collect();
    let mut client = sent(connected(ingress.address()).await, row).await;
    let bodies = apart(move || (0..20).map(|_| client.receive().unwrap().body).collect::<Vec<_>>()).await;
    let expected = (0..20).map(|number| format!("{{\"id\":\"{number}\",\"duplicate\":false}}"));
    assert_eq!(bodies, expected.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_goes_away_leaves_its_batch_stored_as_a_whole() {
    let broker = Fake::closed();
    let ingress = serve(&broker, options(), 4);
    let event = |id: u32| format!(r#"{{"specversion":"1.0","type":"t","source":"s","id":"{id}"}}"#);
    let batch =
        post(&[("Content-Type", "application/cloudevents-batch+json")], &format!("[{},{}]", event(1), event(2)));
    let client = sent(connected(ingress.address()).await, batch).await;
    broker.began().await;
    drop(client);
    let ended = async {
        while ingress.watched().connections() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    broker.gate.add_permits(1);
    let stored = async {
        while broker.stored.lock().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, stored).await.unwrap();
    assert_eq!(broker.stored.lock()[0].len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_ends_answers_what_it_stores_and_refuses_the_rest() {
    let broker = Fake::closed();
    let ingress = serve(&broker, options(), 8);
    let address = ingress.address();
    let mut storing = sent(connected(address).await, post(&[], "stored")).await;
    broker.began().await;
    let mut sending =
        sent(connected(address).await, "POST /hooks HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf").await;
    let mut silent = connected(address).await;
    // All of them have been accepted, and the head of the second has been read.
    let accepted = async {
        while ingress.watched().connections() < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, accepted).await.unwrap();
    let stopping = tokio::spawn(ingress.stop(PATIENCE));
    let refused = apart(move || (sending.receive(), sending.is_closed())).await;
    let answer = refused.0.unwrap();
    assert_eq!((answer.status, answer.header("retry-after"), refused.1), (503, Some("5"), true), "{answer:?}");
    assert!(apart(move || silent.is_closed()).await);
    assert!(broker.stored.lock().is_empty() && !stopping.is_finished(), "a message that is being stored is waited for");
    broker.gate.add_permits(1);
    let stored = apart(move || (storing.receive(), storing.is_closed())).await;
    assert_eq!((stored.0.unwrap().status, stored.1), (202, true));
    stopping.await.unwrap();
    assert!(apart(move || std::net::TcpStream::connect(address)).await.is_err(), "nothing listens any more");
    assert_eq!(broker.stored.lock()[0][0].body, "stored");
}
