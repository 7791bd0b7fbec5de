//! Load: publishers that note in the ledger what they send and what is confirmed.

use std::path::Path;
use std::sync::Mutex;

use wasmpost::control::RemoteBroker;
use wasmpost_delivery::{Broker, BrokerErrorKind};
use wasmpost_msg::Publication;
use wasmpost_tests::prove::letter::Letter;
use wasmpost_tests::prove::seen::{Ledger, Standing};

/// The most messages that are sent in one request.
const BATCH_MAX: usize = 6;

/// The message with an id, as it is published.
pub fn publication(id: &str) -> Publication {
    let letter = Letter::of(id);
    let mut publication = Publication::new("work", Default::default(), letter.body);
    for (name, values) in letter.attributes {
        publication.attributes.set_all(&name, values);
    }
    Publication { id: Some(letter.id), key: letter.key, ..publication }
}

/// Sends messages in batches until all are sent or the host is gone. It goes on after a batch that was refused.
pub async fn publish(broker: &RemoteBroker, ids: Vec<String>, mut random: fastrand::Rng, ledger: &Mutex<Ledger>) {
    let mut ids = ids.as_slice();
    while !ids.is_empty() {
        let (batch, rest) = ids.split_at(random.usize(1..=BATCH_MAX.min(ids.len())));
        ids = rest;
        batch.iter().for_each(|id| ledger.lock().unwrap().send(id));
        let publications = batch.iter().map(|id| publication(id)).collect();
        let standing = match broker.publish(publications).await {
            Ok(receipts) => {
                assert!(receipts.iter().map(|receipt| &receipt.id).eq(batch), "receipts are of what was sent");
                Standing::Confirmed
            }
            // The disk had no room, and the answer says so.
            Err(error) if error.kind() == BrokerErrorKind::Full => Standing::Refused,
            Err(_) => return,
        };
        batch.iter().for_each(|id| ledger.lock().unwrap().answer(id, standing));
    }
}

/// Several publishers at once, each on a connection of its own, each with a name.
pub async fn publish_all(
    database: &Path,
    by_publisher: Vec<Vec<String>>,
    random: &mut fastrand::Rng,
    ledger: &Mutex<Ledger>,
) {
    let publishers = by_publisher.into_iter().map(|ids| {
        let random = random.fork();
        async move {
            if let Ok(broker) = RemoteBroker::connect(database).await {
                publish(&broker, ids, random, ledger).await;
            }
        }
    });
    futures::future::join_all(publishers).await;
}
