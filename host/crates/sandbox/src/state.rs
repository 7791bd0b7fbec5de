//! What a store holds for one delivery.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wasmpost_msg::{Attributes, Context, Reason};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::imports::http::{Connector, Http};
use crate::imports::wasi;
use crate::limiter::{Limiter, MemoryBudget};
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
    pub(crate) memory: Option<Arc<MemoryBudget>>,
    /// The most core instances of a component.
    pub(crate) instances_max: usize,
    /// Whether guests see time in whole milliseconds only.
    pub(crate) coarse_clocks: bool,
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
    /// Whether the guest wanted to publish more than it may.
    pub(crate) publish_refused: bool,
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
            limiter: Limiter::new(limits, shared.instances_max, shared.memory.clone()),
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
            publish_refused: false,
        }
    }

    /// How much of its time the call has left.
    pub(crate) fn time_left(&self) -> Duration {
        self.shared.limits.wall.0.saturating_sub(self.meter.wall())
    }

    /// The limit that a guest ran into which went on regardless, memory before tables before publishing.
    pub(crate) fn refused(&self) -> Option<Reason> {
        self.limiter.refused().or(self.publish_refused.then_some(Reason::PublishLimit))
    }
}

impl WasiView for StoreState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let (log, coarse_clocks) = (&self.log, self.shared.coarse_clocks);
        let ctx = self.wasi.get_or_insert_with(|| wasi::context(log, coarse_clocks));
        WasiCtxView { ctx, table: &mut self.table }
    }
}
