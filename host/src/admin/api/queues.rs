//! Queues: how much lies in each, and how long it has waited.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wasmpost_delivery::{QueueStats, Timestamp};
use wasmpost_msg::tenant_of;

use super::{Cursor, page_size};
use crate::admin::pass::{Asked, Named, Pass};
use crate::admin::problem::Problem;
use crate::admin::scene::{Counted, Scene};
use crate::view::ReceiverStatus;

/// A page of queues.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueuesQuery {
    /// Only those of this broker.
    broker: Option<String>,
    /// Where to go on: `next` of the page before.
    cursor: Option<String>,
    /// The most queues of the page, up to 200; 50 unless given.
    max: Option<usize>,
}

/// The broker that is meant.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfBroker {
    /// The name of the broker: the only one, or `default`, unless given.
    pub(crate) broker: Option<String>,
}

/// The queues that an autoscaler looks at.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScaleQuery {
    /// Only this queue; all of the host's receivers together unless given.
    queue: Option<String>,
    /// Only those of this broker.
    broker: Option<String>,
}

/// A page of queues.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Queues {
    /// The queues, by broker and name.
    pub(crate) queues: Vec<Queue>,
    /// The cursor of the next page, if there is one.
    next: Option<String>,
    /// Brokers that cannot be asked now, and why.
    away: Vec<Away>,
}

/// A broker that cannot be asked now.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Away {
    /// Its name.
    pub(crate) broker: String,
    /// The error.
    pub(crate) error: String,
}

/// A queue.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Queue {
    /// The name of its broker.
    pub(crate) broker: String,
    /// Its name.
    pub(crate) queue: String,
    /// The tenant that it belongs to.
    pub(crate) tenant: Option<String>,
    /// Messages that could be delivered now.
    pub(crate) ready: u64,
    /// Messages that are not due yet.
    pub(crate) delayed: u64,
    /// Messages in flight.
    pub(crate) leased: u64,
    /// Dead letters.
    pub(crate) dead: u64,
    /// Messages acknowledged so far.
    pub(crate) acked: u64,
    /// Messages whose time to live ended before they were delivered.
    pub(crate) expired: u64,
    /// How long ago the oldest message that is not dead was published, in milliseconds, where the broker tells.
    pub(crate) oldest_age_ms: Option<u64>,
    /// How long ago the oldest message that is due and in nobody's hands became due, in milliseconds, where the broker
    /// tells.
    pub(crate) oldest_due_age_ms: Option<u64>,
    /// The receiver of the queue in this host.
    pub(crate) receiver: Option<String>,
    /// Whether the receiver is slowed because it faults on every message.
    pub(crate) slowed: bool,
}

/// The numbers that an autoscaler needs.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Scale {
    /// Messages that could be delivered now.
    due: u64,
    /// Messages in flight.
    in_flight: u64,
    /// Both together: the work that there is.
    backlog: u64,
    /// How long ago the oldest message that is due and in nobody's hands became due, in seconds; 0 without one.
    oldest_due_age_seconds: f64,
    /// The same for each queue that is served here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    queues: Vec<QueueScale>,
}

/// The numbers that an autoscaler needs of one queue.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct QueueScale {
    /// The name of its broker.
    broker: String,
    /// Its name.
    queue: String,
    /// Messages that could be delivered now.
    due: u64,
    /// Messages in flight.
    in_flight: u64,
    /// How long ago the oldest one that is due and in nobody's hands became due, in seconds.
    oldest_due_age_seconds: Option<f64>,
}

impl Queue {
    pub(crate) fn of(broker: &str, stats: &QueueStats, now: Timestamp, receiver: Option<&ReceiverStatus>) -> Self {
        let age = |since: Timestamp| now.since(since).as_millis() as u64;
        Self {
            broker: broker.to_owned(),
            queue: stats.queue.clone(),
            tenant: tenant_of(&stats.queue).map(str::to_owned),
            ready: stats.ready,
            delayed: stats.delayed,
            leased: stats.leased,
            dead: stats.dead,
            acked: stats.acked,
            expired: stats.expired,
            oldest_age_ms: stats.oldest.map(age),
            oldest_due_age_ms: stats.oldest_due.map(age),
            receiver: receiver.map(|receiver| receiver.receiver.clone()),
            slowed: receiver.is_some_and(ReceiverStatus::is_slowed),
        }
    }
}

