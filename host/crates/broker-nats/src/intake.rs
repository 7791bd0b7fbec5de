//! Asking the server for messages of one queue, and taking in what comes.
//!
//! Requests cannot be taken back, and what they bring must not be lost when nobody waits any more. So one subscription
//! takes in whatever comes for as long as the queue is used, and what nobody pulls is given back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_nats::jetstream;
use async_nats::{Message, StatusCode, Subscriber};
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::Notify;
use wasmpost_delivery::{BrokerError, BrokerErrorKind, Delivery, QueueSpec, Timestamp};

use crate::arrival::Arrival;
use crate::consumers;
use crate::error::in_time;
use crate::hold::Hold;
use crate::lease::NatsLease;
use crate::link::Link;
use crate::shelf::{Bounds, Shelf};

/// How long the first request waits at the server, and the longest.
const WAIT_MIN: Duration = Duration::from_secs(2);
const WAIT_MAX: Duration = Duration::from_secs(30);
/// How much later than asked the server may say that nothing came.
const LATE: Duration = Duration::from_secs(3);
/// The longest that a delivery waits for somebody to pull it.
const IDLE_MAX: Duration = Duration::from_millis(500);

pub(crate) struct Intake {
    pub(crate) link: Arc<Link>,
    pub(crate) queue: Arc<str>,
    pub(crate) lease: Duration,
    pub(crate) shelf: Shelf,
    consumers: Vec<String>,
    inbox: String,
    requests: Mutex<Requests>,
    /// Wakes the task when there is something new to wait for.
    changed: Notify,
    /// Whether a consumer is gone and has to be made again.
    undeclared: AtomicBool,
}

struct Requests {
    next: u64,
    /// The open request of each consumer.
    open: Vec<Option<Request>>,
    /// How long the next one waits.
    wait: Duration,
    /// The connection that they were sent on.
    generation: u64,
}

#[derive(Debug, Clone, Copy)]
struct Request {
    number: u64,
    left: usize,
    until: Instant,
}

/// Takes back the note of a request that was not sent.
struct Unsent<'a> {
    intake: &'a Intake,
    consumer: usize,
    number: u64,
    sent: bool,
}

impl Intake {
    /// Subscribes, and takes in what comes until the broker is closed or `ended` says that nobody uses the queue.
    pub(crate) async fn start(
        link: &Arc<Link>,
        spec: &QueueSpec,
        ended: tokio_util::sync::CancellationToken,
    ) -> Result<Arc<Self>, BrokerError> {
        let consumers = consumers::names(link, &spec.name);
        let inbox = link.client.new_inbox();
        let subject = format!("{inbox}.*.*");
        let what = || format!("queue {:?}: nothing can be received", spec.name);
        let coming = in_time(what, link.client.subscribe(subject)).await?;
        let open = vec![None; consumers.len()];
        let intake = Arc::new(Self {
            link: Arc::clone(link),
            queue: spec.name.as_str().into(),
            lease: spec.lease,
            shelf: Shelf::default(),
            consumers,
            inbox,
            requests: Mutex::new(Requests { next: 0, open, wait: WAIT_MIN, generation: *link.generation.borrow() }),
            changed: Notify::new(),
            undeclared: AtomicBool::new(false),
        });
        tokio::spawn(run(Arc::clone(&intake), coming, ended));
        Ok(intake)
    }

    /// How many consumers the queue has.
    pub(crate) fn consumers(&self) -> usize {
        self.consumers.len()
    }

    pub(crate) fn bounds(&self) -> Bounds {
        Bounds { idle: IDLE_MAX.min(self.lease / 8), always: self.lease / 3 }
    }

    /// Makes consumers that are gone again.
    pub(crate) async fn declared(&self) -> Result<(), BrokerError> {
        if self.undeclared.load(Ordering::Acquire) {
            let spec = QueueSpec { lease: self.lease, ..QueueSpec::new(&*self.queue) };
            consumers::declare(&self.link, &spec).await?;
            self.undeclared.store(false, Ordering::Release);
        }
        Ok(())
    }

    /// Notes that somebody pulls.
    pub(crate) fn begin_pull(&self) {
        self.shelf.begin_pull();
        self.changed.notify_one();
    }

    /// Notes that nobody pulls any more.
    pub(crate) fn end_pull(&self) {
        self.shelf.end_pull();
        self.changed.notify_one();
    }

    /// Asks every consumer that owes nothing; of messages without a key for `max`, of each partition for one.
    pub(crate) async fn ask_all(&self, max: usize) -> Result<(), BrokerError> {
        let wait = self.requests.lock().wait;
        for consumer in 0..self.consumers.len() {
            self.ask(consumer, if consumer == 0 { max } else { 1 }, Some(wait)).await?;
        }
        Ok(())
    }

    /// Asks a consumer that owes nothing for so many messages: those that come while it waits, or those that are there.
    pub(crate) async fn ask(&self, consumer: usize, batch: usize, wait: Option<Duration>) -> Result<(), BrokerError> {
        let Some(name) = self.consumers.get(consumer) else { return Ok(()) };
        let Some(number) = self.note(consumer, batch, wait.unwrap_or_default()) else { return Ok(()) };
        let mut unsent = Unsent { intake: self, consumer, number, sent: false };
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{name}", self.link.names.stream);
        let request = match wait {
            Some(wait) => serde_json::json!({ "batch": batch, "expires": wait.as_nanos() as u64 }),
            None => serde_json::json!({ "batch": batch, "no_wait": true }),
        };
        let reply = format!("{}.{consumer}.{number}", self.inbox);
        let sending = self.link.client.publish_with_reply(subject, reply, request.to_string().into());
        in_time(|| format!("queue {:?}: server could not be asked", self.queue), sending).await?;
        unsent.sent = true;
        Ok(())
    }

