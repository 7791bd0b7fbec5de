//! Where a hostile guest meets a neighbour: one host, one queue file, two tenants.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use wasmpost_tests::{Host, Place, guest};

use crate::guests::Hostile;

/// How many messages the neighbour gets.
pub(crate) const NEIGHBOURS: usize = 50;
/// The tenants, and the queues and topics that do not belong to an attack.
const ATTACKER: &str = "attacker";
const NEIGHBOUR: &str = "neighbour";
const WORK: &str = "work";
const ARRIVED: &str = "arrived";
const SEEN: &str = "seen";
/// The log filter that the tests need.
const LOG: &[&str] = &["--log", "info,wasmpost_delivery=debug"];

/// The name of a tenant's queue or topic, as the command line has it.
fn queue(tenant: &str, name: &str) -> String {
    format!("@{tenant}/{name}")
}

/// A host before it starts: a neighbour that echoes its messages, an observer that makes dead letters of what attackers
/// publish to `seen`, and the attackers.
pub(crate) struct Arena {
    pub(crate) place: Place,
    config: String,
    attacks: Vec<(String, Vec<Value>)>,
}

/// The remains of a host that is done.
pub(crate) struct Aftermath {
    pub(crate) place: Place,
    /// The log of the host, a line for each event.
    pub(crate) log: Vec<Value>,
}

/// A host at work.
pub(crate) struct Fighting<'a> {
    pub(crate) place: &'a Place,
    host: Host,
    log: Vec<Value>,
}

impl Arena {
    pub(crate) fn new() -> Self {
        let config = format!(
            "[host]\nhostile = true\n[tenants.{ATTACKER}]\nmessages = 100000\n[tenants.{NEIGHBOUR}]\nmessages = 100000\n\
             [[receivers]]\nqueue = {WORK:?}\ntenant = {NEIGHBOUR:?}\ncomponent = {:?}\npublish = [{ARRIVED:?}]\n\
             config = {{ to = {ARRIVED:?} }}\n\
             [[receivers]]\nqueue = {SEEN:?}\ntenant = {ATTACKER:?}\ncomponent = {:?}\n",
            guest("echo"),
            guest("rejecting"),
        );
        Self { place: Place::default(), config, attacks: Vec::new() }
    }

    /// The same with more settings of the host.
    pub(crate) fn host(mut self, settings: &str) -> Self {
        self.config = self.config.replacen("[host]\n", &format!("[host]\n{settings}\n"), 1);
        self
    }

    /// An attacker that gets one message, which dies with its first failure unless the settings say otherwise.
    pub(crate) fn attacker(self, guest: Hostile, settings: &str) -> Self {
        let message = json!({ "body": "attack", "attributes": { "tag": ["attack"] } });
        self.attacker_at(guest.name, guest, settings, vec![message])
    }

    /// An attacker at a queue with messages.
    pub(crate) fn attacker_at(self, name: &str, guest: Hostile, settings: &str, messages: Vec<Value>) -> Self {
        let file = guest.file(&self.place);
        self.attacker_file(name, &file, settings, messages)
    }

    /// An attacker whose component is any file.
    pub(crate) fn attacker_file(mut self, name: &str, file: &Path, settings: &str, messages: Vec<Value>) -> Self {
        let retry = if settings.contains("retry = ") { "" } else { "retry = { attempts = 1 }\n" };
        self.config += &format!(
            "[[receivers]]\nqueue = {name:?}\ntenant = {ATTACKER:?}\ncomponent = {file:?}\npublish = [\"*\"]\n\
             {retry}{settings}\n",
        );
        self.attacks.push((name.to_owned(), messages));
        self
    }

    /// Writes the configuration and publishes what there is for the attackers and the neighbour.
    pub(crate) fn prepare(&self) {
        self.configure();
        self.publish_neighbours(NEIGHBOURS);
    }

    /// The same without messages for the neighbour.
    pub(crate) fn configure(&self) {
        self.place.write("wasmpost.toml", &self.config);
        for (name, messages) in &self.attacks {
            publish(&self.place, &queue(ATTACKER, name), messages);
        }
    }

    /// Publishes messages for the neighbour.
    pub(crate) fn publish_neighbours(&self, count: usize) {
        let messages: Vec<_> = (0..count).map(|number| json!({ "body": format!("message {number}") })).collect();
        publish(&self.place, &queue(NEIGHBOUR, WORK), &messages);
    }

