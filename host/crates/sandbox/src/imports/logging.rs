//! `wasi:logging`: lines for the log of the host.

use wasmtime::StoreContextMut;
use wasmtime::component::{HasSelf, Linker};

use crate::guest::bindings::wasi::logging::logging;
use crate::guest::bindings::wasi::logging::logging::{Host, Level as GuestLevel};
use crate::guest::{Calls, Level, LogSource, StoreState};

const INTERFACE: &str = "wasi:logging/logging@0.1.0-draft";

pub(super) fn add_to_linker(linker: &mut Linker<StoreState>, calls: Calls) -> wasmtime::Result<()> {
    if calls == Calls::Synchronous {
        return logging::add_to_linker::<_, HasSelf<_>>(linker, |state| state);
    }
    // The interface does not say which of several messages a line belongs to, but the call does that it is written in.
    let log = |mut store: StoreContextMut<'_, StoreState>, (level, context, message): (GuestLevel, String, String)| {
        let delivery = store.data_mut().delivery_now();
        delivery.work.call(context.len() + message.len());
        delivery.log.line(level.into(), LogSource::Logging, &context, &message);
        Ok(())
    };
    linker.instance(INTERFACE)?.func_wrap("log", log)
}

impl Host for StoreState {
    fn log(&mut self, level: GuestLevel, context: String, message: String) -> wasmtime::Result<()> {
        self.delivery.work.call(context.len() + message.len());
        self.delivery.log.line(level.into(), LogSource::Logging, &context, &message);
        Ok(())
    }
}

impl From<GuestLevel> for Level {
    fn from(level: GuestLevel) -> Self {
        match level {
            GuestLevel::Trace => Self::Trace,
            GuestLevel::Debug => Self::Debug,
            GuestLevel::Info => Self::Info,
            GuestLevel::Warn => Self::Warn,
            GuestLevel::Error => Self::Error,
            GuestLevel::Critical => Self::Critical,
        }
    }
}
