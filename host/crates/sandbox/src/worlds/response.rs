//! Answers of HTTP handlers, and the outcome of a message by them.

use std::fmt::Display;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};

use crate::guest::StoreState;
use crate::guest::bindings::wasmpost::messaging::types::Failure;
use crate::limits::Work;

/// The host that requests are said to be for.
const AUTHORITY: &str = "wasmpost.localhost";
/// How much of the answer to a failure goes into its text, in bytes.
const TOLD_BYTES_MAX: usize = 512;

/// The answers that say to try again later, and may say when.
const LATER: [StatusCode; 4] = [
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::TOO_EARLY,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::SERVICE_UNAVAILABLE,
];

/// The answer of a handler.
pub(super) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    /// The beginning of the body, as far as it is wanted.
    body: BytesMut,
    /// Whether that is all of it.
    is_whole: bool,
}

/// The message as a request: attributes are headers, as far as they can be.
pub(super) fn request(state: &mut StoreState) -> wasmtime::Result<Request<Full<Bytes>>> {
    let body = std::mem::take(&mut state.body);
    let mut request = Request::post(format!("http://{AUTHORITY}/"));
    let pairs =
        state.delivery.attributes.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
    for (name, value) in pairs {
        state.delivery.work.add(name.len() + value.len() + 1);
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else { continue };
        // These are about this very request.
        if name != HOST && name != CONTENT_LENGTH {
            request = request.header(name, value);
        }
    }
    let id = HeaderValue::try_from(state.delivery.context.id());
    if let Ok(id) = id {
        request = request.header("wasmpost-id", id);
    }
    request = request.header("wasmpost-attempt", state.delivery.context.attempt());
    request = request.header(HOST, AUTHORITY).header(CONTENT_LENGTH, body.len());
    request.body(Full::new(body)).map_err(|error| wasmtime::Error::msg(format!("message is no request: {error}")))
}

/// How many bytes of the body of an answer are wanted.
pub(super) fn wanted(state: &StoreState) -> usize {
    match state.shared.output {
        Some(_) => state.shared.limits.publish_message_bytes.bytes(),
        None => TOLD_BYTES_MAX,
    }
}

/// An answer with so many bytes of its body. The rest is taken and dropped.
pub(super) async fn collected<B>(response: http::Response<B>, wanted: usize, work: &Work) -> Result<Answer, String>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    let (parts, mut rest) = response.into_parts();
    let mut body = BytesMut::new();
    let mut is_whole = true;
    while let Some(frame) = rest.frame().await {
        let frame = frame.map_err(|error| format!("body of the response: {error}"))?;
        let Some(data) = frame.data_ref() else { continue };
        work.add(data.len());
        let room = wanted.saturating_sub(body.len());
        is_whole &= data.len() <= room;
        body.extend_from_slice(data.get(..room).unwrap_or(data));
    }
    Ok(Answer { status: parts.status, headers: parts.headers, body, is_whole })
}

impl Answer {
    pub(super) fn outcome(self, state: &mut StoreState) -> Result<(), Failure> {
        let status = self.status;
        if status.is_success() {
            if state.shared.output.is_none() {
                return Ok(());
            }
            if !self.is_whole {
                let max = state.shared.limits.publish_message_bytes;
                return Err(Failure::Retry(format!("response is larger than {max}, the most that a message may have")));
            }
            let content_type = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
            return state.delivery.publish_output(content_type, self.body.freeze());
        }
        let told = String::from_utf8_lossy(self.body.get(..TOLD_BYTES_MAX).unwrap_or(&self.body)).trim().to_owned();
        let text = format!("status {status}{}{told}", if told.is_empty() { "" } else { ": " });
        let later = LATER.contains(&status);
        Err(match self.headers.get(RETRY_AFTER).filter(|_| later).and_then(retry_after) {
            Some(delay) => Failure::RetryAfter((u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX), text)),
            None if later || !status.is_client_error() => Failure::Retry(text),
            None => Failure::Reject(text),
        })
    }
}

/// Seconds, or a date.
fn retry_after(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let date = httpdate::parse_http_date(text).ok()?;
            Some(date.duration_since(SystemTime::now()).unwrap_or_default())
        }
    }
}
