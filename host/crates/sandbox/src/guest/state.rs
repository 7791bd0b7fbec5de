//! The state of a store for one delivery.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use wasmpost_msg::{Attributes, Context, Reason, ReceiveError};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::WasiCtx;

use super::bindings::Plugin;
use super::delivery::DeliveryState;
use super::grants::Grants;
use super::lines::Outputs;
use super::log::LogSink;
use super::network::Connector;
use super::requests::Http;
use super::surroundings::{Command, Surroundings};
use super::tasks::Tasks;
use crate::error::{Circumstances, classify};
use crate::limits::{Limiter, Limits, MemoryBudget, Meter};

/// The attribute that names a topic for answers.
pub(crate) const REPLY_TO: &str = "Reply-To";

/// The parts of a receiver that all its deliveries share.
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
    /// Replacements for the real time of day and for real random numbers.
    pub(crate) surroundings: Option<Surroundings>,
    pub(crate) connector: Arc<Connector>,
    /// The topic that messages are said to come from.
    pub(crate) topic: Arc<str>,
    /// The topic that takes what a component answers which knows no topics.
    pub(crate) output: Option<String>,
}

/// The state of a store for one delivery.
pub(crate) struct StoreState {
    pub(crate) shared: Arc<Shared>,
    pub(crate) delivery: DeliveryState,
    /// The number of this delivery among those of the same instance.
    pub(crate) number: u32,
    /// More deliveries, where the instance has several at a time, by their numbers.
    pub(crate) together: BTreeMap<u32, DeliveryState>,
    /// The calls in which those are processed.
    pub(crate) tasks: Arc<Tasks>,
    /// The number of the delivery that ended the instance.
    pub(crate) culprit: Option<u32>,
    /// The rest of the body.
    pub(crate) body: Bytes,
    pub(crate) limiter: Limiter,
    pub(crate) table: ResourceTable,
    /// Made when the guest first uses it: many never do.
    pub(crate) wasi: Option<(WasiCtx, Outputs)>,
    /// The same.
    pub(crate) http: Option<Http>,
    pub(crate) meter: Arc<Meter>,
    /// The meter of CPU time, also of several messages together.
    pub(crate) payer: Arc<Meter>,
    pub(crate) cpu_exhausted: bool,
    /// The functions of an instance that has been called before.
    pub(crate) plugin: Option<Plugin>,
    /// The input and the output of a command.
    pub(crate) command: Option<Command>,
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
            delivery: DeliveryState::new(shared, context, attributes),
            number: 0,
            together: BTreeMap::new(),
            tasks: Arc::default(),
            culprit: None,
            shared: Arc::clone(shared),
            body,
            table,
            wasi: None,
            http: None,
            meter: Arc::clone(meter),
            payer: Arc::clone(meter),
            cpu_exhausted: false,
            plugin: None,
            command: None,
        }
    }

    /// For an instance with several deliveries at a time; it begins with none.
    pub(crate) fn of_several(shared: &Arc<Shared>, meter: &Arc<Meter>) -> Self {
        let mut state = Self::new(shared, meter, Context::default(), Attributes::new(), Bytes::new());
        state.delivery.is_nobodys = true;
        state
    }

    /// Has what all deliveries of an instance share last as long as the newest of them, and gives its log room again.
    pub(crate) fn renew(&mut self, meter: &Arc<Meter>) {
        self.meter = Arc::clone(meter);
        self.http = None;
        self.delivery.log.begin(Context::default(), &self.shared.limits);
    }

    /// Turns to another delivery. The state of the guest stays, and the host's resources that it holds still count.
    pub(crate) fn begin(&mut self, meter: &Arc<Meter>, context: Context, attributes: Attributes, body: Bytes) {
        self.delivery.begin(context, attributes);
        self.number = self.number.wrapping_add(1);
        self.body = body;
        self.meter = Arc::clone(meter);
        self.payer = Arc::clone(meter);
        self.http = None;
    }

    /// Ends what belongs to the delivery alone.
    pub(crate) fn end(&mut self) {
        if let Some((_, outputs)) = &self.wasi {
            outputs.end();
        }
        self.delivery.log.end();
        self.body = Bytes::new();
    }

    /// Whether the guest ran into no limit.
    pub(crate) fn is_unblemished(&self) -> bool {
        self.refused().is_none() && self.limiter.budget_refused.is_none() && !self.cpu_exhausted
    }

    /// The delivery of this number, if it is still at work.
    pub(crate) fn delivery_of(&mut self, number: u32) -> Option<&mut DeliveryState> {
        if number == self.number { Some(&mut self.delivery) } else { self.together.get_mut(&number) }
    }

    /// The delivery that the guest works on now, or that of the instance itself.
    pub(crate) fn delivery_now(&mut self) -> &mut DeliveryState {
        let number = self.tasks.now();
        number.and_then(|number| self.together.get_mut(&number)).unwrap_or(&mut self.delivery)
    }

    /// The limit that a guest ran into which went on regardless, memory before tables before publishing.
    pub(crate) fn refused(&self) -> Option<Reason> {
        self.limiter.refused().or(self.delivery.publish_refused.then_some(Reason::PublishLimit))
    }

    /// Classifies the error of a call: the guest or the host is at fault, and which limit was hit.
    pub(crate) fn classify(&self, error: &wasmtime::Error) -> ReceiveError {
        let Self { limiter, delivery, cpu_exhausted, .. } = self;
        let circumstances = Circumstances {
            limits: &self.shared.limits,
            limiter,
            cpu_exhausted: *cpu_exhausted,
            publish_refused: delivery.publish_refused,
            is_flooded: delivery.is_flooded(),
        };
        classify(error, &circumstances)
    }
}
