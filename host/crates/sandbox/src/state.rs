//! What a store holds for one delivery.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wasmpost_msg::{Attributes, Context, Reason};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::imports::http::{Connector, Http};
use crate::imports::wasi::{self, Outputs};
use crate::limiter::{Limiter, MemoryBudget};
use crate::log::GuestLog;
use crate::meter::Meter;
use crate::worlds::Command;
use crate::{Grants, Limits, LogSink};

/// The attribute that names a topic for answers.
pub(crate) const REPLY_TO: &str = "Reply-To";

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
    /// The topic that messages are said to come from.
    pub(crate) topic: Arc<str>,
    /// The topic that takes what a component answers which knows no topics.
    pub(crate) output: Option<String>,
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
    wasi: Option<(WasiCtx, Outputs)>,
    /// The same.
    pub(crate) http: Option<Http>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) cpu_exhausted: bool,
    pub(crate) published_messages: u32,
    pub(crate) published_bytes: u64,
    /// What the host holds of messages that the guest makes and may send, as far as they do not count as published yet.
    pub(crate) held_bytes: u64,
    /// What a command finds when it starts.
    pub(crate) command: Option<Command>,
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
            held_bytes: 0,
            command: None,
            publish_refused: false,
        }
    }

    /// Turns to another delivery. What the guest keeps stays, and what it holds of the host goes on counting.
    pub(crate) fn begin(&mut self, meter: &Arc<Meter>, context: Context, attributes: Attributes, body: Bytes) {
        self.log.begin(context.clone(), &self.shared.limits);
        (self.context, self.attributes, self.body) = (context, attributes, body);
        self.meter = Arc::clone(meter);
        self.http = None;
        self.published_messages = 0;
        self.published_bytes = 0;
        self.held_bytes = 0;
    }

    /// Ends what belongs to the delivery alone.
    pub(crate) fn end(&mut self) {
        if let Some((_, outputs)) = &self.wasi {
            outputs.end();
        }
        self.body = Bytes::new();
    }

    /// Whether the guest ran into no limit.
    pub(crate) fn is_unblemished(&self) -> bool {
        self.refused().is_none() && self.limiter.budget_refused.is_none() && !self.cpu_exhausted
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
        let (ctx, _) = self.wasi.get_or_insert_with(|| wasi::context(log, coarse_clocks, self.command.as_ref()));
        WasiCtxView { ctx, table: &mut self.table }
    }
}
