//! An operator, who looks at dead letters and has them deleted or delivered again.

use std::time::Duration;

use tokio::time::sleep;
use wasmpost_delivery::{Broker, BrokerError, DeadLetterFilter};

use crate::history::{Dead, What};
use crate::world::World;

/// Works as long as the process does, or until nothing answers.
pub async fn work(world: &World, broker: &dyn Broker) {
    while work_once(world, broker).await.is_ok() {}
    std::future::pending().await
}

async fn work_once(world: &World, broker: &dyn Broker) -> Result<(), BrokerError> {
    let mut dice = world.plan.dice("operator", world.now());
    sleep(Duration::from_millis(dice.u64(200..3000))).await;
    let Some(letters) = broker.dead_letters() else { return Ok(()) };
    let found = letters.show(&DeadLetterFilter::default(), 0, 20).await?;
    // A message with a key comes back behind others with it: what order that gives is not promised.
    let Some(letter) = found.into_iter().find(|letter| letter.key.is_none() && dice.bool()) else { return Ok(()) };
    let queue = letter.queue;
    let id = letter.id;
    let filter = DeadLetterFilter { ids: vec![id.clone()], queue: Some(queue.clone()), reason: None };
    if dice.bool() {
        world.note(What::Purging { queue, id });
        letters.purge(&filter).await.map(drop)
    } else {
        world.note(What::Redriving { queue, id });
        letters.redrive(&filter).await.map(drop)
    }
}

/// All dead letters there are.
pub async fn list(broker: &dyn Broker) -> Vec<Dead> {
    let mut all = Vec::new();
    let Some(letters) = broker.dead_letters() else { return all };
    while let Ok(found) = letters.show(&DeadLetterFilter::default(), all.len(), 100).await
        && !found.is_empty()
    {
        all.extend(found.into_iter().map(|letter| Dead {
            queue: letter.queue,
            id: letter.id,
            message: wasmpost_msg::Publication {
                topic: letter.topic,
                attributes: letter.attributes,
                body: letter.body,
                key: letter.key,
                hops: letter.hops,
                ..Default::default()
            },
            reason: letter.evidence.reason.as_str(),
        }));
    }
    all
}
