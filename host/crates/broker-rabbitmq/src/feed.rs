//! The feed of one queue: no more messages than are asked for.
//!
//! A consumer of AMQP may have so many deliveries that are not settled. Pulls that wait ask for so many together; where
//! those that there are give too little credit, another consumer is opened with what is missing. A server pulls for the
//! slots that it has free, so its consumers are opened once and then have exactly its slots as credit. When nobody has
//! pulled for a while, they are cancelled, and what they brought unasked goes back.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lapin::Consumer;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wasmpost_delivery::{BrokerError, BrokerErrorKind, QueueSpec};
use wasmpost_msg::chain;

use crate::arrival::{self, Incoming};
use crate::error::{answered, unavailable};
use crate::hub::{Hub, Tally};
use crate::names;
use crate::session::Session;

/// How long consumers are kept when nobody pulls.
const LINGER: Duration = Duration::from_millis(250);
/// The most that one consumer may have. Quorum queues allow 2000.
const PREFETCH_MAX: usize = 1000;

pub(crate) struct Feed {
    hub: Arc<Hub>,
    spec: QueueSpec,
    tally: Arc<Mutex<Tally>>,
    state: Mutex<State>,
    /// Wakes the driver.
    changed: Notify,
    /// Wakes the pulls.
    arrived: Notify,
}

struct State {
    session: Option<Arc<Session>>,
    /// By their tags, so that what came first is first.
    waiting: BTreeMap<u64, Incoming>,
    consumers: HashMap<u64, Open>,
    consumers_opened: u64,
    /// The number of messages that the waiting pulls ask for together.
    wanted: usize,
    idle_since: Instant,
    /// Counts failures, so that pulls tell the last one that they waited through.
    failures: u64,
    failure: (BrokerErrorKind, String),
}

struct Open {
    tag: ShortString,
    /// How many more may come. Below zero for a moment where one came before its credit was noted: the broker can answer
    /// an ack faster than who sent it goes on.
    free: isize,
    reader: Option<JoinHandle<()>>,
}

enum Step {
    Consume(usize),
    Cancel,
    Wait(Option<Instant>),
}

/// A pull that waits.
struct Wanted<'a>(&'a Feed, usize);

impl Feed {
    pub(crate) fn new(hub: Arc<Hub>, spec: QueueSpec) -> Self {
        let tally = hub.tally(&spec.name);
        let state = State {
            session: None,
            waiting: BTreeMap::new(),
            consumers: HashMap::new(),
            consumers_opened: 0,
            wanted: 0,
            idle_since: Instant::now(),
            failures: 0,
            failure: (BrokerErrorKind::Unavailable, String::new()),
        };
        let changed = Notify::new();
        let arrived = Notify::new();
        Self { hub, spec, tally, state: Mutex::new(state), changed, arrived }
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    pub(crate) fn queue(&self) -> &str {
        &self.spec.name
    }

    pub(crate) fn tally(&self) -> &Mutex<Tally> {
        &self.tally
    }

    /// Waits for at least one delivery, and takes at most `max`.
    pub(crate) async fn pull(&self, max: usize) -> Result<Vec<Incoming>, BrokerError> {
        let failures = self.state.lock().failures;
        let wanted = Wanted::new(self, max.max(1));
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            self.hub.link.check()?;
            {
                let taken = self.take(wanted.1);
                if !taken.is_empty() {
                    return Ok(taken);
                }
                let state = self.state.lock();
                if state.failures != failures {
                    let (kind, text) = &state.failure;
                    return Err(BrokerError::new(*kind, text.clone()));
                }
            }
            tokio::select! {
                () = arrived => {}
                () = self.hub.link.closed().cancelled() => {}
            }
        }
    }

    fn take(&self, max: usize) -> Vec<Incoming> {
        let mut state = self.state.lock();
        let mut taken = Vec::new();
        let mut gone = Vec::new();
        while taken.len() < max {
            let Some((_, incoming)) = state.waiting.pop_first() else { break };
            // Messages of a channel that has ended come again.
            if incoming.hold.is_alive() { taken.push(incoming) } else { gone.push(incoming) }
        }
        drop(state);
        taken
    }

