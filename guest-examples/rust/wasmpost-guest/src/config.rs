//! The configuration that the operator gave to this component.

use std::fmt::{Display, Formatter};

use crate::bindings::wasi::config::store;

/// Why the configuration could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(String);

/// The value that the operator set under a key; `None` without one.
pub fn config(key: &str) -> Result<Option<String>, ConfigError> {
    store::get(key).map_err(|error| match error {
        store::Error::Upstream(why) | store::Error::Io(why) => ConfigError(why),
    })
}

impl Display for ConfigError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "configuration: {}", self.0)
    }
}

impl std::error::Error for ConfigError {}
