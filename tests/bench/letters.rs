//! How long a neighbour's publish takes while an operator works on many dead letters in the same file.
//!
//! Open loop: messages are published at fixed times whatever becomes of those before, and the time counts from when each
//! was to be published.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{join_all, try_join_all};
use wasmpost_broker_sqlite::{SqliteBroker, SqliteOptions};
use wasmpost_delivery::{Broker, DeadLetterFilter, DeadLetters, Evidence, QueueSpec, TenantQuota};
use wasmpost_msg::{Attributes, Publication, Reason};

use crate::report::Report;

/// Dead letters in the file.
const LETTERS: usize = 100_000;
/// How many messages the neighbour publishes in a second, and how large they are.
const RATE: u32 = 200;
const BODY_BYTES: usize = 1024;
/// How long is measured where the work is no longer than that.
const PHASE: Duration = Duration::from_secs(5);

/// The work that goes on beside the neighbour.
#[derive(Clone, Copy, PartialEq)]
enum Work {
    Nothing,
    Stats,
    List,
    Quotas,
    Redrive,
    Purge,
}

/// In this order: what was redriven dies again before it is purged.
const WORKS: &[(&str, &str, Work)] = &[
    ("letters-nothing", "nothing beside it", Work::Nothing),
    ("letters-stats", "statistics, one after the other", Work::Stats),
    ("letters-list", "all dead letters listed, page by page", Work::List),
    ("letters-quotas", "quotas set, one after the other", Work::Quotas),
    ("letters-redrive", "all dead letters redriven", Work::Redrive),
    ("letters-purge", "all dead letters purged", Work::Purge),
];

pub(crate) fn run(report: &mut Report) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    println!("a neighbour's publish while an operator works on {LETTERS} dead letters; 99 of 100 take less than\n");
    runtime.block_on(async {
        let broker = SqliteBroker::open(&directory.path().join("queue.db"), SqliteOptions::default()).await.unwrap();
        publish_letters(&broker).await;
        bury(&broker).await;
        for (id, what, work) in WORKS {
            let (mut latencies, took) = beside(&broker, *work).await;
            latencies.sort();
            let at = |share: f64| latencies[(latencies.len() as f64 * share) as usize].as_secs_f64() * 1e3;
            let half = at(0.5);
            let most = at(0.99);
            report.figure(id, &format!("{what} ({took:.1?}, half take less than {half:.1} ms)"), most, "ms");
            if *work == Work::Redrive {
                bury(&broker).await;
            }
        }
        broker.close().await.unwrap();
    });
}

/// How long each message of the neighbour took, and how long the work.
async fn beside(broker: &Arc<SqliteBroker>, work: Work) -> (Vec<Duration>, Duration) {
    let began = Instant::now();
    let working = tokio::spawn({
        let broker = Arc::clone(broker);
        async move {
            work_on(&broker, work, began).await;
            began.elapsed()
        }
    });
    let mut publishing = Vec::new();
    while !working.is_finished() {
        let due = began + Duration::from_secs(1) / RATE * publishing.len() as u32;
        tokio::time::sleep_until(due.into()).await;
        let broker = Arc::clone(broker);
        publishing.push(tokio::spawn(async move {
            broker.publish(vec![publication("neighbour")]).await.unwrap();
            due.elapsed()
        }));
    }
    let latencies = join_all(publishing).await.into_iter().map(Result::unwrap).collect();
    (latencies, working.await.unwrap())
}

async fn work_on(broker: &SqliteBroker, work: Work, began: Instant) {
    let letters = broker.dead_letters().unwrap();
    let all = DeadLetterFilter::default();
    match work {
        Work::Nothing => tokio::time::sleep(PHASE).await,
        Work::Redrive => assert_eq!(letters.redrive(&all).await.unwrap(), LETTERS as u64),
        Work::Purge => assert_eq!(letters.purge(&all).await.unwrap(), LETTERS as u64),
        _ => {
            while began.elapsed() < PHASE {
                again(broker, letters, work).await;
            }
        }
    }
}

async fn again(broker: &SqliteBroker, letters: &dyn DeadLetters, work: Work) {
    match work {
        Work::Stats => drop(broker.stats().await.unwrap()),
        Work::Quotas => {
            let quotas = (0..100).map(|number| (format!("tenant-{number}"), TenantQuota::of_messages(1_000_000)));
            broker.set_quotas(BTreeMap::from_iter(quotas)).await.unwrap();
        }
        _ => {
            let mut skip = 0;
            while skip < LETTERS {
                skip += letters.list(&DeadLetterFilter::default(), skip, 50).await.unwrap().len();
            }
        }
    }
}

async fn publish_letters(broker: &SqliteBroker) {
    broker.queue(QueueSpec::new("orders")).await.unwrap();
    for _ in 0..LETTERS / 1000 {
        broker.publish((0..1000).map(|_| publication("orders")).collect()).await.unwrap();
    }
}

/// Has all that waits die.
async fn bury(broker: &SqliteBroker) {
    let queue = broker.queue(QueueSpec::new("orders")).await.unwrap();
    let mut left = LETTERS;
    while left > 0 {
        let pulled = queue.pull(500).await.unwrap();
        left -= pulled.len();
        let evidence = || Evidence::by_host(Reason::Rejected, "the guest said no, in about as many words as it takes");
        try_join_all(pulled.into_iter().map(|delivery| delivery.lease.reject(evidence()))).await.unwrap();
    }
}

fn publication(topic: &str) -> Publication {
    Publication::new(topic, Attributes::new(), vec![b'x'; BODY_BYTES])
}
