//! What a store holds for one delivery.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wasmpost_msg::{Attributes, Context};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::imports::http::{Connector, Http};
use crate::imports::wasi;
use crate::limiter::Limiter;
use crate::log::GuestLog;
use crate::meter::Meter;
use crate::{Grants, Limits, LogSink};

/// What all deliveries of a receiver share.
pub(crate) struct Shared {
    pub(crate) name: Arc<str>,
    pub(crate) limits: Limits,
    pub(crate) grants: Grants,
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) log: Arc<dyn LogSink>,
    pub(crate) connector: Arc<Connector>,
}

/// What a store holds for one delivery.
pub(crate) struct StoreState {
    pub(crate) shared: Arc<Shared>,
    pub(crate) context: Context,
    pub(crate) attributes: Attributes,
    /// What is left of the body.
    pub(crate) body: Bytes,
    pub(crate) limiter: Limiter,
    pub(crate) table: ResourceTable,
    pub(crate) log: Arc<GuestLog>,
    /// Made when the guest first uses it: many never do.
    wasi: Option<WasiCtx>,
    /// The same.
    pub(crate) http: Option<Http>,
    meter: Arc<Meter>,
    pub(crate) cpu_exhausted: bool,
    pub(crate) published_messages: u32,
    pub(crate) published_bytes: u64,
}

impl StoreState {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        meter: &Arc<Meter>,
        context: Context,
        attributes: Attributes,
        body: Bytes,
    ) -> Self {
        let limits = &shared.limits;
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles as usize);
        Self {
            limiter: Limiter::new(limits.memory.bytes(), limits.table_elements as usize),
            log: GuestLog::new(Arc::clone(&shared.log), Arc::clone(&shared.name), context.clone(), limits),
            shared: Arc::clone(shared),
            context,
            attributes,
            body,
            table,
            wasi: None,
            http: None,
            meter: Arc::clone(meter),
            cpu_exhausted: false,
            published_messages: 0,
            published_bytes: 0,
        }
    }

    /// How much of its time the call has left.
    pub(crate) fn time_left(&self) -> Duration {
        self.shared.limits.wall.0.saturating_sub(self.meter.wall())
    }
}

impl WasiView for StoreState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let log = &self.log;
        WasiCtxView { ctx: self.wasi.get_or_insert_with(|| wasi::context(log)), table: &mut self.table }
    }
}
