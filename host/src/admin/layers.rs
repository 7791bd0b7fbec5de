//! Layers before and behind every route: the gate, the time of a request, and headers of every response.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::pass::Pass;
use super::problem::Problem;
use super::scene::Scene;
use crate::gate::{Action, Caller};

/// How long a request may take until its response begins.
const REQUEST_MAX: Duration = Duration::from_secs(60);
/// The longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 512;
/// Nothing from elsewhere, nothing inline, no frames.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Lets a request through that the gate allows, with its pass.
pub(super) async fn gate(
    State((scene, action)): State<(Arc<Scene>, Action)>,
    mut request: Request,
    next: Next,
) -> Response {
    let admitted = from_same_origin(&request).and_then(|()| Pass::of(caller(&scene, request.headers()), action));
    match admitted {
        Ok(pass) => {
            request.extensions_mut().insert(pass);
            let answering = tokio::time::timeout(REQUEST_MAX, next.run(request));
            answering.await.unwrap_or_else(|_| {
                Problem::unavailable(format!("it took longer than {REQUEST_MAX:?}; it may have been done"))
                    .into_response()
            })
        }
        Err(problem) => problem.into_response(),
    }
}

/// The holder of the token of a request.
fn caller(scene: &Scene, headers: &HeaderMap) -> Option<Caller> {
    let given = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = given.split_once(' ')?;
    let is_token = scheme.eq_ignore_ascii_case("bearer") && token.len() <= TOKEN_BYTES_MAX;
    is_token.then(|| scene.caller(token.trim())).flatten()
}

/// Refuses changes that a page of another site asks for.
fn from_same_origin(request: &Request) -> Result<(), Problem> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(());
    }
    match request.headers().get("sec-fetch-site").map(HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => {
            let detail = "a page of another site asked for this; use the page of this host";
            Err(Problem::new(StatusCode::FORBIDDEN, "other-site", detail))
        }
    }
}

/// Adds the headers that every response has.
pub(super) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