    /// Hands a delivery to whoever pulls. It is counted as come under the same lock, or the driver could see its credit
    /// gone and nothing waiting, and ask for one more.
    pub(crate) fn offer(&self, incoming: Incoming) {
        let mut state = self.state.lock();
        state.idle_since = Instant::now();
        state.came(incoming.hold.consumer());
        // Another of the same tag came over a channel that has ended. Dropping it takes the lock.
        let gone = state.waiting.insert(incoming.hold.tag(), incoming);
        drop(state);
        drop(gone);
        self.arrived.notify_waiters();
    }

    /// A delivery came that nobody who pulls gets: whether another one is needed is looked at again.
    pub(crate) fn passed(&self, consumer: u64) {
        self.state.lock().came(consumer);
        self.changed.notify_one();
    }

    /// A consumer may have one more.
    pub(crate) fn credit(&self, consumer: u64) {
        if let Some(open) = self.state.lock().consumers.get_mut(&consumer) {
            open.free += 1;
        }
    }

    /// Opens and cancels consumers until `ended`.
    pub(crate) async fn drive(self: Arc<Self>, ended: CancellationToken) {
        loop {
            match self.next_step() {
                Step::Consume(more) => {
                    let opened = tokio::select! {
                        opened = self.consume(more) => opened,
                        () = ended.cancelled() => break,
                    };
                    if let Err(error) = opened {
                        self.fail(&error);
                        // Those who pull see it before it is tried again.
                        self.pulls_gave_up(&ended).await;
                    }
                }
                Step::Cancel => self.cancel().await,
                Step::Wait(until) => {
                    let until = until.unwrap_or_else(|| Instant::now() + Duration::from_secs(60));
                    tokio::select! {
                        () = self.changed.notified() => {}
                        () = tokio::time::sleep_until(until) => {}
                        () = ended.cancelled() => break,
                    }
                }
            }
        }
        self.cancel().await;
        // The rest is dropped with its holds.
        let left = std::mem::take(&mut self.state.lock().waiting);
        drop(left);
    }

    fn next_step(&self) -> Step {
        let mut state = self.state.lock();
        if state.session.as_ref().is_some_and(|session| !session.is_alive()) {
            state.session = None;
            state.consumers.clear();
        }
        let gone: Vec<_> = state.waiting.iter().filter(|(_, one)| !one.hold.is_alive()).map(|(tag, _)| *tag).collect();
        let gone: Vec<_> = gone.iter().filter_map(|tag| state.waiting.remove(tag)).collect();
        let free: isize = state.consumers.values().map(|open| open.free).sum();
        let free = usize::try_from(free).unwrap_or(0);
        let step = if state.wanted > 0 && state.waiting.is_empty() && free * 2 < state.wanted {
            Step::Consume((state.wanted - free).min(PREFETCH_MAX))
        } else if state.wanted == 0 && !state.consumers.is_empty() {
            let until = state.idle_since + LINGER;
            if until <= Instant::now() { Step::Cancel } else { Step::Wait(Some(until)) }
        } else {
            Step::Wait(None)
        };
        drop(state);
        // Dropped messages give their credit back, under the same lock.
        drop(gone);
        step
    }

    async fn consume(self: &Arc<Self>, more: usize) -> Result<(), BrokerError> {
        match self.open(more).await {
            // Somebody deleted the queue: it is declared as at start.
            Err(error) if error.kind() == BrokerErrorKind::NotFound => {
                tracing::warn!(queue = self.queue(), error = %chain(&error), "declared again");
                self.hub.declare(&self.spec).await?;
                self.open(more).await
            }
            opened => opened,
        }
    }

