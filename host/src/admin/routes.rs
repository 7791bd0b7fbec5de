//! The routes, one row each: the router, the gate and the OpenAPI document are made from them.

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, delete, get, post};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::api::{body, groups, health, letter, letters, logs, messages, queues, receivers, selection, tasks, tenants};
use super::problem::Problem;
use super::scene::Scene;
use super::{document, exposition, layers, page};
use crate::gate::Action;

/// Makes the schema of a type.
pub(super) type Describe = fn(&mut SchemaGenerator) -> Schema;

/// The form of a response.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// JSON of this schema.
    Json(Describe),
    /// Something else, of this media type.
    Other(&'static str),
}

/// A route.
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// The action that the gate is asked about.
    pub(super) action: Action,
    pub(super) summary: &'static str,
    /// The parameters in the query.
    pub(super) query: Option<Describe>,
    /// The body of the request, which is JSON.
    pub(super) body: Option<Describe>,
    pub(super) form: Form,
    handler: fn() -> MethodRouter<Arc<Scene>>,
}

/// A route as others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteRow {
    /// The method.
    pub method: &'static str,
    /// The path, with names in braces.
    pub path: &'static str,
    /// The action that the gate is asked about.
    pub action: Action,
}

/// The schema of a type.
fn of<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Schema {
    schemas.subschema_for::<T>()
}

macro_rules! routes {
    ($($method:ident $path:literal $action:ident $summary:literal
       $(?[$query:ty])? $(<[$body:ty])? => $form:expr, $handler:expr;)*) => {
        /// Every route.
        pub(super) static ROUTES: &[Route] = &[$(Route {
            method: stringify!($method),
            path: $path,
            action: Action::$action,
            summary: $summary,
            query: routes!(@some $($query)?),
            body: routes!(@some $($body)?),
            form: $form,
            handler: || $method($handler),
        },)*];
    };
    (@some) => { None };
    (@some $type:ty) => { Some(of::<$type>) };
}

const HTML: Form = Form::Other("text/html; charset=utf-8");
const EVENTS: Form = Form::Other("text/event-stream");

