//! One simulation, from a plan to its history.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use wasmpost_delivery::{Broker, QueueSpec, prove};

use crate::history::{Event, What};
use crate::host::{Hosts, QUEUES, Store};
use crate::plan::{Life, Plan};
use crate::world::{Watch, World};
use crate::{operator, publisher};

/// Does what a plan says.
pub fn simulate(plan: Plan) -> Vec<Event> {
    fastrand::seed(plan.seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let events = runtime.block_on(async {
        let world = World::new(plan);
        prove::hook(Some(Rc::new(Watch(Arc::clone(&world)))));
        run(&world).await;
        world.events()
    });
    drop(runtime);
    prove::hook(None);
    events
}

async fn run(world: &Arc<World>) {
    let hosts = Hosts::new(Arc::clone(world));
    let mut store = Store::new(world);
    let publishers: Vec<_> =
        (0..world.plan.publishers).map(|number| tokio::spawn(publisher::run(Arc::clone(&hosts), number))).collect();
    for life in &world.plan.lives {
        if !hosts.life(&mut store, life, async |broker| operator::work(world, &**broker).await).await {
            return;
        }
        sleep(life.down).await;
    }
    world.calm();
    let last = Life { lasts: Duration::from_secs(7200), ..Life::quiet() };
    let body = async |broker: &Arc<dyn Broker>| {
        for publisher in publishers {
            drop(timeout(Duration::from_secs(600), publisher).await);
        }
        if timeout(world.plan.patience(), drained(&**broker)).await.is_err() {
            world.note(What::Stuck { left: format!("{:?}", broker.stats().await) });
        }
        let stats = broker.stats().await.unwrap_or_default();
        let left = stats.iter().map(|stats| stats.ready + stats.delayed + stats.leased).sum();
        let expired = stats.iter().map(|stats| stats.expired).sum();
        world.note(What::End { dead: operator::list(&**broker).await, expired, left });
    };
    hosts.life(&mut store, &last, body).await;
}

async fn drained(broker: &dyn Broker) {
    for (queue, topic) in QUEUES {
        let spec = QueueSpec { topics: vec![topic.into()], ..QueueSpec::new(queue) };
        if let Ok(queue) = broker.queue(spec).await {
            drop(queue.drained().await);
        }
    }
}
