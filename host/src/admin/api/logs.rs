//! The last lines that components wrote, and those that they write.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::Stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{page_size, receivers};
use crate::admin::pass::{Asked, Named, Pass};
use crate::admin::problem::Problem;
use crate::admin::scene::Scene;
use crate::kept::{KeptLine, KeptLog};

/// How many lines go out at a time.
const LINES_MAX: usize = 100;

/// The lines that are meant.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogsQuery {
    /// Only those behind this number; the last ones unless given.
    #[serde(default)]
    after: u64,
    /// The most lines, up to 200; 50 unless given.
    max: Option<usize>,
}

/// Lines of a component.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Logs {
    /// The lines, oldest first.
    lines: Vec<KeptLine>,
}

fn find(scene: &Scene, pass: &Pass, name: &str) -> Result<Option<Arc<KeptLog>>, Problem> {
    receivers::find(scene, pass, name)?;
    Ok(scene.logs.find(name))
}

pub(crate) async fn last(
    State(scene): State<Arc<Scene>>,
    pass: Pass,
    Named(name): Named,
    Asked(query): Asked<LogsQuery>,
) -> Result<Json<Logs>, Problem> {
    let max = page_size(query.max)?;
    let log = find(&scene, &pass, &name)?;
    Ok(Json(Logs { lines: log.map(|log| log.after(query.after, max)).unwrap_or_default() }))
}

pub(crate) async fn follow(
    State(scene): State<Arc<Scene>>,
    pass: Pass,
    Named(name): Named,
    Asked(query): Asked<LogsQuery>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let log = find(&scene, &pass, &name)?.ok_or_else(|| Problem::not_found("nothing is kept of its log"))?;
    let place = Arc::clone(&scene.streams).try_acquire_owned().map_err(|_| {
        let busy = Problem::new(StatusCode::TOO_MANY_REQUESTS, "busy", "too many streams are open; close one");
        Problem { retry_after: Some(5), ..busy }
    })?;
    let stream = futures::stream::unfold((log, place, query.after), |(log, place, mut after)| async move {
        log.has_more(after).await;
        let lines = log.after(after, LINES_MAX);
        after = lines.last().map_or(after, |line| line.number);
        let event = Event::default().event("lines").id(after.to_string()).json_data(&lines).unwrap_or_default();
        Some((Ok(event), (log, place, after)))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}
