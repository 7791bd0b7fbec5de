//! Each kind of fault is found in a history that is sound but for it.

use super::*;
use crate::prove::letter::Wish;
use crate::prove::log::{Event, What};
use crate::prove::seen::{Dead, Waiting};

const RULES: Rules = Rules { concurrency: 2, crashes_max: 3 };

/// A ledger with its lives.
struct History {
    ledger: Ledger,
    lives: Vec<Life>,
}

/// Ids whose letters fulfil something.
fn ids(fulfils: impl Fn(&Letter) -> bool) -> impl Iterator<Item = String> {
    (0..).map(|number| format!("p {number}")).filter(move |id| fulfils(&Letter::of(id)))
}

fn event(at: u64, id: &str, what: What) -> Event {
    Event { at, id: id.to_owned(), what }
}

fn waiting(id: &str, deliveries: u32) -> Waiting {
    Waiting { id: id.to_owned(), deliveries, crashes: 1, is_leased: false, digest: Letter::of(id).digest() }
}

fn dead(id: &str, reason: &str, deliveries: u32, crashes: u32) -> Dead {
    Dead { id: id.to_owned(), reason: reason.to_owned(), deliveries, crashes, digest: Letter::of(id).digest() }
}

fn copies(id: &str, attempt: u32) -> Vec<Copy> {
    let letter = Letter::of(id);
    let one =
        |number: u32| Copy { source: id.to_owned(), number: number.to_string(), attempt, digest: letter.copy_digest() };
    (0..letter.copies()).map(one).collect()
}

/// Two messages with one key: the first is acked in a second life, the second rejected. A third dies of crashes.
fn sound() -> (History, [String; 3]) {
    let key = |letter: &Letter| letter.key.as_deref() == Some("p key 0");
    let first = ids(|letter| key(letter) && letter.wish == Wish::Copies(2)).next().unwrap();
    let second = ids(|letter| key(letter) && letter.wish == Wish::Reject).next().unwrap();
    let third = ids(|letter| letter.key.is_none() && letter.wish == Wish::Writers).next().unwrap();
    let mut ledger = Ledger::default();
    for id in [&first, &second, &third] {
        ledger.send(id);
        ledger.answer(id, Standing::Confirmed);
    }
    let earlier = Life {
        events: vec![
            event(0, &first, What::Begin(1)),
            event(1, &third, What::Begin(1)),
            event(5, &first, What::Failed(1, 20)),
            event(25, &first, What::Begin(2)),
        ],
        after: Snapshot {
            waiting: vec![waiting(&first, 2), waiting(&second, 0), waiting(&third, 1)],
            ..Snapshot::default()
        },
    };
    let later = Life {
        events: vec![
            event(50, &first, What::Begin(3)),
            event(51, &first, What::End(3)),
            event(52, &first, What::Acked),
            event(60, &second, What::Begin(1)),
            event(61, &second, What::Over),
        ],
        after: Snapshot {
            dead: vec![dead(&second, "rejected", 1, 0), dead(&third, "crash", 3, 3)],
            copies: copies(&first, 3),
            acked: 1,
            ..Snapshot::default()
        },
    };
    (History { ledger, lives: vec![earlier, later] }, [first, second, third])
}

#[track_caller]
fn finds(invariant: &str, spoil: impl FnOnce(&mut History, &[String; 3])) {
    let (mut history, ids) = sound();
    assert_eq!(faults(&history.ledger, &history.lives, RULES, true), []);
    spoil(&mut history, &ids);
    let found = faults(&history.ledger, &history.lives, RULES, true);
    assert!(found.iter().any(|fault| fault.invariant == invariant), "{invariant} is not among {found:?}");
}

impl History {
    fn last(&mut self) -> &mut Snapshot {
        &mut self.lives[1].after
    }
}

#[test]
fn a_confirmed_message_that_is_nowhere_is_found() {
    finds("I1", |history, _| drop(history.last().dead.pop()));
    finds("I1", |history, [first, ..]| {
        history.last().waiting.extend([waiting(first, 3), waiting(first, 3)]);
    });
}

#[test]
fn a_message_that_was_never_sent_or_is_another_one_is_found() {
    finds("I2", |history, _| history.last().waiting.push(waiting("p stranger", 0)));
    finds("I2", |history, _| history.last().dead[0].digest += 1);
    finds("I2", |history, _| history.last().copies[0].digest += 1);
    finds("I13", |history, [first, ..]| history.ledger.answer(first, Standing::Refused));
}

#[test]
fn copies_by_halves_twice_or_too_early_are_found() {
    finds("I11", |history, _| drop(history.last().copies.pop()));
    finds("I11", |history, [first, ..]| history.last().copies.extend(copies(first, 3)));
    finds("I11", |history, _| history.last().copies[0].attempt = 2);
    finds("I11", |history, [first, ..]| history.last().waiting.push(waiting(first, 3)));
    finds("I11", |history, _| history.last().acked = 2);
    finds("I17", |history, _| history.last().copies[0].number = "dropped".to_owned());
}

#[test]
fn dead_letters_that_are_doubled_or_died_of_something_else_are_found() {
    finds("I8", |history, [_, second, _]| history.last().dead.push(dead(second, "rejected", 1, 0)));
    finds("I8", |history, _| history.last().dead[0].reason = "timeout".to_owned());
    finds("promise 5", |history, _| history.last().dead[1].crashes = 2);
    finds("promise 5", |history, _| history.lives[0].after.waiting[2].crashes = 3);
}

#[test]
fn deliveries_that_do_not_grow_or_come_after_the_end_are_found() {
    finds("I4", |history, _| history.lives[1].events[0].what = What::Begin(2));
    finds("I4", |history, _| history.lives[0].after.waiting[0].deliveries = 0);
    finds("I3", |history, [first, ..]| {
        let after = history.last().clone();
        let events = vec![event(70, first, What::Begin(4))];
        history.lives.push(Life { events, after });
    });
}

#[test]
fn an_acked_message_that_is_forgotten_is_found() {
    finds("I3", |history, _| history.lives[0].events.push(event(30, "p 0", What::Acked)));
}

#[test]
fn leases_that_overlap_too_many_of_them_and_early_deliveries_are_found() {
    finds("I7", |history, [first, ..]| history.lives[0].events.push(event(30, first, What::Begin(3))));
    finds("I10", |history, _| {
        let others = ["p x", "p y"].map(|id| event(26, id, What::Begin(1)));
        history.lives[0].events.extend(others);
    });
    finds("I5", |history, _| history.lives[0].events[3].at = 15);
}

#[test]
fn keys_out_of_order_are_found() {
    finds("I9", |history, [_, second, _]| history.lives[0].events.push(event(30, second, What::Begin(1))));
}

#[test]
fn messages_left_after_a_drain_are_found() {
    finds("I16", |history, [_, second, _]| history.last().waiting.push(waiting(second, 1)));
    finds("I12", |history, [_, second, _]| {
        history.last().waiting.push(Waiting { is_leased: true, ..waiting(second, 1) });
    });
    finds("I14", |history, _| history.last().damage.push("page 3 is never used".to_owned()));
}
