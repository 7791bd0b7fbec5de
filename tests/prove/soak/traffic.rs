//! The load of the host under soak: several receivers, and messages of which one in twenty fails.

use std::collections::BTreeMap;
use std::time::Duration;

use wasmpost::control::RemoteBroker;
use wasmpost_delivery::{Broker, BrokerErrorKind};
use wasmpost_msg::{Attributes, Publication};
use wasmpost_tests::{Place, find_guest, guest};
use wasmpost_tests_host::prove::number;

/// Queues with their share of the messages, their component, and further keys of their receiver. Those whose component
/// is not built are left out.
pub(crate) const QUEUES: &[(&str, u32, &str, &str)] = &[
    ("@t/fresh", 8, "obeying", ""),
    ("reused", 8, "obeying", "reuse = 100"),
    ("web", 3, "foreign-http", "output = \"done\""),
    ("command", 2, "foreign-cli", "output = \"done\""),
    ("python", 1, "triage-python", "reuse = 20\nconcurrency = 2"),
    ("javascript", 1, "triage-javascript", "reuse = 20\nconcurrency = 2"),
];
/// The topic that all of them publish to, and the queue that takes from it.
const SINK: &str = "[[receivers]]\nqueue = \"sink\"\ntopics = [\"done\", \"out\", \"@t/out\", \"github.push\", \"github.unknown\"]\ncomponent = \"noop.wasm\"\n";
/// From which length on there are receivers in interpreted languages.
const INTERPRETERS_FROM: Duration = Duration::from_secs(300);
const A_SECOND: f64 = 60.0;
/// How many messages may wait before no more are sent: a host that cannot keep up is another matter.
const WAITING_MAX: u64 = 200;
/// How often the number of waiting messages is read.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How many messages each queue gets at first, all at once: as many instances as there can be take their memory then, and
/// not whenever two messages happen to meet.
const AT_ONCE: usize = 20;
/// One in so many goes wrong.
const FAULTY: u32 = 20;

/// The messages that were sent, and their outcomes.
pub(crate) struct Traffic {
    random: fastrand::Rng,
    /// By queue.
    pub(crate) sent: BTreeMap<&'static str, u64>,
    /// Dead letters that an operator has purged.
    pub(crate) purged: u64,
    faulty: u64,
    /// The time of the last look, the messages that waited then, and how many are owed to the host.
    looked: Duration,
    waiting: u64,
    owed: f64,
    since: Duration,
}

/// A directory with components and a configuration.
pub(crate) fn place() -> Place {
    let place = Place::default();
    component(&place, 0);
    std::fs::copy(guest("noop"), place.path().join("noop.wasm")).unwrap();
    // Interpreters take long to compile where much else goes on.
    let mut config = "[host]\nload = { compile_cpu = \"5m\", compile_wall = \"30m\" }\n[tenants.t]\nconcurrency = 12\nmemory = \"1GiB\"\n".to_owned();
    for (queue, _, component, more) in present() {
        let cpu = if component.starts_with("triage") { "1s" } else { "100ms" };
        let file = if *component == "obeying" { "obeying.wasm".into() } else { guest(component) };
        config += &format!(
            "[[receivers]]\nqueue = \"{}\"\ncomponent = {file:?}\npublish = [\"out\", \"done\", \"github.*\"]\n{more}\n\
             retry = {{ attempts = 3, backoff_first = \"50ms\", backoff_max = \"200ms\" }}\n\
             limits = {{ cpu = \"{cpu}\", wall = \"3s\", table_elements = 200000 }}\n",
            queue.trim_start_matches("@t/"),
        );
        if queue.starts_with('@') {
            config += "tenant = \"t\"\n";
        }
    }
    place.write("wasmpost.toml", config + SINK);
    place
}

/// The queues whose component is built. Interpreters take their memory at first, which would be all that a short soak
/// sees of it.
pub(crate) fn present() -> impl Iterator<Item = &'static (&'static str, u32, &'static str, &'static str)> {
    let is_long = seconds() >= INTERPRETERS_FROM;
    let is_meant = move |component: &str| is_long || !component.starts_with("triage");
    QUEUES.iter().filter(move |(_, _, component, _)| is_meant(component) && find_guest(component).is_some())
}

