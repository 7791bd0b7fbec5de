//! Tenants, and what each used since the host started.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use crate::admin::pass::Pass;
use crate::admin::problem::Problem;
use crate::admin::scene::Scene;
use crate::view::TenantStatus;

/// All tenants.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Tenants {
    /// The tenants; what belongs to none comes first.
    pub(crate) tenants: Vec<Tenant>,
}

/// A tenant, and what it used since the host started.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Tenant {
    /// Its name; none for what belongs to no tenant.
    pub(crate) tenant: Option<String>,
    /// How many receivers it has.
    pub(crate) receivers: usize,
    /// How many of its deliveries are in flight.
    pub(crate) in_flight: usize,
    /// The memory that its instances hold now, in bytes.
    pub(crate) memory_bytes: u64,
    /// How many topics that no queue takes from hold messages of it.
    pub(crate) topics: u64,
    /// How many such topics it may have.
    pub(crate) topics_max: Option<u64>,
    /// Deliveries that ended.
    pub(crate) deliveries: u64,
    /// Deliveries that were acknowledged.
    pub(crate) acked: u64,
    /// Deliveries that failed and counted.
    pub(crate) failed: u64,
    /// Messages that became dead letters.
    pub(crate) dead: u64,
    /// Deliveries that were given back uncounted.
    pub(crate) given_back: u64,
    /// CPU time, in microseconds.
    pub(crate) cpu_us: u64,
    /// Time within guests, in microseconds.
    pub(crate) wall_us: u64,
    /// The most memory that one delivery held, in bytes.
    pub(crate) memory_peak_bytes: u64,
    /// Messages that were published.
    pub(crate) published_messages: u64,
    /// Bodies and attributes of what was published, in bytes.
    pub(crate) published_bytes: u64,
}

impl From<TenantStatus> for Tenant {
    fn from(status: TenantStatus) -> Self {
        let used = status.used;
        Self {
            tenant: status.tenant,
            receivers: status.receivers,
            in_flight: status.in_flight,
            memory_bytes: status.memory_bytes,
            topics: status.topics,
            topics_max: status.topics_max,
            deliveries: used.deliveries,
            acked: used.acked,
            failed: used.failed,
            dead: used.dead,
            given_back: used.given_back,
            cpu_us: used.cpu.as_micros() as u64,
            wall_us: used.wall.as_micros() as u64,
            memory_peak_bytes: used.memory_peak_bytes,
            published_messages: used.published_messages,
            published_bytes: used.published_bytes,
        }
    }
}

/// The tenants that the holder of a pass may see.
pub(crate) fn seen(scene: &Scene, pass: &Pass) -> Result<Vec<Tenant>, Problem> {
    let tenants = scene.view()?.tenants().into_iter();
    Ok(tenants.filter(|status| pass.sees_tenant(status.tenant.as_deref())).map(Tenant::from).collect())
}

pub(crate) async fn list(State(scene): State<Arc<Scene>>, pass: Pass) -> Result<Json<Tenants>, Problem> {
    Ok(Json(Tenants { tenants: seen(&scene, &pass)? }))
}
