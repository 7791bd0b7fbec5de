//! Work on many dead letters is done in steps, with other work in between.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // Broken promises fail a test by panicking.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{File, in_time, next, publication, publish, queue, stats};
use wasmpost_broker_sqlite::SqliteBroker;
use wasmpost_delivery::{Broker, DeadLetterFilter, Evidence};
use wasmpost_msg::{Publication, Reason};

/// A broker with a number of dead letters, whose ids are their numbers.
async fn with_dead(file: &File, count: usize) -> Arc<SqliteBroker> {
    let broker = file.open().await;
    let orders = queue(&broker, "orders").await;
    broker.publish((0..count).map(|number| publication("orders", &number.to_string())).collect()).await.unwrap();
    let mut left = count;
    while left > 0 {
        let pulled = in_time(orders.pull(500)).await.unwrap();
        left -= pulled.len();
        let rejections = pulled.into_iter().map(|delivery| {
            let reason = if delivery.id.ends_with('7') { Reason::Trap } else { Reason::Rejected };
            delivery.lease.reject(Evidence::by_host(reason, "no"))
        });
        futures::future::try_join_all(rejections).await.unwrap();
    }
    broker
}

#[tokio::test(flavor = "multi_thread")]
async fn others_publish_between_the_steps() {
    let file = File::new();
    let broker = with_dead(&file, 5000).await;
    let is_done = Arc::new(AtomicBool::new(false));
    let redriving = tokio::spawn({
        let broker = Arc::clone(&broker);
        let is_done = Arc::clone(&is_done);
        async move {
            let count = broker.dead_letters().unwrap().redrive(&DeadLetterFilter::default()).await.unwrap();
            is_done.store(true, Ordering::SeqCst);
            count
        }
    });
    let mut between = 0;
    while !is_done.load(Ordering::SeqCst) {
        publish(&broker, "neighbour", &between.to_string()).await;
        between += 1;
    }
    assert_eq!(redriving.await.unwrap(), 5000);
    assert!(between > 20, "{between} messages were published while 5000 letters were put back");
    let stats = stats(&broker, "orders").await;
    assert_eq!((stats.ready, stats.dead), (5000, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_hold_over_all_steps() {
    let file = File::new();
    let broker = with_dead(&file, 1500).await;
    let letters = broker.dead_letters().unwrap();
    let trapped = DeadLetterFilter { reason: Some(Reason::Trap), ..DeadLetterFilter::default() };
    assert_eq!(letters.purge(&trapped).await.unwrap(), 150);
    let elsewhere = DeadLetterFilter { queue: Some("elsewhere".into()), ..DeadLetterFilter::default() };
    assert_eq!(letters.redrive(&elsewhere).await.unwrap(), 0);
    let here = DeadLetterFilter { queue: Some("orders".into()), ..DeadLetterFilter::default() };
    assert_eq!(letters.redrive(&here).await.unwrap(), 1350);
    assert_eq!(stats(&broker, "orders").await.dead, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_thousand_ids_are_no_trouble() {
    let file = File::new();
    let broker = with_dead(&file, 300).await;
    let letters = broker.dead_letters().unwrap();
    // Half of the existing ids are given twice, the others at the end.
    let ids = (200..250).chain(300..40_000).chain(200..300).map(|number: i32| number.to_string()).collect();
    let filter = DeadLetterFilter { ids, ..DeadLetterFilter::default() };
    assert_eq!(letters.show(&filter, 0, 1000).await.unwrap().len(), 100);
    assert_eq!(letters.redrive(&filter).await.unwrap(), 100);
    assert_eq!(stats(&broker, "orders").await.dead, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_dies_again_meanwhile_is_left() {
    let file = File::new();
    let broker = with_dead(&file, 2000).await;
    let orders = queue(&broker, "orders").await;
    let dying = tokio::spawn(async move {
        for _ in 0..20 {
            next(&orders).await.lease.reject(Evidence::by_host(Reason::Trap, "again")).await.unwrap();
        }
    });
    let count = broker.dead_letters().unwrap().redrive(&DeadLetterFilter::default()).await.unwrap();
    dying.await.unwrap();
    assert_eq!(count, 2000);
    let stats = stats(&broker, "orders").await;
    assert_eq!((stats.ready, stats.dead), (1980, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_it_any_more_and_it_stops() {
    let file = File::new();
    let broker = with_dead(&file, 3000).await;
    let purging = tokio::spawn({
        let broker = Arc::clone(&broker);
        async move { broker.dead_letters().unwrap().purge(&DeadLetterFilter::default()).await }
    });
    while stats(&broker, "orders").await.dead == 3000 {
        tokio::task::yield_now().await;
    }
    purging.abort();
    assert!(purging.await.unwrap_err().is_cancelled());
    // Two groups later the writer has checked whether the caller still waits.
    for id in ["a", "b"] {
        publish(&broker, "neighbour", id).await;
    }
    let left = stats(&broker, "orders").await.dead;
    publish(&broker, "neighbour", "c").await;
    assert!(left > 0 && stats(&broker, "orders").await.dead == left, "{left} are left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_goes_on_where_its_last_page_ended_whatever_went_before() {
    let file = File::new();
    let broker = with_dead(&file, 20).await;
    let letters = broker.dead_letters().unwrap();
    let all = DeadLetterFilter::default();
    let first = letters.list(&all, 0, 8).await.unwrap();
    let ids: Vec<String> = first.iter().map(|listed| listed.letter.id.clone()).collect();
    letters.purge(&DeadLetterFilter { ids: ids.clone(), ..all.clone() }).await.unwrap();
    let second = letters.list(&all, 8, 100).await.unwrap();
    assert_eq!((ids.len(), second.len()), (8, 12));
    assert!(letters.list(&all, 20, 100).await.unwrap().is_empty());
    assert_eq!(letters.list(&all, 0, 100).await.unwrap(), second, "from the start again");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_have_expired_are_not_all_ended_at_once() {
    let file = File::new();
    let broker = file.open().await;
    let orders = queue(&broker, "orders").await;
    let ttl = Some(std::time::Duration::from_secs(1));
    let some = (0..5000).map(|number| Publication { ttl, ..publication("orders", &number.to_string()) }).collect();
    broker.publish(some).await.unwrap();
    let before = broker.commits();
    let pulling = tokio::spawn(async move { next(&orders).await.id });
    file.clock.advance(std::time::Duration::from_secs(2));
    publish(&broker, "orders", "fresh").await;
    assert_eq!(in_time(pulling).await.unwrap(), "fresh");
    let commits = broker.commits() - before;
    assert!(commits >= 5000 / 1024, "{commits} commits ended 5000 messages");
    let all_expired = async { while stats(&broker, "orders").await.expired < 5000 {} };
    in_time(all_expired).await;
}
