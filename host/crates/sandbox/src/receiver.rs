//! A component as a receiver: a fresh instance for each message, within its limits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use wasmpost_msg::{BodyError, Component, Context, Disposition, Message, Reason, ReceiveError, Receiver, Usage};
use wasmtime::{Store, UpdateDeadline};

use crate::bindings::wasmpost::messaging::types::Failure;
use crate::error::{classify, out_of_budget};
use crate::imports::wasi::Surroundings;
use crate::limiter::MemoryBudget;
use crate::meter::Meter;
use crate::places::{Live, Place};
use crate::state::{Shared, StoreState};
use crate::worlds::Entry;
use crate::{Grants, Limits, LoadError, LoadedComponent, LogSink, Sandbox, TracingSink};

/// How many ticks of the epoch a guest runs before it lets others run.
const YIELD_TICKS: u64 = 1;
/// How long a delivery waits for an instance. After that the host is busy, and the delivery is given back.
const PLACE_TIMEOUT: Duration = Duration::from_secs(5);
/// What a guest may pass to the host in one call beside twice the largest body, in bytes.
const HOSTCALL_EXTRA: usize = 1 << 20;

/// Numbers for receivers.
static RECEIVERS: AtomicU64 = AtomicU64::new(0);

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
    /// The world by which it receives, for a component that implements several.
    pub world: Option<String>,
    /// The topic that messages are said to come from, in worlds that tell.
    pub topic: String,
    /// The topic that takes what a component answers which knows no topics: the standard output of a command, or the
    /// body of a response. Output goes to the log, and a body nowhere, if there is none.
    pub output: Option<String>,
    /// How many messages an instance is used for, as long as it holds no more than half of the memory that it may have.
    /// Each message gets a fresh one with 1.
    pub reuse: u32,
    /// The time of day and the seed of random numbers that it sees; the real ones unless given.
    pub surroundings: Option<Surroundings>,
}

/// A component that receives messages.
pub struct WasmReceiver {
    sandbox: Arc<Sandbox>,
    loaded: LoadedComponent,
    /// Which of the component's worlds is used.
    entry: Arc<dyn Entry>,
    component: Arc<Component>,
    shared: Arc<Shared>,
    /// How many messages an instance is used for.
    reuse: u32,
    /// Tells it from all other receivers.
    number: u64,
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
            world: None,
            topic: String::new(),
            output: None,
            reuse: 1,
            surroundings: None,
        }
    }
}

