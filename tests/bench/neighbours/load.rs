//! A host with the neighbour, and the attacker if there is one; what is sent through the neighbour and when it arrives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use wasmpost::config::Config;
use wasmpost::delivery::{Broker, QueueSpec};
use wasmpost::host::{Host, View};
use wasmpost::msg::{Attributes, Publication};
use wasmpost_tests::guest;

use crate::attack::Attack;

/// How long to wait for what was sent, in the end.
const PATIENCE: Duration = Duration::from_secs(20);
/// The work of the neighbour's guest on each message: a fraction of a millisecond.
const SPINS: u32 = 300_000;
const BODY_BYTES: usize = 1024;

/// A host at work.
pub(crate) struct Arena {
    host: Host,
    broker: Arc<dyn Broker>,
    stop: Arc<AtomicBool>,
    _directory: tempfile::TempDir,
}

/// The result of one measurement: seconds, and messages a second.
pub(crate) struct Seen {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) throughput: f64,
    pub(crate) lost: usize,
}

impl Arena {
    pub(crate) async fn start(attack: Option<&'static Attack>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut text = format!(
            "[brokers]\ndefault = \"memory:\"\n[host]\nhostile = true\ncache_dir = {:?}\ngrace = \"0s\"\n[tenants.neighbour]\nmessages = 1000000\n[tenants.attacker]\nmessages = 1000000\n\
             [[receivers]]\nqueue = \"in\"\ntenant = \"neighbour\"\ncomponent = {:?}\npublish = [\"out\"]\n\
             config = {{ to = \"out\", spins = \"{SPINS}\" }}\n",
            cache(),
            guest("echo")
        );
        let component = directory.path().join("attacker.wasm");
        if let Some(attack) = attack {
            std::fs::copy(guest(attack.guest), &component).unwrap();
            let publish = if attack.publish.is_empty() { String::new() } else { format!("{:?}", attack.publish) };
            text.push_str(&format!(
                "[[receivers]]\nqueue = \"in\"\ntenant = \"attacker\"\ncomponent = {component:?}\n\
                 publish = [{publish}]\nretry = {{ attempts = 1 }}\n"
            ));
        }
        let config = Config::parse(&text, &directory.path().join("wasmpost.toml")).unwrap();
        let host = Host::start(config).await.unwrap();
        let broker = host.broker("default").unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        if let Some(attack) = attack {
            feed(&*broker, attack.messages).await;
            if attack.recompiled {
                tokio::spawn(recompile(host.view(), component, Arc::clone(&stop)));
            }
        }
        Self { host, broker, stop, _directory: directory }
    }

    /// Messages a second when all are there at once.
    pub(crate) async fn capacity(self) -> f64 {
        const MESSAGES: usize = 5_000;
        let mut best = 0.0_f64;
        for _ in 0..3 {
            let began = Instant::now();
            let due: Vec<_> = (0..MESSAGES).map(|_| began).collect();
            self.broker.publish((0..MESSAGES).map(publication).collect()).await.unwrap();
            let arrived = arrivals(&*self.broker, &due).await;
            best = best.max(arrived.len() as f64 / began.elapsed().as_secs_f64());
        }
        self.end().await;
        best
    }

    /// Sends so many messages a second for so long, and waits for all of them.
    pub(crate) async fn send(self, rate: f64, duration: Duration) -> Seen {
        let began = Instant::now() + Duration::from_millis(50);
        let count = (rate * duration.as_secs_f64()) as usize;
        let due: Vec<Instant> =
            (0..count).map(|number| began + Duration::from_secs_f64(number as f64 / rate)).collect();
        let broker = Arc::clone(&self.broker);
        let times = due.clone();
        let runtime = tokio::runtime::Handle::current();
        // A thread of its own keeps the times better than a timer does.
        let sending = std::thread::spawn(move || {
            for (number, due) in times.into_iter().enumerate() {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                runtime.block_on(broker.publish(vec![publication(number)])).unwrap();
            }
        });
        let mut latencies = arrivals(&*self.broker, &due).await;
        sending.join().unwrap();
        let took = began.elapsed().as_secs_f64();
        self.end().await;
        latencies.sort();
        let at = |share: f64| {
            latencies.get((latencies.len() as f64 * share) as usize).map_or(f64::NAN, Duration::as_secs_f64)
        };
        Seen { p50: at(0.5), p99: at(0.99), throughput: latencies.len() as f64 / took, lost: count - latencies.len() }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        // The attacker's deliveries in flight are interrupted.
        drop(self.host.stop().await);
    }
}

/// Compiled components, kept from one measurement to the next.
fn cache() -> &'static std::path::Path {
    static CACHE: std::sync::OnceLock<(tempfile::TempDir, std::path::PathBuf)> = std::sync::OnceLock::new();
    &CACHE
        .get_or_init(|| {
            let directory = tempfile::tempdir().unwrap();
            let components = directory.path().join("components");
            (directory, components)
        })
        .1
}

fn publication(number: usize) -> Publication {
    let mut body = vec![b'x'; BODY_BYTES];
    body[..8].copy_from_slice(&(number as u64).to_le_bytes());
    Publication::new("@neighbour/in", Attributes::new(), body)
}

/// Waits until all that was to be sent has arrived, and gives how long each took from the time it was due.
async fn arrivals(broker: &dyn Broker, due: &[Instant]) -> Vec<Duration> {
    let queue = broker.queue(QueueSpec::new("@neighbour/out")).await.unwrap();
    let end = due.last().copied().unwrap_or_else(Instant::now) + PATIENCE;
    let mut latencies = Vec::with_capacity(due.len());
    while latencies.len() < due.len() {
        let patience = end.saturating_duration_since(Instant::now());
        let Ok(pulled) = tokio::time::timeout(patience, queue.pull(64)).await else { break };
        for delivery in pulled.unwrap() {
            let number = u64::from_le_bytes(delivery.body[..8].try_into().unwrap()) as usize;
            latencies.push(due[number].elapsed());
            delivery.lease.ack(Vec::new()).await.unwrap();
        }
    }
    latencies
}

async fn feed(broker: &dyn Broker, messages: usize) {
    let publication = |_| Publication::new("@attacker/in", Attributes::new(), "x");
    broker.publish((0..messages).map(publication).collect()).await.unwrap();
}

/// Gives the component another content again and again, so that it is compiled each time.
async fn recompile(view: Arc<dyn View>, component: std::path::PathBuf, stop: Arc<AtomicBool>) {
    let original = std::fs::read(&component).unwrap();
    for number in 0_u64.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let mut changed = original.clone();
        // A custom section named "n" with a number.
        changed.extend_from_slice(&[0, 10, 1, b'n']);
        changed.extend_from_slice(&(number ^ u64::from(std::process::id()) << 32).to_le_bytes());
        std::fs::write(&component, changed).unwrap();
        view.reload().await;
    }
}
