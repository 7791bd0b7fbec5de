//! The way of deliveries that were pulled: each alone, or several in a call.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::backlog::Backlog;
use super::batch::Batches;
use crate::lease::Delivery;

/// The way of deliveries that were pulled.
pub(super) enum Work {
    /// Each is handed over alone.
    Single(Arc<Backlog>),
    /// They are gathered, and handed over several in a call.
    Batches(Arc<Batches>),
}

impl Work {
    pub(super) fn push(&self, deliveries: Vec<Delivery>, slots: OwnedSemaphorePermit) {
        match self {
            Self::Single(backlog) => backlog.push(deliveries, slots),
            Self::Batches(batches) => batches.push(deliveries, slots),
        }
    }

    /// Says whether messages come one at a time, after a pause.
    pub(super) fn pause(&self, is_paused: bool) {
        if let Self::Single(backlog) = self {
            backlog.pause(is_paused);
        }
    }

    /// Waits until what was gathered has waited long enough.
    pub(super) async fn due(&self) {
        match self {
            Self::Single(_) => std::future::pending().await,
            Self::Batches(batches) => batches.due().await,
        }
    }

    /// Hands over what has waited long enough.
    pub(super) fn release(&self) {
        if let Self::Batches(batches) = self {
            batches.release();
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        if let Self::Batches(batches) = self {
            batches.release_all();
        }
    }
}
