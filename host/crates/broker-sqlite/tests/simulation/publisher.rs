//! Publishers: they publish messages one after another, and try again until each is confirmed or they give up.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use wasmpost_msg::{Attributes, Publication};

use crate::faulty::publish;
use crate::guest::{NEXT, ORIGIN};
use crate::history::What;
use crate::host::Hosts;
use crate::plan::DELAY_MAX;

/// How long a publisher waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Publishes all messages of one publisher.
pub async fn run(hosts: Arc<Hosts>, publisher: usize) {
    let world = &hosts.world;
    for number in 0..world.plan.messages {
        let mut dice = world.plan.dice("publisher", (publisher, number));
        sleep(Duration::from_millis(dice.u64(0..400))).await;
        let publication = message(&mut dice, publisher, number);
        world.note(What::Publishing(publication.clone()));
        let gives_up = dice.u32(0..10) == 0;
        while !try_once(&hosts, &publication).await && !gives_up {
            sleep(Duration::from_millis(dice.u64(1..1000))).await;
        }
    }
}

async fn try_once(hosts: &Hosts, publication: &Publication) -> bool {
    let (broker, life) = hosts.broker().await;
    let publishing = publish(&hosts.world, &life, &*broker, publication.clone());
    let confirmed = matches!(timeout(PATIENCE, publishing).await, Ok(Ok(_)));
    if confirmed {
        hosts.world.note(What::Confirmed { id: publication.id.clone().unwrap_or_default() });
    }
    confirmed
}

fn message(dice: &mut fastrand::Rng, publisher: usize, number: usize) -> Publication {
    let id = format!("{publisher}.{number}");
    let topic = if dice.u32(0..8) == 0 { NEXT } else { "work" };
    let mut attributes = Attributes::new();
    attributes.set(ORIGIN, "outside");
    for value in 0..dice.usize(0..3) {
        attributes.append("Tag", format!("{value} of {id} \u{1f426}"));
    }
    let length = [0, 10, 1000, 6000][dice.usize(0..4)];
    let body: Vec<u8> = std::iter::repeat_with(|| dice.u8(..)).take(length).collect();
    // The keys of a publisher are its own: the order between two of them is nobody's.
    let key = (dice.u32(0..3) > 0).then(|| format!("key {publisher} {}", dice.u32(0..2)));
    let delay = if dice.u32(0..5) == 0 { DELAY_MAX.mul_f64(dice.f64()) } else { Duration::ZERO };
    Publication {
        id: Some(id),
        key,
        delay,
        ttl: (dice.u32(0..12) == 0).then(|| delay + Duration::from_millis(dice.u64(100..6000))),
        ..Publication::new(topic, attributes, body)
    }
}
