//! A queue: what lies in it, and a message to try it with.

use std::sync::Arc;

use axum::extract::State;
use maud::html;

use super::parts::{Button, age, encoded, receiver_link};
use super::{Screen, screen as shown};
use crate::admin::api::queues::{OfBroker, find};
use crate::admin::pass::{Asked, Named, Pass};
use crate::admin::scene::Scene;
use crate::gate::Action;

pub(crate) async fn screen(
    State(scene): State<Arc<Scene>>,
    pass: Pass,
    Named(name): Named,
    Asked(query): Asked<OfBroker>,
) -> Screen {
    let row = find(&scene, &pass, &name, query.broker.as_deref()).await?;
    let of = format!("broker={}&queue={}", encoded(&row.broker), encoded(&row.queue));
    let count = Some(format!("/v1/dead-letters/count?{of}"));
    let selection = serde_json::json!({ "broker": row.broker, "queue": row.queue });
    let dash = || "–".to_owned();
    shown(html! {
        div data-live {
            h1 { "Queue " (row.queue) }
            dl {
                dt { "Broker" } dd { (row.broker) }
                @if let Some(tenant) = &row.tenant { dt { "Tenant" } dd { (tenant) } }
                dt { "Receiver" } dd {
                    @match &row.receiver {
                        Some(receiver) => { (receiver_link(receiver)) @if row.slowed { " " span.bad { "slowed" } } }
                        None => { "none in this host" }
                    }
                }
                dt { "Ready" } dd { (row.ready) }
                dt { "Oldest has been due for" } dd { (row.oldest_due_age_ms.map_or_else(dash, age)) }
                dt { "Oldest was published" } dd { (row.oldest_age_ms.map_or_else(dash, |old| format!("{} ago", age(old)))) }
                dt { "In flight" } dd { (row.leased) }
                dt { "Delayed" } dd { (row.delayed) }
                dt { "Acknowledged" } dd { (row.acked) " " span data-rate=(format!("{}/{}", row.broker, row.queue)) data-value=(row.acked) {} }
                dt { "Expired" } dd { (row.expired) }
                dt { "Dead letters" } dd { a href=(format!("#/dead-letters?{of}")) { (row.dead) } }
            }
            @if row.dead > 0 && (pass.also(Action::Redrive) || pass.also(Action::Purge)) {
                h2 { "All its dead letters" }
                p.buttons {
                    @if pass.also(Action::Redrive) {
                        (Button { label: "Redrive all", to: "/v1/dead-letters/redrive", body: Some(selection.clone()),
                            ask: "Put {count} dead letters back into the queue?", count: count.clone(), ..Button::default() }.shown())
                    }
                    @if pass.also(Action::Purge) {
                        (Button { label: "Purge all", to: "/v1/dead-letters/purge", body: Some(selection.clone()),
                            ask: "Delete {count} dead letters for good?", name: Some(&row.queue), count: count.clone(),
                            ..Button::default() }.shown())
                    }
                }
            }
            @if pass.also(Action::Publish) {
                h2 { "Publish a message" }
                details {
                    summary { "Write a message to topic " (row.queue) }
                    form.fields data-publish=(row.queue) data-broker=(row.broker) {
                        label for="attributes" { "Attributes, one NAME=VALUE on each line" }
                        textarea #attributes name="attributes" {}
                        label for="message" { "Body" }
                        textarea #message name="body" {}
                        p { button { "Publish" } }
                    }
                }
            }
        }
    })
}
