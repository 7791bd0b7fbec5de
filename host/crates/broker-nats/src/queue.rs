//! Pulling from a queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};
use wasmpost_delivery::{BrokerError, Delivery, Queue, QueueSpec};
use wasmpost_msg::Publication;

use crate::bindings;
use crate::envelope::Envelope;
use crate::intake::Intake;
use crate::link::Link;

/// How often it is looked whether a queue is empty: first, and at most.
const DRAINED_PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// Attributes of more bytes than this are looked at before they are promised a place in a header.
const ATTRIBUTES_BYTES_SURE: usize = 8 << 10;

pub(crate) struct NatsQueue {
    link: Arc<Link>,
    intake: Arc<Intake>,
    /// One pulls at a time; the others wait for their turn.
    turn: tokio::sync::Mutex<()>,
    pulled: Mutex<Pulled>,
    _ends: DropGuard,
}

struct Pulled {
    /// The time at which the last pull ended.
    at: Option<Instant>,
    /// The consumer that is looked at first.
    first: usize,
}

/// Says that somebody pulls, for as long as it lives.
struct Wanting<'a>(&'a NatsQueue);

impl NatsQueue {
    pub(crate) async fn new(link: &Arc<Link>, spec: &QueueSpec) -> Result<Self, BrokerError> {
        let ended = CancellationToken::new();
        let intake = Intake::start(link, spec, ended.clone()).await?;
        let pulled = Mutex::new(Pulled { at: None, first: 0 });
        Ok(Self {
            link: Arc::clone(link),
            intake,
            turn: tokio::sync::Mutex::new(()),
            pulled,
            _ends: ended.drop_guard(),
        })
    }

    async fn pull_in_turn(&self, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        let _wanting = Wanting::new(self);
        let intake = &self.intake;
        let mut generation = self.link.generation.clone();
        intake.connected(*generation.borrow_and_update());
        intake.declared().await?;
        if self.is_rare() && max < intake.consumers() {
            let found = self.look(max).await?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        loop {
            self.link.check()?;
            let taken = intake.shelf.take(max)?;
            if !taken.is_empty() {
                return Ok(taken);
            }
            intake.ask_all(max).await?;
            let late = intake.give_up_late();
            tokio::select! {
                () = intake.shelf.came.notified() => {}
                () = tokio::time::sleep_until(late.into()) => {}
                changed = generation.changed() => {
                    changed.map_err(|_| self.link.closed_error())?;
                    intake.connected(*generation.borrow_and_update());
                }
            }
        }
    }

    /// Whether pulls are so far apart that what comes in between would be given back.
    fn is_rare(&self) -> bool {
        self.pulled.lock().at.is_none_or(|at| at.elapsed() >= self.intake.bounds().idle)
    }

    /// Looks what is there, asking for no more than `max` at a time, and waits for nothing.
    async fn look(&self, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        let intake = &self.intake;
        let all = self.intake.consumers();
        let first = self.pulled.lock().first;
        for group in (0..all).collect::<Vec<_>>().chunks(max) {
            let taken = intake.shelf.take(max)?;
            if !taken.is_empty() {
                return Ok(taken);
            }
            for at in group {
                intake.ask((first + at) % all, 1, None).await?;
            }
            while !intake.is_answered() {
                let late = intake.give_up_late();
                tokio::select! {
                    () = intake.shelf.came.notified() => {}
                    () = tokio::time::sleep_until(late.into()) => {}
                }
                let taken = intake.shelf.take(max)?;
                if !taken.is_empty() {
                    self.pulled.lock().first = (first + 1) % all;
                    return Ok(taken);
                }
            }
        }
        Ok(Vec::new())
    }
}

impl<'a> Wanting<'a> {
    fn new(queue: &'a NatsQueue) -> Self {
        queue.intake.begin_pull();
        Self(queue)
    }
}

impl Drop for Wanting<'_> {
    fn drop(&mut self) {
        self.0.pulled.lock().at = Some(Instant::now());
        self.0.intake.end_pull();
    }
}

#[async_trait]
impl Queue for NatsQueue {
    fn name(&self) -> &str {
        &self.intake.queue
    }

    fn lease(&self) -> Duration {
        self.intake.lease
    }

    async fn pull(&self, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        self.link.check()?;
        let pulling = async {
            let _turn = self.turn.lock().await;
            self.pull_in_turn(max.max(1)).await
        };
        tokio::select! {
            biased;
            () = self.link.closed.cancelled() => Err(self.link.closed_error()),
            pulled = pulling => pulled,
        }
    }

    fn room(&self, publications: &[Publication]) -> Result<(), BrokerError> {
        for publication in publications {
            self.link.admission.check(publication)?;
            if publication.attributes.bytes() > ATTRIBUTES_BYTES_SURE {
                Envelope::of(publication, publication.id.clone().unwrap_or_default()).headers(&publication.topic)?;
            }
        }
        Ok(())
    }

    async fn drained(&self) -> Result<(), BrokerError> {
        let filter = self.link.names.queue_filter(self.name());
        let mut pause = DRAINED_PAUSE.0;
        loop {
            self.link.check()?;
            // A message leaves the stream when it is settled.
            if bindings::subjects(&self.link.messages, &filter).await?.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(DRAINED_PAUSE.1);
        }
    }
}
