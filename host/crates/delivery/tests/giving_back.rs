//! Deliveries that are given back: at once when the server stops, and after growing pauses when they come back for
//! ever.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

mod bench;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bench::{Bench, LONG, counting};
use tokio::sync::mpsc;
use tokio::time::Instant;
use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};
use wasmpost_delivery::{Broker, Clock, QueueServerOptions, QueueSpec, Share, TenantQuota};
use wasmpost_msg::{Disposition, Message, Reason, ReceiveError, ReceiverFunc, Server, ServerClosed, Topic};

#[tokio::test(start_paused = true)]
async fn what_waits_for_the_rate_of_its_tenant_is_given_back_at_once_when_the_server_stops() {
    let mut bench = Bench::new();
    bench.options.share = Some(Arc::new(Share::new(16, None).with_publish_rate(10)));
    bench.publish(&["x"; 50]).await;
    let (started, mut starts) = mpsc::unbounded_channel();
    let serving = bench
        .serve(ReceiverFunc(move |message: Message| {
            started.send(()).unwrap();
            async move {
                for _ in 0..100 {
                    message.context.topic("pile").new_writer().close().await.unwrap();
                }
                Ok(())
            }
        }))
        .await;
    starts.recv().await.unwrap();
    // By now all slots are taken by deliveries that wait for the debt to be paid.
    tokio::time::sleep(Duration::from_millis(10)).await;
    let began = Instant::now();
    let before = 1 + starts.len() as u64;
    serving.stop().await;
    assert!(began.elapsed() < Duration::from_millis(10), "{:?}", began.elapsed());
    let orders = bench.stats("orders").await;
    let pile = bench.stats("pile").await;
    assert_eq!((orders.acked, orders.leased, orders.ready), (before, 0, 50 - before), "nothing began after the signal");
    assert_eq!(pile.ready, before * 100);
    let queue = bench.broker.queue(QueueSpec::new("orders")).await.unwrap();
    assert!(queue.pull(50).await.unwrap().iter().all(|delivery| delivery.failures == 0));
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_place_is_given_back_at_once_when_the_server_stops() {
    let mut bench = Bench::new();
    bench.options.share = Some(Arc::new(Share::new(1, None)));
    bench.publish(&["x"; 5]).await;
    let now = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let serving = bench.serve(counting(&now, &most)).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let stopping = tokio::spawn({
        let server = Arc::clone(&serving.server);
        async move { server.shutdown(LONG).await }
    });
    tokio::time::sleep(Duration::from_millis(1)).await;
    let stats = bench.stats("orders").await;
    assert_eq!((stats.leased, stats.ready), (1, 4), "the one at work goes on to its end, the others are back");
    assert_eq!(stopping.await.unwrap(), Ok(ServerClosed));
    assert_eq!((bench.stats("orders").await.acked, bench.stats("orders").await.ready), (1, 4));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_whose_lease_was_lost_is_told_so_and_not_of_a_shutdown() {
    let clock = Clock::system();
    let broker = MemoryBroker::new(MemoryOptions { clock: clock.clone(), ..MemoryOptions::default() });
    let bench = Bench { broker, options: QueueServerOptions::default() };
    bench.publish(&["a"]).await;
    let (told, mut reasons) = mpsc::unbounded_channel();
    let serving = bench
        .serve(ReceiverFunc(move |message: Message| {
            let told = told.clone();
            async move {
                if message.context.attempt() > 1 {
                    return Ok(());
                }
                message.context.cancelled().cancelled().await;
                told.send(message.context.interruption().reason()).unwrap();
                Err(message.context.interruption())
            }
        }))
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    clock.advance(Duration::from_secs(60));
    assert_eq!(reasons.recv().await, Some(Reason::LeaseExpired));
    bench.drained().await;
    serving.stop().await;
    assert_eq!(bench.stats("orders").await.acked, 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_given_back_for_ever_waits_longer_each_time() {
    let bench = Bench::new();
    bench.publish(&["a"]).await;
    let (called, mut calls) = mpsc::unbounded_channel();
    let serving = bench
        .serve(ReceiverFunc(move |message: Message| {
            called.send(Instant::now()).unwrap();
            let is_last = message.context.attempt() > 12;
            async move {
                let busy = ReceiveError::new(Disposition::GiveBack, Reason::HostBusy, "no room");
                if is_last { Ok(()) } else { Err(busy) }
            }
        }))
        .await;
    let mut times = Vec::new();
    for _ in 0..12 {
        times.push(calls.recv().await.unwrap());
    }
    let pauses: Vec<_> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    for (pause, expected) in pauses.iter().zip([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]) {
        assert!((expected..=expected + expected / 5).contains(pause), "{pauses:?}");
    }
    assert_eq!(serving.server.given_back(), 1);
    bench.drained().await;
    assert_eq!((serving.server.given_back(), bench.stats("orders").await.acked), (0, 1));
    serving.stop().await;
}

#[tokio::test(start_paused = true)]
async fn publishing_more_than_an_empty_quota_lets_in_fails_and_counts() {
    let bench = Bench::new();
    bench.broker.set_quotas([("acme".to_owned(), TenantQuota::of_messages(60))].into()).await.unwrap();
    bench.publish(&["a"]).await;
    let serving = bench
        .serve(ReceiverFunc(async |message: Message| {
            for _ in 0..100 {
                message.context.topic("@acme/pile").new_writer().close().await.unwrap();
            }
            Ok(())
        }))
        .await;
    bench.drained().await;
    serving.stop().await;
    let letters = bench.dead().await;
    assert_eq!((letters[0].evidence.reason, letters[0].deliveries), (Reason::PublishLimit, 8));
    assert_eq!(bench.stats("@acme/pile").await.ready, 0);
}
