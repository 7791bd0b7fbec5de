//! Whether a host lives, and whether it is ready. Both are told to everybody, and so in words that name nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use wasmpost_delivery::BreakerState;

use crate::admin::scene::{Phase, Scene};

/// How long a loop may stand still.
const STANDSTILL_MAX: Duration = Duration::from_secs(30);

/// Whether a host lives.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Life {
    /// Whether every loop that pulls, keeps leases or owns a queue file has turned within the last 30 seconds.
    alive: bool,
}

/// Whether a host is ready.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Readiness {
    /// `ready`, `degraded`, which is ready as well, or `not-ready`.
    status: &'static str,
    /// The reasons, none where all is well.
    reasons: Vec<ReadinessReason>,
}

/// Something that is wrong.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ReadinessReason {
    /// The reason, in a word for programs: `starting`, `draining`, `broker-away` or `breaker-open`.
    code: &'static str,
    /// How many brokers or receivers it is so for.
    count: usize,
}

pub(crate) async fn live(State(scene): State<Arc<Scene>>) -> (StatusCode, Json<Life>) {
    let alive = scene.opened().iter().all(|opened| opened.broker.stands_still_for() < STANDSTILL_MAX);
    let status = if alive { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Life { alive }))
}

pub(crate) async fn ready(State(scene): State<Arc<Scene>>) -> (StatusCode, Json<Readiness>) {
    let mut reasons = Vec::new();
    let mut add = |code, count| {
        if count > 0 {
            reasons.push(ReadinessReason { code, count });
        }
    };
    match scene.phase() {
        Phase::Starting => add("starting", 1),
        Phase::Draining => add("draining", 1),
        Phase::Serving => {
            let away = scene.counted().await.iter().filter(|counted| counted.numbers.queues.is_err()).count();
            add("broker-away", away);
        }
    }
    let is_ready = reasons.is_empty();
    let open = scene.receivers().iter().filter(|receiver| receiver.breaker != BreakerState::Closed).count();
    if open > 0 {
        reasons.push(ReadinessReason { code: "breaker-open", count: open });
    }
    let (status, word) = match (is_ready, reasons.is_empty()) {
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "not-ready"),
        (true, false) => (StatusCode::OK, "degraded"),
        (true, true) => (StatusCode::OK, "ready"),
    };
    (status, Json(Readiness { status: word, reasons }))
}
