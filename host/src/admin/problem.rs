//! Errors of the API, as RFC 9457 has them.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use wasmpost_delivery::{BrokerError, BrokerErrorKind};
use wasmpost_msg::chain;

/// An error of the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Problem {
    /// The kind of error, in a word for programs.
    pub(super) code: &'static str,
    /// The same in words for people.
    pub(super) title: &'static str,
    /// The status of the response.
    pub(super) status: u16,
    /// The thing that is wrong, and what to do.
    pub(super) detail: String,
    /// After how many seconds trying again can help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retry_after: Option<u32>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self { code, title, status: status.as_u16(), detail: detail.into(), retry_after: None }
    }

    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        let retry_after = Some(1);
        Self { retry_after, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail) }
    }
}

impl From<BrokerError> for Problem {
    fn from(error: BrokerError) -> Self {
        let text = chain(&error).to_string();
        match error.kind() {
            BrokerErrorKind::Invalid => Self::invalid(text),
            BrokerErrorKind::NotFound => Self::not_found(text),
            BrokerErrorKind::Limit => {
                Self { retry_after: Some(10), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "limit", text) }
            }
            BrokerErrorKind::Full => {
                Self { retry_after: Some(10), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "full", text) }
            }
            BrokerErrorKind::Unsupported => Self::new(StatusCode::NOT_IMPLEMENTED, "unsupported", text),
            BrokerErrorKind::Corrupt => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "corrupt", text),
            _ => Self::unavailable(text),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (status, [(header::CONTENT_TYPE, kind)], body).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
