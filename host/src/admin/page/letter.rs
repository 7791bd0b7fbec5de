//! A dead letter: why it died, what each attempt came to, and its body for those who ask.

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};

use super::parts::{Button, encoded, micros, queue_link, receiver_link, size, time};
use super::{Screen, screen as shown};
use crate::admin::api::letter::{Letter, LetterAttempt};
use crate::admin::api::letters::{OneQuery, find};
use crate::admin::pass::{Asked, Named, Pass};
use crate::admin::scene::Scene;
use crate::gate::Action;

pub(crate) async fn screen(
    State(scene): State<Arc<Scene>>,
    pass: Pass,
    Named(id): Named,
    Asked(query): Asked<OneQuery>,
) -> Screen {
    let opened = scene.broker(query.broker.as_deref())?;
    let letter = find(&scene, &pass, &id, &query).await?;
    let broker = opened.name();
    let of = format!("broker={}&queue={}", encoded(broker), encoded(&letter.queue));
    let reveal = format!("/v1/dead-letters/{}/body?{of}", encoded(&letter.id));
    shown(html! {
        h1 { "Dead letter " (letter.id) }
        p.wrong { strong { (letter.reason) } ": " (letter.error) }
        (buttons(&pass, &letter, broker))
        h2 { "Attempts" }
        ol.attempts { @for attempt in &letter.attempts { (timeline(attempt)) } }
        @if letter.attempts.is_empty() { p.mute { "None is kept." } }
        @if let Some(backtrace) = &letter.backtrace { h2 { "Backtrace" } pre tabindex="0" { (backtrace) } }
        h2 { "Evidence" }
        (evidence(&letter, broker))
        h2 { "Attributes" }
        @if letter.attributes.is_empty() { p.mute { "None." } }
        dl { @for (name, values) in &letter.attributes { dt { (name) } dd { @for value in values { div { (value) } } } } }
        h2 { "Body" }
        p { (size(letter.body_bytes)) ", hidden." }
        div #body {
            @if pass.also(Action::SeeBodies) { button type="button" data-reveal=(reveal) { "Show the body" } }
            @else { p.mute { "This token may not see bodies." } }
        }
    })
}

fn buttons(pass: &Pass, letter: &Letter, broker: &str) -> Markup {
    let selection = serde_json::json!({ "broker": broker, "queue": letter.queue, "ids": [letter.id] });
    html! {
        p.buttons {
            @if pass.also(Action::Redrive) {
                (Button { label: "Redrive", to: "/v1/dead-letters/redrive", body: Some(selection.clone()),
                    ask: "Put this dead letter back into its queue?", then: Some("/dead-letters"), ..Button::default() }.shown())
            }
            @if pass.also(Action::Purge) {
                (Button { label: "Purge", to: "/v1/dead-letters/purge", body: Some(selection.clone()),
                    ask: "Delete this dead letter for good?", name: Some(&letter.queue), then: Some("/dead-letters"),
                    ..Button::default() }.shown())
            }
        }
    }
}

fn timeline(attempt: &LetterAttempt) -> Markup {
    let delay = attempt.delay_us.map(|delay| format!(", again after {}", micros(delay))).unwrap_or_default();
    html! {
        li {
            strong { "Attempt " (attempt.number) } " at " (time(attempt.started_at_ms)) ", took "
            (micros(attempt.duration_us)) ": " (attempt.verdict) (delay)
            br;
            span.bad { (attempt.reason) } ": " (attempt.error)
        }
    }
}

fn evidence(letter: &Letter, broker: &str) -> Markup {
    html! {
        dl {
            dt { "Queue" } dd { (queue_link(&letter.queue, broker)) }
            dt { "Topic" } dd { (letter.topic) }
            @if let Some(key) = &letter.key { dt { "Ordering key" } dd { (key) } }
            dt { "Published" } dd { (time(letter.published_at_ms)) }
            dt { "Died" } dd { (time(letter.dead_at_ms)) }
            dt { "Deliveries" } dd { (letter.deliveries) }
            dt { "Came through" } dd { (letter.hops) " receivers" }
            @if let Some(receiver) = &letter.receiver { dt { "Receiver" } dd { (receiver_link(receiver)) } }
            @if let Some(component) = &letter.component { dt { "Component" } dd { code { (component) } } }
            @if let Some(version) = &letter.component_version { dt { "Version" } dd { (version) } }
            dt { "CPU time" } dd { (micros(letter.cpu_us)) }
            dt { "Time" } dd { (micros(letter.wall_us)) }
            dt { "Memory" } dd { (size(letter.memory_peak_bytes)) }
        }
    }
}
