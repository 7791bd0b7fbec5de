//! The way to the writer: a bounded channel of work that runs between two commits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;
use wasmpost_delivery::prove::{Point, pass};
use wasmpost_delivery::{Admission, BrokerError, BrokerErrorKind, Clock, Delivery, Quotas, Timestamp};
use wasmpost_msg::chain;

use crate::acks::{Ack, Acks, Closed, Gathered};
use crate::ahead::{Ahead, Taken, Wish};
use crate::error::{Failure, Outcome};
use crate::flight::Flight;
use crate::job::Job;
use crate::lease::Hold;
use crate::store::Store;

/// How many operations may wait for the writer at a time.
const WAITING_MAX: usize = 4096;

/// A reserved place in the channel.
pub(crate) type Room = OwnedSemaphorePermit;
/// The sender of an answer.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, BrokerError>>;

/// A command to the writer.
pub(crate) enum Command {
    Work(Request),
    Pull(Pull),
    /// Work in steps.
    Job(Job),
    Drained {
        queue: i64,
        reply: Reply<()>,
    },
    /// Something that is noted elsewhere is to be done: the clock was set forward, messages are to be read, or
    /// acknowledgements were gathered.
    Look,
    Close {
        leases: Leases,
        reply: Reply<()>,
    },
}

/// The fate of leases when the writer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leases {
    /// Their messages are put back, and the file is closed in order.
    GivenBack,
    /// They stay as they are, as when the process is killed.
    Left,
}

/// The time at which work is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flush {
    /// Before it is answered.
    Now,
    /// A moment after.
    Soon,
}

/// Work for one group.
pub(crate) struct Request {
    pub(crate) bytes: usize,
    pub(crate) flush: Flush,
    pub(crate) work: Box<dyn Work>,
    _room: Option<Room>,
}

/// A request for deliveries.
pub(crate) struct Pull {
    pub(crate) queue: i64,
    pub(crate) max: usize,
    pub(crate) lasts: Duration,
    pub(crate) reply: Reply<Vec<Delivery>>,
}

/// Runs inside a transaction, and is answered once that is committed. It runs again if the group that it was in failed.
pub(crate) trait Work: Send {
    fn run(&mut self, store: &mut Store) -> Outcome<()>;
    fn answer(self: Box<Self>, result: Result<(), BrokerError>);
}

/// Work that was answered before its group was committed: a fault that proofs make on purpose.
struct Answered;

struct Call<T, F> {
    work: F,
    output: Option<T>,
    answer: Answer<T>,
}

/// The sender of an answer to the caller. An error that no caller waits for is logged.
enum Answer<T> {
    To(Reply<T>),
    About { queue: Arc<str>, id: Arc<str> },
}

/// The reason that the writer takes no more calls.
struct End {
    failure: Failure,
    /// Whether its file is gone.
    is_gone: bool,
}

/// The callers' end, shared by the broker, its queues and its leases.
pub(crate) struct Channel {
    sender: Sender<Command>,
    room: Arc<Semaphore>,
    clock: Clock,
    admission: Admission,
    quotas: Arc<Quotas>,
    ahead: Ahead,
    flight: OnceLock<Flight>,
    acks: Acks,
    commits: AtomicU64,
    /// Since when the writer is at a group.
    at_work: Mutex<Option<Instant>>,
    end: OnceLock<End>,
    /// Notifies a writer without a thread that a command was sent.
    #[cfg(feature = "prove")]
    pub(crate) sent: tokio::sync::Notify,
}

impl<T, F> Work for Call<T, F>
where
    T: Send,
    F: FnMut(&mut Store) -> Outcome<T> + Send,
{
    fn run(&mut self, store: &mut Store) -> Outcome<()> {
        self.output = Some((self.work)(store)?);
        Ok(())
    }

    fn answer(self: Box<Self>, result: Result<(), BrokerError>) {
        match (self.answer, result) {
            (Answer::To(reply), Ok(())) => {
                if let Some(output) = self.output {
                    // A caller that went away needs no answer.
                    drop(reply.send(Ok(output)));
                }
            }
            (Answer::To(reply), Err(error)) => drop(reply.send(Err(error))),
            (Answer::About { .. }, Ok(())) => {}
            (Answer::About { queue, id }, Err(error)) => {
                tracing::error!(%queue, %id, error = %chain(&error), "not settled; will be redelivered");
            }
        }
    }
}

impl Work for Answered {
    fn run(&mut self, _: &mut Store) -> Outcome<()> {
        Ok(())
    }

    fn answer(self: Box<Self>, _: Result<(), BrokerError>) {}
}

impl Request {
    /// Answers before the commit, so that nothing is left to be answered after it.
    pub(crate) fn answer_early(&mut self, refused: Option<BrokerError>) {
        std::mem::replace(&mut self.work, Box::new(Answered)).answer(refused.map_or(Ok(()), Err));
    }
}

