//! The log of the host. The context is a free word that groups lines.

use std::fmt::Display;

use crate::bindings::wasi::logging::logging::{Level, log};

/// Every step.
pub fn trace(context: &str, text: impl Display) {
    log(Level::Trace, context, &text.to_string());
}

/// For the one who looks for a fault.
pub fn debug(context: &str, text: impl Display) {
    log(Level::Debug, context, &text.to_string());
}

/// For the one who operates the host.
pub fn info(context: &str, text: impl Display) {
    log(Level::Info, context, &text.to_string());
}

/// Something may be wrong.
pub fn warn(context: &str, text: impl Display) {
    log(Level::Warn, context, &text.to_string());
}

/// Something is wrong.
pub fn error(context: &str, text: impl Display) {
    log(Level::Error, context, &text.to_string());
}

/// Nothing works any more.
pub fn critical(context: &str, text: impl Display) {
    log(Level::Critical, context, &text.to_string());
}
