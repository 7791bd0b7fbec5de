//! Several hosts that share a queue, and one of them goes.

use std::collections::BTreeSet;

use crate::scene::{CONCURRENCY, Scene, Settled};

const MESSAGES: usize = 200;

pub(crate) async fn no_message_is_lost_when_one_of_two_hosts_is_killed(scene: &mut Scene) {
    one_of_several_is_killed(scene, 2).await;
}

pub(crate) async fn no_message_is_lost_when_one_of_four_hosts_is_killed(scene: &mut Scene) {
    one_of_several_is_killed(scene, 4).await;
}

async fn one_of_several_is_killed(scene: &mut Scene, count: usize) {
    let mut hosts: Vec<_> = (0..count).map(|number| scene.host(&format!("host-{number}"), "wasmpost.toml")).collect();
    scene.ledger.hold();
    scene.publish("before", MESSAGES / 2);
    // All of them take part.
    scene.ledger.held(count * CONCURRENCY).await;
    scene.ledger.release();
    scene.ledger.seen(MESSAGES / 2).await;
    scene.ledger.hold();
    scene.publish("after", MESSAGES / 2);
    let at_work = scene.ledger.held(count * CONCURRENCY).await;
    let mut killed = hosts.remove(0);
    killed.child.kill().unwrap();
    killed.end();
    let left = scene.ledger.held((count - 1) * CONCURRENCY).await;
    let interrupted: BTreeSet<_> = at_work.difference(&left).cloned().collect();
    scene.ledger.release();
    scene.ledger.seen(MESSAGES).await;
    let repeated = scene.account(hosts, &interrupted).await;
    assert_eq!(repeated, interrupted, "what the killed host was at is done by the others");
}

pub(crate) async fn a_host_that_is_told_to_stop_leaves_nothing_to_be_done_again(scene: &mut Scene) {
    // So many that a broker which takes acks without an answer has some of them on its hands when the host ends.
    const MANY: usize = 64;
    scene.configure("many.toml", &scene.server.url(), MANY);
    let mut hosts: Vec<_> = (0..2).map(|number| scene.host(&format!("host-{number}"), "many.toml")).collect();
    scene.ledger.hold();
    scene.publish("work", MESSAGES);
    scene.ledger.held(2 * MANY).await;
    let mut stopped = hosts.remove(0);
    stopped.signal("TERM");
    stopped.wait_for("stopping");
    scene.ledger.release();
    assert_eq!(stopped.end().0, Some(0));
    scene.ledger.seen(MESSAGES).await;
    scene.account(hosts, &BTreeSet::new()).await;
}

/// A confined host gives up rights at its start. A broker, and a new connection to one, need none of them.
pub(crate) async fn a_confined_host_for_hostile_guests_works_and_finds_its_broker_again(scene: &mut Scene) {
    scene.configure("hostile.toml", &scene.server.url(), CONCURRENCY);
    let config = std::fs::read_to_string(scene.place.path().join("hostile.toml")).unwrap();
    scene.place.write("hostile.toml", config + "[host]\nhostile = true\n");
    let host = scene.host("host", "hostile.toml");
    scene.ledger.hold();
    scene.publish("before", MESSAGES / 2);
    let at_work = scene.ledger.held(CONCURRENCY).await;
    scene.settled(Settled::Queue("work")).await;
    scene.server.kill();
    scene.ledger.release();
    scene.server.restart().await.unwrap();
    scene.ledger.seen(MESSAGES / 2).await;
    scene.publish("after", MESSAGES / 2);
    scene.ledger.seen(MESSAGES).await;
    scene.account(vec![host], &at_work).await;
}