    /// Lets the host work until there is nothing left to do, sees to it that it lived and that the neighbour got what
    /// is its due.
    #[track_caller]
    pub(crate) fn fight(self) -> Aftermath {
        self.prepare();
        let run = [&["run", "--config", "wasmpost.toml", "--until-empty"], LOG].concat();
        let log = self.place.run(&run).exits(0).stderr();
        self.ended(&log)
    }

    /// The same while the test does something to the host, which goes on until it is done.
    #[track_caller]
    pub(crate) fn fight_with(self, attack: impl FnOnce(&mut Fighting<'_>)) -> Aftermath {
        self.prepare();
        let mut fighting = self.start();
        attack(&mut fighting);
        let log = fighting.stop();
        let after = Aftermath { place: self.place, log };
        after.neighbours_were_served(NEIGHBOURS);
        after
    }

    /// Starts the host.
    pub(crate) fn start(&self) -> Fighting<'_> {
        let host = self.place.start(&[&["run", "--config", "wasmpost.toml"], LOG].concat());
        Fighting { place: &self.place, host, log: Vec::new() }
    }

    /// The remains of hosts that were killed.
    pub(crate) fn left(self) -> Aftermath {
        Aftermath { place: self.place, log: Vec::new() }
    }

    /// The remains of a host that the test ran itself to its end.
    #[track_caller]
    pub(crate) fn ended(self, log: &str) -> Aftermath {
        let after = Aftermath { place: self.place, log: events(log) };
        after.neighbours_were_served(NEIGHBOURS);
        after
    }
}

impl Fighting<'_> {
    /// Waits until so many more messages were acked, of whomever.
    #[track_caller]
    pub(crate) fn wait_for_acks(&mut self, count: usize) {
        for _ in 0..count {
            let acked = loop {
                let event = self.host.wait_for("");
                if event["message"] == "acked" {
                    break event;
                }
                self.log.push(event);
            };
            self.log.push(acked);
        }
    }

    /// Waits until the one message of an attacker is in flight.
    #[track_caller]
    pub(crate) fn wait_until_leased(&self, name: &str) {
        wasmpost_tests::wait_until_leased(self.place, &queue(ATTACKER, name));
    }

    /// Waits until so many messages of the neighbour were acked in all.
    #[track_caller]
    pub(crate) fn wait_until_neighbours_are_acked(&self, count: usize) {
        wasmpost_tests::wait_until_acked(self.place, &queue(NEIGHBOUR, WORK), count as u64);
    }

    /// Publishes messages for an attacker.
    pub(crate) fn publish(&self, name: &str, messages: &[Value]) {
        publish(self.place, &queue(ATTACKER, name), messages);
    }

    /// The most memory that the host had so far, in KiB.
    pub(crate) fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.host.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Takes the process down.
    pub(crate) fn kill(mut self) {
        self.host.child.kill().unwrap();
        self.host.end();
    }

    /// Lets the host end in order, and gives what it logged.
    fn stop(self) -> Vec<Value> {
        self.host.signal("TERM");
        let (code, rest) = self.host.end();
        assert_eq!(code, Some(0), "{rest}");
        [self.log, events(&rest)].concat()
    }
}

impl Aftermath {
    /// The statistics of a queue or topic of the attackers.
    pub(crate) fn stats(&self, name: &str) -> Value {
        stats(&self.place, &queue(ATTACKER, name))
    }

    /// Every message of the neighbour was processed, and with effect.
    #[track_caller]
    pub(crate) fn neighbours_were_served(&self, count: usize) {
        let work = stats(&self.place, &queue(NEIGHBOUR, WORK));
        assert_eq!((&work["acked"], &work["dead"], &work["ready"]), (&count.into(), &0.into(), &0.into()), "{work}");
        assert_eq!(stats(&self.place, &queue(NEIGHBOUR, ARRIVED))["ready"], count);
    }

    /// The dead letters of an attacker's queue.
    pub(crate) fn letters(&self, name: &str) -> Vec<Value> {
        let queue = queue(ATTACKER, name);
        let list = ["dead-letters", "list", "--json", "--queue", &queue];
        self.place.run(&list).exits(0).json().as_array().unwrap().clone()
    }

