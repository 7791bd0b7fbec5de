//! A network between host and broker that is slow, cuts connections, or swallows data.

use std::collections::BTreeSet;
use std::time::Duration;

use wasmpost_tests::proxy::{Mode, Proxy};

use crate::scene::{CONCURRENCY, Scene};

const MESSAGES: usize = 100;
const RESETS: usize = 3;

/// A proxy in front of the broker, and `proxied.toml` for hosts behind it.
async fn proxied(scene: &Scene) -> Proxy {
    let proxy = Proxy::start(scene.server.port()).await;
    scene.configure("proxied.toml", &scene.server.url_by(proxy.port()), CONCURRENCY);
    proxy
}

pub(crate) async fn a_slow_network_loses_and_repeats_nothing(scene: &mut Scene) {
    let proxy = proxied(scene).await;
    proxy.set(Mode::Delay(Duration::from_millis(100)));
    let host = scene.host("host", "proxied.toml");
    scene.publish("slow", MESSAGES);
    scene.ledger.seen(MESSAGES).await;
    scene.account(vec![host], &BTreeSet::new()).await;
}

pub(crate) async fn no_message_is_lost_when_connections_are_reset_in_mid_work(scene: &mut Scene) {
    let proxy = proxied(scene).await;
    let host = scene.host("host", "proxied.toml");
    let mut at_work = BTreeSet::new();
    for reset in 0..RESETS {
        scene.ledger.hold();
        scene.publish(&format!("round-{reset}"), MESSAGES);
        at_work.extend(scene.ledger.held(CONCURRENCY).await);
        proxy.cut().await;
        scene.ledger.release();
        scene.ledger.seen((reset + 1) * MESSAGES).await;
    }
    scene.account(vec![host], &at_work).await;
}

pub(crate) async fn no_message_is_lost_when_the_network_swallows_everything_for_a_time(scene: &mut Scene) {
    let proxy = proxied(scene).await;
    let behind = scene.host("behind", "proxied.toml");
    scene.ledger.hold();
    scene.publish("before", MESSAGES);
    let at_work = scene.ledger.held(CONCURRENCY).await;
    proxy.set(Mode::BlackHole);
    let beside = scene.host("beside", "wasmpost.toml");
    scene.ledger.release();
    // The other host gets all messages, those included that the first is working on and cannot settle.
    scene.publish("after", MESSAGES);
    scene.ledger.repeated(&at_work).await;
    scene.ledger.seen(2 * MESSAGES).await;
    proxy.set(Mode::Pass);
    // The first one takes part again.
    scene.ledger.hold();
    scene.publish("afterwards", MESSAGES);
    scene.ledger.held(2 * CONCURRENCY).await;
    scene.ledger.release();
    scene.ledger.seen(3 * MESSAGES).await;
    scene.account(vec![behind, beside], &at_work).await;
}
