//! Publishing, delivering and dying, where the server takes part in it.

use std::time::{Duration, Instant};

use wasmpost_delivery::{Broker, BrokerErrorKind, DeadLetterFilter, Evidence, QueueSpec};
use wasmpost_msg::{Attributes, Publication, Reason};
use wasmpost_tests::servers::NatsServer;

use crate::{PATIENCE, in_time, next, open, publication, publish};

pub(crate) async fn a_waiting_pull_goes_on_when_the_server_comes_back() {
    let mut server = NatsServer::start().await.unwrap();
    let broker = open(&server, "").await.unwrap();
    let queue = broker.queue(QueueSpec::new("orders")).await.unwrap();
    let began = Instant::now();
    let pulling = tokio::spawn(async move {
        loop {
            // After an error a queue server tries again, and so does this.
            match queue.pull(1).await {
                Ok(mut deliveries) => return deliveries.pop().unwrap(),
                Err(error) => assert!(error.passes() && began.elapsed() < PATIENCE, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    server.restart().await.unwrap();
    let other = open(&server, "").await.unwrap();
    publish(&other, "orders", "after").await;
    let delivery = in_time(pulling).await.unwrap();
    assert_eq!(delivery.body, "after");
    delivery.lease.ack(Vec::new()).await.unwrap();
}

pub(crate) async fn publishing_goes_on_when_the_server_comes_back() {
    let mut server = NatsServer::start().await.unwrap();
    let broker = open(&server, "").await.unwrap();
    publish(&broker, "orders", "before").await;
    server.restart().await.unwrap();
    let until = Instant::now() + PATIENCE;
    while let Err(error) = broker.publish(vec![publication("orders", "after")]).await {
        assert!(error.passes() && Instant::now() < until, "{error}");
    }
    let queue = broker.queue(QueueSpec::new("orders")).await.unwrap();
    for body in ["before", "after"] {
        let delivery = next(&queue).await;
        assert_eq!(delivery.body, body);
        delivery.lease.ack(Vec::new()).await.unwrap();
    }
    in_time(queue.drained()).await.unwrap();
}

pub(crate) async fn an_outbox_that_is_published_twice_is_stored_once() {
    let server = NatsServer::start().await.unwrap();
    let broker = open(&server, "").await.unwrap();
    let orders = broker.queue(QueueSpec::new("orders")).await.unwrap();
    publish(&broker, "orders", "order").await;
    // The first ack got as far as publishing.
    publish(&broker, "invoices", "invoice").await;
    next(&orders).await.lease.ack(vec![publication("invoices", "invoice")]).await.unwrap();
    let stats = broker.stats().await.unwrap();
    let waiting = stats.iter().find(|stats| stats.queue == "invoices").map(|stats| stats.ready);
    assert_eq!(waiting, Some(1));
}

pub(crate) async fn a_message_whose_leases_lapse_three_times_in_a_row_is_dead() {
    let server = NatsServer::start().await.unwrap();
    let broker = open(&server, "").await.unwrap();
    let lease = Duration::from_secs(1);
    let queue = broker.queue(QueueSpec { lease, ..QueueSpec::new("orders") }).await.unwrap();
    publish(&broker, "orders", "a").await;
    for lapsed in 0..3 {
        let delivery = next(&queue).await;
        assert_eq!((delivery.deliveries, delivery.failures), (lapsed + 1, lapsed));
        // As a process does that ends.
        std::mem::forget(delivery.lease);
    }
    let pulling = queue.clone();
    let pulling = tokio::spawn(async move { pulling.pull(1).await });
    let filter = DeadLetterFilter::default();
    let until = Instant::now() + PATIENCE;
    let letters = loop {
        let letters = broker.dead_letters().unwrap().show(&filter, 0, 10).await.unwrap();
        if !letters.is_empty() || Instant::now() > until {
            break letters;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    pulling.abort();
    assert_eq!((letters[0].id.as_str(), letters[0].evidence.reason), ("a", Reason::Crash));
    assert_eq!(letters[0].attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2, 3]);
    in_time(queue.drained()).await.unwrap();
}

pub(crate) async fn a_dead_letter_keeps_its_evidence_when_the_server_restarts() {
    let mut server = NatsServer::start().await.unwrap();
    let broker = open(&server, "").await.unwrap();
    let queue = broker.queue(QueueSpec::new("@acme/orders.new")).await.unwrap();
    let body: Vec<u8> = (0..=255).cycle().take(500_000).collect();
    let sent = Publication::new("@acme/orders.new", [("Tag", "å")].into_iter().collect::<Attributes>(), body.clone());
    broker.publish(vec![sent.clone()]).await.unwrap();
    let mut why = Evidence::by_host(Reason::Trap, "é".repeat(2000));
    why.backtrace = Some("0: receive\n".repeat(1400));
    next(&queue).await.lease.reject(why.clone()).await.unwrap();
    server.restart().await.unwrap();
    let broker = open(&server, "").await.unwrap();
    let filter = DeadLetterFilter { queue: Some("@acme/orders.new".into()), ..DeadLetterFilter::default() };
    let letters = broker.dead_letters().unwrap().show(&filter, 0, 10).await.unwrap();
    assert_eq!((&letters[0].evidence, &letters[0].attributes), (&why, &sent.attributes));
    assert!(letters[0].body == body, "body is byte-identical");
    assert_eq!(broker.dead_letters().unwrap().redrive(&filter).await.unwrap(), 1);
    let queue = broker.queue(QueueSpec::new("@acme/orders.new")).await.unwrap();
    assert!(next(&queue).await.body == body);
}

pub(crate) async fn messages_of_another_program_are_delivered_with_their_headers() {
    let server = NatsServer::start().await.unwrap();
    let broker = open(&server, "/jobs").await.unwrap();
    let queue = broker.queue(QueueSpec::new("orders")).await.unwrap();
    // By the protocol itself, as a program that knows nothing of wasmpost.
    let headers = "NATS/1.0\r\nColour: blue\r\nColour: red\r\nNats-Expected-Stream: jobs\r\n\r\n";
    let line = format!("HPUB jobs.orders.free {} {}\r\n{headers}hello\r\n", headers.len(), headers.len() + 5);
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    let sent = format!("CONNECT {{\"verbose\":false,\"headers\":true}}\r\n{line}PING\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut stream, sent.as_bytes()).await.unwrap();
    let delivery = next(&queue).await;
    assert_eq!((delivery.topic.as_str(), delivery.body.as_ref()), ("orders", &b"hello"[..]));
    assert_eq!(delivery.id, "orders:1");
    assert_eq!(delivery.attributes.values("Colour"), ["blue", "red"]);
    assert_eq!(delivery.attributes.len(), 1, "headers of the server are none of the message");
}

pub(crate) async fn a_stream_that_is_full_says_so() {
    let server = NatsServer::start().await.unwrap();
    let broker = open(&server, "/jobs?max_bytes=100000").await.unwrap();
    let large = || vec![Publication::new("orders", Attributes::new(), vec![7; 30_000])];
    let queue = broker.queue(QueueSpec::new("orders")).await.unwrap();
    let error = loop {
        if let Err(error) = broker.publish(large()).await {
            break error;
        }
    };
    assert_eq!(error.kind(), BrokerErrorKind::Full, "{error}");
    // Acknowledged messages make room, and so do dead letters.
    next(&queue).await.lease.reject(Evidence::by_host(Reason::Rejected, "no")).await.unwrap();
    broker.publish(large()).await.unwrap();
}

pub(crate) async fn messages_that_the_server_will_never_take_are_refused() {
    let server = NatsServer::start().await.unwrap();
    let broker = open(&server, "").await.unwrap();
    let queue = broker.queue(QueueSpec::new("orders")).await.unwrap();
    let large = Publication::new("orders", Attributes::new(), vec![0; 1 << 20]);
    // Each byte takes six in the header.
    let odd: Attributes = [("Odd", "\u{1}".repeat(12_000))].into_iter().collect();
    for publication in [large, Publication::new("orders", odd, "x")] {
        let refused = queue.room(std::slice::from_ref(&publication)).unwrap_err();
        assert_eq!(refused.kind(), BrokerErrorKind::Invalid, "{refused}");
        let refused = broker.publish(vec![publication]).await.unwrap_err();
        assert_eq!(refused.kind(), BrokerErrorKind::Invalid, "{refused}");
    }
}

pub(crate) async fn messages_that_nobody_pulls_are_given_back_uncounted() {
    let server = NatsServer::start().await.unwrap();
    let broker = open(&server, "").await.unwrap();
    let queue = broker.queue(QueueSpec::new("orders")).await.unwrap();
    // A pull that waits asks every partition for one, and takes one.
    let pulling = tokio::spawn({
        let queue = queue.clone();
        async move { queue.pull(1).await.unwrap().pop().unwrap() }
    });
    let until = Instant::now() + PATIENCE;
    while broker.stats().await.unwrap()[0].consumers != Some(1) {
        assert!(Instant::now() < until, "pull waits at the server");
    }
    let keyed =
        |number: u32| Publication { key: Some(number.to_string()), ..publication("orders", &number.to_string()) };
    broker.publish((0..40).map(keyed).collect()).await.unwrap();
    in_time(pulling).await.unwrap().lease.ack(Vec::new()).await.unwrap();
    let began = Instant::now();
    let other = open(&server, "").await.unwrap();
    let theirs = other.queue(QueueSpec::new("orders")).await.unwrap();
    for _ in 1..40 {
        let delivery = next(&theirs).await;
        assert_eq!(delivery.failures, 0, "{delivery:?}");
        delivery.lease.ack(Vec::new()).await.unwrap();
    }
    assert!(began.elapsed() < queue.lease() / 2, "no lease had to lapse");
}

pub(crate) async fn a_consumer_that_was_deleted_is_made_again() {
    let server = NatsServer::start().await.unwrap();
    let broker = open(&server, "").await.unwrap();
    let queue = broker.queue(QueueSpec::new("orders")).await.unwrap();
    let client = async_nats::connect(server.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    context.delete_consumer_from_stream("orders-free", "wasmpost").await.unwrap();
    publish(&broker, "orders", "a").await;
    let until = Instant::now() + PATIENCE;
    let delivery = loop {
        match queue.pull(1).await {
            Ok(mut deliveries) => break deliveries.pop().unwrap(),
            Err(error) => assert!(error.passes() && Instant::now() < until, "{error}"),
        }
    };
    assert_eq!(delivery.body, "a");
}
