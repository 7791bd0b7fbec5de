//! The overview: what is wrong first, then every queue that is served.

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};
use wasmpost_delivery::BreakerState;

use super::parts::{age, number, queue_link, receiver_link};
use super::{Screen, screen as shown};
use crate::admin::api::queues::Queue;
use crate::admin::pass::Pass;
use crate::admin::scene::{Phase, Scene};
use crate::view::ReceiverStatus;

/// From how long on a message that is due waits too long, in milliseconds.
const LATE_MS: u64 = 60_000;
/// How many wrong things, and how many queues, are shown. The API lists all queues.
const WRONG_MAX: usize = 50;
const QUEUES_MAX: usize = 200;

pub(crate) async fn screen(State(scene): State<Arc<Scene>>, pass: Pass) -> Screen {
    let counted = scene.counted().await;
    let receivers = scene.receivers();
    let mut wrong: Vec<Markup> = Vec::new();
    match scene.phase() {
        Phase::Starting => wrong.push(html! { "The host starts: components are compiled, and brokers opened." }),
        Phase::Draining => wrong.push(html! { "The host stops: nothing new begins." }),
        Phase::Serving => {}
    }
    for counted in &counted {
        if let Err(error) = &counted.numbers.queues {
            let error = if pass.tenant().is_some() { "" } else { error };
            wrong.push(html! { "Broker " strong { (counted.opened.name()) } " does not answer. " (error) });
        }
    }
    let seen = receivers.iter().filter(|status| pass.sees_tenant(status.tenant.as_deref()));
    wrong.extend(seen.flat_map(wrong_of_receiver));
    let rows: Vec<Queue> = counted.iter().flat_map(|counted| counted.rows(&pass, &receivers)).collect();
    wrong.extend(rows.iter().flat_map(wrong_of_queue).take(WRONG_MAX));
    let (served, others): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.receiver.is_some());
    let waiting: u64 = others.iter().map(|row| row.ready + row.delayed).sum();
    shown(html! {
        div data-live {
            h1 { "Overview" }
            @if wrong.is_empty() { p.fine { "Nothing needs attention." } }
            @else {
                h2 { "Needs attention" }
                ul.wrong { @for one in wrong.iter().take(WRONG_MAX) { li { (one) } } }
                @if wrong.len() > WRONG_MAX { p.mute { "… and " (wrong.len() - WRONG_MAX) " more" } }
            }
            h2 { "Queues" }
            (table(served.iter().take(QUEUES_MAX)))
            @if served.len() > QUEUES_MAX {
                p.mute { "The first " (QUEUES_MAX) " of " (served.len()) " are shown; " code { "/v1/queues" } " lists all." }
            }
            @if !others.is_empty() {
                h2 { "Topics and queues without a receiver here" }
                p { (others.len()) " hold " (waiting) " messages." }
                (table(others.iter().filter(|row| row.ready + row.delayed + row.dead > 0).take(WRONG_MAX)))
            }
        }
    })
}

fn wrong_of_receiver(status: &ReceiverStatus) -> Vec<Markup> {
    let mut wrong = Vec::new();
    if let BreakerState::Open { pause_ms } = status.breaker {
        wrong.push(html! {
            "Receiver " (receiver_link(&status.receiver)) " faults on every message; it is tried once in " (age(pause_ms)) "."
        });
    }
    if status.given_back > 0 {
        wrong.push(html! {
            "Receiver " (receiver_link(&status.receiver)) " gave back " (status.given_back) " messages uncounted."
        });
    }
    wrong
}

fn wrong_of_queue(row: &Queue) -> Vec<Markup> {
    let mut wrong = Vec::new();
    if let Some(late) = row.oldest_due_age_ms.filter(|age| *age >= LATE_MS) {
        wrong.push(html! {
            "Queue " (queue_link(&row.queue, &row.broker)) ": the oldest message has been due for " (age(late)) "."
        });
    }
    if row.dead > 0 {
        let encode = super::parts::encoded;
        let to = format!("#/dead-letters?broker={}&queue={}", encode(&row.broker), encode(&row.queue));
        wrong.push(html! {
            "Queue " (queue_link(&row.queue, &row.broker)) " has " a href=(to) { (row.dead) " dead letters" } "."
        });
    }
    wrong
}

fn table<'a>(rows: impl Iterator<Item = &'a Queue>) -> Markup {
    html! {
        div.scroll { table {
            thead { tr {
                th scope="col" { "Queue" } th.number scope="col" { "Ready" } th.number scope="col" { "Due for" }
                th.number scope="col" { "In flight" } th.number scope="col" { "Delayed" } th.number scope="col" { "Dead" }
                th.number scope="col" { "Acknowledged" } th scope="col" { "Rate" } th scope="col" { "Receiver" }
            } }
            tbody { @for row in rows { tr {
                th scope="row" { (queue_link(&row.queue, &row.broker)) }
                (number(row.ready))
                (number(row.oldest_due_age_ms.map_or_else(|| "–".to_owned(), age)))
                (number(row.leased)) (number(row.delayed)) (number(row.dead)) (number(row.acked))
                td data-rate=(format!("{}/{}", row.broker, row.queue)) data-value=(row.acked) {}
                td {
                    @match &row.receiver {
                        Some(receiver) => { (receiver_link(receiver)) @if row.slowed { " " span.bad { "slowed" } } }
                        None => { span.mute { "none" } }
                    }
                }
            } } }
        } }
    }
}
