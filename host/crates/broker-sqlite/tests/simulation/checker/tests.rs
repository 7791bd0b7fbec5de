//! Each rule is seen to fail: short histories that each break one invariant.

use std::collections::BTreeSet;
use std::time::Duration;

use wasmpost_msg::{Attributes, Publication};

use super::{RULES, check};
use crate::guest::{ORIGIN, UNCLOSED};
use crate::history::{Answer, Dead, Event, How, Left, Outcome, Running, Taken, Time, What};
use crate::plan::{Kind, Plan};

const LASTS: Duration = Duration::from_secs(1);

/// A history in the making; it begins with a message that was published.
struct Story(Vec<Event>);

fn plan() -> Plan {
    let mut plan = Plan::of(1, Kind::Sqlite, None);
    plan.retry.attempts_max = 3;
    plan.retry.backoff_first = Duration::from_millis(100);
    plan
}

fn message(key: Option<&str>) -> Publication {
    let mut attributes = Attributes::new();
    attributes.set(ORIGIN, "outside");
    Publication { key: key.map(str::to_owned), ..Publication::new("work", attributes, "content") }
}

fn published_by(source: &str, attempt: u32, body: &'static str) -> Publication {
    let mut attributes = Attributes::new();
    attributes.set(ORIGIN, format!("{source}|{attempt}|0"));
    Publication { hops: 1, ..Publication::new("next", attributes, body) }
}

fn dead(id: &str) -> Dead {
    Dead { queue: "work".into(), id: id.into(), message: message(None), reason: "attempts" }
}

fn taken(lease: usize, queue: &str, id: &str, deliveries: u32, message: Publication) -> What {
    let queue = queue.to_owned();
    let id = id.to_owned();
    What::Leased(Taken { lease, queue, message, id, deliveries, failures: 0, lasts: LASTS })
}

fn nack(delay: u64) -> How {
    How::Nack { delay: Duration::from_millis(delay), counted: true }
}

impl Story {
    fn new() -> Self {
        Self(Vec::new()).then(0, What::Life { wall: 0 }).publish("a", None)
    }

    fn then(mut self, at: Time, what: What) -> Self {
        self.0.push(Event { at, what });
        self
    }

    fn publish(self, id: &str, key: Option<&str>) -> Self {
        let publication = Publication { id: Some(id.into()), ..message(key) };
        self.then(0, What::Publishing(publication)).then(0, What::Confirmed { id: id.into() })
    }

    /// A delivery of the message `a`.
    fn lease(self, at: Time, lease: usize, deliveries: u32) -> Self {
        self.then(at, taken(lease, "work", "a", deliveries, message(None)))
    }

    /// The same, and the receiver is about to get it.
    fn begun(self, at: Time, lease: usize, deliveries: u32) -> Self {
        self.lease(at, lease, deliveries).then(at, What::Begun { lease })
    }

    fn crash(self, at: Time) -> Self {
        self.then(at, What::Crashed { at: None, frees: true }).then(at, What::Life { wall: 0 })
    }

    fn answer(self, at: Time, lease: usize, answer: Answer, published: usize) -> Self {
        self.then(at, What::Answered { lease, answer, published })
    }

    fn settle(self, at: Time, lease: usize, how: How) -> Self {
        self.then(at, What::Settling { lease, how }).then(at, What::Settled { lease, outcome: Outcome::Done })
    }

    fn ack(self, at: Time, lease: usize) -> Self {
        self.answer(at, lease, Answer::Ok, 0)
            .settle(at, lease, How::Ack { published: 0 })
            .then(at, What::Durable { lease })
    }

    fn end(self, dead: Vec<Dead>) -> Vec<Event> {
        self.then(60_000, What::End { dead, expired: 0, left: 0 }).0
    }

    /// The invariants that it violates.
    fn violates(self, dead: Vec<Dead>) -> BTreeSet<&'static str> {
        check(&plan(), &self.end(dead)).into_iter().map(|violation| violation.invariant).collect()
    }
}

