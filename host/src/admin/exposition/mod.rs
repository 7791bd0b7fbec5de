//! The metrics of a host. No label comes from a message: they are names from the configuration, and words of wasmpost.

mod text;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use wasmpost_delivery::BreakerState;

use super::api::queues::Queue;
use super::pass::Pass;
use super::scene::{Counted, Phase, Scene};
use crate::metrics::{Counts, Meter};
use crate::view::{IngressStatus, ReceiverStatus, TenantStatus};
use text::{Format, Kind, Text};

/// Microseconds in seconds.
const MICROS: f64 = 1e-6;
/// The system of messages, as OpenTelemetry names it.
const SYSTEM: (&str, &str) = ("messaging_system", "wasmpost");

/// A receiver, with what was counted of its deliveries.
struct Metered {
    status: ReceiverStatus,
    meter: Arc<Meter>,
}

pub(super) async fn metrics(State(scene): State<Arc<Scene>>, pass: Pass, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept);
    let mut text = Text::new(format);
    let receivers = scene.receivers();
    let metered = receivers.iter().filter_map(|status| {
        let meter = scene.meters.find(&status.receiver)?;
        Some(Metered { status: status.clone(), meter })
    });
    let metered: Vec<_> = metered.collect();
    let counted = scene.counted().await;
    host(&mut text, &scene);
    brokers(&mut text, &counted);
    let rows = counted.iter().flat_map(|counted| counted.rows(&pass, &receivers)).filter(|row| row.receiver.is_some());
    queues(&mut text, &rows.collect::<Vec<_>>());
    deliveries(&mut text, &metered);
    usage(&mut text, &metered);
    messaging(&mut text, &metered);
    states(&mut text, &metered);
    if let Ok(view) = scene.view() {
        instances(&mut text, view.instances());
        tenants(&mut text, &view.tenants());
        ingress(&mut text, &view.ingress());
    }
    ([(header::CONTENT_TYPE, format.media_type())], text.end()).into_response()
}

