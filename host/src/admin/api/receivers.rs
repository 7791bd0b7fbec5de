//! Receivers, and the reloading of their components.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;
use wasmpost_delivery::BreakerState;

use crate::admin::pass::{Named, Pass};
use crate::admin::problem::Problem;
use crate::admin::scene::Scene;
use crate::metrics::{Counts, Meter};
use crate::view::{ReceiverStatus, Reloaded};

/// All receivers.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Receivers {
    /// The receivers, by name.
    pub(crate) receivers: Vec<Receiver>,
}

/// A receiver.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Receiver {
    /// Its name.
    pub(crate) name: String,
    /// The name of its broker.
    pub(crate) broker: String,
    /// Its queue.
    pub(crate) queue: String,
    /// Its tenant.
    pub(crate) tenant: Option<String>,
    /// The digest of its component.
    pub(crate) component: String,
    /// The world by which it receives, where the configuration names one.
    pub(crate) world: Option<String>,
    /// How many of its deliveries are in flight, and how many may be.
    pub(crate) in_flight: usize,
    /// The most deliveries in flight.
    pub(crate) concurrency: usize,
    /// How many messages it gave back uncounted that neither ended nor failed since.
    pub(crate) given_back: usize,
    /// The pause between tries while it is slowed because it faults on every message, in milliseconds.
    pub(crate) slowed_pause_ms: Option<u64>,
    /// Deliveries that were acknowledged since the host started.
    pub(crate) acked: u64,
    /// Messages that it published.
    pub(crate) published: u64,
    /// Deliveries that were not acknowledged, by outcome and reason.
    pub(crate) others: Vec<Outcome>,
    /// From the start of an attempt until it was settled, in microseconds, for those that were acknowledged.
    pub(crate) took_us: Spread,
    /// CPU time of a delivery, in microseconds.
    pub(crate) cpu_us: Spread,
    /// The most memory that a delivery held, in bytes.
    pub(crate) memory_bytes: Spread,
    /// The limits of a delivery: CPU time and time in microseconds, memory in bytes.
    pub(crate) limits: Limits,
}

/// Deliveries that were not acknowledged.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Outcome {
    /// `failed`, `dead` or `given-back`.
    pub(crate) outcome: &'static str,
    /// The reason.
    pub(crate) reason: &'static str,
    /// How many.
    pub(crate) count: u64,
}

/// How values are spread: bounds below which a share of them lies; none without values, or above all bounds.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Spread {
    /// How many values there were.
    pub(crate) count: u64,
    /// Half of them lie below it.
    pub(crate) p50: Option<u64>,
    /// 95 of a hundred lie below it.
    pub(crate) p95: Option<u64>,
    /// 99 of a hundred lie below it.
    pub(crate) p99: Option<u64>,
}

/// The limits of a delivery.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Limits {
    /// CPU time, in microseconds.
    pub(crate) cpu_us: u64,
    /// Time, in microseconds.
    pub(crate) wall_us: u64,
    /// Memory, in bytes.
    pub(crate) memory_bytes: u64,
}

/// The outcome of loading components again.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Reloads {
    /// The components.
    components: Vec<Reloaded>,
}

impl From<Counts> for Spread {
    fn from(counts: Counts) -> Self {
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| counts.quantile(share));
        Self { count: counts.total(), p50, p95, p99 }
    }
}

impl Receiver {
    fn of(status: ReceiverStatus, meter: Option<&Meter>) -> Self {
        let outcome = |(outcome, reason, count)| Outcome { outcome, reason, count };
        let spread =
            |counts: Option<Counts>| counts.map_or(Spread { count: 0, p50: None, p95: None, p99: None }, Spread::from);
        Self {
            name: status.receiver,
            broker: status.broker,
            queue: status.queue,
            tenant: status.tenant,
            component: status.component,
            world: status.world,
            in_flight: status.in_flight,
            concurrency: status.concurrency,
            given_back: status.given_back,
            slowed_pause_ms: match status.breaker {
                BreakerState::Closed => None,
                BreakerState::Open { pause_ms } => Some(pause_ms),
            },
            acked: meter.map_or(0, Meter::acked),
            published: meter.map_or(0, Meter::published),
            others: meter.map(|meter| meter.others().map(outcome).collect()).unwrap_or_default(),
            took_us: spread(meter.map(|meter| meter.processed.counts())),
            cpu_us: spread(meter.map(|meter| meter.cpu.counts())),
            memory_bytes: spread(meter.map(|meter| meter.memory.counts())),
            limits: Limits {
                cpu_us: status.cpu_us_max,
                wall_us: status.wall_us_max,
                memory_bytes: status.memory_bytes_max,
            },
        }
    }
}

/// The receivers that the holder of a pass may see, by name.
pub(crate) fn seen(scene: &Scene, pass: &Pass) -> Vec<Receiver> {
    let seen = scene.receivers().into_iter().filter(|status| pass.sees_tenant(status.tenant.as_deref()));
    let row = |status: ReceiverStatus| {
        let meter = scene.meters.find(&status.receiver);
        Receiver::of(status, meter.as_deref())
    };
    let mut receivers: Vec<_> = seen.map(row).collect();
    receivers.sort_by(|one, other| one.name.cmp(&other.name));
    receivers
}

/// A receiver that the holder of a pass may see.
pub(crate) fn find(scene: &Scene, pass: &Pass, name: &str) -> Result<Receiver, Problem> {
    let found = seen(scene, pass).into_iter().find(|receiver| receiver.name == name);
    found.ok_or_else(|| Problem::not_found(format!("there is no receiver {name:?}")))
}

pub(crate) async fn list(State(scene): State<Arc<Scene>>, pass: Pass) -> Json<Receivers> {
    Json(Receivers { receivers: seen(&scene, &pass) })
}

pub(crate) async fn one(
    State(scene): State<Arc<Scene>>,
    pass: Pass,
    Named(name): Named,
) -> Result<Json<Receiver>, Problem> {
    find(&scene, &pass, &name).map(Json)
}

pub(crate) async fn reload(State(scene): State<Arc<Scene>>, pass: Pass) -> Result<Json<Reloads>, Problem> {
    let view = scene.view()?;
    scene.audit.note(&pass, "all components", None);
    Ok(Json(Reloads { components: view.reload().await }))
}