impl Counted {
    /// The queues that the holder of a pass may see, by name.
    pub(crate) fn rows(&self, pass: &Pass, receivers: &[ReceiverStatus]) -> Vec<Queue> {
        let stats = self.numbers.queues.as_deref().unwrap_or_default();
        let row = |stats: &QueueStats| {
            let receiver = receivers
                .iter()
                .find(|receiver| receiver.queue == stats.queue && self.opened.has_name(&receiver.broker));
            Queue::of(self.opened.name(), stats, self.numbers.at, receiver)
        };
        let mut rows: Vec<_> = stats.iter().filter(|stats| pass.sees(&stats.queue)).map(row).collect();
        rows.sort_by(|one, other| one.queue.cmp(&other.queue));
        rows
    }
}

pub(crate) async fn list(
    State(scene): State<Arc<Scene>>,
    pass: Pass,
    Asked(query): Asked<QueuesQuery>,
) -> Result<Json<Queues>, Problem> {
    let max = page_size(query.max)?;
    let cursor = Cursor::read(query.cursor.as_deref())?;
    let mut counted = scene.counted().await;
    if let Some(broker) = &query.broker {
        counted.retain(|counted| counted.opened.has_name(broker));
    }
    let receivers = scene.receivers();
    let mut queues = Vec::new();
    let mut away = Vec::new();
    for (at, counted) in (0_u64..).zip(&counted) {
        if let Err(error) = &counted.numbers.queues {
            let error = if pass.tenant().is_some() { "it does not answer" } else { error };
            away.push(Away { broker: counted.opened.name().to_owned(), error: error.to_owned() });
        }
        let is_behind = |name: &str| (at, name) > (cursor.number, &*cursor.name) || query.cursor.is_none();
        let rows = counted.rows(&pass, &receivers).into_iter().filter(|row| is_behind(&row.queue));
        queues.extend(rows.map(|row| (at, row)).take((max + 1).saturating_sub(queues.len())));
    }
    let has_more = queues.len() > max;
    queues.truncate(max);
    let last = queues.last().filter(|_| has_more);
    let next = last.map(|(number, row)| Cursor { name: row.queue.clone(), number: *number }.write());
    Ok(Json(Queues { queues: queues.into_iter().map(|(_, row)| row).collect(), next, away }))
}

/// One queue, if the holder of the pass may see it.
pub(crate) async fn find(scene: &Scene, pass: &Pass, name: &str, broker: Option<&str>) -> Result<Queue, Problem> {
    pass.may_use(name)?;
    let opened = scene.broker(broker)?;
    let numbers = opened.statistics.numbers().await?;
    numbers.queues()?;
    let rows = Counted { opened, numbers }.rows(pass, &scene.receivers());
    let found = rows.into_iter().find(|row| row.queue == name);
    found.ok_or_else(|| Problem::not_found(format!("there is no queue or topic {name:?}")))
}

pub(crate) async fn one(
    State(scene): State<Arc<Scene>>,
    pass: Pass,
    Named(name): Named,
    Asked(query): Asked<OfBroker>,
) -> Result<Json<Queue>, Problem> {
    find(&scene, &pass, &name, query.broker.as_deref()).await.map(Json)
}

pub(crate) async fn scale(
    State(scene): State<Arc<Scene>>,
    pass: Pass,
    Asked(query): Asked<ScaleQuery>,
) -> Result<Json<Scale>, Problem> {
    if let Some(name) = &query.queue {
        let row = find(&scene, &pass, name, query.broker.as_deref()).await?;
        let mut scale = Scale::default();
        scale.add(&row);
        return Ok(Json(scale));
    }
    // An autoscaler that took a host which starts for an idle one would end it.
    let receivers = scene.view()?.receivers();
    let mut scale = Scale::default();
    for counted in scene.counted().await {
        if query.broker.as_ref().is_some_and(|broker| !counted.opened.has_name(broker)) {
            continue;
        }
        // An autoscaler that took a broker that is away for an empty one would end the hosts.
        counted.numbers.queues()?;
        for row in counted.rows(&pass, &receivers).iter().filter(|row| row.receiver.is_some()) {
            scale.add(row);
            scale.queues.push(QueueScale {
                broker: row.broker.clone(),
                queue: row.queue.clone(),
                due: row.ready,
                in_flight: row.leased,
                oldest_due_age_seconds: row.oldest_due_age_ms.map(seconds),
            });
        }
    }
    Ok(Json(scale))
}

impl Scale {
    fn add(&mut self, row: &Queue) {
        self.due += row.ready;
        self.in_flight += row.leased;
        self.backlog += row.ready + row.leased;
        let age = row.oldest_due_age_ms.map_or(0.0, seconds);
        self.oldest_due_age_seconds = self.oldest_due_age_seconds.max(age);
    }
}

fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1000.0
}