    async fn open(self: &Arc<Self>, more: usize) -> Result<(), BrokerError> {
        let session = self.session().await?;
        let what = format!("queue {:?}: consuming", self.queue());
        let credit = u16::try_from(more).unwrap_or(u16::MAX);
        answered(&what, session.channel.basic_qos(credit, BasicQosOptions::default())).await?;
        let number = {
            let mut state = self.state.lock();
            state.consumers_opened += 1;
            state.consumers_opened
        };
        let tag = names::short(format!("wasmpost-{number}"));
        self.state.lock().consumers.insert(number, Open { tag: tag.clone(), free: more.cast_signed(), reader: None });
        let queue = names::work(self.queue());
        let options = BasicConsumeOptions::default();
        let consuming = session.channel.basic_consume(queue, tag, options, FieldTable::default());
        match answered(&what, consuming).await {
            Ok(consumer) => {
                let reader = tokio::spawn(Arc::clone(self).read(session, number, consumer));
                if let Some(open) = self.state.lock().consumers.get_mut(&number) {
                    open.reader = Some(reader);
                }
                Ok(())
            }
            Err(error) => {
                self.state.lock().consumers.remove(&number);
                Err(error)
            }
        }
    }

    async fn session(&self) -> Result<Arc<Session>, BrokerError> {
        if let Some(session) = self.state.lock().session.clone().filter(|session| session.is_alive()) {
            return Ok(session);
        }
        let session = Arc::new(Session { channel: self.hub.link.channel().await? });
        self.state.lock().session = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Takes what comes until the consumer ends.
    async fn read(self: Arc<Self>, session: Arc<Session>, number: u64, mut consumer: Consumer) {
        let mut fault = None;
        while let Some(next) = consumer.next().await {
            match next {
                Ok(delivery) => arrival::arrive(&self, &session, number, delivery),
                Err(error) => fault = Some(error),
            }
        }
        // One that was cancelled from here is not among them any more.
        if self.state.lock().consumers.remove(&number).is_some() {
            let told = fault.map_or_else(|| "RabbitMQ cancelled it".to_owned(), |error| error.to_string());
            self.fail(&unavailable(format!("queue {:?}: consumer ended: {told}", self.queue())));
            self.changed.notify_one();
        }
    }

    fn fail(&self, error: &BrokerError) {
        let mut state = self.state.lock();
        state.failures += 1;
        state.failure = (error.kind(), chain(error).to_string());
        drop(state);
        self.arrived.notify_waiters();
    }

    async fn pulls_gave_up(&self, ended: &CancellationToken) {
        let gave_up = async {
            while self.state.lock().wanted > 0 {
                self.changed.notified().await;
            }
        };
        // New pulls may have come in between: they have to wait as long at most.
        let waiting = tokio::time::timeout(LINGER, gave_up);
        let _ = ended.run_until_cancelled(waiting).await;
    }

    /// Ends all consumers, and puts back what nobody asked for.
    async fn cancel(&self) {
        let (session, open) = {
            let mut state = self.state.lock();
            (state.session.clone(), std::mem::take(&mut state.consumers))
        };
        let Some(session) = session else { return };
        for (_, open) in open {
            let cancelling = session.channel.basic_cancel(open.tag, BasicCancelOptions::default());
            let cancelled = answered("cancelling a consumer", cancelling).await;
            if let (Ok(()), Some(reader)) = (cancelled, open.reader) {
                // Its last deliveries are among those that wait when the reader has ended.
                drop(tokio::time::timeout(Duration::from_secs(5), reader).await);
            }
        }
        let unasked = {
            let mut state = self.state.lock();
            if state.wanted == 0 { std::mem::take(&mut state.waiting) } else { BTreeMap::new() }
        };
        for incoming in unasked.into_values() {
            if let Err(error) = incoming.hold.requeue().await {
                tracing::debug!(queue = self.queue(), error = %chain(&error), "delivery goes back with its channel");
            }
        }
    }
}

impl State {
    /// A consumer has one more that is not settled.
    fn came(&mut self, consumer: u64) {
        if let Some(open) = self.consumers.get_mut(&consumer) {
            open.free -= 1;
        }
    }
}

impl<'a> Wanted<'a> {
    fn new(feed: &'a Feed, many: usize) -> Self {
        feed.state.lock().wanted += many;
        feed.changed.notify_one();
        Self(feed, many)
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.wanted = state.wanted.saturating_sub(self.1);
        state.idle_since = Instant::now();
        drop(state);
        self.0.changed.notify_one();
    }
}
