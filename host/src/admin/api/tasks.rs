//! Tasks, and the audit.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::page_size;
use crate::admin::audit::Entry;
use crate::admin::pass::{Asked, Named, Pass};
use crate::admin::problem::Problem;
use crate::admin::scene::Scene;
use crate::admin::tasks::Task;

/// Tasks.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TaskList {
    /// The last 200 tasks, the last first.
    tasks: Vec<Task>,
}

/// The entries that are meant.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditQuery {
    /// Only those before this number.
    before: Option<u64>,
    /// The most entries, up to 200; 50 unless given.
    max: Option<usize>,
}

/// Entries of the audit.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AuditList {
    /// The entries, the last first. The last thousand are kept.
    entries: Vec<Entry>,
}

pub(crate) async fn list(State(scene): State<Arc<Scene>>, pass: Pass) -> Json<TaskList> {
    Json(TaskList { tasks: scene.tasks.seen(&pass) })
}

pub(crate) async fn one(State(scene): State<Arc<Scene>>, pass: Pass, Named(id): Named) -> Result<Json<Task>, Problem> {
    scene.tasks.find(&pass, &id).map(Json)
}

pub(crate) async fn cancel(
    State(scene): State<Arc<Scene>>,
    pass: Pass,
    Named(id): Named,
) -> Result<Json<Task>, Problem> {
    let task = scene.tasks.cancel(&pass, &id)?;
    scene.audit.note(&pass, &id, task.tenant.as_deref());
    Ok(Json(task))
}

pub(crate) async fn audit(
    State(scene): State<Arc<Scene>>,
    pass: Pass,
    Asked(query): Asked<AuditQuery>,
) -> Result<Json<AuditList>, Problem> {
    let max = page_size(query.max)?;
    Ok(Json(AuditList { entries: scene.audit.before(&pass, query.before.unwrap_or(u64::MAX), max) }))
}
