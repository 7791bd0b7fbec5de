//! The error of a command and its exit code.

use std::process::ExitCode;

use wasmpost_delivery::{BrokerError, BrokerErrorKind};

use super::output;
use crate::config::ConfigError;
use crate::host::HostError;

/// The error of a command.
#[derive(Debug)]
pub struct Failure {
    error: anyhow::Error,
    code: u8,
}

impl Failure {
    /// Bad usage or configuration: exit code 2.
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { error: error.into(), code: 2 }
    }

    /// The work failed: exit code 1.
    pub fn failed(error: impl Into<anyhow::Error>) -> Self {
        Self { error: error.into(), code: 1 }
    }

    /// A message was published before, and that was to be a failure: exit code 3.
    pub fn duplicate(error: impl Into<anyhow::Error>) -> Self {
        Self { error: error.into(), code: 3 }
    }

    /// The same failure as the cause of a text.
    #[must_use]
    pub fn within(self, text: String) -> Self {
        Self { error: self.error.context(text), code: self.code }
    }

    /// The error and its causes.
    pub(super) fn text(&self) -> String {
        format!("{:#}", self.error)
    }

    /// Tells the user and gives the exit code.
    pub fn report(&self) -> ExitCode {
        output::error(&self.error);
        ExitCode::from(self.code)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error)
    }
}

impl From<BrokerError> for Failure {
    fn from(error: BrokerError) -> Self {
        match error.kind() {
            BrokerErrorKind::Invalid | BrokerErrorKind::InUse | BrokerErrorKind::Unsupported => Self::usage(error),
            _ => Self::failed(error),
        }
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Broker(error) => error.into(),
            HostError::Component { .. }
            | HostError::Sandbox(_)
            | HostError::NoReceivers
            | HostError::Ingress { .. }
            | HostError::Access { .. }
            | HostError::Queue { .. } => Self::usage(error),
            other => Self::failed(other),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error)
    }
}