    fn note(&self, consumer: usize, batch: usize, wait: Duration) -> Option<u64> {
        let mut requests = self.requests.lock();
        requests.next += 1;
        let number = requests.next;
        let open = requests.open.get_mut(consumer)?;
        if open.is_some() {
            return None;
        }
        *open = Some(Request { number, left: batch, until: Instant::now() + wait + LATE });
        Some(number)
    }

    /// Whether nothing is owed.
    pub(crate) fn is_answered(&self) -> bool {
        self.requests.lock().open.iter().all(Option::is_none)
    }

    /// Gives up requests that the server forgot, and says when the next one is to be given up.
    pub(crate) fn give_up_late(&self) -> Instant {
        let mut requests = self.requests.lock();
        let now = Instant::now();
        let mut late = false;
        for open in &mut requests.open {
            if open.is_some_and(|request| request.until <= now) {
                *open = None;
                late = true;
            }
        }
        let next = requests.open.iter().flatten().map(|request| request.until).min();
        drop(requests);
        if late {
            self.shelf.fail(self.fault("server did not answer in time"));
        }
        next.unwrap_or(now + LATE)
    }

    /// A server that was connected to anew knows of no request from before.
    pub(crate) fn connected(&self, generation: u64) {
        let mut requests = self.requests.lock();
        if requests.generation != generation {
            requests.generation = generation;
            requests.open.iter_mut().for_each(|open| *open = None);
        }
    }

    fn fault(&self, why: &str) -> BrokerError {
        BrokerError::new(BrokerErrorKind::Unavailable, format!("queue {:?}: {why}", self.queue))
    }

    fn take_in(self: &Arc<Self>, message: Message) {
        match message.status {
            Some(status) if status != StatusCode::OK => self.status(&message, status),
            _ => self.message(message),
        }
    }

    /// Handles a status that the server sent instead of a message.
    fn status(&self, message: &Message, status: StatusCode) {
        if status == StatusCode::IDLE_HEARTBEAT {
            return;
        }
        let mut tokens = message.subject.rsplit('.');
        let mut token = || tokens.next().and_then(|token| token.parse::<u64>().ok());
        let number = token();
        let consumer = token();
        if let (Some(number), Some(consumer)) = (number, consumer) {
            self.end_request(consumer as usize, number);
        }
        let why = message.description.as_deref().unwrap_or_default();
        if status == StatusCode::NO_RESPONDERS || why.contains("Consumer Deleted") {
            self.undeclared.store(true, Ordering::Release);
            self.shelf.fail(self.fault("a consumer is gone, or the server keeps no streams now"));
        } else if status == StatusCode::NOT_FOUND || status == StatusCode::TIMEOUT {
            let mut requests = self.requests.lock();
            requests.wait = (requests.wait * 2).min(WAIT_MAX);
        } else {
            self.shelf.fail(self.fault(&format!("server ended a request: {status} {why}")));
        }
        self.shelf.came.notify_one();
    }

    fn end_request(&self, consumer: usize, number: u64) {
        if let Some(open) = self.requests.lock().open.get_mut(consumer)
            && open.is_some_and(|request| request.number == number)
        {
            *open = None;
        }
    }

    fn message(self: &Arc<Self>, message: Message) {
        let message = jetstream::Message { message, context: self.link.context.clone() };
        let Some((consumer, arrival)) = Arrival::read(self, message) else { return };
        {
            let mut requests = self.requests.lock();
            requests.wait = WAIT_MIN;
            let at = self.consumers.iter().position(|name| *name == consumer);
            if let Some(open) = at.and_then(|at| requests.open.get_mut(at)) {
                *open = open.take().map(|request| Request { left: request.left.saturating_sub(1), ..request });
                if open.is_some_and(|request| request.left == 0) {
                    *open = None;
                }
            }
        }
        arrival.settle_in(self);
    }

    /// Hands a delivery to who pulls.
    pub(crate) fn hand_out(&self, hold: Arc<Hold>) {
        let sequence = hold.sequence;
        let envelope = &hold.envelope;
        let delivery = Delivery {
            id: envelope.id.clone(),
            topic: envelope.topic.clone(),
            attributes: envelope.attributes.clone(),
            body: hold.body.clone(),
            deliveries: hold.deliveries,
            failures: hold.record.failures,
            hops: envelope.hops,
            key: envelope.key.clone(),
            published_at: hold.published_at,
            lease: Box::new(NatsLease(Arc::clone(&hold))),
        };
        self.shelf.put(sequence, delivery);
        self.changed.notify_one();
    }
}

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        if !self.sent {
            self.intake.end_request(self.consumer, self.number);
        }
    }
}

async fn run(intake: Arc<Intake>, mut coming: Subscriber, ended: tokio_util::sync::CancellationToken) {
    let closed = intake.link.closed.clone();
    loop {
        let overdue = intake.shelf.next_overdue(intake.bounds());
        let overdue = async {
            match overdue {
                Some(overdue) => tokio::time::sleep_until(overdue.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = closed.cancelled() => break,
            () = ended.cancelled() => break,
            message = coming.next() => match message {
                Some(message) => intake.take_in(message),
                None => break,
            },
            () = intake.changed.notified() => {}
            // Dropped leases are given back.
            () = overdue => drop(intake.shelf.overdue(intake.bounds())),
        }
    }
    intake.shelf.clear();
    intake.shelf.fail(intake.link.closed_error());
}

/// A time of the server.
pub(crate) fn timestamp(nanos: i128) -> Timestamp {
    Timestamp(u64::try_from(nanos / 1_000_000).unwrap_or_default())
}