routes! {
    get "/livez" Probe "Whether the host lives" => Form::Json(of::<health::Life>), health::live;
    get "/readyz" Probe "Whether the host is ready, and what is wrong" => Form::Json(of::<health::Readiness>), health::ready;
    get "/metrics" SeeMetrics "Metrics, for Prometheus" => Form::Other("text/plain; version=0.0.4"), exposition::metrics;
    get "/v1/openapi.json" SeeDocument "This document" => Form::Other("application/json"), document::document;
    get "/v1/scale" SeeQueues "What an autoscaler needs to know of a queue, or of all"
        ?[queues::ScaleQuery] => Form::Json(of::<queues::Scale>), queues::scale;
    get "/v1/queues" SeeQueues "The queues, by name" ?[queues::QueuesQuery]
        => Form::Json(of::<queues::Queues>), queues::list;
    get "/v1/queues/{name}" SeeQueues "One queue" ?[queues::OfBroker] => Form::Json(of::<queues::Queue>), queues::one;
    post "/v1/messages" Publish "Publishes a message" <[messages::Message]
        => Form::Json(of::<messages::Published>), messages::publish;
    get "/v1/dead-letters" SeeLetters "Dead letters without their bodies, oldest first" ?[letters::LettersQuery]
        => Form::Json(of::<letters::Letters>), letters::list;
    get "/v1/dead-letters/count" SeeLetters "How many dead letters a filter means" ?[letters::LettersQuery]
        => Form::Json(of::<letters::Count>), letters::count;
    get "/v1/dead-letters/groups" SeeLetters "Dead letters that died alike, in groups" ?[groups::GroupsQuery]
        => Form::Json(of::<groups::Groups>), groups::list;
    get "/v1/dead-letters/{id}" SeeLetters "One dead letter without its body" ?[letters::OneQuery]
        => Form::Json(of::<letter::Letter>), letters::one;
    get "/v1/dead-letters/{id}/body" SeeBodies "The body of a dead letter" ?[body::BodyQuery]
        => Form::Json(of::<body::LetterBody>), body::body;
    post "/v1/dead-letters/redrive" Redrive "Begins to put dead letters back" <[selection::Selection]
        => Form::Json(of::<super::tasks::Task>), selection::redrive;
    post "/v1/dead-letters/purge" Purge "Begins to delete dead letters" <[selection::Selection]
        => Form::Json(of::<super::tasks::Task>), selection::purge;
    get "/v1/tasks" SeeTasks "Tasks, the last first" => Form::Json(of::<tasks::TaskList>), tasks::list;
    get "/v1/tasks/{id}" SeeTasks "One task" => Form::Json(of::<super::tasks::Task>), tasks::one;
    delete "/v1/tasks/{id}" CancelTask "Cancels a task; what it did is done"
        => Form::Json(of::<super::tasks::Task>), tasks::cancel;
    get "/v1/audit" SeeTasks "Who changed something, the last first" ?[tasks::AuditQuery]
        => Form::Json(of::<tasks::AuditList>), tasks::audit;
    get "/v1/receivers" SeeReceivers "The receivers" => Form::Json(of::<receivers::Receivers>), receivers::list;
    get "/v1/receivers/{name}" SeeReceivers "One receiver" => Form::Json(of::<receivers::Receiver>), receivers::one;
    get "/v1/receivers/{name}/logs" SeeLogs "The last lines that its component wrote" ?[logs::LogsQuery]
        => Form::Json(of::<logs::Logs>), logs::last;
    get "/v1/receivers/{name}/logs/events" SeeLogs "The same as they come" ?[logs::LogsQuery] => EVENTS, logs::follow;
    post "/v1/reload" Reload "Loads every component whose file has changed"
        => Form::Json(of::<receivers::Reloads>), receivers::reload;
    get "/v1/tenants" SeeTenants "The tenants, and what each used" => Form::Json(of::<tenants::Tenants>), tenants::list;
    get "/" OpenPage "The page" => HTML, page::shell;
    get "/page.js" OpenPage "Its script" => Form::Other("text/javascript; charset=utf-8"), page::script;
    get "/page.css" OpenPage "Its style" => Form::Other("text/css; charset=utf-8"), page::style;
    get "/page/overview" SeeQueues "The overview" => HTML, page::overview::screen;
    get "/page/queues/{name}" SeeQueues "A queue" ?[queues::OfBroker] => HTML, page::queue::screen;
    get "/page/dead-letters" SeeLetters "Dead letters" ?[letters::LettersQuery] => HTML, page::letters::screen;
    get "/page/dead-letter-groups" SeeLetters "Groups of dead letters" ?[groups::GroupsQuery]
        => HTML, page::groups::screen;
    get "/page/dead-letters/{id}" SeeLetters "A dead letter" ?[letters::OneQuery] => HTML, page::letter::screen;
    get "/page/receivers" SeeReceivers "The receivers" => HTML, page::receivers::screen;
    get "/page/receivers/{name}" SeeReceivers "A receiver" => HTML, page::receiver::screen;
    get "/page/tenants" SeeTenants "The tenants" => HTML, page::tenants::screen;
    get "/page/tasks" SeeTasks "Tasks and the audit" => HTML, page::tasks::screen;
}

/// Every route.
pub fn rows() -> Vec<RouteRow> {
    ROUTES.iter().map(|Route { method, path, action, .. }| RouteRow { method, path, action: *action }).collect()
}

/// All routes, each behind the gate with its action.
pub(super) fn router(scene: Arc<Scene>) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let gate = from_fn_with_state((Arc::clone(&scene), route.action), layers::gate);
        router = router.route(route.path, (route.handler)().layer(gate));
    }
    let missing = || async { Problem::not_found("there is nothing here; see /v1/openapi.json") };
    router.fallback(missing).layer(from_fn(layers::headers)).with_state(scene)
}
