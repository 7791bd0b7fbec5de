//! From the client's errors to the one error of brokers, and deadlines for what waits.

use std::time::Duration;

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use wasmpost_delivery::{BrokerError, BrokerErrorKind};

/// How long the broker may take to answer.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(15);

/// Waits for an answer of the broker, but not for ever. `what` says what was being done.
pub(crate) async fn answered<T>(what: &str, answer: impl Future<Output = lapin::Result<T>>) -> Result<T, BrokerError> {
    match tokio::time::timeout(ANSWER_MAX, answer).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(failed(what, &error)),
        Err(_) => Err(unavailable(format!("{what}: RabbitMQ did not answer for {ANSWER_MAX:?}"))),
    }
}

/// The error of the broker for an error of the client.
pub(crate) fn failed(what: &str, error: &lapin::Error) -> BrokerError {
    BrokerError::new(kind(error), format!("{what}: {}", text(error)))
}

pub(crate) fn unavailable(context: impl Into<String>) -> BrokerError {
    BrokerError::new(BrokerErrorKind::Unavailable, context)
}

pub(crate) fn invalid(context: impl Into<String>) -> BrokerError {
    BrokerError::new(BrokerErrorKind::Invalid, context)
}

pub(crate) fn closed() -> BrokerError {
    BrokerError::new(BrokerErrorKind::Closed, "broker was closed")
}

/// The broker's own words where it said something, for they name what differs.
fn text(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(told) => told.get_message().to_string(),
        _ => error.to_string(),
    }
}

fn kind(error: &lapin::Error) -> BrokerErrorKind {
    let ErrorKind::ProtocolError(told) = error.kind() else { return BrokerErrorKind::Unavailable };
    match told.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => BrokerErrorKind::NotFound,
        AMQPErrorKind::Soft(AMQPSoftError::RESOURCELOCKED) => BrokerErrorKind::InUse,
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED | AMQPSoftError::ACCESSREFUSED)
        | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED | AMQPHardError::INVALIDPATH) => BrokerErrorKind::Invalid,
        _ => BrokerErrorKind::Unavailable,
    }
}
