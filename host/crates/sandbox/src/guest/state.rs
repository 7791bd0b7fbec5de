//! The state of a store for one delivery.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wasmpost_msg::{Attributes, Context, Reason, ReceiveError};
use wasmtime::component::{Resource, ResourceTable, TypedFunc};
use wasmtime_wasi::WasiCtx;

use super::batch::Members;
use super::bindings::Plugin;
use super::bindings::wasmpost::messaging::types::{Failure, PublishError};
use super::delivery::{DeliveryState, Published, Writer};
use super::grants::Grants;
use super::handles::{Incoming, LentWriter};
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

/// The function of an instance that receives several messages.
pub(crate) type ReceiveBatch = TypedFunc<(Vec<Resource<Incoming>>,), (Vec<Result<(), Failure>>,)>;

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
    /// The deliveries of a call that has several.
    pub(crate) members: Members,
    /// More deliveries, where the instance has several calls at a time, by their numbers.
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
    /// How many messages the current call has. It has its limits of time, of the log and of HTTP requests so often.
    pub(crate) messages: u32,
    /// The functions of an instance that has been called before.
    pub(crate) plugin: Option<Plugin>,
    /// The same for one that gets several messages in a call.
    pub(crate) receive_batch: Option<ReceiveBatch>,
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
            members: Members::default(),
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
            messages: 1,
            plugin: None,
            receive_batch: None,
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
        self.delivery.log.begin(Context::default(), &self.shared.limits, 1);
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

    /// Turns to a call with several messages, and gives the number of the first one. The state of the guest stays.
    pub(crate) fn begin_call(&mut self, meter: &Arc<Meter>, messages: Vec<(Context, Attributes, Bytes)>) -> u32 {
        let count = u32::try_from(messages.len()).unwrap_or(u32::MAX);
        let first = self.number.wrapping_add(1);
        self.members.begin(&self.shared, first, messages);
        self.delivery.begin_call(count);
        self.number = first.wrapping_add(count);
        self.messages = count;
        self.meter = Arc::clone(meter);
        self.payer = Arc::clone(meter);
        self.http = None;
        first
    }

    /// Ends what belongs to the delivery alone.
    pub(crate) fn end(&mut self) {
        if let Some((_, outputs)) = &self.wasi {
            outputs.end();
        }
        self.delivery.log.end();
        self.members.end();
        self.body = Bytes::new();
    }

    /// The CPU time that the current call may use.
    pub(crate) fn cpu_budget(&self) -> Duration {
        self.shared.limits.cpu.0.saturating_mul(self.messages)
    }

    /// Whether the guest ran into no limit.
    pub(crate) fn is_unblemished(&self) -> bool {
        self.refused().is_none() && self.limiter.budget_refused.is_none() && !self.cpu_exhausted
    }

    /// The delivery of this number, if it is still at work.
    pub(crate) fn delivery_of(&mut self, number: u32) -> Option<&mut DeliveryState> {
        if number == self.number {
            return Some(&mut self.delivery);
        }
        match self.members.find(number) {
            Some(member) => Some(&mut member.delivery),
            None => self.together.get_mut(&number),
        }
    }

    /// The delivery of a message that is lent. The engine takes the handle away when the call returns.
    pub(crate) fn lent(&mut self, number: u32) -> wasmtime::Result<&mut DeliveryState> {
        self.delivery_of(number).ok_or_else(|| wasmtime::Error::msg("the message is not lent any more"))
    }

    /// Hands a result to the guest, unless it was refused too often for this message, which is to blame then.
    pub(crate) fn unless_flooded<T>(&mut self, number: u32, result: T) -> wasmtime::Result<T> {
        let checked = self.lent(number)?.unless_flooded(result);
        checked.inspect_err(|_| self.culprit = Some(number))
    }

    /// Works on a writer, as long as the call goes on that it was made in.
    pub(crate) fn written(
        &mut self,
        writer: &Resource<LentWriter>,
        work: impl FnOnce(&mut Writer, &mut DeliveryState) -> Published,
    ) -> wasmtime::Result<Published> {
        let Self { table, delivery, members, together, number: own, .. } = self;
        let LentWriter { writer, number } = table.get_mut(writer)?;
        let found = if number == own {
            Some(delivery)
        } else {
            let member = members.find(*number).map(|member| &mut member.delivery);
            member.or_else(|| together.get_mut(number))
        };
        Ok(found.map_or(Err(PublishError::Closed), |delivery| work(writer, delivery)))
    }

    /// The delivery that the guest works on now, or that of the instance itself.
    pub(crate) fn delivery_now(&mut self) -> &mut DeliveryState {
        let number = self.tasks.now();
        number.and_then(|number| self.together.get_mut(&number)).unwrap_or(&mut self.delivery)
    }

    /// The limit that a guest ran into which went on regardless, memory before tables before publishing.
    pub(crate) fn refused(&self) -> Option<Reason> {
        self.limiter.refused().or(self.is_any(|delivery| delivery.publish_refused).then_some(Reason::PublishLimit))
    }

    /// Classifies the error of a call: the guest or the host is at fault, and which limit was hit.
    pub(crate) fn classify(&self, error: &wasmtime::Error) -> ReceiveError {
        let Self { limiter, cpu_exhausted, .. } = self;
        let circumstances = Circumstances {
            limits: &self.shared.limits,
            messages: self.messages,
            limiter,
            cpu_exhausted: *cpu_exhausted,
            publish_refused: self.is_any(|delivery| delivery.publish_refused),
            is_flooded: self.is_any(DeliveryState::is_flooded),
        };
        classify(error, &circumstances)
    }

    /// Whether something holds for the delivery, or for one of those of the call.
    fn is_any(&self, is_so: impl Fn(&DeliveryState) -> bool) -> bool {
        is_so(&self.delivery) || self.members.iter().any(|member| is_so(&member.delivery))
    }
}
