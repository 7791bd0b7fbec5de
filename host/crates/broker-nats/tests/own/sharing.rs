//! Several hosts at one server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wasmpost_delivery::{Broker, Queue, QueueSpec};
use wasmpost_msg::Publication;
use wasmpost_tests::servers::NatsServer;

use crate::{PATIENCE, in_time, next, open, publication, publish};

const KEYS: u32 = 5;
const MESSAGES: u32 = 60;

/// The messages of each key: how many are in flight, and which came.
#[derive(Default)]
struct Seen(BTreeMap<String, (u32, Vec<u32>)>);

pub(crate) async fn messages_of_one_key_are_in_flight_one_at_a_time_in_two_hosts() {
    let server = NatsServer::start().await.unwrap();
    let hosts = [open(&server, "").await.unwrap(), open(&server, "").await.unwrap()];
    let seen = Arc::new(Mutex::new(Seen::default()));
    let message = |number: u32| Publication {
        key: Some(format!("key {}", number % KEYS)),
        ..publication("orders", &number.to_string())
    };
    hosts[0].publish((0..MESSAGES).map(message).collect()).await.unwrap();
    let mut working = Vec::new();
    for host in &hosts {
        let queue = host.queue(QueueSpec::new("orders")).await.unwrap();
        for _ in 0..3 {
            working.push(tokio::spawn(work(queue.clone(), Arc::clone(&seen))));
        }
    }
    let queue = hosts[0].queue(QueueSpec::new("orders")).await.unwrap();
    in_time(queue.drained()).await.unwrap();
    working.iter().for_each(tokio::task::JoinHandle::abort);
    let seen = seen.lock();
    for key in 0..KEYS {
        let expected: Vec<_> = (0..MESSAGES).filter(|number| number % KEYS == key).collect();
        assert_eq!(seen.0[&format!("key {key}")].1, expected);
    }
}

async fn work(queue: Arc<dyn Queue>, seen: Arc<Mutex<Seen>>) {
    loop {
        for delivery in queue.pull(4).await.unwrap() {
            let key = delivery.key.clone().unwrap();
            let number = String::from_utf8_lossy(&delivery.body).parse().unwrap();
            {
                let mut seen = seen.lock();
                let (in_flight, came) = seen.0.entry(key.clone()).or_default();
                *in_flight += 1;
                assert_eq!(*in_flight, 1, "{key} is in flight once");
                came.push(number);
            }
            // Long enough that another host would get the next one, were it to.
            tokio::time::sleep(Duration::from_millis(5)).await;
            seen.lock().0.get_mut(&key).unwrap().0 -= 1;
            delivery.lease.ack(Vec::new()).await.unwrap();
        }
    }
}

pub(crate) async fn a_queue_that_one_host_declares_is_known_to_the_others() {
    let server = NatsServer::start().await.unwrap();
    let one = open(&server, "").await.unwrap();
    let other = open(&server, "").await.unwrap();
    let spec = QueueSpec { topics: vec!["orders".into()], ..QueueSpec::new("billing") };
    let queue = one.queue(spec).await.unwrap();
    // The other hears of it by itself; until then what it publishes waits under its topic.
    let until = Instant::now() + PATIENCE;
    for number in 0.. {
        assert!(Instant::now() < until, "other host hears of the queue");
        publish(&other, "orders", &number.to_string()).await;
        let waiting = one.stats().await.unwrap();
        if waiting.iter().any(|stats| stats.queue == "billing" && stats.ready > 0) {
            break;
        }
    }
    assert_eq!(next(&queue).await.topic, "orders");
}
