//! A receiver: its component, its limits against what it used, and its log as it is written.

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};

use super::parts::{age, encoded, micros, number, queue_link, size};
use super::{Screen, screen as shown};
use crate::admin::api::receivers::{Receiver, Spread, find};
use crate::admin::pass::{Named, Pass};
use crate::admin::scene::Scene;
use crate::gate::Action;

pub(crate) async fn screen(State(scene): State<Arc<Scene>>, pass: Pass, Named(name): Named) -> Screen {
    let receiver = find(&scene, &pass, &name)?;
    let events = format!("/v1/receivers/{}/logs/events", encoded(&receiver.name));
    shown(html! {
        div data-live {
            h1 { "Receiver " (receiver.name) }
            (facts(&receiver))
            h2 { "Use against limits" }
            div.scroll { table {
                thead { tr {
                    th scope="col" { "Of a delivery" } th.number scope="col" { "Half below" } th.number scope="col" { "95 % below" }
                    th.number scope="col" { "99 % below" } th.number scope="col" { "Limit" }
                } }
                tbody {
                    (spread("Time until settled", &receiver.took_us, micros, receiver.limits.wall_us))
                    (spread("CPU time", &receiver.cpu_us, micros, receiver.limits.cpu_us))
                    (spread("Memory", &receiver.memory_bytes, size, receiver.limits.memory_bytes))
                }
            } }
            @if !receiver.others.is_empty() {
                h2 { "Not acknowledged" }
                dl { @for other in &receiver.others { dt { (other.outcome) ", " (other.reason) } dd { (other.count) } } }
            }
            @if pass.also(Action::SeeLogs) {
                h2 #log { "Log" }
                ol.log data-log=(events) tabindex="0" aria-labelledby="log" {}
            }
        }
    })
}

fn facts(receiver: &Receiver) -> Markup {
    html! {
        dl {
            dt { "State" } dd { @match receiver.slowed_pause_ms {
                Some(pause) => { span.bad { "slowed: it faults on every message; pause " (age(pause)) } }
                None => { "ok" }
            } }
            dt { "Queue" } dd { (queue_link(&receiver.queue, &receiver.broker)) }
            @if let Some(tenant) = &receiver.tenant { dt { "Tenant" } dd { (tenant) } }
            dt { "Component" } dd { code { (receiver.component) } }
            @if let Some(world) = &receiver.world { dt { "World" } dd { (world) } }
            dt { "In flight" } dd { (receiver.in_flight) " of " (receiver.concurrency) }
            dt { "Given back" } dd { (receiver.given_back) }
            dt { "Acknowledged" } dd { (receiver.acked) " " span data-rate=(format!("receiver {}", receiver.name)) data-value=(receiver.acked) {} }
            dt { "Published" } dd { (receiver.published) }
        }
    }
}

fn spread(name: &str, spread: &Spread, shown: fn(u64) -> String, limit: u64) -> Markup {
    let cell = |bound: Option<u64>| number(bound.map_or_else(|| "–".to_owned(), shown));
    html! {
        tr { th scope="row" { (name) } (cell(spread.p50)) (cell(spread.p95)) (cell(spread.p99)) (number(shown(limit))) }
    }
}
