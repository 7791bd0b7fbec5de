//! The pass that the gate gives to a request, and values that are taken out of requests with bounds.

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use wasmpost_msg::tenant_of;

use super::problem::Problem;
use crate::gate::{Action, Answer, Caller, Thing, allowed};

/// The largest body of a request: room for the largest body of a message in base64, and its attributes.
const BODY_BYTES_MAX: usize = 96 << 20;
/// The longest query of a request, and the longest name in its path, in bytes.
const QUERY_BYTES_MAX: usize = 8 << 10;
const NAME_BYTES_MAX: usize = 1 << 10;

/// The pass of a request: whose it is, and what it is for.
#[derive(Debug, Clone)]
pub(super) struct Pass {
    caller: Option<Caller>,
    action: Action,
}

impl Pass {
    /// The pass for an action, if this caller may have one.
    pub(super) fn of(caller: Option<Caller>, action: Action) -> Result<Self, Problem> {
        let pass = Self { caller, action };
        pass.answered(Thing::Any, String::new).map(|()| pass)
    }

    fn answered(&self, thing: Thing<'_>, missing: impl FnOnce() -> String) -> Result<(), Problem> {
        match allowed(self.caller.as_ref(), self.action, thing) {
            Answer::Yes => Ok(()),
            Answer::Unknown => {
                let advice = "send a token in the header Authorization: Bearer";
                Err(Problem::new(StatusCode::UNAUTHORIZED, "unknown-token", advice))
            }
            Answer::Forbidden => {
                let detail = format!("this token may not {}", self.action.as_str());
                Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail))
            }
            Answer::Hidden => Err(Problem::not_found(missing())),
        }
    }

    /// An error unless the caller may do it to the queue or topic of this name.
    pub(super) fn may_use(&self, name: &str) -> Result<(), Problem> {
        self.answered(Thing::Of(tenant_of(name)), || format!("there is no queue or topic {name:?}"))
    }

    /// Whether the caller may see the queue or topic of this name.
    pub(super) fn sees(&self, name: &str) -> bool {
        self.sees_tenant(tenant_of(name))
    }

    /// Whether the caller may see what belongs to this tenant, or to none.
    pub(super) fn sees_tenant(&self, tenant: Option<&str>) -> bool {
        allowed(self.caller.as_ref(), self.action, Thing::Of(tenant)) == Answer::Yes
    }

    /// The tenant that the caller is bound to.
    pub(super) fn tenant(&self) -> Option<&str> {
        self.caller.as_ref().and_then(|caller| caller.tenant.as_deref())
    }

    /// The name of the caller's token.
    pub(super) fn name(&self) -> &str {
        self.caller.as_ref().map_or("", |caller| &caller.name)
    }

    pub(super) fn action(&self) -> Action {
        self.action
    }

    /// Whether the caller may do something else as well.
    pub(super) fn also(&self, action: Action) -> bool {
        allowed(self.caller.as_ref(), action, Thing::Any) == Answer::Yes
    }
}

impl<S: Sync> FromRequestParts<S> for Pass {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // A route without a gate gives nothing away.
        let closed = || Problem::new(StatusCode::FORBIDDEN, "forbidden", "there is no gate before this route");
        parts.extensions.get::<Self>().cloned().ok_or_else(closed)
    }
}

/// The query of a request.
pub(super) struct Asked<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if parts.uri.query().is_some_and(|query| query.len() > QUERY_BYTES_MAX) {
            return Err(Problem::invalid(format!("the query is longer than {QUERY_BYTES_MAX} bytes")));
        }
        let Query(asked) = Query::try_from_uri(&parts.uri).map_err(|error| Problem::invalid(error.body_text()))?;
        Ok(Self(asked))
    }
}

/// The name in the path of a request.
pub(super) struct Named(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(name) = path.map_err(|error| Problem::invalid(error.body_text()))?;
        match name.len() <= NAME_BYTES_MAX {
            true => Ok(Self(name)),
            false => Err(Problem::invalid(format!("the name is longer than {NAME_BYTES_MAX} bytes"))),
        }
    }
}

/// The body of a request, which is JSON.
pub(super) struct Sent<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Sent<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let kind = request.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.split(';').next().is_some_and(|kind| kind.trim() == "application/json") {
            let detail = "send JSON with the header Content-Type: application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", detail));
        }
        let body = axum::body::to_bytes(request.into_body(), BODY_BYTES_MAX).await.map_err(|error| {
            let detail = format!("the body is larger than {BODY_BYTES_MAX} bytes, or did not come: {error}");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
        })?;
        let read = serde_json::from_slice(&body);
        read.map(Self).map_err(|error| Problem::invalid(format!("the body is not what this takes: {error}")))
    }
}
