//! The tenants, and what each used.

use std::sync::Arc;

use axum::extract::State;
use maud::html;

use super::parts::{micros, number, size};
use super::{Screen, screen as shown};
use crate::admin::api::tenants::seen;
use crate::admin::pass::Pass;
use crate::admin::scene::Scene;

/// How many tenants are shown. The API lists all.
const TENANTS_MAX: usize = 500;

pub(crate) async fn screen(State(scene): State<Arc<Scene>>, pass: Pass) -> Screen {
    let tenants = seen(&scene, &pass)?;
    shown(html! {
        div data-live {
            h1 { "Tenants" }
            p.mute { "Since the host started." }
            div.scroll { table {
                thead { tr {
                    th scope="col" { "Tenant" } th.number scope="col" { "Receivers" } th.number scope="col" { "In flight" }
                    th.number scope="col" { "Deliveries" } th.number scope="col" { "Failed" } th.number scope="col" { "Dead" }
                    th.number scope="col" { "CPU time" } th.number scope="col" { "Memory" } th.number scope="col" { "Topics" }
                    th.number scope="col" { "Published" }
                } }
                tbody { @for tenant in tenants.iter().take(TENANTS_MAX) { tr {
                    th scope="row" { (tenant.tenant.as_deref().unwrap_or("without a tenant")) }
                    (number(tenant.receivers)) (number(tenant.in_flight)) (number(tenant.deliveries)) (number(tenant.failed))
                    (number(tenant.dead)) (number(micros(tenant.cpu_us))) (number(size(tenant.memory_bytes)))
                    (number(tenant.topics_max.map_or_else(|| tenant.topics.to_string(), |max| format!("{} of {max}", tenant.topics))))
                    (number(tenant.published_messages))
                } } }
            } }
            @if tenants.len() > TENANTS_MAX {
                p.mute { "The first " (TENANTS_MAX) " of " (tenants.len()) " are shown; " code { "/v1/tenants" } " lists all." }
            }
        }
    })
}
