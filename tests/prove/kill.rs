//! A host that is killed at random times and at every critical point, again and again, under load. Every message is
//! accounted for: the confirmed ones, the published ones, and those in the file.
//!
//! `WASMPOST_PROVE_ROUNDS` says how often, `WASMPOST_SEED` repeats a run.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A fault fails the test.
#![allow(clippy::print_stderr)] // A proof tells its figures.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use wasmpost_delivery::prove::Point;
use wasmpost_tests::prove::account::{Rules, assert_none, faults};
use wasmpost_tests::prove::order;
use wasmpost_tests::prove::seen::{Ledger, Life, Standing};
use wasmpost_tests::{Place, prove};
use wasmpost_tests_host::prove::host::{CONCURRENCY, Proved, command, database, place_with_http};
use wasmpost_tests_host::prove::load::publish_all;
use wasmpost_tests_host::prove::posting::post_all;
use wasmpost_tests_host::prove::{number, random};

const RULES: Rules = Rules { concurrency: CONCURRENCY, crashes_max: 3 };
/// How many rounds one queue file lives.
const ROUNDS_OF_A_FILE: u64 = 24;
const PUBLISHERS: usize = 3;
const MESSAGES_OF_A_PUBLISHER: usize = 25;
/// How long a point may take to be reached.
const POINT_PATIENCE: Duration = Duration::from_secs(4);
/// How long the last host may take to do what is left, and how long without a word.
const DRAIN_PATIENCE: Duration = Duration::from_secs(600);
const QUIET: Duration = Duration::from_secs(30);

/// How a life ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// Killed after so long.
    Kill(Duration),
    /// By itself, as it passes a point for the nth time.
    At(Point, u64),
    /// In order, when it is told to.
    Stop,
}

/// One queue file and all that happened to it.
struct Campaign {
    place: Place,
    ledger: Mutex<Ledger>,
    lives: Vec<Life>,
    reached: BTreeMap<Point, u64>,
    random: fastrand::Rng,
}

impl Campaign {
    fn new(random: fastrand::Rng) -> Self {
        let place = place_with_http();
        let ledger = Mutex::new(Ledger::kept_in(&place.path().join("ledger")).unwrap());
        Self { place, ledger, lives: vec![], reached: BTreeMap::new(), random }
    }

    /// The messages of a round: new ones, and some of those that nobody knows about, once more.
    fn messages(&mut self) -> Vec<Vec<String>> {
        let round = self.lives.len();
        let ids = |name: usize| (0..MESSAGES_OF_A_PUBLISHER).map(|at| format!("p{name} {round}.{at}")).collect();
        let mut messages: Vec<Vec<String>> = (0..PUBLISHERS).map(ids).collect();
        let ledger = self.ledger.lock().unwrap();
        messages.push(ledger.unknown().filter(|_| self.random.bool()).map(str::to_owned).collect());
        messages
    }

    /// One life of a host, from its start to an end.
    async fn live(&mut self, end: End) {
        let mut messages = self.messages();
        let name = format!("life-{}", self.lives.len());
        let mut command = command(&self.place, prove::program(), &[]);
        if let End::At(point, number) = end {
            command.env("WASMPOST_CRASH", format!("{}:{number}", point.name()));
        }
        let mut host = Proved::start(&self.place, command, &name);
        if host.connect().await.is_some() {
            // One of the publishers sends its messages by HTTP.
            let posted = messages.remove(0);
            let address = host.http().await;
            let database = database(&self.place);
            let mut random = self.random.fork();
            let load = publish_all(&database, messages, &mut random, &self.ledger);
            let posting = post_all(address, posted, &self.ledger);
            let ending = tokio::task::spawn_blocking(move || {
                let has_ended = finish(&mut host, end);
                (host, has_ended)
            });
            let ((), (), ended) = tokio::join!(load, posting, ending);
            let (ended_host, has_ended) = ended.unwrap();
            host = ended_host;
            if let End::At(point, _) = end {
                *self.reached.entry(point).or_default() += u64::from(has_ended);
            }
        } else if let End::At(point, _) = end {
            // It came to the point while it took over what the one before had left.
            *self.reached.entry(point).or_default() += 1;
        }
        self.lives.push(host.life());
        self.ledger.lock().unwrap().life += 1;
    }