/// For each invariant, histories that break it.
fn broken() -> Vec<(&'static str, Story, Vec<Dead>)> {
    let other = Publication { body: "other".into(), ..message(None) };
    let running = Running { of_receiver: 3, of_receiver_max: 2, of_share: 3, of_share_max: 9 };
    let left = Left { in_flight: 1, running: 0, ended: true, leased: Some(0) };
    let acked = || Story::new().lease(10, 1, 1).ack(20, 1);
    let answered = || Story::new().lease(10, 1, 1).settle(20, 1, How::Ack { published: 0 });
    let keyed = |lease, id| taken(lease, "work", id, 1, message(Some("k")));
    let retried = Story::new().lease(10, 1, 1).answer(20, 1, Answer::Retry, 0);
    let two_keyed =
        || Story(Vec::new()).then(0, What::Life { wall: 0 }).publish("a", Some("k")).publish("b", Some("k"));
    let acked_with_outbox =
        || Story::new().lease(10, 1, 1).answer(20, 1, Answer::Ok, 1).settle(20, 1, How::Ack { published: 1 });
    let out = |lease, body| taken(lease, "next", "out", 1, published_by("a", 1, body));
    vec![
        ("I1", Story::new(), vec![]),
        ("I1", acked().then(30, What::Unreadable { error: "damaged".into() }), vec![]),
        ("I2", acked().then(30, taken(2, "work", "b", 1, message(None))).ack(40, 2), vec![]),
        ("I2", Story::new().then(10, taken(1, "work", "a", 1, other)).ack(20, 1), vec![]),
        ("I3", acked().lease(2000, 2, 2), vec![]),
        ("I3", answered().lease(2000, 2, 2).ack(2100, 2), vec![]),
        ("I4", Story::new().begun(10, 1, 1).crash(20).lease(40, 2, 1).ack(50, 2), vec![]),
        ("I4", Story::new().lease(10, 1, 1).settle(20, 1, nack(100)).lease(200, 2, 1).ack(210, 2), vec![]),
        ("I5", Story::new().lease(10, 1, 1).settle(20, 1, nack(5000)).lease(200, 2, 2).ack(210, 2), vec![]),
        ("I5", retried.settle(20, 1, nack(50)).lease(99, 2, 2).ack(210, 2), vec![]),
        ("I6", Story::new().lease(10, 1, 1).lease(1100, 2, 2).ack(1200, 1), vec![]),
        ("I6", Story::new().lease(10, 1, 1).ack(1200, 1), vec![]),
        ("I7", Story::new().lease(10, 1, 1).lease(900, 2, 2).ack(950, 2), vec![]),
        ("I8", Story::new().lease(10, 1, 1).settle(20, 1, How::Reject), vec![]),
        ("I8", Story::new().lease(10, 1, 1).settle(20, 1, How::Reject), vec![dead("a"), dead("a")]),
        ("I8", Story::new().lease(10, 1, 1).settle(20, 1, How::Reject).lease(30, 2, 2), vec![dead("a")]),
        ("I8", acked(), vec![dead("a")]),
        ("I9", two_keyed().then(10, keyed(1, "b")).ack(20, 1).then(30, keyed(2, "a")).ack(40, 2), vec![]),
        ("I10", Story::new().lease(10, 1, 1).then(10, What::Began { lease: 1, running }).ack(20, 1), vec![]),
        ("I11", acked_with_outbox(), vec![]),
        ("I11", acked_with_outbox().then(15, out(2, "")).lease(5000, 3, 2), vec![]),
        (
            "I11",
            Story::new()
                .lease(10, 1, 1)
                .answer(20, 1, Answer::Retry, 1)
                .settle(20, 1, nack(100))
                .then(30, out(2, ""))
                .lease(200, 3, 2)
                .ack(210, 3),
            vec![],
        ),
        ("I12", acked().then(30, What::Drained(left)), vec![]),
        (
            "I12",
            Story::new()
                .lease(10, 1, 1)
                .then(20, What::Drained(Left { in_flight: 0, running: 0, ended: true, leased: Some(1) }))
                .lease(30, 2, 2)
                .ack(40, 2),
            vec![],
        ),
        ("I16", acked().then(30, What::Stuck { left: "one".into() }), vec![]),
        (
            "I18",
            Story::new().lease(10, 1, 1).answer(20, 1, Answer::Retry, 0).settle(20, 1, How::Ack { published: 0 }),
            vec![],
        ),
        (
            "I18",
            Story::new().lease(10, 1, 1).answer(20, 1, Answer::Ok, 0).settle(20, 1, nack(100)).lease(200, 2, 2),
            vec![],
        ),
        ("I17", acked().then(30, out(2, UNCLOSED)).ack(40, 2), vec![]),
    ]
}

#[test]
fn a_history_without_a_fault_violates_nothing() {
    let plain = Story::new().lease(10, 1, 1).ack(20, 1);
    assert_eq!(plain.violates(vec![]), BTreeSet::new());
    let failed = Story::new().lease(10, 1, 1).answer(20, 1, Answer::Reject, 0).settle(20, 1, How::Reject);
    assert_eq!(failed.violates(vec![dead("a")]), BTreeSet::new());
    let crashed =
        Story::new().lease(10, 1, 1).then(20, What::Crashed { at: None, frees: true }).then(30, What::Life { wall: 0 });
    assert_eq!(crashed.lease(40, 2, 2).ack(50, 2).violates(vec![]), BTreeSet::new());
    let not_begun = Story::new().lease(10, 1, 1).crash(20).lease(40, 2, 1).ack(50, 2);
    assert_eq!(not_begun.violates(vec![]), BTreeSet::new());
    // A power cut loses what was not on disk: an ack, and the number of an attempt.
    let cut = |story: Story| story.crash(30).then(30, What::PowerCut).lease(40, 2, 1).ack(50, 2).violates(vec![]);
    assert_eq!(cut(Story::new().begun(10, 1, 1)), BTreeSet::new());
    assert_eq!(cut(Story::new().begun(10, 1, 1).settle(20, 1, How::Ack { published: 0 })), BTreeSet::new());
    let passed_on = Story::new()
        .begun(10, 1, 1)
        .answer(20, 1, Answer::Ok, 1)
        .settle(20, 1, How::Ack { published: 1 })
        .then(25, taken(3, "next", "out", 1, published_by("a", 1, "")))
        .then(25, taken(4, "copy", "out", 1, published_by("a", 1, "")));
    assert!(!cut(passed_on).contains("I11"), "ack and outbox are lost together");
    assert!(cut(Story::new().begun(10, 1, 1).settle(20, 1, nack(0))).contains("I4"), "a nack is on disk");
}

#[test]
fn each_invariant_is_seen_to_be_broken() {
    let mut seen = BTreeSet::new();
    for (number, (invariant, story, dead)) in broken().into_iter().enumerate() {
        let violated = story.violates(dead);
        assert!(violated.contains(invariant), "history {number} violates {invariant}: {violated:?}");
        seen.insert(invariant);
    }
    let all: BTreeSet<_> = RULES.iter().map(|(invariant, ..)| *invariant).collect();
    assert_eq!(seen, all);
}
