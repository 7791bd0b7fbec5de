//! The link that all parts of a broker share: the connection, the streams, and the leases.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use async_nats::Client;
use async_nats::jetstream::Context;
use async_nats::jetstream::stream::Stream;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wasmpost_delivery::{Admission, BrokerError, BrokerErrorKind, Clock};

use crate::bindings::Bindings;
use crate::hold::Hold;
use crate::names::Names;
use crate::options::Options;
use crate::streams::Known;

pub(crate) struct Link {
    pub(crate) options: Options,
    pub(crate) names: Names,
    pub(crate) known: Known,
    pub(crate) client: Client,
    pub(crate) context: Context,
    /// Counts how often the connection was made.
    pub(crate) generation: watch::Receiver<u64>,
    pub(crate) messages: Stream<()>,
    pub(crate) dead: Stream<()>,
    pub(crate) attempts: Stream<()>,
    pub(crate) queues: Stream<()>,
    pub(crate) bindings: Bindings,
    pub(crate) admission: Admission,
    pub(crate) clock: Clock,
    /// Gives back leases that are dropped.
    pub(crate) runtime: Handle,
    pub(crate) closed: CancellationToken,
    holds: Mutex<Holds>,
}

#[derive(Default)]
struct Holds {
    next: u64,
    by_number: HashMap<u64, Weak<Hold>>,
}

/// The parts that a link is made of.
pub(crate) struct Parts {
    pub(crate) options: Options,
    pub(crate) known: Known,
    pub(crate) client: Client,
    pub(crate) context: Context,
    pub(crate) generation: watch::Receiver<u64>,
    pub(crate) streams: [Stream<()>; 4],
    pub(crate) admission: Admission,
    pub(crate) clock: Clock,
}

impl Link {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { options, known, client, context, generation, streams, admission, clock } = parts;
        let [messages, dead, attempts, queues] = streams;
        Self {
            names: options.names.clone(),
            options,
            known,
            client,
            context,
            generation,
            messages,
            dead,
            attempts,
            queues,
            bindings: Bindings::default(),
            admission,
            clock,
            runtime: Handle::current(),
            closed: CancellationToken::new(),
            holds: Mutex::default(),
        }
    }

    /// Refuses what is asked of a broker that was closed.
    pub(crate) fn check(&self) -> Result<(), BrokerError> {
        if self.closed.is_cancelled() { Err(self.closed_error()) } else { Ok(()) }
    }

    pub(crate) fn closed_error(&self) -> BrokerError {
        BrokerError::new(BrokerErrorKind::Closed, format!("stream {:?} on NATS was closed", self.names.stream))
    }

    /// Remembers a lease, so that it is given back when the broker is closed. Gives the number to forget it by.
    pub(crate) fn remember(&self, hold: impl FnOnce(u64) -> Arc<Hold>) -> Arc<Hold> {
        let mut holds = self.holds.lock();
        holds.next += 1;
        let number = holds.next;
        let hold = hold(number);
        holds.by_number.insert(number, Arc::downgrade(&hold));
        hold
    }

    pub(crate) fn forget(&self, number: u64) {
        self.holds.lock().by_number.remove(&number);
    }

    /// The leases that are held.
    pub(crate) fn held(&self) -> Vec<Arc<Hold>> {
        self.holds.lock().by_number.values().filter_map(Weak::upgrade).collect()
    }
}
