//! Setting up an instance of a receiver: its store with its limits, its body, its place.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wasmpost_msg::{BodyError, Context, Disposition, Message, Reason, ReceiveError, chain};
use wasmtime::{Store, UpdateDeadline};

use crate::engine::{BATCH_MAX, Mapped, Place, Places};
use crate::error::out_of_budget;
use crate::guest::bindings::wasmpost::messaging::types::Failure;
use crate::guest::{DeliveryState, Shared, StoreState};
use crate::limits::Span;
use crate::load::{LoadedComponent, Sandbox};
use crate::worlds::World;

/// How many ticks of the epoch a guest runs before it lets others run.
pub(crate) const YIELD_TICKS: u64 = 1;
/// How long a delivery waits for an instance. After that the host is busy, and the delivery is given back.
const PLACE_TIMEOUT: Duration = Duration::from_secs(5);
/// The most bytes that a guest may pass to the host in one call beside the largest body. Elements of lists count with
/// the memory that they take in the host, so that this bounds the time to read them as well.
const HOSTCALL_EXTRA: usize = 1 << 20;

/// A component in its sandbox, with what its deliveries share.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) loaded: LoadedComponent,
    /// The world of the component that is used.
    pub(crate) world: &'static World,
    pub(crate) shared: Arc<Shared>,
}

impl Setup {
    /// The component from which instances are made. Where the host cannot map it now, the delivery is given back.
    pub(crate) fn mapped(&self) -> Result<Arc<Mapped>, ReceiveError> {
        let given_back = |text| ReceiveError::new(Disposition::GiveBack, Reason::HostBusy, text);
        self.loaded.mapped(&self.sandbox).map_err(given_back)
    }

    /// A store with the limits of the receiver.
    pub(crate) fn store(&self, state: StoreState) -> Store<StoreState> {
        let limits = &self.shared.limits;
        let mut store = Store::new(self.loaded.engine(), state);
        store.limiter(|state| &mut state.limiter);
        // Messages that a call lends do not count.
        let handles = (limits.handles + if self.world.takes_batches { BATCH_MAX } else { 0 }) as usize;
        let largest = limits.body.max(limits.publish_message_bytes);
        store.set_hostcall_fuel(largest.bytes().saturating_add(HOSTCALL_EXTRA));
        store.set_max_component_handles(handles);
        store.set_epoch_deadline(YIELD_TICKS);
        store.epoch_deadline_callback(|mut store| {
            let state = store.data();
            if state.meter.spent_within_poll() < state.cpu_budget() {
                return Ok(UpdateDeadline::Yield(YIELD_TICKS));
            }
            store.data_mut().cpu_exhausted = true;
            Ok(UpdateDeadline::Interrupt)
        });
        store
    }

    /// All of a body, if it is not larger than the receiver takes.
    pub(crate) async fn body(&self, message: &mut Message) -> Result<Bytes, ReceiveError> {
        let max = self.shared.limits.body;
        message.body.collect(max.bytes()).await.map_err(|error| match error {
            BodyError::TooLarge { .. } => {
                let text = format!("body is larger than {max}, the limit of receiver {:?}", self.shared.name);
                ReceiveError::new(Disposition::Reject, Reason::BodyTooLarge, text)
            }
            error => ReceiveError::retry(chain(&error).to_string()),
        })
    }

    /// Ends idle instances if the tenant had no memory left for this one: what others only keep, those who work can have.
    pub(crate) fn free_memory(&self, state: &StoreState) {
        if let Some(budget) = self.shared.memory.as_ref().filter(|_| state.limiter.budget_refused.is_some()) {
            self.sandbox.places.free_memory(budget);
        }
    }
}

/// A place for an instance once one is free. Nothing waits any more once the server stops.
pub(crate) async fn wait_for_place(places: &Places, context: &Context) -> Result<Place, ReceiveError> {
    let waited = tokio::select! {
        biased;
        () = context.stopping().cancelled() => return Err(context.not_begun()),
        waited = tokio::time::timeout(PLACE_TIMEOUT, places.wait()) => waited,
    };
    match waited {
        Ok(Some(place)) => Ok(place),
        Ok(None) | Err(_) => {
            let text = format!("no instance was free for {PLACE_TIMEOUT:?}");
            Err(ReceiveError::new(Disposition::GiveBack, Reason::HostBusy, text))
        }
    }
}

/// The error of a delivery whose guest returned this failure.
pub(crate) fn failure_of(failure: Failure, state: &StoreState, delivery: &DeliveryState) -> ReceiveError {
    let cut = |mut text: String| {
        delivery.work.add(text.len());
        text.truncate(text.floor_char_boundary(delivery.shared.limits.error_text.bytes()));
        text
    };
    let error = match failure {
        Failure::Retry(text) => ReceiveError::retry(cut(text)),
        Failure::RetryAfter((nanos, text)) => ReceiveError::retry_after(Duration::from_nanos(nanos), cut(text)),
        Failure::Reject(text) => ReceiveError::reject(cut(text)),
    };
    // A guest that was refused memory or publishing fails for that, whatever it says.
    let publishing = delivery.publish_refused.then_some(Reason::PublishLimit);
    match (state.limiter.refused().or(publishing), state.limiter.budget_refused) {
        (Some(reason), _) => ReceiveError::new(error.disposition(), reason, error.text()),
        (None, Some(max)) => out_of_budget(max, error.text()),
        (None, None) => error,
    }
}

/// A delivery that took too long.
pub(crate) fn out_of_wall(wall: Span) -> ReceiveError {
    ReceiveError::new(Disposition::Retry, Reason::Timeout, format!("call took longer than {wall}"))
}
