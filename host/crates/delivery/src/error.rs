//! The one error of all brokers.

use std::fmt;

/// An error of a broker: the operation that failed, and why.
///
/// # Examples
///
/// ```
/// use wasmpost_delivery::{BrokerError, BrokerErrorKind};
/// use wasmpost_msg::chain;
///
/// let error = BrokerError::new(BrokerErrorKind::Unavailable, "file \"orders.db\" could not be read")
///     .caused_by(std::io::Error::other("disk is gone"));
/// assert!(error.passes());
/// assert_eq!(error.to_string(), "file \"orders.db\" could not be read");
/// assert_eq!(chain(&error).to_string(), "file \"orders.db\" could not be read: disk is gone");
/// ```
#[derive(Debug)]
pub struct BrokerError {
    kind: BrokerErrorKind,
    context: String,
    is_of_quota: bool,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The kind of an error, which says what the caller does next.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use wasmpost_delivery::{Broker, BrokerError};
/// use wasmpost_msg::Publication;
///
/// /// Publishes, and tries again for as long as that can help, ten times at most.
/// async fn publish(broker: &dyn Broker, publications: Vec<Publication>) -> Result<(), BrokerError> {
///     for _ in 1..10 {
///         match broker.publish(publications.clone()).await {
///             Err(error) if error.passes() => tokio::time::sleep(Duration::from_secs(1)).await,
///             ended => return ended.map(drop),
///         }
///     }
///     broker.publish(publications).await.map(drop)
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BrokerErrorKind {
    /// A passing fault: try again later.
    Unavailable,
    /// The store is full: nothing more can be published until room is made.
    Full,
    /// More than a quota ever lets in: waiting makes no room.
    Limit,
    /// The request is wrong: change it.
    Invalid,
    /// There is no such thing.
    NotFound,
    /// The lease was lost; the settlement had no effect.
    Stale,
    /// Another process has it.
    InUse,
    /// The stored data cannot be read.
    Corrupt,
    /// The broker was closed, or cannot go on.
    Closed,
    /// This broker cannot do that.
    Unsupported,
}

impl BrokerError {
    /// An error of `kind`; `context` names the thing and what to do.
    pub fn new(kind: BrokerErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), is_of_quota: false, source: None }
    }

    /// The same error with its cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same error, caused by the quota of a tenant and not by the broker.
    #[must_use]
    pub fn of_quota(mut self) -> Self {
        self.is_of_quota = true;
        self
    }

    /// Whether the quota of a tenant caused it, and not the broker.
    pub fn is_of_quota(&self) -> bool {
        self.is_of_quota
    }

    /// The kind of an error, which says what the caller does next.
    pub fn kind(&self) -> BrokerErrorKind {
        self.kind
    }

    /// The operation that failed, without the cause.
    pub fn context(&self) -> &str {
        &self.context
    }

    /// Whether trying again later can help.
    pub fn passes(&self) -> bool {
        matches!(self.kind, BrokerErrorKind::Unavailable | BrokerErrorKind::Full)
    }

    /// The settlement of a lease that was lost.
    pub fn stale(queue: &str, id: &str) -> Self {
        Self::new(BrokerErrorKind::Stale, format!("queue {queue:?}: lease of message {id:?} was lost"))
    }
}

impl fmt::Display for BrokerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.context)
    }
}

impl std::error::Error for BrokerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let source: &(dyn std::error::Error + 'static) = self.source.as_deref()?;
        Some(source)
    }
}

#[cfg(test)]
mod tests {
    use wasmpost_msg::chain;

    use super::*;

    #[test]
    fn an_error_tells_itself_and_its_cause_is_told_by_the_chain_once() {
        let disk = std::io::Error::other("disk is gone");
        let inner = BrokerError::new(BrokerErrorKind::Unavailable, "file could not be read").caused_by(disk);
        let error = BrokerError::new(BrokerErrorKind::Closed, "queue is not used any more").caused_by(inner);
        assert_eq!(error.to_string(), "queue is not used any more");
        let told = "queue is not used any more: file could not be read: disk is gone";
        assert_eq!(chain(&error).to_string(), told);
    }
}
