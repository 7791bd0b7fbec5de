//! A component as a receiver: a fresh instance for each message, within its limits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::SemaphorePermit;
use wasmpost_msg::{BodyError, Component, Context, Disposition, Message, Reason, ReceiveError, Receiver, Usage};
use wasmtime::{Store, UpdateDeadline};

use crate::bindings::wasmpost::messaging::types::Failure;
use crate::error::{classify, out_of_budget};
use crate::imports::message;
use crate::limiter::MemoryBudget;
use crate::meter::Meter;
use crate::state::{Shared, StoreState};
use crate::{Grants, Limits, LoadedComponent, LogSink, Sandbox, TracingSink};

/// How many ticks of the epoch a guest runs before it lets others run.
const YIELD_TICKS: u64 = 1;
/// How long a delivery waits for an instance. After that the host is busy, and the delivery is given back.
const PLACE_TIMEOUT: Duration = Duration::from_secs(5);
/// What a guest may pass to the host in one call beside twice the largest body, in bytes.
const HOSTCALL_EXTRA: usize = 1 << 20;

/// How a component is used.
#[derive(Clone)]
pub struct ReceiverOptions {
    /// The name, for logs.
    pub name: String,
    /// What each delivery may use.
    pub limits: Limits,
    /// What the component may do.
    pub grants: Grants,
    /// What it reads through `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// Where its log goes.
    pub log: Arc<dyn LogSink>,
    /// The memory that it may hold together with other receivers.
    pub memory: Option<Arc<MemoryBudget>>,
}

/// A component that receives messages.
pub struct WasmReceiver {
    sandbox: Arc<Sandbox>,
    loaded: LoadedComponent,
    component: Arc<Component>,
    shared: Arc<Shared>,
}

impl Default for ReceiverOptions {
    /// Default limits, no grants, no configuration, the log to `tracing`.
    fn default() -> Self {
        Self {
            name: "receiver".into(),
            limits: Limits::default(),
            grants: Grants::default(),
            config: BTreeMap::new(),
            log: Arc::new(TracingSink),
            memory: None,
        }
    }
}

impl WasmReceiver {
    /// The receiver that `loaded` is under `options`. Memory beyond what the sandbox was set up for is not given,
    /// whatever the limits say.
    pub fn new(sandbox: Arc<Sandbox>, loaded: LoadedComponent, options: ReceiverOptions) -> Self {
        let ReceiverOptions { name, limits, grants, config, log, memory } = options;
        let version = loaded.version().map(str::to_owned);
        let component = Arc::new(Component { digest: loaded.digest().to_owned(), version });
        let shared = Shared {
            name: name.into(),
            limits,
            grants,
            config,
            log,
            memory,
            instances_max: sandbox.options.load.core_instances as usize,
            coarse_clocks: sandbox.options.hostile,
            connector: Arc::clone(&sandbox.connector),
        };
        Self { sandbox, loaded, component, shared: Arc::new(shared) }
    }

    async fn call(&self, store: &mut Store<StoreState>) -> Result<(), ReceiveError> {
        let plugin = match self.loaded.pre().instantiate_async(&mut *store).await {
            Ok(plugin) => plugin,
            Err(error) => return Err(classify(&error, store.data())),
        };
        let result = plugin.wasmpost_messaging_receiver().call_receive(&mut *store, message::handle()).await;
        match result {
            Ok(Ok(())) => Ok(()),
            Ok(Err(failure)) => Err(self.failure(failure, store.data())),
            Err(error) => Err(classify(&error, store.data())),
        }
    }

    /// Reads and checks the body, then calls a fresh instance. The store stays with the caller, who reads from it what
    /// was used, however the call ends.
    async fn process(
        &self,
        mut message: Message,
        meter: &Arc<Meter>,
        store: &mut Option<Store<StoreState>>,
    ) -> Result<(), ReceiveError> {
        let body = self.body(&mut message).await?;
        let state = StoreState::new(&self.shared, meter, message.context, message.attributes, body);
        let store = store.insert(self.store(state, meter));
        let call = std::pin::pin!(self.call(store));
        meter.measure(call).await
    }

