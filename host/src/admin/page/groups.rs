//! Dead letters in groups: those that died alike.

use std::sync::Arc;

use axum::extract::State;
use maud::html;

use super::parts::{encoded, number, queue_link, time};
use super::{Screen, screen as shown};
use crate::admin::api::groups::{Group, GroupsQuery, groups};
use crate::admin::pass::{Asked, Pass};
use crate::admin::scene::Scene;

pub(crate) async fn screen(State(scene): State<Arc<Scene>>, pass: Pass, Asked(query): Asked<GroupsQuery>) -> Screen {
    let opened = scene.broker(query.broker())?;
    let broker = opened.name();
    let found = groups(&scene, &pass, query).await?;
    let letters = |group: &Group| {
        let [broker, queue, reason] = [broker, &group.queue, group.reason].map(encoded);
        format!("#/dead-letters?broker={broker}&queue={queue}&reason={reason}")
    };
    let example = |group: &Group| {
        let [id, broker, queue] = [&group.example, broker, &group.queue].map(encoded);
        format!("#/dead-letters/{id}?broker={broker}&queue={queue}")
    };
    shown(html! {
        h1 { "Dead letters that died alike" }
        p.mute { "Of " @if found.is_more { "the oldest " } (found.looked_at) " dead letters." }
        div.scroll { table {
            thead { tr {
                th.number scope="col" { "Letters" } th scope="col" { "Reason" } th scope="col" { "Error" }
                th scope="col" { "Queue" } th scope="col" { "First died" } th scope="col" { "Last died" }
                th scope="col" { "One of them" }
            } }
            tbody { @for group in &found.groups { tr {
                (number(group.count))
                td { a href=(letters(group)) { (group.reason) } }
                td { (group.error) }
                td { (queue_link(&group.queue, broker)) }
                td { (time(group.first_ms)) }
                td { (time(group.last_ms)) }
                td { a href=(example(group)) { (group.example) } }
            } } }
        } }
    })
}