    /// A last life without faults, which does all that is left; then nothing may be missing.
    fn settle(&mut self) {
        let command = command(&self.place, prove::program(), &["--until-empty"]);
        let mut host = Proved::start(&self.place, command, "last");
        let ended = host.end_unless_quiet(QUIET, DRAIN_PATIENCE);
        assert!(ended.is_some_and(|status| status.success()), "not drained: {ended:?}\n{}", host.log());
        self.lives.push(host.life());
        let ledger = self.ledger.lock().unwrap();
        let faults = faults(&ledger, &self.lives, RULES, true);
        if !faults.is_empty() {
            let kept = self.place.keep();
            eprintln!("logs and queue file: {}", kept.display());
        }
        assert_none(&faults);
    }

    /// Prints the numbers of messages that were accounted for.
    fn tell(&self) {
        let ledger = self.ledger.lock().unwrap();
        let last = &self.lives.last().unwrap().after;
        let unknown = ledger.sent.values().filter(|sent| sent.standing == Standing::Unknown).count();
        let begun: usize = self.lives.iter().map(|life| life.events.len()).sum();
        let interrupted: usize = self.lives.iter().map(order::interrupted).sum();
        let mut dead: BTreeMap<&str, usize> = BTreeMap::new();
        last.dead.iter().for_each(|dead_letter| *dead.entry(&dead_letter.reason).or_default() += 1);
        eprintln!(
            "{} lives, {} messages sent, {unknown} of them never confirmed; {} acked, {} copies, dead {dead:?}; \
             {interrupted} deliveries interrupted; {begun} lines of log",
            self.lives.len(),
            ledger.sent.len(),
            last.acked,
            last.copies.len(),
        );
    }
}

/// Brings a host to its end. Says whether it came to it by itself.
fn finish(host: &mut Proved, end: End) -> bool {
    match end {
        End::Kill(after) => {
            let ended = host.end_within(after);
            assert!(ended.is_none(), "host ended by itself: {ended:?}\n{}", host.log());
            host.kill();
            false
        }
        End::At(..) => {
            let has_ended = host.end_within(POINT_PATIENCE).is_some();
            host.kill();
            has_ended
        }
        End::Stop => {
            wasmpost_tests::signal(&host.child, "TERM");
            let ended = host.end_within(wasmpost_tests::PATIENCE);
            assert!(ended.is_some_and(|status| status.success()), "not stopped: {ended:?}\n{}", host.log());
            true
        }
    }
}

fn end(round: u64, random: &mut fastrand::Rng) -> End {
    let points = Point::ALL.len() as u64;
    match round % (2 * points) {
        at if at % 2 == 0 => {
            let point = Point::ALL[(at / 2) as usize];
            // The first dead letter is the only one that is sure to come.
            let most = if point == Point::DeadLetterMoving { 2 } else { 25 };
            End::At(point, random.u64(1..=most))
        }
        5 => End::Stop,
        _ => End::Kill(Duration::from_millis(random.u64(0..400))),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_by_a_host_that_is_killed_at_random_and_at_every_point() {
    let mut random = random();
    let rounds = number("WASMPOST_PROVE_ROUNDS", 2 * Point::ALL.len() as u64);
    let mut reached: BTreeMap<Point, u64> = BTreeMap::new();
    let mut round = 0;
    while round < rounds {
        let mut campaign = Campaign::new(random.fork());
        for _ in 0..ROUNDS_OF_A_FILE.min(rounds - round) {
            campaign.live(end(round, &mut random)).await;
            round += 1;
        }
        campaign.settle();
        campaign.tell();
        campaign.reached.iter().for_each(|(point, times)| *reached.entry(*point).or_default() += times);
    }
    let reached: Vec<_> = Point::ALL.into_iter().map(|point| (point.name(), reached.get(&point).copied())).collect();
    eprintln!("points: {reached:?}");
    let missed = reached.iter().filter(|(_, times)| times.is_none_or(|times| times == 0)).count();
    assert!(rounds < 2 * Point::ALL.len() as u64 || missed <= 1, "points were not reached: {reached:?}");
}
