//! The broker as its callers see it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::oneshot;
use wasmpost_delivery::{
    Admission, Broker, BrokerError, BrokerErrorKind, CRASHES_MAX, Capabilities, Clock, DeadLetter, DeadLetterFilter,
    DeadLetters, IDS_MAX, Listed, Paged, Queue, QueueSpec, QueueStats, Receipt, TenantQuota, Timestamp, WaitingTopics,
};
use wasmpost_msg::Publication;

use crate::channel::{Channel, Command, Leases};
use crate::check;
use crate::held::{self, Held};
use crate::job::{Fate, Job};
use crate::look::Looked;
use crate::open;
use crate::queue::SqliteQueue;
use crate::reader::{Reader, Reading};
use crate::store::letters::{self, Asked, Letter};
use crate::store::{Store, read};
use crate::writer::Writer;

/// How long acknowledgements are gathered by default.
pub const ACK_FLUSH: Duration = Duration::from_millis(10);
/// The longest time that they may be gathered.
pub const ACK_FLUSH_MAX: Duration = Duration::from_secs(1);

/// The failures that confirmed messages and acknowledgements survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// A killed process and a power cut. Acknowledgements too: each is answered when it is on disk.
    Full,
    /// A killed process and a power cut. A power cut loses the acknowledgements of the last moments before it
    /// ([`SqliteOptions::ack_flush`]): their messages are delivered again.
    #[default]
    Gathered,
    /// A killed process. A power cut may lose the last seconds.
    Normal,
}

/// The options of a queue file.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// The failures that confirmed messages and acknowledgements survive.
    pub durability: Durability,
    /// The longest time that acknowledgements are gathered, to be stored together; at most [`ACK_FLUSH_MAX`].
    pub ack_flush: Duration,
    /// The clock of due times; that of the system if `None`.
    pub clock: Option<Clock>,
    /// The rules for messages that may be published.
    pub admission: Admission,
    /// The largest size of the file, in bytes; no limit but the disk if `None`. A change that would exceed it is
    /// refused, while stored messages can still be delivered and acked.
    pub bytes_max: Option<u64>,
    /// How long the id of a message is remembered, to recognise a second publication.
    pub deduplication_window: Duration,
    /// The most ids that are remembered, about 70 bytes each. Beyond it the oldest are forgotten early, and a warning
    /// is logged.
    pub deduplication_ids_max: usize,
    /// How many times the process may end while it has a message in flight; the last time makes it a dead letter.
    pub crashes_max: u32,
    /// Whether to check the file for damage for up to a second, and log the faults.
    pub looks: bool,
    /// How long to wait for other processes that have the file. Processes get it in the order in which they came.
    pub patience: Duration,
}

/// An open queue file.
pub struct SqliteBroker {
    channel: Arc<Channel>,
    reader: Reader,
    page_end: Mutex<Option<PageEnd>>,
    path: PathBuf,
}

/// The end of the last page of dead letters.
struct PageEnd {
    filter: DeadLetterFilter,
    /// How many letters came before it.
    skip: usize,
    number: i64,
}

impl Default for SqliteOptions {
    /// Acknowledgements are gathered for ten milliseconds, at most a million ids are remembered for ten minutes, and
    /// the third crash makes a dead letter.
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            ack_flush: ACK_FLUSH,
            clock: None,
            admission: Admission::default(),
            bytes_max: None,
            deduplication_window: Duration::from_secs(600),
            deduplication_ids_max: IDS_MAX,
            crashes_max: CRASHES_MAX,
            looks: false,
            patience: Duration::ZERO,
        }
    }
}

impl SqliteBroker {
    /// Opens a queue file, which is made where there is none. A file that another process has open is waited for as long
    /// as the options say, and then refused.
    ///
    /// # Errors
    ///
    /// `InUse` while another process has the file, after `patience`. `Invalid` for a file of another program, one of a
    /// newer version, one that is not a plain file or that has several names, and for a path that cannot be opened.
    /// `Corrupt` for a damaged file, `Full` for a full disk, and `Unavailable` if it cannot be read or written now.
    pub async fn open(path: &Path, options: SqliteOptions) -> Result<Arc<Self>, BrokerError> {
        let held = held::in_turn(path, options.patience).await?;
        let opening = tokio::task::spawn_blocking(move || Self::open_blocking(held, options));
        opening
            .await
            .map_err(|error| BrokerError::new(BrokerErrorKind::Closed, "opening was cut off").caused_by(error))?
    }

