//! The processes of a simulation, one after another: each has servers for all queues, and ends as the plan says.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};
use wasmpost_delivery::{BatchOptions, Broker, BrokerError, Queue, QueueServer, QueueServerOptions, QueueSpec, Share};
use wasmpost_msg::{Receiver, ServeError, Server};

use crate::disk::{Disk, Drive};
use crate::faulty::FaultyQueue;
use crate::guest::{Guest, NEXT};
use crate::history::{Left, What};
use crate::plan::{End, Kind, Life as Planned};
use crate::world::{Life, World};

/// The queues, and the topics that they take from.
pub const QUEUES: [(&str, &str); 3] = [("work", "work"), ("next", NEXT), ("copy", NEXT)];
/// How long deliveries in flight are waited for.
const GRACE: Duration = Duration::from_secs(25);

/// The broker as it is now, and the process that it is of.
type Current = Option<(Arc<dyn Broker>, Life)>;

/// Starts processes, and ends them.
pub struct Hosts {
    pub world: Arc<World>,
    current: Mutex<Current>,
    changed: Notify,
}

/// The store, which outlives a process.
pub enum Store {
    Memory(MemoryBroker, Life),
    Sqlite(Box<Disk>),
}

/// One process.
struct Host {
    servers: Vec<Arc<QueueServer>>,
    tasks: Vec<JoinHandle<bool>>,
}

impl Store {
    pub fn new(world: &World) -> Self {
        match world.plan.kind {
            Kind::Memory => Self::Memory(MemoryBroker::new(MemoryOptions::default()), world.begin()),
            Kind::Sqlite => Self::Sqlite(Box::new(Disk::new())),
        }
    }

    fn open(&self) -> Result<(Arc<dyn Broker>, Option<Drive>), BrokerError> {
        Ok(match self {
            Self::Memory(broker, _) => (Arc::new(broker.clone()), None),
            Self::Sqlite(disk) => {
                let (broker, drive) = disk.open()?;
                (broker, Some(drive))
            }
        })
    }
}

impl Hosts {
    pub fn new(world: Arc<World>) -> Arc<Self> {
        Arc::new(Self { world, current: Mutex::default(), changed: Notify::new() })
    }

    /// The broker, once there is one.
    pub async fn broker(&self) -> (Arc<dyn Broker>, Life) {
        loop {
            let changed = self.changed.notified();
            if let Some(current) = self.current.lock().clone() {
                return current;
            }
            changed.await;
        }
    }

    fn set(&self, current: Current) {
        *self.current.lock() = current;
        self.changed.notify_waiters();
    }

    /// One process, from its start to its end, with what is done in it. Says whether there can be another.
    pub async fn life<F>(&self, store: &mut Store, planned: &Planned, body: F) -> bool
    where
        F: AsyncFnOnce(&Arc<dyn Broker>),
    {
        let world = &self.world;
        let life = world.begin();
        world.note(What::Life { wall: world.wall() });
        let (broker, drive) = match store.open() {
            Ok(opened) => opened,
            Err(error) => {
                world.note(What::Unreadable { error: error.to_string() });
                return false;
            }
        };
        world.arm(planned.end);
        let driver = drive.map(|drive| tokio::spawn(drive.run(Arc::clone(world), life.clone())));
        // Publishers are outside of a process that is not the broker.
        let of_publishers = if let Store::Memory(_, forever) = store { forever.clone() } else { life.clone() };
        let orderly = async {
            let Some(host) = Host::start(world, &life, &*broker).await else { return world.crash(None) };
            self.set(Some((Arc::clone(&broker), of_publishers)));
            tokio::select! {
                biased;
                () = host.end(world, planned) => {}
                () = body(&broker) => {}
            }
            self.set(None);
            host.close(world, &*broker).await;
            if driver.is_some() {
                drop(broker.close().await);
            }
        };
        tokio::select! {
            biased;
            () = life.over() => {}
            () = orderly => life.end(),
        }
        self.set(None);
        if let (Store::Sqlite(disk), Some(driver)) = (store, driver) {
            let drive = driver.await.expect("the writer does not panic");
            if planned.power {
                world.cut_power();
            }
            disk.keep(drive, planned.power.then(|| world.plan.dice("power", world.now())));
        }
        true
    }
}

impl Host {
    async fn start(world: &Arc<World>, life: &Life, broker: &dyn Broker) -> Option<Self> {
        let plan = &world.plan;
        let mut host = Self { servers: Vec::new(), tasks: Vec::new() };
        let share = Arc::new(Share::new(plan.share, None));
        for (queue, topic) in QUEUES {
            let spec = QueueSpec { topics: vec![topic.into()], lease: plan.lease, ..QueueSpec::new(queue) };
            let inner = broker.queue(spec).await.ok()?;
            let source: Arc<dyn Queue> = Arc::new(FaultyQueue { inner, world: Arc::clone(world), life: life.clone() });
            let options = QueueServerOptions {
                receiver: queue.into(),
                concurrency: plan.concurrency,
                retry: plan.retry.clone(),
                timeout: plan.timeout,
                share: Some(Arc::clone(&share)),
                batch: plan.batch().map(|messages| BatchOptions { messages, ..BatchOptions::default() }),
                ..QueueServerOptions::default()
            };
            let server = Arc::new(QueueServer::new(source, options));
            let receiver: Arc<dyn Receiver> = Arc::new(Guest { queue, world: Arc::clone(world), life: life.clone() });
            let serving = Arc::clone(&server);
            host.tasks.push(tokio::spawn(async move {
                // One that was shut down before it came to its turn has nothing to serve.
                matches!(serving.serve(receiver).await, Ok(_) | Err(ServeError::NotIdle))
            }));
            host.servers.push(server);
        }
        Some(host)
    }

    /// Waits until it is to be shut down; other ends come before that.
    async fn end(&self, world: &World, planned: &Planned) {
        sleep(planned.lasts / 2).await;
        world.set_wall(planned.wall);
        sleep(planned.lasts / 2).await;
        if let End::ShutDown = planned.end {
            return;
        }
        // After a commit whose outcome is unknown the servers are to end by themselves.
        let ended = timeout(GRACE, async {
            while !self.tasks.iter().all(JoinHandle::is_finished) {
                sleep(Duration::from_millis(100)).await;
            }
        });
        if world.commit_failed() && ended.await.is_err() {
            world.note(What::Stuck { left: "servers of a store that failed".into() });
        }
        world.crash(None);
        std::future::pending().await
    }

    /// Shuts the servers down, and looks what they leave.
    async fn close(self, world: &World, broker: &dyn Broker) {
        let shutdowns = self.servers.iter().map(|server| server.shutdown(GRACE));
        let is_drained = futures::future::join_all(shutdowns).await.iter().all(Result::is_ok);
        let mut ended = true;
        for task in self.tasks {
            ended &= timeout(Duration::from_secs(1), task).await.is_ok_and(|served| served.is_ok_and(|is_ok| is_ok));
        }
        if !is_drained {
            return;
        }
        let stats = broker.stats().await.unwrap_or_default();
        world.note(What::Drained(Left {
            in_flight: self.servers.iter().map(|server| server.in_flight()).sum(),
            running: world.running(),
            ended,
            leased: (world.plan.kind == Kind::Sqlite).then(|| stats.iter().map(|stats| stats.leased).sum()),
        }));
    }
}
