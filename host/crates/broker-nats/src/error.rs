//! From the errors of the client to the one error of brokers.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::{Error as ServerError, ErrorCode};
use wasmpost_delivery::{BrokerError, BrokerErrorKind};

/// How long the server may take to answer.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A passing fault: `what` could not be done. Errors of the client tell their causes themselves: only their text is kept,
/// so that no cause is told twice.
pub(crate) fn unavailable(what: impl Into<String>, source: impl Into<Source>) -> BrokerError {
    BrokerError::new(BrokerErrorKind::Unavailable, what).caused_by(source.into().to_string())
}

/// The same, where the server answered in no time.
pub(crate) fn unanswered(what: impl Into<String>) -> BrokerError {
    let what = what.into();
    BrokerError::new(BrokerErrorKind::Unavailable, format!("{what}: no answer from the server in {ANSWER_TIMEOUT:?}"))
}

pub(crate) fn invalid(fault: impl Into<String>) -> BrokerError {
    BrokerError::new(BrokerErrorKind::Invalid, fault)
}

/// Does something within the time that the server has to answer.
pub(crate) async fn in_time<T, E: Into<Source>>(
    what: impl Fn() -> String,
    future: impl Future<Output = Result<T, E>>,
) -> Result<T, BrokerError> {
    match tokio::time::timeout(ANSWER_TIMEOUT, future).await {
        Ok(answer) => answer.map_err(|error| unavailable(what(), error)),
        Err(_) => Err(unanswered(what())),
    }
}

/// The error of a message that was not stored.
pub(crate) fn not_stored(subject: &str, error: PublishError) -> BrokerError {
    let what = format!("message was not stored under {subject}");
    let refused = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<ServerError>());
    let kind = match (error.kind(), refused) {
        (PublishErrorKind::MaxPayloadExceeded, _) => BrokerErrorKind::Invalid,
        (_, Some(refused)) => kind_of(refused),
        _ => BrokerErrorKind::Unavailable,
    };
    BrokerError::new(kind, what).caused_by(error.to_string())
}

/// The kind of an error of the server, which says what the caller does next.
pub(crate) fn kind_of(refused: &jetstream::Error) -> BrokerErrorKind {
    let full = [
        ErrorCode::STORAGE_RESOURCES_EXCEEDED,
        ErrorCode::MEMORY_RESOURCES_EXCEEDED,
        ErrorCode::INSUFFICIENT_RESOURCES,
    ];
    let invalid = [ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM, ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM];
    let code = refused.error_code();
    // One code stands for everything that the store can say; its text tells the limits apart.
    let is_limit = code == ErrorCode::STREAM_STORE_FAILED && refused.to_string().contains("maximum");
    if is_limit || full.contains(&code) {
        BrokerErrorKind::Full
    } else if invalid.contains(&code) {
        BrokerErrorKind::Invalid
    } else {
        BrokerErrorKind::Unavailable
    }
}