    /// Opens a queue file to read it; it need not be writable. If nothing can be written, leases of a process that
    /// ended are shown as they are.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open), but for the permission to write.
    pub async fn open_to_look(path: &Path, options: SqliteOptions) -> Result<Arc<dyn Broker>, BrokerError> {
        match Self::open(path, options).await {
            Ok(broker) => Ok(broker),
            Err(error) if error.kind() == BrokerErrorKind::InUse => Err(error),
            // Any other fault than a missing permission to write hinders reading as well.
            Err(error) => Looked::open(path).await.map(|looked| Arc::new(looked) as Arc<dyn Broker>).map_err(|_| error),
        }
    }

    fn open_blocking(held: Held, options: SqliteOptions) -> Result<Arc<Self>, BrokerError> {
        let (broker, store, receiver) = Self::prepare(held, options, Reading::OnThreads)?;
        Writer::start(store, Arc::clone(&broker.channel), receiver)?;
        Ok(broker)
    }

    /// A broker whose writer runs when it is told to, and not on a thread: for proofs.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open); it does not wait for other processes.
    #[cfg(feature = "prove")]
    pub fn open_stepped(
        path: &Path,
        options: SqliteOptions,
    ) -> Result<(Arc<Self>, crate::stepper::Stepper), BrokerError> {
        let (broker, store, receiver) = Self::prepare(held::at_once(path)?, options, Reading::Inline)?;
        let stepper = crate::stepper::Stepper::new(store, Arc::clone(&broker.channel), receiver);
        Ok((broker, stepper))
    }

    fn prepare(
        held: Held,
        options: SqliteOptions,
        reading: Reading,
    ) -> Result<(Arc<Self>, Store, Receiver<Command>), BrokerError> {
        let opened = open::open(held, options.durability, options.bytes_max)?;
        let path = opened.held.path().to_owned();
        if options.looks {
            check::tell_quickly(&path, &opened.connection);
        }
        let (sender, receiver) = mpsc::channel();
        let clock = match options.clock.clone() {
            Some(clock) => clock,
            None => Clock::not_before(Store::last_time(&opened)?),
        };
        let waker = sender.clone();
        clock.on_advance(move || drop(waker.send(Command::Look)));
        let ack_flush = match options.durability {
            Durability::Full => Duration::ZERO,
            Durability::Gathered | Durability::Normal => options.ack_flush.min(ACK_FLUSH_MAX),
        };
        let channel = Arc::new(Channel::new(sender, clock, options.admission, ack_flush));
        let store = Store::open(opened, &channel, &options, channel.now())?;
        let reader = Reader::new(path.clone(), reading);
        Ok((Arc::new(Self { channel, reader, page_end: Mutex::default(), path }), store, receiver))
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of transactions that were committed so far.
    pub fn commits(&self) -> u64 {
        self.channel.commits()
    }

    /// Stops as a killed process would: no lease is given back, and nothing more is stored.
    #[doc(hidden)]
    pub async fn abandon(&self) {
        drop(self.end(Leases::Left).await);
    }

    /// Waits until all earlier operations are in the file. Returns the time then.
    async fn written(&self) -> Result<Timestamp, BrokerError> {
        self.channel.call(0, |_| Ok(())).await?;
        Ok(self.channel.now())
    }

    /// A page of dead letters, read with `read`.
    async fn page<T: Paged + Send + 'static>(
        &self,
        filter: &DeadLetterFilter,
        skip: usize,
        max: usize,
        read: fn(&Connection, &Letter) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, BrokerError> {
        self.written().await?;
        // A caller that goes on where the last page ended has nothing skipped, however far that is.
        let after = self.page_end.lock().take_if(|end| end.filter == *filter && end.skip == skip).map(|end| end.number);
        let asked = Asked { filter: filter.clone(), skip: if after.is_some() { 0 } else { skip }, after, max };
        let (letters, end) = self.reader.read(move |connection| letters::page(connection, &asked, read)).await?;
        let skip = skip + letters.len();
        *self.page_end.lock() = end.map(|number| PageEnd { filter: filter.clone(), skip, number });
        Ok(letters)
    }

    async fn end_letters(&self, fate: Fate, filter: &DeadLetterFilter) -> Result<u64, BrokerError> {
        let filter = filter.clone();
        self.channel.ask(|reply| Command::Job(Job::new(fate, filter, reply))).await
    }

    async fn end(&self, leases: Leases) -> Result<(), BrokerError> {
        let (reply, ended) = oneshot::channel();
        if self.channel.send(Command::Close { leases, reply }).is_err() {
            return self.channel.check_file();
        }
        // A writer that has ended has nothing left to answer.
        ended.await.unwrap_or_else(|_| self.channel.check_file())
    }
}

impl Drop for SqliteBroker {
    /// Tells the writer to end in order, without waiting for it.
    fn drop(&mut self) {
        drop(self.channel.send(Command::Close { leases: Leases::GivenBack, reply: oneshot::channel().0 }));
    }
}

#[async_trait]
impl Broker for SqliteBroker {
    fn capabilities(&self) -> Capabilities {
        Capabilities::embedded()
    }