impl Channel {
    pub(crate) fn new(sender: Sender<Command>, clock: Clock, admission: Admission, ack_flush: Duration) -> Self {
        let room = Arc::new(Semaphore::new(WAITING_MAX));
        let quotas = Arc::default();
        Self {
            sender,
            room,
            clock,
            admission,
            quotas,
            ahead: Ahead::default(),
            flight: OnceLock::new(),
            acks: Acks::new(ack_flush),
            commits: AtomicU64::new(0),
            at_work: Mutex::default(),
            end: OnceLock::new(),
            #[cfg(feature = "prove")]
            sent: tokio::sync::Notify::new(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }

    pub(crate) fn quotas(&self) -> &Arc<Quotas> {
        &self.quotas
    }

    pub(crate) fn ahead(&self) -> &Ahead {
        &self.ahead
    }

    /// The flight file, once the queue file has been taken over.
    pub(crate) fn flight(&self) -> Option<&Flight> {
        self.flight.get()
    }

    pub(crate) fn set_flight(&self, flight: Flight) {
        // A file is taken over once.
        drop(self.flight.set(flight));
    }

    /// Leases messages that were read ahead, and wakes the writer if that leaves it something to do.
    pub(crate) fn take(self: &Arc<Self>, wish: Wish) -> Vec<Delivery> {
        let taken = self.ahead.take(wish);
        self.taken(taken)
    }

    /// The deliveries that were leased.
    pub(crate) fn taken(self: &Arc<Self>, taken: Taken) -> Vec<Delivery> {
        if taken.wakes {
            // A writer that has ended has nothing to do.
            drop(self.send(Command::Look));
        }
        if !taken.is_empty() {
            pass(Point::Leased);
        }
        taken.deliveries(self)
    }

    pub(crate) fn acks(&self) -> &Acks {
        &self.acks
    }

    /// Gathers an acknowledgement, to be stored soon, together with others.
    pub(crate) fn gather(&self, ack: Ack) -> Result<(), BrokerError> {
        match self.acks.gather(ack) {
            Ok(Gathered { wakes: true }) => self.send(Command::Look),
            Ok(Gathered { wakes: false }) => Ok(()),
            Err(Closed) => Err(self.closed()),
        }
    }

    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    pub(crate) fn count_commit(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes no more calls; later ones are answered with `failure`.
    pub(crate) fn end(&self, failure: Failure) {
        self.end_with(End { failure, is_gone: false });
    }

    /// The same, and the file is gone.
    pub(crate) fn end_without_file(&self, failure: Failure) {
        self.end_with(End { failure, is_gone: true });
    }

    fn end_with(&self, end: End) {
        // The first cause stands.
        drop(self.end.set(end));
        self.room.close();
        self.acks.end();
    }

    /// Notes that the writer begins with a group, or is done with it.
    pub(crate) fn is_at_work(&self, is: bool) {
        *self.at_work.lock() = is.then(Instant::now);
    }

    /// How long the writer has been at a group.
    pub(crate) fn at_work_for(&self) -> Duration {
        self.at_work.lock().map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// An error if the writer ended because the file is gone.
    pub(crate) fn check_file(&self) -> Result<(), BrokerError> {
        match self.end.get() {
            Some(End { failure, is_gone: true }) => Err(failure.clone().into()),
            _ => Ok(()),
        }
    }

    /// An error once the writer takes no more calls.
    pub(crate) fn check(&self) -> Result<(), BrokerError> {
        self.end.get().map_or(Ok(()), |end| Err(end.failure.clone().into()))
    }

    fn closed(&self) -> BrokerError {
        let unknown = || BrokerError::new(BrokerErrorKind::Closed, "writer of the queue file ended");
        self.end.get().map_or_else(unknown, |end| end.failure.clone().into())
    }

    /// Waits for a place for an acknowledgement to be gathered.
    pub(crate) async fn ack_room(&self) -> Result<Room, BrokerError> {
        self.acks.room().await.map_err(|_| self.closed())
    }

    /// Waits for a place in the channel.
    pub(crate) async fn room(&self) -> Result<Room, BrokerError> {
        Arc::clone(&self.room).acquire_owned().await.map_err(|_| self.closed())
    }

    /// Sends work to the writer, and waits until it is committed.
    pub(crate) async fn call<T, F>(&self, bytes: usize, work: F) -> Result<T, BrokerError>
    where
        T: Send + 'static,
        F: FnMut(&mut Store) -> Outcome<T> + Send + 'static,
    {
        let room = self.room().await?;
        self.call_in(room, Flush::Now, bytes, work).await
    }

    /// The same with a place that was reserved before: the work has been sent by the time this first waits.
    pub(crate) async fn call_in<T, F>(&self, room: Room, flush: Flush, bytes: usize, work: F) -> Result<T, BrokerError>
    where
        T: Send + 'static,
        F: FnMut(&mut Store) -> Outcome<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let work = Box::new(Call { work, output: None, answer: Answer::To(reply) });
        self.send(Command::Work(Request { bytes, flush, work, _room: Some(room) }))?;
        answer.await.unwrap_or_else(|_| Err(self.closed()))
    }

    /// Sends the settlement of a lease to the writer without waiting for it.
    pub(crate) fn tell<F>(&self, room: Option<Room>, hold: &Hold, work: F) -> Result<(), BrokerError>
    where
        F: FnMut(&mut Store) -> Outcome<()> + Send + 'static,
    {
        let answer = Answer::About { queue: Arc::clone(&hold.queue), id: Arc::clone(&hold.id) };
        let work = Box::new(Call { work, output: None, answer });
        self.send(Command::Work(Request { bytes: 0, flush: Flush::Now, work, _room: room }))
    }

    /// Sends a command to the writer, and waits for its answer.
    pub(crate) async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, BrokerError> {
        self.check()?;
        let (reply, answer) = oneshot::channel();
        self.send(command(reply))?;
        answer.await.unwrap_or_else(|_| Err(self.closed()))
    }

    pub(crate) fn send(&self, command: Command) -> Result<(), BrokerError> {
        let sent = self.sender.send(command).map_err(|_| self.closed());
        #[cfg(feature = "prove")]
        self.sent.notify_one();
        sent
    }
}
