//! The server: pulls deliveries, hands each to a receiver, and settles them.

mod attempt;
mod backlog;
mod batch;
mod breaker;
mod keeper;
mod returns;
mod settle;
mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wasmpost_msg::{GraceExpired, Receiver, SafeReceiver, ServeError, Server, ServerClosed, chain};

use crate::broker::Queue;
use crate::clock::Clock;
use crate::error::{BrokerError, BrokerErrorKind};
use crate::forward::Forward;
use crate::lease::{Delivery, Nack};
use crate::observer::Observer;
use crate::outbox::HOPS_MAX;
use crate::retry::RetryPolicy;
use crate::share::Share;
use attempt::Worker;
use backlog::Backlog;
pub use batch::BatchOptions;
use batch::Batches;
use breaker::Breaker;
pub use breaker::BreakerState;
use keeper::Keeper;
use returns::Returns;
use work::Work;

/// The most deliveries that are pulled at once.
const PULL_MAX: usize = 32;
/// How long settling may take once deliveries were interrupted.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long to wait after a pull that failed before the next.
const BROKER_RETRY: RetryPolicy = RetryPolicy {
    attempts_max: u32::MAX,
    backoff_first: Duration::from_millis(100),
    backoff_max: Duration::from_secs(10),
    jitter: 0.5,
    retry_after_min: Duration::ZERO,
    retry_after_max: Duration::ZERO,
};

/// Deliveries with the slots that they take.
type Pulled = (Vec<Delivery>, OwnedSemaphorePermit);

/// How a server works.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use wasmpost_delivery::{QueueServerOptions, RetryPolicy};
///
/// let options = QueueServerOptions {
///     receiver: "thumbnails".into(),
///     concurrency: 64,
///     retry: RetryPolicy { attempts_max: 3, backoff_max: Duration::from_secs(60), ..RetryPolicy::default() },
///     timeout: Duration::from_secs(10),
///     ..QueueServerOptions::default()
/// };
/// # assert_eq!(options.hops_max, wasmpost_delivery::HOPS_MAX);
/// ```
#[derive(Debug, Clone)]
pub struct QueueServerOptions {
    /// The name of the receiver, for logs and dead letters.
    pub receiver: String,
    /// The most deliveries in flight at a time.
    pub concurrency: usize,
    /// When failed messages are delivered again, and when they are dead-lettered.
    pub retry: RetryPolicy,
    /// How long the receiver may take, beside limits of its own.
    pub timeout: Duration,
    /// The most receivers that a message may pass through; at one more it is dead-lettered.
    pub hops_max: u32,
    /// Resources shared with other servers, such as those of a tenant. Pulling and renewing leases stay on the runtime
    /// of `serve`, where receivers on threads of their own cannot starve them.
    pub share: Option<Arc<Share>>,
    /// The broker for messages that the receiver publishes, if it is not the one that its messages come from.
    pub forward: Option<Forward>,
    /// Whether a message that the receiver publishes goes on under the id and the key of its source, as one that is
    /// moved does. At most one message of each delivery can.
    pub keeps_id: bool,
    /// How messages are gathered, for a receiver that gets several in one call. Each takes one of the tenant's places, and
    /// may take as long as its messages may one after the other.
    pub batch: Option<BatchOptions>,
    /// Told how each delivery ended.
    pub observer: Option<Arc<dyn Observer>>,
    /// The clock for the times in evidence.
    pub clock: Clock,
}