    async fn queue(&self, spec: QueueSpec) -> Result<Arc<dyn Queue>, BrokerError> {
        spec.check()?;
        let declared = spec.clone();
        let number = self.channel.call(0, move |store| store.declare(&declared)).await?;
        Ok(Arc::new(SqliteQueue::new(Arc::clone(&self.channel), number, spec)))
    }

    async fn publish(&self, publications: Vec<Publication>) -> Result<Vec<Receipt>, BrokerError> {
        publications.iter().try_for_each(|publication| self.channel.admission().check(publication))?;
        let bytes = publications.iter().map(Publication::bytes).sum();
        self.channel.call(bytes, move |store| store.publish(&publications)).await
    }

    async fn set_quotas(&self, quotas: BTreeMap<String, TenantQuota>) -> Result<(), BrokerError> {
        self.channel.call(0, move |store| store.set_quotas(&quotas)).await
    }

    fn waiting_topics(&self, tenant: &str) -> Option<WaitingTopics> {
        Some(self.channel.quotas().waiting_topics(tenant))
    }

    async fn stats(&self) -> Result<Vec<QueueStats>, BrokerError> {
        let now = self.written().await?;
        let in_flight = self.channel.ahead().in_flight();
        self.reader.read(move |connection| read::stats(connection, now, &in_flight)).await
    }

    fn transactions(&self) -> Option<u64> {
        Some(self.commits())
    }

    fn stands_still_for(&self) -> Duration {
        self.channel.at_work_for()
    }

    fn dead_letters(&self) -> Option<&dyn DeadLetters> {
        Some(self)
    }

    async fn close(&self) -> Result<(), BrokerError> {
        self.end(Leases::GivenBack).await
    }
}

#[async_trait]
impl DeadLetters for SqliteBroker {
    async fn list(&self, filter: &DeadLetterFilter, skip: usize, max: usize) -> Result<Vec<Listed>, BrokerError> {
        self.page(filter, skip, max, letters::list).await
    }

    async fn show(&self, filter: &DeadLetterFilter, skip: usize, max: usize) -> Result<Vec<DeadLetter>, BrokerError> {
        self.page(filter, skip, max, letters::show).await
    }

    async fn count(&self, filter: &DeadLetterFilter, max: u64) -> Result<u64, BrokerError> {
        self.written().await?;
        let filter = filter.clone();
        self.reader.read(move |connection| letters::count(connection, &filter, max)).await
    }

    async fn redrive(&self, filter: &DeadLetterFilter) -> Result<u64, BrokerError> {
        self.end_letters(Fate::Redriven, filter).await
    }

    async fn purge(&self, filter: &DeadLetterFilter) -> Result<u64, BrokerError> {
        self.end_letters(Fate::Purged, filter).await
    }
}

#[cfg(test)]
mod tests;
