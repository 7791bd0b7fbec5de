//! Refusals, as senders read them: a status, and a problem in JSON (RFC 9457) that says what to do.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

/// The body of every answer.
pub(crate) type Answer = Response<Full<Bytes>>;

/// A request that is not taken, and what its sender can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The status.
    pub(crate) status: StatusCode,
    /// The fault, and what to do about it.
    detail: String,
    /// When to send the request again.
    retry_after: Option<Duration>,
    /// A header that belongs to the status.
    header: Option<(HeaderName, HeaderValue)>,
    /// Whether nothing more is read from the connection.
    ends: bool,
}

#[derive(Serialize)]
struct Told<'a> {
    title: &'a str,
    status: u16,
    detail: &'a str,
}

impl Problem {
    /// A request of which the sender has to change something.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), retry_after: None, header: None, ends: false }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// A request whose sender did not prove who it is.
    pub(crate) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// The same, of a sender that has to show a token.
    pub(crate) fn without_token(detail: impl Into<String>) -> Self {
        Self::unauthorized(detail).with(WWW_AUTHENTICATE, "Bearer")
    }

    /// A request that a web page had a browser send.
    pub(crate) fn of_page() -> Self {
        let detail =
            "requests of web pages are not taken without a signature; send it from a program, or have it signed";
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "nothing is taken at this path; send to the path that is configured")
    }

    pub(crate) fn not_allowed() -> Self {
        let problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, "messages are sent by POST; use that method");
        problem.with(ALLOW, "POST")
    }

    pub(crate) fn too_large(max: usize) -> Self {
        let detail = format!("the body is over the limit of {max} bytes; send less at a time");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail).ending()
    }

    pub(crate) fn unsupported_type(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    }

    pub(crate) fn encoded() -> Self {
        let detail = "the body is encoded, and is not decoded here; send it without Content-Encoding";
        Self::unsupported_type(detail).with(ACCEPT_ENCODING, "identity")
    }

    pub(crate) fn timed_out() -> Self {
        let detail = "the request took too long to arrive; send it again, faster";
        Self::new(StatusCode::REQUEST_TIMEOUT, detail).ending()
    }

    /// Too much for now.
    pub(crate) fn too_many(detail: impl Into<String>, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail) }
    }

    /// Nothing is taken for now.
    pub(crate) fn unavailable(detail: impl Into<String>, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }

    /// The same problem, after which the connection is closed.
    pub(crate) fn ending(self) -> Self {
        Self { ends: true, ..self }
    }

    fn with(self, name: HeaderName, value: &'static str) -> Self {
        Self { header: Some((name, HeaderValue::from_static(value))), ..self }
    }

    /// The answer that tells it.
    pub(crate) fn answer(self) -> Answer {
        let title = self.status.canonical_reason().unwrap_or_default();
        let told = Told { title, status: self.status.as_u16(), detail: &self.detail };
        let mut answer = json(self.status, "application/problem+json", &told);
        let headers = answer.headers_mut();
        if let Some(after) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds(after).into());
        }
        if let Some((name, value)) = self.header {
            headers.insert(name, value);
        }
        if self.ends {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

/// Whole seconds, at least one, as Retry-After has them.
fn seconds(time: Duration) -> u64 {
    time.as_millis().div_ceil(1000).clamp(1, 86_400).try_into().unwrap_or(1)
}

/// An answer whose body is a value in JSON.
pub(crate) fn json(status: StatusCode, content_type: &'static str, value: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_wait_is_told_in_whole_seconds_and_never_as_none() {
        for (time, told) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (u64::MAX, 86_400)] {
            let answer = Problem::too_many("too many", Duration::from_millis(time)).answer();
            assert_eq!(answer.headers()[RETRY_AFTER], told.to_string());
        }
    }
}