fn host(text: &mut Text, scene: &Scene) {
    text.begin("wasmpost_build_info", Kind::Gauge, "The version of wasmpost; always 1.");
    text.value(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    text.begin("wasmpost_serving", Kind::Gauge, "Whether the host serves: 0 while it starts and while it stops.");
    text.value(&[], f64::from(u8::from(scene.phase() == Phase::Serving)));
    text.begin(
        "wasmpost_component_loads",
        Kind::Counter,
        "Components that were loaded, by where their code came from.",
    );
    for (outcome, count) in scene.meters.loads() {
        text.value(&[("outcome", outcome)], count as f64);
    }
}

fn brokers(text: &mut Text, counted: &[Counted]) {
    text.begin("wasmpost_broker_up", Kind::Gauge, "Whether the broker answers.");
    for counted in counted {
        text.value(&[("broker", counted.opened.name())], f64::from(u8::from(counted.numbers.queues.is_ok())));
    }
    text.begin("wasmpost_broker_commits", Kind::Counter, "Transactions that the embedded queue committed.");
    for counted in counted {
        if let Some(commits) = counted.opened.broker.transactions() {
            text.value(&[("broker", counted.opened.name())], commits as f64);
        }
    }
    text.begin("wasmpost_broker_count_seconds", Kind::Gauge, "How long the broker took to count its messages last.");
    for counted in counted {
        text.value(&[("broker", counted.opened.name())], counted.numbers.took.as_secs_f64());
    }
}

/// A number of a queue.
type OfQueue = fn(&Queue) -> Option<f64>;

fn queues(text: &mut Text, rows: &[Queue]) {
    let all: [(&str, Kind, &str, OfQueue); 7] = [
        ("wasmpost_queue_ready", Kind::Gauge, "Messages that could be delivered now.", |row| Some(row.ready as f64)),
        ("wasmpost_queue_delayed", Kind::Gauge, "Messages that are not due yet.", |row| Some(row.delayed as f64)),
        ("wasmpost_queue_leased", Kind::Gauge, "Messages in flight.", |row| Some(row.leased as f64)),
        ("wasmpost_queue_dead", Kind::Gauge, "Dead letters.", |row| Some(row.dead as f64)),
        (
            "wasmpost_queue_oldest_due_age_seconds",
            Kind::Gauge,
            "How long ago the oldest message that is due and in nobody's hands became due; 0 without one. Brokers that \
             cannot tell have none.",
            |row| match (row.oldest_due_age_ms, row.ready) {
                (Some(age), _) => Some(age as f64 / 1000.0),
                (None, 0) => Some(0.0),
                (None, _) => None,
            },
        ),
        ("wasmpost_queue_acked", Kind::Counter, "Messages acknowledged so far.", |row| Some(row.acked as f64)),
        (
            "wasmpost_queue_expired",
            Kind::Counter,
            "Messages whose time to live ended before they were delivered.",
            |row| Some(row.expired as f64),
        ),
    ];
    for (name, kind, help, of) in all {
        text.begin(name, kind, help);
        for row in rows {
            if let Some(value) = of(row) {
                let tenant = row.tenant.as_deref().unwrap_or_default();
                text.value(&[("broker", &row.broker), ("queue", &row.queue), ("tenant", tenant)], value);
            }
        }
    }
}

fn deliveries(text: &mut Text, metered: &[Metered]) {
    text.begin("wasmpost_deliveries", Kind::Counter, "Deliveries that ended, by outcome and reason.");
    for Metered { status, meter } in metered {
        let labels =
            |outcome, reason| [("receiver", status.receiver.as_str()), ("outcome", outcome), ("reason", reason)];
        text.value(&labels("acked", ""), meter.acked() as f64);
        meter.others().for_each(|(outcome, reason, count)| text.value(&labels(outcome, reason), count as f64));
    }
}

/// A histogram of a receiver.
type OfMeter = fn(&Meter) -> Counts;

fn usage(text: &mut Text, metered: &[Metered]) {
    let all: [(&str, &str, f64, OfMeter); 3] = [
        ("wasmpost_delivery_cpu_seconds", "CPU time of a delivery.", MICROS, |meter| meter.cpu.counts()),
        ("wasmpost_delivery_wall_seconds", "Time of a delivery within the guest.", MICROS, |meter| meter.wall.counts()),
        ("wasmpost_delivery_memory_peak_bytes", "The most memory that a delivery held.", 1.0, |meter| {
            meter.memory.counts()
        }),
    ];
    for (name, help, unit, of) in all {
        text.begin(name, Kind::Histogram, help);
        for Metered { status, meter } in metered {
            text.histogram(&[("receiver", &status.receiver)], &of(meter), unit);
        }
    }
}

/// The metrics that OpenTelemetry has names for.
fn messaging(text: &mut Text, metered: &[Metered]) {
    text.begin("messaging_client_consumed_messages", Kind::Counter, "Messages that were delivered to a receiver.");
    for Metered { status, meter } in metered {
        let count = meter.acked() + meter.others().map(|(_, _, count)| count).sum::<u64>();
        let operation = ("messaging_operation_name", "receive");
        text.value(&[SYSTEM, operation, ("messaging_destination_name", &status.queue)], count as f64);
    }
    text.begin("messaging_client_sent_messages", Kind::Counter, "Messages that receivers published.");
    for Metered { status, meter } in metered {
        let labels = [SYSTEM, ("messaging_operation_name", "publish"), ("wasmpost_receiver", &status.receiver)];
        text.value(&labels, meter.published() as f64);
    }
    text.begin(
        "messaging_process_duration_seconds",
        Kind::Histogram,
        "Time from the start of an attempt until it was settled.",
    );
    for Metered { status, meter } in metered {
        for (error, counts) in [("", meter.processed.counts()), ("_OTHER", meter.not_processed.counts())] {
            let operation = ("messaging_operation_name", "process");
            let queue = status.queue.as_str();
            let labels = [SYSTEM, operation, ("messaging_destination_name", queue), ("error_type", error)];
            text.histogram(&labels, &counts, MICROS);
        }
    }
}

/// A number of a receiver.
type OfReceiver = fn(&ReceiverStatus) -> f64;

fn states(text: &mut Text, metered: &[Metered]) {
    let all: [(&str, &str, OfReceiver); 5] = [
        ("wasmpost_receiver_in_flight", "Deliveries of the receiver in flight.", |status| status.in_flight as f64),
        ("wasmpost_receiver_concurrency", "How many deliveries of the receiver may be in flight.", |status| {
            status.concurrency as f64
        }),
        (
            "wasmpost_receiver_given_back",
            "Messages that the receiver gave back uncounted that neither ended nor failed since.",
            |status| status.given_back as f64,
        ),
        (
            "wasmpost_receiver_breaker_open",
            "Whether the receiver is slowed because it faults on every message.",
            |status| f64::from(u8::from(status.is_slowed())),
        ),
        ("wasmpost_receiver_breaker_pause_seconds", "The pause between its tries meanwhile.", |status| {
            match status.breaker {
                BreakerState::Closed => 0.0,
                BreakerState::Open { pause_ms } => pause_ms as f64 / 1000.0,
            }
        }),
    ];
    for (name, help, of) in all {
        text.begin(name, Kind::Gauge, help);
        for Metered { status, .. } in metered {
            let tenant = status.tenant.as_deref().unwrap_or_default();
            text.value(&[("receiver", &status.receiver), ("tenant", tenant)], of(status));
        }
    }
}

fn instances(text: &mut Text, instances: wasmpost_sandbox::Instances) {
    for (name, help, count) in [
        ("wasmpost_instances_max", "How many instances can be live at a time.", instances.max),
        (
            "wasmpost_instances_in_use",
            "Instances that are live, those that wait for a message included.",
            instances.in_use,
        ),
        ("wasmpost_instances_waited_for", "Deliveries that wait for an instance.", instances.waited_for),
    ] {
        text.begin(name, Kind::Gauge, help);
        text.value(&[], count as f64);
    }
}

/// Addresses and paths are from the configuration, and statuses are those that are answered.
fn ingress(text: &mut Text, all: &[IngressStatus]) {
    text.begin("wasmpost_ingress_answers", Kind::Counter, "Requests by HTTP that were answered, by path and status.");
    for one in all {
        for (status, count) in &one.answers {
            let address = one.address.to_string();
            let status = status.to_string();
            text.value(&[("address", &address), ("path", &one.path), ("status", &status)], *count as f64);
        }
    }
    text.begin("wasmpost_ingress_connections", Kind::Gauge, "Connections of senders that are open.");
    let mut told = BTreeSet::new();
    for one in all.iter().filter(|one| told.insert(one.address)) {
        text.value(&[("address", &one.address.to_string())], one.connections as f64);
    }
}

/// A number of a tenant.
type OfTenant = fn(&TenantStatus) -> f64;

fn tenants(text: &mut Text, tenants: &[TenantStatus]) {
    let all: [(&str, Kind, &str, OfTenant); 8] = [
        ("wasmpost_tenant_in_flight", Kind::Gauge, "Deliveries of the tenant in flight.", |one| one.in_flight as f64),
        ("wasmpost_tenant_memory_bytes", Kind::Gauge, "The memory that instances of the tenant hold.", |one| {
            one.memory_bytes as f64
        }),
        ("wasmpost_tenant_deliveries", Kind::Counter, "Deliveries of the tenant that ended.", |one| {
            one.used.deliveries as f64
        }),
        ("wasmpost_tenant_failed", Kind::Counter, "Deliveries of the tenant that failed.", |one| {
            one.used.failed as f64
        }),
        ("wasmpost_tenant_dead", Kind::Counter, "Messages of the tenant that became dead letters.", |one| {
            one.used.dead as f64
        }),
        ("wasmpost_tenant_cpu_seconds", Kind::Counter, "CPU time that the tenant used.", |one| {
            one.used.cpu.as_secs_f64()
        }),
        ("wasmpost_tenant_published_messages", Kind::Counter, "Messages that the tenant published.", |one| {
            one.used.published_messages as f64
        }),
        ("wasmpost_tenant_published_bytes", Kind::Counter, "Bodies and attributes that the tenant published.", |one| {
            one.used.published_bytes as f64
        }),
    ];
    for (name, kind, help, of) in all {
        text.begin(name, kind, help);
        for tenant in tenants {
            text.value(&[("tenant", tenant.tenant.as_deref().unwrap_or_default())], of(tenant));
        }
    }
}