/// For how long.
pub(crate) fn seconds() -> Duration {
    Duration::from_secs(number("WASMPOST_SOAK_SECONDS", 24))
}

/// The component of two receivers, in a new version: the same but for a section that says nothing.
pub(crate) fn component(place: &Place, version: u32) {
    let mut bytes = std::fs::read(guest("obeying")).unwrap();
    let name = b"build";
    let content = version.to_le_bytes();
    bytes.extend([0, (1 + name.len() + content.len()) as u8, name.len() as u8]);
    bytes.extend(name);
    bytes.extend(content);
    // At once, for whoever loads it.
    let new = place.write("obeying.new", bytes);
    std::fs::rename(new, place.path().join("obeying.wasm")).unwrap();
}

impl Traffic {
    pub(crate) fn new(random: fastrand::Rng) -> Self {
        let looked = Duration::ZERO;
        let since = Duration::ZERO;
        Self { random, sent: BTreeMap::new(), purged: 0, faulty: 0, looked, waiting: 0, owed: 0.0, since }
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.values().sum()
    }

    pub(crate) fn faulty(&self) -> f64 {
        self.faulty as f64 / self.sent().max(1) as f64
    }

    /// Sends what is due by now.
    pub(crate) async fn send(&mut self, broker: &RemoteBroker, elapsed: Duration) {
        if elapsed - self.looked > LOOK_EVERY {
            let stats = broker.stats().await.unwrap();
            self.waiting = stats.iter().map(|stats| stats.ready + stats.delayed + stats.leased).sum();
            self.looked = elapsed;
        }
        // Messages that could not be sent in time are not made up for.
        self.owed = (self.owed + (elapsed - self.since).as_secs_f64() * A_SECOND).min(A_SECOND / 2.0);
        self.since = elapsed;
        let mut batch = Vec::new();
        while self.owed >= 1.0 && self.waiting < WAITING_MAX {
            self.owed -= 1.0;
            batch.push(self.message());
        }
        if !batch.is_empty() {
            self.publish(broker, batch).await;
        }
    }

    /// Has each receiver at work with as many messages as it takes at a time.
    pub(crate) async fn warm(&mut self, broker: &RemoteBroker) {
        for (queue, _, component, _) in present() {
            let batch = (0..AT_ONCE).map(|_| (*queue, self.message_to(queue, component, false))).collect();
            self.publish(broker, batch).await;
        }
    }

    async fn publish(&mut self, broker: &RemoteBroker, batch: Vec<(&'static str, Publication)>) {
        let (names, publications): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        match broker.publish(publications).await {
            Ok(_) => names.into_iter().for_each(|name| *self.sent.entry(name).or_default() += 1),
            Err(error) => assert_ne!(error.kind(), BrokerErrorKind::Unavailable, "{error}"),
        }
    }

    fn message(&mut self) -> (&'static str, Publication) {
        let whole: u32 = present().map(|(_, share, ..)| share).sum();
        let mut at = self.random.u32(0..whole);
        let (queue, _, component, _) = present()
            .find(|(_, share, ..)| {
                let is_it = at < *share;
                at = at.saturating_sub(*share);
                is_it
            })
            .unwrap();
        let is_faulty = self.random.u32(0..FAULTY) == 0;
        (queue, self.message_to(queue, component, is_faulty))
    }

    fn message_to(&mut self, queue: &str, component: &str, is_faulty: bool) -> Publication {
        self.faulty += u64::from(is_faulty);
        let fault = self.random.usize(0..4);
        let size = self.random.usize(0..4096);
        let mut attributes = Attributes::new();
        let mut body = "x".repeat(size);
        if component == "obeying" {
            attributes.append("Do", if is_faulty { ["fail", "reject", "trap", "loop"][fault] } else { "copy" });
            attributes.append("Fails", "1"); // Then it is processed, or rejected after a trap.
            attributes.append("Spins", "20000");
        } else if component.starts_with("triage") {
            attributes.append("X-Github-Event", if is_faulty { "unknown" } else { "push" });
            body = "{\"repository\":{\"full_name\":\"octo/cat\",\"id\":7}}".to_owned();
        } else if is_faulty {
            body = ["retry", "reject", "poison", "loop"][fault].to_owned();
        }
        Publication::new(queue, attributes, body)
    }
}
