//! Shared by the cases: a broker, hosts, a ledger of their work, and the account at the end.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::{Duration, Instant};

use wasmpost_tests::ledger::Ledger;
use wasmpost_tests::servers::{Kind, Server};
use wasmpost_tests::{Host, PATIENCE, Place, Ran, guest};

/// How many messages a host has in flight.
pub(crate) const CONCURRENCY: usize = 8;
/// How long a lease lasts that is not renewed.
const LEASE: &str = "5s";

/// A broker with a queue `work`, whose receivers ask the ledger about each message and publish its answer to `out`.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) ledger: Ledger,
    pub(crate) place: Place,
    published: BTreeSet<String>,
    /// Publications that may or may not be stored.
    unconfirmed: BTreeSet<String>,
}

/// The kind of settlement that a broker declares.
pub(crate) enum Settled {
    Queue(&'static str),
    Topic(&'static str),
}

impl Scene {
    pub(crate) async fn new(kind: Kind) -> Self {
        let server = kind.start().await.unwrap();
        let ledger = Ledger::start().await;
        let scene =
            Self { server, ledger, place: Place::default(), published: BTreeSet::new(), unconfirmed: BTreeSet::new() };
        scene.configure("wasmpost.toml", &scene.server.url(), CONCURRENCY);
        scene
    }

    /// Writes a configuration of hosts that reach the broker in a certain way.
    pub(crate) fn configure(&self, file: &str, url: &str, concurrency: usize) {
        let component = guest("a09-fetching");
        let origin = self.ledger.origin();
        let config = format!(
            "[brokers]\ndefault = \"{url}\"\n[[receivers]]\nqueue = \"work\"\ncomponent = {component:?}\n\
             publish = [\"out\"]\nhttp = [\"{origin}\"]\nconcurrency = {concurrency}\nlease = \"{LEASE}\"\n\
             retry = {{ backoff_first = \"100ms\" }}\n"
        );
        self.place.write(file, config);
    }

    /// Starts a host.
    pub(crate) fn host(&self, id: &str, config: &str) -> Host {
        self.place.start(&["run", "--config", config, "--id", id, "--log", "debug"])
    }

    fn line(&self, id: &str) -> String {
        let url = format!("{}/{id}", self.ledger.origin());
        format!("{{\"id\":\"{id}\",\"attributes\":{{\"Url\":[\"{url}\"]}},\"body\":\"\"}}\n")
    }

    /// Publishes so many messages, all of them confirmed.
    pub(crate) fn publish(&mut self, prefix: &str, count: usize) {
        let ids: Vec<_> = (0..count).map(|number| format!("{prefix}-{number}")).collect();
        let lines: String = ids.iter().map(|id| self.line(id)).collect();
        self.place.run_with(&["publish", "work", "--ndjson", "-"], &lines).exits(0);
        self.published.extend(ids);
    }

    /// Publishes one message while something goes wrong: it is confirmed, or its fate is unknown.
    pub(crate) fn publish_during(&mut self, id: &str, fault: impl FnOnce(&mut Self)) {
        use std::io::Write;

        let line = self.line(id);
        let mut publishing = self.place.command(&["publish", "work", "--ndjson", "-"]);
        let publishing = publishing.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut publishing = publishing.spawn().unwrap();
        publishing.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
        fault(self);
        let confirmed = wait(&mut publishing);
        let ids = if confirmed { &mut self.published } else { &mut self.unconfirmed };
        ids.insert(id.to_owned());
    }

    /// Waits until the broker would find what it has again after a crash, told by the last that it was to declare: the
    /// queue, or a topic that no queue takes from.
    pub(crate) async fn settled(&self, what: Settled) {
        let name = match what {
            Settled::Queue(queue) => format!("wasmpost.queue.{queue}"),
            Settled::Topic(topic) => format!("wasmpost.kept.{topic}"),
        };
        self.server.keeps(&name).await;
    }

    /// How many messages are known to be stored.
    pub(crate) fn confirmed(&self) -> usize {
        self.published.len()
    }

    /// Runs a command against the broker itself.
    fn run(&self, arguments: &[&str]) -> Ran {
        self.place.run(arguments)
    }

    /// The bodies of what was published to `out`.
    pub(crate) fn effects(&self) -> Vec<String> {
        self.run(&["pipe", "out", "sqlite:out.db#out", "--until-empty"]).exits(0);
        let effects = rusqlite::Connection::open(self.place.path().join("out.db")).unwrap();
        let mut bodies = effects.prepare("SELECT CAST(body AS TEXT) FROM messages").unwrap();
        bodies.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// Ends hosts, does what is left, and accounts for every message: each was processed and nothing died; what was
    /// processed more than once was at work when something broke; each had its effect once, as its id tells. Gives what
    /// was processed more than once.
    pub(crate) async fn account(&self, hosts: Vec<Host>, at_work: &BTreeSet<String>) -> BTreeSet<String> {
        let mut logs = String::new();
        for host in hosts {
            host.signal("TERM");
            let (code, log) = host.end();
            assert_eq!(code, Some(0), "{log}");
            logs += &log;
        }
        self.run(&["run", "--until-empty", "--log", "error"]).exits(0);
        let times = self.ledger.times();
        let processed: BTreeSet<_> = times.keys().cloned().collect();
        let lost: Vec<_> = self.published.difference(&processed).collect();
        assert!(lost.is_empty(), "{} of {} messages are lost: {lost:?}", lost.len(), self.published.len());
        let unknown: Vec<_> =
            processed.iter().filter(|id| !self.published.contains(*id) && !self.unconfirmed.contains(*id)).collect();
        assert!(unknown.is_empty(), "nobody published {unknown:?}");
        let letters = self.run(&["dead-letters", "list", "--json"]).exits(0).json();
        assert_eq!(letters, serde_json::json!([]), "nothing died");
        let bodies = self.effects();
        let distinct: BTreeSet<_> = bodies.iter().cloned().collect();
        assert_eq!((bodies.len(), &distinct), (distinct.len(), &processed), "each message had one effect");
        let repeated: BTreeSet<_> = times.into_iter().filter(|(_, times)| *times > 1).map(|(id, _)| id).collect();
        let unexpected: Vec<_> = repeated.difference(at_work).collect();
        let told: Vec<_> = logs.lines().filter(|line| unexpected.iter().any(|id| line.contains(&***id))).collect();
        let told = told.join("\n");
        assert!(
            unexpected.is_empty(),
            "{unexpected:?} were processed again and were not at work when it broke:\n{told}"
        );
        repeated
    }
}

/// Waits for a command that may fail, and says whether it did not.
fn wait(child: &mut std::process::Child) -> bool {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.success();
        }
        if began.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("publishing neither succeeds nor fails in {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
