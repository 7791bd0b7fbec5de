//! The receivers.

use std::sync::Arc;

use axum::extract::State;
use maud::html;

use super::parts::{Button, age, micros, number, queue_link, receiver_link, size};
use super::{Screen, screen as shown};
use crate::admin::api::receivers::seen;
use crate::admin::pass::Pass;
use crate::admin::scene::Scene;
use crate::gate::Action;

/// How many receivers are shown. The API lists all.
const RECEIVERS_MAX: usize = 500;

pub(crate) async fn screen(State(scene): State<Arc<Scene>>, pass: Pass) -> Screen {
    let receivers = seen(&scene, &pass);
    let dash = || "–".to_owned();
    shown(html! {
        div data-live {
            h1 { "Receivers" }
            @if pass.also(Action::Reload) {
                p.buttons { (Button { label: "Reload components", to: "/v1/reload",
                    ask: "Load every component whose file has changed?", ..Button::default() }.shown()) }
            }
            div.scroll { table {
                thead { tr {
                    th scope="col" { "Receiver" } th scope="col" { "Queue" } th scope="col" { "State" }
                    th.number scope="col" { "In flight" } th.number scope="col" { "Acknowledged" }
                    th.number scope="col" { "Others" } th.number scope="col" { "95 % took" } th.number scope="col" { "95 % CPU" }
                    th.number scope="col" { "95 % memory" }
                } }
                tbody { @for receiver in receivers.iter().take(RECEIVERS_MAX) { tr {
                    th scope="row" { (receiver_link(&receiver.name)) }
                    td { (queue_link(&receiver.queue, &receiver.broker)) }
                    td { @match receiver.slowed_pause_ms {
                        Some(pause) => { span.bad { "slowed, pause " (age(pause)) } }
                        None => { "ok" }
                    } }
                    (number(format!("{} of {}", receiver.in_flight, receiver.concurrency)))
                    (number(receiver.acked))
                    (number(receiver.others.iter().map(|other| other.count).sum::<u64>()))
                    (number(receiver.took_us.p95.map_or_else(dash, |time| format!("< {}", micros(time)))))
                    (number(receiver.cpu_us.p95.map_or_else(dash, |time| format!("< {}", micros(time)))))
                    (number(receiver.memory_bytes.p95.map_or_else(dash, |bytes| format!("< {}", size(bytes)))))
                } } }
            } }
            @if receivers.len() > RECEIVERS_MAX {
                p.mute { "The first " (RECEIVERS_MAX) " of " (receivers.len()) " are shown; " code { "/v1/receivers" } " lists all." }
            }
        }
    })
}