/// Serves the messages of a queue.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};
/// use wasmpost_delivery::{Broker, QueueServer, QueueServerOptions, QueueSpec};
/// use wasmpost_msg::{Attributes, Message, Publication, ReceiverFunc, Server};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = MemoryBroker::new(MemoryOptions::default());
/// let queue = broker.queue(QueueSpec::new("orders")).await?;
/// broker.publish(vec![Publication::new("orders", Attributes::new(), "one")]).await?;
///
/// let options = QueueServerOptions {
///     receiver: "printing".into(),
///     concurrency: 4,
///     timeout: Duration::from_secs(10),
///     ..QueueServerOptions::default()
/// };
/// let server = Arc::new(QueueServer::new(Arc::clone(&queue), options));
/// let serving = tokio::spawn({
///     let server = Arc::clone(&server);
///     let receiver = ReceiverFunc(|message: Message| async move {
///         println!("message {}", message.context.id());
///         Ok(())
///     });
///     async move { server.serve(Arc::new(receiver)).await }
/// });
/// queue.drained().await?;
/// server.shutdown(Duration::from_secs(5)).await?;
/// serving.await??;
/// assert_eq!(broker.stats().await?[0].acked, 1);
/// # Ok(())
/// # }
/// ```
pub struct QueueServer {
    queue: Arc<dyn Queue>,
    options: QueueServerOptions,
    began: AtomicBool,
    stop: CancellationToken,
    interrupt: CancellationToken,
    tasks: TaskTracker,
    in_flight: Arc<AtomicUsize>,
    breaker: Arc<Breaker>,
    returns: Arc<Returns>,
}

impl Default for QueueServerOptions {
    /// Sixteen deliveries in flight, the default retry policy, a minute for each.
    fn default() -> Self {
        Self {
            receiver: "receiver".into(),
            concurrency: 16,
            retry: RetryPolicy::default(),
            timeout: Duration::from_secs(60),
            hops_max: HOPS_MAX,
            share: None,
            forward: None,
            keeps_id: false,
            batch: None,
            observer: None,
            clock: Clock::system(),
        }
    }
}

impl QueueServer {
    /// A server for `queue`.
    pub fn new(queue: Arc<dyn Queue>, options: QueueServerOptions) -> Self {
        Self {
            queue,
            options,
            began: AtomicBool::new(false),
            stop: CancellationToken::new(),
            interrupt: CancellationToken::new(),
            tasks: TaskTracker::new(),
            in_flight: Arc::default(),
            breaker: Arc::default(),
            returns: Arc::default(),
        }
    }

    /// How many deliveries are in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// How many messages were given back uncounted and neither ended nor failed since.
    pub fn given_back(&self) -> usize {
        self.returns.len()
    }

    /// Whether the receiver is slowed because it faults on every message.
    pub fn breaker(&self) -> BreakerState {
        self.breaker.state()
    }

    /// Notes that the receiver was replaced: the faults of the last one do not slow it.
    pub fn receiver_changed(&self) {
        self.breaker.reset(&self.options.receiver);
    }