    /// A place for an instance once one is free.
    async fn place(&self) -> Result<Option<SemaphorePermit<'_>>, ReceiveError> {
        match tokio::time::timeout(PLACE_TIMEOUT, self.sandbox.places.acquire()).await {
            // Places are never closed; if they were, the pool itself would still refuse.
            Ok(place) => Ok(place.ok()),
            Err(_) => {
                let text = format!("no instance was free for {PLACE_TIMEOUT:?}");
                Err(ReceiveError::new(Disposition::GiveBack, Reason::HostBusy, text))
            }
        }
    }

    fn failure(&self, failure: Failure, state: &StoreState) -> ReceiveError {
        let cut = |mut text: String| {
            text.truncate(text.floor_char_boundary(self.shared.limits.error_text.bytes()));
            text
        };
        let error = match failure {
            Failure::Retry(text) => ReceiveError::retry(cut(text)),
            Failure::RetryAfter((nanos, text)) => ReceiveError::retry_after(Duration::from_nanos(nanos), cut(text)),
            Failure::Reject(text) => ReceiveError::reject(cut(text)),
        };
        // A guest that was refused memory or publishing fails for that, whatever it says.
        match (state.refused(), state.limiter.budget_refused) {
            (Some(reason), _) => ReceiveError::new(error.disposition(), reason, error.text()),
            (None, Some(max)) => out_of_budget(max, error.text()),
            (None, None) => error,
        }
    }

    fn store(&self, state: StoreState, meter: &Arc<Meter>) -> Store<StoreState> {
        let limits = &self.shared.limits;
        let mut store = Store::new(&self.sandbox.engine, state);
        store.limiter(|state| &mut state.limiter);
        let largest = limits.body.max(limits.publish_message_bytes);
        store.set_hostcall_fuel(largest.bytes().saturating_mul(2).saturating_add(HOSTCALL_EXTRA));
        store.set_max_component_handles(limits.handles as usize);
        store.set_epoch_deadline(YIELD_TICKS);
        let (meter, budget) = (Arc::clone(meter), limits.cpu.0);
        store.epoch_deadline_callback(move |mut store| {
            if meter.spent_within_poll() < budget {
                return Ok(UpdateDeadline::Yield(YIELD_TICKS));
            }
            store.data_mut().cpu_exhausted = true;
            Ok(UpdateDeadline::Interrupt)
        });
        store
    }

    async fn body(&self, message: &mut Message) -> Result<Bytes, ReceiveError> {
        let max = self.shared.limits.body;
        message.body.collect(max.bytes()).await.map_err(|error| match error {
            BodyError::TooLarge { .. } => {
                let text = format!("body is larger than {max}, the limit of receiver {:?}", self.shared.name);
                ReceiveError::new(Disposition::Reject, Reason::BodyTooLarge, text)
            }
            error => ReceiveError::retry(error.to_string()),
        })
    }

    fn record(&self, context: &Context, meter: &Meter, store: Option<&Store<StoreState>>) {
        let state = store.map(Store::data);
        context.set_usage(Usage {
            cpu: meter.spent(),
            wall: meter.wall(),
            memory_peak_bytes: state.map_or(0, |state| state.limiter.memory_peak_bytes as u64),
            published_bytes: state.map_or(0, |state| state.published_bytes),
            component: Some(Arc::clone(&self.component)),
        });
    }
}

#[async_trait]
impl Receiver for WasmReceiver {
    async fn receive(&self, message: Message) -> Result<(), ReceiveError> {
        let (context, wall) = (message.context.clone(), self.shared.limits.wall);
        let mut meter = Meter::new();
        // Dropped in the reverse order: the instance is gone when its place is free.
        let (mut place, mut store) = (self.sandbox.places.try_acquire().ok(), None);
        let result = {
            let work = async {
                if place.is_none() {
                    place = self.place().await?;
                    // Waiting for the host is no time of the call.
                    meter = Meter::new();
                }
                // The body is read within the time of the call as well: its source may never end.
                let call = tokio::time::timeout(wall.0, self.process(message, &meter, &mut store));
                call.await.unwrap_or_else(|_| {
                    let text = format!("call took longer than {wall}");
                    Err(ReceiveError::new(Disposition::Retry, Reason::Timeout, text))
                })
            };
            tokio::select! {
                biased;
                result = work => result,
                () = context.cancelled().cancelled() => {
                    let text = "delivery was interrupted by the host";
                    Err(ReceiveError::new(Disposition::GiveBack, Reason::Shutdown, text))
                }
            }
        };
        self.record(&context, &meter, store.as_ref());
        result
    }
}
