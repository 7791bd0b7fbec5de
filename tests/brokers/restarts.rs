//! A broker that is killed and comes back with what it had.

use std::collections::BTreeSet;

use crate::scene::{CONCURRENCY, Scene, Settled};

const MESSAGES: usize = 100;
const KILLS: usize = 3;

pub(crate) async fn no_message_is_lost_when_the_broker_is_killed_and_comes_back_in_mid_work(scene: &mut Scene) {
    let host = scene.host("host", "wasmpost.toml");
    let mut at_work = BTreeSet::new();
    for kill in 0..KILLS {
        scene.ledger.hold();
        scene.publish(&format!("round-{kill}"), MESSAGES);
        at_work.extend(scene.ledger.held(CONCURRENCY).await);
        scene.settled(if kill == 0 { Settled::Queue("work") } else { Settled::Topic("out") }).await;
        scene.server.kill();
        // Its work in flight is done while there is no broker to settle it.
        scene.ledger.release();
        scene.server.restart().await.unwrap();
        scene.ledger.seen((kill + 1) * MESSAGES).await;
    }
    // It receives what is published afterwards, too.
    scene.publish("afterwards", MESSAGES);
    scene.ledger.seen((KILLS + 1) * MESSAGES).await;
    scene.account(vec![host], &at_work).await;
}

pub(crate) async fn messages_confirmed_while_the_broker_is_killed_are_processed(scene: &mut Scene) {
    scene.publish("before", MESSAGES);
    scene.settled(Settled::Topic("work")).await;
    for kill in 0..KILLS {
        scene.publish_during(&format!("during-{kill}"), |scene| scene.server.kill());
        scene.server.restart().await.unwrap();
    }
    scene.publish("after", MESSAGES);
    scene.account(Vec::new(), &BTreeSet::new()).await;
    assert!(scene.confirmed() >= 2 * MESSAGES);
}
