//! Redriving and purging dead letters that are selected.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use wasmpost_delivery::DeadLetterFilter;
use wasmpost_msg::tenant_of;

use super::letters::reason_of;
use crate::admin::pass::{Pass, Sent};
use crate::admin::problem::Problem;
use crate::admin::scene::{Opened, Scene};
use crate::admin::tasks::{Kind, Task, about};
use crate::gate::Action;

/// How many ids a selection names at most.
const IDS_MAX: usize = 1000;

/// Dead letters that something is to become of.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Selection {
    /// The broker: the only one, or `default`, unless given.
    broker: Option<String>,
    /// Only those of this queue. To purge, and for a token of a tenant, it has to be given.
    queue: Option<String>,
    /// Only those that died for this reason.
    reason: Option<String>,
    /// Only those of these messages, up to a thousand.
    #[serde(default)]
    ids: Vec<String>,
    /// To purge: the name of the queue once more.
    confirm: Option<String>,
}

impl Selection {
    /// The broker and the filter that are meant, with the tenant whose letters they are.
    fn checked(self, scene: &Scene, pass: &Pass) -> Result<(Arc<Opened>, DeadLetterFilter, Option<String>), Problem> {
        let opened = scene.broker(self.broker.as_deref())?;
        if self.ids.len() > IDS_MAX {
            return Err(Problem::invalid(format!("a selection names up to {IDS_MAX} ids; use a queue or a reason")));
        }
        let reason = reason_of(self.reason.as_deref())?;
        if self.ids.is_empty() && self.queue.is_none() && reason.is_none() {
            return Err(Problem::invalid("select dead letters by ids, queue or reason"));
        }
        match &self.queue {
            Some(queue) => pass.may_use(queue)?,
            None if pass.tenant().is_some() => return Err(Problem::invalid("name the queue of the dead letters")),
            None => {}
        }
        if pass.action() == Action::Purge && (self.queue.is_none() || self.confirm != self.queue) {
            return Err(Problem::invalid("name the queue to purge, and its name once more as confirm"));
        }
        let tenant = self.queue.as_deref().and_then(tenant_of).map(str::to_owned);
        Ok((opened, DeadLetterFilter { ids: self.ids, queue: self.queue, reason }, tenant))
    }
}

fn begin(scene: &Scene, pass: &Pass, kind: Kind, selection: Selection) -> Result<(StatusCode, Json<Task>), Problem> {
    let (opened, filter, tenant) = selection.checked(scene, pass)?;
    opened.letters()?;
    let thing = about(&filter);
    let task = scene.tasks.begin(pass, kind, Arc::clone(&opened.broker), filter, tenant.as_deref())?;
    scene.audit.note(pass, &thing, tenant.as_deref());
    Ok((StatusCode::ACCEPTED, Json(task)))
}

pub(crate) async fn redrive(
    State(scene): State<Arc<Scene>>,
    pass: Pass,
    Sent(selection): Sent<Selection>,
) -> Result<(StatusCode, Json<Task>), Problem> {
    begin(&scene, &pass, Kind::Redrive, selection)
}

pub(crate) async fn purge(
    State(scene): State<Arc<Scene>>,
    pass: Pass,
    Sent(selection): Sent<Selection>,
) -> Result<(StatusCode, Json<Task>), Problem> {
    begin(&scene, &pass, Kind::Purge, selection)
}