impl WasmReceiver {
    /// The receiver that `loaded` is under `options`. Memory beyond what the sandbox was set up for is not given,
    /// whatever the limits say. A component of several worlds has to be told by which of them it receives.
    pub fn new(sandbox: Arc<Sandbox>, loaded: LoadedComponent, options: ReceiverOptions) -> Result<Self, LoadError> {
        let ReceiverOptions { name, limits, grants, config, log, memory, topic, output, surroundings, .. } = options;
        let entry = loaded.entry(options.world.as_deref())?;
        let reuse = if entry.is_reusable() { options.reuse } else { 1 };
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
            surroundings,
            connector: Arc::clone(&sandbox.connector),
            topic: topic.into(),
            output,
        };
        let number = RECEIVERS.fetch_add(1, Ordering::Relaxed);
        Ok(Self { sandbox, loaded, entry, component, shared: Arc::new(shared), reuse, number })
    }

    /// Has the instance process the message of its store; a fresh one is made first.
    async fn call(&self, live: &mut Live) -> Result<(), ReceiveError> {
        let store = &mut live.store;
        let instance = match live.instance {
            Some(instance) => instance,
            None => {
                self.entry.prepare(store.data_mut());
                let made = self.loaded.pre().instantiate_async(&mut *store).await;
                *live.instance.insert(made.map_err(|error| classify(&error, store.data()))?)
            }
        };
        match self.entry.call(store, &instance).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(failure)) => Err(self.failure(failure, store.data())),
            Err(error) => Err(classify(&error, store.data())),
        }
    }

    /// Reads and checks the body, then calls the instance in this place. The store stays with the caller, who reads
    /// from it what was used, however the call ends.
    async fn process(
        &self,
        mut message: Message,
        meter: &Arc<Meter>,
        place: &mut Option<Live>,
    ) -> Result<(), ReceiveError> {
        let body = self.body(&mut message).await?;
        let (context, attributes) = (message.context, message.attributes);
        let live = match place {
            Some(live) => {
                live.store.data_mut().begin(meter, context, attributes, body);
                live.store.set_epoch_deadline(YIELD_TICKS);
                live
            }
            None => {
                let store = self.store(StoreState::new(&self.shared, meter, context, attributes, body));
                place.insert(Live { store, instance: None, used: 0 })
            }
        };
        let call = std::pin::pin!(self.call(live));
        meter.measure(call).await
    }

    /// A place for an instance once one is free.
    async fn place(&self) -> Result<Place, ReceiveError> {
        match tokio::time::timeout(PLACE_TIMEOUT, self.sandbox.places.wait()).await {
            Ok(Some(place)) => Ok(place),
            Ok(None) | Err(_) => {
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

    fn store(&self, state: StoreState) -> Store<StoreState> {
        let limits = &self.shared.limits;
        let mut store = Store::new(&self.sandbox.engine, state);
        store.limiter(|state| &mut state.limiter);
        let largest = limits.body.max(limits.publish_message_bytes);
        store.set_hostcall_fuel(largest.bytes().saturating_mul(2).saturating_add(HOSTCALL_EXTRA));
        store.set_max_component_handles(limits.handles as usize);
        store.set_epoch_deadline(YIELD_TICKS);
        let budget = limits.cpu.0;
        store.epoch_deadline_callback(move |mut store| {
            if store.data().meter.spent_within_poll() < budget {
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

    /// Keeps the instance for another message if it may have one.
    fn keep(&self, mut place: Place, result: &Result<(), ReceiveError>) {
        if let (Some(budget), Some(live)) = (&self.shared.memory, &place.live)
            && live.store.data().limiter.budget_refused.is_some()
        {
            // What others only keep, those who work can have.
            self.sandbox.places.free_memory(budget);
        }
        let Some(live) = place.live.as_mut().filter(|_| result.is_ok()) else { return };
        live.used += 1;
        let state = live.store.data();
        // One that keeps growing, as some languages have it, ends before a message fails for what those before it left.
        if live.used < self.reuse && state.is_unblemished() && state.limiter.has_room() {
            live.store.data_mut().end();
            self.sandbox.places.keep(self.number, place);
        }
    }

    fn record(&self, context: &Context, meter: &Meter, store: Option<&Store<StoreState>>) {
        let state = store.map(Store::data);
        context.set_usage(Usage {
            cpu: meter.spent(),
            wall: meter.wall(),
            memory_peak_bytes: state.map_or(0, |state| state.limiter.memory_peak_bytes as u64),
            published_bytes: state.map_or(0, |state| state.delivery.published_bytes),
            component: Some(Arc::clone(&self.component)),
        });
    }
}

impl Drop for WasmReceiver {
    fn drop(&mut self) {
        self.sandbox.places.forget(self.number);
    }
}

#[async_trait]
impl Receiver for WasmReceiver {
    async fn receive(&self, message: Message) -> Result<(), ReceiveError> {
        let (context, wall) = (message.context.clone(), self.shared.limits.wall);
        let mut meter = Meter::new();
        let places = &self.sandbox.places;
        let warm = if self.reuse > 1 { places.warm(self.number) } else { None };
        let mut place = warm.or_else(|| places.free());
        let result = {
            let work = async {
                let place = match &mut place {
                    Some(place) => place,
                    none => {
                        let waited = none.insert(self.place().await?);
                        // Waiting for the host is no time of the call.
                        meter = Meter::new();
                        waited
                    }
                };
                // The body is read within the time of the call as well: its source may never end.
                let call = tokio::time::timeout(wall.0, self.process(message, &meter, &mut place.live));
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
        let live = place.as_ref().and_then(|place| place.live.as_ref());
        self.record(&context, &meter, live.map(|live| &live.store));
        if let Some(place) = place {
            self.keep(place, &result);
        }
        result
    }
}
