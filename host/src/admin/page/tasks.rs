//! Tasks, and who changed something.

use std::sync::Arc;

use axum::extract::State;
use maud::html;

use super::parts::{Button, number, time};
use super::{Screen, screen as shown};
use crate::admin::pass::Pass;
use crate::admin::scene::Scene;
use crate::admin::tasks::State as TaskState;
use crate::gate::Action;

/// How many entries of each are shown. The API lists all that are kept.
const ENTRIES_MAX: usize = 100;

pub(crate) async fn screen(State(scene): State<Arc<Scene>>, pass: Pass) -> Screen {
    let tasks = scene.tasks.seen(&pass);
    let entries = scene.audit.before(&pass, u64::MAX, ENTRIES_MAX);
    shown(html! {
        div data-live {
            h1 { "Tasks and audit" }
            h2 { "Tasks" }
            @if tasks.is_empty() { p.mute { "None since the host started." } }
            @else { div.scroll { table {
                thead { tr {
                    th scope="col" { "Began" } th scope="col" { "Task" } th scope="col" { "By" } th scope="col" { "State" }
                    th.number scope="col" { "Done" } th scope="col" { "End it" }
                } }
                tbody { @for task in tasks.iter().take(ENTRIES_MAX) { tr {
                    td { (time(task.began_ms)) }
                    td { (format!("{:?}", task.kind).to_lowercase()) " " (task.about) }
                    td { (task.by) }
                    td { (format!("{:?}", task.state).to_lowercase()) @if let Some(error) = &task.error { ": " span.bad { (error) } } }
                    (number(task.count.map_or_else(|| "–".to_owned(), |count| count.to_string())))
                    td { @if task.state == TaskState::Running && pass.also(Action::CancelTask) {
                        (Button { label: "Cancel", to: &format!("/v1/tasks/{}", task.id), method: "DELETE",
                            ask: "Cancel this task? What it did is done.", ..Button::default() }.shown())
                    } }
                } } }
            } } }
            h2 { "Audit" }
            @if entries.is_empty() { p.mute { "Nobody changed anything since the host started." } }
            @else { div.scroll { table {
                thead { tr {
                    th scope="col" { "When" } th scope="col" { "Token" } th scope="col" { "Action" } th scope="col" { "Thing" }
                } }
                tbody { @for entry in &entries { tr {
                    td { (time(entry.at_ms)) } td { (entry.by) } td { (entry.action) } td { (entry.thing) }
                } } }
            } } }
        }
    })
}
