//! Work on many dead letters that goes on when its request has ended: it can be looked at and cancelled.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::http::StatusCode;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use wasmpost_delivery::{Broker, BrokerError, BrokerErrorKind, Clock, DeadLetterFilter};
use wasmpost_msg::chain;

use super::pass::Pass;
use super::problem::Problem;

/// How many tasks are kept, and how many run at a time.
const TASKS_MAX: usize = 200;
const RUNNING_MAX: usize = 4;

/// The fate of the dead letters that a task is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// They are put back into their queues.
    Redrive,
    /// They are deleted.
    Purge,
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// It is at work.
    Running,
    /// It has done all.
    Done,
    /// It ended with an error; some letters may be done.
    Failed,
    /// Somebody cancelled it; some letters may be done.
    Cancelled,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Task {
    /// Its id.
    pub(super) id: String,
    /// The fate of the letters.
    pub(super) kind: Kind,
    /// The letters that it is about.
    pub(super) about: String,
    /// The name of the token that began it.
    pub(super) by: String,
    /// The tenant of the letters.
    pub(super) tenant: Option<String>,
    /// When it began, in milliseconds since 1970.
    pub(super) began_ms: u64,
    /// When it ended.
    pub(super) ended_ms: Option<u64>,
    /// How far it is.
    pub(super) state: State,
    /// How many letters it did, once it is done.
    pub(super) count: Option<u64>,
    /// The error that ended it.
    pub(super) error: Option<String>,
}

struct Kept {
    task: Task,
    cancel: CancellationToken,
}

/// The last tasks.
#[derive(Clone, Default)]
pub(super) struct Tasks(Arc<Mutex<VecDeque<Kept>>>);

impl Tasks {
    /// Begins a task, unless too many are at work.
    pub(super) fn begin(
        &self,
        pass: &Pass,
        kind: Kind,
        broker: Arc<dyn Broker>,
        filter: DeadLetterFilter,
        tenant: Option<&str>,
    ) -> Result<Task, Problem> {
        let task = Task {
            id: uuid::Uuid::now_v7().to_string(),
            kind,
            about: about(&filter),
            by: pass.name().to_owned(),
            tenant: tenant.map(str::to_owned),
            began_ms: Clock::system().now().0,
            ended_ms: None,
            state: State::Running,
            count: None,
            error: None,
        };
        let cancel = CancellationToken::new();
        let mut kept = self.0.lock();
        if kept.iter().filter(|kept| kept.task.state == State::Running).count() >= RUNNING_MAX {
            let detail = format!("{RUNNING_MAX} tasks are at work; wait for one, or cancel one");
            let busy = Problem::new(StatusCode::TOO_MANY_REQUESTS, "busy", detail);
            return Err(Problem { retry_after: Some(5), ..busy });
        }
        kept.push_back(Kept { task: task.clone(), cancel: cancel.clone() });
        if kept.len() > TASKS_MAX {
            let ended = kept.iter().position(|kept| kept.task.state != State::Running);
            ended.and_then(|at| kept.remove(at));
        }
        drop(kept);
        let tasks = self.clone();
        let id = task.id.clone();
        tokio::spawn(async move {
            let done = tokio::select! {
                biased;
                () = cancel.cancelled() => None,
                done = work(kind, &*broker, &filter) => Some(done),
            };
            tasks.end(&id, done);
        });
        Ok(task)
    }

    fn end(&self, id: &str, done: Option<Result<u64, BrokerError>>) {
        let mut kept = self.0.lock();
        let Some(task) = kept.iter_mut().map(|kept| &mut kept.task).find(|task| task.id == id) else { return };
        task.ended_ms = Some(Clock::system().now().0);
        match done {
            Some(Ok(count)) => (task.state, task.count) = (State::Done, Some(count)),
            Some(Err(error)) => (task.state, task.error) = (State::Failed, Some(chain(&error).to_string())),
            None => task.state = State::Cancelled,
        }
    }

    /// The tasks that the holder of a pass may see, the last first.
    pub(super) fn seen(&self, pass: &Pass) -> Vec<Task> {
        let kept = self.0.lock();
        let tasks = kept.iter().rev().map(|kept| &kept.task);
        tasks.filter(|task| pass.sees_tenant(task.tenant.as_deref())).cloned().collect()
    }

    /// A task that the holder of a pass may see.
    pub(super) fn find(&self, pass: &Pass, id: &str) -> Result<Task, Problem> {
        let found = self.seen(pass).into_iter().find(|task| task.id == id);
        found.ok_or_else(|| Problem::not_found(format!("there is no task {id:?}")))
    }

    /// Has a task end. The letters that it did are done.
    pub(super) fn cancel(&self, pass: &Pass, id: &str) -> Result<Task, Problem> {
        let task = self.find(pass, id)?;
        self.0.lock().iter().filter(|kept| kept.task.id == id).for_each(|kept| kept.cancel.cancel());
        Ok(task)
    }
}

async fn work(kind: Kind, broker: &dyn Broker, filter: &DeadLetterFilter) -> Result<u64, BrokerError> {
    let none = || BrokerError::new(BrokerErrorKind::Unsupported, "this broker shows no dead letters");
    let letters = broker.dead_letters().ok_or_else(none)?;
    match kind {
        Kind::Redrive => letters.redrive(filter).await,
        Kind::Purge => letters.purge(filter).await,
    }
}

/// The letters that a filter means, in words.
pub(super) fn about(filter: &DeadLetterFilter) -> String {
    let mut words = match &*filter.ids {
        [] => vec!["all dead letters".to_owned()],
        [id] => vec![format!("dead letter {id}")],
        ids => vec![format!("{} dead letters", ids.len())],
    };
    words.extend(filter.queue.as_ref().map(|queue| format!("of queue {queue}")));
    words.extend(filter.reason.map(|reason| format!("with reason {reason}")));
    words.join(" ")
}