    async fn pull_until_stopped(&self, work: &Work) -> Result<(), BrokerError> {
        let slots = Arc::new(Semaphore::new(self.concurrency()));
        let mut faults = 0;
        loop {
            let pulled = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(()),
                () = work.due() => {
                    work.release();
                    continue;
                }
                pulled = self.pull(&slots, work) => pulled,
            };
            match pulled {
                Ok((deliveries, permits)) => {
                    faults = 0;
                    work.push(deliveries, permits);
                }
                Err(error) if error.kind() == BrokerErrorKind::Closed => return Err(error),
                Err(error) => {
                    faults += 1;
                    let delay = BROKER_RETRY.backoff(faults, fastrand::f64());
                    tracing::warn!(
                        queue = self.queue.name(), error = %chain(&error), ?delay,
                        "pulling failed; trying again"
                    );
                    let stopped = tokio::time::timeout(delay, self.stop.cancelled()).await.is_ok();
                    if stopped {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Slots first, then deliveries for them: what is leased can start at once.
    async fn pull(&self, slots: &Arc<Semaphore>, work: &Work) -> Result<Pulled, BrokerError> {
        loop {
            let pulled = if self.breaker.is_open() {
                work.pause();
                self.pull_one(slots).await?
            } else {
                work.resume();
                self.pull_many(slots).await?
            };
            if let Some(pulled) = pulled {
                return Ok(pulled);
            }
        }
    }

    /// None if the receiver is slowed meanwhile.
    async fn pull_many(&self, slots: &Arc<Semaphore>) -> Result<Option<Pulled>, BrokerError> {
        let mut permits = Arc::clone(slots).acquire_owned().await.map_err(closed)?;
        let more = slots.available_permits().min(self.pull_max() - 1) as u32;
        if let Ok(more) = Arc::clone(slots).try_acquire_many_owned(more) {
            permits.merge(more);
        }
        // The last delivery, which this waited for, may have opened the breaker.
        if self.breaker.is_open() {
            return Ok(None);
        }
        tokio::select! {
            biased;
            deliveries = self.queue.pull(permits.num_permits()) => Ok(Some((deliveries?, permits))),
            () = self.breaker.opened() => Ok(None),
        }
    }

    /// One at a time: with all slots at hand, none is in flight. None if the receiver is not slowed any more.
    async fn pull_one(&self, slots: &Arc<Semaphore>) -> Result<Option<Pulled>, BrokerError> {
        let all = u32::try_from(self.concurrency()).unwrap_or(u32::MAX);
        let mut permits = tokio::select! {
            biased;
            permits = Arc::clone(slots).acquire_many_owned(all) => permits.map_err(closed)?,
            () = self.breaker.closed() => return Ok(None),
        };
        let one = permits.split(1).unwrap_or(permits);
        loop {
            self.breaker.pause().await;
            for delivery in self.queue.pull(1).await? {
                match self.breaker.admit(&delivery.id) {
                    Ok(()) => return Ok(Some((vec![delivery], one))),
                    Err(delay) => self.put_aside(delivery, delay).await,
                }
            }
        }
    }

    /// Puts a message back that may not be tried yet, so that it is in nobody's way.
    async fn put_aside(&self, delivery: Delivery, delay: Duration) {
        let id = delivery.id;
        if let Err(error) = delivery.lease.nack(Nack { delay, attempt: None }).await {
            tracing::warn!(queue = self.queue.name(), %id, error = %chain(&error), "not put back; will be redelivered");
        }
    }

    /// The most deliveries that are pulled at once: enough for a batch.
    fn pull_max(&self) -> usize {
        self.options.batch.map_or(PULL_MAX, |batch| batch.messages.max(PULL_MAX))
    }

    fn concurrency(&self) -> usize {
        self.options.concurrency.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize))
    }

    async fn idle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn closed(_: tokio::sync::AcquireError) -> BrokerError {
    BrokerError::new(BrokerErrorKind::Closed, "server was closed")
}

#[async_trait]
impl Server for QueueServer {
    async fn serve(&self, receiver: Arc<dyn Receiver>) -> Result<ServerClosed, ServeError> {
        if self.began.swap(true, Ordering::AcqRel) || self.stop.is_cancelled() {
            return Err(ServeError::NotIdle);
        }
        let keeper = Keeper::start(self.queue.lease() / 3, self.interrupt.clone());
        let worker = Worker {
            queue: self.queue.name().to_owned(),
            source: Arc::clone(&self.queue),
            receiver: SafeReceiver(receiver),
            options: self.options.clone(),
            stop: self.stop.clone(),
            keeper,
            breaker: Arc::clone(&self.breaker),
            returns: Arc::clone(&self.returns),
        };
        let tasks = self.tasks.clone();
        let in_flight = Arc::clone(&self.in_flight);
        let work = match self.options.batch {
            Some(batch) => Work::Batches(Batches::new(worker, batch, tasks, in_flight)),
            None => Work::Single(Backlog::new(worker, tasks, self.stop.clone(), in_flight, self.concurrency())),
        };
        // Shutting down waits for the pulling to end as well, so that no delivery starts behind its back.
        let pulling = self.tasks.token();
        let result = self.pull_until_stopped(&work).await;
        work.end();
        drop(pulling);
        self.idle().await;
        result.map(|()| ServerClosed).map_err(|error| ServeError::Broker(Box::new(error)))
    }

    async fn shutdown(&self, grace: Duration) -> Result<ServerClosed, GraceExpired> {
        self.stop.cancel();
        if tokio::time::timeout(grace, self.idle()).await.is_ok() {
            return Ok(ServerClosed);
        }
        let in_flight = self.in_flight();
        self.interrupt.cancel();
        if tokio::time::timeout(SETTLE_TIMEOUT, self.idle()).await.is_err() {
            tracing::error!(queue = self.queue.name(), "deliveries could not be given back; their leases will lapse");
        }
        if in_flight == 0 { Ok(ServerClosed) } else { Err(GraceExpired { in_flight }) }
    }
}
