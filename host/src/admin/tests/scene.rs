//! A scene with a broker in memory, and requests to it.

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};
use wasmpost_delivery::{BreakerState, Broker, Evidence, QueueSpec, ShareUsage};
use wasmpost_msg::{Publication, Reason};
use wasmpost_sandbox::Instances;

use super::super::routes::router;
use super::super::scene::Scene;
use crate::config::{AdminToken, TokenHash};
use crate::gate::{Caller, Role};
use crate::kept::{KeptLine, KeptLogs};
use crate::metrics::Meters;
use crate::view::{ReceiverStatus, Reloaded, TenantStatus, View};

/// A view of receivers that are not there.
pub(super) struct Shown(pub(super) Vec<ReceiverStatus>);

#[async_trait]
impl View for Shown {
    fn tenants(&self) -> Vec<TenantStatus> {
        let of = |tenant: Option<&str>| TenantStatus {
            tenant: tenant.map(str::to_owned),
            receivers: 1,
            in_flight: 0,
            memory_bytes: 0,
            topics: 0,
            topics_max: None,
            used: ShareUsage::default(),
        };
        vec![of(None), of(Some("acme")), of(Some("beta"))]
    }

    fn receivers(&self) -> Vec<ReceiverStatus> {
        self.0.clone()
    }

    fn instances(&self) -> Instances {
        Instances { max: 1, in_use: 0, waited_for: 0 }
    }

    fn logs(&self, _: &str, _: u64, _: usize) -> Option<Vec<KeptLine>> {
        None
    }

    async fn reload(&self) -> Vec<Reloaded> {
        Vec::new()
    }
}

pub(super) fn receiver(name: &str, queue: &str, tenant: Option<&str>) -> ReceiverStatus {
    ReceiverStatus {
        receiver: name.to_owned(),
        queue: queue.to_owned(),
        broker: "default".into(),
        component: "blake3:00".into(),
        in_flight: 0,
        given_back: 1,
        breaker: BreakerState::Open { pause_ms: 1000 },
        tenant: tenant.map(str::to_owned),
        world: None,
        concurrency: 16,
        cpu_us_max: 1,
        wall_us_max: 1,
        memory_bytes_max: 1,
    }
}

/// A listener without a socket, and the broker behind it.
pub(super) struct Stage {
    pub(super) broker: MemoryBroker,
    pub(super) logs: Arc<KeptLogs>,
    service: TowerToHyperService<axum::Router>,
}

impl Stage {
    /// One that knows the tokens `read`, `operate`, `admin`, and `acme`, which is an admin of that tenant.
    pub(super) fn new(receivers: Vec<ReceiverStatus>) -> Self {
        let token = |name: &str, role, tenant: Option<&str>| {
            let caller = Caller { name: name.into(), role, tenant: tenant.map(str::to_owned) };
            AdminToken { hash: TokenHash::of(name), caller }
        };
        let tokens = vec![
            token("read", Role::Read, None),
            token("operate", Role::Operate, None),
            token("admin", Role::Admin, None),
            token("acme", Role::Admin, Some("acme")),
        ];
        let broker = MemoryBroker::new(MemoryOptions::default());
        let logs = Arc::new(KeptLogs::default());
        let meters = Arc::new(Meters::default());
        receivers.iter().for_each(|receiver| drop(meters.of(&receiver.receiver, None)));
        let scene = Arc::new(Scene::new(tokens, meters, Arc::clone(&logs)));
        let opened: Arc<dyn Broker> = Arc::new(broker.clone());
        scene.serving(Arc::new(Shown(receivers)), vec![(opened, vec!["default".into()])]);
        Self { broker, logs, service: TowerToHyperService::new(router(scene)) }
    }

    /// Publishes a message and has it die.
    pub(super) async fn bury(&self, publication: Publication, evidence: Evidence) {
        let queue = self.broker.queue(QueueSpec::new(publication.topic.clone())).await.unwrap();
        self.broker.publish(vec![publication]).await.unwrap();
        queue.pull(1).await.unwrap().remove(0).lease.reject(evidence).await.unwrap();
    }

    /// Has one message die in a queue.
    pub(super) async fn bury_in(&self, queue: &str, body: &str) {
        let message = Publication::new(queue, wasmpost_msg::Attributes::new(), body.to_owned());
        self.bury(message, Evidence::by_host(Reason::Rejected, "no")).await;
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.service.call(request).await.unwrap()
    }

    /// The status and the text of a response.
    pub(super) async fn ask(&self, method: &str, path: &str, token: &str, body: Option<Value>) -> (u16, String) {
        let request = Request::builder().method(method).uri(path);
        let request =
            if token.is_empty() { request } else { request.header("authorization", format!("Bearer {token}")) };
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        let response = self.send(request.unwrap()).await;
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    pub(super) async fn get(&self, path: &str, token: &str) -> (u16, Value) {
        let (status, text) = self.ask("GET", path, token, None).await;
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub(super) async fn post(&self, path: &str, token: &str, body: Value) -> (u16, Value) {
        let (status, text) = self.ask("POST", path, token, Some(body)).await;
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Waits until a task has ended, and gives it.
    pub(super) async fn ended(&self, task: &Value, token: &str) -> Value {
        let path = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
        loop {
            let (_, task) = self.get(&path, token).await;
            if task["state"] != "running" {
                return task;
            }
            tokio::task::yield_now().await;
        }
    }
}
