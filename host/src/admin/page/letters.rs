//! Dead letters: a page of them, and what becomes of those that are selected.

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};
use wasmpost_msg::Reason;

use super::parts::{Button, encoded, number, queue_link, short, time};
use super::{Screen, screen as shown};
use crate::admin::api::letter::Letter;
use crate::admin::api::letters::{LettersQuery, counted, page};
use crate::admin::pass::{Asked, Pass};
use crate::admin::scene::Scene;
use crate::gate::Action;

pub(crate) async fn screen(State(scene): State<Arc<Scene>>, pass: Pass, Asked(query): Asked<LettersQuery>) -> Screen {
    let opened = scene.broker(query.broker.as_deref())?;
    let broker = opened.name();
    let found = page(&scene, &pass, &query).await?;
    // Of those with a reason the broker looks at each, which is done when somebody wants to act on them.
    let is_quick = query.reason.as_deref().is_none_or(str::is_empty);
    let all = if is_quick { counted(&scene, &pass, &query).await.ok() } else { None };
    let queue = query.queue.as_deref().filter(|queue| !queue.is_empty());
    let reason = query.reason.as_deref().filter(|reason| !reason.is_empty());
    let next = found.next.as_ref().map(|cursor| {
        let parts = [("queue", queue), ("reason", reason), ("broker", Some(broker)), ("cursor", Some(cursor))];
        let parts = parts.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(value?))));
        format!("#/dead-letters?{}", parts.collect::<Vec<_>>().join("&"))
    });
    shown(html! {
        h1 { "Dead letters" }
        p { a href=(format!("#/dead-letter-groups?broker={}", encoded(broker))) { "Groups that died alike" } }
        form.buttons data-screen="dead-letters" {
            input type="hidden" name="broker" value=(broker);
            label for="queue" { "Queue" } input #queue name="queue" value=[queue];
            label for="reason" { "Reason" }
            select #reason name="reason" {
                option value="" { "any" }
                @for word in Reason::ALL.iter().map(|reason| reason.as_str()) {
                    option value=(word) selected[reason == Some(word)] { (word) }
                }
            }
            button { "Show" }
        }
        @if let Some(all) = all {
            p.mute { @if all.is_more { "More than " } (all.count) " dead letters, oldest first." }
        }
        (table(&found.letters, broker))
        @if let Some(next) = next { p { a href=(next) { "Next page" } } }
        @if !found.letters.is_empty() { (buttons(&pass, broker, queue, reason)) }
    })
}

fn table(letters: &[Letter], broker: &str) -> Markup {
    html! {
        div.scroll { table {
            thead { tr {
                th scope="col" { "Select" } th scope="col" { "Message" } th scope="col" { "Queue" }
                th scope="col" { "Reason" } th.number scope="col" { "Attempts" } th scope="col" { "Died" }
                th scope="col" { "Error" }
            } }
            tbody { @for letter in letters { tr {
                td { input type="checkbox" name="letter" value=(letter.id) aria-label=(format!("Select {}", letter.id)); }
                th scope="row" { a href=(link(letter, broker)) { (letter.id) } }
                td { (queue_link(&letter.queue, broker)) }
                td { (letter.reason) }
                (number(letter.deliveries))
                td { (time(letter.dead_at_ms)) }
                td { (short(&letter.error)) }
            } } }
        } }
    }
}

/// A link to the screen of a letter.
fn link(letter: &Letter, broker: &str) -> String {
    let [id, queue, broker] = [&letter.id, &letter.queue, broker].map(encoded);
    format!("#/dead-letters/{id}?broker={broker}&queue={queue}")
}

/// Buttons for the letters that are selected, and of all that the filter means.
fn buttons(pass: &Pass, broker: &str, queue: Option<&str>, reason: Option<&str>) -> Markup {
    let selection = serde_json::json!({ "broker": broker, "queue": queue, "reason": reason });
    let mut of = format!("broker={}", encoded(broker));
    for (name, value) in [("queue", queue), ("reason", reason)] {
        of.push_str(&value.map_or_else(String::new, |value| format!("&{name}={}", encoded(value))));
    }
    let count = Some(format!("/v1/dead-letters/count?{of}"));
    let is_filtered = queue.is_some() || reason.is_some() && pass.tenant().is_none();
    let may_select = pass.tenant().is_none() || queue.is_some();
    html! {
        p.buttons {
            @if pass.also(Action::Redrive) && may_select {
                (Button { label: "Redrive selected", to: "/v1/dead-letters/redrive", body: Some(selection.clone()),
                    ask: "Put {count} dead letters back into their queues?", of_selected: true, ..Button::default() }.shown())
            }
            @if pass.also(Action::Redrive) && is_filtered {
                (Button { label: "Redrive all that the filter means", to: "/v1/dead-letters/redrive",
                    body: Some(selection.clone()), ask: "Put {count} dead letters back into their queues?",
                    count: count.clone(), ..Button::default() }.shown())
            }
            @if let (true, Some(name)) = (pass.also(Action::Purge), queue) {
                (Button { label: "Purge selected", to: "/v1/dead-letters/purge", body: Some(selection.clone()),
                    ask: "Delete {count} dead letters for good?", name: Some(name), of_selected: true,
                    ..Button::default() }.shown())
                (Button { label: "Purge all that the filter means", to: "/v1/dead-letters/purge",
                    body: Some(selection.clone()), ask: "Delete {count} dead letters for good?", name: Some(name),
                    count: count.clone(), ..Button::default() }.shown())
            }
        }
        @if pass.also(Action::Purge) && queue.is_none() { p.mute { "To purge, show one queue." } }
    }
}