    /// A dead letter with its body, of which lists tell the length alone.
    pub(crate) fn whole(&self, letter: &Value) -> Value {
        let shown = self.place.run(&["dead-letters", "show", letter["id"].as_str().unwrap(), "--json"]);
        let same = |other: &Value| other["queue"] == letter["queue"];
        shown.exits(0).json().as_array().unwrap().iter().find(|other| same(other)).unwrap().clone()
    }

    /// The one message of an attacker died for a reason, and nothing was published.
    #[track_caller]
    pub(crate) fn died(&self, guest: Hostile, reason: &str) -> Value {
        let letters = self.letters(guest.name);
        let [letter] = &letters[..] else { panic!("{} has one dead letter: {letters:?}", guest.name) };
        assert_eq!(letter["evidence"]["reason"], reason, "{}: {}", guest.name, letter["evidence"]);
        assert_eq!((self.stats(guest.name)["acked"].as_u64(), self.seen()), (Some(0), vec![]), "{}", guest.name);
        letter.clone()
    }

    /// All messages of an attacker were acked.
    #[track_caller]
    pub(crate) fn survived(&self, guest: Hostile, count: usize) {
        let stats = self.stats(guest.name);
        let letters = self.letters(guest.name);
        assert_eq!((&stats["acked"], &stats["dead"]), (&count.into(), &0.into()), "{}: {letters:?}", guest.name);
    }

    /// The bodies that the attackers published to `seen`.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen_letters().iter().map(|letter| letter["body"].as_str().unwrap().to_owned()).collect()
    }

    /// The lengths of the bodies of what the attackers published to `seen`.
    pub(crate) fn seen_bytes(&self) -> Vec<u64> {
        self.letters(SEEN).iter().map(|letter| letter["body_bytes"].as_u64().unwrap()).collect()
    }

    /// The messages that the attackers published to `seen`, with all their fields.
    pub(crate) fn seen_letters(&self) -> Vec<Value> {
        self.letters(SEEN).iter().map(|letter| self.whole(letter)).collect()
    }

    /// Whether a text is anywhere in the files of the queue.
    pub(crate) fn holds(&self, text: &str) -> bool {
        let files = std::fs::read_dir(self.place.path()).unwrap().map(|entry| entry.unwrap().path());
        let is_of_queue = |path: &PathBuf| path.to_str().unwrap().contains("wasmpost.db");
        let mut found = files.filter(is_of_queue).filter_map(|path| std::fs::read(path).ok());
        found.any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    }

    /// The messages in the log about a receiver.
    pub(crate) fn logged(&self, receiver: &str) -> Vec<&str> {
        let receiver = queue(ATTACKER, receiver);
        let of_receiver = self.log.iter().filter(|event| event["receiver"] == *receiver);
        of_receiver.filter_map(|event| event["message"].as_str()).collect()
    }

    /// How many refusals of a receiver the host counted, but did not tell.
    pub(crate) fn more_denied(&self, receiver: &str) -> usize {
        let receiver = queue(ATTACKER, receiver);
        let of_receiver = self.log.iter().filter(|event| event["receiver"] == *receiver);
        of_receiver.filter_map(|event| event["denied"].as_u64()).sum::<u64>() as usize
    }

    /// Where in the log messages of a queue were acked.
    pub(crate) fn acked_at(&self, name: &str) -> Vec<usize> {
        let queue = queue(ATTACKER, name);
        positions(&self.log, |event| event["message"] == "acked" && event["queue"] == *queue)
    }

    /// Where in the log messages of the neighbour were acked.
    pub(crate) fn neighbours_acked_at(&self) -> Vec<usize> {
        let queue = queue(NEIGHBOUR, WORK);
        positions(&self.log, |event| event["message"] == "acked" && event["queue"] == *queue)
    }
}

fn positions(log: &[Value], is_meant: impl Fn(&Value) -> bool) -> Vec<usize> {
    log.iter().enumerate().filter(|(_, event)| is_meant(event)).map(|(position, _)| position).collect()
}

fn stats(place: &Place, queue: &str) -> Value {
    wasmpost_tests::stats(place, queue)
}

fn publish(place: &Place, queue: &str, messages: &[Value]) {
    let lines: String = messages.iter().map(|message| format!("{message}\n")).collect();
    place.run_with(&["publish", queue, "--ndjson", "-"], &lines).exits(0);
}

fn events(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"))).collect()
}
