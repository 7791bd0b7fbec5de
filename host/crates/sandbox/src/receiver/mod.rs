//! A component as a receiver: a fresh instance for each message, within its limits.

mod batch;
mod crew;
mod setup;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use wasmpost_msg::{Batch, Component, Context, Message, ReceiveError, Receiver, Usage, within};
use wasmtime::Store;
use wasmtime::component::Instance;

use crate::engine::{CONCURRENT_MAX, Live, Mapped, Place};
use crate::error::LoadError;
use crate::guest::bindings::wasmpost::messaging::types::Failure;
use crate::guest::{Grants, LogSink, Shared, StoreState, Surroundings, TracingSink};
use crate::limits::{Limits, MemoryBudget, Meter};
use crate::load::{LoadedComponent, Sandbox};
use crew::Crews;
use setup::{Setup, YIELD_TICKS, failure_of, out_of_wall, wait_for_place};

/// Numbers for receivers.
static RECEIVERS: AtomicU64 = AtomicU64::new(0);

/// How a component is used.
///
/// # Examples
///
/// ```
/// use std::collections::BTreeMap;
///
/// use wasmpost_sandbox::{Grants, Limits, ReceiverOptions};
///
/// let options = ReceiverOptions {
///     name: "thumbnails".into(),
///     limits: Limits { cpu: "500ms".parse()?, memory: "32MiB".parse()?, ..Limits::default() },
///     grants: Grants { publish: vec!["thumbnails.*".parse()?], ..Grants::default() },
///     config: BTreeMap::from([("width".to_owned(), "320".to_owned())]),
///     ..ReceiverOptions::default()
/// };
/// # drop(options);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone)]
pub struct ReceiverOptions {
    /// The name, for logs.
    pub name: String,
    /// The limits of each delivery.
    pub limits: Limits,
    /// The permissions of the component.
    pub grants: Grants,
    /// The configuration that it reads through `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// Its log.
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
    /// How many messages an instance may have at a time. With more than 1 the component has to be asynchronous, and an
    /// instance ends when it has none, or had as many as it is used for.
    pub concurrent: u32,
}

/// A component that receives messages.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use wasmpost_msg::{Attributes, Message, Reason, Receiver};
/// use wasmpost_sandbox::{EngineOptions, Limits, ReceiverOptions, Sandbox, WasmReceiver};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sandbox = Sandbox::new(EngineOptions { pool_instances: 1, ..EngineOptions::default() })?;
/// let endless = r#"(module (memory (export "memory") 1) (func (export "_start") (loop br 0)))"#;
/// let loaded = sandbox.load(&wat::parse_str(endless)?)?;
/// let limits = Limits { cpu: "20ms".parse()?, ..Limits::default() };
/// let options = ReceiverOptions { limits, ..ReceiverOptions::default() };
/// let receiver = WasmReceiver::new(Arc::clone(&sandbox), loaded, options)?;
///
/// let message = Message::new(Attributes::new(), "hello");
/// let context = message.context.clone();
/// let error = receiver.receive(message).await.unwrap_err();
/// assert_eq!(error.reason(), Reason::CpuLimit);
/// assert!(context.usage().cpu.as_millis() >= 20);
/// # Ok(())
/// # }
/// ```
pub struct WasmReceiver {
    setup: Setup,
    component: Arc<Component>,
    /// The instances that have several messages at a time, if they may.
    crews: Option<Crews>,
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
            concurrent: 1,
        }
    }
}

impl WasmReceiver {
    /// The receiver that `loaded` is under `options`. Memory beyond what the sandbox was set up for is not given,
    /// whatever the limits say. A component of several worlds has to be told by which of them it receives.
    ///
    /// # Errors
    ///
    /// Those of [`LoadedComponent::check_world`].
    pub fn new(sandbox: Arc<Sandbox>, loaded: LoadedComponent, options: ReceiverOptions) -> Result<Self, LoadError> {
        let ReceiverOptions { name, limits, grants, config, log, memory, topic, output, surroundings, .. } = options;
        let world = loaded.world_for(options.world.as_deref(), options.concurrent)?;
        let concurrent = options.concurrent.min(CONCURRENT_MAX);
        let reuse = if world.is_reusable { options.reuse } else { 1 };
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
        let setup = Setup { sandbox, loaded, world, shared: Arc::new(shared) };
        let crews = (concurrent > 1).then(|| Crews::new(setup.clone(), concurrent, options.reuse));
        Ok(Self { setup, component, crews, reuse, number })
    }

    /// Has the instance process the message of its store; a fresh one is made first.
    async fn call(&self, live: &mut Live) -> Result<(), ReceiveError> {
        let Live { store, instance, .. } = live;
        let called = match instance {
            Some((instance, mapped)) => self.enter(store, instance, mapped).await,
            place => {
                let mapped = self.setup.mapped()?;
                match self.make(store, &mapped).await {
                    Ok(made) => {
                        let (instance, mapped) = place.insert((made, mapped));
                        self.enter(store, instance, mapped).await
                    }
                    Err(error) => Err(error),
                }
            }
        };
        match called {
            Ok(Ok(())) => Ok(()),
            Ok(Err(failure)) => Err(failure_of(failure, store.data(), &store.data().delivery)),
            Err(error) => Err(store.data().classify(&error)),
        }
    }

