//! `wasi:logging`: lines for the log of the host.

use crate::bindings::wasi::logging::logging::{Host, Level as GuestLevel};
use crate::log::{Level, LogSource};
use crate::state::StoreState;

impl Host for StoreState {
    fn log(&mut self, level: GuestLevel, context: String, message: String) -> wasmtime::Result<()> {
        let level = match level {
            GuestLevel::Trace => Level::Trace,
            GuestLevel::Debug => Level::Debug,
            GuestLevel::Info => Level::Info,
            GuestLevel::Warn => Level::Warn,
            GuestLevel::Error => Level::Error,
            GuestLevel::Critical => Level::Critical,
        };
        self.log.line(level, LogSource::Logging, &context, &message);
        Ok(())
    }
}
