//! The future that is a live instance: it makes the instance, and has it process the messages that come.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use wasmpost_msg::{Attributes, Context, ReceiveError};
use wasmtime::component::Accessor;
use wasmtime::{AsContextMut, Store, Trap, UpdateDeadline};

use super::super::setup::{Setup, YIELD_TICKS, failure_of};
use super::roster::{Outcome, Roster};
use crate::engine::{Mapped, Place};
use crate::guest::bindings::wasmpost::messaging::types::Failure;
use crate::guest::{DeliveryState, Hook, StoreState};
use crate::limits::Meter;
use crate::worlds::{PluginAsync, Receive};

/// One message for an instance.
pub(super) struct Call {
    pub(super) number: u32,
    pub(super) context: Context,
    pub(super) attributes: Attributes,
    pub(super) body: Bytes,
    pub(super) meter: Arc<Meter>,
}

/// An instance in its place. `meter` measures its polls.
pub(super) struct Instance {
    pub(super) setup: Setup,
    pub(super) roster: Arc<Roster>,
    pub(super) meter: Arc<Meter>,
    pub(super) place: Place,
}

impl Instance {
    /// Lives until the instance has to end, or everybody has left it.
    pub(super) async fn live(self, calls: mpsc::Receiver<Call>) {
        let Self { setup, roster, meter, place } = self;
        let mapped = match setup.mapped() {
            Ok(mapped) => mapped,
            Err(error) => return roster.end(None, Some(&error)),
        };
        let mut store = setup.store(StoreState::of_several(&setup.shared, &meter));
        charge(&mut store, &roster, &meter, setup.shared.limits.cpu.0);
        let ended = Self::run(&setup, &mapped, (&roster, &meter), &mut store, calls).await;
        if let Err(error) = ended {
            let state = store.data_mut();
            let culprit = culprit(state, &error);
            if let Some(delivery) = culprit.and_then(|culprit| state.together.remove(&culprit)) {
                // The error is classified for this delivery.
                state.delivery = delivery;
            }
            roster.saw_memory(state.limiter.memory_peak_bytes);
            setup.free_memory(state);
            roster.end(culprit, Some(&state.classify(&error)));
        }
        drop(store);
        drop(place);
    }

    async fn run(
        setup: &Setup,
        mapped: &Mapped,
        (roster, meter): (&Roster, &Meter),
        store: &mut Store<StoreState>,
        mut calls: mpsc::Receiver<Call>,
    ) -> wasmtime::Result<()> {
        let entry = Arc::clone(mapped.entry(setup.world)?).together();
        let entry = entry.ok_or_else(|| wasmtime::Error::msg("world has one message at a time"))?;
        let instance = mapped.pre.instantiate_async(&mut *store).await?;
        let receive = entry.function(&mut *store, &instance)?;
        store
            .run_concurrent(async |accessor| serve(accessor, &receive, setup, (roster, meter), &mut calls).await)
            .await?
    }
}

/// Has an instance begin with the messages that come, and takes those out that are done.
async fn serve(
    accessor: &Accessor<StoreState>,
    receive: &Receive,
    setup: &Setup,
    (roster, meter): (&Roster, &Meter),
    calls: &mut mpsc::Receiver<Call>,
) -> wasmtime::Result<()> {
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some((number, received)) = running.next(), if !running.is_empty() => {
                let mut outcome = accessor.with(|mut access| {
                    let outcome = end(access.data_mut(), number, received, roster);
                    setup.free_memory(access.data_mut());
                    outcome
                })?;
                roster.ledger.settle(meter.spent_within_poll());
                outcome.cpu = roster.ledger.close(number);
                roster.finish(number, outcome);
            }
            call = calls.recv() => {
                let Some(call) = call else { return Ok(()) };
                let number = call.number;
                let started = accessor.with(|mut access| -> wasmtime::Result<_> {
                    let body = begin(access.data_mut(), call);
                    let started = PluginAsync::start(receive, access.as_context_mut(), number, body);
                    let started = started.inspect_err(|_| access.data_mut().culprit = Some(number))?;
                    access.data_mut().tasks.add(started.group(), number);
                    Ok(started)
                })?;
                running.push(async move { (number, PluginAsync::finish(receive, accessor, started).await) });
            }
        }
    }
}

/// Puts a message into the store, and gives its body.
fn begin(state: &mut StoreState, call: Call) -> Bytes {
    let Call { number, context, attributes, body, meter } = call;
    state.together.insert(number, DeliveryState::new(&state.shared, context, attributes));
    state.renew(&meter);
    body
}

/// Takes a message out of the store, and tells what became of it.
fn end(
    state: &mut StoreState,
    number: u32,
    received: wasmtime::Result<Result<(), Failure>>,
    roster: &Roster,
) -> wasmtime::Result<Outcome> {
    let received = received.inspect_err(|_| state.culprit = Some(number))?;
    state.tasks.remove(number);
    let delivery = state.together.remove(&number);
    let delivery = delivery.ok_or_else(|| wasmtime::Error::msg("a message ended that was not there"))?;
    roster.saw_memory(state.limiter.memory_peak_bytes);
    let result = received.map_err(|failure| failure_of(failure, state, &delivery));
    let is_fit = state.is_unblemished() && state.limiter.has_room() && !delivery.publish_refused;
    if result.is_err() || !is_fit {
        roster.close();
    }
    let published_bytes = delivery.published_bytes;
    let host_work = delivery.work.done();
    Ok(Outcome { result, published_bytes, host_work, cpu: Duration::ZERO })
}

/// Has messages pay for CPU time, and ends the instance when one has used up its own.
fn charge(store: &mut Store<StoreState>, roster: &Arc<Roster>, meter: &Arc<Meter>, budget: Duration) {
    let tasks = Arc::clone(&store.data().tasks);
    let payers = Arc::clone(roster);
    let clock = Arc::clone(meter);
    store.task_group_hook(Hook::new(&tasks, move |number| {
        payers.ledger.runs(clock.spent_within_poll(), number);
    }));
    let roster = Arc::clone(roster);
    let meter = Arc::clone(meter);
    store.epoch_deadline_callback(move |mut store| {
        let number = tasks.now();
        let spent = roster.ledger.runs(meter.spent_within_poll(), number);
        let state = store.data_mut();
        roster.saw_memory(state.limiter.memory_peak_bytes);
        if spent < budget {
            return Ok(UpdateDeadline::Yield(YIELD_TICKS));
        }
        state.cpu_exhausted = true;
        state.culprit = number;
        Ok(UpdateDeadline::Interrupt)
    });
}

/// The message whose call ended the instance, if there was one. Where all wait for what never comes, it is nobody's.
fn culprit(state: &StoreState, error: &wasmtime::Error) -> Option<u32> {
    let is_nobodys = matches!(error.downcast_ref(), Some(Trap::AsyncDeadlock));
    state.culprit.or_else(|| state.tasks.last().filter(|_| !is_nobodys))
}

/// The error of a message that used up its CPU time between ticks.
pub(super) fn out_of_time(setup: &Setup) -> ReceiveError {
    crate::error::cpu_limit(&setup.shared.limits)
}
