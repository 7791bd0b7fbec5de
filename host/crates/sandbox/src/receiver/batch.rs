//! Several messages in one call of an instance.
//!
//! A call has the time of one message for each of its messages, and memory once. Each message has its own outbox and its
//! own budget for publishing.

use std::sync::Arc;

use bytes::Bytes;
use wasmpost_msg::{Attributes, Batch, Context, ReceiveError, Usage, within};

use super::WasmReceiver;
use super::setup::{YIELD_TICKS, failure_of, out_of_wall, wait_for_place};
use crate::engine::{Live, Place};
use crate::error::other_count;
use crate::guest::StoreState;
use crate::guest::bindings::wasmpost::messaging::types::Failure;
use crate::limits::{Meter, Span};

/// One result for each message, or none and the error of the call.
pub(super) type Results = Result<Vec<Result<(), ReceiveError>>, ReceiveError>;
/// A message that an instance gets.
type Given = (Context, Attributes, Bytes);

impl WasmReceiver {
    /// Has an instance process all messages in one call.
    pub(super) async fn receive_together(&self, batch: Batch) -> Results {
        let _running = self.setup.sandbox.ticker.running();
        let Some(context) = batch.messages.first().map(|message| message.context.clone()) else {
            return Ok(Vec::new());
        };
        let contexts: Vec<_> = batch.messages.iter().map(|message| message.context.clone()).collect();
        let limits = &self.setup.shared.limits;
        let wall = Span(limits.wall.0.saturating_mul(u32::try_from(contexts.len()).unwrap_or(u32::MAX)));
        let places = &self.setup.sandbox.places;
        // Earlier calls may have left in an instance the reason why this one failed.
        let warm = if self.reuse > 1 && !batch.is_again { places.warm(self.number) } else { None };
        let mut place = match warm.or_else(|| places.free()) {
            Some(place) => place,
            None => wait_for_place(places, &context).await?,
        };
        let meter = Meter::new();
        // Bodies are read within the time of the call as well: their sources may never end.
        let call = within(wall.0, self.process_together(batch, &meter, &mut place.live));
        let results = call.await.unwrap_or_else(|| Err(out_of_wall(wall)));
        self.record_together(&contexts, &meter, &place);
        let is_ok = results.as_ref().is_ok_and(|results| results.iter().all(Result::is_ok));
        self.keep(place, is_ok, u32::try_from(contexts.len()).unwrap_or(u32::MAX));
        results
    }

    /// Reads and checks the bodies, then calls the instance with the messages whose body it takes.
    async fn process_together(&self, batch: Batch, meter: &Arc<Meter>, place: &mut Option<Live>) -> Results {
        let mut given = Vec::with_capacity(batch.messages.len());
        let mut refused = Vec::with_capacity(batch.messages.len());
        for mut message in batch.messages {
            let read = self.setup.body(&mut message).await;
            refused.push(read.map(|body| given.push((message.context, message.attributes, body))));
        }
        if given.is_empty() {
            return Ok(refused);
        }
        let live = match place {
            Some(live) => live,
            None => {
                let state =
                    StoreState::new(&self.setup.shared, meter, Context::default(), Attributes::new(), Bytes::new());
                place.insert(Live { store: self.setup.store(state), instance: None, used: 0 })
            }
        };
        let call = std::pin::pin!(self.call_together(live, meter, given));
        let mut results = meter.measure(call).await?.into_iter();
        let result = |refused: Result<(), ReceiveError>| refused.and_then(|()| results.next().unwrap_or(Ok(())));
        Ok(refused.into_iter().map(result).collect())
    }

    async fn call_together(&self, live: &mut Live, meter: &Arc<Meter>, given: Vec<Given>) -> Results {
        let messages = given.len();
        let Live { store, instance, .. } = live;
        let first = store.data_mut().begin_call(meter, given);
        store.set_epoch_deadline(YIELD_TICKS);
        let (instance, mapped) = match instance {
            Some(made) => made,
            place => {
                let mapped = self.setup.mapped()?;
                let made = self.make(store, &mapped).await;
                let made = made.map_err(|error| store.data().classify(&error))?;
                place.insert((made, mapped))
            }
        };
        let called = async {
            let entry = mapped.entry(self.setup.world)?;
            entry.call_batch(store, instance, first, u32::try_from(messages).unwrap_or(u32::MAX)).await
        };
        let called = called.await;
        let state = store.data();
        told(called.map_err(|error| state.classify(&error))?, messages, state)
    }

    fn record_together(&self, contexts: &[Context], meter: &Meter, place: &Place) {
        let messages = u32::try_from(contexts.len()).unwrap_or(u32::MAX).max(1);
        let state = place.live.as_ref().map(|live| live.store.data());
        let work = state.map_or(0, |state| state.delivery.work.done() / u64::from(messages));
        // Each has its part of the time. Those whose body was not taken were not in the call.
        let usage = Usage {
            cpu: meter.spent() / messages,
            wall: meter.wall() / messages,
            memory_peak_bytes: state.map_or(0, |state| state.limiter.memory_peak_bytes as u64),
            component: Some(Arc::clone(&self.component)),
            ..Usage::default()
        };
        contexts.iter().for_each(|context| context.set_usage(usage.clone()));
        for member in state.iter().flat_map(|state| state.members.iter()) {
            let published_bytes = member.delivery.published_bytes;
            let host_work = work + member.delivery.work.done();
            member.delivery.context.set_usage(Usage { published_bytes, host_work, ..usage.clone() });
        }
    }
}

/// The result of each message, or the error of the call, if what was returned cannot be theirs.
fn told(returned: Vec<Result<(), Failure>>, messages: usize, state: &StoreState) -> Results {
    if returned.len() != messages {
        return Err(other_count(returned.len(), messages));
    }
    let members = returned.into_iter().zip(state.members.iter());
    let results: Vec<_> = members
        .map(|(result, member)| result.map_err(|failure| failure_of(failure, state, &member.delivery)))
        .collect();
    // Memory that it had not may be what the others took.
    let is_short = state.limiter.refused().is_some() || state.limiter.budget_refused.is_some();
    match results.iter().find_map(|result| result.as_ref().err()).filter(|_| is_short && messages > 1) {
        Some(error) => Err(error.clone()),
        None => Ok(results),
    }
}
