//! The parts of a host that the admin listener shows and changes.

use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::Semaphore;
use wasmpost_delivery::{Broker, BrokerError, BrokerErrorKind, DeadLetters, QueueStats};

use super::audit::Audit;
use super::pass::Pass;
use super::problem::Problem;
use super::statistics::{Numbers, Statistics};
use super::tasks::Tasks;
use crate::config::{AdminToken, DEFAULT_BROKER, TokenHash};
use crate::gate::Caller;
use crate::kept::KeptLogs;
use crate::metrics::Meters;
use crate::view::{ReceiverStatus, View};

/// How many streams of events there can be at a time.
const STREAMS_MAX: usize = 64;

/// How far a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Components are compiled, and brokers opened.
    Starting,
    /// Messages are received.
    Serving,
    /// Nothing new begins.
    Draining,
}

/// The parts of a host that the admin listener shows and changes.
pub struct Scene {
    phase: RwLock<Phase>,
    opened: RwLock<Vec<Arc<Opened>>>,
    view: RwLock<Option<Arc<dyn View>>>,
    tokens: Vec<AdminToken>,
    pub(super) meters: Arc<Meters>,
    pub(super) logs: Arc<KeptLogs>,
    pub(super) tasks: Tasks,
    pub(super) audit: Audit,
    pub(super) streams: Arc<Semaphore>,
}

/// A broker of the host, and its names.
pub(super) struct Opened {
    pub(super) names: Vec<String>,
    pub(super) broker: Arc<dyn Broker>,
    pub(super) statistics: Statistics,
}

/// The queues of one broker at a time.
pub(super) struct Counted {
    pub(super) opened: Arc<Opened>,
    pub(super) numbers: Arc<Numbers>,
}

impl Scene {
    pub(super) fn new(tokens: Vec<AdminToken>, meters: Arc<Meters>, logs: Arc<KeptLogs>) -> Self {
        Self {
            phase: RwLock::new(Phase::Starting),
            opened: RwLock::default(),
            view: RwLock::default(),
            tokens,
            meters,
            logs,
            tasks: Tasks::default(),
            audit: Audit::default(),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        }
    }

    /// The holder of a token.
    pub(super) fn caller(&self, token: &str) -> Option<Caller> {
        let hash = TokenHash::of(token);
        // All are compared, so that the time does not tell which one it is.
        let found = self.tokens.iter().filter(|token| token.hash.is(&hash)).collect::<Vec<_>>();
        found.first().map(|token| token.caller.clone())
    }

    pub(super) fn phase(&self) -> Phase {
        *self.phase.read()
    }

    /// Notes that messages are received, from these brokers with their names.
    pub fn serving(&self, view: Arc<dyn View>, brokers: Vec<(Arc<dyn Broker>, Vec<String>)>) {
        let opened = |(broker, names): (Arc<dyn Broker>, Vec<String>)| {
            let statistics = Statistics::new(Arc::clone(&broker));
            Arc::new(Opened { names, broker, statistics })
        };
        *self.opened.write() = brokers.into_iter().map(opened).collect();
        *self.view.write() = Some(view);
        *self.phase.write() = Phase::Serving;
    }

    /// Notes that nothing new begins.
    pub fn draining(&self) {
        *self.phase.write() = Phase::Draining;
    }

    /// Lets go of the host, which is about to end.
    pub(super) fn end(&self) {
        self.draining();
        self.opened.write().clear();
        *self.view.write() = None;
    }

    pub(super) fn view(&self) -> Result<Arc<dyn View>, Problem> {
        self.view.read().clone().ok_or_else(|| Problem::unavailable("the host is starting or stopping; try again"))
    }

    /// The receivers, none while the host starts.
    pub(super) fn receivers(&self) -> Vec<ReceiverStatus> {
        self.view.read().as_ref().map(|view| view.receivers()).unwrap_or_default()
    }

    pub(super) fn opened(&self) -> Vec<Arc<Opened>> {
        self.opened.read().clone()
    }

    /// A broker by its name; without one the only broker, or the default one.
    pub(super) fn broker(&self, name: Option<&str>) -> Result<Arc<Opened>, Problem> {
        let opened = self.opened();
        if let (None, [only]) = (name, &*opened) {
            return Ok(Arc::clone(only));
        }
        let wanted = name.unwrap_or(DEFAULT_BROKER);
        let found = opened.into_iter().find(|opened| opened.names.iter().any(|name| name == wanted));
        found.ok_or_else(|| Problem::not_found(format!("no receiver of this host uses a broker {wanted:?}")))
    }

    /// The queues of every broker. One that does not answer is among them with its error.
    pub(super) async fn counted(&self) -> Vec<Counted> {
        let counting = self.opened().into_iter().map(|opened| async move {
            let numbers = opened.statistics.numbers().await;
            numbers.map(|numbers| Counted { opened: Arc::clone(&opened), numbers }).map_err(|error| (opened, error))
        });
        let counted = futures::future::join_all(counting).await;
        counted
            .into_iter()
            .map(|counted| counted.unwrap_or_else(|(opened, error)| Counted::failed(opened, &error)))
            .collect()
    }
}

impl Opened {
    /// The name that it is shown by.
    pub(super) fn name(&self) -> &str {
        self.names.first().map_or(DEFAULT_BROKER, String::as_str)
    }

    pub(super) fn has_name(&self, name: &str) -> bool {
        self.names.iter().any(|own| own == name)
    }

    pub(super) fn letters(&self) -> Result<&dyn DeadLetters, Problem> {
        let none = || BrokerError::new(BrokerErrorKind::Unsupported, "this broker shows no dead letters");
        Ok(self.broker.dead_letters().ok_or_else(none)?)
    }

    /// The queues that the holder of a pass may see, by name.
    pub(super) async fn queues(&self, pass: &Pass) -> Result<Vec<QueueStats>, Problem> {
        let numbers = self.statistics.numbers().await?;
        let mut queues: Vec<_> = numbers.queues()?.iter().filter(|stats| pass.sees(&stats.queue)).cloned().collect();
        queues.sort_by(|one, other| one.queue.cmp(&other.queue));
        Ok(queues)
    }
}

impl Counted {
    fn failed(opened: Arc<Opened>, error: &BrokerError) -> Self {
        Self { opened, numbers: Arc::new(Numbers::failed(error.to_string())) }
    }
}