    async fn make(&self, store: &mut Store<StoreState>, mapped: &Mapped) -> wasmtime::Result<Instance> {
        mapped.entry(self.setup.world)?.prepare(store.data_mut());
        mapped.pre.instantiate_async(store).await
    }

    async fn enter(
        &self,
        store: &mut Store<StoreState>,
        instance: &Instance,
        mapped: &Mapped,
    ) -> wasmtime::Result<Result<(), Failure>> {
        mapped.entry(self.setup.world)?.call(store, instance).await
    }

    /// Reads and checks the body, then calls the instance in this place. The store stays with the caller, who reads
    /// from it what was used, however the call ends.
    async fn process(
        &self,
        mut message: Message,
        meter: &Arc<Meter>,
        place: &mut Option<Live>,
    ) -> Result<(), ReceiveError> {
        let body = self.setup.body(&mut message).await?;
        let context = message.context;
        let attributes = message.attributes;
        let live = match place {
            Some(live) => {
                live.store.data_mut().begin(meter, context, attributes, body);
                live.store.set_epoch_deadline(YIELD_TICKS);
                live
            }
            None => {
                let store = self.setup.store(StoreState::new(&self.setup.shared, meter, context, attributes, body));
                place.insert(Live { store, instance: None, used: 0 })
            }
        };
        let call = std::pin::pin!(self.call(live));
        meter.measure(call).await
    }

    /// Keeps the instance for another message if it may have one.
    fn keep(&self, mut place: Place, is_ok: bool, messages: u32) {
        if let Some(live) = &place.live {
            self.setup.free_memory(live.store.data());
        }
        let Some(live) = place.live.as_mut().filter(|_| is_ok) else { return };
        live.used = live.used.saturating_add(messages);
        let state = live.store.data();
        // One that keeps growing, as some languages have it, ends before a message fails for what those before it left.
        let has_room = state.limiter.has_room() && state.members.handles() <= state.shared.limits.handles as usize / 2;
        if live.used < self.reuse && state.is_unblemished() && has_room {
            live.store.data_mut().end();
            self.setup.sandbox.places.keep(self.number, place);
        }
    }

    fn record(&self, context: &Context, meter: &Meter, store: Option<&Store<StoreState>>) {
        let state = store.map(Store::data);
        context.set_usage(Usage {
            cpu: meter.spent(),
            wall: meter.wall(),
            memory_peak_bytes: state.map_or(0, |state| state.limiter.memory_peak_bytes as u64),
            published_bytes: state.map_or(0, |state| state.delivery.published_bytes),
            host_work: state.map_or(0, |state| state.delivery.work.done()),
            component: Some(Arc::clone(&self.component)),
        });
    }
}

impl Drop for WasmReceiver {
    fn drop(&mut self) {
        self.setup.sandbox.places.forget(self.number);
    }
}

#[async_trait]
impl Receiver for WasmReceiver {
    async fn receive(&self, message: Message) -> Result<(), ReceiveError> {
        let _running = self.setup.sandbox.ticker.running();
        if let Some(crews) = &self.crews {
            let context = message.context.clone();
            let (result, usage) = crews.receive(message).await;
            context.set_usage(Usage { component: Some(Arc::clone(&self.component)), ..usage });
            return result;
        }
        if self.setup.world.takes_batches {
            let batch = Batch { messages: vec![message], is_again: false };
            let mut results = self.receive_batch(batch).await?;
            return results.pop().unwrap_or(Ok(()));
        }
        let context = message.context.clone();
        let wall = self.setup.shared.limits.wall;
        let mut meter = Meter::new();
        let places = &self.setup.sandbox.places;
        let warm = if self.reuse > 1 { places.warm(self.number) } else { None };
        let mut place = warm.or_else(|| places.free());
        let result = {
            let work = async {
                let place = match &mut place {
                    Some(place) => place,
                    none => {
                        let waited = none.insert(wait_for_place(places, &context).await?);
                        // Waiting for the host is no time of the call.
                        meter = Meter::new();
                        waited
                    }
                };
                // The body is read within the time of the call as well: its source may never end.
                let call = within(wall.0, self.process(message, &meter, &mut place.live));
                call.await.unwrap_or_else(|| Err(out_of_wall(wall)))
            };
            tokio::select! {
                biased;
                result = work => result,
                () = context.cancelled().cancelled() => Err(context.interruption()),
            }
        };
        let live = place.as_ref().and_then(|place| place.live.as_ref());
        self.record(&context, &meter, live.map(|live| &live.store));
        if let Some(place) = place {
            self.keep(place, result.is_ok(), 1);
        }
        result
    }

    async fn receive_batch(&self, batch: Batch) -> Result<Vec<Result<(), ReceiveError>>, ReceiveError> {
        if self.setup.world.takes_batches {
            return self.receive_together(batch).await;
        }
        let mut results = Vec::with_capacity(batch.messages.len());
        for message in batch.messages {
            results.push(self.receive(message).await);
        }
        Ok(results)
    }
}
